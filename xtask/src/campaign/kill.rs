//! Processes of a job killed at random moments: the gate's own test, only longer and with the release build.

use std::fs;

use anyhow::{Context as _, Result, bail};

use crate::campaign::{commit, write_report};
use crate::process::{self, cargo};
use crate::tools;

/// Kills, unless another number is asked for.
const KILLS: u32 = 300;
/// The report, from the root of the repository.
const REPORT: &str = "docs/reports/kill.md";
/// Where the test puts what it has found, in the target folder.
const FOUND: &str = "kill.md";

/// Runs the test with many kills and keeps what it has found.
///
/// # Errors
/// An unknown option; a missing tool; a record that was lost or doubled; a job that did not come back.
pub fn run(options: &[String]) -> Result<()> {
    let kills = match options {
        [] => KILLS,
        [flag, number] if flag == "--n" => number
            .parse()
            .with_context(|| format!("--n {number}: expected a number of kills"))?,
        _ => bail!(
            "campaign kill takes `--n KILLS`, not `{}`",
            options.join(" ")
        ),
    };
    process::run(cargo().args(["build", "--release", "--locked", "--bin", "slackwater"]))?;
    let target = process::root().join(process::target());
    let found = target.join(FOUND);
    if found.exists() {
        fs::remove_file(&found).with_context(|| format!("cannot remove {}", found.display()))?;
    }
    let mut command = process::command(tools::program(&tools::NEXTEST)?);
    // Features as in the gate, so that nothing is built twice; what is killed is the release build, which has none.
    command.args([
        "nextest",
        "run",
        "--locked",
        "--workspace",
        "--features",
        "faults",
    ]);
    // Kills are random in time: two campaigns at once would each measure the other's load.
    command.args(["--test-threads", "1", "--no-fail-fast"]);
    command.args(["--profile", "campaign"]);
    command.args(["-E", "binary(kill) and test(/^campaign::/)"]);
    command.env("SLACKWATER_KILLS", kills.div_ceil(2).to_string());
    command.env(
        "SLACKWATER_KILL_BINARY",
        target.join("release").join("slackwater"),
    );
    command.env("SLACKWATER_KILL_REPORT", &found);
    process::run(&mut command)?;
    let rows =
        fs::read_to_string(&found).with_context(|| format!("cannot read {}", found.display()))?;
    write_report(REPORT, &report(&rows, &commit()?))?;
    println!("campaign kill: {kills} kills, 0 violations (report: {REPORT})");
    Ok(())
}

fn report(rows: &str, commit: &str) -> String {
    format!(
        "# Kills\n\n\
         The reference job with checkpoints, on generated events at a steady rate, to files. Its processes are killed\n\
         (`kill -9`) at random moments: the worker alone, which the process above it starts again, or both, and then\n\
         the command is given again. When a job is done its files are compared, record by record and in order for each\n\
         user, with those of a run that nothing happens to. *Back* is the time from the kill to the first marker of\n\
         outputs that is new.\n\
         Written by `cargo xtask campaign kill`; each run replaces it. The gate runs the same with fewer kills.\n\n\
         {rows}\nCommit {commit}.\n"
    )
}

#[cfg(test)]
mod tests {
    use super::report;

    #[test]
    fn does_the_report_say_what_was_found() {
        let text = report("- arrival: 2 kills.\n", "abc");
        assert!(text.ends_with("\n\n- arrival: 2 kills.\n\nCommit abc.\n"));
    }
}
