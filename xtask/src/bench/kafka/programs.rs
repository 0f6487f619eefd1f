//! Runs the engine and the yardsticks, and reads what they cost.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::pipeline::Job;
use crate::bench::cost::{STARTING, build_engine, owned, quietly, wait_with_cost};
use crate::bench::samples::executable;
use crate::process;

/// Longest wait for a job to begin.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks whether it has.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// What a program has found, and what that has cost.
#[derive(Clone, Debug)]
pub struct Ran {
    /// The line that it has printed.
    pub found: Value,
    /// Seconds of processor time.
    pub cpu_seconds: f64,
}

/// The programs, built.
pub struct Programs {
    engine: PathBuf,
    yardsticks: PathBuf,
}

impl Programs {
    /// Builds both in release.
    pub fn build() -> Result<Self> {
        let engine = build_engine()?;
        let mut command = process::cargo();
        command.args([
            "bench",
            "--locked",
            "--no-run",
            "--package",
            "slackwater-kafka",
        ]);
        command.args(["--bench", "yardsticks"]);
        command.args(["--message-format", "json-render-diagnostics"]);
        let messages = process::output(&mut command)?;
        Ok(Programs {
            engine,
            yardsticks: executable(&messages, "yardsticks")?,
        })
    }

    /// Runs a yardstick.
    pub fn yardstick(&self, name: &str, options: &[(&str, &str)]) -> Result<Ran> {
        let mut command = process::command(&self.yardsticks);
        command.arg(name).stdout(Stdio::piped());
        for (option, value) in options {
            command.args([format!("--{option}"), (*value).to_owned()]);
        }
        let line = process::shell_line(&command);
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot start {line}"))?;
        let mut said = String::new();
        if let Some(out) = &mut child.stdout {
            std::io::Read::read_to_string(out, &mut said)?;
        }
        let cpu_seconds = wait_with_cost(&mut child, &line)?;
        let found = serde_json::from_str(&said);
        let found = found.with_context(|| format!("{line} printed no JSON: {said}"))?;
        Ok(Ran { found, cpu_seconds })
    }

    /// Writes made-up events to a folder, a file for each partition, and says which.
    pub fn generate(&self, folder: &Path, events: u64) -> Result<Vec<PathBuf>> {
        let mut command = process::command(&self.engine);
        command.args(["generate", "pipelines/user-events.toml", "--overwrite"]);
        command.args(["--events", &events.to_string(), "--out"]);
        process::output(command.arg(folder))?;
        let mut files = Vec::new();
        for entry in fs::read_dir(folder)? {
            files.push(entry?.path());
        }
        files.sort();
        Ok(files)
    }

    /// Starts a job in a folder of its own, and waits until it has its first checkpoint.
    pub fn start(&self, job: &Job, folder: &Path) -> Result<Running> {
        let reference = process::root().join("pipelines/user-events.kafka.toml");
        let reference = fs::read_to_string(&reference)
            .with_context(|| format!("cannot read {}", reference.display()))?;
        let folder = folder.join(job.name());
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("job.toml"), job.pipeline(&reference)?)?;
        let said = File::create(folder.join("said"))?;
        let mut check = Command::new(&self.engine);
        check.args(["check", "job.toml", "--create-topics"]);
        quietly(check.current_dir(&folder).stdin(Stdio::null()))?;
        let mut run = owned(&self.engine);
        run.args(["run", "--json", "job.toml"]);
        run.current_dir(&folder).stdin(Stdio::null());
        run.stdout(said.try_clone()?).stderr(said);
        let begun_at_ms = now_ms();
        let child = run.spawn().context(STARTING)?;
        Ok(Running {
            child,
            engine: self.engine.clone(),
            folder,
            begun_at_ms,
        })
    }
}

/// Milliseconds since 1970.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}

/// A job that runs. Dropped, it is killed.
pub struct Running {
    child: Child,
    engine: PathBuf,
    folder: PathBuf,
    /// When its process was started, in milliseconds since 1970.
    pub begun_at_ms: u64,
}

impl Running {
    fn ask(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.engine);
        command.args(words).arg("job.toml");
        command.current_dir(&self.folder).stdin(Stdio::null());
        command
    }

    /// What it says of itself, if it answers.
    fn status(&self) -> Option<Value> {
        let answered = self
            .ask(&["status", "--json"])
            .stderr(Stdio::null())
            .output();
        serde_json::from_slice(&answered.ok()?.stdout).ok()
    }

    /// Waits until it has a checkpoint, and so reads and writes.
    pub fn wait_until_ready(&mut self) -> Result<()> {
        let since = Instant::now();
        while since.elapsed() < PATIENCE {
            let completed = |status: Value| status.pointer("/last/checkpoints/completed")?.as_u64();
            if self
                .status()
                .and_then(completed)
                .is_some_and(|completed| completed > 0)
            {
                return Ok(());
            }
            if self.child.try_wait()?.is_some() {
                break;
            }
            thread::sleep(LOOK_AGAIN);
        }
        bail!("the job does not begin: {}", self.said())
    }

    /// Stops it in order, and says what it has cost: the process above it and its worker.
    ///
    /// # Errors
    /// When it has failed and begun again meanwhile: then what it has cost is not what the work costs.
    pub fn stop(mut self) -> Result<f64> {
        let status = self.status();
        let failed = status.and_then(|status| status.get("failed")?.as_u64());
        if failed != Some(0) {
            bail!("the job has failed meanwhile: {}", self.said());
        }
        quietly(&mut self.ask(&["stop"]))?;
        let said = self.said();
        wait_with_cost(&mut self.child, "the engine").context(said)
    }

    fn said(&self) -> String {
        fs::read_to_string(self.folder.join("said")).unwrap_or_default()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Errors when it has ended, which is as well. Its worker ends with it.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
