//! A sink that writes nothing and only counts, to measure the engine without its outputs' files.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use slackwater_dataflow::sink::{OutputChunk, OutputStream, Sink, SinkError};

/// What a stream of a [`DiscardSink`] was given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Discarded {
    /// Number of records.
    pub records: u64,
    /// Their bytes, line feeds included.
    pub bytes: u64,
}

/// Counts records and bytes of each stream; clones share their counts, so that one can be kept to read
/// them while the publisher owns the other.
#[derive(Clone, Debug, Default)]
pub struct DiscardSink {
    counts: Arc<[Counts; OutputStream::ALL.len()]>,
}

#[derive(Debug, Default)]
struct Counts {
    records: AtomicU64,
    bytes: AtomicU64,
}

impl DiscardSink {
    /// A sink with all counts at zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// What `stream` was given so far.
    pub fn discarded(&self, stream: OutputStream) -> Discarded {
        // A stream's index is below the number of streams by its definition.
        let counts = &self.counts[stream.index()];
        // Relaxed: the counts order nothing; whoever needs final figures has joined the publisher.
        Discarded {
            records: counts.records.load(Ordering::Relaxed),
            bytes: counts.bytes.load(Ordering::Relaxed),
        }
    }
}

impl Sink for DiscardSink {
    fn append(&mut self, chunk: &OutputChunk) -> Result<(), SinkError> {
        let counts = &self.counts[chunk.stream.index()];
        counts
            .records
            .fetch_add(u64::from(chunk.records), Ordering::Relaxed);
        counts
            .bytes
            .fetch_add(chunk.bytes.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    fn finish(&mut self) -> Result<(), SinkError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use slackwater_dataflow::place::ShardId;
    use slackwater_dataflow::sink::Framing;

    use super::*;

    #[test]
    fn are_records_and_bytes_counted_by_stream() {
        let sink = DiscardSink::new();
        let mut publisher = sink.clone();
        for (stream, records, bytes) in [
            (OutputStream::Predictions, 2, "a\nb\n"),
            (OutputStream::LateEvents, 1, "late\n"),
            (OutputStream::Predictions, 1, "c\n"),
        ] {
            let chunk = OutputChunk {
                stream,
                shard: ShardId(0),
                records,
                framing: Framing::Lines,
                bytes: bytes.into(),
            };
            assert!(publisher.append(&chunk).is_ok());
        }
        let found = OutputStream::ALL.map(|stream| {
            let Discarded { records, bytes } = sink.discarded(stream);
            (records, bytes)
        });
        assert_eq!(found, [(3, 6), (0, 0), (0, 0), (1, 5)]);
    }
}
