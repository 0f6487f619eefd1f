//! Each way in which one event can go: these bytes in, exactly this record out, on this stream.
//!
//! The rows are the two tables of the reference job's description. Every row is a file, and so a
//! partition, of its own; all are read by one run.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::scene::{Record, Scene, model};

/// Event time of the rows.
const TIME: i64 = 1_767_225_600_000;

const PREDICTIONS: &str = "ml_predictions";
const VALIDATION: &str = "validation_errors";
const PROCESSING: &str = "processing_errors";
const LATE: &str = "late_events_dlq";

/// The five fields as JSON, in schema order; an empty text for one that is missing.
type Fields = [&'static str; 5];

const U: &str = r#""u""#;
const P: &str = r#""p""#;
const C: &str = r#""c""#;
const CLICK: &str = r#""click""#;
const T: &str = "1767225600000";

/// The names of the five fields.
const NAMES: [&str; 5] = [
    "user_id",
    "product_id",
    "category",
    "event_type",
    "timestamp_ms",
];

const NO_USER: &str = "user_id cannot be empty";
const NO_CATEGORY: &str = "Category name cannot be empty";
const WRONG: &str = "wrong_type";

/// One event with these fields: its code, stage and message as JSON text. No code: it is scored.
#[rustfmt::skip] // One case a line reads as a table.
const FIELDS: &[(Fields, &str, &str, &str)] = &[
    ([U, P, C, CLICK, T], "", "", ""),
    ([r#""""#, P, C, CLICK, T], "empty", "validate", NO_USER),
    (["null", P, C, CLICK, T], "empty", "validate", NO_USER),
    (["", P, C, CLICK, T], "empty", "validate", NO_USER),
    ([r#""""#, P, r#""""#, CLICK, r#""abc""#], "empty", "validate", NO_USER),
    ([r#""""#, "", "", "", ""], "empty", "validate", NO_USER),
    (["", "", "", "", ""], "empty", "validate", NO_USER),
    (["5", P, C, CLICK, T], WRONG, "validate", "user_id must be a string, got 5"),
    ([r#"["u", 1.50]"#, P, C, CLICK, T], WRONG, "validate", r#"user_id must be a string, got [\"u\", 1.50]"#),
    ([r#"" ""#, P, C, CLICK, T], "", "", ""),
    ([U, "", C, CLICK, T], "missing", "validate", "product_id is missing"),
    ([U, "null", C, CLICK, T], "missing", "validate", "product_id is missing"),
    ([U, "", C, CLICK, r#""abc""#], "missing", "validate", "product_id is missing"),
    ([U, r#""""#, C, CLICK, T], "", "", ""),
    ([U, "{}", C, CLICK, T], WRONG, "validate", "product_id must be a string, got {}"),
    ([U, P, r#""""#, CLICK, T], "empty", "feature", NO_CATEGORY),
    ([U, P, "null", CLICK, T], "empty", "feature", NO_CATEGORY),
    ([U, P, "", CLICK, T], "empty", "feature", NO_CATEGORY),
    ([U, P, "", CLICK, r#""abc""#], WRONG, "validate", r#"timestamp_ms must be an integer, got \"abc\""#),
    ([U, P, "false", CLICK, T], WRONG, "validate", "category must be a string, got false"),
    ([U, P, C, "", T], "missing", "validate", "event_type is missing"),
    ([U, P, C, "12345678901234567890123456789012345678901234567890123456789012345", T], WRONG, "validate",
        "event_type must be a string, got 1234567890123456789012345678901234567890123456789012345678901234..."),
    ([U, P, C, "1234567890123456789012345678901234567890123456789012345678901234", T], WRONG, "validate",
        "event_type must be a string, got 1234567890123456789012345678901234567890123456789012345678901234"),
    ([U, P, C, r#"["éééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééé"]"#, T], WRONG, "validate",
        r#"event_type must be a string, got [\"éééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééé..."#),
    ([U, P, C, CLICK, r#""abc""#], WRONG, "validate", r#"timestamp_ms must be an integer, got \"abc\""#),
    ([U, P, C, CLICK, r#""1767225600000""#], WRONG, "validate", r#"timestamp_ms must be an integer, got \"1767225600000\""#),
    ([U, P, C, CLICK, "1.5"], WRONG, "validate", "timestamp_ms must be an integer, got 1.5"),
    ([U, P, C, CLICK, "1.50"], WRONG, "validate", "timestamp_ms must be an integer, got 1.50"),
    ([U, P, C, CLICK, "1.0"], WRONG, "validate", "timestamp_ms must be an integer, got 1.0"),
    ([U, P, C, CLICK, "1e3"], WRONG, "validate", "timestamp_ms must be an integer, got 1e3"),
    ([U, P, C, CLICK, "true"], WRONG, "validate", "timestamp_ms must be an integer, got true"),
    ([U, P, C, CLICK, "null"], "missing", "validate", "timestamp_ms is missing"),
    ([U, P, C, CLICK, ""], "missing", "validate", "timestamp_ms is missing"),
    ([U, P, C, CLICK, "9223372036854775808"], WRONG, "validate", "timestamp_ms must be an integer, got 9223372036854775808"),
    ([U, P, C, CLICK, "-9223372036854775809"], WRONG, "validate", "timestamp_ms must be an integer, got -9223372036854775809"),
    // Texts go out as they came in dead letters, as their shortest form in predictions.
    ([r#""\u00e9\"\\\n\ud83d\ude00\/""#, P, "", CLICK, T], "empty", "feature", NO_CATEGORY),
];

/// One record that is no object with fields: its code and message as JSON text, always at `decode`.
#[rustfmt::skip] // One case a line reads as a table.
const RECORDS: &[(&str, &str, &str)] = &[
    ("{", "not_json", "record is not JSON: unexpected end at byte 1"),
    (r#"{"user_id":"u""#, "not_json", "record is not JSON: unexpected end at byte 14"),
    (r#"{"user_id":"u",}"#, "not_json", "record is not JSON: expected a field name at byte 15"),
    (r#"{'a':1}"#, "not_json", "record is not JSON: expected a field name at byte 1"),
    (r#"{"a" 1}"#, "not_json", "record is not JSON: expected `:` at byte 5"),
    (r#"{"a":1 "b":2}"#, "not_json", "record is not JSON: expected `,` or `}` at byte 7"),
    (r#"{"a":[1 2]}"#, "not_json", "record is not JSON: expected `,` or `]` at byte 8"),
    (r#"{"a":01}"#, "not_json", "record is not JSON: leading zero at byte 5"),
    (r#"{"a":-}"#, "not_json", "record is not JSON: expected a digit at byte 6"),
    (r#"{"a":NaN}"#, "not_json", "record is not JSON: expected a value at byte 5"),
    (r#"{"a":Infinity}"#, "not_json", "record is not JSON: expected a value at byte 5"),
    (r#"{"a":1e400}"#, "not_json", "record is not JSON: number out of range at byte 5"),
    (r#"{"a":"\x"}"#, "not_json", "record is not JSON: invalid escape at byte 6"),
    (r#"{"a":"\ud800"}"#, "not_json", "record is not JSON: lone surrogate at byte 6"),
    (r#"{"a":"b}"#, "not_json", "record is not JSON: unterminated string at byte 5"),
    ("{\"a\":\"\t\"}", "not_json", "record is not JSON: control character in a string at byte 6"),
    ("{} {}", "not_json", "record is not JSON: unexpected bytes after the value at byte 3"),
    ("hello", "not_json", "record is not JSON: expected a value at byte 0"),
    ("user,product,view", "not_json", "record is not JSON: expected a value at byte 0"),
    ("\u{feff}{}", "not_json", "record is not JSON: expected a value at byte 0"),
    ("[1, 2", "not_json", "record is not JSON: unexpected end at byte 5"),
    ("[1, {\"a\": \"b\"}]", "not_object", "record is a JSON array, expected an object"),
    ("\"text \\u00e9\"", "not_object", "record is a JSON string, expected an object"),
    ("1.50", "not_object", "record is a JSON number, expected an object"),
    ("true", "not_object", "record is a JSON boolean, expected an object"),
    (" null ", "not_object", "record is a JSON null, expected an object"),
];

/// What one run reads, and what it must write for it.
#[derive(Default)]
struct Table {
    files: Vec<Vec<u8>>,
    expected: BTreeMap<(u64, u64), Record>,
}

impl Table {
    /// Begins the next file.
    fn file(&mut self, bytes: impl Into<Vec<u8>>) {
        self.files.push(bytes.into());
    }

    fn name(number: usize) -> String {
        format!("rows/{number:03}.jsonl")
    }

    fn expect(&mut self, offset: usize, stream: &'static str, line: String) {
        let place = (self.files.len() as u64 - 1, offset as u64);
        self.expected.insert(place, Record { stream, line });
    }

    /// The event at `offset` of the last file is scored.
    fn scored(&mut self, offset: usize, user: &str, product: &str, time: i64) {
        let partition = self.files.len() - 1;
        let line = format!(
            r#"{{"user_id":{user},"product_id":{product},"prediction":1.0,"event_time":{time},"processing_time":*,"partition":{partition},"offset":{offset},"epoch":0,"model":*}}"#
        );
        self.expect(offset, PREDICTIONS, line);
    }

    /// The event at `offset` of the last file is refused. `original` is what follows
    /// `"original_event":`, `rest` what follows the source; both are JSON.
    fn refused(
        &mut self,
        offset: usize,
        original: &str,
        (code, stage, message): (&str, &str, &str),
        rest: &str,
    ) {
        let (stream, kind) = match stage {
            "late" => (LATE, "LATE_EVENT"),
            "feature" => (PROCESSING, "PROCESSING_ERROR"),
            _ => (VALIDATION, "VALIDATION_ERROR"),
        };
        let partition = self.files.len() - 1;
        let topic = Self::name(partition);
        let line = format!(
            r#"{{"original_event":{original},"error_type":"{kind}","message":"{message}","timestamp":*,"code":"{code}","stage":"{stage}","source":{{"topic":"{topic}","partition":{partition},"offset":{offset}}}{rest}}}"#
        );
        self.expect(offset, stream, line);
    }

    /// Reads all files in one run and compares.
    fn check(&self) {
        let path = format!("path = {:?}", model("reciprocal.onnx"));
        let scene = Scene::with(
            &[
                ("path = \"in.jsonl\"", "path = \"rows/*.jsonl\""),
                ("workers = 0 ", "workers = 1 "),
                ("path = \"builtin:user-events\"", &path),
                ("provenance = false", "provenance = true"),
            ],
            b"",
        );
        for (number, bytes) in self.files.iter().enumerate() {
            scene.write(&Self::name(number), bytes);
        }
        let from = wall_ms();
        let summary = scene.summary();
        let clock = (from, wall_ms());
        assert_eq!(
            crate::scene::conserved(&summary),
            self.expected.len() as u64
        );
        let digest = scene.run(&["check", "job.toml", "--json"]).object();
        let digest = digest.pointer("/model/digest").and_then(Value::as_str);
        let model = format!(
            r#","model":{{"name":"reciprocal","version":7,"digest":"{}"}}"#,
            digest.unwrap()
        );
        let mut found = scene.records_by_place();
        for (place, expected) in &self.expected {
            let mut record = found.remove(place).unwrap_or_else(|| {
                panic!("nothing was written for {place:?}, expected {expected:?}")
            });
            record.line = masked(&record.line, clock).replace(&model, r#","model":*"#);
            assert_eq!(record, *expected, "{place:?}");
        }
        assert!(found.is_empty(), "{found:?}");
    }
}

/// Milliseconds since 1970.
fn wall_ms() -> u128 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap().as_millis()
}

/// A record with `*` for the time when it was decided, which must lie between the two times.
fn masked(line: &str, (from, to): (u128, u128)) -> String {
    let (key, decimals) = if line.contains(r#","processing_time":"#) {
        (r#","processing_time":"#, 0)
    } else {
        (r#","timestamp":"#, 3)
    };
    let (before, rest) = line.rsplit_once(key).unwrap();
    let end = rest.find([',', '}']).unwrap();
    let (time, after) = rest.split_at(end);
    let point = time.find('.').map_or(0, |point| time.len() - point - 1);
    assert_eq!(point, decimals, "{line}");
    let time: u128 = time.replace('.', "").parse().unwrap();
    assert!(
        (from..=to).contains(&time),
        "{time} is not in {from}..={to}: {line}"
    );
    format!("{before}{key}*{after}")
}

/// The record with these fields.
fn object(fields: &Fields) -> String {
    let there = NAMES
        .iter()
        .zip(fields)
        .filter(|(_, json)| !json.is_empty());
    let pairs: Vec<String> = there
        .map(|(name, json)| format!(r#""{name}":{json}"#))
        .collect();
    format!("{{{}}}", pairs.join(","))
}

/// The fields as `original_event` shows them: as they came, without white space.
fn values(fields: &Fields) -> String {
    let shown: Vec<String> = fields
        .iter()
        .map(|json| match *json {
            "" => "null".to_owned(),
            json if json.starts_with('[') => json.replace(' ', ""),
            json => json.to_owned(),
        })
        .collect();
    format!("[{}]", shown.join(","))
}

/// What a processing error of the feature stage has besides.
fn feature_rest(stage: &str, message: &str) -> String {
    match stage {
        "feature" => {
            format!(r#","stack_trace":"feature/check: {message}","event_time":{TIME}"#)
        }
        _ => String::new(),
    }
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

#[test]
fn where_does_an_event_go_by_its_fields() {
    let mut table = Table::default();
    for (fields, code, stage, message) in FIELDS {
        // No line feed at the end: the last line is a record too.
        table.file(object(fields));
        if code.is_empty() {
            table.scored(0, fields[0], fields[1], TIME);
        } else {
            let rest = feature_rest(stage, message);
            table.refused(0, &values(fields), (code, stage, message), &rest);
        }
    }
    table.check();
}

#[test]
fn where_does_a_record_go_that_has_no_fields() {
    let mut table = Table::default();
    for (record, code, message) in RECORDS {
        table.file(format!("{record}\n"));
        table.refused(0, &quoted(record), (code, "decode", message), "");
    }
    // Not UTF-8: the bytes in base64.
    table.file(*b"{\"user_id\":\"u\xff\"}\n");
    let reason = ("not_utf8", "decode", "record is not UTF-8 at byte 13");
    table.refused(
        0,
        r#"null,"original_bytes":"eyJ1c2VyX2lkIjoidf8ifQ==""#,
        reason,
        "",
    );
    table.file(*b"\x80\n");
    let reason = ("not_utf8", "decode", "record is not UTF-8 at byte 0");
    table.refused(0, r#"null,"original_bytes":"gA==""#, reason, "");
    table.check();
}

#[test]
fn how_deep_may_a_record_be() {
    let mut table = Table::default();
    let good = object(&[U, P, C, CLICK, T]);
    let nested = |levels: usize| {
        let (open, close) = ("[".repeat(levels), "]".repeat(levels));
        good.replace("{", &format!(r#"{{"ignored":{open}{close},"#))
    };
    // The record itself is the first level.
    table.file(nested(63));
    table.scored(0, U, P, TIME);
    let message = "record is nested deeper than max_depth 64 at byte 74";
    for levels in [64, 5_000] {
        table.file(nested(levels));
        let reason = ("too_deep", "decode", message);
        table.refused(0, &quoted(&nested(levels)), reason, "");
    }
    let open = "[".repeat(10_000);
    let message = "record is nested deeper than max_depth 64 at byte 64";
    table.file(open.clone());
    table.refused(0, &quoted(&open), ("too_deep", "decode", message), "");
    table.check();
}

#[test]
fn what_is_late_and_what_is_too_far_ahead() {
    // Each event in turn: its time against the first one's, and what becomes of it.
    let late = |watermark: i64, behind: &str, lateness: i64| {
        let watermark = TIME + watermark;
        let rest = format!(r#","watermark":{watermark},"lateness_ms":{lateness}"#);
        Some(("late", format!("{behind} ms behind the watermark"), rest))
    };
    let ahead = |by: &str| {
        let message = format!("timestamp_ms is {by} ms ahead, max_ahead is 3,600,000 ms");
        Some(("too_far_ahead", message, String::new()))
    };
    let events = [
        (0, None),
        (-2_000, None),
        (-2_001, late(-2_000, "1", 1)),
        (-3_234, late(-2_000, "1,234", 1_234)),
        (7_200_000, ahead("7,200,000")),
        (3_600_001, ahead("3,600,001")),
        // Nothing has moved the watermark.
        (-2_000, None),
        (3_600_000, None),
        (3_597_999, late(3_598_000, "1", 1)),
        (0, late(3_598_000, "3,598,000", 3_598_000)),
    ];
    let mut table = Table::default();
    table.file("");
    for (after, outcome) in events {
        let offset = table.files[0].len();
        let time = TIME + after;
        let record = object(&[U, P, C, CLICK, T]).replace(T, &time.to_string());
        table.files[0].extend_from_slice(format!("{record}\n").as_bytes());
        match outcome {
            None => table.scored(offset, U, P, time),
            Some((code, message, rest)) => {
                let stage = if code == "late" { "late" } else { "validate" };
                let original = format!("[{U},{P},{C},{CLICK},{time}]");
                let rest = format!(r#","event_time":{time}{rest}"#);
                table.refused(offset, &original, (code, stage, &message), &rest);
            }
        }
    }
    table.check();
}

#[test]
fn what_is_a_record_and_which_of_its_keys_count() {
    let mut table = Table::default();
    let good = object(&[U, P, C, CLICK, T]);
    let length = good.len();

    // CRLF, blank lines, no line feed at the end.
    table.file(format!("{good}\r\n\n\r\n{good}"));
    table.scored(0, U, P, TIME);
    let reason = (
        "not_json",
        "decode",
        "record is not JSON: it is empty at byte 0",
    );
    table.refused(length + 2, "\"\"", reason, "");
    table.refused(length + 3, "\"\"", reason, "");
    table.scored(length + 5, U, P, TIME);

    // A carriage return inside a record is white space; an empty file has no record.
    table.file(good.replace(',', ",\r \t"));
    table.scored(0, U, P, TIME);
    table.file("");

    // The last of two equal keys wins, however it is written.
    table.file(good.replace(r#""user_id":"u""#, r#""user_id":"","user_id":"u""#));
    table.scored(0, U, P, TIME);
    table.file(good.replace('}', r#","user_\u0069d":""}"#));
    let empty = format!(r#"["",{P},{C},{CLICK},{T}]"#);
    table.refused(0, &empty, ("empty", "validate", NO_USER), "");
    table.file(good.replace('}', r#","timestamp_ms":null}"#));
    let null = format!("[{U},{P},{C},{CLICK},null]");
    let reason = ("missing", "validate", "timestamp_ms is missing");
    table.refused(0, &null, reason, "");

    // Keys that no field is called by mean nothing, whatever they hold.
    table.file(good.replace('{', r#"{"USER_ID":"","":[1.50,{}],"user_id ":null,"#));
    table.scored(0, U, P, TIME);

    // Texts mean what their escapes say.
    let user = r#""\u00e9\"\\\n\ud83d\ude00\/\u0000\u007f""#;
    table.file(object(&[user, P, C, r#""cl\u0069ck""#, T]));
    table.scored(0, "\"é\\\"\\\\\\n😀/\\u0000\u{7f}\"", P, TIME);
    table.check();
}

/// The four kinds of record as they stand in the files, written out, without provenance.
#[test]
fn how_do_the_four_streams_look() {
    let path = format!("path = {:?}", model("reciprocal.onnx"));
    let changes = [("path = \"builtin:user-events\"", path.as_str())];
    let input = [
        object(&[U, P, C, CLICK, T]),
        object(&[
            r#""""#,
            r#""product_42""#,
            r#""electronics""#,
            r#""view""#,
            r#""invalid""#,
        ]),
        object(&[U, P, r#""""#, CLICK, T]),
        object(&[U, P, C, CLICK, "1767225596766"]),
    ];
    let scene = Scene::with(&changes, input.join("\n").as_bytes());
    let from = wall_ms();
    scene.summary();
    let clock = (from, wall_ms());
    let records = scene.records().into_iter();
    let found: Vec<(&str, String)> = records
        .map(|record| (record.stream, masked(&record.line, clock)))
        .collect();
    let expected = [
        (
            PREDICTIONS,
            r#"{"user_id":"u","product_id":"p","prediction":1.0,"event_time":1767225600000,"processing_time":*}"#,
        ),
        (
            VALIDATION,
            r#"{"original_event":["","product_42","electronics","view","invalid"],"error_type":"VALIDATION_ERROR","message":"user_id cannot be empty","timestamp":*,"code":"empty","stage":"validate","source":{"topic":"in.jsonl","partition":0,"offset":98}}"#,
        ),
        (
            PROCESSING,
            r#"{"original_event":["u","p","","click",1767225600000],"error_type":"PROCESSING_ERROR","message":"Category name cannot be empty","timestamp":*,"code":"empty","stage":"feature","source":{"topic":"in.jsonl","partition":0,"offset":209},"stack_trace":"feature/check: Category name cannot be empty","event_time":1767225600000}"#,
        ),
        (
            LATE,
            r#"{"original_event":["u","p","c","click",1767225596766],"error_type":"LATE_EVENT","message":"1,234 ms behind the watermark","timestamp":*,"code":"late","stage":"late","source":{"topic":"in.jsonl","partition":0,"offset":306},"event_time":1767225596766,"watermark":1767225598000,"lateness_ms":1234}"#,
        ),
    ];
    assert_eq!(
        found,
        expected.map(|(stream, line)| (stream, line.to_owned()))
    );
}
