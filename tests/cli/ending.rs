//! The end of a run: by itself, by Ctrl-C, by a second Ctrl-C. Whatever was read has its outcome.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Stdio};

use crate::scene::{STREAMS, Scene, TO_STDOUT, conserved, event, generated, number, pipeline};
use crate::waiting::{send, wait_for_records, wait_until};

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
    let said = "stopping: finishing what is in flight; once more ends at once";
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
    scene.write("job.toml", generated(&[TO_STDOUT]).as_bytes());
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

/// Fills a pipe, so that whoever writes to it waits.
fn fill(pipe: &impl AsRawFd) {
    // Opened anew: the one that the run has must go on waiting.
    let mut pipe = File::options()
        .write(true)
        .custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32)
        .open(format!("/proc/self/fd/{}", pipe.as_raw_fd()))
        .unwrap();
    for size in [4096, 1] {
        while pipe.write(&[b'x'; 4096][..size]).is_ok() {}
    }
}

/// A run that has handled what there is, and whose stderr nobody reads any more.
fn unread(scene: &Scene, change: (&str, &str), stdout: Stdio) -> (Child, io::PipeReader) {
    let follow = ("path = \"in.jsonl\"", "path = \"in.jsonl\"\nfollow = true");
    scene.write("job.toml", pipeline(&[follow, change]).as_bytes());
    let (mut said, stderr) = io::pipe().unwrap();
    let pipe = stderr.try_clone().unwrap();
    let mut command = scene.command(&["run", "job.toml", "--json"]);
    let child = command.stdout(stdout).stderr(stderr).spawn().unwrap();
    // What it says before it begins.
    let mut byte = [0];
    while byte != *b"\n" {
        said.read_exact(&mut byte).unwrap();
    }
    fill(&pipe);
    (child, said)
}

#[test]
fn is_a_signal_obeyed_while_nobody_reads_stderr() {
    let scene = Scene::new();
    scene.write("in.jsonl", event("u", 0).as_bytes());
    let none = ("provenance = false", "provenance = true");
    let (mut child, said) = unread(&scene, none, Stdio::piped());
    wait_for_records(&scene, &mut child, 1);
    send("TERM", &child);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let summary = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(conserved(&summary), 1);
    drop(said);
}

#[test]
fn is_a_second_signal_obeyed_while_nobody_reads_stderr() {
    let scene = Scene::new();
    // More than a pipe holds: the run cannot finish either.
    let events = event("u", 0).repeat(10_000);
    scene.write("in.jsonl", events.as_bytes());
    let (mut child, said) = unread(&scene, TO_STDOUT, Stdio::piped());
    let mut first = [0; 1];
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut first).unwrap();
    // Two that come at the same time are one.
    let has_ended = wait_until(|| {
        send("TERM", &child);
        child.try_wait().unwrap().is_some()
    });
    drop((stdout, said));
    assert!(has_ended);
    assert_eq!(child.wait().unwrap().signal(), Some(15));
}
