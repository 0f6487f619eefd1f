//! A rejected event as a record of its dead-letter stream: in the envelope form, or raw.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use slackwater_dataflow::clock::Clock;
use slackwater_dataflow::flow::Publication;
use slackwater_dataflow::headers::Headers;
use slackwater_dataflow::operator::{Emitter, Operator};
use slackwater_dataflow::place::PartitionId;
use slackwater_dataflow::sink::OutputStream;
use slackwater_dataflow::source::{OVERSIZE_HEAD_BYTES, PartitionName, Topics};

use crate::encode::form::{Chunks, Form, Sender, TooLarge, write_record_key};
use crate::encode::json;
use crate::encode::raw::{RawLetter, RawPlan};
use crate::ingest::IngestPlan;
use crate::json::{PathScanner, Value};
use crate::origin::{self, KeptOrigin};
use crate::reject::{Original, Reject, RejectBatch, RejectKey};

/// What is needed to write dead letters.
#[derive(Clone, Debug)]
pub struct DeadLetterPlan {
    /// Where the fields lie in a record, in schema order.
    pub fields: Vec<Vec<String>>,
    /// Deepest nesting that a record may have to be shown field by field.
    pub max_depth: u32,
    /// What the source calls its partitions, also those that it finds later.
    pub topics: Arc<Topics>,
    /// Number of shards.
    pub shards: u16,
    /// How records are written.
    pub form: Form,
    /// What raw dead letters say; none where they are envelopes.
    pub raw: Option<RawPlan>,
}

impl DeadLetterPlan {
    /// The plan of what `ingest` and the stages behind it reject, of a source with these partitions; envelopes, as lines.
    pub fn new(ingest: &IngestPlan, topics: Arc<Topics>) -> Self {
        DeadLetterPlan {
            fields: ingest.schema.paths(),
            max_depth: ingest.max_depth,
            topics,
            shards: ingest.spread.shards,
            form: Form::Lines,
            raw: None,
        }
    }
}

/// Encodes rejected events.
pub struct EncodeDeadLetters {
    scanner: PathScanner,
    values: Vec<Value>,
    max_depth: u32,
    topics: Arc<Topics>,
    /// The partition of the last dead letter, and what it is called: the next one is mostly of it too.
    named: Option<(PartitionId, PartitionName)>,
    shards: u16,
    form: Form,
    raw: Option<RawPlan>,
    clock: Arc<dyn Clock>,
}

/// When a batch is written.
struct Now {
    ms: i64,
    /// As envelopes say it.
    seconds: String,
}

/// How much of what is not the record itself a dead letter repeats.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Repeats {
    Everything,
    /// Neither key nor headers.
    Bytes,
    /// The same, and it is as small as it can be: too large or not, it is written.
    Nothing,
}

impl EncodeDeadLetters {
    /// An encoder as planned.
    pub fn new(plan: DeadLetterPlan, clock: Arc<dyn Clock>) -> Self {
        EncodeDeadLetters {
            values: vec![Value::Missing; plan.fields.len()],
            scanner: PathScanner::new(&plan.fields),
            max_depth: plan.max_depth,
            topics: plan.topics,
            named: None,
            shards: plan.shards,
            form: plan.form,
            raw: plan.raw,
            clock,
        }
    }

    /// Writes a dead letter. One that its topic would refuse repeats less of what was read, at last nothing of it.
    fn record(&mut self, chunks: &mut Chunks<'_>, reject: &Reject, now: &Now) {
        let mut attempt = |original: &Original, repeats| {
            if self.raw.is_some() {
                self.write_raw(chunks, reject, original, repeats, now)
            } else {
                self.write_envelope(chunks, reject, original, repeats, now)
            }
        };
        if attempt(&reject.original, Repeats::Everything).is_ok() {
            return;
        }
        if attempt(&reject.original, Repeats::Bytes).is_ok() {
            return;
        }
        let mut kept = OVERSIZE_HEAD_BYTES;
        while kept > 0 {
            if attempt(&reject.original.cut(kept), Repeats::Everything).is_ok() {
                return;
            }
            kept /= 2;
        }
        let written = attempt(&reject.original.cut(0), Repeats::Nothing);
        debug_assert!(written.is_ok());
    }

    fn write_envelope(
        &mut self,
        chunks: &mut Chunks<'_>,
        reject: &Reject,
        original: &Original,
        repeats: Repeats,
        now: &Now,
    ) -> Result<(), TooLarge> {
        let has_key = self.form.has_keys() && repeats == Repeats::Everything;
        let key = has_key.then(|| record_key(reject)).flatten();
        let sender = sender(reject, key.as_deref(), Headers::default());
        let write = |out: &mut Vec<u8>| self.envelope(out, reject, original, &now.seconds);
        put(chunks, sender, repeats, write)
    }

    fn write_raw(
        &mut self,
        chunks: &mut Chunks<'_>,
        reject: &Reject,
        original: &Original,
        repeats: Repeats,
        now: &Now,
    ) -> Result<(), TooLarge> {
        let lines = !self.form.has_keys();
        let source = self.source(reject.partition);
        let Some(plan) = &self.raw else {
            return Ok(());
        };
        let known = origin::read(&reject.origin).unwrap_or_default();
        let kept = match repeats {
            Repeats::Everything => known,
            Repeats::Bytes | Repeats::Nothing => KeptOrigin::default(),
        };
        let source = source.as_ref().map(|it| (&*it.topic, it.number));
        let letter = RawLetter {
            plan,
            reject,
            original,
            origin: kept,
            leaves_out: kept != known,
            source: source.unwrap_or(("", reject.partition.0)),
            error_type: error_type(reject.reason.stage.stream()),
            now_ms: now.ms,
        };
        let headers = letter.headers();
        let headers = Headers::of(&headers);
        let sender = sender(reject, kept.key, headers);
        put(chunks, sender, repeats, |out| {
            if lines {
                letter.line(out, headers);
            } else {
                out.extend_from_slice(letter.value());
            }
        })
    }

    fn envelope(&mut self, out: &mut Vec<u8>, reject: &Reject, original: &Original, now: &str) {
        out.extend_from_slice(b"{\"original_event\":");
        self.original(out, original);
        let reason = &reject.reason;
        out.extend_from_slice(b",\"error_type\":");
        json::text(out, error_type(reason.stage.stream()));
        out.extend_from_slice(b",\"message\":");
        json::text(out, &reason.message);
        out.extend_from_slice(b",\"timestamp\":");
        out.extend_from_slice(now.as_bytes());
        out.extend_from_slice(b",\"code\":");
        json::text(out, reason.code.name());
        out.extend_from_slice(b",\"stage\":");
        json::text(out, reason.stage.name());
        out.extend_from_slice(b",\"source\":{\"topic\":");
        let source = self.source(reject.partition);
        json::text(out, source.as_ref().map_or("", |name| &name.topic));
        out.extend_from_slice(b",\"partition\":");
        json::int(out, source.map_or(reject.partition.0, |name| name.number));
        out.extend_from_slice(b",\"offset\":");
        json::int(out, reject.offset.0);
        out.push(b'}');
        if !reason.causes.is_empty() {
            out.extend_from_slice(b",\"stack_trace\":");
            json::text(out, &reason.causes.join("\ncaused by: "));
        }
        if let Some(time) = reject.event_time {
            out.extend_from_slice(b",\"event_time\":");
            json::int(out, time.0);
        }
        if let Some(late) = reject.lateness {
            out.extend_from_slice(b",\"watermark\":");
            json::int(out, late.watermark.0);
            out.extend_from_slice(b",\"lateness_ms\":");
            json::int(out, late.lateness_ms);
        }
        out.push(b'}');
    }

    /// What the source calls a partition.
    fn source(&mut self, partition: PartitionId) -> Option<PartitionName> {
        if self.named.as_ref().is_none_or(|(id, _)| *id != partition) {
            let name = self.topics.name(partition);
            self.named = name.map(|name| (partition, name));
        }
        self.named.as_ref().map(|(_, name)| name.clone())
    }

    fn original(&mut self, out: &mut Vec<u8>, original: &Original) {
        match original {
            Original::Record(record) => {
                if self
                    .scanner
                    .scan(record, self.max_depth, &mut self.values)
                    .is_ok()
                {
                    self.fields(out, record);
                } else {
                    raw(out, record);
                }
            }
            Original::Oversize {
                head,
                length,
                sha256,
            } => {
                raw(out, kept_characters(head, *length));
                out.extend_from_slice(b",\"original_length\":");
                json::int(out, *length);
                out.extend_from_slice(b",\"original_sha256\":");
                json::text(out, &json::hexadecimal(sha256));
            }
        }
    }

    /// The values of the declared fields, as they came.
    fn fields(&self, out: &mut Vec<u8>, record: &[u8]) {
        for (at, value) in self.values.iter().enumerate() {
            out.push(if at == 0 { b'[' } else { b',' });
            as_it_came(out, value, record);
        }
        out.push(b']');
    }
}

/// The value of a field as it stands in its record; null for none.
pub(super) fn as_it_came(out: &mut Vec<u8>, value: &Value, record: &[u8]) {
    match value {
        Value::Missing | Value::Null | Value::Blocked => out.extend_from_slice(b"null"),
        Value::True => out.extend_from_slice(b"true"),
        Value::False => out.extend_from_slice(b"false"),
        Value::Number { .. } => out.extend_from_slice(value.span(record).unwrap_or_default()),
        Value::Text { .. } => {
            out.push(b'"');
            out.extend_from_slice(value.span(record).unwrap_or_default());
            out.push(b'"');
        }
        Value::Composite { .. } => json::compact(out, value.span(record).unwrap_or_default()),
    }
}

/// What the address of a dead letter follows from.
fn sender<'a>(reject: &Reject, key: Option<&'a [u8]>, headers: Headers<'a>) -> Sender<'a> {
    Sender {
        shard: reject.shard,
        key,
        event_time: reject.event_time,
        place: reject.offset.0,
        headers,
    }
}

/// Puts a record, however large if it cannot be smaller.
fn put(
    chunks: &mut Chunks<'_>,
    sender: Sender<'_>,
    repeats: Repeats,
    write: impl FnOnce(&mut Vec<u8>),
) -> Result<(), TooLarge> {
    match repeats {
        Repeats::Everything | Repeats::Bytes => chunks.record(sender, write),
        Repeats::Nothing => {
            chunks.smallest_record(sender, write);
            Ok(())
        }
    }
}

/// The key of a dead letter's record.
fn record_key(reject: &Reject) -> Option<Vec<u8>> {
    match reject.key.as_ref()? {
        RejectKey::OfRecord(key) => Some(key.clone()),
        RejectKey::OfEvent(key) => {
            let mut bytes = Vec::new();
            write_record_key(&mut bytes, key);
            Some(bytes)
        }
    }
}

/// Text that is no object, as one string; bytes that are no text, in base64.
fn raw(out: &mut Vec<u8>, record: &[u8]) {
    match str::from_utf8(record) {
        Ok(text) => json::text(out, text),
        Err(_) => {
            out.extend_from_slice(b"null,\"original_bytes\":");
            json::text(out, &STANDARD.encode(record));
        }
    }
}

/// What is kept of a record without the character that was cut in half at its end, if one was. Bytes that
/// are no text stay as they are.
fn kept_characters(head: &[u8], length: u64) -> &[u8] {
    match str::from_utf8(head) {
        Err(error) if error.error_len().is_none() && length > head.len() as u64 => {
            head.get(..error.valid_up_to()).unwrap_or_default()
        }
        _ => head,
    }
}

fn error_type(stream: OutputStream) -> &'static str {
    match stream {
        OutputStream::LateEvents => "LATE_EVENT",
        OutputStream::ValidationErrors => "VALIDATION_ERROR",
        OutputStream::ProcessingErrors | OutputStream::Predictions => "PROCESSING_ERROR",
    }
}

/// Seconds with exactly three decimals.
fn seconds(ms: i64) -> String {
    let sign = if ms < 0 { "-" } else { "" };
    let ms = ms.unsigned_abs();
    format!("{sign}{}.{:03}", ms / 1000, ms % 1000)
}

impl Operator for EncodeDeadLetters {
    type Input = RejectBatch;
    type Output = Publication;
    type Reject = std::convert::Infallible;

    fn on_batch(&mut self, batch: RejectBatch, out: &mut Emitter<Publication, Self::Reject>) {
        let now_ms = self.clock.wall_ms();
        let now = Now {
            ms: now_ms,
            seconds: seconds(now_ms),
        };
        let (rejects, shards, form) = (batch.rejects.len(), self.shards, self.form.clone());
        let chunks = |stream| Chunks::new(stream, shards, rejects, &form, now_ms);
        let mut streams = OutputStream::ALL.map(chunks);
        for reject in &batch.rejects {
            let stream = reject.reason.stage.stream();
            if let Some(chunks) = streams.get_mut(stream.index()) {
                self.record(chunks, reject, &now);
            }
        }
        for chunks in streams {
            chunks.finish(&batch.ticket, |publication| out.give(publication));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::encode::dead_letter::{kept_characters, seconds};

    #[test]
    fn spans_of_time_have_three_decimals() {
        let check = |ms, expected: &str| assert_eq!(seconds(ms), expected);
        check(1_718_054_321_452, "1718054321.452");
        check(5, "0.005");
        check(-1_500, "-1.500");
    }

    #[test]
    fn a_cut_character_is_left_out() {
        let check = |head: &[u8], length: u64, expected: &[u8]| {
            assert_eq!(kept_characters(head, length), expected);
        };
        check("aé".as_bytes(), 9, "aé".as_bytes());
        check(b"a\xc3", 9, b"a");
        check(b"a\xc3", 2, b"a\xc3");
        check(b"a\xff", 9, b"a\xff");
    }
}
