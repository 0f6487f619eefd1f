//! How fast is it? The reference job by the engine and by hand, in turns, so that a noisy machine is
//! noisy to both; what the parts cost alone; what a key costs in memory. Losses are reported like wins.
//!
//! - `samples` runs the programs under `benches/` and reads what they print; `starting` starts the binary;
//! - `statistics` turns samples into medians, ranges and ratios of pairs;
//! - `bars` says what must be found; `report` writes the page for people and the file for programs;
//! - `extent` says how much is run in turns, `cost` builds the engine and reads processor time, `settings` changes pipeline files, `turns` keeps what took turns, and `sections` puts what
//!   other commands write in its place on the page;
//! - `kafka` measures the same job through a real Kafka, `redis` with a lookup, and `features` what features cost: each writes a section of that page.

mod bars;
mod report;
mod samples;
mod starting;
mod statistics;
mod extent;
mod cost;
mod settings;
mod turns;
mod sections;
mod kafka;
mod redis;
mod features;

use std::fs;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::process;
use report::Report;
use samples::{CONFIGURATIONS, Programs, Sample, Yardstick};

/// Where the page for people goes, from the root of the repository.
const PAGE: &str = "docs/reports/bench.md";
/// Where the raw samples go, in the target folder.
const RAW: &str = "bench.json";

/// How much is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Extent {
    /// Events of each run.
    events: u64,
    /// Runs of each configuration; the first warms up and is dropped. Odd, so that what is left has as
    /// many runs forth as back.
    repetitions: usize,
    /// Runs of the yardsticks.
    yardsticks: usize,
}

/// For figures to publish. Of six pairs, the range covers the true median with a probability of 97 %.
const FULL: Extent = Extent {
    events: 1_000_000,
    repetitions: 7,
    yardsticks: 3,
};
/// For a look.
const QUICK: Extent = Extent {
    events: 200_000,
    repetitions: 3,
    yardsticks: 1,
};

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    /// Everything, to this extent.
    Run(Extent),
    /// Instructions per event.
    Callgrind,
    /// Through Kafka, to this extent.
    Kafka(kafka::Extent),
    /// With lookups in Redis, to this extent.
    Redis(extent::Extent),
    /// What features cost, to this extent.
    Features(extent::Extent),
}

/// Runs the benches.
///
/// # Errors
/// A mistyped option; a program that fails; an engine whose results are not those of the other job.
pub fn run(arguments: &[String]) -> Result<()> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match parse(&arguments)? {
        Wanted::Run(extent) => compare(extent, &arguments),
        Wanted::Kafka(extent) => kafka::run(extent, &arguments),
        Wanted::Redis(extent) => redis::run(extent, &arguments),
        Wanted::Features(extent) => features::run(extent, &arguments),
        Wanted::Callgrind => {
            let programs = Programs::build()?;
            for line in samples::instructions(&programs)? {
                println!("{line}");
            }
            Ok(())
        }
    }
}

fn parse(arguments: &[&str]) -> Result<Wanted> {
    match arguments {
        [] => Ok(Wanted::Run(FULL)),
        ["--quick"] => Ok(Wanted::Run(QUICK)),
        ["callgrind"] => Ok(Wanted::Callgrind),
        ["kafka", rest @ ..] => Ok(Wanted::Kafka(kafka::parse(rest)?)),
        ["redis", rest @ ..] => Ok(Wanted::Redis(redis::parse(rest)?)),
        ["features", rest @ ..] => Ok(Wanted::Features(features::parse(rest)?)),
        _ => bail!(
            "cargo xtask bench takes nothing, `--quick`, `callgrind`, `kafka`, `redis` or `features`, not `{}`",
            arguments.join(" ")
        ),
    }
}

fn compare(extent: Extent, arguments: &[&str]) -> Result<()> {
    let programs = Programs::build()?;
    for workers in [1, 2] {
        println!("verify: both jobs on {workers} workers");
        programs.verify(workers, extent.events)?;
    }
    let mut samples: Vec<Sample> = Vec::new();
    for repetition in 0..extent.repetitions {
        println!("repetition {} of {}", repetition + 1, extent.repetitions);
        for at in 0..CONFIGURATIONS.len() {
            // There and back again: what drifts, drifts for all alike.
            let at = if repetition % 2 == 0 {
                at
            } else {
                CONFIGURATIONS.len() - 1 - at
            };
            let Some(configuration) = CONFIGURATIONS.get(at) else {
                continue;
            };
            samples.push(programs.sample(configuration, repetition, extent.events)?);
        }
    }
    let mut yardsticks: Vec<Yardstick> = Vec::new();
    for repetition in 0..extent.yardsticks {
        println!("yardsticks, {} of {}", repetition + 1, extent.yardsticks);
        yardsticks.extend(programs.yardsticks(extent.events)?);
    }
    println!("starts");
    let starts = starting::measure()?;
    println!("checkpoints");
    let checkpoints = programs.checkpoints()?;
    println!("memory");
    let report = Report {
        command: ["cargo xtask bench"]
            .into_iter()
            .chain(arguments.iter().copied())
            .collect::<Vec<_>>()
            .join(" "),
        events: extent.events,
        memory: programs.memory()?,
        starts,
        checkpoints,
        samples,
        yardsticks,
        machine: report::machine()?,
    };
    write_raw(RAW, &report.json())?;
    let text = report.page();
    println!("\n{text}");
    if extent == FULL {
        let page = process::root().join(PAGE);
        if let Some(folder) = page.parent() {
            fs::create_dir_all(folder)?;
        }
        let before = fs::read_to_string(&page).unwrap_or_default();
        let text = sections::with_sections_of(&text, &before);
        fs::write(&page, text).with_context(|| format!("cannot write {}", page.display()))?;
        println!("report: {PAGE}");
    }
    Ok(())
}

/// Keeps all that was found for programs, in the target folder.
fn write_raw(name: &str, found: &Value) -> Result<()> {
    let raw = process::root().join(process::target()).join(name);
    let json = serde_json::to_string_pretty(found)?;
    fs::write(&raw, json).with_context(|| format!("cannot write {}", raw.display()))?;
    println!("raw samples: {}", raw.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{FULL, QUICK, Wanted, parse};

    #[test]
    fn what_does_a_bench_run() {
        let check = |arguments: &[&str], expected: Option<Wanted>| {
            assert_eq!(parse(arguments).ok(), expected, "{arguments:?}");
        };
        check(&[], Some(Wanted::Run(FULL)));
        check(&["--quick"], Some(Wanted::Run(QUICK)));
        check(&["callgrind"], Some(Wanted::Callgrind));
        check(&["--slow"], None);
        check(&["callgrind", "--quick"], None);
    }
}
