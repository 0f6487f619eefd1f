//! One shard of a sink: its producer, what is known of what it has published, and how an epoch is published in it.

use std::io::ErrorKind;
use std::sync::Arc;

use slackwater_dataflow::checkpoint::log::{Fence, FenceError};
use slackwater_dataflow::checkpoint::outbox::CHUNK_BYTES_MOST;
use slackwater_dataflow::faults;
use slackwater_dataflow::place::ShardId;
use slackwater_dataflow::sink::addressed::records;
use slackwater_dataflow::sink::{Marker, ShardEpoch, ShardOutputs, SinkError};

use crate::client::Fault;
use crate::markers;
use crate::producer::{
    MarkerRecord, Outgoing, ProducerConfig, Transactions, common_headers, numbered, with_own,
};
use crate::renewal::Renewal;
use crate::sink::config::{EPOCH, JOB, SHARD, SinkConfig, check};
use crate::sink::transactions::{Transaction, transactions};

/// What the shards of a job share.
#[derive(Clone, Copy)]
pub(crate) struct Job<'s> {
    pub(crate) config: &'s SinkConfig,
    /// Of the run that publishes.
    pub(crate) fence: &'s Arc<Fence>,
    pub(crate) marker_topic: &'s str,
}

/// What is known of a shard.
#[derive(Default)]
pub(crate) enum Shard {
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

/// Who publishes to a shard that was not taken over has not asked who has it.
pub(crate) fn not_taken(shard: ShardId) -> Fault {
    Fault {
        action: "publish to",
        subject: format!("shard {shard}"),
        source: ErrorKind::NotConnected.into(),
    }
}

impl Shard {
    /// What was published last, as far as that is known.
    pub(crate) fn marker(&self) -> Option<Marker> {
        match self {
            Shard::Ready(_, marker) | Shard::Renewing(_, marker) => *marker,
            Shard::Unknown | Shard::Taken(_) => None,
        }
    }

    /// Its producer, if that is there.
    pub(crate) fn transactions(&self) -> Option<&Transactions> {
        match self {
            Shard::Ready(transactions, _) | Shard::Taken(transactions) => Some(transactions),
            Shard::Renewing(..) | Shard::Unknown => None,
        }
    }

    /// Publishes what an epoch has of this shard. After a failure nothing is known of it any more.
    pub(crate) fn publish(
        &mut self,
        job: Job<'_>,
        outputs: ShardEpoch<'_>,
    ) -> Result<(), SinkError> {
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
        let bytes_most = match faults::are_chunks_apart() {
            true => 0,
            false => CHUNK_BYTES_MOST,
        };
        for transaction in transactions(outputs.chunks()?, bytes_most) {
            let transaction = transaction?;
            check(&transaction.outputs)?;
            self.publish_one(job, shard, &epoch, &transaction)?;
        }
        Ok(())
    }

    fn publish_one(
        &mut self,
        job: Job<'_>,
        shard: ShardId,
        epoch: &Marker,
        transaction: &Transaction,
    ) -> Result<(), Fault> {
        let Job { config, fence, .. } = job;
        let key = shard.to_string();
        let mut transactions = match std::mem::take(self) {
            Shard::Ready(transactions, _) => transactions,
            // One that could not be made is a doubt like another: the shard is taken over again.
            Shard::Renewing(renewal, _) => renewal.finish()?,
            Shard::Unknown | Shard::Taken(_) => return Err(not_taken(shard)),
        };
        let marker = Marker {
            chunk: transaction.chunks,
            ..*epoch
        };
        let common = config.headers.then(|| {
            let epoch = marker.epoch.to_string();
            common_headers(&[(JOB, &config.job), (EPOCH, &epoch), (SHARD, &key)])
        });
        let all = transaction.outputs.iter().flat_map(|part| {
            let topic = config.topic(part.stream);
            records(&part.bytes).map(move |record| (topic, record))
        });
        let counted = (transaction.records_before..).zip(all);
        let outgoing = counted.map(|(sequence, (topic, record))| {
            let given = common.as_ref().map(|common| numbered(common, sequence));
            Outgoing {
                topic,
                headers: with_own(given, &record),
                record,
            }
        });
        let last = MarkerRecord {
            topic: job.marker_topic,
            partition: i32::from(shard.0),
            key: &key,
            value: &markers::encode(&config.job, &marker),
        };
        let records = transaction.outputs.iter();
        let records = records.map(|part| u64::from(part.records)).sum();
        transactions.publish(outgoing, records, &last, || Ok(fence.check()?))?;
        *self = match config.new_producer_each_epoch {
            true => {
                let next = config.producer(usize::from(shard.0));
                Shard::renewed(transactions, next, fence, marker)
            }
            false => Shard::Ready(transactions, Some(marker)),
        };
        Ok(())
    }

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
