//! A store and a sink that ask before and after whatever they are told to do: to be held there, or to fail.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use slackwater_dataflow::identity::Generation;
use slackwater_dataflow::sink::{EpochSink, Marker, ShardEpoch, SinkError};
use slackwater_dataflow::store::{ObjectReader, ObjectWriter, Put, Store, StoreError};

/// Longest wait for a run to come somewhere. Only a failure takes so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where an operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Nothing is done.
    Before,
    /// All is done; only who asked does not know it yet.
    After,
}

/// What is asked: where the operation is, which one it is, on which object or epoch.
pub type Hook = Arc<dyn Fn(When, &'static str, &str) -> io::Result<()> + Send + Sync>;

/// A store whose operations are all asked about.
#[derive(Clone)]
pub struct HookedStore {
    inner: Arc<dyn Store>,
    hook: Hook,
}

impl HookedStore {
    pub fn new(inner: impl Store + 'static, hook: Hook) -> Self {
        let inner = Arc::new(inner);
        HookedStore { inner, hook }
    }

    fn around<T>(
        &self,
        action: &'static str,
        name: &str,
        operation: impl FnOnce() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let failed = |source| StoreError {
            action,
            name: name.to_owned(),
            source,
        };
        (self.hook)(When::Before, action, name).map_err(failed)?;
        let done = operation()?;
        (self.hook)(When::After, action, name).map_err(failed)?;
        Ok(done)
    }
}

impl Store for HookedStore {
    fn create(&self, name: &str) -> Result<Box<dyn ObjectWriter>, StoreError> {
        let writer = self.around("create", name, || self.inner.create(name))?;
        Ok(Box::new(Hooked {
            store: self.clone(),
            name: name.to_owned(),
            object: writer,
        }))
    }

    fn put_if_absent(&self, name: &str, bytes: &[u8]) -> Result<Put, StoreError> {
        self.around("put", name, || self.inner.put_if_absent(name, bytes))
    }

    fn open(&self, name: &str) -> Result<Box<dyn ObjectReader>, StoreError> {
        let reader = self.around("open", name, || self.inner.open(name))?;
        Ok(Box::new(Hooked {
            store: self.clone(),
            name: name.to_owned(),
            object: reader,
        }))
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        self.around("list", prefix, || self.inner.list(prefix))
    }

    fn delete(&self, name: &str) -> Result<(), StoreError> {
        self.around("delete", name, || self.inner.delete(name))
    }
}

struct Hooked<T: ?Sized> {
    store: HookedStore,
    name: String,
    object: Box<T>,
}

impl ObjectWriter for Hooked<dyn ObjectWriter> {
    fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let object = &mut self.object;
        self.store
            .around("append", &self.name, || object.append(bytes))
    }

    fn finish(self: Box<Self>) -> Result<(), StoreError> {
        let Hooked {
            store,
            name,
            object,
        } = *self;
        store.around("finish", &name, || object.finish())
    }
}

impl ObjectReader for Hooked<dyn ObjectReader> {
    fn length(&self) -> u64 {
        self.object.length()
    }

    fn read_at(&mut self, position: u64, buffer: &mut [u8]) -> Result<(), StoreError> {
        let object = &mut self.object;
        self.store
            .around("read", &self.name, || object.read_at(position, buffer))
    }
}

/// A sink whose operations are all asked about.
pub struct HookedSink<S> {
    pub inner: S,
    pub hook: Hook,
}

impl<S: EpochSink> HookedSink<S> {
    fn around<T>(
        &mut self,
        action: &'static str,
        epoch: &str,
        operation: impl FnOnce(&mut S) -> Result<T, SinkError>,
    ) -> Result<T, SinkError> {
        let failed = |source| SinkError {
            action,
            subject: "hooked".to_owned(),
            source,
        };
        (self.hook)(When::Before, action, epoch).map_err(failed)?;
        let done = operation(&mut self.inner)?;
        (self.hook)(When::After, action, epoch).map_err(failed)?;
        Ok(done)
    }
}

impl<S: EpochSink> EpochSink for HookedSink<S> {
    fn take_over(&mut self, generation: Generation) -> Result<Vec<Option<Marker>>, SinkError> {
        self.around("take over", "", |sink| sink.take_over(generation))
    }

    fn publish(&mut self, outputs: ShardEpoch<'_>) -> Result<(), SinkError> {
        let epoch = outputs.epoch.to_string();
        self.around("publish", &epoch, |sink| sink.publish(outputs))
    }
}

/// Holds a run, as if its process had been stopped: from some operation on all of them wait, on whichever thread,
/// until the run is let go. Clones are the same gate.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<Held>, Condvar)>);

#[derive(Default)]
struct Held {
    passed: u64,
    hold_at: Option<u64>,
    is_held: bool,
    is_over: bool,
}

impl Gate {
    /// Holds from this operation on; each counts twice, before and after it.
    pub fn at(operation: u64) -> Self {
        let gate = Gate::default();
        gate.lock().hold_at = Some(operation);
        gate
    }

    /// What asks this gate.
    pub fn hook(&self) -> Hook {
        let gate = self.clone();
        Arc::new(move |_, _, _| {
            gate.pass();
            Ok(())
        })
    }

    fn pass(&self) {
        let mut held = self.lock();
        let number = held.passed;
        held.passed += 1;
        while held.hold_at.is_some_and(|at| number >= at) {
            held.is_held = true;
            self.0.1.notify_all();
            let waited = self.0.1.wait(held);
            held = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits until the run is held, or over. Whether it is held.
    ///
    /// # Panics
    /// It hangs.
    pub fn wait(&self) -> bool {
        let held = self.lock();
        let goes_on = |held: &mut Held| !held.is_held && !held.is_over;
        let waited = self.0.1.wait_timeout_while(held, PATIENCE, goes_on);
        let (held, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(
            !timeout.timed_out(),
            "violation: a run is neither held nor over"
        );
        held.is_held
    }

    /// How many operations there were.
    pub fn passed(&self) -> u64 {
        self.lock().passed
    }

    /// Lets the run go.
    pub fn open(&self) {
        let mut held = self.lock();
        held.hold_at = None;
        held.is_held = false;
        self.0.1.notify_all();
    }

    /// Says that the run is over.
    pub fn over(&self) {
        self.lock().is_over = true;
        self.0.1.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
