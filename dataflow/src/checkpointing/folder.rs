//! The thread that folds chains in the background. It works block by block and yields to whoever else wants a core;
//! nobody waits for it, and when the run ends it leaves what it was at.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender};

use crate::checkpoint::fault::FormatError;
use crate::checkpoint::folding::FoldOrder;
use crate::checkpoint::frame::{Encoding, ObjectRef};
use crate::checkpoint::manifest::ChainObject;
use crate::checkpoint::names::{DataKind, DataName};
use crate::checkpoint::state_file::StateWriter;
use crate::checkpoint::state_merge::StateChain;
use crate::checkpointing::leading::{Alarm, Event};
use crate::faults::phases::{Phase, reach};
use crate::identity::Generation;
use crate::run::{RunError, Stopper, spawn};
use crate::store::{ObjectReader, ObjectWriter, Put, Store, StoreError, failed};

/// Niceness of the thread: where cores are short it has about a tenth of what a worker has, which is still many times
/// what folding needs over time.
const NICENESS: i32 = 10;

/// What the folder works with.
pub(crate) struct FolderSetup {
    pub(crate) generation: Generation,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) orders: Receiver<FoldOrder>,
    pub(crate) events: Sender<Event>,
    pub(crate) stopper: Stopper,
}

/// Starts the folder. It ends when no more orders will come.
pub(crate) fn start(setup: FolderSetup) -> Result<JoinHandle<()>, RunError> {
    spawn("folder", move || run(setup))
}

fn run(setup: FolderSetup) {
    let _alarm = Alarm(setup.events.clone());
    // Of this thread alone. Where it is refused, folding takes its share of a core like all others.
    rustix::process::nice(NICENESS).ok();
    while let Ok(order) = setup.orders.recv() {
        let Some(name) = name(&order, setup.generation) else {
            continue;
        };
        let folded = fold(&setup, name, &order);
        if is_over(&setup.stopper) {
            discard(&setup, &name);
            return;
        }
        let event = match folded {
            Ok(into) => {
                reach(Phase::FoldWritten);
                Event::Folded(order, into)
            }
            Err(error) => {
                discard(&setup, &name);
                Event::NotFolded(error)
            }
        };
        if setup.events.send(event).is_err() {
            discard(&setup, &name);
        }
    }
}

fn is_over(stopper: &Stopper) -> bool {
    stopper.is_over() || stopper.has_failed()
}

fn name(order: &FoldOrder, generation: Generation) -> Option<DataName> {
    let newest = order.objects.last()?;
    Some(DataName {
        generation,
        epoch: newest.epoch,
        worker: order.worker as u32,
        random: rand::random(),
        kind: DataKind::State,
    })
}

/// Writes one object that stands for those of the order.
fn fold(setup: &FolderSetup, name: DataName, order: &FoldOrder) -> Result<ObjectRef, FormatError> {
    let readable = UntilOver {
        store: setup.store.as_ref(),
        stopper: &setup.stopper,
    };
    let objects = order.objects.iter().map(ChainObject::object);
    let chain = StateChain::open(&readable, objects)?;
    let begins_chain = order.objects.first().is_some_and(|first| first.whole);
    let writer = StateWriter::create(setup.store.as_ref(), name, Encoding::Plain)?;
    chain.fold(begins_chain, writer)
}

/// Removes what will never be listed. If that fails too, it costs room until the next recovery finds it.
fn discard(setup: &FolderSetup, name: &DataName) {
    drop(setup.store.delete(&name.to_string()));
}

/// A store that can't be read any more once the run is over: so a fold ends within a block.
struct UntilOver<'a> {
    store: &'a dyn Store,
    stopper: &'a Stopper,
}

impl Store for UntilOver<'_> {
    fn create(&self, name: &str) -> Result<Box<dyn ObjectWriter>, StoreError> {
        self.store.create(name)
    }

    fn put_if_absent(&self, name: &str, bytes: &[u8]) -> Result<Put, StoreError> {
        self.store.put_if_absent(name, bytes)
    }

    fn open(&self, name: &str) -> Result<Box<dyn ObjectReader>, StoreError> {
        Ok(Box::new(ReadUntilOver {
            name: name.to_owned(),
            object: self.store.open(name)?,
            stopper: self.stopper.clone(),
        }))
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        self.store.list(prefix)
    }

    fn delete(&self, name: &str) -> Result<(), StoreError> {
        self.store.delete(name)
    }
}

struct ReadUntilOver {
    name: String,
    object: Box<dyn ObjectReader>,
    stopper: Stopper,
}

impl ObjectReader for ReadUntilOver {
    fn length(&self) -> u64 {
        self.object.length()
    }

    fn read_at(&mut self, position: u64, buffer: &mut [u8]) -> Result<(), StoreError> {
        if is_over(&self.stopper) {
            let reason = io::Error::other("the run is over");
            return Err(failed("read", &self.name)(reason));
        }
        self.object.read_at(position, buffer)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod tests;
