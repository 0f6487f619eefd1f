//! Which objects of a chain are to be folded, and when.
//!
//! Every checkpoint makes the chain of a worker longer by what changed, and restoring reads all of it. Folding all into
//! one object after every few checkpoints would write gigabytes again and again for megabytes that changed. So what is
//! folded is of like size: an object goes into a fold when what came after it is as much as itself, and each byte
//! is written anew only when it comes to lie in an object at least twice as large.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::checkpoint::frame::ObjectRef;
use crate::checkpoint::ledger::Ledger;
use crate::checkpoint::manifest::ChainObject;
use crate::checkpoint::names::DataName;

/// A chain that is longer is folded: as many objects are opened and merged at once when a worker restores, and held
/// with a block each. Fewer would have to be written anew more often.
pub const CHAIN_OBJECTS_MAX: usize = 8;

/// A chain of fewer bytes is folded only when it is long: to read it takes no time worth mention, while to fold it at
/// every other checkpoint, when they come each hundredth of a second, is most of the work of a job.
const CHAIN_BYTES_MIN: u128 = 1 << 20;

/// After folds that failed in a row, most durable checkpoints until one is tried again. What fails may be a full disk,
/// which half of a large fold every second makes no better.
const PAUSE_MAX: u32 = 64;

/// Which neighbours of a chain, oldest first, are to be folded into one object; none if the chain is short, and what
/// came after its first object does not outweigh it or is not worth it. Always two or more, and enough of them to make
/// the chain short.
///
/// It is the longest end of the chain whose first object is no larger than all after it. If there is none, each
/// object is larger than all after it, and it is the end whose first object comes closest.
pub fn next_fold(chain: &[ChainObject]) -> Option<Range<usize>> {
    next_fold_of(chain, CHAIN_BYTES_MIN)
}

fn next_fold_of(chain: &[ChainObject], bytes_min: u128) -> Option<Range<usize>> {
    let all: u128 = chain.iter().map(|it| u128::from(it.length)).sum();
    let mut after = all;
    let mut ends = Vec::new();
    for (start, object) in chain.iter().enumerate() {
        let first = u128::from(object.length);
        after = after.saturating_sub(first);
        ends.push(End {
            start,
            first,
            after,
        });
    }
    let is_long = chain.len() > CHAIN_OBJECTS_MAX;
    let is_outweighed =
        all >= bytes_min && ends.first().is_some_and(|whole| whole.after > whole.first);
    if !is_long && !is_outweighed {
        return None;
    }
    // An end that begins later leaves more objects than there may be.
    ends.truncate(CHAIN_OBJECTS_MAX.min(chain.len().saturating_sub(1)));
    let even = ends.iter().find(|end| end.first <= end.after);
    let closest = || {
        let later = ends.iter().skip(1);
        later.reduce(|best, end| if end.is_closer(best) { end } else { best })
    };
    let end = even.or_else(closest)?;
    Some(end.start..chain.len())
}

/// The end of a chain.
struct End {
    start: usize,
    /// Bytes of its first object.
    first: u128,
    /// Bytes of all others.
    after: u128,
}

impl End {
    /// Whether what is after the first object is a larger part of that than it is in the other.
    fn is_closer(&self, other: &End) -> bool {
        // Whole chains are shorter than 2^64 bytes.
        self.after.saturating_mul(other.first) > other.after.saturating_mul(self.first)
    }
}

/// Neighbours of a worker's chain that are to be folded, oldest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FoldOrder {
    pub(crate) worker: usize,
    pub(crate) objects: Vec<ChainObject>,
}

/// What has been folded, and what is to be folded next: one thing at a time, of the workers in turn.
///
/// Only what a durable manifest lists is folded. So every object that was ever in a chain is listed by a manifest, and
/// found by retention when it is in none any more.
#[derive(Debug, Default)]
pub(crate) struct Folds {
    /// The chains of the last durable manifest.
    listed: Vec<Vec<ChainObject>>,
    /// Folds that are in a chain and in no durable manifest yet.
    unlisted: BTreeSet<DataName>,
    is_under_way: bool,
    /// Whose turn it is.
    turn: usize,
    failed_in_a_row: u32,
    /// Durable checkpoints until the next fold.
    pause: u32,
}

impl Folds {
    /// A manifest with these chains is durable.
    pub(crate) fn on_durable(&mut self, chains: Vec<Vec<ChainObject>>) {
        for object in chains.iter().flatten() {
            self.unlisted.remove(&object.name);
        }
        self.listed = chains;
        self.pause = self.pause.saturating_sub(1);
    }

    /// What is to be folded now, which is under way then.
    pub(crate) fn next(&mut self, ledger: &Ledger) -> Option<FoldOrder> {
        if self.is_under_way || self.pause > 0 {
            return None;
        }
        let workers = self.listed.len();
        let turns = (self.turn..workers).chain(0..self.turn.min(workers));
        let order = turns.into_iter().find_map(|worker| {
            let listed = self.listed.get(worker)?;
            // A chain that was folded since is to be listed first.
            if !ledger.chain(worker).starts_with(listed) {
                return None;
            }
            let objects = listed.get(next_fold(listed)?)?.to_vec();
            Some(FoldOrder { worker, objects })
        })?;
        self.turn = order.worker + 1;
        self.is_under_way = true;
        Some(order)
    }

    /// The fold under way is written; whether it is in the chain now. If not, nothing will ever list it.
    pub(crate) fn written(
        &mut self,
        ledger: &mut Ledger,
        order: &FoldOrder,
        into: ObjectRef,
    ) -> bool {
        self.is_under_way = false;
        self.failed_in_a_row = 0;
        let is_in = ledger.fold(order.worker, &order.objects, into);
        if is_in {
            self.unlisted.insert(into.name);
        }
        is_in
    }

    /// The fold under way failed.
    pub(crate) fn failed(&mut self) {
        self.is_under_way = false;
        self.failed_in_a_row = self.failed_in_a_row.saturating_add(1);
        let doubled = 1_u32.checked_shl(self.failed_in_a_row);
        self.pause = doubled.unwrap_or(PAUSE_MAX).min(PAUSE_MAX);
    }

    /// No manifest will follow the last durable one: gives the folds that none lists.
    pub(crate) fn end(&mut self) -> Vec<DataName> {
        std::mem::take(&mut self.unlisted).into_iter().collect()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;
