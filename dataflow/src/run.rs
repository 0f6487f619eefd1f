//! What the threads of one run share: its bounds, its counters, the way to the publisher, and how it ends.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};

use crate::checkpoint::coordinator::JobFailure;
use crate::checkpoint::fault::FormatError;
use crate::clock::Clock;
use crate::control::{Epochs, Part, StartEpoch};
use crate::flow::{Flow, Publication};
use crate::idleness::Silences;
use crate::meters::Meters;
use crate::mirror::MirrorError;
use crate::moment::Epoch;
use crate::place::PartitionId;
use crate::reached::Reached;
use crate::sink::SinkError;
use crate::snapshot::RestoreError;
use crate::source::{Source, SourceError};

/// Pause before something is tried again that failed and may succeed later.
pub(crate) const RETRY_PAUSE: Duration = Duration::from_millis(100);

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
    /// A stage could not go on.
    #[error("stage `{stage}` cannot go on: {source}")]
    Operator {
        /// Its name.
        stage: String,
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
    /// The state of a checkpoint could not be taken in.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// What a checkpoint holds could not be written or read.
    #[error(transparent)]
    Checkpoint(#[from] FormatError),
    /// More checkpoints failed than the job survives.
    #[error(transparent)]
    Checkpoints(#[from] JobFailure),
    /// A copy of state for others is written by somebody else.
    #[error("the mirror cannot be written: {0}")]
    Mirror(#[from] MirrorError),
    /// A newer run of the job has taken over: this one has written nothing since that counts.
    #[error(
        "another run of the job has taken over: {winner}. This one has ended, and is not to be started again"
    )]
    Fenced {
        /// Who.
        winner: String,
    },
    /// Somebody ended the run at once.
    #[error("the run was ended at once: what it had read and not yet written is not written")]
    Aborted,
    /// A defect of the engine: a thread panicked. Its message is on stderr as well.
    #[error("a thread of the job panicked: {0}")]
    Panicked(String),
}

impl RunError {
    /// A thread panicked, and has said why.
    pub(crate) fn panicked() -> Self {
        RunError::Panicked("see the message above".to_owned())
    }
}

/// A graph that must not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GraphError {
    /// An operator's rejects go nowhere.
    #[error("rejects of operator `{0}` are not consumed: every event needs an outcome")]
    RejectsNotConsumed(String),
    /// A graph without source would never end.
    #[error("the graph has no source")]
    NoSource,
    /// Nobody would decide that a partition is idle, or look for more.
    #[error(
        "partitions of the source may fall silent or be found later: tell the group of it, with `WorkerGroup::watching`"
    )]
    NotWatched,
}

/// Where finished records go from a worker, and where what its source is told comes from.
pub(crate) enum Outputs {
    /// To the publisher, as they come. By worker, what it is told of idle and new partitions; none where there are none.
    AtOnce(Sender<Publication>, Vec<Receiver<StartEpoch>>),
    /// Into the outbox of their epoch, to be published when it is durable.
    ByEpoch(Arc<Epochs>),
}

/// What the threads of a group share.
pub struct RunShared {
    pub(crate) flow: Arc<Flow>,
    pub(crate) meters: Arc<Meters>,
    pub(crate) reached: Arc<Reached>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) silences: Silences,
    /// Whose partitions may change; none where they do not.
    source: Option<Arc<dyn Source>>,
    outputs: Outputs,
    stopper: Stopper,
    failure: Mutex<Option<RunError>>,
}

impl RunShared {
    pub(crate) fn new(
        stopper: Stopper,
        meters: Arc<Meters>,
        reached: Arc<Reached>,
        clock: Arc<dyn Clock>,
        outputs: Outputs,
    ) -> Self {
        RunShared {
            flow: Arc::clone(&stopper.flow),
            meters,
            reached,
            clock,
            silences: Silences::default(),
            source: None,
            outputs,
            stopper,
            failure: Mutex::new(None),
        }
    }

    /// The same, where partitions of `source` may change.
    pub(crate) fn watching(mut self, source: Option<Arc<dyn Source>>) -> Self {
        self.source = source;
        self
    }

    /// Whose partitions may change.
    pub(crate) fn source(&self) -> Option<&Arc<dyn Source>> {
        self.source.as_ref()
    }

    /// Whether somebody decides about partitions that change.
    pub(crate) fn is_watching(&self) -> bool {
        self.source.is_some()
    }

    /// Keeps the first failure and stops the group.
    pub(crate) fn fail(&self, error: RunError) {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.get_or_insert(error);
        drop(failure);
        self.stopper.abort();
    }

    /// The run ends with this failure as well, but as if it had been asked to stop: what was read is handled and kept.
    pub(crate) fn fail_once_stopped(&self, error: RunError) {
        self.meters.note_trouble(error.to_string());
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.get_or_insert(error);
        drop(failure);
        self.stopper.stop();
    }

    /// Ends a run at once that will end with a failure: what its last checkpoint needs is not to be had.
    pub(crate) fn wait_no_longer(&self) {
        if self.is_doomed() {
            self.stopper.abort();
        }
    }

    /// Whether the run will end with a failure.
    pub(crate) fn is_doomed(&self) -> bool {
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.is_some()
    }

    /// Whether the run is to end at once, with what is in the graph left where it is.
    pub(crate) fn has_failed(&self) -> bool {
        self.stopper.has_failed()
    }

    /// Whether the workers are to end at once: the run has failed, or is over.
    pub(crate) fn is_to_end(&self) -> bool {
        self.stopper.has_failed() || self.stopper.is_over()
    }

    pub(crate) fn stopper(&self) -> &Stopper {
        &self.stopper
    }

    /// The failure, if there was one.
    pub(crate) fn take_failure(&self) -> Option<RunError> {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.take()
    }

    /// Whether sources are to read no more.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopper.is_raised()
    }

    /// What a run with checkpoints has besides.
    pub(crate) fn epochs(&self) -> Option<&Arc<Epochs>> {
        match &self.outputs {
            Outputs::AtOnce(..) => None,
            Outputs::ByEpoch(epochs) => Some(epochs),
        }
    }

    /// What a worker's source is told; none if it will be told nothing.
    pub(crate) fn commands(&self, worker: usize) -> Option<Receiver<StartEpoch>> {
        let commands = match &self.outputs {
            Outputs::AtOnce(_, commands) => commands.get(worker)?,
            Outputs::ByEpoch(epochs) => &epochs.lines.get(worker)?.commands,
        };
        Some(commands.clone())
    }

    /// Sends a worker's finished records, made of input of `epoch`, on their way.
    pub(crate) fn publish(&self, worker: usize, epoch: Epoch, publication: Publication) {
        let now = self.clock.monotonic();
        let latency = now.saturating_sub(publication.ticket.read_at());
        let records = u64::from(publication.chunk.records);
        self.meters.record_latency(latency, records);
        match &self.outputs {
            // Only a publisher that has failed hangs up, and then the failure is already on record.
            Outputs::AtOnce(publisher, _) => drop(publisher.send(publication)),
            Outputs::ByEpoch(epochs) => {
                epochs.hand_over(worker, Part::Output(epoch, publication));
            }
        }
    }
}

/// Asks a running group to stop; for signal handlers and supervisors.
#[derive(Clone, Debug)]
pub struct Stopper {
    raised: Arc<AtomicBool>,
    /// Set when the run is to end without a result.
    failed: Arc<AtomicBool>,
    /// Set when the run is over though its input is not.
    over: Arc<AtomicBool>,
    pub(crate) flow: Arc<Flow>,
}

impl Stopper {
    pub(crate) fn new(flow: Arc<Flow>) -> Self {
        Stopper {
            raised: Arc::default(),
            failed: Arc::default(),
            over: Arc::default(),
            flow,
        }
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::SeqCst)
    }

    /// Waits a moment, before something is tried again.
    pub(crate) fn pause(&self) -> Result<(), Abandoned> {
        thread::sleep(RETRY_PAUSE);
        if self.has_failed() {
            Err(Abandoned)
        } else {
            Ok(())
        }
    }

    /// Sources stop reading, and the run ends. Without checkpoints the input ends here for them: what they have read is
    /// handled and written, also what waits for the watermark. With checkpoints there is a last one, which
    /// what waits goes into.
    pub fn stop(&self) {
        self.raised.store(true, Ordering::SeqCst);
        self.flow.wake_all();
    }

    /// Whether the run is to end before its input does, well or not.
    pub(crate) fn is_raised(&self) -> bool {
        self.raised.load(Ordering::SeqCst)
    }

    /// Ends the run, which ended well before its input did.
    pub(crate) fn end(&self) {
        self.over.store(true, Ordering::SeqCst);
        self.flow.wake_all();
    }

    /// Whether it has ended so.
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// Ends the run at once, like a failure: what is in the graph is left where it is. With checkpoints the next run
    /// goes on from the last one.
    pub fn abort(&self) {
        // In this order: to a source that sees the second without the first, the input would have ended.
        self.failed.store(true, Ordering::SeqCst);
        self.raised.store(true, Ordering::SeqCst);
        self.flow.wake_all();
    }
}

/// The run has failed meanwhile.
pub(crate) struct Abandoned;

/// Tells the run that a thread is unwinding: others would wait for it for ever.
pub(crate) struct PanicAlarm(pub(crate) Arc<RunShared>);

impl Drop for PanicAlarm {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.fail(RunError::panicked());
        }
    }
}

/// Starts a thread of a run.
pub(crate) fn spawn<T: Send + 'static>(
    name: &str,
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, RunError> {
    let thread = thread::Builder::new().name(name.to_owned());
    thread.spawn(run).map_err(|error| RunError::Start {
        workers: 1,
        reason: error.to_string(),
    })
}
