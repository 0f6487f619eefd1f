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

use anyhow::Result;

use self::figures::Found;
use self::turns::{Bench, DELAYS, DRAINS, ENGINE, Load};
use super::extent::{self, Extent as Turned, Given};
use super::statistics::forth_and_back;
use super::turns::Samples;
use super::{report, sections, write_raw};

/// Where the raw samples go, in the target folder.
const RAW: &str = "bench-kafka.json";

/// How much is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Events that are drained, and turns of drains and of delays.
    turned: Turned,
    /// Seconds of each load; none for no delays.
    seconds: u32,
    /// Events a second of a load, if not half of what is drained.
    rate: Option<u64>,
}

/// For figures to publish.
const FULL: Extent = Extent {
    turned: Turned {
        events: 2_000_000,
        turns: 6,
        is_published: true,
    },
    seconds: 20,
    rate: None,
};
/// For a look.
const QUICK: Extent = Extent {
    turned: Turned {
        events: 200_000,
        turns: 1,
        is_published: false,
    },
    seconds: 5,
    rate: None,
};

/// Reads what stands behind `bench kafka`.
///
/// # Errors
/// A mistyped option.
pub fn parse(arguments: &[&str]) -> Result<Extent> {
    let set = |extent: &mut Extent, name: &str, given: Given<'_>| {
        match name {
            "--seconds" => extent.seconds = given.number()?,
            "--rate" => extent.rate = Some(given.number()?),
            _ => return Ok(false),
        }
        Ok(true)
    };
    extent::parse(OPTIONS, (FULL, QUICK), arguments, |it| &mut it.turned, set)
}

const OPTIONS: &str = "bench kafka takes `--quick` first, then `--events N`, `--turns N`, `--seconds N` (0 for no delays) \
                       and `--rate N`";

/// Runs it.
///
/// # Errors
/// What is missing on this machine; a program that fails; outputs that are not as many as the input.
pub fn run(extent: Extent, arguments: &[&str]) -> Result<()> {
    let bench = Bench::prepare(extent.turned.events)?;
    let command = [&["cargo xtask bench"], arguments].concat().join(" ");
    let mut found = Found {
        command,
        events: extent.turned.events,
        load: None,
        samples: Samples::default(),
        machine: report::machine()?,
    };
    // The first run of the engine makes the sample of its outputs that producers alone send.
    found.samples.0.push(bench.run(ENGINE, 0, None)?);
    for what in DRAINS.into_iter().filter(|what| *what != ENGINE) {
        found.samples.0.push(bench.run(what, 0, None)?);
    }
    for turn in 1..=extent.turned.turns {
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
        for turn in 1..=extent.turned.turns {
            for what in forth_and_back(DELAYS, turn) {
                found.samples.0.push(bench.run(what, turn, found.load)?);
            }
        }
    }
    found.machine = report::machine()?;
    write_raw(RAW, &found.json())?;
    // A section without delays would take the place of one that has them.
    let is_published = extent.turned.is_published && found.load.is_some();
    sections::show(&found.section(), is_published)
}

#[cfg(test)]
mod tests {
    use super::{Extent, FULL, QUICK, Turned, parse};

    #[test]
    fn how_much_is_run() {
        let check = |arguments: &[&str], expected: Option<Extent>| {
            assert_eq!(parse(arguments).ok(), expected, "{arguments:?}");
        };
        check(&[], Some(FULL));
        check(&["--quick"], Some(QUICK));
        let more = Extent {
            turned: Turned {
                events: 10_000_000,
                ..FULL.turned
            },
            seconds: 0,
            ..FULL
        };
        check(&["--events", "10_000_000", "--seconds", "0"], Some(more));
        let slow = Extent {
            turned: Turned {
                turns: 2,
                ..QUICK.turned
            },
            rate: Some(5),
            ..QUICK
        };
        check(&["--quick", "--rate", "5", "--turns", "2"], Some(slow));
        check(&["--events"], None);
        check(&["--events", "many"], None);
        check(&["--events", "0"], None);
        check(&["--fast", "1"], None);
    }
}
