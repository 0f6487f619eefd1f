//! The gate: every check that must pass before a change lands, in the order that finds the cheap
//! mistakes first. It stops at the first failure, with the line that repeats it.
//!
//! One profile and one feature set for clippy, the tests and the binary under test, so that nothing
//! is compiled twice; no release build, no speed measured.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use slackwater_services::{kafka, redis};

use crate::process::{self, cargo};
use crate::{needs, oracle, refusal, tools};

/// One check.
struct Step {
    /// What `--only` calls it.
    name: &'static str,
    /// What it makes sure of.
    purpose: &'static str,
    /// Its share of the gate's time on two cores with nothing built yet. More is a failure: a gate
    /// that grows slowly is a gate that people stop running.
    share_minutes: u64,
    /// Does it.
    run: fn() -> Result<()>,
}

/// All checks, in order.
const STEPS: [Step; 15] = [
    Step {
        name: "tools",
        purpose: "what the machine must have, pinned nextest and deny, Kafka, Redis, Python for the oracle and for S3, the flights",
        share_minutes: 15,
        run: tools_ready,
    },
    Step {
        name: "fmt",
        purpose: "every file is formatted",
        share_minutes: 1,
        run: formatting,
    },
    Step {
        name: "clippy",
        purpose: "no lint speaks, anywhere",
        share_minutes: 8,
        run: lints,
    },
    Step {
        name: "docs",
        purpose: "the documentation builds without a warning",
        share_minutes: 3,
        run: documentation,
    },
    Step {
        name: "build",
        purpose: "the binary, the examples and all tests compile",
        share_minutes: 21,
        run: build,
    },
    Step {
        name: "tests",
        purpose: "unit tests, the binary's tests and the house rules (tidy)",
        share_minutes: 5,
        run: unit_tests,
    },
    Step {
        name: "s3",
        purpose: "whole jobs with their checkpoints in S3, which moto plays",
        share_minutes: 3,
        run: s3_tests,
    },
    Step {
        name: "redis",
        purpose: "whole jobs that look things up in a real Redis, which stops, freezes or is not there",
        share_minutes: 3,
        run: redis_tests,
    },
    Step {
        name: "kafka",
        purpose: "whole jobs on a real Kafka, read back by Java's own consumer",
        share_minutes: 16,
        run: kafka_tests,
    },
    Step {
        name: "doctests",
        purpose: "the examples in the documentation run",
        share_minutes: 3,
        run: doctests,
    },
    Step {
        name: "deny",
        purpose: "bans, licences and sources of the dependencies",
        share_minutes: 1,
        run: dependencies,
    },
    Step {
        name: "model",
        purpose: "the committed models are what their scripts make",
        share_minutes: 1,
        run: model,
    },
    Step {
        name: "refusal",
        purpose: "the program as it is shipped has no faults on purpose, and says what it was built without",
        share_minutes: 4,
        run: refusal::run,
    },
    Step {
        name: "oracle",
        purpose: "an independent program finds the same features, scores and outcomes; another one takes all pipelines by their schema, and no mistakes",
        share_minutes: 2,
        run: oracle::user_events,
    },
    Step {
        name: "flights",
        purpose: "another one finds the same of 10,000 real flights, in event-time order; pandas of the features of all",
        share_minutes: 4,
        run: oracle::flights,
    },
];

/// Runs the gate or the steps chosen.
///
/// # Errors
/// Names the first step that failed and how to repeat it; a mistyped option.
pub fn run(arguments: &[String]) -> Result<()> {
    let steps = match parse(arguments)? {
        Choice::List => {
            for step in &STEPS {
                println!("{:<12} {}", step.name, step.purpose);
            }
            return Ok(());
        }
        Choice::Run(steps) => steps,
    };
    let mut done = Vec::new();
    for step in steps {
        println!("\n=== {}: {}", step.name, step.purpose);
        let start = Instant::now();
        let outcome = (step.run)().and_then(|()| within_share(step, start.elapsed()));
        done.push((step.name, start.elapsed(), outcome.is_ok()));
        if let Err(error) = outcome {
            println!("\n{}", table(&done));
            return Err(error).with_context(|| {
                let name = step.name;
                format!("step `{name}` failed (cargo xtask test --only {name} runs it alone)")
            });
        }
    }
    println!("\n{}", table(&done));
    println!("xtask test: {} steps passed, 0 failed", done.len());
    Ok(())
}

/// What the arguments ask for.
enum Choice {
    /// Print the steps.
    List,
    /// Run these, in the gate's order.
    Run(Vec<&'static Step>),
}

/// Reads the arguments of `cargo xtask test`.
fn parse(arguments: &[String]) -> Result<Choice> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [] => Ok(Choice::Run(STEPS.iter().collect())),
        ["--list"] => Ok(Choice::List),
        ["--only", names] => chosen(names).map(Choice::Run),
        _ => bail!(
            "cargo xtask test takes nothing, `--list` or `--only STEP[,STEP]`, not `{}`",
            arguments.join(" ")
        ),
    }
}

/// The named steps in the gate's order, whatever order they were named in.
fn chosen(names: &str) -> Result<Vec<&'static Step>> {
    let names: Vec<&str> = names.split(',').collect();
    for name in &names {
        if STEPS.iter().all(|step| step.name != *name) {
            let known: Vec<&str> = STEPS.iter().map(|step| step.name).collect();
            bail!("no step `{name}`; there are {}", known.join(", "));
        }
    }
    Ok(STEPS
        .iter()
        .filter(|step| names.contains(&step.name))
        .collect())
}

/// Fails a step that passed but took longer than its share.
fn within_share(step: &Step, took: Duration) -> Result<()> {
    if took > Duration::from_secs(60 * step.share_minutes) {
        bail!(
            "it passed but took {}, its share of the gate is {} min on two free cores: make it \
             quicker, or move it to a campaign",
            minutes(took),
            step.share_minutes
        );
    }
    Ok(())
}

/// The steps so far with their times, one a line, and the sum.
fn table(done: &[(&str, Duration, bool)]) -> String {
    let mut text = format!("{:<12} {:>9}\n", "step", "time");
    for (name, took, passed) in done {
        let mark = if *passed { "" } else { "  FAILED" };
        text.push_str(&format!("{name:<12} {:>9}{mark}\n", minutes(*took)));
    }
    let sum: Duration = done.iter().map(|(_, took, _)| *took).sum();
    text.push_str(&format!("{:<12} {:>9}\n", "all", minutes(sum)));
    text
}

/// A time as minutes and seconds.
fn minutes(time: Duration) -> String {
    let tenths = time.as_millis() / 100;
    let (minutes, rest) = (tenths / 600, tenths % 600);
    format!("{minutes}:{:02}.{}", rest / 10, rest % 10)
}

/// Everything the later steps need that cargo does not bring.
fn tools_ready() -> Result<()> {
    needs::check()?;
    tools::program(&tools::NEXTEST)?;
    tools::program(&tools::DENY)?;
    tools::python(tools::ORACLE)?;
    tools::python(tools::S3)?;
    tools::source_package(&tools::NYCFLIGHTS)?;
    kafka::install(|said| println!("{said}"))?;
    redis::install(|said| println!("{said}"))?;
    println!("ready in {}", tools::cache()?.display());
    Ok(())
}

fn formatting() -> Result<()> {
    process::run(cargo().args(["fmt", "--all", "--check"]))
}

/// Of everything that is built here, so that nothing is built twice: defects on purpose, for the tests that must find
/// them, which are off unless the environment names one; stores in S3; TLS to Kafka; and tables of Parquet.
pub const FEATURES: [&str; 2] = ["--features", "faults,s3,tls,parquet"];

fn lints() -> Result<()> {
    // `--locked`: a lock file that does not fit the manifests fails here, not on somebody else.
    process::run(
        cargo()
            .args(["clippy", "--locked", "--workspace", "--all-targets"])
            .args(FEATURES)
            .args(["--", "-D", "warnings"]),
    )
}

fn documentation() -> Result<()> {
    process::run(
        cargo()
            .args(["doc", "--locked", "--workspace", "--no-deps"])
            .args(FEATURES)
            .env("RUSTDOCFLAGS", "-D warnings"),
    )
}

fn build() -> Result<()> {
    // Both in the shapes that later steps ask for, so that those only run. Without a choice of targets the
    // first builds examples as well, which tests of the binary run.
    process::run(
        process::command(tools::program(&tools::NEXTEST)?)
            .args(["nextest", "run", "--locked", "--workspace", "--no-run"])
            .args(FEATURES),
    )?;
    process::run(
        cargo()
            .args(["build", "--locked", "--package", "slackwater"])
            .args(FEATURES),
    )
}

/// The tests that need a service, as nextest names them: they have a step of their own, and a share.
const WITH_S3: &str = "binary(s3)";
const WITH_REDIS: &str = "binary(redis)";
const WITH_KAFKA: &str = "(binary(kafka) + binary(broker))";

fn unit_tests() -> Result<()> {
    tests(&format!("not ({WITH_S3} + {WITH_REDIS} + {WITH_KAFKA})"))
}

fn s3_tests() -> Result<()> {
    tools::python(tools::S3)?;
    tests(WITH_S3)
}

fn redis_tests() -> Result<()> {
    redis::install(|said| println!("{said}"))?;
    tests(WITH_REDIS)
}

fn kafka_tests() -> Result<()> {
    kafka::install(|said| println!("{said}"))?;
    tests(WITH_KAFKA)
}

/// Runs the tests that are so.
fn tests(which: &str) -> Result<()> {
    process::run(
        process::command(tools::program(&tools::NEXTEST)?)
            .args(["nextest", "run", "--locked", "--workspace"])
            .args(FEATURES)
            .args(["--filterset", which]),
    )
}

fn doctests() -> Result<()> {
    process::run(
        cargo()
            .args(["test", "--locked", "--workspace", "--doc"])
            .args(FEATURES),
    )
}

fn dependencies() -> Result<()> {
    process::run(process::command(tools::program(&tools::DENY)?).args([
        "--workspace",
        "check",
        "bans",
        "licenses",
        "sources",
    ]))
}

/// The scripts that make the committed models: the jobs', and those of the tests. The flights' is trained,
/// which needs the binary: here it is only scored, its own step trains it anew.
const MODEL_SCRIPTS: [&str; 3] = [
    "pipelines/models/make_user_events.py",
    oracle::FLIGHTS_MODEL_SCRIPT,
    "tests/cli/models/make.py",
];

fn model() -> Result<()> {
    let python = tools::python(tools::ORACLE)?;
    for script in MODEL_SCRIPTS {
        process::run(process::command(&python).args([script, "--check"]))?;
    }
    Ok(())
}

#[cfg(test)]
#[expect(clippy::panic, reason = "tests")]
mod tests {
    use std::time::Duration;

    use super::{Choice, STEPS, minutes, parse, table, within_share};

    fn names(arguments: &[&str]) -> Result<Vec<&'static str>, String> {
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        match parse(&arguments) {
            Ok(Choice::Run(steps)) => Ok(steps.iter().map(|step| step.name).collect()),
            Ok(Choice::List) => Ok(vec!["list"]),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn which_steps_do_the_arguments_choose() {
        let check = |arguments: &[&str], expected: &[&str]| {
            assert_eq!(names(arguments), Ok(expected.to_vec()), "{arguments:?}");
        };
        check(&[], &STEPS.map(|step| step.name));
        check(&["--list"], &["list"]);
        check(&["--only", "fmt"], &["fmt"]);
        check(&["--only", "oracle,fmt"], &["fmt", "oracle"]);
    }

    #[test]
    fn does_a_mistyped_argument_fail_and_say_what_would_be_right() {
        let check = |arguments: &[&str], hint: &str| match names(arguments) {
            Ok(steps) => panic!("{arguments:?} ran {steps:?}"),
            Err(message) => assert!(message.contains(hint), "{message}"),
        };
        check(
            &["--only", "fmt,lint"],
            "no step `lint`; there are tools, fmt,",
        );
        check(&["--only", ""], "no step ``");
        check(&["--only"], "--only STEP");
        check(&["--oly", "fmt"], "--only STEP");
        check(&["fmt"], "--only STEP");
    }

    #[test]
    fn does_a_step_over_its_share_fail() {
        let [step, ..] = &STEPS;
        let share = Duration::from_secs(60 * step.share_minutes);
        assert!(within_share(step, share).is_ok());
        assert!(within_share(step, share + Duration::from_millis(1)).is_err());
    }

    #[test]
    fn does_the_whole_gate_fit_into_the_time_of_a_run_of_ci() {
        let all: u64 = STEPS.iter().map(|step| step.share_minutes).sum();
        assert!(all <= 90, "{all} min");
    }

    #[test]
    fn does_the_table_show_times_and_the_failure() {
        assert_eq!(minutes(Duration::from_millis(59_949)), "0:59.9");
        assert_eq!(minutes(Duration::from_secs(754)), "12:34.0");
        let text = table(&[
            ("fmt", Duration::from_millis(1500), true),
            ("clippy", Duration::from_secs(61), false),
        ]);
        assert_eq!(
            text,
            "step              time\n\
             fmt             0:01.5\n\
             clippy          1:01.0  FAILED\n\
             all             1:02.5\n"
        );
    }
}
