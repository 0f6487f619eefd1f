//! Compressed input: the outputs of the plain file, or an error that says how far it was good.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::canonical::mask;
use crate::scene::{Record, Scene, conserved};

/// Enough that a compressed half of them still has whole records in it.
const EVENTS: usize = 5_000;

/// Good events of a few users; every hundredth line is none.
fn input() -> Vec<u8> {
    let line = |number: usize| {
        if number % 100 == 99 {
            return format!("no event {number}\n");
        }
        let (user, time) = (number % 37, 1_767_225_600_000 + 10 * number);
        format!(
            r#"{{"user_id":"u{user}","product_id":"p","category":"c","event_type":"view","timestamp_ms":{time}}}{}"#,
            '\n'
        )
    };
    (0..EVENTS).map(line).collect::<String>().into()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstandard(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

/// A scene that reads one file of this name.
fn scene(name: &str, bytes: &[u8]) -> Scene {
    let path = format!("path = \"{name}\"");
    let changes = [
        ("path = \"in.jsonl\"", path.as_str()),
        ("provenance = false", "provenance = true"),
        ("workers = 0 ", "workers = 1 "),
    ];
    let scene = Scene::with(&changes, b"");
    scene.write(name, bytes);
    scene
}

/// The records of a whole run, without times and the file's own name.
fn outputs(name: &str, bytes: &[u8]) -> Vec<Record> {
    let scene = scene(name, bytes);
    assert_eq!(conserved(&scene.summary()), EVENTS as u64);
    let named = |record: &Record| Record {
        stream: record.stream,
        line: canonical(&record.line).replace(name, "in.jsonl"),
    };
    scene.records().iter().map(named).collect()
}

fn canonical(line: &str) -> String {
    mask(line).to_string()
}

#[test]
fn are_the_outputs_those_of_the_plain_file() {
    let input = input();
    let plain = outputs("in.jsonl", &input);
    // Two members, two frames, cut in the middle of a line.
    let (first, second) = input.split_at(input.len() / 2 + 3);
    for (name, bytes) in [
        ("events.jsonl.gz", [gzip(first), gzip(second)].concat()),
        (
            "events.jsonl.zst",
            [zstandard(first), zstandard(second)].concat(),
        ),
    ] {
        assert_eq!(outputs(name, &bytes), plain, "{name}");
    }
}

#[test]
fn does_a_file_that_is_cut_short_end_the_run() {
    for (name, bytes) in [
        ("a.jsonl.gz", gzip(&input())),
        ("a.zst", zstandard(&input())),
    ] {
        let ran = scene(name, &bytes[..bytes.len() / 2]).run(&["run", "job.toml", "--json"]);
        let ran = ran.ended(1);
        assert_eq!(ran.stdout, "");
        let last = ran.stderr.lines().last().unwrap();
        assert!(
            last.starts_with(&format!("failed: cannot read {name}: the ")),
            "{last}"
        );
        assert!(
            last.contains(" is cut short or damaged; it was read up to byte "),
            "{last}"
        );
    }
}
