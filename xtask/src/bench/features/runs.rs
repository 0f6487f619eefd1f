//! What is run: each job by the engine, over a file of events that lies in memory by then.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::events::{Times, write};
use super::jobs::Job;
use crate::bench::cost::{Cost, STARTING, build_engine, owned, wait_with_peak};
use crate::bench::turns::Sample;
use crate::process;

/// The engine, and a folder with events.
pub struct Bench {
    engine: PathBuf,
    folder: PathBuf,
    events: u64,
}

impl Bench {
    /// Builds the engine and writes so many events.
    pub fn prepare(events: u64) -> Result<Self> {
        let engine = build_engine()?;
        let target = process::root().join(process::target());
        let folder = target.join("bench-features");
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        for times in Times::ALL {
            let mut file = BufWriter::new(File::create(folder.join(times.file()))?);
            write(&mut file, events, times)?;
            file.flush()?;
        }
        Ok(Bench {
            engine,
            folder,
            events,
        })
    }

    /// Removes the events.
    pub fn tidy(&self) -> Result<()> {
        Ok(fs::remove_dir_all(&self.folder)?)
    }

    /// Runs a job to its end. Every event must have come out once.
    pub fn run(&self, job: &Job, turn: usize) -> Result<Sample> {
        let what = job.what;
        let raw = self
            .measure(job)
            .with_context(|| format!("cannot measure `{what}`"))?;
        Ok(Sample { what, turn, raw })
    }

    fn measure(&self, job: &Job) -> Result<Value> {
        fs::write(self.folder.join("job.toml"), job.pipeline())?;
        let (said, trouble) = (self.folder.join("said"), self.folder.join("trouble"));
        let mut command = owned(&self.engine);
        command.args(["run", "--json", "job.toml"]);
        command.current_dir(&self.folder).stdin(Stdio::null());
        command.stdout(File::create(&said)?);
        command.stderr(File::create(&trouble)?);
        let begun = Instant::now();
        let mut child = command.spawn().context(STARTING)?;
        let cost = wait_with_peak(&mut child, "the engine")
            .with_context(|| fs::read_to_string(&trouble).unwrap_or_default())?;
        let seconds = begun.elapsed().as_secs_f64();
        let said = fs::read_to_string(&said)?;
        let summary: Value = serde_json::from_str(said.lines().last().unwrap_or_default())
            .with_context(|| format!("the engine printed no JSON: {said}"))?;
        figures(self.events, &summary, seconds, &cost)
    }
}

/// The figures of a run, from what the engine says of it.
fn figures(events: u64, summary: &Value, seconds: f64, cost: &Cost) -> Result<Value> {
    let number = |name: &str| {
        let number = summary.get(name).and_then(Value::as_u64);
        number.with_context(|| format!("the engine does not say `{name}`: {summary}"))
    };
    if number("read")? != events || number("features")? != events {
        bail!("of {events} events not each has given features: {summary}");
    }
    let us = cost.cpu_seconds * 1e6 / events as f64;
    Ok(json!({
        "events": events,
        "seconds": seconds,
        "events_per_second": events as f64 / seconds,
        "cpu_seconds": cost.cpu_seconds,
        "us_per_event": us,
        "ns_per_event": us * 1e3,
        "peak_mb": cost.peak_bytes as f64 / 1e6,
        "summary": summary,
    }))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use serde_json::json;

    use super::figures;
    use crate::bench::cost::Cost;

    #[test]
    fn is_it_noticed_when_an_event_is_missing() {
        let cost = Cost {
            cpu_seconds: 1.0,
            peak_bytes: 5_000_000,
        };
        let of = |read: u64, features: u64| {
            let summary = json!({"read": read, "features": features, "processing_errors": 1});
            figures(100, &summary, 2.0, &cost)
        };
        let found = of(100, 100).unwrap();
        assert_eq!(found["events_per_second"], 50.0);
        assert_eq!(found["us_per_event"], 10_000.0);
        assert_eq!(found["peak_mb"], 5.0);
        assert!(of(100, 99).is_err());
        assert!(of(99, 99).is_err());
        assert!(figures(100, &json!({"read": 100}), 2.0, &cost).is_err());
    }
}
