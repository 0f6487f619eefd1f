//! Phases in which a process can be killed on purpose, to see that nothing is lost and nothing doubled.
//!
//! [`VARIABLE`] says `PHASE:TIME`: where, and at the how-manieth time. There the process kills itself with `SIGKILL`:
//! nothing is unwound, nothing is flushed. Right before, it says so on stderr.
//!
//! With [`LIST`], the path of a file, the variable may hold several, `PHASE:TIME,PHASE:TIME`. Each process that kills itself
//! adds its line to that file, and whoever comes after it, which has the same environment, is up to the next one. Times
//! are counted from the start of the process or the kill before, whichever is later. So one job goes through many
//! kills, of its workers and of the process above them, and the file is the proof of each.
//!
//! Of a checkpoint:
//!
//! | phase | where the process ends |
//! | --- | --- |
//! | `epoch-started` | all workers have been told of a new epoch |
//! | `cut-handed-over` | a worker's writer has where its partitions stand at the end of an epoch |
//! | `outputs-begun` | outputs are in their place or in an outbox, or in memory on their way there |
//! | `state-begun` | a state object has its entries, and no end yet |
//! | `objects-synced` | a worker's part of an epoch is durable, and nobody has been told |
//! | `outputs-synced` | the outputs of an epoch are durable in their place, and nobody has been told |
//! | `before-manifest` | all parts are durable, the manifest is not there |
//! | `after-manifest` | the manifest is in the log, nothing is published |
//! | `publish-started` | the publisher has an epoch in its hands |
//! | `between-chunks` | a chunk of a shard is with the sink, the next one is not |
//! | `parts-synced` | all of a shard, or of a chunk of it, is with the sink and durable, its marker is the old one |
//! | `marker-written` | the marker is in its place, what follows from it is not |
//! | `shard-published` | one shard is published, others may not be |
//! | `confirmed` | an epoch counts as published, and no manifest says so |
//! | `mirroring` | some of what a checkpoint has changed is in the mirror, and it does not say so |
//! | `mirrored` | the mirror is at a checkpoint |
//! | `fold-written` | a fold is durable, and in no chain |
//! | `record-deleted` | an old manifest is gone, what it listed is there |
//! | `object-deleted` | an old object is gone, others may not be |
//!
//! Of a recovery:
//!
//! | phase | where the process ends |
//! | --- | --- |
//! | `before-claim` | the store is found to keep two runs apart |
//! | `after-claim` | the log is claimed, nothing is read |
//! | `manifests-read` | all manifests are read, no object is |
//! | `objects-verified` | every object of the newest checkpoint is whole |
//! | `sink-taken-over` | the sink is ours, its markers are read |
//! | `epoch-settled` | one epoch is published that was not, or found to be |
//! | `beginning-recorded` | a job that starts from nothing has its first manifest |
//! | `orphan-deleted` | an object that no manifest lists is gone, others may not be |
//! | `state-loaded` | a stage of a worker has its state |
//! | `first-epoch-opened` | the leader is there, no record is read |
//!
//! Of the process above the workers:
//!
//! | phase | where the process ends |
//! | --- | --- |
//! | `worker-spawned` | a worker's process is there, and nobody follows it |
//! | `worker-ended` | a worker has ended, and what comes next is not decided |

use std::ffi::OsString;
use std::path::PathBuf;

use crate::faults::{Said, names};

/// The variable of the environment that says in which phase the process is to be killed.
pub const VARIABLE: &str = "SLACKWATER_CRASH";

/// The variable of the environment with the path of the file that lists the kills there were.
pub const LIST: &str = "SLACKWATER_CRASHES";

/// Somewhere in the life of a job. What each is says the table of the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the table of the module describes each once")]
pub enum Phase {
    EpochStarted,
    CutHandedOver,
    OutputsBegun,
    StateBegun,
    ObjectsSynced,
    OutputsSynced,
    BeforeManifest,
    AfterManifest,
    PublishStarted,
    BetweenChunks,
    PartsSynced,
    MarkerWritten,
    ShardPublished,
    Confirmed,
    Mirroring,
    Mirrored,
    FoldWritten,
    RecordDeleted,
    ObjectDeleted,
    BeforeClaim,
    AfterClaim,
    ManifestsRead,
    ObjectsVerified,
    SinkTakenOver,
    EpochSettled,
    BeginningRecorded,
    OrphanDeleted,
    StateLoaded,
    FirstEpochOpened,
    WorkerSpawned,
    WorkerEnded,
}

impl Phase {
    /// All of them, in the order of the table.
    pub const ALL: [Phase; 31] = [
        Phase::EpochStarted,
        Phase::CutHandedOver,
        Phase::OutputsBegun,
        Phase::StateBegun,
        Phase::ObjectsSynced,
        Phase::OutputsSynced,
        Phase::BeforeManifest,
        Phase::AfterManifest,
        Phase::PublishStarted,
        Phase::BetweenChunks,
        Phase::PartsSynced,
        Phase::MarkerWritten,
        Phase::ShardPublished,
        Phase::Confirmed,
        Phase::Mirroring,
        Phase::Mirrored,
        Phase::FoldWritten,
        Phase::RecordDeleted,
        Phase::ObjectDeleted,
        Phase::BeforeClaim,
        Phase::AfterClaim,
        Phase::ManifestsRead,
        Phase::ObjectsVerified,
        Phase::SinkTakenOver,
        Phase::EpochSettled,
        Phase::BeginningRecorded,
        Phase::OrphanDeleted,
        Phase::StateLoaded,
        Phase::FirstEpochOpened,
        Phase::WorkerSpawned,
        Phase::WorkerEnded,
    ];

    /// What [`VARIABLE`] calls it.
    pub fn name(self) -> &'static str {
        match self {
            Phase::EpochStarted => "epoch-started",
            Phase::CutHandedOver => "cut-handed-over",
            Phase::OutputsBegun => "outputs-begun",
            Phase::StateBegun => "state-begun",
            Phase::ObjectsSynced => "objects-synced",
            Phase::OutputsSynced => "outputs-synced",
            Phase::BeforeManifest => "before-manifest",
            Phase::AfterManifest => "after-manifest",
            Phase::PublishStarted => "publish-started",
            Phase::BetweenChunks => "between-chunks",
            Phase::PartsSynced => "parts-synced",
            Phase::MarkerWritten => "marker-written",
            Phase::ShardPublished => "shard-published",
            Phase::Confirmed => "confirmed",
            Phase::Mirroring => "mirroring",
            Phase::Mirrored => "mirrored",
            Phase::FoldWritten => "fold-written",
            Phase::RecordDeleted => "record-deleted",
            Phase::ObjectDeleted => "object-deleted",
            Phase::BeforeClaim => "before-claim",
            Phase::AfterClaim => "after-claim",
            Phase::ManifestsRead => "manifests-read",
            Phase::ObjectsVerified => "objects-verified",
            Phase::SinkTakenOver => "sink-taken-over",
            Phase::EpochSettled => "epoch-settled",
            Phase::BeginningRecorded => "beginning-recorded",
            Phase::OrphanDeleted => "orphan-deleted",
            Phase::StateLoaded => "state-loaded",
            Phase::FirstEpochOpened => "first-epoch-opened",
            Phase::WorkerSpawned => "worker-spawned",
            Phase::WorkerEnded => "worker-ended",
        }
    }

    /// The phase of this name.
    pub fn of_name(name: &str) -> Option<Self> {
        Phase::ALL.into_iter().find(|it| it.name() == name)
    }
}

/// A phase, at the how-manieth time it is reached, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// The phase.
    pub phase: Phase,
    /// The how-manieth time.
    pub time: u32,
}

impl std::fmt::Display for Point {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.phase.name(), self.time)
    }
}

/// When processes of a job are to be killed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crash {
    /// One after the other.
    pub points: Vec<Point>,
    /// The file that lists the kills there were.
    pub list: Option<PathBuf>,
}

/// What is said of crashes cannot be.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum CrashError {
    /// No phase, or no time.
    #[error("{VARIABLE}: expected PHASE:TIME with a time from 1, got {said:?}; phases are {}", names(Phase::ALL.map(Phase::name)))]
    NoPoint {
        /// As it was said.
        said: OsString,
    },
    /// Several kills, and nobody who knows which come next.
    #[error(
        "{VARIABLE} holds several phases: {LIST} has to name the file that lists those that were hit"
    )]
    NoList,
    /// A list of nothing.
    #[error("{LIST} is set without {VARIABLE}, which says in which phase to crash")]
    NoPoints,
}

impl Crash {
    /// What the environment says; none if it says nothing.
    pub(super) fn of(said: &Said) -> Result<Option<Self>, CrashError> {
        let list = said.list.as_ref().map(PathBuf::from);
        let Some(text) = &said.crash else {
            return match list {
                Some(_) => Err(CrashError::NoPoints),
                None => Ok(None),
            };
        };
        let no_point = || CrashError::NoPoint { said: text.clone() };
        let points = text.to_str().ok_or_else(no_point)?.split(',');
        let points: Option<Vec<Point>> = points.map(point).collect();
        let points = points.ok_or_else(no_point)?;
        if points.len() > 1 && list.is_none() {
            return Err(CrashError::NoList);
        }
        Ok(Some(Crash { points, list }))
    }
}

fn point(text: &str) -> Option<Point> {
    let (phase, time) = text.split_once(':')?;
    Some(Point {
        phase: Phase::of_name(phase)?,
        time: time.parse().ok().filter(|time| *time > 0)?,
    })
}

/// Which point a process is up to, and how often it has reached its phase.
#[derive(Debug, Default)]
pub struct Counting {
    done: usize,
    times: u32,
}

impl Counting {
    /// The process has reached a phase, when `done` of the points were hit: the point at which it is to be killed, if
    /// it is.
    pub fn reach(&mut self, points: &[Point], done: usize, phase: Phase) -> Option<Point> {
        let point = *points.get(done)?;
        if std::mem::replace(&mut self.done, done) != done {
            self.times = 0;
        }
        if point.phase != phase {
            return None;
        }
        self.times += 1;
        (self.times == point.time).then_some(point)
    }
}

/// Kills this process if it was asked for in this phase, at this time.
#[cfg(feature = "faults")]
pub fn reach(phase: Phase) {
    use std::sync::{Mutex, PoisonError};

    static COUNTING: Mutex<Counting> = Mutex::new(Counting { done: 0, times: 0 });
    let Some(Crash { points, list }) = &crate::faults::of_this_process().crash else {
        return;
    };
    let mut counting = COUNTING.lock().unwrap_or_else(PoisonError::into_inner);
    let listed = list
        .as_ref()
        .and_then(|it| std::fs::read_to_string(it).ok());
    let done = listed.map_or(0, |text| text.lines().count());
    if let Some(point) = counting.reach(points, done, phase) {
        // Nobody else gets past the lock any more.
        kill_this_process(point, list.as_deref());
    }
}

/// Kills this process if it was asked for, which it cannot be.
#[cfg(not(feature = "faults"))]
pub const fn reach(_: Phase) {}

/// Says that it does, and where, and does it. What is written before the signal is there after it: it only has to reach
/// the system, not a disk.
#[cfg(feature = "faults")]
#[expect(clippy::panic, reason = "a crash that nobody can prove is no test")]
fn kill_this_process(point: Point, list: Option<&std::path::Path>) -> ! {
    use std::io::Write;

    use rustix::process::{Signal, getpid, kill_process};

    let line = format!("{point} {}\n", std::process::id());
    drop(write!(std::io::stderr().lock(), "{VARIABLE}: {line}"));
    if let Some(list) = list {
        let file = std::fs::File::options()
            .create(true)
            .append(true)
            .open(list);
        let written = file.and_then(|mut file| file.write_all(line.as_bytes()));
        written.unwrap_or_else(|error| panic!("{LIST}: cannot write {}: {error}", list.display()));
    }
    let killed = kill_process(getpid(), Signal::KILL);
    panic!("{VARIABLE}: still there after SIGKILL ({killed:?})");
}
