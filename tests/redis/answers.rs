//! What Redis has reaches the scores, and what it has of another kind does no harm.

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::Value;
use slackwater_services::redis::Redis;

use crate::content::content;
use crate::scene::{constant, looking_up, outcomes, redis, run, variation};

/// Users of these jobs.
const USERS: u64 = 2_000;

fn set(redis: &Redis, user: u64, weight: &str) {
    let key = format!("profile:user_{user}");
    let answer = redis.ask(&[b"HSET", key.as_bytes(), b"weight", weight.as_bytes()]);
    assert_eq!(answer.unwrap(), ":1");
}

/// The score of each prediction by the place of its event, and whose it is.
fn scores(job: &crate::job::Job) -> BTreeMap<(u64, u64), (String, f64)> {
    let scored = outcomes(&job.outputs).into_iter();
    let scored = scored.filter(|(_, (stream, _))| *stream == "ml_predictions");
    let score = |(place, (_, record)): (_, (_, Value))| {
        let user = record["user_id"].as_str().unwrap().to_owned();
        (place, (user, record["prediction"].as_f64().unwrap()))
    };
    scored.map(score).collect()
}

/// Users with an even number have a weight of 5, of the others there is nothing; each event has the score that it has where all
/// users have the one or the other.
#[test]
fn does_what_redis_has_reach_the_scores() {
    let redis = redis(&[]);
    for user in (0..USERS).step_by(2) {
        set(&redis, user, "5.0");
    }
    for (order, workers, more) in [
        ("arrival", 1, "timeout = \"1s\""),
        ("arrival", 4, "timeout = \"1s\"\ncache = { ttl = \"1h\" }"),
        (
            "event_time",
            2,
            "timeout = \"1s\"\ncache = { bytes = \"4KiB\" }",
        ),
    ] {
        let events = crate::job::Variation {
            order,
            workers,
            ..variation(20_000, 0)
        };
        let [ones, fives] = [1.0, 5.0].map(|weight| {
            let job = constant(events, weight);
            run(&job);
            scores(&job)
        });
        let job = looking_up(events, &redis.url(), more);
        run(&job);
        let found = scores(&job);
        assert_eq!(found.len(), ones.len());
        let mut differ = 0;
        for (place, (user, score)) in &found {
            let number: u64 = user.strip_prefix("user_").unwrap().parse().unwrap();
            let (mine, other) = match number.is_multiple_of(2) {
                true => (&fives, &ones),
                false => (&ones, &fives),
            };
            assert_eq!(score, &mine[place].1, "{place:?} of {user}");
            differ += usize::from(mine[place].1 != other[place].1);
        }
        assert!(
            differ > found.len() / 2,
            "the weight changes {differ} scores"
        );
    }
}

/// What each prediction says of where its weight comes from, beside the number of its user.
fn provenances(job: &crate::job::Job) -> Vec<(u64, String, Option<u64>)> {
    let predictions = outcomes(&job.outputs).into_values();
    let predictions = predictions.filter(|(stream, _)| *stream == "ml_predictions");
    let told = predictions.map(|(_, record)| {
        let user = record["user_id"].as_str().unwrap();
        let profile = &record["lookups"]["profile"];
        (
            user.strip_prefix("user_").unwrap().parse().unwrap(),
            profile["from"].as_str().unwrap().to_owned(),
            profile["age_ms"].as_u64(),
        )
    });
    told.collect()
}

#[test]
fn does_each_prediction_say_where_its_weight_comes_from() {
    let redis = redis(&[]);
    for user in (0..USERS).step_by(2) {
        set(&redis, user, "5.0");
    }
    for (more, is_cached) in [
        ("timeout = \"1s\"", false),
        ("timeout = \"1s\"\ncache = { ttl = \"1h\" }", true),
    ] {
        let job = looking_up(variation(20_000, 0), &redis.url(), more);
        let begun = Instant::now();
        run(&job);
        let most_ms = begun.elapsed().as_millis() as u64;
        let told = provenances(&job);
        assert!(told.len() > 10_000, "{}", told.len());
        let mut counts = BTreeMap::<&str, usize>::new();
        for (user, from, age_ms) in &told {
            *counts.entry(from).or_default() += 1;
            assert_eq!(from == "default", !user.is_multiple_of(2), "{user}: {from}");
            assert_eq!(from == "cached", age_ms.is_some(), "{user}: {from}");
            assert!(age_ms.is_none_or(|age| age <= most_ms), "{age_ms:?}");
        }
        let expected: &[&str] = match is_cached {
            true => &["cached", "default", "fresh"],
            false => &["default", "fresh"],
        };
        assert_eq!(
            counts.keys().copied().collect::<Vec<_>>(),
            expected,
            "{counts:?}"
        );
    }
}

#[test]
fn is_the_output_the_same_for_any_number_of_workers() {
    let redis = redis(&[]);
    for user in (0..USERS).step_by(3) {
        set(&redis, user, &format!("{}.5", user % 7));
    }
    let contents = [1, 2, 4].map(|workers| {
        let events = crate::job::Variation {
            order: "event_time",
            workers,
            ..variation(20_000, 0)
        };
        let job = looking_up(events, &redis.url(), "timeout = \"1s\"");
        run(&job);
        content(&job.outputs)
    });
    assert!(contents[0] == contents[1] && contents[1] == contents[2]);
    assert!(contents[0].len() > 1_000);
}

/// Of all that can be wrong with one key nothing is felt by the others.
#[test]
fn is_what_is_wrong_with_one_key_no_harm_to_others() {
    let redis = redis(&[]);
    set(&redis, 1, "heavy");
    let huge = vec![b'9'; 50 << 20];
    let answer = redis.ask(&[b"HSET", b"profile:user_2", b"weight", &huge]);
    assert_eq!(answer.unwrap(), ":1");
    assert_eq!(
        redis.ask(&[b"RPUSH", b"profile:user_3", b"x"]).unwrap(),
        ":1"
    );
    let events = variation(20_000, 0);
    let expected = constant(events, 1.0);
    run(&expected);
    let expected = outcomes(&expected.outputs);
    let job = looking_up(events, &redis.url(), "timeout = \"1s\"");
    run(&job);
    let found = outcomes(&job.outputs);
    assert_eq!(found.len(), expected.len());
    let mut bad = BTreeMap::new();
    for (place, (stream, record)) in &found {
        let (_, wanted) = &expected[place];
        if record["code"] == "lookup_bad_value" {
            let user = wanted["user_id"].as_str().unwrap().to_owned();
            bad.insert(user, record["message"].as_str().unwrap().to_owned());
        } else {
            assert_eq!(*stream, expected[place].0, "{record}");
            assert_eq!(record["prediction"], wanted["prediction"], "{record}");
        }
    }
    let said = |user: &str, expected: &str| {
        let message = bad.get(user).unwrap_or_else(|| panic!("{user}: {bad:?}"));
        assert!(message.contains(expected), "{message}");
    };
    said("user_1", "`weight` must be a number, got \"heavy\"");
    said("user_2", "it is larger than 1048576 bytes");
    said("user_3", "WRONGTYPE");
    assert_eq!(bad.len(), 3, "{bad:?}");
}

/// A user and the proof may each stand in the URL or elsewhere.
#[test]
fn does_a_server_know_its_user_wherever_the_file_says_who_that_is() {
    let options = "--requirepass canary-7 --user worker on >canary-8 ~* +@all";
    let redis = redis(&options.split(' ').collect::<Vec<_>>());
    let url = |who: &str| redis.url().replace("//", &format!("//{who}@"));
    let check = |url: &str, more: &str, expected: Option<&str>| {
        let mut job = looking_up(variation(1, 0), url, more);
        job.tell("PROFILE_USER", "worker");
        job.tell("PROFILE_PASSWORD", "canary-8");
        let checked = job.command(&["check"]).output().unwrap();
        let said = [checked.stdout, checked.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(!said.contains("canary"), "{said}");
        match expected {
            None => assert!(checked.status.success(), "{url} {more}: {said}"),
            Some(expected) => assert!(said.contains(expected), "{url} {more}: {said}"),
        }
    };
    let user = "username = { env = \"PROFILE_USER\" }";
    let password = "password = { env = \"PROFILE_PASSWORD\" }";
    check(&url("worker:canary-8"), "", None);
    check(&url(":canary-8"), user, None);
    check(&url("worker"), password, None);
    check(&redis.url(), &format!("{user}\n{password}"), None);
    // What stands elsewhere goes first.
    check(&url("worker:canary-9"), password, None);
    check(&url(":canary-8"), "", Some("it answers WRONGPASS"));
    check(&redis.url(), user, Some("`username` needs `password`"));
}

#[test]
fn does_a_server_that_wants_a_password_get_it_from_elsewhere() {
    let redis = redis(&["--requirepass", "canary-7"]);
    let check = |more: &str, tell: bool, expected: Option<&str>| {
        let mut job = looking_up(variation(2_000, 0), &redis.url(), more);
        if tell {
            job.tell("PROFILE_PASSWORD", "canary-7");
        }
        let checked = job.command(&["check"]).output().unwrap();
        let said = String::from_utf8_lossy(&checked.stderr).into_owned()
            + &String::from_utf8_lossy(&checked.stdout);
        assert!(!said.contains("canary"), "{said}");
        match expected {
            None => assert!(checked.status.success(), "{said}"),
            Some(expected) => {
                assert_eq!(checked.status.code(), Some(3), "{said}");
                assert!(said.contains(expected), "{said}");
            }
        }
        job
    };
    check("", false, Some("lookup `profile`: the store at 127.0.0.1:"));
    check("", false, Some("NOAUTH"));
    let with = "password = { env = \"PROFILE_PASSWORD\" }";
    check(
        with,
        false,
        Some("the environment has no variable `PROFILE_PASSWORD`"),
    );
    let job = check(with, true, None);
    run(&job);
    assert!(!job.said().contains("canary"));
    let lookups = outcomes(&job.outputs).into_values();
    let mut lookups = lookups.filter(|(_, record)| record["stage"] == "lookup");
    assert_eq!(lookups.next(), None);
}

/// What a server has thrown away to make room is as if it had never been there.
#[test]
fn is_a_key_that_was_evicted_a_miss() {
    let redis = redis(&["--maxmemory", "3mb", "--maxmemory-policy", "allkeys-lru"]);
    let padding = [b'x'; 2_000];
    for user in 0..2_000 {
        let key = format!("profile:user_{user}");
        let fields: [&[u8]; 6] = [b"HSET", key.as_bytes(), b"weight", b"5", b"more", &padding];
        assert_eq!(redis.ask(&fields).unwrap(), ":2");
    }
    let of = |weight| {
        let job = constant(variation(20_000, 0), weight);
        run(&job);
        outcomes(&job.outputs)
    };
    let (missed, found) = (of(1.0), of(5.0));
    let job = looking_up(variation(20_000, 0), &redis.url(), "");
    run(&job);
    let (mut of_missed, mut of_found) = (0, 0);
    let all = outcomes(&job.outputs);
    assert_eq!(all.len(), found.len());
    for (place, (stream, record)) in &all {
        let score = |record: &Value| record["prediction"].clone();
        let this = score(record);
        assert_eq!(*stream, found[place].0, "{record}");
        let (missed, found) = (score(&missed[place].1), score(&found[place].1));
        assert!(this == missed || this == found, "{record}");
        of_missed += usize::from(this == missed && this != found);
        of_found += usize::from(this == found && this != missed);
    }
    assert!(of_missed > 100 && of_found > 100, "{of_missed}, {of_found}");
}
