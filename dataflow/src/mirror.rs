//! The seam between the engine and a store in which others read a copy of keyed state.
//!
//! A mirror follows the checkpoints: what it holds is the state of one of them, which is durable. It never leads, so whatever
//! becomes of a run, the mirror has nothing that the job does not know. It may be behind: nobody waits for it.
//!
//! [`CatchUp`] is what is to be done to bring it to a checkpoint.

use crate::identity::{CheckpointId, Generation};
use crate::moment::Epoch;

/// A checkpoint, as a mirror remembers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// Its epoch.
    pub epoch: Epoch,
    /// Its id: numbers of epochs may be used again after an older checkpoint was restored, ids are not.
    pub checkpoint: CheckpointId,
}

impl Point {
    /// What a mirror is at that has something, and of which it is not known what: of that nothing must be left over.
    pub const NOWHERE: Point = Point {
        epoch: Epoch(0),
        checkpoint: CheckpointId(0),
    };
}

/// A key whose state has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The key, as it is in checkpoints.
    pub key: Vec<u8>,
    /// Its state, as it is there; none if there is no more.
    pub value: Option<Vec<u8>>,
}

/// A copy of state that others read. Used by one thread.
pub trait Mirror: Send {
    /// The stage whose state it is.
    fn stage(&self) -> &str;

    /// Keeps every older generation from writing from now on, and says at which checkpoint the copy is; none if there is
    /// nothing of the job. It is [nowhere](Point::NOWHERE) if it has another form now, or was taken from a newer
    /// generation, which `from_anybody` allows.
    ///
    /// # Errors
    /// A newer generation writes it, or it is not to be had.
    fn take_over(
        &mut self,
        generation: Generation,
        from_anybody: bool,
    ) -> Result<Option<Point>, MirrorError>;

    /// From now on all that is put is remembered, until [`Self::sweep`].
    fn begin_whole(&mut self);

    /// Puts changes, each in place of all that there was of its key; with them, if `reaches` says so, the copy is at that
    /// checkpoint. Who puts the same once more does no harm.
    ///
    /// # Errors
    /// Some may be there, and some not.
    fn put(&mut self, changes: &[Change], reaches: Option<Point>) -> Result<(), MirrorError>;

    /// Removes some of what was not put since [`Self::begin_whole`]; whether there may be more.
    ///
    /// # Errors
    /// Some may be gone, and some not.
    fn sweep(&mut self) -> Result<bool, MirrorError>;
}

/// A copy could not be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MirrorError {
    /// A newer run writes it.
    #[error(
        "another run writes it, of generation {0}, which the checkpoint store does not know: do two jobs of the same name, with \
         stores of their own, share it? The one that was started last has it"
    )]
    Replaced(Generation),
    /// It is not at the checkpoint at which it was left: it has lost what it had acknowledged, or somebody else has written.
    #[error("it is not as it was left")]
    Moved,
    /// It can't be kept there at all, and why.
    #[error("{0}")]
    Unfit(String),
    /// It does not answer, or refuses.
    #[error("{0}")]
    Unavailable(String),
}

/// What brings a mirror to a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CatchUp {
    /// It is there.
    Nothing,
    /// All that has changed since this epoch.
    Changes(Epoch),
    /// Everything; and what it has besides is to go, if it is of a history that is not this one.
    Whole {
        /// Whether there is anything of another history.
        sweeps: bool,
    },
}

impl CatchUp {
    /// What is to be done for a mirror that is `at` a checkpoint, or at none, to come `to` one. Of what is `known` each is in
    /// the history that has led there.
    pub(crate) fn of(at: Option<Point>, to: Point, known: &[Point]) -> Self {
        match at {
            None => CatchUp::Whole { sweeps: false },
            Some(at) if at == to => CatchUp::Nothing,
            Some(at) if known.contains(&at) && at.epoch < to.epoch => CatchUp::Changes(at.epoch),
            Some(_) => CatchUp::Whole { sweeps: true },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{CatchUp, Point};
    use crate::identity::CheckpointId;
    use crate::moment::Epoch;

    #[test]
    fn what_brings_a_mirror_to_a_checkpoint() {
        let point = |epoch, id| Point {
            epoch: Epoch(epoch),
            checkpoint: CheckpointId(id),
        };
        let known = [point(3, 30), point(5, 50)];
        let check = |at, expected| {
            assert_eq!(CatchUp::of(at, point(7, 70), &known), expected, "{at:?}");
        };
        check(None, CatchUp::Whole { sweeps: false });
        check(Some(point(7, 70)), CatchUp::Nothing);
        check(Some(point(3, 30)), CatchUp::Changes(Epoch(3)));
        check(Some(point(5, 50)), CatchUp::Changes(Epoch(5)));
        // Of the same number, but another one: what came of it is of no history of this job any more.
        let other = CatchUp::Whole { sweeps: true };
        check(Some(point(5, 51)), other);
        check(Some(point(7, 71)), other);
        check(Some(point(4, 40)), other);
        check(Some(point(9, 90)), other);
    }
}
