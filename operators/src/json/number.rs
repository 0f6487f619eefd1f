//! Numbers: checked where they stand, their digits read only when a field asks for the value.

use crate::json::outcome::{Malformed, expected, not_json};
use crate::json::words::{HIGH_BITS, eight_bytes, in_every_place, places_before_mark};

/// A number without exponent and with at most this many bytes is below 10^300, so within `f64`
/// (largest: about 1.8 * 10^308). Others are read to find out.
const SURELY_FINITE_BYTES: usize = 300;

/// By how much the value of digits grows when so many more follow, up to seven.
const POWERS_OF_TEN: [u64; 8] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000];

/// The number at `start`, whose first byte is a minus or a digit: the position after it, and
/// whether it is written as an integer.
#[inline(always)]
pub(super) fn scan_number(record: &[u8], start: usize) -> Result<(usize, bool), Malformed> {
    let first = if record.get(start) == Some(&b'-') {
        start + 1
    } else {
        start
    };
    let end = skip_digits(record, first);
    if record.get(first) == Some(&b'0') && end > first + 1 {
        return Err(not_json("leading zero", first));
    }
    if end == first {
        return Err(expected("expected a digit", record, end));
    }
    if let Some(b'.' | b'e' | b'E') = record.get(end) {
        return Ok((scan_fraction(record, start, end)?, false));
    }
    if end - start > SURELY_FINITE_BYTES {
        check_range(record, start, end)?;
    }
    Ok((end, true))
}

/// The rest of a number from its point or exponent at `at`; returns the position after it.
fn scan_fraction(record: &[u8], start: usize, mut at: usize) -> Result<usize, Malformed> {
    if record.get(at) == Some(&b'.') {
        at = skip_some_digits(record, at + 1)?;
    }
    let exponent = matches!(record.get(at), Some(b'e' | b'E'));
    if exponent {
        let signed = matches!(record.get(at + 1), Some(b'+' | b'-'));
        at = skip_some_digits(record, at + 1 + usize::from(signed))?;
    }
    if exponent || at - start > SURELY_FINITE_BYTES {
        check_range(record, start, at)?;
    }
    Ok(at)
}

#[inline(never)]
fn check_range(record: &[u8], start: usize, end: usize) -> Result<(), Malformed> {
    match record.get(start..end).and_then(parse_f64) {
        Some(_) => Ok(()),
        None => Err(not_json("number out of range", start)),
    }
}

/// The position after the digits at `at`, of which there must be one.
#[inline]
fn skip_some_digits(record: &[u8], at: usize) -> Result<usize, Malformed> {
    let end = skip_digits(record, at);
    if end == at {
        return Err(expected("expected a digit", record, at));
    }
    Ok(end)
}

/// The position after the digits at `at`, of which there may be none.
#[inline(always)]
fn skip_digits(record: &[u8], mut at: usize) -> usize {
    while let Some(word) = eight_bytes(record, at) {
        let others = not_digits(word);
        if others != 0 {
            return at + places_before_mark(others);
        }
        at += 8;
    }
    while let Some(b'0'..=b'9') = record.get(at) {
        at += 1;
    }
    at
}

/// Marks the places that hold no digit. Exact in every place: nothing carries into the next.
#[inline(always)]
const fn not_digits(word: u64) -> u64 {
    const ABOVE_NINE: u64 = in_every_place(0x80 - 10);
    let values = word ^ in_every_place(b'0');
    (((values & !HIGH_BITS) + ABOVE_NINE) | values) & HIGH_BITS
}

/// The value of eight digits, the first in the lowest place: pairs, then fours, then all eight are
/// put together by one multiplication each.
#[inline(always)]
const fn eight_digits(word: u64) -> u64 {
    let digits = word & in_every_place(0x0f);
    let pairs = (digits.wrapping_mul(2_561) >> 8) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs.wrapping_mul(6_553_601) >> 16) & 0x0000_ffff_0000_ffff;
    fours.wrapping_mul(42_949_672_960_001) >> 32
}

/// The value of an integer's digits, a minus allowed; `None` outside `i64` or for anything else.
/// Leading zeros, which the scanner refuses, count for nothing here.
#[inline]
#[must_use]
pub fn parse_i64(digits: &[u8]) -> Option<i64> {
    let (negative, digits) = match digits {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.is_empty() {
        return None;
    }
    let mut size = 0_u64;
    let (words, rest) = digits.as_chunks::<8>();
    for word in words {
        let word = u64::from_le_bytes(*word);
        if not_digits(word) != 0 {
            return None;
        }
        size = size
            .checked_mul(100_000_000)?
            .checked_add(eight_digits(word))?;
    }
    match (rest.len(), digits.last_chunk::<8>()) {
        (0, _) => {}
        (more, Some(last)) => {
            // The last digits are read with some before them, which then are blanked to zeros.
            let word = u64::from_le_bytes(*last);
            if not_digits(word) != 0 {
                return None;
            }
            let tail = eight_digits(word & (u64::MAX << (64 - 8 * more)));
            size = size
                .checked_mul(*POWERS_OF_TEN.get(more)?)?
                .checked_add(tail)?;
        }
        (_, None) => {
            for &byte in rest {
                let digit = byte.wrapping_sub(b'0');
                if digit > 9 {
                    return None;
                }
                size = size * 10 + u64::from(digit);
            }
        }
    }
    if negative {
        0_i64.checked_sub_unsigned(size)
    } else {
        i64::try_from(size).ok()
    }
}

/// The value of a number as written, correctly rounded; `None` if it overflows `f64` or is no
/// number.
#[must_use]
pub fn parse_f64(digits: &[u8]) -> Option<f64> {
    let number: f64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    number.is_finite().then_some(number)
}
