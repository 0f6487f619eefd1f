//! What an event is: its fields, what identifies it, and when it was.

use slackwater_operators::event::{DefaultValue, FieldType, TimeUnit};

use crate::pipeline::spec::Late;

/// What an event is. Its format is JSON, the only one of this version.
#[derive(Clone, Debug, PartialEq)]
pub struct EventSpec {
    /// In the order of `original_event`; names differ, and so do paths, of which none leads through another.
    pub fields: Vec<FieldSpec>,
    /// Indices of the key's fields, each a string or int that is required or has a default; at least one, all different.
    pub key: Vec<usize>,
    /// When it was.
    pub time: TimeSpec,
    /// How far an event may be behind the newest of its partition without being late.
    pub max_out_of_orderness_ms: u64,
    /// What becomes of late events.
    pub late: Late,
    /// How far one partition's watermark may run ahead of the slowest one: in event-time order, and in arrival order where
    /// there are windows of time.
    pub max_drift_ms: u64,
    /// After which silence a partition no longer holds the others; `None`: never.
    pub idle_timeout_ms: Option<u64>,
    /// How far an event time may be ahead; `None`: any.
    pub max_ahead_ms: Option<u64>,
    /// Largest record.
    pub max_bytes: usize,
    /// Deepest nesting.
    pub max_depth: usize,
}

/// When an event was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeSpec {
    /// A field says it.
    Field {
        /// Index of the field, a required int, or a required string for [`TimeUnit::Rfc3339`].
        field: usize,
        /// How it says it.
        unit: TimeUnit,
    },
    /// When its record was written; of a source that knows it.
    Record,
}

impl TimeSpec {
    /// Index of the field that says it, if one does.
    pub fn field(self) -> Option<usize> {
        match self {
            TimeSpec::Field { field, .. } => Some(field),
            TimeSpec::Record => None,
        }
    }
}

/// One field of an event.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldSpec {
    /// What it is called everywhere but in the record.
    pub name: String,
    /// Where it lies in the JSON object: the keys of the objects that lead to it, and its key.
    pub path: Vec<String>,
    /// Its type.
    pub kind: FieldKind,
    /// Whether missing or null is an error; else it is null, or its default.
    pub required: bool,
    /// What it is when it is missing or null; of its type.
    pub default: Option<DefaultValue>,
}

/// Type of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// A string.
    String,
    /// A whole number within i64.
    Int,
    /// A number.
    Float,
    /// `true` or `false`.
    Bool,
    /// A list of numbers.
    Floats,
    /// A list of strings.
    Strings,
}

impl From<FieldKind> for FieldType {
    fn from(kind: FieldKind) -> Self {
        match kind {
            FieldKind::String => FieldType::Text,
            FieldKind::Int => FieldType::Int,
            FieldKind::Float => FieldType::Float,
            FieldKind::Bool => FieldType::Bool,
            FieldKind::Floats => FieldType::Floats,
            FieldKind::Strings => FieldType::Texts,
        }
    }
}

impl FieldKind {
    /// Whether it is a list.
    pub fn is_list(self) -> bool {
        matches!(self, FieldKind::Floats | FieldKind::Strings)
    }
}
