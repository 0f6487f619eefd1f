//! What is kept of a line longer than `max_bytes` that comes in pieces: the same as of a record in memory.
//!
//! A dead letter shows the beginning of the record and names its length and digest, by which it can be
//! found again where it came from. So one record of any length never needs more memory than its head.

use sha2::{Digest, Sha256};
use slackwater_dataflow::source::{OVERSIZE_HEAD_BYTES, Payload};

/// A line that is too long to be held, taken in piece by piece.
#[derive(Default)]
pub(crate) struct LongLine {
    head: Vec<u8>,
    hasher: Sha256,
    /// Bytes that belong to the record for certain.
    length: u64,
    /// The last byte taken in was a carriage return: part of the record only if something follows.
    held_return: bool,
}

impl LongLine {
    /// Takes in the next bytes of the line, without its line feed.
    pub(crate) fn push(&mut self, piece: &[u8]) {
        let Some((&last, before)) = piece.split_last() else {
            return;
        };
        if std::mem::take(&mut self.held_return) {
            self.keep(b"\r");
        }
        self.held_return = last == b'\r';
        self.keep(if self.held_return { before } else { piece });
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = OVERSIZE_HEAD_BYTES - self.head.len();
        self.head
            .extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
    }

    /// Bytes of the line taken in so far.
    pub(crate) fn line_bytes(&self) -> u64 {
        self.length + u64::from(self.held_return)
    }

    /// The line is complete: hands out its record, without a trailing carriage return.
    pub(crate) fn finish<F>(self, emit: impl FnOnce(Payload<'_>) -> F) -> F {
        emit(Payload::Oversize {
            head: &self.head,
            length: self.length,
            sha256: self.hasher.finalize().into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pieces of a line against the same line cut in one go.
    fn check(pieces: &[&[u8]], expected_record: &[u8]) {
        let mut line = LongLine::default();
        for piece in pieces {
            line.push(piece);
        }
        assert_eq!(line.line_bytes() as usize, pieces.concat().len());
        // A limit of zero makes any record but the empty one too long.
        line.finish(|found| assert_eq!(found, Payload::of(expected_record, 0), "{pieces:?}"));
    }

    #[test]
    fn does_a_line_in_pieces_give_the_record_it_would_give_whole() {
        check(&[b"ab", b"c"], b"abc");
        check(&[b"ab", b"", b"c\r"], b"abc");
        check(&[b"ab\r", b"c"], b"ab\rc");
        check(&[b"ab\r", b"\r"], b"ab\r");
        check(&[b"ab\r", b""], b"ab");
        let long = vec![b'x'; OVERSIZE_HEAD_BYTES + 7];
        check(&[&long], &long);
        check(&[&long, &long], &[long.as_slice(), &long].concat());
    }
}
