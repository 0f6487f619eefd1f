//! Presence, types and checks of the declared fields.

use slackwater_dataflow::moment::EventTime;
use slackwater_dataflow::source::RecordTime;
use slackwater_dataflow::text::shortened;

use crate::batch::{Cell, Span, content};
use crate::check::{Check, Rule};
use crate::event::{
    DefaultValue, EventSchema, Field, FieldIndex, FieldType, LIST_ELEMENTS_MAX, TimeFrom, TimeUnit,
};
use crate::ingest::{IngestPlan, malformed, reason, time};
use crate::json::{Elements, PathScanner, Value, parse_f64, parse_i64, unescape};
use crate::reject::{Code, Reason, Stage, grouped};

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
    /// Unescaped texts, and defaults.
    pub(super) scratch: &'a [u8],
}

/// Reads the declared fields of one record after the other.
#[derive(Debug)]
pub(super) struct FieldReader {
    scanner: PathScanner,
    values: Vec<Value>,
    cells: Vec<Cell>,
    scratch: Vec<u8>,
}

impl FieldReader {
    pub(super) fn new(schema: &EventSchema) -> Self {
        let paths = schema.paths();
        FieldReader {
            scanner: PathScanner::new(&paths),
            values: vec![Value::Missing; paths.len()],
            cells: vec![Cell::Null; paths.len()],
            scratch: Vec::new(),
        }
    }

    /// Decodes and checks a record that was written then, if its source says so.
    // Once for each record: as a call of its own it costs some sixty instructions more.
    #[inline]
    pub(super) fn read(
        &mut self,
        plan: &IngestPlan,
        record: &[u8],
        written: &Option<RecordTime>,
    ) -> Result<Decoded<'_>, Reason> {
        self.scanner
            .scan(record, plan.max_depth, &mut self.values)
            .map_err(|error| malformed(error, plan.max_depth))?;
        self.scratch.clear();
        let values = self.values.iter().zip(&mut self.cells);
        for (at, (field, (value, cell))) in plan.schema.fields.iter().zip(values).enumerate() {
            if !read_cell(field, value, record, &mut self.scratch, cell) {
                return Err(match value {
                    Value::Blocked => blocked(field, at, &self.scanner, record),
                    value => wrong_type(field, *value, record),
                });
            }
            if matches!(cell, Cell::Null) {
                match &field.default {
                    Some(default) => *cell = default_cell(default, &mut self.scratch),
                    None => match plan.fields.absent(at, field) {
                        Some(reason) => return Err(reason),
                        None => continue,
                    },
                }
            }
            let scratch = self.scratch.as_slice();
            for check in plan.fields.of(at) {
                if !check.holds(*cell, |span| content(*cell, span, record, scratch)) {
                    return Err(check.reason(Stage::Validate));
                }
            }
        }
        let time = match plan.schema.time {
            TimeFrom::Field {
                field,
                unit: TimeUnit::Milliseconds,
            } => match self.cells.get(field.0) {
                Some(Cell::Int(time)) => EventTime(*time),
                // The pipeline file is refused unless the time field is a required integer.
                _ => EventTime::MIN,
            },
            _ => self.time(plan, record, written)?,
        };
        Ok(Decoded {
            time,
            cells: &self.cells,
            scratch: &self.scratch,
        })
    }
}

impl FieldReader {
    /// The event time that is not that of a field in milliseconds.
    // Apart, so that milliseconds cost no more.
    #[inline(never)]
    fn time(
        &self,
        plan: &IngestPlan,
        record: &[u8],
        written: &Option<RecordTime>,
    ) -> Result<EventTime, Reason> {
        let (field, unit) = match plan.schema.time {
            TimeFrom::Field { field, unit } => (field, unit),
            TimeFrom::Record => return written.map(time::of_record).ok_or_else(no_time),
        };
        let cell = self.cells.get(field.0).copied().unwrap_or_default();
        let (said, shown) = match cell {
            Cell::Int(number) => (time::of_number(number, unit), number.to_string()),
            Cell::Text { span, .. } => {
                let text = content(cell, span, record, &self.scratch);
                let shown = || format!("\"{}\"", String::from_utf8_lossy(text));
                match time::of_text(text) {
                    Some(said) => return Ok(said),
                    None => (None, shown()),
                }
            }
            // The pipeline file is refused unless the time field is required, and of the type that its unit wants.
            _ => (Some(EventTime::MIN), String::new()),
        };
        said.ok_or_else(|| {
            let name = plan.schema.name(field);
            let shown = shortened(&shown, QUOTED_CHARACTERS_MAX);
            let message = format!("{name} must be {}, got {shown}", unit.expectation());
            reason(Stage::Validate, Code::WrongType, message)
        })
    }
}

/// A record of which its source does not know when it was written, where that is the event time.
#[cold]
fn no_time() -> Reason {
    let message = "the record has no timestamp".to_owned();
    reason(Stage::Validate, Code::Missing, message)
}

/// The cell of a field that is missing or null and has a default.
fn default_cell(default: &DefaultValue, scratch: &mut Vec<u8>) -> Cell {
    let mut put = |text: &str| {
        let start = scratch.len() as u32;
        scratch.extend_from_slice(text.as_bytes());
        Span {
            start,
            len: text.len() as u32,
        }
    };
    match default {
        // Where nothing else is unescaped, there is no place among unescaped texts: nothing stands anywhere.
        DefaultValue::Text(text) if text.is_empty() => Cell::Text {
            span: Span::default(),
            plain: true,
        },
        DefaultValue::Text(text) => Cell::Text {
            span: put(text),
            plain: false,
        },
        DefaultValue::Int(number) => Cell::Int(*number),
        DefaultValue::Float(number) => Cell::Float(*number),
        DefaultValue::Bool(value) => Cell::Bool(*value),
        DefaultValue::List(list) => Cell::List {
            span: put(list),
            in_record: false,
        },
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
        (FieldType::Floats | FieldType::Texts, &Value::Composite { start, len }) => {
            let list = value.span(record).unwrap_or_default();
            if list_fault(field.kind, list).is_some() {
                return false;
            }
            *cell = Cell::List {
                span: Span { start, len },
                in_record: true,
            };
        }
        _ => return false,
    }
    true
}

/// What is wrong with a list.
enum ListFault {
    /// It is an object.
    NoList,
    /// This element, counted from 1, is of another type.
    Element(usize, Value),
    /// It has more elements than are allowed.
    TooLong,
}

/// What is wrong with what should be a list of this type, if anything.
#[inline(never)]
fn list_fault(kind: FieldType, list: &[u8]) -> Option<ListFault> {
    if list.first() != Some(&b'[') {
        return Some(ListFault::NoList);
    }
    let fits = |value: &Value| match kind.element() {
        Some(FieldType::Text) => matches!(value, Value::Text { .. }),
        _ => matches!(value, Value::Number { .. }),
    };
    let mut elements = 0;
    for element in Elements::of(list) {
        elements += 1;
        if !fits(&element) {
            return Some(ListFault::Element(elements, element));
        }
        if elements > LIST_ELEMENTS_MAX {
            return Some(ListFault::TooLong);
        }
    }
    None
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

/// A value as a message shows it.
fn shown(value: Value, record: &[u8]) -> String {
    let written = String::from_utf8_lossy(value.span(record).unwrap_or_default());
    let text = match value {
        Value::Text { .. } => format!("\"{written}\""),
        Value::True => "true".to_owned(),
        Value::False => "false".to_owned(),
        Value::Null => "null".to_owned(),
        _ => written.into_owned(),
    };
    shortened(&text, QUOTED_CHARACTERS_MAX)
}

#[cold]
fn wrong_type(field: &Field, value: Value, record: &[u8]) -> Reason {
    let (name, kind) = (&field.name, field.kind.name());
    let list = value.span(record).unwrap_or_default();
    let fault = match value {
        Value::Composite { .. } if field.kind.element().is_some() => list_fault(field.kind, list),
        _ => None,
    };
    let message = match fault {
        Some(ListFault::Element(at, element)) => {
            let got = shown(element, list);
            format!("{name} must be {kind}, element {at} is {got}")
        }
        Some(ListFault::TooLong) => {
            let most = grouped(LIST_ELEMENTS_MAX as u64);
            format!("{name} has more than {most} elements")
        }
        Some(ListFault::NoList) | None => {
            format!("{name} must be {kind}, got {}", shown(value, record))
        }
    };
    reason(Stage::Validate, Code::WrongType, message)
}

/// What is said of a nested field that has no object to lie in.
#[cold]
fn blocked(field: &Field, at: usize, scanner: &PathScanner, record: &[u8]) -> Reason {
    let obstacle = scanner.obstacle(at, &field.path);
    let (path, found) = obstacle.map_or((&[][..], Value::Missing), |obstacle| {
        (obstacle.path, obstacle.found)
    });
    let name = field.path.get(path.len()).unwrap_or(&field.name);
    let (path, got) = (path.join("."), shown(found, record));
    let message = format!("{path} must be an object with {name} in it, got {got}");
    reason(Stage::Validate, Code::WrongType, message)
}
