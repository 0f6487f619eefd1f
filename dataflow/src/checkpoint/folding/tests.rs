//! Do chains stay short, for a price that grows with what changed and hardly with what is there?

use std::ops::Range;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::proptest;

use crate::checkpoint::folding::{
    CHAIN_OBJECTS_MAX, FoldOrder, Folds, PAUSE_MAX, next_fold, next_fold_of,
};
use crate::checkpoint::frame::ObjectRef;
use crate::checkpoint::job;
use crate::checkpoint::ledger::{Ledger, Opening};
use crate::checkpoint::manifest::{ChainObject, Manifest};
use crate::checkpoint::names::{DataKind, DataName};
use crate::checkpoint::soundness::tests::sample;
use crate::identity::Generation;
use crate::moment::Epoch;

fn object(worker: u32, epoch: u64, length: u64, whole: bool) -> ChainObject {
    ChainObject {
        name: DataName {
            generation: Generation(8),
            epoch: Epoch(epoch),
            worker,
            random: length,
            kind: DataKind::State,
        },
        length,
        crc32c: 0,
        epoch: Epoch(epoch),
        whole,
    }
}

fn chain(worker: u32, lengths: &[u64]) -> Vec<ChainObject> {
    let objects = (0..).zip(lengths);
    objects
        .map(|(epoch, &length)| object(worker, epoch, length, epoch == 0))
        .collect()
}

fn next(lengths: &[u64]) -> Option<Range<usize>> {
    next_fold_of(&chain(0, lengths), 0)
}

#[test]
fn is_the_longest_even_end_folded() {
    let check = |lengths: &[u64], expected: Option<Range<usize>>| {
        assert_eq!(next(lengths), expected, "{lengths:?}");
    };
    check(&[], None);
    check(&[5], None);
    check(&[5, 5], None);
    check(&[5, 6], Some(0..2));
    check(&[0, 1], Some(0..2));
    check(&[100, 50, 50], None);
    check(&[100, 50, 51], Some(0..3));
    check(&[u64::MAX, u64::MAX, 1], Some(0..3));
    // Long, and the base stays.
    check(&[900, 1, 1, 1, 1, 1, 1, 1, 1], Some(1..9));
    check(&[900, 8, 1, 1, 1, 1, 1, 1, 1], Some(2..9));
    check(&[900, 8, 3, 1, 1, 1, 1, 1, 1], Some(1..9));
    check(&[900, 1, 8, 1, 1, 1, 1, 1, 1], Some(1..9));
    // Each is larger than all after it: the one that comes closest.
    check(&[900, 450, 190, 90, 40, 18, 8, 3, 1], Some(2..9));
    check(&[9000, 4000, 1000, 250, 70, 16, 6, 3, 2], Some(6..9));
    // An even end that begins later would leave too many.
    check(
        &[90_000, 20_000, 5_000, 1_200, 300, 70, 16, 6, 2, 1, 1, 1],
        Some(7..12),
    );
}

#[test]
fn is_a_small_chain_folded_only_when_it_is_long() {
    let check = |lengths: &[u64], expected: Option<Range<usize>>| {
        assert_eq!(next_fold(&chain(0, lengths)), expected, "{lengths:?}");
    };
    check(&[100, 500_000, 500_000], None);
    check(&[100, 500_000, 600_000], Some(0..3));
    check(&[1; 8], None);
    check(&[1; 9], Some(0..9));
}

/// The slow and obvious one: all ends that there may be.
fn slow(lengths: &[u64]) -> Option<Range<usize>> {
    let after = |start: usize| lengths[start + 1..].iter().sum::<u64>();
    let is_long = lengths.len() > CHAIN_OBJECTS_MAX;
    if lengths.len() < 2 || !is_long && after(0) <= lengths[0] {
        return None;
    }
    let starts = 0..(lengths.len() - 1).min(CHAIN_OBJECTS_MAX);
    let even = starts.clone().find(|&at| lengths[at] <= after(at));
    let closest = |&start: &usize| {
        let part = after(start) as f64 / lengths[start] as f64;
        // Of equals the earlier.
        (part * 1e9) as u64 * 100 + (99 - start as u64)
    };
    let start = even.or_else(|| starts.skip(1).max_by_key(closest))?;
    Some(start..lengths.len())
}

/// What became of a chain over many epochs.
#[derive(Debug, Default)]
struct History {
    lengths: Vec<u64>,
    changed: u64,
    folded: u64,
    longest: usize,
}

impl History {
    /// An epoch adds what changed; then as much is folded as there is to fold. At most `most` bytes of
    /// different keys are there.
    fn epoch(&mut self, changed: u64, most: u64) {
        self.lengths.push(changed);
        self.changed += changed;
        while let Some(range) = next(&self.lengths) {
            let end = &self.lengths[range.clone()];
            assert!(end.len() > 1 && range.end == self.lengths.len());
            let (first, sum) = (end[0], end.iter().sum::<u64>());
            // Nothing is written anew for less than itself but at the short end of a full chain.
            let full = self.lengths.len() > CHAIN_OBJECTS_MAX && range.start > 0;
            assert!(first <= sum - first || full, "{:?}", self.lengths);
            let into = sum.min(most);
            self.folded += into;
            self.lengths.splice(range, [into]);
        }
        self.longest = self.longest.max(self.lengths.len());
    }
}

/// As many times each byte that changed may be written anew.
fn times(epochs: usize) -> u64 {
    u64::from(epochs.ilog2()) + 2
}

#[test]
fn is_little_written_anew_over_hours_of_seconds() {
    let epochs = 20_000;
    let check = |what: &str, base: u64, most: u64, changed: fn(u64) -> u64| {
        let mut history = History::default();
        history.lengths.push(base);
        (0..epochs).for_each(|epoch| history.epoch(changed(epoch), most));
        assert!(history.longest <= CHAIN_OBJECTS_MAX, "{what}");
        let rate = history.folded as f64 / history.changed as f64;
        let most = times(epochs as usize) * history.changed;
        assert!(history.folded <= most, "{what}: {rate}");
    };
    let uneven = |epoch: u64| 1_000_000 + epoch.wrapping_mul(0x9e37_79b9_7f4a_7c15) % 2_000_000;
    check("a gigabyte, a megabyte a second", 1 << 30, 1 << 30, |_| {
        1 << 20
    });
    check("a gigabyte, a kilobyte a second", 1 << 30, 1 << 30, |_| {
        1 << 10
    });
    check(
        "a gigabyte, one to three megabytes",
        1 << 30,
        1 << 30,
        uneven,
    );
    check("from nothing, all of it new", 64, u64::MAX, |_| 1 << 20);
    check("ten kilobytes that change at once", 10_000, 10_000, |_| {
        10_000
    });
}

proptest! {
    #[test]
    fn does_it_choose_as_the_slow_one(lengths in vec(1..1_000_u64, 0..20)) {
        assert_eq!(next(&lengths), slow(&lengths), "{lengths:?}");
    }

    #[test]
    fn is_the_price_bounded_whatever_changes(
        base in option::of(1..1_000_000_u64),
        changed in vec(1..1_000_u64, 1..500),
        most in 1_000_000..1_000_000_000_u64,
    ) {
        let mut history = History::default();
        history.lengths.extend(base);
        changed.iter().for_each(|&changed| history.epoch(changed, most));
        assert!(history.longest <= CHAIN_OBJECTS_MAX);
        // The bytes that change first may be few, and the fold that takes the base in has its bytes too.
        let changed_and_base = history.changed * times(changed.len()) + 2 * base.unwrap_or_default();
        assert!(history.folded <= changed_and_base, "{history:?}");
    }
}

fn ledger(chains: &[Vec<ChainObject>]) -> Ledger {
    let manifest = Manifest {
        chains: chains.to_vec(),
        ..sample()
    };
    let opening = Opening {
        job: job::sample(),
        generation: Generation(13),
        workers: chains.len(),
        partitions: Vec::new(),
    };
    Ledger::resume(opening, manifest)
}

fn fold_of(order: &FoldOrder) -> ObjectRef {
    let last = order.objects.last().unwrap();
    let length: u64 = order.objects.iter().map(|it| it.length).sum();
    object(order.worker as u32, last.epoch.0, length + 1, true).object()
}

#[test]
fn are_workers_folded_in_turn_and_only_what_is_listed() {
    let chains = [
        chain(0, &[1 << 20, 2 << 20]),
        chain(1, &[2 << 20, 1 << 20]),
        chain(2, &[1 << 20, 3 << 20]),
    ];
    let mut ledger = ledger(&chains);
    let mut folds = Folds::default();
    assert_eq!(folds.next(&ledger), None, "nothing is durable yet");
    folds.on_durable(chains.to_vec());
    let first = folds.next(&ledger).unwrap();
    assert_eq!((first.worker, &first.objects), (0, &chains[0]));
    assert_eq!(folds.next(&ledger), None, "one at a time");
    let into = fold_of(&first);
    assert!(folds.written(&mut ledger, &first, into));
    assert_eq!(ledger.chain(0).len(), 1);
    let second = folds.next(&ledger).unwrap();
    assert_eq!(second.worker, 2);
    assert!(folds.written(&mut ledger, &second, fold_of(&second)));
    // The chain of worker 0 that is listed is another one.
    assert_eq!(folds.next(&ledger), None);
    let mut listed = [0, 1, 2].map(|worker| ledger.chain(worker).to_vec());
    listed[2] = chains[2].clone();
    folds.on_durable(listed.to_vec());
    assert_eq!(folds.next(&ledger), None);
    assert_eq!(folds.end(), [fold_of(&second).name]);
    assert_eq!(folds.end(), []);
}

#[test]
fn is_a_fold_of_what_is_gone_refused() {
    let chains = [chain(0, &[1 << 20, 2 << 20])];
    let mut folds = Folds::default();
    folds.on_durable(chains.to_vec());
    let order = folds.next(&ledger(&chains)).unwrap();
    let mut other = ledger(&[chain(0, &[3 << 20, 2 << 20])]);
    assert!(!folds.written(&mut other, &order, fold_of(&order)));
    assert_eq!(other.chain(0), chain(0, &[3 << 20, 2 << 20]));
    assert_eq!(folds.end(), []);
}

#[test]
fn is_a_fold_that_fails_tried_again_later_and_later() {
    let chains = [chain(0, &[1 << 20, 2 << 20])];
    let ledger = ledger(&chains);
    let mut folds = Folds::default();
    folds.on_durable(chains.to_vec());
    for pause in [2, 4, 8, 16, 32, PAUSE_MAX, PAUSE_MAX] {
        folds.next(&ledger).unwrap();
        folds.failed();
        for durable in 0..pause {
            assert_eq!(folds.next(&ledger), None, "after {durable} of {pause}");
            folds.on_durable(chains.to_vec());
        }
    }
    folds.failed_in_a_row = u32::MAX;
    folds.next(&ledger).unwrap();
    folds.failed();
    assert_eq!(folds.pause, PAUSE_MAX);
}
