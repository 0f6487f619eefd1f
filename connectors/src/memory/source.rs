//! A source whose records, polls and failures are all told in advance.
//!
//! The order in which partitions are read is what an engine must not depend on, so a test has to be able
//! to choose it: in turn, at random from a seed, or poll by poll.

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use slackwater_dataflow::place::{Offset, PartitionId};
use slackwater_dataflow::source::{
    Demand, Origin, Partition, Payload, Polled, Readiness, Share, Source, SourceError,
    SourceReader, Start, Starts, Wake,
};

/// One poll of [`Schedule::Script`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Hand out at most this many records of a partition. Left out by readers that do not read the
    /// partition, and once it has ended.
    Read {
        /// The partition.
        partition: PartitionId,
        /// Number of records; the limit of the poll stands above it.
        records: usize,
    },
    /// Hand out nothing and ask to be polled again.
    Wait,
}

/// How long a reader that waits on purpose does so.
const WAIT: Duration = Duration::from_millis(1);

/// Which partition a poll reads, and how much of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Schedule {
    /// Partition after partition, as much as the limit allows.
    #[default]
    InTurn,
    /// Any partition, any number of records up to the limit, sometimes waiting: from this seed and the
    /// worker's index.
    Seeded(u64),
    /// As written; in turn once the script has ended.
    Script(Arc<[Turn]>),
}

/// Records in memory, in partitions. Topic `memory`; offsets are those the records would have as lines
/// of a file.
#[derive(Clone, Debug)]
pub struct MemorySource {
    partitions: Arc<[Partition]>,
    /// What each of them holds, in the same order.
    contents: Arc<[Content]>,
    max_bytes: usize,
    schedule: Schedule,
    failure: Option<(PartitionId, usize)>,
}

/// Records as one piece of bytes and where each begins and ends in it. The second stays inside the first
/// by construction.
#[derive(Clone, Debug)]
struct Content {
    bytes: Arc<[u8]>,
    records: Arc<[(usize, usize)]>,
}

impl Content {
    /// Records of any bytes, line feeds too.
    fn of_records(records: &[Vec<u8>]) -> Self {
        let mut bytes = Vec::new();
        let mut spans = Vec::with_capacity(records.len());
        for record in records {
            spans.push((bytes.len(), bytes.len() + record.len()));
            bytes.extend_from_slice(record);
            bytes.push(b'\n');
        }
        Content {
            bytes: bytes.into(),
            records: spans.into(),
        }
    }

    /// The lines of a JSONL file, cut by the same rules as the file source cuts them.
    fn of_lines(bytes: Arc<[u8]>) -> Self {
        let mut records = Vec::new();
        let mut start = 0;
        let feeds = memchr::memchr_iter(b'\n', &bytes);
        let rest = (bytes.last() != Some(&b'\n')).then_some(bytes.len());
        for end in feeds.chain(rest.filter(|&end| end > 0)) {
            let line = &bytes[start..end];
            let record = line.strip_suffix(b"\r").unwrap_or(line);
            records.push((start, start + record.len()));
            start = end + 1;
        }
        Content {
            records: records.into(),
            bytes,
        }
    }

    /// Where the record of this index begins; the end of all when there is none.
    fn offset(&self, index: usize) -> Offset {
        let record = self.records.get(index);
        Offset(record.map_or(self.bytes.len(), |&(start, _)| start) as u64)
    }

    /// The record that begins at `offset`; the number of records for the end of all. None for any other place.
    fn index(&self, offset: Offset) -> Option<usize> {
        let index = self
            .records
            .partition_point(|&(start, _)| (start as u64) < offset.0);
        (self.offset(index) == offset).then_some(index)
    }
}

impl MemorySource {
    /// A source of the given records, in any order of partitions.
    ///
    /// # Errors
    /// A partition is named twice.
    pub fn from_records(
        partitions: impl IntoIterator<Item = (PartitionId, Vec<Vec<u8>>)>,
    ) -> Result<Self, SourceError> {
        let contents = partitions
            .into_iter()
            .map(|(id, records)| (id, Content::of_records(&records)));
        Self::new(contents.collect())
    }

    /// A source of whole partitions as bytes of JSONL, which are shared and never copied.
    ///
    /// # Errors
    /// A partition is named twice.
    pub fn from_lines(
        partitions: impl IntoIterator<Item = (PartitionId, Arc<[u8]>)>,
    ) -> Result<Self, SourceError> {
        let contents = partitions
            .into_iter()
            .map(|(id, bytes)| (id, Content::of_lines(bytes)));
        Self::new(contents.collect())
    }

    fn new(mut contents: Vec<(PartitionId, Content)>) -> Result<Self, SourceError> {
        contents.sort_by_key(|&(id, _)| id);
        let topic: Arc<str> = Arc::from("memory");
        let mut partitions: Vec<Partition> = Vec::with_capacity(contents.len());
        for &(id, _) in &contents {
            if partitions.last().is_some_and(|last| last.id == id) {
                let twice = io::Error::new(io::ErrorKind::AlreadyExists, "it is named twice");
                return Err(failed("open", id, twice));
            }
            let topic = Arc::clone(&topic);
            partitions.push(Partition::new(id, topic));
        }
        Ok(MemorySource {
            partitions: partitions.into(),
            contents: contents.into_iter().map(|(_, content)| content).collect(),
            max_bytes: usize::MAX,
            schedule: Schedule::InTurn,
            failure: None,
        })
    }

    /// The same source, but records longer than this are handed out as oversize. No limit at first.
    pub fn with_max_bytes(mut self, max_bytes: usize) -> Self {
        self.max_bytes = max_bytes;
        self
    }

    /// The same source read by another schedule.
    pub fn with_schedule(mut self, schedule: Schedule) -> Self {
        self.schedule = schedule;
        self
    }

    /// The same source, but reading the record of this index (from 0) in `partition` fails.
    pub fn failing_at(mut self, partition: PartitionId, record: usize) -> Self {
        self.failure = Some((partition, record));
        self
    }

    /// Number of records in all partitions.
    pub fn records(&self) -> usize {
        self.contents.iter().map(|c| c.records.len()).sum()
    }
}

fn failed(action: &'static str, partition: PartitionId, source: io::Error) -> SourceError {
    SourceError {
        action,
        subject: format!("partition {partition} of memory"),
        source,
    }
}

impl Source for MemorySource {
    fn partitions(&self) -> &[Partition] {
        &self.partitions
    }

    fn open(
        &self,
        share: Share,
        from: &Starts,
        _: Wake,
    ) -> Result<Box<dyn SourceReader>, SourceError> {
        let all = self.partitions.iter().zip(self.contents.iter());
        let mine = all.filter(|(partition, _)| share.reads(partition.id));
        let mut open = Vec::new();
        for (&Partition { id, .. }, content) in mine {
            let next = match from.of(id) {
                None => 0,
                Some(Start::At(offset)) => content.index(offset).ok_or_else(|| {
                    let message = format!("no record begins at {offset}");
                    failed(
                        "open",
                        id,
                        io::Error::new(io::ErrorKind::InvalidInput, message),
                    )
                })?,
                Some(Start::Ended) => continue,
            };
            open.push(Cursor {
                partition: id,
                content: content.clone(),
                next,
            });
        }
        let seed = match self.schedule {
            Schedule::Seeded(seed) => seed,
            _ => 0,
        };
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(share.worker as u64);
        Ok(Box::new(MemoryReader {
            open,
            ended: BTreeMap::new(),
            max_bytes: self.max_bytes,
            schedule: self.schedule.clone(),
            failure: self.failure,
            rng,
            turn: 0,
            scripted: 0,
        }))
    }
}

/// Where a reader stands in a partition.
struct Cursor {
    partition: PartitionId,
    content: Content,
    next: usize,
}

impl Cursor {
    fn position(&self) -> Offset {
        self.content.offset(self.next)
    }
}

struct MemoryReader {
    /// Partitions that have not ended.
    open: Vec<Cursor>,
    /// Where those that have did so.
    ended: BTreeMap<PartitionId, Offset>,
    max_bytes: usize,
    schedule: Schedule,
    failure: Option<(PartitionId, usize)>,
    rng: ChaCha8Rng,
    /// Whose turn it is, when reading in turn.
    turn: usize,
    /// Turns of the script that are done.
    scripted: usize,
}

impl MemoryReader {
    /// Position in `open` and number of records of the next read; none to wait.
    fn choose(&mut self, demand: Demand<'_>) -> Option<(usize, usize)> {
        let limit = demand.limit;
        let open = self.open.iter().enumerate();
        let allowed = open.filter(|(_, cursor)| demand.allows(cursor.partition));
        let allowed: Vec<usize> = allowed.map(|(at, _)| at).collect();
        if allowed.is_empty() {
            return None;
        }
        match &self.schedule {
            Schedule::InTurn => {}
            Schedule::Seeded(_) => {
                if self.draw(8) == 0 {
                    return None;
                }
                let chosen = allowed[self.draw(allowed.len())];
                // Half of the polls are short: interleavings differ most there.
                let most = if self.draw(2) == 0 { 4 } else { limit };
                return Some((chosen, 1 + self.draw(most.min(limit))));
            }
            Schedule::Script(turns) => {
                for turn in turns.iter().skip(self.scripted) {
                    self.scripted += 1;
                    match *turn {
                        Turn::Wait => return None,
                        Turn::Read { partition, records } => {
                            let mut open = self.open.iter();
                            let Some(chosen) = open.position(|c| c.partition == partition) else {
                                continue;
                            };
                            if !allowed.contains(&chosen) {
                                // This turn is still to come.
                                self.scripted -= 1;
                                return None;
                            }
                            return Some((chosen, records));
                        }
                    }
                }
            }
        }
        let turn = self.turn % self.open.len();
        let later = allowed.iter().find(|&&at| at >= turn);
        let chosen = *later.or(allowed.first())?;
        self.turn = chosen + 1;
        Some((chosen, limit))
    }

    /// A number below `bound` (0 when that is 0), evenly but for less than 2^-32.
    fn draw(&mut self, bound: usize) -> usize {
        ((u128::from(self.rng.next_u64()) * bound as u128) >> 64) as usize
    }
}

impl SourceReader for MemoryReader {
    fn poll(
        &mut self,
        demand: Demand<'_>,
        emit: &mut dyn FnMut(Polled<'_>) -> ControlFlow<()>,
    ) -> Result<Readiness, SourceError> {
        if self.open.is_empty() {
            return Ok(Readiness::Finished);
        }
        if !self.open.iter().any(|open| demand.allows(open.partition)) {
            return Ok(Readiness::Waiting);
        }
        let Some((chosen, records)) = self.choose(demand) else {
            return Ok(Readiness::LookAgain(WAIT));
        };
        // `choose` returns positions of open partitions only.
        let cursor = &mut self.open[chosen];
        let partition = cursor.partition;
        for &(start, end) in cursor
            .content
            .records
            .iter()
            .skip(cursor.next)
            .take(records.min(demand.limit))
        {
            if self.failure == Some((partition, cursor.next)) {
                return Err(failed("read", partition, io::Error::other("told to fail")));
            }
            let flow = emit(Polled::Record {
                partition,
                offset: Offset(start as u64),
                payload: Payload::of(&cursor.content.bytes[start..end], self.max_bytes),
                origin: Origin::default(),
            });
            cursor.next += 1;
            if flow.is_break() {
                break;
            }
        }
        if cursor.next == cursor.content.records.len() {
            let _ = emit(Polled::Finished(partition));
            self.ended.insert(partition, cursor.position());
            self.open.remove(chosen);
            // When reading in turn, the next partition slid into this one's place.
            self.turn = self.turn.saturating_sub(1);
        }
        Ok(if self.open.is_empty() {
            Readiness::Finished
        } else {
            Readiness::More
        })
    }

    fn position(&self, partition: PartitionId) -> Option<Offset> {
        let mut open = self.open.iter();
        let open = open.find(|cursor| cursor.partition == partition);
        open.map(Cursor::position)
            .or_else(|| self.ended.get(&partition).copied())
    }
}

#[cfg(test)]
mod tests;
