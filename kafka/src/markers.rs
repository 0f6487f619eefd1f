//! The topic that says which epoch of each shard was published last.
//!
//! It has a partition for each shard and keeps the last record of each key. A marker is the last record of the transaction
//! that it stands for: whoever reads it knows that all before it is there as well.
//!
//! It is read up to the high watermark of readers that see everything, by a reader that sees what is committed. To have
//! reached the end of what one sees is no proof: somebody's open transaction hides what comes after it.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};
use serde::{Deserialize, Serialize};
use slackwater_dataflow::identity::{CheckpointId, Generation};
use slackwater_dataflow::moment::Epoch;
use slackwater_dataflow::place::ShardId;
use slackwater_dataflow::sink::Marker;

use crate::client::{Cluster, Fault, Noticed};
use crate::topics::Wanted;

/// How many of the last records are looked at first: the marker and the record that ended its transaction, and as much for
/// some that were given up.
const SUFFIX: i64 = 8;

/// How long one partition may take to be read.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a question about it may take to be answered.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// One wait for records. What ends a transaction comes by itself some time after what it ends.
const POLL: Duration = Duration::from_millis(5);

/// What is done here.
const READ: &str = "read the markers in";

/// What a record of the topic says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct StoredMarker {
    job: String,
    generation: Generation,
    epoch: Epoch,
    checkpoint: CheckpointId,
    chunk: u32,
    chunks: u32,
}

/// The name of a job's topic of markers.
pub fn topic(job: &str) -> String {
    format!("slackwater-markers.{job}")
}

/// That topic as it has to be.
pub fn wanted(job: &str, shards: u16) -> Wanted {
    Wanted {
        name: topic(job),
        partitions: shards.into(),
        settings: vec![("cleanup.policy", "compact"), ("segment.ms", "3600000")],
    }
}

/// A marker as the value of a record.
pub(crate) fn encode(job: &str, marker: &Marker) -> String {
    let stored = StoredMarker {
        job: job.to_owned(),
        generation: marker.generation,
        epoch: marker.epoch,
        checkpoint: marker.checkpoint,
        chunk: marker.chunk,
        chunks: marker.chunks,
    };
    // Numbers and texts: nothing that could not be written.
    serde_json::to_string(&stored).unwrap_or_default()
}

/// What a record says, if it is a marker of the job.
fn decode(job: &str, value: &[u8]) -> Result<Marker, String> {
    let stored: StoredMarker =
        serde_json::from_slice(value).map_err(|error| format!("it is no marker: {error}"))?;
    if stored.job != job {
        return Err(format!("it is a marker of the job `{}`", stored.job));
    }
    Ok(Marker {
        generation: stored.generation,
        epoch: stored.epoch,
        checkpoint: stored.checkpoint,
        chunk: stored.chunk,
        chunks: stored.chunks,
    })
}

/// Reads the markers of a job.
pub(crate) struct Markers {
    job: String,
    brokers: String,
    topic: String,
    /// Sees what is committed.
    reader: BaseConsumer<Noticed>,
    /// Sees how far there is anything.
    everything: BaseConsumer<Noticed>,
}

impl Markers {
    /// Readers of the job's topic. No group is joined; the client library wants one.
    pub(crate) fn of(cluster: &Cluster, job: &str) -> Result<Self, Fault> {
        let reader = |isolation: &str| {
            cluster.consumer([
                ("group.id", job.to_owned()),
                ("isolation.level", isolation.to_owned()),
                ("fetch.wait.max.ms", POLL.as_millis().to_string()),
                // A broker that is asked again after a failure is asked soon.
                ("retry.backoff.ms", "20".to_owned()),
            ])
        };
        Ok(Markers {
            job: job.to_owned(),
            brokers: cluster.brokers.clone(),
            topic: topic(job),
            reader: reader("read_committed")?,
            everything: reader("read_uncommitted")?,
        })
    }

    /// The last marker of a shard; none if there never was one.
    pub(crate) fn read(&self, shard: ShardId) -> Result<Option<Marker>, Fault> {
        let partition = i32::from(shard.0);
        let told = || Fault::told(READ, &self.topic);
        // Once the leader is known, the first fetch goes to it at once.
        self.reader
            .fetch_metadata(Some(&self.topic), ANSWER_TIMEOUT)
            .map_err(told())?;
        let (low, high) = self
            .everything
            .fetch_watermarks(&self.topic, partition, ANSWER_TIMEOUT)
            .map_err(told())?;
        let deadline = Instant::now() + READ_TIMEOUT;
        let mut suffix = SUFFIX;
        loop {
            let from = low.max(high - suffix);
            let found = self.last_between(partition, from, high, deadline)?;
            if found.is_some() || from == low {
                return Ok(found);
            }
            suffix *= 8;
        }
    }

    /// The last marker from one offset to another.
    fn last_between(
        &self,
        partition: i32,
        from: i64,
        to: i64,
        deadline: Instant,
    ) -> Result<Option<Marker>, Fault> {
        if from >= to {
            return Ok(None);
        }
        let told = || Fault::told(READ, &self.topic);
        let mut assignment = TopicPartitionList::new();
        assignment
            .add_partition_offset(&self.topic, partition, Offset::Offset(from))
            .and_then(|()| self.reader.assign(&assignment))
            .map_err(told())?;
        let mut last = None;
        let mut position = from;
        while position < to {
            if Instant::now() > deadline {
                return Err(self.held(partition, to));
            }
            match self.reader.poll(POLL) {
                Some(Ok(message)) if message.offset() < to => {
                    let value = message.payload().unwrap_or_default();
                    let subject = format!("{} at {}", self.topic, message.offset());
                    let marker = decode(&self.job, value);
                    let unreadable = |why| Fault::new("read the marker in", subject, why);
                    last = Some(marker.map_err(unreadable)?);
                }
                Some(Ok(_)) | Some(Err(KafkaError::PartitionEOF(_))) | None => {}
                Some(Err(error)) => {
                    let fault = told()(error);
                    if !fault.passes() {
                        return Err(fault);
                    }
                }
            }
            position = self.position(partition).unwrap_or(position);
        }
        Ok(last)
    }

    /// Why not everything could be read: somebody's transaction is open, or nobody answers.
    fn held(&self, partition: i32, to: i64) -> Fault {
        let told = Fault::told(READ, &self.topic);
        // This reader is told where the first open transaction begins.
        let asked = self
            .reader
            .fetch_watermarks(&self.topic, partition, ANSWER_TIMEOUT);
        let (brokers, topic) = (&self.brokers, &self.topic);
        match asked {
            Err(error) => told(error),
            Ok((_, stable)) if stable < to => {
                let why = format!(
                    "whoever reads what is committed waits at {stable} of partition {partition} for the end of a \
                     transaction. If no program has it open, brokers have lost that end: stop the job, let \
                     `kafka-transactions.sh --bootstrap-server {brokers} find-hanging --max-transaction-timeout 1 \
                     --topic TOPIC` look through this topic and those of the outputs, end with its `abort` what it \
                     finds, and start the job again"
                );
                Fault::passing(READ, topic, why)
            }
            Ok(_) => told(KafkaError::MessageConsumption(
                RDKafkaErrorCode::OperationTimedOut,
            )),
        }
    }

    /// Up to where the reader has seen everything.
    fn position(&self, partition: i32) -> Option<i64> {
        let positions = self.reader.position().ok()?;
        let position = positions.find_partition(&self.topic, partition)?;
        match position.offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use slackwater_dataflow::identity::{CheckpointId, Generation};
    use slackwater_dataflow::moment::Epoch;
    use slackwater_dataflow::sink::Marker;

    use crate::markers::{decode, encode};

    #[test]
    fn is_a_marker_read_as_it_was_written() {
        let marker = Marker {
            generation: Generation(3),
            epoch: Epoch(7),
            checkpoint: CheckpointId(0xab),
            chunk: 1,
            chunks: 2,
        };
        let text = encode("a \"job\"", &marker);
        let expected = r#"{"job":"a \"job\"","generation":3,"epoch":7,"checkpoint":"00000000000000ab","chunk":1,"chunks":2}"#;
        assert_eq!(text, expected);
        assert_eq!(decode("a \"job\"", text.as_bytes()), Ok(marker));
        let other = decode("job", text.as_bytes()).unwrap_err();
        assert_eq!(other, "it is a marker of the job `a \"job\"`");
        decode("job", b"").unwrap_err();
    }
}
