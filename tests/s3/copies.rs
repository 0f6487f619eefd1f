//! Two copies of one job on one bucket, on two machines: does the newest win, and does the other one do no harm?
//!
//! There is no lock that both see. Each copy has a folder for sockets of its own here, as on machines of their own.

use std::fs;
use std::path::Path;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};

use crate::content::content;
use crate::job::{Job, Running};
use crate::jobs::{check_outputs, job, machine, progress, variation};
use crate::server::Server;

/// Parts of all streams, below a folder of outputs.
fn parts(outputs: &Path) -> Vec<std::path::PathBuf> {
    let streams = [
        "ml_predictions",
        "validation_errors",
        "processing_errors",
        "late_events_dlq",
    ];
    let parts = streams.iter().flat_map(|stream| {
        let shards = [0, 1].into_iter();
        shards.map(move |shard| outputs.join(stream).join(format!("shard-{shard}.jsonl")))
    });
    parts.collect()
}

/// What a part holds for its readers.
fn committed(part: &Path) -> Vec<u8> {
    let mut bytes = fs::read(part).unwrap();
    let length = fs::read_to_string(format!("{}.committed", part.display())).unwrap();
    bytes.truncate(length.trim().parse().unwrap());
    bytes
}

/// Checks that a copy has ended because another one has the job, and says which.
fn check_replaced(job: &Job, running: Running, by: &Running) {
    let winner = by.worker().unwrap().as_raw_nonzero();
    let status = running.wait();
    let said = job.said();
    assert_eq!(status.code(), Some(4), "{said}");
    let host = rustix::system::uname();
    let host = host.nodename().to_string_lossy();
    let process = format!("on {host}, process {winner}");
    let last = said
        .lines()
        .rfind(|line| line.contains("generation"))
        .unwrap_or_default();
    assert!(last.contains(&process), "{process}: {said}");
}

#[test]
fn does_the_newest_copy_win() {
    let (server, here, there) = (Server::start(), machine(), machine());
    // Their outputs go nowhere, so nothing but the bucket lies between them.
    let copy = |machine: &Path| {
        let mut job = job(server.port, machine, variation(60));
        job.rewrite(|text| {
            let sink = text.find("\n[sink]").unwrap();
            let at = sink + text[sink..].find("kind = ").unwrap();
            let end = at + text[at..].find('\n').unwrap();
            let text = format!("{}kind = \"discard\"{}", &text[..at], &text[end..]);
            let path = text[sink..].find("\npath = ").unwrap() + sink + 1;
            let end = path + text[path..].find('\n').unwrap();
            format!("{}{}", &text[..path], &text[end..])
        });
        job
    };
    let (older, newer) = (copy(here.path()), copy(there.path()));
    let first = older.start();
    wait_for_checkpoint(&older);
    let second = newer.start();
    wait_for_checkpoint(&newer);
    check_replaced(&older, first, &second);
    // The winner is not disturbed.
    wait_for_checkpoint(&newer);
    assert!(newer.command(&["stop"]).output().unwrap().status.success());
    assert!(second.wait().success(), "{}", newer.said());
}

/// Waits until a job has had another durable checkpoint.
fn wait_for_checkpoint(job: &Job) {
    let count = || {
        let ran = job.command(&["status", "--json"]).output().unwrap();
        let status: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap_or_default();
        status["last"]["checkpoints"]["completed"]
            .as_u64()
            .unwrap_or(0)
    };
    let before = count();
    crate::jobs::wait_until(job, || count() > before);
}

fn signal(processes: &[Pid], signal: Signal) {
    for process in processes {
        kill_process(*process, signal).unwrap();
    }
}

#[test]
fn does_a_copy_that_was_frozen_write_nothing_that_counts() {
    let (server, here, there) = (Server::start(), machine(), machine());
    let variation = variation(15);
    let stale = job(server.port, here.path(), variation);
    let mut first = stale.start();
    progress(&stale, &mut first);
    let processes = [first.pid(), first.worker().unwrap()];
    signal(&processes, Signal::STOP);
    // Its outputs lock only its own machine: the successor has a copy of them, as they are.
    let successor = job(server.port, there.path(), variation);
    let mut copy = Command::new("cp");
    copy.arg("-a").arg(&stale.outputs).arg(&successor.outputs);
    assert!(copy.status().unwrap().success());
    let mut second = successor.start();
    progress(&successor, &mut second);
    signal(&processes, Signal::CONT);
    check_replaced(&stale, first, &second);
    assert!(second.wait().success(), "{}", successor.said());
    check_outputs(&successor, variation);
    // What the stale one has published before or after that is what its successor has published too.
    let (one, other) = (parts(&stale.outputs), parts(&successor.outputs));
    for (one, other) in one.iter().zip(&other) {
        assert!(committed(other).starts_with(&committed(one)), "{one:?}");
    }
    assert!(content(&stale.outputs).len() > 1);
}

#[test]
fn does_a_copy_that_cannot_begin_leave_the_other_one_alone() {
    let (server, here, there) = (Server::start(), machine(), machine());
    let variation = variation(25);
    let first = job(server.port, here.path(), variation);
    let mut second = job(server.port, there.path(), variation);
    // The same outputs, which only one of them can have.
    let (from, to) = (
        second.outputs.display().to_string(),
        first.outputs.display().to_string(),
    );
    second.rewrite(|text| text.replace(&from, &to));
    let mut running = first.start();
    progress(&first, &mut running);
    let worker = running.worker().unwrap().as_raw_nonzero();
    let refused = second.start().wait();
    let said = second.said();
    assert_eq!(refused.code(), Some(4), "{said}");
    let message = format!("another process (pid {worker}) writes its outputs there");
    assert!(said.contains(&message), "{said}");
    // It has claimed nothing.
    assert!(running.wait().success(), "{}", first.said());
    check_outputs(&first, variation);
    assert!(!first.said().contains("attempt 2"), "{}", first.said());
    assert!(Path::new(&to).is_dir());
}
