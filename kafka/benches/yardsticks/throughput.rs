//! Many records as fast as can be: read, written, or both.

use std::fs;
use std::time::Instant;

use rdkafka::Message as _;
use rdkafka::producer::BaseRecord;
use serde_json::{Value, json};

use crate::Failure;
use crate::arguments::Arguments;
use crate::clients::{PATIENCE, Reader, Writer, now_ms};
use crate::sample::{self, Sampled};

/// How long a producer waits for more records of a batch: what clients do by themselves, Java's too. One that does not wait sends
/// so many requests that a broker of this machine has time for nothing else.
pub const LINGER_MS: u32 = 5;
/// Partitions of every topic of a bench.
pub const PARTITIONS: usize = 4;

/// Writes each line of the files as a record: the first file's to the first partition, and so on.
pub fn load(arguments: &Arguments) -> Result<Value, Failure> {
    let topic = arguments.text("topic")?;
    let mut writer = Writer::of(arguments.text("brokers")?, LINGER_MS, None)?;
    let begun = Instant::now();
    let (mut records, mut bytes) = (0, 0);
    for (partition, path) in (0..).zip(arguments.list("files")?) {
        let text = fs::read(path).map_err(|error| format!("cannot read {path}: {error}"))?;
        for line in lines(&text) {
            let record = BaseRecord::to(topic)
                .partition(partition)
                .timestamp(now_ms())
                .payload(line);
            writer.send(record)?;
            records += 1;
            bytes += line.len();
        }
        writer.finish()?;
    }
    Ok(figures(records, bytes, begun))
}

/// The lines of a text, of which the last one ends as the others do.
pub fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    text.split(|byte| *byte == b'\n')
}

/// Reads so many records.
pub fn consume(arguments: &Arguments) -> Result<Value, Failure> {
    let reader = Reader::of(arguments.text("brokers")?, &[arguments.text("topic")?])?;
    let wanted: u64 = arguments.number("records")?;
    let begun = Instant::now();
    reader.begin()?;
    let mut bytes = 0;
    for _ in 0..wanted {
        bytes += length(&reader)?;
    }
    Ok(figures(wanted, bytes, begun))
}

/// Bytes of the next record.
fn length(reader: &Reader) -> Result<usize, Failure> {
    let message = reader.next(PATIENCE)?;
    let message = message.ok_or("there are fewer records than there should be")?;
    Ok(message.payload().map_or(0, <[u8]>::len))
}

/// Writes so many records.
pub fn produce(arguments: &Arguments) -> Result<Value, Failure> {
    let mut outputs = Outputs::of(arguments)?;
    let wanted: u64 = arguments.number("records")?;
    let begun = Instant::now();
    for _ in 0..wanted {
        outputs.send()?;
    }
    outputs.writer.finish()?;
    Ok(figures(wanted, outputs.bytes, begun))
}

/// Reads so many records, and writes one for each.
pub fn consume_to_produce(arguments: &Arguments) -> Result<Value, Failure> {
    let reader = Reader::of(arguments.text("brokers")?, &[arguments.text("topic")?])?;
    let mut outputs = Outputs::of(arguments)?;
    let wanted: u64 = arguments.number("records")?;
    let begun = Instant::now();
    reader.begin()?;
    for _ in 0..wanted {
        length(&reader)?;
        outputs.send()?;
    }
    outputs.writer.finish()?;
    Ok(figures(wanted, outputs.bytes, begun))
}

/// Records as a job writes them, again and again.
struct Outputs<'a> {
    writer: Writer,
    topic: &'a str,
    sample: Vec<Sampled>,
    sent: usize,
    bytes: usize,
}

impl<'a> Outputs<'a> {
    fn of(arguments: &'a Arguments) -> Result<Self, Failure> {
        Ok(Outputs {
            writer: Writer::of(arguments.text("brokers")?, LINGER_MS, None)?,
            topic: arguments.text("to")?,
            sample: sample::read(arguments.text("sample")?)?,
            sent: 0,
            bytes: 0,
        })
    }

    fn send(&mut self) -> Result<(), Failure> {
        let next = self.sample.get(self.sent % self.sample.len());
        let next = next.ok_or("the sample is empty")?;
        let partition = (self.sent % PARTITIONS) as i32;
        self.writer.send(next.record(self.topic, partition))?;
        self.sent += 1;
        self.bytes += next.bytes();
        Ok(())
    }
}

fn figures(records: u64, bytes: usize, begun: Instant) -> Value {
    let seconds = begun.elapsed().as_secs_f64();
    json!({
        "records": records,
        "bytes": bytes,
        "seconds": seconds,
        "records_per_second": records as f64 / seconds,
    })
}
