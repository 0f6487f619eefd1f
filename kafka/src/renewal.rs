//! Makes the next producer of a shard while nobody waits for it.
//!
//! A late copy of the request that ends a transaction ends the next one of the same producer in its middle. After a doubt
//! there is a new producer anyway; who makes one after each commit has nothing to fear from copies that nobody has noticed
//! either: the broker refuses what comes of an older one.
//!
//! The producer before is done when the next one takes its transactional id: its transaction has ended, and it is asked for
//! nothing more. So one id is enough, and whenever this process ends there is nothing open under it.

use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use slackwater_dataflow::checkpoint::log::Fence;
use slackwater_dataflow::faults::{self, Defect};

use crate::client::Fault;
use crate::producer::{ProducerConfig, Transactions};

/// A producer that is being made, by a thread that ends with this.
pub(crate) struct Renewal(Option<JoinHandle<Result<Transactions, Fault>>>);

impl Renewal {
    /// Begins to replace a producer whose last transaction is known to have been committed.
    ///
    /// # Errors
    /// The system has no thread for it; the producer is gone all the same.
    pub(crate) fn begin(
        before: Transactions,
        config: ProducerConfig,
        fence: Arc<Fence>,
    ) -> io::Result<Self> {
        let name = "next producer".to_owned();
        let making = Builder::new().name(name).spawn(move || {
            if faults::is_on(Defect::KeptProducer) {
                return Ok(before);
            }
            drop(before);
            // Whoever comes last has the id, and a run that has lost its job must not be the one. If it loses it between
            // these two, the newer run's producer is refused, which is a doubt to that one: it takes the id again.
            fence.check()?;
            Transactions::init(&config)
        });
        Ok(Renewal(Some(making?)))
    }

    /// The producer, as soon as it is there.
    pub(crate) fn finish(mut self) -> Result<Transactions, Fault> {
        let made = self.0.take().map(JoinHandle::join);
        let panicked = || Fault::new("make the next", "producer", "see the message above");
        made.and_then(Result::ok).unwrap_or_else(|| Err(panicked()))
    }
}

impl Drop for Renewal {
    /// Nothing takes the id any more when the sink is gone. That takes as long as it may take to take over.
    fn drop(&mut self) {
        if let Some(making) = self.0.take() {
            drop(making.join());
        }
    }
}
