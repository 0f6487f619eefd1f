//! Runs a graph on a group of threads, from the first poll to the last written record.
//!
//! A group is one process with one timely worker per thread, and one publisher thread that owns the
//! sink. Whatever fails first, on any thread, is kept as the run's error; the others are told to stop and
//! end in order. A run that ended well has written everything that it read.

mod publisher;
mod checkpointing;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use timely::worker::Worker;

use crate::adapter::Graph;
use crate::checkpoint::recovery::Recovered;
use crate::clock::Clock;
use crate::flow::Flow;
use crate::meters::{Checkpoints, Latency, Meters, Totals};
use crate::reached::Reached;
use crate::run::{Outputs, PanicAlarm, RunError, RunShared, Stopper};
use crate::sink::Sink;
use crate::source::{Share, Source};
use crate::steering::Steering;

/// Most threads of one group; far beyond what one process can use, small enough to catch a slip.
pub const WORKERS_MAX: usize = 256;

/// How long a worker without work sleeps at most before it looks whether the job is to stop. Work itself
/// wakes it at once.
const PARK: Duration = Duration::from_millis(100);

/// What a run that ended well has to say.
#[derive(Clone, Copy, Debug, Default)]
pub struct Finished {
    /// What was read and what became of it.
    pub totals: Totals,
    /// From read to encoded.
    pub latency: Latency,
    /// From read to visible, with checkpoints.
    pub visible: Latency,
    /// What became of them.
    pub checkpoints: Checkpoints,
}

/// A group of workers that is about to run.
pub struct WorkerGroup {
    workers: usize,
    clock: Arc<dyn Clock>,
    meters: Arc<Meters>,
    reached: Arc<Reached>,
    stopper: Stopper,
    /// Whose partitions may change.
    source: Option<Arc<dyn Source>>,
}

impl WorkerGroup {
    /// A group of `workers` threads, at least 1 and at most [`WORKERS_MAX`].
    pub fn new(workers: usize, clock: Arc<dyn Clock>) -> Self {
        let workers = workers.clamp(1, WORKERS_MAX);
        WorkerGroup {
            workers,
            clock,
            meters: Arc::default(),
            reached: Arc::new(Reached::new(workers)),
            stopper: Stopper::new(Arc::new(Flow::new(workers))),
            source: None,
        }
    }

    /// The same group, which decides that partitions of `source` are idle, and looks for more of them. Needed for a
    /// source that [may change](Source::may_change), and of no effect for others.
    #[must_use]
    pub fn watching(mut self, source: Arc<dyn Source>) -> Self {
        self.source = Some(source).filter(|source| source.may_change());
        self
    }

    /// Number of threads.
    pub fn workers(&self) -> usize {
        self.workers
    }

    /// Live counters of the run.
    pub fn meters(&self) -> Arc<Meters> {
        Arc::clone(&self.meters)
    }

    /// How far event time has come, live.
    pub fn reached(&self) -> Arc<Reached> {
        Arc::clone(&self.reached)
    }

    /// A handle that stops the run.
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Builds the graph on every worker, runs it to its end, and writes its outputs to `sink`.
    pub fn run(
        self,
        sink: Box<dyn Sink>,
        build: impl Fn(&Graph<'_>) -> Result<(), RunError> + Send + Sync + 'static,
    ) -> Result<Finished, RunError> {
        // Unbounded as a channel; what can be in it is bounded by the flow.
        let (publisher, publications) = crossbeam_channel::unbounded();
        let meters = Arc::clone(&self.meters);
        let publishing = publisher::start(sink, publications, Arc::clone(&meters), self.stopper())?;
        let lines = match &self.source {
            Some(_) => self.workers,
            None => 0,
        };
        let lines = (0..lines).map(|_| crossbeam_channel::unbounded());
        let (commands, commanded): (Vec<_>, Vec<_>) = lines.unzip();
        let job = self.shared(Outputs::AtOnce(publisher, commanded));
        let start = || Steering::start(Arc::clone(&job), commands);
        let steering = self.source.is_some().then(start).transpose()?;
        run_workers(self.workers, &job, build);
        if let Some(steering) = steering {
            steering.end();
        }
        let failure = job.take_failure();
        // Hanging up tells the publisher that no more comes.
        drop(job);
        let published = publishing.join();
        if let Some(error) = failure {
            return Err(error);
        }
        published
            .map_err(|_| RunError::Panicked("the publisher, see the message above".to_owned()))??;
        Ok(finished(&meters))
    }

    /// The same with checkpoints: goes on where `recovered` begins, and writes its outputs epoch by epoch, when
    /// each is durable.
    pub fn run_in_epochs(
        self,
        recovered: Recovered,
        build: impl Fn(&Graph<'_>) -> Result<(), RunError> + Send + Sync + 'static,
    ) -> Result<Finished, RunError> {
        let meters = Arc::clone(&self.meters);
        let stopper = self.stopper();
        let (job, threads) = checkpointing::start(&self, recovered)?;
        run_workers(self.workers, &job, build);
        match threads.join(job) {
            Some(error) => Err(error),
            None if stopper.has_failed() => Err(RunError::Aborted),
            None => Ok(finished(&meters)),
        }
    }

    fn shared(&self, outputs: Outputs) -> Arc<RunShared> {
        let shared = RunShared::new(
            self.stopper(),
            Arc::clone(&self.meters),
            Arc::clone(&self.reached),
            Arc::clone(&self.clock),
            outputs,
        );
        Arc::new(shared.watching(self.source.clone()))
    }
}

fn finished(meters: &Meters) -> Finished {
    Finished {
        totals: meters.totals(),
        latency: meters.latency(),
        visible: meters.visible(),
        checkpoints: meters.checkpoints(),
    }
}

/// Runs a graph on every worker to its end. What fails is on record then.
fn run_workers(
    workers: usize,
    job: &Arc<RunShared>,
    build: impl Fn(&Graph<'_>) -> Result<(), RunError> + Send + Sync + 'static,
) {
    let group_job = Arc::clone(job);
    let config = timely::Config::process(workers);
    let group = timely::execute(config, move |worker| work(worker, &group_job, &build));
    match group {
        Ok(guards) => {
            for message in guards.join().into_iter().filter_map(Result::err) {
                job.fail(RunError::Panicked(message));
            }
        }
        Err(reason) => job.fail(RunError::Start { workers, reason }),
    }
}

/// The life of one worker.
fn work(
    worker: &mut Worker,
    job: &Arc<RunShared>,
    build: &dyn Fn(&Graph<'_>) -> Result<(), RunError>,
) {
    let share = Share {
        worker: worker.index(),
        workers: worker.peers(),
    };
    // Before the graph is built: stages are made there, and may panic.
    let _alarm = PanicAlarm(Arc::clone(job));
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
    let source = worker.activator_for(Rc::clone(&built.source));
    while worker.step_or_park(Some(PARK)) {
        if job.is_to_end() {
            // What is in the graph is not worth draining, and a worker that died would hold it open.
            worker.drop_dataflow(index);
            return;
        }
        built.look(&source);
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;
