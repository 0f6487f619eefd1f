//! What an event is made of: the declared fields, known only at run time.

/// Most elements of a list: each is looked at when the record is read, and lists are no bulk of data.
pub const LIST_ELEMENTS_MAX: usize = 65_536;

/// The type of a declared field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldType {
    /// A JSON string.
    Text,
    /// A JSON number without fraction or exponent, inside `i64`.
    Int,
    /// Any JSON number inside `f64`.
    Float,
    /// `true` or `false`.
    Bool,
    /// A JSON array of numbers, at most [`LIST_ELEMENTS_MAX`].
    Floats,
    /// A JSON array of strings, at most [`LIST_ELEMENTS_MAX`].
    Texts,
}

impl FieldType {
    /// The type with its article, as messages name it.
    pub fn name(self) -> &'static str {
        match self {
            FieldType::Text => "a string",
            FieldType::Int => "an integer",
            FieldType::Float => "a number",
            FieldType::Bool => "a boolean",
            FieldType::Floats => "a list of numbers",
            FieldType::Texts => "a list of strings",
        }
    }

    /// The type of the elements, if it is a list.
    pub fn element(self) -> Option<FieldType> {
        match self {
            FieldType::Floats => Some(FieldType::Float),
            FieldType::Texts => Some(FieldType::Text),
            FieldType::Text | FieldType::Int | FieldType::Float | FieldType::Bool => None,
        }
    }
}

/// What a field is that an event has not, or has as null; of the field's type.
#[derive(Clone, Debug, PartialEq)]
pub enum DefaultValue {
    /// A text.
    Text(String),
    /// A whole number.
    Int(i64),
    /// A number; finite.
    Float(f64),
    /// A truth value.
    Bool(bool),
    /// A list, as compact JSON.
    List(String),
}

/// A declared field.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// What it is called, in messages and in predictions.
    pub name: String,
    /// Where it lies in the JSON object: its key, or the keys of the objects that lead to it and then its key.
    pub path: Vec<String>,
    /// Its type.
    pub kind: FieldType,
    /// Whether an event without it is rejected. False where there is a default.
    pub required: bool,
    /// What takes its place if it is missing or null.
    pub default: Option<DefaultValue>,
}

impl Field {
    /// A field without which an event is rejected; its name is its key.
    pub fn required(name: impl Into<String>, kind: FieldType) -> Self {
        let name = name.into();
        Field {
            path: vec![name.clone()],
            name,
            kind,
            required: true,
            default: None,
        }
    }

    /// A field that may be missing or null.
    pub fn optional(name: impl Into<String>, kind: FieldType) -> Self {
        Field {
            required: false,
            ..Field::required(name, kind)
        }
    }

    /// The same field, elsewhere in the JSON object.
    #[must_use]
    pub fn at(mut self, path: &[&str]) -> Self {
        self.path = path.iter().map(|part| (*part).to_owned()).collect();
        self
    }

    /// The same field, with a value where it is missing or null.
    #[must_use]
    pub fn or(mut self, default: DefaultValue) -> Self {
        self.required = false;
        self.default = Some(default);
        self
    }
}

/// Position of a field in the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FieldIndex(pub usize);

/// How a field says a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimeUnit {
    /// An integer, seconds since 1970.
    Seconds,
    /// An integer, milliseconds since 1970: what event time is counted in.
    #[default]
    Milliseconds,
    /// An integer, microseconds since 1970.
    Microseconds,
    /// An integer, nanoseconds since 1970.
    Nanoseconds,
    /// A text as RFC 3339 has it, with any offset.
    Rfc3339,
}

impl TimeUnit {
    /// What a field of this unit must hold, as messages say it.
    pub fn expectation(self) -> &'static str {
        match self {
            TimeUnit::Seconds => "a time in seconds since 1970",
            TimeUnit::Milliseconds => "a time in milliseconds since 1970",
            TimeUnit::Microseconds => "a time in microseconds since 1970",
            TimeUnit::Nanoseconds => "a time in nanoseconds since 1970",
            TimeUnit::Rfc3339 => "a time such as \"2026-01-01T00:00:00Z\"",
        }
    }
}

/// Where the event time comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeFrom {
    /// From a field: a required integer, or for [`TimeUnit::Rfc3339`] a required text. Its cell keeps what was sent.
    Field {
        /// The field.
        field: FieldIndex,
        /// How it says the time.
        unit: TimeUnit,
    },
    /// From the record, as its source knows when it was written.
    Record,
}

impl From<FieldIndex> for TimeFrom {
    /// From a field, in milliseconds.
    fn from(field: FieldIndex) -> Self {
        TimeFrom::Field {
            field,
            unit: TimeUnit::Milliseconds,
        }
    }
}

/// The declared fields in schema order, and which of them identify and date an event.
#[derive(Clone, Debug, PartialEq)]
pub struct EventSchema {
    /// In the order in which they are checked and in which dead letters list them.
    pub fields: Vec<Field>,
    /// The fields that together form the key: texts, integers or truth values, each required or with a default.
    pub key: Vec<FieldIndex>,
    /// Where its event time comes from.
    pub time: TimeFrom,
}

impl EventSchema {
    /// The name of a field.
    pub fn name(&self, field: FieldIndex) -> &str {
        self.fields.get(field.0).map_or("", |field| &field.name)
    }

    /// Whether a field is a list.
    pub fn is_list(&self, field: FieldIndex) -> bool {
        let field = self.fields.get(field.0);
        field.is_some_and(|field| field.kind.element().is_some())
    }

    /// What the event time is called in messages.
    pub fn time_name(&self) -> &str {
        match self.time {
            TimeFrom::Field { field, .. } => self.name(field),
            TimeFrom::Record => "the record's timestamp",
        }
    }

    /// Where each field lies.
    pub fn paths(&self) -> Vec<Vec<String>> {
        self.fields.iter().map(|field| field.path.clone()).collect()
    }
}
