//! Rows on disk: written once in order, read back block by block.
//!
//! A block is what is read at once: rows one after the other, and a hash of them, so that a disk that gives
//! something else than it was given is found out. Where blocks begin and which row comes first in each is
//! kept in memory.
//!
//! A row: its numbers in a fixed order, little-endian, then its cells, each a tag and a value, then its bytes.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use slackwater_dataflow::moment::EventTime;
use slackwater_dataflow::place::{KeyHash, Offset, PartitionId};
use slackwater_dataflow::spill::{Spill, SpillFile};
use xxhash_rust::xxh3::xxh3_64;

use crate::batch::{Cell, NewRow, Row, Rows, Span};
use crate::order::runs::Place;

/// A block is this part of what may be held in memory, at the end of the row that passes it: 64 KiB, some
/// hundred rows. One block of each run can be in memory at once, and there are far fewer runs than this.
const BLOCKS_IN_MEMORY: u64 = 2_048;

/// Bytes of files on disk for each worker. More than that waits for hours of a fast job: then the watermark will
/// not come, and the disk is better kept for others.
const SPILLED_BYTES_MAX: u64 = 16 * 1024 * 1024 * 1024;

/// Files of each worker: with ten megabytes or more in each, and a few workers, within what systems usually let a
/// process open.
const FILES_MAX: usize = 200;

/// What waits could not be kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpillError {
    /// The disk failed.
    #[error(
        "cannot {action} events that wait for the watermark, in the folder for temporary files (TMPDIR): {source}"
    )]
    Disk {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// What was read is not what was written.
    #[error(
        "events that wait for the watermark were read back otherwise than they were written: the disk below \
         the folder for temporary files (TMPDIR) is damaged"
    )]
    Damaged,
    /// Too much waits.
    #[error(
        "too many events wait for the watermark, {bytes} bytes in {files} temporary files: is \
         `max_out_of_orderness` or `max_drift` too long, or has one partition stopped?"
    )]
    TooMuch {
        /// Bytes of the files.
        bytes: u64,
        /// Number of files.
        files: usize,
    },
}

fn failed(action: &'static str) -> impl Fn(io::Error) -> SpillError {
    move |source| SpillError::Disk { action, source }
}

/// All runs on disk of one worker.
pub(super) struct Spilled {
    spill: Box<dyn Spill>,
    block_bytes: usize,
    runs: Vec<SpilledRun>,
    bytes: u64,
}

impl Spilled {
    /// Nothing on disk yet, of a worker that holds `memory_bytes` in memory.
    pub(super) fn new(spill: Box<dyn Spill>, memory_bytes: u64) -> Self {
        Spilled {
            spill,
            block_bytes: usize::try_from(memory_bytes / BLOCKS_IN_MEMORY).unwrap_or(usize::MAX),
            runs: Vec::new(),
            bytes: 0,
        }
    }

    /// Bytes of all that is still to be read back.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The first row of all that lies on disk.
    pub(super) fn first(&self) -> Option<Place> {
        self.runs.iter().filter_map(SpilledRun::first).min()
    }

    /// Takes a run that was written to its end.
    pub(super) fn add(&mut self, mut run: SpilledRun) -> Result<(), SpillError> {
        run.end_block()?;
        if run.first().is_none() {
            return Ok(());
        }
        self.bytes += run.written;
        self.runs.push(run);
        let files = self.runs.len();
        let bytes = self.runs.iter().map(|run| run.written).sum();
        if bytes > SPILLED_BYTES_MAX || files > FILES_MAX {
            return Err(SpillError::TooMuch { bytes, files });
        }
        Ok(())
    }

    /// Reads the block that comes first, rows with `fields` fields; none if nothing lies on disk.
    pub(super) fn read_first(
        &mut self,
        fields: usize,
    ) -> Result<Option<(Rows, Duration)>, SpillError> {
        let runs = self.runs.iter().enumerate();
        let firsts = runs.filter_map(|(at, run)| Some((run.first()?, at)));
        let Some((_, at)) = firsts.min() else {
            return Ok(None);
        };
        let Some(run) = self.runs.get_mut(at) else {
            return Ok(None);
        };
        let rows = run.read_first(fields, &mut self.bytes)?;
        let read_at = run.read_at;
        if run.first().is_none() {
            // The file goes with it.
            self.runs.swap_remove(at);
        }
        Ok(rows.map(|rows| (rows, read_at)))
    }
}

struct Block {
    first: Place,
    at: u64,
    len: usize,
    hash: u64,
}

/// Rows in order, in a file of their own.
pub(super) struct SpilledRun {
    file: Box<dyn SpillFile>,
    /// Those that were not read back yet.
    blocks: VecDeque<Block>,
    block_bytes: usize,
    written: u64,
    /// When the first of the rows was read from the source.
    read_at: Duration,
    /// The block that is being written, and its first row.
    open: Vec<u8>,
    open_first: Option<Place>,
}

impl SpilledRun {
    pub(super) fn create(spilled: &Spilled, read_at: Duration) -> Result<Self, SpillError> {
        let file = spilled.spill.create().map_err(failed("make a file for"))?;
        Ok(SpilledRun {
            file,
            blocks: VecDeque::new(),
            block_bytes: spilled.block_bytes,
            written: 0,
            read_at,
            open: Vec::new(),
            open_first: None,
        })
    }

    /// Writes the next row.
    pub(super) fn append(
        &mut self,
        place: Place,
        rows: &Rows,
        row: &Row,
    ) -> Result<(), SpillError> {
        self.open_first.get_or_insert(place);
        encode(rows, row, place.time, &mut self.open);
        if self.open.len() >= self.block_bytes {
            self.end_block()?;
        }
        Ok(())
    }

    fn end_block(&mut self) -> Result<(), SpillError> {
        let Some(first) = self.open_first.take() else {
            return Ok(());
        };
        self.file.append(&self.open).map_err(failed("write"))?;
        self.blocks.push_back(Block {
            first,
            at: self.written,
            len: self.open.len(),
            hash: xxh3_64(&self.open),
        });
        self.written += self.open.len() as u64;
        self.open.clear();
        Ok(())
    }

    fn first(&self) -> Option<Place> {
        self.blocks.front().map(|block| block.first)
    }

    fn read_first(&mut self, fields: usize, bytes: &mut u64) -> Result<Option<Rows>, SpillError> {
        let Some(block) = self.blocks.pop_front() else {
            return Ok(None);
        };
        let mut encoded = vec![0; block.len];
        self.file
            .read(block.at, &mut encoded)
            .map_err(failed("read back"))?;
        *bytes -= block.len as u64;
        if xxh3_64(&encoded) != block.hash {
            return Err(SpillError::Damaged);
        }
        decode(&encoded, fields)
            .map(Some)
            .ok_or(SpillError::Damaged)
    }
}

const TAG_NULL: u8 = 0;
const TAG_PLAIN: u8 = 1;
const TAG_UNESCAPED: u8 = 2;
const TAG_INT: u8 = 3;
const TAG_FLOAT: u8 = 4;
const TAG_BOOL: u8 = 5;

fn encode(rows: &Rows, row: &Row, order_time: EventTime, out: &mut Vec<u8>) {
    let bytes = rows.bytes_of(row);
    // Every span of a row lies in its bytes, and these begin with the record.
    let base = row.record.start;
    let scratch_len = bytes.len() as u32 - row.record.len - row.key.len;
    out.extend_from_slice(&row.partition.0.to_le_bytes());
    out.extend_from_slice(&row.offset.0.to_le_bytes());
    out.extend_from_slice(&row.time.0.to_le_bytes());
    out.extend_from_slice(&order_time.0.to_le_bytes());
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
                (
                    tag,
                    u64::from(span.start - from) << 32 | u64::from(span.len),
                )
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

/// Reads numbers and pieces from the front.
struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*array)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }

    fn piece(&mut self, len: u32) -> Option<&'b [u8]> {
        let (piece, rest) = self.0.split_at_checked(len as usize)?;
        self.0 = rest;
        Some(piece)
    }
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

fn decode(block: &[u8], fields: usize) -> Option<Rows> {
    let mut rows = Rows::with_capacity(fields, 0, block.len());
    let mut reader = Reader(block);
    let mut cells = Vec::with_capacity(fields);
    while !reader.0.is_empty() {
        let partition = PartitionId(reader.u32()?);
        let offset = Offset(reader.u64()?);
        let time = EventTime(reader.i64()?);
        let order_time = EventTime(reader.i64()?);
        let key_hash = KeyHash(reader.u64()?);
        let (record, scratch, key) = (reader.u32()?, reader.u32()?, reader.u32()?);
        cells.clear();
        for _ in 0..fields {
            let [tag] = reader.array()?;
            cells.push(cell(tag, reader.u64()?)?);
        }
        rows.push(NewRow {
            partition,
            offset,
            time,
            order_time,
            key_hash,
            record: reader.piece(record)?,
            scratch: reader.piece(scratch)?,
            key: reader.piece(key)?,
            cells: &cells,
        });
    }
    Some(rows)
}
