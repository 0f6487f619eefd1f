//! An event that goes to a dead-letter stream: which stage said so, why, and everything that is needed
//! to understand it later without the source.

use slackwater_dataflow::flow::Ticket;
use slackwater_dataflow::moment::EventTime;
use slackwater_dataflow::place::{Offset, PartitionId, ShardId, Spread};
use slackwater_dataflow::sink::OutputStream;
use slackwater_dataflow::source::Payload;

use crate::batch::RowBatch;

/// Where in its life an event was rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// It is not a JSON object.
    Decode,
    /// It is not what the schema and the checks say.
    Validate,
    /// It came after its partition's watermark had passed it.
    Late,
    /// A check on the way to the features failed.
    Feature,
    /// What is looked up elsewhere is not to be had.
    Lookup,
    /// The model failed or said something that is not a number.
    Infer,
    /// What came of it cannot be written.
    Encode,
}

impl Stage {
    /// The stage's name in records.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Decode => "decode",
            Stage::Validate => "validate",
            Stage::Late => "late",
            Stage::Feature => "feature",
            Stage::Lookup => "lookup",
            Stage::Infer => "infer",
            Stage::Encode => "encode",
        }
    }

    /// The stream that rejects of this stage go to.
    pub fn stream(self) -> OutputStream {
        match self {
            Stage::Decode | Stage::Validate => OutputStream::ValidationErrors,
            Stage::Late => OutputStream::LateEvents,
            Stage::Feature | Stage::Lookup | Stage::Infer | Stage::Encode => {
                OutputStream::ProcessingErrors
            }
        }
    }
}

/// Why an event was rejected, as a word that programs can rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Code {
    /// Bytes that are not UTF-8.
    NotUtf8,
    /// Text that is not JSON.
    NotJson,
    /// JSON that is not an object.
    NotObject,
    /// What is no row of the table in which it stands.
    BadRow,
    /// More than `max_bytes`.
    TooLarge,
    /// Nested deeper than `max_depth`.
    TooDeep,
    /// A `not_empty` check.
    Empty,
    /// A required field is missing or null.
    Missing,
    /// A field of another type.
    WrongType,
    /// Any other check.
    CheckFailed,
    /// It cannot be told whether a filter keeps it.
    FilterFailed,
    /// Event time beyond `max_ahead`.
    TooFarAhead,
    /// Older than the watermark.
    Late,
    /// Older than what the job had reached when it found the partition.
    LateNewPartition,
    /// A store did not answer in time.
    LookupTimeout,
    /// A store could not be asked, or could not serve.
    LookupUnavailable,
    /// A store has something that is not what the lookup declares.
    LookupBadValue,
    /// A store has nothing of a key.
    LookupMissing,
    /// The model gave an error.
    ModelFailed,
    /// The model, or a feature that goes out by itself, is NaN or an infinity.
    NotFinite,
    /// A prediction, or what stands for it, that is larger than what its topic takes.
    OutputTooLarge,
}

impl Code {
    /// The code as it stands in records.
    pub fn name(self) -> &'static str {
        match self {
            Code::NotUtf8 => "not_utf8",
            Code::NotJson => "not_json",
            Code::NotObject => "not_object",
            Code::BadRow => "bad_row",
            Code::TooLarge => "too_large",
            Code::TooDeep => "too_deep",
            Code::Empty => "empty",
            Code::Missing => "missing",
            Code::WrongType => "wrong_type",
            Code::CheckFailed => "check_failed",
            Code::FilterFailed => "filter_failed",
            Code::TooFarAhead => "too_far_ahead",
            Code::Late => "late",
            Code::LateNewPartition => "late_new_partition",
            Code::LookupTimeout => "lookup_timeout",
            Code::LookupUnavailable => "lookup_unavailable",
            Code::LookupBadValue => "lookup_bad_value",
            Code::LookupMissing => "lookup_missing",
            Code::ModelFailed => "model_failed",
            Code::NotFinite => "not_finite",
            Code::OutputTooLarge => "output_too_large",
        }
    }
}

/// What was read, as far as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Original {
    /// The record, whole.
    Record(Vec<u8>),
    /// The beginning of a record that was too large to keep.
    Oversize {
        /// Its first bytes.
        head: Vec<u8>,
        /// Its length in bytes.
        length: u64,
        /// SHA-256 of all of it.
        sha256: [u8; 32],
    },
}

impl Original {
    /// The same with no more than so many bytes of it.
    pub fn cut(&self, most: usize) -> Self {
        match self {
            Original::Record(record) => Payload::oversize(record, most).into(),
            Original::Oversize {
                head,
                length,
                sha256,
            } => Original::Oversize {
                head: head.get(..most).unwrap_or(head).to_vec(),
                length: *length,
                sha256: *sha256,
            },
        }
    }
}

impl From<Payload<'_>> for Original {
    fn from(payload: Payload<'_>) -> Self {
        match payload {
            Payload::Whole(bytes) | Payload::Malformed { bytes, .. } => {
                Original::Record(bytes.to_vec())
            }
            Payload::Oversize {
                head,
                length,
                sha256,
            } => Original::Oversize {
                head: head.to_vec(),
                length,
                sha256,
            },
        }
    }
}

/// How late an event was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lateness {
    /// Its partition's watermark when it was read.
    pub watermark: EventTime,
    /// By how much it missed it.
    pub lateness_ms: u64,
}

/// Why and where: what a stage decides about an event it rejects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The stage.
    pub stage: Stage,
    /// The reason, for programs.
    pub code: Code,
    /// The reason, for people.
    pub message: String,
    /// For processing errors: the failing operator first, then what it was caused by, each as
    /// `stage/operator: message`. For other errors empty, but where an expression has no value: why.
    pub causes: Vec<String>,
}

/// A rejected event.
#[derive(Clone, Debug)]
pub struct Reject {
    /// Why.
    pub reason: Reason,
    /// What was read.
    pub original: Original,
    /// Where from.
    pub partition: PartitionId,
    /// Its place there.
    pub offset: Offset,
    /// Its event time, where the stage knows it.
    pub event_time: Option<EventTime>,
    /// How late it was, if that is the reason.
    pub lateness: Option<Lateness>,
    /// The shard that publishes it: by its key once that is known, by its partition before.
    pub shard: ShardId,
    /// What it is known by, where its topic has keys; none if by nothing.
    pub key: Option<RejectKey>,
    /// What its record was written with, as [`crate::origin`] writes it; empty unless that is kept.
    pub origin: Vec<u8>,
}

/// The key of a rejected event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RejectKey {
    /// That of its record, as it was read: the event's own is not known yet.
    OfRecord(Vec<u8>),
    /// Its own, as [`crate::key`] writes it.
    OfEvent(Vec<u8>),
}

/// Rejected events of one poll or batch, which travel together.
#[derive(Clone, Debug)]
pub struct RejectBatch {
    /// The events, in order.
    pub rejects: Vec<Reject>,
    /// Keeps them in flight.
    pub ticket: Ticket,
}

impl RejectBatch {
    /// Takes events out of a batch: those at these positions, which ascend, for these reasons. `None` if
    /// there are none.
    pub fn take_from(
        batch: &mut RowBatch,
        refused: Vec<(usize, Reason)>,
        spread: &Spread,
    ) -> Option<Self> {
        if refused.is_empty() {
            return None;
        }
        let mut rejects = Vec::with_capacity(refused.len());
        let mut positions = Vec::with_capacity(refused.len());
        for (position, reason) in refused {
            let Some(row) = batch.rows.rows().get(position) else {
                continue;
            };
            positions.push(position);
            rejects.push(Reject {
                reason,
                original: Original::Record(batch.rows.bytes(row.record).to_vec()),
                partition: row.partition,
                offset: row.offset,
                event_time: Some(row.time),
                lateness: None,
                shard: spread.shard(row.key_hash),
                key: Some(RejectKey::OfEvent(batch.rows.bytes(row.key).to_vec())),
                origin: batch.rows.origin_of(row).to_vec(),
            });
        }
        batch.rows.leave_out(&positions);
        let ticket = batch.ticket.clone();
        Some(RejectBatch { rejects, ticket })
    }
}

/// What messages call a number that is not finite.
pub fn not_finite(number: f32) -> &'static str {
    if number.is_nan() {
        "NaN"
    } else if number > 0.0 {
        "infinity"
    } else {
        "-infinity"
    }
}

/// Writes a whole number with a comma between thousands, as messages show spans of time.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use crate::reject::grouped;

    #[test]
    fn spans_of_time_are_readable() {
        let check = |number, expected: &str| assert_eq!(grouped(number), expected);
        check(0, "0");
        check(999, "999");
        check(1_234, "1,234");
        check(7_200_000, "7,200,000");
        check(u64::MAX, "18,446,744,073,709,551,615");
    }
}
