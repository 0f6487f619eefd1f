//! Which epochs have closed, as a stage reads it from its input frontier.

use std::sync::Arc;

use crate::control::{Epochs, Part};
use crate::moment::{self, Epoch, EventTime, Moment};

/// A stage's view of the epochs of a run with checkpoints.
pub(super) struct StageEpochs {
    epochs: Arc<Epochs>,
    worker: usize,
    /// The least that is open.
    open: Epoch,
}

impl StageEpochs {
    /// Of a stage of `worker` that has seen nothing yet.
    pub(super) fn new(epochs: &Arc<Epochs>, worker: usize) -> Self {
        StageEpochs {
            open: epochs.beginning.epoch,
            epochs: Arc::clone(epochs),
            worker,
        }
    }

    /// The least epoch that is open for this stage.
    pub(super) fn open(&self) -> Epoch {
        self.open
    }

    /// Closes the next epoch if the frontier has left it. An empty frontier has left all there are.
    pub(super) fn close_next(&mut self, frontier: &[Moment]) -> Option<Epoch> {
        let closed = self.open;
        let has_closed = match moment::open_epoch(frontier) {
            Some(open) => closed < open,
            None => closed <= self.epochs.last(),
        };
        has_closed.then(|| {
            self.open = Epoch(closed.0 + 1);
            closed
        })
    }

    /// Notes a watermark before the stage acts on it.
    pub(super) fn act_on(&self, watermark: EventTime) {
        self.epochs.act_on(watermark);
    }

    pub(super) fn hand_over(&self, part: Part) {
        self.epochs.hand_over(self.worker, part);
    }
}
