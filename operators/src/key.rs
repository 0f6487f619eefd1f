//! Canonical key bytes: the identity of a key for ever, in memory, in hashes and in checkpoints.
//!
//! Per key field, in the order of the pipeline file: a type tag (1 byte), the length of what follows
//! (u32, little-endian), and the canonical bytes of the value.

use slackwater_dataflow::place::KeyHash;

use crate::batch::{Cell, Row, Rows, content};
use crate::event::FieldIndex;

/// Tag of text; its canonical bytes are its UTF-8 bytes, without escapes.
const TAG_TEXT: u8 = 1;
/// Tag of an integer; its canonical bytes are those of the i64, little-endian.
const TAG_INT: u8 = 2;
/// Tag of a truth value; its canonical byte is 0 or 1.
const TAG_BOOL: u8 = 3;

/// Writes keys, one after the other, into a buffer that it keeps.
#[derive(Debug)]
pub struct KeyWriter {
    fields: Vec<FieldIndex>,
    bytes: Vec<u8>,
}

impl KeyWriter {
    /// A writer of keys made of `fields`.
    pub fn new(fields: Vec<FieldIndex>) -> Self {
        KeyWriter {
            fields,
            bytes: Vec::new(),
        }
    }

    /// The key of an event and its hash. Texts lie in `record` if plain, else in `scratch`.
    pub fn write(&mut self, cells: &[Cell], record: &[u8], scratch: &[u8]) -> (&[u8], KeyHash) {
        self.bytes.clear();
        for field in &self.fields {
            match cells.get(field.0).copied().unwrap_or_default() {
                cell @ Cell::Text { span, .. } => {
                    part(
                        &mut self.bytes,
                        TAG_TEXT,
                        content(cell, span, record, scratch),
                    );
                }
                Cell::Int(value) => part(&mut self.bytes, TAG_INT, &value.to_le_bytes()),
                Cell::Bool(value) => part(&mut self.bytes, TAG_BOOL, &[u8::from(value)]),
                // The pipeline file is refused unless key fields are required and of these types.
                Cell::Null | Cell::Float(_) => {}
            }
        }
        (&self.bytes, KeyHash::of(&self.bytes))
    }
}

impl KeyWriter {
    /// The key of a row of a batch, if none of its fields is null.
    pub(crate) fn write_row(&mut self, rows: &Rows, row: &Row) -> Option<(&[u8], KeyHash)> {
        self.bytes.clear();
        for &field in &self.fields {
            match rows.cell(row, field) {
                Cell::Text { span, .. } => part(&mut self.bytes, TAG_TEXT, rows.bytes(span)),
                Cell::Int(value) => part(&mut self.bytes, TAG_INT, &value.to_le_bytes()),
                Cell::Bool(value) => part(&mut self.bytes, TAG_BOOL, &[u8::from(value)]),
                Cell::Null | Cell::Float(_) => return None,
            }
        }
        Some((&self.bytes, KeyHash::of(&self.bytes)))
    }
}

fn part(key: &mut Vec<u8>, tag: u8, value: &[u8]) {
    key.push(tag);
    key.extend_from_slice(&(value.len() as u32).to_le_bytes());
    key.extend_from_slice(value);
}

/// The value of one field of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyPart<'k> {
    /// Text.
    Text(&'k str),
    /// An integer.
    Int(i64),
    /// A truth value.
    Bool(bool),
}

/// Reads back what [`KeyWriter`] wrote, field by field.
pub fn parts(key: &[u8]) -> Vec<KeyPart<'_>> {
    let mut parts = Vec::new();
    let mut rest = key;
    while let Some((&[tag, a, b, c, d], after)) = rest.split_first_chunk::<5>() {
        let len = (u32::from_le_bytes([a, b, c, d]) as usize).min(after.len());
        let (value, next) = after.split_at(len);
        parts.push(match (tag, value) {
            (TAG_INT, &[a, b, c, d, e, f, g, h]) => {
                KeyPart::Int(i64::from_le_bytes([a, b, c, d, e, f, g, h]))
            }
            (TAG_BOOL, &[value]) => KeyPart::Bool(value != 0),
            // Texts of keys come out of records that were checked to be UTF-8.
            _ => KeyPart::Text(str::from_utf8(value).unwrap_or_default()),
        });
        rest = next;
    }
    parts
}

#[cfg(test)]
mod tests {
    use slackwater_dataflow::place::KeyHash;

    use crate::batch::{Cell, Span};
    use crate::event::FieldIndex;
    use crate::key::{KeyPart, KeyWriter, parts};

    /// The bytes are part of the checkpoint format: these must never change.
    #[test]
    fn keys_are_written_as_documented() {
        let check = |cells: &[Cell], expected: &[u8], read: &[KeyPart<'_>]| {
            let mut writer = KeyWriter::new((0..cells.len()).map(FieldIndex).collect());
            let (key, hash) = writer.write(cells, b"{anna}", b"o\"k");
            assert_eq!(key, expected);
            assert_eq!(hash, KeyHash::of(expected));
            assert_eq!(parts(key), read);
        };
        let anna = Cell::Text {
            span: Span { start: 1, len: 4 },
            plain: true,
        };
        let escaped = Cell::Text {
            span: Span { start: 0, len: 3 },
            plain: false,
        };
        check(&[anna], b"\x01\x04\0\0\0anna", &[KeyPart::Text("anna")]);
        check(
            &[escaped, Cell::Bool(true)],
            b"\x01\x03\0\0\0o\"k\x03\x01\0\0\0\x01",
            &[KeyPart::Text("o\"k"), KeyPart::Bool(true)],
        );
        check(
            &[Cell::Int(-2)],
            b"\x02\x08\0\0\0\xfe\xff\xff\xff\xff\xff\xff\xff",
            &[KeyPart::Int(-2)],
        );
    }
}
