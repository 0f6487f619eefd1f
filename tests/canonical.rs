//! What of an output record its input determines: everything but the fields that are masked here.
//!
//! Every comparison of runs goes through this one function, so that what may differ between two runs of
//! the same job is said in one place. Other test binaries take this file in as a module.

use serde_json::{Value, json};

/// Fields of a record that say when or in which run it was made.
const UNDETERMINED: [&str; 6] = [
    "processing_time",
    "timestamp",
    "epoch",
    "generation",
    "shard",
    "sequence",
];

/// A record with the fields that its input does not determine replaced by one and the same text. Whether
/// they are there is still compared, and fields of these names inside the original event are left alone.
///
/// # Panics
/// If the line is not a JSON object: outputs always are.
#[expect(clippy::panic, reason = "tests")]
pub fn mask(line: &str) -> Value {
    let record = serde_json::from_str(line);
    let Ok(Value::Object(mut record)) = record else {
        panic!("an output record is not a JSON object: {line}");
    };
    for name in UNDETERMINED {
        if let Some(value) = record.get_mut(name) {
            *value = json!("masked");
        }
    }
    // Whether an answer was remembered, and for how long, is chance.
    let lookups = record.get_mut("lookups").and_then(Value::as_object_mut);
    for (_, provenance) in lookups.into_iter().flatten() {
        *provenance = json!("masked");
    }
    Value::Object(record)
}

#[test]
fn are_only_undetermined_fields_masked() {
    let check = |line: &str, expected: Value| assert_eq!(mask(line), expected, "{line}");
    check(
        r#"{"prediction":0.5,"event_time":7,"processing_time":8}"#,
        json!({"prediction": 0.5, "event_time": 7, "processing_time": "masked"}),
    );
    check(
        r#"{"original_event":{"timestamp":1},"timestamp":2.5,"epoch":null}"#,
        json!({"original_event": {"timestamp": 1}, "timestamp": "masked", "epoch": "masked"}),
    );
    check(
        r#"{"lookups":{"profile":{"from":"cached","age_ms":812}}}"#,
        json!({"lookups": {"profile": "masked"}}),
    );
    check(
        r#"{"generation":1,"shard":2,"sequence":3}"#,
        json!({"generation": "masked", "shard": "masked", "sequence": "masked"}),
    );
}
