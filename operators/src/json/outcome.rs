//! What a scan finds: the values of a record, or why it has none.

/// What a record holds for one field of the schema. Spans are byte positions in the record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Value {
    /// The record has no such key.
    #[default]
    Missing,
    /// The key is nested, and what stands on the way to it is no object: see
    /// [`obstacle`](crate::json::PathScanner::obstacle).
    Blocked,
    /// `null`.
    Null,
    /// `true`.
    True,
    /// `false`.
    False,
    /// A number; its span is the number as written.
    Number {
        /// First byte.
        start: u32,
        /// Length in bytes.
        len: u32,
        /// Written with neither fraction nor exponent. It may still be outside `i64`.
        integer: bool,
    },
    /// A string; its span is what stands between the quotes.
    Text {
        /// First byte after the opening quote.
        start: u32,
        /// Length in bytes, as written.
        len: u32,
        /// The span has escapes: its meaning comes from [`unescape`](crate::json::unescape).
        escaped: bool,
    },
    /// An object or an array; its span includes the brackets.
    Composite {
        /// The opening bracket.
        start: u32,
        /// Length in bytes, both brackets included.
        len: u32,
    },
}

impl Value {
    /// The bytes of `record` that this value's span covers: the digits of a number, the content
    /// of a string without its quotes, a whole object or array. `None` for the other kinds, and
    /// when `record` is not the record that was scanned and is too short.
    #[inline]
    #[must_use]
    pub fn span<'r>(&self, record: &'r [u8]) -> Option<&'r [u8]> {
        let (start, len) = match *self {
            Self::Missing | Self::Blocked | Self::Null | Self::True | Self::False => return None,
            Self::Number { start, len, .. }
            | Self::Text { start, len, .. }
            | Self::Composite { start, len } => (start as usize, len as usize),
        };
        record.get(start..)?.get(..len)
    }
}

/// Why a record is not an object of JSON, in the order in which the reasons win. `at` is a byte
/// position in the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// The first byte that does not belong to valid UTF-8.
    NotUtf8 {
        /// The first invalid byte.
        at: usize,
    },
    /// Nested deeper than allowed; the outermost bracket is level 1.
    TooDeep {
        /// The bracket that opens the first level too many.
        at: usize,
    },
    /// Not JSON.
    NotJson {
        /// What is wrong, a few words that fit after "record is not JSON: ".
        reason: &'static str,
        /// Where: the offending byte, the record's length if it ends too early, the opening quote
        /// of an unterminated string, the backslash of a bad escape, the first byte of a number
        /// that is out of range.
        at: usize,
    },
    /// Valid JSON, but not an object.
    NotObject {
        /// "array", "string", "number", "boolean" or "null".
        kind: &'static str,
    },
}

/// The error for JSON that breaks off or goes wrong. Kept out of line: it is not the usual path.
#[cold]
pub(super) fn not_json(reason: &'static str, at: usize) -> Malformed {
    Malformed::NotJson { reason, at }
}

/// `not_json` for a record that should go on at `at`: tells "it ends here" from "something else
/// stands here".
#[cold]
pub(super) fn expected(what: &'static str, record: &[u8], at: usize) -> Malformed {
    let reason = if at < record.len() {
        what
    } else {
        "unexpected end"
    };
    not_json(reason, at)
}

/// A position as a span keeps it.
#[inline(always)]
#[expect(
    clippy::cast_possible_truncation,
    reason = "scan refuses longer records first"
)]
pub(super) fn position(at: usize) -> u32 {
    at as u32
}
