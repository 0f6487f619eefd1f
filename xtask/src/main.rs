//! The chores of this repository, so that nobody has to remember how a thing is typed:
//! `cargo xtask COMMAND`, one file per command.
//!
//! - `process` starts other programs and says how to repeat them by hand;
//! - `needs` asks for what the gate needs and cannot install;
//! - `tools` puts pinned tools and a Python environment into a cache outside `target`;
//! - `flights` writes real input for a pipeline;
//! - `kafka` starts a real Kafka broker and drives it with Java's own tools; `redis` starts a real Redis server;
//! - `test` is the gate, `refusal` and `oracle` its last steps: the program without the feature for tests, and the
//!   engine against independent programs;
//! - `bench` measures the engine against a hand-written job and stores a report;
//! - `campaign` runs what takes too long for the gate and stores a report;
//! - `audit` asks whether a dependency has a known weakness.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a chore reports to the terminal it was started from"
)]

mod audit;
mod bench;
mod campaign;
mod flights;
mod kafka;
mod needs;
mod oracle;
mod process;
mod redis;
mod refusal;
mod test;
mod tools;

use std::process::ExitCode;

/// A command's name, its arguments as a reader would write them, and what it is for.
const COMMANDS: [(&str, &str, &str); 7] = [
    (
        "test",
        "[--list] [--only STEP[,STEP]]",
        "the gate: everything that must pass before a change lands",
    ),
    (
        "flights",
        "[--flights N] [--out DIR]",
        "real input for pipelines/flights.toml, to flights/ unless told otherwise",
    ),
    (
        "kafka",
        "start | stop | status | topics | produce | consume",
        "a real Kafka broker on this machine; `cargo xtask kafka` lists what each takes",
    ),
    (
        "redis",
        "start | stop | status",
        "a real Redis server on this machine; `cargo xtask redis` lists what each takes",
    ),
    (
        "campaign",
        "fuzz [--cases N] [--seed S] [--target NAME] | kafka [--scale N] | kill [--n KILLS] | redis [--scale N] | stall",
        "a long run with a stored report under docs/reports/",
    ),
    (
        "bench",
        "[--quick | callgrind | kafka [--quick] ... | redis [--quick] ... | features [--quick] ...]",
        "how fast it is, with a stored report under docs/reports/",
    ),
    (
        "audit",
        "",
        "known weaknesses of the dependencies (needs their database)",
    ),
];

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let command = arguments.next();
    let rest: Vec<String> = arguments.collect();
    let outcome = match command.as_deref() {
        Some("test") => test::run(&rest),
        Some("flights") => flights::run(&rest),
        Some("kafka") => kafka::run(&rest),
        Some("redis") => redis::run(&rest),
        Some("campaign") => campaign::run(&rest),
        Some("bench") => bench::run(&rest),
        Some("audit") => audit::run(&rest),
        None | Some("help" | "--help" | "-h") => {
            println!("{}", usage());
            return ExitCode::SUCCESS;
        }
        Some(other) => Err(anyhow::anyhow!("no command `{other}`\n\n{}", usage())),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The list of commands, for `cargo xtask` without arguments and for a mistyped one.
fn usage() -> String {
    let mut text = String::from("usage: cargo xtask COMMAND\n");
    for (name, arguments, purpose) in COMMANDS {
        text.push_str(&format!(
            "\n  {:<44} {purpose}",
            format!("{name} {arguments}")
        ));
    }
    text
}
