//! What an event is made of: the declared fields, known only at run time.

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
}

impl FieldType {
    /// The type with its article, as messages name it.
    pub fn name(self) -> &'static str {
        match self {
            FieldType::Text => "a string",
            FieldType::Int => "an integer",
            FieldType::Float => "a number",
            FieldType::Bool => "a boolean",
        }
    }
}

/// A declared field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its key in the JSON object.
    pub name: String,
    /// Its type.
    pub kind: FieldType,
    /// Whether an event without it is rejected.
    pub required: bool,
}

impl Field {
    /// A field without which an event is rejected.
    pub fn required(name: impl Into<String>, kind: FieldType) -> Self {
        Field {
            name: name.into(),
            kind,
            required: true,
        }
    }

    /// A field that may be missing or null.
    pub fn optional(name: impl Into<String>, kind: FieldType) -> Self {
        Field {
            required: false,
            ..Field::required(name, kind)
        }
    }
}

/// Position of a field in the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FieldIndex(pub usize);

/// The declared fields in schema order, and which of them identify and date an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventSchema {
    /// In the order in which they are checked and in which dead letters list them.
    pub fields: Vec<Field>,
    /// The fields that together form the key.
    pub key: Vec<FieldIndex>,
    /// The field that holds event time, an integer in milliseconds since 1970.
    pub time: FieldIndex,
}

impl EventSchema {
    /// The name of a field.
    pub fn name(&self, field: FieldIndex) -> &str {
        self.fields.get(field.0).map_or("", |field| &field.name)
    }
}
