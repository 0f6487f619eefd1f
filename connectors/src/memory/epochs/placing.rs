//! Outputs in their place, in memory: bytes that count or not, and are durable or not.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use slackwater_dataflow::identity::Generation;
use slackwater_dataflow::sink::{
    Framing, InPlace, Lengths, Marker, OutputChunk, OutputStream, ShardEpoch, SinkError, Synced,
    Syncing,
};

use super::{Committed, MemoryEpochSink, Place, PublishFault, failed};

/// How an operation in place fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlaceFault {
    /// Nobody answers: nothing is done.
    Away,
    /// There is no room: nothing is done.
    NoRoom,
    /// A half of it is done, and the run can't go on.
    Broken,
}

/// Bytes of each stream of a shard, with those that do not count yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Tail {
    bytes: [Vec<u8>; OutputStream::ALL.len()],
    /// How many of them are durable.
    synced: Lengths,
    /// How many of them count.
    published: Lengths,
}

impl Tail {
    /// Cuts off what is behind.
    pub(super) fn cut(&mut self, lengths: Lengths) -> Result<(), String> {
        let streams = self.bytes.iter_mut().zip(&mut self.synced);
        for (((bytes, synced), published), length) in streams.zip(self.published).zip(lengths) {
            if published > length {
                return Err(format!("{published} bytes are published, and not {length}"));
            }
            if (bytes.len() as u64) < length {
                return Err(format!("there are {} bytes, and not {length}", bytes.len()));
            }
            bytes.truncate(length as usize);
            *synced = (*synced).min(length);
        }
        Ok(())
    }

    fn lengths(&self) -> Lengths {
        let mut lengths = Lengths::default();
        for (length, bytes) in lengths.iter_mut().zip(&self.bytes) {
            *length = bytes.len() as u64;
        }
        lengths
    }
}

impl MemoryEpochSink {
    /// Has the operation in place of this number, counted from 0 over all runs, fail like that.
    pub fn fail_in_place(&self, number: u64, fault: PlaceFault) {
        self.lock().place_faults.insert(number, fault);
    }

    /// Number of operations in place, those that failed too: appends, and syncs.
    pub fn place_operations(&self) -> u64 {
        self.lock().place_operations
    }

    /// What was not made durable is gone.
    pub fn power_loss(&self) {
        for shard in &mut self.lock().shards {
            let streams = shard.tail.bytes.iter_mut().zip(shard.tail.synced);
            streams.for_each(|(bytes, synced)| bytes.truncate(synced as usize));
        }
    }
}

impl Place {
    /// Lets count what is there.
    pub(super) fn publish_in_place(
        &mut self,
        outputs: &ShardEpoch<'_>,
        fault: Option<PublishFault>,
    ) -> Result<(), String> {
        let told = "told to fail".to_owned();
        if fault == Some(PublishFault::Before) {
            return Err(told);
        }
        let shard = self.shards.get_mut(usize::from(outputs.shard.0));
        let shard = shard.ok_or("there is no such shard")?;
        let tail = &mut shard.tail;
        if tail.published != outputs.before {
            let (published, before) = (tail.published, outputs.before);
            return Err(format!("{published:?} are published, and not {before:?}"));
        }
        let mut found = Vec::new();
        for (stream, (before, after)) in OutputStream::ALL
            .into_iter()
            .zip(outputs.before.iter().zip(outputs.after))
        {
            let synced = tail.synced.get(stream.index()).copied().unwrap_or_default();
            let bytes = tail.bytes.get(stream.index()).and_then(|bytes| {
                let end = after.min(synced);
                bytes.get(*before as usize..end as usize)
            });
            let bytes = bytes.filter(|bytes| bytes.len() as u64 == after - before);
            let bytes = bytes.ok_or("what is published is not durable")?;
            if !bytes.is_empty() {
                found.push(OutputChunk {
                    stream,
                    shard: outputs.shard,
                    records: bytes.iter().filter(|byte| **byte == b'\n').count() as u32,
                    framing: Framing::Lines,
                    bytes: bytes.to_vec(),
                });
            }
        }
        tail.published = outputs.after;
        shard.marker = Some(Marker {
            generation: outputs.generation,
            epoch: outputs.epoch,
            checkpoint: outputs.checkpoint,
            chunk: 1,
            chunks: outputs.chunk_count,
        });
        shard.committed.push(Committed {
            generation: outputs.generation,
            epoch: outputs.epoch,
            checkpoint: outputs.checkpoint,
            chunk: 0,
            outputs: found,
        });
        fault.map_or(Ok(()), |_| Err(told))
    }

    fn place_fault(&mut self) -> Option<PlaceFault> {
        let number = self.place_operations;
        self.place_operations += 1;
        self.place_faults.remove(&number)
    }
}

/// Takes outputs in their place, for one run.
pub(super) struct MemoryPlace {
    pub(super) generation: Option<Generation>,
    pub(super) place: Arc<Mutex<Place>>,
}

fn lock(place: &Mutex<Place>) -> MutexGuard<'_, Place> {
    place.lock().unwrap_or_else(PoisonError::into_inner)
}

impl InPlace for MemoryPlace {
    fn append(&mut self, chunk: &OutputChunk) -> Result<(), SinkError> {
        let mut place = lock(&self.place);
        if place.generation != self.generation {
            return Err(failed("append to", "a newer run has taken over"));
        }
        let fault = place.place_fault();
        let shard = place.shards.get_mut(usize::from(chunk.shard.0));
        let shard = shard.ok_or_else(|| failed("append to", "there is no such shard"))?;
        let half = match fault {
            Some(PlaceFault::NoRoom | PlaceFault::Away) => 0,
            Some(PlaceFault::Broken) => chunk.bytes.len() / 2,
            None => chunk.bytes.len(),
        };
        if let Some(bytes) = shard.tail.bytes.get_mut(chunk.stream.index()) {
            bytes.extend(chunk.bytes.iter().take(half));
        }
        fault.map_or(Ok(()), |fault| Err(faulty("append to", fault)))
    }

    fn sync(&mut self) -> Syncing {
        let lengths: Vec<Lengths> = {
            let place = lock(&self.place);
            place
                .shards
                .iter()
                .map(|shard| shard.tail.lengths())
                .collect()
        };
        let (place, generation) = (Arc::clone(&self.place), self.generation);
        Box::new(move || {
            let mut place = lock(&place);
            if place.generation != generation {
                return Err(failed("sync", "a newer run has taken over"));
            }
            match place.place_fault() {
                None => {}
                Some(PlaceFault::Away) => {
                    return Ok(Synced::NotYet(faulty("sync", PlaceFault::Away)));
                }
                Some(fault) => return Err(faulty("sync", fault)),
            }
            for (shard, lengths) in place.shards.iter_mut().zip(&lengths) {
                shard.tail.synced = *lengths;
            }
            Ok(Synced::Durable)
        })
    }
}

fn faulty(action: &'static str, fault: PlaceFault) -> SinkError {
    match fault {
        PlaceFault::Broken => failed(action, "told to fail"),
        PlaceFault::NoRoom => passing(action, io::ErrorKind::StorageFull),
        PlaceFault::Away => passing(action, io::ErrorKind::NotConnected),
    }
}

fn passing(action: &'static str, kind: io::ErrorKind) -> SinkError {
    SinkError {
        action,
        subject: "memory".to_owned(),
        source: kind.into(),
    }
}
