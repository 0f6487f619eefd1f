//! The JSON schema of pipeline files, made from the declared keys: what editors complete, explain and underline by.
//!
//! It is of draft 7, which editors for TOML take. It says of a file what can be said of a single table: which keys there
//! are, what they take, which of them go together. Whatever one table says of another is for `check`.

use serde_json::{Map, Value, json};
use toml::de::DeValue;

use crate::pipeline::keys::{
    Choice, Key, Kind, MAX_LIST, MAX_NAME_CHARS, MAX_TABLES, MAX_TEXT_CHARS, Need, of_table,
};
use crate::pipeline::units::{DURATION_UNITS, SIZE_UNITS, show_bytes, show_ms};

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests;

/// The draft it is of.
const DRAFT: &str = "http://json-schema.org/draft-07/schema#";

/// The schema of a whole file.
pub fn schema() -> Value {
    let mut schema = table("");
    schema.insert("$schema".to_owned(), DRAFT.into());
    schema.insert("title".to_owned(), "Slackwater pipeline".into());
    Value::Object(schema)
}

fn supported(path: &str) -> impl Iterator<Item = &'static Key> {
    of_table(path).filter(|key| key.supported)
}

fn words(choices: &'static [Choice]) -> impl Iterator<Item = &'static str> {
    let choices = choices.iter().filter(|choice| choice.supported);
    choices.map(|choice| choice.name)
}

/// What a table may have, and must have.
fn table(path: &str) -> Map<String, Value> {
    let keys = supported(path);
    let properties: Map<_, _> = keys
        .map(|key| (key.name().to_owned(), value(key)))
        .collect();
    let needed = supported(path).filter(|key| key.need == Need::Always);
    let needed: Vec<_> = needed.map(Key::name).collect();
    let mut table = Map::new();
    table.insert("type".to_owned(), "object".into());
    table.insert("properties".to_owned(), properties.into());
    table.insert("additionalProperties".to_owned(), false.into());
    if !needed.is_empty() {
        table.insert("required".to_owned(), needed.into());
    }
    let mut conditions = conditions(path);
    conditions.extend(supported(path).flat_map(beside));
    if !conditions.is_empty() {
        table.insert("allOf".to_owned(), conditions.into());
    }
    table
}

/// Which keys go with each word of the key that selects others.
fn conditions(path: &str) -> Vec<Value> {
    let selecting = supported(path).find(|key| key.selects);
    let Some((selecting, Kind::Choice(choices))) = selecting.map(|key| (key, key.kind)) else {
        return Vec::new();
    };
    let condition = |word: &'static str| {
        let needed = |key: &&Key| matches!(key.need, Need::For(words) if words.contains(&word));
        let needed: Vec<_> = supported(path).filter(needed).map(Key::name).collect();
        let leaves = |key: &&Key| !key.only.is_empty() && !key.only.contains(&word);
        let left = supported(path).filter(leaves);
        let left: Map<_, _> = left
            .map(|key| (key.name().to_owned(), false.into()))
            .collect();
        let mut selected = json!({ "properties": { selecting.name(): { "const": word } } });
        // Where it is left out, its default is selected.
        if selecting.default.and_then(parsed) != Some(word.into())
            && let Some(selected) = selected.as_object_mut()
        {
            selected.insert("required".to_owned(), json!([selecting.name()]));
        }
        json!({ "if": selected, "then": { "required": needed, "properties": left } })
    };
    words(choices).map(condition).collect()
}

/// What a key says of whether another one of its table is there.
fn beside(key: &Key) -> Vec<Value> {
    let name = key.name();
    let mut said = Vec::new();
    if let Some(other) = key.instead_of {
        said.push(json!({ "not": { "required": [name, other] } }));
    }
    match key.need {
        Need::With(other) => said.push(json!({ "dependencies": { other: [name] } })),
        Need::Unless(other) => {
            said.push(json!({ "anyOf": [{ "required": [name] }, { "required": [other] }] }));
        }
        Need::Optional | Need::Always | Need::For(_) => {}
    }
    said
}

/// What a key takes, and what it is.
fn value(key: &Key) -> Value {
    let (mut value, bounds) = kind(key);
    value.insert(
        "description".to_owned(),
        format!("{}{bounds}", key.doc).into(),
    );
    if let Some(default) = key.default.and_then(parsed) {
        value.insert("default".to_owned(), default);
    }
    Value::Object(value)
}

/// What a key takes, and what of that a person has to be told.
fn kind(key: &Key) -> (Map<String, Value>, String) {
    let mut told = String::new();
    let value = match key.kind {
        Kind::Text | Kind::Expression => text(),
        Kind::Name => json!({
            "type": "string",
            "pattern": "^[A-Za-z0-9_-][A-Za-z0-9_.-]*$",
            "maxLength": MAX_NAME_CHARS,
        }),
        Kind::Integer(least, most) if most == i64::MAX => {
            json!({ "type": "integer", "minimum": least })
        }
        Kind::Integer(least, most) => {
            json!({ "type": "integer", "minimum": least, "maximum": most })
        }
        Kind::Float(least, _) if least == f64::MIN => json!({ "type": "number" }),
        Kind::Float(least, most) => json!({ "type": "number", "minimum": least, "maximum": most }),
        Kind::Bool => json!({ "type": "boolean" }),
        Kind::Duration(least, most) => {
            told = format!(" From {} to {}.", show_ms(least), show_ms(most));
            json!({ "type": "string", "pattern": with_unit(DURATION_UNITS) })
        }
        Kind::Size(least, most) => {
            told = format!(" From {} to {}.", show_bytes(least), show_bytes(most));
            json!({ "anyOf": [
                { "type": "string", "pattern": with_unit(SIZE_UNITS) },
                { "type": "integer", "minimum": least, "maximum": most },
            ] })
        }
        Kind::Choice(choices) => json!({ "enum": words(choices).collect::<Vec<_>>() }),
        Kind::Texts => json!({ "type": "array", "items": text(), "maxItems": MAX_LIST }),
        Kind::Literals => literals(),
        Kind::Literal => json!({ "type": ["string", "number", "boolean", "array"] }),
        Kind::Where => conditions_of_fields(),
        Kind::Table => {
            let mut table = table(key.path);
            if let Some(word) = key.word {
                // What is said of tables does not hold for texts, and the reverse.
                table.insert("type".to_owned(), json!(["object", "string"]));
                table.insert("pattern".to_owned(), format!("^{word}$").into());
            }
            Value::Object(table)
        }
        Kind::Tables => {
            let least = usize::from(key.is_never_empty());
            let items = table(key.path);
            json!({ "type": "array", "items": items, "minItems": least, "maxItems": MAX_TABLES })
        }
        Kind::Start => json!({ "anyOf": [
            { "enum": ["earliest", "latest"] },
            object_of("timestamp"),
        ] }),
        Kind::Properties => json!({
            "type": "object",
            "additionalProperties": {
                "anyOf": [{ "type": ["string", "number", "boolean"] }, object_of("env"), object_of("file")],
            },
        }),
        Kind::Secret => json!({ "anyOf": [object_of("env"), object_of("file")] }),
        Kind::Other => json!({}),
    };
    match value {
        Value::Object(value) => (value, told),
        _ => (Map::new(), told),
    }
}

fn text() -> Value {
    json!({ "type": "string", "minLength": 1, "maxLength": MAX_TEXT_CHARS })
}

/// What fields are compared with, or an expression.
fn conditions_of_fields() -> Value {
    json!({ "anyOf": [
        {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": { "anyOf": [literal(), literals()] },
        },
        text(),
    ] })
}

/// What a field is compared with.
fn literal() -> Value {
    json!({ "type": ["string", "number", "boolean"] })
}

fn literals() -> Value {
    json!({ "type": "array", "items": literal(), "minItems": 1, "maxItems": MAX_LIST })
}

/// A table with one string and nothing else.
fn object_of(name: &str) -> Value {
    json!({
        "type": "object",
        "properties": { name: { "type": "string" } },
        "required": [name],
        "additionalProperties": false,
    })
}

/// A whole number with one of these units.
fn with_unit(units: &[(&str, u64)]) -> String {
    let names: Vec<_> = units.iter().map(|(name, _)| *name).collect();
    format!("^[0-9]+({})$", names.join("|"))
}

/// A default as JSON; what is no plain value has none.
fn parsed(default: &str) -> Option<Value> {
    match DeValue::parse(default).ok()?.into_inner() {
        DeValue::String(text) => Some(text.as_ref().into()),
        DeValue::Integer(number) => number.as_str().parse::<i64>().ok().map(Into::into),
        DeValue::Float(number) => number.as_str().parse::<f64>().ok().map(Into::into),
        DeValue::Boolean(value) => Some(value.into()),
        DeValue::Array(list) if list.is_empty() => Some(json!([])),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}
