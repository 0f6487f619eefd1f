//! The seam between the engine and whatever events are read from.
//!
//! A [`Source`] is shared by all workers and knows its partitions; each worker opens one
//! [`SourceReader`] for the partitions it reads and polls it. Readers hand out borrowed bytes, record by
//! record, and never decode them: what a record means is decided behind this seam, once for all sources.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::place::{Offset, PartitionId};

/// Bytes kept of a record that is longer than `max_bytes`; enough to recognise it in a dead letter.
pub const OVERSIZE_HEAD_BYTES: usize = 64 * 1024;

/// A partition as a source announces it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its number, stable for the life of the job.
    pub id: PartitionId,
    /// What dead letters name as its origin: the file's path as given, `generator`, a Kafka topic.
    pub topic: Arc<str>,
}

/// The bytes of one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload<'a> {
    /// The record, whole, at most `max_bytes` long.
    Whole(&'a [u8]),
    /// A record longer than `max_bytes`, of which only the beginning was kept in memory.
    Oversize {
        /// Its first [`OVERSIZE_HEAD_BYTES`] bytes, uncut at characters.
        head: &'a [u8],
        /// Its whole length in bytes.
        length: u64,
        /// SHA-256 of the whole record.
        sha256: [u8; 32],
    },
}

/// What a reader hands out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polled<'a> {
    /// One record.
    Record {
        /// Its partition.
        partition: PartitionId,
        /// Its place there.
        offset: Offset,
        /// Its bytes, borrowed until the call returns.
        payload: Payload<'a>,
    },
    /// This partition has ended and will give nothing more. Told once per partition.
    Finished(PartitionId),
}

/// What a reader expects of the next poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// More can be read at once.
    More,
    /// Nothing now; the reader will have more later.
    Waiting,
    /// Every partition of this reader has ended.
    Finished,
}

/// Which part of a source a worker reads: partition `p` belongs to worker `p mod workers`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// This worker's index.
    pub worker: usize,
    /// Number of workers.
    pub workers: usize,
}

impl Share {
    /// Whether this worker reads `partition`.
    pub fn reads(self, partition: PartitionId) -> bool {
        partition.worker(self.workers) == self.worker
    }
}

/// A source could not be opened or read. Always final for this run: nothing was skipped.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {subject}: {source}")]
pub struct SourceError {
    /// What was tried: `open`, `read`, ...
    pub action: &'static str,
    /// On what: a path, a topic.
    pub subject: String,
    /// Why it failed.
    pub source: std::io::Error,
}

/// A set of partitions that events are read from.
pub trait Source: Send + Sync {
    /// All partitions, in ascending order of their numbers.
    fn partitions(&self) -> &[Partition];

    /// Opens the partitions of one worker's share.
    fn open(&self, share: Share) -> Result<Box<dyn SourceReader>, SourceError>;
}

/// Reads the partitions of one worker's share. It stays on the thread that opened it.
pub trait SourceReader {
    /// Hands at most `limit` records to `emit`, in offset order within each partition, and stops early
    /// after a record to which `emit` answers with a break.
    ///
    /// Consecutive records of one partition are best handed out together: a batch holds one partition.
    fn poll(
        &mut self,
        limit: usize,
        emit: &mut dyn FnMut(Polled<'_>) -> ControlFlow<()>,
    ) -> Result<Readiness, SourceError>;
}
