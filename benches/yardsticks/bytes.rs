//! From bytes to fields: touching them, checking them, borrowing from them.

use std::borrow::Cow;
use std::hint::black_box;

use serde::Deserialize;
use serde::de::IgnoredAny;
use slackwater_operators::json::{Scanner, Schema, Value};

use crate::input::Input;
use crate::{Failure, timed_records};

/// The fields of the reference job.
const FIELDS: [&str; 5] = [
    "user_id",
    "product_id",
    "category",
    "event_type",
    "timestamp_ms",
];
/// Deepest nesting of a record.
const DEPTH_MAX: u32 = 64;

#[derive(Deserialize)]
struct Borrowed<'a> {
    #[serde(borrow)]
    user_id: Cow<'a, str>,
    #[serde(borrow)]
    product_id: Cow<'a, str>,
    #[serde(borrow)]
    category: Cow<'a, str>,
    #[serde(borrow)]
    event_type: Cow<'a, str>,
    timestamp_ms: i64,
}

/// All of them.
pub fn run(input: &Input) -> Result<(), Failure> {
    timed_records(input, "touch every byte", |record| {
        black_box(record.iter().fold(0_u8, |all, &byte| all ^ byte));
    });
    timed_records(input, "parse only, serde_json", |record| {
        black_box(serde_json::from_slice::<IgnoredAny>(record).is_ok());
    });
    let mut scanner = Scanner::new(Schema::new(&FIELDS));
    let mut values = [Value::Missing; FIELDS.len()];
    timed_records(
        input,
        "parse only, our scanner (checks all, finds the fields)",
        |record| {
            black_box(scanner.scan(record, DEPTH_MAX, &mut values).is_ok());
            black_box(&values);
        },
    );
    timed_records(
        input,
        "parse and borrow the used fields, serde_json",
        |record| {
            let event = serde_json::from_slice::<Borrowed<'_>>(record);
            black_box(event.map_or(0, |event| {
                let texts = [
                    event.user_id,
                    event.product_id,
                    event.category,
                    event.event_type,
                ];
                texts.iter().map(|text| text.len() as i64).sum::<i64>() ^ event.timestamp_ms
            }));
        },
    );
    Ok(())
}
