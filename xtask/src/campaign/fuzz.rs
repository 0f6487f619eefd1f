//! Whatever reads what others wrote, on inputs that a fuzzer makes up.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use crate::campaign::{commit, write_report};
use crate::process::{self, shell_line};
use crate::tools;

/// Inputs for each target when nothing is said.
const CASES: u64 = 1_000_000;
/// Seed of the fuzzer when nothing is said.
const SEED: u64 = 1;
/// Seconds that one input may take: longer is a finding.
const SECONDS_MAX: u32 = 10;
/// The feature of targets that bring all of the program along.
const WHOLE: &str = "whole";
/// How such targets are built: without a sanitizer. The one for addresses is compiled into libraries in C as well, and
/// librdkafka, whose build links programs to see what there is, finds no such zstd. What is ours has no `unsafe`, which
/// `Cargo.toml` forbids; the parser of expressions, a library, has some, and of that only what ends in a crash is seen.
const SANITIZER: [&str; 2] = ["--sanitizer", "none"];
/// The report, from the root of the repository.
const REPORT: &str = "docs/reports/fuzz.md";
/// How the fuzzer's last report says how many inputs it ran.
const EXECUTED: &str = "stat::number_of_executed_units:";

/// A fuzz target, `fuzz/fuzz_targets/NAME.rs`. Its stored corpus is in `fuzz/corpus/NAME`.
struct Target {
    name: &'static str,
    /// What it is about.
    subject: &'static str,
    /// Whether it brings all of the program along.
    whole: bool,
}

/// All targets, in the order in which they run.
static TARGETS: [Target; 3] = [
    Target {
        name: "decode",
        subject: "the scanner of records, raced against `serde_json`",
        whole: false,
    },
    Target {
        name: "expression",
        subject: "any text as an expression, compiled and evaluated",
        whole: true,
    },
    Target {
        name: "pipeline_file",
        subject: "any bytes as a pipeline file",
        whole: true,
    },
];

impl Target {
    /// What is chosen by a person and kept.
    fn corpus(&self) -> String {
        format!("fuzz/corpus/{}", self.name)
    }

    /// New inputs go here, not into the stored corpus.
    fn scratch(&self) -> String {
        format!("target/fuzz-corpus/{}", self.name)
    }

    /// Where the fuzzer puts an input that broke the target.
    fn artifacts(&self) -> String {
        format!("fuzz/artifacts/{}", self.name)
    }

    /// A command of cargo-fuzz, with how the target is built.
    fn built(&self, program: &Path, command: &str) -> Command {
        let mut built = nightly_fuzz(program);
        built.arg(command);
        if self.whole {
            built.args(SANITIZER).args(["--features", WHOLE]);
        }
        built
    }
}

/// What one campaign is asked to do.
struct Fuzz {
    /// Inputs for each target.
    cases: u64,
    /// The fuzzer's seed; never 0, which it takes for "any".
    seed: u64,
    /// Only this target.
    only: Option<&'static Target>,
}

/// What came out of one target.
struct Outcome {
    target: &'static Target,
    /// Inputs that were run, by the fuzzer's own count.
    executed: u64,
    /// Seconds, building excluded.
    seconds: u64,
    /// Names of the inputs that broke the target.
    findings: Vec<String>,
    /// What is wrong with the run, and how it is repeated.
    complaint: Option<String>,
}

/// Fuzzes as the options say.
///
/// # Errors
/// An unknown option; a missing tool; a finding, after the report is written.
pub fn run(options: &[String]) -> Result<()> {
    fuzz(&parse(options)?)
}

/// Reads `--cases N`, `--seed S` and `--target NAME`.
fn parse(options: &[String]) -> Result<Fuzz> {
    let mut fuzz = Fuzz {
        cases: CASES,
        seed: SEED,
        only: None,
    };
    for pair in options.chunks(2) {
        match pair {
            [name, value] if name == "--cases" => fuzz.cases = number(value)?,
            [name, value] if name == "--seed" => fuzz.seed = number(value)?,
            [name, value] if name == "--target" => {
                let found = TARGETS.iter().find(|target| target.name == value);
                let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
                let unknown = || format!("no target `{value}`; there are {}", names.join(", "));
                fuzz.only = Some(found.with_context(unknown)?);
            }
            _ => bail!(
                "campaign fuzz takes `--cases N`, `--seed S` and `--target NAME`, not `{}`",
                pair.join(" ")
            ),
        }
    }
    Ok(fuzz)
}

fn number(value: &str) -> Result<u64> {
    let number = value.replace(['_', ','], "").parse().ok();
    number
        .filter(|number| *number > 0)
        .with_context(|| format!("`{value}` is not a whole number above 0"))
}

/// Builds and runs each target, writes the report.
fn fuzz(wanted: &Fuzz) -> Result<()> {
    let program = tools::program(&tools::FUZZ)?;
    let nightly = process::command("rustup")
        .args(["run", "nightly", "rustc", "--version"])
        .output();
    if !nightly.is_ok_and(|output| output.status.success()) {
        bail!("fuzzing needs a nightly toolchain: rustup toolchain install nightly");
    }
    let targets = TARGETS.iter();
    let targets = targets.filter(|it| wanted.only.is_none_or(|only| only.name == it.name));
    let mut outcomes = Vec::new();
    for target in targets {
        outcomes.push(fuzz_target(&program, target, wanted)?);
    }
    // One target alone is for a look: the report is about all of them.
    if wanted.only.is_none() {
        write_report(REPORT, &report(wanted, &outcomes, &commit()?))?;
    }
    for outcome in &outcomes {
        let (name, executed, seconds) = (outcome.target.name, outcome.executed, outcome.seconds);
        let findings = outcome.findings.len();
        println!("campaign fuzz: {name}: {executed} inputs in {seconds} s, {findings} findings");
    }
    let complaints = outcomes.into_iter().filter_map(|it| it.complaint);
    let complaints: Vec<String> = complaints.collect();
    if complaints.is_empty() {
        return Ok(());
    }
    bail!("{}", complaints.join("\n"))
}

/// Builds a target and runs it.
fn fuzz_target(program: &Path, target: &'static Target, wanted: &Fuzz) -> Result<Outcome> {
    let (corpus, scratch) = (target.corpus(), target.scratch());
    // Left from another run, they would make this one something that no seed can repeat.
    tools::remove_folder(&process::root().join(&scratch))?;
    for folder in [&scratch, &corpus] {
        fs::create_dir_all(process::root().join(folder))
            .with_context(|| format!("cannot make {folder}"))?;
    }
    let before = artifacts(target)?;
    process::run(target.built(program, "build").arg(target.name))?;

    let mut command = target.built(program, "run");
    command.args([target.name, &scratch, &corpus, "--"]);
    command.arg(format!("-runs={}", wanted.cases));
    command.arg(format!("-seed={}", wanted.seed));
    command.arg(format!("-timeout={SECONDS_MAX}"));
    command.arg("-print_final_stats=1");
    let start = Instant::now();
    let (status, executed) = watched(&mut command)?;
    let seconds = start.elapsed().as_secs();
    let findings: Vec<String> = artifacts(target)?.difference(&before).cloned().collect();
    let complaint = if !status.success() || !findings.is_empty() {
        Some(format!(
            "{}: {status} after {executed} inputs, {} findings in {}; repeat it with\n    {}",
            target.name,
            findings.len(),
            target.artifacts(),
            shell_line(&command)
        ))
    } else if executed < wanted.cases {
        Some(format!(
            "{}: the fuzzer stopped after {executed} of {} inputs without a finding",
            target.name, wanted.cases
        ))
    } else {
        None
    };
    Ok(Outcome {
        target,
        executed,
        seconds,
        findings,
        complaint,
    })
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

/// Names of the inputs that broke a target so far.
fn artifacts(target: &Target) -> Result<BTreeSet<String>> {
    let folder = process::root().join(target.artifacts());
    let mut names = BTreeSet::new();
    if folder.is_dir() {
        for entry in fs::read_dir(&folder)? {
            names.insert(entry?.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(names)
}

/// The report's text.
fn report(wanted: &Fuzz, outcomes: &[Outcome], commit: &str) -> String {
    let Fuzz { cases, seed, .. } = wanted;
    let mut text = format!(
        "# Fuzzing\n\n\
         Each target starts from its stored corpus in `fuzz/corpus`; an input that takes more than {SECONDS_MAX} s is a failure.\n\
         Written by `cargo xtask campaign fuzz`; each run replaces it.\n\n\
         | | |\n| --- | --- |\n\
         | inputs asked for | {cases} for each target |\n\
         | seed | {seed} |\n\
         | commit | {commit} |\n\
         | again | `cargo xtask campaign fuzz --cases {cases} --seed {seed}` |\n"
    );
    for outcome in outcomes {
        let Outcome {
            target,
            executed,
            seconds,
            findings,
            ..
        } = outcome;
        let verdict = if findings.is_empty() {
            format!("0 failures in {executed}; 95 % upper bound 3/{executed}")
        } else {
            let names = findings.join("`, `");
            format!("{} failures in {executed}: `{names}`", findings.len())
        };
        let Target {
            name,
            subject,
            whole,
        } = target;
        let sanitizer = if *whole { "none" } else { "addresses" };
        let _ = write!(
            text,
            "\n## `{name}`\nTarget `fuzz/fuzz_targets/{name}.rs`: {subject}.\n\n\
             | | |\n| --- | --- |\n\
             | result | {verdict} |\n\
             | inputs run | {executed} of {cases} asked for |\n\
             | seconds | {seconds} |\n\
             | sanitizer | {sanitizer} |\n"
        );
    }
    text
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::{Fuzz, Outcome, TARGETS, parse, report};
    use crate::process;

    #[test]
    fn what_does_a_campaign_run() {
        let check = |options: &[&str], expected: Option<(u64, u64, Option<&str>)>| {
            let parsed = parse(&options.iter().map(ToString::to_string).collect::<Vec<_>>());
            let found = parsed
                .ok()
                .map(|it| (it.cases, it.seed, it.only.map(|it| it.name)));
            assert_eq!(found, expected, "{options:?}");
        };
        check(&[], Some((1_000_000, 1, None)));
        check(&["--cases", "5_000"], Some((5_000, 1, None)));
        check(&["--seed", "9", "--cases", "10"], Some((10, 9, None)));
        check(
            &["--target", "decode"],
            Some((1_000_000, 1, Some("decode"))),
        );
        check(&["--cases"], None);
        check(&["--cases", "many"], None);
        check(&["--cases", "0"], None);
        check(&["--seed", "0"], None);
        check(&["--target", "decoder"], None);
        check(&["--runs", "5"], None);
    }

    #[test]
    fn does_the_report_say_what_was_found() {
        let check = |findings: &[&str], expected: &str| {
            let outcomes = TARGETS.iter().map(|target| Outcome {
                target,
                executed: 900,
                seconds: 4,
                findings: findings.iter().map(ToString::to_string).collect(),
                complaint: None,
            });
            let outcomes: Vec<Outcome> = outcomes.collect();
            let wanted = Fuzz {
                cases: 900,
                seed: 3,
                only: None,
            };
            let text = report(&wanted, &outcomes, "abc");
            assert_eq!(text.matches(expected).count(), TARGETS.len(), "{text}");
            assert!(text.contains("--cases 900 --seed 3"), "{text}");
        };
        check(&[], "0 failures in 900; 95 % upper bound 3/900");
        check(
            &["crash-1", "oom-2"],
            "2 failures in 900: `crash-1`, `oom-2`",
        );
    }

    #[test]
    fn does_every_target_run() {
        let folder = process::root().join("fuzz/fuzz_targets");
        let mut found: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        found.sort();
        let known = TARGETS.iter().map(|target| format!("{}.rs", target.name));
        assert_eq!(found, known.collect::<Vec<_>>());
    }
}
