//! The race that keeps the scanner honest: any bytes at all, judged by the scanner and by a slow,
//! obvious reference built on `serde_json`. The property tests, the stored corpus and the fuzz
//! target `decode` all run this one function.

use std::str::from_utf8;

use serde_json::{Map, Value as Reference};

use crate::json::{
    Elements, Malformed, Obstacle, PathScanner, Scanner, Schema, Value, parse_f64, parse_i64,
    unescape,
};

/// Below `serde_json`'s own limit of 128 levels, so that the reference never meets its own; above
/// the 64 levels that the scanner keeps in one word.
const MAX_DEPTH: u32 = 100;

/// Most paths that are asked for of one record: enough for all but the largest ones.
const MAX_PATHS: usize = 64;

/// What the reference says of a record.
enum Verdict {
    NotUtf8(usize),
    TooDeep(usize),
    NotJson,
    NotObject(&'static str),
    Object(Map<String, Reference>),
}

/// Panics unless the scanner and the reference agree about `record`.
pub(crate) fn race(record: &[u8]) {
    match judge(record) {
        Verdict::NotUtf8(at) => check_refused(record, |found| found == Malformed::NotUtf8 { at }),
        Verdict::TooDeep(at) => check_refused(record, |found| found == Malformed::TooDeep { at }),
        Verdict::NotObject(kind) => {
            check_refused(record, |found| found == Malformed::NotObject { kind });
        }
        Verdict::NotJson => check_refused(
            record,
            |found| matches!(found, Malformed::NotJson { at, .. } if at <= record.len()),
        ),
        Verdict::Object(object) => {
            check_fields(record, &object);
            check_paths(record, &object);
        }
    }
}

fn judge(record: &[u8]) -> Verdict {
    if let Err(error) = from_utf8(record) {
        return Verdict::NotUtf8(error.valid_up_to());
    }
    if let Some(at) = too_deep(record) {
        return Verdict::TooDeep(at);
    }
    match serde_json::from_slice(record) {
        Err(_) => Verdict::NotJson,
        Ok(Reference::Array(_)) => Verdict::NotObject("array"),
        Ok(Reference::String(_)) => Verdict::NotObject("string"),
        Ok(Reference::Number(_)) => Verdict::NotObject("number"),
        Ok(Reference::Bool(_)) => Verdict::NotObject("boolean"),
        Ok(Reference::Null) => Verdict::NotObject("null"),
        Ok(Reference::Object(object)) => Verdict::Object(object),
    }
}

/// The bracket that opens a level too many, byte by byte.
fn too_deep(record: &[u8]) -> Option<usize> {
    let (mut open, mut in_string, mut escaped) = (0, false, false);
    for (at, &byte) in record.iter().enumerate() {
        if in_string {
            if escaped {
                escaped = false;
            } else if byte == b'\\' {
                escaped = true;
            } else if byte == b'"' {
                in_string = false;
            }
        } else if byte == b'"' {
            in_string = true;
        } else if byte == b'{' || byte == b'[' {
            open += 1;
            if open > MAX_DEPTH {
                return Some(at);
            }
        } else if (byte == b'}' || byte == b']') && open > 0 {
            open -= 1;
        }
    }
    None
}

fn check_refused(record: &[u8], right: impl Fn(Malformed) -> bool) {
    let schema = Schema::new(&["user_id", "a", ""]);
    let mut values = vec![Value::True; schema.len()];
    let found = Scanner::new(schema)
        .scan(record, MAX_DEPTH, &mut values)
        .err();
    assert!(
        found.is_some_and(right),
        "{found:?} is the wrong verdict on {record:?}"
    );
}

/// Asks for every key of the record and for some that it may not have, in two orders, and scans
/// twice: what the scanner has learnt from the first time must not show.
fn check_fields(record: &[u8], object: &Map<String, Reference>) {
    let mut names: Vec<&str> = object.keys().map(String::as_str).collect();
    let others = ["user_id", "a", "", "a\"b", "a\\nb"];
    names.extend(others.iter().filter(|other| !object.contains_key(**other)));
    for _ in 0..2 {
        let mut scanner = Scanner::new(Schema::new(&names));
        for _ in 0..2 {
            let mut values = vec![Value::True; names.len()];
            let result = scanner.scan(record, MAX_DEPTH, &mut values);
            assert_eq!(result, Ok(()), "the reference accepts {record:?}");
            for (name, value) in names.iter().zip(&values) {
                check_value(record, name, value, object.get(*name));
            }
        }
        names.reverse();
    }
}

/// Asks for keys of inner objects, as deep as they are, and for keys that are not there, in two orders, and scans twice.
fn check_paths(record: &[u8], object: &Map<String, Reference>) {
    let mut paths = Vec::new();
    add_paths(object, &[], &mut paths);
    for _ in 0..2 {
        let mut scanner = PathScanner::new(&paths);
        for _ in 0..2 {
            let mut values = vec![Value::True; paths.len()];
            let result = scanner.scan(record, MAX_DEPTH, &mut values);
            assert_eq!(result, Ok(()), "the reference accepts {record:?}");
            for (field, (path, value)) in paths.iter().zip(&values).enumerate() {
                let obstacle = scanner.obstacle(field, path);
                match found_at(object, path) {
                    Ok(reference) => {
                        check_value(record, &path.join("."), value, reference);
                        assert_eq!(obstacle, None, "{path:?} in {record:?}");
                    }
                    Err((parts, reference)) => {
                        assert_eq!(*value, Value::Blocked, "{path:?} in {record:?}");
                        assert!(
                            obstacle.is_some_and(|Obstacle { path, .. }| path == parts),
                            "{path:?}"
                        );
                        let found = obstacle.map(|it| it.found).unwrap_or_default();
                        check_value(record, &parts.join("."), &found, Some(reference));
                    }
                }
            }
        }
        paths.reverse();
    }
}

/// The paths to all that is in an object, and past what is in it.
fn add_paths(object: &Map<String, Reference>, above: &[String], paths: &mut Vec<Vec<String>>) {
    for (key, value) in object {
        if paths.len() >= MAX_PATHS {
            return;
        }
        let path = [above, std::slice::from_ref(key)].concat();
        let past = ["a", ""].map(|key| [&path[..], &[key.to_owned()]].concat());
        let far_past = [&past[0][..], &["b".to_owned()]].concat();
        if let Some(inner) = value.as_object() {
            add_paths(inner, &path, paths);
        }
        paths.extend(past);
        paths.extend([far_past, path]);
    }
}

/// What lies at a path; where no object is on the way, the parts that lead there and what it is instead.
fn found_at<'r, 'p>(
    object: &'r Map<String, Reference>,
    path: &'p [String],
) -> Result<Option<&'r Reference>, (&'p [String], &'r Reference)> {
    let mut object = object;
    for (at, part) in path.iter().enumerate() {
        let value = object.get(part);
        if at + 1 == path.len() {
            return Ok(value);
        }
        object = match value {
            None | Some(Reference::Null) => return Ok(None),
            Some(Reference::Object(inner)) => inner,
            Some(other) => return Err((&path[..=at], other)),
        };
    }
    Ok(None)
}

/// The elements of a list, one by one and as numbers and texts.
fn check_elements(list: &[u8], reference: &[Reference]) {
    let elements: Vec<Value> = Elements::of(list).collect();
    assert_eq!(elements.len(), reference.len(), "elements of {list:?}");
    for (at, (element, reference)) in elements.iter().zip(reference).enumerate() {
        check_value(list, &at.to_string(), element, Some(reference));
    }
    let numbers: Vec<f64> = Elements::of(list).numbers().collect();
    let expected: Vec<f64> = reference.iter().filter_map(Reference::as_f64).collect();
    assert_eq!(numbers, expected, "numbers of {list:?}");
    let texts: Vec<_> = Elements::of(list).texts().collect();
    let expected: Vec<&str> = reference.iter().filter_map(Reference::as_str).collect();
    assert_eq!(texts, expected, "texts of {list:?}");
}

fn check_value(record: &[u8], name: &str, value: &Value, reference: Option<&Reference>) {
    let span = value.span(record).unwrap_or_default();
    let same = match (value, reference) {
        (Value::Missing, None)
        | (Value::Null, Some(Reference::Null))
        | (Value::True, Some(Reference::Bool(true)))
        | (Value::False, Some(Reference::Bool(false))) => true,
        (Value::Number { integer, .. }, Some(Reference::Number(number))) => {
            let fraction = span.iter().any(|byte| matches!(byte, b'.' | b'e' | b'E'));
            // The reference holds that -0 is a float; as an integer it is 0.
            let whole = if span == b"-0" {
                Some(0)
            } else {
                number.as_i64()
            };
            let same_float = parse_f64(span).map(f64::to_bits) == number.as_f64().map(f64::to_bits);
            *integer != fraction && same_float && (fraction || parse_i64(span) == whole)
        }
        (Value::Text { escaped, .. }, Some(Reference::String(text))) => {
            let mut meaning = Vec::new();
            unescape(from_utf8(span).unwrap_or("not UTF-8"), &mut meaning);
            meaning == text.as_bytes()
                && *escaped == span.contains(&b'\\')
                && (*escaped || span == text.as_bytes())
        }
        (Value::Composite { .. }, Some(reference)) => {
            if let Some(elements) = reference.as_array() {
                check_elements(span, elements);
            }
            (reference.is_object() || reference.is_array())
                && serde_json::from_slice::<Reference>(span).ok().as_ref() == Some(reference)
        }
        _ => false,
    };
    assert!(
        same,
        "{name:?} is {value:?}, the reference has {reference:?}, in {record:?}"
    );
}
