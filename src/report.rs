//! What a run has to say at its end: one table for people, one JSON object for programs.

use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;
use slackwater_dataflow::lookup::counts::LookupFigures;
use slackwater_dataflow::meters::{Checkpoints, Latency, Totals};
use slackwater_dataflow::sink::OutputStream;
use slackwater_operators::reject::grouped;

use crate::supervisor::protocol::Lookup;

/// A finished run.
#[derive(Clone, Debug)]
pub struct Report {
    /// The job's name.
    pub job: String,
    /// What the events that were not rejected became.
    pub product: ProductName,
    /// What was read and what became of it.
    pub totals: Totals,
    /// From read to encoded.
    pub latency: Latency,
    /// Wall time of the run, without start-up.
    pub elapsed: Duration,
    /// Processor time of the whole process.
    pub cpu: Duration,
    /// Where each stream went, a folder or `stdout`; none if the outputs went nowhere.
    pub outputs: Vec<(OutputStream, String)>,
    /// Of a job with checkpoints.
    pub epochs: Option<EpochFigures>,
    /// What was asked of the stores of its lookups.
    pub lookups: Vec<LookupFigures>,
}

/// What only a run with checkpoints has to say. Totals are those of the whole job then; these are of this run.
#[derive(Clone, Copy, Debug, Default)]
pub struct EpochFigures {
    /// From read to visible; none where outputs are sent before they are counted as that.
    pub visible: Option<Latency>,
    /// What became of its checkpoints.
    pub checkpoints: Checkpoints,
    /// Runs that failed before this one.
    pub restarts: u32,
}

/// What a run makes of events that are not rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProductName {
    /// Scores.
    Predictions,
    /// Feature vectors.
    Features,
}

impl ProductName {
    /// What a stream is called in the report of such a run.
    pub(crate) fn of(self, stream: OutputStream) -> &'static str {
        match (self, stream) {
            (ProductName::Features, OutputStream::Predictions) => "features",
            (_, stream) => stream.name(),
        }
    }
}

/// The summary object of `--json`.
#[derive(Serialize)]
struct Summary<'a> {
    job: &'a str,
    read: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    predictions: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    features: Option<u64>,
    validation_errors: u64,
    processing_errors: u64,
    late_events: u64,
    filtered: u64,
    in_flight: u64,
    seconds: f64,
    events_per_second: f64,
    cpu_seconds: f64,
    latency_ms: Percentiles,
    #[serde(skip_serializing_if = "Option::is_none")]
    visible_ms: Option<Percentiles>,
    #[serde(skip_serializing_if = "Option::is_none")]
    checkpoints: Option<CheckpointSummary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    restarts: Option<u32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lookups: Vec<Lookup>,
    outputs: serde_json::Map<String, serde_json::Value>,
}

#[derive(Serialize)]
struct Percentiles {
    p50: f64,
    p99: f64,
    max: f64,
}

impl From<Latency> for Percentiles {
    fn from(latency: Latency) -> Self {
        Percentiles {
            p50: rounded(ms(latency.p50), 1e3),
            p99: rounded(ms(latency.p99), 1e3),
            max: rounded(ms(latency.max), 1e3),
        }
    }
}

#[derive(Serialize)]
struct CheckpointSummary {
    completed: u64,
    failed: u64,
    duration_ms: Percentiles,
}

impl From<Checkpoints> for CheckpointSummary {
    fn from(checkpoints: Checkpoints) -> Self {
        CheckpointSummary {
            completed: checkpoints.completed,
            failed: checkpoints.failed,
            duration_ms: checkpoints.duration.into(),
        }
    }
}

impl Report {
    fn events_per_second(&self) -> f64 {
        self.totals.read_per_second(self.elapsed)
    }

    /// One line of JSON.
    pub fn to_json(&self) -> String {
        let settled = |stream| self.totals.settled(stream);
        let made = |product| (product == self.product).then(|| settled(OutputStream::Predictions));
        let outputs = self.outputs.iter();
        let summary = Summary {
            job: &self.job,
            read: self.totals.read,
            predictions: made(ProductName::Predictions),
            features: made(ProductName::Features),
            validation_errors: settled(OutputStream::ValidationErrors),
            processing_errors: settled(OutputStream::ProcessingErrors),
            late_events: settled(OutputStream::LateEvents),
            filtered: self.totals.filtered,
            in_flight: self.totals.in_flight(),
            seconds: rounded(self.elapsed.as_secs_f64(), 1e6),
            events_per_second: self.events_per_second(),
            cpu_seconds: rounded(self.cpu.as_secs_f64(), 1e6),
            latency_ms: self.latency.into(),
            visible_ms: self
                .epochs
                .and_then(|epochs| epochs.visible.map(Into::into)),
            checkpoints: self.epochs.map(|epochs| epochs.checkpoints.into()),
            restarts: self.epochs.map(|epochs| epochs.restarts),
            lookups: self.lookups.iter().cloned().map(Into::into).collect(),
            outputs: outputs
                .map(|(at, to)| (self.product.of(*at).to_owned(), to.as_str().into()))
                .collect(),
        };
        // Plain numbers and texts always serialise.
        serde_json::to_string(&summary).unwrap_or_default()
    }

    /// The table at the end of a run.
    pub fn to_table(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::UTF8_HORIZONTAL_ONLY);
        let headers = [
            self.job.clone(),
            "events".to_owned(),
            "share".to_owned(),
            "to".to_owned(),
        ];
        table.set_header(headers);
        let read = self.totals.read;
        let share = |count: u64| format!("{:.2} %", 100.0 * count as f64 / read.max(1) as f64);
        let row = |name: &str, count: u64, to: String| {
            [name.replace('_', " "), grouped(count), share(count), to]
        };
        table.add_row(row("read", read, String::new()));
        for stream in OutputStream::ALL {
            let output = self.outputs.iter().find(|(other, _)| *other == stream);
            let to = output.map_or("discarded", |(_, place)| place).to_owned();
            // A job drops all of its late events or none.
            let to = if self.totals.settled(stream) > self.totals.written(stream) {
                "dropped".to_owned()
            } else {
                to
            };
            table.add_row(row(
                self.product.of(stream),
                self.totals.settled(stream),
                to,
            ));
        }
        if self.totals.filtered > 0 {
            let left_out = "left out".to_owned();
            table.add_row(row("filtered", self.totals.filtered, left_out));
        }
        if self.totals.in_flight() > 0 {
            table.add_row(row("in flight", self.totals.in_flight(), String::new()));
        }
        for column in [1, 2] {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        let lookups = self.lookups.iter().map(asked).collect::<String>();
        format!("{table}\n{}\n{}{lookups}", self.speed(), self.latencies())
    }

    fn speed(&self) -> String {
        let per_event = match self.totals.read {
            0 => String::new(),
            read => {
                let nanos = self.cpu.as_nanos() as f64 / read as f64;
                format!(", {nanos:.0} ns of CPU an event")
            }
        };
        format!(
            "{} events/s ({:.2} s, {:.2} s of CPU{per_event})",
            grouped(self.events_per_second() as u64),
            self.elapsed.as_secs_f64(),
            self.cpu.as_secs_f64(),
        )
    }

    fn latencies(&self) -> String {
        let Latency { p50, p99, max } = self.latency;
        format!(
            "read to encoded: p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms",
            ms(p50),
            ms(p99),
            ms(max)
        )
    }
}

/// What became of the questions of a lookup, as a line of its own.
fn asked(lookup: &LookupFigures) -> String {
    let lookup = Lookup::from(lookup.clone());
    let (answered, rest) = (grouped(lookup.answered), seldom(&lookup));
    format!("\nlookup `{}`: {answered} answered{rest}", lookup.name)
}

/// What else became of the questions of a lookup, as words that follow how many were answered; what has not happened is left
/// out.
pub(crate) fn seldom(lookup: &Lookup) -> String {
    let counts = [
        (lookup.timed_out, "timed out"),
        (lookup.unavailable, "unavailable"),
        (lookup.under_way, "under way"),
        (lookup.remembered, "remembered"),
        (lookup.last_known, "last known"),
    ];
    let counts = counts.into_iter().filter(|(count, _)| *count > 0);
    let mut words: String = counts
        .map(|(count, what)| format!(", {} {what}", grouped(count)))
        .collect();
    words.push_str(&match lookup.breaker.openings {
        0 => String::new(),
        1 => "; its store was given up once".to_owned(),
        times => format!("; its store was given up {} times", grouped(times)),
    });
    words
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// To the nearest of `parts` of a unit: clocks are not better than a microsecond.
fn rounded(number: f64, parts: f64) -> f64 {
    (number * parts).round() / parts
}
