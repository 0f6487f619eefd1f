//! Faults on purpose: what the tests of the engine are tested with.
//!
//! They are there only with the cargo feature `faults`, which nothing that is shipped has; without it nothing of them is
//! compiled, and a program refuses to start when one is asked for. What is wanted is said in the environment, so that a
//! test can be run as it is:
//!
//! - [`VARIABLE`] names a [`Defect`], a mistake that the engine is to make; some test has to find it.
//! - [`OUTBOXES`] has a sink that could take outputs in their place get them out of outboxes, as others do.
//! - [`CHUNKS_APART`] has a sink that commits chunks of an outbox together commit each by itself, as those are that are large.
//! - [`phases::VARIABLE`] names a [`Phase`](phases::Phase) in which the process is to be killed.
//!
//! ```sh
//! SLACKWATER_FAULT=lost-delta cargo test --features faults --test sim after_a_crash
//! SLACKWATER_CRASH=after-manifest:3 slackwater run job.toml
//! ```

pub mod phases;

use std::ffi::OsString;

use self::phases::{Crash, CrashError};

/// The variable of the environment that names the defect.
pub const VARIABLE: &str = "SLACKWATER_FAULT";

/// Whether this program can have any.
pub const ARE_THERE: bool = cfg!(feature = "faults");

/// The variable of the environment that asks for outboxes, with the value `1`.
pub const OUTBOXES: &str = "SLACKWATER_OUTBOXES";

/// The variable of the environment that asks for a commit of each chunk, with the value `1`.
pub const CHUNKS_APART: &str = "SLACKWATER_CHUNKS_APART";

/// In the bytes of a record: what [`Defect::Poison`] ends the process at.
pub const POISON: &str = "slackwater-poison";

/// A mistake that the engine could have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// An object in memory is finished, or outputs are let count, without being made durable.
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
    /// What a marker's epoch number is as high as counts as published, whatever its checkpoint.
    SkippedByEpoch,
    /// A marker counts before what it stands for.
    MarkerFirst,
    /// Markers are read while an older run can still write.
    ReadBeforeFence,
    /// A producer whose commit was in doubt is asked again, and goes on.
    ReusedProducer,
    /// A producer publishes one epoch after the other where each is to have its own.
    KeptProducer,
    /// The process ends when an event with [`POISON`] in its record reaches the model: a poison that no dead letter
    /// can be made of.
    Poison,
}

impl Defect {
    /// All of them.
    pub const ALL: [Defect; 19] = [
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
        Defect::SkippedByEpoch,
        Defect::MarkerFirst,
        Defect::ReadBeforeFence,
        Defect::ReusedProducer,
        Defect::KeptProducer,
        Defect::Poison,
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
            Defect::SkippedByEpoch => "skipped-by-epoch",
            Defect::MarkerFirst => "marker-first",
            Defect::ReadBeforeFence => "read-before-fence",
            Defect::ReusedProducer => "reused-producer",
            Defect::KeptProducer => "kept-producer",
            Defect::Poison => "poison",
        }
    }

    /// The defect of this name.
    pub fn of_name(name: &str) -> Option<Self> {
        Defect::ALL.into_iter().find(|it| it.name() == name)
    }
}

/// What the environment says of faults. Each is none if it says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// Of [`VARIABLE`].
    pub defect: Option<OsString>,
    /// Of [`OUTBOXES`].
    pub outboxes: Option<OsString>,
    /// Of [`CHUNKS_APART`].
    pub chunks_apart: Option<OsString>,
    /// Of [`phases::VARIABLE`].
    pub crash: Option<OsString>,
    /// Of [`phases::LIST`].
    pub list: Option<OsString>,
}

impl Said {
    /// What the environment of this process says.
    pub fn here() -> Self {
        Said {
            defect: std::env::var_os(VARIABLE),
            outboxes: std::env::var_os(OUTBOXES),
            chunks_apart: std::env::var_os(CHUNKS_APART),
            crash: std::env::var_os(phases::VARIABLE),
            list: std::env::var_os(phases::LIST),
        }
    }

    fn first(&self) -> Option<&'static str> {
        let all = [
            (&self.defect, VARIABLE),
            (&self.outboxes, OUTBOXES),
            (&self.chunks_apart, CHUNKS_APART),
            (&self.crash, phases::VARIABLE),
            (&self.list, phases::LIST),
        ];
        let mut said = all.into_iter().filter(|(value, _)| value.is_some());
        said.next().map(|(_, name)| name)
    }
}

/// Faults that are wanted of this process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The mistake that it is to make.
    pub defect: Option<Defect>,
    /// Whether outputs go through outboxes where they need not.
    pub outboxes: bool,
    /// Whether chunks are committed each by itself.
    pub chunks_apart: bool,
    /// When it is to be killed.
    pub crash: Option<Crash>,
}

/// The environment asks for what cannot be had.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum FaultError {
    /// This program has none.
    #[error(
        "{0} is set in the environment: it asks for a fault on purpose, and this program has none, as it was built \
         without the feature `faults`. Unset it, or build for tests with `--features faults`"
    )]
    NotThere(&'static str),
    /// A defect that does not exist.
    #[error("{VARIABLE}: there is no defect {name:?}; there are {}", names(Defect::ALL.map(Defect::name)))]
    NoDefect {
        /// As it was said.
        name: OsString,
    },
    /// Neither yes nor no.
    #[error("{variable}: expected 1, got {said:?}")]
    NotOne {
        /// Which variable.
        variable: &'static str,
        /// As it was said.
        said: OsString,
    },
    /// No crash that can be.
    #[error(transparent)]
    Crash(#[from] CrashError),
}

fn names(names: impl IntoIterator<Item = &'static str>) -> String {
    names.into_iter().collect::<Vec<_>>().join(", ")
}

/// What is wanted of a program that has faults or, if `are_there` says so, has none. A name that is misspelt is
/// refused: a test that asks for it would test nothing.
///
/// # Errors
/// Faults are asked for that this program does not have.
pub fn wanted(said: &Said, are_there: bool) -> Result<Wanted, FaultError> {
    if let Some(name) = said.first().filter(|_| !are_there) {
        return Err(FaultError::NotThere(name));
    }
    let defect = said.defect.as_ref().map(|name| {
        let of_name = name.to_str().and_then(Defect::of_name);
        of_name.ok_or_else(|| FaultError::NoDefect { name: name.clone() })
    });
    Ok(Wanted {
        defect: defect.transpose()?,
        outboxes: is_one(OUTBOXES, said.outboxes.as_ref())?,
        chunks_apart: is_one(CHUNKS_APART, said.chunks_apart.as_ref())?,
        crash: Crash::of(said)?,
    })
}

/// Whether a variable that says yes or nothing says yes.
fn is_one(variable: &'static str, said: Option<&OsString>) -> Result<bool, FaultError> {
    match said {
        None => Ok(false),
        Some(said) if said == "1" => Ok(true),
        Some(said) => Err(FaultError::NotOne {
            variable,
            said: said.clone(),
        }),
    }
}

/// What is wanted of this process.
///
/// # Panics
/// If that cannot be had: who asks for it is a test, and must not pass for that.
#[cfg(feature = "faults")]
#[expect(clippy::panic, reason = "only in programs for tests, as it says")]
fn of_this_process() -> &'static Wanted {
    use std::sync::OnceLock;

    static WANTED: OnceLock<Wanted> = OnceLock::new();
    WANTED.get_or_init(|| wanted(&Said::here(), ARE_THERE).unwrap_or_else(|it| panic!("{it}")))
}

/// Whether the engine is to have this defect.
#[cfg(feature = "faults")]
pub fn is_on(defect: Defect) -> bool {
    of_this_process().defect == Some(defect)
}

/// Whether the engine is to have this defect, which it cannot.
#[cfg(not(feature = "faults"))]
pub const fn is_on(_: Defect) -> bool {
    false
}

/// Whether outputs are to go through outboxes where they need not.
#[cfg(feature = "faults")]
pub fn are_outboxes_wanted() -> bool {
    of_this_process().outboxes
}

/// Whether outputs are to go through outboxes where they need not, which they are not.
#[cfg(not(feature = "faults"))]
pub const fn are_outboxes_wanted() -> bool {
    false
}

/// Whether chunks are to be committed each by itself.
#[cfg(feature = "faults")]
pub fn are_chunks_apart() -> bool {
    of_this_process().chunks_apart
}

/// Whether chunks are to be committed each by itself, which they are not.
#[cfg(not(feature = "faults"))]
pub const fn are_chunks_apart() -> bool {
    false
}

/// Ends the process if the bytes of a record say so: all there is to [`Defect::Poison`].
#[cfg(feature = "faults")]
pub fn take_poison(record: &[u8]) {
    use rustix::process::{Signal, getpid, kill_process};

    let marker = POISON.as_bytes();
    if record.windows(marker.len()).any(|it| it == marker) {
        // As an abort would end it; if it cannot be ended, the test of it fails.
        let _ = kill_process(getpid(), Signal::ABORT);
    }
}

/// Ends the process at no record.
#[cfg(not(feature = "faults"))]
pub const fn take_poison(_: &[u8]) {}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;
