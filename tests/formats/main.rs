//! Can every checkpoint be read that was ever written? Samples of each version of the format lie here for ever.
//!
//! - `sample`: where a sample is, and how the one of the present version is made.
//! - `reading`: what every object of one says, as JSON.
//! - `frames`: what is around it, read without the engine.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test ends at the first surprise"
)]

#[path = "../canonical.rs"]
mod canonical;
mod frames;
mod reading;
mod sample;

use std::{fs, panic};

use serde_json::Value;

use crate::reading::Objects;
use crate::sample::{Job, kept_sample, lines, made_sample};

/// Whether `found` says all that is `expected`. An object may have more fields: a later program says more of what an
/// earlier one has written.
fn says(found: &Value, expected: &Value) -> bool {
    match (found, expected) {
        (Value::Object(found), Value::Object(expected)) => {
            let mut fields = expected.iter();
            fields.all(|(name, expected)| found.get(name).is_some_and(|it| says(it, expected)))
        }
        (Value::Array(found), Value::Array(expected)) => {
            let mut pairs = found.iter().zip(expected);
            found.len() == expected.len() && pairs.all(|(found, expected)| says(found, expected))
        }
        _ => found == expected,
    }
}

fn check(what: &str, found: &[Value], expected: &[Value]) {
    for (found, expected) in found.iter().zip(expected) {
        assert!(
            says(found, expected),
            "{what}: found {found}, expected {expected}"
        );
    }
    assert_eq!(found.len(), expected.len(), "{what}");
}

/// That a sample has something of everything in it that the format has.
fn has_something_of_all(objects: &Objects) {
    let has = |what: &str, is_there: bool| assert!(is_there, "the sample has no {what}");
    has("two claims", objects.claims >= 2);
    has("three checkpoints", objects.manifests.len() >= 3);
    let newest = objects.manifests.last().unwrap();
    has(
        "chain of several objects",
        newest.chains.iter().any(|chain| chain.len() > 1),
    );
    has("two workers", newest.workers == 2);
    has("epoch to be published", !newest.unconfirmed.is_empty());
    has("published epoch", !newest.confirmed.is_empty());
    has(
        "end",
        !newest.complete && newest.partitions.iter().all(|it| !it.finished),
    );
    // The first object of a job is of its first epoch with outputs: one that is whole and later stands for others.
    let first = objects
        .manifests
        .iter()
        .map(|manifest| manifest.epoch)
        .min();
    let mut wholes = newest.chains.iter().flatten().filter(|object| object.whole);
    has("fold", wholes.any(|object| Some(object.epoch) > first));
    has("removal", objects.removals > 0);
    has("bound", objects.bounds > 0);
    has("event that waits", objects.stages.contains("order"));
    has("history", objects.stages.contains("features"));
    has("packed block", objects.packed_blocks > 0);
    has("chunk", objects.chunks > 0);
}

#[test]
fn does_the_sample_of_version_1_have_something_of_all_in_it() {
    let objects = Objects::read(&kept_sample("v1").join("store"));
    has_something_of_all(&objects);
    // One that is made depends here on how quick the machine is.
    assert!(objects.manifests.last().unwrap().unconfirmed.len() > 1);
}

#[test]
fn does_every_object_of_version_1_say_what_it_always_said() {
    let sample = kept_sample("v1");
    let found = Objects::read(&sample.join("store")).lines;
    check(
        "objects",
        &found,
        &lines(&sample.join("expected/objects.jsonl")),
    );
}

#[test]
fn do_the_commands_say_of_version_1_what_they_always_said() {
    let sample = kept_sample("v1");
    let job = Job::copy_of(&sample);
    for (name, found) in job.said_of_checkpoints() {
        let expected = lines(&sample.join(format!("expected/{name}.jsonl")));
        assert!(!expected.is_empty(), "{name}");
        check(name, &found, &expected);
    }
}

#[test]
fn does_a_job_go_on_from_version_1_to_the_outputs_of_a_run_without_it() {
    let sample = kept_sample("v1");
    let outputs = Job::copy_of(&sample).run_to_the_end();
    check(
        "outputs",
        &outputs,
        &lines(&sample.join("expected/outputs.jsonl")),
    );
}

/// The sample of the present version can be made: into a folder that goes with the test, or, if that is asked for, in
/// the place of the one that is kept.
#[test]
fn can_a_sample_be_made() {
    let made = made_sample();
    has_something_of_all(&Objects::read(&made.path().join("store")));
    let outputs = Job::copy_of(made.path()).run_to_the_end();
    let expected = lines(&made.path().join("expected/outputs.jsonl"));
    assert!(expected.len() > 80);
    check("outputs", &outputs, &expected);
}

/// A harness that has never failed proves nothing: one bit of each object is flipped in turn.
#[test]
fn is_each_object_that_was_changed_found() {
    let sample = kept_sample("v1");
    let job = Job::copy_of(&sample);
    let store = job.path("store");
    let expected = lines(&sample.join("expected/objects.jsonl"));
    for line in &expected {
        let path = store.join(line["name"].as_str().unwrap());
        let whole = fs::read(&path).unwrap();
        let mut changed = whole.clone();
        changed[whole.len() / 2] ^= 1;
        fs::write(&path, changed).unwrap();
        let found = panic::catch_unwind(|| Objects::read(&store).lines);
        let is_found = !found.is_ok_and(|found| says(&found.into(), &expected.clone().into()));
        // What a crash has left, nobody reads.
        let is_read = !line["content"].is_null();
        assert!(is_found || !is_read, "{path:?}");
        fs::write(&path, whole).unwrap();
    }
}

#[test]
fn is_what_an_object_does_not_say_any_more_found() {
    let value = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let expected = value(r#"{"a":[1,{"b":null}]}"#);
    for (found, is_there) in [
        (r#"{"a":[1,{"b":null}]}"#, true),
        (r#"{"a":[1,{"b":null,"c":2}],"d":3}"#, true),
        (r#"{"a":[1,{}]}"#, false),
        (r#"{"a":[1,{"b":0}]}"#, false),
        (r#"{"a":[1,{"b":null},2]}"#, false),
        (r#"{"b":[1,{"b":null}]}"#, false),
    ] {
        assert_eq!(says(&value(found), &expected), is_there, "{found}");
    }
}
