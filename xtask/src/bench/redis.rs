//! The reference job with a lookup in a real Redis: what a delay in front of it costs, what is remembered of answers spares, and
//! what a question costs beside one of Redis's own benchmark.
//!
//! - `jobs` writes the jobs' pipeline files;
//! - `runs` is what is run, on a server of its own;
//! - `figures` says what was found, and whether it is what it must be.

mod jobs;
mod runs;
mod figures;

use anyhow::Result;

use self::figures::Found;
use self::runs::{ALL, Bench};
use super::extent::Extent;
use super::statistics::forth_and_back;
use super::turns::Samples;
use super::{report, sections, write_raw};

/// Where the raw samples go, in the target folder.
const RAW: &str = "bench-redis.json";

/// For figures to publish.
const FULL: Extent = Extent {
    events: 2_000_000,
    turns: 6,
    is_published: true,
};
/// For a look.
const QUICK: Extent = Extent {
    events: 200_000,
    turns: 1,
    is_published: false,
};

const OPTIONS: &str = "bench redis takes `--quick` first, then `--events N` and `--turns N`";

/// Reads what stands behind `bench redis`.
///
/// # Errors
/// A mistyped option.
pub fn parse(arguments: &[&str]) -> Result<Extent> {
    Extent::parse(OPTIONS, FULL, QUICK, arguments)
}

/// Runs it.
///
/// # Errors
/// What is missing on this machine; a program that fails; outputs that are not as many as the input.
pub fn run(extent: Extent, arguments: &[&str]) -> Result<()> {
    let bench = Bench::prepare(extent.events)?;
    let mut samples = Samples::default();
    for turn in 0..=extent.turns {
        for what in forth_and_back(ALL, turn) {
            samples.0.push(bench.run(what, turn)?);
        }
    }
    let found = Found {
        command: [&["cargo xtask bench"], arguments].concat().join(" "),
        events: extent.events,
        users: bench.users(),
        server: bench.version()?,
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
            events: 10_000_000,
            ..FULL
        };
        check(&["--events", "10_000_000"], Some(more));
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
