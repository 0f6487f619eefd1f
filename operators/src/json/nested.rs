//! Objects and arrays inside a record: checked and skipped without recursion, and the count of
//! levels that decides whether a record is nested too deep.

use crate::json::outcome::{Malformed, Value, expected, position};
use crate::json::tokens::{scan_scalar, skip_key, skip_space};

/// Which brackets are open, innermost last: one bit a level, 1 for an object. The innermost 64
/// are in one word; only deeper nesting touches memory.
#[derive(Clone, Debug, Default)]
pub(super) struct Nesting {
    word: u64,
    /// Levels in all.
    levels: u32,
    /// Full words of the levels further out.
    outer: Vec<u64>,
}

impl Nesting {
    #[inline]
    fn clear(&mut self) {
        self.levels = 0;
        self.outer.clear();
    }

    #[inline]
    fn open(&mut self, object: bool) {
        if self.levels > 0 && self.levels.is_multiple_of(u64::BITS) {
            self.outer.push(self.word);
        }
        self.word = self.word << 1 | u64::from(object);
        self.levels += 1;
    }

    #[inline]
    fn innermost_is_object(&self) -> bool {
        self.word & 1 == 1
    }

    /// Closes the innermost bracket; says whether it was the outermost one, too.
    #[inline]
    fn close(&mut self) -> bool {
        self.levels -= 1;
        self.word >>= 1;
        if self.levels == 0 {
            return true;
        }
        if self.levels.is_multiple_of(u64::BITS) {
            self.word = self.outer.pop().unwrap_or_default();
        }
        false
    }
}

/// One value of any kind whose first byte is at `at`, inside `level` open brackets; returns it and
/// the position after it. Inlined by force, as `scan_scalar` is and for its reason.
#[inline(always)]
pub(super) fn scan_value(
    record: &[u8],
    at: usize,
    level: u32,
    max_depth: u32,
    nesting: &mut Nesting,
) -> Result<(Value, usize), Malformed> {
    match record.get(at) {
        Some(b'{' | b'[') => {
            let end = skip_composite(record, at, level, max_depth, nesting)?;
            Ok((
                Value::Composite {
                    start: position(at),
                    len: position(end - at),
                },
                end,
            ))
        }
        _ => scan_scalar(record, at),
    }
}

/// The object or array whose opening bracket is at `at`, inside `level` open brackets; returns the
/// position after its closing one.
#[inline(never)]
pub(super) fn skip_composite(
    record: &[u8],
    start: usize,
    level: u32,
    max_depth: u32,
    nesting: &mut Nesting,
) -> Result<usize, Malformed> {
    let may_open = max_depth.saturating_sub(level);
    nesting.clear();
    let mut at = start;
    loop {
        // Here a value begins.
        let bracket = record.get(at);
        at = match bracket {
            Some(b'{' | b'[') => {
                if nesting.levels == may_open {
                    return Err(Malformed::TooDeep { at });
                }
                let object = bracket == Some(&b'{');
                nesting.open(object);
                let inside = skip_space(record, at + 1);
                match (object, record.get(inside)) {
                    // Nothing in it: left for the loop below to close.
                    (true, Some(b'}')) | (false, Some(b']')) => inside,
                    (true, _) => {
                        at = skip_space(record, skip_key(record, inside)?.after_colon);
                        continue;
                    }
                    (false, _) => {
                        at = inside;
                        continue;
                    }
                }
            }
            _ => scan_scalar(record, at)?.1,
        };
        // Here a value has ended, or an empty object or array is about to.
        loop {
            at = skip_space(record, at);
            match (nesting.innermost_is_object(), record.get(at)) {
                (true, Some(b',')) => {
                    let key = skip_key(record, skip_space(record, at + 1))?;
                    at = skip_space(record, key.after_colon);
                    break;
                }
                (false, Some(b',')) => {
                    at = skip_space(record, at + 1);
                    break;
                }
                (true, Some(b'}')) | (false, Some(b']')) => {
                    at += 1;
                    if nesting.close() {
                        return Ok(at);
                    }
                }
                (true, _) => return Err(expected("expected `,` or `}`", record, at)),
                (false, _) => return Err(expected("expected `,` or `]`", record, at)),
            }
        }
    }
}

/// The first bracket that opens a level beyond `max_depth`, by brackets outside strings alone: the
/// record need not be JSON. A string runs from a quote to the next one without a backslash.
#[cold]
pub(super) fn first_too_deep(record: &[u8], max_depth: u32) -> Option<usize> {
    let mut level = 0_u32;
    let mut in_string = false;
    let mut bytes = record.iter().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match (in_string, byte) {
            (_, b'"') => in_string = !in_string,
            (true, b'\\') => {
                bytes.next();
            }
            (false, b'{' | b'[') => {
                if level == max_depth {
                    return Some(at);
                }
                level += 1;
            }
            (false, b'}' | b']') => level = level.saturating_sub(1),
            _ => {}
        }
    }
    None
}
