//! What a job says while it runs: a block on a terminal that is drawn anew a few times a second, or else a
//! line now and then.
//!
//! - [`Watch`] looks at the counters of a run, which are there anyway, and makes a [`Status`] of them;
//! - `rate` is how fast it is now; `trouble` is what went wrong of late; `text` is the block as lines, for any width; `line` is the line of a log;
//! - `screen` draws on the terminal; [`live`] does all of it in time, on a thread of its own;
//! - [`warnings`] hears what sources and sinks warn of.

mod rate;
mod trouble;
mod text;
mod line;
mod screen;
pub mod live;
pub mod warnings;

use std::sync::Arc;
use std::time::Duration;

use slackwater_dataflow::clock::Clock;
use slackwater_dataflow::lookup::asking::AskWatch;
use slackwater_dataflow::lookup::counts::LookupFigures;
use slackwater_dataflow::meters::{Meters, Totals};
use slackwater_dataflow::moment::EventTime;
use slackwater_dataflow::pace::Pace;
use slackwater_dataflow::reached::{Reached, Span};

use crate::report::ProductName;
use crate::status::rate::Rate;
use crate::status::trouble::Recent;

/// Longest lag behind the clock on the wall that says anything: what is older was recorded once and is only
/// read now.
const LAG_MS_MAX: u64 = 24 * 3_600_000;

/// What there is to say of a run at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The job's name.
    pub job: String,
    /// What the events that are not rejected become.
    pub product: ProductName,
    /// Since the run began.
    pub elapsed: Duration,
    /// What was read and what became of it.
    pub totals: Totals,
    /// Of those in flight, the ones that wait until the watermark has passed them.
    pub waiting: u64,
    /// Events read a second, of late.
    pub per_second: u64,
    /// How many events there will be, if that is known.
    pub expected: Option<u64>,
    /// How far event time has come, once there was an event.
    pub span: Option<Span>,
    /// How far an event may be behind the newest of its partition, by which the watermark lags behind it.
    pub max_out_of_orderness_ms: u64,
    /// Milliseconds since 1970, if events come as they happen; what was recorded long ago is not late.
    pub now_ms: Option<i64>,
    /// What was asked of the stores of lookups.
    pub lookups: Vec<LookupFigures>,
    /// What went wrong of late that the run survives: why it waits, if it does.
    pub trouble: Option<String>,
}

impl Status {
    /// Events read a second, since the run began.
    fn mean_per_second(&self) -> u64 {
        self.totals.read_per_second(self.elapsed) as u64
    }

    /// How far the watermark is behind the newest event of all partitions; none before it is known.
    fn behind_newest_ms(&self) -> Option<u64> {
        let span = self.span?;
        let newest = span.most.plus_ms(self.max_out_of_orderness_ms);
        Some(newest.ms_after(span.least?))
    }

    /// How far the watermark is behind the clock on the wall, if that says anything.
    fn behind_now_ms(&self) -> Option<u64> {
        let reached = self.span?.least?;
        let lag = EventTime(self.now_ms?).ms_after(reached);
        (lag <= LAG_MS_MAX).then_some(lag)
    }
}

/// What does not change while a job runs.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The job's name.
    pub job: String,
    /// What the events that are not rejected become.
    pub product: ProductName,
    /// How many events there will be, if that is known.
    pub expected: Option<u64>,
    /// How far an event may be behind the newest of its partition without being late.
    pub max_out_of_orderness_ms: u64,
    /// Whether events come as they happen, as from a file that is followed.
    pub as_they_happen: bool,
}

/// Looks at a run, which must begin now.
pub struct Watch {
    subject: Subject,
    meters: Arc<Meters>,
    reached: Arc<Reached>,
    pace: Option<Arc<Pace>>,
    clock: Arc<dyn Clock>,
    began: Duration,
    rate: Rate,
    recent: Recent,
    lookups: Vec<AskWatch>,
}

impl Watch {
    /// Watches a run that counts with these; with the pace of one whose events wait for the watermark.
    pub fn new(
        subject: Subject,
        meters: Arc<Meters>,
        reached: Arc<Reached>,
        pace: Option<Arc<Pace>>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Watch {
            subject,
            meters,
            reached,
            pace,
            began: clock.monotonic(),
            clock,
            rate: Rate::default(),
            recent: Recent::default(),
            lookups: Vec::new(),
        }
    }

    /// The same with its lookups.
    #[must_use]
    pub fn looking_up(mut self, lookups: Vec<AskWatch>) -> Self {
        self.lookups = lookups;
        self
    }

    /// How it is now.
    pub fn look(&mut self) -> Status {
        let elapsed = self.clock.monotonic().saturating_sub(self.began);
        let totals = self.meters.totals();
        let subject = &self.subject;
        Status {
            job: subject.job.clone(),
            product: subject.product,
            elapsed,
            totals,
            waiting: self.pace.as_ref().map_or(0, |pace| pace.waiting_events()),
            per_second: self.rate.at(elapsed, totals.read),
            expected: subject.expected,
            span: self.reached.span(),
            max_out_of_orderness_ms: subject.max_out_of_orderness_ms,
            now_ms: subject.as_they_happen.then(|| self.clock.wall_ms()),
            lookups: self.lookups.iter().map(AskWatch::look).collect(),
            trouble: self.recent.at(elapsed, self.meters.trouble()),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;
