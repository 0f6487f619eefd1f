//! One declared field: its type, where it lies, and what it is when it is not there.

use slackwater_operators::event::DefaultValue;

use crate::pipeline::mistakes::Findings;
use crate::pipeline::read::Section;
use crate::pipeline::spec::{FieldKind, Literal};
use crate::pipeline::value::{Located, Value, quoted, show_literal};

/// How the file writes a type.
pub(super) fn type_name(kind: FieldKind) -> &'static str {
    match kind {
        FieldKind::String => "string",
        FieldKind::Int => "int",
        FieldKind::Float => "float",
        FieldKind::Bool => "bool",
        FieldKind::Floats => "list<float>",
        FieldKind::Strings => "list<string>",
    }
}

/// The type of a field, when it could be read.
pub(super) fn kind(section: &Section) -> Option<FieldKind> {
    match section.text("type")?.value {
        "string" => Some(FieldKind::String),
        "int" => Some(FieldKind::Int),
        "float" => Some(FieldKind::Float),
        "bool" => Some(FieldKind::Bool),
        "list<float>" => Some(FieldKind::Floats),
        "list<string>" => Some(FieldKind::Strings),
        _ => None,
    }
}

/// The keys that lead to a field of this name, and where the file says so.
pub(super) fn path(
    section: &Section,
    name: &Located<&str>,
    findings: &mut Findings,
) -> Located<Vec<String>> {
    let Some(written) = section.text("path") else {
        return Located {
            at: name.at,
            value: vec![name.value.to_owned()],
        };
    };
    let keys: Vec<String> = written.value.split('.').map(str::to_owned).collect();
    if keys.iter().any(String::is_empty) {
        let shown = quoted(written.value);
        let message =
            format!("`path`: expected keys with dots between them, as in \"a.b.c\", got {shown}");
        findings.add(written.at, message);
    }
    Located {
        at: written.at,
        value: keys,
    }
}

/// Whether an event without the field is rejected, when it could be read.
pub(super) fn required(section: &Section, findings: &mut Findings) -> Option<bool> {
    let required = section.boolean("required");
    if !section.is_meant("default") {
        return required;
    }
    if required == Some(true)
        && section.is_meant("required")
        && let Some((at, _)) = section.get("required")
    {
        let message =
            "`required`: a field with a `default` is never missing: leave one of them out";
        findings.add(at, message);
    }
    Some(false)
}

/// What the field is when it is not there; none if the file does not say, or says what is wrong.
pub(super) fn default(
    section: &Section,
    kind: FieldKind,
    findings: &mut Findings,
) -> Option<DefaultValue> {
    let (at, value) = section.get("default")?;
    let element = match kind {
        FieldKind::Floats => Some(FieldKind::Float),
        FieldKind::Strings => Some(FieldKind::String),
        _ => None,
    };
    let wrong = |got: &str| {
        format!(
            "`default`: the field is of type {}, got {got}",
            type_name(kind)
        )
    };
    match (value, element) {
        (Value::Literals(list), Some(element)) => {
            let values: Result<Vec<_>, _> = list.iter().map(|it| fitting(it, element)).collect();
            match values {
                Ok(values) => return Some(DefaultValue::List(json(&values))),
                Err(element) => findings.add(element.at, wrong(&show_literal(&element.value))),
            }
        }
        (Value::Literal(literal), None) => match fitting(literal, kind) {
            Ok(value) => return Some(value),
            Err(literal) => findings.add(literal.at, wrong(&show_literal(&literal.value))),
        },
        (Value::Literal(literal), Some(_)) => {
            findings.add(at, wrong(&show_literal(&literal.value)));
        }
        _ => findings.add(at, wrong("a list")),
    }
    None
}

/// A literal as a value of a type that is no list; the literal if it is none.
fn fitting(literal: &Located<Literal>, kind: FieldKind) -> Result<DefaultValue, Located<Literal>> {
    match (kind, &literal.value) {
        (FieldKind::String, Literal::Text(text)) => Ok(DefaultValue::Text(text.clone())),
        (FieldKind::Int, Literal::Int(value)) => Ok(DefaultValue::Int(*value)),
        (FieldKind::Float, Literal::Float(value)) => Ok(DefaultValue::Float(*value)),
        #[expect(clippy::cast_precision_loss, reason = "a float field rounds alike")]
        (FieldKind::Float, Literal::Int(value)) => Ok(DefaultValue::Float(*value as f64)),
        (FieldKind::Bool, Literal::Bool(value)) => Ok(DefaultValue::Bool(*value)),
        _ => Err(literal.clone()),
    }
}

/// A list as events have it.
fn json(values: &[DefaultValue]) -> String {
    let value = |value: &DefaultValue| match value {
        DefaultValue::Text(text) => serde_json::Value::from(text.as_str()),
        DefaultValue::Float(number) => serde_json::Value::from(*number),
        // Lists have no other elements.
        DefaultValue::Int(_) | DefaultValue::Bool(_) | DefaultValue::List(_) => {
            serde_json::Value::Null
        }
    };
    serde_json::Value::from_iter(values.iter().map(value)).to_string()
}
