//! Where an event stands: one type for every number that must not be mixed up with another.
//!
//! A partition number read as a worker number, or a group read as a shard, would still compile as a
//! plain integer and would lose or repeat data. So each has its own type, and the rules that turn one
//! into another live here, once.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A partition of the source: a file, a generator's partition, a Kafka partition.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct PartitionId(pub u32);

impl PartitionId {
    /// The worker that reads this partition: `p mod workers`.
    #[inline]
    pub fn worker(self, workers: usize) -> usize {
        self.0 as usize % workers.max(1)
    }
}

/// Place of a record in its partition. For files: byte position of the record's first byte.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Offset(pub u64);

/// What stands right before a place in a partition, as a checksum that its source defines: whoever goes on there later
/// sees by it whether the partition still is the one that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark(pub u32);

/// Stable 64-bit hash of a key's canonical bytes: xxh3, seed 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyHash(pub u64);

impl KeyHash {
    /// Hashes canonical key bytes.
    #[inline]
    pub fn of(key: &[u8]) -> Self {
        KeyHash(xxhash_rust::xxh3::xxh3_64(key))
    }
}

/// The unit by which keys are assigned to workers: hash modulo the number of groups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyGroup(pub u16);

/// Unit of publishing; the number of shards is fixed for the life of a job.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct ShardId(pub u16);

/// How keys and partitions are spread over groups, workers and shards. All rules are fixed: another
/// number of workers moves whole groups, and nothing moves a key or a partition to another shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spread {
    /// Number of key groups, at least 1.
    pub key_groups: u16,
    /// Number of workers, at least 1.
    pub workers: usize,
    /// Number of shards, at least 1.
    pub shards: u16,
}

impl Spread {
    /// The group of a key.
    #[inline]
    pub fn group(&self, key: KeyHash) -> KeyGroup {
        KeyGroup((key.0 % u64::from(self.key_groups.max(1))) as u16)
    }

    /// The worker that owns a key.
    #[inline]
    pub fn worker(&self, key: KeyHash) -> usize {
        self.owner(self.group(key))
    }

    /// The worker that owns a group: `group * workers / key_groups`, integer division.
    #[inline]
    pub fn owner(&self, group: KeyGroup) -> usize {
        usize::from(group.0) * self.workers / usize::from(self.key_groups.max(1))
    }

    /// The shard that publishes outputs of a key.
    #[inline]
    pub fn shard(&self, key: KeyHash) -> ShardId {
        ShardId(self.group(key).0 % self.shards.max(1))
    }

    /// The shard that publishes rejects of a partition that were decided before the key is known.
    pub fn shard_of_partition(&self, partition: PartitionId) -> ShardId {
        ShardId((partition.0 % u32::from(self.shards.max(1))) as u16)
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

#[cfg(test)]
mod tests {
    use crate::place::{KeyHash, PartitionId, Spread};

    /// Part of the formats: a change here loses or repeats data of existing jobs.
    #[test]
    fn keys_and_partitions_go_where_the_formats_say() {
        let check = |hash: u64, spread: (u16, usize, u16), expected: (u16, usize, u16)| {
            let (key_groups, workers, shards) = spread;
            let (key, spread) = (
                KeyHash(hash),
                Spread {
                    key_groups,
                    workers,
                    shards,
                },
            );
            let found = (spread.group(key).0, spread.worker(key), spread.shard(key).0);
            assert_eq!(found, expected, "{hash} under {spread:?}");
        };
        check(1023, (1024, 2, 2), (1023, 1, 1));
        check(511, (1024, 2, 2), (511, 0, 1));
        check(512, (1024, 2, 2), (512, 1, 0));
        check(1024, (1024, 3, 4), (0, 0, 0));
        check(9, (10, 4, 3), (9, 3, 0));
        assert_eq!(
            KeyHash::of(b"").0,
            0x2d06_8005_38d3_94c2,
            "xxh3_64 with seed 0"
        );
        let spread = Spread {
            key_groups: 1024,
            workers: 2,
            shards: 3,
        };
        assert_eq!(spread.shard_of_partition(PartitionId(7)).0, 1);
        assert_eq!(PartitionId(7).worker(2), 1);
    }
}
