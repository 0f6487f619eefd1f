//! What is the list of a history?

use slackwater_dataflow::mirror::Change;
use slackwater_redis::mirror::{Layout as _, List};

use super::{Histories, Piece, time_name};
use crate::pipeline::Pipeline;
use crate::pipeline::spec::FieldKind;

fn histories() -> Histories {
    Histories {
        layout: vec![
            Piece::Text("a[".to_owned()),
            Piece::Part(1),
            Piece::Text("]:*".to_owned()),
            Piece::Part(0),
        ],
        ttl_ms: 10,
        fields: vec![
            ("text".to_owned(), FieldKind::String),
            ("count".to_owned(), FieldKind::Int),
            ("is \"it\"".to_owned(), FieldKind::Bool),
        ],
        time: Some("at".to_owned()),
    }
}

/// A key of a text and a number, as checkpoints have it.
fn key() -> Vec<u8> {
    let number = (-7_i64).to_le_bytes();
    [b"\x01\x04\0\0\0anna", b"\x02\x08\0\0\0".as_slice(), &number].concat()
}

/// A history of these events, each with a time, as checkpoints have it.
fn saved(times: &[i64]) -> Vec<u8> {
    let texts: [&[u8]; 3] = ["he said \"\u{e9}\"".as_bytes(), &5_i64.to_le_bytes(), &[1]];
    let mut bytes = Vec::new();
    bytes.extend((times.len() as u32).to_le_bytes());
    bytes.extend((texts.len() as u32).to_le_bytes());
    for text in texts {
        bytes.extend((text.len() as u32).to_le_bytes());
        bytes.extend(text);
    }
    for (nth, time) in times.iter().enumerate() {
        bytes.extend(time.to_le_bytes());
        let is_null = nth == 0;
        for field in 0..3_u32 {
            let number = if is_null { u32::MAX } else { field };
            bytes.extend(number.to_le_bytes());
        }
    }
    bytes
}

fn list(value: Option<Vec<u8>>) -> Option<List> {
    let change = Change { key: key(), value };
    histories().list(&change)
}

#[test]
fn what_is_the_list_of_a_history() {
    let check = |times: &[i64], expected: &[&str]| {
        let list = list(Some(saved(times))).unwrap();
        assert_eq!(String::from_utf8(list.key).unwrap(), "a[-7]:*anna");
        let elements = list.elements.into_iter();
        let elements: Vec<String> = elements.map(|it| String::from_utf8(it).unwrap()).collect();
        assert_eq!(elements, expected, "{times:?}");
    };
    let null = r#"{"text":null,"count":null,"is \"it\"":null,"at":1}"#;
    let other = |at| format!(r#"{{"text":"he said \"é\"","count":5,"is \"it\"":true,"at":{at}}}"#);
    check(&[1], &[null]);
    check(&[1, 3], &[&other(3), null]);
    // What the last one does not see is not there, in whichever order they came.
    check(&[1, 12, 11], &[&other(11), &other(12)]);
    check(&[1, 2, 13], &[&other(13)]);
    check(&[1, 9, 10], &[&other(10), &other(9), null]);
}

#[test]
fn what_is_no_history() {
    assert_eq!(list(Some(vec![1, 2, 3])), None);
    let gone = list(None).unwrap();
    assert_eq!(
        (gone.key.as_slice(), gone.elements.len()),
        (b"a[-7]:*anna".as_slice(), 0)
    );
}

#[test]
fn does_the_pattern_fit_lists_only() {
    let pattern = String::from_utf8(histories().pattern()).unwrap();
    assert_eq!(pattern, r"a\[*\]:\**");
    assert_eq!(histories().name(), "a[{1}]:*{0}");
}

#[test]
fn what_is_the_time_of_an_element_called() {
    const REFERENCE: &str = include_str!("../../../pipelines/user-events.toml");
    let check = |old: &str, new: &str, expected: Option<&str>| {
        let pipeline = Pipeline::parse("x.toml", &REFERENCE.replace(old, new)).unwrap();
        let history = pipeline.history.unwrap();
        assert_eq!(
            time_name(&pipeline.event, &history).as_deref(),
            expected,
            "{new}"
        );
    };
    check("", "", Some("timestamp_ms"));
    check("unit = \"ms\"", "unit = \"us\"", Some("event_time"));
    let kept = "fields = [\"timestamp_ms\", \"product_id\", \"category\", \"event_type\"]";
    check(
        "fields = [\"product_id\", \"category\", \"event_type\"]",
        kept,
        None,
    );
}
