//! What becomes, at recovery, of outputs that are durable in the checkpoint and not known to be published.
//!
//! Of each shard a checkpoint lists the epochs whose publishing was not confirmed when it was written, oldest
//! first, and the last one that was; the sink holds the shard's marker, which says what it took last. [`decide`]
//! compares the two, epoch *and* checkpoint id: numbers of epochs may be used again after an older
//! checkpoint was restored, ids are not. A marker that says anything but what this checkpoint can have led to
//! is no reason to guess: that would lose outputs or double them.

use std::fmt;

use crate::faults::{self, Defect};
use crate::identity::CheckpointId;
use crate::moment::Epoch;
use crate::sink::Marker;

/// The last epoch of a shard that a checkpoint knows to be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confirmed {
    /// The epoch.
    pub epoch: Epoch,
    /// Its checkpoint.
    pub checkpoint: CheckpointId,
}

/// An epoch of a shard that a checkpoint does not know to be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unpublished {
    /// The epoch.
    pub epoch: Epoch,
    /// Its checkpoint.
    pub checkpoint: CheckpointId,
    /// How many chunks the shard has of it, at least 1.
    pub chunks: u32,
}

/// What to do with an epoch of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// All of it is published, or is to count as if it were.
    Skip {
        /// The epoch.
        epoch: Epoch,
    },
    /// It is to be published from this chunk on; those before are.
    Publish {
        /// The epoch.
        epoch: Epoch,
        /// From 0.
        from_chunk: u32,
    },
}

impl Step {
    fn skip(listed: &Unpublished) -> Self {
        let epoch = listed.epoch;
        Step::Skip { epoch }
    }

    fn publish(listed: &Unpublished) -> Self {
        let (epoch, from_chunk) = (listed.epoch, 0);
        Step::Publish { epoch, from_chunk }
    }
}

/// What a person chose after a [`Halt`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Publish what the checkpoint lists, though it may be there already.
    AcceptDuplicates,
    /// Publish none of it, though it may be missing.
    SkipOutbox,
}

impl Choice {
    /// What to do with the epochs of a shard that was halted, whatever its marker says.
    pub fn steps(self, unconfirmed: &[Unpublished]) -> Vec<Step> {
        let step = match self {
            Choice::AcceptDuplicates => Step::publish,
            Choice::SkipOutbox => Step::skip,
        };
        unconfirmed.iter().map(step).collect()
    }
}

/// What is published can't be told. The text names the two ways on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found}; {}. {CHOICES}", Known(*.confirmed, .listed))]
pub struct Halt {
    /// What speaks against the checkpoint.
    pub found: Finding,
    /// The last epoch that the checkpoint knows to be published.
    pub confirmed: Option<Confirmed>,
    /// Those that it does not know to be.
    pub listed: Vec<Unpublished>,
}

const CHOICES: &str = "With `--accept-duplicates` what the checkpoint lists is published, though it may be there \
                       already; with `--skip-outbox` none of it is, though it may be missing. Files that hold it already \
                       keep it, once, either way";

/// What a marker says that a checkpoint speaks against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    /// There is none, though something was published.
    #[error("the outputs have no marker")]
    MarkerMissing,
    /// It is of a later epoch than the checkpoint knows: an older checkpoint was restored, or a newer one lost.
    #[error("{} is ahead of the checkpoint", Said(.marker))]
    MarkerAhead {
        /// The marker.
        marker: Marker,
    },
    /// It is of no epoch that can have been published last: of one before the confirmed one, or of another job or
    /// another history.
    #[error("{} is of no epoch that the checkpoint knows", Said(.marker))]
    MarkerUnknown {
        /// The marker.
        marker: Marker,
    },
    /// It is of an epoch that the checkpoint lists, which has another number of chunks there.
    #[error("{} is of an epoch that has {chunks} chunks in the checkpoint", Said(.marker))]
    OtherChunks {
        /// The marker.
        marker: Marker,
        /// How many chunks the checkpoint lists.
        chunks: u32,
    },
    /// It says that the epoch which the checkpoint knows to be published is so in part only.
    #[error("{} says that an epoch is there in part that was confirmed", Said(.marker))]
    ConfirmedInPart {
        /// The marker.
        marker: Marker,
    },
    /// It counts more chunks than there are, or none of some: no sink of ours wrote that.
    #[error("{} is damaged", Said(.marker))]
    MarkerDamaged {
        /// The marker.
        marker: Marker,
    },
}

/// A marker in words.
struct Said<'a>(&'a Marker);

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Marker {
            generation,
            epoch,
            checkpoint,
            chunk,
            chunks,
        } = self.0;
        write!(
            f,
            "the marker of the outputs (epoch {epoch}, checkpoint {checkpoint}, chunk {chunk} of {chunks}, \
             generation {generation})"
        )
    }
}

/// What a checkpoint knows, in words.
struct Known<'a>(Option<Confirmed>, &'a [Unpublished]);

impl fmt::Display for Known<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => write!(f, "the checkpoint knows of nothing that was published")?,
            Some(Confirmed { epoch, checkpoint }) => write!(
                f,
                "the checkpoint knows that epoch {epoch} (checkpoint {checkpoint}) was published"
            )?,
        }
        let (Some(first), Some(last)) = (self.1.first(), self.1.last()) else {
            return write!(f, " and lists nothing to be published");
        };
        write!(
            f,
            " and lists {} to be published, from epoch {} (checkpoint {}) to epoch {} (checkpoint {})",
            self.1.len(),
            first.epoch,
            first.checkpoint,
            last.epoch,
            last.checkpoint
        )
    }
}

/// What to do with each epoch of one shard that the restored checkpoint lists as not confirmed, oldest first, with the
/// shard's marker and the last epoch of it that the checkpoint knows to be published. Every older run must be kept
/// from writing before the marker is read.
///
/// # Errors
/// The marker is not one that this checkpoint can have led to.
pub fn decide(
    marker: Option<&Marker>,
    confirmed: Option<Confirmed>,
    unconfirmed: &[Unpublished],
) -> Result<Vec<Step>, Halt> {
    let halt = |found| Halt {
        found,
        confirmed,
        listed: unconfirmed.to_vec(),
    };
    let publish_all = || unconfirmed.iter().map(Step::publish).collect();
    let Some(&marker) = marker else {
        return match confirmed {
            None => Ok(publish_all()),
            Some(_) => Err(halt(Finding::MarkerMissing)),
        };
    };
    if faults::is_on(Defect::SkippedByEpoch) {
        let is_there = |listed: &Unpublished| marker.epoch >= listed.epoch;
        let step = |listed| match is_there(listed) {
            true => Step::skip(listed),
            false => Step::publish(listed),
        };
        return Ok(unconfirmed.iter().map(step).collect());
    }
    if marker.chunk == 0 || marker.chunk > marker.chunks {
        return Err(halt(Finding::MarkerDamaged { marker }));
    }
    let is_complete = marker.chunk == marker.chunks;
    let names = |epoch, checkpoint| (marker.epoch, marker.checkpoint) == (epoch, checkpoint);
    if confirmed.is_some_and(|known| names(known.epoch, known.checkpoint)) {
        return if is_complete {
            Ok(publish_all())
        } else {
            Err(halt(Finding::ConfirmedInPart { marker }))
        };
    }
    let mut steps = Vec::with_capacity(unconfirmed.len());
    let mut rest = unconfirmed.iter();
    for listed in rest.by_ref() {
        if !names(listed.epoch, listed.checkpoint) {
            steps.push(Step::skip(listed));
            continue;
        }
        let chunks = listed.chunks;
        if chunks != marker.chunks {
            return Err(halt(Finding::OtherChunks { marker, chunks }));
        }
        steps.push(if is_complete {
            Step::skip(listed)
        } else {
            let (epoch, from_chunk) = (listed.epoch, marker.chunk);
            Step::Publish { epoch, from_chunk }
        });
        steps.extend(rest.map(Step::publish));
        return Ok(steps);
    }
    let known = unconfirmed.iter().map(|listed| listed.epoch);
    let newest = known.chain(confirmed.map(|known| known.epoch)).max();
    Err(halt(if Some(marker.epoch) > newest {
        Finding::MarkerAhead { marker }
    } else {
        Finding::MarkerUnknown { marker }
    }))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;
