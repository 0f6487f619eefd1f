//! The decoder on inputs that a fuzzer makes up.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use crate::campaign::{commit, write_report};
use crate::process::{self, shell_line};
use crate::tools;

/// Runs of the fuzzer when nothing is said.
const FUZZ_RUNS: u64 = 1_000_000;
/// Seed of the fuzzer when nothing is said.
const FUZZ_SEED: u64 = 1;
/// The fuzz target and the folder of its stored corpus, from the root of the repository.
const FUZZ_TARGET: &str = "decode";
const FUZZ_CORPUS: &str = "fuzz/corpus/decode";
/// New inputs go here, not into the stored corpus: what is kept for the gate is chosen by a person.
const FUZZ_SCRATCH: &str = "target/fuzz-corpus/decode";
/// Where the fuzzer puts an input that broke the target.
const FUZZ_ARTIFACTS: &str = "fuzz/artifacts/decode";
/// The report, from the root of the repository.
const FUZZ_REPORT: &str = "docs/reports/fuzz.md";
/// How the fuzzer's last report says how many inputs it ran.
const EXECUTED: &str = "stat::number_of_executed_units:";

/// What one fuzz campaign is asked to do.
#[derive(Debug, PartialEq, Eq)]
struct Fuzz {
    /// Inputs to run.
    runs: u64,
    /// The fuzzer's seed; never 0, which it takes for "any".
    seed: u64,
}

/// What came out of one.
struct Outcome {
    /// Inputs that were run, by the fuzzer's own count.
    executed: u64,
    /// Seconds, building excluded.
    seconds: u64,
    /// Names of the inputs that broke the target.
    findings: Vec<String>,
}

/// Fuzzes as the options say.
///
/// # Errors
/// An unknown option; a missing tool; a finding, after the report is written.
pub fn run(options: &[String]) -> Result<()> {
    fuzz(&parse(options)?)
}

/// Reads `--runs N` and `--seed S`.
fn parse(options: &[String]) -> Result<Fuzz> {
    let mut fuzz = Fuzz {
        runs: FUZZ_RUNS,
        seed: FUZZ_SEED,
    };
    for pair in options.chunks(2) {
        let (target, value) = match pair {
            [name, value] if name == "--runs" => (&mut fuzz.runs, value),
            [name, value] if name == "--seed" => (&mut fuzz.seed, value),
            _ => bail!(
                "campaign fuzz takes `--runs N` and `--seed S`, not `{}`",
                pair.join(" ")
            ),
        };
        *target = value
            .replace(['_', ','], "")
            .parse()
            .ok()
            .filter(|number| *number > 0)
            .with_context(|| format!("`{value}` is not a whole number above 0"))?;
    }
    Ok(fuzz)
}

/// Builds the target, runs it, writes the report.
fn fuzz(wanted: &Fuzz) -> Result<()> {
    let program = tools::program(&tools::FUZZ)?;
    let nightly = process::command("rustup")
        .args(["run", "nightly", "rustc", "--version"])
        .output();
    if !nightly.is_ok_and(|output| output.status.success()) {
        bail!("fuzzing needs a nightly toolchain: rustup toolchain install nightly");
    }
    // Left from another run, they would make this one something that no seed can repeat.
    tools::remove_folder(&process::root().join(FUZZ_SCRATCH))?;
    for folder in [FUZZ_SCRATCH, FUZZ_CORPUS] {
        fs::create_dir_all(process::root().join(folder))
            .with_context(|| format!("cannot make {folder}"))?;
    }
    let before = artifacts()?;
    process::run(nightly_fuzz(&program).args(["build", FUZZ_TARGET]))?;

    let mut command = nightly_fuzz(&program);
    command.args(["run", FUZZ_TARGET, FUZZ_SCRATCH, FUZZ_CORPUS, "--"]);
    command.arg(format!("-runs={}", wanted.runs));
    command.arg(format!("-seed={}", wanted.seed));
    command.arg("-print_final_stats=1");
    let start = Instant::now();
    let (status, executed) = watched(&mut command)?;
    let outcome = Outcome {
        executed,
        seconds: start.elapsed().as_secs(),
        findings: artifacts()?.difference(&before).cloned().collect(),
    };
    write_report(FUZZ_REPORT, &report(wanted, &outcome, &commit()?))?;
    if !status.success() || !outcome.findings.is_empty() {
        bail!(
            "{status} after {} inputs, {} findings in {FUZZ_ARTIFACTS} (report: {FUZZ_REPORT}); repeat it with\n    {}",
            outcome.executed,
            outcome.findings.len(),
            shell_line(&command)
        );
    }
    if outcome.executed < wanted.runs {
        bail!(
            "the fuzzer stopped after {} of {} inputs without a finding",
            outcome.executed,
            wanted.runs
        );
    }
    println!(
        "campaign fuzz: {} inputs in {} s, 0 findings (report: {FUZZ_REPORT})",
        outcome.executed, outcome.seconds
    );
    Ok(())
}

/// cargo-fuzz under the nightly toolchain, which the sanitizer and coverage flags need.
fn nightly_fuzz(program: &Path) -> Command {
    let mut command = process::command(program);
    command
        .env("RUSTUP_TOOLCHAIN", "nightly")
        // Set by the `cargo run` that started this program, to the toolchain of the workspace.
        .env_remove("CARGO");
    command
}

/// Runs the fuzzer with its log passed on to this terminal, and picks out how many inputs it ran.
fn watched(command: &mut Command) -> Result<(ExitStatus, u64)> {
    let mut child = command
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", shell_line(command)))?;
    let log = child.stderr.take().context("the fuzzer has no log")?;
    let mut executed = 0;
    // The log may hold bytes of an input: it is read as bytes, not as text.
    for line in BufReader::new(log).split(b'\n') {
        let line = line.context("cannot read the fuzzer's log")?;
        let line = String::from_utf8_lossy(&line);
        eprintln!("{line}");
        if let Some(count) = line.strip_prefix(EXECUTED) {
            executed = count.trim().parse().unwrap_or(0);
        }
    }
    let status = child.wait().context("cannot wait for the fuzzer")?;
    Ok((status, executed))
}

/// Names of the inputs that broke the target so far.
fn artifacts() -> Result<BTreeSet<String>> {
    let folder = process::root().join(FUZZ_ARTIFACTS);
    let mut names = BTreeSet::new();
    if folder.is_dir() {
        for entry in fs::read_dir(&folder)? {
            names.insert(entry?.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(names)
}

/// The report's text.
fn report(wanted: &Fuzz, outcome: &Outcome, commit: &str) -> String {
    let Fuzz { runs, seed } = wanted;
    let Outcome {
        executed,
        seconds,
        findings,
    } = outcome;
    let verdict = if findings.is_empty() {
        format!("0 failures in {executed}; 95 % upper bound 3/{executed}")
    } else {
        let names = findings.join("`, `");
        format!("{} failures in {executed}: `{names}`", findings.len())
    };
    format!(
        "# Fuzzing the decoder\n\n\
         Target `{FUZZ_TARGET}` (`fuzz/fuzz_targets/{FUZZ_TARGET}.rs`), starting from the stored corpus in\n\
         `{FUZZ_CORPUS}`. Written by `cargo xtask campaign fuzz`; each run replaces it.\n\n\
         | | |\n| --- | --- |\n\
         | result | {verdict} |\n\
         | inputs run | {executed} of {runs} asked for |\n\
         | seconds | {seconds} |\n\
         | seed | {seed} |\n\
         | commit | {commit} |\n\
         | again | `cargo xtask campaign fuzz --runs {runs} --seed {seed}` |\n"
    )
}

#[cfg(test)]
mod tests {
    use super::{Fuzz, Outcome, parse, report};

    #[test]
    fn what_does_a_campaign_run() {
        let check = |options: &[&str], expected: Option<(u64, u64)>| {
            let options: Vec<String> = options.iter().map(ToString::to_string).collect();
            let expected = expected.map(|(runs, seed)| Fuzz { runs, seed });
            assert_eq!(parse(&options).ok(), expected, "{options:?}");
        };
        check(&[], Some((1_000_000, 1)));
        check(&["--runs", "5_000"], Some((5_000, 1)));
        check(&["--seed", "9", "--runs", "10"], Some((10, 9)));
        check(&["--runs"], None);
        check(&["--runs", "many"], None);
        check(&["--runs", "0"], None);
        check(&["--seed", "0"], None);
        check(&["--target", "decode"], None);
    }

    #[test]
    fn does_the_report_say_what_was_found() {
        let check = |findings: &[&str], expected: &str| {
            let outcome = Outcome {
                executed: 900,
                seconds: 4,
                findings: findings.iter().map(ToString::to_string).collect(),
            };
            let text = report(&Fuzz { runs: 900, seed: 3 }, &outcome, "abc");
            assert!(text.contains(expected), "{text}");
            assert!(text.contains("--runs 900 --seed 3"), "{text}");
        };
        check(&[], "0 failures in 900; 95 % upper bound 3/900");
        check(
            &["crash-1", "oom-2"],
            "2 failures in 900: `crash-1`, `oom-2`",
        );
    }
}
