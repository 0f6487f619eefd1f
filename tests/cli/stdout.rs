//! Records on the standard output: all of them, each with its stream, and nothing else there.

use std::io::{BufRead, BufReader};

use serde_json::Value;

use crate::canonical::mask;
use crate::scene::{STREAMS, Scene, TO_STDOUT, conserved, generated, number};

/// A scene with a generator of so many events.
fn scene(events: &str, sink: Option<(&str, &str)>) -> Scene {
    let events = format!("events = {events}");
    let events = ("events = 1_000_000", events.as_str());
    let changes: Vec<_> = [Some(events), sink].into_iter().flatten().collect();
    let scene = Scene::new();
    scene.write("job.toml", generated(&changes).as_bytes());
    scene
}

#[test]
fn are_the_records_those_of_the_files() {
    let files = scene("20_000", None);
    assert_eq!(conserved(&files.summary()), 20_000);
    let records = files.records().into_iter();
    let mut expected: Vec<_> = records
        .map(|record| (record.stream.to_owned(), mask(&record.line).to_string()))
        .collect();
    expected.sort();

    let scene = scene("20_000", Some(TO_STDOUT));
    let ran = scene.run(&["run", "job.toml", "--json"]).ended(0);
    let lines = ran.stdout.lines().map(|line| {
        let value: Value = serde_json::from_str(line).unwrap();
        let stream = value["stream"].as_str().unwrap().to_owned();
        // The record's own bytes are those of the files.
        let start = format!("{{\"stream\":\"{stream}\",\"record\":");
        let record = line
            .strip_prefix(&start)
            .and_then(|line| line.strip_suffix('}'));
        (stream, mask(record.unwrap()).to_string())
    });
    let mut found: Vec<_> = lines.collect();
    found.sort();
    assert_eq!(found.len(), 20_000);
    assert!(found == expected, "the records differ");
    assert!(
        STREAMS
            .iter()
            .all(|stream| found.iter().any(|(name, _)| name == stream))
    );

    let said: Vec<_> = ran.stderr.lines().collect();
    let [start, object] = said.as_slice() else {
        panic!("{said:?}");
    };
    assert!(start.ends_with("to stdout (at least once)"), "{start}");
    let object: Value = serde_json::from_str(object).unwrap();
    assert_eq!(conserved(&object), 20_000);
    assert_eq!(object["outputs"]["predictions"], "stdout");
    assert!(number(&object, "predictions") > 0);
}

#[test]
fn does_a_reader_that_has_seen_enough_end_the_run_well() {
    // Far more than a pipe holds, so that the run cannot be over before the reader goes away.
    let scene = scene("100_000_000", Some(TO_STDOUT));
    let mut child = scene.command(&["run", "job.toml"]).spawn().unwrap();
    let mut line = String::new();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    reader.read_line(&mut line).unwrap();
    assert!(line.starts_with("{\"stream\":\""), "{line}");
    drop(reader);
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    let last = stderr.lines().last().unwrap();
    assert_eq!(
        last,
        "the reader of stdout has gone away: the run ended before its input did"
    );
}
