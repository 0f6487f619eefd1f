//! The order of epochs, for outputs that several workers bring, each of which ends an epoch when it has closed there.

use std::collections::BTreeMap;

use crate::moment::Epoch;

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn<T> {
    /// This is of the epoch that is open.
    Take(T),
    /// That epoch is over: all workers have ended it.
    End(Epoch),
}

/// Keeps what is of a later epoch than some worker is in.
#[derive(Debug)]
pub(crate) struct Turns<T> {
    workers: usize,
    open: Epoch,
    /// How many workers have ended it, and later ones.
    ended: BTreeMap<Epoch, usize>,
    early: BTreeMap<Epoch, Vec<T>>,
}

impl<T> Turns<T> {
    /// Of so many workers, from `open` on. Epochs follow each other without gaps.
    pub(crate) fn new(workers: usize, open: Epoch) -> Self {
        Turns {
            workers,
            open,
            ended: BTreeMap::new(),
            early: BTreeMap::new(),
        }
    }

    /// Something of this epoch came; gives it back if it is its turn.
    pub(crate) fn take(&mut self, epoch: Epoch, item: T) -> Option<T> {
        debug_assert!(epoch >= self.open, "a worker had ended that epoch");
        if epoch <= self.open {
            return Some(item);
        }
        self.early.entry(epoch).or_default().push(item);
        None
    }

    /// A worker will bring nothing more of this epoch, and has said so of all before.
    pub(crate) fn end(&mut self, epoch: Epoch) -> Vec<Turn<T>> {
        *self.ended.entry(epoch).or_default() += 1;
        let mut turns = Vec::new();
        while self.ended.get(&self.open) == Some(&self.workers) {
            self.ended.remove(&self.open);
            turns.push(Turn::End(self.open));
            self.open = Epoch(self.open.0.saturating_add(1));
            let due = self.early.remove(&self.open).unwrap_or_default();
            turns.extend(due.into_iter().map(Turn::Take));
        }
        turns
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::checkpoint::turns::{Turn, Turns};
    use crate::moment::Epoch;

    proptest! {
        /// Against what is obvious: all that came, sorted by epoch, each worker's in its order, and an end behind each.
        #[test]
        fn does_everything_come_in_the_order_of_epochs(
            counts in prop::collection::vec(prop::collection::vec(0..4_usize, 5), 1..4),
            picks in prop::collection::vec(any::<prop::sample::Index>(), 100),
        ) {
            let workers = counts.len();
            // What each worker brings: its number, the epoch, a running number; none where it ends the epoch.
            let mut scripts: Vec<Vec<(u64, Option<usize>)>> = counts
                .iter()
                .map(|counts| {
                    let epochs = (3..).zip(counts);
                    let script = epochs.flat_map(|(epoch, &count)| {
                        let items = (0..count).map(move |nth| (epoch, Some(nth)));
                        items.chain([(epoch, None)])
                    });
                    let script: Vec<_> = script.collect();
                    script.into_iter().rev().collect()
                })
                .collect();
            let mut turns = Turns::new(workers, Epoch(3));
            let mut done = Vec::new();
            let mut picks = picks.into_iter().cycle();
            while scripts.iter().any(|script| !script.is_empty()) {
                let busy: Vec<usize> = (0..workers).filter(|&it| !scripts[it].is_empty()).collect();
                let worker = busy[picks.next().map_or(0, |it| it.index(busy.len()))];
                let (epoch, item) = scripts[worker].pop().unwrap_or_default();
                match item {
                    Some(nth) => {
                        let taken = turns.take(Epoch(epoch), (epoch, worker, nth));
                        done.extend(taken.map(Turn::Take));
                    }
                    None => done.extend(turns.end(Epoch(epoch))),
                }
            }
            let mut ended = 3;
            let mut seen = vec![Vec::new(); workers];
            for turn in done {
                match turn {
                    Turn::End(epoch) => {
                        prop_assert_eq!(epoch, Epoch(ended));
                        ended += 1;
                    }
                    Turn::Take((epoch, worker, nth)) => {
                        prop_assert_eq!(epoch, ended);
                        seen[worker].push((epoch, nth));
                    }
                }
            }
            prop_assert_eq!(ended, 8);
            for (counts, seen) in counts.iter().zip(seen) {
                let epochs = (3..).zip(counts);
                let all: Vec<_> = epochs.flat_map(|(epoch, &count)| (0..count).map(move |nth| (epoch, nth))).collect();
                prop_assert_eq!(seen, all);
            }
        }
    }
}
