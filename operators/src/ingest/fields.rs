//! Presence, types and checks of the declared fields.

use slackwater_dataflow::moment::EventTime;
use slackwater_dataflow::text::shortened;

use crate::batch::{Cell, Span, content};
use crate::check::{Check, Rule};
use crate::event::{EventSchema, Field, FieldIndex, FieldType};
use crate::ingest::{IngestPlan, malformed, reason};
use crate::json::{Scanner, Schema, Value, parse_f64, parse_i64, unescape};
use crate::reject::{Code, Reason, Stage};

/// Characters of a wrong value that its message quotes.
const QUOTED_CHARACTERS_MAX: usize = 64;

/// The checks that run before the key, and which fields leave their absence to a later check.
#[derive(Clone, Debug, Default)]
pub struct FieldRules {
    /// By field, in the order of the file.
    checks: Vec<Vec<Check>>,
    /// Fields with a `not_empty` check in the feature stage: it speaks for missing and null as well.
    absence_checked_later: Vec<bool>,
}

impl FieldRules {
    /// Sorts checks by field. `later` are those of the feature stage.
    pub fn new(fields: usize, checks: &[Check], later: &[Check]) -> Self {
        let of_field = |field: usize| checks.iter().filter(move |c| c.field == FieldIndex(field));
        let is_later = |field: usize| {
            later
                .iter()
                .any(|c| c.field == FieldIndex(field) && c.rule == Rule::NotEmpty)
        };
        FieldRules {
            checks: (0..fields)
                .map(|field| of_field(field).cloned().collect())
                .collect(),
            absence_checked_later: (0..fields).map(is_later).collect(),
        }
    }

    fn of(&self, field: usize) -> &[Check] {
        self.checks
            .get(field)
            .map(Vec::as_slice)
            .unwrap_or_default()
    }

    /// What is said of a field that is missing or null, if anything.
    fn absent(&self, at: usize, field: &Field) -> Option<Reason> {
        if let Some(check) = self
            .of(at)
            .iter()
            .find(|check| check.rule == Rule::NotEmpty)
        {
            return Some(check.reason(Stage::Validate));
        }
        let later = self.absence_checked_later.get(at).copied().unwrap_or(false);
        let missing = || {
            reason(
                Stage::Validate,
                Code::Missing,
                format!("{} is missing", field.name),
            )
        };
        (field.required && !later).then(missing)
    }
}

/// A record whose fields are what they should be.
pub(super) struct Decoded<'a> {
    pub(super) time: EventTime,
    pub(super) cells: &'a [Cell],
    /// Unescaped texts.
    pub(super) scratch: &'a [u8],
}

/// Reads the declared fields of one record after the other.
#[derive(Debug)]
pub(super) struct FieldReader {
    scanner: Scanner,
    values: Vec<Value>,
    cells: Vec<Cell>,
    scratch: Vec<u8>,
}

impl FieldReader {
    pub(super) fn new(schema: &EventSchema) -> Self {
        let names: Vec<&str> = schema
            .fields
            .iter()
            .map(|field| field.name.as_str())
            .collect();
        FieldReader {
            scanner: Scanner::new(Schema::new(&names)),
            values: vec![Value::Missing; names.len()],
            cells: vec![Cell::Null; names.len()],
            scratch: Vec::new(),
        }
    }

    /// Decodes and checks a record.
    // Once for each record: as a call of its own it costs some sixty instructions more.
    #[inline]
    pub(super) fn read(&mut self, plan: &IngestPlan, record: &[u8]) -> Result<Decoded<'_>, Reason> {
        self.scanner
            .scan(record, plan.max_depth, &mut self.values)
            .map_err(|error| malformed(error, plan.max_depth))?;
        self.scratch.clear();
        let values = self.values.iter().zip(&mut self.cells);
        for (at, (field, (value, cell))) in plan.schema.fields.iter().zip(values).enumerate() {
            if !read_cell(field, value, record, &mut self.scratch, cell) {
                return Err(wrong_type(field, *value, record));
            }
            if matches!(cell, Cell::Null) {
                match plan.fields.absent(at, field) {
                    Some(reason) => return Err(reason),
                    None => continue,
                }
            }
            let scratch = self.scratch.as_slice();
            for check in plan.fields.of(at) {
                if !check.holds(*cell, |span| content(*cell, span, record, scratch)) {
                    return Err(check.reason(Stage::Validate));
                }
            }
        }
        let time = match self.cells.get(plan.schema.time.0) {
            Some(Cell::Int(time)) => EventTime(*time),
            // The pipeline file is refused unless the time field is a required integer.
            _ => EventTime::MIN,
        };
        Ok(Decoded {
            time,
            cells: &self.cells,
            scratch: &self.scratch,
        })
    }
}

/// Reads a value into `cell`; false if it is of another type than the field.
///
/// Values and cells are read and written in place: moving them as a whole, right after their parts were
/// written one by one, makes the processor wait.
#[inline]
fn read_cell(
    field: &Field,
    value: &Value,
    record: &[u8],
    scratch: &mut Vec<u8>,
    cell: &mut Cell,
) -> bool {
    match (field.kind, value) {
        (_, Value::Missing | Value::Null) => *cell = Cell::Null,
        (
            FieldType::Text,
            &Value::Text {
                start,
                len,
                escaped,
            },
        ) => {
            let written = Span { start, len };
            let span = if escaped {
                unescaped(value, record, scratch)
            } else {
                written
            };
            *cell = Cell::Text {
                span,
                plain: !escaped,
            };
        }
        (FieldType::Int, Value::Number { integer: true, .. }) => {
            match value.span(record).and_then(parse_i64) {
                Some(number) => *cell = Cell::Int(number),
                None => return false,
            }
        }
        (FieldType::Float, Value::Number { .. }) => match value.span(record).and_then(parse_f64) {
            Some(number) => *cell = Cell::Float(number),
            None => return false,
        },
        (FieldType::Bool, Value::True) => *cell = Cell::Bool(true),
        (FieldType::Bool, Value::False) => *cell = Cell::Bool(false),
        _ => return false,
    }
    true
}

/// Writes the meaning of a text with escapes to `scratch`.
#[cold]
fn unescaped(value: &Value, record: &[u8], scratch: &mut Vec<u8>) -> Span {
    let start = scratch.len() as u32;
    let written = value.span(record).unwrap_or_default();
    // The scanner has checked that the record is UTF-8.
    unescape(str::from_utf8(written).unwrap_or_default(), scratch);
    Span {
        start,
        len: scratch.len() as u32 - start,
    }
}

#[cold]
fn wrong_type(field: &Field, value: Value, record: &[u8]) -> Reason {
    let written = String::from_utf8_lossy(value.span(record).unwrap_or_default());
    let text = match value {
        Value::Text { .. } => format!("\"{written}\""),
        Value::True => "true".to_owned(),
        Value::False => "false".to_owned(),
        _ => written.into_owned(),
    };
    let message = format!(
        "{} must be {}, got {}",
        field.name,
        field.kind.name(),
        shortened(&text, QUOTED_CHARACTERS_MAX)
    );
    reason(Stage::Validate, Code::WrongType, message)
}
