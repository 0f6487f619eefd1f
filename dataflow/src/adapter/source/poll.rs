//! What one poll of a reader brings.

use std::cell::RefCell;
use std::ops::ControlFlow;

use crate::adapter::source::BYTES_PER_POLL_MAX;
use crate::idleness::{Resting, Speaks};
use crate::ingest::{FloorEffect, Ingest};
use crate::place::{Offset, PartitionId};
use crate::source::{Payload, Polled};

/// What one poll has brought so far.
pub(super) struct Poll {
    effect: FloorEffect,
    pub(super) records: u64,
    pub(super) bytes: u64,
    /// Whose records come now.
    current: Option<PartitionId>,
    /// Whose records came.
    pub(super) spoke: Vec<PartitionId>,
    pub(super) woken: Vec<Speaks>,
    pub(super) silent: Vec<PartitionId>,
    pub(super) finished: Vec<PartitionId>,
}

impl Poll {
    pub(super) fn new(effect: FloorEffect) -> Self {
        Poll {
            effect,
            records: 0,
            bytes: 0,
            current: None,
            spoke: Vec::new(),
            woken: Vec::new(),
            silent: Vec::new(),
            finished: Vec::new(),
        }
    }

    /// A partition that was idle is raised before its first record is judged.
    fn turn_to<I: Ingest>(
        &mut self,
        ingest: &mut I,
        resting: &RefCell<&mut Resting>,
        partition: PartitionId,
        offset: Offset,
    ) {
        self.current = Some(partition);
        self.spoke.push(partition);
        let speaks = resting.borrow_mut().speaks(partition, offset);
        if let Some(speaks) = speaks {
            if let Some(raise) = &speaks.raise {
                ingest.raise(raise, self.effect);
            }
            self.woken.push(speaks);
        }
    }

    pub(super) fn take<I: Ingest>(
        &mut self,
        ingest: &mut I,
        resting: &RefCell<&mut Resting>,
        polled: Polled<'_>,
    ) -> ControlFlow<()> {
        match polled {
            Polled::Record {
                partition,
                offset,
                payload,
                origin,
            } => {
                if self.current != Some(partition) {
                    self.turn_to(ingest, resting, partition, offset);
                }
                self.records += 1;
                self.bytes += match payload {
                    Payload::Whole(bytes) | Payload::Malformed { bytes, .. } => bytes.len() as u64,
                    Payload::Oversize { head, .. } => head.len() as u64,
                };
                // They may travel with the record, and whoever writes it decides how long they are.
                let key = origin.key.map_or(0, <[u8]>::len);
                self.bytes += (key + origin.headers.bytes().len()) as u64;
                ingest.on_record(partition, offset, payload, origin);
            }
            Polled::Finished(partition) => self.finished.push(partition),
            Polled::Silent(partition) => self.silent.push(partition),
        }
        if self.bytes < BYTES_PER_POLL_MAX {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    }
}
