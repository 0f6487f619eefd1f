//! The one place where state machines meet timely.
//!
//! A [`Graph`] is a worker's dataflow under construction: [`Graph::source`] puts a reader and an
//! [`Ingest`](crate::ingest::Ingest) at its head, [`Graph::apply`] and [`Graph::apply_at_key`] add
//! operators, [`Graph::apply_waiting`] one that waits for something outside, [`Graph::gather_at_key`] puts a partition's batches in
//! order again, [`Graph::publish`] ends it. Every operator has a reject output, and a graph whose rejects
//! are not all consumed does not start: an error stream cannot be forgotten.

mod messages;
mod held;
mod epochs;
mod capabilities;
mod source;
mod apply;
mod waiting;
mod gathering;
mod publish;

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;

use timely::dataflow::operators::Concatenate;
use timely::dataflow::{ProbeHandle, Scope, Stream};
use timely::scheduling::Activator;

pub use self::messages::Messages;
pub use self::source::{BYTES_PER_POLL_MAX, RECORDS_PER_POLL_MAX};

use crate::control::Part;
use crate::moment::Moment;
use crate::pace::{Pace, WaitingRoom};
use crate::run::{GraphError, RunShared};
use crate::source::{Share, Wake};

/// A stream of batches.
pub type Events<'s, T> = Stream<'s, Moment, Messages<T>>;

/// What an operator gives, and what it rejects.
pub type Applied<'s, O, R> = (Events<'s, O>, Rejects<'s, R>);

/// The graph of one worker, under construction.
pub struct Graph<'s> {
    scope: Scope<'s, Moment>,
    job: Arc<RunShared>,
    share: Share,
    probe: ProbeHandle<Moment>,
    /// Set by the worker when everything below the end has left the graph.
    drained: Rc<Cell<bool>>,
    /// The end of event time in the last epoch, once that has begun.
    end: Rc<Cell<Option<Moment>>>,
    /// Stages that hand over state at the end of each epoch.
    stages: Cell<usize>,
    /// Operators so far.
    places: Cell<usize>,
    /// The source's address, by which the worker wakes it once more when the graph has drained.
    source: RefCell<Option<Rc<[usize]>>>,
    rejects: RefCell<Vec<(String, Rc<Cell<bool>>)>>,
}

/// The rejects of one operator. They must be turned into a stream and handled, or the graph won't start.
#[must_use = "rejects are events: consume them"]
pub struct Rejects<'s, R: 'static> {
    stream: Events<'s, R>,
    consumed: Rc<Cell<bool>>,
}

impl<'s, R: 'static> Rejects<'s, R> {
    /// The rejects as a stream, to be handled like any other.
    pub fn into_stream(self) -> Events<'s, R> {
        self.consumed.set(true);
        self.stream
    }
}

impl Rejects<'_, Infallible> {
    /// Says of an operator that cannot reject that nothing is lost here.
    pub fn none(self) {
        self.consumed.set(true);
    }
}

impl<'s> Graph<'s> {
    pub(crate) fn new(scope: Scope<'s, Moment>, job: Arc<RunShared>, share: Share) -> Self {
        Graph {
            scope,
            job,
            share,
            probe: ProbeHandle::new(),
            drained: Rc::default(),
            end: Rc::default(),
            stages: Cell::new(0),
            places: Cell::new(0),
            source: RefCell::new(None),
            rejects: RefCell::default(),
        }
    }

    /// Which worker this graph is for.
    pub fn share(&self) -> Share {
        self.share
    }

    /// What an operator that keeps events needs, in a graph whose source keeps to `pace`.
    pub fn waiting_room(&self, pace: &Arc<Pace>) -> WaitingRoom {
        WaitingRoom::new(Arc::clone(&self.job.flow), Arc::clone(pace))
    }

    /// Ways to have the operator at `address` run again: from itself, and from any thread.
    fn activators(&self, address: &Rc<[usize]>) -> (Activator, Wake) {
        let worker = self.scope.worker();
        let wake = worker.sync_activator_for(address.to_vec());
        // An error says that the worker is gone, and with it whoever had to be woken.
        let wake = Wake::new(move || {
            wake.activate().ok();
        });
        (worker.activator_for(Rc::clone(address)), wake)
    }

    /// Several streams as one, each in its own order.
    pub fn concat<T: 'static>(
        &self,
        streams: impl IntoIterator<Item = Events<'s, T>>,
    ) -> Events<'s, T> {
        self.scope.concatenate(streams)
    }

    fn rejects_of<R>(&self, operator: &str, stream: Events<'s, R>) -> Rejects<'s, R> {
        let consumed = Rc::new(Cell::new(false));
        self.rejects
            .borrow_mut()
            .push((operator.to_owned(), Rc::clone(&consumed)));
        Rejects { stream, consumed }
    }

    /// Checks the finished graph.
    pub(crate) fn finish(self) -> Result<Built, GraphError> {
        for (operator, consumed) in self.rejects.take() {
            if !consumed.get() {
                return Err(GraphError::RejectsNotConsumed(operator));
            }
        }
        let source = self.source.take().ok_or(GraphError::NoSource)?;
        if let Some(epochs) = self.job.epochs() {
            let stages = Part::Stages(self.stages.get());
            epochs.hand_over(self.share.worker, stages);
        }
        Ok(Built {
            probe: self.probe,
            drained: self.drained,
            end: self.end,
            source,
        })
    }
}

/// What the worker needs of a finished graph.
pub(crate) struct Built {
    probe: ProbeHandle<Moment>,
    drained: Rc<Cell<bool>>,
    end: Rc<Cell<Option<Moment>>>,
    pub(crate) source: Rc<[usize]>,
}

impl Built {
    /// To be called after each step: tells the source when all that it has read has left the graph.
    pub(crate) fn look(&self, source: &Activator) {
        if let Some(end) = self.end.get()
            && !self.drained.get()
            && !self.probe.less_than(&end)
        {
            self.drained.set(true);
            source.activate();
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;
