//! What a file holds, by the end of its name, and readers of each.

use std::fmt;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::path::Path;

use slackwater_dataflow::place::{Mark, Offset};
use slackwater_dataflow::source::Payload;

use crate::file::compressed::is_compressed;
use crate::file::lines::{LineReader, Lines};
use crate::file::rows::RowReader;

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileForm {
    /// JSON, a record a line.
    Lines,
    /// CSV with a header, a record a row.
    Csv,
    /// A table in columns, a record a row. It is read by what [`OpenTable`] opens.
    Parquet,
}

/// What a file of that name holds, once it is decompressed.
pub fn form(path: &Path) -> FileForm {
    let compressed = is_compressed(path);
    let stem = path.file_stem().map(Path::new);
    let content = if compressed { stem } else { Some(path) };
    let extension = content.and_then(Path::extension);
    match extension.and_then(|it| it.to_str()) {
        Some("csv") => FileForm::Csv,
        Some("parquet") => FileForm::Parquet,
        _ => FileForm::Lines,
    }
}

/// Rows of a table, one after the other.
pub trait Table {
    /// Appends the next row to `record`, as a JSON object; false if there is none.
    ///
    /// # Errors
    /// The file can't be read, or is damaged.
    fn read(&mut self, record: &mut Vec<u8>) -> io::Result<bool>;

    /// A checksum of what the file says of all that it holds.
    fn mark(&self) -> Mark;
}

/// Opens tables at rows, counted from 0.
#[derive(Clone, Copy)]
pub struct OpenTable(pub fn(&Path, u64) -> io::Result<Box<dyn Table>>);

impl fmt::Debug for OpenTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OpenTable")
    }
}

/// Reads the rows of a table as records.
pub(super) struct TableReader {
    table: Box<dyn Table>,
    max_bytes: usize,
    /// Row that is handed out next.
    next: u64,
    record: Vec<u8>,
}

impl TableReader {
    /// A reader of a table that stands at row `next`.
    pub(super) fn new(table: Box<dyn Table>, next: u64, max_bytes: usize) -> Self {
        TableReader {
            table,
            max_bytes,
            next,
            record: Vec::new(),
        }
    }

    fn read(
        &mut self,
        limit: usize,
        emit: &mut dyn FnMut(Offset, Payload<'_>) -> ControlFlow<()>,
    ) -> io::Result<Lines> {
        for _ in 0..limit {
            self.record.clear();
            if !self.table.read(&mut self.record)? {
                return Ok(Lines::Ended);
            }
            let offset = Offset(self.next);
            self.next += 1;
            if emit(offset, Payload::of(&self.record, self.max_bytes)).is_break() {
                break;
            }
        }
        Ok(Lines::More)
    }
}

/// Reads the records of a file, whatever its form.
pub(super) enum Records {
    /// See [`FileForm::Lines`].
    Lines(Box<LineReader<Box<dyn Read>>>),
    /// See [`FileForm::Csv`].
    Rows(Box<RowReader<Box<dyn Read>>>),
    /// See [`FileForm::Parquet`].
    Table(TableReader),
}

impl Records {
    /// Hands out at most `limit` records, as [`LineReader::read`] does.
    pub(super) fn read(
        &mut self,
        limit: usize,
        emit: &mut dyn FnMut(Offset, Payload<'_>) -> ControlFlow<()>,
    ) -> io::Result<Lines> {
        match self {
            Records::Lines(lines) => lines.read(limit, emit),
            Records::Rows(rows) => rows.read(limit, emit),
            Records::Table(table) => table.read(limit, emit),
        }
    }

    /// Where the next record is: a byte, or of a table a row.
    pub(super) fn position(&self) -> Offset {
        match self {
            Records::Lines(lines) => lines.position(),
            Records::Rows(rows) => rows.position(),
            Records::Table(table) => Offset(table.next),
        }
    }

    /// What tells the file from others that could be read from there.
    pub(super) fn mark(&self) -> Option<Mark> {
        match self {
            Records::Lines(lines) => lines.mark(),
            Records::Rows(rows) => rows.mark(),
            Records::Table(table) => Some(table.table.mark()),
        }
    }

    /// Bytes of a record whose end was not read yet.
    pub(super) fn unfinished(&self) -> u64 {
        match self {
            Records::Lines(lines) => lines.unfinished(),
            Records::Rows(rows) => rows.unfinished(),
            Records::Table(_) => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::file::form::{FileForm, form};

    #[test]
    fn does_the_name_say_what_a_file_holds() {
        let check = |name: &str, expected| assert_eq!(form(Path::new(name)), expected, "{name}");
        check("a.jsonl", FileForm::Lines);
        check("a", FileForm::Lines);
        check("in/a.csv", FileForm::Csv);
        check("a.csv.gz", FileForm::Csv);
        check("a.b.csv.zst", FileForm::Csv);
        check("a.csv.bz2", FileForm::Lines);
        check("csv", FileForm::Lines);
        check("a.csv/b.jsonl", FileForm::Lines);
        check("a.parquet", FileForm::Parquet);
        check("folder.csv/*.parquet", FileForm::Parquet);
    }
}
