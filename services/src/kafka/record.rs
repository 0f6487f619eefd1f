//! Records as the console's producer reads them and its consumer writes them, one a line. What is read back is exact,
//! whatever bytes it holds: the consumer is told to escape all that could be taken for a separator.

use anyhow::{Context as _, Result, bail};

/// A record to be produced, or what one that was read holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Record {
    /// Its key, if it has one.
    pub key: Option<Vec<u8>>,
    /// Its value; none deletes the key in a compacted topic.
    pub value: Option<Vec<u8>>,
    /// Its headers in their order. A name may come twice.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Record {
    /// One with this value and nothing else.
    pub fn of(value: impl Into<Vec<u8>>) -> Record {
        Record {
            value: Some(value.into()),
            ..Record::default()
        }
    }

    /// The same with this key.
    #[must_use]
    pub fn with_key(self, key: impl Into<Vec<u8>>) -> Record {
        Record {
            key: Some(key.into()),
            ..self
        }
    }

    /// The same with one header more.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Record {
        self.headers.push((name.to_owned(), Some(value.into())));
        self
    }
}

/// A record that was read, and where it stood.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Read {
    /// The partition.
    pub partition: i32,
    /// Its place there.
    pub offset: i64,
    /// Milliseconds since 1970, if it has a time: its producer's or its broker's, as the topic is configured.
    pub time_ms: Option<i64>,
    /// What it holds.
    pub record: Record,
}

/// What the tools are told to put between two fields: no field of ours holds it.
pub const FIELD: char = '\t';
/// Between two headers.
pub const HEADER: char = '\u{1e}';
/// Between a header's name and its value. The consumer's is this one, whatever one wishes.
pub const NAME: char = ':';

/// A record as a line for the console's producer, which is told the separators and `null`, a text that is in no data.
/// It reads text, line by line, and knows no way to escape.
///
/// # Errors
/// When the record cannot be said so: what is no UTF-8, an end of line anywhere, a separator where one would count.
pub fn to_line(record: &Record, null: &str) -> Result<String> {
    let mut headers = Vec::new();
    for (name, value) in &record.headers {
        let name = field(Some(name.as_bytes()), &[FIELD, HEADER, NAME], null)?;
        let value = field(value.as_deref(), &[FIELD, HEADER], null)?;
        headers.push(format!("{name}{NAME}{value}"));
    }
    let headers = match headers.as_slice() {
        [] => null.to_owned(),
        some => some.join(&HEADER.to_string()),
    };
    let key = field(record.key.as_deref(), &[FIELD], null)?;
    let value = field(record.value.as_deref(), &[], null)?;
    Ok(format!("{headers}{FIELD}{key}{FIELD}{value}\n"))
}

/// One part of a line, without what has a meaning there.
fn field<'a>(bytes: Option<&'a [u8]>, separators: &[char], null: &'a str) -> Result<&'a str> {
    let Some(bytes) = bytes else {
        return Ok(null);
    };
    let text = str::from_utf8(bytes).context("the console's producer takes UTF-8 only")?;
    if let Some(c) = text
        .chars()
        .find(|c| "\r\n".contains(*c) || separators.contains(c))
    {
        bail!("the console's producer would take {c:?} in {text:?} for the end of a part");
    }
    Ok(text)
}

/// Reads a line of the console's consumer, which is told to write timestamp, partition, offset, headers, key and value
/// with the separators above, to escape bytes, and what to write for nothing: `null`, a text that is in no data.
///
/// # Errors
/// When the line is no such one.
pub fn from_line(line: &[u8], null: &str) -> Result<Read> {
    let text = str::from_utf8(line).unwrap_or_default();
    let fields: Vec<&str> = text.split(FIELD).collect();
    let [timestamp, partition, offset, headers, key, value] = fields[..] else {
        bail!("not a record: {:?}", String::from_utf8_lossy(line));
    };
    let read = || -> Option<Read> {
        let time_ms = match timestamp {
            "NO_TIMESTAMP" => None,
            timestamp => Some(timestamp.split_once(':')?.1.parse().ok()?),
        };
        Some(Read {
            time_ms,
            partition: partition.strip_prefix("Partition:")?.parse().ok()?,
            offset: offset.strip_prefix("Offset:")?.parse().ok()?,
            record: Record {
                key: unescaped(key, null)?,
                value: unescaped(value, null)?,
                headers: headers_of(headers, null)?,
            },
        })
    };
    read().with_context(|| format!("not a record: {text:?}"))
}

/// The headers of a field. Each has a separator in it, so the words for none can be no header.
fn headers_of(field: &str, null: &str) -> Option<Vec<(String, Option<Vec<u8>>)>> {
    if field == "NO_HEADERS" {
        return Some(Vec::new());
    }
    let header = |part: &str| {
        let (name, value) = part.split_once(NAME)?;
        Some((name.to_owned(), unescaped(value, null)?))
    };
    field.split(HEADER).map(header).collect()
}

/// What stands escaped in a field: nothing, or bytes; and none at all when it is not escaped as it should be.
#[expect(
    clippy::option_option,
    reason = "nothing is a value, and not a mistake"
)]
fn unescaped(field: &str, null: &str) -> Option<Option<Vec<u8>>> {
    if field == null {
        return Some(None);
    }
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'\\' {
            bytes.push(*first);
            continue;
        }
        let (code, after) = rest.split_at_checked(3)?;
        let digits = str::from_utf8(code.strip_prefix(b"x")?).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = after;
    }
    Some(Some(bytes))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::fmt::Write as _;

    use super::{FIELD, HEADER, Read, Record, from_line, to_line};

    /// Stands for nothing.
    const NULL: &str = "<nothing>";

    /// How the consumer escapes: printable ASCII but the backslash stands for itself, all else is `\x` and two digits.
    fn escaped(bytes: &[u8]) -> String {
        let mut text = String::new();
        for byte in bytes {
            match byte {
                b'\\' => text.push_str("\\x5c"),
                b' '..=b'~' => text.push(char::from(*byte)),
                // Writing to a String cannot fail.
                _ => {
                    let _ = write!(text, "\\x{byte:02x}");
                }
            }
        }
        text
    }

    #[test]
    fn which_line_does_the_producer_get() {
        let check = |record: Record, expected: &str| {
            assert_eq!(to_line(&record, NULL).unwrap(), format!("{expected}\n"));
        };
        check(Record::of("v"), "<nothing>\t<nothing>\tv");
        check(Record::default(), "<nothing>\t<nothing>\t<nothing>");
        check(
            Record::of("{\"a\":\t1}")
                .with_key("k:,")
                .with_header("h", "1:2")
                .with_header("i", ""),
            "h:1:2\u{1e}i:\tk:,\t{\"a\":\t1}",
        );
    }

    #[test]
    fn is_a_record_that_no_line_can_say_refused() {
        let check = |record: Record, hint: &str| {
            let error = format!("{:#}", to_line(&record, NULL).unwrap_err());
            assert!(error.contains(hint), "{error}");
        };
        check(Record::of("a\nb"), "'\\n'");
        check(Record::of("a\rb"), "'\\r'");
        check(Record::of([0xff]), "UTF-8");
        check(Record::of("v").with_key("a\tb"), "'\\t'");
        check(Record::of("v").with_header("a:b", "c"), "':'");
        check(Record::of("v").with_header("a", "\u{1e}"), "'\\u{1e}'");
    }

    #[test]
    fn is_a_line_of_the_consumer_understood() {
        let check = |line: &str, time_ms: Option<i64>, record: Record| {
            let expected = Read {
                partition: 2,
                offset: 41,
                time_ms,
                record,
            };
            assert_eq!(from_line(line.as_bytes(), NULL).unwrap(), expected);
        };
        check(
            "CreateTime:1700\tPartition:2\tOffset:41\tNO_HEADERS\t<nothing>\tv",
            Some(1700),
            Record::of("v"),
        );
        check(
            "LogAppendTime:-1\tPartition:2\tOffset:41\ta:1:2\u{1e}b:\u{1e}c:<nothing>\tk\t<nothing>",
            Some(-1),
            Record {
                key: Some(b"k".to_vec()),
                value: None,
                headers: vec![
                    ("a".to_owned(), Some(b"1:2".to_vec())),
                    ("b".to_owned(), Some(Vec::new())),
                    ("c".to_owned(), None),
                ],
            },
        );
        check(
            "NO_TIMESTAMP\tPartition:2\tOffset:41\tNO_HEADERS\t\t\\x5cN\\x0a\\xff",
            None,
            Record::of(*b"\\N\n\xff").with_key(""),
        );
    }

    #[test]
    fn is_a_line_that_is_no_record_refused() {
        let check = |line: &[u8]| assert!(from_line(line, NULL).is_err(), "{line:?}");
        check(b"");
        check(b"CreateTime:1\tPartition:0\tOffset:0\tNO_HEADERS\tk");
        check(b"CreateTime:1\tPartition:0\tOffset:0\tNO_HEADERS\tk\tv\tw");
        check(b"CreateTime:1\tPartition:a\tOffset:0\tNO_HEADERS\tk\tv");
        check(b"CreateTime\tPartition:0\tOffset:0\tNO_HEADERS\tk\tv");
        check(b"CreateTime:1\tPartition:0\tOffset:0\tno separator\tk\tv");
        check(b"CreateTime:1\tPartition:0\tOffset:0\tNO_HEADERS\tk\t\\x4");
        check(b"CreateTime:1\tPartition:0\tOffset:0\tNO_HEADERS\tk\t\\y41");
        check(b"CreateTime:1\tPartition:0\tOffset:0\tNO_HEADERS\tk\t\xff");
    }

    #[test]
    fn do_all_bytes_come_back() {
        let all: Vec<u8> = (0..=u8::MAX).chain(*b"\\x41").collect();
        let escaped = escaped(&all);
        assert!(
            escaped.is_ascii() && !escaped.contains([FIELD, HEADER, '\n', '\r']),
            "{escaped}"
        );
        let line = format!("CreateTime:1\tPartition:0\tOffset:0\tNO_HEADERS\t{escaped}\tv");
        let read = from_line(line.as_bytes(), NULL).unwrap();
        assert_eq!(read.record.key, Some(all));
    }
}
