//! The parts of which every object and array is made: white space, keys, and the values that are
//! neither object nor array.

use crate::json::number::scan_number;
use crate::json::outcome::{Malformed, Value, expected, not_json, position};
use crate::json::text::scan_text;

/// Where a key ends.
pub(super) struct Key {
    /// The closing quote.
    pub(super) end: usize,
    /// Its name takes unescaping.
    pub(super) escaped: bool,
    pub(super) after_colon: usize,
}

/// A key, from its opening quote at `at`, and its colon.
#[inline]
pub(super) fn skip_key(record: &[u8], at: usize) -> Result<Key, Malformed> {
    if record.get(at) != Some(&b'"') {
        return Err(expected("expected a field name", record, at));
    }
    let (end, escaped) = scan_text(record, at + 1)?;
    let colon = skip_space(record, end + 1);
    if record.get(colon) != Some(&b':') {
        return Err(expected("expected `:`", record, colon));
    }
    Ok(Key {
        end,
        escaped,
        after_colon: colon + 1,
    })
}

/// One value that is neither object nor array. Inlined by force: handed back through memory, its parts
/// would be read as a whole right after they were written one by one, and the processor would wait.
#[inline(always)]
pub(super) fn scan_scalar(record: &[u8], at: usize) -> Result<(Value, usize), Malformed> {
    match record.get(at) {
        Some(b'"') => {
            let start = at + 1;
            let (end, escaped) = scan_text(record, start)?;
            let len = position(end - start);
            Ok((
                Value::Text {
                    start: position(start),
                    len,
                    escaped,
                },
                end + 1,
            ))
        }
        Some(b'-' | b'0'..=b'9') => {
            let (end, integer) = scan_number(record, at)?;
            let len = position(end - at);
            Ok((
                Value::Number {
                    start: position(at),
                    len,
                    integer,
                },
                end,
            ))
        }
        Some(b't') => literal(record, at, b"true", Value::True),
        Some(b'f') => literal(record, at, b"false", Value::False),
        Some(b'n') => literal(record, at, b"null", Value::Null),
        _ => Err(expected("expected a value", record, at)),
    }
}

/// `true`, `false` or `null`.
#[inline]
fn literal(
    record: &[u8],
    at: usize,
    word: &[u8],
    value: Value,
) -> Result<(Value, usize), Malformed> {
    let rest = record.get(at..).unwrap_or_default();
    if rest.starts_with(word) {
        Ok((value, at + word.len()))
    } else if word.starts_with(rest) {
        Err(not_json("unexpected end", record.len()))
    } else {
        Err(not_json("expected a value", at))
    }
}

/// Only white space may follow the record's value.
#[inline]
pub(super) fn check_end(record: &[u8], end: usize) -> Result<(), Malformed> {
    let at = skip_space(record, end);
    if at < record.len() {
        return Err(not_json("unexpected bytes after the value", at));
    }
    Ok(())
}

/// The position of the first byte from `at` on that is not JSON's white space.
#[inline(always)]
pub(super) fn skip_space(record: &[u8], at: usize) -> usize {
    match record.get(at) {
        Some(0..=b' ') => skip_more_space(record, at),
        _ => at,
    }
}

/// `skip_space` where there probably is some: one space is by far the usual amount.
#[inline]
fn skip_more_space(record: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\t' | b'\n' | b'\r') = record.get(at) {
        at += 1;
    }
    at
}
