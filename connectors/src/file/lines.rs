//! Cuts a stream of bytes into lines without copying them, whatever their length.
//!
//! A record is a line without its line feed and without a carriage return before it. Bytes after the
//! last line feed are a record too, once the input has ended; the emptiness after it is not. An empty line
//! is a record: to reject it is the engine's business, and nothing may vanish before it is counted.
//!
//! An input that has no bytes now but may have some later says so with [`io::ErrorKind::WouldBlock`].

use std::io::{self, Read};
use std::ops::ControlFlow;

use memchr::memchr;
use slackwater_dataflow::place::{Mark, Offset};
use slackwater_dataflow::source::Payload;

use crate::file::again::Tail;
use crate::oversize::LongLine;

/// Bytes asked of the system at once: large enough that the calls (about a microsecond each) vanish
/// beside the records in a block, small enough that a block stays in the second-level cache until its
/// records are decoded.
pub(super) const BLOCK_BYTES: usize = 256 * 1024;

/// Bytes of a too long line taken in by one call of [`LineReader::read`]. Such a line gives nothing to
/// emit until its end; the worker must have its turn in between (a few milliseconds at hashing speed).
const LONG_BYTES_PER_READ: u64 = 4 * 1024 * 1024;

/// What is to be expected of the next call of [`LineReader::read`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lines {
    /// More, perhaps at once.
    More,
    /// None before the input has more bytes.
    Dry,
    /// None: the input has ended and all were handed out.
    Ended,
}

/// Where lines end.
pub(super) trait Ends {
    /// The first line feed of `bytes` that ends a line. The next call gets what is behind it; if there was none, what is
    /// behind all of `bytes`.
    fn find(&mut self, bytes: &[u8]) -> Option<usize>;
}

/// Every line feed ends a line.
#[derive(Debug)]
pub(super) struct Feeds;

impl Ends for Feeds {
    #[inline]
    fn find(&mut self, bytes: &[u8]) -> Option<usize> {
        memchr(b'\n', bytes)
    }
}

/// Reads lines in blocks and hands out slices of its buffer.
///
/// Invariant: `start <= scanned <= filled <= buffer.len()`; every slice below rests on it. The buffer
/// never holds more than `max_bytes` and a block, and shrinks to a block after a longer line.
pub(super) struct LineReader<R, E = Feeds> {
    input: R,
    ends: E,
    max_bytes: usize,
    buffer: Vec<u8>,
    /// Ordinary size of the buffer.
    block_bytes: usize,
    /// Largest size of the buffer.
    buffer_max: usize,
    /// Where the line being looked at begins.
    start: usize,
    /// Up to where it was searched for a line feed.
    scanned: usize,
    /// Up to where the buffer holds bytes of the input.
    filled: usize,
    /// Place of the line being looked at in the input.
    position: u64,
    /// What stood before the buffer's bytes.
    tail: Tail,
    /// The input has no more bytes.
    drained: bool,
    /// The line being looked at, if it is too long to be held.
    long: Option<LongLine>,
}

impl<R: Read> LineReader<R> {
    /// A reader of `input` from its beginning, in blocks of `block_bytes` (at least 1).
    pub(super) fn new(input: R, max_bytes: usize, block_bytes: usize) -> Self {
        LineReader::cut_at(Feeds, input, max_bytes, block_bytes)
    }
}

impl<R: Read, E: Ends> LineReader<R, E> {
    /// The same, of lines that end elsewhere.
    pub(super) fn cut_at(ends: E, input: R, max_bytes: usize, block_bytes: usize) -> Self {
        let block_bytes = block_bytes.max(1);
        LineReader {
            input,
            ends,
            max_bytes,
            buffer: vec![0; block_bytes],
            block_bytes,
            // A line of max_bytes + 2 without a line feed is too long even if it ends in a carriage
            // return: nothing longer need ever be held.
            buffer_max: block_bytes.max(max_bytes.saturating_add(2)),
            start: 0,
            scanned: 0,
            filled: 0,
            position: 0,
            tail: Tail::default(),
            drained: false,
            long: None,
        }
    }

    /// The same reader of an input that does not stand at its beginning but at byte `position`, where a line begins,
    /// behind `tail`.
    pub(super) fn beginning_at(mut self, position: u64, tail: Tail) -> Self {
        self.position = position;
        self.tail = tail;
        self
    }

    /// What stands right before [`Self::position`]; none at the beginning, and inside a very long line.
    pub(super) fn mark(&self) -> Option<Mark> {
        if self.long.is_some() {
            return None;
        }
        let mut tail = self.tail.clone();
        tail.push(&self.buffer[..self.start]);
        tail.mark()
    }

    /// Where the line that is handed out next begins.
    pub(super) fn position(&self) -> Offset {
        Offset(self.position)
    }

    /// Bytes of a line whose end was not read yet.
    pub(super) fn unfinished(&self) -> u64 {
        let held = (self.filled - self.start) as u64;
        held + self.long.as_ref().map_or(0, LongLine::line_bytes)
    }

    /// Hands out at most `limit` records, fewer if `emit` breaks.
    ///
    /// May hand out none and say that there is more: inside a very long line.
    pub(super) fn read(
        &mut self,
        limit: usize,
        emit: &mut dyn FnMut(Offset, Payload<'_>) -> ControlFlow<()>,
    ) -> io::Result<Lines> {
        let mut records = 0;
        let mut long_bytes = 0;
        while records < limit && long_bytes < LONG_BYTES_PER_READ {
            match self.ends.find(&self.buffer[self.scanned..self.filled]) {
                Some(found) => {
                    let end = self.scanned + found;
                    records += 1;
                    if self.hand_out(end, 1, emit).is_break() {
                        break;
                    }
                }
                None if self.drained => {
                    if self.has_ended() {
                        break;
                    }
                    records += 1;
                    if self.hand_out(self.filled, 0, emit).is_break() {
                        break;
                    }
                }
                None => {
                    self.scanned = self.filled;
                    long_bytes += self.set_aside_if_long();
                    if !self.fill()? {
                        return Ok(Lines::Dry);
                    }
                }
            }
        }
        Ok(if self.has_ended() {
            Lines::Ended
        } else {
            Lines::More
        })
    }

    fn has_ended(&self) -> bool {
        self.drained && self.start == self.filled && self.long.is_none()
    }

    /// Hands out the line that ends at `end`, followed by `feed` bytes of line feed.
    fn hand_out(
        &mut self,
        end: usize,
        feed: usize,
        emit: &mut dyn FnMut(Offset, Payload<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let line = &self.buffer[self.start..end];
        let offset = Offset(self.position);
        let flow = match self.long.take() {
            Some(mut long) => {
                long.push(line);
                self.position += long.line_bytes();
                long.finish(|payload| emit(offset, payload))
            }
            None => {
                self.position += line.len() as u64;
                let record = line.strip_suffix(b"\r").unwrap_or(line);
                emit(offset, Payload::of(record, self.max_bytes))
            }
        };
        self.position += feed as u64;
        self.start = end + feed;
        self.scanned = self.start;
        flow
    }

    /// Empties the buffer into [`Self::long`] when its line is too long to be held; the bytes taken.
    fn set_aside_if_long(&mut self) -> u64 {
        let line = &self.buffer[self.start..self.filled];
        if self.long.is_none() && line.len() <= self.max_bytes.saturating_add(1) {
            return 0;
        }
        self.long.get_or_insert_default().push(line);
        self.start = self.filled;
        line.len() as u64
    }

    /// Reads once into the free end of the buffer, after making room for at least one byte; whether the
    /// input had something to say.
    fn fill(&mut self) -> io::Result<bool> {
        if self.start == self.filled {
            self.move_to_front();
        } else if self.filled == self.buffer.len() {
            if self.start > 0 {
                self.move_to_front();
            } else {
                let larger = self.buffer.len().saturating_mul(2).min(self.buffer_max);
                self.buffer.resize(larger, 0);
            }
        }
        let read = loop {
            match self.input.read(&mut self.buffer[self.filled..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                result => break result?,
            }
        };
        self.filled += read;
        self.drained = read == 0;
        Ok(true)
    }

    fn move_to_front(&mut self) {
        self.tail.push(&self.buffer[..self.start]);
        self.buffer.copy_within(self.start..self.filled, 0);
        self.filled -= self.start;
        self.scanned -= self.start;
        self.start = 0;
        if self.buffer.len() > self.block_bytes && self.filled < self.block_bytes {
            self.buffer.truncate(self.block_bytes);
            self.buffer.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests;
