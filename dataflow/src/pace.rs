//! Which partitions may be read now, where it matters that none runs far ahead of the others.
//!
//! In event-time order an event waits until the watermark has passed it, and the watermark is that of the
//! slowest partition. So a partition that runs ahead brings only events that have to wait, and memory would
//! fill with them. What holds it back must never hold back the slowest one, or all would stand still for
//! ever; so this bound is one for each partition, apart from the bound on events in flight ([`crate::flow`]):
//!
//! - a partition whose watermark is the least of all that are being read *holds* the watermark, and is always
//!   read. What it brings beyond the bound goes to disk ([`crate::spill`]);
//! - any other is read unless it is further ahead than allowed, or too much waits already.
//!
//! In arrival order nothing waits, but a window of time holds all that came before, what a partition brings that is hours
//! ahead among it. There a partition that has nothing to read *rests*, and holds nobody back.
//!
//! None of this decides what comes out, only when.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use crate::flow::{Flow, Ticket};
use crate::moment::EventTime;
use crate::place::PartitionId;
use crate::source::Partition;

/// Bytes that events waiting for the watermark take in memory, per worker; what waits beyond that lies on
/// disk. Half a million ordinary events: seconds of disorder at the rate of a fast job.
pub const WAITING_BYTES_PER_WORKER: u64 = 128 * 1024 * 1024;

/// How far partitions may run ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PaceLimits {
    /// How far the watermark of a partition may be ahead of the slowest one.
    pub max_drift_ms: u64,
    /// Bytes of waiting events per worker that are held in memory. When that much waits, in memory and on disk,
    /// of all workers together, only the slowest partitions are read.
    pub waiting_bytes_per_worker: u64,
}

impl PaceLimits {
    /// Whether a partition may be read, with its watermark, the least of all partitions that are being
    /// read, and the bytes that wait, in memory and on disk, of `workers` workers.
    pub fn may_read(&self, own: EventTime, least: EventTime, waiting: u64, workers: u64) -> bool {
        let holds_the_watermark = own <= least;
        let most = self.waiting_bytes_per_worker.saturating_mul(workers);
        holds_the_watermark || (own.ms_after(least) <= self.max_drift_ms && waiting < most)
    }
}

/// Where the partitions of all workers stand, and how much waits.
#[derive(Debug)]
pub struct Pace {
    limits: PaceLimits,
    workers: u64,
    /// Each partition's, by number. Written to only when partitions are found, which is seldom.
    marks: RwLock<Vec<(PartitionId, Mark)>>,
    events: AtomicU64,
    bytes: AtomicU64,
    /// Set by a source that held a partition back; the next change that may let it go on wakes all.
    holding_back: AtomicBool,
}

/// Where a partition stands.
#[derive(Debug)]
struct Mark {
    /// Its watermark; [`EventTime::MAX`] while it is idle, and once it has ended.
    watermark: AtomicI64,
    /// Whether it rests, and holds nobody back.
    rests: AtomicBool,
}

impl Mark {
    fn new(watermark: EventTime) -> Self {
        Mark {
            watermark: AtomicI64::new(watermark.0),
            rests: AtomicBool::new(false),
        }
    }

    fn watermark(&self) -> EventTime {
        EventTime(self.watermark.load(Ordering::SeqCst))
    }

    /// What it holds the others back to, if it does.
    fn holds(&self) -> Option<EventTime> {
        (!self.rests.load(Ordering::SeqCst)).then(|| self.watermark())
    }
}

impl Pace {
    /// The pace of a group of `workers` that reads these partitions, in ascending order of their numbers.
    pub fn new(limits: PaceLimits, workers: usize, partitions: &[Partition]) -> Self {
        let mark = |partition: &Partition| (partition.id, Mark::new(EventTime::MIN));
        let marks = partitions.iter().map(mark).collect();
        Pace {
            limits,
            workers: workers.max(1) as u64,
            marks: RwLock::new(marks),
            events: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            holding_back: AtomicBool::new(false),
        }
    }

    /// Its limits.
    pub fn limits(&self) -> PaceLimits {
        self.limits
    }

    /// Events that wait for the watermark.
    pub fn waiting_events(&self) -> u64 {
        self.events.load(Ordering::Relaxed)
    }

    /// Bytes that they take, in memory and on disk.
    pub fn waiting_bytes(&self) -> u64 {
        self.bytes.load(Ordering::SeqCst)
    }

    /// Which partitions may be read now, for one poll of a job with this flow. What is in flight is about to wait,
    /// and counts as if it did.
    pub(crate) fn look<'p>(&'p self, flow: &'p Flow) -> Allowance<'p> {
        let standing = self.standing(flow);
        Allowance {
            pace: self,
            flow,
            standing: Cell::new(standing),
            announced: Cell::new(false),
        }
    }

    fn marks(&self) -> RwLockReadGuard<'_, Vec<(PartitionId, Mark)>> {
        self.marks.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// A partition was found, and is at this watermark.
    pub(crate) fn find(&self, partition: PartitionId, watermark: EventTime) {
        let mut marks = self.marks.write().unwrap_or_else(PoisonError::into_inner);
        if let Err(at) = marks.binary_search_by_key(&partition, |(id, _)| *id) {
            marks.insert(at, (partition, Mark::new(watermark)));
        }
    }

    fn standing(&self, flow: &Flow) -> Standing {
        let marks = self.marks();
        let least = marks.iter().filter_map(|(_, mark)| mark.holds()).min();
        Standing {
            least: least.unwrap_or(EventTime::MAX),
            waiting: self.waiting_bytes() + flow.bytes_in_flight(),
        }
    }

    /// What `look` sees in a partition's mark; none of one that is not known.
    fn mark<T>(&self, partition: PartitionId, look: impl FnOnce(&Mark) -> T) -> Option<T> {
        let marks = self.marks();
        let found = marks.binary_search_by_key(&partition, |(id, _)| *id);
        marks.get(found.ok()?).map(|(_, mark)| look(mark))
    }

    /// Notes the watermark of a partition that was read, or has ended. Whether those that were held back are to look again.
    #[must_use]
    pub(crate) fn advance(&self, partition: PartitionId, watermark: EventTime) -> bool {
        let before = self.mark(partition, |mark| {
            let before = mark.watermark.swap(watermark.0, Ordering::SeqCst);
            mark.rests.store(false, Ordering::SeqCst);
            before
        });
        before.is_some_and(|before| before != watermark.0) && self.lets_go()
    }

    /// Notes that a partition has nothing to read now. Whether those that were held back are to look again.
    #[must_use]
    pub(crate) fn rest(&self, partition: PartitionId) -> bool {
        let did = self.mark(partition, |mark| mark.rests.swap(true, Ordering::SeqCst));
        did == Some(false) && self.lets_go()
    }

    /// Whether somebody was held back, who is then to be woken.
    fn lets_go(&self) -> bool {
        self.holding_back.load(Ordering::SeqCst) && self.holding_back.swap(false, Ordering::SeqCst)
    }
}

#[derive(Clone, Copy)]
struct Standing {
    least: EventTime,
    waiting: u64,
}

/// The partitions that may be read, as things stood at one moment.
pub(crate) struct Allowance<'p> {
    pace: &'p Pace,
    flow: &'p Flow,
    standing: Cell<Standing>,
    /// Whether it is known that somebody is held back.
    announced: Cell<bool>,
}

impl Allowance<'_> {
    /// Whether `partition` may be read. If not, its source is woken when it should look again.
    pub(crate) fn allows(&self, partition: PartitionId) -> bool {
        if self.allows_as_things_stand(partition) {
            return true;
        }
        // Announce first, look again second, as the flow does: no change between the two is missed. Once is
        // enough: what comes after the second look finds the announcement.
        if self.announced.replace(true) {
            return false;
        }
        self.pace.holding_back.store(true, Ordering::SeqCst);
        self.standing.set(self.pace.standing(self.flow));
        self.allows_as_things_stand(partition)
    }

    fn allows_as_things_stand(&self, partition: PartitionId) -> bool {
        let (pace, standing) = (self.pace, self.standing.get());
        let own = pace.mark(partition, Mark::watermark);
        let own = own.unwrap_or(EventTime::MIN);
        let limits = &pace.limits;
        limits.may_read(own, standing.least, standing.waiting, pace.workers)
    }
}

/// What an operator that keeps events tells of them, and where it gets their tickets when it gives them.
#[derive(Debug)]
pub struct WaitingRoom {
    flow: Arc<Flow>,
    pace: Arc<Pace>,
    /// Operators of one worker that keep events, of which this is one's.
    shared_by: u64,
    events: u64,
    bytes: u64,
}

impl WaitingRoom {
    pub(crate) fn new(flow: Arc<Flow>, pace: Arc<Pace>) -> Self {
        WaitingRoom {
            flow,
            pace,
            shared_by: 1,
            events: 0,
            bytes: 0,
        }
    }

    /// A room of no job, for operators driven without one in tests.
    pub fn detached(limits: PaceLimits) -> Self {
        let pace = Pace::new(limits, 1, &[]);
        WaitingRoom::new(Arc::new(Flow::new(1)), Arc::new(pace))
    }

    /// The same where so many operators of each worker keep events, one after the other: each has its share of the memory.
    /// What they keep is added up, so the bound on that is one for all.
    #[must_use]
    pub fn shared_by(self, operators: usize) -> Self {
        WaitingRoom {
            shared_by: operators.max(1) as u64,
            ..self
        }
    }

    /// Bytes that the operator may hold in memory.
    pub fn memory_bytes_max(&self) -> u64 {
        self.pace.limits.waiting_bytes_per_worker / self.shared_by
    }

    /// Says how much the operator keeps now, in memory and on disk.
    pub fn holds(&mut self, events: u64, bytes: u64) {
        let pace = &self.pace;
        // One step each, which wraps where it falls: nobody sees a sum that never was.
        let more = events.wrapping_sub(self.events);
        pace.events.fetch_add(more, Ordering::Relaxed);
        let more = bytes.wrapping_sub(self.bytes);
        pace.bytes.fetch_add(more, Ordering::SeqCst);
        let fell = bytes < self.bytes;
        (self.events, self.bytes) = (events, bytes);
        if fell && pace.lets_go() {
            self.flow.wake_all();
        }
    }

    /// A ticket for events that are given now: from here on they are in flight again.
    pub fn admit(&self, events: u64, bytes: u64, read_at: Duration) -> Ticket {
        self.flow.admit(events, bytes, read_at)
    }
}

#[cfg(test)]
mod tests;
