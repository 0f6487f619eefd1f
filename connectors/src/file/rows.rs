//! Rows of CSV as records: each becomes a JSON object of its cells, named by the header.
//!
//! A row ends at a line feed that is not between quotes; all else about lines holds for rows (see [`crate::file::lines`]):
//! an empty one is a row of one empty cell, and bytes behind the last line feed are one too. Cells are what RFC 4180 and
//! the `csv-core` crate take for cells. The first row is the header, and no record.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::ops::ControlFlow;

use csv_core::{ReadFieldResult, ReaderBuilder, Terminator};
use slackwater_dataflow::place::{Mark, Offset};
use slackwater_dataflow::source::Payload;

use crate::file::again::Tail;
use crate::file::lines::{BLOCK_BYTES, Ends, LineReader, Lines};

/// What begins files that some programs write.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Names of a header that a message lists.
const NAMED_MAX: usize = 3;

/// What the cells of a column are, where they are not just texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CellKind {
    /// Numbers, where their text is one of JSON.
    Number,
    /// Truth values: `true` and `false`, in small letters or capitals.
    Bool,
    /// Whichever of these the text is.
    Either,
}

impl CellKind {
    fn may_be_number(self) -> bool {
        matches!(self, CellKind::Number | CellKind::Either)
    }

    fn may_be_bool(self) -> bool {
        matches!(self, CellKind::Bool | CellKind::Either)
    }
}

/// The kinds of columns, by name; those of all others are texts.
pub type CellKinds = BTreeMap<String, CellKind>;

/// Which line feeds end a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Quotes {
    /// A cell begins.
    #[default]
    Outside,
    /// Inside a cell that does not begin with a quote; those in it are characters like others.
    Bare,
    /// Between quotes.
    Inside,
    /// Behind a quote that ends this, or is the first half of one that does not.
    Behind,
}

impl Ends for Quotes {
    fn find(&mut self, bytes: &[u8]) -> Option<usize> {
        for (at, &byte) in bytes.iter().enumerate() {
            *self = match (*self, byte) {
                (Quotes::Inside, b'"') => Quotes::Behind,
                (Quotes::Inside, _) => Quotes::Inside,
                (Quotes::Outside | Quotes::Behind, b'"') => Quotes::Inside,
                (_, b',') => Quotes::Outside,
                (_, b'\n') => {
                    *self = Quotes::Outside;
                    return Some(at);
                }
                _ => Quotes::Bare,
            };
        }
        None
    }
}

/// The cells of a row.
struct Cells {
    parser: csv_core::Reader,
    /// The cell, as it reads.
    text: Vec<u8>,
}

/// A row is none: a cell begins with a quote and has no other at its end.
struct Unended;

impl Cells {
    fn new() -> Self {
        let builder = || {
            let mut builder = ReaderBuilder::new();
            builder.terminator(Terminator::Any(b'\n'));
            builder
        };
        let mut parser = builder().build();
        // It skips a byte order mark at the beginning of what it reads; here that is a row from anywhere.
        let _ = parser.read_field(b"-\n", &mut [0; 2]);
        Cells {
            parser,
            text: Vec::new(),
        }
    }

    /// Hands out the cells of a row in turn: their texts, and whether they stand in quotes.
    fn of(&mut self, row: &[u8], mut each: impl FnMut(&[u8], bool)) -> Result<(), Unended> {
        if row.is_empty() {
            // The parser would skip it.
            each(&[], false);
            return Ok(());
        }
        // No cell reads longer than it is written.
        self.text.resize(row.len() + 1, 0);
        let (mut rest, mut has_ended) = (row, false);
        while !has_ended {
            let is_quoted = rest.first() == Some(&b'"');
            let mut length = 0;
            loop {
                let room = self.text.get_mut(length..).unwrap_or_default();
                let input = if rest.is_empty() { b"\n" } else { rest };
                let (result, read, written) = self.parser.read_field(input, room);
                length += written;
                let at_end = rest.is_empty();
                rest = rest.get(read..).unwrap_or_default();
                match result {
                    ReadFieldResult::Field { record_end } => {
                        has_ended = record_end;
                        break;
                    }
                    ReadFieldResult::InputEmpty if !at_end => {}
                    ReadFieldResult::InputEmpty
                    | ReadFieldResult::OutputFull
                    | ReadFieldResult::End => {
                        *self = Cells::new();
                        return Err(Unended);
                    }
                }
            }
            each(self.text.get(..length).unwrap_or_default(), is_quoted);
        }
        Ok(())
    }
}

/// The names of the columns of a file.
pub(super) struct Header {
    columns: Vec<Column>,
}

struct Column {
    /// What stands before its cell in an object.
    before: Vec<u8>,
    kind: Option<CellKind>,
}

impl Header {
    fn of(row: Payload<'_>, kinds: &CellKinds) -> io::Result<Self> {
        let row = match row {
            Payload::Whole(row) | Payload::Malformed { bytes: row, .. } => row,
            Payload::Oversize { length, .. } => {
                return Err(no_header(&format!(
                    "its first row has {length} bytes, more than max_bytes"
                )));
            }
        };
        let row = row.strip_prefix(BYTE_ORDER_MARK).unwrap_or(row);
        let mut names: Vec<String> = Vec::new();
        let text = str::from_utf8(row).map_err(|_| no_header("its first row is not UTF-8"))?;
        let read = Cells::new().of(text.as_bytes(), |name, _| {
            names.push(String::from_utf8_lossy(name).into_owned());
        });
        if read.is_err() || names.iter().all(String::is_empty) {
            return Err(no_header("its first row names no columns"));
        }
        let mut columns = Vec::new();
        for (at, name) in names.iter().enumerate() {
            if names.iter().take(at).any(|earlier| earlier == name) {
                return Err(no_header(&format!("two columns are named `{name}`")));
            }
            let mut before = if at == 0 { b"{" } else { b"," }.to_vec();
            serde_json::to_writer(&mut before, name)?;
            before.push(b':');
            columns.push(Column {
                before,
                kind: kinds.get(name).copied(),
            });
        }
        Ok(Header { columns })
    }
}

fn no_header(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("{what}; the first row of a CSV file must name its columns, each otherwise"),
    )
}

/// Makes objects of rows.
struct Objects {
    header: Header,
    cells: Cells,
    /// The last object.
    object: Vec<u8>,
    /// What was wrong with the last row.
    reason: String,
    max_bytes: usize,
}

impl Objects {
    /// The record that a row is. What is no text is handed on as it is: that says enough about it.
    fn record<'a>(&'a mut self, row: Payload<'a>) -> Payload<'a> {
        let Payload::Whole(bytes) = row else {
            return row;
        };
        if str::from_utf8(bytes).is_err() {
            return row;
        }
        let Objects {
            header: Header { columns },
            cells,
            object,
            reason,
            max_bytes,
        } = self;
        object.clear();
        reason.clear();
        let mut count = 0;
        let read = cells.of(bytes, |text, is_quoted| {
            if let Some(column) = columns.get(count) {
                object.extend_from_slice(&column.before);
                write_cell(object, text, is_quoted, column.kind);
            }
            count += 1;
        });
        if read.is_err() {
            reason.push_str("a quote at the beginning of a cell has no other at its end");
        } else if count != columns.len() {
            *reason = mismatch(count, columns);
        }
        if !reason.is_empty() {
            return Payload::Malformed { bytes, reason };
        }
        object.push(b'}');
        Payload::of(object, *max_bytes)
    }
}

fn mismatch(count: usize, columns: &[Column]) -> String {
    let cells = if count == 1 { "cell" } else { "cells" };
    let names = columns.iter().take(NAMED_MAX).map(|column| {
        let name = column.before.get(1..column.before.len().saturating_sub(1));
        String::from_utf8_lossy(name.unwrap_or_default()).into_owned()
    });
    let mut names: Vec<String> = names.collect();
    if names.len() < columns.len() {
        names.push("...".to_owned());
    }
    let (wanted, names) = (columns.len(), names.join(", "));
    format!("row has {count} {cells}, the header names {wanted} columns: {names}")
}

/// Writes a cell as a value. An empty one is null, unless it stands in quotes and may be a text.
fn write_cell(out: &mut Vec<u8>, text: &[u8], is_quoted: bool, kind: Option<CellKind>) {
    if text.is_empty() && (kind.is_some() || !is_quoted) {
        out.extend_from_slice(b"null");
        return;
    }
    // The whole row was.
    let text = str::from_utf8(text).unwrap_or_default();
    if let Some(kind) = kind {
        if kind.may_be_number() && serde_json::from_str::<serde_json::Number>(text).is_ok() {
            out.extend_from_slice(text.as_bytes());
            return;
        }
        let truth = [("true", "true"), ("false", "false")];
        let truth = truth
            .iter()
            .find(|(word, _)| text.eq_ignore_ascii_case(word));
        if let (true, Some((_, value))) = (kind.may_be_bool(), truth) {
            out.extend_from_slice(value.as_bytes());
            return;
        }
    }
    // Writing into a vector cannot fail.
    let written = serde_json::to_writer(out, text);
    debug_assert!(written.is_ok());
}

/// Reads the rows of a file as records.
pub(super) struct RowReader<R> {
    rows: LineReader<R, Quotes>,
    /// None until the header was read.
    objects: Option<Objects>,
    kinds: CellKinds,
    max_bytes: usize,
}

impl<R: Read> RowReader<R> {
    /// A reader of a file from its beginning. Rows of more than `max_bytes`, and those whose objects are longer, are
    /// oversize.
    pub(super) fn new(input: R, max_bytes: usize, kinds: CellKinds) -> Self {
        RowReader::in_blocks(input, max_bytes, kinds, BLOCK_BYTES)
    }

    fn in_blocks(input: R, max_bytes: usize, kinds: CellKinds, block_bytes: usize) -> Self {
        RowReader {
            rows: LineReader::cut_at(Quotes::default(), input, max_bytes, block_bytes),
            objects: None,
            kinds,
            max_bytes,
        }
    }

    /// The same of an input that stands at byte `position`, where a row begins behind `tail`, with the header that was
    /// read at its beginning.
    pub(super) fn beginning_at(mut self, position: u64, tail: Tail, header: Header) -> Self {
        self.rows = self.rows.beginning_at(position, tail);
        self.begin(header);
        self
    }

    fn begin(&mut self, header: Header) {
        self.objects = Some(Objects {
            header,
            cells: Cells::new(),
            object: Vec::new(),
            reason: String::new(),
            max_bytes: self.max_bytes,
        });
    }

    /// Reads no more than the header; none if it is not there yet.
    ///
    /// # Errors
    /// It is not there, or names two columns alike.
    pub(super) fn header(mut self) -> io::Result<Option<Header>> {
        loop {
            match self.read_header()? {
                Lines::More if self.objects.is_none() => {}
                _ => return Ok(self.objects.map(|objects| objects.header)),
            }
        }
    }

    fn read_header(&mut self) -> io::Result<Lines> {
        let mut found = None;
        let kinds = &self.kinds;
        let lines = self.rows.read(1, &mut |_, row| {
            found = Some(Header::of(row, kinds));
            ControlFlow::Break(())
        })?;
        match found {
            Some(header) => self.begin(header?),
            None if lines == Lines::Ended => return Err(no_header("it is empty")),
            None => {}
        }
        Ok(lines)
    }

    /// Hands out at most `limit` records, as [`LineReader::read`] does.
    pub(super) fn read(
        &mut self,
        limit: usize,
        emit: &mut dyn FnMut(Offset, Payload<'_>) -> ControlFlow<()>,
    ) -> io::Result<Lines> {
        if self.objects.is_none() {
            let lines = self.read_header()?;
            if self.objects.is_none() || lines == Lines::Ended {
                return Ok(lines);
            }
        }
        let Some(objects) = &mut self.objects else {
            return Ok(Lines::More);
        };
        self.rows
            .read(limit, &mut |offset, row| emit(offset, objects.record(row)))
    }

    /// Where the next record begins; before the header was read, where that does.
    pub(super) fn position(&self) -> Offset {
        self.rows.position()
    }

    /// See [`LineReader::mark`].
    pub(super) fn mark(&self) -> Option<Mark> {
        self.rows.mark()
    }

    /// See [`LineReader::unfinished`].
    pub(super) fn unfinished(&self) -> u64 {
        self.rows.unfinished()
    }
}

#[cfg(test)]
mod tests;
