//! Records from the standard input: all of them, as from a file, whenever they come.

use std::fs::File;
use std::io::Write;
use std::process::{Command, Stdio};
use std::thread;

use serde_json::Value;

use crate::canonical::mask;
use crate::scene::{self, Ran, Record, Scene, conserved, finish, number};
use crate::waiting::{send, wait_for_records};

const RUN: [&str; 3] = ["run", "job.toml", "--json"];

/// A good event of one of a few users.
fn event(number: usize) -> String {
    scene::event(&format!("u{}", number % 37), 10 * number as i64)
}

/// A scene that reads a file, or with `-` the standard input.
fn scene(path: &str) -> Scene {
    let path = format!("path = \"{path}\"");
    let changes = [
        ("path = \"in.jsonl\"", path.as_str()),
        ("provenance = false", "provenance = true"),
    ];
    Scene::with(&changes, b"")
}

/// A run whose standard input is a pipe with these bytes in it.
fn piped(scene: &Scene, arguments: &[&str], input: &[u8]) -> Ran {
    let mut child = scene
        .command(arguments)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let output = thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input).unwrap());
        child.wait_with_output().unwrap()
    });
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// All records without times and the name of what they came from.
fn canonical(scene: &Scene, topic: &str) -> Vec<(&'static str, String)> {
    let masked = |record: Record| {
        let from = format!("\"topic\":\"{topic}\"");
        let line = record.line.replace(&from, "\"topic\":\"it\"");
        (record.stream, mask(&line).to_string())
    };
    let mut records: Vec<_> = scene.records().into_iter().map(masked).collect();
    records.sort();
    records
}

#[test]
fn are_the_outputs_those_of_a_file() {
    // More than the queue and the blocks on both sides of it hold, with bad lines and no line feed at the end.
    let line = |number: usize| match number % 100 {
        99 => format!("no event {number}\r\n"),
        _ => event(number),
    };
    let input: String = (0..12_000).map(line).collect();
    let input = input.trim_end().as_bytes();
    assert!(input.len() > 1_000_000);

    let from_file = scene("events.jsonl");
    from_file.write("events.jsonl", input);
    assert_eq!(conserved(&from_file.summary()), 12_000);
    let expected = canonical(&from_file, "events.jsonl");

    let through_pipe = scene("-");
    let ran = piped(&through_pipe, &RUN, input).ended(0);
    assert_eq!(conserved(&ran.object()), 12_000);
    assert!(canonical(&through_pipe, "stdin") == expected);
    assert!(
        ran.stderr.contains(": from stdin to `out`"),
        "{}",
        ran.stderr
    );

    let redirected = scene("-");
    redirected.write("events.jsonl", input);
    let file = File::open(redirected.path("events.jsonl")).unwrap();
    finish(redirected.command(&RUN).stdin(file)).ended(0);
    assert!(canonical(&redirected, "stdin") == expected);
}

#[test]
fn is_an_empty_or_closed_input_an_end_like_any_other() {
    let scene = scene("-");
    assert_eq!(conserved(&scene.summary()), 0);
    let mut shell = Command::new("sh");
    let binary = env!("CARGO_BIN_EXE_slackwater");
    shell.args([
        "-c",
        "exec \"$0\" run job.toml --json --overwrite <&-",
        binary,
    ]);
    scene.place(&mut shell);
    // The shell's own is there to be closed.
    let ran = finish(&mut shell).ended(0);
    assert_eq!(conserved(&ran.object()), 0);
}

#[test]
fn is_a_record_of_fifty_mebibytes_refused_by_itself() {
    let long = vec![b'x'; 52_428_800];
    let input = [event(1).as_bytes(), &long, b"\n", event(2).as_bytes()].concat();
    let scene = scene("-");
    let ran = piped(&scene, &RUN, &input).ended(0);
    let summary = ran.object();
    assert_eq!(conserved(&summary), 3);
    assert_eq!(number(&summary, "predictions"), 2);
    let records = scene.records();
    let mut refused = records.iter().filter(|it| it.stream == "validation_errors");
    let refused: Value = serde_json::from_str(&refused.next().unwrap().line).unwrap();
    assert_eq!(refused["code"], "too_large");
    assert_eq!(number(&refused, "original_length"), 52_428_800);
    let source = serde_json::json!({ "topic": "stdin", "partition": 0, "offset": event(1).len() });
    assert_eq!(refused["source"], source);
}

#[test]
fn does_ctrl_c_end_a_run_that_waits_for_a_silent_input() {
    let scene = scene("-");
    let mut child = scene.command(&RUN).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // What comes is handled when it comes, and half a line is no record.
    write!(stdin, "{}{}", event(1), &event(2)[..20]).unwrap();
    wait_for_records(&scene, &mut child, 1);
    write!(stdin, "{}half", &event(2)[20..]).unwrap();
    wait_for_records(&scene, &mut child, 2);
    send("INT", &child);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let summary = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(conserved(&summary), 2);
    drop(stdin);
}

#[test]
fn is_an_input_that_cannot_be_read_named() {
    let scene = scene("-");
    let folder = File::open(scene.path(".")).unwrap();
    let ran = finish(scene.command(&RUN).stdin(folder)).ended(1);
    assert_eq!(ran.stdout, "");
    let last = ran.stderr.lines().last().unwrap();
    assert!(
        last.starts_with("failed: cannot read stdin: Is a directory"),
        "{last}"
    );
}

#[test]
fn are_compressed_bytes_records_like_any_others() {
    let scene = scene("-");
    let gzip = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xff\n";
    let ran = piped(&scene, &RUN, gzip).ended(0);
    let summary = ran.object();
    assert_eq!(
        (conserved(&summary), number(&summary, "validation_errors")),
        (1, 1)
    );
    let record: Value = serde_json::from_str(&scene.records()[0].line).unwrap();
    assert_eq!(record["code"], "not_utf8");
}

#[test]
fn is_the_input_left_alone_by_who_only_looks_at_the_pipeline() {
    let scene = scene("-");
    scene.write("in.jsonl", event(1).as_bytes());
    // One open file for all: what the first ones took, the last one would not find.
    let input = File::open(scene.path("in.jsonl")).unwrap();
    let with_input = |arguments: &[&str]| {
        let input = input.try_clone().unwrap();
        finish(scene.command(arguments).stdin(input)).ended(0)
    };
    let checked = with_input(&["check", "job.toml", "--json"]).object();
    assert_eq!(number(&checked, "partitions"), 1);
    let explained = with_input(&["explain", "job.toml"]).stdout;
    assert!(explained.contains("-, the standard input"), "{explained}");
    let features = with_input(&["features", "job.toml", "--out", "rows", "--json"]);
    assert_eq!(conserved_features(&features.object()), 1);
}

/// Everything read must have become a row of features.
fn conserved_features(summary: &Value) -> u64 {
    let read = number(summary, "read");
    assert_eq!(read, number(summary, "features"), "{summary}");
    read
}
