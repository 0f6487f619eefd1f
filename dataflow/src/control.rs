//! What a coordinator tells workers, and what they hand over of each epoch.
//!
//! The two travel on one line per worker. Commands are applied by the worker's source between two polls; what is
//! handed over comes from every stage that has something of an epoch to keep, each when the epoch has closed for
//! it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use crossbeam_channel::{Receiver, Sender};

use crate::flow::Publication;
use crate::idleness::{Idle, Raise};
use crate::moment::{Epoch, EventTime};
use crate::place::{Mark, Offset, PartitionId};
use crate::snapshot::{SavedState, StateDelta};
use crate::source::{Partition, Start, Starts};

/// The command to begin an epoch, which ends the one before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartEpoch {
    /// The epoch. Without checkpoints only the number of the command: there is one epoch.
    pub epoch: Epoch,
    /// No watermark of an idle or new partition is below this; none as long as nothing is known.
    pub floor: Option<EventTime>,
    /// What follows.
    pub then: Then,
    /// Which partitions are idle from here on.
    pub idle: Arc<[Idle]>,
    /// Which are new.
    pub found: Arc<[Partition]>,
}

/// What a source does in the epoch that it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It reads on.
    ReadOn,
    /// All partitions have ended: event time goes to its end, and what waits for it is handled.
    EndOfInput,
    /// It reads no more, and event time stands still: the run is to end with the checkpoint of the epoch before.
    Stop,
}

/// Where a partition stood when an epoch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionCut {
    /// The partition.
    pub partition: PartitionId,
    /// Offset of the next record to read.
    pub position: Offset,
    /// What stands right before it.
    pub mark: Option<Mark>,
    /// Highest event time so far.
    pub highest: Option<EventTime>,
    /// Whether it has ended.
    pub finished: bool,
}

/// How a source ended an epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceCut {
    /// Each of the worker's partitions.
    pub partitions: Vec<PartitionCut>,
    /// Which of them were raised to a floor in this epoch because they had been idle.
    pub raised: Vec<Raise>,
    /// Raises, by their offsets, that are over and have changed nothing.
    pub passed: Vec<(PartitionId, Offset)>,
    /// Records read in this epoch.
    pub read: u64,
    /// Late events dropped on purpose in it.
    pub dropped: u64,
    /// Events left out in it because the job does not want them.
    pub filtered: u64,
}

/// What a worker hands over.
#[derive(Debug)]
pub enum Part {
    /// The graph is built: so many stages hand over state at the end of each epoch.
    Stages(usize),
    /// Finished records.
    Output(Epoch, Publication),
    /// The source has ended this epoch.
    Cut(Epoch, SourceCut),
    /// What changed in it in a stage's state.
    State(Epoch, Arc<str>, StateDelta),
    /// All outputs of it were handed over.
    OutputsEnd(Epoch),
    /// All partitions of the worker have ended.
    AllEnded,
}

/// A worker's end of its line.
#[derive(Debug)]
pub struct Line {
    /// What it is told.
    pub commands: Receiver<StartEpoch>,
    /// What it hands over.
    pub parts: Sender<Part>,
}

/// Where a run begins.
#[derive(Clone, Default)]
pub struct Beginning {
    /// Its first epoch.
    pub epoch: Epoch,
    /// Where each partition goes on; one that is not named begins at its beginning.
    pub partitions: Vec<PartitionCut>,
    /// The highest floor that earlier runs have issued.
    pub floor: Option<EventTime>,
    /// Which partitions are idle.
    pub idle: Vec<PartitionId>,
    /// What each was raised to last.
    pub raised: Vec<Raise>,
    /// The state to go on with; none at the very beginning.
    pub state: Option<Arc<dyn SavedState>>,
}

impl Beginning {
    /// Where sources begin to read.
    pub fn starts(&self) -> Starts {
        self.partitions.iter().copied().collect()
    }
}

impl FromIterator<PartitionCut> for Starts {
    fn from_iter<I: IntoIterator<Item = PartitionCut>>(cuts: I) -> Self {
        let (mut starts, mut marks) = (Vec::new(), Vec::new());
        for cut in cuts {
            let start = match cut.finished {
                true => Start::Ended,
                false => Start::At(cut.position),
            };
            starts.push((cut.partition, start));
            marks.extend(cut.mark.map(|mark| (cut.partition, mark)));
        }
        Starts::from_iter(starts).with_marks(marks)
    }
}

/// What the workers of a run with checkpoints share.
pub struct Epochs {
    /// Where it begins.
    pub beginning: Beginning,
    /// By worker.
    pub lines: Vec<Line>,
    /// The last epoch of all, once it has begun.
    last: AtomicU64,
    /// The highest watermark that a stage with state has acted on before the end of event time.
    acted_on: AtomicI64,
    /// Whether one has acted on that end.
    at_end: AtomicBool,
}

impl Epochs {
    /// Of a run that begins there, with a line for each worker.
    pub fn new(beginning: Beginning, lines: Vec<Line>) -> Self {
        Epochs {
            beginning,
            lines,
            last: AtomicU64::new(0),
            acted_on: AtomicI64::new(EventTime::MIN.0),
            at_end: AtomicBool::new(false),
        }
    }

    /// Notes which epoch is the last, before any source lets go of it.
    pub fn set_last(&self, epoch: Epoch) {
        self.last.store(epoch.0, Ordering::SeqCst);
    }

    /// The last epoch of all; [`Epoch`] 0, which is before the first of any run, while that is not known.
    pub fn last(&self) -> Epoch {
        Epoch(self.last.load(Ordering::SeqCst))
    }

    /// Notes a watermark that a stage with state acts on from now on.
    pub fn act_on(&self, watermark: EventTime) {
        if watermark < EventTime::MAX {
            self.acted_on.fetch_max(watermark.0, Ordering::SeqCst);
        } else {
            self.at_end.store(true, Ordering::SeqCst);
        }
    }

    /// Whether such a stage has acted on the end of event time, which comes before what it hands over of that epoch.
    pub fn have_acted_on_the_end(&self) -> bool {
        self.at_end.load(Ordering::SeqCst)
    }

    /// The highest watermark that such a stage has acted on, but for the end of event time: what a partition that a
    /// later run finds must not be older than.
    pub fn acted_on(&self) -> Option<EventTime> {
        let acted_on = EventTime(self.acted_on.load(Ordering::SeqCst));
        (acted_on > EventTime::MIN).then_some(acted_on)
    }

    /// Hands something over. Who should take it may be gone, which then is on record already.
    pub fn hand_over(&self, worker: usize, part: Part) {
        if let Some(line) = self.lines.get(worker) {
            drop(line.parts.send(part));
        }
    }
}
