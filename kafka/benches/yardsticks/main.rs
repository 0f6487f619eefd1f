//! What clients of Kafka cost without an engine between them, and how long a record takes from one to the other: what the
//! engine is compared with. Also what a bench needs beside it: an input, a load at a steady rate, a count of what came out.
//!
//! ```text
//! yardsticks load               --brokers B --topic T --files A,B,...        a file of lines for each partition
//! yardsticks consume            --brokers B --topic T --records N
//! yardsticks produce            --brokers B --to T --sample FILE --records N
//! yardsticks consume-to-produce --brokers B --topic T --to T --sample FILE --records N
//! yardsticks settle             --brokers B --topics T,... --records N       waits until they are there
//! yardsticks count              --brokers B --topics T,... --records N [--sample FILE]
//! yardsticks latency            --brokers B --topic T --topics T,... --files A,B,... --rate R --seconds S --warm-up S
//! yardsticks one-record         --brokers B --topic T --records N
//! yardsticks transaction        --brokers B --topic T --records N            each of a hundred records
//! ```
//!
//! One command a run, one line of JSON. What a run costs is measured from outside, as it is for the engine.

mod arguments;
mod clients;
mod sample;
mod throughput;
mod counting;
mod load;
mod latency;

use std::error::Error;
use std::process::ExitCode;

use serde_json::Value;

use crate::arguments::Arguments;

/// What a run may fail with.
pub type Failure = Box<dyn Error + Send + Sync>;

fn main() -> ExitCode {
    // Cargo adds `--bench` to what it was asked to pass on.
    let arguments = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench");
    match run(&arguments.collect::<Vec<_>>()) {
        Ok(found) => {
            say(&found.to_string());
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(&format!("yardsticks: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<Value, Failure> {
    let (command, rest) = arguments
        .split_first()
        .ok_or("which yardstick? the head of its source lists them")?;
    let arguments = Arguments::parse(rest)?;
    match command.as_str() {
        "load" => throughput::load(&arguments),
        "consume" => throughput::consume(&arguments),
        "produce" => throughput::produce(&arguments),
        "consume-to-produce" => throughput::consume_to_produce(&arguments),
        "settle" => counting::settle(&arguments),
        "count" => counting::count(&arguments),
        "latency" => latency::under_load(&arguments),
        "one-record" => latency::one_record(&arguments),
        "transaction" => latency::transaction(&arguments),
        other => Err(format!("no yardstick `{other}`").into()),
    }
}

#[expect(clippy::print_stdout, reason = "its result")]
fn say(line: &str) {
    println!("{line}");
}

#[expect(clippy::print_stderr, reason = "why there is no result")]
fn complain(line: &str) {
    eprintln!("{line}");
}
