//! Sends outputs as soon as there are any, without transactions: at least once, with the least delay.
//!
//! The checkpoint of an epoch waits until brokers have acknowledged all that was sent before its end. So nothing is lost; but
//! what was sent after the last checkpoint is made and sent once more by the run after a crash.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::{FromClientConfigAndContext as _, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::OwnedHeaders;
use rdkafka::producer::{DeliveryResult, Producer as _, ProducerContext, ThreadedProducer};
use slackwater_dataflow::identity::Generation;
use slackwater_dataflow::place::ShardId;
use slackwater_dataflow::sink::addressed::{AddressedRecord, records};
use slackwater_dataflow::sink::{
    Chunks, EpochSink, InPlace, Lengths, Marker, OutputChunk, ShardEpoch, ShardOutputs, SinkError,
    Synced, Syncing,
};

use crate::client::Fault;
use crate::producer::{common_headers, is_full, native, settings, with_own};
use crate::sink::growth::Growth;
use crate::sink::{JOB, SHARD, SinkConfig, check};
use crate::topics::partitions;

/// Between two looks whether something has come.
const PAUSE: Duration = Duration::from_micros(200);

/// How long to wait for brokers before that is told.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long an epoch may take that a run before this one has left, to be published as a whole.
const PUBLISHING_MAX: Duration = Duration::from_secs(60);

/// Sends all that is given to it, each record at least once.
pub struct AtOnceSink {
    shards: u16,
    sending: Sending,
    growth: Growth,
}

impl AtOnceSink {
    /// A sink for such topics. Nothing is sent yet.
    ///
    /// # Errors
    /// A setting is not usable.
    pub fn new(config: SinkConfig) -> Result<Self, Fault> {
        Ok(AtOnceSink {
            shards: config.shards,
            growth: Growth::of(&config)?,
            sending: Sending::new(config)?,
        })
    }

    /// Sends chunks and waits until all is acknowledged: for a while, since who is told that it was not sends all of it
    /// again.
    fn send_all(&mut self, chunks: Chunks<'_>) -> Result<(), SinkError> {
        let begun = Instant::now();
        let may_wait = || begun.elapsed() < PUBLISHING_MAX;
        self.sending.sent = 0;
        for chunk in chunks {
            for output in &chunk?.outputs {
                while let Err(error) = self.sending.append(output) {
                    if !error.passes() || !may_wait() {
                        return Err(error);
                    }
                }
            }
        }
        let mut syncing = self.sending.sync();
        loop {
            match syncing()? {
                Synced::Durable => return Ok(()),
                Synced::NotYet(error) if !may_wait() => return Err(error),
                Synced::NotYet(_) => {}
            }
        }
    }
}

impl EpochSink for AtOnceSink {
    fn take_over(&mut self, _: Generation) -> Result<Vec<Option<Marker>>, SinkError> {
        Ok(vec![None; usize::from(self.shards)])
    }

    fn keeps_markers(&self) -> bool {
        false
    }

    fn publish(&mut self, outputs: ShardEpoch<'_>) -> Result<(), SinkError> {
        // What is in its place has been acknowledged. The rest is of a run that published by epochs.
        if let ShardOutputs::Chunks(chunks) = outputs.outputs {
            self.send_all(chunks)?;
        }
        let Sending {
            producer, config, ..
        } = &self.sending;
        self.growth.look(config, |topic| {
            partitions(producer.client(), &config.cluster.brokers, topic)
        });
        Ok(())
    }

    fn in_place(&mut self, _: &[Lengths]) -> Result<Option<Box<dyn InPlace>>, SinkError> {
        Ok(Some(Box::new(self.sending.clone())))
    }
}

/// Records that were sent and not acknowledged.
#[derive(Debug, Default)]
struct Unacknowledged {
    count: AtomicU64,
    /// Why one will never be.
    refused: OnceLock<KafkaError>,
}

/// Takes in acknowledgements.
struct Acknowledging;

impl ClientContext for Acknowledging {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(facility, ?level, "kafka: {message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!("kafka: {error}: {reason}");
    }
}

impl ProducerContext for Acknowledging {
    type DeliveryOpaque = Arc<Unacknowledged>;

    fn delivery(&self, result: &DeliveryResult<'_>, unacknowledged: Arc<Unacknowledged>) {
        match result {
            Ok(_) => {
                unacknowledged.count.fetch_sub(1, Ordering::Release);
            }
            // The first reason counts; others follow from it.
            Err((error, _)) => drop(unacknowledged.refused.set(error.clone())),
        }
    }
}

/// Sends records, in order.
#[derive(Clone)]
struct Sending {
    producer: ThreadedProducer<Acknowledging>,
    config: Arc<SinkConfig>,
    /// Headers that all records of each shard are given, if any.
    headers: Vec<Option<OwnedHeaders>>,
    /// What was sent since the last sync.
    unacknowledged: Arc<Unacknowledged>,
    /// How many records of the chunk that is being appended have been sent.
    sent: usize,
}

impl Sending {
    fn new(config: SinkConfig) -> Result<Self, Fault> {
        let mut settings = settings(config.batch_bytes_max());
        settings.push(("linger.ms", "1".to_owned()));
        // Brokers that are away are waited for, however long that takes.
        settings.push(("message.timeout.ms", "0".to_owned()));
        let native = config.cluster.config(settings);
        let producer = ThreadedProducer::from_config_and_context(&native, Acknowledging);
        let headers = (0..config.shards).map(|shard| {
            let shard = ShardId(shard).to_string();
            let named = config.headers;
            named.then(|| common_headers(&[(JOB, &config.job), (SHARD, &shard)]))
        });
        Ok(Sending {
            producer: producer.map_err(Fault::told("use", &config.cluster.brokers))?,
            headers: headers.collect(),
            config: Arc::new(config),
            unacknowledged: Arc::default(),
            sent: 0,
        })
    }

    fn send(
        &self,
        topic: &str,
        given: &Option<OwnedHeaders>,
        record: &AddressedRecord<'_>,
    ) -> Result<(), Fault> {
        let headers = with_own(given.clone(), record);
        let mut sent = native(topic, record, headers, Arc::clone(&self.unacknowledged));
        let begun = Instant::now();
        self.unacknowledged.count.fetch_add(1, Ordering::Relaxed);
        loop {
            let (error, back) = match self.producer.send(sent) {
                Ok(()) => return Ok(()),
                Err(refused) => refused,
            };
            if !is_full(&error) || begun.elapsed() > PATIENCE {
                self.unacknowledged.count.fetch_sub(1, Ordering::Relaxed);
                return Err(match is_full(&error) {
                    true => away(
                        &self.config.cluster.brokers,
                        self.producer.in_flight_count(),
                    ),
                    false => Fault::told("send to topic", topic)(error),
                });
            }
            sent = back;
            thread::sleep(PAUSE);
        }
    }
}

fn away(brokers: &str, records: impl std::fmt::Display) -> Fault {
    let subject = format!("the brokers at {brokers}");
    let why = format!("{records} records wait to be acknowledged");
    Fault::passing("send to", subject, why)
}

impl InPlace for Sending {
    fn append(&mut self, chunk: &OutputChunk) -> Result<(), SinkError> {
        check(std::slice::from_ref(chunk))?;
        let shard = usize::from(chunk.shard.0);
        let topic = self.config.topic(chunk.stream);
        let none = || {
            Fault::new(
                "send to",
                format!("shard {shard}"),
                "there is no such shard",
            )
        };
        let headers = self.headers.get(shard).ok_or_else(none)?;
        // Asked again after a wait, it goes on where it was.
        for record in records(&chunk.bytes).skip(self.sent) {
            self.send(topic, headers, &record)?;
            self.sent += 1;
        }
        self.sent = 0;
        Ok(())
    }

    fn sync(&mut self) -> Syncing {
        let sent = std::mem::take(&mut self.unacknowledged);
        let config = Arc::clone(&self.config);
        Box::new(move || {
            let begun = Instant::now();
            loop {
                if let Some(error) = sent.refused.get() {
                    return Err(refused(&config, error.clone()).into());
                }
                // Read first: what is refused meanwhile stays counted.
                let count = sent.count.load(Ordering::Acquire);
                if count == 0 {
                    return Ok(Synced::Durable);
                }
                if begun.elapsed() > PATIENCE {
                    return Ok(Synced::NotYet(away(&config.cluster.brokers, count).into()));
                }
                thread::sleep(PAUSE);
            }
        })
    }
}

/// A record that brokers refuse to take; waiting does not help.
fn refused(config: &SinkConfig, error: KafkaError) -> Fault {
    let subject = format!("the brokers at {}", config.cluster.brokers);
    let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
    let mut fault = Fault::told("send to", subject)(KafkaError::MessageProduction(code));
    if fault.passes() {
        fault.source = std::io::Error::other(fault.source);
    }
    fault
}
