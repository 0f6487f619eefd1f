//! Runs a graph on a group of threads, from the first poll to the last written record.
//!
//! A group is one process with one timely worker per thread, and one publisher thread that owns the
//! sink. Whatever fails first, on any thread, is kept as the run's error; the others are told to stop and
//! end in order. A run that ended well has written everything that it read.

mod publisher;

use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crossbeam_channel::Sender;
use timely::worker::Worker;

use crate::adapter::{Graph, GraphError, Publication};
use crate::clock::Clock;
use crate::flow::Flow;
use crate::meters::{Latency, Meters, Totals};
use crate::moment::{Epoch, EventTime, Moment};
use crate::place::PartitionId;
use crate::sink::{Sink, SinkError};
use crate::source::{Share, SourceError};

/// Most threads of one group; far beyond what one process can use, small enough to catch a slip.
pub const WORKERS_MAX: usize = 256;

/// How long a worker without work sleeps at most before it looks whether the job is to stop. Work itself
/// wakes it at once.
const PARK: Duration = Duration::from_millis(100);

/// A run ended without having written everything.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The source failed.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The sink failed.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The graph is not complete.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// A stage could not be made.
    #[error("cannot start stage `{stage}`: {source}")]
    Stage {
        /// Its name.
        stage: &'static str,
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A reader broke its contract.
    #[error("the source handed out a record of partition {0} after the partition's end")]
    RecordAfterEnd(PartitionId),
    /// The system refused a thread, or timely could not start.
    #[error("cannot start {workers} workers: {reason}")]
    Start {
        /// How many were asked for.
        workers: usize,
        /// What the system said.
        reason: String,
    },
    /// A defect of the engine: a thread panicked. Its message is on stderr as well.
    #[error("a worker panicked: {0}")]
    Panicked(String),
}

/// What a run that ended well has to say.
#[derive(Clone, Copy, Debug, Default)]
pub struct Finished {
    /// What was read and what became of it.
    pub totals: Totals,
    /// From read to encoded.
    pub latency: Latency,
}

/// What the threads of a group share.
pub struct JobShared {
    pub(crate) flow: Arc<Flow>,
    pub(crate) meters: Arc<Meters>,
    pub(crate) clock: Arc<dyn Clock>,
    publisher: Sender<Publication>,
    stop: Arc<StopFlag>,
    /// Set with `failure`, and read without its lock.
    failed: AtomicBool,
    failure: Mutex<Option<RunError>>,
}

impl JobShared {
    /// Keeps the first failure and stops the group.
    pub(crate) fn fail(&self, error: RunError) {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.get_or_insert(error);
        drop(failure);
        // In this order: whatever a failure makes other workers let go of, they know by then that it is
        // no end of the input.
        self.stop.raised.store(true, Ordering::SeqCst);
        self.failed.store(true, Ordering::SeqCst);
        self.flow.wake_sources();
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stop.raised.load(Ordering::SeqCst)
    }

    pub(crate) fn hand_to_publisher(&self, publication: Publication) {
        let latency = self
            .clock
            .monotonic()
            .saturating_sub(publication.ticket.read_at());
        self.meters
            .record_latency(latency, u64::from(publication.chunk.records));
        // Only a publisher that has failed hangs up, and then the failure is already on record.
        drop(self.publisher.send(publication));
    }
}

#[derive(Debug, Default)]
struct StopFlag {
    raised: AtomicBool,
}

/// Asks a running group to stop; for signal handlers and supervisors.
#[derive(Clone, Debug)]
pub struct Stopper {
    stop: Arc<StopFlag>,
    flow: Arc<Flow>,
}

impl Stopper {
    /// Sources stop reading; what they have read is handled and written, then the run ends.
    pub fn stop(&self) {
        self.stop.raised.store(true, Ordering::SeqCst);
        self.flow.wake_sources();
    }
}

/// A group of workers that is about to run.
pub struct WorkerGroup {
    workers: usize,
    clock: Arc<dyn Clock>,
    flow: Arc<Flow>,
    meters: Arc<Meters>,
    stop: Arc<StopFlag>,
}

impl WorkerGroup {
    /// A group of `workers` threads, at least 1 and at most [`WORKERS_MAX`].
    pub fn new(workers: usize, clock: Arc<dyn Clock>) -> Self {
        let workers = workers.clamp(1, WORKERS_MAX);
        WorkerGroup {
            workers,
            clock,
            flow: Arc::new(Flow::new(workers)),
            meters: Arc::default(),
            stop: Arc::default(),
        }
    }

    /// Number of threads.
    pub fn workers(&self) -> usize {
        self.workers
    }

    /// Live counters of the run.
    pub fn meters(&self) -> Arc<Meters> {
        Arc::clone(&self.meters)
    }

    /// A handle that stops the run.
    pub fn stopper(&self) -> Stopper {
        Stopper {
            stop: Arc::clone(&self.stop),
            flow: Arc::clone(&self.flow),
        }
    }

    /// Builds the graph on every worker, runs it to its end, and writes its outputs to `sink`.
    pub fn run(
        self,
        sink: Box<dyn Sink>,
        build: impl Fn(&Graph<'_>) -> Result<(), RunError> + Send + Sync + 'static,
    ) -> Result<Finished, RunError> {
        let stopper = self.stopper();
        // Unbounded as a channel; what can be in it is bounded by the flow.
        let (publisher, publications) = crossbeam_channel::unbounded();
        let job = Arc::new(JobShared {
            flow: self.flow,
            meters: Arc::clone(&self.meters),
            clock: self.clock,
            publisher,
            stop: self.stop,
            failed: AtomicBool::new(false),
            failure: Mutex::new(None),
        });
        let meters = Arc::clone(&self.meters);
        let publishing = publisher::start(sink, publications, meters, stopper)?;
        let workers = self.workers;
        let group_job = Arc::clone(&job);
        let config = timely::Config::process(workers);
        let group = timely::execute(config, move |worker| work(worker, &group_job, &build));
        let joined = match group {
            Ok(guards) => guards.join(),
            Err(reason) => return Err(RunError::Start { workers, reason }),
        };
        for message in joined.into_iter().filter_map(Result::err) {
            job.fail(RunError::Panicked(message));
        }
        let failure = job
            .failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        // Hanging up tells the publisher that no more comes.
        drop(job);
        let published = publishing.join();
        if let Some(error) = failure {
            return Err(error);
        }
        published.map_err(|_| RunError::Panicked("the publisher".to_owned()))??;
        Ok(Finished {
            totals: self.meters.totals(),
            latency: self.meters.latency(),
        })
    }
}

/// The life of one worker.
fn work(
    worker: &mut Worker,
    job: &Arc<JobShared>,
    build: &dyn Fn(&Graph<'_>) -> Result<(), RunError>,
) {
    let share = Share {
        worker: worker.index(),
        workers: worker.peers(),
    };
    let index = worker.next_dataflow_index();
    let built = worker.dataflow(|scope| {
        let graph = Graph::new(scope, Arc::clone(job), share);
        build(&graph)?;
        Ok::<_, RunError>(graph.finish()?)
    });
    let built = match built {
        Ok(built) => built,
        Err(error) => {
            job.fail(error);
            worker.drop_dataflow(index);
            return;
        }
    };
    let end = Moment::new(Epoch(0), EventTime::MAX);
    let source = worker.activator_for(Rc::clone(&built.source));
    let _alarm = PanicAlarm(Arc::clone(job));
    while worker.step_or_park(Some(PARK)) {
        if job.failed.load(Ordering::SeqCst) {
            // What is in the graph is not worth draining, and a worker that died would hold it open.
            worker.drop_dataflow(index);
            return;
        }
        let drained = !built.drained.get() && !built.probe.less_than(&end);
        if drained {
            built.drained.set(true);
        }
        if drained || job.is_stopping() {
            source.activate();
        }
    }
}

/// Tells the group that this worker is unwinding; the others would wait for its progress for ever.
struct PanicAlarm(Arc<JobShared>);

impl Drop for PanicAlarm {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0
                .fail(RunError::Panicked("see the message above".to_owned()));
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;
