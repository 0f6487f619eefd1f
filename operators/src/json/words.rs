//! Eight bytes at a time: a word read from a record holds one byte in each of its eight places, and
//! ordinary arithmetic then looks at all of them at once.

/// The eight bytes from `at` on, the first in the lowest place; `None` if fewer are left.
#[inline(always)]
pub(super) fn eight_bytes(record: &[u8], at: usize) -> Option<u64> {
    record
        .get(at..)?
        .first_chunk::<8>()
        .map(|bytes| u64::from_le_bytes(*bytes))
}

/// `byte` in each of the eight places of a word.
pub(super) const fn in_every_place(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// The highest bit of each of the eight places.
pub(super) const HIGH_BITS: u64 = in_every_place(0x80);

/// How many of the lowest places of `marks` are unmarked; `marks` has only high bits, at least one.
#[inline(always)]
pub(super) fn places_before_mark(marks: u64) -> usize {
    (marks.trailing_zeros() / 8) as usize
}
