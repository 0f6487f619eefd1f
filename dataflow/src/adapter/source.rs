//! The head of a graph: polls a reader, feeds an [`Ingest`], holds one capability per partition.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::sync::Arc;

use timely::dataflow::channels::pushers::Output;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::progress::Timestamp;
use timely::scheduling::Activator;

use crate::adapter::held::Held;
use crate::adapter::{Events, Graph, Messages, Rejects};
use crate::ingest::{Ingest, Sealed};
use crate::moment::{EventTime, Moment};
use crate::pace::Pace;
use crate::place::PartitionId;
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
        let reader = source.open(self.share, &Starts::beginning(), wake.clone())?;
        self.job.flow.on_room(wake);
        activator.activate();
        *self.source.borrow_mut() = Some(address);

        let share = self.share;
        let partitions: Vec<PartitionId> = source
            .partitions()
            .iter()
            .map(|p| p.id)
            .filter(|&id| share.reads(id))
            .collect();
        let job = Arc::clone(&self.job);
        let drained = Rc::clone(&self.drained);
        builder.build(move |initial| {
            let capabilities = Capabilities::new(initial, &partitions);
            job.reached.tell(share.worker, capabilities.watermarks());
            let head = Head {
                job,
                pace,
                worker: share.worker,
                reader,
                ingest,
                capabilities,
                sealed: Sealed::default(),
            };
            let mut ports = Ports { batches, rejects };
            let mut head = Some(head);
            move |_| {
                if drained.get() {
                    // Dropping the head drops its capabilities: the frontier empties and the worker ends.
                    head = None;
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
    reader: Box<dyn SourceReader>,
    ingest: I,
    capabilities: Capabilities,
    sealed: Sealed<I::Batch, I::Reject>,
}

/// The job was told what failed; this worker only has to end.
struct Failed;

impl<I: Ingest> Head<I> {
    fn step(&mut self, ports: &mut Ports<I::Batch, I::Reject>, again: &Activator) {
        // Asked in this order: a failure stops the run as well.
        let is_stopping = self.job.is_stopping();
        if self.job.has_failed() {
            // Nothing is let go of: to the other stages that would look like an end of the input.
            return;
        }
        if is_stopping {
            // What has been read is all there is.
            self.end_all();
        }
        if self.capabilities.all_finished() || !self.job.flow.has_room_to_read() {
            return;
        }
        match self.poll(ports) {
            Ok(Readiness::More) => again.activate(),
            Ok(Readiness::Waiting) | Err(Failed) => {}
            Ok(Readiness::LookAgain(after)) => again.activate_after(after),
            Ok(Readiness::Finished) => self.end_all(),
        }
    }

    fn poll(&mut self, ports: &mut Ports<I::Batch, I::Reject>) -> Result<Readiness, Failed> {
        let mut poll = Poll {
            records: 0,
            bytes: 0,
            finished: Vec::new(),
        };
        let read_at = self.job.clock.monotonic();
        let ingest = &mut self.ingest;
        let allowance = self.pace.as_ref().map(|pace| pace.look(&self.job.flow));
        let may_read = |id| allowance.as_ref().is_none_or(|it| it.allows(id));
        let demand = Demand::new(RECORDS_PER_POLL_MAX, &may_read);
        let polled = self
            .reader
            .poll(demand, &mut |polled| poll.take(ingest, polled));
        let readiness = polled.map_err(|error| {
            self.job.fail(RunError::Source(error));
            Failed
        })?;
        if poll.records > 0 {
            self.job.meters.count_read(poll.records);
            let ticket = self.job.flow.admit(poll.records, poll.bytes, read_at);
            self.ingest.seal(&ticket, &mut self.sealed);
            let dropped = std::mem::take(&mut self.sealed.dropped);
            self.job.meters.count_dropped(dropped);
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
        for (&partition, held) in &mut self.capabilities.active {
            let watermark = self.ingest.watermark(partition);
            if held.lift(watermark)
                && let Some(pace) = &self.pace
                && pace.advance(partition, watermark)
            {
                self.job.flow.wake_all();
            }
        }
        self.tell();
    }

    /// A partition that has ended holds nothing back any more.
    fn end(&mut self, partition: PartitionId) {
        self.capabilities.active.remove(&partition);
        if let Some(pace) = &self.pace
            && pace.advance(partition, EventTime::MAX)
        {
            self.job.flow.wake_all();
        }
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

/// One moment per partition that is being read, and one at the end of event time that holds the graph
/// open until everything read has left it.
struct Capabilities {
    active: BTreeMap<PartitionId, Held>,
    _end: Held,
}

impl Capabilities {
    fn new(initial: Vec<Capability<Moment>>, partitions: &[PartitionId]) -> Self {
        #[expect(
            clippy::unreachable,
            reason = "the builder hands out one capability per output"
        )]
        let [batches, rejects] = initial.as_slice() else {
            unreachable!("the source has two outputs");
        };
        let held = || Held {
            outputs: batches.clone(),
            rejects: rejects.clone(),
        };
        let mut end = held();
        end.lift_to(EventTime::MAX);
        debug_assert_eq!(batches.time(), &Moment::minimum());
        Capabilities {
            active: partitions
                .iter()
                .map(|&partition| (partition, held()))
                .collect(),
            _end: end,
        }
    }

    fn all_finished(&self) -> bool {
        self.active.is_empty()
    }

    /// Of the partitions that are being read.
    fn watermarks(&self) -> impl Iterator<Item = EventTime> {
        self.active
            .values()
            .map(|held| held.outputs.time().watermark)
    }

    fn first(&self) -> Option<PartitionId> {
        self.active.first_key_value().map(|(&first, _)| first)
    }
}
