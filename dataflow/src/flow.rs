//! Flow control: the bound on events that were read and whose outputs are not written yet.
//!
//! Timely has no back pressure of its own; one slow worker or sink would fill memory. So each poll of a
//! source is admitted against the bounds of a [`Flow`] and gets a [`Ticket`], which travels with
//! everything made from its records. When the last clone is dropped, which the publisher does after
//! writing, the records count as retired. A source that finds no room stops polling; it is woken when
//! there is room again. Nothing ever blocks a worker.
//!
//! An operator that gives what it kept for later needs room as well. As long as one has more to give than it
//! could, no source reads: what has been read goes first, or it would pile up behind what is read after it. For the same reason an
//! operator waits for those behind it that keep events as well.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::sink::OutputChunk;
use crate::source::Wake;

/// Events in flight per worker. At the rate of a fast job this is some 60 ms of work: enough to keep
/// every stage busy, little enough to keep latency and memory low.
pub const EVENTS_IN_FLIGHT_PER_WORKER: u64 = 64 * 1024;

/// Record bytes in flight per worker. Ordinary events never reach it; it bounds memory when records are
/// as large as `max_bytes` permits.
pub const BYTES_IN_FLIGHT_PER_WORKER: u64 = 64 * 1024 * 1024;

/// Bytes of outputs that wait in a job's outboxes until they are published. Several seconds of a fast job: a sink that
/// is away for longer is felt at the source, and what recovery has to publish stays bounded.
pub const UNPUBLISHED_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// The bounds of a worker group and how much of them is used.
pub struct Flow {
    events_max: u64,
    bytes_max: u64,
    events: AtomicU64,
    bytes: AtomicU64,
    /// Of outputs in outboxes; none in a job without checkpoints.
    unpublished_bytes: AtomicU64,
    /// Operators that have more to give than they could.
    backlogs: AtomicU64,
    /// The same by their places in the graph.
    backlogs_at: Mutex<BTreeMap<usize, u64>>,
    /// Set by who found no room; the next retirement wakes all.
    starved: AtomicBool,
    wakers: Mutex<Vec<Wake>>,
}

impl Flow {
    /// Bounds for a group of `workers`.
    pub fn new(workers: usize) -> Self {
        let workers = workers.max(1) as u64;
        Flow {
            events_max: EVENTS_IN_FLIGHT_PER_WORKER * workers,
            bytes_max: BYTES_IN_FLIGHT_PER_WORKER * workers,
            events: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            unpublished_bytes: AtomicU64::new(0),
            backlogs: AtomicU64::new(0),
            backlogs_at: Mutex::new(BTreeMap::new()),
            starved: AtomicBool::new(false),
            wakers: Mutex::new(Vec::new()),
        }
    }

    /// Whether there is room for what an operator gives. If not, it will be woken when it should ask again.
    pub fn has_room(&self) -> bool {
        self.has_room_at(usize::MAX)
    }

    /// The same for an operator at this place of the graph: those behind it go first that have more to give than they could.
    /// What it gives them counts for no bound on events in flight once they keep it, so it would pile up there.
    pub(crate) fn has_room_at(&self, place: usize) -> bool {
        self.holds_or_wakes(|| self.is_below_bounds() && !self.is_backlogged_behind(place))
    }

    fn is_backlogged_behind(&self, place: usize) -> bool {
        self.backlogs.load(Ordering::SeqCst) > 0 && {
            let at = self.backlogs_at();
            at.range((Bound::Excluded(place), Bound::Unbounded))
                .any(|(_, backlogs)| *backlogs > 0)
        }
    }

    fn backlogs_at(&self) -> MutexGuard<'_, BTreeMap<usize, u64>> {
        // Each change is one step: a panic elsewhere leaves the counts right.
        self.backlogs_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is room for what a source reads. If not, it will be woken when it should ask again.
    pub fn has_room_to_read(&self) -> bool {
        self.holds_or_wakes(|| {
            self.is_below_bounds()
                && self.backlogs.load(Ordering::SeqCst) == 0
                && self.unpublished_bytes.load(Ordering::SeqCst) < UNPUBLISHED_BYTES_MAX
        })
    }

    /// Counts bytes of outputs that lie in an outbox.
    pub(crate) fn hold_unpublished(&self, bytes: u64) {
        self.unpublished_bytes.fetch_add(bytes, Ordering::SeqCst);
    }

    /// Counts them as published.
    pub(crate) fn release_published(&self, bytes: u64) {
        // Those that an earlier run has left were not counted here.
        let less = |held: u64| Some(held.saturating_sub(bytes));
        self.unpublished_bytes
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, less)
            .ok();
        self.wake_the_starved();
    }

    fn holds_or_wakes(&self, holds: impl Fn() -> bool) -> bool {
        if holds() {
            return true;
        }
        // Announce first, look again second: a change between the two looks either sees the announcement
        // or is seen by the second look, so no wake-up is lost.
        self.starved.store(true, Ordering::SeqCst);
        holds()
    }

    /// Notes that the operator at this place of the graph has more to give than it could.
    pub(crate) fn begin_backlog(&self, place: usize) {
        *self.backlogs_at().entry(place).or_default() += 1;
        self.backlogs.fetch_add(1, Ordering::SeqCst);
    }

    /// Notes that it has given it all.
    pub(crate) fn end_backlog(&self, place: usize) {
        if let Some(backlogs) = self.backlogs_at().get_mut(&place) {
            *backlogs -= 1;
        }
        self.backlogs.fetch_sub(1, Ordering::SeqCst);
        self.wake_the_starved();
    }

    fn is_below_bounds(&self) -> bool {
        self.events.load(Ordering::SeqCst) < self.events_max
            && self.bytes.load(Ordering::SeqCst) < self.bytes_max
    }

    /// Counts records of one poll as in flight until all clones of the ticket are dropped.
    pub fn admit(self: &Arc<Self>, events: u64, bytes: u64, read_at: Duration) -> Ticket {
        self.events.fetch_add(events, Ordering::SeqCst);
        self.bytes.fetch_add(bytes, Ordering::SeqCst);
        Ticket(Arc::new(Admitted {
            flow: Arc::clone(self),
            events,
            bytes,
            read_at,
        }))
    }

    /// Events in flight now.
    pub fn events_in_flight(&self) -> u64 {
        self.events.load(Ordering::SeqCst)
    }

    /// Bytes of their records.
    pub fn bytes_in_flight(&self) -> u64 {
        self.bytes.load(Ordering::SeqCst)
    }

    /// Registers who is to be woken when there is room again.
    pub fn on_room(&self, wake: Wake) {
        // A panic elsewhere does not make the list wrong: it only ever grows.
        self.wakers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(wake);
    }

    /// Wakes everybody who may be waiting for room, for instance because the job is to stop.
    pub fn wake_all(&self) {
        for wake in self
            .wakers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
        {
            wake.wake();
        }
    }

    fn retire(&self, events: u64, bytes: u64) {
        self.events.fetch_sub(events, Ordering::SeqCst);
        self.bytes.fetch_sub(bytes, Ordering::SeqCst);
        self.wake_the_starved();
    }

    fn wake_the_starved(&self) {
        if self.starved.load(Ordering::SeqCst) && self.starved.swap(false, Ordering::SeqCst) {
            self.wake_all();
        }
    }
}

impl std::fmt::Debug for Flow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Flow")
            .field("events", &self.events)
            .field("bytes", &self.bytes)
            .finish()
    }
}

#[derive(Debug)]
struct Admitted {
    flow: Arc<Flow>,
    events: u64,
    bytes: u64,
    read_at: Duration,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.flow.retire(self.events, self.bytes);
    }
}

/// Keeps the records of one poll counted as in flight. Everything made from them carries a clone.
#[derive(Clone, Debug)]
pub struct Ticket(Arc<Admitted>);

impl Ticket {
    /// Monotonic reading when the records were read.
    pub fn read_at(&self) -> Duration {
        self.0.read_at
    }

    /// A ticket of no job, for state machines driven without one in tests and benches.
    pub fn detached() -> Self {
        Arc::new(Flow::new(1)).admit(0, 0, Duration::ZERO)
    }
}

/// A chunk of finished records and the ticket that keeps their events in flight until it is written.
#[derive(Debug)]
pub struct Publication {
    /// The records.
    pub chunk: OutputChunk,
    /// Of the events they were made of.
    pub ticket: Ticket,
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use crate::flow::{EVENTS_IN_FLIGHT_PER_WORKER, Flow, UNPUBLISHED_BYTES_MAX};
    use crate::source::Wake;

    #[test]
    fn records_are_in_flight_until_the_last_clone_is_gone() {
        let flow = Arc::new(Flow::new(1));
        let woken = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&woken);
        flow.on_room(Wake::new(move || {
            counter.fetch_add(1, Ordering::SeqCst);
        }));
        let ticket = flow.admit(EVENTS_IN_FLIGHT_PER_WORKER, 1, Duration::ZERO);
        let clone = ticket.clone();
        assert!(!flow.has_room());
        drop(ticket);
        assert!(!flow.has_room());
        assert_eq!(woken.load(Ordering::SeqCst), 0);
        drop(clone);
        assert_eq!(woken.load(Ordering::SeqCst), 1);
        assert!(flow.has_room());
        assert_eq!(flow.events_in_flight(), 0);
    }

    #[test]
    fn who_has_something_to_give_goes_before_who_reads() {
        let flow = Arc::new(Flow::new(1));
        let woken = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&woken);
        flow.on_room(Wake::new(move || {
            counter.fetch_add(1, Ordering::SeqCst);
        }));
        flow.begin_backlog(2);
        assert!(flow.has_room());
        assert!(flow.has_room_at(3) && flow.has_room_at(2));
        assert!(!flow.has_room_at(1), "who stands behind it goes first");
        assert!(!flow.has_room_to_read());
        flow.begin_backlog(1);
        flow.end_backlog(2);
        assert_eq!(woken.load(Ordering::SeqCst), 1);
        assert!(flow.has_room_at(1));
        assert!(!flow.has_room_to_read());
        flow.end_backlog(1);
        assert_eq!(woken.load(Ordering::SeqCst), 2);
        assert!(flow.has_room_to_read());
    }

    #[test]
    fn nothing_is_read_while_too_much_waits_to_be_published() {
        let flow = Arc::new(Flow::new(2));
        let woken = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&woken);
        flow.on_room(Wake::new(move || {
            counter.fetch_add(1, Ordering::SeqCst);
        }));
        flow.hold_unpublished(UNPUBLISHED_BYTES_MAX);
        assert!(flow.has_room());
        assert!(!flow.has_room_to_read());
        flow.release_published(1);
        assert_eq!(woken.load(Ordering::SeqCst), 1);
        assert!(flow.has_room_to_read());
        flow.release_published(u64::MAX);
        flow.hold_unpublished(UNPUBLISHED_BYTES_MAX - 1);
        assert!(flow.has_room_to_read());
    }

    #[test]
    fn bytes_are_bounded_even_if_events_are_few() {
        let flow = Arc::new(Flow::new(2));
        let _ticket = flow.admit(3, u64::MAX / 2, Duration::ZERO);
        assert!(!flow.has_room());
    }
}
