//! The rows of a Parquet file, each as a JSON object.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use arrow_array::RecordBatch;
use parquet::arrow::arrow_reader::{
    ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};

use crate::json;

/// Rows that are decoded at once: enough that what a batch costs vanishes, few enough that they are little memory.
const BATCH_ROWS: usize = 1_024;

/// What ends a file: the length of what says what is in it, and four letters.
const END_BYTES: u64 = 8;

/// Reads the rows of a file, one after the other, in all its row groups.
///
/// Numbers are numbers, the same ones; one that is none (NaN) is a text. Texts are texts, and so are bytes that are one;
/// others are `{"base64":".."}`. Times are milliseconds since 1970 and dates those of their midnight, both in UTC; a time of a
/// day, since midnight. Lists are lists, structs and maps objects.
pub struct Rows {
    batches: ParquetRecordBatchReader,
    batch: RecordBatch,
    /// Row of `batch` that is next.
    next: usize,
    names: Vec<String>,
    mark: u32,
}

fn damaged(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl Rows {
    /// Opens a file at a row, counted from 0.
    ///
    /// # Errors
    /// It can't be read, is no Parquet, has fewer rows, two columns of one name, or a column that is nothing in JSON.
    pub fn open(path: &Path, from: u64) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let mark = mark(&mut file)?;
        // By what Parquet itself says of the columns: what Arrow adds to it are further types of the same values.
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(file, options)
            .map_err(damaged)?;
        let mut names: Vec<String> = Vec::new();
        for field in builder.schema().fields() {
            json::check(field).map_err(damaged)?;
            if names.contains(field.name()) {
                return Err(damaged(format!("two columns are named `{}`", field.name())));
            }
            names.push(field.name().clone());
        }
        let (groups, skipped) = groups_from(&builder, from)?;
        let builder = builder
            .with_batch_size(BATCH_ROWS)
            .with_row_groups(groups)
            .with_offset(skipped);
        let empty = RecordBatch::new_empty(builder.schema().clone());
        Ok(Rows {
            batches: builder.build().map_err(damaged)?,
            batch: empty,
            next: 0,
            names,
            mark,
        })
    }

    /// Appends the next row to `record`; false if there is none.
    ///
    /// # Errors
    /// The file can't be read, or is damaged.
    pub fn read(&mut self, record: &mut Vec<u8>) -> io::Result<bool> {
        while self.next >= self.batch.num_rows() {
            match self.batches.next() {
                None => return Ok(false),
                Some(batch) => self.batch = batch.map_err(damaged)?,
            }
            self.next = 0;
        }
        let names = self.names.iter().map(String::as_str);
        json::object(record, names.zip(self.batch.columns()), self.next)?;
        self.next += 1;
        Ok(true)
    }

    /// A checksum of what the file says of its columns and row groups.
    pub fn mark(&self) -> u32 {
        self.mark
    }
}

/// The row groups from the one that holds a row, and how many rows of it are before that.
fn groups_from(
    builder: &ParquetRecordBatchReaderBuilder<File>,
    from: u64,
) -> io::Result<(Vec<usize>, usize)> {
    let groups = builder.metadata().row_groups();
    let mut before = from;
    for (at, group) in groups.iter().enumerate() {
        let rows = u64::try_from(group.num_rows()).map_err(damaged)?;
        if before < rows {
            return Ok((
                (at..groups.len()).collect(),
                usize::try_from(before).map_err(damaged)?,
            ));
        }
        before -= rows;
    }
    if before > 0 {
        let rows = from - before;
        return Err(damaged(format!(
            "it has {rows} rows, and was read to row {from}"
        )));
    }
    Ok((Vec::new(), 0))
}

fn mark(file: &mut File) -> io::Result<u32> {
    let length = file.metadata()?.len();
    let mut end = [0; END_BYTES as usize];
    let Some(behind) = length.checked_sub(END_BYTES) else {
        return Err(damaged("it is too short to be Parquet"));
    };
    file.seek(SeekFrom::Start(behind))?;
    file.read_exact(&mut end)?;
    let [a, b, c, d, magic @ ..] = end;
    let said = u64::from(u32::from_le_bytes([a, b, c, d]));
    let Some(start) = behind.checked_sub(said).filter(|_| &magic == b"PAR1") else {
        return Err(damaged(
            "it is no Parquet, or cut short: it has not its end",
        ));
    };
    file.seek(SeekFrom::Start(start))?;
    let mut footer = Vec::new();
    file.take(said).read_to_end(&mut footer)?;
    Ok(crc32c::crc32c(&footer))
}

#[cfg(test)]
mod tests;
