//! The one container of all our streams, and how it finds its way to another worker.
//!
//! A message holds few, large items (batches of rows), so it is a plain vector that is sent as it is:
//! no buffering, no rebatching. Between workers of one process it moves without being serialised.

use timely::Accountable;
use timely::bytes::arc::Bytes;
use timely::communication::Push;
use timely::dataflow::channels::pushers::exchange::Distributor;
use timely::dataflow::channels::{ContainerBytes, Message};
use timely::progress::Stamp;

use crate::operator::Routed;

/// Items that travel together under one moment.
#[derive(Debug)]
pub struct Messages<T>(pub(crate) Vec<T>);

impl<T> Default for Messages<T> {
    fn default() -> Self {
        Messages(Vec::new())
    }
}

impl<T> Accountable for Messages<T> {
    fn record_count(&self) -> i64 {
        // A vector never holds more than isize::MAX items.
        self.0.len() as i64
    }
}

/// Timely asks this of every container that crosses workers, but serialises only between processes. A
/// worker group is one process (`worker::WorkerGroup` starts no other kind), so none of it can run.
impl<T> ContainerBytes for Messages<T> {
    #[expect(
        clippy::unreachable,
        reason = "a group of one process never serialises"
    )]
    fn from_bytes(_: Bytes) -> Self {
        unreachable!("messages move between threads as they are")
    }

    #[expect(
        clippy::unreachable,
        reason = "a group of one process never serialises"
    )]
    fn length_in_bytes(&self) -> usize {
        unreachable!("messages move between threads as they are")
    }

    #[expect(
        clippy::unreachable,
        reason = "a group of one process never serialises"
    )]
    fn into_bytes<W: std::io::Write>(&self, _: &mut W) {
        unreachable!("messages move between threads as they are")
    }
}

/// Sends each item to the worker that it names.
pub(crate) struct ByWorker;

impl<T: Routed> Distributor<Messages<T>> for ByWorker {
    fn partition<M: Clone, P: Push<Message<M, Messages<T>>>>(
        &mut self,
        container: &mut Messages<T>,
        stamp: &Stamp<M>,
        pushers: &mut [P],
    ) {
        for item in container.0.drain(..) {
            // A batch for a worker that is not there would be lost or land on another's keys: rather the
            // run fails.
            #[expect(
                clippy::indexing_slicing,
                reason = "a sender that breaks this must be heard"
            )]
            let pusher = &mut pushers[item.worker()];
            Message::push_at(&mut Messages(vec![item]), stamp.clone(), pusher);
        }
    }

    fn flush<M: Clone, P: Push<Message<M, Messages<T>>>>(&mut self, _: &Stamp<M>, _: &mut [P]) {}
}
