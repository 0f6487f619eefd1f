//! What the coordinator wants done, and why a checkpoint or the job failed.

use std::fmt;
use std::time::Duration;

use crate::moment::{Epoch, EventTime};

/// Something to be done, in the order in which it is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Tell all workers to end the epoch before and to go on in this one.
    StartEpoch {
        /// The epoch that starts. The checkpoint that begins is that of the epoch before.
        epoch: Epoch,
        /// No source without events of its own holds event time back beyond this; none where no worker has
        /// said yet how far it is.
        floor: Option<EventTime>,
        /// The input has ended. Event time reaches its end in this epoch, which closes when nothing of it is
        /// on its way any more, and has the final checkpoint.
        last: bool,
        /// The job was asked to stop. Nothing is read in this epoch, it has no checkpoint: that of the epoch
        /// before is the final one.
        stop: bool,
    },
    /// Create the manifest of `epoch`. It lists what all reporters left in each of `covers`.
    PutManifest {
        /// The epoch whose checkpoint this is: the last of `covers`.
        epoch: Epoch,
        /// In ascending order: all epochs since the last durable manifest.
        covers: Vec<Epoch>,
    },
    /// Create the manifest of `epoch` once more: the same number, the same bytes.
    RetryPut {
        /// As in [`Self::PutManifest`].
        epoch: Epoch,
    },
    /// The checkpoint of `epoch` is durable: the outputs of `covers` may be published, in their order.
    Durable {
        /// The epoch whose checkpoint this is.
        epoch: Epoch,
        /// The epochs that it holds and no manifest held before.
        covers: Vec<Epoch>,
    },
    /// The checkpoint of `epoch` failed. What workers keep of it counts towards the next one, and is to be
    /// kept until that is durable. One that failed because what became of its manifest is unknown is still to be put,
    /// and may become durable.
    CheckpointFailed {
        /// The epoch.
        epoch: Epoch,
        /// Why.
        reason: CheckpointFailure,
    },
    /// The job is to be started again from its last durable checkpoint. The last action of a run.
    FailJob(JobFailure),
    /// A newer run of the job has the log. This one ends, touches nothing more and isn't started again. The
    /// last action of a run.
    Fenced,
    /// The final checkpoint is durable and everything is published. The last action of a run.
    Finished,
}

/// Who makes a part of each epoch durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reporter {
    /// A worker's writer.
    Worker(usize),
    /// Who writes the outputs of all workers where they will stay.
    Outputs,
}

impl From<usize> for Reporter {
    fn from(worker: usize) -> Self {
        Reporter::Worker(worker)
    }
}

impl fmt::Display for Reporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reporter::Worker(worker) => write!(f, "the parts of worker {worker}"),
            Reporter::Outputs => f.write_str("the outputs"),
        }
    }
}

/// Why a checkpoint failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckpointFailure {
    /// It was not durable in time.
    TimedOut {
        /// The time that it had.
        timeout: Duration,
        /// Whose parts, of this epoch or of one that its manifest has to list, were missing. When none
        /// was, it waited for the manifest before its own.
        missing: Vec<Reporter>,
    },
    /// Its time was up when what became of its manifest was still unknown. It may be durable, and nothing else can be
    /// until that is known.
    Unknown {
        /// The time that it had.
        timeout: Duration,
    },
    /// Some part could not be written.
    NotWritten {
        /// Whose.
        of: Reporter,
    },
}

impl fmt::Display for CheckpointFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CheckpointFailure::TimedOut { timeout, missing } if missing.is_empty() => {
                let reason = "the manifest before its own was still being written";
                write!(f, "it was not durable after {timeout:?}: {reason}")
            }
            CheckpointFailure::TimedOut { timeout, missing } => {
                let missing: Vec<String> = missing.iter().map(Reporter::to_string).collect();
                let missing = missing.join(", ");
                write!(
                    f,
                    "it was not durable after {timeout:?}: still to be written: {missing}"
                )
            }
            CheckpointFailure::Unknown { timeout } => write!(
                f,
                "it was not known to be durable after {timeout:?}: its manifest may be there or not"
            ),
            CheckpointFailure::NotWritten { of } => write!(f, "{of} could not be written"),
        }
    }
}

/// More checkpoints failed in a row than the job survives.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{failures} checkpoints failed in a row, `tolerable_failures` is {tolerable}; the last was that of epoch {epoch}: {last}"
)]
pub struct JobFailure {
    /// Failures in a row.
    pub failures: u32,
    /// How many were allowed.
    pub tolerable: u32,
    /// The epoch whose checkpoint failed last.
    pub epoch: Epoch,
    /// Why that one failed.
    pub last: CheckpointFailure,
}
