//! The one clock: event-time watermarks and epochs as a single timely timestamp.
//!
//! A [`Moment`] is a pair under the **product** order: one moment comes before another only if both its
//! coordinates do. A source holds one capability per partition and moves it: the watermark coordinate as
//! event time advances, the epoch coordinate at a checkpoint. From any input frontier an operator reads
//! two facts and needs nothing else, and both projections live here:
//!
//! - the *watermark*, the least watermark coordinate: no on-time event older than this will come;
//! - the *open epoch*, the least epoch coordinate: every epoch below it is closed.
//!
//! So progress tracking is the watermark protocol and the barrier protocol at once, and no record in any
//! stream carries either.

use std::fmt;

use differential_dataflow::lattice::Lattice;
use serde::{Deserialize, Serialize};
use timely::order::PartialOrder;
use timely::progress::Timestamp;
use timely::progress::timestamp::{PathSummary, Refines};

/// Event time: milliseconds since 1970-01-01T00:00:00Z, as the event itself says.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct EventTime(pub i64);

impl EventTime {
    /// Before every event.
    pub const MIN: EventTime = EventTime(i64::MIN);
    /// After every event: the watermark of a partition that has ended.
    pub const MAX: EventTime = EventTime(i64::MAX);

    /// This time less a span in milliseconds; stops at [`Self::MIN`].
    #[must_use]
    #[inline]
    pub fn minus_ms(self, span_ms: u64) -> Self {
        EventTime(self.0.saturating_sub_unsigned(span_ms))
    }

    /// This time and a span in milliseconds; stops at [`Self::MAX`].
    #[must_use]
    #[inline]
    pub fn plus_ms(self, span_ms: u64) -> Self {
        EventTime(self.0.saturating_add_unsigned(span_ms))
    }

    /// How many milliseconds this time lies after `earlier`; 0 if it does not.
    #[inline]
    pub fn ms_after(self, earlier: EventTime) -> u64 {
        if self <= earlier {
            0
        } else {
            self.0.abs_diff(earlier.0)
        }
    }
}

impl fmt::Display for EventTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The span of input between two checkpoints; numbered, never reused.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A point of the job's progress: (epoch, watermark).
///
/// `Ord` is lexicographic and only extends the product order, as timely requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Moment {
    /// The epoch that input under this moment belongs to.
    pub epoch: Epoch,
    /// No on-time event older than this follows.
    pub watermark: EventTime,
}

impl Moment {
    /// A moment of its two coordinates.
    pub fn new(epoch: Epoch, watermark: EventTime) -> Self {
        Moment { epoch, watermark }
    }
}

impl PartialOrder for Moment {
    fn less_equal(&self, other: &Self) -> bool {
        self.epoch <= other.epoch && self.watermark <= other.watermark
    }
}

impl Timestamp for Moment {
    type Summary = Advance;

    fn minimum() -> Self {
        Moment::new(Epoch(0), EventTime::MIN)
    }
}

impl Refines<()> for Moment {
    fn to_inner(_: ()) -> Self {
        Moment::minimum()
    }

    fn to_outer(self) {}

    fn summarize(_: Advance) {}
}

impl Lattice for Moment {
    fn join(&self, other: &Self) -> Self {
        Moment::new(
            self.epoch.max(other.epoch),
            self.watermark.max(other.watermark),
        )
    }

    fn meet(&self, other: &Self) -> Self {
        Moment::new(
            self.epoch.min(other.epoch),
            self.watermark.min(other.watermark),
        )
    }
}

/// How a moment advances along a path of the graph. Operators keep moments as they are, so the paths of
/// our graphs all carry the default: no advance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Advance {
    /// Epochs added.
    pub epochs: u64,
    /// Milliseconds added to the watermark.
    pub watermark_ms: u64,
}

impl PartialOrder for Advance {
    fn less_equal(&self, other: &Self) -> bool {
        self.epochs <= other.epochs && self.watermark_ms <= other.watermark_ms
    }
}

impl PathSummary<Moment> for Advance {
    fn results_in(&self, moment: &Moment) -> Option<Moment> {
        Some(Moment::new(
            Epoch(moment.epoch.0.checked_add(self.epochs)?),
            EventTime(moment.watermark.0.checked_add_unsigned(self.watermark_ms)?),
        ))
    }

    fn followed_by(&self, other: &Self) -> Option<Self> {
        Some(Advance {
            epochs: self.epochs.checked_add(other.epochs)?,
            watermark_ms: self.watermark_ms.checked_add(other.watermark_ms)?,
        })
    }
}

/// The watermark of a frontier: its least watermark coordinate.
///
/// `None` for an empty frontier: nothing will come any more, which is not the same as event time having
/// reached its end.
pub fn watermark(frontier: &[Moment]) -> Option<EventTime> {
    frontier.iter().map(|moment| moment.watermark).min()
}

/// The least open epoch of a frontier; every epoch below it is closed. `None` when all are closed.
pub fn open_epoch(frontier: &[Moment]) -> Option<Epoch> {
    frontier.iter().map(|moment| moment.epoch).min()
}

#[cfg(test)]
mod tests;
