//! How records are written: as lines, or each with its address, and what becomes of those that a topic would refuse.

use slackwater_dataflow::flow::{Publication, Ticket};
use slackwater_dataflow::headers::Headers;
use slackwater_dataflow::moment::EventTime;
use slackwater_dataflow::place::ShardId;
use slackwater_dataflow::sink::addressed::{Address, OpenRecord};
use slackwater_dataflow::sink::destinations::{Destination, Destinations};
use slackwater_dataflow::sink::{Framing, OutputChunk, OutputStream};

use crate::encode::json;
use crate::key::{KeyPart, parts};

/// Room per record that a chunk starts with.
const RECORD_BYTES_EXPECTED: usize = 160;

/// Header of a record whose event time its topic would refuse as a timestamp, and of one that is as it was read:
/// milliseconds since 1970.
pub(super) const EVENT_TIME_HEADER: &str = "slackwater.event_time_ms";

/// How records are written.
#[derive(Clone, Debug, Default)]
pub enum Form {
    /// One a line.
    #[default]
    Lines,
    /// Each with the address where it goes.
    Addressed(Destinations),
    /// Each as a row of a table, with its key and event time.
    Rows,
}

impl Form {
    fn framing(&self) -> Framing {
        match self {
            Form::Lines => Framing::Lines,
            Form::Addressed(_) | Form::Rows => Framing::Addressed,
        }
    }

    /// Whether keys of records are asked for.
    pub(super) fn has_keys(&self) -> bool {
        matches!(self, Form::Addressed(_))
    }
}

/// The key of an event as records have it: a text as it is, a number or truth value in words, several fields as a JSON
/// array.
pub(super) fn write_record_key(out: &mut Vec<u8>, key: &[u8]) {
    match parts(key).as_slice() {
        [KeyPart::Text(text)] => out.extend_from_slice(text.as_bytes()),
        [part] => json::key_part(out, part),
        parts => json::key_parts(out, parts),
    }
}

/// What the address of a record follows from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sender<'a> {
    /// The shard.
    pub shard: ShardId,
    /// The record's key; records of one key go to one partition.
    pub key: Option<&'a [u8]>,
    /// Of the event, if it is known.
    pub event_time: Option<EventTime>,
    /// Spreads records without a key, so that another run spreads them alike.
    pub place: u64,
    /// What else it is sent with. They say the event time, if there are any.
    pub headers: Headers<'a>,
}

/// A record that was begun and cannot be written: so many bytes, of so many that are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLarge {
    pub bytes: usize,
    pub most: usize,
}

/// The open chunks of one batch, one per shard.
pub(super) struct Chunks<'f> {
    stream: OutputStream,
    form: &'f Form,
    now_ms: i64,
    open: Vec<(u32, Vec<u8>)>,
    /// Records that one shard may expect of a batch.
    expected: usize,
}

impl<'f> Chunks<'f> {
    pub(super) fn new(
        stream: OutputStream,
        shards: u16,
        rows: usize,
        form: &'f Form,
        now_ms: i64,
    ) -> Self {
        let expected = rows / usize::from(shards.max(1)) + rows / 8 + 1;
        Chunks {
            stream,
            form,
            now_ms,
            open: vec![(0, Vec::new()); usize::from(shards.max(1))],
            expected,
        }
    }

    /// Writes a record, whose value `write` appends. If it is too large, nothing is written.
    pub(super) fn record(
        &mut self,
        sender: Sender<'_>,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), TooLarge> {
        let most = match self.form {
            Form::Lines | Form::Rows => usize::MAX,
            Form::Addressed(destinations) => destinations.record_bytes_max,
        };
        self.record_of(most, sender, write)
    }

    /// Writes a record that is as small as it can be. If its topic refuses it, the job says so and ends: better than that
    /// nobody hears of it.
    pub(super) fn smallest_record(&mut self, sender: Sender<'_>, write: impl FnOnce(&mut Vec<u8>)) {
        let written = self.record_of(usize::MAX, sender, write);
        debug_assert!(written.is_ok());
    }

    fn record_of(
        &mut self,
        most: usize,
        sender: Sender<'_>,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), TooLarge> {
        let last = self.open.len().saturating_sub(1);
        let at = usize::from(sender.shard.0).min(last);
        let expected = self.expected;
        #[expect(
            clippy::indexing_slicing,
            reason = "there is at least one shard, and `at` is one"
        )]
        let (records, bytes) = &mut self.open[at];
        if *records == 0 {
            bytes.reserve(expected * RECORD_BYTES_EXPECTED);
        }
        match self.form {
            Form::Lines => {
                write(bytes);
                bytes.push(b'\n');
            }
            Form::Rows => {
                let address = Address {
                    time_ms: sender.event_time.map_or(0, |time| time.0),
                    partition: 0,
                    key: sender.key,
                };
                let mut record = OpenRecord::begin(bytes, address);
                write(record.value());
                record.end();
            }
            Form::Addressed(destinations) => {
                let destination = destinations.of(self.stream);
                let mut record = begin(bytes, destination, sender, self.now_ms);
                write(record.value());
                let bytes = record.len();
                if bytes > most {
                    record.give_up();
                    return Err(TooLarge { bytes, most });
                }
                record.end();
            }
        }
        *records += 1;
        Ok(())
    }

    pub(super) fn finish(self, ticket: &Ticket, mut give: impl FnMut(Publication)) {
        let (stream, framing) = (self.stream, self.form.framing());
        for (shard, (records, bytes)) in self.open.into_iter().enumerate() {
            if records > 0 {
                let shard = ShardId(shard as u16);
                let chunk = OutputChunk {
                    stream,
                    shard,
                    records,
                    framing,
                    bytes,
                };
                give(Publication {
                    chunk,
                    ticket: ticket.clone(),
                });
            }
        }
    }
}

/// Begins a record at its address.
fn begin<'b>(
    bytes: &'b mut Vec<u8>,
    destination: &Destination,
    sender: Sender<'_>,
    now_ms: i64,
) -> OpenRecord<'b> {
    let partitions = destination.partitions();
    let partition = match sender.key {
        Some(key) => partition_of_key(key, partitions),
        None => (sender.place % u64::from(partitions)) as u32,
    };
    let event_time = sender.event_time.map(|time| time.0);
    let takes = |time: &i64| destination.timestamps().take(*time, now_ms);
    let time_ms = event_time.filter(takes);
    let address = Address {
        time_ms: time_ms.unwrap_or(now_ms),
        partition,
        key: sender.key,
    };
    let mut record = OpenRecord::begin(bytes, address);
    let has_headers = !sender.headers.bytes().is_empty();
    for header in sender.headers.iter() {
        record.header(header);
    }
    if let (None, Some(event_time), false) = (time_ms, event_time, has_headers) {
        let event_time = event_time.to_string();
        record.header((EVENT_TIME_HEADER, Some(event_time.as_bytes())));
    }
    record
}

/// The partition that Kafka's Java client sends a key to: `(murmur2(key) & 0x7fffffff) % partitions`, see
/// `BuiltInPartitioner.partitionForKey` of Apache Kafka.
fn partition_of_key(key: &[u8], partitions: u32) -> u32 {
    let hash = murmur2::murmur2(key, murmur2::KAFKA_SEED) & 0x7fff_ffff;
    hash % partitions.max(1)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;
