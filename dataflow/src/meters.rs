//! What a run counts: records read and each outcome, and how long events took.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::moment::Epoch;
use crate::sink::OutputStream;

/// Longest latency that is told apart; slower events count as this long.
const LATENCY_US_MAX: u64 = 3_600_000_000;

/// Live counters of a worker group, shared by its threads.
#[derive(Debug)]
pub struct Meters {
    read: AtomicU64,
    outcomes: [AtomicU64; OutputStream::ALL.len()],
    dropped: AtomicU64,
    filtered: AtomicU64,
    /// One lock per batch, not per event. `None` if no histogram could be made.
    latency_us: Option<Mutex<Histogram<u64>>>,
    /// From read to visible, with checkpoints.
    visible_us: Option<Mutex<Histogram<u64>>>,
    checkpoint_us: Option<Mutex<Histogram<u64>>>,
    last_checkpoint: Mutex<Option<(Epoch, Duration)>>,
    failed_checkpoints: AtomicU64,
    /// The epoch that a mirror is at.
    mirrored: Mutex<Option<Epoch>>,
    /// What went wrong last that the run survives.
    trouble: Mutex<Option<Trouble>>,
}

impl Default for Meters {
    fn default() -> Self {
        // Three digits: a percentile is within 0.1 %.
        let histogram = || Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).ok();
        Meters {
            read: AtomicU64::new(0),
            outcomes: Default::default(),
            dropped: AtomicU64::new(0),
            filtered: AtomicU64::new(0),
            latency_us: histogram().map(Mutex::new),
            visible_us: histogram().map(Mutex::new),
            checkpoint_us: histogram().map(Mutex::new),
            last_checkpoint: Mutex::new(None),
            failed_checkpoints: AtomicU64::new(0),
            mirrored: Mutex::new(None),
            trouble: Mutex::new(None),
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

    /// Counts events that a job leaves out because it does not want them.
    pub fn count_filtered(&self, events: u64) {
        self.filtered.fetch_add(events, Ordering::Relaxed);
    }

    /// Counts `events` that took `latency` from being read to being encoded.
    pub fn record_latency(&self, latency: Duration, events: u64) {
        record(self.latency_us.as_ref(), latency, events);
    }

    /// Counts `events` that took `latency` from being read to being visible.
    pub fn record_visible(&self, latency: Duration, events: u64) {
        record(self.visible_us.as_ref(), latency, events);
    }

    /// Counts a checkpoint, that of `epoch`, which became durable so long after it began.
    pub fn record_checkpoint(&self, epoch: Epoch, duration: Duration) {
        record(self.checkpoint_us.as_ref(), duration, 1);
        let last = &self.last_checkpoint;
        *last.lock().unwrap_or_else(PoisonError::into_inner) = Some((epoch, duration));
    }

    /// Counts a checkpoint that failed.
    pub fn count_failed_checkpoint(&self) {
        self.failed_checkpoints.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes something that went wrong and that the run survives.
    pub fn note_trouble(&self, what: String) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let times = trouble.as_ref().map_or(0, |it| it.times) + 1;
        *trouble = Some(Trouble { times, what });
    }

    /// What went wrong last that the run survives, if anything did.
    pub fn trouble(&self) -> Option<Trouble> {
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        trouble.clone()
    }

    /// Begins with what a job had counted before this run.
    pub fn begin_with(&self, totals: &Totals) {
        self.read.store(totals.read, Ordering::Relaxed);
        self.dropped.store(totals.dropped, Ordering::Relaxed);
        self.filtered.store(totals.filtered, Ordering::Relaxed);
        for (counter, total) in self.outcomes.iter().zip(totals.outcomes) {
            counter.store(total, Ordering::Relaxed);
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
            filtered: self.filtered.load(Ordering::Relaxed),
        }
    }

    /// Latency of all events so far.
    pub fn latency(&self) -> Latency {
        percentiles(self.latency_us.as_ref())
    }

    /// From read to visible, of all events so far. Without checkpoints nothing.
    pub fn visible(&self) -> Latency {
        percentiles(self.visible_us.as_ref())
    }

    /// Notes the checkpoint that a mirror is at.
    pub fn note_mirrored(&self, epoch: Epoch) {
        let mut mirrored = self.mirrored.lock().unwrap_or_else(PoisonError::into_inner);
        *mirrored = Some(epoch);
    }

    /// Checkpoints so far.
    pub fn checkpoints(&self) -> Checkpoints {
        let histogram = self.checkpoint_us.as_ref();
        let completed = histogram.map_or(0, |it| {
            it.lock().unwrap_or_else(PoisonError::into_inner).len()
        });
        let last = &self.last_checkpoint;
        Checkpoints {
            completed,
            last: *last.lock().unwrap_or_else(PoisonError::into_inner),
            failed: self.failed_checkpoints.load(Ordering::Relaxed),
            mirrored: *self.mirrored.lock().unwrap_or_else(PoisonError::into_inner),
            duration: percentiles(histogram),
        }
    }
}

fn record(histogram: Option<&Mutex<Histogram<u64>>>, value: Duration, times: u64) {
    if let Some(histogram) = histogram {
        let us = u64::try_from(value.as_micros()).unwrap_or(LATENCY_US_MAX);
        histogram
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .saturating_record_n(us.clamp(1, LATENCY_US_MAX), times);
    }
}

fn percentiles(histogram: Option<&Mutex<Histogram<u64>>>) -> Latency {
    let Some(histogram) = histogram else {
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

/// Something that went wrong and that a run survives, such as a full disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// How often something did so far: another number is news, also of the same trouble.
    pub times: u64,
    /// The last of it, in words.
    pub what: String,
}

/// What became of a run's checkpoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checkpoints {
    /// Became durable.
    pub completed: u64,
    /// The last of these: its epoch, and how long it took.
    pub last: Option<(Epoch, Duration)>,
    /// Failed.
    pub failed: u64,
    /// The one that the mirror is at, if there is one and it is at any.
    pub mirrored: Option<Epoch>,
    /// From the beginning of those that became durable until they did.
    pub duration: Latency,
}

/// Counts of a run. Every event read has exactly one outcome, so
/// `read = sum of outcomes + dropped + filtered + in flight`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Records read from the source.
    pub read: u64,
    /// Records written, by [`OutputStream::index`].
    pub outcomes: [u64; OutputStream::ALL.len()],
    /// Late events dropped on purpose.
    pub dropped: u64,
    /// Events left out because the job does not want them.
    pub filtered: u64,
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
        let settled = self.outcomes.iter().sum::<u64>() + self.dropped + self.filtered;
        self.read.saturating_sub(settled)
    }
}

/// Percentiles of a time, for instance of that from being read to being encoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    /// Median.
    pub p50: Duration,
    /// 99th percentile.
    pub p99: Duration,
    /// Slowest.
    pub max: Duration,
}
