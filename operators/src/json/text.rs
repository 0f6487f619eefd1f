//! Strings: found, checked, and, for the few that have escapes, given their meaning.

use crate::json::outcome::{Malformed, not_json};
use crate::json::words::{HIGH_BITS, eight_bytes, in_every_place, places_before_mark};

/// Bytes looked at in one step inside a long string: a whole number of the machine's vectors.
const BLOCK: usize = 32;

/// A string shorter than this is scanned by words alone: a block would look past its end.
const WORDS_BEFORE_BLOCKS: usize = 4;

/// Whether no byte has its highest bit set, and so the record needs no further check of UTF-8. The
/// standard library's function takes the last bytes one by one, which for a record of the usual
/// size costs more than all the rest.
#[inline(always)]
pub(super) fn is_ascii(record: &[u8]) -> bool {
    let (words, rest) = record.as_chunks::<8>();
    let bits = words
        .iter()
        .fold(0, |bits, word| bits | u64::from_le_bytes(*word));
    let last_bits = match record.last_chunk::<8>() {
        Some(last) => u64::from_le_bytes(*last),
        None => rest.iter().fold(0, |bits, byte| bits | u64::from(*byte)),
    };
    (bits | last_bits) & HIGH_BITS == 0
}

/// The string whose content begins at `start`: the position of its closing quote, and whether it
/// has escapes.
#[inline(always)]
pub(super) fn scan_text(record: &[u8], start: usize) -> Result<(usize, bool), Malformed> {
    let mut at = start;
    for _ in 0..WORDS_BEFORE_BLOCKS {
        let Some(word) = eight_bytes(record, at) else {
            break;
        };
        let stops = stops(word);
        if stops != 0 {
            at += places_before_mark(stops);
            if record.get(at) == Some(&b'"') {
                return Ok((at, false));
            }
            break;
        }
        at += 8;
    }
    scan_long_text(record, start, at)
}

/// `scan_text` for strings that are long, have escapes, or stand near the record's end; nothing
/// before `at` needs a second look.
#[inline(never)]
fn scan_long_text(record: &[u8], start: usize, mut at: usize) -> Result<(usize, bool), Malformed> {
    let mut escaped = false;
    loop {
        at = next_stop(record, at);
        match record.get(at) {
            Some(b'"') => return Ok((at, escaped)),
            Some(b'\\') => {
                at = skip_escape(record, start, at)?;
                escaped = true;
            }
            Some(_) => return Err(not_json("control character in a string", at)),
            None => return Err(unterminated(start)),
        }
    }
}

/// The error for a string that begins at `start` and never ends.
#[cold]
fn unterminated(start: usize) -> Malformed {
    not_json("unterminated string", start - 1)
}

/// The position of the next quote, backslash or control character, or of the record's end.
#[inline]
fn next_stop(record: &[u8], mut at: usize) -> usize {
    while let Some(block) = record
        .get(at..)
        .and_then(|rest| rest.first_chunk::<BLOCK>())
    {
        // No early exit: so the compiler compares the whole block in a few vector instructions.
        if block
            .iter()
            .fold(false, |found, &byte| found | is_stop(byte))
        {
            break;
        }
        at += BLOCK;
    }
    while let Some(word) = eight_bytes(record, at) {
        let stops = stops(word);
        if stops != 0 {
            return at + places_before_mark(stops);
        }
        at += 8;
    }
    let rest = record.get(at..).unwrap_or_default();
    at + rest
        .iter()
        .position(|&byte| is_stop(byte))
        .unwrap_or(rest.len())
}

/// Whether a byte of a string is not simply one of its content.
#[inline(always)]
const fn is_stop(byte: u8) -> bool {
    byte < b' ' || byte == b'"' || byte == b'\\'
}

/// Marks the places that hold a stop. Places above the lowest marked one may be marked wrongly (a
/// borrow runs upwards), so only the lowest mark counts; no mark means no stop.
#[inline(always)]
const fn stops(word: u64) -> u64 {
    const ONES: u64 = in_every_place(1);
    let control = word.wrapping_sub(in_every_place(b' ')) & !word;
    let quote = word ^ in_every_place(b'"');
    let quote = quote.wrapping_sub(ONES) & !quote;
    let backslash = word ^ in_every_place(b'\\');
    let backslash = backslash.wrapping_sub(ONES) & !backslash;
    (control | quote | backslash) & HIGH_BITS
}

/// The escape whose backslash is at `at`, in the string that begins at `start`; returns the
/// position after it, or after both halves of a surrogate pair.
fn skip_escape(record: &[u8], start: usize, at: usize) -> Result<usize, Malformed> {
    match record.get(at + 1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(at + 2),
        Some(b'u') => match hex_unit(record, start, at)? {
            0xd800..=0xdbff => match (record.get(at + 6), record.get(at + 7)) {
                (Some(b'\\'), Some(b'u')) => match hex_unit(record, start, at + 6)? {
                    0xdc00..=0xdfff => Ok(at + 12),
                    _ => Err(not_json("lone surrogate", at)),
                },
                _ => Err(not_json("lone surrogate", at)),
            },
            0xdc00..=0xdfff => Err(not_json("lone surrogate", at)),
            _ => Ok(at + 6),
        },
        Some(_) => Err(not_json("invalid escape", at)),
        None => Err(unterminated(start)),
    }
}

/// The four hex digits of the `\u` escape whose backslash is at `at`.
fn hex_unit(record: &[u8], start: usize, at: usize) -> Result<u32, Malformed> {
    let digits = record.get(at + 2..).unwrap_or_default();
    match digits.first_chunk::<4>() {
        Some(digits) => hex_value(digits).ok_or_else(|| not_json("invalid escape", at)),
        None if digits.iter().all(u8::is_ascii_hexdigit) => Err(unterminated(start)),
        None => Err(not_json("invalid escape", at)),
    }
}

/// The value of four hex digits.
fn hex_value(digits: &[u8; 4]) -> Option<u32> {
    digits.iter().try_fold(0, |value, &byte| {
        let digit = char::from(byte).to_digit(16)?;
        Some(value * 16 + digit)
    })
}

/// Appends the meaning of an escaped string's content to `into`, as UTF-8. `text` is the span of a
/// [`Value::Text`](crate::json::Value::Text); in any other text, what is no valid escape is kept
/// as it is.
pub fn unescape(text: &str, into: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (plain, escape) = rest.split_at(at);
        into.extend_from_slice(plain.as_bytes());
        let (meaning, len) = escape_meaning(escape.as_bytes()).unwrap_or(('\\', 1));
        into.extend_from_slice(meaning.encode_utf8(&mut [0; 4]).as_bytes());
        // Every escape is ASCII, so this is always at a character.
        rest = escape.get(len..).unwrap_or_default();
    }
    into.extend_from_slice(rest.as_bytes());
}

/// What the escape at the start of `text` stands for, and its length in bytes.
fn escape_meaning(text: &[u8]) -> Option<(char, usize)> {
    let meaning = match text.get(1)? {
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => return unicode_meaning(text),
        byte @ (b'"' | b'\\' | b'/') => char::from(*byte),
        _ => return None,
    };
    Some((meaning, 2))
}

/// `escape_meaning` of `\uXXXX`, or of two that form a surrogate pair.
fn unicode_meaning(text: &[u8]) -> Option<(char, usize)> {
    let unit = |at: usize| hex_value(text.get(at..)?.first_chunk::<4>()?);
    let high = unit(2)?;
    if !(0xd800..=0xdbff).contains(&high) {
        return Some((char::from_u32(high)?, 6));
    }
    if text.get(6..8) != Some(b"\\u") {
        return None;
    }
    let low = unit(8)?.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
    let code = 0x1_0000 + ((high - 0xd800) << 10) + low;
    Some((char::from_u32(code)?, 12))
}
