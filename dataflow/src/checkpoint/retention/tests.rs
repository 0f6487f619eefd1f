//! Does what is needed stay, and does what is not go, once?

use std::collections::BTreeSet;

use proptest::collection::{btree_set, vec};
use proptest::prelude::{ProptestConfig, Strategy, proptest};

use crate::checkpoint::retention::{Deletable, Listing, Retention};
use crate::identity::Generation;

const OURS: Generation = Generation(10);

type Names = BTreeSet<String>;

fn names(list: &str) -> Names {
    list.split_whitespace().map(str::to_owned).collect()
}

fn listing(number: u64, generation: u64, objects: &str) -> Listing {
    Listing {
        number,
        generation: Generation(generation),
        objects: names(objects),
    }
}

/// All that may have been deleted by now, by the rule itself: the names of retired manifests that nothing
/// keeps, and the numbers of our own.
fn deletable(manifests: &[Listing], retain: usize, unpublished: &Names) -> (Names, BTreeSet<u64>) {
    let (retired, kept) = manifests.split_at(manifests.len().saturating_sub(retain));
    let keeps = |name: &String| kept.iter().any(|manifest| manifest.objects.contains(name));
    let older = retired
        .iter()
        .filter(|manifest| manifest.generation <= OURS);
    let objects = older.flat_map(|manifest| manifest.objects.iter().cloned());
    let free = objects.filter(|name| !keeps(name) && !unpublished.contains(name));
    let own = retired
        .iter()
        .filter(|manifest| manifest.generation == OURS);
    (
        free.collect(),
        own.map(|manifest| manifest.number).collect(),
    )
}

#[test]
fn do_objects_go_with_the_last_kept_manifest_that_lists_them() {
    let mut retention = Retention::new(2, OURS);
    let mut check = |manifest: Listing, unpublished: &str, objects: &str, records: &[u64]| {
        let number = manifest.number;
        let deletable = retention.on_durable(manifest, &names(unpublished));
        let expected = Deletable {
            objects: names(objects).into_iter().collect(),
            records: records.to_vec(),
        };
        assert_eq!(deletable, expected, "manifest {number}");
    };
    // Of an older run: its objects go, its record stays.
    check(listing(3, 1, "base a"), "", "", &[]);
    check(listing(11, 10, "base b"), "", "", &[]);
    check(listing(12, 10, "base b c"), "", "a", &[]);
    check(listing(13, 10, "base c"), "", "", &[11]);
    check(listing(14, 10, "fold"), "", "b", &[12]);
    // Folded away, and out of the last manifest that listed it; but its outputs are not published yet.
    check(listing(15, 10, "fold d"), "c", "base", &[13]);
    check(listing(15, 10, "never"), "", "", &[]);
    check(listing(16, 10, "fold"), "", "c", &[14]);
}

#[test]
fn does_the_newest_manifest_stay_whatever_is_set() {
    let mut retention = Retention::new(0, OURS);
    let none = Names::new();
    for number in 11..14 {
        let manifest = listing(number, 10, &format!("own{number} shared"));
        let deletable = retention.on_durable(manifest, &none);
        let before = format!("own{}", number - 1);
        let expected: &[String] = if number == 11 { &[] } else { &[before] };
        assert_eq!(deletable.objects, expected);
    }
}

#[derive(Clone, Debug)]
struct Step {
    generation: u64,
    /// How many of the names listed before are listed on.
    carried: Vec<bool>,
    new: usize,
    unpublished: BTreeSet<u8>,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (
        9..12_u64,
        vec(proptest::bool::weighted(0.7), 12),
        0..4_usize,
        btree_set(0..30_u8, 0..4),
    );
    let step = step.prop_map(|(generation, carried, new, unpublished)| Step {
        generation,
        carried,
        new,
        unpublished,
    });
    vec(step, 0..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// As runs do: each manifest carries on some objects of the one before and adds new ones; names are never
    /// used again.
    #[test]
    fn does_all_go_once_and_nothing_that_is_kept(steps in steps(), retain in 1..5_usize) {
        let mut retention = Retention::new(retain, OURS);
        let mut manifests: Vec<Listing> = Vec::new();
        let (mut objects, mut records) = (Names::new(), BTreeSet::new());
        let mut next_name = 0..;
        for (number, step) in (20..).zip(steps) {
            let before = manifests.last().map(|manifest| manifest.objects.clone());
            let carried = before.unwrap_or_default().into_iter().zip(&step.carried);
            let carried = carried.filter_map(|(name, carried)| carried.then_some(name));
            let new = next_name.by_ref().take(step.new).map(|name| format!("n{name:02}"));
            let manifest = Listing {
                number,
                generation: Generation(step.generation),
                objects: carried.chain(new).collect(),
            };
            let unpublished: Names =
                step.unpublished.iter().map(|name| format!("n{name:02}")).collect();
            manifests.push(manifest.clone());
            let deleted = retention.on_durable(manifest, &unpublished);

            let (may_go, own) = deletable(&manifests, retain, &unpublished);
            for name in deleted.objects {
                assert!(may_go.contains(&name), "{name} is still needed");
                assert!(objects.insert(name), "an object went twice");
            }
            assert!(may_go.is_subset(&objects), "{may_go:?} should have gone, not only {objects:?}");
            for number in deleted.records {
                assert!(records.insert(number), "a record went twice");
            }
            assert_eq!(records, own);
        }
    }
}
