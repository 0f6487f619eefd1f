//! Does a chain mean what a plain map does that takes one object after the other, and does folding leave that
//! as it is?

use std::collections::BTreeMap;

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::{Strategy, any, proptest};

use crate::checkpoint::frame::{Encoding, ObjectRef};
use crate::checkpoint::groups::GroupSet;
use crate::checkpoint::names::{DataKind, DataName};
use crate::checkpoint::shelf::Shelf;
use crate::checkpoint::state_file::{Entry, StateWriter};
use crate::checkpoint::state_merge::StateChain;
use crate::identity::Generation;
use crate::moment::Epoch;
use crate::place::KeyGroup;

/// Keys of group and bytes, with a value or none.
type Entries<V> = BTreeMap<(u16, Vec<u8>), V>;

/// What one object says of the stages `a` and `b`.
type Said = [(Option<Vec<u8>>, Entries<Option<Vec<u8>>>); 2];

const STAGES: [&str; 2] = ["a", "b"];

fn key() -> impl Strategy<Value = Vec<u8>> {
    vec(0..3_u8, 0..3)
}

fn said() -> impl Strategy<Value = Said> {
    let section = || {
        let value = option::of(vec(any::<u8>(), 0..4));
        (
            option::weighted(0.3, key()),
            btree_map((0..5_u16, key()), value, 0..20),
        )
    };
    [section(), section()]
}

/// The slow and obvious one.
fn meaning(chain: &[Said], stage: usize) -> Entries<Vec<u8>> {
    let mut map = Entries::new();
    for (bound, entries) in chain.iter().map(|said| &said[stage]) {
        if let Some(bound) = bound {
            map.retain(|(_, key), _| key >= bound);
        }
        for (key, value) in entries {
            match value {
                Some(value) => map.insert(key.clone(), value.clone()),
                None => map.remove(key),
            };
        }
    }
    map
}

fn writer(store: &Shelf) -> StateWriter {
    let name = DataName {
        generation: Generation(1),
        epoch: Epoch(1),
        worker: 0,
        random: store.len() as u64,
        kind: DataKind::State,
    };
    let writer = StateWriter::create(store, name, Encoding::Plain).unwrap();
    writer.with_blocks_of(24)
}

fn write(store: &Shelf, said: &Said) -> ObjectRef {
    let mut writer = writer(store);
    for (stage, (bound, entries)) in STAGES.into_iter().zip(said) {
        if bound.is_none() && entries.is_empty() {
            continue;
        }
        writer.section(stage, bound.as_deref()).unwrap();
        for ((group, key), value) in entries {
            let (group, value) = (KeyGroup(*group), value.as_deref());
            writer.entry(Entry { group, key, value }).unwrap();
        }
    }
    writer.finish().unwrap()
}

fn merged(store: &Shelf, chain: &[ObjectRef], stage: &str, groups: &GroupSet) -> Entries<Vec<u8>> {
    let mut chain = StateChain::open(store, chain.iter().copied()).unwrap();
    let mut merge = chain.merge(stage, groups).unwrap();
    let mut entries = Vec::new();
    while let Some(entry) = merge.next_entry().unwrap() {
        let key = (entry.group.0, entry.key.to_vec());
        entries.push((key, entry.value.unwrap().to_vec()));
    }
    assert!(entries.is_sorted());
    let count = entries.len();
    let map: Entries<Vec<u8>> = entries.into_iter().collect();
    assert_eq!(map.len(), count);
    map
}

proptest! {
    #[test]
    fn is_the_meaning_that_of_a_plain_map(
        chain in vec(said(), 1..6),
        folds in vec((any::<usize>(), any::<usize>()), 0..4),
        some in vec(0..5_u16, 0..4),
    ) {
        let store = Shelf::default();
        let mut objects: Vec<ObjectRef> = chain.iter().map(|said| write(&store, said)).collect();
        let groups: GroupSet = some.iter().copied().map(KeyGroup).collect();
        let digest = |objects: &[ObjectRef]| {
            let mut chain = StateChain::open(&store, objects.iter().copied()).unwrap();
            chain.digest(&GroupSet::all()).unwrap()
        };
        let first_digest = digest(&objects);
        let check = |objects: &[ObjectRef]| {
            assert_eq!(digest(objects), first_digest);
            for (number, stage) in STAGES.into_iter().enumerate() {
                let mut expected = meaning(&chain, number);
                let all = GroupSet::all();
                assert_eq!(merged(&store, objects, stage, &all), expected);
                expected.retain(|(group, _), _| some.contains(group));
                assert_eq!(merged(&store, objects, stage, &groups), expected);
            }
        };
        check(&objects);
        for (from, count) in folds {
            let from = from % objects.len();
            let to = from + 1 + count % (objects.len() - from);
            let folded = StateChain::open(&store, objects[from..to].iter().copied()).unwrap();
            let fold = folded.fold(from == 0, writer(&store)).unwrap();
            objects.splice(from..to, [fold]);
            check(&objects);
        }
    }
}

/// An object of the stage `a` only.
fn one(bound: Option<&[u8]>, entries: &[(&str, Option<&str>)]) -> Said {
    let entries = entries.iter().map(|(key, value)| {
        let value = value.map(|value| value.as_bytes().to_vec());
        ((0, key.as_bytes().to_vec()), value)
    });
    let section = (bound.map(<[u8]>::to_vec), entries.collect());
    [section, (None, Entries::new())]
}

/// What a fold holds, entry by entry, with removals.
fn folded(chain: &[Said], begins_chain: bool) -> (Option<Vec<u8>>, Vec<(String, bool)>) {
    let store = Shelf::default();
    let objects: Vec<ObjectRef> = chain.iter().map(|said| write(&store, said)).collect();
    let chain = StateChain::open(&store, objects.iter().copied()).unwrap();
    let fold = chain.fold(begins_chain, writer(&store)).unwrap();
    let mut fold = StateChain::open(&store, [fold]).unwrap();
    let bound = fold.bound("a");
    let all = GroupSet::all();
    let mut merge = fold.merge_all("a", &all, true).unwrap();
    let mut entries = Vec::new();
    while let Some(entry) = merge.next_entry().unwrap() {
        let key = String::from_utf8(entry.key.to_vec()).unwrap();
        entries.push((key, entry.value.is_some()));
    }
    (bound, entries)
}

#[test]
fn does_a_fold_keep_no_more_than_it_must() {
    let chain = [
        one(
            None,
            &[("a", Some("1")), ("b", Some("1")), ("c", Some("1"))],
        ),
        one(Some(b"b"), &[("a", Some("2")), ("c", None)]),
        one(Some(b"aa"), &[("d", None)]),
    ];
    // The second `a` came after the bound "b" but before "aa".
    let bound = Some(b"b".to_vec());
    let b = ("b".to_owned(), true);
    assert_eq!(folded(&chain, true), (bound.clone(), vec![b.clone()]));
    let removals = ["c", "d"].map(|key| (key.to_owned(), false));
    let expected = [vec![b], removals.to_vec()].concat();
    assert_eq!(folded(&chain, false), (bound, expected));
}

#[test]
fn does_the_digest_depend_on_every_part_and_on_no_shape() {
    let digest = |chain: &[Said]| {
        let store = Shelf::default();
        let objects: Vec<ObjectRef> = chain.iter().map(|said| write(&store, said)).collect();
        let mut chain = StateChain::open(&store, objects.iter().copied()).unwrap();
        chain.digest(&GroupSet::all()).unwrap()
    };
    let both = digest(&[one(None, &[("a", Some("1")), ("b", Some("2"))])]);
    let a = one(None, &[("a", Some("1"))]);
    let b = one(None, &[("b", Some("2"))]);
    assert_eq!(digest(&[a.clone(), b.clone()]), both);
    assert_eq!(digest(&[a]).and(digest(std::slice::from_ref(&b))), both);
    let [section, none] = b;
    let others = [
        digest(&[one(None, &[("b", Some("3"))])]),
        digest(&[one(None, &[("c", Some("2"))])]),
        digest(&[one(None, &[("b2", Some(""))])]),
        digest(&[[none, section]]),
    ];
    let mut distinct = others.to_vec();
    distinct.push(digest(&[one(None, &[("b", Some("2"))])]));
    distinct.sort_by_key(|digest| digest.0);
    distinct.dedup();
    assert_eq!(distinct.len(), 5);
    // Digests are compared over versions of the program: the same state gives this number for ever.
    assert_eq!(both.to_string(), "aac1cff1054ff6f7ff8f760c2b28d4e0");
}
