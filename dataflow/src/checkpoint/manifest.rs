//! Records of the log: claims, by which a run makes itself the only one that writes, and manifests, each of
//! which is the checkpoint of an epoch.
//!
//! Here is what they say, as it stands in the JSON. A field more or less is refused: it could be one without which the
//! rest means something else.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::checkpoint::frame::ObjectRef;
use crate::checkpoint::job::JobIdentity;
use crate::checkpoint::names::{DataName, RecordNumber};
use crate::checkpoint::outbox::ChunkRef;
use crate::control::PartitionCut;
use crate::identity::{CheckpointId, Generation};
use crate::idleness::RaisedFrom;
use crate::moment::{Epoch, EventTime};
use crate::place::{Mark, Offset, PartitionId, ShardId};
use crate::sink::Lengths;

/// A record of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Record {
    /// A run begins.
    Claim(Claim),
    /// A checkpoint.
    Manifest(Box<Manifest>),
}

/// A run begins, whose generation is the number of this record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// Its place in the log.
    pub number: RecordNumber,
    /// Drawn at random, so that no two claims are the same bytes.
    pub id: CheckpointId,
    /// Wall clock, in milliseconds since 1970.
    pub claimed_ms: i64,
    /// The machine's name.
    pub host: String,
    /// Number of the process there.
    pub process: u32,
}

/// Who it is, for a person who looks for it.
impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Claim {
            number,
            host,
            process,
            ..
        } = self;
        write!(f, "generation {number} on {host}, process {process}")
    }
}

/// The checkpoint of an epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Its place in the log.
    pub number: RecordNumber,
    /// Who wrote it.
    pub generation: Generation,
    /// The last epoch that it holds.
    pub epoch: Epoch,
    /// That epoch's id.
    pub checkpoint: CheckpointId,
    /// Wall clock, in milliseconds since 1970.
    pub created_ms: i64,
    /// What must not change.
    pub job: JobIdentity,
    /// What no on-time event of a partition is older than that is idle, or is found later.
    // Said so, it may be null but not missing.
    #[serde(deserialize_with = "Option::deserialize")]
    pub floor: Option<EventTime>,
    /// Workers that the chains belong to.
    pub workers: u32,
    /// Where the source goes on.
    pub partitions: Vec<PartitionPosition>,
    /// The chain of each worker, oldest object first.
    pub chains: Vec<Vec<ChainObject>>,
    /// Epochs whose outputs were not known to be published, oldest first.
    pub unconfirmed: Vec<UnconfirmedEpoch>,
    /// What was known to be published; only shards that have published.
    pub confirmed: Vec<ConfirmedShard>,
    /// Bytes of all records of each shard's streams, up to and with the epoch; by shard.
    pub lengths: Vec<Lengths>,
    /// What the job had counted when the epoch ended.
    pub totals: BTreeMap<String, u64>,
    /// Whether the input has ended and all of it is in here.
    pub complete: bool,
}

/// Where a partition goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartitionPosition {
    /// The partition.
    pub id: PartitionId,
    /// The topic, or whatever its name is that is the same in every run.
    pub topic: String,
    /// Offset of the next record to read.
    pub position: Offset,
    /// What stands right before it, as its source says it.
    #[serde(deserialize_with = "Option::deserialize")]
    pub mark: Option<Mark>,
    /// Highest event time, if there was an event.
    #[serde(deserialize_with = "Option::deserialize")]
    pub highest: Option<EventTime>,
    /// Whether it has ended.
    pub finished: bool,
    /// Whether it is idle, as the last command about it says.
    pub idle: bool,
    /// What it was raised to, and from which record on; the last counts.
    pub raised: Vec<RaisedFrom>,
}

/// An object of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChainObject {
    /// Its name.
    pub name: DataName,
    /// Its length in bytes.
    pub length: u64,
    /// CRC-32C of all its bytes.
    pub crc32c: u32,
    /// The last epoch that it holds.
    pub epoch: Epoch,
    /// Whether it begins the chain: nothing older counts.
    pub whole: bool,
}

/// Outputs of an epoch that may have to be published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnconfirmedEpoch {
    /// The epoch.
    pub epoch: Epoch,
    /// Its id.
    pub checkpoint: CheckpointId,
    /// Only shards that have outputs.
    pub shards: Vec<UnconfirmedShard>,
}

/// Outputs of one shard in an epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnconfirmedShard {
    /// The shard.
    pub shard: ShardId,
    /// Bytes of all records of its streams up to the epoch before.
    pub before: Lengths,
    /// The same with this epoch.
    pub after: Lengths,
    /// Where they lie, in the order of workers; none if they are in their place in the sink.
    pub segments: Vec<Segment>,
}

/// Outputs of one shard in an outbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Segment {
    /// The outbox.
    pub name: DataName,
    /// Its length in bytes.
    pub length: u64,
    /// CRC-32C of all its bytes.
    pub crc32c: u32,
    /// The chunks, in order.
    pub chunks: Vec<ChunkRef>,
}

/// The last epoch of a shard that was known to be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfirmedShard {
    /// The shard.
    pub shard: ShardId,
    /// The epoch.
    pub epoch: Epoch,
    /// Its id.
    pub checkpoint: CheckpointId,
}

impl Manifest {
    /// Right behind the last event of all. Where stages have acted on the end of event time, and let go of all that they held,
    /// a partition that a later run finds comes after it.
    pub(crate) fn behind_all(&self) -> Option<EventTime> {
        let last = self.partitions.iter().filter_map(|it| it.highest).max()?;
        Some(EventTime(last.0.saturating_add(1)))
    }
}

impl PartitionPosition {
    /// Where its reader goes on.
    pub fn cut(&self) -> PartitionCut {
        PartitionCut {
            partition: self.id,
            position: self.position,
            mark: self.mark,
            highest: self.highest,
            finished: self.finished,
        }
    }
}

impl ChainObject {
    /// The object by itself.
    pub fn object(&self) -> ObjectRef {
        ObjectRef {
            name: self.name,
            length: self.length,
            crc32c: self.crc32c,
        }
    }
}

impl UnconfirmedShard {
    /// Whether the sink has them already, and only has to be told that they count.
    pub fn is_in_place(&self) -> bool {
        self.segments.is_empty()
    }

    /// How many chunks a sink commits; what is in its place counts as one.
    pub fn chunk_count(&self) -> u32 {
        let chunks = self.segments.iter().map(|segment| segment.chunks.len());
        if self.is_in_place() {
            1
        } else {
            chunks.sum::<usize>() as u32
        }
    }
}

impl Segment {
    /// The object by itself.
    pub fn object(&self) -> ObjectRef {
        ObjectRef {
            name: self.name,
            length: self.length,
            crc32c: self.crc32c,
        }
    }
}

impl Manifest {
    /// All objects that it lists, each once, by name.
    pub fn objects(&self) -> BTreeMap<DataName, ObjectRef> {
        let chains = self.chains.iter().flatten().map(ChainObject::object);
        let shards = self.unconfirmed.iter().flat_map(|epoch| &epoch.shards);
        let segments = shards.flat_map(|shard| &shard.segments);
        let objects = chains.chain(segments.map(Segment::object));
        objects.map(|object| (object.name, object)).collect()
    }
}

impl Record {
    /// Its place in the log.
    pub fn number(&self) -> RecordNumber {
        match self {
            Record::Claim(claim) => claim.number,
            Record::Manifest(manifest) => manifest.number,
        }
    }

    /// Who wrote it.
    pub fn generation(&self) -> Generation {
        match self {
            Record::Claim(claim) => Generation(claim.number.0),
            Record::Manifest(manifest) => manifest.generation,
        }
    }
}
