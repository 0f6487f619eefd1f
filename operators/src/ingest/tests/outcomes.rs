//! Does each bad record get exactly its code, stage and message, and does the first check win?

use std::sync::Arc;

use slackwater_dataflow::headers::{self, Headers};
use slackwater_dataflow::ingest::Ingest;
use slackwater_dataflow::moment::EventTime;
use slackwater_dataflow::place::{Offset, PartitionId, ShardId};
use slackwater_dataflow::source::{Origin, Payload};

use crate::batch::Cell;
use crate::event::FieldIndex;
use crate::ingest::tests::{USER, ingest, plan, poll, seal, text};
use crate::ingest::{EventIngest, IngestPlan};
use crate::origin::{self, KeptOrigin};
use crate::reject::{Lateness, Original, Stage};

/// Sent to a partition whose highest event time is 10,000 and whose watermark is 8,000.
#[track_caller]
fn refused<R: AsRef<[u8]> + ?Sized>(record: &R, stage: &str, code: &str, message: &str) {
    let mut ingest = ingest(1);
    let good = br#"{"user":"anna","category":"c","product":"p","at":10000}"#;
    poll(&mut ingest, 4, 0, &[good]);
    let found = poll(&mut ingest, 4, 7, &[record.as_ref()]);
    let shown = String::from_utf8_lossy(record.as_ref());
    assert!(found.batches.is_empty(), "{shown} was let through");
    assert_eq!(found.rejects.len(), 1, "{shown}");
    let (partition, reject) = &found.rejects[0];
    let reason = &reject.reason;
    let is = (
        reason.stage.name(),
        reason.code.name(),
        reason.message.as_str(),
    );
    assert_eq!(is, (stage, code, message), "{shown}");
    assert_eq!(
        (*partition, reject.partition),
        (PartitionId(4), PartitionId(4))
    );
    assert_eq!(reject.offset, Offset(7));
    assert_eq!(reject.shard, ShardId(1), "by partition: 4 mod 3");
    assert_eq!(reject.original, Original::Record(record.as_ref().to_vec()));
    assert!(
        reason.causes.is_empty(),
        "only processing errors have causes"
    );
    let has_time = ["too_far_ahead", "late"].contains(&code);
    assert_eq!(reject.event_time.is_some(), has_time, "{shown}");
    assert_eq!(reject.lateness.is_some(), code == "late", "{shown}");
    assert_eq!(
        ingest.watermark(PartitionId(4)),
        EventTime(8_000),
        "{shown} moved it"
    );
}

#[test]
fn is_a_record_that_is_no_object_refused_with_its_reason() {
    refused(
        b"{\"user\":\"an\xff",
        "decode",
        "not_utf8",
        "record is not UTF-8 at byte 11",
    );
    refused(
        "",
        "decode",
        "not_json",
        "record is not JSON: it is empty at byte 0",
    );
    refused(
        "{\"user\":",
        "decode",
        "not_json",
        "record is not JSON: unexpected end at byte 8",
    );
    refused(
        "nul",
        "decode",
        "not_json",
        "record is not JSON: unexpected end at byte 3",
    );
    refused(
        "[1, 2]",
        "decode",
        "not_object",
        "record is a JSON array, expected an object",
    );
    refused(
        "\"text\"",
        "decode",
        "not_object",
        "record is a JSON string, expected an object",
    );
    refused(
        "7",
        "decode",
        "not_object",
        "record is a JSON number, expected an object",
    );
    refused(
        "null",
        "decode",
        "not_object",
        "record is a JSON null, expected an object",
    );
    refused(
        "true",
        "decode",
        "not_object",
        "record is a JSON boolean, expected an object",
    );
    let deep = r#"{"ignored":[[[[1]]]]}"#;
    let message = "record is nested deeper than max_depth 4 at byte 14";
    refused(deep, "decode", "too_deep", message);
    // Bad UTF-8 wins over too deep, too deep over not JSON.
    refused(
        b"[[[[[\xff",
        "decode",
        "not_utf8",
        "record is not UTF-8 at byte 5",
    );
    let message = "record is nested deeper than max_depth 4 at byte 5";
    refused("x[[[[[", "decode", "too_deep", message);
}

#[test]
fn is_a_record_over_max_bytes_refused_with_what_was_kept() {
    let mut ingest = ingest(1);
    let sha256 = [7; 32];
    let payload = Payload::Oversize {
        head: b"{\"user",
        length: 52_428_800,
        sha256,
    };
    ingest.on_record(PartitionId(0), Offset(3), payload, Origin::default());
    let (_, reject) = seal(&mut ingest).rejects.remove(0);
    assert_eq!(reject.reason.stage, Stage::Decode);
    assert_eq!(reject.reason.code.name(), "too_large");
    let message = "record has 52428800 bytes, max_bytes is 1048576";
    assert_eq!(reject.reason.message, message);
    let original = Original::Oversize {
        head: b"{\"user".to_vec(),
        length: 52_428_800,
        sha256,
    };
    assert_eq!(reject.original, original);
    assert_eq!(ingest.watermark(PartitionId(0)), EventTime::MIN);
}

#[test]
fn is_a_field_that_is_absent_refused_where_its_rules_say() {
    let check =
        |record: &str, code: &str, message: &str| refused(record, "validate", code, message);
    let empty = "user cannot be empty";
    check(
        r#"{"category":"c","product":"p","at":9000}"#,
        "empty",
        empty,
    );
    check(
        r#"{"user":null,"category":"c","product":"p","at":9000}"#,
        "empty",
        empty,
    );
    check(
        r#"{"user":"","category":"c","product":"p","at":9000}"#,
        "empty",
        empty,
    );
    // Required, with a `not_empty` in the feature stage: that one speaks, much later.
    let missing = "product is missing";
    check(r#"{"user":"a","at":9000}"#, "missing", missing);
    check(
        r#"{"user":"a","category":null,"at":9000}"#,
        "missing",
        missing,
    );
    check(
        r#"{"user":"a","category":"","product":null,"at":9000}"#,
        "missing",
        missing,
    );
    check(
        r#"{"user":"a","category":"c","product":"p"}"#,
        "missing",
        "at is missing",
    );
}

#[test]
fn is_a_field_of_another_type_refused_with_what_it_was() {
    let check = |user_to_first: &str, at: &str, message: &str| {
        let record = format!(r#"{{{user_to_first},"category":"c","product":"p","at":{at}}}"#);
        refused(&record, "validate", "wrong_type", message);
    };
    let user = r#""user":"anna""#;
    check(user, r#""abc""#, r#"at must be an integer, got "abc""#);
    check(user, "1.0", "at must be an integer, got 1.0");
    check(user, "1e3", "at must be an integer, got 1e3");
    check(user, "true", "at must be an integer, got true");
    check(user, "false", "at must be an integer, got false");
    check(
        user,
        "9223372036854775808",
        "at must be an integer, got 9223372036854775808",
    );
    check(user, "[1, 2]", "at must be an integer, got [1, 2]");
    check(user, r#""a\"b""#, r#"at must be an integer, got "a\"b""#);
    check(r#""user":5"#, "9000", "user must be a string, got 5");
    check(
        r#""user":{"a":1}"#,
        "9000",
        r#"user must be a string, got {"a":1}"#,
    );
    check(
        r#""user":"a","price":"1""#,
        "9000",
        r#"price must be a number, got "1""#,
    );
    check(
        r#""user":"a","first":1"#,
        "9000",
        "first must be a boolean, got 1",
    );
    let long = "é".repeat(100);
    let message = format!("at must be an integer, got \"{}...", "é".repeat(63));
    check(user, &format!("\"{long}\""), &message);
}

#[test]
fn is_a_failed_check_refused_with_its_message() {
    let check = |user: &str, more: &str, message: &str| {
        let record = format!(r#"{{"user":"{user}",{more}"category":"c","product":"p","at":9000}}"#);
        refused(&record, "validate", "check_failed", message);
    };
    check("abcdef", "", "user is longer than 5");
    check("anna", r#""price":100.5,"#, "price is above 100");
    check("anna", r#""first":false,"#, "first must be true");
    let early = r#"{"user":"a","category":"c","product":"p","at":-1001}"#;
    refused(early, "validate", "check_failed", "at is before time");
}

#[test]
fn does_the_first_rule_in_field_order_win() {
    let check =
        |record: &str, code: &str, message: &str| refused(record, "validate", code, message);
    // An empty user and a bad time; the time stands first in the record.
    let record = r#"{"at":"abc","user":"","category":"c","product":"p"}"#;
    check(record, "empty", "user cannot be empty");
    // Type before check, both of one field.
    check(
        r#"{"user":[],"at":"abc"}"#,
        "wrong_type",
        "user must be a string, got []",
    );
    // A check of one field before the presence and type of the next.
    let record = r#"{"user":"abcdef","category":5}"#;
    check(record, "check_failed", "user is longer than 5");
    check(
        r#"{"user":"a","category":5}"#,
        "wrong_type",
        "category must be a string, got 5",
    );
    // Fields before the time rules.
    let record = r#"{"user":"a","category":"c","price":"x","product":"p","at":1}"#;
    check(record, "wrong_type", r#"price must be a number, got "x""#);
    // Of equal keys the last counts.
    let record = r#"{"user":"a","user":"","category":"c","product":"p","at":9000}"#;
    check(record, "empty", "user cannot be empty");
}

#[test]
fn is_an_event_out_of_its_time_refused_with_how_far() {
    let event = |at: i64| format!(r#"{{"user":"a","category":"c","product":"p","at":{at}}}"#);
    let message = "at is 7,200,000 ms ahead, max_ahead is 3,600,000 ms";
    refused(&event(7_210_000), "validate", "too_far_ahead", message);
    refused(
        &event(6_766),
        "late",
        "late",
        "1,234 ms behind the watermark",
    );
    refused(&event(7_999), "late", "late", "1 ms behind the watermark");

    let mut ingest = ingest(1);
    poll(&mut ingest, 0, 0, &[event(10_000).as_bytes()]);
    let (_, late) = poll(&mut ingest, 0, 1, &[event(6_766).as_bytes()])
        .rejects
        .remove(0);
    assert_eq!(late.event_time, Some(EventTime(6_766)));
    let lateness = Lateness {
        watermark: EventTime(8_000),
        lateness_ms: 1_234,
    };
    assert_eq!(late.lateness, Some(lateness));
    let at_the_watermark = poll(&mut ingest, 0, 2, &[event(8_000).as_bytes()]);
    assert_eq!(
        (
            at_the_watermark.batches.len(),
            at_the_watermark.rejects.len()
        ),
        (1, 0)
    );
}

#[test]
fn does_a_row_hold_what_the_record_says() {
    let mut ingest = ingest(1);
    let record = br#"{"user":"a\u0062\"","product":"p","price":1.5,"first":null,"at":-5}"#;
    let found = poll(&mut ingest, 0, 0, &[record]);
    let (_, batch) = &found.batches[0];
    let row = &batch.rows.rows()[0];
    assert_eq!(text(batch, row, 0), "ab\"", "unescaped");
    let cells: Vec<Cell> = batch.rows.cells(row).collect();
    assert_eq!(cells[1], Cell::Null, "left to the feature stage");
    assert_eq!(text(batch, row, 2), "p");
    assert_eq!(cells[3], Cell::Float(1.5));
    assert_eq!(cells[4], Cell::Null);
    assert_eq!(batch.rows.cell(row, FieldIndex(5)), Cell::Int(-5));
    assert_eq!(row.time, EventTime(-5));
    assert_eq!(batch.rows.bytes(row.record), record, "as it was read");
    assert_eq!(batch.rows.bytes(row.key), b"\x01\x03\0\0\0ab\"");
    let plain = |field| match cells[field] {
        Cell::Text { plain, .. } => plain,
        _ => unreachable!("a text"),
    };
    assert_eq!((plain(0), plain(2)), (false, true));
}

/// Of an event that is rejected here, and of one that goes on.
#[test]
fn are_keys_and_headers_of_records_kept_where_they_are_wanted() {
    let mut all = Vec::new();
    headers::write(&mut all, ("h", Some(b"v")));
    let written = Origin {
        key: Some(b"k"),
        headers: Headers::of(&all),
        time: None,
    };
    for keeps_origins in [true, false] {
        let mut ingest = EventIngest::new(Arc::new(IngestPlan {
            keeps_origins,
            ..plan(1)
        }));
        let good = r#"{"user":"\u0061","category":"b","product":"c","at":7}"#;
        for (offset, record) in (0..).zip([good, "[]"]) {
            let payload = Payload::Whole(record.as_bytes());
            ingest.on_record(PartitionId(0), Offset(offset), payload, written);
        }
        let sealed = seal(&mut ingest);
        let (_, reject) = &sealed.rejects[0];
        let rows = &sealed.batches[0].1.rows;
        let row = &rows.rows()[0];
        let Cell::Text { span, .. } = rows.cell(row, USER) else {
            unreachable!("it is a text");
        };
        assert_eq!(rows.bytes(span), b"a");
        assert_eq!(rows.bytes(row.record), good.as_bytes());
        let expected = keeps_origins.then_some(KeptOrigin {
            key: Some(b"k"),
            headers: Headers::of(&all),
        });
        assert_eq!(origin::read(&reject.origin), expected);
        assert_eq!(origin::read(rows.origin_of(row)), expected);
    }
}
