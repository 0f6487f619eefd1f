//! The tests on a real Kafka, for longer and with release builds: jobs killed, brokers killed and away, networks that lose
//! and repeat.

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::campaign::{commit, longer, write_report};

/// By how much longer than in the gate: 200 kills of jobs at random, 20 of brokers and as many that are stopped.
const SCALE: u32 = 10;
/// The report, from the root of the repository.
const REPORT: &str = "docs/reports/kafka.md";
/// What something happens in.
const TESTS: &str =
    "binary(kafka) and test(/^(kills|outages|networks|renewals|at_least_once|reading)::/)";

/// Runs the tests for long and keeps what they have found.
///
/// # Errors
/// An unknown option; a missing tool; a record that was lost or doubled; a job that did not come back.
pub fn run(options: &[String]) -> Result<()> {
    let scale = match options {
        [] => SCALE,
        [flag, number] if flag == "--scale" => number
            .parse()
            .with_context(|| format!("--scale {number}: expected a number"))?,
        _ => bail!(
            "campaign kafka takes `--scale N`, not `{}`",
            options.join(" ")
        ),
    };
    let lines = longer::run(TESTS, &[("SLACKWATER_SCALE", &scale.to_string())])?;
    write_report(
        REPORT,
        &report(&found(&lines)?, &longer::load(), &commit()?),
    )?;
    println!("campaign kafka: 0 violations (report: {REPORT})");
    Ok(())
}

fn found(lines: &str) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for line in lines.lines() {
        let line: Value = serde_json::from_str(line).context("a test wrote no JSON")?;
        let text = line.get("kafka").and_then(Value::as_str);
        found.extend(text.map(str::to_owned));
    }
    if found.is_empty() {
        bail!("no test has found anything");
    }
    Ok(found)
}

fn report(found: &[String], load: &str, commit: &str) -> String {
    let list: String = found.iter().map(|text| format!("- {text}\n")).collect();
    format!(
        "# Kafka\n\n\
         The reference job on a real Kafka, one node of it, with release builds of the job. What is in the topics afterwards is \
         read by\nJava's own consumer, which sees what is committed, and compared, record by record and in order for each key, \
         with what a run\ngives that nothing happens to. Unless another figure stands there: nothing was lost, nothing came \
         twice, no key was out of\norder, and no transaction was left open.\n\
         Written by `cargo xtask campaign kafka`; each run replaces it. The gate runs the same for a shorter time.\n\n\
         {list}\nOn {load}. Commit {commit}.\n"
    )
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::{found, report};

    #[test]
    fn does_the_report_say_what_was_found() {
        let lines = "{\"kafka\":\"2 kills.\"}\n{\"kafka\":\"1 outage.\"}\n";
        let text = report(&found(lines).unwrap(), "2 cores", "abc");
        assert!(
            text.ends_with("\n\n- 2 kills.\n- 1 outage.\n\nOn 2 cores. Commit abc.\n"),
            "{text}"
        );
        assert!(found("").is_err());
        assert!(found("{}\n").is_err());
    }
}
