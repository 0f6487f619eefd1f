//! Random pipelines on random events against the slow oracle of the feature definitions: the gate's own tests, with more cases.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::campaign::{commit, write_report};
use crate::{process, test, tools};

/// Cases of both orders together, unless another number is asked for.
const CASES: u64 = 10_000;
/// The report, from the root of the repository.
const REPORT: &str = "docs/reports/features.md";
/// Where the tests put what they have found, in the target folder.
const FOUND: &str = "features.jsonl";

/// Runs the tests with many cases and keeps what was in them.
///
/// # Errors
/// An unknown option; a missing tool; a feature that is not what its definition says.
pub fn run(options: &[String]) -> Result<()> {
    let cases: u64 = match options {
        [] => CASES,
        [flag, number] if flag == "--cases" => number
            .parse()
            .with_context(|| format!("--cases {number}: expected a number of cases"))?,
        _ => bail!(
            "campaign features takes `--cases N`, not `{}`",
            options.join(" ")
        ),
    };
    let found = process::root().join(process::target()).join(FOUND);
    if found.exists() {
        fs::remove_file(&found).with_context(|| format!("cannot remove {}", found.display()))?;
    }
    let mut command = process::command(tools::program(&tools::NEXTEST)?);
    // Features and profile as in the gate, so that nothing is built twice, and overflows are found.
    command.args(["nextest", "run", "--locked", "--workspace"]);
    command.args(test::FEATURES).args(["--profile", "campaign"]);
    command.args(["-E", "binary(features) and test(/_order$/)"]);
    command.env("SLACKWATER_FEATURE_CASES", cases.to_string());
    command.env("SLACKWATER_FEATURE_REPORT", &found);
    process::run(&mut command)?;
    let lines =
        fs::read_to_string(&found).with_context(|| format!("cannot read {}", found.display()))?;
    write_report(REPORT, &Found::read(&lines)?.report(&commit()?))?;
    println!("campaign features: {cases} cases, 0 differences (report: {REPORT})");
    Ok(())
}

/// Numbers by name, a column for each order.
type Table = BTreeMap<String, Vec<u64>>;

/// What was in the cases.
#[derive(Default)]
struct Found {
    orders: Vec<String>,
    totals: Table,
    outcomes: Table,
    held: Table,
    kinds: Table,
    windows: Table,
    also: Table,
}

impl Found {
    fn read(lines: &str) -> Result<Self> {
        let mut lines: Vec<Value> = lines
            .lines()
            .map(|line| serde_json::from_str(line).context("a test wrote no JSON"))
            .collect::<Result<_>>()?;
        lines.sort_by_key(|line| line.get("order").map(Value::to_string));
        let mut found = Found::default();
        for line in &lines {
            let order = line.get("order").and_then(Value::as_str);
            let order = order.context("a test wrote no `order`")?.to_owned();
            found.orders.push(order);
            for name in ["cases", "runs", "files", "records", "numbers"] {
                let number = line.get(name).and_then(Value::as_u64);
                let number = number.with_context(|| format!("a test wrote no `{name}`"))?;
                found
                    .totals
                    .entry(name.to_owned())
                    .or_default()
                    .push(number);
            }
        }
        for (name, table) in [
            ("outcomes", &mut found.outcomes),
            ("held", &mut found.held),
            ("kinds", &mut found.kinds),
            ("windows", &mut found.windows),
            ("also", &mut found.also),
        ] {
            *table = by_name(&lines, name)?;
        }
        if found.orders.is_empty() {
            bail!("no test has found anything");
        }
        Ok(found)
    }

    fn report(&self, commit: &str) -> String {
        let heading = |of: &str| {
            let (orders, lines) = (self.orders.join(" | "), " ---: |".repeat(self.orders.len()));
            format!("| {of} | {orders} |\n| --- |{lines}\n")
        };
        let rows = |table: &Table, mark: &str| {
            let rows = table.iter().map(|(name, numbers)| {
                let cells = numbers.iter().map(|number| format!(" {number} |"));
                format!("| {mark}{name}{mark} |{}\n", cells.collect::<String>())
            });
            rows.collect::<String>()
        };
        format!(
            "# Features\n\n\
             Random pipelines on random records, each run with one, two and four workers on files, and once more on the same\n\
             bytes in memory, a few records a poll. What comes of each record, and each number of each event, is held against a\n\
             slow oracle that was written from the definitions alone: it must be there once, be what the oracle has, and in all runs\n\
             be the same bit for bit. There were no differences.\n\n\
             What the oracle has is a number, or two between which it must be, both rounded to 32 bits; it may be beyond them by a millionth\n\
             of the nearer one, or by a millionth if that is less than 1. Two it is where the order of additions matters: n numbers x\n\
             make their sum give or take n eps sum|x|, their mean give or take an n-th of that and eps of itself, and their deviation\n\
             give or take 4 n eps max|x|, with eps = 2^-52; transforms and expressions take both along. Where huge numbers are drawn beside small\n\
             ones, these two are far apart, and little is held. What is no finite number must be null. Where it is finite for one\n\
             and not for the other, or `log1p` has a value for one only, null passes too, as does any number that lies between; behind an\n\
             expression that sees such a one, anything does. How many there are of each sort stands below.\n\n\
             In arrival order a case may have several files, where each key's events are in one of them, since between files it is chance\n\
             who comes first. Written by `cargo xtask campaign features`; each run replaces it. The gate runs the same with fewer cases.\n\n\
             {}{}\n{}{}\n{}{}\n{}{}\n{}{}\n{}{}\nCommit {commit}.\n",
            heading("in all"),
            rows(&self.totals, ""),
            heading("what became of a record"),
            rows(&self.outcomes, ""),
            heading("numbers that must be"),
            rows(&self.held, ""),
            heading("features declared"),
            rows(&self.kinds, "`"),
            heading("windows"),
            rows(&self.windows, ""),
            heading("also declared"),
            rows(&self.also, ""),
        )
    }
}

/// The numbers below a key of each line. One that a line does not have is 0.
fn by_name(lines: &[Value], key: &str) -> Result<Table> {
    let mut table = Table::new();
    for (column, line) in lines.iter().enumerate() {
        let numbers = line.get(key).and_then(Value::as_object);
        for (name, number) in numbers.with_context(|| format!("a test wrote no `{key}`"))? {
            let row = table
                .entry(name.clone())
                .or_insert_with(|| vec![0; lines.len()]);
            if let Some(cell) = row.get_mut(column) {
                *cell = number.as_u64().unwrap_or_default();
            }
        }
    }
    Ok(table)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::Found;

    #[test]
    fn does_the_report_say_what_was_found() {
        let line = |order: &str, kinds: &str| {
            format!(
                r#"{{"order":"{order}","cases":2,"runs":8,"files":5,"records":9,"numbers":7,"outcomes":{{"late":1}},"held":{{"null":6}},"kinds":{kinds},"windows":{{}},"also":{{}}}}"#
            ) + "\n"
        };
        let lines = line("event_time", r#"{"sum":3}"#) + &line("arrival", r#"{"count":4}"#);
        let text = Found::read(&lines).unwrap().report("abc");
        let cases = "| in all | arrival | event_time |\n| --- | ---: | ---: |\n| cases | 2 | 2 |\n";
        assert!(text.contains(cases), "{text}");
        assert!(
            text.contains("| `count` | 4 | 0 |\n| `sum` | 0 | 3 |\n"),
            "{text}"
        );
        let held = "\n| numbers that must be | arrival | event_time |\n| --- | ---: | ---: |\n| null | 6 | 6 |\n";
        assert!(text.contains(held), "{text}");
        assert!(text.ends_with("Commit abc.\n"), "{text}");
        assert!(Found::read("").is_err());
        assert!(Found::read("{}\n").is_err());
    }
}
