//! Reads the partitions of one worker.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::{Offset as KafkaOffset, TopicPartitionList};
use slackwater_dataflow::place::{Mark, Offset, PartitionId};
use slackwater_dataflow::source::{
    Demand, Partition, Polled, Readiness, SourceError, SourceReader, Topics, Wake,
};

use crate::client::{Fault, Noticed, io_error};
use crate::source::places::{FetchFrom, OnLostOffset, lost_fault};
use crate::source::records::{HEADER_BYTES_MAX, Records};
use crate::source::silence::Silences;
use crate::source::{Place, SourceConfig, offset};

/// Records that wait in the queues of a reader's partitions before the client stops to fetch them, shared among them. Enough
/// to keep a worker busy while the next ones come.
const QUEUED_RECORDS: usize = 80_000;

/// Bytes of the same.
const QUEUED_KILOBYTES: usize = 65_536;

/// Bytes that are worth an answer of a broker that may wait for more.
const FETCH_BYTES: &str = "100000";

/// How long a broker waits that has nothing at all.
const IDLE_FETCH_MS: u128 = 500;

/// How long a broker may take to answer while a worker waits: when a partition is new, or its topic was made anew.
const SEEK_TIMEOUT: Duration = Duration::from_secs(10);

/// What of these is one partition's.
fn share_of(all: usize, partitions: usize, least: usize, most: usize) -> String {
    (all / partitions.max(1)).clamp(least, most).to_string()
}

/// A partition of this reader.
struct Assigned {
    place: Place,
    queue: PartitionQueue<Noticed>,
    /// Of the next record.
    position: i64,
    /// What the first record has to be, which was read before.
    expected: Option<(i64, Mark)>,
    /// The last record that was handed out.
    last: Option<Traits>,
    /// When it last brought something, or was begun; for who asks whether it is silent.
    heard_at: Duration,
    /// When to ask for its end again, or that it was asked for.
    ask: Ask,
}

/// The question how far a partition reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ask {
    /// Not before this time.
    From(Duration),
    /// It is under way.
    UnderWay,
}

/// What is remembered of a record, so that it is known again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Traits {
    offset: i64,
    time_ms: i64,
    key_bytes: u64,
    value_bytes: u64,
}

impl Traits {
    fn of(message: &BorrowedMessage<'_>) -> Self {
        let length = |bytes: Option<&[u8]>| bytes.map_or(u64::MAX, |bytes| bytes.len() as u64);
        Traits {
            offset: message.offset(),
            time_ms: message.timestamp().to_millis().unwrap_or_default(),
            key_bytes: length(message.key()),
            value_bytes: length(message.payload()),
        }
    }

    fn mark(&self) -> Mark {
        let numbers = [
            self.time_ms.to_le_bytes(),
            self.key_bytes.to_le_bytes(),
            self.value_bytes.to_le_bytes(),
        ];
        Mark(crc32c::crc32c(&numbers.concat()))
    }
}

/// Reads some partitions.
pub(super) struct KafkaReader {
    consumer: Arc<BaseConsumer<Noticed>>,
    assigned: BTreeMap<PartitionId, Assigned>,
    /// Which partition is asked first.
    first: PartitionId,
    wake: Wake,
    silences: Option<Arc<Silences>>,
    names: Arc<Topics>,
    lost: OnLostOffset,
    records: Records,
}

impl KafkaReader {
    pub(super) fn new(
        config: &SourceConfig,
        wake: Wake,
        silences: Option<Arc<Silences>>,
        names: Arc<Topics>,
        partitions: usize,
    ) -> Result<Self, Fault> {
        let records = share_of(QUEUED_RECORDS, partitions, 1_000, 20_000);
        let kilobytes = share_of(QUEUED_KILOBYTES, partitions, 1_024, 16_384);
        let (fetch_bytes, fetch_ms) = match config.fetch_wait.as_millis() {
            0 => ("1", IDLE_FETCH_MS),
            wait => (FETCH_BYTES, wait),
        };
        let settings = [
            ("group.id", config.group.clone()),
            ("enable.auto.offset.store", "false".to_owned()),
            ("enable.partition.eof", "true".to_owned()),
            // As Java's clients do: a bit that a disk has changed is no event.
            ("check.crcs", "true".to_owned()),
            ("isolation.level", "read_committed".to_owned()),
            // A partition that one broker knows and another does not yet is asked for again soon.
            ("topic.metadata.refresh.interval.ms", "5000".to_owned()),
            ("queued.min.messages", records),
            ("queued.max.messages.kbytes", kilobytes),
            // A queue that was full is filled again soon; the default waits a second.
            ("fetch.queue.backoff.ms", "5".to_owned()),
            ("fetch.error.backoff.ms", "100".to_owned()),
            ("fetch.message.max.bytes", "1048576".to_owned()),
            ("fetch.min.bytes", fetch_bytes.to_owned()),
            ("fetch.wait.max.ms", fetch_ms.to_string()),
        ];
        Ok(KafkaReader {
            consumer: Arc::new(config.cluster.consumer(settings)?),
            assigned: BTreeMap::new(),
            first: PartitionId::default(),
            wake,
            silences,
            names,
            lost: config.on_lost_offset,
            records: Records::new(
                config.max_bytes,
                config.keeps_headers.then_some(HEADER_BYTES_MAX),
            ),
        })
    }

    /// Begins to read a partition.
    pub(super) fn assign(
        &mut self,
        id: PartitionId,
        place: Place,
        from: FetchFrom,
    ) -> Result<(), Fault> {
        let told = || Fault::told("read", place.to_string());
        // First its own queue, then the assignment: so nothing of it ever gets into the common one.
        let queue = self
            .consumer
            .split_partition_queue(&place.topic, place.partition);
        let mut queue = queue.ok_or_else(|| told()(KafkaError::Canceled))?;
        let wake = self.wake.clone();
        queue.set_nonempty_callback(move || wake.wake());
        let mut assignment = TopicPartitionList::new();
        let start = KafkaOffset::Offset(from.offset);
        assignment
            .add_partition_offset(&place.topic, place.partition, start)
            .and_then(|()| self.consumer.incremental_assign(&assignment))
            .map_err(told())?;
        let heard_at = self.silences.as_ref().map(|it| it.now());
        let expected = from.expected.map(|mark| (from.offset, mark));
        let assigned = Assigned {
            position: from.offset + i64::from(expected.is_some()),
            place,
            queue,
            expected,
            last: None,
            heard_at: heard_at.unwrap_or_default(),
            ask: Ask::From(Duration::ZERO),
        };
        self.assigned.insert(id, assigned);
        Ok(())
    }

    /// What has no queue of its own: what callbacks are to be called for, and what a client notices that is of no
    /// partition. Brokers that are away, or that let it in only later, come back; what ends reading is told in the queues.
    fn serve(&self) -> Result<(), SourceError> {
        while let Some(event) = self.consumer.poll(Duration::ZERO) {
            match event {
                Err(error @ KafkaError::MessageConsumptionFatal(_)) => {
                    let place = self.assigned.values().next();
                    let topic = place.map_or("topics".to_owned(), |it| it.place.topic.to_string());
                    return Err(Fault::told("read", topic)(error).into());
                }
                Err(error) => tracing::debug!("kafka: {error}"),
                Ok(_) => {}
            }
        }
        Ok(())
    }

    /// Looks at partitions that have said nothing for a while. When to look again.
    fn look_for_silence(
        &mut self,
        demand: Demand<'_>,
        emit: &mut dyn FnMut(Polled<'_>) -> ControlFlow<()>,
    ) -> Option<Duration> {
        let silences = self.silences.clone()?;
        let (now, after) = (silences.now(), silences.after());
        let again = after.clamp(Duration::from_millis(10), Duration::from_secs(1));
        for (&id, assigned) in &mut self.assigned {
            let quiet_since = assigned.heard_at + after;
            if let Some(reaches) = silences.answer(id) {
                assigned.ask = Ask::From(now + again);
                let is_silent = reaches.asked_at >= quiet_since
                    && assigned.at_end(&self.consumer) >= reaches.high;
                if is_silent && demand.allows(id) {
                    let _ = emit(Polled::Silent(id));
                }
            } else if now >= quiet_since && matches!(assigned.ask, Ask::From(from) if now >= from) {
                assigned.ask = Ask::UnderWay;
                silences.ask(id, &assigned.place, &self.wake);
            }
        }
        Some(again)
    }
}

impl Assigned {
    /// The position, and beyond it what is nobody's record: where a transaction has ended.
    fn at_end(&mut self, consumer: &BaseConsumer<Noticed>) -> i64 {
        let positions = consumer.position().ok();
        let place = &self.place;
        let found = positions
            .and_then(|all| Some(all.find_partition(&place.topic, place.partition)?.offset()));
        if let Some(KafkaOffset::Offset(beyond)) = found {
            self.position = self.position.max(beyond);
        }
        self.position
    }

    /// Hands out what has come, at most so many records. How many it were, and whether there may be more.
    fn poll(
        &mut self,
        id: PartitionId,
        limit: usize,
        records: &mut Records,
        lost: OnLostOffset,
        consumer: &BaseConsumer<Noticed>,
        emit: &mut dyn FnMut(Polled<'_>) -> ControlFlow<()>,
    ) -> Result<(usize, ControlFlow<()>, bool), SourceError> {
        let mut given = 0;
        while given < limit {
            let message = match self.queue.poll(Duration::ZERO) {
                None => return Ok((given, ControlFlow::Continue(()), false)),
                Some(Ok(message)) => message,
                Some(Err(KafkaError::PartitionEOF(_))) => continue,
                Some(Err(error)) => {
                    self.failed(lost, error)?;
                    continue;
                }
            };
            let traits = Traits::of(&message);
            if let Some((expected, mark)) = self.expected
                && traits.offset == expected
            {
                if traits.mark() == mark {
                    self.last = Some(traits);
                } else {
                    drop(message);
                    self.begin_anew(consumer, expected, lost)?;
                }
                self.expected = None;
                continue;
            }
            self.expected = None;
            let (payload, origin) = records.of(&message);
            let flow = emit(Polled::Record {
                partition: id,
                offset: offset(traits.offset),
                payload,
                origin,
            });
            self.position = traits.offset + 1;
            self.last = Some(traits);
            given += 1;
            if flow.is_break() {
                return Ok((given, flow, true));
            }
        }
        Ok((given, ControlFlow::Continue(()), true))
    }

    /// Where the record stood that was read last stands another one.
    fn begin_anew(
        &mut self,
        consumer: &BaseConsumer<Noticed>,
        expected: i64,
        lost: OnLostOffset,
    ) -> Result<(), SourceError> {
        let reason = format!(
            "another record stands at offset {expected} than the one that was read: the topic was made anew"
        );
        if lost == OnLostOffset::Stop {
            return Err(lost_fault(&self.place, &reason).into());
        }
        let (topic, partition) = (&self.place.topic, self.place.partition);
        let sought = consumer
            .fetch_watermarks(topic, partition, SEEK_TIMEOUT)
            .and_then(|(low, _)| {
                let to = KafkaOffset::Offset(low);
                consumer.seek(topic, partition, to, SEEK_TIMEOUT)?;
                Ok(low)
            });
        self.position = sought.map_err(Fault::told("read", self.place.to_string()))?;
        let low = self.position;
        tracing::warn!(
            "{} goes on at its oldest record, offset {low}: {reason}",
            self.place
        );
        Ok(())
    }

    /// What cannot be read, and whether that passes.
    fn failed(&self, lost: OnLostOffset, error: KafkaError) -> Result<(), SourceError> {
        let code = error.rdkafka_error_code();
        let is_gone = matches!(
            code,
            Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange)
        );
        if is_gone {
            let reason = format!("offset {} is not there any more", self.position);
            let fault = match lost {
                OnLostOffset::Stop => lost_fault(&self.place, &reason),
                OnLostOffset::Earliest => {
                    let reason =
                        format!("{reason}: the next run goes on at the oldest record there is");
                    Fault::new("go on in", self.place.to_string(), reason)
                }
            };
            return Err(fault.into());
        }
        let is_damaged = matches!(
            code,
            Some(
                RDKafkaErrorCode::BadMessage
                    | RDKafkaErrorCode::BadCompression
                    | RDKafkaErrorCode::NotImplemented
            )
        );
        if is_damaged {
            let (offset, error) = (self.position, io_error(error));
            let reason = format!(
                "the batch of records that offset {offset} is in is damaged: {error}. All before it is handled, and \
                 nothing behind it is read. If no replica has it whole, `kafka-delete-records.sh` takes it out of the \
                 partition, and with `[source] on_lost_offset = \"earliest\"` the job goes on behind it"
            );
            return Err(Fault::new("read", self.place.to_string(), reason).into());
        }
        refuse("read", self.place.to_string(), error)
    }
}

/// Brokers that are away come back, and nothing is lost meanwhile; anything else is final.
fn refuse(action: &'static str, subject: String, error: KafkaError) -> Result<(), SourceError> {
    let fault = Fault::told(action, subject)(error);
    match fault.passes() {
        true => Ok(()),
        false => Err(fault.into()),
    }
}

impl SourceReader for KafkaReader {
    fn poll(
        &mut self,
        demand: Demand<'_>,
        emit: &mut dyn FnMut(Polled<'_>) -> ControlFlow<()>,
    ) -> Result<Readiness, SourceError> {
        self.serve()?;
        let heard_at = self.silences.as_ref().map(|it| it.now());
        let (behind, before): (Vec<_>, Vec<_>) = self
            .assigned
            .keys()
            .copied()
            .partition(|id| *id >= self.first);
        let mut left = demand.limit;
        let mut more = false;
        let mut flow = ControlFlow::Continue(());
        for id in behind.into_iter().chain(before) {
            if left == 0 || flow.is_break() {
                // Who was not asked is asked first, next time.
                self.first = id;
                more = true;
                break;
            }
            let Some(assigned) = self.assigned.get_mut(&id).filter(|_| demand.allows(id)) else {
                continue;
            };
            let (given, after, has_more) =
                assigned.poll(id, left, &mut self.records, self.lost, &self.consumer, emit)?;
            if given > 0 {
                assigned.heard_at = heard_at.unwrap_or_default();
            }
            left -= given;
            flow = after;
            more |= has_more;
        }
        if more || flow.is_break() {
            return Ok(Readiness::More);
        }
        Ok(match self.look_for_silence(demand, emit) {
            Some(again) => Readiness::LookAgain(again),
            None => Readiness::Waiting,
        })
    }

    fn position(&self, partition: PartitionId) -> Option<Offset> {
        let assigned = self.assigned.get(&partition)?;
        Some(offset(assigned.position))
    }

    fn mark(&self, partition: PartitionId) -> Option<Mark> {
        let assigned = self.assigned.get(&partition)?;
        if let Some((_, mark)) = assigned.expected {
            // It was not seen again yet, or is not what it was: whoever goes on from here has to look, too.
            return Some(mark);
        }
        let last = assigned.last?;
        (last.offset + 1 == assigned.position).then(|| last.mark())
    }

    fn begin(&mut self, partition: &Partition) -> Result<(), SourceError> {
        let named = self.names.name(partition.id);
        let place = named.map(Place::from).ok_or_else(|| {
            Fault::new(
                "read",
                &*partition.topic,
                "nobody has said that this partition was found",
            )
        })?;
        // The client fetches nothing of a partition that it has not heard of, until it asks for news by itself.
        self.consumer
            .fetch_metadata(Some(&place.topic), SEEK_TIMEOUT)
            .map_err(Fault::told("read", place.to_string()))?;
        let from = FetchFrom {
            offset: super::raw(partition.begins),
            expected: None,
        };
        Ok(self.assign(partition.id, place, from)?)
    }
}
