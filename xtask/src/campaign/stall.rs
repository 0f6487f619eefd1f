//! A reader of the outputs that stalls for a minute: the gate's own test, only longer.

use std::fs;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::campaign::{commit, write_report};
use crate::{process, tools};

/// How long the reader stalls.
const SECONDS: &str = "60";
/// The report, from the root of the repository.
const REPORT: &str = "docs/reports/stall.md";
/// Where the test puts its figures, in the target folder.
const FIGURES: &str = "stall.jsonl";

/// Runs the test with a long stall and keeps its figures.
///
/// # Errors
/// An option; a missing tool; a job that lost events, took too much memory or did not end.
pub fn run(options: &[String]) -> Result<()> {
    if !options.is_empty() {
        bail!(
            "campaign stall takes no options, not `{}`",
            options.join(" ")
        );
    }
    let figures = process::root().join(process::target()).join(FIGURES);
    if figures.exists() {
        fs::remove_file(&figures)
            .with_context(|| format!("cannot remove {}", figures.display()))?;
    }
    let mut command = process::command(tools::program(&tools::NEXTEST)?);
    command.args(["nextest", "run", "--locked", "--package", "slackwater"]);
    command.args(["--test", "cli", "-E", "test(/^stall::/)"]);
    command.env("SLACKWATER_STALL_SECONDS", SECONDS);
    command.env("SLACKWATER_STALL_FIGURES", &figures);
    process::run(&mut command)?;
    let found = fs::read_to_string(&figures)
        .with_context(|| format!("cannot read {}", figures.display()))?;
    let rows: Vec<String> = found.lines().map(row).collect::<Result<_>>()?;
    write_report(REPORT, &report(&rows, &commit()?))?;
    println!(
        "campaign stall: {} runs, 0 failures (report: {REPORT})",
        rows.len()
    );
    Ok(())
}

/// One run as a line of the report's table.
fn row(line: &str) -> Result<String> {
    let figures: Value = serde_json::from_str(line).context("the test wrote no JSON")?;
    let number = |name: &str| {
        let number = figures.get(name).and_then(Value::as_u64);
        number.with_context(|| format!("the test wrote no `{name}`"))
    };
    let order = figures.get("order").and_then(Value::as_str).unwrap_or("?");
    let megabytes = |name| Ok::<_, anyhow::Error>(number(name)? / 1_000_000);
    Ok(format!(
        "| {order} | {} | {} | {} | {} |",
        number("seconds")?,
        number("events")?,
        megabytes("resident_bytes_max")?,
        megabytes("resident_bytes_bound")?
    ))
}

fn report(rows: &[String], commit: &str) -> String {
    format!(
        "# A reader that stalls\n\n\
         The reference job on two workers writes to a pipe. Its reader takes one record, then nothing for a\n\
         while, then the rest. Every event must have its record, and memory must stay below its bound.\n\
         Written by `cargo xtask campaign stall`; each run replaces it. The gate runs the same for five\n\
         seconds.\n\n\
         | order | seconds stalled | events, each written once | most memory, MB | bound, MB |\n\
         | --- | ---: | ---: | ---: | ---: |\n{}\n\nCommit {commit}.\n",
        rows.join("\n")
    )
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::{report, row};

    #[test]
    fn does_the_report_say_what_was_found() {
        let line = r#"{"order":"arrival","seconds":60,"events":9,"resident_bytes_max":5000000,"resident_bytes_bound":7000000}"#;
        let rows = [row(line).unwrap()];
        assert!(report(&rows, "abc").contains("| arrival | 60 | 9 | 5 | 7 |\n\nCommit abc."));
        assert!(row("{}").is_err());
    }
}
