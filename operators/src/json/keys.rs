//! Which field a key names: the schema's names, and the order in which keys tend to come.
//!
//! Producers write the keys of their records in one order. So the key after this one is most
//! likely the one that followed it last time, and comparing with one name is all it takes.

use crate::json::words::{eight_bytes, in_every_place};

/// The words of a [`Pattern`]: names of up to 29 bytes are compared eight bytes at a time, longer
/// ones are found the slower way.
const PATTERN_WORDS: usize = 4;

/// The names of a job's fields, in the order of its schema.
#[derive(Clone, Debug)]
pub struct Schema {
    fields: Box<[Field]>,
}

#[derive(Clone, Debug)]
struct Field {
    name: Box<str>,
    pattern: Option<Pattern>,
}

/// A name as compact JSON writes it, quotes and colon included, in words of eight bytes.
#[derive(Clone, Debug)]
struct Pattern {
    words: [u64; PATTERN_WORDS],
    /// The words that are used before the last.
    whole_words: usize,
    last: u64,
    /// The bits of the last word that count.
    last_mask: u64,
    len: usize,
}

impl Schema {
    /// A schema of these field names; any text can be a name. Of equal names the first is found.
    #[must_use]
    pub fn new<S: AsRef<str>>(names: &[S]) -> Self {
        let field = |name: &S| {
            let name = name.as_ref();
            Field {
                name: name.into(),
                pattern: Pattern::new(name),
            }
        };
        Self {
            fields: names.iter().map(field).collect(),
        }
    }

    /// The number of fields.
    #[must_use]
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether there is no field at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// The names in schema order.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.fields.iter().map(|field| &*field.name)
    }

    /// If the key and colon of `field` stand at `at` as compact JSON writes them, the position
    /// after the colon. `None` says only that it takes [`find`](Self::find) to know.
    #[inline(always)]
    pub(super) fn match_key(&self, field: usize, record: &[u8], at: usize) -> Option<usize> {
        let pattern = self.fields.get(field)?.pattern.as_ref()?;
        let mut place = at;
        for &word in pattern.words.iter().take(pattern.whole_words) {
            if eight_bytes(record, place)? != word {
                return None;
            }
            place += 8;
        }
        let matches = (eight_bytes(record, place)? ^ pattern.last) & pattern.last_mask == 0;
        matches.then_some(at + pattern.len)
    }

    /// The field with this name.
    pub(super) fn find(&self, name: &[u8]) -> Option<usize> {
        self.fields
            .iter()
            .position(|field| field.name.as_bytes() == name)
    }
}

impl Pattern {
    /// `None` if the name is too long, or if JSON can write it only with escapes: then the bytes
    /// of the name itself, in a record, would be a fault or mean another name.
    fn new(name: &str) -> Option<Self> {
        if name
            .bytes()
            .any(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f))
        {
            return None;
        }
        let written = format!("\"{name}\":");
        let len = written.len();
        if len > PATTERN_WORDS * 8 {
            return None;
        }
        let mut words = [0; PATTERN_WORDS];
        for (word, bytes) in words.iter_mut().zip(written.as_bytes().chunks(8)) {
            let mut padded = [0; 8];
            for (place, byte) in padded.iter_mut().zip(bytes) {
                *place = *byte;
            }
            *word = u64::from_le_bytes(padded);
        }
        let whole_words = (len - 1) / 8;
        let last_bytes = len - whole_words * 8;
        let last_mask = in_every_place(0xff) >> (64 - 8 * last_bytes);
        let last = words.get(whole_words).copied()?;
        Some(Self {
            words,
            whole_words,
            last,
            last_mask,
            len,
        })
    }
}

/// Which field's key came after which, last time.
#[derive(Clone, Debug)]
pub(super) struct Order {
    /// By field, and in the last place what came first in the record.
    next: Box<[usize]>,
}

impl Order {
    /// Starts out with the schema's order.
    pub(super) fn new(fields: usize) -> Self {
        let next = (1..=fields)
            .chain([0])
            .map(|next| if next == fields { 0 } else { next });
        Self {
            next: next.collect(),
        }
    }

    /// Stands for "no key yet" where a field is asked for.
    #[inline(always)]
    pub(super) fn before_first(&self) -> usize {
        self.next.len() - 1
    }

    /// The field whose key is likely to come after that of `previous`.
    #[inline(always)]
    pub(super) fn after(&self, previous: usize) -> usize {
        self.next.get(previous).copied().unwrap_or_default()
    }

    /// The key of `field` came after that of `previous`.
    pub(super) fn learn(&mut self, previous: usize, field: usize) {
        if let Some(next) = self.next.get_mut(previous) {
            *next = field;
        }
    }
}
