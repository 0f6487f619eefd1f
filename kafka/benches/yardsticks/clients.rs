//! Clients as anybody would write them: a consumer with the library's own settings, and a producer that is told the same as
//! the engine's.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::config::{ClientConfig, FromClientConfigAndContext as _};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::BorrowedMessage;
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext};
use rdkafka::{ClientContext, Offset, TopicPartitionList};

use crate::Failure;

/// How long an answer, a record or a delivery may take before a run is given up.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How long a topic that was made may be unknown.
const MADE_AT_LAST: Duration = Duration::from_secs(5);
/// Between two looks at a queue. The library's own waiting keeps a core busy, which would count.
const PAUSE: Duration = Duration::from_micros(100);
/// Records that are sent between two looks at what was delivered.
const LOOK_EVERY: u64 = 256;
/// Most bytes of a record: the largest of the generator's is a little over 1 MiB.
const RECORD_BYTES_MAX: &str = "4194304";

/// Milliseconds since 1970.
pub fn now_ms() -> i64 {
    now_us() / 1_000
}

/// Microseconds since 1970.
pub fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_micros() as i64)
}

fn client(brokers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers);
    config.set("client.id", "yardsticks");
    config.set("allow.auto.create.topics", "false");
    config
}

/// Reads what is committed of all partitions of some topics.
pub struct Reader {
    consumer: BaseConsumer,
    places: TopicPartitionList,
}

impl Reader {
    /// A reader that begins with the oldest record of each partition.
    pub fn of(brokers: &str, topics: &[&str]) -> Result<Self, Failure> {
        let mut config = client(brokers);
        config.set("group.id", "yardsticks");
        config.set("enable.auto.commit", "false");
        config.set("isolation.level", "read_committed");
        let consumer: BaseConsumer = config.create()?;
        let mut places = TopicPartitionList::new();
        for topic in topics {
            for partition in 0..partitions(&consumer, topic)? {
                places.add_partition_offset(topic, partition, Offset::Beginning)?;
            }
        }
        Ok(Reader { consumer, places })
    }

    /// Begins to read. Records come from now on.
    pub fn begin(&self) -> Result<(), Failure> {
        Ok(self.consumer.assign(&self.places)?)
    }

    /// The next record, if there is one by then.
    pub fn next(&self, patience: Duration) -> Result<Option<BorrowedMessage<'_>>, Failure> {
        match self.consumer.poll(patience) {
            Some(Ok(message)) => Ok(Some(message)),
            Some(Err(error)) => Err(error.into()),
            None => Ok(None),
        }
    }

    /// Where what is committed ends, all partitions added up. Marks of transactions count too.
    pub fn ends(&self) -> Result<i64, Failure> {
        let mut asked = TopicPartitionList::new();
        for place in self.places.elements() {
            // The time that stands for the end is the number that stands for it among offsets.
            asked.add_partition_offset(place.topic(), place.partition(), Offset::End)?;
        }
        let found = self.consumer.offsets_for_times(asked, PATIENCE)?;
        let mut sum = 0;
        for place in found.elements() {
            place.error()?;
            if let Offset::Offset(end) = place.offset() {
                sum += end;
            }
        }
        Ok(sum)
    }
}

/// How many partitions a topic has. One that was made a moment ago may not be known everywhere yet.
fn partitions(consumer: &BaseConsumer, topic: &str) -> Result<i32, Failure> {
    let since = Instant::now();
    loop {
        let metadata = consumer.fetch_metadata(Some(topic), PATIENCE)?;
        let found = metadata.topics().iter().find(|it| it.name() == topic);
        let count = found.map_or(0, |it| it.partitions().len());
        if count > 0 {
            return Ok(count as i32);
        }
        if since.elapsed() > MADE_AT_LAST {
            return Err(format!("there is no topic `{topic}`").into());
        }
        thread::sleep(PAUSE);
    }
}

/// Counts what was not delivered.
#[derive(Clone, Default)]
struct Deliveries(Arc<AtomicU64>);

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if result.is_err() {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Sends records.
pub struct Writer {
    producer: BaseProducer<Deliveries>,
    failed: Deliveries,
    sent: u64,
}

impl Writer {
    /// An idempotent writer that waits so long for more records of a batch; with an id, one of transactions.
    pub fn of(brokers: &str, linger_ms: u32, transactional: Option<&str>) -> Result<Self, Failure> {
        let mut config = client(brokers);
        for (name, value) in [
            ("acks", "all"),
            ("enable.idempotence", "true"),
            ("compression.type", "lz4"),
            ("linger.ms", &linger_ms.to_string()),
            ("message.max.bytes", RECORD_BYTES_MAX),
            ("batch.size", "1000000"),
            ("queue.buffering.max.messages", "1000000"),
            ("queue.buffering.max.kbytes", "262144"),
            // What a broker wants to be asked again, such as the first question after a transaction, waits for so long.
            ("retry.backoff.ms", "20"),
        ] {
            config.set(name, value);
        }
        if let Some(id) = transactional {
            config.set("transactional.id", id);
        }
        let failed = Deliveries::default();
        let producer = BaseProducer::from_config_and_context(&config, failed.clone())?;
        let writer = Writer {
            producer,
            failed,
            sent: 0,
        };
        if transactional.is_some() {
            writer.producer.init_transactions(PATIENCE)?;
        }
        Ok(writer)
    }

    /// Sends a record, when there is room for it.
    pub fn send(&mut self, record: BaseRecord<'_, [u8], [u8]>) -> Result<(), Failure> {
        let mut record = record;
        loop {
            match self.producer.send(record) {
                Ok(()) => break,
                Err((error, back)) => {
                    if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                        return Err(error.into());
                    }
                    record = back;
                    self.look();
                    thread::sleep(PAUSE);
                }
            }
        }
        self.sent += 1;
        if self.sent.is_multiple_of(LOOK_EVERY) {
            self.look();
        }
        Ok(())
    }

    /// Takes in what was delivered.
    pub fn look(&self) {
        self.producer.poll(Duration::ZERO);
    }

    /// Waits until all is delivered.
    pub fn finish(&self) -> Result<(), Failure> {
        while self.producer.in_flight_count() > 0 {
            self.look();
            thread::sleep(PAUSE);
        }
        match self.failed.0.load(Ordering::Relaxed) {
            0 => Ok(()),
            failed => Err(format!("{failed} records were not delivered").into()),
        }
    }

    /// Begins a transaction.
    pub fn begin(&self) -> Result<(), Failure> {
        Ok(self.producer.begin_transaction()?)
    }

    /// Commits it.
    pub fn commit(&self) -> Result<(), Failure> {
        Ok(self.producer.commit_transaction(PATIENCE)?)
    }
}
