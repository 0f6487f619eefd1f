//! What the parts of the reference job cost alone, on one thread unless it says otherwise: where the
//! nanoseconds of an event go, and what no engine can go below.
//!
//! ```text
//! yardsticks [all|bytes|keys|model|disk|exchange|stages]... [--events N] [--users N]
//! ```
//!
//! One line of JSON for each figure.

mod bytes;
mod disk;
mod exchange;
#[path = "../reference_job/input.rs"]
mod input;
mod keys;
mod model;
mod stages;

use std::error::Error;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::input::{Input, Options};

/// As the engine's own binary has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What a run of the bench may fail with.
pub type Failure = Box<dyn Error + Send + Sync>;

/// Measures, and prints what it found.
type Yardstick = fn(&Input) -> Result<(), Failure>;

/// All of them, by name.
const YARDSTICKS: [(&str, Yardstick); 6] = [
    ("bytes", bytes::run),
    ("keys", keys::run),
    ("model", model::run),
    ("disk", disk::run),
    ("exchange", exchange::run),
    ("stages", stages::run),
];

fn main() -> ExitCode {
    // Cargo adds `--bench` to what it was asked to pass on.
    let arguments = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench");
    match run(&arguments.collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("yardsticks: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<(), Failure> {
    let is_name = |argument: &&String| !argument.starts_with("--");
    let named = arguments.iter().take_while(is_name).count();
    let (names, options) = arguments.split_at(named);
    let input = Input::generate(&Options::parse(options)?)?;
    let all = names.is_empty() || names.iter().any(|name| name == "all");
    for name in names.iter().filter(|name| *name != "all") {
        if YARDSTICKS.iter().all(|(known, _)| known != name) {
            return Err(format!("no yardstick `{name}`").into());
        }
    }
    for (name, run) in YARDSTICKS {
        if all || names.iter().any(|wanted| wanted == name) {
            run(&input)?;
        }
    }
    Ok(())
}

/// A figure of nanoseconds an event.
pub fn per_event(name: &str, took: Duration, events: usize) {
    let ns = took.as_secs_f64() * 1e9 / events.max(1) as f64;
    say(&json!({ "name": name, "unit": "ns/event", "value": ns }).to_string());
}

/// All records, partition after partition.
pub fn records(input: &Input) -> impl Iterator<Item = &[u8]> {
    input.partitions.iter().flat_map(|lines| {
        let record = |&(start, end): &(usize, usize)| lines.bytes.get(start..end);
        lines.records.iter().filter_map(record)
    })
}

/// Times what is done for all records, one after the other.
pub fn timed_records(input: &Input, name: &str, mut take: impl FnMut(&[u8])) {
    let start = Instant::now();
    let mut events = 0;
    for record in records(input) {
        take(record);
        events += 1;
    }
    per_event(name, start.elapsed(), events);
}

/// Prints a line of the result.
#[expect(clippy::print_stdout, reason = "its result")]
pub fn say(line: &str) {
    println!("{line}");
}

#[expect(clippy::print_stderr, reason = "why there is no result")]
fn complain(line: &str) {
    eprintln!("{line}");
}
