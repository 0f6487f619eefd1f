//! What is counted of a store that is asked, by all workers together.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::lookup::AskError;

/// What was asked so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AskCounts {
    /// Questions that were answered.
    pub answered: u64,
    /// Questions that were not, in time.
    pub timed_out: u64,
    /// Questions that were not, for another reason.
    pub unavailable: u64,
    /// Questions that were asked and have neither answer nor error yet.
    pub under_way: u64,
    /// Questions that were spared: an answer was remembered and stood for the store's.
    pub remembered: u64,
    /// Answers that had expired and stood in where the store gave none.
    pub last_known: u64,
    /// How often the breaker has opened.
    pub openings: u64,
}

/// A lookup as it is at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LookupFigures {
    /// Its name.
    pub name: String,
    /// What was asked so far.
    pub counts: AskCounts,
    /// Why its store is not asked now; none if it is.
    pub away: Option<String>,
}

/// The same counts while they change.
#[derive(Debug, Default)]
pub(super) struct Counters {
    asked: AtomicU64,
    answered: AtomicU64,
    timed_out: AtomicU64,
    unavailable: AtomicU64,
    remembered: AtomicU64,
    last_known: AtomicU64,
    openings: AtomicU64,
}

impl Counters {
    /// A question was asked.
    pub(super) fn asked(&self) {
        self.asked.fetch_add(1, Ordering::Relaxed);
    }

    /// A question has an answer, or an error for good.
    pub(super) fn ended<T>(&self, answer: &Result<T, AskError>) {
        let counter = match answer {
            Ok(_) => &self.answered,
            Err(AskError::TimedOut | AskError::NoConnection) => &self.timed_out,
            Err(AskError::Unavailable(_)) => &self.unavailable,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Remembered answers were taken: those that stand for the store's, and those that stand in.
    pub(super) fn remembered(&self, fresh: u64, last_known: u64) {
        self.remembered.fetch_add(fresh, Ordering::Relaxed);
        self.last_known.fetch_add(last_known, Ordering::Relaxed);
    }

    /// The breaker has opened.
    pub(super) fn opened(&self) {
        self.openings.fetch_add(1, Ordering::Relaxed);
    }

    /// As they are now.
    pub(super) fn read(&self) -> AskCounts {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (answered, timed_out) = (of(&self.answered), of(&self.timed_out));
        let unavailable = of(&self.unavailable);
        AskCounts {
            answered,
            timed_out,
            unavailable,
            // What has ended was read first, and so is not more than what was asked.
            under_way: of(&self.asked).saturating_sub(answered + timed_out + unavailable),
            remembered: of(&self.remembered),
            last_known: of(&self.last_known),
            openings: of(&self.openings),
        }
    }
}
