//! What a bench through Kafka has found: figures turn by turn, whether they are what they must be, the section of the page
//! for people, and the file for programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};
use slackwater_services::kafka::VERSION;

use super::turns::{
    AT_ONCE, COMMITTED, CONSUME, DELAYS, DRAINS, ENGINE, Load, ONE_RECORD, PRODUCE,
    SHORT_INTERVAL_MS, STRAIGHT,
};
use crate::bench::bars::{Bar, write_bars};
use crate::bench::report::{ranged, write_machine};
use crate::bench::sections::KAFKA;
use crate::bench::statistics::{Summary, grouped};
use crate::bench::turns::Samples;

/// Microseconds of processor time that an event may cost beyond what it costs to be consumed and produced; and those that
/// are hoped for.
const COST_BARS_US: (f64, f64) = (1.5, 0.8);
/// Milliseconds beyond the yardstick's 99th percentile, exactly once. What is hoped for is the time between two
/// checkpoints, and 20 ms.
const COMMITTED_BARS_MS: (f64, f64) = (150.0, SHORT_INTERVAL_MS as f64 + 20.0);
/// The same, at least once.
const AT_ONCE_BARS_MS: (f64, f64) = (4.0, 2.0);

/// All that was found.
pub struct Found {
    /// The line that repeats it.
    pub command: String,
    /// Events that are drained.
    pub events: u64,
    /// The load under which delays were measured, if they were.
    pub load: Option<Load>,
    /// All runs.
    pub samples: Samples,
    /// Where it was measured, and what.
    pub machine: BTreeMap<&'static str, String>,
}

impl Found {
    /// Events a second that a load has: half of what the engine drains.
    pub fn half_rate(&self) -> u64 {
        (self.samples.summary(ENGINE, "events_per_second").median / 2.0) as u64
    }

    /// All of it, for programs.
    pub fn json(&self) -> Value {
        let load = self
            .load
            .map(|load| json!({ "rate": load.rate, "seconds": load.seconds }));
        json!({
            "command": self.command,
            "machine": self.machine,
            "kafka": VERSION,
            "events": self.events,
            "load": load,
            "samples": self.samples.json(),
        })
    }

    fn bars(&self) -> Vec<Bar> {
        let cost = self
            .samples
            .beyond(ENGINE, &[CONSUME, PRODUCE], "us_per_event");
        let what = "exactly once through Kafka, CPU an event beyond consuming and producing it";
        let mut bars = Vec::from(at_most(what, "us", COST_BARS_US, cost));
        for (what, delays, yardstick, limits) in [
            (
                "exactly once, p99 from a record's time until it is visible, beyond that of one record",
                COMMITTED,
                ONE_RECORD,
                COMMITTED_BARS_MS,
            ),
            (
                "the same at least once",
                AT_ONCE,
                ONE_RECORD,
                AT_ONCE_BARS_MS,
            ),
            (
                "at least once, beyond that of the same load without an engine",
                AT_ONCE,
                STRAIGHT,
                AT_ONCE_BARS_MS,
            ),
        ] {
            if self.load.is_some() {
                let beyond = self.samples.beyond(delays, &[yardstick], "p99_ms");
                bars.extend(at_most(what, "ms", limits, beyond));
            }
        }
        bars
    }

    /// The section of the page.
    pub fn section(&self) -> String {
        let mut section = format!("{KAFKA}\n\n");
        let (command, events) = (&self.command, grouped(self.events as f64));
        // Writing to a String cannot fail.
        let _ = write!(
            section,
            "Written by `{command}`; each run replaces this section. One broker of Apache Kafka {VERSION} on the same\n\
             machine, topics of four partitions. {events} events are in a topic; the engine (`pipelines/user-events.kafka.toml`:\n\
             a checkpoint each second) makes of each one record in another topic. How many are there is counted after each run.\n\
             `consume only` and `produce only` are clients without an engine (`kafka/benches/yardsticks/`), of which the second\n\
             writes what the engine has written, idempotent, with `acks=all` and lz4, but without transactions.\n\
             CPU is that of whole processes, from start to end: of the engine that of its supervisor and its worker. The runs\n\
             took turns, forth and back; the first drain of each is dropped. Figures are medians, with the range of all runs in\n\
             brackets; differences are of runs of the same turn.\n\n| | |\n| --- | --- |\n"
        );
        write_machine(&mut section, &self.machine);
        self.write_drains(&mut section);
        if let Some(load) = self.load {
            self.write_delays(&mut section, load);
        }
        write_bars(&mut section, self.bars());
        section
    }

    fn write_drains(&self, section: &mut String) {
        section.push_str(
            "\n| all of the input | CPU us/event | 1,000 events/s | the broker's CPU us/event |\n\
             | --- | ---: | ---: | ---: |\n",
        );
        for what in DRAINS {
            let two_digits = |us: f64| format!("{us:.2}");
            let cpu = ranged(self.samples.summary(what, "us_per_event"), two_digits);
            let broker = ranged(
                self.samples.summary(what, "broker_us_per_event"),
                two_digits,
            );
            let rate = self.samples.summary(what, "events_per_second");
            let rate = ranged(rate, |rate| grouped(rate / 1e3));
            let _ = writeln!(section, "| {what} | {cpu} | {rate} | {broker} |");
        }
        section.push_str(
            "\nThe engine's rate is from the start of its process until the last record is committed.\n",
        );
    }

    fn write_delays(&self, section: &mut String, load: Load) {
        let Load { rate, seconds } = load;
        let rate = grouped(rate as f64);
        let _ = write!(
            section,
            "\nFrom the time of a record, which is when it is sent, until a consumer of what is committed has what the engine\n\
             makes of it, for {seconds} s at {rate} events/s, half of what is drained; without an engine, until it has\n\
             the record. Whoever sends the load waits up to 5 ms for more, as clients do by themselves; who sends one record at a time does not.\n\
             Times of records are whole milliseconds, cut off, so that all of this is half a millisecond too long.\n\n\
             | milliseconds | p50 | p90 | p99 | p99.9 | longest | events/s |\n\
             | --- | ---: | ---: | ---: | ---: | ---: | ---: |\n"
        );
        for what in DELAYS {
            let of = |figure| self.samples.summary(what, figure);
            let median = |figure| format!("{:.1}", of(figure).median);
            let _ = writeln!(
                section,
                "| {what} | {} | {} | {} | {} | {} | {} |",
                median("p50_ms"),
                median("p90_ms"),
                ranged(of("p99_ms"), |ms| format!("{ms:.1}")),
                median("p999_ms"),
                median("max_ms"),
                match self.samples.figures(what, "rate").is_empty() {
                    true => String::new(),
                    false => grouped(of("rate").median),
                },
            );
        }
    }
}

/// A difference that must not be higher, and one that is hoped for.
fn at_most(what: &str, unit: &str, (bar, hoped): (f64, f64), found: Summary) -> [Bar; 2] {
    let text = ranged(found, |figure| format!("{figure:.2}"));
    let line = |what: &str, bar: f64| {
        let limit = format!("at most {bar:.1} {unit}");
        Bar::of(what, &limit, format!("{text} {unit}"), found.median <= bar)
    };
    [line(what, bar), line("the same, what is hoped for", hoped)]
}

#[cfg(test)]
mod tests;
