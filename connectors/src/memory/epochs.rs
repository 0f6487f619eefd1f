//! A sink of whole epochs that keeps what was published, and fails when it is told to: what recovery is tested with.
//!
//! It does what the strictest real one does: each chunk becomes visible together with its marker, and who has not
//! taken over, or was superseded, publishes nothing. It checks no more than that, so that outputs which come twice
//! or not at all are seen by who compares them. Or it takes outputs in their place, as files do: see [`placing`].

mod placing;

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use slackwater_dataflow::identity::{CheckpointId, Generation};
use slackwater_dataflow::moment::Epoch;
use slackwater_dataflow::place::ShardId;
use slackwater_dataflow::sink::{
    EpochSink, InPlace, Lengths, Marker, OutputChunk, OutputStream, ShardEpoch, ShardOutputs,
    SinkError,
};

pub use self::placing::PlaceFault;
use self::placing::{MemoryPlace, Tail};

/// How a publish fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishFault {
    /// Nothing is published.
    Before,
    /// The first so many of the chunks that it was given are published, with their markers.
    AfterChunks(usize),
    /// All is published; only who asked for it does not learn so.
    After,
}

/// A chunk that is visible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Who published it.
    pub generation: Generation,
    /// Its epoch.
    pub epoch: Epoch,
    /// That epoch's checkpoint.
    pub checkpoint: CheckpointId,
    /// Its number in the epoch's shard, from 0.
    pub chunk: u32,
    /// Its records.
    pub outputs: Vec<OutputChunk>,
}

/// Keeps what is published; clones share it, so that one can be kept to read it, and so that runs one after the
/// other, or at the same time, publish to the same place.
#[derive(Clone, Debug)]
pub struct MemoryEpochSink {
    place: Arc<Mutex<Place>>,
}

#[derive(Clone, Debug, Default)]
struct Place {
    /// Who took over last.
    generation: Option<Generation>,
    shards: Vec<Shard>,
    /// By number of the publish, from 0.
    faults: BTreeMap<u64, PublishFault>,
    take_overs: u64,
    publishes: u64,
    /// Whether outputs are taken in their place.
    is_placing: bool,
    /// By number of the operation, from 0.
    place_faults: BTreeMap<u64, PlaceFault>,
    place_operations: u64,
}

#[derive(Clone, Debug, Default)]
struct Shard {
    committed: Vec<Committed>,
    marker: Option<Marker>,
    tail: Tail,
}

impl MemoryEpochSink {
    /// An empty sink of so many shards that never fails.
    pub fn new(shards: u16) -> Self {
        let place = Place {
            shards: vec![Shard::default(); usize::from(shards)],
            ..Place::default()
        };
        MemoryEpochSink {
            place: Arc::new(Mutex::new(place)),
        }
    }

    /// The same, but outputs are taken in their place.
    pub fn placing(shards: u16) -> Self {
        let sink = MemoryEpochSink::new(shards);
        sink.lock().is_placing = true;
        sink
    }

    /// A sink of its own to which has been published what was to this one; it fails when this one would.
    #[must_use]
    pub fn fork(&self) -> Self {
        let place = self.lock().clone();
        MemoryEpochSink {
            place: Arc::new(Mutex::new(place)),
        }
    }

    /// Has the publish of this number, counted from 0 over all runs, fail like that.
    pub fn fail_publish(&self, number: u64, fault: PublishFault) {
        self.lock().faults.insert(number, fault);
    }

    /// What is visible of a shard, in the order in which it came.
    pub fn committed(&self, shard: ShardId) -> Vec<Committed> {
        let place = self.lock();
        let shard = place.shards.get(usize::from(shard.0));
        shard.map_or_else(Vec::new, |shard| shard.committed.clone())
    }

    /// The bytes of all records of a stream of a shard, in the order in which they came.
    pub fn bytes(&self, shard: ShardId, stream: OutputStream) -> Vec<u8> {
        let committed = self.committed(shard);
        let outputs = committed.iter().flat_map(|committed| &committed.outputs);
        let of_stream = outputs.filter(|output| output.stream == stream);
        of_stream
            .flat_map(|output| &output.bytes)
            .copied()
            .collect()
    }

    /// The marker of a shard.
    pub fn marker(&self, shard: ShardId) -> Option<Marker> {
        let place = self.lock();
        place.shards.get(usize::from(shard.0))?.marker
    }

    /// Puts another marker in the place of a shard's: one that was lost, or went back. The outputs stay.
    pub fn set_marker(&self, shard: ShardId, marker: Option<Marker>) {
        if let Some(shard) = self.lock().shards.get_mut(usize::from(shard.0)) {
            shard.marker = marker;
        }
    }

    /// Number of calls of [`EpochSink::take_over`].
    pub fn take_overs(&self) -> u64 {
        self.lock().take_overs
    }

    /// Number of calls of [`EpochSink::publish`], those that failed too.
    pub fn publishes(&self) -> u64 {
        self.lock().publishes
    }

    fn lock(&self) -> MutexGuard<'_, Place> {
        // A panic elsewhere does not harm what was published.
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Whether this generation may publish.
    fn check(&self, generation: Generation) -> Result<(), String> {
        match self.generation {
            Some(taken) if taken == generation => Ok(()),
            Some(taken) if taken > generation => Err(format!(
                "a newer run has taken over: it is generation {taken}, and this one is {generation}"
            )),
            _ => Err(format!("generation {generation} has not taken over")),
        }
    }
}

fn failed(action: &'static str, message: impl Into<String>) -> SinkError {
    SinkError {
        action,
        subject: "memory".to_owned(),
        source: io::Error::other(message.into()),
    }
}

impl EpochSink for MemoryEpochSink {
    fn take_over(&mut self, generation: Generation) -> Result<Vec<Option<Marker>>, SinkError> {
        let mut place = self.lock();
        place.take_overs += 1;
        if place.generation > Some(generation) {
            let refused = place.check(generation);
            return Err(failed("take over", refused.err().unwrap_or_default()));
        }
        place.generation = Some(generation);
        Ok(place.shards.iter().map(|shard| shard.marker).collect())
    }

    fn publish(&mut self, outputs: ShardEpoch<'_>) -> Result<(), SinkError> {
        let fault = {
            let mut place = self.lock();
            let number = place.publishes;
            place.publishes += 1;
            place
                .check(outputs.generation)
                .map_err(|message| failed("publish to", message))?;
            place.faults.remove(&number)
        };
        let most = match fault {
            Some(PublishFault::Before) => 0,
            Some(PublishFault::AfterChunks(chunks)) => chunks,
            Some(PublishFault::After) | None => usize::MAX,
        };
        if let ShardOutputs::InPlace = outputs.outputs {
            let published = self.lock().publish_in_place(&outputs, fault);
            return published.map_err(|message| failed("publish to", message));
        }
        let (generation, epoch) = (outputs.generation, outputs.epoch);
        let (checkpoint, number) = (outputs.checkpoint, outputs.shard);
        for chunk in outputs.chunks()?.take(most) {
            let chunk = chunk?;
            // Not locked between chunks: another run may take over there.
            let mut place = self.lock();
            place
                .check(generation)
                .map_err(|message| failed("publish to", message))?;
            let shard = place.shards.get_mut(usize::from(number.0));
            let shard = shard.ok_or_else(|| failed("publish to", "there is no such shard"))?;
            shard.marker = Some(Marker {
                generation,
                epoch,
                checkpoint,
                chunk: chunk.chunk.saturating_add(1),
                chunks: chunk.chunks,
            });
            shard.committed.push(Committed {
                generation,
                epoch,
                checkpoint,
                chunk: chunk.chunk,
                outputs: chunk.outputs,
            });
        }
        match fault {
            Some(_) => Err(failed("publish to", "told to fail")),
            None => Ok(()),
        }
    }

    fn in_place(&mut self, lengths: &[Lengths]) -> Result<Option<Box<dyn InPlace>>, SinkError> {
        let mut place = self.lock();
        if !place.is_placing {
            return Ok(None);
        }
        for (shard, lengths) in place.shards.iter_mut().zip(lengths) {
            let cut = shard.tail.cut(*lengths);
            cut.map_err(|message| failed("go on with", message))?;
        }
        Ok(Some(Box::new(MemoryPlace {
            generation: place.generation,
            place: Arc::clone(&self.place),
        })))
    }
}

#[cfg(test)]
mod tests;
