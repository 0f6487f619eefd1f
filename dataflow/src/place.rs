//! Where an event stands: one type for every number that must not be mixed up with another.
//!
//! A partition number read as a worker number, or a group read as a shard, would still compile as a
//! plain integer and would lose or repeat data. So each has its own type, and the rules that turn one
//! into another live here, once.

use std::fmt;

/// Number of key groups of a job unless its pipeline file says otherwise.
///
/// Keys are assigned to workers by group, so this bounds the worker count of a job for its whole life;
/// 1,024 groups spread over any machine we run on and cost nothing.
pub const KEY_GROUPS_DEFAULT: u16 = 1024;

/// A partition of the source: a file, a generator's partition, a Kafka partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionId(pub u32);

impl PartitionId {
    /// The worker that reads this partition: `p mod workers`.
    pub fn worker(self, workers: usize) -> usize {
        self.0 as usize % workers.max(1)
    }
}

/// Place of a record in its partition. For files: byte position of the record's first byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(pub u64);

/// Stable 64-bit hash of a key's canonical bytes: xxh3, seed 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyHash(pub u64);

impl KeyHash {
    /// Hashes canonical key bytes.
    pub fn of(key: &[u8]) -> Self {
        KeyHash(xxhash_rust::xxh3::xxh3_64(key))
    }

    /// The group of this key: hash modulo the number of groups.
    pub fn group(self, key_groups: u16) -> KeyGroup {
        KeyGroup((self.0 % u64::from(key_groups.max(1))) as u16)
    }
}

/// The unit by which keys are assigned to workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyGroup(pub u16);

impl KeyGroup {
    /// The worker that owns this group: `group * workers / key_groups`, integer division.
    pub fn worker(self, workers: usize, key_groups: u16) -> usize {
        self.0 as usize * workers / usize::from(key_groups.max(1))
    }

    /// The shard that publishes outputs of this group's keys.
    pub fn shard(self, shards: u16) -> ShardId {
        ShardId(self.0 % shards.max(1))
    }
}

/// Unit of publishing; the number of shards is fixed for the life of a job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u16);

impl ShardId {
    /// The shard that publishes rejects of a partition decided before the key is known.
    pub fn of_partition(partition: PartitionId, shards: u16) -> Self {
        ShardId((partition.0 % u32::from(shards.max(1))) as u16)
    }
}

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
