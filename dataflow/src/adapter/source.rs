//! The head of a graph: polls a reader, feeds an [`Ingest`], holds one capability per active partition.
//!
//! In a job with checkpoints it also obeys the coordinator, between two polls: it notes where each partition
//! stands, which ends an epoch, and takes its capabilities into the next. Reading never stops for that. With the
//! beginning of an epoch partitions become idle, or are new; one that is idle and speaks has a capability again from
//! the next poll's end on, before anything of it is sent.

mod changes;
mod poll;

use std::cell::{Cell, RefCell};
#[cfg(feature = "faults")]
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use timely::dataflow::channels::pushers::Output;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::scheduling::Activator;

use crate::adapter::capabilities::Capabilities;
use crate::adapter::source::poll::Poll;
use crate::adapter::{Events, Graph, Messages, Rejects};
use crate::control::{Beginning, Epochs, Part, PartitionCut, SourceCut, StartEpoch, Then};
use crate::faults::{self, Defect};
use crate::idleness::Resting;
use crate::ingest::{FloorEffect, Ingest, Sealed};
use crate::moment::{Epoch, EventTime, Moment};
use crate::pace::Pace;
use crate::place::{Offset, PartitionId};
use crate::run::{GraphError, RunError, RunShared};
use crate::source::{Demand, Polled, Readiness, Share, Source, SourceReader, Starts};

/// Records taken per activation. Large enough that the cost of a step and of a partly filled model batch
/// vanish, small enough that a batch stays in the cache between the stages.
pub const RECORDS_PER_POLL_MAX: usize = 1024;

/// Bytes taken per activation, at the end of the record that passes it: bounds what one poll can hold
/// when records are large.
pub const BYTES_PER_POLL_MAX: u64 = 4 * 1024 * 1024;

/// What the head of a graph gives: batches, and what was rejected before it was in one.
pub type SourceStreams<'s, I> = (
    Events<'s, <I as Ingest>::Batch>,
    Rejects<'s, <I as Ingest>::Reject>,
);

impl<'s> Graph<'s> {
    /// Reads this worker's share of `source` through `ingest`, every partition as fast as it can be read.
    pub fn source<I: Ingest>(
        &self,
        source: &dyn Source,
        ingest: I,
    ) -> Result<SourceStreams<'s, I>, RunError> {
        self.source_at(Pacing::Free, source, ingest)
    }

    /// The same, but no partition runs further ahead of the others than `pace` allows; for graphs with an
    /// operator that waits for the watermark.
    pub fn source_in_step<I: Ingest>(
        &self,
        pace: &Arc<Pace>,
        source: &dyn Source,
        ingest: I,
    ) -> Result<SourceStreams<'s, I>, RunError> {
        self.source_at(Pacing::InStep(Arc::clone(pace)), source, ingest)
    }

    /// The same for graphs in which nothing waits: a partition that has nothing to read holds nobody back.
    pub fn source_abreast<I: Ingest>(
        &self,
        pace: &Arc<Pace>,
        source: &dyn Source,
        ingest: I,
    ) -> Result<SourceStreams<'s, I>, RunError> {
        self.source_at(Pacing::Abreast(Arc::clone(pace)), source, ingest)
    }

    fn source_at<I: Ingest>(
        &self,
        pacing: Pacing,
        source: &dyn Source,
        ingest: I,
    ) -> Result<SourceStreams<'s, I>, RunError> {
        let mut builder = OperatorBuilder::new("source".to_owned(), self.scope);
        let (batches, batch_stream) = builder.new_output();
        let (rejects, reject_stream) = builder.new_output();
        let address = builder.operator_info().address;
        let (activator, wake) = self.activators(&address);
        let epochs = self.job.epochs().cloned();
        if source.may_change() && !self.job.is_watching() {
            return Err(GraphError::NotWatched.into());
        }
        let beginning = epochs.as_ref().map(|epochs| &epochs.beginning);
        let starts = beginning.map_or_else(Starts::beginning, Beginning::starts);
        let reader = match source.open(self.share, &starts, wake.clone()) {
            Ok(reader) => reader,
            Err(error) => {
                // An operator that was begun has to be built, also in a graph that is then dropped.
                builder.build(move |_| move |_| _ = (&batches, &rejects));
                return Err(error.into());
            }
        };
        self.job.flow.on_room(wake);
        activator.activate();
        *self.source.borrow_mut() = Some(address);

        let share = self.share;
        let mine = Mine::of(source, share, beginning, &starts);
        let job = Arc::clone(&self.job);
        let commands = job.commands(share.worker);
        let (drained, end) = (Rc::clone(&self.drained), Rc::clone(&self.end));
        builder.build(move |initial| {
            let mut head = Head {
                pacing,
                worker: share.worker,
                workers: share.workers,
                reader,
                ingest,
                capabilities: mine.hold(initial),
                resting: Resting::default(),
                grows: mine.grows,
                look_due: None,
                sealed: Sealed::default(),
                epoch: OpenEpoch::default(),
                end,
                commands,
                epochs,
                job,
            };
            head.begin(&mine.idle);
            let mut ports = Ports { batches, rejects };
            let mut head = Some(head);
            move |_| {
                if drained.get() {
                    // Dropping the head drops its capabilities: the frontier empties and the worker ends.
                    if let Some(mut head) = head.take() {
                        head.end_last_epoch();
                    }
                } else if let Some(head) = &mut head {
                    head.step(&mut ports, &activator);
                }
            }
        });
        Ok((batch_stream, self.rejects_of("source", reject_stream)))
    }
}

/// What holds a partition back.
enum Pacing {
    /// Nothing.
    Free,
    /// All others: events wait for the watermark.
    InStep(Arc<Pace>),
    /// The others that have something to read.
    Abreast(Arc<Pace>),
}

impl Pacing {
    fn pace(&self) -> Option<&Arc<Pace>> {
        match self {
            Pacing::Free => None,
            Pacing::InStep(pace) | Pacing::Abreast(pace) => Some(pace),
        }
    }

    /// Where events wait for the watermark, one that it has passed is late.
    fn effect(&self) -> FloorEffect {
        match self {
            Pacing::InStep(_) => FloorEffect::Judges,
            Pacing::Free | Pacing::Abreast(_) => FloorEffect::Orders,
        }
    }
}

/// Partitions of a worker, as a run begins.
struct Mine {
    active: Vec<PartitionId>,
    idle: Vec<PartitionId>,
    /// Whether more may be found.
    grows: bool,
    /// Whether any of them may fall silent, or be found.
    may_change: bool,
}

impl Mine {
    fn of(
        source: &dyn Source,
        share: Share,
        beginning: Option<&Beginning>,
        starts: &Starts,
    ) -> Self {
        let ids = source.partitions().iter().map(|it| it.id);
        let mine = ids.filter(|&id| share.reads(id) && !starts.has_ended(id));
        let is_idle = |id: &PartitionId| beginning.is_some_and(|it| it.idle.contains(id));
        let (idle, active) = mine.partition(is_idle);
        Mine {
            active,
            idle,
            grows: source.look_every().is_some(),
            may_change: source.may_change(),
        }
    }

    /// What the source holds. A worker without partitions, now and ever, needs no reserve. One that has idle ones does,
    /// though no more may become it: the job may have been changed.
    fn hold(&self, initial: Vec<Capability<Moment>>) -> Capabilities {
        let may_begin = self.may_change && (self.grows || !self.active.is_empty());
        let has_reserve = may_begin || !self.idle.is_empty();
        Capabilities::new(initial, self.active.iter().copied(), has_reserve)
    }
}

struct Ports<B, R> {
    batches: Output<Moment, Messages<B>>,
    rejects: Output<Moment, Messages<R>>,
}

struct Head<I: Ingest> {
    job: Arc<RunShared>,
    pacing: Pacing,
    worker: usize,
    workers: usize,
    reader: Box<dyn SourceReader>,
    ingest: I,
    capabilities: Capabilities,
    resting: Resting,
    /// Whether more partitions may be found.
    grows: bool,
    /// When the reader is to be asked again that could not say when there is more.
    look_due: Option<Instant>,
    sealed: Sealed<I::Batch, I::Reject>,
    epoch: OpenEpoch,
    /// To be set when the last epoch has begun.
    end: Rc<Cell<Option<Moment>>>,
    /// None where the source is told nothing.
    commands: Option<Receiver<StartEpoch>>,
    /// None in a job without checkpoints, which has one epoch.
    epochs: Option<Arc<Epochs>>,
}

/// What a source notes of the epoch that is open.
#[derive(Default)]
struct OpenEpoch {
    epoch: Epoch,
    /// Partitions that have ended, in this run or before.
    ended: Vec<PartitionCut>,
    /// Whether the coordinator knows that all have.
    told_all_ended: bool,
    /// Whether nothing is read any more: it was told so, or reading has failed.
    is_stopped: bool,
    read: u64,
    dropped: u64,
    filtered: u64,
    /// The last record of each partition, for a defect.
    #[cfg(feature = "faults")]
    last: BTreeMap<PartitionId, Offset>,
}

impl OpenEpoch {
    /// Notes what a poll has read, for a defect.
    #[cfg(feature = "faults")]
    fn note(&mut self, polled: &Polled<'_>) {
        if let Polled::Record {
            partition, offset, ..
        } = polled
        {
            self.last.insert(*partition, *offset);
        }
    }

    #[cfg(not(feature = "faults"))]
    fn note(&mut self, _: &Polled<'_>) {}

    /// What a cut says of where a partition goes on.
    #[cfg(feature = "faults")]
    fn said(&self, partition: PartitionId, position: Offset) -> Offset {
        let last = self.last.get(&partition).copied();
        let last = last.filter(|_| faults::is_on(Defect::PositionBehind));
        last.unwrap_or(position)
    }

    #[cfg(not(feature = "faults"))]
    fn said(&self, _: PartitionId, position: Offset) -> Offset {
        position
    }
}

/// The job was told what failed; this worker only has to end.
struct Failed;

impl<I: Ingest> Head<I> {
    /// Goes on where the run begins.
    fn begin(&mut self, idle: &[PartitionId]) {
        if let Some(epochs) = self.epochs.clone() {
            self.go_on(&epochs.beginning, idle);
        } else {
            self.end.set(Some(Moment::new(Epoch(0), EventTime::MAX)));
        }
        self.give_up_reserve_at_the_end();
        self.lift();
    }

    fn step(&mut self, ports: &mut Ports<I::Batch, I::Reject>, again: &Activator) {
        // Asked in this order: a failure stops the run as well.
        let is_stopping = self.job.is_stopping();
        if self.job.has_failed() {
            // Nothing is let go of: to the other stages that would look like an end of the input.
            return;
        }
        if self.obey().is_err() {
            return;
        }
        if self.epochs.is_none() && is_stopping {
            // What has been read is all there is.
            self.end_all();
        }
        self.tell_if_all_ended();
        let is_done = self.epoch.is_stopped || self.all_finished();
        if is_done {
            return;
        }
        if !self.job.flow.has_room_to_read() {
            self.resting.held_back(|_| false);
            self.tell_silence();
            return;
        }
        match self.poll(ports) {
            Ok(Readiness::More) => again.activate(),
            Ok(Readiness::Waiting) | Err(Failed) => {}
            Ok(Readiness::LookAgain(after)) => self.look_again(after, again),
            Ok(Readiness::Finished) => self.end_all(),
        }
        self.tell_if_all_ended();
    }

    /// Has the reader asked again after that time. Each way to be activated later stays until it is over, and every poll
    /// that brings nothing asks for one: so there is one at a time, unless the next is to come earlier.
    fn look_again(&mut self, after: Duration, again: &Activator) {
        let now = Instant::now();
        let due = now + after;
        let is_coming = |coming: &Instant| *coming > now && *coming <= due;
        if !self.look_due.as_ref().is_some_and(is_coming) {
            self.look_due = Some(due);
            again.activate_after(after);
        }
    }

    /// Ends the open epoch as often as it was told to.
    fn obey(&mut self) -> Result<(), Failed> {
        while let Some(Ok(command)) = self.commands.as_ref().map(Receiver::try_recv) {
            self.start_epoch(&command)?;
        }
        Ok(())
    }

    fn start_epoch(&mut self, command: &StartEpoch) -> Result<(), Failed> {
        let epoch = command.epoch;
        if let Some(epochs) = self.epochs.clone() {
            let ended = std::mem::replace(&mut self.epoch.epoch, epoch);
            epochs.hand_over(self.worker, Part::Cut(ended, self.cut()));
            self.capabilities.enter(epoch);
            if command.then == Then::EndOfInput {
                epochs.set_last(epoch);
                self.end.set(Some(Moment::new(epoch, EventTime::MAX)));
            }
        }
        match command.then {
            Then::EndOfInput => self.capabilities.give_up_reserve(),
            Then::Stop => self.epoch.is_stopped = true,
            Then::ReadOn => self.change(command)?,
        }
        Ok(())
    }

    fn fail(&self, error: RunError) -> Failed {
        self.job.fail(error);
        Failed
    }

    /// Whether there is nothing left to read, and never will be.
    fn all_finished(&self) -> bool {
        let is_empty = self.capabilities.active.is_empty();
        is_empty && !self.grows && self.resting.idle().next().is_none()
    }

    /// Nothing follows the last epoch that could end it.
    fn end_last_epoch(&mut self) {
        if let Some(epochs) = self.epochs.clone() {
            epochs.hand_over(self.worker, Part::Cut(self.epoch.epoch, self.cut()));
        }
    }

    /// Where everything stands between two polls: all that was read has been sent.
    fn cut(&mut self) -> SourceCut {
        let active = self.capabilities.active.keys().copied();
        let read = active.chain(self.resting.idle());
        let cut = |partition: PartitionId| PartitionCut {
            partition,
            position: self.epoch.said(
                partition,
                self.reader.position(partition).unwrap_or_default(),
            ),
            mark: self.reader.mark(partition),
            highest: self.ingest.highest(partition),
            finished: false,
        };
        let mut partitions: Vec<_> = read.map(cut).chain(self.epoch.ended.clone()).collect();
        partitions.sort_by_key(|cut| cut.partition);
        SourceCut {
            partitions,
            raised: self.resting.take_raised(),
            passed: self.resting.settled(self.ingest.passed()),
            read: std::mem::take(&mut self.epoch.read),
            dropped: std::mem::take(&mut self.epoch.dropped),
            filtered: std::mem::take(&mut self.epoch.filtered),
        }
    }

    fn tell_if_all_ended(&mut self) {
        if let Some(epochs) = &self.epochs
            && self.all_finished()
            && !std::mem::replace(&mut self.epoch.told_all_ended, true)
        {
            epochs.hand_over(self.worker, Part::AllEnded);
        }
    }

    fn poll(&mut self, ports: &mut Ports<I::Batch, I::Reject>) -> Result<Readiness, Failed> {
        let mut poll = Poll::new(self.pacing.effect());
        let read_at = self.job.clock.monotonic();
        let (ingest, epoch) = (&mut self.ingest, &mut self.epoch);
        let pace = self.pacing.pace();
        let allowance = pace.map(|pace| pace.look(&self.job.flow));
        let paced = |id| allowance.as_ref().is_none_or(|it| it.allows(id));
        // Asked and told in turn: a reader does not ask while it hands out.
        let resting = RefCell::new(&mut self.resting);
        // What is idle is read at once, whenever it speaks.
        let held_back = RefCell::new(Vec::new());
        let may_read = |id| {
            let may = resting.borrow().is_idle(id) || paced(id);
            if !may {
                held_back.borrow_mut().push(id);
            }
            may
        };
        let demand = Demand::new(RECORDS_PER_POLL_MAX, &may_read);
        let polled = self.reader.poll(demand, &mut |polled| {
            epoch.note(&polled);
            poll.take(ingest, &resting, polled)
        });
        let readiness = match polled {
            Ok(readiness) => readiness,
            // What was read before is worth its checkpoint: the next run begins at what can't be read.
            Err(error) if self.epochs.is_some() => {
                self.epoch.is_stopped = true;
                self.job.fail_once_stopped(RunError::Source(error));
                Readiness::Waiting
            }
            Err(error) => return Err(self.fail(RunError::Source(error))),
        };
        let held_back = held_back.into_inner();
        self.resting.held_back(paced);
        self.wake(&poll.woken);
        if poll.records > 0 {
            self.job.meters.count_read(poll.records);
            self.epoch.read += poll.records;
            let ticket = self.job.flow.admit(poll.records, poll.bytes, read_at);
            self.ingest.seal(&ticket, &mut self.sealed);
            let dropped = std::mem::take(&mut self.sealed.dropped);
            self.job.meters.count_dropped(dropped);
            self.epoch.dropped += dropped;
            let filtered = std::mem::take(&mut self.sealed.filtered);
            self.job.meters.count_filtered(filtered);
            self.epoch.filtered += filtered;
            self.send(ports)?;
        }
        self.lift();
        self.keep_abreast(&poll.spoke, &held_back, readiness);
        for partition in poll.finished {
            self.end(partition);
        }
        for partition in poll.silent {
            let position = self.reader.position(partition);
            if self.capabilities.active.contains_key(&partition) {
                self.resting
                    .fell_silent(partition, position.unwrap_or_default());
            }
        }
        self.tell_silence();
        Ok(readiness)
    }

    /// Lifts what is held to the partitions' watermarks, after everything read was sent.
    fn lift(&mut self) {
        let mut risen = Vec::new();
        for (&partition, held) in &mut self.capabilities.active {
            let watermark = self.ingest.watermark(partition);
            if held.lift(watermark) {
                risen.push((partition, watermark));
            }
        }
        if faults::is_on(Defect::IdleWithoutReserve) {
            self.capabilities.rise_too_far();
        }
        for (partition, watermark) in risen {
            self.advance_pace(partition, watermark);
        }
        self.tell();
    }

    /// Where nothing waits, those rest that have nothing to read now: all that were not held back, when the reader knows of
    /// no more. Who has spoken is awake.
    fn keep_abreast(&self, spoke: &[PartitionId], held_back: &[PartitionId], readiness: Readiness) {
        let Pacing::Abreast(pace) = &self.pacing else {
            return;
        };
        let is_dry = readiness != Readiness::More;
        for &partition in self.capabilities.active.keys() {
            let rests = is_dry && !held_back.contains(&partition);
            if rests && pace.rest(partition) {
                self.job.flow.wake_all();
            } else if !rests && spoke.contains(&partition) {
                self.advance_pace(partition, self.ingest.watermark(partition));
            }
        }
    }

    fn advance_pace(&self, partition: PartitionId, watermark: EventTime) {
        if let Some(pace) = self.pacing.pace()
            && pace.advance(partition, watermark)
        {
            self.job.flow.wake_all();
        }
    }

    /// A partition that has ended holds nothing back any more.
    fn end(&mut self, partition: PartitionId) {
        let was_idle = self.resting.end(partition);
        if self.capabilities.active.remove(&partition).is_some() || was_idle {
            self.epoch.ended.push(PartitionCut {
                partition,
                position: self.reader.position(partition).unwrap_or_default(),
                mark: None,
                highest: self.ingest.highest(partition),
                finished: true,
            });
        }
        self.advance_pace(partition, EventTime::MAX);
        self.give_up_reserve_at_the_end();
    }

    fn give_up_reserve_at_the_end(&mut self) {
        if self.all_finished() {
            self.capabilities.give_up_reserve();
        }
    }

    fn end_all(&mut self) {
        self.grows = false;
        let active = self.capabilities.active.keys().copied();
        let all: Vec<_> = active.chain(self.resting.idle()).collect();
        for partition in all {
            self.end(partition);
        }
        self.give_up_reserve_at_the_end();
        self.tell_silence();
        self.tell();
    }

    /// Tells who watches the run how far event time has come.
    fn tell(&self) {
        let watermarks = self.capabilities.watermarks();
        self.job.reached.tell(self.worker, watermarks);
    }

    fn send(&mut self, ports: &mut Ports<I::Batch, I::Reject>) -> Result<(), Failed> {
        let (job, active) = (&self.job, &self.capabilities.active);
        let held = |partition: PartitionId| {
            active.get(&partition).ok_or_else(|| {
                job.fail(RunError::RecordAfterEnd(partition));
                Failed
            })
        };
        let mut batches = ports.batches.activate();
        for (partition, batch) in self.sealed.batches.drain(..) {
            batches.give(&held(partition)?.outputs, &mut Messages(vec![batch]));
        }
        let mut rejects = ports.rejects.activate();
        for (partition, reject) in self.sealed.rejects.drain(..) {
            rejects.give(&held(partition)?.rejects, &mut Messages(vec![reject]));
        }
        Ok(())
    }
}
