//! Where outputs go, and what holds for all of them.

use std::time::Duration;

use slackwater_dataflow::sink::destinations::Destinations;
use slackwater_dataflow::sink::{Framing, OutputChunk, OutputStream};

use crate::client::{Cluster, Fault};
use crate::markers;
use crate::producer::ProducerConfig;

/// How long a transaction may stay open: readers wait as long behind it, and what is published in one must fit.
pub const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes of a record that are not in its frame with us: its headers, and what Kafka puts around it.
pub const RECORD_OVERHEAD_BYTES: usize = 1_024;

/// The header that names the job.
pub(crate) const JOB: &str = "slackwater.job";

/// The one that names the epoch.
pub(super) const EPOCH: &str = "slackwater.epoch";

/// The one that names the shard.
pub(crate) const SHARD: &str = "slackwater.shard";

/// Where outputs go.
#[derive(Clone, Debug)]
pub struct SinkConfig {
    /// The brokers.
    pub cluster: Cluster,
    /// The job's name: part of all names of the job in the cluster.
    pub job: String,
    /// Producers, and so transactions at a time; never another number for one job.
    pub shards: u16,
    /// Topics of the streams, in the order of [`OutputStream::ALL`].
    pub topics: [String; OutputStream::ALL.len()],
    /// What they take; told when they have got more partitions.
    pub destinations: Destinations,
    /// Whether each transaction is to have a producer of its own.
    pub new_producer_each_epoch: bool,
    /// Whether each record is to say in headers which it is.
    pub headers: bool,
}

impl SinkConfig {
    /// Most bytes of a batch, which is what the topics take.
    pub(crate) fn batch_bytes_max(&self) -> usize {
        self.destinations.record_bytes_max + RECORD_OVERHEAD_BYTES
    }

    /// How a shard's producers are made.
    pub(super) fn producer(&self, shard: usize) -> ProducerConfig {
        ProducerConfig {
            cluster: self.cluster.clone(),
            transactional_id: format!("slackwater.{}.{shard}", self.job),
            transaction_timeout: TRANSACTION_TIMEOUT,
            batch_bytes_max: self.batch_bytes_max(),
            marker_topic: markers::topic(&self.job),
        }
    }

    /// Where a stream's records go.
    pub(crate) fn topic(&self, stream: OutputStream) -> &str {
        let topic = self.topics.get(stream.index());
        topic.map_or("", String::as_str)
    }
}

/// Outputs that can be sent: each record has its address.
pub(crate) fn check(parts: &[OutputChunk]) -> Result<(), Fault> {
    match parts.iter().find(|part| part.framing != Framing::Addressed) {
        None => Ok(()),
        Some(part) => {
            let subject = format!("outputs of shard {}", part.shard);
            let reason = "they have no addresses, and were made for another sink: run the job once more with the \
                          sink that it had, or start over with `--fresh`";
            Err(Fault::new("publish", subject, reason))
        }
    }
}
