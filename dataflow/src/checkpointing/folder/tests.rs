//! Does a fold say what the objects say, end with the run, and leave nothing when it fails?

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::checkpoint::folding::FoldOrder;
use crate::checkpoint::frame::{Encoding, ObjectRef};
use crate::checkpoint::groups::GroupSet;
use crate::checkpoint::manifest::ChainObject;
use crate::checkpoint::names::{DataKind, DataName};
use crate::checkpoint::state_file::{Entry, StateWriter};
use crate::checkpoint::state_merge::{StateChain, StateDigest};
use crate::checkpointing::folder::{FolderSetup, start};
use crate::checkpointing::leading::Event;
use crate::flow::Flow;
use crate::identity::Generation;
use crate::moment::Epoch;
use crate::place::KeyGroup;
use crate::run::Stopper;
use crate::store::memory::{FaultPlan, MemoryStore};
use crate::store::{ObjectReader, ObjectWriter, Put, Store, StoreError};

const KEYS: u32 = 200;

/// Writes state of an epoch: keys from the epoch on, of each the epoch as its value, in many blocks.
fn write(store: &MemoryStore, epoch: u64) -> ChainObject {
    let name = DataName {
        generation: Generation(2),
        epoch: Epoch(epoch),
        worker: 1,
        random: 7,
        kind: DataKind::State,
    };
    let writer = StateWriter::create(store, name, Encoding::Plain).unwrap();
    let mut writer = writer.with_blocks_of(100);
    writer.section("stage", None).unwrap();
    for key in epoch as u32..KEYS {
        let value = epoch.to_le_bytes();
        let entry = Entry {
            group: KeyGroup(0),
            key: &key.to_be_bytes(),
            value: (key % 10 != 3).then_some(&value),
        };
        writer.entry(entry).unwrap();
    }
    let object = writer.finish().unwrap();
    ChainObject {
        name,
        length: object.length,
        crc32c: object.crc32c,
        epoch: Epoch(epoch),
        whole: epoch == 0,
    }
}

fn digest(store: &MemoryStore, objects: &[ObjectRef]) -> StateDigest {
    let mut chain = StateChain::open(store, objects.iter().copied()).unwrap();
    chain.digest(&GroupSet::all()).unwrap()
}

/// What the folder tells of an order.
fn fold(store: impl Store + 'static, stopper: &Stopper, order: FoldOrder) -> Option<Event> {
    let (send, orders) = crossbeam_channel::unbounded();
    let (tell, events) = crossbeam_channel::unbounded();
    let thread = start(FolderSetup {
        generation: Generation(9),
        store: Arc::new(store),
        orders,
        events: tell,
        stopper: stopper.clone(),
    });
    send.send(order).unwrap();
    drop(send);
    thread.unwrap().join().unwrap();
    events.try_recv().ok()
}

fn stopper() -> Stopper {
    Stopper::new(Arc::new(Flow::new(1)))
}

fn scene() -> (MemoryStore, Vec<ChainObject>) {
    let store = MemoryStore::default();
    let chain = (0..4).map(|epoch| write(&store, epoch)).collect();
    (store, chain)
}

#[test]
fn does_a_fold_say_what_the_objects_say() {
    for from in [0, 1] {
        let (store, chain) = scene();
        let expected: Vec<_> = chain.iter().map(ChainObject::object).collect();
        let order = FoldOrder {
            worker: 1,
            objects: chain[from..].to_vec(),
        };
        let told = fold(store.clone(), &stopper(), order.clone());
        let Some(Event::Folded(folded, into)) = told else {
            panic!("{told:?}");
        };
        assert_eq!(folded, order);
        let name = into.name;
        assert_eq!((name.generation, name.epoch), (Generation(9), Epoch(3)));
        assert_eq!((name.worker, name.kind), (1, DataKind::State));
        let replaced = [&expected[..from], &[into]].concat();
        assert_eq!(digest(&store, &replaced), digest(&store, &expected));
        assert_eq!(store.names().len(), 5);
    }
}

#[test]
fn does_a_fold_that_fails_say_so_and_leave_nothing() {
    let (store, objects) = scene();
    let order = FoldOrder { worker: 1, objects };
    let before = store.steps();
    let whole = fold(store.clone(), &stopper(), order.clone());
    assert!(matches!(whole, Some(Event::Folded(..))), "{whole:?}");
    let steps = store.steps() - before;
    let names = store.names();
    for step in 0..steps {
        let step = store.steps() + step;
        let (steps, kind) = (step..step + 1, ErrorKind::StorageFull);
        store.set_faults(FaultPlan::Fail { steps, kind });
        let told = fold(store.clone(), &stopper(), order.clone());
        let Some(Event::NotFolded(error)) = told else {
            panic!("{told:?}");
        };
        assert!(error.to_string().contains("checkpoint store"), "{error}");
        assert_eq!(store.names(), names, "step {step}");
    }
    assert!(store.remove(&order.objects[2].name.to_string()));
    let told = fold(store, &stopper(), order);
    assert!(matches!(told, Some(Event::NotFolded(_))), "{told:?}");
}

/// Ends the run when it is read for the n-th time, and counts on.
struct Ending {
    store: MemoryStore,
    stopper: Stopper,
    end: fn(&Stopper),
    at: u64,
    reads: Arc<AtomicU64>,
}

struct EndingReader {
    object: Box<dyn ObjectReader>,
    stopper: Stopper,
    end: fn(&Stopper),
    at: u64,
    reads: Arc<AtomicU64>,
}

impl Store for Ending {
    fn create(&self, name: &str) -> Result<Box<dyn ObjectWriter>, StoreError> {
        self.store.create(name)
    }

    fn put_if_absent(&self, name: &str, bytes: &[u8]) -> Result<Put, StoreError> {
        self.store.put_if_absent(name, bytes)
    }

    fn open(&self, name: &str) -> Result<Box<dyn ObjectReader>, StoreError> {
        Ok(Box::new(EndingReader {
            object: self.store.open(name)?,
            stopper: self.stopper.clone(),
            end: self.end,
            at: self.at,
            reads: Arc::clone(&self.reads),
        }))
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        self.store.list(prefix)
    }

    fn delete(&self, name: &str) -> Result<(), StoreError> {
        self.store.delete(name)
    }
}

impl ObjectReader for EndingReader {
    fn length(&self) -> u64 {
        self.object.length()
    }

    fn read_at(&mut self, position: u64, buffer: &mut [u8]) -> Result<(), StoreError> {
        if self.reads.fetch_add(1, Ordering::SeqCst) == self.at {
            (self.end)(&self.stopper);
        }
        self.object.read_at(position, buffer)
    }
}

#[test]
fn does_a_fold_end_with_the_run_at_the_next_block() {
    let (store, objects) = scene();
    let order = FoldOrder { worker: 1, objects };
    let names = store.names();
    for end in [Stopper::end, Stopper::abort] {
        for at in [0, 1, 10, 100] {
            let reads = Arc::<AtomicU64>::default();
            let stopper = stopper();
            let store = Ending {
                store: store.clone(),
                stopper: stopper.clone(),
                end,
                at,
                reads: Arc::clone(&reads),
            };
            let told = fold(store, &stopper, order.clone());
            assert!(told.is_none(), "{told:?}");
            assert_eq!(reads.load(Ordering::SeqCst), at + 1);
        }
    }
    assert_eq!(store.names(), names);
}
