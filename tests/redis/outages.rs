//! Redis stopped, frozen or absent, with every policy. There is nothing in it: so whoever takes the default where it does not
//! answer gets the very outputs of the job that looks nothing up.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use slackwater_services::redis::Redis;

use crate::content::content;
use crate::job::Job;
use crate::scene::{Outcomes, constant, looking_up, outcomes, redis, run, variation};

/// How long Redis is away.
const AWAY: Duration = Duration::from_secs(3);

/// What happens to Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Stopped,
    Frozen,
    AbsentAtStart,
}

const FAULTS: [Fault; 3] = [Fault::Stopped, Fault::Frozen, Fault::AbsentAtStart];

/// Milliseconds since 1970, by the clock that predictions and dead letters are dated with.
fn now_ms() -> f64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap().as_secs_f64() * 1e3
}

/// Runs a job through a fault. When Redis came back, in milliseconds since 1970.
fn through(fault: Fault, redis: &mut Redis, job: &Job) -> f64 {
    if fault == Fault::AbsentAtStart {
        redis.stop().unwrap();
    }
    let running = job.start();
    let begun = Instant::now();
    while job.marked() == [0, 0] {
        assert!(begun.elapsed() < Duration::from_secs(30), "{}", job.said());
        // With `fail` there is nothing before Redis is there.
        if fault == Fault::AbsentAtStart && begun.elapsed() > AWAY {
            break;
        }
        thread::sleep(Duration::from_millis(5));
    }
    let before = job.marked();
    match fault {
        Fault::Stopped => redis.stop().unwrap(),
        Fault::Frozen => redis.pause().unwrap(),
        Fault::AbsentAtStart => {}
    }
    thread::sleep(AWAY);
    let meanwhile = job.marked();
    match fault {
        Fault::Frozen => redis.resume().unwrap(),
        Fault::Stopped | Fault::AbsentAtStart => redis.restart().unwrap(),
    }
    let back_ms = now_ms();
    let ended = running.wait();
    assert!(ended.success(), "{ended}\n{}", job.said());
    if !job.said().contains("on_error = \"fail\"") {
        let epochs = meanwhile[0].max(meanwhile[1]) - before[0].max(before[1]);
        assert!(
            epochs >= 5,
            "{epochs} checkpoints in {AWAY:?}\n{}",
            job.said()
        );
    }
    back_ms
}

fn events() -> crate::job::Variation {
    variation(100_000, 10_000)
}

/// What the job gives that looks nothing up.
fn expected() -> Job {
    let job = constant(variation(100_000, 0), 1.0);
    run(&job);
    job
}

#[test]
fn do_defaults_take_its_place() {
    let expected = content(&expected().outputs);
    for on_error in ["default", "last_known"] {
        for fault in FAULTS {
            let mut redis = redis(&[]);
            let more = format!("on_error = \"{on_error}\"\ncache = {{ ttl = \"100ms\" }}");
            let job = looking_up(events(), &redis.url(), &more);
            through(fault, &mut redis, &job);
            let found = content(&job.outputs);
            assert!(found == expected, "{on_error}, {fault:?}\n{}", job.said());
        }
    }
}

/// The store is away, and comes back; there is one weight for all users, and so one score for each event.
#[test]
fn is_what_was_known_last_told_to_be_old() {
    let mut redis = redis(&[]);
    for user in 0..2_000 {
        let key = format!("profile:user_{user}");
        let answer = redis.ask(&[b"HSET", key.as_bytes(), b"weight", b"5"]);
        assert_eq!(answer.unwrap(), ":1");
    }
    let expected = constant(variation(100_000, 0), 5.0);
    run(&expected);
    let expected = outcomes(&expected.outputs);
    let more = "on_error = \"last_known\"\ncache = { ttl = \"100ms\", stale_for = \"1h\" }";
    let job = looking_up(events(), &redis.url(), more);
    // Frozen, it still has all when it comes back.
    through(Fault::Frozen, &mut redis, &job);
    let found = outcomes(&job.outputs);
    assert_eq!(found.len(), expected.len(), "each event once");
    let mut last_known = 0;
    for (place, (stream, record)) in &found {
        let (wanted_stream, wanted) = &expected[place];
        assert_eq!(stream, wanted_stream, "{record}");
        if *stream != "ml_predictions" {
            continue;
        }
        let profile = &record["lookups"]["profile"];
        let (from, age_ms) = (
            profile["from"].as_str().unwrap(),
            profile["age_ms"].as_u64(),
        );
        let fits = match from {
            "fresh" => age_ms.is_none(),
            "cached" => age_ms.unwrap() < 100,
            "last_known" => (100..60_000).contains(&age_ms.unwrap()),
            // Of users who were not seen before.
            "default" => age_ms.is_none(),
            _ => false,
        };
        assert!(fits, "{record}");
        if from != "default" {
            assert_eq!(record["prediction"], wanted["prediction"], "{record}");
        }
        last_known += usize::from(from == "last_known");
    }
    assert!(last_known > 1_000, "{last_known}");
}

/// What `status --json` says of the lookup, once it says anything.
fn told(job: &Job) -> Option<Value> {
    let asked = job.command(&["status", "--json"]).output().unwrap();
    let status = serde_json::from_slice::<Value>(&asked.stdout).ok()?;
    status["last"]["lookups"].as_array()?.first().cloned()
}

/// Waits until the lookup is as it is to be.
fn wait_until(job: &Job, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let begun = Instant::now();
    loop {
        let found = told(job);
        if let Some(found) = found.as_ref().filter(|found| is_so(found)) {
            return found.clone();
        }
        let said = job.said();
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "{what}: {found:?}\n{said}"
        );
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn does_whoever_looks_at_the_status_see_that_a_store_is_away() {
    let mut redis = redis(&[]);
    let job = looking_up(variation(400_000, 10_000), &redis.url(), "");
    let running = job.start();
    wait_until(&job, "answers", |it| it["answered"].as_u64() > Some(0));
    redis.stop().unwrap();
    let away = wait_until(&job, "away", |it| it["breaker"]["open"] == true);
    let reason = away["breaker"]["reason"].as_str().unwrap();
    assert!(reason.contains("times in a row"), "{reason}");
    assert_eq!(away["breaker"]["openings"], 1, "{away}");
    let shown = job.command(&["status"]).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    let expected = "ITS STORE IS NOT ASKED NOW: it has failed";
    assert!(shown.contains(expected), "{shown}");
    redis.restart().unwrap();
    let back = wait_until(&job, "back", |it| it["breaker"]["open"] == false);
    assert!(back["breaker"]["reason"].is_null(), "{back}");
    assert!(back["unavailable"].as_u64() > Some(0), "{back}");
    let stopped = job.command(&["stop"]).status().unwrap();
    assert!(stopped.success(), "{stopped}");
    assert!(running.wait().success(), "{}", job.said());
    let summary = job
        .said()
        .lines()
        .rev()
        .find_map(|line| serde_json::from_str::<Value>(line).ok());
    let lookup = &summary.unwrap()["lookups"][0];
    assert_eq!(
        (&lookup["name"], &lookup["under_way"]),
        (&"profile".into(), &0.into())
    );
    assert!(
        lookup["breaker"]["openings"].as_u64() >= Some(1),
        "{lookup}"
    );
}

/// Events whose lookup has failed, with when that was decided, in milliseconds since 1970.
fn failed(found: &Outcomes) -> Vec<(&Value, f64)> {
    let records = found.values().map(|(_, record)| record);
    let failed = records.filter(|record| record["stage"] == "lookup");
    let failed = failed.map(|record| (record, record["timestamp"].as_f64().unwrap() * 1e3));
    failed.collect()
}

#[test]
fn are_events_dead_letters_until_it_is_back() {
    let expected = outcomes(&expected().outputs);
    for fault in FAULTS {
        let mut redis = redis(&[]);
        let job = looking_up(events(), &redis.url(), "");
        let back_ms = through(fault, &mut redis, &job);
        let found = outcomes(&job.outputs);
        assert_eq!(found.len(), expected.len(), "each event once");
        for (place, (stream, record)) in &found {
            let (wanted_stream, wanted) = &expected[place];
            if record["stage"] == "lookup" {
                assert_eq!(*wanted_stream, "ml_predictions", "{record}");
                let code = record["code"].as_str().unwrap();
                let is_known = ["lookup_timeout", "lookup_unavailable"].contains(&code);
                assert!(is_known, "{record}");
            } else {
                assert_eq!(
                    (stream, &record["prediction"]),
                    (wanted_stream, &wanted["prediction"])
                );
            }
        }
        let failed = failed(&found);
        assert!(failed.len() > 1_000, "{fault:?}: {}", failed.len());
        let last = failed.iter().map(|(_, at)| *at).fold(0.0, f64::max);
        assert!(last < back_ms + 2_000.0, "{fault:?}: {} ms", last - back_ms);
    }
}

#[test]
fn does_a_job_that_is_to_fail_come_back_with_it() {
    let expected = content(&expected().outputs);
    for fault in FAULTS {
        let mut redis = redis(&[]);
        let job = looking_up(events(), &redis.url(), "on_error = \"fail\"");
        through(fault, &mut redis, &job);
        assert!(job.said().contains("on_error = \"fail\""), "{}", job.said());
        let found = content(&job.outputs);
        assert!(found == expected, "{fault:?}\n{}", job.said());
    }
}
