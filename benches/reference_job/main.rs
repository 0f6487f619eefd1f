//! The reference job, once: by the engine or as a specialist would write it by hand, over the same
//! bytes in memory. One configuration a run, one line of JSON; `cargo xtask bench` compares them.
//!
//! ```text
//! reference_job hand-fused|engine|engine-files|engine-exactly-once|engine-ordered|engine-hot
//!               [--workers N] [--events N] [--users N] [--clock off]
//! reference_job generate [--events N] ...     only the input, to take it off what a whole run costs
//! reference_job verify [--workers N] ...      both; stops if they disagree
//! reference_job memory [--job engine|hand-fused] [--case full|reference] [--users N]    what a key costs
//! reference_job checkpoints [--case small|large|closing] [--workers N] [--users N]    what checkpoints take
//! ```

mod checkpoints;
mod engine;
mod fused;
mod gauges;
mod input;
mod memory;
mod paced;

use std::error::Error;
use std::process::ExitCode;

use slackwater::pipeline::spec::Order;

use crate::gauges::{Measured, Outcome, measure};
use crate::input::{Input, Options};

/// As the engine's own binary has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What a run of the bench may fail with.
pub type Failure = Box<dyn Error + Send + Sync>;

fn main() -> ExitCode {
    // Cargo adds `--bench` to what it was asked to pass on.
    let arguments = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench");
    match run(&arguments.collect::<Vec<_>>()) {
        Ok(line) => {
            say(&line);
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(&format!("reference_job: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<String, Failure> {
    let (command, options) = arguments.split_first().ok_or("which configuration?")?;
    let options = Options::parse(options)?;
    let name = format!("{command}/{}", options.workers);
    if command == "memory" {
        return memory::run(&options);
    }
    if command == "checkpoints" {
        return checkpoints::run(&options);
    }
    let mut input = Input::generate(&options)?;
    let measured = match command.as_str() {
        "hand-fused" => {
            let prepared = fused::prepare(&input)?;
            measure(&input, prepared, fused::Prepared::run)?
        }
        "engine" => by_engine(&mut input, &engine::To::Nowhere, Order::Arrival)?,
        "engine-ordered" => by_engine(&mut input, &engine::To::Nowhere, Order::EventTime)?,
        "engine-hot" => {
            input.heat();
            by_engine(&mut input, &engine::To::Nowhere, Order::Arrival)?
        }
        "engine-files" => {
            let folder = tempfile::tempdir()?;
            let files = engine::To::Files(folder.path().to_owned());
            by_engine(&mut input, &files, Order::Arrival)?
        }
        "engine-exactly-once" => {
            let folder = tempfile::tempdir()?;
            let files = engine::To::FilesExactlyOnce(folder.path().to_owned());
            by_engine(&mut input, &files, Order::Arrival)?
        }
        "generate" => return Ok(name),
        "verify" => verify(&input)?,
        other => return Err(format!("no configuration `{other}`").into()),
    };
    settled(&measured.outcome, &options)?;
    Ok(measured.json(&name, &options))
}

fn by_engine(input: &mut Input, to: &engine::To, order: Order) -> Result<Measured, Failure> {
    let prepared = engine::prepare(input, to, order)?;
    // Its source has found the records itself.
    input.forget_records();
    measure(input, prepared, engine::run)
}

/// Runs both jobs, and stops unless they have the same outcomes, scores and prediction bytes.
fn verify(input: &Input) -> Result<Measured, Failure> {
    let ours = measure(
        input,
        engine::prepare(input, &engine::To::Scores, Order::Arrival)?,
        engine::run,
    )?;
    let theirs = measure(input, fused::prepare(input)?, fused::Prepared::run)?;
    ours.outcome.must_equal(&theirs.outcome)?;
    Ok(ours)
}

/// Every event has one outcome.
fn settled(outcome: &Outcome, options: &Options) -> Result<(), Failure> {
    let records: u64 = outcome.streams.iter().map(|stream| stream.records).sum();
    if records == options.events {
        return Ok(());
    }
    Err(format!("{} events have {records} outcomes", options.events).into())
}

#[expect(clippy::print_stdout, reason = "its result")]
fn say(line: &str) {
    println!("{line}");
}

#[expect(clippy::print_stderr, reason = "why there is no result")]
fn complain(line: &str) {
    eprintln!("{line}");
}
