//! What a source holds: a moment per partition that is active, one at the floor for those that are not or that are yet to
//! be found, and one at the end of event time.

use std::collections::BTreeMap;

use timely::dataflow::operators::Capability;
use timely::progress::Timestamp;

use crate::adapter::held::Held;
use crate::moment::{Epoch, EventTime, Moment};
use crate::place::PartitionId;

/// One moment per partition that is active, and one at the end of event time that holds the graph
/// open until everything read has left it.
pub(super) struct Capabilities {
    pub(super) active: BTreeMap<PartitionId, Held>,
    /// What partitions that wake or are found begin from. None where there will be none.
    reserve: Option<Held>,
    end: Held,
}

impl Capabilities {
    pub(super) fn new(
        initial: Vec<Capability<Moment>>,
        partitions: impl IntoIterator<Item = PartitionId>,
        has_reserve: bool,
    ) -> Self {
        #[expect(
            clippy::unreachable,
            reason = "the builder hands out one capability per output"
        )]
        let [batches, rejects] = initial.as_slice() else {
            unreachable!("the source has two outputs");
        };
        let held = || Held {
            outputs: batches.clone(),
            rejects: rejects.clone(),
        };
        let mut end = held();
        end.lift_to(EventTime::MAX);
        debug_assert_eq!(batches.time(), &Moment::minimum());
        Capabilities {
            active: partitions.into_iter().map(|it| (it, held())).collect(),
            reserve: has_reserve.then(held),
            end,
        }
    }

    /// Moves everything into an epoch that is not earlier.
    pub(super) fn enter(&mut self, epoch: Epoch) {
        for held in self.active.values_mut() {
            held.enter(epoch);
        }
        if let Some(reserve) = &mut self.reserve {
            reserve.enter(epoch);
        }
        self.end.enter(epoch);
    }

    /// A new floor.
    pub(super) fn rise(&mut self, floor: Option<EventTime>) {
        if let (Some(reserve), Some(floor)) = (&mut self.reserve, floor) {
            reserve.lift(floor);
        }
    }

    /// For a defect: the reserve goes with the partitions that are active.
    pub(super) fn rise_too_far(&mut self) {
        let least = self.watermarks().min();
        self.rise(least);
    }

    /// A partition becomes active, at the floor and not below where it `stood`. Whether it could: only where
    /// there is a reserve.
    pub(super) fn begin(&mut self, partition: PartitionId, stood: EventTime) -> bool {
        let Some(mut held) = self.reserve.clone() else {
            return false;
        };
        held.lift(stood);
        self.active.insert(partition, held);
        true
    }

    /// Nothing begins any more.
    pub(super) fn give_up_reserve(&mut self) {
        self.reserve = None;
    }

    /// Of the partitions that are active.
    pub(super) fn watermarks(&self) -> impl Iterator<Item = EventTime> {
        self.active
            .values()
            .map(|held| held.outputs.time().watermark)
    }

    /// Lifts an active partition to where it stood in an earlier run.
    pub(super) fn lift(&mut self, partition: PartitionId, stood: EventTime) {
        if let Some(held) = self.active.get_mut(&partition) {
            held.lift(stood);
        }
    }
}
