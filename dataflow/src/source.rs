//! The seam between the engine and whatever events are read from.
//!
//! A [`Source`] is shared by all workers and knows its partitions; each worker opens one
//! [`SourceReader`] for the partitions it reads and polls it. Readers hand out borrowed bytes, record by
//! record, and never decode them: what a record means is decided behind this seam, once for all sources.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::ops::ControlFlow;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::headers::Headers;
use crate::place::{Mark, Offset, PartitionId};

/// Bytes kept of a record that is longer than `max_bytes`; enough to recognise it in a dead letter.
pub const OVERSIZE_HEAD_BYTES: usize = 64 * 1024;

/// A partition as a source announces it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its number, stable for the life of the job.
    pub id: PartitionId,
    /// What dead letters name as its origin: the file's path as given, `generator`, a Kafka topic.
    pub topic: Arc<str>,
    /// Where it is read from if nothing of it was read before.
    pub begins: Offset,
}

impl Partition {
    /// A partition that is read from its beginning, which is at offset 0.
    pub fn new(id: PartitionId, topic: impl Into<Arc<str>>) -> Self {
        Partition {
            id,
            topic: topic.into(),
            begins: Offset::default(),
        }
    }
}

/// What a partition is called where people know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionName {
    /// See [`Partition::topic`].
    pub topic: Arc<str>,
    /// Its number there.
    pub number: u32,
}

/// What partitions are called. Clones of the [`Arc`] see those that are found later.
#[derive(Debug, Default)]
pub struct Topics(RwLock<BTreeMap<PartitionId, PartitionName>>);

impl Topics {
    /// Those of some partitions.
    pub fn of(partitions: &[Partition]) -> Self {
        let topics = Topics::default();
        topics.add(partitions);
        topics
    }

    /// Some more are known, by the numbers that they have here.
    pub fn add(&self, partitions: &[Partition]) {
        for partition in partitions {
            self.add_as(partition, partition.id.0);
        }
    }

    /// One more is known, by another number.
    pub fn add_as(&self, partition: &Partition, number: u32) {
        let name = PartitionName {
            topic: Arc::clone(&partition.topic),
            number,
        };
        let mut names = self.0.write().unwrap_or_else(PoisonError::into_inner);
        names.insert(partition.id, name);
    }

    /// What a partition is called; none of one that is not known.
    pub fn name(&self, partition: PartitionId) -> Option<PartitionName> {
        let names = self.0.read().unwrap_or_else(PoisonError::into_inner);
        names.get(&partition).cloned()
    }
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
    /// What stands where a record should be and is none, as the source knows: a row of a table with other cells than its
    /// header, say.
    Malformed {
        /// Its bytes, at most `max_bytes`.
        bytes: &'a [u8],
        /// What is wrong with it, for people.
        reason: &'a str,
    },
}

impl<'a> Payload<'a> {
    /// A record that is in memory as a whole.
    pub fn of(record: &'a [u8], max_bytes: usize) -> Self {
        match record.len() <= max_bytes {
            true => Payload::Whole(record),
            false => Payload::oversize(record, OVERSIZE_HEAD_BYTES),
        }
    }

    /// The same, of which only so many bytes are kept, however long it is.
    pub fn oversize(record: &'a [u8], kept: usize) -> Self {
        Payload::Oversize {
            head: record.get(..kept).unwrap_or(record),
            length: record.len() as u64,
            sha256: Sha256::digest(record).into(),
        }
    }
}

/// What a source knows of a record beside its bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin<'a> {
    /// The key that it was written with; none if it has none.
    pub key: Option<&'a [u8]>,
    /// When it was written; none if its source does not say.
    pub time: Option<RecordTime>,
    /// What else it was written with. Empty unless the source was told that they are wanted.
    pub headers: Headers<'a>,
}

/// When a record was written, in milliseconds since 1970, and who says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordTime {
    /// Whoever made the record, and so may have been mistaken in the same way about what is in it.
    Created(i64),
    /// Who keeps it, by a clock of its own.
    Appended(i64),
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
        /// What else is known of it.
        origin: Origin<'a>,
    },
    /// This partition has ended and will give nothing more. Told once per partition.
    Finished(PartitionId),
    /// This partition is silent: nothing new has come of it for as long as the source was told, and a look just now,
    /// after that time, has found it at its end. Told again at each such look.
    Silent(PartitionId),
}

/// What a reader expects of the next poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// More can be read at once, of partitions that may be read.
    More,
    /// Nothing now. The reader's [`Wake`] will tell when there is more.
    Waiting,
    /// Nothing now, and nobody can tell when there is more: the reader is to be asked again after this time.
    LookAgain(Duration),
    /// Every partition of this reader has ended.
    Finished,
}

/// What a poll may bring.
#[derive(Clone, Copy)]
pub struct Demand<'a> {
    /// Most records.
    pub limit: usize,
    may_read: &'a dyn Fn(PartitionId) -> bool,
}

impl<'a> Demand<'a> {
    /// At most `limit` records of the partitions that `may_read` allows.
    pub fn new(limit: usize, may_read: &'a dyn Fn(PartitionId) -> bool) -> Self {
        Demand { limit, may_read }
    }

    /// At most `limit` records of any partition.
    pub fn of_all(limit: usize) -> Self {
        Demand::new(limit, &|_| true)
    }

    /// Whether records of `partition` may be handed out now. If not, the worker polls again when they may;
    /// until then they stay where they are.
    pub fn allows(&self, partition: PartitionId) -> bool {
        (self.may_read)(partition)
    }
}

impl fmt::Debug for Demand<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Demand")
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

/// Tells the worker of a reader that there is something to poll; may be called by any thread, at any time,
/// also when the worker is gone.
#[derive(Clone)]
pub struct Wake(Arc<dyn Fn() + Send + Sync>);

impl Wake {
    /// A way to wake a worker.
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> Self {
        Wake(Arc::new(wake))
    }

    /// Wakes nobody: for readers that are polled by hand.
    pub fn nobody() -> Self {
        Wake::new(|| {})
    }

    /// Wakes the worker.
    pub fn wake(&self) {
        (self.0)();
    }
}

impl fmt::Debug for Wake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wake")
    }
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

/// Where reading a partition begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// The next record to hand out has this offset, as [`SourceReader::position`] gave it.
    At(Offset),
    /// It had ended: it is not opened, nothing of it is handed out, and its end is not told again.
    Ended,
}

/// Where reading each partition of a source begins; one of which nothing is known, at its beginning.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Starts {
    starts: BTreeMap<PartitionId, Start>,
    marks: BTreeMap<PartitionId, Mark>,
}

impl Starts {
    /// Every partition is read from its beginning.
    pub fn beginning() -> Self {
        Starts::default()
    }

    /// Where `partition` begins; none: at its beginning.
    pub fn of(&self, partition: PartitionId) -> Option<Start> {
        self.starts.get(&partition).copied()
    }

    /// The same starts, and what stood right before some of them.
    #[must_use]
    pub fn with_marks(mut self, marks: impl IntoIterator<Item = (PartitionId, Mark)>) -> Self {
        self.marks.extend(marks);
        self
    }

    /// What [`SourceReader::mark`] said of a partition where it begins, if that is known.
    pub fn mark(&self, partition: PartitionId) -> Option<Mark> {
        self.marks.get(&partition).copied()
    }

    /// Whether `partition` had ended.
    pub fn has_ended(&self, partition: PartitionId) -> bool {
        self.of(partition) == Some(Start::Ended)
    }
}

impl FromIterator<(PartitionId, Start)> for Starts {
    fn from_iter<I: IntoIterator<Item = (PartitionId, Start)>>(starts: I) -> Self {
        Starts {
            starts: starts.into_iter().collect(),
            marks: BTreeMap::new(),
        }
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
    pub source: io::Error,
}

/// A set of partitions that events are read from.
pub trait Source: Send + Sync {
    /// All partitions, in ascending order of their numbers.
    fn partitions(&self) -> &[Partition];

    /// Opens the partitions of one worker's share, each where `from` says. A reader that ever answers
    /// [`Readiness::Waiting`] keeps `wake` and calls it when there is more.
    ///
    /// # Errors
    /// A partition can't be opened, or not there: it has no such place, or is another one than was read.
    fn open(
        &self,
        share: Share,
        from: &Starts,
        wake: Wake,
    ) -> Result<Box<dyn SourceReader>, SourceError>;

    /// Whether its readers ever say that a partition is silent, or more partitions may be found: then the
    /// [`WorkerGroup`](crate::worker::WorkerGroup) has to be told of the source.
    fn may_change(&self) -> bool {
        self.look_every().is_some()
    }

    /// How often to look for more partitions; none if there will be none while it is read.
    fn look_every(&self) -> Option<Duration> {
        None
    }

    /// Partitions that were not there before, in ascending order of their numbers, which are above all others. Each is
    /// found once. May take its time: no worker calls it.
    ///
    /// # Errors
    /// It cannot be seen what is there, or it cannot be read.
    fn look(&self) -> Result<Vec<Partition>, SourceError> {
        Ok(Vec::new())
    }

    /// A checkpoint is durable in which partitions stand here: what is to be read next. For whoever shows elsewhere how far
    /// the job is; nothing goes by that, so it must neither take time nor fail.
    fn durable(&self, positions: &[(PartitionId, Offset)]) {
        let _ = positions;
    }

    /// What its partitions are called, also those that are found later.
    fn topics(&self) -> Arc<Topics> {
        Arc::new(Topics::of(self.partitions()))
    }
}

/// Reads the partitions of one worker's share. It stays on the thread that opened it.
pub trait SourceReader {
    /// Hands at most as many records as demanded to `emit`, of allowed partitions only, in offset order
    /// within each partition, and stops early after a record to which `emit` answers with a break.
    ///
    /// Consecutive records of one partition are best handed out together: a batch holds one partition.
    fn poll(
        &mut self,
        demand: Demand<'_>,
        emit: &mut dyn FnMut(Polled<'_>) -> ControlFlow<()>,
    ) -> Result<Readiness, SourceError>;
    /// The offset of the next record that would be handed out of `partition`, exact after any poll, also one that failed:
    /// whoever opens the partition there reads on without a gap or a repetition. Of a record
    /// that is not complete yet it is the beginning; of a partition whose end was told, what is behind its
    /// last record. None for a partition that this reader does not read.
    fn position(&self, partition: PartitionId) -> Option<Offset>;

    /// What stands right before a partition's position; none if it can't be told. After a poll that failed as well.
    fn mark(&self, partition: PartitionId) -> Option<Mark> {
        let _ = partition;
        None
    }

    /// Begins to read a partition that [`Source::look`] has found, at its beginning.
    ///
    /// # Errors
    /// It can't be opened.
    fn begin(&mut self, partition: &Partition) -> Result<(), SourceError> {
        Err(SourceError {
            action: "begin",
            subject: format!("partition {} of {}", partition.id, partition.topic),
            source: io::Error::from(io::ErrorKind::Unsupported),
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::source::Payload;

    #[test]
    fn is_a_record_of_exactly_max_bytes_whole() {
        assert_eq!(Payload::of(b"abc", 3), Payload::Whole(b"abc"));
        assert!(matches!(
            Payload::of(b"abcd", 3),
            Payload::Oversize {
                head: b"abcd",
                length: 4,
                ..
            }
        ));
    }
}
