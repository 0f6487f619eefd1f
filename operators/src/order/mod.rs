//! The wait for the watermark: events of a worker's keys in event-time order.
//!
//! What a key's features see depends on the order in which its events are handled. In arrival order that is an
//! accident of polling, as soon as a key's events are in more than one partition. Here events wait until the
//! watermark has passed their order time, and are then handled by (order time, partition, offset). Up to the
//! watermark no event can be missing, so what comes out follows from the input alone: not from how
//! partitions were interleaved, from batches, or from the number of workers.
//!
//! Strictly below: an event at the watermark itself is still on time, so it waits.
//!
//! What waits is held in memory up to a bound and beyond it on disk, see [`waiting`]; it counts as
//! retired for the bound on events in flight, and as in flight again when it is given.

mod runs;
mod row;
mod spilled;
mod saved;
mod waiting;

use std::error::Error;

use slackwater_dataflow::adapter::{BYTES_PER_POLL_MAX, RECORDS_PER_POLL_MAX};
use slackwater_dataflow::flow::Ticket;
use slackwater_dataflow::moment::EventTime;
use slackwater_dataflow::operator::{Emitter, Operator};
use slackwater_dataflow::pace::WaitingRoom;
use slackwater_dataflow::place::Spread;
use slackwater_dataflow::snapshot::{Progress, SavedEntry, StateDelta, StrangeEntry};
use slackwater_dataflow::spill::Spill;

pub use self::saved::{PlainWaiting, read_plain};
pub use self::spilled::SpillError;

use self::saved::Restoring;
use self::waiting::Waiting;
use crate::batch::{Row, RowBatch, RowShape, Rows};
use crate::key::Route;

/// Events and bytes given at once: as many as a poll of a source brings, for the same reasons.
const PART: Part = Part {
    events: RECORDS_PER_POLL_MAX,
    bytes: BYTES_PER_POLL_MAX as usize,
};

/// How much is given at once; the bytes are passed by the last event.
#[derive(Clone, Copy, Debug)]
struct Part {
    events: usize,
    bytes: usize,
}

/// Keeps events until the watermark has passed them, and gives them in order.
pub struct EventTimeOrder {
    worker: usize,
    spread: Spread,
    /// By which key rows come to this worker, and so where checkpoints keep them.
    route: Route,
    room: WaitingRoom,
    waiting: Waiting,
    restoring: Restoring,
    part: Part,
    shape: RowShape,
    /// Of the batches that this turn took.
    taken: Vec<Ticket>,
}

impl EventTimeOrder {
    /// A stage of `worker` where nothing waits yet, for rows of this shape or with so many fields.
    pub fn new(
        worker: usize,
        spread: Spread,
        shape: impl Into<RowShape>,
        room: WaitingRoom,
        spill: Box<dyn Spill>,
    ) -> Self {
        let shape = shape.into();
        EventTimeOrder {
            worker,
            spread,
            route: Route::own(),
            restoring: Restoring::new(shape),
            waiting: Waiting::new(shape, room.memory_bytes_max(), spill),
            part: PART,
            shape,
            taken: Vec::new(),
            room,
        }
    }

    /// The same at the workers of another key than the job's.
    #[must_use]
    pub fn at(self, route: Route) -> Self {
        EventTimeOrder { route, ..self }
    }

    /// The same behind another stage that keeps events: batches come in order, of any partitions, and not each of one
    /// partition as sources send them.
    #[must_use]
    pub fn behind_another(self) -> Self {
        EventTimeOrder {
            waiting: self.waiting.of_any_partitions(),
            ..self
        }
    }

    fn tell(&mut self) {
        self.room.holds(self.waiting.events(), self.waiting.bytes());
    }
}

impl Operator for EventTimeOrder {
    type Input = RowBatch;
    type Output = RowBatch;
    type Reject = std::convert::Infallible;

    const KEEPS_STATE: bool = true;

    fn on_batch(&mut self, batch: RowBatch, out: &mut Emitter<RowBatch, Self::Reject>) {
        let kept = self.waiting.add(batch.rows, batch.ticket.read_at());
        if let Err(error) = kept {
            out.fail(error);
        }
        self.taken.push(batch.ticket);
        self.tell();
    }

    fn on_watermark(&mut self, watermark: EventTime) {
        self.waiting.on_watermark(watermark);
    }

    fn keeps_from(&self) -> Option<EventTime> {
        self.waiting.least()
    }

    fn is_due(&self) -> bool {
        self.waiting.is_due()
    }

    fn release(&mut self, out: &mut Emitter<RowBatch, Self::Reject>) {
        match self.waiting.take(self.part.events, self.part.bytes) {
            Ok((rows, read_at)) => {
                self.tell();
                let events = rows.rows().len() as u64;
                let ticket = self.room.admit(events, rows.memory_bytes() as u64, read_at);
                out.give(RowBatch {
                    worker: self.worker,
                    rows,
                    ticket,
                    turn: None,
                });
            }
            Err(error) => out.fail(error),
        }
    }

    fn on_turn_over(&mut self) {
        self.taken.clear();
    }

    fn will_be_saved(&mut self) {
        let (spread, mut route) = (self.spread, self.route.clone());
        // Whoever goes on from the checkpoint gets a row back where the same group sends those that follow it.
        let group = move |rows: &Rows, row: &Row| spread.group(route.hash(rows, row));
        self.waiting.will_be_saved(Box::new(group));
    }

    fn restore(&mut self, entry: SavedEntry<'_>) -> Result<(), StrangeEntry> {
        self.restoring.take(entry)
    }

    fn on_restored(&mut self) -> Result<(), Box<dyn Error + Send + Sync>> {
        let empty = Restoring::new(self.shape);
        self.waiting
            .restore(std::mem::replace(&mut self.restoring, empty))?;
        self.tell();
        Ok(())
    }

    fn on_epoch_closed(&mut self) {
        self.waiting.freeze();
    }

    fn snapshot(&mut self, delta: &mut StateDelta) -> Progress {
        self.waiting.snapshot(delta)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests;
