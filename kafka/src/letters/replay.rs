//! Records that are sent again, exactly once.

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::BaseRecord;
use rdkafka::{Offset, TopicPartitionList};

use super::{ANSWER_TIMEOUT, StoredRecord};
use crate::client::{Cluster, Fault, Noticed};
use crate::markers;
use crate::producer::{ProducerConfig, Transactions};
use crate::sink::{RECORD_OVERHEAD_BYTES, TRANSACTION_TIMEOUT};

/// A record that goes to a partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forwarded {
    /// The topic.
    pub topic: String,
    /// What is sent, to its partition.
    pub record: StoredRecord,
}

/// How far the replays of a name are, as brokers keep it for a group of readers.
pub struct Progress(BaseConsumer<Noticed>);

/// A replay under a name, which goes on where an earlier one of that name has ended.
pub struct Replay<'p> {
    transactions: Transactions,
    progress: &'p Progress,
}

impl Progress {
    /// That of the replays of a job with a name. No broker has been spoken to yet.
    ///
    /// # Errors
    /// A setting is not usable.
    pub fn of(cluster: &Cluster, job: &str, name: &str) -> Result<Self, Fault> {
        let settings = [("group.id", format!("slackwater.{job}.replay.{name}"))];
        Ok(Progress(cluster.consumer(settings)?))
    }

    /// Up to where they have gone through each partition of a topic; none in those where they have not begun.
    ///
    /// # Errors
    /// Brokers do not answer.
    pub fn read(&self, topic: &str, partitions: u32) -> Result<Vec<Option<u64>>, Fault> {
        let mut asked = TopicPartitionList::new();
        for partition in 0..partitions {
            asked.add_partition(topic, partition as i32);
        }
        let found = self.0.committed_offsets(asked, ANSWER_TIMEOUT);
        let found = found.map_err(Fault::told("ask for the progress of the replay of", topic))?;
        let of = |partition: u32| {
            let Some(found) = found.find_partition(topic, partition as i32) else {
                return Ok(None);
            };
            let told = Fault::told("ask for the progress of the replay of", topic);
            found.error().map_err(told)?;
            Ok(match found.offset() {
                Offset::Offset(offset) => u64::try_from(offset).ok(),
                _ => None,
            })
        };
        (0..partitions).map(of).collect()
    }
}

impl<'p> Replay<'p> {
    /// Goes on from this progress, with records of up to so many bytes. Any other replay of the job ends, and moves the
    /// progress no more: what it is, is to be read after this.
    ///
    /// # Errors
    /// Brokers do not answer, or not this client.
    pub fn begin(
        cluster: &Cluster,
        job: &str,
        progress: &'p Progress,
        record_bytes_max: usize,
    ) -> Result<Self, Fault> {
        let config = ProducerConfig {
            cluster: cluster.clone(),
            transactional_id: format!("slackwater.{job}.replay"),
            marker_topic: markers::topic(job),
            transaction_timeout: TRANSACTION_TIMEOUT,
            batch_bytes_max: record_bytes_max + RECORD_OVERHEAD_BYTES,
        };
        Ok(Replay {
            transactions: Transactions::init(&config)?,
            progress,
        })
    }

    /// Sends records and notes that the replay has come to `offset` in a partition of `topic`: both, or neither.
    ///
    /// # Errors
    /// It is not certain whether that counts. The next replay of this name knows, and goes on from there.
    pub fn send(
        &mut self,
        records: &[Forwarded],
        topic: &str,
        partition: u32,
        offset: u64,
    ) -> Result<(), Fault> {
        let told = || Fault::told("note the progress of the replay of", topic);
        let mut offsets = TopicPartitionList::new();
        let reached = Offset::Offset(i64::try_from(offset).unwrap_or(i64::MAX));
        offsets
            .add_partition_offset(topic, partition as i32, reached)
            .map_err(told())?;
        let group = self.progress.0.group_metadata();
        let group = group.ok_or_else(|| {
            Fault::new(
                "note the progress of the replay of",
                topic,
                "it has no group",
            )
        })?;
        self.transactions
            .forward(records.iter().map(native), &offsets, &group)
    }
}

/// A record as the client library takes it. When it is written now is its time: the time before was another record's.
fn native(forwarded: &Forwarded) -> BaseRecord<'_, [u8], [u8]> {
    let record = &forwarded.record;
    let headers = OwnedHeaders::new_with_capacity(record.headers.len());
    let headers = record.headers.iter().fold(headers, |all, (key, value)| {
        let value = value.as_ref();
        all.insert(Header { key, value })
    });
    let mut native = BaseRecord::to(&forwarded.topic)
        .partition(record.partition as i32)
        .headers(headers)
        .payload(record.value.as_slice());
    if let Some(key) = &record.key {
        native = native.key(key.as_slice());
    }
    native
}
