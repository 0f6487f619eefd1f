//! Capabilities that outlive the call in which they came: what allows an operator to send later.

use timely::dataflow::operators::{Capability, InputCapability};

use crate::moment::{Epoch, EventTime, Moment};

/// As far as the watermark of what is still to come can rise: [`EventTime::MAX`] says that the input has
/// ended, and an event can bear any time, also the last one there is.
const LAST_OF_READING: EventTime = EventTime(i64::MAX - 1);

/// A moment for each of the two outputs of an operator.
#[derive(Clone)]
pub(super) struct Held {
    pub(super) outputs: Capability<Moment>,
    pub(super) rejects: Capability<Moment>,
}

impl Held {
    /// Holds what an operator of two outputs may send from the beginning on.
    pub(super) fn initial(capabilities: Vec<Capability<Moment>>) -> Option<Self> {
        let [outputs, rejects] = <[_; 2]>::try_from(capabilities).ok()?;
        Some(Held { outputs, rejects })
    }

    /// Holds the moment of a message; none if it has none, which no message of ours is without.
    pub(super) fn of_message(message: &InputCapability<Moment>) -> Option<Self> {
        debug_assert_eq!(message.stamp().len(), 1, "one moment a message");
        let moment = message.stamp().iter().next()?;
        Some(Held {
            outputs: message.delayed(moment, 0),
            rejects: message.delayed(moment, 1),
        })
    }

    /// Holds what lets events of the order time `from` be sent later. They came in a message of this
    /// capability, so their order times are not below its moment.
    fn from(&self, from: EventTime) -> Self {
        let stamp = self.outputs.time();
        debug_assert!(from >= stamp.watermark, "{from} came under {stamp:?}");
        let mut held = self.clone();
        held.lift(from);
        held
    }

    pub(super) fn moment(&self) -> Moment {
        *self.outputs.time()
    }

    pub(super) fn epoch(&self) -> Epoch {
        self.outputs.time().epoch
    }

    pub(super) fn watermark(&self) -> EventTime {
        self.outputs.time().watermark
    }

    /// Moves both into an epoch that is not earlier.
    pub(super) fn enter(&mut self, epoch: Epoch) {
        let moment = Moment::new(epoch, self.watermark());
        self.outputs.downgrade(&moment);
        self.rejects.downgrade(&moment);
    }

    /// Lifts both to a watermark of input that goes on; whether they have risen.
    pub(super) fn lift(&mut self, watermark: EventTime) -> bool {
        self.lift_to(watermark.min(LAST_OF_READING))
    }

    /// Lifts both; they never fall. Whether they have risen.
    pub(super) fn lift_to(&mut self, watermark: EventTime) -> bool {
        let rises = self.watermark() < watermark;
        if rises {
            let moment = Moment::new(self.outputs.time().epoch, watermark);
            self.outputs.downgrade(&moment);
            self.rejects.downgrade(&moment);
        }
        rises
    }
}

/// What an operator holds for the events that it keeps.
#[derive(Default)]
pub(super) struct Keeping(Option<Held>);

impl Keeping {
    /// Some are kept already, and this is held for them.
    pub(super) fn of(held: Held) -> Self {
        Keeping(Some(held))
    }

    /// After a message: the operator now keeps events from the order time `from` on.
    pub(super) fn took(&mut self, message: &Held, from: Option<EventTime>) {
        let Some(from) = from else { return };
        let is_held = |held: &Held| held.watermark() <= from;
        if !self.0.as_ref().is_some_and(is_held) {
            self.0 = Some(message.from(from));
        }
    }

    /// What is kept can from now on only be given in this epoch.
    pub(super) fn enter(&mut self, epoch: Epoch) {
        if let Some(held) = &mut self.0 {
            held.enter(epoch);
        }
    }

    /// After a release: what is left begins at `from`, later than before.
    pub(super) fn released(&mut self, from: Option<EventTime>) {
        match (from, &mut self.0) {
            (Some(from), Some(held)) => {
                held.lift(from);
            }
            _ => self.0 = None,
        }
    }

    /// What to send kept events under; none if none are kept.
    pub(super) fn held(&self) -> Option<&Held> {
        self.0.as_ref()
    }
}
