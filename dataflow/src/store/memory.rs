//! A store in memory: the test double, with faults on demand.
//!
//! It knows two states of the world: what a reader sees, and what a loss of power would leave. And it counts
//! the steps in which a local store would change the one or the other, so that a test can end the process at
//! each of them in turn:
//!
//! | operation | steps |
//! | --- | --- |
//! | `create`, `append`, `open`, `read_at`, `list` | 1 |
//! | `finish` | sync of the object, sync of the folder |
//! | `put_if_absent` | write, sync, link, sync of the folder |
//! | `delete` | 1; in the log 2, the second a sync of the folder |
//!
//! A name that no store takes is refused without a step.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::faults::{self, Defect};
use crate::store::name::{self, LOG};
use crate::store::{
    ObjectReader, ObjectWriter, Put, Store, StoreError, failed, is_no_room, refuse_broken,
};

/// What is to go wrong. Steps are counted from 0 at the beginning of the store: the next one is
/// [`MemoryStore::steps`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum FaultPlan {
    /// Nothing.
    #[default]
    Nothing,
    /// The process ends in a step: it fails, and so does whatever is called later, until
    /// [`MemoryStore::revive`].
    Crash {
        /// The step.
        step: u64,
        /// How much of it is done.
        when: Crash,
    },
    /// Steps fail without effect, and later ones work again: a disk that is full for a while.
    Fail {
        /// The steps.
        steps: Range<u64>,
        /// What their errors say.
        kind: io::ErrorKind,
    },
    /// The next object that a put creates is there and durable, but the put fails: an answer that was lost. Once.
    AmbiguousPut,
    /// A put replaces what is there and says that it created it.
    IgnoredConditions,
}

/// How much of the step in which a process ends is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// Nothing.
    Before,
    /// An append adds the first half of its bytes, a sync of an object makes the first half of what was not
    /// durable so. All else has no halves and is done.
    Half,
    /// All of it.
    After,
}

/// Objects in memory. Clones are the same store.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// What a reader sees.
    names: BTreeMap<String, Shared>,
    /// The names that a loss of power leaves.
    durable: BTreeMap<String, Shared>,
    plan: FaultPlan,
    steps: u64,
    dead: bool,
    /// Counts the processes, so that what one of them had open stays dead when the next one works.
    process: u64,
}

/// Shared by its names and by those who have it open. Locked only while the state is.
type Shared = Arc<Mutex<Object>>;

#[derive(Debug, Default)]
struct Object {
    bytes: Vec<u8>,
    /// As many bytes from the beginning are durable.
    synced: usize,
}

/// What becomes of a step.
enum Step {
    Whole,
    Last(Crash),
    Refused(io::Error),
}

impl MemoryStore {
    /// From now on, this goes wrong and nothing else.
    pub fn set_faults(&self, plan: FaultPlan) {
        self.state().plan = plan;
    }

    /// How many steps were begun, also of those that failed. A dead process begins none.
    pub fn steps(&self) -> u64 {
        self.state().steps
    }

    /// Whether a planned crash has struck and nobody revived the store since.
    pub fn is_dead(&self) -> bool {
        self.state().dead
    }

    /// Begins the next process. What is open stays with the one before, and fails.
    pub fn revive(&self) {
        let mut state = self.state();
        state.dead = false;
        state.process += 1;
    }

    /// Drops all that is not durable: bytes and names that were not synced, and deletions too. The process of
    /// what is open ends with it.
    pub fn power_loss(&self) {
        let mut state = self.state();
        state.process += 1;
        state.names = state.durable.clone();
        for object in state.durable.values() {
            let mut object = lock(object);
            let synced = object.synced;
            object.bytes.truncate(synced);
        }
    }

    /// Changes the bytes of an object, durably. False if there is none.
    pub fn damage(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) -> bool {
        let mut state = self.state();
        let Some(shared) = state.names.get(name).cloned() else {
            return false;
        };
        let mut object = lock(&shared);
        change(&mut object.bytes);
        object.synced = object.bytes.len();
        state.durable.insert(name.to_owned(), shared.clone());
        true
    }

    /// Removes an object for good. False if there is none.
    pub fn remove(&self, name: &str) -> bool {
        let mut state = self.state();
        state.durable.remove(name);
        state.names.remove(name).is_some()
    }

    /// Puts a durable copy of one object in the place of another. False if there is none to copy.
    pub fn copy(&self, from: &str, to: &str) -> bool {
        let mut state = self.state();
        let Some(object) = state.names.get(from) else {
            return false;
        };
        let bytes = lock(object).bytes.clone();
        let synced = bytes.len();
        let copy = Arc::new(Mutex::new(Object { bytes, synced }));
        state.names.insert(to.to_owned(), copy.clone());
        state.durable.insert(to.to_owned(), copy);
        true
    }

    /// A store of its own that is what this one is now; nothing is open in it, and nothing goes wrong.
    #[must_use]
    pub fn fork(&self) -> Self {
        let state = self.state();
        let mut copies = BTreeMap::new();
        let mut copy = |object: &Shared| {
            let copied = copies.entry(Arc::as_ptr(object)).or_insert_with(|| {
                let Object { bytes, synced } = &*lock(object);
                let (bytes, synced) = (bytes.clone(), *synced);
                Arc::new(Mutex::new(Object { bytes, synced }))
            });
            Arc::clone(copied)
        };
        let mut copy_all = |names: &BTreeMap<String, Shared>| {
            let names = names.iter();
            names.map(|(name, it)| (name.clone(), copy(it))).collect()
        };
        let forked = State {
            names: copy_all(&state.names),
            durable: copy_all(&state.durable),
            steps: state.steps,
            ..State::default()
        };
        MemoryStore {
            state: Arc::new(Mutex::new(forked)),
        }
    }

    /// All objects that a reader sees, in ascending order.
    pub fn names(&self) -> Vec<String> {
        self.state().names.keys().cloned().collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl State {
    fn begin(&mut self) -> Step {
        if self.dead {
            return Step::Refused(dead());
        }
        let step = self.steps;
        self.steps += 1;
        match &self.plan {
            FaultPlan::Crash { step: last, when } if *last == step => {
                self.dead = true;
                Step::Last(*when)
            }
            FaultPlan::Fail { steps, kind } if steps.contains(&step) => {
                Step::Refused((*kind).into())
            }
            _ => Step::Whole,
        }
    }

    /// A step that has no halves.
    fn step<T>(&mut self, effect: impl FnOnce(&mut State) -> T) -> io::Result<T> {
        match self.begin() {
            Step::Whole => Ok(effect(self)),
            Step::Last(Crash::Before) => Err(dead()),
            Step::Last(Crash::Half | Crash::After) => {
                effect(self);
                Err(dead())
            }
            Step::Refused(error) => Err(error),
        }
    }

    /// A step on this many bytes: to how many it happens, and what the caller is told.
    fn step_on(&mut self, bytes: usize) -> (usize, io::Result<()>) {
        match self.begin() {
            Step::Whole => (bytes, Ok(())),
            Step::Last(Crash::Before) => (0, Err(dead())),
            Step::Last(Crash::Half) => (bytes / 2, Err(dead())),
            Step::Last(Crash::After) => (bytes, Err(dead())),
            Step::Refused(error) => (0, Err(error)),
        }
    }

    /// What was opened by an earlier process is of no use to anybody.
    fn still(&self, process: u64) -> io::Result<()> {
        (self.process == process).then_some(()).ok_or_else(dead)
    }

    fn append(&mut self, object: &Shared, bytes: &[u8]) -> io::Result<()> {
        let (added, told) = self.step_on(bytes.len());
        lock(object).bytes.extend(bytes.iter().take(added));
        told
    }

    fn sync(&mut self, object: &Shared) -> io::Result<()> {
        let mut object = lock(object);
        let (synced, told) = self.step_on(object.bytes.len().saturating_sub(object.synced));
        object.synced += synced;
        told
    }

    fn sync_folder(&mut self, folder: &str) -> io::Result<()> {
        self.step(|state| {
            let elsewhere = |name: &str| name.split_once('/').map(|(own, _)| own) != Some(folder);
            state.durable.retain(|name, _| elsewhere(name));
            let names = state.names.iter().filter(|(name, _)| !elsewhere(name));
            let names = names.map(|(name, object)| (name.clone(), object.clone()));
            state.durable.extend(names);
        })
    }

    fn put(&mut self, folder: &str, name: &str, bytes: &[u8]) -> io::Result<Put> {
        // Until it is linked, nobody sees it.
        let object = Shared::default();
        self.append(&object, bytes)?;
        self.sync(&object)?;
        let put = self.step(|state| {
            let vacant = !state.names.contains_key(name);
            let create = vacant || state.plan == FaultPlan::IgnoredConditions;
            if create {
                state.names.insert(name.to_owned(), object);
            }
            create.then_some(Put::Created)
        })?;
        self.sync_folder(folder)?;
        if put.is_some() && self.plan == FaultPlan::AmbiguousPut {
            self.plan = FaultPlan::Nothing;
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(put.unwrap_or(Put::Exists))
    }
}

impl Store for MemoryStore {
    fn create(&self, name: &str) -> Result<Box<dyn ObjectWriter>, StoreError> {
        let (folder, _) = name::parse("create", name)?;
        let mut state = self.state();
        let created = state.step(|state| {
            if state.names.contains_key(name) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            let object = Shared::default();
            state.names.insert(name.to_owned(), object.clone());
            Ok(object)
        });
        Ok(Box::new(MemoryWriter {
            object: created.flatten().map_err(failed("create", name))?,
            store: self.clone(),
            process: state.process,
            name: name.to_owned(),
            folder,
            broken: false,
        }))
    }

    fn put_if_absent(&self, name: &str, bytes: &[u8]) -> Result<Put, StoreError> {
        let (folder, _) = name::parse("put", name)?;
        let put = self.state().put(folder, name, bytes);
        put.map_err(failed("put", name))
    }

    fn open(&self, name: &str) -> Result<Box<dyn ObjectReader>, StoreError> {
        name::parse("read", name)?;
        let mut state = self.state();
        let found = state.step(|state| state.names.get(name).cloned());
        let found = found.and_then(|found| found.ok_or_else(|| io::ErrorKind::NotFound.into()));
        let object = found.map_err(failed("read", name))?;
        let length = lock(&object).bytes.len() as u64;
        Ok(Box::new(MemoryReader {
            store: self.clone(),
            process: state.process,
            name: name.to_owned(),
            object,
            length,
        }))
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        name::parse_prefix("list", prefix)?;
        let listed = self.state().step(|state| {
            let names = state.names.keys().filter(|name| name.starts_with(prefix));
            names.cloned().collect()
        });
        listed.map_err(failed("list", prefix))
    }

    fn delete(&self, name: &str) -> Result<(), StoreError> {
        let (folder, _) = name::parse("delete", name)?;
        let mut state = self.state();
        let deleted = state.step(|state| {
            state.names.remove(name);
        });
        let durable = deleted.and_then(|()| match folder {
            LOG => state.sync_folder(folder),
            _ => Ok(()),
        });
        durable.map_err(failed("delete", name))
    }
}

struct MemoryWriter {
    store: MemoryStore,
    process: u64,
    name: String,
    folder: &'static str,
    object: Shared,
    broken: bool,
}

impl ObjectWriter for MemoryWriter {
    fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let mut state = self.store.state();
        let fit = refuse_broken(self.broken).and_then(|()| state.still(self.process));
        let appended = fit.and_then(|()| state.append(&self.object, bytes));
        self.broken |= appended.as_ref().is_err_and(|error| !is_no_room(error));
        appended.map_err(failed("append to", &self.name))
    }

    fn finish(self: Box<Self>) -> Result<(), StoreError> {
        let mut state = self.store.state();
        let finished = refuse_broken(self.broken)
            .and_then(|()| state.still(self.process))
            .and_then(|()| match faults::is_on(Defect::NotSynced) {
                true => Ok(()),
                false => state.sync(&self.object),
            })
            .and_then(|()| state.sync_folder(self.folder));
        finished.map_err(failed("finish", &self.name))
    }
}

struct MemoryReader {
    store: MemoryStore,
    process: u64,
    name: String,
    object: Shared,
    length: u64,
}

impl ObjectReader for MemoryReader {
    fn length(&self) -> u64 {
        self.length
    }

    fn read_at(&mut self, position: u64, buffer: &mut [u8]) -> Result<(), StoreError> {
        let mut state = self.store.state();
        let mut read = || {
            state.still(self.process)?;
            state.step(|_| {})?;
            let start = usize::try_from(position).unwrap_or(usize::MAX);
            let end = start.saturating_add(buffer.len());
            let object = lock(&self.object);
            let bytes = object.bytes.get(start..end);
            buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        };
        read().map_err(failed("read", &self.name))
    }
}

/// A test that panics with a lock in hand is to show its own panic, not that of the next one who takes it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn dead() -> io::Error {
    io::Error::other("the process is dead, as a plan of faults says")
}
