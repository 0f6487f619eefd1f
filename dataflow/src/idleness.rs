//! Which partitions hold event time, and what those are raised to that come back: plain state.
//!
//! A partition that falls silent holds all others, since it could still bring what is old. So it may be declared
//! *idle*: then it holds nothing, and whatever it brings later is taken to be no older than the *floor*, which the
//! partitions that are active have reached. Which events are late then depends on when that was, and so it is
//! written down as a [`Raise`].
//!
//! - [`Silences`]: what sources say about silent partitions, for who decides that they are idle.
//! - [`Floors`]: how far all active partitions have come.
//! - [`Resting`]: what one source knows of its own partitions that are silent or idle.

mod floors;
mod resting;

pub(crate) use floors::Floors;
pub(crate) use resting::{Resting, Speaks};

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::moment::EventTime;
use crate::place::{Offset, PartitionId};

/// The command that a partition is idle. It is void if the partition has moved by then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Idle {
    /// The partition.
    pub partition: PartitionId,
    /// Offset of the next record to read, where it was silent.
    pub position: Offset,
}

/// From some record on no event of a partition that is older than a floor is on time, though the partition's own
/// watermark may be behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RaisedFrom {
    /// From which record on.
    pub offset: Offset,
    /// The floor.
    pub floor: EventTime,
    /// Whether the partition was found while the job ran; else it had been idle.
    pub found: bool,
}

/// A partition was raised to a floor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raise {
    /// The partition.
    pub partition: PartitionId,
    /// From where, and to what.
    pub from: RaisedFrom,
}

/// Partitions of all workers that are silent now, with their positions. Sources tell, seldom; who decides asks.
#[derive(Debug, Default)]
pub(crate) struct Silences(Mutex<BTreeMap<usize, BTreeMap<PartitionId, Offset>>>);

impl Silences {
    /// What is silent of a worker's partitions.
    pub(crate) fn tell(&self, worker: usize, silent: &BTreeMap<PartitionId, Offset>) {
        self.lock().insert(worker, silent.clone());
    }

    /// What is silent of all.
    pub(crate) fn all(&self) -> Vec<Idle> {
        let told = self.lock();
        let silent = told.values().flatten();
        let idle = silent.map(|(&partition, &position)| Idle {
            partition,
            position,
        });
        idle.collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<usize, BTreeMap<PartitionId, Offset>>> {
        // Each change is one step, so a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;
