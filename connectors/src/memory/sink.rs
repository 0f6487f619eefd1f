//! A sink that keeps what it is given, for tests to look at.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use slackwater_dataflow::sink::{OutputChunk, OutputStream, Sink, SinkError};

/// Collects chunks; clones share them, so that one can be kept to read them while the publisher owns the
/// other.
#[derive(Clone, Debug, Default)]
pub struct MemorySink {
    collected: Arc<Mutex<Collected>>,
    fail_after: Option<usize>,
}

#[derive(Debug, Default)]
struct Collected {
    chunks: Vec<OutputChunk>,
    finished: bool,
}

impl MemorySink {
    /// An empty sink that never fails.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same sink, but every append after the first `chunks` fails.
    pub fn failing_after(mut self, chunks: usize) -> Self {
        self.fail_after = Some(chunks);
        self
    }

    /// All chunks so far, in the order in which they came.
    pub fn chunks(&self) -> Vec<OutputChunk> {
        self.lock().chunks.clone()
    }

    /// The records of `stream` so far, without their line feeds, in the order in which they came.
    pub fn records(&self, stream: OutputStream) -> Vec<Vec<u8>> {
        let collected = self.lock();
        let chunks = collected.chunks.iter().filter(|c| c.stream == stream);
        chunks
            .flat_map(|chunk| chunk.bytes.split_inclusive(|&byte| byte == b'\n'))
            .map(|line| line.strip_suffix(b"\n").unwrap_or(line).to_vec())
            .collect()
    }

    /// Whether the run ended well.
    pub fn finished(&self) -> bool {
        self.lock().finished
    }

    fn lock(&self) -> MutexGuard<'_, Collected> {
        // A panic elsewhere does not harm what was collected.
        self.collected
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for MemorySink {
    fn append(&mut self, chunk: &OutputChunk) -> Result<(), SinkError> {
        let mut collected = self.lock();
        if self
            .fail_after
            .is_some_and(|limit| collected.chunks.len() >= limit)
        {
            return Err(SinkError {
                action: "write",
                subject: "memory".to_owned(),
                source: io::Error::other("told to fail"),
            });
        }
        collected.chunks.push(chunk.clone());
        Ok(())
    }

    fn finish(&mut self) -> Result<(), SinkError> {
        self.lock().finished = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use slackwater_dataflow::place::ShardId;
    use slackwater_dataflow::sink::Framing;

    use super::*;

    #[test]
    fn does_it_keep_everything_until_it_is_to_fail() {
        let sink = MemorySink::new();
        let mut publisher = sink.clone().failing_after(2);
        let chunk = |bytes: &str| OutputChunk {
            stream: OutputStream::Predictions,
            shard: ShardId(0),
            records: 1,
            framing: Framing::Lines,
            bytes: bytes.into(),
        };
        assert!(publisher.append(&chunk("a\n\n")).is_ok());
        assert!(publisher.append(&chunk("b\n")).is_ok());
        assert!(publisher.append(&chunk("c\n")).is_err());
        let expected: [&[u8]; 3] = [b"a", b"", b"b"];
        assert_eq!(sink.records(OutputStream::Predictions), expected);
        assert!(sink.records(OutputStream::LateEvents).is_empty());
        assert_eq!(sink.chunks().len(), 2);
        assert!(!sink.finished());
        assert!(publisher.finish().is_ok());
        assert!(sink.finished());
    }
}
