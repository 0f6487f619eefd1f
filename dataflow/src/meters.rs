//! What a run counts: records read and each outcome, and how long events took.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::sink::OutputStream;

/// Longest latency that is told apart; slower events count as this long.
const LATENCY_US_MAX: u64 = 3_600_000_000;

/// Live counters of a worker group, shared by its threads.
#[derive(Debug)]
pub struct Meters {
    read: AtomicU64,
    outcomes: [AtomicU64; OutputStream::ALL.len()],
    dropped: AtomicU64,
    /// One lock per batch, not per event. `None` if no histogram could be made.
    latency_us: Option<Mutex<Histogram<u64>>>,
}

impl Default for Meters {
    fn default() -> Self {
        // Three digits: a percentile is within 0.1 %.
        let histogram = Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).ok();
        Meters {
            read: AtomicU64::new(0),
            outcomes: Default::default(),
            dropped: AtomicU64::new(0),
            latency_us: histogram.map(Mutex::new),
        }
    }
}

impl Meters {
    /// Counts records read from a source.
    pub fn count_read(&self, records: u64) {
        self.read.fetch_add(records, Ordering::Relaxed);
    }

    /// Counts records written to `stream`.
    pub fn count_written(&self, stream: OutputStream, records: u64) {
        if let Some(counter) = self.outcomes.get(stream.index()) {
            counter.fetch_add(records, Ordering::Relaxed);
        }
    }

    /// Counts late events that a job drops on purpose.
    pub fn count_dropped(&self, events: u64) {
        self.dropped.fetch_add(events, Ordering::Relaxed);
    }

    /// Counts `events` that took `latency` from being read to being encoded.
    pub fn record_latency(&self, latency: Duration, events: u64) {
        if let Some(histogram) = &self.latency_us {
            let us = u64::try_from(latency.as_micros()).unwrap_or(LATENCY_US_MAX);
            histogram
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .saturating_record_n(us.clamp(1, LATENCY_US_MAX), events);
        }
    }

    /// The counts as they are now.
    pub fn totals(&self) -> Totals {
        let mut outcomes = [0; OutputStream::ALL.len()];
        for (total, counter) in outcomes.iter_mut().zip(&self.outcomes) {
            *total = counter.load(Ordering::Relaxed);
        }
        Totals {
            read: self.read.load(Ordering::Relaxed),
            outcomes,
            dropped: self.dropped.load(Ordering::Relaxed),
        }
    }

    /// Latency of all events so far.
    pub fn latency(&self) -> Latency {
        let Some(histogram) = &self.latency_us else {
            return Latency::default();
        };
        let histogram = histogram.lock().unwrap_or_else(PoisonError::into_inner);
        let at = |quantile| Duration::from_micros(histogram.value_at_quantile(quantile));
        Latency {
            p50: at(0.5),
            p99: at(0.99),
            max: at(1.0),
        }
    }
}

/// Counts of a run. Every event read has exactly one outcome, so
/// `read = sum of outcomes + dropped + in flight`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Records read from the source.
    pub read: u64,
    /// Records written, by [`OutputStream::index`].
    pub outcomes: [u64; OutputStream::ALL.len()],
    /// Late events dropped on purpose.
    pub dropped: u64,
}

impl Totals {
    /// Records written to `stream`.
    pub fn written(&self, stream: OutputStream) -> u64 {
        self.outcomes.get(stream.index()).copied().unwrap_or(0)
    }

    /// Events that went to `stream`, or were dropped instead of going there.
    pub fn settled(&self, stream: OutputStream) -> u64 {
        let dropped = match stream {
            OutputStream::LateEvents => self.dropped,
            _ => 0,
        };
        self.written(stream) + dropped
    }

    /// Events read a second, if it took so long.
    pub fn read_per_second(&self, elapsed: Duration) -> f64 {
        self.read as f64 / elapsed.as_secs_f64().max(f64::EPSILON)
    }

    /// Events read that have no outcome yet. 0 after a run that ended well.
    pub fn in_flight(&self) -> u64 {
        let settled = self.outcomes.iter().sum::<u64>() + self.dropped;
        self.read.saturating_sub(settled)
    }
}

/// From being read to being encoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    /// Median.
    pub p50: Duration,
    /// 99th percentile.
    pub p99: Duration,
    /// Slowest.
    pub max: Duration,
}
