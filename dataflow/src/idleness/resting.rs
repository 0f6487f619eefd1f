//! What one source knows of its own partitions that are silent or idle.

use std::collections::{BTreeMap, BTreeSet};

use crate::idleness::{Idle, Raise, RaisedFrom};
use crate::moment::EventTime;
use crate::place::{Offset, PartitionId};

/// A partition that was idle has brought a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Speaks {
    pub(crate) partition: PartitionId,
    /// No capability of it was ever above this, and none is to be below.
    pub(crate) stood: EventTime,
    /// What it is raised to; none while there is no floor.
    pub(crate) raise: Option<Raise>,
}

/// Silent and idle partitions of one source, and the floor that it was told last.
#[derive(Debug, Default)]
pub(crate) struct Resting {
    floor: Option<EventTime>,
    /// Active partitions that have said to be silent, and have neither spoken nor been held back since.
    silent: BTreeMap<PartitionId, Offset>,
    /// Idle partitions, and where the capability of each stood.
    idle: BTreeMap<PartitionId, EventTime>,
    /// Raises of this epoch that no cut has told yet.
    raised: Vec<Raise>,
    /// Where partitions begin that were found, until they have brought something.
    found: BTreeMap<PartitionId, Offset>,
    /// Raises of this run, by which it is known whether they had an effect.
    fresh: BTreeSet<(PartitionId, Offset)>,
    /// Whether what is silent has changed since somebody asked.
    is_news: bool,
}

impl Resting {
    /// Goes on with what a checkpoint says of a partition: it is idle.
    pub(crate) fn resume(&mut self, partition: PartitionId, stood: EventTime) {
        self.idle.insert(partition, stood);
    }

    /// The highest floor issued; it never falls.
    pub(crate) fn rise(&mut self, floor: Option<EventTime>) {
        self.floor = self.floor.max(floor);
    }

    pub(crate) fn is_idle(&self, partition: PartitionId) -> bool {
        self.idle.contains_key(&partition)
    }

    pub(crate) fn idle(&self) -> impl Iterator<Item = PartitionId> {
        self.idle.keys().copied()
    }

    /// An active partition is silent at this place.
    pub(crate) fn fell_silent(&mut self, partition: PartitionId, position: Offset) {
        if !self.is_idle(partition) && self.silent.insert(partition, position) != Some(position) {
            self.is_news = true;
        }
    }

    /// A partition brings a record. What it was raised to if it was idle; none for others, which is nearly always.
    pub(crate) fn speaks(&mut self, partition: PartitionId, offset: Offset) -> Option<Speaks> {
        if self.silent.is_empty() && self.idle.is_empty() {
            return None;
        }
        self.is_news |= self.silent.remove(&partition).is_some();
        let stood = self.idle.remove(&partition)?;
        // One that was idle before it brought anything is still one that was found.
        let found = self.found.get(&partition) == Some(&offset);
        let raise = self.raise(partition, offset, found);
        self.raised.extend(raise);
        Some(Speaks {
            partition,
            stood,
            raise,
        })
    }

    /// A partition that was found begins: raised to the floor, if there is one.
    pub(crate) fn finds(&mut self, partition: PartitionId, offset: Offset) -> Option<Raise> {
        self.found.insert(partition, offset);
        self.raise(partition, offset, true)
    }

    /// A raise to the floor, if there is one.
    fn raise(&mut self, partition: PartitionId, offset: Offset, found: bool) -> Option<Raise> {
        let floor = self.floor?;
        self.fresh.insert((partition, offset));
        let from = RaisedFrom {
            offset,
            floor,
            found,
        };
        Some(Raise { partition, from })
    }

    /// Silent partitions that may not be read now are held back by us, which is not silence.
    pub(crate) fn held_back(&mut self, may_read: impl Fn(PartitionId) -> bool) {
        let before = self.silent.len();
        self.silent.retain(|&partition, _| may_read(partition));
        self.is_news |= before != self.silent.len();
    }

    /// The command that a partition is idle, whose capability stands there. Whether it is now, or the command was
    /// void.
    pub(crate) fn obey(&mut self, command: Idle, stood: EventTime) -> bool {
        let Idle {
            partition,
            position,
        } = command;
        if self.silent.get(&partition) != Some(&position) {
            return false;
        }
        self.silent.remove(&partition);
        self.is_news = true;
        self.idle.insert(partition, stood);
        true
    }

    /// A raise of an earlier run that no record has come of yet: what effect it has is seen here.
    pub(crate) fn knows(&mut self, raise: &Raise) {
        self.fresh.insert((raise.partition, raise.from.offset));
        if raise.from.found {
            self.found.insert(raise.partition, raise.from.offset);
        }
    }

    /// A partition has ended; whether it was idle.
    pub(crate) fn end(&mut self, partition: PartitionId) -> bool {
        self.is_news |= self.silent.remove(&partition).is_some();
        self.idle.remove(&partition).is_some()
    }

    /// Raises since the last cut.
    pub(crate) fn take_raised(&mut self) -> Vec<Raise> {
        std::mem::take(&mut self.raised)
    }

    /// Of raises that are over and had no effect, those of which that is known.
    pub(crate) fn settled(
        &mut self,
        passed: Vec<(PartitionId, Offset)>,
    ) -> Vec<(PartitionId, Offset)> {
        let known = passed.into_iter().filter(|raise| self.fresh.remove(raise));
        known.collect()
    }

    /// What is silent, if that has changed since it was asked for last.
    pub(crate) fn news(&mut self) -> Option<&BTreeMap<PartitionId, Offset>> {
        std::mem::take(&mut self.is_news).then_some(&self.silent)
    }
}
