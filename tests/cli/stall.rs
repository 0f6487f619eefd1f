//! A reader of the outputs that stalls: the job waits, in bounded memory, and loses nothing.
//!
//! Five seconds in the gate. `cargo xtask campaign stall` makes it a minute and keeps the figures.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::scene::{Scene, TO_STDOUT, conserved, generated};

/// Seconds to stall, if not five.
const SECONDS: &str = "SLACKWATER_STALL_SECONDS";
/// A file to append the figures to, as one line of JSON.
const FIGURES: &str = "SLACKWATER_STALL_FIGURES";

/// Events of a run: unbounded, all of them would have been read before the stall is over, and would take
/// more than is allowed.
const EVENTS: &str = "500_000";

/// What the process may take: 131,072 events in flight at up to 1 KB each (record, row, cells, vector,
/// output), 50 MB for the program and its model, and some for what allocators keep.
const MEMORY_BYTES_MAX: u64 = 192 * 1024 * 1024;

/// Resident bytes of a process.
fn resident_bytes(child: &Child) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    // A process that has just ended has none.
    let kib = line.and_then(|line| line.split_whitespace().next());
    kib.map_or(0, |kib| kib.parse::<u64>().unwrap() * 1024)
}

fn stall(order: &str) {
    let seconds = std::env::var(SECONDS).map_or(5, |seconds| seconds.parse().unwrap());
    let order_key = format!("order = \"{order}\"");
    let scene = Scene::new();
    let changes = [
        ("events = 1_000_000", &*format!("events = {EVENTS}")),
        ("users = 100_000", "users = 1_000"),
        ("order = \"arrival\"", &order_key),
        TO_STDOUT,
    ];
    scene.write("job.toml", generated(&changes).as_bytes());
    let mut command = scene.command(&["run", "job.toml", "--json"]);
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    assert!(first.starts_with("{\"stream\":"), "{first}");
    let start = Instant::now();
    let mut most = 0;
    while start.elapsed() < Duration::from_secs(seconds) {
        assert!(
            child.try_wait().unwrap().is_none(),
            "nobody reads, yet it ended"
        );
        most = most.max(resident_bytes(&child));
        thread::sleep(Duration::from_millis(20));
    }
    let mut records = 1;
    for line in lines {
        line.unwrap();
        records += 1;
        // Not at the last one: then there may be no process any more.
        if records % 50_000 == 25_000 {
            most = most.max(resident_bytes(&child));
        }
    }
    let mut said = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert!(child.wait().unwrap().success(), "{said}");
    let summary = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    assert_eq!(conserved(&summary).to_string(), EVENTS.replace('_', ""));
    assert_eq!(records, conserved(&summary), "each event has a record");
    assert!(most < MEMORY_BYTES_MAX, "{order}: {most} bytes");
    if let Ok(path) = std::env::var(FIGURES) {
        let figures = json!({
            "order": order, "seconds": seconds, "events": records, "resident_bytes_max": most,
            "resident_bytes_bound": MEMORY_BYTES_MAX,
        });
        // In one piece: the other test may be writing as well.
        let figures = format!("{figures}\n");
        let mut file = fs::File::options()
            .create(true)
            .append(true)
            .open(path)
            .unwrap();
        file.write_all(figures.as_bytes()).unwrap();
    }
}

#[test]
fn does_a_reader_that_stalls_fill_no_memory_in_arrival_order() {
    stall("arrival");
}

#[test]
fn does_a_reader_that_stalls_fill_no_memory_in_event_time_order() {
    stall("event_time");
}
