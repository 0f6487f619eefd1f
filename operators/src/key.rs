//! Canonical key bytes: the identity of a key for ever, in memory, in hashes and in checkpoints.
//!
//! Per key field, in the order of the pipeline file: a type tag (1 byte), the length of what follows
//! (u32, little-endian), and the canonical bytes of the value.

use slackwater_dataflow::place::KeyHash;

use crate::batch::{Cell, Row, Rows, Span, content};
use crate::event::FieldIndex;

/// Tag of text; its canonical bytes are its UTF-8 bytes, without escapes.
const TAG_TEXT: u8 = 1;
/// Tag of an integer; its canonical bytes are those of the i64, little-endian.
const TAG_INT: u8 = 2;
/// Tag of a truth value; its canonical byte is 0 or 1.
const TAG_BOOL: u8 = 3;

/// Writes keys, one after the other, into a buffer that it keeps.
#[derive(Clone, Debug)]
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
        self.write_record(cells, record, scratch);
        (&self.bytes, KeyHash::of(&self.bytes))
    }

    /// The same of fields that an event may be without: if one is null, it has no such key.
    pub fn write_if_whole(
        &mut self,
        cells: &[Cell],
        record: &[u8],
        scratch: &[u8],
    ) -> Option<(&[u8], KeyHash)> {
        let is_whole = self.write_record(cells, record, scratch);
        is_whole.then(|| (self.bytes.as_slice(), KeyHash::of(&self.bytes)))
    }

    /// The same of a row, whose own key may be another.
    pub(crate) fn write_row(&mut self, rows: &Rows, row: &Row) -> Option<(&[u8], KeyHash)> {
        let is_whole = self.write_parts(|field| rows.cell(row, field), |_, span| rows.bytes(span));
        is_whole.then(|| (self.bytes.as_slice(), KeyHash::of(&self.bytes)))
    }

    #[inline]
    fn write_record(&mut self, cells: &[Cell], record: &[u8], scratch: &[u8]) -> bool {
        self.write_parts(
            |field| cells.get(field.0).copied().unwrap_or_default(),
            |cell, span| content(cell, span, record, scratch),
        )
    }

    /// Writes the key, text by text as `text` finds it; whether no field is null.
    #[inline]
    fn write_parts<'b>(
        &mut self,
        cell: impl Fn(FieldIndex) -> Cell,
        text: impl Fn(Cell, Span) -> &'b [u8],
    ) -> bool {
        self.bytes.clear();
        let mut is_whole = true;
        for field in &self.fields {
            match cell(*field) {
                cell @ Cell::Text { span, .. } => {
                    part(&mut self.bytes, TAG_TEXT, text(cell, span));
                }
                Cell::Int(value) => part(&mut self.bytes, TAG_INT, &value.to_le_bytes()),
                Cell::Bool(value) => part(&mut self.bytes, TAG_BOOL, &[u8::from(value)]),
                // The pipeline file is refused unless fields of the job's key are required, and no key is made of such numbers.
                Cell::Null | Cell::Float(_) | Cell::List { .. } => is_whole = false,
            }
        }
        is_whole
    }
}

/// By which key rows find their workers: the job's, whose hash they bear, or another one, which is made of their fields. A
/// row without that one goes where its own sends it.
#[derive(Clone, Debug, Default)]
pub struct Route {
    other: Option<KeyWriter>,
}

impl Route {
    /// By the job's key.
    pub fn own() -> Self {
        Route::default()
    }

    /// By a key of these fields.
    pub fn by(fields: Vec<FieldIndex>) -> Self {
        let other = Some(KeyWriter::new(fields));
        Route { other }
    }

    /// The hash that a row goes by.
    pub fn hash(&mut self, rows: &Rows, row: &Row) -> KeyHash {
        let other = self.other.as_mut();
        let other = other.and_then(|other| other.write_row(rows, row));
        other.map_or(row.key_hash, |(_, hash)| hash)
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

/// Tag and value of the first field of a key, and what follows.
fn first_part(key: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, a, b, c, d], after) = key.split_first_chunk::<5>()?;
    let len = (u32::from_le_bytes([a, b, c, d]) as usize).min(after.len());
    let (value, next) = after.split_at(len);
    Some((tag, value, next))
}

/// A key, and what stands behind it, which begins with a byte that no part begins with.
pub(crate) fn without_suffix(bytes: &[u8]) -> (&[u8], &[u8]) {
    let mut rest = bytes;
    while let Some((TAG_TEXT..=TAG_BOOL, _, next)) = first_part(rest) {
        rest = next;
    }
    bytes.split_at(bytes.len() - rest.len())
}

/// Reads back what [`KeyWriter`] wrote, field by field.
pub fn parts(key: &[u8]) -> Vec<KeyPart<'_>> {
    let mut parts = Vec::new();
    let mut rest = key;
    while let Some((tag, value, next)) = first_part(rest) {
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
#[expect(clippy::indexing_slicing, reason = "tests")]
mod tests {
    use slackwater_dataflow::moment::EventTime;
    use slackwater_dataflow::place::{KeyHash, Offset, PartitionId};

    use crate::batch::{Cell, NewRow, Rows, Span};
    use crate::event::FieldIndex;
    use crate::key::{KeyPart, KeyWriter, Route, parts};

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

    /// A record's cells, and those of the row that it has become, which may be moved: the same key.
    #[test]
    fn is_a_row_sent_by_its_fields_and_by_its_own_key_without_them() {
        let (record, scratch) = (b"{anna}", b"o\"k");
        let text = |start, len, plain| Cell::Text {
            span: Span { start, len },
            plain,
        };
        let own = KeyHash(7);
        let check = |cells: [Cell; 2]| {
            let mut rows = Rows::with_capacity(3, 0, 0);
            let new = NewRow {
                partition: PartitionId(0),
                offset: Offset(0),
                time: EventTime(0),
                order_time: EventTime(0),
                key_hash: own,
                key: b"own",
                record,
                origin: &[],
                cells: &cells,
                scratch,
            };
            // The second does not stand at the beginning of its batch.
            rows.push(new);
            rows.push(new);
            let row = rows.rows()[1];
            let fields = vec![FieldIndex(1), FieldIndex(0)];
            let mut writer = KeyWriter::new(fields.clone());
            let of_record = writer.write_if_whole(&cells, record, scratch);
            let of_record = of_record.map(|(key, hash)| (key.to_vec(), hash));
            let of_row = writer.write_row(&rows, &row);
            assert_eq!(of_row.map(|(key, hash)| (key.to_vec(), hash)), of_record);
            let hash = of_record.map(|(_, hash)| hash);
            assert_eq!(Route::by(fields).hash(&rows, &row), hash.unwrap_or(own));
            assert_eq!(Route::own().hash(&rows, &row), own);
            hash
        };
        let (anna, escaped) = (text(1, 4, true), text(0, 3, false));
        let hash = KeyHash::of(b"\x01\x03\0\0\0o\"k\x01\x04\0\0\0anna");
        assert_eq!(check([anna, escaped]), Some(hash));
        assert!(check([Cell::Int(1), Cell::Bool(true)]).is_some());
        assert_eq!(check([anna, Cell::Null]), None);
        assert_eq!(check([Cell::Null, escaped]), None);
    }
}
