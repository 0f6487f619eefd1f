//! What a record of a stream of dead letters says: in an envelope, or in its headers if it is raw.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;
use slackwater_kafka::letters::StoredRecord;

/// The first of the headers by which a raw dead letter says what it is. Those before it are of the record.
const FIRST_SAID: &str = "__streams.errors.exception";

/// Headers that every record of a sink begins with.
const OF_SINK: [&str; 4] = [
    "slackwater.job",
    "slackwater.epoch",
    "slackwater.shard",
    "slackwater.sequence",
];

/// The last header of a record that had more, or some that could not be kept.
const LEFT_OUT: &str = "slackwater.headers_left_out";

/// The header that counts how often a record was sent again.
pub const REPLAYED: &str = "slackwater.replayed";

/// Where a dead letter is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Name of its stream.
    pub stream: String,
    /// Its partition there; of files, its shard.
    pub partition: u32,
    /// Its offset; of files, the byte where its line begins.
    pub offset: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.stream, self.partition, self.offset)
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.rsplitn(3, '/');
        let offset = parts.next().and_then(|it| it.parse().ok());
        let partition = parts.next().and_then(|it| it.parse().ok());
        let stream = parts.next().filter(|it| !it.is_empty());
        match (stream, partition, offset) {
            (Some(stream), Some(partition), Some(offset)) => Ok(Place {
                stream: stream.to_owned(),
                partition,
                offset,
            }),
            _ => Err("expected STREAM/PARTITION/OFFSET, as `dlq list` prints it".to_owned()),
        }
    }
}

/// Where the record was read that became a dead letter.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct SourcePlace {
    /// Its topic, or file.
    pub topic: String,
    /// Its partition.
    pub partition: u32,
    /// Its offset.
    pub offset: u64,
}

/// How a dead letter repeats the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeats {
    /// In an envelope: the values of fields.
    Values,
    /// All of it.
    Everything,
    /// Its beginning.
    Beginning,
}

/// What a dead letter says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// The stage that said so.
    pub stage: String,
    /// The reason, for programs.
    pub code: String,
    /// The reason, for people.
    pub message: String,
    /// When that was, in milliseconds since 1970.
    pub decided_ms: Option<i64>,
    /// Where the record was read.
    pub source: Option<SourcePlace>,
    /// What is there of the record.
    pub repeats: Repeats,
    /// How often the record was sent again before, as far as the letter says.
    pub replayed: u32,
}

/// An envelope, as far as it is read here.
#[derive(Deserialize)]
struct Envelope {
    stage: String,
    code: String,
    message: String,
    timestamp: f64,
    source: Option<SourcePlace>,
}

impl Letter {
    /// Reads a record; none if it is no dead letter of this program.
    pub fn of(record: &StoredRecord) -> Option<Self> {
        let (own, said) = parts(record);
        match header(said, "slackwater.stage") {
            Some(stage) => Some(Self::raw(own, said, stage)),
            None => Self::envelope(record),
        }
    }

    fn raw(own: &[Header], said: &[Header], stage: &str) -> Self {
        let text = |name| header(said, name).unwrap_or_default().to_owned();
        let source = || {
            Some(SourcePlace {
                topic: header(said, "__streams.errors.topic")?.to_owned(),
                partition: number(said, "__streams.errors.partition")?,
                offset: number(said, "__streams.errors.offset")?,
            })
        };
        let is_cut = ["slackwater.original_length", "slackwater.left_out"];
        let is_cut = is_cut.iter().any(|name| header(said, name).is_some());
        let lacks_headers = own.last().is_some_and(|(name, _)| name == LEFT_OUT);
        Letter {
            stage: stage.to_owned(),
            code: text("slackwater.code"),
            message: text("__streams.errors.message"),
            decided_ms: number(said, "slackwater.processing_time_ms"),
            source: source(),
            repeats: match is_cut || lacks_headers {
                true => Repeats::Beginning,
                false => Repeats::Everything,
            },
            replayed: number(own, REPLAYED).unwrap_or_default(),
        }
    }

    fn envelope(record: &StoredRecord) -> Option<Self> {
        let envelope: Envelope = serde_json::from_slice(&record.value).ok()?;
        Some(Letter {
            stage: envelope.stage,
            code: envelope.code,
            message: envelope.message,
            decided_ms: Some((envelope.timestamp * 1_000.0).round() as i64),
            source: envelope.source,
            repeats: Repeats::Values,
            replayed: 0,
        })
    }
}

/// A header: its name and its value, if it has one.
type Header = (String, Option<Vec<u8>>);

/// The headers of a record that is a raw dead letter: those of the record behind it, and those that say what it is; of any
/// other record, all and none.
fn parts(record: &StoredRecord) -> (&[Header], &[Header]) {
    let headers = record.headers.as_slice();
    let mut names = headers.iter().map(|(name, _)| name);
    let Some(first) = names.rposition(|name| name == FIRST_SAID) else {
        return (headers, &[]);
    };
    let of_sink = headers.iter().zip(OF_SINK);
    let of_sink = of_sink.take_while(|((name, _), expected)| name == expected);
    let begin = of_sink.count().min(first);
    headers
        .split_at_checked(first)
        .map_or((headers, &[]), |(own, said)| {
            (own.get(begin..).unwrap_or_default(), said)
        })
}

/// The record behind a raw dead letter.
pub fn behind(record: StoredRecord) -> StoredRecord {
    let headers = parts(&record).0.to_vec();
    StoredRecord { headers, ..record }
}

/// How often a record was sent again.
pub fn replayed(record: &StoredRecord) -> u32 {
    number(&record.headers, REPLAYED).unwrap_or_default()
}

/// The same record, sent once more than before.
pub fn sent_again(record: StoredRecord) -> StoredRecord {
    let again = replayed(&record).saturating_add(1).to_string();
    let mut headers = record.headers;
    headers.retain(|(name, _)| name != REPLAYED);
    headers.push((REPLAYED.to_owned(), Some(again.into_bytes())));
    StoredRecord { headers, ..record }
}

/// The last header of a name, if it is a text.
fn header<'r>(headers: &'r [Header], name: &str) -> Option<&'r str> {
    let mut named = headers.iter().rev();
    let (_, value) = named.find(|(it, _)| it == name)?;
    str::from_utf8(value.as_deref()?).ok()
}

fn number<T: FromStr>(headers: &[Header], name: &str) -> Option<T> {
    header(headers, name)?.parse().ok()
}

/// A line of a file as a record: a raw dead letter with its parts, anything else as it is.
pub fn of_line(line: &[u8]) -> StoredRecord {
    let raw = || -> Option<StoredRecord> {
        let parsed: Value = serde_json::from_slice(line).ok()?;
        let object = parsed.as_object()?;
        let headers = object.get("headers")?.as_array()?.iter().map(|pair| {
            let (name, value) = (pair.get(0)?.as_str()?, pair.get(1)?);
            Some((name.to_owned(), bytes(value)?))
        });
        Some(StoredRecord {
            key: bytes(object.get("key")?)?,
            headers: headers.collect::<Option<_>>()?,
            value: bytes(object.get("value")?)??,
            ..StoredRecord::default()
        })
    };
    raw().unwrap_or_else(|| StoredRecord {
        value: line.to_vec(),
        ..StoredRecord::default()
    })
}

/// Bytes as raw dead letters have them in files: none for null; nothing at all for what is no such value.
fn bytes(value: &Value) -> Option<Option<Vec<u8>>> {
    match value {
        Value::Null => Some(None),
        Value::String(text) => Some(Some(text.clone().into_bytes())),
        other => {
            let text = other.get("base64")?.as_str()?;
            STANDARD.decode(text).ok().map(Some)
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use slackwater_kafka::letters::StoredRecord;

    use crate::letters::letter::{Letter, Place, Repeats, behind, of_line, sent_again};

    fn headers(headers: &[(&str, &str)]) -> StoredRecord {
        let headers = headers.iter();
        let headers =
            headers.map(|(name, value)| ((*name).to_owned(), Some(value.as_bytes().to_vec())));
        StoredRecord {
            headers: headers.collect(),
            value: b"v".to_vec(),
            ..StoredRecord::default()
        }
    }

    #[test]
    fn does_either_form_say_the_same() {
        let envelope = br#"{"original_event":[1],"error_type":"VALIDATION_ERROR","message":"why","timestamp":1718054321.052,
            "code":"empty","stage":"validate","source":{"topic":"t","partition":3,"offset":17}}"#;
        let envelope = Letter::of(&of_line(envelope)).unwrap();
        let said = [
            ("__streams.errors.exception", "VALIDATION_ERROR"),
            ("__streams.errors.message", "why"),
            ("__streams.errors.topic", "t"),
            ("__streams.errors.partition", "3"),
            ("__streams.errors.offset", "17"),
            ("slackwater.stage", "validate"),
            ("slackwater.code", "empty"),
            ("slackwater.processing_time_ms", "1718054321052"),
        ];
        // The record was a dead letter of another job before, and cut there.
        let own = [
            ("slackwater.job", "other"),
            ("__streams.errors.exception", "LATE_EVENT"),
            ("slackwater.stage", "late"),
            ("slackwater.original_length", "9"),
            ("slackwater.replayed", "2"),
        ];
        let of_sink = [("slackwater.job", "this"), ("slackwater.epoch", "7")];
        let raw = headers(&[&of_sink[..], &own, &said].concat());
        let found = Letter::of(&raw).unwrap();
        assert_eq!((found.repeats, found.replayed), (Repeats::Everything, 2));
        assert_eq!((envelope.repeats, envelope.replayed), (Repeats::Values, 0));
        assert_eq!(behind(raw), headers(&own));
        let same = Letter {
            repeats: Repeats::Values,
            replayed: 0,
            ..found
        };
        assert_eq!(envelope, same);
        let cut = [&said[..], &[("slackwater.original_length", "9")]].concat();
        let letter = Letter::of(&headers(&cut)).unwrap();
        assert_eq!(letter.repeats, Repeats::Beginning);
        let lacking = [
            &[("a", "b"), ("slackwater.headers_left_out", "1")],
            &said[..],
        ]
        .concat();
        let letter = Letter::of(&headers(&lacking)).unwrap();
        assert_eq!(letter.repeats, Repeats::Beginning);
    }

    #[test]
    fn is_what_is_no_dead_letter_none() {
        for line in ["", "{}", "[]", "{\"stage\":\"late\"}", "\u{0}"] {
            assert_eq!(Letter::of(&of_line(line.as_bytes())), None, "{line}");
        }
    }

    #[test]
    fn does_a_record_count_how_often_it_was_sent_again() {
        let record = headers(&[
            ("trace", "7"),
            ("slackwater.job", "its own"),
            ("slackwater.replayed", "1"),
            ("other", "x"),
        ]);
        let expected = headers(&[
            ("trace", "7"),
            ("slackwater.job", "its own"),
            ("other", "x"),
            ("slackwater.replayed", "2"),
        ]);
        assert_eq!(sent_again(record), expected);
        let first = sent_again(headers(&[]));
        assert_eq!(first, headers(&[("slackwater.replayed", "1")]));
    }

    #[test]
    fn is_a_line_of_a_raw_letter_the_record() {
        let line = br#"{"key":{"base64":"/w=="},"headers":[["a","b"],["n",null],["x",{"base64":"/zc="}]],"value":"{}"}"#;
        let record = of_line(line);
        assert_eq!(record.key.unwrap(), b"\xff");
        let expected = [
            ("a".to_owned(), Some(b"b".to_vec())),
            ("n".to_owned(), None),
            ("x".to_owned(), Some(b"\xff7".to_vec())),
        ];
        assert_eq!(record.headers, expected);
        assert_eq!(record.value, b"{}");
    }

    #[test]
    fn is_a_place_read_as_it_is_printed() {
        let place: Place = "a/b/3/17".parse().unwrap();
        let expected = Place {
            stream: "a/b".to_owned(),
            partition: 3,
            offset: 17,
        };
        assert_eq!(place, expected);
        assert_eq!(place.to_string(), "a/b/3/17");
        for wrong in ["", "a", "a/1", "/1/2", "a/b/1", "a/1/-1", "a/1/x"] {
            wrong.parse::<Place>().unwrap_err();
        }
    }
}
