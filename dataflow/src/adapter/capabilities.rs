//! What a source holds: a moment per partition, and one at the end of event time.

use std::collections::BTreeMap;

use timely::dataflow::operators::Capability;
use timely::progress::Timestamp;

use crate::adapter::held::Held;
use crate::moment::{Epoch, EventTime, Moment};
use crate::place::PartitionId;

/// One moment per partition that is being read, and one at the end of event time that holds the graph
/// open until everything read has left it.
pub(super) struct Capabilities {
    pub(super) active: BTreeMap<PartitionId, Held>,
    end: Held,
}

impl Capabilities {
    pub(super) fn new(
        initial: Vec<Capability<Moment>>,
        partitions: impl IntoIterator<Item = PartitionId>,
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
            end,
        }
    }

    /// Moves everything into an epoch that is not earlier.
    pub(super) fn enter(&mut self, epoch: Epoch) {
        for held in self.active.values_mut() {
            held.enter(epoch);
        }
        self.end.enter(epoch);
    }

    pub(super) fn all_finished(&self) -> bool {
        self.active.is_empty()
    }

    /// Of the partitions that are being read.
    pub(super) fn watermarks(&self) -> impl Iterator<Item = EventTime> {
        self.active
            .values()
            .map(|held| held.outputs.time().watermark)
    }

    pub(super) fn first(&self) -> Option<PartitionId> {
        self.active.first_key_value().map(|(&first, _)| first)
    }
}
