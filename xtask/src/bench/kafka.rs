//! The reference job through a real Kafka, in and out, beside what clients alone cost: processor time of an event, and the
//! delay of a record.
//!
//! - `pipeline` writes the job's pipeline file;
//! - `programs` runs the engine and the yardsticks, and says what they cost;
//! - `turns` is what is run, on a broker of its own;
//! - `figures` says what was found, and whether it is what it must be.

mod pipeline;
mod programs;
mod turns;
mod figures;

use anyhow::{Context as _, Result, bail};

use self::figures::Found;
use self::turns::{Bench, DELAYS, DRAINS, ENGINE, Load};
use super::statistics::forth_and_back;
use super::turns::Samples;
use super::{report, sections, write_raw};

/// Where the raw samples go, in the target folder.
const RAW: &str = "bench-kafka.json";

/// How much is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Events that are drained.
    events: u64,
    /// Turns that count, of drains and of delays. Even, so that there are as many forth as back.
    turns: usize,
    /// Seconds of each load; none for no delays.
    seconds: u32,
    /// Events a second of a load, if not half of what is drained.
    rate: Option<u64>,
    /// Whether the figures are published.
    is_published: bool,
}

/// For figures to publish.
const FULL: Extent = Extent {
    events: 2_000_000,
    turns: 6,
    seconds: 20,
    rate: None,
    is_published: true,
};
/// For a look.
const QUICK: Extent = Extent {
    events: 200_000,
    turns: 1,
    seconds: 5,
    rate: None,
    is_published: false,
};

/// Reads what stands behind `bench kafka`.
///
/// # Errors
/// A mistyped option.
pub fn parse(arguments: &[&str]) -> Result<Extent> {
    let (mut extent, pairs) = match arguments {
        ["--quick", rest @ ..] => (QUICK, rest),
        rest => (FULL, rest),
    };
    for pair in pairs.chunks(2) {
        let [name, value] = pair else {
            bail!("`{}` has no value; {OPTIONS}", pair.concat());
        };
        let number = value.replace('_', "");
        let wrong = || format!("{name} {value}: expected a number");
        match *name {
            "--events" => extent.events = number.parse().with_context(wrong)?,
            "--turns" => extent.turns = number.parse().with_context(wrong)?,
            "--seconds" => extent.seconds = number.parse().with_context(wrong)?,
            "--rate" => extent.rate = Some(number.parse().with_context(wrong)?),
            other => bail!("no option `{other}`; {OPTIONS}"),
        }
    }
    if extent.events == 0 || extent.turns == 0 {
        bail!("there is nothing to measure without events and turns; {OPTIONS}");
    }
    Ok(extent)
}

const OPTIONS: &str = "bench kafka takes `--quick` first, then `--events N`, `--turns N`, `--seconds N` (0 for no delays) \
                       and `--rate N`";

/// Runs it.
///
/// # Errors
/// What is missing on this machine; a program that fails; outputs that are not as many as the input.
pub fn run(extent: Extent, arguments: &[&str]) -> Result<()> {
    let bench = Bench::prepare(extent.events)?;
    let command = [&["cargo xtask bench"], arguments].concat().join(" ");
    let mut found = Found {
        command,
        events: extent.events,
        load: None,
        samples: Samples::default(),
        machine: report::machine()?,
    };
    // The first run of the engine makes the sample of its outputs that producers alone send.
    found.samples.0.push(bench.run(ENGINE, 0, None)?);
    for what in DRAINS.into_iter().filter(|what| *what != ENGINE) {
        found.samples.0.push(bench.run(what, 0, None)?);
    }
    for turn in 1..=extent.turns {
        for what in forth_and_back(DRAINS, turn) {
            found.samples.0.push(bench.run(what, turn, None)?);
        }
    }
    // What comes may fail where this did not.
    write_raw(RAW, &found.json())?;
    if extent.seconds > 0 {
        let rate = extent.rate.unwrap_or_else(|| found.half_rate());
        let seconds = extent.seconds;
        found.load = Some(Load { rate, seconds });
        for turn in 1..=extent.turns {
            for what in forth_and_back(DELAYS, turn) {
                found.samples.0.push(bench.run(what, turn, found.load)?);
            }
        }
    }
    found.machine = report::machine()?;
    write_raw(RAW, &found.json())?;
    let section = found.section();
    println!("\n{section}");
    // A section without delays would take the place of one that has them.
    if extent.is_published && found.load.is_some() {
        sections::publish(&section)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Extent, FULL, QUICK, parse};

    #[test]
    fn how_much_is_run() {
        let check = |arguments: &[&str], expected: Option<Extent>| {
            assert_eq!(parse(arguments).ok(), expected, "{arguments:?}");
        };
        check(&[], Some(FULL));
        check(&["--quick"], Some(QUICK));
        let more = Extent {
            events: 10_000_000,
            seconds: 0,
            ..FULL
        };
        check(&["--events", "10_000_000", "--seconds", "0"], Some(more));
        let slow = Extent {
            rate: Some(5),
            turns: 2,
            ..QUICK
        };
        check(&["--quick", "--rate", "5", "--turns", "2"], Some(slow));
        check(&["--events"], None);
        check(&["--events", "many"], None);
        check(&["--events", "0"], None);
        check(&["--fast", "1"], None);
    }
}
