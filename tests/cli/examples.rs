//! Do the programs in `examples/` print what their comments promise?
//!
//! `cargo test` and nextest build them before they run any test, unless told to build some targets only.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::canonical::mask;
use crate::scene::{STREAMS, Scene, finish, pipeline};

/// A built example: cargo puts it into a folder beside the binary.
fn example(name: &str) -> PathBuf {
    let beside = Path::new(env!("CARGO_BIN_EXE_slackwater"));
    let path = beside.with_file_name("examples").join(name);
    assert!(
        path.exists(),
        "{path:?} is made by `cargo build --examples`"
    );
    path
}

/// What an example prints; it must end well and say nothing else.
fn printed(name: &str) -> String {
    let scene = Scene::new();
    let mut command = Command::new(example(name));
    scene.place(&mut command);
    let ran = finish(&mut command).ended(0);
    assert_eq!(ran.stderr, "", "{name}");
    ran.stdout
}

#[test]
fn are_visits_counted_by_key() {
    let expected = "\
predictions        anna at 10 s: visit 1, counted by worker 0
predictions        anna at 9 s: visit 2, counted by worker 0
predictions        anna at 40 s: visit 3, counted by worker 0
predictions        anna at 131 s: visit 1, counted by worker 0
predictions        ben at 12 s: visit 1, counted by worker 1
predictions        ben at 35 s: visit 2, counted by worker 1
predictions        ben at 130 s: visit 1, counted by worker 1
predictions        carla at 11 s: visit 1, counted by worker 1
predictions        carla at 15 s: visit 2, counted by worker 1
predictions        carla at 140 s: visit 1, counted by worker 1
predictions        dora at 14 s: visit 1, counted by worker 0
predictions        dora at 80 s: visit 1, counted by worker 0
validation_errors  dora
validation_errors  noon ben
late_events        34 ben
15 read = 12 counted + 2 no visit + 1 late + 0 in flight
a graph that forgets the refused does not start: \
rejects of operator `source` are not consumed: every event needs an outcome
";
    // Which worker is first at anything is up to the system.
    for _ in 0..20 {
        assert_eq!(printed("count_by_key"), expected);
    }
}

/// The records that stand below a headline.
fn below<'t>(text: &'t str, headline: &str) -> Vec<&'t str> {
    let lines = text.lines().skip_while(|line| *line != headline).skip(1);
    lines.take_while(|line| line.starts_with('{')).collect()
}

/// What is the same wherever an event was read from.
fn record(line: &str) -> String {
    let mut record = mask(line);
    if let Some(topic) = record.pointer_mut("/source/topic") {
        *topic = Value::from("masked");
    }
    record.to_string()
}

/// The stages put together by hand against the binary that puts them together from a pipeline file.
#[test]
fn do_stages_put_together_by_hand_say_what_the_binary_says() {
    let text = printed("score_events");
    assert_eq!(text, printed("score_events"), "a second time");

    let scene = Scene::new();
    let changes = [
        ("path = \"in.jsonl\"", "path = \"in/*.jsonl\""),
        ("order = \"arrival\"", "order = \"event_time\""),
    ];
    scene.write("job.toml", pipeline(&changes).as_bytes());
    for partition in 0..2 {
        let events = below(&text, &format!("read from partition {partition}"));
        let events = events.join("\n") + "\n";
        scene.write(&format!("in/{partition}.jsonl"), events.as_bytes());
    }
    scene.summary();
    let sorted = |mut records: Vec<String>| {
        records.sort();
        records
    };
    let written = STREAMS.map(|stream| {
        let records = scene.records().into_iter();
        let records = records.filter(|found| found.stream == stream);
        sorted(records.map(|found| record(&found.line)).collect())
    });
    let names = [
        "predictions",
        "validation_errors",
        "processing_errors",
        "late_events",
    ];
    let shown = names.map(|name| below(&text, &format!("written to {name}")));
    let records = |lines: &Vec<&str>| sorted(lines.iter().map(|line| record(line)).collect());
    assert_eq!(shown.each_ref().map(records), written);

    assert_eq!(shown.each_ref().map(Vec::len), [10, 1, 1, 1]);
    assert!(text.ends_with("\n13 read, 0 in flight\n"), "{text}");
    let [scored, ..] = shown;
    let times = scored.iter().map(|line| {
        let record = mask(line);
        (record["user_id"].to_string(), record["event_time"].as_i64())
    });
    assert!(times.is_sorted(), "{scored:?}");
}
