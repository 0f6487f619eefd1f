//! What is declared of histories, and the same with field names and constants resolved to numbers.

use crate::batch::{Row, Rows};
use crate::check::{Constant, is_one_of};
use crate::event::FieldIndex;
use crate::history::texts::{TextId, Texts};

/// Most fields that a history keeps; bounds an entry.
pub const FIELDS_MAX: usize = 32;

/// A field's value must be one of these.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// A field of the history.
    pub field: FieldIndex,
    /// What it may be.
    pub values: Vec<Constant>,
}

impl Condition {
    /// Whether it holds for an event.
    pub(crate) fn holds(&self, rows: &Rows, row: &Row) -> bool {
        let cell = rows.cell(row, self.field);
        is_one_of(&self.values, cell, |span| rows.bytes(span))
    }
}

/// A count that is kept up to date for every key.
#[derive(Clone, Debug, PartialEq)]
pub enum Tally {
    /// Entries that satisfy all conditions.
    Where(Vec<Condition>),
    /// Different values of a field; null is none.
    Distinct(FieldIndex),
}

impl Tally {
    /// The position of this tally among `tallies`, where it is added unless it is there: features that count
    /// the same thing read the same tally, by this position.
    pub fn place_in(self, tallies: &mut Vec<Tally>) -> usize {
        let found = tallies.iter().position(|tally| *tally == self);
        found.unwrap_or_else(|| {
            tallies.push(self);
            tallies.len() - 1
        })
    }
}

/// A history as declared.
#[derive(Clone, Debug, PartialEq)]
pub struct HistoryPlan {
    /// Most entries per key.
    pub events: u32,
    /// Event time after which an entry is not seen any more, in milliseconds.
    pub ttl_ms: u64,
    /// What an entry holds besides its time; at most [`FIELDS_MAX`].
    pub fields: Vec<FieldIndex>,
    /// The counts that features read.
    pub tallies: Vec<Tally>,
}

/// A [`HistoryPlan`] in terms of columns and numbers.
#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) events: u32,
    pub(super) ttl_ms: u64,
    pub(super) fields: Vec<FieldIndex>,
    pub(super) tallies: Vec<CompiledTally>,
}

#[derive(Debug)]
pub(super) enum CompiledTally {
    /// Per condition, a column and the numbers its value may have.
    Where(Vec<(usize, Vec<TextId>)>),
    Distinct(usize),
}

impl Compiled {
    pub(super) fn new(plan: &HistoryPlan, texts: &mut Texts) -> Self {
        let fields: Vec<FieldIndex> = plan.fields.iter().copied().take(FIELDS_MAX).collect();
        // The pipeline file is refused if a feature reads a field that the history does not keep; a
        // column that is not there counts nothing.
        let column = |field: FieldIndex| {
            fields
                .iter()
                .position(|&kept| kept == field)
                .unwrap_or(FIELDS_MAX)
        };
        let mut condition = |condition: &Condition| {
            let ids = condition
                .values
                .iter()
                .map(|constant| acquire(constant, texts))
                .collect();
            (column(condition.field), ids)
        };
        let tallies = plan.tallies.iter().map(|tally| match tally {
            Tally::Where(conditions) => {
                CompiledTally::Where(conditions.iter().map(&mut condition).collect())
            }
            Tally::Distinct(field) => CompiledTally::Distinct(column(*field)),
        });
        let tallies = tallies.collect();
        Compiled {
            events: plan.events,
            ttl_ms: plan.ttl_ms,
            fields,
            tallies,
        }
    }
}

/// The identity of a float: its bits, with one zero for both signs.
pub(super) fn float_bytes(value: f64) -> [u8; 8] {
    (value + 0.0).to_bits().to_le_bytes()
}

/// Constants keep their numbers for the life of the job.
fn acquire(constant: &Constant, texts: &mut Texts) -> TextId {
    match constant {
        Constant::Text(text) => texts.acquire(text.as_bytes()),
        Constant::Int(value) => texts.acquire(&value.to_le_bytes()),
        Constant::Float(value) => texts.acquire(&float_bytes(*value)),
        Constant::Bool(value) => texts.acquire(&[u8::from(*value)]),
    }
}

impl CompiledTally {
    /// Whether this tally is one higher with `entry` than without it. `ring` gives the column of the
    /// history without the entry; places without entry hold [`TextId::VACANT`].
    #[inline]
    pub(super) fn gains<'r>(&self, entry: &[TextId], ring: impl Fn(usize) -> &'r [u32]) -> bool {
        match self {
            CompiledTally::Where(conditions) => satisfies(conditions, |column| entry.get(column)),
            CompiledTally::Distinct(column) => match entry.get(*column) {
                None | Some(&TextId::NULL | &TextId::VACANT) => false,
                Some(id) => !contains(ring(*column), id.0),
            },
        }
    }

    /// Counts the entries `seen`, one by one.
    pub(super) fn count(&self, seen: &[u32], value: impl Fn(&u32, usize) -> TextId) -> u32 {
        match self {
            CompiledTally::Where(conditions) => {
                let holds = |nth: &&u32| {
                    conditions
                        .iter()
                        .all(|(column, ids)| ids.contains(&value(nth, *column)))
                };
                seen.iter().filter(holds).count() as u32
            }
            CompiledTally::Distinct(column) => {
                let mut different = Vec::new();
                for id in seen.iter().map(|nth| value(nth, *column)) {
                    if id != TextId::NULL && !different.contains(&id) {
                        different.push(id);
                    }
                }
                different.len() as u32
            }
        }
    }
}

fn satisfies<'e>(
    conditions: &[(usize, Vec<TextId>)],
    value: impl Fn(usize) -> Option<&'e TextId>,
) -> bool {
    conditions
        .iter()
        .all(|(column, ids)| value(*column).is_some_and(|id| ids.contains(id)))
}

/// Looks at every place, without leaving early: that is what the compiler turns into wide comparisons.
fn contains(ring: &[u32], id: u32) -> bool {
    ring.iter()
        .fold(false, |found, &other| found | (other == id))
}
