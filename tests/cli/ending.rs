//! The end of a run: by itself, by Ctrl-C, by a second Ctrl-C. Whatever was read has its outcome.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::Child;
use std::thread;

use crate::scene::{STREAMS, Scene, conserved, generated, number};
use crate::waiting::{is_full, send, wait_until};

/// Number of SIGINT, the same on every system.
const SIGINT: i32 = 2;

/// Waits until a run has written its first prediction.
fn wait_for_a_prediction(scene: &Scene, child: &mut Child) {
    let path = scene.path("out/ml_predictions/shard-0.jsonl");
    let written = || fs::metadata(&path).is_ok_and(|file| file.len() > 0);
    let mut has_ended = false;
    wait_until(|| {
        has_ended = child.try_wait().unwrap().is_some();
        has_ended || written()
    });
    if has_ended || !written() {
        child.kill().unwrap();
        panic!("no prediction to see (the run has ended: {has_ended})");
    }
}

/// The rows of a table: name, events, where to.
fn rows(stdout: &str) -> Vec<(String, u64, String)> {
    let row = |line: &str| {
        let (name, rest) = line.trim().split_once("  ")?;
        let mut words = rest.split_whitespace();
        let events = words.next()?.replace(',', "").parse().ok()?;
        let (_share, percent) = (words.next()?, words.next()?);
        let to = words.next().unwrap_or_default().to_owned();
        (percent == "%").then(|| (name.to_owned(), events, to))
    };
    stdout.lines().filter_map(row).collect()
}

/// The table must name every stream with its folder, and every event read once. Gives the number read.
fn check_table(scene: &Scene, stdout: &str) -> u64 {
    let rows = rows(stdout);
    let names: Vec<&str> = rows.iter().map(|(name, ..)| name.as_str()).collect();
    let expected = [
        "read",
        "predictions",
        "validation errors",
        "processing errors",
        "late events",
    ];
    assert_eq!(names, expected, "{stdout}");
    let [(_, read, nowhere), streams @ ..] = rows.as_slice() else {
        panic!("no rows in {stdout}");
    };
    assert_eq!(nowhere, "");
    let records = scene.records();
    let mut sum = 0;
    for ((name, events, to), stream) in streams.iter().zip(STREAMS) {
        assert_eq!(to, &format!("out/{stream}"), "{name}");
        let written = records.iter().filter(|record| record.stream == stream);
        assert_eq!(*events, written.count() as u64, "{name}");
        sum += events;
    }
    assert_eq!(sum, *read, "{stdout}");
    // Two more lines: the speed and the latency.
    let lines: Vec<&str> = stdout.lines().rev().take(2).collect();
    assert!(lines[1].contains(" events/s ("), "{stdout}");
    assert!(lines[0].starts_with("read to encoded: p50 "), "{stdout}");
    *read
}

/// Whether a line on stderr is one of those that long runs write now and then.
fn is_progress(line: &str) -> bool {
    let Some((_, said)) = line.split_once("  INFO ") else {
        return false;
    };
    said.starts_with("running job=") || said.starts_with("ended job=")
}

/// What the run without arguments says on stderr before it starts.
fn check_announcement(stderr: &str) {
    assert!(stderr.starts_with("job `user-events` on "), "{stderr}");
    let rest =
        " workers: from 1000000 generated events to `out`, replacing what an earlier run left";
    assert!(stderr.lines().next().unwrap().ends_with(rest), "{stderr}");
}

#[test]
fn does_a_new_user_without_arguments_get_a_million_outcomes() {
    let scene = Scene::new();
    let ran = scene.run(&[]).ended(0);
    check_announcement(&ran.stderr);
    // A machine that takes longer than ten seconds sees lines of progress as well.
    let said = ran.stderr.lines().filter(|line| !is_progress(line));
    assert_eq!(said.count(), 1, "{}", ran.stderr);
    assert_eq!(check_table(&scene, &ran.stdout), 1_000_000);
}

#[test]
fn has_everything_read_before_ctrl_c_its_outcome() {
    let scene = Scene::new();
    // A file of that name in the current folder must not be mistaken for the embedded pipeline, nor
    // leftovers for outputs of this run.
    scene.write("pipelines/user-events.toml", b"no pipeline");
    scene.write("out/ml_predictions/shard-9.jsonl", b"old\n");
    let mut child = scene.command(&[]).spawn().unwrap();
    wait_for_a_prediction(&scene, &mut child);
    send("INT", &child);
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    check_announcement(&stderr);
    let said = "stopping: finishing what has been read; once more ends at once";
    assert_eq!(stderr.lines().nth(1), Some(said));
    let read = check_table(&scene, &String::from_utf8(output.stdout).unwrap());
    assert!((1..1_000_000).contains(&read), "{read} were read");
}

#[test]
fn does_a_service_manager_stop_a_slow_source_too() {
    let scene = Scene::new();
    // At this rate the whole input takes half a minute.
    let changes = [
        ("rate = 0 ", "rate = 1_000 "),
        ("events = 1_000_000", "events = 30_000"),
    ];
    scene.write("job.toml", generated(&changes).as_bytes());
    let mut child = scene
        .command(&["run", "job.toml", "--json"])
        .spawn()
        .unwrap();
    wait_for_a_prediction(&scene, &mut child);
    send("TERM", &child);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let summary = serde_json::from_slice(&output.stdout).unwrap();
    let read = conserved(&summary);
    assert!((1..30_000).contains(&read), "{read} were read");
    assert_eq!(number(&summary, "read"), scene.records().len() as u64);
}

#[test]
fn does_a_second_ctrl_c_end_a_run_that_cannot_finish() {
    let scene = Scene::new();
    let sink = (
        "kind = \"file\"\npath = \"out\"\nshards = 2\n",
        "kind = \"stdout\"\n",
    );
    scene.write("job.toml", generated(&[sink]).as_bytes());
    let mut child = scene.command(&["run", "job.toml"]).spawn().unwrap();
    // Records come, and nobody reads them: what one poll brings is more than a pipe holds.
    let mut first = [0; 1];
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut first).unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(
        said.next()
            .unwrap()
            .unwrap()
            .starts_with("job `user-events`")
    );
    send("INT", &child);
    assert!(said.next().unwrap().unwrap().starts_with("stopping: "));
    assert_eq!(child.try_wait().unwrap(), None);
    send("INT", &child);
    wait_until(|| child.try_wait().unwrap().is_some());
    drop(stdout);
    assert_eq!(child.wait().unwrap().signal(), Some(SIGINT));
}

/// Who started the job reads its results and not its messages: a pipe for these that is full keeps neither a
/// signal nor the end from it.
#[test]
fn does_a_stop_need_nobody_to_read_stderr() {
    let scene = Scene::new();
    let pipeline = generated(&[("rate = 0 ", "rate = 1_000 ")]);
    scene.write("job.toml", pipeline.as_bytes());
    let (unread, stderr) = std::io::pipe().unwrap();
    let mut full = stderr.try_clone().unwrap();
    let mut command = scene.command(&["run", "job.toml", "--json"]);
    command.stderr(stderr);
    let mut child = command.spawn().unwrap();
    wait_for_a_prediction(&scene, &mut child);
    // The announcement is there; from now on no message fits any more.
    let filled = thread::spawn(move || full.write_all(&[b'.'; 1 << 20]));
    assert!(wait_until(|| is_full(&unread)));
    send("TERM", &child);
    let mut ended = None;
    wait_until(|| {
        ended = child.try_wait().unwrap();
        ended.is_some()
    });
    let ended = ended.unwrap_or_else(|| {
        child.kill().unwrap();
        panic!("it hangs")
    });
    assert!(ended.success(), "{ended}");
    drop(unread);
    assert!(filled.join().unwrap().is_err(), "nobody has read it");
}
