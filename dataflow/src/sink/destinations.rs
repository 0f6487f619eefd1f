//! What a sink of addressed records asks of them: how many partitions each stream's topic has, how large a record may be,
//! which timestamps it takes.
//!
//! All of this is known when a record is encoded, so nothing enters an outbox that its topic would refuse: such a record
//! could never be published, and would hold up all that come after it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::sink::OutputStream;

/// What the topic of one stream takes.
#[derive(Debug)]
pub struct Destination {
    /// At least 1. May grow while a job runs; what is addressed already stays where it is.
    partitions: AtomicU32,
    timestamps: Timestamps,
}

/// Timestamps that a topic takes, beside the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timestamps {
    /// How far before now.
    pub before_max_ms: u64,
    /// How far after now.
    pub after_max_ms: u64,
}

impl Timestamps {
    /// The topic takes any, from 1 ms after 1970 on.
    pub const ANY: Timestamps = Timestamps {
        before_max_ms: u64::MAX,
        after_max_ms: u64::MAX,
    };

    /// Whether a record that is published some time from `now_ms` on may have this timestamp: it may have to wait for a
    /// sink that is away, and the broker's clock may be another than ours.
    pub fn take(self, time_ms: i64, now_ms: i64) -> bool {
        let behind = now_ms.saturating_sub(time_ms);
        let is_within = match u64::try_from(behind) {
            Ok(behind) => behind <= self.before_max_ms / 2,
            Err(_) => behind.unsigned_abs() <= self.after_max_ms / 2,
        };
        time_ms >= 1 && is_within
    }
}

impl Destination {
    /// A topic of so many partitions.
    pub fn new(partitions: u32, timestamps: Timestamps) -> Self {
        Destination {
            partitions: AtomicU32::new(partitions.max(1)),
            timestamps,
        }
    }

    /// Partitions of the topic now.
    pub fn partitions(&self) -> u32 {
        self.partitions.load(Ordering::Relaxed)
    }

    /// The topic has got more partitions. Fewer are not believed: topics never lose any.
    pub fn grow(&self, partitions: u32) {
        self.partitions.fetch_max(partitions, Ordering::Relaxed);
    }

    /// Timestamps that it takes.
    pub fn timestamps(&self) -> Timestamps {
        self.timestamps
    }
}

/// The topics of all streams. Clones see partitions that come later.
#[derive(Clone, Debug)]
pub struct Destinations {
    streams: Arc<[Destination; OutputStream::ALL.len()]>,
    /// Most bytes of a record, all that [`addressed`](super::addressed) holds of it.
    pub record_bytes_max: usize,
}

impl Destinations {
    /// Topics in the order of [`OutputStream::ALL`].
    pub fn new(streams: [Destination; OutputStream::ALL.len()], record_bytes_max: usize) -> Self {
        Destinations {
            streams: Arc::new(streams),
            record_bytes_max,
        }
    }

    /// The topic of a stream.
    pub fn of(&self, stream: OutputStream) -> &Destination {
        let [
            predictions,
            validation_errors,
            processing_errors,
            late_events,
        ] = self.streams.as_ref();
        match stream {
            OutputStream::Predictions => predictions,
            OutputStream::ValidationErrors => validation_errors,
            OutputStream::ProcessingErrors => processing_errors,
            OutputStream::LateEvents => late_events,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::sink::destinations::{Destination, Timestamps};

    #[test]
    fn which_timestamps_does_a_topic_take() {
        let limits = Timestamps {
            before_max_ms: 200,
            after_max_ms: 20,
        };
        let check = |limits: Timestamps, time_ms, expected| {
            assert_eq!(limits.take(time_ms, 1_000), expected, "{time_ms}");
        };
        for (time_ms, expected) in [(900, true), (899, false), (1_010, true), (1_011, false)] {
            check(limits, time_ms, expected);
        }
        for (time_ms, expected) in [
            (1, true),
            (0, false),
            (i64::MIN, false),
            (i64::MAX / 2, true),
        ] {
            check(Timestamps::ANY, time_ms, expected);
        }
    }

    #[test]
    fn does_a_topic_never_lose_partitions() {
        let topic = Destination::new(0, Timestamps::ANY);
        assert_eq!(topic.partitions(), 1);
        topic.grow(4);
        topic.grow(3);
        assert_eq!(topic.partitions(), 4);
    }
}
