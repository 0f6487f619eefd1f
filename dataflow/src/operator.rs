//! What an operator is: a plain state machine, testable without timely.
//!
//! An [`Operator`] is told of batches and of the watermark and answers through an [`Emitter`]. It never
//! sees a capability, a frontier or a channel; the one adapter (`adapter`) connects it to timely.
//!
//! An operator may keep events for later, until the watermark has passed them. Then it says from which order
//! time on it keeps some, so that nothing behind it believes that this time has passed, and when it is
//! due to give some it is asked for them part by part, as long as the job has room for them.
//!
//! An operator may have state that checkpoints keep. Between two epochs it is told, and then asked part by part
//! for what changed; meanwhile it goes on with the next epoch. So what it writes must be what it was when the
//! epoch closed: what is about to change and was not written yet is written first.

use std::error::Error;

use crate::moment::{Epoch, EventTime};

use crate::snapshot::{Progress, SavedEntry, StateDelta, StrangeEntry};
use crate::turn::InTurn;

/// A state machine in the stream: takes batches, gives batches and rejects.
pub trait Operator: 'static {
    /// What it takes.
    type Input: 'static;
    /// What it gives.
    type Output: 'static;
    /// What it gives for events that it cannot handle; [`std::convert::Infallible`] if there are none.
    type Reject: 'static;

    /// Whether it has state that checkpoints keep. Such an operator sees no event of an epoch before the epoch
    /// before has closed for it.
    const KEEPS_STATE: bool = false;

    /// Handles one batch. Everything made of it goes out under the batch's own moment.
    fn on_batch(&mut self, batch: Self::Input, out: &mut Emitter<Self::Output, Self::Reject>);

    /// Told when the watermark has risen: no on-time event older than this will come. All batches that came
    /// before were handled.
    fn on_watermark(&mut self, _watermark: EventTime) {}

    /// The least order time of the events that it keeps for later; none if it keeps none. Whatever it keeps
    /// came in a batch whose moment is not later.
    fn keeps_from(&self) -> Option<EventTime> {
        None
    }

    /// Whether some of the events that it keeps can be given now.
    fn is_due(&self) -> bool {
        false
    }

    /// Gives a part of what is due, a batch at most, the least order times first.
    fn release(&mut self, _out: &mut Emitter<Self::Output, Self::Reject>) {}

    /// Told when its turn is over. Until then an operator that keeps events holds the tickets of the batches that it
    /// took: a turn takes what comes as long as something comes, and nothing else bounds what comes meanwhile.
    fn on_turn_over(&mut self) {}

    /// Told before anything else that checkpoints will keep its state. What they keep has to be known from then on.
    fn will_be_saved(&mut self) {}

    /// Told that all events of an epoch were handled and none of a later one: its state as it is now belongs to
    /// the epoch's checkpoint. Told only in jobs with checkpoints, and only when the snapshot before has ended.
    /// Has to be quick, however large the state is.
    fn on_epoch_closed(&mut self) {}

    /// Writes a part of what changed between the last two closed epochs into `delta`, a millisecond's work at
    /// most; whether that was all.
    fn snapshot(&mut self, _delta: &mut StateDelta) -> Progress {
        Progress::Done
    }

    /// Takes an entry of a checkpoint, before the first batch.
    fn restore(&mut self, entry: SavedEntry<'_>) -> Result<(), StrangeEntry> {
        Err(entry.is_strange())
    }

    /// Told that it was given all entries that there were. From then on it may keep events, of any order time.
    ///
    /// # Errors
    /// They cannot be kept.
    fn on_restored(&mut self) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(())
    }
}

/// A state machine in the stream that has to wait, for each batch, for something outside: a store that was asked. Meanwhile it
/// takes the next ones. It gives them in the order in which they came, each whole, so no key's events change their order;
/// and an epoch does not end before all that came of it was given.
pub trait WaitingOperator: 'static {
    /// What it takes.
    type Input: 'static;
    /// What it gives.
    type Output: 'static;
    /// What it gives for events that it cannot handle.
    type Reject: 'static;

    /// Takes a batch, behind all that wait.
    fn on_batch(&mut self, batch: Self::Input);

    /// Looks at what has come from outside. Called after batches, and when it was woken.
    fn on_wake(&mut self);

    /// Gives the first of the batches that wait, if nothing is missing for it; whether it did.
    fn finish(&mut self, out: &mut Emitter<Self::Output, Self::Reject>) -> bool;
}

/// Makes one batch of the parts in which a turn of a partition has come. It is asked turn after turn of each partition, and
/// keeps nothing; what waits until a turn is whole waits in the adapter, and no epoch ends before.
pub trait Gather: 'static {
    /// A part, which names its worker and its turn.
    type Part: Routed + InTurn + Send + 'static;
    /// What comes of all parts of a turn.
    type Whole: 'static;

    /// Makes one of all parts of a turn, which come in no order: one and the others.
    fn gather(&mut self, one: Self::Part, others: Vec<Self::Part>) -> Self::Whole;
}

/// Takes what an operator gives.
#[derive(Debug)]
pub struct Emitter<O, R> {
    /// The epoch that what is given belongs to.
    pub(crate) epoch: Epoch,
    /// Outputs, in order.
    pub(crate) outputs: Vec<O>,
    /// Rejects, in order.
    pub(crate) rejects: Vec<R>,
    /// Why the operator cannot go on.
    pub(crate) failure: Option<Box<dyn Error + Send + Sync>>,
}

impl<O, R> Default for Emitter<O, R> {
    fn default() -> Self {
        Emitter {
            epoch: Epoch::default(),
            outputs: Vec::new(),
            rejects: Vec::new(),
            failure: None,
        }
    }
}

impl<O, R> Emitter<O, R> {
    /// The epoch that a batch belongs to, and so what is given for it; 0 in a job without checkpoints.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// One for batches of an epoch; for tests that drive an operator by hand.
    pub fn of(epoch: Epoch) -> Self {
        Emitter {
            epoch,
            ..Emitter::default()
        }
    }

    /// Gives an output.
    pub fn give(&mut self, output: O) {
        self.outputs.push(output);
    }

    /// Gives a reject.
    pub fn reject(&mut self, reject: R) {
        self.rejects.push(reject);
    }

    /// Says that the operator cannot go on, which ends the run: nothing that it was given may be lost.
    pub fn fail(&mut self, error: impl Into<Box<dyn Error + Send + Sync>>) {
        self.failure.get_or_insert(error.into());
    }

    /// Whether it was said that the operator cannot go on.
    pub fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    /// Takes the failure, if there is one; for tests that drive an operator by hand.
    pub fn take_failure(&mut self) -> Option<Box<dyn Error + Send + Sync>> {
        self.failure.take()
    }

    /// Takes all outputs given so far; for tests that drive an operator by hand.
    pub fn take_outputs(&mut self) -> Vec<O> {
        std::mem::take(&mut self.outputs)
    }

    /// Takes all rejects given so far; for tests that drive an operator by hand.
    pub fn take_rejects(&mut self) -> Vec<R> {
        std::mem::take(&mut self.rejects)
    }
}

/// A message that belongs to one worker, decided by its sender: all its keys live there.
pub trait Routed {
    /// Index of that worker.
    fn worker(&self) -> usize;
}
