//! Writes JSON values into the bytes of a record.

use std::fmt::Display;

use crate::batch::{Cell, Rows};
use crate::key::KeyPart;

/// A text that may hold anything.
pub(super) fn text(out: &mut Vec<u8>, text: &str) {
    // Writing into a vector cannot fail, and a text has no key that is not one.
    let written = serde_json::to_writer(out, text);
    debug_assert!(written.is_ok());
}

/// A text as the record had it: its bytes need no escapes.
fn plain(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    out.extend_from_slice(text);
    out.push(b'"');
}

/// A whole number.
pub(super) fn int(out: &mut Vec<u8>, value: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// A finite number, with the fewest digits that name it.
pub(super) fn float(out: &mut Vec<u8>, value: impl zmij::Float) {
    out.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes());
}

/// The value of a field.
pub(super) fn cell(out: &mut Vec<u8>, rows: &Rows, cell: Cell) {
    match cell {
        Cell::Null => out.extend_from_slice(b"null"),
        Cell::Text { span, plain: true } => plain(out, rows.bytes(span)),
        // Texts of a batch are UTF-8: the scanner has checked the whole record.
        Cell::Text { span, plain: false } => {
            text(out, str::from_utf8(rows.bytes(span)).unwrap_or_default());
        }
        Cell::Int(value) => int(out, value),
        Cell::Float(value) => float(out, value),
        Cell::Bool(value) => out.extend_from_slice(if value { b"true" } else { b"false" }),
        Cell::List { span, .. } => compact(out, rows.bytes(span)),
    }
}

/// JSON without the white space between its tokens: numbers and texts stay as they were written.
pub(super) fn compact(out: &mut Vec<u8>, json: &[u8]) {
    let (mut in_text, mut escaped) = (false, false);
    for &byte in json {
        if in_text {
            out.push(byte);
            in_text = byte != b'"' || escaped;
            escaped = byte == b'\\' && !escaped;
        } else if !byte.is_ascii_whitespace() {
            out.push(byte);
            in_text = byte == b'"';
        }
    }
}

/// Bytes in hexadecimal, as a text.
pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// One field of a key.
pub(super) fn key_part(out: &mut Vec<u8>, part: &KeyPart<'_>) {
    match part {
        KeyPart::Text(value) => text(out, value),
        KeyPart::Int(value) => int(out, *value),
        KeyPart::Bool(value) => out.extend_from_slice(value.to_string().as_bytes()),
    }
}

/// A key of several fields as a list: joined by a character, different keys could look the same.
pub(super) fn key_parts(out: &mut Vec<u8>, parts: &[KeyPart<'_>]) {
    out.push(b'[');
    for (at, part) in parts.iter().enumerate() {
        out.extend_from_slice(if at > 0 { b"," } else { b"" });
        key_part(out, part);
    }
    out.push(b']');
}

/// `"name":` with what stands before it, prepared once.
pub(super) fn key(before: &str, name: impl Display) -> Vec<u8> {
    let mut bytes = before.as_bytes().to_vec();
    text(&mut bytes, &name.to_string());
    bytes.push(b':');
    bytes
}

#[cfg(test)]
mod tests {
    use crate::encode::json::compact;

    #[test]
    fn nested_values_lose_white_space_only() {
        let check = |json: &str, expected: &str| {
            let mut out = Vec::new();
            compact(&mut out, json.as_bytes());
            assert_eq!(String::from_utf8_lossy(&out), expected);
        };
        check("[ 1.50 ,\n\t{ } ]", "[1.50,{}]");
        check(
            r#"{ "a b" : "c \" d\\" , "e":" " }"#,
            r#"{"a b":"c \" d\\","e":" "}"#,
        );
    }
}
