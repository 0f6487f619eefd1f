//! How often checkpoints are taken, and what may go wrong before the job does.

use std::time::Duration;

/// Durable epochs that may wait for the sink to take them. Recovery settles them all, and a sink that is away
/// for longer than this many intervals has to be felt at the source rather than fill the store.
pub const UNPUBLISHED_MAX: u32 = 16;

/// After the result of a put stayed unknown, the pause before it is tried again: a store that is away is
/// not pressed, and one that is back is noticed at once.
pub const PUT_RETRY_PAUSE: Duration = Duration::from_millis(100);

/// When checkpoints are taken. The names mean what they mean in Flink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointSettings {
    /// From the start of one checkpoint to the start of the next, at least.
    pub interval: Duration,
    /// From the end of one checkpoint, durable or failed, to the start of the next, at least.
    pub min_pause: Duration,
    /// A checkpoint that is not durable this long after its start has failed.
    pub timeout: Duration,
    /// While this many checkpoints have neither become durable nor failed none starts; 0 counts as 1.
    pub max_concurrent: u32,
    /// Failures in a row that the job survives; one more fails it.
    pub tolerable_failures: u32,
    /// While this many epochs are durable, or on their way to be, and not yet published, no checkpoint starts.
    /// That is no failure. Epochs of failed checkpoints count too, but alone they hold nothing up: only another
    /// checkpoint makes them durable.
    pub unpublished_max: u32,
}

impl CheckpointSettings {
    /// [`Self::max_concurrent`], at least 1.
    pub(super) fn most_pending(&self) -> usize {
        self.max_concurrent.max(1) as usize
    }
}

impl Default for CheckpointSettings {
    fn default() -> Self {
        CheckpointSettings {
            interval: Duration::from_secs(1),
            min_pause: Duration::from_millis(500),
            timeout: Duration::from_secs(30),
            max_concurrent: 1,
            tolerable_failures: 3,
            unpublished_max: UNPUBLISHED_MAX,
        }
    }
}
