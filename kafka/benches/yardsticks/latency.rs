//! From the time of a record until a reader of what is committed has it.
//!
//! Times of records are whole milliseconds, cut off: all that is found here is half a millisecond too long, a yardstick as
//! much as a job.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rdkafka::Message as _;
use rdkafka::producer::BaseRecord;
use serde_json::{Value, json};

use crate::Failure;
use crate::arguments::Arguments;
use crate::clients::{PATIENCE, Reader, Writer, now_ms, now_us};
use crate::load::{Load, Sent};
use crate::throughput::PARTITIONS;

/// Longest latency that is told apart from longer ones.
const LONGEST_US: u64 = 600_000_000;
/// How long a record is waited for, before it is asked whether all were sent.
const WAIT: Duration = Duration::from_millis(20);
/// From one record to the next, at most, so that they meet brokers at all moments.
const PAUSE_US_MAX: u64 = 3_000;
/// Records before those that count, of which the first waits for connections.
const UNCOUNTED: u64 = 100;
/// Records of a transaction.
const TRANSACTION: usize = 100;
/// As long as a prediction.
const VALUE: [u8; 100] = [b'x'; 100];

/// Durations, by how long they are.
struct Durations(Histogram<u64>);

impl Durations {
    fn new() -> Result<Self, Failure> {
        Ok(Durations(Histogram::new_with_bounds(1, LONGEST_US, 3)?))
    }

    fn add_us(&mut self, us: i64) {
        self.0.saturating_record(us.max(1) as u64);
    }

    fn json(&self) -> serde_json::Map<String, Value> {
        let at = |quantile: f64| json!(self.0.value_at_quantile(quantile) as f64 / 1e3);
        let figures = [
            ("measured", json!(self.0.len())),
            ("p50_ms", at(0.5)),
            ("p90_ms", at(0.9)),
            ("p99_ms", at(0.99)),
            ("p999_ms", at(0.999)),
            ("max_ms", json!(self.0.max() as f64 / 1e3)),
        ];
        let figures = figures.map(|(name, value)| (name.to_owned(), value));
        figures.into_iter().collect()
    }
}

/// Sends a load to a topic, and reads what comes of it in others until there is one record for each that was sent. Measured
/// are records of the first of those topics that were sent after the warm-up.
pub fn under_load(arguments: &Arguments) -> Result<Value, Failure> {
    let brokers = arguments.text("brokers")?;
    let topics = arguments.list("topics")?;
    let measured = *topics.first().ok_or("no topic is named to read")?;
    let reader = Reader::of(brokers, &topics)?;
    let load = Load::of(brokers, &arguments.list("files")?)?;
    let rate: f64 = arguments.number("rate")?;
    let length = Duration::from_secs_f64(arguments.number("seconds")?);
    let warm_up = Duration::from_secs_f64(arguments.number("warm-up")?);
    let topic = arguments.text("topic")?.to_owned();
    reader.begin()?;
    let measure_from_ms = now_ms() + warm_up.as_millis() as i64;
    let sending = thread::spawn(move || load.run(&topic, rate, warm_up + length));
    let mut sending = Some(sending);
    let mut sent: Option<Sent> = None;
    let mut durations = Durations::new()?;
    let mut by_topic: BTreeMap<String, u64> = BTreeMap::new();
    let (mut records, mut last) = (0_u64, Instant::now());
    loop {
        if let Some(message) = reader.next(WAIT)? {
            let time_ms = message.timestamp().to_millis().unwrap_or_default();
            if message.topic() == measured && time_ms >= measure_from_ms {
                durations.add_us(now_us() - time_ms * 1_000);
            }
            records += 1;
            match by_topic.get_mut(message.topic()) {
                Some(count) => *count += 1,
                None => drop(by_topic.insert(message.topic().to_owned(), 1)),
            }
            last = Instant::now();
            continue;
        }
        if sending
            .as_ref()
            .is_some_and(thread::JoinHandle::is_finished)
        {
            let ended = sending.take().map(thread::JoinHandle::join);
            sent = Some(ended.and_then(Result::ok).ok_or("the load has crashed")??);
        }
        match sent {
            // A record too many would have come in the wait before.
            Some(sent) if records >= sent.records => break,
            _ if last.elapsed() > PATIENCE => {
                return Err(
                    format!("{records} records came, of {sent:?}, and then no more").into(),
                );
            }
            _ => {}
        }
    }
    let sent = sent.ok_or("nothing was sent")?;
    if records != sent.records {
        return Err(format!("{} records were sent, and {records} came", sent.records).into());
    }
    let mut found = durations.json();
    found.insert("records".to_owned(), json!(records));
    found.insert("by_topic".to_owned(), json!(by_topic));
    found.insert("rate_wanted".to_owned(), json!(rate));
    let rate = sent.records as f64 / sent.took.as_secs_f64();
    found.insert("rate".to_owned(), json!(rate));
    Ok(Value::Object(found))
}

/// Sends one record after the other, each when the one before has come.
pub fn one_record(arguments: &Arguments) -> Result<Value, Failure> {
    let (brokers, topic) = (arguments.text("brokers")?, arguments.text("topic")?);
    let wanted: u64 = arguments.number("records")?;
    let reader = Reader::of(brokers, &[topic])?;
    let mut writer = Writer::of(brokers, 0, None)?;
    reader.begin()?;
    let mut durations = Durations::new()?;
    for number in 0..wanted + UNCOUNTED {
        let time_ms = now_ms();
        let record = BaseRecord::to(topic)
            .partition((number % PARTITIONS as u64) as i32)
            .timestamp(time_ms)
            .key(b"key".as_slice())
            .payload(VALUE.as_slice());
        writer.send(record)?;
        let came = reader.next(PATIENCE)?;
        let came = came.ok_or("a record did not come")?;
        let took_us = now_us() - time_ms * 1_000;
        if came.timestamp().to_millis() != Some(time_ms) {
            return Err("another record came than the one that was sent; use a new topic".into());
        }
        if number >= UNCOUNTED {
            durations.add_us(took_us);
        }
        writer.look();
        // Spread over the whole of the pause.
        thread::sleep(Duration::from_micros(number * 617 % PAUSE_US_MAX));
    }
    writer.finish()?;
    Ok(Value::Object(durations.json()))
}

/// Transactions of a hundred records, from their begin to the end of their commit.
pub fn transaction(arguments: &Arguments) -> Result<Value, Failure> {
    let (brokers, topic) = (arguments.text("brokers")?, arguments.text("topic")?);
    let wanted: u64 = arguments.number("records")?;
    let mut writer = Writer::of(brokers, 0, Some("yardsticks"))?;
    let mut durations = Durations::new()?;
    for number in 0..wanted + UNCOUNTED {
        let begun = Instant::now();
        writer.begin()?;
        for record in 0..TRANSACTION {
            let record = BaseRecord::to(topic)
                .partition((record % PARTITIONS) as i32)
                .key(b"key".as_slice())
                .payload(VALUE.as_slice());
            writer.send(record)?;
        }
        // Whoever commits before all is delivered waits for it in steps of a tenth of a second.
        writer.finish()?;
        writer.commit()?;
        if number >= UNCOUNTED {
            durations.add_us(begun.elapsed().as_micros() as i64);
        }
    }
    writer.finish()?;
    Ok(Value::Object(durations.json()))
}
