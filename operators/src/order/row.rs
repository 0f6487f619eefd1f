//! A row as bytes, for the disk and for checkpoints: its numbers, little-endian, then its cells, each a tag and a
//! value, then its bytes. Where it stands is written around it by whoever needs that.

use slackwater_dataflow::fields::Fields;
use slackwater_dataflow::moment::EventTime;
use slackwater_dataflow::place::KeyHash;

use crate::batch::{Cell, NewRow, Row, Rows, Span};
use crate::order::runs::Place;

const TAG_NULL: u8 = 0;
const TAG_PLAIN: u8 = 1;
const TAG_UNESCAPED: u8 = 2;
const TAG_INT: u8 = 3;
const TAG_FLOAT: u8 = 4;
const TAG_BOOL: u8 = 5;

/// Appends a row.
pub(super) fn write(rows: &Rows, row: &Row, out: &mut Vec<u8>) {
    let bytes = rows.bytes_of(row);
    // Every span of a row lies in its bytes, and these begin with the record.
    let base = row.record.start;
    let scratch_len = bytes.len() as u32 - row.record.len - row.key.len;
    out.extend_from_slice(&row.time.0.to_le_bytes());
    out.extend_from_slice(&row.key_hash.0.to_le_bytes());
    for len in [row.record.len, scratch_len, row.key.len] {
        out.extend_from_slice(&len.to_le_bytes());
    }
    for cell in rows.cells(row) {
        let (tag, value) = match cell {
            Cell::Null => (TAG_NULL, 0),
            Cell::Text { span, plain } => {
                let (tag, from) = if plain {
                    (TAG_PLAIN, base)
                } else {
                    (TAG_UNESCAPED, base + row.record.len)
                };
                let start = u64::from(span.start - from);
                (tag, start << 32 | u64::from(span.len))
            }
            Cell::Int(value) => (TAG_INT, value as u64),
            Cell::Float(value) => (TAG_FLOAT, value.to_bits()),
            Cell::Bool(value) => (TAG_BOOL, u64::from(value)),
        };
        out.push(tag);
        out.extend_from_slice(&value.to_le_bytes());
    }
    out.extend_from_slice(bytes);
}

fn cell(tag: u8, value: u64) -> Option<Cell> {
    let text = |plain| Cell::Text {
        span: Span {
            start: (value >> 32) as u32,
            len: value as u32,
        },
        plain,
    };
    Some(match tag {
        TAG_NULL => Cell::Null,
        TAG_PLAIN => text(true),
        TAG_UNESCAPED => text(false),
        TAG_INT => Cell::Int(value as i64),
        TAG_FLOAT => Cell::Float(f64::from_bits(value)),
        TAG_BOOL => Cell::Bool(value != 0),
        _ => return None,
    })
}

/// Reads rows with a fixed number of fields.
pub(super) struct RowReader {
    cells: Vec<Cell>,
    fields: usize,
}

impl RowReader {
    pub(super) fn new(fields: usize) -> Self {
        RowReader {
            cells: Vec::with_capacity(fields),
            fields,
        }
    }

    /// Reads the row that stands at `place` and adds it to `rows`; none if the bytes are no row.
    pub(super) fn read(
        &mut self,
        place: Place,
        reader: &mut Fields<'_>,
        rows: &mut Rows,
    ) -> Option<()> {
        let time = EventTime(reader.i64()?);
        let key_hash = KeyHash(reader.u64()?);
        let (record, scratch, key) = (reader.u32()?, reader.u32()?, reader.u32()?);
        self.cells.clear();
        for _ in 0..self.fields {
            let [tag] = reader.array()?;
            let cell = cell(tag, reader.u64()?)?;
            if let Cell::Text { span, plain } = cell {
                let within = if plain { record } else { scratch };
                span.start
                    .checked_add(span.len)
                    .filter(|&end| end <= within)?;
            }
            self.cells.push(cell);
        }
        rows.push(NewRow {
            partition: place.partition,
            offset: place.offset,
            time,
            order_time: place.time,
            key_hash,
            record: reader.bytes(record)?,
            scratch: reader.bytes(scratch)?,
            key: reader.bytes(key)?,
            cells: &self.cells,
        });
        Some(())
    }
}
