//! A load at a steady rate: events of the reference job whose time is when they are sent, by which the time of a record,
//! that of its event and that of what comes of it are one number.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::producer::BaseRecord;

use crate::Failure;
use crate::clients::{Writer, now_ms};
use crate::throughput::{LINGER_MS, lines};

/// The event's own time.
const TIME_FIELD: &[u8] = b"\"timestamp_ms\"";
/// Digits of a time in milliseconds, from 2001 to 2286.
const DIGITS: usize = 13;
/// Between two looks at which records are due.
const LOOK_AGAIN: Duration = Duration::from_micros(500);
/// Records that get one reading of the clock, when many are due.
const CLOCK_EVERY: u64 = 32;

/// An event, and where in it its time stands.
struct Event {
    bytes: Vec<u8>,
    time_at: usize,
}

/// Events by partition.
pub struct Load {
    partitions: Vec<Vec<Event>>,
    writer: Writer,
}

/// What was sent.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    /// All of it.
    pub records: u64,
    /// How long that took.
    pub took: Duration,
}

impl Load {
    /// The events in these files, one for each partition. Those without a time are left out: what comes of them would not say
    /// when they were sent.
    pub fn of(brokers: &str, files: &[&str]) -> Result<Self, Failure> {
        let mut partitions = Vec::new();
        for path in files {
            let text = fs::read(path).map_err(|error| format!("cannot read {path}: {error}"))?;
            let events: Vec<Event> = lines(&text).filter_map(event).collect();
            if events.is_empty() {
                return Err(format!("{path} holds no event with a time").into());
            }
            partitions.push(events);
        }
        let writer = Writer::of(brokers, LINGER_MS, None)?;
        Ok(Load { partitions, writer })
    }

    /// Sends so many a second, for so long.
    pub fn run(mut self, topic: &str, rate: f64, length: Duration) -> Result<Sent, Failure> {
        let begun = Instant::now();
        let mut records = 0;
        while begun.elapsed() < length {
            let due = (begun.elapsed().as_secs_f64() * rate) as u64;
            let mut time_ms = now_ms();
            while records < due {
                if records.is_multiple_of(CLOCK_EVERY) {
                    time_ms = now_ms();
                }
                self.send(topic, records, time_ms)?;
                records += 1;
            }
            self.writer.look();
            thread::sleep(LOOK_AGAIN);
        }
        let took = begun.elapsed();
        self.writer.finish()?;
        Ok(Sent { records, took })
    }

    fn send(&mut self, topic: &str, number: u64, time_ms: i64) -> Result<(), Failure> {
        let count = self.partitions.len().max(1) as u64;
        let (partition, nth) = ((number % count) as usize, (number / count) as usize);
        let events = self.partitions.get_mut(partition);
        let event = events.and_then(|events| {
            let at = nth % events.len().max(1);
            events.get_mut(at)
        });
        let event = event.ok_or("there is nothing to send")?;
        let digits = time_ms.to_string();
        let place = event.bytes.get_mut(event.time_at..event.time_at + DIGITS);
        let place = place.filter(|place| place.len() == digits.len());
        place
            .ok_or("the clock says that it is before 2001")?
            .copy_from_slice(digits.as_bytes());
        let record = BaseRecord::to(topic)
            .partition(partition as i32)
            .timestamp(time_ms)
            .payload(event.bytes.as_slice());
        self.writer.send(record)
    }
}

/// An event whose time is a number of the usual length.
fn event(line: &[u8]) -> Option<Event> {
    let field = line
        .windows(TIME_FIELD.len())
        .position(|part| part == TIME_FIELD)?;
    let after = field + TIME_FIELD.len();
    let colon = skip_blanks(line, after);
    if line.get(colon) != Some(&b':') {
        return None;
    }
    let time_at = skip_blanks(line, colon + 1);
    let is_digit = |at: usize| line.get(at).is_some_and(u8::is_ascii_digit);
    let ends = line
        .get(time_at + DIGITS)
        .is_some_and(|byte| b",} ".contains(byte));
    let is_time = ends && (time_at..time_at + DIGITS).all(is_digit);
    is_time.then(|| Event {
        bytes: line.to_vec(),
        time_at,
    })
}

fn skip_blanks(line: &[u8], from: usize) -> usize {
    let rest = line.get(from..).unwrap_or_default();
    from + rest.iter().take_while(|byte| **byte == b' ').count()
}
