//! The elements of a list, one after the other: for who needs what is in it, and not only where it lies.

use std::borrow::Cow;

use crate::json::nested::{Nesting, scan_value};
use crate::json::number::parse_f64;
use crate::json::outcome::Value;
use crate::json::text::unescape;
use crate::json::tokens::skip_space;

/// The elements of a JSON array in order, each with its place in the array's text.
///
/// The text is that of a [`Value::Composite`] of a record that was scanned. In any other text the elements end where
/// it is no array.
#[derive(Clone, Debug)]
pub struct Elements<'r> {
    list: &'r [u8],
    at: usize,
    nesting: Nesting,
}

impl<'r> Elements<'r> {
    /// The elements of the array that this text is, brackets included.
    #[must_use]
    pub fn of(list: &'r [u8]) -> Self {
        let at = match list.first() {
            Some(b'[') => skip_space(list, 1),
            _ => list.len(),
        };
        Elements {
            list,
            at,
            nesting: Nesting::default(),
        }
    }

    /// The elements as numbers; those that are none are left out.
    pub fn numbers(self) -> impl Iterator<Item = f64> + 'r {
        let list = self.list;
        self.filter_map(move |value| match value {
            Value::Number { .. } => value.span(list).and_then(parse_f64),
            _ => None,
        })
    }

    /// The elements as texts, unescaped; those that are none are left out.
    pub fn texts(self) -> impl Iterator<Item = Cow<'r, str>> + 'r {
        let list = self.list;
        self.filter_map(move |value| match value {
            Value::Text { escaped, .. } => {
                let written = str::from_utf8(value.span(list)?).ok()?;
                Some(if escaped {
                    unescaped(written)
                } else {
                    Cow::Borrowed(written)
                })
            }
            _ => None,
        })
    }
}

fn unescaped(written: &str) -> Cow<'_, str> {
    let mut meaning = Vec::new();
    unescape(written, &mut meaning);
    // Out of one text comes another.
    Cow::Owned(String::from_utf8(meaning).unwrap_or_default())
}

impl Iterator for Elements<'_> {
    type Item = Value;

    #[inline]
    fn next(&mut self) -> Option<Value> {
        // An empty array, its end, or the end of what is no array.
        if matches!(self.list.get(self.at), None | Some(b']')) {
            return None;
        }
        let Ok((value, end)) = scan_value(self.list, self.at, 0, u32::MAX, &mut self.nesting)
        else {
            self.at = self.list.len();
            return None;
        };
        let behind = skip_space(self.list, end);
        self.at = match self.list.get(behind) {
            Some(b',') => skip_space(self.list, behind + 1),
            _ => self.list.len(),
        };
        Some(value)
    }
}
