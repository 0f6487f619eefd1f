//! The rows of a partition in its order again, where they have come over several workers.
//!
//! In arrival order a key's events of one partition are handled in the order of that partition. Straight from the source that
//! is so because everything between two workers is first in, first out. Behind a worker of another key it is not: what that
//! partition brought went over several of them. So the parts of each turn are put together by their offsets, and the turns
//! follow each other, see [`slackwater_dataflow::turn`].

use slackwater_dataflow::operator::Gather;

use crate::batch::{RowBatch, Rows};

/// Puts the parts of a turn together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Resequence;

impl Gather for Resequence {
    type Part = RowBatch;
    type Whole = RowBatch;

    /// All parts are of one poll: any of their tickets keeps it in flight.
    fn gather(&mut self, one: RowBatch, mut others: Vec<RowBatch>) -> RowBatch {
        let is_empty = |part: &RowBatch| part.rows.rows().is_empty();
        others.retain(|part| !is_empty(part));
        let first = match is_empty(&one) {
            true => others.pop().unwrap_or(one),
            false => one,
        };
        if others.is_empty() {
            return first;
        }
        RowBatch {
            rows: merged(&first.rows, &others),
            ..first
        }
    }
}

/// The rows of all parts by their offsets; in each part they are in that order.
fn merged(first: &Rows, others: &[RowBatch]) -> Rows {
    let all: Vec<&Rows> = std::iter::once(first)
        .chain(others.iter().map(|part| &part.rows))
        .collect();
    let mut order: Vec<_> = all
        .iter()
        .enumerate()
        .flat_map(|(part, rows)| {
            let offsets = rows.rows().iter().map(|row| row.offset).enumerate();
            offsets.map(move |(nth, offset)| (offset, part, nth))
        })
        .collect();
    // A merge of sorted pieces, which this sort recognises.
    order.sort();
    let bytes = all.iter().map(|rows| rows.bytes_held()).sum();
    let mut merged = first.like(order.len(), bytes);
    for (_, part, nth) in order {
        if let Some(rows) = all.get(part) {
            merged.push_from(rows, nth);
        }
    }
    merged
}
