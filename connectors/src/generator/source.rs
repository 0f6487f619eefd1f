//! The generator as a source: its partitions read in step, at a rate if one is set.

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use slackwater_dataflow::clock::Clock;
use slackwater_dataflow::place::{Offset, PartitionId};
use slackwater_dataflow::source::{
    Demand, Origin, Partition, Payload, Polled, Readiness, Share, Source, SourceError,
    SourceReader, Start, Starts, Wake,
};

use crate::generator::Generator;
use crate::generator::stream::{EventStream, progress_of};

/// When to look again whether an event is due: as exact as a rate need be.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// Reads a [`Generator`]. Topic `generator`; the offset of an event is its index in its partition.
pub struct GeneratorSource {
    generator: Generator,
    partitions: Vec<Partition>,
    max_bytes: usize,
    clock: Arc<dyn Clock>,
}

impl GeneratorSource {
    /// A source of the generator's events.
    ///
    /// Records longer than `max_bytes` are handed out as oversize. With a rate, each reader counts from
    /// the `clock`'s monotonic reading at its first poll, and from how far the job was when it was opened.
    pub fn new(generator: Generator, max_bytes: usize, clock: Arc<dyn Clock>) -> Self {
        let topic: Arc<str> = Arc::from("generator");
        let partitions = (0..generator.config().partitions)
            .map(|number| Partition::new(PartitionId(number), Arc::clone(&topic)))
            .collect();
        GeneratorSource {
            generator,
            partitions,
            max_bytes,
            clock,
        }
    }
}

impl Source for GeneratorSource {
    fn partitions(&self) -> &[Partition] {
        &self.partitions
    }

    fn open(
        &self,
        share: Share,
        from: &Starts,
        _: Wake,
    ) -> Result<Box<dyn SourceReader>, SourceError> {
        let mut open = Vec::new();
        for &Partition { id, .. } in self.partitions.iter().filter(|p| share.reads(p.id)) {
            let next = match from.of(id) {
                None => 0,
                Some(Start::At(offset)) => offset.0,
                Some(Start::Ended) => continue,
            };
            open.extend(self.open_at(id, next)?);
        }
        Ok(Box::new(GeneratorReader {
            open,
            ended: BTreeMap::new(),
            max_bytes: self.max_bytes,
            pace: Pace {
                rate: self.generator.config().rate,
                clock: Arc::clone(&self.clock),
                start: None,
                done: self.done(from),
            },
            text: Vec::new(),
        }))
    }
}

impl GeneratorSource {
    /// A partition of which `next` events were handed out; takes about 25 ns for each of them.
    fn open_at(
        &self,
        partition: PartitionId,
        next: u64,
    ) -> Result<Option<OpenPartition>, SourceError> {
        let Some(mut stream) = self.generator.stream(partition) else {
            return Ok(None);
        };
        if !stream.skip(next) {
            let message = format!(
                "it has fewer than the {next} events that were read of it: the generator's settings were \
                 changed; restore them, or start over with `--fresh`"
            );
            return Err(SourceError {
                action: "open",
                subject: format!("partition {partition} of the generator"),
                source: io::Error::other(message),
            });
        }
        Ok(Some(OpenPartition {
            partition,
            stream,
            next,
        }))
    }

    /// How far the job was for certain when it stood at `from`: every event that was handed out had been due. All
    /// readers count from there, whatever each had read, so that they stay in step.
    fn done(&self, from: &Starts) -> u64 {
        let total = self.generator.config().events;
        let partitions = self
            .partitions
            .iter()
            .zip(self.generator.partition_events());
        let last = partitions.filter_map(|(partition, events)| {
            let read = match from.of(partition.id)? {
                Start::At(offset) => offset.0,
                Start::Ended => events,
            };
            Some(progress_of(read.checked_sub(1)?, total, events))
        });
        last.max().unwrap_or(0)
    }
}

/// How far the job should be, by the clock.
struct Pace {
    rate: u64,
    clock: Arc<dyn Clock>,
    /// The clock's reading at the first poll.
    start: Option<Duration>,
    /// What was due then, as [`EventStream::progress`].
    done: u64,
}

impl Pace {
    /// Events whose [`EventStream::progress`] is at most this are due.
    fn due(&mut self) -> u64 {
        if self.rate == 0 {
            return u64::MAX;
        }
        let now = self.clock.monotonic();
        let elapsed = now.saturating_sub(*self.start.get_or_insert(now));
        let events = elapsed.as_nanos().saturating_mul(u128::from(self.rate))
            / Duration::from_secs(1).as_nanos();
        u64::try_from(events).map_or(u64::MAX, |events| events.saturating_add(self.done))
    }
}

struct OpenPartition {
    partition: PartitionId,
    stream: EventStream,
    /// Index of the next event.
    next: u64,
}

struct GeneratorReader {
    /// Partitions that have not ended, by number.
    open: Vec<OpenPartition>,
    /// Number of events of those that have.
    ended: BTreeMap<PartitionId, Offset>,
    max_bytes: usize,
    pace: Pace,
    /// The text of the event being handed out.
    text: Vec<u8>,
}

impl SourceReader for GeneratorReader {
    fn poll(
        &mut self,
        demand: Demand<'_>,
        emit: &mut dyn FnMut(Polled<'_>) -> ControlFlow<()>,
    ) -> Result<Readiness, SourceError> {
        if self.open.is_empty() {
            return Ok(Readiness::Finished);
        }
        // The partition that is furthest behind: so they stay in step in event time, though they have
        // different numbers of events.
        let open = self.open.iter_mut().enumerate();
        let allowed = open.filter(|(_, open)| demand.allows(open.partition));
        let behind = allowed.min_by_key(|(_, open)| open.stream.progress());
        let Some((position, open)) = behind else {
            return Ok(Readiness::Waiting);
        };
        let limit = demand.limit;
        let due = self.pace.due();
        let partition = open.partition;
        let mut handed_out = 0;
        while handed_out < limit && open.stream.progress() <= due {
            self.text.clear();
            if !open.stream.append_next(&mut self.text) {
                break;
            }
            let flow = emit(Polled::Record {
                partition,
                offset: Offset(open.next),
                payload: Payload::of(&self.text, self.max_bytes),
                origin: Origin::default(),
            });
            open.next += 1;
            handed_out += 1;
            if flow.is_break() {
                break;
            }
        }
        if open.stream.is_finished() {
            let _ = emit(Polled::Finished(partition));
            self.ended.insert(partition, Offset(open.next));
            self.open.remove(position);
        } else if handed_out == 0 && limit > 0 {
            return Ok(Readiness::LookAgain(LOOK_AGAIN));
        }
        Ok(if self.open.is_empty() {
            Readiness::Finished
        } else {
            Readiness::More
        })
    }
    fn position(&self, partition: PartitionId) -> Option<Offset> {
        let mut open = self.open.iter();
        let open = open.find(|open| open.partition == partition);
        open.map(|open| Offset(open.next))
            .or_else(|| self.ended.get(&partition).copied())
    }
}
