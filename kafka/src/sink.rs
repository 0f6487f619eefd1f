//! Publishes the outputs of durable epochs, each shard's in transactions that end with a marker.
//!
//! What has to be true before anything is published: this run has the job, which the checkpoint store says; every older
//! producer of the shard is kept from writing, which its transactional id does; and only then the marker was read, or a
//! commit of the older one could still have been on its way. So [`EpochSink::take_over`] does these three in this order,
//! and again whenever it is not certain how a transaction has ended.

use std::io::ErrorKind;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use slackwater_dataflow::checkpoint::log::{Fence, FenceError};
use slackwater_dataflow::faults::{self, Defect};
use slackwater_dataflow::identity::Generation;
use slackwater_dataflow::place::ShardId;
use slackwater_dataflow::sink::addressed::records;
use slackwater_dataflow::sink::destinations::Destinations;
use slackwater_dataflow::sink::{
    EpochChunk, EpochSink, Framing, Marker, OutputChunk, OutputStream, ShardEpoch, ShardOutputs,
    SinkError,
};

use crate::client::{Cluster, Fault};
use crate::markers::{self, Markers};
use crate::producer::{
    MarkerRecord, Outgoing, ProducerConfig, Transactions, common_headers, headers_of,
};
use crate::renewal::Renewal;
use crate::topics::Topics;

/// How long a transaction may stay open: readers wait as long behind it, and what is published in one must fit.
pub const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes of a record that are not in its frame with us: its headers, and what Kafka puts around it.
pub const RECORD_OVERHEAD_BYTES: usize = 1_024;

/// The header that names the job.
pub(crate) const JOB: &str = "slackwater.job";

/// The one that names the shard.
pub(crate) const SHARD: &str = "slackwater.shard";

/// How often to look whether topics have got more partitions.
const LOOK_EVERY: Duration = Duration::from_secs(2);

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
}

impl SinkConfig {
    /// Most bytes of a batch, which is what the topics take.
    pub(crate) fn batch_bytes_max(&self) -> usize {
        self.destinations.record_bytes_max + RECORD_OVERHEAD_BYTES
    }

    /// How a shard's producers are made.
    fn producer(&self, shard: usize) -> ProducerConfig {
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

/// Looks now and then whether topics have got more partitions: what is encoded from then on uses them.
pub(crate) struct Growth {
    asking: Topics,
    looked_at: Instant,
}

impl Growth {
    pub(crate) fn of(config: &SinkConfig) -> Result<Self, Fault> {
        Ok(Growth {
            asking: Topics::of(&config.cluster)?,
            looked_at: Instant::now(),
        })
    }

    /// To be called when brokers are there to answer, such as right after something was published. `ask` has all who send
    /// to a topic ask for its partitions, so that they know them, and gives how many they all know.
    pub(crate) fn look(
        &mut self,
        config: &SinkConfig,
        ask: impl Fn(&str) -> Result<Option<u32>, Fault>,
    ) {
        if self.looked_at.elapsed() < LOOK_EVERY {
            return;
        }
        self.looked_at = Instant::now();
        for (stream, topic) in OutputStream::ALL.into_iter().zip(&config.topics) {
            let known = config.destinations.of(stream);
            // A client that sends refuses partitions of which it has not heard itself.
            if let Ok(Some(there)) = self.asking.partitions(topic)
                && there > known.partitions()
                && let Ok(Some(heard_of)) = ask(topic)
            {
                known.grow(heard_of.min(there));
            }
        }
    }
}

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

/// What is known of a shard.
#[derive(Default)]
enum Shard {
    /// Nothing, before it was taken over, and after a transaction of which it is not certain how it has ended.
    #[default]
    Unknown,
    /// Nobody else writes to it any more.
    Taken(Transactions),
    /// And this is what was published last.
    Ready(Transactions, Option<Marker>),
    /// The same, when its next producer is there.
    Renewing(Renewal, Option<Marker>),
}

impl Shard {
    /// A shard whose producer has published what this marker stands for, and is to be replaced.
    fn renewed(
        before: Transactions,
        config: ProducerConfig,
        fence: &Arc<Fence>,
        last: Marker,
    ) -> Self {
        match Renewal::begin(before, config, Arc::clone(fence)) {
            Ok(renewal) => Shard::Renewing(renewal, Some(last)),
            // It is taken over when it is needed.
            Err(_) => Shard::Unknown,
        }
    }
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

    fn publish_chunk(
        &mut self,
        shard: ShardId,
        epoch: &Marker,
        chunk: &EpochChunk,
    ) -> Result<(), Fault> {
        let (number, key) = (usize::from(shard.0), shard.to_string());
        let partition = i32::from(shard.0);
        let (fence, config) = (&self.fence, &self.config);
        let not_taken = || Fault {
            action: "publish to",
            subject: format!("shard {number}"),
            source: ErrorKind::NotConnected.into(),
        };
        let shard = self.shards.get_mut(number).ok_or_else(not_taken)?;
        let mut transactions = match std::mem::take(shard) {
            Shard::Ready(transactions, _) => transactions,
            // One that could not be made is a doubt like another: the shard is taken over again.
            Shard::Renewing(renewal, _) => renewal.finish()?,
            Shard::Unknown | Shard::Taken(_) => return Err(not_taken()),
        };
        let marker = Marker {
            chunk: chunk.chunk + 1,
            ..*epoch
        };
        let common = common_headers(&[
            (JOB, &self.config.job),
            ("slackwater.epoch", &marker.epoch.to_string()),
            (SHARD, &key),
        ]);
        let all = chunk.outputs.iter().flat_map(|part| {
            let topic = config.topic(part.stream);
            records(&part.bytes).map(move |record| (topic, record))
        });
        let numbered = (chunk.records_before..).zip(all);
        let outgoing = numbered.map(|(sequence, (topic, record))| Outgoing {
            topic,
            headers: headers_of(&common, sequence, &record),
            record,
        });
        let last = MarkerRecord {
            topic: &self.marker_topic,
            partition,
            key: &key,
            value: &markers::encode(&self.config.job, &marker),
        };
        let counted = chunk.outputs.iter().map(|part| u64::from(part.records));
        transactions.publish(outgoing, counted.sum(), &last, || Ok(fence.check()?))?;
        *shard = match config.new_producer_each_epoch {
            true => Shard::renewed(transactions, config.producer(number), fence, marker),
            false => Shard::Ready(transactions, Some(marker)),
        };
        Ok(())
    }
}

impl From<FenceError> for Fault {
    fn from(error: FenceError) -> Self {
        let kind = match &error {
            FenceError::Lost(_) => ErrorKind::PermissionDenied,
            // Nothing is published while that is not known.
            FenceError::Unknown(_) => ErrorKind::TimedOut,
        };
        Fault {
            action: "publish as",
            subject: "the run that has the job".to_owned(),
            source: std::io::Error::new(kind, error),
        }
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
        let marker = |shard: &Shard| match shard {
            Shard::Ready(_, marker) | Shard::Renewing(_, marker) => *marker,
            Shard::Unknown | Shard::Taken(_) => None,
        };
        let markers: Vec<_> = self.shards.iter().map(marker).collect();
        Ok(markers)
    }

    fn publish(&mut self, outputs: ShardEpoch<'_>) -> Result<(), SinkError> {
        if let ShardOutputs::InPlace = outputs.outputs {
            // Of a run that sent as it went: brokers have acknowledged it before its checkpoint was durable.
            return Ok(());
        }
        let shard = outputs.shard;
        let epoch = Marker {
            generation: outputs.generation,
            epoch: outputs.epoch,
            checkpoint: outputs.checkpoint,
            chunk: 0,
            chunks: outputs.chunk_count,
        };
        for chunk in outputs.chunks()? {
            let chunk = chunk?;
            check(&chunk.outputs)?;
            self.publish_chunk(shard, &epoch, &chunk)?;
        }
        let (brokers, shards) = (&self.config.cluster.brokers, &self.shards);
        self.growth.look(&self.config, |topic| {
            let mut least = u32::MAX;
            for shard in shards {
                // One that is made later asks by itself.
                if let Shard::Ready(transactions, _) | Shard::Taken(transactions) = shard {
                    let heard_of = transactions.partitions(brokers, topic)?;
                    least = least.min(heard_of.unwrap_or_default());
                }
            }
            Ok(Some(least))
        });
        Ok(())
    }
}
