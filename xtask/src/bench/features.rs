//! What features cost: many of them over several keys and windows, one kind after the other, and windows of an hour beside those
//! of thirty days.
//!
//! - `events` makes the events up;
//! - `kinds` says what is measured one by one, and `jobs` what all runs are, as pipeline files;
//! - `runs` is what is run;
//! - `figures` says what was found, and whether it is what it must be.

mod events;
mod kinds;
mod jobs;
mod runs;
mod figures;

use anyhow::Result;

use self::figures::Found;
use self::runs::Bench;
use super::extent::Extent;
use super::statistics::forth_and_back;
use super::turns::Samples;
use super::{report, sections, write_raw};

/// Where the raw samples go, in the target folder.
const RAW: &str = "bench-features.json";

/// For figures to publish.
const FULL: Extent = Extent {
    events: 500_000,
    turns: 6,
    is_published: true,
};
/// For a look.
const QUICK: Extent = Extent {
    events: 100_000,
    turns: 1,
    is_published: false,
};

const OPTIONS: &str = "bench features takes `--quick` first, then `--events N` and `--turns N`";

/// Reads what stands behind `bench features`.
///
/// # Errors
/// A mistyped option.
pub fn parse(arguments: &[&str]) -> Result<Extent> {
    Extent::parse(OPTIONS, FULL, QUICK, arguments)
}

/// Runs it.
///
/// # Errors
/// A program that fails; outputs that are not as many as the input.
pub fn run(extent: Extent, arguments: &[&str]) -> Result<()> {
    let bench = Bench::prepare(extent.events)?;
    let jobs = jobs::all();
    let mut samples = Samples::default();
    for turn in 0..=extent.turns {
        println!("turn {turn} of {}", extent.turns);
        for job in forth_and_back(&jobs, turn) {
            samples.0.push(bench.run(job, turn)?);
        }
    }
    bench.tidy()?;
    let found = Found {
        command: [&["cargo xtask bench"], arguments].concat().join(" "),
        events: extent.events,
        samples,
        machine: report::machine()?,
    };
    write_raw(RAW, &found.json())?;
    sections::show(&found.section(), extent.is_published)
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
            events: 2_000_000,
            ..FULL
        };
        check(&["--events", "2_000_000"], Some(more));
        check(
            &["--quick", "--turns", "2"],
            Some(Extent { turns: 2, ..QUICK }),
        );
        check(&["--events"], None);
        check(&["--events", "many"], None);
        check(&["--turns", "0"], None);
        check(&["--fast", "1"], None);
    }
}
