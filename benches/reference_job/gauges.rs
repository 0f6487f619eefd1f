//! What is measured of a run: wall time, processor time, memory; and what came out of it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use slackwater::job::processor_time;
use slackwater_dataflow::meters::Checkpoints;
use slackwater_dataflow::sink::OutputStream;

use crate::Failure;
use crate::input::{Input, Options};

/// Largest difference between two sums of a million scores that are alike.
const SCORES_DIFFER_AT_MOST: f64 = 1e-5;

/// Records and bytes of one stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Number of records.
    pub records: u64,
    /// Their bytes, line feeds included.
    pub bytes: u64,
}

/// What came out of a run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outcome {
    /// By [`OutputStream::index`].
    pub streams: [Written; OutputStream::ALL.len()],
    /// Sum of all scores; `None` where adding them up would be part of what is measured.
    pub scores: Option<f64>,
    /// What became of the checkpoints, if there were any.
    pub checkpoints: Option<Checkpoints>,
}

impl Outcome {
    /// The counts of a stream, to add to.
    pub fn stream_mut(&mut self, stream: OutputStream) -> &mut Written {
        let [predictions, validation, processing, late] = &mut self.streams;
        match stream {
            OutputStream::Predictions => predictions,
            OutputStream::ValidationErrors => validation,
            OutputStream::ProcessingErrors => processing,
            OutputStream::LateEvents => late,
        }
    }

    /// Adds what another worker did.
    pub fn add(&mut self, other: &Outcome) {
        for (mine, theirs) in self.streams.iter_mut().zip(&other.streams) {
            mine.records += theirs.records;
            mine.bytes += theirs.bytes;
        }
        if let Some(scores) = other.scores {
            *self.scores.get_or_insert(0.0) += scores;
        }
    }

    /// Stops unless both have the same outcomes and scores. Bytes are compared too, but for validation
    /// errors: another parser words its reasons in another way.
    pub fn must_equal(&self, other: &Outcome) -> Result<(), Failure> {
        let comparable = |outcome: &Outcome| {
            let mut streams = outcome.streams;
            let validation = OutputStream::ValidationErrors.index();
            if let Some(stream) = streams.get_mut(validation) {
                stream.bytes = 0;
            }
            streams
        };
        let sum = |outcome: &Outcome| outcome.scores.unwrap_or(f64::NAN);
        let alike = (sum(self) - sum(other)).abs() <= SCORES_DIFFER_AT_MOST;
        if alike && comparable(self) == comparable(other) {
            return Ok(());
        }
        Err(format!("they disagree:\n{self:?}\n{other:?}").into())
    }

    fn json(&self) -> Value {
        let stream = |stream: OutputStream| {
            let written = self
                .streams
                .get(stream.index())
                .copied()
                .unwrap_or_default();
            let counts = json!({ "records": written.records, "bytes": written.bytes });
            (stream.name().to_owned(), counts)
        };
        let streams: serde_json::Map<_, _> = OutputStream::ALL.into_iter().map(stream).collect();
        let checkpoints = self.checkpoints.map(|it| {
            let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
            json!({
                "completed": it.completed,
                "failed": it.failed,
                "p50_ms": ms(it.duration.p50),
                "p99_ms": ms(it.duration.p99),
                "max_ms": ms(it.duration.max),
            })
        });
        json!({ "outcomes": streams, "sum_of_scores": self.scores, "checkpoints": checkpoints })
    }
}

/// One run.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// What came out.
    pub outcome: Outcome,
    seconds: f64,
    cpu_seconds: f64,
    peak_rss_bytes: u64,
    /// What of it is the input.
    input_bytes: u64,
}

/// Runs what was prepared, between two readings of the clocks.
pub fn measure<P>(
    input: &Input,
    prepared: P,
    run: impl FnOnce(P) -> Result<Outcome, Failure>,
) -> Result<Measured, Failure> {
    forget_peak();
    let processor_time = || {
        if input.options.clock {
            processor_time()
        } else {
            Duration::ZERO
        }
    };
    let (cpu, wall) = (processor_time(), Instant::now());
    let outcome = run(prepared)?;
    let (seconds, cpu_used) = (wall.elapsed(), processor_time().saturating_sub(cpu));
    Ok(Measured {
        outcome,
        seconds: seconds.as_secs_f64(),
        cpu_seconds: cpu_used.as_secs_f64(),
        peak_rss_bytes: status_bytes("VmHWM:"),
        input_bytes: input.bytes(),
    })
}

impl Measured {
    /// One line.
    pub fn json(&self, name: &str, options: &Options) -> String {
        let events = options.events;
        json!({
            "name": name,
            "events": events,
            "workers": options.workers,
            "users": options.users,
            "seconds": self.seconds,
            "cpu_seconds": self.cpu_seconds,
            "ns_per_event": self.cpu_seconds * 1e9 / events as f64,
            "events_per_second": events as f64 / self.seconds,
            "peak_rss_bytes": self.peak_rss_bytes,
            "input_bytes": self.input_bytes,
            "check": self.outcome.json(),
        })
        .to_string()
    }
}

/// A size of this process from `/proc`; 0 where there is none.
pub fn status_bytes(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// Lets the peak start again from what is in use now. Where that is not possible the peak includes the
/// preparation, which changes no other figure.
fn forget_peak() {
    drop(std::fs::write("/proc/self/clear_refs", "5"));
}
