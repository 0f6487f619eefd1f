//! Are records gone before what they list?

use std::io::ErrorKind;
use std::sync::Arc;

use crate::checkpoint::retention::Deletable;
use crate::checkpointing::collecting::{CollectorSetup, start};
use crate::meters::Meters;
use crate::store::Store;
use crate::store::memory::{FaultPlan, MemoryStore};

const RECORD: &str = "log/00000000000000000002";
const OBJECT: &str = "data/g1-e1-w0-0000000000000001.state";

/// What is left of a record and an object, and what was noted.
fn collect(store: &MemoryStore) -> (Vec<String>, Option<String>) {
    let (collect, deletable) = crossbeam_channel::unbounded();
    let meters = Arc::<Meters>::default();
    let thread = start(CollectorSetup {
        store: Arc::new(store.clone()),
        deletable,
        events: crossbeam_channel::unbounded().0,
        meters: Arc::clone(&meters),
    });
    let both = Deletable {
        objects: vec![OBJECT.to_owned()],
        records: vec![2],
    };
    collect.send(both).unwrap();
    drop(collect);
    thread.unwrap().join().unwrap();
    (store.names(), meters.trouble().map(|it| it.what))
}

fn store() -> MemoryStore {
    let store = MemoryStore::default();
    for name in [RECORD, OBJECT] {
        store.put_if_absent(name, b"content").unwrap();
    }
    store
}

#[test]
fn is_all_gone_when_the_collector_has_ended() {
    assert_eq!(collect(&store()), (Vec::new(), None));
}

#[test]
fn does_an_object_stay_with_its_record() {
    let store = store();
    let check = |failing: u64, left: &[&str]| {
        let step = store.steps() + failing;
        let (steps, kind) = (step..step + 1, ErrorKind::PermissionDenied);
        store.set_faults(FaultPlan::Fail { steps, kind });
        let (names, trouble) = collect(&store);
        assert_eq!(names, left);
        assert!(trouble.is_some_and(|trouble| trouble.contains("cannot delete")));
    };
    check(0, &[OBJECT, RECORD]);
    // The record is gone, and may come back.
    check(1, &[OBJECT]);
    check(2, &[OBJECT]);
    assert_eq!(collect(&store), (Vec::new(), None));
}
