//! One shard's transactions, and whether it is certain how one has ended.
//!
//! A producer with a fixed transactional id: whoever initialises it ends what the one before had open, and keeps that one from
//! writing. Of a transaction only one outcome is trusted: a commit that came back at once, with nothing lost on the way.
//! After anything else the producer is thrown away. The client library repeats the request that ends a transaction when
//! an answer is lost, and a late copy of it could end the next transaction of the same producer in its middle; a new
//! producer has a new epoch, and the broker refuses the copy. Whether the transaction has counted is then read from its
//! marker.

use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::config::{FromClientConfigAndContext as _, RDKafkaLogLevel};
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::util::IntoOpaque;
use slackwater_dataflow::faults::phases::{Phase, reach};
use slackwater_dataflow::faults::{self, Defect};
use slackwater_dataflow::sink::addressed::AddressedRecord;

use crate::client::{Cluster, Fault, Noticed};
use crate::topics::partitions;

/// A commit that took longer may have been sent twice.
const COMMIT_MAX: Duration = Duration::from_secs(2);

/// A pause between two looks at what is on its way. The library's own waiting either takes its time or keeps a core busy.
const PAUSE: Duration = Duration::from_micros(100);

/// More events than ever wait at the end of a transaction, all of whose records are delivered.
const EVENTS_MOST: u32 = 10_000;

/// How long an initialisation may take at first. If another producer's transaction has to be ended, the broker says to
/// come again; the library does so after half a second, a new producer at once.
const INIT_SHORT: Duration = Duration::from_millis(80);

/// How often that is tried before one is given all the time it wants.
const INIT_SHORT_TRIES: u32 = 5;

/// How long an initialisation may take.
const INIT_LONG: Duration = Duration::from_secs(15);

/// How a shard's producer is made.
#[derive(Clone, Debug)]
pub(crate) struct ProducerConfig {
    pub(crate) cluster: Cluster,
    /// Fixed for the life of the job.
    pub(crate) transactional_id: String,
    /// After which a broker ends a transaction by itself.
    pub(crate) transaction_timeout: Duration,
    /// Most bytes of a batch, which is what the topics take.
    pub(crate) batch_bytes_max: usize,
    /// A topic that is there, and keeps its number of partitions.
    pub(crate) marker_topic: String,
}

/// Settings of every producer of ours.
pub(crate) fn settings(batch_bytes_max: usize) -> Vec<(&'static str, String)> {
    vec![
        ("acks", "all".to_owned()),
        ("enable.idempotence", "true".to_owned()),
        ("allow.auto.create.topics", "false".to_owned()),
        ("compression.type", "lz4".to_owned()),
        (
            "message.max.bytes",
            batch_bytes_max.clamp(1_000, 1_000_000_000).to_string(),
        ),
        (
            "batch.size",
            batch_bytes_max.clamp(1, 1_000_000).to_string(),
        ),
        ("queue.buffering.max.messages", "1000000".to_owned()),
        ("queue.buffering.max.kbytes", "262144".to_owned()),
        ("retry.backoff.ms", "20".to_owned()),
        ("log.connection.close", "true".to_owned()),
    ]
}

/// A record of an output, ready to be sent.
pub(crate) struct Outgoing<'r> {
    pub(crate) topic: &'r str,
    pub(crate) record: AddressedRecord<'r>,
    /// Headers that all records of its transaction have, and its own.
    pub(crate) headers: Option<OwnedHeaders>,
}

/// The last record of a transaction.
pub(crate) struct MarkerRecord<'m> {
    pub(crate) topic: &'m str,
    pub(crate) partition: i32,
    pub(crate) key: &'m str,
    pub(crate) value: &'m str,
}

/// How a transaction has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// It counts, and the producer can go on.
    Committed,
    /// Only its marker says whether it counts, and only to a new producer.
    Unclear(&'static str),
}

/// What a commit that came back says: how long it took, and what its producer has noticed.
fn ended(took: Duration, lost: bool, undelivered: bool) -> Ended {
    if undelivered {
        Ended::Unclear("a record was not delivered")
    } else if lost {
        Ended::Unclear("a connection was lost")
    } else if took > COMMIT_MAX {
        Ended::Unclear("the commit took too long")
    } else {
        Ended::Committed
    }
}

/// A producer that has its transactional id, and no transaction open.
pub(crate) struct Transactions {
    producer: BaseProducer<Noticed>,
    noticed: Noticed,
    id: String,
    timeout: Duration,
}

impl Transactions {
    /// Takes the transactional id: ends what is open under it, and keeps whoever had it from writing.
    pub(crate) fn init(config: &ProducerConfig) -> Result<Self, Fault> {
        let mut tries = 0;
        loop {
            tries += 1;
            let made = Self::make(config)?;
            let patience = match tries <= INIT_SHORT_TRIES {
                true => INIT_SHORT,
                false => INIT_LONG,
            };
            // Who has no connection yet when its coordinator is to be found is told to look again after half a second. Who
            // asks for a topic waits for one. If none comes, that is told by what follows.
            let client = made.producer.client();
            drop(client.fetch_metadata(Some(&config.marker_topic), INIT_SHORT));
            match made.producer.init_transactions(patience) {
                Ok(()) => return Ok(made),
                Err(error) if is_retriable(&error) && tries <= INIT_SHORT_TRIES => {}
                Err(error) => {
                    let subject = format!("transactions of `{}`", config.transactional_id);
                    return Err(Fault::told("take over the", subject)(error));
                }
            }
        }
    }

    fn make(config: &ProducerConfig) -> Result<Self, Fault> {
        let mut settings = settings(config.batch_bytes_max);
        let timeout = config.transaction_timeout;
        settings.push(("transactional.id", config.transactional_id.clone()));
        // All of a transaction is there when it begins: batches are large without a wait for more.
        settings.push(("linger.ms", "0".to_owned()));
        settings.push(("transaction.timeout.ms", timeout.as_millis().to_string()));
        let mut native = config.cluster.config(settings);
        // A connection that is lost with a request under way says so at this level.
        native.set_log_level(RDKafkaLogLevel::Info);
        let noticed = Noticed::default();
        let producer = BaseProducer::from_config_and_context(&native, noticed.clone());
        Ok(Transactions {
            producer: producer.map_err(Fault::told("use", &config.cluster.brokers))?,
            noticed,
            id: config.transactional_id.clone(),
            timeout,
        })
    }

    /// Sends records, which have been counted before, and then the marker, all or nothing. `is_ours` is asked right before
    /// that counts.
    ///
    /// After an error this producer is of no use any more, and what has become of the records is to be read from the
    /// marker.
    pub(crate) fn publish<'r>(
        &mut self,
        records: impl Iterator<Item = Outgoing<'r>>,
        counted: u64,
        marker: &MarkerRecord<'_>,
        is_ours: impl FnOnce() -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let deadline = Instant::now() + self.timeout;
        self.begin()?;
        if faults::is_on(Defect::MarkerFirst) {
            self.send_marker(marker, deadline)?;
            self.await_delivery(deadline)?;
            let committed = self.producer.commit_transaction(self.timeout);
            committed.map_err(self.told("commit a"))?;
            self.begin()?;
        }
        let mut sent_records = 0;
        for Outgoing {
            topic,
            record,
            headers,
        } in records
        {
            sent_records += 1;
            self.send(native(topic, &record, headers, ()), deadline)?;
        }
        if sent_records != counted {
            let subject = format!("outputs as `{}`", self.id);
            let reason = format!("they are {sent_records} records, and {counted} were counted");
            return Err(Fault::new("publish", subject, reason));
        }
        if !faults::is_on(Defect::MarkerFirst) {
            self.send_marker(marker, deadline)?;
        }
        self.await_delivery(deadline)?;
        reach(Phase::PartsSynced);
        is_ours()?;
        let begun = Instant::now();
        let left = deadline.saturating_duration_since(begun);
        let mut committed = self.producer.commit_transaction(left);
        if faults::is_on(Defect::ReusedProducer) {
            while committed.as_ref().is_err_and(is_retriable) {
                committed = self.producer.commit_transaction(left);
            }
            return committed.map_err(self.told("commit a"));
        }
        committed.map_err(self.told("commit a"))?;
        reach(Phase::MarkerWritten);
        self.verdict(begun.elapsed())
    }

    /// Sends records and notes how far a group of readers is, all or nothing. After an error this producer is of no use
    /// any more, and brokers know whether it counts.
    pub(crate) fn forward<'r>(
        &mut self,
        records: impl Iterator<Item = BaseRecord<'r, [u8], [u8]>>,
        offsets: &TopicPartitionList,
        group: &ConsumerGroupMetadata,
    ) -> Result<(), Fault> {
        let deadline = Instant::now() + self.timeout;
        self.begin()?;
        for record in records {
            self.send(record, deadline)?;
        }
        self.await_delivery(deadline)?;
        let left = deadline.saturating_duration_since(Instant::now());
        self.producer
            .send_offsets_to_transaction(offsets, group, left)
            .map_err(self.told("note progress in a"))?;
        let begun = Instant::now();
        let left = deadline.saturating_duration_since(begun);
        let committed = self.producer.commit_transaction(left);
        committed.map_err(self.told("commit a"))?;
        self.verdict(begun.elapsed())
    }

    /// Whether a commit counts that came back after so long.
    fn verdict(&self, took: Duration) -> Result<(), Fault> {
        self.drain();
        match ended(
            took,
            self.noticed.has_loss(),
            self.noticed.has_undelivered(),
        ) {
            Ended::Committed => Ok(()),
            Ended::Unclear(why) => Err(self.unclear(why)),
        }
    }

    /// How many partitions a topic has, none if there is no such topic. From then on it can send to them.
    pub(crate) fn partitions(&self, brokers: &str, topic: &str) -> Result<Option<u32>, Fault> {
        partitions(self.producer.client(), brokers, topic)
    }

    fn begin(&self) -> Result<(), Fault> {
        let begun = self.producer.begin_transaction();
        begun.map_err(self.told("begin a"))
    }

    fn send_marker(&self, marker: &MarkerRecord<'_>, deadline: Instant) -> Result<(), Fault> {
        let record = BaseRecord::to(marker.topic)
            .partition(marker.partition)
            .key(marker.key)
            .payload(marker.value);
        self.send(record, deadline)
    }

    /// Takes in all that waits to be told: the loss of a connection may.
    fn drain(&self) {
        for _ in 0..EVENTS_MOST {
            if self.producer.in_flight_count() == 0 {
                return;
            }
            self.producer.poll(Duration::ZERO);
        }
    }

    fn send<K, V>(&self, record: BaseRecord<'_, K, V>, deadline: Instant) -> Result<(), Fault>
    where
        K: rdkafka::message::ToBytes + ?Sized,
        V: rdkafka::message::ToBytes + ?Sized,
    {
        let mut record = record;
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((error, back)) if is_full(&error) => {
                    self.wait(deadline)?;
                    record = back;
                }
                Err((error, _)) => return Err(self.failed(error)),
            }
        }
    }

    fn await_delivery(&self, deadline: Instant) -> Result<(), Fault> {
        while self.producer.in_flight_count() > 0 {
            self.wait(deadline)?;
        }
        Ok(())
    }

    /// Takes in what was delivered, or lets a moment pass.
    fn wait(&self, deadline: Instant) -> Result<(), Fault> {
        let before = self.producer.in_flight_count();
        self.producer.poll(Duration::ZERO);
        if self.noticed.has_undelivered() {
            return Err(self.undelivered());
        }
        if self.producer.in_flight_count() == before {
            std::thread::sleep(PAUSE);
        }
        if Instant::now() > deadline {
            return Err(self.unclear("the brokers take too long"));
        }
        Ok(())
    }

    /// A record that the producer does not take any more: its transaction has failed before, and knows why.
    fn failed(&self, error: KafkaError) -> Fault {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::State | RDKafkaErrorCode::Fatal) => self.undelivered(),
            _ => self.told("write in a")(error),
        }
    }

    /// A record was not delivered, and with it its transaction has failed.
    fn undelivered(&self) -> Fault {
        self.drain();
        if let Some(code) = self.noticed.cause().filter(|code| LASTING.contains(code)) {
            return self.told("write in a")(KafkaError::MessageProduction(code));
        }
        // A transaction that has failed says so when the next one is to begin.
        match self.producer.begin_transaction() {
            Err(error) => self.told("write in a")(error),
            Ok(()) => self.unclear("a record was not delivered"),
        }
    }

    fn told(&self, action: &'static str) -> impl FnOnce(KafkaError) -> Fault {
        let subject = format!("transaction of `{}`", self.id);
        move |error| {
            let passes = has_to_be_asked_again(&error);
            let mut fault = Fault::told(action, subject)(error);
            if passes {
                fault.source = std::io::Error::new(std::io::ErrorKind::TimedOut, fault.source);
            }
            fault
        }
    }

    fn unclear(&self, why: &str) -> Fault {
        let subject = format!("`{}`", self.id);
        Fault::passing("tell how a transaction has ended, of", subject, why)
    }
}

pub(crate) fn is_full(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull)
}

fn is_retriable(error: &KafkaError) -> bool {
    match error {
        KafkaError::Transaction(error) => error.is_retriable(),
        _ => false,
    }
}

/// What topics refuse, they will refuse again.
const LASTING: [RDKafkaErrorCode; 8] = [
    RDKafkaErrorCode::TopicAuthorizationFailed,
    RDKafkaErrorCode::TransactionalIdAuthorizationFailed,
    RDKafkaErrorCode::ClusterAuthorizationFailed,
    RDKafkaErrorCode::UnknownTopicOrPartition,
    RDKafkaErrorCode::UnknownPartition,
    RDKafkaErrorCode::MessageSizeTooLarge,
    RDKafkaErrorCode::InvalidTimestamp,
    RDKafkaErrorCode::UnsupportedVersion,
];

/// Whether the next producer may do better. That it was fenced says only that somebody else took the transactional id, or
/// that a broker has ended the transaction by itself: whether this run still has the job is asked before the next one is
/// made.
fn has_to_be_asked_again(error: &KafkaError) -> bool {
    match error {
        KafkaError::Transaction(transaction) => !LASTING.contains(&transaction.code()),
        _ => false,
    }
}

/// A record as the client library takes it.
pub(crate) fn native<'r, D: IntoOpaque>(
    topic: &'r str,
    record: &AddressedRecord<'r>,
    headers: Option<OwnedHeaders>,
    opaque: D,
) -> BaseRecord<'r, [u8], [u8], D> {
    let address = record.address;
    let mut native = BaseRecord::with_opaque_to(topic, opaque)
        .partition(address.partition as i32)
        .timestamp(address.time_ms);
    native.headers = headers;
    if let Some(key) = address.key {
        native = native.key(key);
    }
    if let Some(value) = record.value {
        native = native.payload(value);
    }
    native
}

/// Headers that many records have.
pub(crate) fn common_headers(headers: &[(&str, &str)]) -> OwnedHeaders {
    let all = OwnedHeaders::new_with_capacity(headers.len() + 2);
    headers.iter().fold(all, |all, &(key, value)| {
        let value = Some(value);
        all.insert(Header { key, value })
    })
}

/// The headers of a record that is so many behind the first of its epoch and shard.
pub(crate) fn numbered(common: &OwnedHeaders, sequence: u64) -> OwnedHeaders {
    let sequence = sequence.to_string();
    common.clone().insert(Header {
        key: "slackwater.sequence",
        value: Some(&sequence),
    })
}

/// Headers that a sink gives to a record, with the record's own behind them; none if there are none: to make them takes
/// longer than to send them.
pub(crate) fn with_own(
    given: Option<OwnedHeaders>,
    record: &AddressedRecord<'_>,
) -> Option<OwnedHeaders> {
    record.headers.iter().fold(given, |headers, (key, value)| {
        let headers = headers.unwrap_or_else(|| OwnedHeaders::new_with_capacity(4));
        Some(headers.insert(Header { key, value }))
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::producer::{COMMIT_MAX, Ended, ended};

    #[test]
    fn which_commit_is_trusted() {
        let check = |took, disconnected, undelivered, is_trusted: bool| {
            let found = ended(took, disconnected, undelivered);
            assert_eq!(found == Ended::Committed, is_trusted, "{found:?}");
        };
        check(Duration::ZERO, false, false, true);
        check(COMMIT_MAX, false, false, true);
        check(COMMIT_MAX + Duration::from_nanos(1), false, false, false);
        check(Duration::ZERO, true, false, false);
        check(Duration::ZERO, false, true, false);
    }
}
