//! Processes of a job killed at random moments and in each phase of a checkpoint and of a recovery: the gate's own tests,
//! only longer and with release builds.

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::campaign::{commit, longer, write_report};

/// Kills, unless another number is asked for: about half of them at random moments.
const KILLS: u32 = 300;
/// Tests that share them: at random moments and in phases, in both orders.
const TESTS: u32 = 4;
/// The report, from the root of the repository.
const REPORT: &str = "docs/reports/kill.md";

/// Runs the tests with many kills and keeps what they have found.
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
    let kills = kills.div_ceil(TESTS).to_string();
    let environment = [("SLACKWATER_KILLS", kills.as_str())];
    let lines = longer::run("binary(kill) and test(/_order$/)", &environment)?;
    let found = Found::read(&lines)?;
    write_report(REPORT, &found.report(&longer::load(), &commit()?))?;
    println!("campaign kill: 0 violations (report: {REPORT})");
    Ok(())
}

/// What the tests have found.
#[derive(Default)]
struct Found {
    /// Of kills at random moments, one text an order.
    random: Vec<String>,
    /// Of kills in phases, the same.
    phases: Vec<String>,
    orders: Vec<String>,
    /// All phases, each with its kills by order.
    rows: Vec<(String, Vec<u64>)>,
}

impl Found {
    fn read(lines: &str) -> Result<Self> {
        let mut found = Found::default();
        for line in lines.lines() {
            let line: Value = serde_json::from_str(line).context("a test wrote no JSON")?;
            let text = |name: &str| line.get(name).and_then(Value::as_str).map(str::to_owned);
            found.random.extend(text("random"));
            if let Some(phases) = text("phases") {
                found.phases.push(phases);
                found
                    .orders
                    .push(text("order").context("a test wrote no `order`")?);
                found.count(&line)?;
            }
        }
        if found.random.is_empty() || found.phases.is_empty() {
            bail!("a test found nothing");
        }
        Ok(found)
    }

    fn count(&mut self, line: &Value) -> Result<()> {
        let all = line.get("all").and_then(Value::as_array);
        for phase in all.context("a test wrote no phases")? {
            let phase = phase.as_str().unwrap_or_default();
            let kills = line.get("hit").and_then(|hit| hit.get(phase));
            let kills = kills.and_then(Value::as_u64).unwrap_or_default();
            match self.rows.iter_mut().find(|(name, _)| name == phase) {
                Some((_, by_order)) => by_order.push(kills),
                None => self.rows.push((phase.to_owned(), vec![kills])),
            }
        }
        Ok(())
    }

    fn report(&self, load: &str, commit: &str) -> String {
        let list = |texts: &[String]| {
            let items = texts.iter().map(|text| format!("- {text}\n"));
            items.collect::<String>()
        };
        let rows = self.rows.iter().map(|(phase, by_order)| {
            let cells = by_order.iter().map(|kills| format!(" {kills} |"));
            format!("| `{phase}` |{}\n", cells.collect::<String>())
        });
        format!(
            "# Kills\n\n\
             The reference job with checkpoints, on generated events at a steady rate, to files. Its processes are killed\n\
             (`kill -9`). When a job is done its files are compared, record by record and in order for each user, with\n\
             those of a run that nothing happens to, on one worker; and so is the digest of its state. Jobs in arrival order that\n\
             are killed in phases have their outputs in outboxes, all others in place.\n\
             Written by `cargo xtask campaign kill`; each run replaces it. The gate runs the same with fewer kills.\n\n\
             ## At random moments\n\n\
             The program as it is shipped. The worker alone is killed, which the process above it starts again, or both, and\n\
             then the command is given again. *Back* is the time from the kill to the first marker of outputs that is new.\n\n\
             {}\n\
             ## In each phase\n\n\
             The same release build, but with the feature `faults`: a process kills itself in a phase of a checkpoint, of a\n\
             recovery, or of the process above the workers, at a time that is drawn; `dataflow/src/faults/phases.rs` says\n\
             where each is. What died by its own hand is proved by a file that it wrote before, and by the signal that its\n\
             parent saw. Meanwhile a reader looks at what is visible of the outputs: that must stay as it is.\n\n\
             {}\n\
             | phase | {} |\n| --- |{}\n{}\n\
             On {load}. Commit {commit}.\n",
            list(&self.random),
            list(&self.phases),
            self.orders.join(" | "),
            " ---: |".repeat(self.orders.len()),
            rows.collect::<String>(),
        )
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::Found;

    #[test]
    fn does_the_report_say_what_was_found() {
        let lines = concat!(
            r#"{"random":"arrival: 2 kills."}"#,
            "\n",
            r#"{"phases":"arrival: 3 kills.","order":"arrival","all":["a","b"],"hit":{"a":3}}"#,
            "\n",
            r#"{"phases":"event_time: 1 kill.","order":"event_time","all":["a","b"],"hit":{"b":1}}"#,
            "\n"
        );
        let text = Found::read(lines).unwrap().report("2 cores", "abc");
        assert!(text.contains("\n\n- arrival: 2 kills.\n\n## In"), "{text}");
        let end = "- arrival: 3 kills.\n- event_time: 1 kill.\n\n| phase | arrival | event_time |\n\
                   | --- | ---: | ---: |\n| `a` | 3 | 0 |\n| `b` | 0 | 1 |\n\nOn 2 cores. Commit abc.\n";
        assert!(text.ends_with(end), "{text}");
        assert!(Found::read("").is_err());
        assert!(Found::read("{}\n").is_err());
    }
}
