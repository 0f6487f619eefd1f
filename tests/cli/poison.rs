//! An event that ends the process of whoever scores it, so that no dead letter can be made of it: the job is started again
//! as it was told to be, ends failed, and loses nothing.

use std::fs::File;
use std::io::Write;
use std::time::Duration;

use serde_json::Value;
use slackwater_dataflow::faults::{Defect, POISON, VARIABLE};

use crate::scene::{Scene, event};
use crate::supervised::Running;

/// Events before the poison, and behind it.
const BEFORE: u64 = 200;
const BEHIND: u64 = 50;

/// The delays that are asked for: the third would be 2.7 s.
const RESTART: &str = "[restart]\nattempts = 3\ninitial = \"300ms\"\nmultiplier = 3.0\nmax = \"1500ms\"\njitter = 0.1\n";
const DELAYS_MS: [f64; 3] = [300.0, 900.0, 1_500.0];

/// By which part of itself a delay may be another one.
const JITTER: f64 = 0.1;

/// What a machine under load may take from the end of a delay until a worker is started.
const LATE_MOST: Duration = Duration::from_secs(5);

fn scene() -> Scene {
    // No checkpoint but the one of a stop: so no attempt gets further than the one before.
    let recovery = format!("form = \"envelope\"\n[checkpoint]\ninterval = \"1h\"\n{RESTART}");
    let follow = "path = \"in.jsonl\"\nfollow = true";
    let changes = [
        ("path = \"in.jsonl\"", follow),
        ("provenance = false", "provenance = true"),
        ("form = \"envelope\"\n", recovery.as_str()),
    ];
    Scene::with(&changes, events(0, BEFORE).as_bytes())
}

fn events(from: u64, count: u64) -> String {
    let events = (from..from + count).map(|at| event(&format!("u{}", at % 7), 10 * at as i64));
    events.collect()
}

/// Waits until a run has read so many records and stops it.
fn stop_after(scene: &Scene, read: u64) {
    let running = Running::start(scene, &[]);
    running.status_that(|status| status["last"]["events"]["predictions"] == read);
    scene.run(&["stop", "job.toml"]).ended(0);
    assert_eq!(running.end().status.code(), Some(0));
}

/// Milliseconds from the failure of each attempt to the start of the next one.
fn measured(failures: &[Value]) -> Vec<f64> {
    let number = |failure: &Value, name: &str| failure[name].as_f64().unwrap();
    let pairs = failures.iter().zip(failures.iter().skip(1));
    let delay = |(one, next): (&Value, &Value)| {
        number(next, "at_ms") - number(next, "ran_ms") - number(one, "at_ms")
    };
    pairs.map(delay).collect()
}

#[test]
fn does_a_job_that_dies_of_an_event_try_as_often_as_was_asked_and_lose_nothing() {
    let scene = scene();
    stop_after(&scene, BEFORE);
    let poison = event("u1", 10 * BEFORE as i64).replace("\"p\"", &format!("\"{POISON}\""));
    let input = File::options().append(true).open(scene.path("in.jsonl"));
    let more = poison + &events(BEFORE + 1, BEHIND);
    input.unwrap().write_all(more.as_bytes()).unwrap();

    let fault = [(VARIABLE, Defect::Poison.name())];
    let running = Running::with(&scene, &[], &fault);
    let status = running.status_that(|status| status["failed"] == 3);
    let failures = status["failures"].as_array().unwrap();
    let cause = "its process was ended by SIGABRT";
    for failure in failures {
        assert_eq!(
            (&failure["cause"], &failure["healthy"]),
            (&cause.into(), &false.into())
        );
    }
    // To the millisecond on both sides of the jitter, but for what the machine takes.
    for (measured, asked) in measured(failures).into_iter().zip(DELAYS_MS) {
        let least = asked * (1.0 - JITTER) - 2.0;
        let most = asked * (1.0 + JITTER) + LATE_MOST.as_secs_f64() * 1e3;
        assert!(
            (least..most).contains(&measured),
            "{measured} ms of {asked}: {status}"
        );
    }
    let output = running.end();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    // What the terminal says of each attempt: how long until the next one, and at the end all causes.
    let after = |line: &str| {
        let (_, rest) = line.split_once(" starts in ")?;
        let (seconds, restart) = rest.split_once(" s (restart ")?;
        assert!(
            restart.ends_with(" of 3 without a durable checkpoint)"),
            "{line}"
        );
        seconds.parse::<f64>().ok()
    };
    let delays: Vec<f64> = said.lines().filter_map(after).collect();
    assert_eq!(delays.len(), DELAYS_MS.len(), "{said}");
    for (seconds, asked) in delays.into_iter().zip(DELAYS_MS) {
        // It is said in tenths of a second.
        let off = (seconds * 1e3 - asked).abs();
        assert!(
            off <= asked * JITTER + 51.0,
            "{seconds} s of {asked} ms: {said}"
        );
    }
    let failed = "FAILED: job `user-events` is not started again\n";
    let (_, causes) = said.split_once(failed).unwrap();
    let causes: Vec<_> = causes.lines().collect();
    assert_eq!(causes.len(), 4, "{said}");
    for (attempt, line) in (1..).zip(causes) {
        assert!(
            line.starts_with(&format!("  attempt {attempt}, after ")),
            "{said}"
        );
        assert!(line.ends_with(cause), "{said}");
    }

    // Where the event does no harm, the job goes on from its last checkpoint.
    let all = BEFORE + 1 + BEHIND;
    stop_after(&scene, all);
    assert_eq!(scene.records_by_place().len() as u64, all);
}
