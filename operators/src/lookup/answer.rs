//! What an answer of a store means for the fields of a lookup.

use std::sync::Arc;

use serde_json::{Map, Value};
use slackwater_dataflow::lookup::Answer;
use slackwater_dataflow::text::shortened;

use crate::lookup::plan::{Form, Lookup, LookupField, LookupType};

/// What a store is known to have of a key.
#[derive(Clone, Debug, PartialEq)]
pub enum Known {
    /// A value for each field.
    Values(Arc<[f64]>),
    /// Nothing.
    Missing,
    /// Something that can't be used, and why.
    Bad(Arc<str>),
}

impl Known {
    /// Bytes of memory, but for the value itself.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Known::Values(values) => size_of_val(&**values),
            Known::Missing => 0,
            Known::Bad(why) => why.len(),
        }
    }

    /// What an answer means for a lookup.
    pub fn of(answer: Answer, lookup: &Lookup) -> Self {
        let values = match answer {
            Answer::Missing => return Known::Missing,
            Answer::Bad(why) => Err(why),
            Answer::Found(texts) => match lookup.form {
                Form::Texts => of_texts(&texts, &lookup.fields),
                Form::Json => of_json(&texts, &lookup.fields),
            },
        };
        match values {
            // An answer without any of the fields is none, however it lies there.
            Ok(None) => Known::Missing,
            Ok(Some(values)) => Known::Values(values.into()),
            Err(why) => Known::Bad(why.into()),
        }
    }
}

/// Longest part of a value that a message repeats, in characters.
const REPEATED_CHARS: usize = 64;

/// The values of fields; none if there is not one of them.
type Values = Result<Option<Vec<f64>>, String>;

fn of_texts(texts: &[Option<Box<[u8]>>], fields: &[LookupField]) -> Values {
    if texts.iter().all(Option::is_none) {
        return Ok(None);
    }
    let texts = texts.iter().map(Option::as_deref);
    // A store that gives fewer has none of the others.
    let texts = texts.chain(std::iter::repeat(None));
    let value = |(field, text): (&LookupField, Option<&[u8]>)| match text {
        None => Ok(field.default),
        Some(text) => {
            let read = str::from_utf8(text).ok().and_then(|text| field.read(text));
            read.ok_or_else(|| field.refused(&String::from_utf8_lossy(text)))
        }
    };
    let values: Result<_, String> = fields.iter().zip(texts).map(value).collect();
    values.map(Some)
}

fn of_json(texts: &[Option<Box<[u8]>>], fields: &[LookupField]) -> Values {
    let text = texts.first().and_then(Option::as_deref);
    let object: Map<String, Value> = serde_json::from_slice(text.unwrap_or_default())
        .map_err(|error| format!("it is no JSON object: {error}"))?;
    let is_there = |field: &LookupField| object.get(&field.name).is_some_and(|it| !it.is_null());
    if !fields.iter().any(is_there) {
        return Ok(None);
    }
    let value = |field: &LookupField| match object.get(&field.name) {
        None | Some(Value::Null) => Ok(field.default),
        Some(value) => {
            let read = match (field.kind, value) {
                (LookupType::Bool, Value::Bool(value)) => Some(f64::from(*value)),
                (LookupType::Int, Value::Number(number)) => number.as_i64().map(|it| it as f64),
                (LookupType::Float, Value::Number(number)) => number.as_f64(),
                _ => None,
            };
            read.ok_or_else(|| field.refused(&value.to_string()))
        }
    };
    let values: Result<_, String> = fields.iter().map(value).collect();
    values.map(Some)
}

impl LookupField {
    fn read(&self, text: &str) -> Option<f64> {
        match self.kind {
            LookupType::Float => text.parse().ok().filter(|number: &f64| number.is_finite()),
            LookupType::Int => text.parse().ok().map(|number: i64| number as f64),
            LookupType::Bool => match text {
                "true" | "1" => Some(1.0),
                "false" | "0" => Some(0.0),
                _ => None,
            },
        }
    }

    fn refused(&self, text: &str) -> String {
        let kind = match self.kind {
            LookupType::Float => "a number",
            LookupType::Int => "an integer",
            LookupType::Bool => "a truth value",
        };
        let shown = shortened(text, REPEATED_CHARS);
        format!("`{}` must be {kind}, got {shown:?}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use slackwater_dataflow::lookup::Answer;

    use super::Known;
    use crate::lookup::plan::{
        Form, KeyTemplate, Lookup, LookupField, LookupType, OnError, OnMiss,
    };

    fn lookup(form: Form) -> Lookup {
        let field = |name: &str, kind, default| LookupField {
            name: name.to_owned(),
            kind,
            default,
        };
        Lookup {
            name: "profile".to_owned(),
            key: KeyTemplate::default(),
            form,
            fields: vec![
                field("weight", LookupType::Float, 1.5),
                field("age", LookupType::Int, -1.0),
                field("member", LookupType::Bool, 0.0),
            ],
            columns: Vec::new(),
            timeout: Duration::ZERO,
            connect_timeout: Duration::ZERO,
            on_miss: OnMiss::Default,
            on_error: OnError::Default,
            in_flight: 1,
            cache: None,
        }
    }

    fn known(form: Form, texts: &[Option<&str>]) -> Known {
        let texts = texts
            .iter()
            .map(|text| text.map(|text| Box::from(text.as_bytes())));
        Known::of(Answer::Found(texts.collect()), &lookup(form))
    }

    #[test]
    fn what_do_texts_mean() {
        let check = |texts: &[Option<&str>], expected: [f64; 3]| {
            let expected = Known::Values(expected.into());
            assert_eq!(known(Form::Texts, texts), expected, "{texts:?}");
        };
        check(&[Some("2.5"), Some("-7"), Some("true")], [2.5, -7.0, 1.0]);
        check(&[Some("1e3"), Some("0"), Some("0")], [1000.0, 0.0, 0.0]);
        check(&[None, Some("3"), None], [1.5, 3.0, 0.0]);
        check(&[Some("2")], [2.0, -1.0, 0.0]);
    }

    #[test]
    fn what_does_json_mean() {
        let check = |text: &str, expected: [f64; 3]| {
            let expected = Known::Values(expected.into());
            assert_eq!(known(Form::Json, &[Some(text)]), expected, "{text}");
        };
        check(
            r#"{"weight":2,"age":7,"member":true,"more":[]}"#,
            [2.0, 7.0, 1.0],
        );
        check(r#"{"weight":null,"age":7}"#, [1.5, 7.0, 0.0]);
        for nothing in ["{}", r#"{"weight":null}"#, r#"{"more":1}"#] {
            assert_eq!(
                known(Form::Json, &[Some(nothing)]),
                Known::Missing,
                "{nothing}"
            );
        }
    }

    #[test]
    fn what_cannot_be_used() {
        let check = |form, text: &str, expected: &str| {
            let Known::Bad(found) = known(form, &[Some(text)]) else {
                unreachable!("{text} was taken");
            };
            assert!(found.starts_with(expected), "{found}");
        };
        check(
            Form::Texts,
            "heavy",
            "`weight` must be a number, got \"heavy\"",
        );
        check(Form::Texts, "NaN", "`weight` must be a number, got \"NaN\"");
        check(Form::Texts, "inf", "`weight` must be a number");
        check(
            Form::Texts,
            &"9".repeat(400),
            "`weight` must be a number, got \"999",
        );
        check(Form::Json, "[1]", "it is no JSON object: ");
        check(
            Form::Json,
            r#"{"age":1.5}"#,
            "`age` must be an integer, got \"1.5\"",
        );
        check(
            Form::Json,
            r#"{"member":"yes"}"#,
            "`member` must be a truth value, got \"\\\"yes\\\"\"",
        );
    }

    #[test]
    fn is_what_a_store_refuses_bad_and_what_it_has_not_missing() {
        let of = |answer| Known::of(answer, &lookup(Form::Texts));
        assert_eq!(of(Answer::Missing), Known::Missing);
        let bad = Answer::Bad("WRONGTYPE".to_owned());
        assert_eq!(of(bad), Known::Bad("WRONGTYPE".into()));
    }
}
