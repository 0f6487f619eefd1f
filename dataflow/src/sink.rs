//! The seam between the engine and whatever its outputs are written to.
//!
//! Workers seal finished records into [`OutputChunk`]s and hand them to one publisher thread, which owns
//! the [`Sink`]. So a sink that is slow or stalls never stops a worker: the bound on events in flight
//! does, at the source.
//!
//! - [`addressed`]: records with an address, for sinks whose records are more than a line.
//! - [`destinations`]: what those sinks ask of their records.

pub mod addressed;
pub mod destinations;

use std::io::ErrorKind;

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

/// How records lie in the bytes of a chunk, one after the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// Each is followed by one line feed, and holds none.
    #[default]
    Lines,
    /// Each begins with its length and its address, see [`addressed`].
    Addressed,
}

impl Framing {
    /// Cuts records into pieces of at most `most` bytes, or of one record, with the number of records in each. What is
    /// no whole record is a last piece of none.
    pub fn pieces(self, records: &[u8], most: usize) -> impl Iterator<Item = (u32, &[u8])> {
        let mut rest = records;
        std::iter::from_fn(move || {
            let (mut count, mut length) = (0, 0);
            while let Some(next) = rest.get(length..).and_then(|rest| self.first(rest)) {
                if count > 0 && length + next > most {
                    break;
                }
                (count, length) = (count + 1, length + next);
            }
            let length = if count == 0 { rest.len() } else { length };
            let (piece, after) = rest.split_at_checked(length)?;
            rest = after;
            (!piece.is_empty()).then_some((count, piece))
        })
    }

    /// How many bytes the first record takes.
    fn first(self, records: &[u8]) -> Option<usize> {
        match self {
            Framing::Lines => {
                let end = records.iter().position(|byte| *byte == b'\n');
                end.map(|at| at + 1)
            }
            Framing::Addressed => addressed::length_of_first(records),
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
    /// How they lie in `bytes`.
    pub framing: Framing,
    /// The records.
    pub bytes: Vec<u8>,
}

impl OutputChunk {
    /// The bytes, for a sink that takes lines.
    ///
    /// # Errors
    /// They are no lines, but records for another sink, which the job had before.
    pub fn lines(&self) -> Result<&[u8], SinkError> {
        match self.framing {
            Framing::Lines => Ok(&self.bytes),
            Framing::Addressed => Err(SinkError {
                action: "write",
                subject: format!("outputs of shard {} as lines", self.shard),
                source: std::io::Error::other(
                    "they were made for the sink that the job had before: run the job once more with that sink, or \
                     start over with `--fresh`",
                ),
            }),
        }
    }
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

    /// Whether what failed can succeed later, with nothing done but waiting.
    pub fn passes(&self) -> bool {
        let passing = [
            ErrorKind::Interrupted,
            ErrorKind::TimedOut,
            ErrorKind::WouldBlock,
            ErrorKind::NotConnected,
            ErrorKind::ConnectionAborted,
        ];
        self.is_no_room() || passing.contains(&self.source.kind())
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
pub type Chunks<'a> = &'a mut (dyn Iterator<Item = Result<EpochChunk, SinkError>> + Send);

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
    /// Records of the shard in this epoch that are in chunks before it.
    pub records_before: u64,
    /// The records, in order.
    pub outputs: Vec<OutputChunk>,
}

/// Takes the outputs of whole epochs, each exactly once. Called by one thread only.
pub trait EpochSink: Send {
    /// Keeps every older generation from writing from now on, and gives each shard's marker, by shard; none
    /// where nothing was ever published.
    fn take_over(&mut self, generation: Generation) -> Result<Vec<Option<Marker>>, SinkError>;

    /// Whether it has markers at all. One that has none cannot tell what it has taken.
    fn keeps_markers(&self) -> bool {
        true
    }

    /// Makes an epoch of one shard visible: all its records, then its marker. Called in the order of
    /// epochs. After a failure it may be called again for the same epoch.
    fn publish(&mut self, outputs: ShardEpoch<'_>) -> Result<(), SinkError>;

    /// The same for several shards of an epoch, side by side if the sink can do that, whatever becomes of the others. How it
    /// went with each, in their order.
    fn publish_all(&mut self, outputs: Vec<ShardEpoch<'_>>) -> Vec<Result<(), SinkError>> {
        let outputs = outputs.into_iter();
        outputs.map(|outputs| self.publish(outputs)).collect()
    }

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
    /// If it passes it is to be tried again, with the same chunk: what of it was written before is not written twice.
    fn append(&mut self, chunk: &OutputChunk) -> Result<(), SinkError>;

    /// What makes durable all that was written so far. Done by another thread, while this one goes on; in the order
    /// in which they were given.
    fn sync(&mut self) -> Syncing;
}

/// Waits until something is durable, but not for long; then it is asked again. What fails has failed for good.
pub type Syncing = Box<dyn FnMut() -> Result<Synced, SinkError> + Send>;

/// Whether something is durable.
#[derive(Debug)]
pub enum Synced {
    /// It is.
    Durable,
    /// Who is to keep it does not answer, as this says.
    NotYet(SinkError),
}

#[cfg(test)]
mod tests {
    use crate::sink::Framing;
    use crate::sink::addressed::{Address, OpenRecord};

    #[test]
    fn are_records_cut_where_they_end_only() {
        let check = |records: &str, expected: &[(u32, &str)]| {
            let found: Vec<_> = Framing::Lines.pieces(records.as_bytes(), 4).collect();
            let expected = expected.iter().map(|(count, it)| (*count, it.as_bytes()));
            assert_eq!(found, expected.collect::<Vec<_>>(), "{records:?}");
        };
        check("", &[]);
        check("a\n", &[(1, "a\n")]);
        check("a\nb\nc\n", &[(2, "a\nb\n"), (1, "c\n")]);
        check("abcdefg\nb\n", &[(1, "abcdefg\n"), (1, "b\n")]);
        check("a\nbcd\ne\n", &[(1, "a\n"), (1, "bcd\n"), (1, "e\n")]);
        check("a\nb", &[(1, "a\n"), (0, "b")]);

        let mut bytes = Vec::new();
        for value in ["one", "2", "\n", "four"] {
            let mut record = OpenRecord::begin(&mut bytes, Address::default());
            record.value().extend_from_slice(value.as_bytes());
            record.end();
        }
        let lengths = |most| {
            let pieces = Framing::Addressed.pieces(&bytes, most);
            pieces
                .map(|(count, piece)| (count, piece.len()))
                .collect::<Vec<_>>()
        };
        assert_eq!(lengths(56), [(2, 56), (1, 27), (1, 30)]);
        assert_eq!(lengths(0), [(1, 29), (1, 27), (1, 27), (1, 30)]);
        assert_eq!(lengths(999), [(4, 113)]);
    }
}
