//! What a bench must find, and whether it did.

use std::fmt;
use std::fmt::Write as _;

use serde_json::Value;

use super::report::{Report, ranged};
use super::samples::{
    ARRIVAL_JOB, Configuration, EXACTLY_ONCE_JOB, FILES_JOB, HOT_JOB, LONG, ORDERED_JOB,
};
use super::statistics::{Summary, grouped};

/// What the engine must reach of the hand-written job's rate when both drop their outputs, and when only the
/// engine writes its own to files.
const SHARE_BARS: (f64, f64) = (0.80, 0.75);
/// Events per second that it must reach on two workers, without files and with them.
const RATE_BARS: (f64, f64) = (1_300_000.0, 1_200_000.0);
/// What event-time order may cost, as processor time over that of arrival order.
const ORDER_BAR: f64 = 1.25;
/// What the engine must reach of its own rate when half of all events are of one key.
const HOT_BAR: f64 = 0.45;
/// What it must reach, exactly once, of its own rate without checkpoints.
const EXACTLY_ONCE_BAR: f64 = 0.90;
/// Milliseconds that a checkpoint of a small state may take at the 99th percentile, or three times as long as writing and
/// syncing as much does.
const SMALL_BAR_MS: f64 = 20.0;
const SMALL_BAR_SYNCS: f64 = 3.0;
/// The same of a large state.
const LARGE_BAR_MS: f64 = 1_000.0;
/// Milliseconds of a worker's time when an epoch closes over it.
const CLOSE_BAR_MS: f64 = 2.0;
/// Milliseconds from the start of the process to the first output.
const START_BAR_MS: f64 = 300.0;
/// Bytes that a key with a full history may cost.
const KEY_BYTES_BAR: f64 = 4_096.0;

/// One line of the table.
pub struct Bar {
    what: String,
    bar: String,
    found: String,
    met: bool,
}

impl Bar {
    /// A line about a figure that was compared elsewhere.
    pub fn of(what: &str, bar: &str, found: String, met: bool) -> Self {
        Bar {
            what: what.to_owned(),
            bar: bar.to_owned(),
            found,
            met,
        }
    }
}

/// The table of what must be found and what was.
pub fn write_bars(page: &mut String, bars: impl IntoIterator<Item = Bar>) {
    page.push_str("\n| what | bar | found | |\n| --- | --- | --- | --- |\n");
    for bar in bars {
        // Writing to a String cannot fail.
        let _ = writeln!(page, "{bar}");
    }
}

impl fmt::Display for Bar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Bar {
            what, bar, found, ..
        } = self;
        let verdict = if self.met { "met" } else { "**missed**" };
        write!(f, "| {what} | {bar} | {found} | {verdict} |")
    }
}

fn percent(ratio: f64) -> String {
    format!("{:.0} %", ratio * 100.0)
}

/// A rate that must not be lower.
fn rate(what: &str, bar: f64, found: f64) -> Bar {
    Bar {
        what: what.to_owned(),
        bar: format!("at least {} events/s", grouped(bar)),
        found: grouped(found),
        met: found >= bar,
    }
}

/// A ratio that must not be lower.
fn share(what: &str, bar: f64, found: Summary) -> Bar {
    Bar {
        what: what.to_owned(),
        bar: format!("at least {}", percent(bar)),
        found: ranged(found, percent),
        met: found.median >= bar,
    }
}

/// A figure that must not be higher.
fn at_most(what: &str, unit: &str, bar: f64, found: f64) -> Bar {
    Bar {
        what: what.to_owned(),
        bar: format!("at most {bar:.0} {unit}"),
        found: format!("{found:.1} {unit}"),
        met: found <= bar,
    }
}

const fn on_two(job: &'static str, times: u64) -> Configuration {
    Configuration {
        job,
        workers: 2,
        times,
    }
}

impl Report {
    /// All bars.
    pub fn bars(&self) -> Vec<Bar> {
        let mut bars = self.rates();
        bars.extend(self.costs());
        bars.extend(self.durations());
        bars
    }

    fn rate(&self, configuration: Configuration) -> f64 {
        Summary::of(self.figures(configuration, "events_per_second")).median
    }

    fn rates(&self) -> Vec<Bar> {
        let runs = [
            ("2 workers, outputs dropped", on_two(ARRIVAL_JOB, 1)),
            ("2 workers, outputs in files", on_two(FILES_JOB, 1)),
            (
                "exactly once to files, a checkpoint each second",
                on_two(EXACTLY_ONCE_JOB, LONG),
            ),
        ];
        let bars = runs.into_iter().flat_map(|(what, run)| {
            let is_dropped = run.job == ARRIVAL_JOB;
            let pick = |(dropped, written)| if is_dropped { dropped } else { written };
            let of_hand_fused = self.ratio(run, "events_per_second");
            [
                rate(what, pick(RATE_BARS), self.rate(run)),
                share(
                    "the same, of the hand-fused rate",
                    pick(SHARE_BARS),
                    of_hand_fused,
                ),
            ]
        });
        let exactly_once = on_two(EXACTLY_ONCE_JOB, LONG);
        let of_off = self.ratio_to(FILES_JOB, exactly_once, "events_per_second");
        let what = "the same, of the rate without checkpoints";
        bars.chain([share(what, EXACTLY_ONCE_BAR, of_off)])
            .collect()
    }

    fn costs(&self) -> Vec<Bar> {
        let order = self.ratio_to(ARRIVAL_JOB, on_two(ORDERED_JOB, 1), "ns_per_event");
        let hot = self.ratio_to(ARRIVAL_JOB, on_two(HOT_JOB, 1), "events_per_second");
        let key = self.bytes_per_key("memory/engine/full");
        vec![
            Bar {
                what: "event-time order, CPU over arrival order".to_owned(),
                bar: format!("at most {ORDER_BAR:.2}"),
                found: ranged(order, |ratio| format!("{ratio:.2}")),
                met: order.median <= ORDER_BAR,
            },
            share(
                "half of all events of one key, of the even rate",
                HOT_BAR,
                hot,
            ),
            Bar {
                what: "a key with a full history".to_owned(),
                bar: format!("at most {} bytes", grouped(KEY_BYTES_BAR)),
                found: grouped(key),
                met: key <= KEY_BYTES_BAR,
            },
        ]
    }

    /// A figure of a case of checkpoints.
    fn of(&self, case: &str, figure: &str) -> f64 {
        let name = format!("checkpoints/{case}");
        let is_it = |found: &&Value| found.get("name").and_then(Value::as_str) == Some(&name);
        let found = self.checkpoints.iter().find(is_it);
        let found = found.and_then(|found| found.get(figure)?.as_f64());
        found.unwrap_or(f64::NAN)
    }

    fn durations(&self) -> Vec<Bar> {
        let syncs = self.yardsticks.iter();
        let syncs = syncs.filter(|it| it.name == "write and fsync 42 KB, p99");
        let sync = Summary::of(syncs.map(|it| it.value)).max;
        let small = format!(
            "a checkpoint of {:.0} KB, p99",
            self.of("small", "state_bytes") / 1e3
        );
        let large = format!(
            "a checkpoint of {:.0} MB, of which 1 % changes, p99",
            self.of("large", "state_bytes") / 1e6
        );
        let step = self.of("closing", "close_p99_us");
        let step = step.max(self.of("closing", "part_p99_us")) / 1e3;
        let median = |starts: &[f64]| starts.get(starts.len() / 2).copied().unwrap_or(f64::NAN);
        let close = "a worker's time when an epoch closes over as much, p99";
        let start = "from start to the first output, median";
        let committed = "the same with checkpoints, to the first committed output";
        vec![
            at_most(
                &small,
                "ms",
                SMALL_BAR_MS.max(SMALL_BAR_SYNCS * sync),
                self.of("small", "p99_ms"),
            ),
            at_most(&large, "ms", LARGE_BAR_MS, self.of("large", "p99_ms")),
            at_most(close, "ms", CLOSE_BAR_MS, step),
            at_most(start, "ms", START_BAR_MS, median(&self.starts.plain)),
            at_most(
                committed,
                "ms",
                START_BAR_MS,
                median(&self.starts.exactly_once),
            ),
        ]
    }
}
