//! Tests of the gate that are run for longer, with release builds of the program, and what they have found.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::process::{self, cargo};
use crate::tools;

/// Where the tests put what they have found, in the target folder.
const FOUND: &str = "campaign.jsonl";
/// Where the two programs are, in the target folder: cargo has one place for both.
const PROGRAMS: &str = "campaign";

/// Runs tests by themselves, one after the other, with this environment. What they have found, a line of JSON each.
///
/// # Errors
/// A missing tool; a test that failed.
pub(super) fn run(tests: &str, environment: &[(&str, &str)]) -> Result<String> {
    let target = process::root().join(process::target());
    let with_faults = program(&target, "with-faults", &["--features", "faults"])?;
    // Last, so that it is what lies where a release build is looked for.
    let shipped = program(&target, "shipped", &[])?;
    let found = target.join(FOUND);
    if found.exists() {
        fs::remove_file(&found).with_context(|| format!("cannot remove {}", found.display()))?;
    }
    let mut command = process::command(tools::program(&tools::NEXTEST)?);
    // Features as in the gate, so that little is built twice, but for TLS and Parquet: what is killed are the release builds,
    // which do without them.
    command.args(["nextest", "run", "--locked", "--workspace"]);
    command.args(["--features", "faults,s3"]);
    // Much is random in time: two tests at once would each measure the other's load.
    command.args(["--test-threads", "1", "--no-fail-fast"]);
    command.args(["--profile", "campaign", "-E", tests]);
    command.envs(environment.iter().copied());
    command.env("SLACKWATER_KILL_BINARY", shipped);
    command.env("SLACKWATER_KILL_BINARY_WITH_FAULTS", with_faults);
    command.env("SLACKWATER_KILL_REPORT", &found);
    process::run(&mut command)?;
    fs::read_to_string(&found).with_context(|| format!("cannot read {}", found.display()))
}

/// A release build, where the next one does not take its place.
fn program(target: &Path, name: &str, features: &[&str]) -> Result<PathBuf> {
    let mut build = cargo();
    build.args(["build", "--release", "--locked", "--bin", "slackwater"]);
    process::run(build.args(features))?;
    let built = target.join("release").join("slackwater");
    let folder = target.join(PROGRAMS);
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let place = folder.join(name);
    fs::copy(&built, &place).with_context(|| format!("cannot copy {}", built.display()))?;
    Ok(place)
}

/// How busy the machine was that all of this ran on, at the end: what the times must be read with.
pub(super) fn load() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let average = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let of_minutes = average.split_whitespace().nth(2).unwrap_or("unknown");
    format!("{cores} cores, with a load average of {of_minutes} in the last 15 minutes")
}
