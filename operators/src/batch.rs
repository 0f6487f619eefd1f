//! A batch of rows: the unit that travels from the source to the last stage.
//!
//! Owning and exchanging many small things is what costs; being generic is not. So a batch is three
//! vectors, whatever the schema: the records' bytes one after the other, a table of rows, and a table of
//! cells (row-major, one per field) that are numbers or spans of those bytes. The source builds one
//! batch per target worker, and nothing is copied again until the outputs are written, but by a stage that
//! puts rows in another order.

use slackwater_dataflow::flow::Ticket;
use slackwater_dataflow::moment::EventTime;
use slackwater_dataflow::operator::Routed;
use slackwater_dataflow::place::{KeyHash, Offset, PartitionId};
use slackwater_dataflow::turn::{InTurn, Turn};

use crate::event::FieldIndex;
use crate::origin;

/// A range of a batch's bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// Length in bytes.
    pub len: u32,
}

/// The value of one field of one event.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Cell {
    /// The field is missing or null.
    #[default]
    Null,
    /// Text. `plain` says that the bytes stand in the record as they are: a JSON writer may copy them
    /// without escaping anything.
    Text {
        /// Where the text lies.
        span: Span,
        /// Whether it needs no escapes in JSON.
        plain: bool,
    },
    /// An integer.
    Int(i64),
    /// A number.
    Float(f64),
    /// A truth value.
    Bool(bool),
    /// A list: its JSON text, brackets included. [`Elements`](crate::json::Elements) tells what is in it.
    List {
        /// Where the text lies.
        span: Span,
        /// Whether it stands in the record; else it is a default, and lies where unescaped texts do.
        in_record: bool,
    },
}

impl Cell {
    /// The number that it is, a truth value counting 0 or 1; none if it is none.
    #[inline]
    pub(crate) fn number(self) -> Option<f64> {
        match self {
            Cell::Int(value) => Some(value as f64),
            Cell::Float(value) => Some(value),
            Cell::Bool(value) => Some(f64::from(value)),
            Cell::Null | Cell::Text { .. } | Cell::List { .. } => None,
        }
    }

    /// The same value, its text so many bytes further back.
    #[inline]
    fn moved_by(self, bytes: u32) -> Self {
        match self {
            Cell::Text { span, plain } => Cell::Text {
                span: Span {
                    start: span.start + bytes,
                    len: span.len,
                },
                plain,
            },
            Cell::List { span, in_record } => Cell::List {
                span: Span {
                    start: span.start + bytes,
                    len: span.len,
                },
                in_record,
            },
            cell => cell,
        }
    }

    /// Whether it has a span that counts from the unescaped texts, not from the record.
    #[inline]
    fn is_unescaped(self) -> bool {
        matches!(
            self,
            Cell::Text { plain: false, .. }
                | Cell::List {
                    in_record: false,
                    ..
                }
        )
    }
}

/// The bytes of a text or list that is not in a batch yet: in its record, or among the unescaped texts.
pub(crate) fn content<'b>(cell: Cell, span: Span, record: &'b [u8], scratch: &'b [u8]) -> &'b [u8] {
    let bytes = if cell.is_unescaped() { scratch } else { record };
    let start = span.start as usize;
    bytes
        .get(start..start + span.len as usize)
        .unwrap_or_default()
}

/// One event of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Where it comes from.
    pub partition: PartitionId,
    /// Index of its first cell; rows may be left out of a batch without moving cells.
    cells_at: u32,
    /// Its place in its partition.
    pub offset: Offset,
    /// Its event time: what its own features are made of.
    pub time: EventTime,
    /// Hash of its key.
    pub key_hash: KeyHash,
    /// The key's canonical bytes.
    pub key: Span,
    /// The record as it was read.
    pub record: Span,
}

/// Bytes of an ordinary row: for how much room to make.
pub(crate) const ROW_BYTES_EXPECTED: usize = 192;

/// What all rows of one job have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowShape {
    /// Cells of each: one for each field of an event, then those of what is computed.
    pub fields: usize,
    /// Whether each keeps what its record was written with.
    pub keeps_origins: bool,
}

impl From<usize> for RowShape {
    /// So many fields, and nothing of where records come from.
    fn from(fields: usize) -> Self {
        RowShape {
            fields,
            keeps_origins: false,
        }
    }
}

/// Rows with their cells and bytes.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    bytes: Vec<u8>,
    rows: Vec<Row>,
    /// One per row. Beside the rows, because who sorts rows needs nothing else of them.
    order_times: Vec<EventTime>,
    /// Spans of texts count from the first byte of their row, so that a row can be copied as it is.
    cells: Vec<Cell>,
    shape: RowShape,
}

/// An event that is about to become a row. Spans of texts that needed unescaping, and of defaults, point into
/// `scratch`, all others into `record`.
#[derive(Clone, Copy, Debug)]
pub struct NewRow<'a> {
    /// Where it comes from.
    pub partition: PartitionId,
    /// Its place there.
    pub offset: Offset,
    /// Its event time.
    pub time: EventTime,
    /// See [`Rows::order_times`].
    pub order_time: EventTime,
    /// Hash of `key`.
    pub key_hash: KeyHash,
    /// Canonical key bytes.
    pub key: &'a [u8],
    /// The record.
    pub record: &'a [u8],
    /// What it was written with, as [`crate::origin`] writes it; empty if that is not known. Left out of rows that keep
    /// none.
    pub origin: &'a [u8],
    /// One cell per field; those of what is computed later may be left out.
    pub cells: &'a [Cell],
    /// Unescaped texts, and defaults.
    pub scratch: &'a [u8],
}

impl Rows {
    /// No rows yet, of this shape or with so many fields; room for `rows` of them in `bytes` bytes.
    pub fn with_capacity(shape: impl Into<RowShape>, rows: usize, bytes: usize) -> Self {
        let shape = shape.into();
        Rows {
            bytes: Vec::with_capacity(bytes),
            rows: Vec::with_capacity(rows),
            order_times: Vec::with_capacity(rows),
            cells: Vec::with_capacity(rows * shape.fields),
            shape,
        }
    }

    /// Adds an event.
    pub fn push(&mut self, new: NewRow<'_>) {
        let record = self.append(new.record);
        if self.shape.keeps_origins {
            match new.origin {
                [] => origin::write_unknown(&mut self.bytes),
                kept => self.bytes.extend_from_slice(kept),
            }
        }
        let scratch = self.append(new.scratch);
        let key = self.append(new.key);
        let cells_at = self.cells.len() as u32;
        if new.scratch.is_empty() {
            self.cells.extend_from_slice(new.cells);
        } else {
            // Unescaped texts stand behind the record and where it comes from.
            let behind = scratch.start - record.start;
            let of_row = |&cell: &Cell| match cell.is_unescaped() {
                true => cell.moved_by(behind),
                false => cell,
            };
            self.cells.extend(new.cells.iter().map(of_row));
        }
        // What is computed later has its place now.
        self.cells
            .resize(cells_at as usize + self.shape.fields, Cell::Null);
        self.rows.push(Row {
            partition: new.partition,
            cells_at,
            offset: new.offset,
            time: new.time,
            key_hash: new.key_hash,
            key,
            record,
        });
        self.order_times.push(new.order_time);
    }

    /// A poll and a part of what waited hold a few MiB and one record more, of 256 MiB at most: positions fit
    /// 32 bits.
    fn append(&mut self, bytes: &[u8]) -> Span {
        let start = self.bytes.len() as u32;
        self.bytes.extend_from_slice(bytes);
        Span {
            start,
            len: bytes.len() as u32,
        }
    }

    /// Adds the row at position `nth` of other rows of the same shape: one copy of its bytes, which lie
    /// together.
    pub(crate) fn push_from(&mut self, other: &Rows, nth: usize) {
        let (Some(row), Some(order_time)) = (other.rows.get(nth), other.order_times.get(nth))
        else {
            return;
        };
        let from = row.record.start;
        let bytes = other.bytes_of(row);
        // Spans move as one; in between a difference below 0 wraps, and back.
        let moved = (self.bytes.len() as u32).wrapping_sub(from);
        let shifted = |span: Span| Span {
            start: span.start.wrapping_add(moved),
            len: span.len,
        };
        let cells_at = self.cells.len() as u32;
        self.cells.extend_from_slice(other.stored_cells(row));
        self.bytes.extend_from_slice(bytes);
        self.rows.push(Row {
            cells_at,
            key: shifted(row.key),
            record: shifted(row.record),
            ..*row
        });
        self.order_times.push(*order_time);
    }

    /// What the record of a row was written with, as [`crate::origin`] writes it; empty if rows do not keep that.
    pub(crate) fn origin_of(&self, row: &Row) -> &[u8] {
        if !self.shape.keeps_origins {
            return &[];
        }
        let behind = self.bytes_of(row).get(row.record.len as usize..);
        let behind = behind.unwrap_or_default();
        behind
            .get(..origin::length(behind) as usize)
            .unwrap_or_default()
    }

    /// All bytes of a row: its record, what that was written with if it is kept, its unescaped texts and its key, one
    /// after the other.
    pub(crate) fn bytes_of(&self, row: &Row) -> &[u8] {
        let end = row.key.start.saturating_add(row.key.len);
        let start = row.record.start;
        self.bytes(Span {
            start,
            len: end.saturating_sub(start),
        })
    }

    /// Reads something at both ends of a row's bytes and cells; what it adds up to means nothing.
    pub(crate) fn touch(&self, row: &Row) -> u8 {
        let (bytes, cells) = (self.bytes_of(row), self.stored_cells(row));
        let ends = bytes.first().into_iter().chain(bytes.last());
        let sum = ends.fold(0, |sum, byte| sum ^ byte);
        let ends = cells.first().into_iter().chain(cells.last());
        ends.fold(sum, |sum, cell| sum ^ u8::from(matches!(cell, Cell::Null)))
    }

    /// Bytes of all records, texts and keys.
    pub(crate) fn bytes_held(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes of memory that the rows take, room to grow included.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.bytes.capacity()
            + self.rows.capacity() * (size_of::<Row>() + size_of::<EventTime>())
            + self.cells.capacity() * size_of::<Cell>()
    }

    /// Gives back room that no row takes, if it is more than what rows take.
    pub(crate) fn shrink_if_loose(&mut self) {
        if self.rows.len() < self.rows.capacity() / 2
            || self.bytes.len() < self.bytes.capacity() / 2
        {
            self.bytes.shrink_to_fit();
            self.rows.shrink_to_fit();
            self.order_times.shrink_to_fit();
            self.cells.shrink_to_fit();
        }
    }

    /// The rows, in the order in which they are to be handled.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// What order, history and windows go by, row by row: the event time, or for a late event that is processed
    /// all the same, its partition's watermark when it was read. Never below the event time.
    pub fn order_times(&self) -> &[EventTime] {
        &self.order_times
    }

    /// Leaves out the rows at these positions, which ascend. Cells and bytes stay where they are.
    pub fn leave_out(&mut self, positions: &[usize]) {
        leave_out(&mut self.rows, positions);
        leave_out(&mut self.order_times, positions);
    }

    /// The same shape, and no rows yet.
    pub(crate) fn like(&self, rows: usize, bytes: usize) -> Self {
        Rows::with_capacity(self.shape, rows, bytes)
    }

    /// The cells of a row as they are stored, one per field.
    fn stored_cells(&self, row: &Row) -> &[Cell] {
        let start = row.cells_at as usize;
        self.cells
            .get(start..start + self.shape.fields)
            .unwrap_or_default()
    }

    /// The cells of a row, one per field.
    pub fn cells(&self, row: &Row) -> impl Iterator<Item = Cell> + '_ {
        let start = row.record.start;
        let stored = self.stored_cells(row).iter();
        stored.map(move |cell| cell.moved_by(start))
    }

    /// The value of a field.
    #[inline]
    pub fn cell(&self, row: &Row, field: FieldIndex) -> Cell {
        let stored = self.cells.get(row.cells_at as usize + field.0);
        stored.map_or(Cell::Null, |cell| cell.moved_by(row.record.start))
    }

    /// Puts a value that needs no bytes into a cell of the event at position `nth`.
    pub(crate) fn set_cell(&mut self, nth: usize, field: FieldIndex, cell: Cell) {
        let row = self.rows.get(nth);
        let place = row.map(|row| row.cells_at as usize + field.0);
        if let Some(stored) = place.and_then(|place| self.cells.get_mut(place)) {
            *stored = cell;
        }
    }

    /// The bytes of a span.
    #[inline]
    pub fn bytes(&self, span: Span) -> &[u8] {
        let start = span.start as usize;
        self.bytes
            .get(start..start + span.len as usize)
            .unwrap_or_default()
    }
}

/// Removes the items at these positions, which ascend; the others keep their order.
pub(crate) fn leave_out<T>(items: &mut Vec<T>, positions: &[usize]) {
    let mut next = positions.iter().peekable();
    let mut at = 0;
    items.retain(|_| {
        let left_out = next.next_if_eq(&&at).is_some();
        at += 1;
        !left_out
    });
}

/// Events for one worker, in the order in which it is to handle them.
#[derive(Debug)]
pub struct RowBatch {
    /// The worker that owns all keys in it.
    pub worker: usize,
    /// The events.
    pub rows: Rows,
    /// Keeps them in flight.
    pub ticket: Ticket,
    /// Which part of its partition it is; none where nobody has to put parts together again.
    pub turn: Option<Turn>,
}

impl InTurn for RowBatch {
    fn turn(&self) -> Option<Turn> {
        self.turn
    }
}

impl Routed for RowBatch {
    fn worker(&self) -> usize {
        self.worker
    }
}
