//! What is declared of lookups, compiled from the pipeline file.

use std::time::Duration;

use slackwater_dataflow::place::Spread;

use crate::batch::{Cell, Row, Rows};
use crate::event::FieldIndex;
use crate::features::Transform;

/// All lookups of a job.
#[derive(Clone, Debug)]
pub struct LookupPlan {
    /// In the order of the file; the first that fails an event gives the reason.
    pub lookups: Vec<Lookup>,
    /// Features of a vector.
    pub width: usize,
    /// Whether predictions are to say where what was looked up comes from.
    pub tells_provenance: bool,
    /// Where keys go.
    pub spread: Spread,
}

/// One lookup.
#[derive(Clone, Debug)]
pub struct Lookup {
    /// Its name.
    pub name: String,
    /// What it asks for.
    pub key: KeyTemplate,
    /// How fields lie in an answer.
    pub form: Form,
    /// What an answer is made of, in the order in which the store is asked for it.
    pub fields: Vec<LookupField>,
    /// Features that are made of it.
    pub columns: Vec<Column>,
    /// How long a try may take, for messages.
    pub timeout: Duration,
    /// And how long connecting.
    pub connect_timeout: Duration,
    /// What to do where the store has nothing.
    pub on_miss: OnMiss,
    /// What to do where it gives no answer, or one that can't be used.
    pub on_error: OnError,
    /// Questions under way at a time; at least 1.
    pub in_flight: usize,
    /// What is remembered of answers; none if nothing is.
    pub cache: Option<CachePlan>,
}

/// How fields lie in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Each by itself: text of a number or truth value.
    Texts,
    /// All in one JSON object.
    Json,
}

/// A field of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct LookupField {
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: LookupType,
    /// What it is where it is not there.
    pub default: f64,
}

/// The type of a field of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookupType {
    /// A finite number.
    Float,
    /// An integer inside `i64`.
    Int,
    /// A truth value: `true` and `false`, or 1 and 0.
    Bool,
}

/// A feature that is made of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Its place in the vector.
    pub place: usize,
    /// Position of its field.
    pub field: usize,
    /// Applied to it, left to right.
    pub transforms: Vec<Transform>,
}

/// What to do where the store has nothing of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnMiss {
    /// All fields are what they are where they are not there.
    Default,
    /// The event is a dead letter.
    DeadLetter,
}

/// What to do where the store gives no answer, or one that can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnError {
    /// All fields are what they are where they are not there.
    Default,
    /// They are what they were last, if that is known and not too old; else as with `Default`.
    LastKnown,
    /// The event is a dead letter.
    DeadLetter,
    /// The job fails.
    Fail,
}

/// How much is remembered of answers, for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CachePlan {
    /// Bytes that one worker remembers.
    pub bytes: usize,
    /// How long an answer stands for the store.
    pub ttl: Duration,
    /// How long after that it may stand for a store that gives none.
    pub stale_for: Duration,
}

/// How the key of an event is made: texts, and fields of the event between them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyTemplate(pub Vec<KeyPiece>);

/// A piece of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyPiece {
    /// As it is.
    Text(String),
    /// The text of a field.
    Field(FieldIndex),
}

impl KeyTemplate {
    /// The key of an event; none if it has not all that it is made of.
    pub fn key(&self, rows: &Rows, row: &Row) -> Option<Box<[u8]>> {
        let mut key = Vec::new();
        for piece in &self.0 {
            match piece {
                KeyPiece::Text(text) => key.extend_from_slice(text.as_bytes()),
                KeyPiece::Field(field) => match rows.cell(row, *field) {
                    Cell::Text { span, .. } => key.extend_from_slice(rows.bytes(span)),
                    Cell::Int(value) => {
                        let mut digits = itoa::Buffer::new();
                        key.extend_from_slice(digits.format(value).as_bytes());
                    }
                    Cell::Bool(true) => key.extend_from_slice(b"true"),
                    Cell::Bool(false) => key.extend_from_slice(b"false"),
                    // The pipeline file is refused where a key is made of numbers with fractions, or of lists.
                    Cell::Null | Cell::Float(_) | Cell::List { .. } => return None,
                },
            }
        }
        Some(key.into_boxed_slice())
    }
}
