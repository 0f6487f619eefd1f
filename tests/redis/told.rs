//! What is told of lookups: where each value comes from, and that a store is away.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::job::Job;
use crate::scene::{constant, looking_up, outcomes, redis, run, variation};

/// The store is away, and comes back; there is one weight for all users, and so one score for each event.
#[test]
fn is_what_was_known_last_told_to_be_old() {
    let redis = redis(&[]);
    for user in 0..2_000 {
        let key = format!("profile:user_{user}");
        let answer = redis.ask(&[b"HSET", key.as_bytes(), b"weight", b"5"]);
        assert_eq!(answer.unwrap(), ":1");
    }
    let expected = constant(variation(100_000, 0), 5.0);
    run(&expected);
    let expected = outcomes(&expected.outputs);
    let more = "on_error = \"last_known\"\ncache = { ttl = \"100ms\", stale_for = \"1h\" }";
    let job = looking_up(variation(100_000, 10_000), &redis.url(), more);
    let running = job.start();
    wait_until(&job, "answers", |it| it["answered"].as_u64() > Some(1_000));
    // Frozen, it still has all when it comes back.
    redis.pause().unwrap();
    thread::sleep(Duration::from_secs(3));
    redis.resume().unwrap();
    assert!(running.wait().success(), "{}", job.said());
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
