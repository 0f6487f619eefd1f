//! The seam between the engine and whatever its outputs are written to.
//!
//! Workers seal finished records into [`OutputChunk`]s and hand them to one publisher thread, which owns
//! the [`Sink`]. So a sink that is slow or stalls never stops a worker: the bound on events in flight
//! does, at the source.

use crate::identity::{CheckpointId, Generation};
use crate::moment::Epoch;
use crate::place::ShardId;
use crate::store::is_no_room;

/// The four streams. Every event gives exactly one record on exactly one of them, or is filtered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OutputStream {
    /// Scored events.
    Predictions,
    /// Events that are not what the schema says.
    ValidationErrors,
    /// Events that were valid and could not be scored.
    ProcessingErrors,
    /// Events older than their partition's watermark.
    LateEvents,
}

impl OutputStream {
    /// All streams, in the order in which summaries list them.
    pub const ALL: [OutputStream; 4] = [
        OutputStream::Predictions,
        OutputStream::ValidationErrors,
        OutputStream::ProcessingErrors,
        OutputStream::LateEvents,
    ];

    /// Position in [`Self::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }

    /// The stream's name in summaries and pipeline files.
    pub fn name(self) -> &'static str {
        match self {
            OutputStream::Predictions => "predictions",
            OutputStream::ValidationErrors => "validation_errors",
            OutputStream::ProcessingErrors => "processing_errors",
            OutputStream::LateEvents => "late_events",
        }
    }
}

/// Finished records of one stream and shard, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputChunk {
    /// The stream.
    pub stream: OutputStream,
    /// The shard.
    pub shard: ShardId,
    /// Number of records in `bytes`.
    pub records: u32,
    /// The records, each followed by one line feed.
    pub bytes: Vec<u8>,
}

/// Outputs could not be written. Final for this run.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {subject}: {source}")]
pub struct SinkError {
    /// What was tried: `write`, `create`, ...
    pub action: &'static str,
    /// On what: a path, a topic.
    pub subject: String,
    /// Why it failed.
    pub source: std::io::Error,
}

impl SinkError {
    /// Whether there was no room for what was to be written: later there may be.
    pub fn is_no_room(&self) -> bool {
        is_no_room(&self.source)
    }
}

/// Takes finished records. Called by one thread only.
pub trait Sink: Send {
    /// Writes a chunk after all chunks given before.
    fn append(&mut self, chunk: &OutputChunk) -> Result<(), SinkError>;

    /// Called once, after the last chunk of a run that ended well.
    fn finish(&mut self) -> Result<(), SinkError>;
}

/// Bytes of all records of each stream of one shard, in the order of [`OutputStream::ALL`].
pub type Lengths = [u64; OutputStream::ALL.len()];

/// What a sink keeps beside a shard's outputs: the last epoch of it that was published. Written together with that
/// epoch's last record, or after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marker {
    /// Who published.
    pub generation: Generation,
    /// The epoch.
    pub epoch: Epoch,
    /// Its checkpoint: numbers of epochs may be used again after an older checkpoint was restored, ids are not.
    pub checkpoint: CheckpointId,
    /// How many chunks of it are published.
    pub chunk: u32,
    /// How many there are.
    pub chunks: u32,
}

/// Outputs of one epoch and shard, which are durable and are to become visible.
pub struct ShardEpoch<'a> {
    /// Who publishes.
    pub generation: Generation,
    /// The epoch.
    pub epoch: Epoch,
    /// Its checkpoint.
    pub checkpoint: CheckpointId,
    /// The shard.
    pub shard: ShardId,
    /// Bytes of the shard's streams up to the epoch before: what lies behind them is of an attempt that did
    /// not end.
    pub before: Lengths,
    /// Bytes of the shard's streams with this epoch.
    pub after: Lengths,
    /// How many chunks the epoch has of this shard; what is in its place counts as one.
    pub chunk_count: u32,
    /// What it has brought.
    pub outputs: ShardOutputs<'a>,
}

impl<'a> ShardEpoch<'a> {
    /// The chunks, for a sink that has nothing in place.
    ///
    /// # Errors
    /// They are in the place of another sink, which the job had before.
    pub fn chunks(self) -> Result<Chunks<'a>, SinkError> {
        match self.outputs {
            ShardOutputs::Chunks(chunks) => Ok(chunks),
            ShardOutputs::InPlace => Err(SinkError {
                action: "publish",
                subject: format!("epoch {} of shard {}", self.epoch, self.shard),
                source: std::io::Error::other(
                    "its outputs lie where the sink that the job had before has written them: run \
                     the job once more with that sink, or start over with `--fresh`",
                ),
            }),
        }
    }
}

/// Chunks of an epoch and shard, in order.
pub type Chunks<'a> = &'a mut dyn Iterator<Item = Result<EpochChunk, SinkError>>;

/// Where the outputs of an epoch and shard are that are to become visible.
pub enum ShardOutputs<'a> {
    /// Between `before` and `after` already: [`InPlace`] has written them.
    InPlace,
    /// Here: the chunks from the first to be published on, each with all its records.
    Chunks(Chunks<'a>),
}

/// What a sink commits at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochChunk {
    /// Its number in the epoch's shard, from 0.
    pub chunk: u32,
    /// How many the epoch's shard has.
    pub chunks: u32,
    /// The records, in order.
    pub outputs: Vec<OutputChunk>,
}

/// Takes the outputs of whole epochs, each exactly once. Called by one thread only.
pub trait EpochSink: Send {
    /// Keeps every older generation from writing from now on, and gives each shard's marker, by shard; none
    /// where nothing was ever published.
    fn take_over(&mut self, generation: Generation) -> Result<Vec<Option<Marker>>, SinkError>;

    /// Makes an epoch of one shard visible: all its records, then its marker. Called in the order of
    /// epochs. After a failure it may be called again for the same epoch.
    fn publish(&mut self, outputs: ShardEpoch<'_>) -> Result<(), SinkError>;

    /// A sink that can hold outputs which do not count yet gives what writes them where they will stay; by default it
    /// cannot, and they wait in the checkpoint store. `lengths`, by shard, is what counts: what lies behind is of an
    /// attempt that did not end, and is cut off. Called once, after everything listed was published.
    fn in_place(&mut self, lengths: &[Lengths]) -> Result<Option<Box<dyn InPlace>>, SinkError> {
        let _ = lengths;
        Ok(None)
    }
}

/// Writes outputs where they will stay, before they count. Called by one thread only.
pub trait InPlace: Send {
    /// Writes a chunk after all chunks given before.
    ///
    /// # Errors
    /// If there was no room nothing was written, and it can be tried again.
    fn append(&mut self, chunk: &OutputChunk) -> Result<(), SinkError>;

    /// What makes durable all that was written so far. Done by another thread, while this one goes on; in the order
    /// in which they were given.
    fn sync(&mut self) -> Syncing;
}

/// Waits until something is durable.
pub type Syncing = Box<dyn FnOnce() -> Result<(), SinkError> + Send>;
