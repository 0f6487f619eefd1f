//! What the threads of one run share: its bounds, its counters, the way to the publisher, and how it ends.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::Sender;

use crate::clock::Clock;
use crate::flow::{Flow, Ticket};
use crate::meters::Meters;
use crate::place::PartitionId;
use crate::reached::Reached;
use crate::sink::{OutputChunk, SinkError};
use crate::source::SourceError;

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
    /// A defect of the engine: a thread panicked. Its message is on stderr as well.
    #[error("a thread of the job panicked: {0}")]
    Panicked(String),
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
}

/// A chunk of finished records and the ticket that keeps their events in flight until it is written.
#[derive(Debug)]
pub struct Publication {
    /// The records.
    pub chunk: OutputChunk,
    /// Of the events they were made of.
    pub ticket: Ticket,
}

/// What the threads of a group share.
pub struct RunShared {
    pub(crate) flow: Arc<Flow>,
    pub(crate) meters: Arc<Meters>,
    pub(crate) reached: Arc<Reached>,
    pub(crate) clock: Arc<dyn Clock>,
    publisher: Sender<Publication>,
    stopper: Stopper,
    failure: Mutex<Option<RunError>>,
}

impl RunShared {
    pub(crate) fn new(
        stopper: Stopper,
        meters: Arc<Meters>,
        reached: Arc<Reached>,
        clock: Arc<dyn Clock>,
        publisher: Sender<Publication>,
    ) -> Self {
        RunShared {
            flow: Arc::clone(&stopper.flow),
            meters,
            reached,
            clock,
            publisher,
            stopper,
            failure: Mutex::new(None),
        }
    }

    /// Keeps the first failure and stops the group.
    pub(crate) fn fail(&self, error: RunError) {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.get_or_insert(error);
        drop(failure);
        self.stopper.abort();
    }

    /// Whether the run is to end at once, with what is in the graph left where it is.
    pub(crate) fn has_failed(&self) -> bool {
        self.stopper.has_failed()
    }

    /// The failure, if there was one.
    pub(crate) fn take_failure(&self) -> Option<RunError> {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.take()
    }

    /// Whether sources are to read no more.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopper.raised.load(Ordering::SeqCst)
    }

    pub(crate) fn hand_to_publisher(&self, publication: Publication) {
        let now = self.clock.monotonic();
        let latency = now.saturating_sub(publication.ticket.read_at());
        let records = u64::from(publication.chunk.records);
        self.meters.record_latency(latency, records);
        // Only a publisher that has failed hangs up, and then the failure is already on record.
        drop(self.publisher.send(publication));
    }
}

/// Asks a running group to stop; for signal handlers and supervisors.
#[derive(Clone, Debug)]
pub struct Stopper {
    raised: Arc<AtomicBool>,
    /// Set when the run is to end without a result.
    failed: Arc<AtomicBool>,
    pub(crate) flow: Arc<Flow>,
}

impl Stopper {
    pub(crate) fn new(flow: Arc<Flow>) -> Self {
        Stopper {
            raised: Arc::default(),
            failed: Arc::default(),
            flow,
        }
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::SeqCst)
    }

    /// Sources stop reading: for them the input ends here. What they have read is handled and written, also
    /// what waits for the watermark; then the run ends.
    pub fn stop(&self) {
        self.raised.store(true, Ordering::SeqCst);
        self.flow.wake_all();
    }

    /// Ends the run because it failed: what is in the graph is left where it is.
    pub(crate) fn abort(&self) {
        // In this order: to a source that sees the second without the first, the input would have ended.
        self.failed.store(true, Ordering::SeqCst);
        self.raised.store(true, Ordering::SeqCst);
        self.flow.wake_all();
    }
}
