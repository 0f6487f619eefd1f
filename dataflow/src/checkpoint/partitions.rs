//! What the next manifest says of each partition: where it goes on, whether it is idle, what it was raised to.
//!
//! Commands count from the moment they are issued, whichever manifest is the next: a stage may act on the watermark
//! that they let rise while the epoch of that manifest is still open.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::checkpoint::manifest::PartitionPosition;
use crate::control::{PartitionCut, SourceCut};
use crate::faults::{self, Defect};
use crate::idleness::{Idle, Raise, RaisedFrom};
use crate::moment::EventTime;
use crate::place::{Offset, PartitionId};
use crate::source::Partition;

/// Raises that a manifest holds: a record of the log stays below a megabyte with them.
const RAISED_MAX: usize = 4_096;

/// All partitions of a job.
#[derive(Debug, Default)]
pub(super) struct Partitions {
    topics: BTreeMap<PartitionId, Arc<str>>,
    cuts: BTreeMap<PartitionId, PartitionCut>,
    /// The last command that a partition is idle.
    idle: BTreeMap<PartitionId, Offset>,
    /// In the order of offsets.
    raised: BTreeMap<PartitionId, Vec<RaisedFrom>>,
}

impl Partitions {
    /// Those of a job at its very beginning.
    pub(super) fn new(partitions: Vec<Partition>) -> Self {
        let mut this = Partitions::default();
        for partition in partitions {
            this.begin(&partition);
        }
        this
    }

    /// Those of a job that goes on from a manifest, which says this of them and has that floor. Others were found
    /// since.
    pub(super) fn resume(&mut self, positions: Vec<PartitionPosition>, floor: Option<EventTime>) {
        let known: BTreeSet<PartitionId> = positions.iter().map(|it| it.id).collect();
        let all: Vec<_> = self.cuts.keys().copied().collect();
        for found in all.into_iter().filter(|id| !known.contains(id)) {
            self.raise_found(found, floor);
        }
        for position in positions {
            self.cuts.insert(position.id, position.cut());
            if position.idle {
                self.idle.insert(position.id, position.position);
            }
            self.raised.insert(position.id, position.raised);
            let topic = || position.topic.into();
            self.topics.entry(position.id).or_insert_with(topic);
        }
    }

    fn begin(&mut self, partition: &Partition) {
        let id = partition.id;
        self.topics.insert(id, Arc::clone(&partition.topic));
        let cut = PartitionCut {
            partition: id,
            position: partition.begins,
            mark: None,
            highest: None,
            finished: false,
        };
        self.cuts.insert(id, cut);
    }

    /// Partitions are idle from an epoch on that is about to start, unless they have moved by then.
    pub(super) fn idle(&mut self, commands: &[Idle]) {
        let commands = commands.iter().map(|it| (it.partition, it.position));
        self.idle.extend(commands);
    }

    /// These are new in an epoch that is about to start with this floor.
    pub(super) fn found(&mut self, partitions: &[Partition], floor: Option<EventTime>) {
        for found in partitions {
            self.begin(found);
            self.raise_found(found.id, floor);
        }
    }

    fn raise_found(&mut self, partition: PartitionId, floor: Option<EventTime>) {
        if let Some(floor) = floor {
            self.raise(Raise {
                partition,
                from: RaisedFrom {
                    offset: self
                        .cuts
                        .get(&partition)
                        .map_or_else(Offset::default, |cut| cut.position),
                    floor,
                    found: true,
                },
            });
        }
    }

    fn raise(&mut self, raise: Raise) {
        let raised = self.raised.entry(raise.partition).or_default();
        // It was idle once more before it brought anything.
        raised.pop_if(|last| last.offset == raise.from.offset);
        raised.push(raise.from);
        let held: usize = self.raised.values().map(Vec::len).sum();
        let most = self.raised.values_mut().max_by_key(|it| it.len());
        if let Some(most) = most.filter(|most| held > RAISED_MAX && most.len() > 1) {
            most.remove(0);
        }
    }

    /// How a source has ended an epoch.
    pub(super) fn take_in(&mut self, cut: SourceCut) {
        for cut in cut.partitions {
            self.cuts.insert(cut.partition, cut);
        }
        for raise in cut.raised {
            self.raise(raise);
        }
        for (partition, offset) in cut.passed {
            if let Some(raised) = self.raised.get_mut(&partition) {
                raised.retain(|raise| raise.offset != offset);
            }
        }
    }

    /// Where each goes on.
    pub(super) fn cuts(&self) -> Vec<PartitionCut> {
        self.cuts.values().copied().collect()
    }

    /// Which are idle where they go on.
    pub(super) fn idle_now(&self) -> Vec<PartitionId> {
        let idle = self.cuts.values().filter(|cut| self.is_idle(cut));
        idle.map(|cut| cut.partition).collect()
    }

    /// A command that names another place was void, or is over, or came after all that a manifest could hold now.
    fn is_idle(&self, cut: &PartitionCut) -> bool {
        !cut.finished && self.idle.get(&cut.partition) == Some(&cut.position)
    }

    /// What each was raised to last.
    pub(super) fn last_raised(&self) -> Vec<Raise> {
        if faults::is_on(Defect::IdleUnrecorded) {
            return Vec::new();
        }
        let last = self.raised.iter().filter_map(|(&partition, raised)| {
            let &from = raised.last()?;
            Some(Raise { partition, from })
        });
        last.collect()
    }

    /// What a manifest says of them.
    pub(super) fn positions(&self) -> Vec<PartitionPosition> {
        let position = |cut: &PartitionCut| {
            let topic = self.topics.get(&cut.partition);
            let raised = self.raised.get(&cut.partition);
            PartitionPosition {
                id: cut.partition,
                topic: topic.map_or_else(String::new, |it| it.to_string()),
                position: cut.position,
                mark: cut.mark,
                highest: cut.highest,
                finished: cut.finished,
                idle: self.is_idle(cut),
                raised: raised.cloned().unwrap_or_default(),
            }
        };
        self.cuts.values().map(position).collect()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;
