//! Is there any text that the compiler of expressions, or an evaluation of one, does not get over?
//!
//! The first byte says what is wanted and which fields are null; the rest is the text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use slackwater_operators::event::FieldType;
use slackwater_operators::expression::values::{Given, Values};
use slackwater_operators::expression::{Expression, Wanted};

const FIELDS: [(&str, FieldType); 5] = [
    ("kind", FieldType::Text),
    ("amount", FieldType::Float),
    ("count", FieldType::Int),
    ("paid", FieldType::Bool),
    ("a.b", FieldType::Int),
];

const EVENTS: [[Given<'static>; FIELDS.len()]; 3] = [
    [
        Given::Text("view"),
        Given::Float(1.5),
        Given::Int(2),
        Given::Bool(true),
        Given::Int(0),
    ],
    [
        Given::Text(""),
        Given::Float(f64::MAX),
        Given::Int(i64::MIN),
        Given::Bool(false),
        Given::Int(i64::MAX),
    ],
    [
        Given::Text("\u{10ffff}é^[a-"),
        Given::Float(-0.0),
        Given::Int(-1),
        Given::Bool(true),
        Given::Int(1),
    ],
];

/// An event, and a bit for each field that is null.
struct Event(&'static [Given<'static>; FIELDS.len()], u8);

impl Values for Event {
    fn value(&self, place: usize) -> Given<'_> {
        if self.1 >> place & 1 == 1 {
            return Given::Null;
        }
        self.0.get(place).copied().unwrap_or(Given::Null)
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((&bits, text)) = input.split_first() else {
        return;
    };
    let Ok(text) = str::from_utf8(text) else {
        return;
    };
    let wanted = if bits & 0x80 == 0 {
        Wanted::Truth
    } else {
        Wanted::Number
    };
    match Expression::compile(text, &FIELDS, wanted) {
        Ok(expression) => {
            assert!(expression.uses().all(|place| place < FIELDS.len()));
            for event in &EVENTS {
                let event = Event(event, bits);
                let number = expression.number(&event);
                assert!(number.is_err() || number.is_ok_and(|it| it.is_none_or(f64::is_finite)));
                // What is no truth is a failure, not the end of the job.
                let _ = expression.holds(&event);
            }
        }
        Err(mistake) => {
            assert!(mistake.at <= text.len(), "{mistake:?}");
            assert!(text.is_char_boundary(mistake.at), "{mistake:?}");
        }
    }
});
