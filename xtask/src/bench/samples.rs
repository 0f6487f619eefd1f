//! Runs the programs under `benches/` and reads the lines they print.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::process;

/// A job on a number of workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// As the program calls it.
    pub job: &'static str,
    /// Threads.
    pub workers: u32,
    /// Times as many events as others.
    pub times: u64,
}

const fn on(workers: u32, job: &'static str) -> Configuration {
    Configuration {
        job,
        workers,
        times: 1,
    }
}

/// Long enough for a checkpoint each second to be what happens most of the time.
const fn long(job: &'static str) -> Configuration {
    Configuration {
        job,
        workers: 2,
        times: LONG,
    }
}

/// Times as many events as others a long run has.
pub const LONG: u64 = 5;

/// The job that the others are compared with.
pub const YARDSTICK_JOB: &str = "hand-fused";

/// The engine in arrival order, its outputs dropped.
pub const ARRIVAL_JOB: &str = "engine";
/// The same, its outputs in files.
pub const FILES_JOB: &str = "engine-files";
/// The same, each epoch exactly once, with a checkpoint each second.
pub const EXACTLY_ONCE_JOB: &str = "engine-exactly-once";
/// In event-time order.
pub const ORDERED_JOB: &str = "engine-ordered";
/// In arrival order, with half of all events of one key.
pub const HOT_JOB: &str = "engine-hot";

/// All configurations, in the order of a repetition.
pub const CONFIGURATIONS: [Configuration; 12] = [
    on(1, YARDSTICK_JOB),
    on(1, ARRIVAL_JOB),
    on(1, FILES_JOB),
    on(1, ORDERED_JOB),
    on(2, YARDSTICK_JOB),
    on(2, ARRIVAL_JOB),
    on(2, FILES_JOB),
    on(2, ORDERED_JOB),
    on(2, HOT_JOB),
    long(YARDSTICK_JOB),
    long(FILES_JOB),
    long(EXACTLY_ONCE_JOB),
];

/// Cases of checkpoints, with the keys of those that are given a number.
const CHECKPOINT_CASES: [(&str, Option<&str>); 3] = [
    ("small", None),
    ("large", Some("600_000")),
    ("closing", Some("600_000")),
];

/// Events of a short run under the simulator of instructions, which is fifty times slower.
const SIMULATED_EVENTS: u64 = 20_000;

/// One run.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Of what.
    pub configuration: Configuration,
    /// Which turn; runs of one turn are compared. The first warms up.
    pub repetition: usize,
    /// The line that it printed.
    pub raw: Value,
}

impl Sample {
    /// A figure of the run.
    pub fn figure(&self, name: &str) -> f64 {
        self.raw
            .get(name)
            .and_then(Value::as_f64)
            .unwrap_or(f64::NAN)
    }
}

/// A figure of the yardsticks.
#[derive(Clone, Debug)]
pub struct Yardstick {
    /// What of.
    pub name: String,
    /// In what.
    pub unit: String,
    /// How much.
    pub value: f64,
}

/// The programs, built.
pub struct Programs {
    reference_job: PathBuf,
    yardsticks: PathBuf,
}

impl Programs {
    /// Builds both in release, as the binary is built.
    pub fn build() -> Result<Self> {
        let mut command = process::cargo();
        command.args(["bench", "--locked", "--no-run", "--package", "slackwater"]);
        command.args(["--bench", "reference_job", "--bench", "yardsticks"]);
        command.args(["--message-format", "json-render-diagnostics"]);
        let messages = process::output(&mut command)?;
        let find = |name: &str| executable(&messages, name);
        Ok(Programs {
            reference_job: find("reference_job")?,
            yardsticks: find("yardsticks")?,
        })
    }

    /// Stops unless both jobs have the same results.
    pub fn verify(&self, workers: u32, events: u64) -> Result<()> {
        let job = Configuration {
            job: "verify",
            workers,
            times: 1,
        };
        self.sample(&job, 0, events).map(drop)
    }

    /// Runs one configuration.
    pub fn sample(
        &self,
        configuration: &Configuration,
        repetition: usize,
        events: u64,
    ) -> Result<Sample> {
        let mut command = process::command(&self.reference_job);
        command.arg(configuration.job);
        command.args(["--workers", &configuration.workers.to_string()]);
        let events = events * configuration.times;
        command.args(["--events", &events.to_string()]);
        let line = process::output(&mut command)?;
        Ok(Sample {
            configuration: *configuration,
            repetition,
            raw: serde_json::from_str(&line).context("the bench printed no JSON")?,
        })
    }

    /// Runs all yardsticks once.
    pub fn yardsticks(&self, events: u64) -> Result<Vec<Yardstick>> {
        let mut command = process::command(&self.yardsticks);
        command.args(["all", "--events", &events.to_string()]);
        process::output(&mut command)?
            .lines()
            .map(yardstick)
            .collect()
    }

    /// What checkpoints take, by case.
    pub fn checkpoints(&self) -> Result<Vec<Value>> {
        let mut found = Vec::new();
        for (case, users) in CHECKPOINT_CASES {
            let mut command = process::command(&self.reference_job);
            command.args(["checkpoints", "--workers", "2", "--case", case]);
            command.args(users.iter().flat_map(|users| ["--users", users]));
            let line = process::output(&mut command)?;
            found.push(serde_json::from_str(&line).context("the bench printed no JSON")?);
        }
        Ok(found)
    }

    /// What a key costs, by job and case.
    pub fn memory(&self) -> Result<Vec<Value>> {
        let mut found = Vec::new();
        for (case, users) in [("full", "1_000_000"), ("reference", "100_000")] {
            for job in [YARDSTICK_JOB, "engine"] {
                let mut command = process::command(&self.reference_job);
                command.args(["memory", "--job", job, "--case", case, "--users", users]);
                let line = process::output(&mut command)?;
                found.push(serde_json::from_str(&line).context("the bench printed no JSON")?);
            }
        }
        Ok(found)
    }
}

/// Path of a program in cargo's messages.
pub(super) fn executable(messages: &str, name: &str) -> Result<PathBuf> {
    let path = messages.lines().find_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        let target = message.get("target")?.get("name")?.as_str()?;
        let path = message.get("executable")?.as_str()?;
        (target == name).then(|| PathBuf::from(path))
    });
    path.with_context(|| format!("cargo did not say where the program `{name}` is"))
}

fn yardstick(line: &str) -> Result<Yardstick> {
    let line: Value = serde_json::from_str(line).context("a yardstick printed no JSON")?;
    let text = |name: &str| line.get(name).and_then(Value::as_str).map(str::to_owned);
    let value = line.get("value").and_then(Value::as_f64);
    let (Some(name), Some(unit), Some(value)) = (text("name"), text("unit"), value) else {
        bail!("a yardstick printed `{line}`");
    };
    Ok(Yardstick { name, unit, value })
}

/// Instructions per event of both jobs on one worker. Two runs of different length, each less one that
/// only makes its input: what is done once cancels out, and so does the input.
pub fn instructions(programs: &Programs) -> Result<Vec<String>> {
    let per_event = |job: &str| -> Result<f64> {
        let long = count_instructions(programs, job, 2 * SIMULATED_EVENTS)?;
        let short = count_instructions(programs, job, SIMULATED_EVENTS)?;
        Ok(long.saturating_sub(short) as f64 / SIMULATED_EVENTS as f64)
    };
    let input = per_event("generate")?;
    let mut lines = Vec::new();
    for job in [YARDSTICK_JOB, "engine"] {
        let count = per_event(job)? - input;
        lines.push(format!("{job:<12} {count:>8.0} instructions an event"));
    }
    Ok(lines)
}

/// Instructions of a whole process, all threads.
fn count_instructions(programs: &Programs, job: &str, events: u64) -> Result<u64> {
    let folder = process::root().join(process::target()).join("callgrind");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let out = folder.join(format!("{job}-{events}.out"));
    let mut command = process::command("valgrind");
    command.args(["--tool=callgrind", "--quiet"]);
    command.arg(format!("--callgrind-out-file={}", out.display()));
    command.arg(&programs.reference_job);
    command.args([job, "--events", &events.to_string(), "--clock", "off"]);
    process::output(&mut command)?;
    let text =
        fs::read_to_string(&out).with_context(|| format!("cannot read {}", out.display()))?;
    let total = text
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix("totals: "));
    total
        .and_then(|total| total.trim().parse().ok())
        .with_context(|| format!("no total in {}", out.display()))
}

#[cfg(test)]
mod tests {
    use super::{executable, yardstick};

    #[test]
    fn which_program_did_cargo_build() {
        let messages = concat!(
            "{\"target\":{\"name\":\"slackwater\"},\"executable\":null}\n",
            "no JSON\n",
            "{\"target\":{\"name\":\"yardsticks\"},\"executable\":\"/a/b\"}\n",
        );
        let check = |name: &str, expected: Option<&str>| {
            let found = executable(messages, name).ok();
            assert_eq!(
                found.as_deref(),
                expected.map(std::path::Path::new),
                "{name}"
            );
        };
        check("yardsticks", Some("/a/b"));
        check("slackwater", None);
        check("other", None);
    }

    #[test]
    fn what_is_a_yardstick() {
        let check = |line: &str, expected: Option<f64>| {
            assert_eq!(
                yardstick(line).ok().map(|found| found.value),
                expected,
                "{line}"
            );
        };
        check(r#"{"name":"a","unit":"ms","value":1.5}"#, Some(1.5));
        check(r#"{"name":"a","value":1.5}"#, None);
        check("1.5", None);
        check("", None);
    }
}
