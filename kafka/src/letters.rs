//! What a person does with records of topics, beside a job that runs or not: read them, send them again, delete them.
//!
//! Nobody's place is moved by reading. What is sent again goes out in transactions, each together with how far the replay
//! is: so a replay that ends at any moment goes on where it was, and sends nothing twice.

mod replay;

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::{Offset, TopicPartitionList};

pub use self::replay::{Forwarded, Progress, Replay};

use crate::client::{Cluster, Fault, Noticed};
use crate::source::records::Records;
use crate::topics::Topics;

/// How long a question may take to be answered.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a partition may bring nothing before its end.
const QUIET_MAX: Duration = Duration::from_secs(30);

/// One wait for records.
const POLL: Duration = Duration::from_millis(50);

/// A record of a topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredRecord {
    /// Its partition.
    pub partition: u32,
    /// Its place there.
    pub offset: u64,
    /// Its key, if it has one.
    pub key: Option<Vec<u8>>,
    /// Its headers, in order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    /// Its value; empty also if it has none.
    pub value: Vec<u8>,
}

/// A partition as far as it can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The partition.
    pub partition: u32,
    /// Offset of its oldest record.
    pub from: u64,
    /// The offset behind the last record that readers of what is committed can see.
    pub to: u64,
}

/// Reads records of topics, as far as they are committed.
pub struct TopicReader {
    asking: Topics,
    consumer: BaseConsumer<Noticed>,
    records: Records,
}

impl TopicReader {
    /// A reader that has not spoken to a broker yet.
    ///
    /// # Errors
    /// A setting is not usable.
    pub fn of(cluster: &Cluster) -> Result<Self, Fault> {
        let settings = [
            // No group is joined; the client library wants one.
            ("group.id", cluster.client_id.clone()),
            ("isolation.level", "read_committed".to_owned()),
            ("enable.auto.offset.store", "false".to_owned()),
            ("check.crcs", "true".to_owned()),
            ("fetch.wait.max.ms", "50".to_owned()),
        ];
        Ok(TopicReader {
            asking: Topics::of(cluster)?,
            consumer: cluster.consumer(settings)?,
            records: Records::new(usize::MAX, Some(usize::MAX)),
        })
    }

    /// The partitions of a topic.
    ///
    /// # Errors
    /// No broker answers, or there is no such topic.
    pub fn extents(&self, topic: &str) -> Result<Vec<Extent>, Fault> {
        let partitions = self.asking.partitions(topic)?;
        let missing = || Fault::new("read topic", topic, "there is no such topic");
        let partitions = 0..partitions.ok_or_else(missing)?;
        partitions.map(|it| self.extent(topic, it)).collect()
    }

    fn extent(&self, topic: &str, partition: u32) -> Result<Extent, Fault> {
        let asked = self
            .consumer
            .fetch_watermarks(topic, partition as i32, ANSWER_TIMEOUT);
        let (from, to) = asked.map_err(Fault::told("ask for the offsets of", topic))?;
        Ok(Extent {
            partition,
            from: u64::try_from(from).unwrap_or_default(),
            to: u64::try_from(to).unwrap_or_default(),
        })
    }

    /// Reads a partition, or a part of it, until `each` has seen enough.
    ///
    /// # Errors
    /// Brokers do not answer, or what is there cannot be read.
    pub fn read(
        &mut self,
        topic: &str,
        extent: Extent,
        each: &mut dyn FnMut(StoredRecord) -> ControlFlow<()>,
    ) -> Result<(), Fault> {
        let Extent {
            partition,
            from,
            to,
        } = extent;
        let subject = || format!("partition {partition} of {topic}");
        let told = || Fault::told("read", subject());
        let mut assignment = TopicPartitionList::new();
        let start = Offset::Offset(i64::try_from(from).unwrap_or(i64::MAX));
        assignment
            .add_partition_offset(topic, partition as i32, start)
            .and_then(|()| self.consumer.assign(&assignment))
            .map_err(told())?;
        let (mut position, mut heard_at) = (from, Instant::now());
        while position < to {
            let before = position;
            match self.consumer.poll(POLL) {
                Some(Ok(message)) if (message.offset() as u64) < to => {
                    position = message.offset() as u64 + 1;
                    if each(stored(&mut self.records, &message)).is_break() {
                        return Ok(());
                    }
                }
                Some(Ok(_)) => return Ok(()),
                // Behind what is nobody's record: where transactions have ended.
                None => {
                    let beyond = self.position(topic, partition);
                    position = position.max(beyond.unwrap_or_default());
                }
                Some(Err(error)) => {
                    let fault = told()(error);
                    if !fault.passes() {
                        return Err(fault);
                    }
                }
            }
            if position > before {
                heard_at = Instant::now();
            } else if heard_at.elapsed() > QUIET_MAX {
                let reason = format!("nothing came of it for {} s", QUIET_MAX.as_secs());
                return Err(Fault::passing("read", subject(), reason));
            }
        }
        Ok(())
    }

    /// The record at a place; none if it is not there any more, or none.
    ///
    /// # Errors
    /// As [`Self::read`], or there is no such topic.
    pub fn at(
        &mut self,
        topic: &str,
        partition: u32,
        offset: u64,
    ) -> Result<Option<StoredRecord>, Fault> {
        let held = self.extent(topic, partition)?;
        if !(held.from..held.to).contains(&offset) {
            return Ok(None);
        }
        let only = Extent {
            partition,
            from: offset,
            to: offset + 1,
        };
        let mut found = None;
        self.read(topic, only, &mut |record| {
            found = Some(record);
            ControlFlow::Break(())
        })?;
        Ok(found.filter(|record| record.offset == offset))
    }

    fn position(&self, topic: &str, partition: u32) -> Option<u64> {
        let positions = self.consumer.position().ok()?;
        let position = positions.find_partition(topic, partition as i32)?;
        match position.offset() {
            Offset::Offset(offset) => u64::try_from(offset).ok(),
            _ => None,
        }
    }
}

fn stored(records: &mut Records, message: &BorrowedMessage<'_>) -> StoredRecord {
    let (_, origin) = records.of(message);
    let headers = origin.headers.iter();
    let headers = headers.map(|(name, value)| (name.to_owned(), value.map(<[u8]>::to_vec)));
    StoredRecord {
        headers: headers.collect(),
        partition: message.partition() as u32,
        offset: message.offset() as u64,
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().unwrap_or_default().to_vec(),
    }
}
