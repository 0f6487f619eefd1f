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

use crate::adapter::{Events, Graph, Messages, Rejects};
use crate::ingest::{Ingest, Sealed};
use crate::moment::{EventTime, Moment};
use crate::place::PartitionId;
use crate::run::{RunError, RunShared};
use crate::source::{Demand, Payload, Polled, Readiness, Source, SourceReader, Wake};

/// Records taken per activation. Large enough that the cost of a step and of a partly filled model batch
/// vanish, small enough that a batch stays in the cache between the stages.
pub const RECORDS_PER_POLL_MAX: usize = 1024;

/// Bytes taken per activation, at the end of the record that passes it: bounds what one poll can hold
/// when records are large.
pub const BYTES_PER_POLL_MAX: u64 = 4 * 1024 * 1024;

/// As far as the watermark of a partition that is still being read can rise: [`EventTime::MAX`] says that
/// the input has ended, and an event can bear any time, also the last one there is.
const LAST_OF_READING: EventTime = EventTime(i64::MAX - 1);

/// What the head of a graph gives: batches, and what was rejected before it was in one.
pub type SourceStreams<'s, I> = (
    Events<'s, <I as Ingest>::Batch>,
    Rejects<'s, <I as Ingest>::Reject>,
);

impl<'s> Graph<'s> {
    /// Reads this worker's share of `source` through `ingest`.
    pub fn source<I: Ingest>(
        &self,
        source: &dyn Source,
        ingest: I,
    ) -> Result<SourceStreams<'s, I>, RunError> {
        let mut builder = OperatorBuilder::new("source".to_owned(), self.scope);
        let (batches, batch_stream) = builder.new_output();
        let (rejects, reject_stream) = builder.new_output();
        let address = builder.operator_info().address;
        let worker = self.scope.worker();
        let wake = worker.sync_activator_for(address.to_vec());
        // An error says that the worker is gone, and with it whoever had to be woken.
        let wake = Wake::new(move || {
            wake.activate().ok();
        });
        let reader = source.open(self.share, wake.clone())?;
        self.job.flow.on_room(wake);
        let activator = worker.activator_for(Rc::clone(&address));
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
                worker: share.worker,
                reader,
                ingest,
                capabilities,
                sealed: Sealed::default(),
            };
            let mut ports = Ports { batches, rejects };
            let mut head = Some(head);
            move |_| {
                let Some(living) = &mut head else { return };
                let ended = drained.get() || living.job.is_stopping();
                if ended || living.step(&mut ports, &activator).is_err() {
                    // Dropping the head drops its capabilities: the frontier empties and the worker ends.
                    head = None;
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
    worker: usize,
    reader: Box<dyn SourceReader>,
    ingest: I,
    capabilities: Capabilities,
    sealed: Sealed<I::Batch, I::Reject>,
}

/// The job was told what failed; this worker only has to end.
struct Failed;

impl<I: Ingest> Head<I> {
    fn step(
        &mut self,
        ports: &mut Ports<I::Batch, I::Reject>,
        again: &Activator,
    ) -> Result<(), Failed> {
        if self.capabilities.all_finished() || !self.job.flow.has_room() {
            return Ok(());
        }
        let mut poll = Poll {
            records: 0,
            bytes: 0,
            finished: Vec::new(),
        };
        let read_at = self.job.clock.monotonic();
        let ingest = &mut self.ingest;
        let polled = self
            .reader
            .poll(Demand::of_all(RECORDS_PER_POLL_MAX), &mut |polled| {
                poll.take(ingest, polled)
            });
        let readiness = polled.map_err(|error| {
            self.job.fail(RunError::Source(error));
            Failed
        })?;
        if poll.records > 0 {
            self.job.meters.count_read(poll.records);
            let ticket = self.job.flow.admit(poll.records, poll.bytes, read_at);
            self.ingest.seal(&ticket, &mut self.sealed);
            self.send(ports)?;
        }
        self.capabilities.lift(&self.ingest, &poll.finished);
        match readiness {
            Readiness::More => again.activate(),
            Readiness::Waiting => {}
            Readiness::LookAgain(after) => again.activate_after(after),
            Readiness::Finished => self.capabilities.active.clear(),
        }
        let watermarks = self.capabilities.watermarks();
        self.job.reached.tell(self.worker, watermarks);
        Ok(())
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
            batches.give(&held(partition)?.batches, &mut Messages(vec![batch]));
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

/// A moment for each output of the source.
struct Held {
    batches: Capability<Moment>,
    rejects: Capability<Moment>,
}

impl Held {
    fn lift(&mut self, watermark: EventTime) {
        self.lift_to(watermark.min(LAST_OF_READING));
    }

    fn lift_to(&mut self, watermark: EventTime) {
        // A capability stands at the most of where it was and what the partition says: it never falls.
        let moment = Moment::new(self.batches.time().epoch, watermark);
        if self.batches.time().watermark < watermark {
            self.batches.downgrade(&moment);
            self.rejects.downgrade(&moment);
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
            batches: batches.clone(),
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
            .map(|held| held.batches.time().watermark)
    }

    /// Lifts what is held to the partitions' watermarks, after everything read was sent. A partition that
    /// has ended holds nothing back any more.
    fn lift<I: Ingest>(&mut self, ingest: &I, finished: &[PartitionId]) {
        for partition in finished {
            self.active.remove(partition);
        }
        for (&partition, held) in &mut self.active {
            held.lift(ingest.watermark(partition));
        }
    }
}
