//! Capabilities that outlive the call in which they came: what allows an operator to send later.

use timely::dataflow::operators::{Capability, InputCapability};

use crate::moment::{EventTime, Moment};

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
    /// Holds what lets events of the order time `from` be sent later. They came in a message of this
    /// capability, so their order times are not below its moment.
    pub(super) fn of_message(message: &InputCapability<Moment>, from: EventTime) -> Option<Self> {
        let stamp = message.stamp().iter().next()?;
        debug_assert!(from >= stamp.watermark, "{from} came under {stamp:?}");
        let watermark = from.min(LAST_OF_READING).max(stamp.watermark);
        let moment = Moment::new(stamp.epoch, watermark);
        Some(Held {
            outputs: message.delayed(&moment, 0),
            rejects: message.delayed(&moment, 1),
        })
    }

    pub(super) fn watermark(&self) -> EventTime {
        self.outputs.time().watermark
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
    /// After a message: the operator now keeps events from the order time `from` on.
    pub(super) fn took(&mut self, message: &InputCapability<Moment>, from: Option<EventTime>) {
        let Some(from) = from else { return };
        let is_held = |held: &Held| held.watermark() <= from;
        if !self.0.as_ref().is_some_and(is_held) {
            self.0 = Held::of_message(message, from);
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
