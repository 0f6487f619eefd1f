//! Publishes the outputs of durable epochs, each shard's in transactions that end with a marker.
//!
//! What has to be true before anything is published: this run has the job, which the checkpoint store says; every older
//! producer of the shard is kept from writing, which its transactional id does; and only then the marker was read, or a
//! commit of the older one could still have been on its way. So [`EpochSink::take_over`] does these three in this order,
//! and again whenever it is not certain how a transaction has ended.

mod config;
pub(crate) mod growth;
mod transactions;
mod shard;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;

use slackwater_dataflow::checkpoint::log::Fence;
use slackwater_dataflow::faults::{self, Defect};
use slackwater_dataflow::identity::Generation;
use slackwater_dataflow::place::ShardId;
use slackwater_dataflow::sink::{EpochSink, Marker, ShardEpoch, SinkError};

use crate::client::Fault;
use crate::markers::{self, Markers};
use crate::producer::Transactions;
use crate::sink::growth::Growth;
use crate::sink::shard::{Job, Shard, not_taken};

pub(crate) use crate::sink::config::{JOB, SHARD, check};
pub use crate::sink::config::{RECORD_OVERHEAD_BYTES, SinkConfig, TRANSACTION_TIMEOUT};

/// Publishes each epoch exactly once, for readers that see what is committed.
pub struct KafkaSink {
    config: SinkConfig,
    fence: Arc<Fence>,
    markers: Markers,
    marker_topic: String,
    growth: Growth,
    /// By number.
    shards: Vec<Shard>,
}

impl KafkaSink {
    /// A sink of the run that `fence` is of. Nothing is written yet.
    ///
    /// # Errors
    /// A setting is not usable.
    pub fn new(config: SinkConfig, fence: Fence) -> Result<Self, Fault> {
        let markers = Markers::of(&config.cluster, &config.job)?;
        Ok(KafkaSink {
            marker_topic: markers::topic(&config.job),
            growth: Growth::of(&config)?,
            shards: (0..config.shards).map(|_| Shard::Unknown).collect(),
            markers,
            config,
            fence: Arc::new(fence),
        })
    }

    /// Takes the transactional ids of all shards that have no producer, side by side: each may have to wait for what
    /// an older one has left open.
    fn init(&mut self) -> Result<(), Fault> {
        let config = &self.config;
        let unknown = self.shards.iter_mut().enumerate();
        let unknown = unknown.filter(|(_, shard)| matches!(shard, Shard::Unknown));
        thread::scope(|scope| {
            let taking = unknown.map(|(number, shard)| {
                let config = config.producer(number);
                scope.spawn(move || {
                    *shard = Shard::Taken(Transactions::init(&config)?);
                    Ok(())
                })
            });
            let taking: Vec<_> = taking.collect();
            let panicked = || Fault::new("take over the", "transactions", "see the message above");
            let ends = taking.into_iter().map(|it| it.join());
            // All of them end before the first failure is told.
            let ends: Vec<_> = ends.collect();
            let mut ends = ends.into_iter();
            ends.try_for_each(|end| end.unwrap_or_else(|_| Err(panicked())))
        })
    }

    /// The markers of all shards, whoever may still write to them.
    fn all_markers(&self) -> Result<Vec<Option<Marker>>, Fault> {
        let shards = (0..self.config.shards).map(ShardId);
        shards.map(|shard| self.markers.read(shard)).collect()
    }

    /// Reads the markers of shards that were taken.
    fn read_markers(&mut self) -> Result<(), Fault> {
        for (number, shard) in (0..).zip(&mut self.shards) {
            let taken = std::mem::take(shard);
            *shard = match taken {
                // One whose marker can't be read is taken over again.
                Shard::Taken(transactions) => {
                    Shard::Ready(transactions, self.markers.read(ShardId(number))?)
                }
                other => other,
            };
        }
        Ok(())
    }

    /// Has topics looked at that may have got more partitions.
    fn look(&mut self) {
        let (brokers, shards) = (&self.config.cluster.brokers, &self.shards);
        self.growth.look(&self.config, |topic| {
            let mut least = u32::MAX;
            // One that is made later asks by itself.
            for transactions in shards.iter().filter_map(Shard::transactions) {
                let heard_of = transactions.partitions(brokers, topic)?;
                least = least.min(heard_of.unwrap_or_default());
            }
            Ok(Some(least))
        });
    }
}

impl EpochSink for KafkaSink {
    fn take_over(&mut self, _: Generation) -> Result<Vec<Option<Marker>>, SinkError> {
        let early = match faults::is_on(Defect::ReadBeforeFence) {
            true => Some(self.all_markers()?),
            false => None,
        };
        self.fence.check().map_err(Fault::from)?;
        self.init()?;
        self.fence.check().map_err(Fault::from)?;
        self.read_markers()?;
        if let Some(early) = early {
            return Ok(early);
        }
        Ok(self.shards.iter().map(Shard::marker).collect())
    }

    fn publish(&mut self, outputs: ShardEpoch<'_>) -> Result<(), SinkError> {
        let published = self.publish_all(vec![outputs]);
        published.into_iter().collect()
    }

    /// Each shard has a producer of its own, and most of its time a transaction waits for brokers.
    fn publish_all(&mut self, outputs: Vec<ShardEpoch<'_>>) -> Vec<Result<(), SinkError>> {
        let job = Job {
            config: &self.config,
            fence: &self.fence,
            marker_topic: &self.marker_topic,
        };
        let mut shards: BTreeMap<_, _> = (0..).map(ShardId).zip(&mut self.shards).collect();
        let published: Vec<_> = thread::scope(|scope| {
            let outputs = outputs.into_iter();
            let publishing = outputs.map(|outputs| {
                let number = outputs.shard;
                let shard = shards.remove(&number).ok_or_else(|| not_taken(number));
                shard.map(|shard| scope.spawn(move || shard.publish(job, outputs)))
            });
            let publishing: Vec<_> = publishing.collect();
            let panicked = || Fault::new("publish", "outputs", "see the message above").into();
            let ends = publishing.into_iter().map(|it| match it {
                Ok(it) => it.join().unwrap_or_else(|_| Err(panicked())),
                Err(fault) => Err(fault.into()),
            });
            ends.collect()
        });
        // Brokers that have just taken all are there to answer; others would be waited for.
        if published.iter().all(Result::is_ok) {
            self.look();
        }
        published
    }
}
