//! Rows that wait, found again in order.
//!
//! Every batch that comes is sorted once and is a *run* from then on; batches come nearly sorted, so this is
//! cheap. When the watermark rises, each run that begins below it gives up its beginning, and what all runs give up is
//! merged into one list of rows that are due. A run is looked at only when it has something to give.
//!
//! When memory is full, everything that the watermark has not passed goes to disk as one sorted run, which comes
//! back block by block, each a run in memory again. Rows are due only up to the first row of the next block on
//! disk: what lies there comes first.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::hint::black_box;
use std::time::Duration;

use slackwater_dataflow::moment::EventTime;
use slackwater_dataflow::place::{Offset, PartitionId};
use slackwater_dataflow::spill::Spill;

use crate::batch::{ROW_BYTES_EXPECTED, Row, Rows};
use crate::order::spilled::{SpillError, Spilled, SpilledRun};

/// Where a row stands in the order of handling. No two rows of a job stand at the same place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) time: EventTime,
    partition: PartitionId,
    offset: Offset,
}

impl Place {
    pub(super) fn of(row: &Row, order_time: EventTime) -> Self {
        Place {
            time: order_time,
            partition: row.partition,
            offset: row.offset,
        }
    }
}

/// A row by its order time, its run and its number there, as one number that sorts fast.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Timed(i128);

impl Timed {
    fn new(time: EventTime, run: u32, row: u32) -> Self {
        Timed(i128::from(time.0) << 64 | i128::from(run) << 32 | i128::from(row))
    }

    fn in_run(self, run: u32) -> Self {
        Timed::new(self.time(), run, self.row())
    }

    fn time(self) -> EventTime {
        EventTime((self.0 >> 64) as i64)
    }

    fn run(self) -> u32 {
        (self.0 >> 32) as u32
    }

    fn row(self) -> u32 {
        self.0 as u32
    }
}

/// Where the rows of a run come from.
#[derive(Clone, Copy)]
enum Origin {
    /// A batch of one partition, with the number of batches that came before it.
    Batch(PartitionId, u64),
    /// Disk: any partitions.
    Block,
}

/// Rows of one batch and their order.
struct Run {
    rows: Rows,
    read_at: Duration,
    origin: Origin,
    /// In order. A batch holds rows of one partition in the order of their offsets, and a block from disk is
    /// in order as a whole: so among rows of one time their numbers decide.
    order: Vec<Timed>,
    /// How many of them have become due.
    due: usize,
    /// How many were taken.
    taken: usize,
    /// What it counts for.
    bytes: u64,
}

impl Run {
    fn new(mut rows: Rows, read_at: Duration, origin: Origin) -> Self {
        let timed = |(nth, &time): (u32, &EventTime)| Timed::new(time, 0, nth);
        let mut order: Vec<_> = (0..).zip(rows.order_times()).map(timed).collect();
        order.sort_unstable();
        // What was expected is not always what came; room that nothing fills must not be kept.
        rows.shrink_if_loose();
        let bytes = rows.memory_bytes() + order.capacity() * size_of::<Timed>();
        Run {
            rows,
            read_at,
            origin,
            order,
            due: 0,
            taken: 0,
            bytes: (bytes + size_of::<Run>()) as u64,
        }
    }

    /// When the next row is that is not due.
    fn head(&self) -> Option<EventTime> {
        self.order.get(self.due).map(|timed| timed.time())
    }

    fn row(&self, timed: Timed) -> Option<&Row> {
        self.rows.rows().get(timed.row() as usize)
    }

    fn place(&self, timed: Timed) -> Option<Place> {
        Some(Place::of(self.row(timed)?, timed.time()))
    }

    /// Whether a row stands before `limit` in the order of handling.
    fn stands_before(&self, timed: Timed, limit: Place) -> bool {
        match timed.time().cmp(&limit.time) {
            Ordering::Equal => self.place(timed) < Some(limit),
            order => order == Ordering::Less,
        }
    }
}

/// Runs in memory, by number. Numbers are used again.
#[derive(Default)]
struct Runs {
    runs: Vec<Option<Run>>,
    free: Vec<u32>,
    /// Of all runs.
    bytes: u64,
}

impl Runs {
    fn get(&self, at: u32) -> Option<&Run> {
        self.runs.get(at as usize)?.as_ref()
    }

    fn get_mut(&mut self, at: u32) -> Option<&mut Run> {
        self.runs.get_mut(at as usize)?.as_mut()
    }

    fn row(&self, timed: Timed) -> Option<(&Run, &Row)> {
        let run = self.get(timed.run())?;
        Some((run, run.row(timed)?))
    }

    fn add(&mut self, run: Run) -> u32 {
        self.bytes += run.bytes;
        let at = self.free.pop().unwrap_or(self.runs.len() as u32);
        match self.runs.get_mut(at as usize) {
            Some(place) => *place = Some(run),
            None => self.runs.push(Some(run)),
        }
        at
    }

    /// Puts rows of one time into the order of their places.
    fn settle(&self, tied: &mut [Timed]) {
        // Batches of a partition come in the order of its offsets: then no row has to be looked at.
        let by_batch = |timed: &Timed| match self.get(timed.run())?.origin {
            Origin::Batch(partition, number) => Some((partition, number, timed.row())),
            Origin::Block => None,
        };
        if tied.iter().all(|timed| by_batch(timed).is_some()) {
            tied.sort_unstable_by_key(by_batch);
        } else {
            tied.sort_unstable_by_key(|&timed| self.get(timed.run())?.place(timed));
        }
    }

    /// Forgets a run of which nothing is left to take.
    fn forget_if_taken(&mut self, at: u32) {
        if self.get(at).is_some_and(|run| run.taken == run.order.len())
            && let Some(run) = self.runs.get_mut(at as usize).and_then(Option::take)
        {
            self.bytes -= run.bytes;
            self.free.push(at);
        }
    }
}

/// Rows that wait for the watermark, of one worker.
pub(super) struct Waiting {
    fields: usize,
    bytes_max: u64,
    watermark: EventTime,
    runs: Runs,
    /// Runs with rows that are not due, by the time of the first of these.
    heads: BinaryHeap<Reverse<(EventTime, u32)>>,
    /// Rows that are due and in memory, in order, from `next_due` on.
    due: Vec<Timed>,
    next_due: usize,
    pub(super) spilled: Spilled,
    events: u64,
    /// How many came.
    batches: u64,
}

impl Waiting {
    pub(super) fn new(fields: usize, bytes_max: u64, spill: Box<dyn Spill>) -> Self {
        Waiting {
            fields,
            bytes_max,
            watermark: EventTime::MIN,
            runs: Runs::default(),
            heads: BinaryHeap::new(),
            due: Vec::new(),
            next_due: 0,
            spilled: Spilled::new(spill, bytes_max),
            events: 0,
            batches: 0,
        }
    }

    /// Rows that wait, due ones too.
    pub(super) fn events(&self) -> u64 {
        self.events
    }

    /// Bytes that they take, in memory and on disk.
    pub(super) fn bytes(&self) -> u64 {
        self.runs.bytes + self.spilled.bytes()
    }

    /// Takes rows in. Every one of them has an order time at or above the watermark.
    pub(super) fn add(&mut self, rows: Rows, read_at: Duration) -> Result<(), SpillError> {
        debug_assert!(
            rows.order_times()
                .iter()
                .all(|time| *time >= self.watermark)
        );
        let Some(first) = rows.rows().first() else {
            return Ok(());
        };
        let origin = Origin::Batch(first.partition, self.batches);
        self.batches += 1;
        self.events += rows.rows().len() as u64;
        self.keep(Run::new(rows, read_at, origin));
        if self.runs.bytes > self.bytes_max && self.bytes_not_passed() > self.bytes_max / 2 {
            self.spill()?;
        }
        Ok(())
    }

    /// Bytes of runs in memory with rows that the watermark has not passed. Less than half of the bound is not
    /// worth a file: then it is rows which are due that fill memory, and they are about to go.
    fn bytes_not_passed(&self) -> u64 {
        let has_passed = has_passed(self.watermark);
        let runs = self.heads.iter().map(|Reverse((_, at))| self.runs.get(*at));
        let waits = |run: &&Run| {
            run.order
                .last()
                .is_some_and(|last| !has_passed(last.time()))
        };
        runs.flatten().filter(waits).map(|run| run.bytes).sum()
    }

    fn keep(&mut self, run: Run) {
        if let Some(head) = run.head() {
            let at = self.runs.add(run);
            self.heads.push(Reverse((head, at)));
        }
    }

    pub(super) fn on_watermark(&mut self, watermark: EventTime) {
        self.watermark = self.watermark.max(watermark);
    }

    /// The least order time of all that waits.
    pub(super) fn least(&self) -> Option<EventTime> {
        if let Some(due) = self.due.get(self.next_due) {
            return Some(due.time());
        }
        let in_memory = self.heads.peek().map(|Reverse((time, _))| *time);
        let on_disk = self.spilled.first().map(|place| place.time);
        in_memory.into_iter().chain(on_disk).min()
    }

    /// Whether the watermark has passed something that waits.
    pub(super) fn is_due(&self) -> bool {
        self.least().is_some_and(has_passed(self.watermark))
    }

    /// Takes rows that are due, the first ones: at most `most`, and no more after the one that makes them
    /// `bytes_most` bytes. Gives when the first of them was read.
    pub(super) fn take(
        &mut self,
        most: usize,
        bytes_most: usize,
    ) -> Result<(Rows, Duration), SpillError> {
        self.collect()?;
        let expected = most.min(self.due.len() - self.next_due);
        let expected_bytes = (expected * ROW_BYTES_EXPECTED).min(bytes_most);
        let mut taken = Rows::with_capacity(self.fields, expected, expected_bytes);
        let mut read_at = Duration::MAX;
        while taken.rows().len() < most && taken.bytes_held() < bytes_most {
            self.collect()?;
            if self.due.is_empty() {
                break;
            }
            let room = most - taken.rows().len();
            let end = self.due.len().min(self.next_due + room);
            let due = self.due.get(self.next_due..end).unwrap_or_default();
            // Rows of several runs follow each other, and each is a wait for memory. Touched together first,
            // the processor waits for them together.
            let touch = |sum, &timed: &Timed| match self.runs.row(timed) {
                Some((run, row)) => sum ^ run.rows.touch(row),
                None => sum,
            };
            black_box(due.iter().fold(0, touch));
            for &timed in due {
                if taken.bytes_held() >= bytes_most {
                    break;
                }
                self.next_due += 1;
                let Some(run) = self.runs.get(timed.run()) else {
                    continue;
                };
                taken.push_from(&run.rows, timed.row() as usize);
                read_at = read_at.min(run.read_at);
                if let Some(run) = self.runs.get_mut(timed.run()) {
                    run.taken += 1;
                }
                self.runs.forget_if_taken(timed.run());
            }
        }
        self.events -= taken.rows().len() as u64;
        Ok((taken, read_at))
    }

    /// Finds the next rows that are due, if there are any and none are left of those that were found before.
    fn collect(&mut self) -> Result<(), SpillError> {
        if self.next_due < self.due.len() {
            return Ok(());
        }
        self.due.clear();
        self.next_due = 0;
        let has_passed = has_passed(self.watermark);
        loop {
            let block = self.spilled.first();
            let block = block.filter(|first| has_passed(first.time));
            self.collect_before(block);
            if !self.due.is_empty() || block.is_none() {
                return Ok(());
            }
            // What comes first lies on disk.
            if let Some((rows, read_at)) = self.spilled.read_first(self.fields)? {
                self.keep(Run::new(rows, read_at, Origin::Block));
            }
        }
    }

    /// Makes due what the watermark has passed and, if there is a `limit`, stands before it.
    fn collect_before(&mut self, limit: Option<Place>) {
        let has_passed = has_passed(self.watermark);
        let mut left = Vec::new();
        while let Some(&Reverse((time, at))) = self.heads.peek() {
            if !has_passed(time) || limit.is_some_and(|limit| time > limit.time) {
                break;
            }
            self.heads.pop();
            let Some(run) = self.runs.get_mut(at) else {
                continue;
            };
            let is_due = |&timed: &Timed| {
                let stands_before = |limit| run.stands_before(timed, limit);
                has_passed(timed.time()) && limit.is_none_or(stands_before)
            };
            let rest = run.order.get(run.due..).unwrap_or_default();
            let due = rest.partition_point(is_due);
            let due = rest.get(..due).unwrap_or_default();
            self.due.extend(due.iter().map(|timed| timed.in_run(at)));
            run.due += due.len();
            left.extend(run.head().map(|head| Reverse((head, at))));
        }
        self.heads.extend(left);
        // A merge of sorted pieces, which this sort recognises.
        self.due.sort();
        // Rows of one time are in the order of their runs now, which means nothing.
        for tied in self.due.chunk_by_mut(|a, b| a.time() == b.time()) {
            if tied.len() > 1 {
                self.runs.settle(tied);
            }
        }
    }

    /// Writes everything that the watermark has not passed to disk, as one sorted run.
    fn spill(&mut self) -> Result<(), SpillError> {
        let has_passed = has_passed(self.watermark);
        let mut order: Vec<(Place, Timed)> = Vec::new();
        let mut read_at = Duration::MAX;
        for &Reverse((_, at)) in &self.heads {
            if let Some(run) = self.runs.get_mut(at) {
                let passed = run.order.partition_point(|timed| has_passed(timed.time()));
                for timed in run.order.split_off(passed) {
                    let place = run.place(timed);
                    order.extend(place.map(|place| (place, timed.in_run(at))));
                }
                read_at = read_at.min(run.read_at);
            }
        }
        order.sort();
        let mut written = SpilledRun::create(&self.spilled, read_at)?;
        for &(place, timed) in &order {
            if let Some((run, row)) = self.runs.row(timed) {
                written.append(place, &run.rows, row)?;
            }
        }
        self.spilled.add(written)?;
        let runs = &mut self.runs;
        self.heads.retain(|&Reverse((_, at))| {
            let is_left = runs.get(at).is_some_and(|run| run.head().is_some());
            runs.forget_if_taken(at);
            is_left
        });
        Ok(())
    }
}

/// Whether a watermark has passed a time. At the end of the input it has passed every one, also the last
/// that there is.
fn has_passed(watermark: EventTime) -> impl Fn(EventTime) -> bool {
    move |time| time < watermark || watermark == EventTime::MAX
}
