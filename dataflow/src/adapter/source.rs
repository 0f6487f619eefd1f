//! The head of a graph: polls a reader, feeds an [`Ingest`], holds one capability per partition.
//!
//! In a job with checkpoints it also obeys the coordinator, between two polls: it notes where each partition
//! stands, which ends an epoch, and takes its capabilities into the next. Reading never stops for that.

use std::cell::Cell;
#[cfg(feature = "faults")]
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::sync::Arc;

use timely::dataflow::channels::pushers::Output;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::scheduling::Activator;

use crate::adapter::capabilities::Capabilities;
use crate::adapter::{Events, Graph, Messages, Rejects};
use crate::control::{Epochs, Part, PartitionCut, SourceCut, StartEpoch, Then};
#[cfg(feature = "faults")]
use crate::faults::{self, Defect};
use crate::ingest::{Ingest, Sealed};
use crate::moment::{Epoch, EventTime, Moment};
use crate::pace::Pace;
use crate::place::{Offset, PartitionId};
use crate::run::{RunError, RunShared};
use crate::source::{Demand, Payload, Polled, Readiness, Source, SourceReader, Starts};

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
        self.source_at(None, source, ingest)
    }

    /// The same, but no partition runs further ahead of the others than `pace` allows; for graphs with an
    /// operator that waits for the watermark.
    pub fn source_in_step<I: Ingest>(
        &self,
        pace: &Arc<Pace>,
        source: &dyn Source,
        ingest: I,
    ) -> Result<SourceStreams<'s, I>, RunError> {
        self.source_at(Some(Arc::clone(pace)), source, ingest)
    }

    fn source_at<I: Ingest>(
        &self,
        pace: Option<Arc<Pace>>,
        source: &dyn Source,
        ingest: I,
    ) -> Result<SourceStreams<'s, I>, RunError> {
        let mut builder = OperatorBuilder::new("source".to_owned(), self.scope);
        let (batches, batch_stream) = builder.new_output();
        let (rejects, reject_stream) = builder.new_output();
        let address = builder.operator_info().address;
        let (activator, wake) = self.activators(&address);
        let epochs = self.job.epochs().cloned();
        let starts = epochs
            .as_ref()
            .map_or_else(Starts::beginning, |epochs| epochs.beginning.starts());
        let reader = source.open(self.share, &starts, wake.clone())?;
        self.job.flow.on_room(wake);
        activator.activate();
        *self.source.borrow_mut() = Some(address);

        let share = self.share;
        let partitions = source.partitions().iter().map(|it| it.id);
        let mine: Vec<_> = partitions.filter(|&id| share.reads(id)).collect();
        let job = Arc::clone(&self.job);
        let (drained, end) = (Rc::clone(&self.drained), Rc::clone(&self.end));
        builder.build(move |initial| {
            let open = mine.into_iter().filter(|&id| !starts.has_ended(id));
            let mut head = Head {
                pace,
                worker: share.worker,
                workers: share.workers,
                reader,
                ingest,
                capabilities: Capabilities::new(initial, open),
                sealed: Sealed::default(),
                epoch: OpenEpoch::default(),
                end,
                epochs,
                job,
            };
            head.begin();
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

struct Ports<B, R> {
    batches: Output<Moment, Messages<B>>,
    rejects: Output<Moment, Messages<R>>,
}

struct Head<I: Ingest> {
    job: Arc<RunShared>,
    pace: Option<Arc<Pace>>,
    worker: usize,
    workers: usize,
    reader: Box<dyn SourceReader>,
    ingest: I,
    capabilities: Capabilities,
    sealed: Sealed<I::Batch, I::Reject>,
    epoch: OpenEpoch,
    /// To be set when the last epoch has begun.
    end: Rc<Cell<Option<Moment>>>,
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
    /// Whether nothing is read any more.
    is_stopped: bool,
    read: u64,
    dropped: u64,
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
    fn begin(&mut self) {
        if let Some(epochs) = &self.epochs {
            let beginning = &epochs.beginning;
            self.epoch.epoch = beginning.epoch;
            self.capabilities.enter(beginning.epoch);
            for &cut in &beginning.partitions {
                if let Some(highest) = cut.highest {
                    self.ingest.resume(cut.partition, highest);
                }
                if cut.finished && cut.partition.worker(self.workers) == self.worker {
                    self.epoch.ended.push(cut);
                }
            }
            let ended: Vec<_> = self.epoch.ended.iter().map(|cut| cut.partition).collect();
            for partition in ended {
                self.advance_pace(partition, EventTime::MAX);
            }
        } else {
            self.end.set(Some(Moment::new(Epoch(0), EventTime::MAX)));
        }
        self.lift();
    }

    fn step(&mut self, ports: &mut Ports<I::Batch, I::Reject>, again: &Activator) {
        // Asked in this order: a failure stops the run as well.
        let is_stopping = self.job.is_stopping();
        if self.job.has_failed() {
            // Nothing is let go of: to the other stages that would look like an end of the input.
            return;
        }
        if self.epochs.is_some() {
            self.obey();
        } else if is_stopping {
            // What has been read is all there is.
            self.end_all();
        }
        self.tell_if_all_ended();
        let is_done = self.epoch.is_stopped || self.capabilities.all_finished();
        if is_done || !self.job.flow.has_room_to_read() {
            return;
        }
        match self.poll(ports) {
            Ok(Readiness::More) => again.activate(),
            Ok(Readiness::Waiting) | Err(Failed) => {}
            Ok(Readiness::LookAgain(after)) => again.activate_after(after),
            Ok(Readiness::Finished) => self.end_all(),
        }
        self.tell_if_all_ended();
    }

    /// Ends the open epoch as often as the coordinator has said.
    fn obey(&mut self) {
        let Some(epochs) = self.epochs.clone() else {
            return;
        };
        let Some(line) = epochs.lines.get(self.worker) else {
            return;
        };
        while let Ok(StartEpoch { epoch, then, .. }) = line.commands.try_recv() {
            let ended = std::mem::replace(&mut self.epoch.epoch, epoch);
            epochs.hand_over(self.worker, Part::Cut(ended, self.cut()));
            self.capabilities.enter(epoch);
            match then {
                Then::ReadOn => {}
                Then::EndOfInput => {
                    epochs.set_last(epoch);
                    self.end.set(Some(Moment::new(epoch, EventTime::MAX)));
                }
                Then::Stop => self.epoch.is_stopped = true,
            }
        }
    }

    /// Nothing follows the last epoch that could end it.
    fn end_last_epoch(&mut self) {
        if let Some(epochs) = self.epochs.clone() {
            epochs.hand_over(self.worker, Part::Cut(self.epoch.epoch, self.cut()));
        }
    }

    /// Where everything stands between two polls: all that was read has been sent.
    fn cut(&mut self) -> SourceCut {
        let active = self.capabilities.active.keys();
        let cut = |&partition: &PartitionId| PartitionCut {
            partition,
            position: self.epoch.said(
                partition,
                self.reader.position(partition).unwrap_or_default(),
            ),
            highest: self.ingest.highest(partition),
            finished: false,
        };
        let mut partitions: Vec<_> = active.map(cut).chain(self.epoch.ended.clone()).collect();
        partitions.sort_by_key(|cut| cut.partition);
        SourceCut {
            partitions,
            watermark: self.capabilities.watermarks().min(),
            read: std::mem::take(&mut self.epoch.read),
            dropped: std::mem::take(&mut self.epoch.dropped),
        }
    }

    fn tell_if_all_ended(&mut self) {
        if let Some(epochs) = &self.epochs
            && self.capabilities.all_finished()
            && !std::mem::replace(&mut self.epoch.told_all_ended, true)
        {
            epochs.hand_over(self.worker, Part::AllEnded);
        }
    }

    fn poll(&mut self, ports: &mut Ports<I::Batch, I::Reject>) -> Result<Readiness, Failed> {
        let mut poll = Poll {
            records: 0,
            bytes: 0,
            finished: Vec::new(),
        };
        let read_at = self.job.clock.monotonic();
        let (ingest, epoch) = (&mut self.ingest, &mut self.epoch);
        let allowance = self.pace.as_ref().map(|pace| pace.look(&self.job.flow));
        let may_read = |id| allowance.as_ref().is_none_or(|it| it.allows(id));
        let demand = Demand::new(RECORDS_PER_POLL_MAX, &may_read);
        let polled = self.reader.poll(demand, &mut |polled| {
            epoch.note(&polled);
            poll.take(ingest, polled)
        });
        let readiness = polled.map_err(|error| {
            self.job.fail(RunError::Source(error));
            Failed
        })?;
        if poll.records > 0 {
            self.job.meters.count_read(poll.records);
            self.epoch.read += poll.records;
            let ticket = self.job.flow.admit(poll.records, poll.bytes, read_at);
            self.ingest.seal(&ticket, &mut self.sealed);
            let dropped = std::mem::take(&mut self.sealed.dropped);
            self.job.meters.count_dropped(dropped);
            self.epoch.dropped += dropped;
            self.send(ports)?;
        }
        self.lift();
        for partition in poll.finished {
            self.end(partition);
        }
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
        for (partition, watermark) in risen {
            self.advance_pace(partition, watermark);
        }
        self.tell();
    }

    fn advance_pace(&self, partition: PartitionId, watermark: EventTime) {
        if let Some(pace) = &self.pace
            && pace.advance(partition, watermark)
        {
            self.job.flow.wake_all();
        }
    }

    /// A partition that has ended holds nothing back any more.
    fn end(&mut self, partition: PartitionId) {
        if self.capabilities.active.remove(&partition).is_some() {
            self.epoch.ended.push(PartitionCut {
                partition,
                position: self.reader.position(partition).unwrap_or_default(),
                highest: self.ingest.highest(partition),
                finished: true,
            });
        }
        self.advance_pace(partition, EventTime::MAX);
    }

    fn end_all(&mut self) {
        while let Some(partition) = self.capabilities.first() {
            self.end(partition);
        }
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

/// What one poll has brought so far.
struct Poll {
    records: u64,
    bytes: u64,
    finished: Vec<PartitionId>,
}

impl Poll {
    fn take<I: Ingest>(&mut self, ingest: &mut I, polled: Polled<'_>) -> ControlFlow<()> {
        match polled {
            Polled::Record {
                partition,
                offset,
                payload,
            } => {
                self.records += 1;
                self.bytes += match payload {
                    Payload::Whole(bytes) => bytes.len() as u64,
                    Payload::Oversize { head, .. } => head.len() as u64,
                };
                ingest.on_record(partition, offset, payload);
            }
            Polled::Finished(partition) => self.finished.push(partition),
        }
        if self.bytes < BYTES_PER_POLL_MAX {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    }
}
