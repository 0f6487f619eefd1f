//! Rows that wait, found again in order.
//!
//! Every batch that comes is sorted once and is a *run* from then on; batches come nearly sorted, so this is
//! cheap. When the watermark rises, each run that begins below it gives up its beginning, and what all runs give up is
//! merged into one list of rows that are due. A run is looked at only when it has something to give.
//!
//! When memory is full, everything that the watermark has not passed goes to disk as one sorted run, which comes
//! back block by block, each a run in memory again. Rows are due only up to the first row of the next block on
//! disk: what lies there comes first.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hint::black_box;
use std::time::Duration;

use slackwater_dataflow::moment::EventTime;

use slackwater_dataflow::snapshot::{Progress, StateDelta};
use slackwater_dataflow::spill::Spill;

use crate::batch::{ROW_BYTES_EXPECTED, RowShape, Rows};
use crate::order::runs::{Origin, Place, Run, Runs, Timed};
use crate::order::saved::{GroupOfRow, Restoring, Saving};
use crate::order::spilled::{SpillError, Spilled, SpilledRun};

/// Rows that wait for the watermark, of one worker.
pub(super) struct Waiting {
    shape: RowShape,
    /// Whether each batch is of one partition.
    by_partition: bool,
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
    /// None in a job without checkpoints.
    saving: Option<Saving>,
}

impl Waiting {
    pub(super) fn new(shape: RowShape, bytes_max: u64, spill: Box<dyn Spill>) -> Self {
        Waiting {
            shape,
            by_partition: true,
            bytes_max,
            watermark: EventTime::MIN,
            runs: Runs::default(),
            heads: BinaryHeap::new(),
            due: Vec::new(),
            next_due: 0,
            spilled: Spilled::new(spill, bytes_max),
            events: 0,
            batches: 0,
            saving: None,
        }
    }

    /// The same, but a batch may hold rows of several partitions, in the order of their places.
    pub(super) fn of_any_partitions(self) -> Self {
        Waiting {
            by_partition: false,
            ..self
        }
    }

    /// From now on checkpoints keep what waits; `group` is where a row belongs.
    pub(super) fn will_be_saved(&mut self, group: GroupOfRow) {
        self.saving = Some(Saving::new(group));
    }

    /// The open epoch has closed.
    pub(super) fn freeze(&mut self) {
        let first = self.first();
        if let Some(saving) = &mut self.saving {
            saving.freeze(&mut self.runs, first);
        }
    }

    /// Goes on with the snapshot of the epoch that closed last.
    pub(super) fn snapshot(&mut self, delta: &mut StateDelta) -> Progress {
        match &mut self.saving {
            Some(saving) => saving.snapshot(&mut self.runs, delta),
            None => Progress::Done,
        }
    }

    /// Takes what a checkpoint has kept, before anything else.
    pub(super) fn restore(&mut self, restored: Restoring) -> Result<(), SpillError> {
        let (all, anew) = restored.finish();
        for rows in all {
            self.events += rows.rows().len() as u64;
            let run = Run::new(rows, Duration::ZERO, Origin::Block);
            self.keep(run, anew);
            self.spill_if_full()?;
        }
        Ok(())
    }

    /// The place of the first row of all that waits.
    fn first(&self) -> Option<Place> {
        let place = |timed: &Timed| self.runs.get(timed.run())?.place(*timed);
        if let Some(due) = self.due.get(self.next_due) {
            return place(due);
        }
        let least = self.heads.peek().map(|Reverse((time, _))| *time);
        // Several runs may begin at the same time, and then their places decide.
        let first_runs = self
            .heads
            .iter()
            .filter(|Reverse((time, _))| Some(*time) == least);
        let in_memory = first_runs.filter_map(|Reverse((_, at))| {
            let run = self.runs.get(*at)?;
            run.place(*run.order.get(run.due)?)
        });
        in_memory.chain(self.spilled.first()).min()
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
        let origin = match self.by_partition {
            true => Origin::Batch(first.partition, self.batches),
            false => Origin::Block,
        };
        self.batches += 1;
        self.events += rows.rows().len() as u64;
        self.keep(Run::new(rows, read_at, origin), true);
        self.spill_if_full()
    }

    fn spill_if_full(&mut self) -> Result<(), SpillError> {
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

    fn keep(&mut self, run: Run, is_new: bool) {
        let Some(head) = run.head() else { return };
        let at = self.runs.add(run);
        self.heads.push(Reverse((head, at)));
        if let (true, Some(saving)) = (is_new, &mut self.saving)
            && let Some(run) = self.runs.get_mut(at)
        {
            saving.on_new(at, run);
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
        let mut taken = Rows::with_capacity(self.shape, expected, expected_bytes);
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
                let Some(run) = self.runs.get_mut(timed.run()) else {
                    continue;
                };
                if let Some(saving) = &mut self.saving {
                    saving.before_leaving(run);
                }
                taken.push_from(&run.rows, timed.row() as usize);
                read_at = read_at.min(run.read_at);
                run.taken += 1;
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
            if let Some((rows, read_at)) = self.spilled.read_first(self.shape)? {
                self.keep(Run::new(rows, read_at, Origin::Block), false);
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
                if let Some(saving) = &mut self.saving {
                    saving.before_leaving(run);
                }
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
                if let Some(saving) = &mut self.saving {
                    saving.on_spilled(place, run, row);
                }
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
