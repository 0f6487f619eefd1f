//! What stands between a source's bytes and the first batch: also a plain state machine.

use crate::flow::Ticket;
use crate::idleness::Raise;
use crate::moment::EventTime;
use crate::operator::Routed;
use crate::place::{Offset, PartitionId};
use crate::source::{Origin, Payload};

/// Turns records into batches, on the worker that reads them.
///
/// The adapter calls [`Self::on_record`] for each record of a poll, then [`Self::seal`] once. It sends
/// what was sealed under its partition's capability, and only then lifts that capability to
/// [`Self::watermark`]. So a message is never stamped later than its oldest on-time event.
pub trait Ingest: 'static {
    /// A batch: events of one partition for one worker.
    type Batch: Routed + 'static;
    /// An event that goes no further.
    type Reject: 'static;

    /// Takes one record.
    fn on_record(
        &mut self,
        partition: PartitionId,
        offset: Offset,
        payload: Payload<'_>,
        origin: Origin<'_>,
    );

    /// Ends the poll: everything taken since the last call comes out, with a clone of `ticket` each.
    fn seal(&mut self, ticket: &Ticket, out: &mut Sealed<Self::Batch, Self::Reject>);

    /// The watermark of a partition: no on-time event of it is older than this.
    fn watermark(&self, partition: PartitionId) -> EventTime;

    /// The highest event time that a partition has brought, from which its watermark follows; none if it has
    /// brought no event that counts.
    fn highest(&self, partition: PartitionId) -> Option<EventTime>;

    /// Goes on where a checkpoint has left a partition, before its first record.
    fn resume(&mut self, partition: PartitionId, highest: EventTime);

    /// From its next record on, which has the raise's offset or a higher one, a partition has an effect of the floor
    /// that it is raised to: it had been idle, or was found while the job ran. A second raise replaces the first, and is
    /// never below it.
    fn raise(&mut self, raise: &Raise, effect: FloorEffect);

    /// Raises that are over and have changed nothing: no event lay below the floor, and the partition's own watermark
    /// has reached it. Each is given once; which had an effect is known only of raises since the run began. An ingest
    /// that cannot tell gives none, and all are kept on record.
    fn passed(&mut self) -> Vec<(PartitionId, Offset)> {
        Vec::new()
    }
}

/// What a floor does to events of a partition that was raised to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FloorEffect {
    /// Those below it are late: its watermark counts as no less than the floor.
    Judges,
    /// They are handled as if they had happened at the floor; what is late is up to the partition's own watermark.
    Orders,
}

/// What one poll came to, each with the partition under whose capability it travels.
#[derive(Debug)]
pub struct Sealed<B, R> {
    /// Batches, in order.
    pub batches: Vec<(PartitionId, B)>,
    /// Rejects, in order.
    pub rejects: Vec<(PartitionId, R)>,
    /// Events that go nowhere, on purpose: late ones of a job that drops them.
    pub dropped: u64,
    /// Events that go nowhere because the job does not want them, whatever their time.
    pub filtered: u64,
}

impl<B, R> Default for Sealed<B, R> {
    fn default() -> Self {
        Sealed {
            batches: Vec::new(),
            rejects: Vec::new(),
            dropped: 0,
            filtered: 0,
        }
    }
}
