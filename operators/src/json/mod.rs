//! Reads one JSON record into the fields of a schema that is known only at run time.
//!
//! Decoding is the first thing that happens to every event and sees every byte of it, so this is a
//! scanner of our own: it checks the whole record strictly (RFC 8259) but builds nothing. For each
//! field of the schema it reports where the value lies; everything else is checked and skipped.
//! There is no recursion anywhere, so nesting costs memory (one bit a level), never stack.
//!
//! What makes it quick: keys are compared eight bytes at a time with the key that followed last
//! time; texts and digits are scanned eight bytes at a time; a record of ASCII needs no UTF-8
//! decoding. What keeps it right: it is raced against `serde_json` by property tests, by the
//! stored corpus, and by the fuzz target `decode` (see `race.rs`).

mod outcome;
mod words;

mod number;
mod text;

mod tokens;

mod nested;

mod keys;

mod elements;
mod paths;

#[cfg(test)]
mod race;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

pub use elements::Elements;
pub use keys::Schema;
pub use number::{parse_f64, parse_i64};
pub use outcome::{Malformed, Value};
pub use paths::{Obstacle, PathScanner};
pub use text::unescape;

use keys::Order;
use nested::{Nesting, first_too_deep, scan_value};
use outcome::{expected, not_json};
use tokens::{check_end, skip_key, skip_space};

/// The longest record in bytes: spans are kept as `u32`. `max_bytes` is far below it in any real
/// pipeline.
const MAX_RECORD_BYTES: usize = u32::MAX as usize;

/// Scans records of one schema. Keeps what it learnt about the order of keys and its buffers from
/// one record to the next; neither changes any result.
#[derive(Clone, Debug)]
pub struct Scanner {
    schema: Schema,
    order: Order,
    nesting: Nesting,
    /// The meaning of a key that was written with escapes.
    key: Vec<u8>,
}

impl Scanner {
    /// A scanner for records of `schema`.
    #[must_use]
    pub fn new(schema: Schema) -> Self {
        let order = Order::new(schema.len());
        Self {
            schema,
            order,
            nesting: Nesting::default(),
            key: Vec::new(),
        }
    }

    /// The schema whose fields [`scan`](Self::scan) looks for.
    #[must_use]
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Scans one whole record and writes into `values[i]` what it holds for field `i` of the
    /// schema; `values` has one entry per field and is reset first. Of equal keys the last wins.
    /// Only keys of the outermost object count. `max_depth` is the deepest level of brackets that
    /// is allowed, the outermost being 1.
    ///
    /// # Errors
    /// [`Malformed`]: the whole record is judged for one reason before the next is considered, so
    /// bad UTF-8 wins over too deep, and too deep over not JSON, wherever they stand. `values` is
    /// then unspecified.
    pub fn scan(
        &mut self,
        record: &[u8],
        max_depth: u32,
        values: &mut [Value],
    ) -> Result<(), Malformed> {
        debug_assert_eq!(
            values.len(),
            self.schema.len(),
            "one value per field of the schema"
        );
        values.fill(Value::Missing);
        if !text::is_ascii(record)
            && let Err(error) = std::str::from_utf8(record)
        {
            return Err(Malformed::NotUtf8 {
                at: error.valid_up_to(),
            });
        }
        if record.len() > MAX_RECORD_BYTES {
            return Err(not_json("it has 4 GiB or more", MAX_RECORD_BYTES));
        }
        self.scan_document(record, max_depth, values)
            .map_err(|malformed| match malformed {
                // A fault of JSON ends the scan at once, so brackets after it are still uncounted.
                Malformed::NotJson { .. } => first_too_deep(record, max_depth)
                    .map_or(malformed, |at| Malformed::TooDeep { at }),
                _ => malformed,
            })
    }

    /// The record's one value with the white space around it.
    #[inline]
    fn scan_document(
        &mut self,
        record: &[u8],
        max_depth: u32,
        values: &mut [Value],
    ) -> Result<(), Malformed> {
        let start = skip_space(record, 0);
        let kind = match record.get(start) {
            Some(b'{') => {
                if max_depth == 0 {
                    return Err(Malformed::TooDeep { at: start });
                }
                let end = self.scan_object::<true>(record, start + 1, max_depth, values)?;
                return check_end(record, end);
            }
            Some(b'[') => "array",
            Some(b'"') => "string",
            Some(b't' | b'f') => "boolean",
            Some(b'n') => "null",
            Some(_) => "number",
            None => return Err(not_json("it is empty", start)),
        };
        let (_, end) = scan_value(record, start, 0, max_depth, &mut self.nesting)?;
        check_end(record, end)?;
        Err(Malformed::NotObject { kind })
    }

    /// Scans an object inside a record whose whole text was scanned before, from its opening bracket; as for the
    /// outermost one, only its own keys count.
    #[inline(never)]
    fn scan_inner(
        &mut self,
        record: &[u8],
        start: usize,
        values: &mut [Value],
    ) -> Result<(), Malformed> {
        values.fill(Value::Missing);
        self.scan_object::<false>(record, start + 1, u32::MAX, values)
            .map(|_end| ())
    }

    /// The keys of an object from after its opening bracket; returns the position after the closing one. Of the
    /// outermost object there is a copy of its own, with a single caller that it becomes a part of: shared with the
    /// others, it would cost a record of the usual size a tenth more.
    #[inline]
    fn scan_object<const OUTERMOST: bool>(
        &mut self,
        record: &[u8],
        start: usize,
        max_depth: u32,
        values: &mut [Value],
    ) -> Result<usize, Malformed> {
        let mut at = skip_space(record, start);
        if record.get(at) == Some(&b'}') {
            return Ok(at + 1);
        }
        let mut previous = self.order.before_first();
        loop {
            let likely = self.order.after(previous);
            let (field, after_key) = match self.schema.match_key(likely, record, at) {
                Some(after_key) => (Some(likely), after_key),
                None => self.find_key(record, at, previous)?,
            };
            at = skip_space(record, after_key);
            let (value, after_value) = scan_value(record, at, 1, max_depth, &mut self.nesting)?;
            if let Some(field) = field {
                if let Some(slot) = values.get_mut(field) {
                    *slot = value;
                }
                previous = field;
            }
            at = skip_space(record, after_value);
            match record.get(at) {
                Some(b',') => at = skip_space(record, at + 1),
                Some(b'}') => return Ok(at + 1),
                _ => return Err(expected("expected `,` or `}`", record, at)),
            }
        }
    }

    /// A key that the order did not foretell, and its colon: which field it names, if any, and
    /// the position after the colon.
    #[inline(never)]
    fn find_key(
        &mut self,
        record: &[u8],
        at: usize,
        previous: usize,
    ) -> Result<(Option<usize>, usize), Malformed> {
        let key = skip_key(record, at)?;
        let written = record.get(at + 1..key.end).unwrap_or_default();
        let field = if key.escaped {
            self.key.clear();
            unescape(
                std::str::from_utf8(written).unwrap_or_default(),
                &mut self.key,
            );
            self.schema.find(&self.key)
        } else {
            self.schema.find(written)
        };
        if let Some(field) = field {
            self.order.learn(previous, field);
        }
        Ok((field, key.after_colon))
    }
}
