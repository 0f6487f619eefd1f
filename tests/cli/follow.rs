//! Files that grow while they are read: every line counts once it is whole, and nothing is lost in silence.

use std::fs::{self, File};
use std::io::Write;
use std::process::Child;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::scene::{self, START, Scene, conserved, pipeline};
use crate::waiting::{send, wait_for_records, wait_until};

/// A good event of a user of its own.
fn event(number: usize) -> String {
    scene::event(&format!("u{number}"), 10 * number as i64)
}

/// A scene with two files, which are followed, and the run.
fn start() -> (Scene, Child) {
    let scene = Scene::new();
    let follow = (
        "path = \"in.jsonl\"",
        "path = \"in/*.jsonl\"\nfollow = true",
    );
    scene.write("job.toml", pipeline(&[follow]).as_bytes());
    scene.write("in/a.jsonl", event(0).as_bytes());
    scene.write("in/b.jsonl", b"");
    let child = scene
        .command(&["run", "job.toml", "--json"])
        .spawn()
        .unwrap();
    (scene, child)
}

fn append(scene: &Scene, name: &str, text: &str) {
    let path = scene.path(name);
    let mut file = File::options().append(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

#[test]
fn is_what_is_appended_handled_until_ctrl_c() {
    let (scene, mut child) = start();
    wait_for_records(&scene, &mut child, 1);
    let (first, rest) = (&event(2)[..30], &event(2)[30..]);
    append(&scene, "in/b.jsonl", &format!("{}{first}", event(1)));
    wait_for_records(&scene, &mut child, 2);
    append(&scene, "in/b.jsonl", &format!("{rest}unfinished"));
    append(&scene, "in/a.jsonl", "no event\n");
    // A file that comes later is found.
    scene.write("in/c.jsonl", event(9).as_bytes());
    wait_for_records(&scene, &mut child, 5);
    append(&scene, "in/c.jsonl", "no event either\n");
    wait_for_records(&scene, &mut child, 6);
    send("INT", &child);
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert!(
        stderr.contains(": from `in/*.jsonl`, followed until stopped, to `out`"),
        "{stderr}"
    );
    let summary = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(conserved(&summary), 6);
    let records = scene.records();
    assert!(
        records
            .iter()
            .all(|record| !record.line.contains("unfinished"))
    );
    let named = "\"source\":{\"topic\":\"in/c.jsonl\",\"partition\":2,";
    assert!(records.iter().any(|record| record.line.contains(named)));
}

#[test]
fn is_what_waits_for_event_time_handled_after_ctrl_c() {
    let scene = Scene::new();
    let changes = [
        (
            "path = \"in.jsonl\"",
            "path = \"in/*.jsonl\"\nfollow = true",
        ),
        ("order = \"arrival\"", "order = \"event_time\""),
    ];
    scene.write("job.toml", pipeline(&changes).as_bytes());
    let events: String = [0, 1_000, 2_000].map(event).concat();
    scene.write("in/a.jsonl", events.as_bytes());
    scene.write("in/b.jsonl", events.as_bytes());
    let mut child = scene
        .command(&["run", "job.toml", "--json"])
        .spawn()
        .unwrap();
    // The watermark has passed the first ones, so all have been read, and the last ones wait for it.
    wait_for_records(&scene, &mut child, 2);
    send("INT", &child);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let summary = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(conserved(&summary), 6);
}

#[test]
fn is_a_file_that_did_not_only_grow_an_error_that_says_what_to_do() {
    let check = |act: &dyn Fn(&Scene), expected: &str| {
        let (scene, mut child) = start();
        wait_for_records(&scene, &mut child, 1);
        act(&scene);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(output.stdout.is_empty());
        let stderr = String::from_utf8(output.stderr).unwrap();
        let said = format!(
            "failed: cannot read in/a.jsonl: {expected}, after it had been read to byte {}; a file that is \
             followed may only grow: put it back and let each new file have a name of its own, or start over \
             (with a checkpoint store, `--fresh`)",
            event(0).len()
        );
        assert_eq!(stderr.lines().last(), Some(said.as_str()));
    };
    check(
        // In one step: a look in between must not find it empty.
        &|scene| {
            let file = File::options().write(true).open(scene.path("in/a.jsonl"));
            file.unwrap().set_len(4).unwrap();
        },
        "it was cut at byte 4",
    );
    check(
        &|scene| fs::remove_file(scene.path("in/a.jsonl")).unwrap(),
        "it was deleted or renamed",
    );
}

/// A job in event-time order with checkpoints, whose files are followed and may fall silent.
fn with_silences() -> Scene {
    let scene = Scene::new();
    let form = "form = \"envelope\"\n";
    let recovery = format!("{form}[checkpoint]\ninterval = \"50ms\"\nmin_pause = \"0s\"\n");
    let disorder = "max_out_of_orderness = \"2s\"";
    let idle = format!("{disorder}\nidle_timeout = \"400ms\"");
    let changes = [
        (
            "path = \"in.jsonl\"",
            "path = \"in/*.jsonl\"\nfollow = true",
        ),
        ("order = \"arrival\"", "order = \"event_time\""),
        ("provenance = false", "provenance = true"),
        (disorder, &idle),
        (form, &recovery),
    ];
    scene.write("job.toml", pipeline(&changes).as_bytes());
    scene
}

/// Lines of events at these seconds, each of a user of its own.
fn events(name: &str, seconds: &[i64]) -> String {
    let event = |&second: &i64| scene::event(&format!("{name}{second}"), second * 1_000);
    seconds.iter().map(event).collect()
}

/// A file that speaks, a second of event time each time.
struct Speaker<'a> {
    scene: &'a Scene,
    name: &'a str,
    second: i64,
}

impl Speaker<'_> {
    /// Speaks until an event of this partition and second is visible.
    fn until(&mut self, place: (u64, i64)) {
        let mut said = Instant::now();
        let is_there = wait_until(|| {
            if said.elapsed() > Duration::from_millis(100) {
                said = Instant::now();
                self.second += 1;
                let path = format!("in/{}.jsonl", self.name);
                append(self.scene, &path, &events(self.name, &[self.second]));
            }
            predictions(self.scene).contains(&place)
        });
        let found = predictions(self.scene);
        assert!(is_there, "{place:?} is not in {found:?}");
    }
}

/// Partition and second of each prediction that is visible, sorted by time.
fn predictions(scene: &Scene) -> Vec<(u64, i64)> {
    let mut found: Vec<_> = committed(scene, "ml_predictions")
        .iter()
        .map(|record| {
            let time = record["event_time"].as_i64().unwrap();
            let partition = record["partition"].as_u64().unwrap();
            (partition, (time - START) / 1_000)
        })
        .collect();
    found.sort_by_key(|&(partition, second)| (second, partition));
    found
}

/// Visible records of a stream.
fn committed(scene: &Scene, stream: &str) -> Vec<Value> {
    let mut records = Vec::new();
    for shard in 0..2 {
        let name = format!("out/{stream}/shard-{shard}.jsonl");
        let length = fs::read_to_string(scene.path(format!("{name}.committed")));
        let length = length.unwrap_or_default().trim().parse().unwrap_or(0);
        let bytes = fs::read(scene.path(&name)).unwrap_or_default();
        let text = str::from_utf8(&bytes[..length]).unwrap();
        records.extend(
            text.lines()
                .map(|line| serde_json::from_str::<Value>(line).unwrap()),
        );
    }
    records
}

fn run(scene: &Scene) -> Child {
    let run = scene.command(&["run", "job.toml", "--json"]).spawn();
    run.unwrap()
}

/// Late events that are visible, sorted: partition, second, code.
fn late(scene: &Scene) -> Vec<(u64, i64, String)> {
    let late = committed(scene, "late_events_dlq");
    let late = late.iter().map(|record| {
        let time = record["event_time"].as_i64().unwrap();
        let partition = record["source"]["partition"].as_u64().unwrap();
        let code = record["code"].as_str().unwrap();
        (partition, (time - START) / 1_000, code.to_owned())
    });
    let mut late: Vec<_> = late.collect();
    late.sort();
    late
}

#[test]
fn does_event_time_go_on_without_a_file_that_is_silent_through_a_kill() {
    let scene = with_silences();
    scene.write("in/a.jsonl", events("a", &[10, 20]).as_bytes());
    scene.write("in/b.jsonl", events("b", &[10]).as_bytes());
    let mut child = run(&scene);
    // The second holds the first back at 8 until it is idle.
    let mut a = Speaker {
        scene: &scene,
        name: "a",
        second: 20,
    };
    a.until((0, 24));
    assert!(predictions(&scene).contains(&(1, 10)));
    send("KILL", &child);
    child.wait().unwrap();
    let child = run(&scene);
    a.until((0, a.second + 2));
    // It speaks: what is older than what the first had reached is late, the rest is not.
    let ahead = a.second + 10;
    append(&scene, "in/b.jsonl", &events("b", &[15, ahead]));
    a.until((1, ahead));
    assert_eq!(late(&scene), [(1, 15, "late".to_owned())]);
    // A new file begins at what had been reached.
    let ahead = a.second + 10;
    scene.write("in/c.jsonl", events("c", &[16, ahead]).as_bytes());
    a.until((2, ahead));
    scene.run(&["stop", "job.toml"]).ended(0);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let new = (2, 16, "late_new_partition".to_owned());
    assert_eq!(late(&scene), [(1, 15, "late".to_owned()), new]);
    // Each once; what waits for the watermark is in the state, and comes when the job goes on.
    let of_a: Vec<_> = predictions(&scene)
        .into_iter()
        .filter_map(|(partition, second)| (partition == 0).then_some(second))
        .collect();
    let said: Vec<_> = [10].into_iter().chain(20..).take(of_a.len()).collect();
    assert_eq!(of_a, said);
}

#[test]
fn does_a_followed_file_go_on_where_it_was_and_is_another_one_refused() {
    let scene = with_silences();
    scene.write("in/a.jsonl", events("a", &[0, 10, 20]).as_bytes());
    scene.write("in/b.jsonl", events("b", &[0, 10, 20]).as_bytes());
    for round in 0..2 {
        let child = run(&scene);
        let second = 10 * (round + 3);
        append(&scene, "in/a.jsonl", &events("a", &[second]));
        append(&scene, "in/b.jsonl", &events("b", &[second]));
        let expected: Vec<_> = (0..second / 10)
            .flat_map(|ten| [(0, 10 * ten), (1, 10 * ten)])
            .collect();
        assert!(
            wait_until(|| predictions(&scene) == expected),
            "{:?}",
            predictions(&scene)
        );
        scene.run(&["stop", "job.toml"]).ended(0);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
    }
    let refused = |expected: &str| {
        let ran = scene.run(&["run", "job.toml"]).ended(3);
        let expected = format!("in/a.jsonl: {expected}");
        assert!(ran.stderr.contains(&expected), "{}", ran.stderr);
    };
    let content = fs::read_to_string(scene.path("in/a.jsonl")).unwrap();
    scene.write("in/a.jsonl", &content.as_bytes()[..4]);
    refused("it is shorter than what was read of it");
    let other = content.replace("\"a", "\"z");
    scene.write("in/a.jsonl", format!("{other}{other}").as_bytes());
    refused("it is not the file that was read");
    // It comes back.
    scene.write("in/a.jsonl", content.as_bytes());
    let child = run(&scene);
    append(&scene, "in/a.jsonl", &events("a", &[100]));
    append(&scene, "in/b.jsonl", &events("b", &[100]));
    assert!(wait_until(|| predictions(&scene).contains(&(1, 40))));

    // Another file in its place while the job runs: it ends, and no attempt begins with that one.
    scene.write("in/z", format!("{other}{other}{other}").as_bytes());
    fs::rename(scene.path("in/z"), scene.path("in/a.jsonl")).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("in/a.jsonl: another file was put in its place"),
        "{said}"
    );
    refused("it is not the file that was read");
}

#[test]
fn is_a_compressed_file_among_them_refused_at_once() {
    let scene = Scene::new();
    let follow = ("path = \"in.jsonl\"", "path = \"in/*\"\nfollow = true");
    scene.write("job.toml", pipeline(&[follow]).as_bytes());
    scene.write("in/a.jsonl.gz", b"");
    let ran = scene.run(&["run", "job.toml"]).ended(3);
    assert!(
        ran.stderr
            .starts_with("preflight failed: cannot follow in/a.jsonl.gz: it is compressed"),
        "{}",
        ran.stderr
    );
}
