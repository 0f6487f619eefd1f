//! Records that are larger than a job takes: their beginning is kept, their length and digest say
//! which they were, and the events around them are scored.

use serde_json::Value;

use crate::scene::{Scene, conserved, number};

const GOOD: &str = "{\"user_id\":\"u\",\"product_id\":\"p\",\"category\":\"c\",\"event_type\":\"view\",\"timestamp_ms\":1767225600000}\n";

/// Bytes of a record over the limit that are kept.
const KEPT: usize = 65_536;

/// A record of 50 MiB. Its characters lie so that one of two bytes begins on the last byte kept.
fn fifty_mebibytes() -> Vec<u8> {
    let mut record = b"{\"user_id\":\"x".to_vec();
    record.resize(13 + 2 * ((52_428_800 - 14) / 2), 0);
    for pair in record[13..].chunks_mut(2) {
        pair.copy_from_slice("é".as_bytes());
    }
    record.push(b'y');
    assert_eq!(record.len(), 52_428_800);
    record
}

/// Runs a job on a good event, `record`, a good event; gives the only validation error.
fn refused(max_bytes: &str, record: &[u8]) -> Value {
    let input = [GOOD.as_bytes(), record, b"\n", GOOD.as_bytes()].concat();
    let limit = format!("max_bytes = \"{max_bytes}\"");
    let scene = Scene::with(&[("max_bytes = \"1MiB\"", &limit)], &input);
    let summary = scene.summary();
    assert_eq!(conserved(&summary), 3);
    assert_eq!(number(&summary, "predictions"), 2);
    let records = scene.records();
    let mut errors = records
        .iter()
        .filter(|record| record.stream == "validation_errors");
    let error = errors.next().unwrap();
    assert!(errors.next().is_none());
    let keys = [
        "\"original_event\":",
        "\"original_length\":",
        "\"original_sha256\":",
        "\"error_type\":",
    ];
    let places = keys.map(|key| error.line.find(key).unwrap());
    assert!(places.is_sorted(), "{places:?}");
    serde_json::from_str(&error.line).unwrap()
}

#[test]
fn what_is_kept_of_fifty_mebibytes() {
    let record = fifty_mebibytes();
    let error = refused("1MiB", &record);
    let text = |key: &str| error.get(key).and_then(Value::as_str).unwrap();
    assert_eq!(text("code"), "too_large");
    assert_eq!(text("stage"), "decode");
    assert_eq!(
        text("message"),
        "record has 52428800 bytes, max_bytes is 1048576"
    );
    assert_eq!(number(&error, "original_length"), 52_428_800);
    let sha256 = "ca7bdccd19d5b2f809f55dccffca7df6027fc99b1682537d417870fc884af9d2";
    assert_eq!(text("original_sha256"), sha256);
    // Cut before the character that would be cut in half.
    let kept = text("original_event");
    assert_eq!(kept.as_bytes(), &record[..KEPT - 1]);
    assert_eq!(error.pointer("/source/offset"), Some(&GOOD.len().into()));
    assert_eq!(error.get("event_time"), None);
}

#[test]
fn is_the_limit_the_last_length_that_is_read() {
    let padded = |length: usize| {
        let line = GOOD.trim_end();
        format!("{line}{}", " ".repeat(length - line.len()))
    };
    let error = refused("4KiB", padded(4_097).as_bytes());
    let message = "record has 4097 bytes, max_bytes is 4096";
    assert_eq!(error.get("message"), Some(&message.into()));
    assert_eq!(error.get("original_event"), Some(&padded(4_097).into()));

    // Exactly as long as allowed, with and without a carriage return, which is not of the record.
    for end in ["\n", "\r\n"] {
        let input = format!("{}{end}", padded(4_096));
        let scene = Scene::with(
            &[("max_bytes = \"1MiB\"", "max_bytes = \"4KiB\"")],
            input.as_bytes(),
        );
        assert_eq!(number(&scene.summary(), "predictions"), 1, "{end:?}");
    }
}

#[test]
fn is_a_long_record_that_is_no_text_kept_in_base64() {
    let error = refused("4KiB", &[0xff; 70_000]);
    assert_eq!(error.get("original_event"), Some(&Value::Null));
    // Base64 of 65,536 bytes 0xff: three bytes give four characters, one byte is left.
    let kept = format!("{}/w==", "/".repeat(KEPT / 3 * 4));
    assert_eq!(error.get("original_bytes"), Some(&kept.into()));
    assert_eq!(number(&error, "original_length"), 70_000);
    let sha256 = "54c0575c5fafcb092053ea4381b0620632c2396211b239dc43aa6df4f10f3c07";
    assert_eq!(error.get("original_sha256"), Some(&sha256.into()));
}

#[test]
fn is_an_input_of_one_endless_line_one_record() {
    let scene = Scene::with(
        &[("max_bytes = \"1MiB\"", "max_bytes = \"1KiB\"")],
        &[b' '; 300_000],
    );
    let summary = scene.summary();
    assert_eq!(conserved(&summary), 1);
    assert_eq!(number(&summary, "validation_errors"), 1);
}
