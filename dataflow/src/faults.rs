//! Defects on purpose: what the tests of the engine are tested with. Each has to be found by one of them.
//!
//! They are there only with the cargo feature `faults`, which nothing that is shipped has; without it nothing of them is
//! compiled. Which one is on is said in the environment, [`VARIABLE`], so that a test that must find it can be run as
//! it is:
//!
//! ```sh
//! SLACKWATER_FAULT=lost-delta cargo test --features faults --test sim after_a_crash
//! ```

/// The variable of the environment that names the defect.
pub const VARIABLE: &str = "SLACKWATER_FAULT";

/// Whether this program can have any.
pub const ARE_THERE: bool = cfg!(feature = "faults");

/// A mistake that the engine could have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// An object in memory is finished without being made durable.
    NotSynced,
    /// Outputs are published before their manifest is in the log.
    PublishedEarly,
    /// A checkpoint says of a partition that its last record was not read.
    PositionBehind,
    /// Every other epoch's changes of state are not written.
    LostDelta,
    /// A run goes on though another has claimed the log.
    StaleGeneration,
    /// A stage takes events of the next epoch before this one has closed.
    NoStash,
    /// The watermark rises above what is stashed.
    UnboundedWatermark,
    /// The watermark rises before the epochs that have ended are closed.
    WatermarkFirst,
    /// A manifest does not list outputs of checkpoints that failed before it.
    ForgottenOutputs,
    /// A recovery publishes the newest epoch only of those that wait for it.
    NewestOnly,
    /// Events that wait for the watermark are left out of the state.
    WaitingNotSaved,
    /// What an idle partition was raised to is forgotten by the run that goes on.
    IdleUnrecorded,
    /// The watermark goes beyond the floor that idle partitions are raised to.
    IdleWithoutReserve,
}

impl Defect {
    /// All of them.
    pub const ALL: [Defect; 13] = [
        Defect::NotSynced,
        Defect::PublishedEarly,
        Defect::PositionBehind,
        Defect::LostDelta,
        Defect::StaleGeneration,
        Defect::NoStash,
        Defect::UnboundedWatermark,
        Defect::WatermarkFirst,
        Defect::ForgottenOutputs,
        Defect::NewestOnly,
        Defect::WaitingNotSaved,
        Defect::IdleUnrecorded,
        Defect::IdleWithoutReserve,
    ];

    /// What [`VARIABLE`] calls it.
    pub fn name(self) -> &'static str {
        match self {
            Defect::NotSynced => "not-synced",
            Defect::PublishedEarly => "published-early",
            Defect::PositionBehind => "position-behind",
            Defect::LostDelta => "lost-delta",
            Defect::StaleGeneration => "stale-generation",
            Defect::NoStash => "no-stash",
            Defect::UnboundedWatermark => "unbounded-watermark",
            Defect::WatermarkFirst => "watermark-first",
            Defect::ForgottenOutputs => "forgotten-outputs",
            Defect::NewestOnly => "newest-only",
            Defect::WaitingNotSaved => "waiting-not-saved",
            Defect::IdleUnrecorded => "idle-unrecorded",
            Defect::IdleWithoutReserve => "idle-without-reserve",
        }
    }

    /// The defect of this name.
    pub fn of_name(name: &str) -> Option<Self> {
        Defect::ALL.into_iter().find(|it| it.name() == name)
    }
}

/// Whether the engine is to have this defect.
#[cfg(feature = "faults")]
pub(crate) fn is_on(defect: Defect) -> bool {
    use std::sync::OnceLock;

    static ON: OnceLock<Option<Defect>> = OnceLock::new();
    let on = ON.get_or_init(|| {
        std::env::var(VARIABLE)
            .ok()
            .and_then(|it| Defect::of_name(&it))
    });
    *on == Some(defect)
}

/// Whether the engine is to have this defect, which it cannot.
#[cfg(not(feature = "faults"))]
pub(crate) const fn is_on(_: Defect) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::Defect;

    #[test]
    fn has_each_defect_a_name_of_its_own() {
        for defect in Defect::ALL {
            assert_eq!(Defect::of_name(defect.name()), Some(defect));
        }
        assert_eq!(Defect::of_name("no such"), None);
    }
}
