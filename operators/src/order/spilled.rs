//! Rows on disk: written once in order, read back block by block.
//!
//! A block is what is read at once: rows one after the other, and a hash of them, so that a disk that gives
//! something else than it was given is found out. Where blocks begin and which row comes first in each is
//! kept in memory.
//!
//! A row: its place, little-endian, then itself, see [`row`].

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use slackwater_dataflow::fields::Fields;
use slackwater_dataflow::moment::EventTime;
use slackwater_dataflow::place::{Offset, PartitionId};
use slackwater_dataflow::spill::{Spill, SpillFile};
use xxhash_rust::xxh3::xxh3_64;

use crate::batch::{Row, RowShape, Rows};
use crate::order::row::{self, RowReader};
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

    /// Reads the block that comes first, rows of this shape; none if nothing lies on disk.
    pub(super) fn read_first(
        &mut self,
        shape: RowShape,
    ) -> Result<Option<(Rows, Duration)>, SpillError> {
        let runs = self.runs.iter().enumerate();
        let firsts = runs.filter_map(|(at, run)| Some((run.first()?, at)));
        let Some((_, at)) = firsts.min() else {
            return Ok(None);
        };
        let Some(run) = self.runs.get_mut(at) else {
            return Ok(None);
        };
        let rows = run.read_first(shape, &mut self.bytes)?;
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
        write_row(place, rows, row, &mut self.open);
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

    fn read_first(&mut self, shape: RowShape, bytes: &mut u64) -> Result<Option<Rows>, SpillError> {
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
        read_rows(&encoded, shape)
            .map(Some)
            .ok_or(SpillError::Damaged)
    }
}

fn write_row(place: Place, rows: &Rows, row: &Row, out: &mut Vec<u8>) {
    out.extend_from_slice(&place.time.0.to_le_bytes());
    out.extend_from_slice(&place.partition.0.to_le_bytes());
    out.extend_from_slice(&place.offset.0.to_le_bytes());
    row::write(rows, row, out);
}

fn read_rows(block: &[u8], shape: RowShape) -> Option<Rows> {
    let mut rows = Rows::with_capacity(shape, 0, block.len());
    let mut row_reader = RowReader::new(shape);
    let mut reader = Fields(block);
    while !reader.0.is_empty() {
        let place = Place {
            time: EventTime(reader.i64()?),
            partition: PartitionId(reader.u32()?),
            offset: Offset(reader.u64()?),
        };
        row_reader.read(place, &mut reader, &mut rows)?;
    }
    Some(rows)
}
