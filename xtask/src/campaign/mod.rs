//! Long runs that are no part of the gate. Each leaves a report under `docs/reports/` that says
//! what was run, on which commit, for how long and what came out, so that a claim such as "a
//! million cases" has a place where it can be checked and a line that repeats it.

mod features;
mod fuzz;
mod kafka;
mod kill;
mod redis;
mod stall;
mod longer;

use std::fs;

use anyhow::{Context as _, Result, bail};

use crate::process;

/// In words.
const CAMPAIGNS: &str = "`features`, `fuzz`, `kafka`, `kill`, `redis` and `stall`";

/// Runs the campaign named by the first argument.
///
/// # Errors
/// An unknown campaign or option; what the campaign itself fails with.
pub fn run(arguments: &[String]) -> Result<()> {
    match arguments.split_first() {
        Some((name, options)) if name == "features" => features::run(options),
        Some((name, options)) if name == "fuzz" => fuzz::run(options),
        Some((name, options)) if name == "kafka" => kafka::run(options),
        Some((name, options)) if name == "kill" => kill::run(options),
        Some((name, options)) if name == "redis" => redis::run(options),
        Some((name, options)) if name == "stall" => stall::run(options),
        Some((name, _)) => bail!("no campaign `{name}`; there are {CAMPAIGNS}"),
        None => bail!("which campaign? there are {CAMPAIGNS}"),
    }
}

/// The commit that is checked out, and whether the tree differs from it.
pub fn commit() -> Result<String> {
    let head = process::output(process::command("git").args(["rev-parse", "HEAD"]))?;
    let changes = process::output(process::command("git").args([
        "status",
        "--porcelain",
        "--",
        ".",
        // The report of the last run is no difference.
        ":!docs/reports",
    ]))?;
    let mark = if changes.is_empty() {
        ""
    } else {
        " with uncommitted changes"
    };
    Ok(format!("{}{mark}", head.trim()))
}

/// Puts a report into its place, named from the root of the repository.
fn write_report(report: &str, text: &str) -> Result<()> {
    let path = process::root().join(report);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}
