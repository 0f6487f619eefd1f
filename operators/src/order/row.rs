//! A row as bytes, for the disk and for checkpoints: its numbers, little-endian, then its cells, each a tag and a
//! value, then its bytes. Where it stands is written around it by whoever needs that. If the record's origin is kept, it
//! stands behind the record, and a bit of a length says so.

use slackwater_dataflow::fields::Fields;
use slackwater_dataflow::moment::EventTime;
use slackwater_dataflow::place::KeyHash;

use crate::batch::{Cell, NewRow, Row, RowShape, Rows, Span};
use crate::order::runs::Place;
use crate::origin;

const TAG_NULL: u8 = 0;
const TAG_PLAIN: u8 = 1;
const TAG_UNESCAPED: u8 = 2;
const TAG_INT: u8 = 3;
const TAG_FLOAT: u8 = 4;
const TAG_BOOL: u8 = 5;
const TAG_LIST: u8 = 6;
const TAG_DEFAULT_LIST: u8 = 7;

/// In the length of the unescaped texts: an origin stands before them. Rows are far shorter.
const HAS_ORIGIN: u32 = 1 << 31;

/// Appends a row.
pub(super) fn write(rows: &Rows, row: &Row, out: &mut Vec<u8>) {
    let bytes = rows.bytes_of(row);
    // Every span of a row lies in its bytes, and these begin with the record.
    let base = row.record.start;
    let origin_len = rows.origin_of(row).len() as u32;
    let scratch_len = bytes.len() as u32 - row.record.len - origin_len - row.key.len;
    let has_origin = if origin_len > 0 { HAS_ORIGIN } else { 0 };
    out.extend_from_slice(&row.time.0.to_le_bytes());
    out.extend_from_slice(&row.key_hash.0.to_le_bytes());
    for len in [row.record.len, scratch_len | has_origin, row.key.len] {
        out.extend_from_slice(&len.to_le_bytes());
    }
    let scratch = base + row.record.len + origin_len;
    let spanned = |tag, span: Span, from| {
        let start = u64::from(span.start - from);
        (tag, start << 32 | u64::from(span.len))
    };
    for cell in rows.cells(row) {
        let (tag, value) = match cell {
            Cell::Null => (TAG_NULL, 0),
            Cell::Text { span, plain: true } => spanned(TAG_PLAIN, span, base),
            Cell::Text { span, plain: false } => spanned(TAG_UNESCAPED, span, scratch),
            Cell::List {
                span,
                in_record: true,
            } => spanned(TAG_LIST, span, base),
            Cell::List {
                span,
                in_record: false,
            } => spanned(TAG_DEFAULT_LIST, span, scratch),
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
    let span = Span {
        start: (value >> 32) as u32,
        len: value as u32,
    };
    let text = |plain| Cell::Text { span, plain };
    let list = |in_record| Cell::List { span, in_record };
    Some(match tag {
        TAG_NULL => Cell::Null,
        TAG_PLAIN => text(true),
        TAG_UNESCAPED => text(false),
        TAG_INT => Cell::Int(value as i64),
        TAG_FLOAT => Cell::Float(f64::from_bits(value)),
        TAG_BOOL => Cell::Bool(value != 0),
        TAG_LIST => list(true),
        TAG_DEFAULT_LIST => list(false),
        _ => return None,
    })
}

/// The bytes of a row as they stand: those that follow its numbers and cells.
pub(super) struct RowBytes<'b> {
    pub(super) record: &'b [u8],
    /// Empty if none was kept.
    pub(super) origin: &'b [u8],
    pub(super) scratch: &'b [u8],
    pub(super) key: &'b [u8],
}

/// Lengths of the bytes of a row.
#[derive(Clone, Copy)]
pub(super) struct RowLengths {
    record: u32,
    has_origin: bool,
    scratch: u32,
    key: u32,
}

impl RowLengths {
    pub(super) fn read(reader: &mut Fields<'_>) -> Option<Self> {
        let (record, scratch, key) = (reader.u32()?, reader.u32()?, reader.u32()?);
        Some(RowLengths {
            record,
            has_origin: scratch & HAS_ORIGIN != 0,
            scratch: scratch & !HAS_ORIGIN,
            key,
        })
    }

    pub(super) fn bytes<'b>(self, reader: &mut Fields<'b>) -> Option<RowBytes<'b>> {
        let record = reader.bytes(self.record)?;
        let origin = match self.has_origin {
            true => origin::length(reader.0),
            false => 0,
        };
        // One that is there takes some bytes.
        (self.has_origin == (origin > 0)).then_some(())?;
        Some(RowBytes {
            record,
            origin: reader.bytes(origin)?,
            scratch: reader.bytes(self.scratch)?,
            key: reader.bytes(self.key)?,
        })
    }
}

/// Reads rows with a fixed number of fields.
pub(super) struct RowReader {
    cells: Vec<Cell>,
    fields: usize,
}

impl RowReader {
    pub(super) fn new(shape: RowShape) -> Self {
        let fields = shape.fields;
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
        let lengths = RowLengths::read(reader)?;
        self.cells.clear();
        for _ in 0..self.fields {
            let [tag] = reader.array()?;
            let cell = cell(tag, reader.u64()?)?;
            let within = match tag {
                TAG_PLAIN | TAG_LIST => lengths.record,
                _ => lengths.scratch,
            };
            if let Cell::Text { span, .. } | Cell::List { span, .. } = cell {
                span.start
                    .checked_add(span.len)
                    .filter(|&end| end <= within)?;
            }
            self.cells.push(cell);
        }
        let bytes = lengths.bytes(reader)?;
        rows.push(NewRow {
            partition: place.partition,
            offset: place.offset,
            time,
            order_time: place.time,
            key_hash,
            record: bytes.record,
            origin: bytes.origin,
            scratch: bytes.scratch,
            key: bytes.key,
            cells: &self.cells,
        });
        Some(())
    }
}
