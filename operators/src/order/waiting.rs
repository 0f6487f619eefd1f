//! Rows that wait, found again in order.
//!
//! Every batch that comes is sorted once and is a *run* from then on; batches come nearly sorted, so this is
//! cheap. When the watermark rises, each run that begins below it gives up its beginning, and what all runs give up is
//! merged into one list of rows that are due. A run is looked at only when it has something to give.
//!
//! When memory is full, everything that is not due goes to disk as one sorted run, which comes back block by
//! block, each a run in memory again. Rows are due only up to the first row of the next block on disk: what
//! lies there comes first.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use slackwater_dataflow::moment::EventTime;
use slackwater_dataflow::place::{Offset, PartitionId};
use slackwater_dataflow::spill::Spill;

use crate::batch::{Row, Rows};
use crate::order::spilled::{SpillError, Spilled, SpilledRun};

/// Bytes per row for which rows that are taken have room at once.
const ROW_BYTES_EXPECTED: usize = 192;

/// Where a row stands in the order of handling. No two rows of a job stand at the same place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    time: EventTime,
    partition: PartitionId,
    offset: Offset,
}

impl Place {
    pub(super) fn of(row: &Row) -> Self {
        Place {
            time: row.order_time,
            partition: row.partition,
            offset: row.offset,
        }
    }
}

/// Rows of one batch and their order.
struct Run {
    rows: Rows,
    read_at: Duration,
    /// Where each row stands and which it is, in order.
    order: Vec<(Place, u32)>,
    /// How many of them have become due.
    due: usize,
    /// How many were taken.
    taken: usize,
    /// What it counts for.
    bytes: u64,
}

impl Run {
    fn new(mut rows: Rows, read_at: Duration) -> Self {
        let place = |(nth, row): (u32, &Row)| (Place::of(row), nth);
        let mut order: Vec<_> = (0..).zip(rows.rows()).map(place).collect();
        order.sort();
        // A batch has room for many rows from the start; one that stays small must not keep it.
        rows.shrink();
        let bytes = rows.memory_bytes() + order.capacity() * size_of::<(Place, u32)>();
        Run {
            rows,
            read_at,
            order,
            due: 0,
            taken: 0,
            bytes: (bytes + size_of::<Run>()) as u64,
        }
    }

    /// The next row that is not due.
    fn head(&self) -> Option<Place> {
        self.order.get(self.due).map(|(place, _)| *place)
    }
}

/// A row that is due: where it stands, in which run, which row of it.
type Due = (Place, u32, u32);

/// Rows that wait for the watermark, of one worker.
pub(super) struct Waiting {
    fields: usize,
    bytes_max: u64,
    watermark: EventTime,
    /// Runs in memory; `None` marks a free place.
    runs: Vec<Option<Run>>,
    free: Vec<u32>,
    /// Runs with rows that are not due, by the first of these.
    heads: BinaryHeap<Reverse<(Place, u32)>>,
    /// Rows that are due and in memory, in order, from `next_due` on.
    due: Vec<Due>,
    next_due: usize,
    pub(super) spilled: Spilled,
    events: u64,
    /// Of all runs in memory.
    bytes: u64,
}

impl Waiting {
    pub(super) fn new(fields: usize, bytes_max: u64, spill: Box<dyn Spill>) -> Self {
        Waiting {
            fields,
            bytes_max,
            watermark: EventTime::MIN,
            runs: Vec::new(),
            free: Vec::new(),
            heads: BinaryHeap::new(),
            due: Vec::new(),
            next_due: 0,
            spilled: Spilled::new(spill, bytes_max),
            events: 0,
            bytes: 0,
        }
    }

    /// Rows that wait, due ones too.
    pub(super) fn events(&self) -> u64 {
        self.events
    }

    /// Bytes that they take, in memory and on disk.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes + self.spilled.bytes()
    }

    /// Takes rows in. Every one of them has an order time at or above the watermark.
    pub(super) fn add(&mut self, rows: Rows, read_at: Duration) -> Result<(), SpillError> {
        debug_assert!(
            rows.rows()
                .iter()
                .all(|row| row.order_time >= self.watermark)
        );
        self.events += rows.rows().len() as u64;
        self.keep(rows, read_at);
        if self.bytes > self.bytes_max && self.bytes_not_due() > self.bytes_max / 2 {
            self.spill()?;
        }
        Ok(())
    }

    /// Bytes of runs in memory with rows that are not due. Less than half of the bound is not worth a file:
    /// then it is rows which are due that fill memory, and they are about to go.
    fn bytes_not_due(&self) -> u64 {
        let runs = self
            .heads
            .iter()
            .map(|Reverse((_, at))| self.runs.get(*at as usize));
        runs.flatten().flatten().map(|run| run.bytes).sum()
    }

    pub(super) fn on_watermark(&mut self, watermark: EventTime) {
        self.watermark = self.watermark.max(watermark);
    }

    /// The least order time of all that waits.
    pub(super) fn least(&self) -> Option<EventTime> {
        self.first().map(|place| place.time)
    }

    /// Whether the watermark has passed something that waits.
    pub(super) fn is_due(&self) -> bool {
        self.first().is_some_and(|first| self.has_passed(first))
    }

    fn first(&self) -> Option<Place> {
        if let Some((place, ..)) = self.due.get(self.next_due) {
            return Some(*place);
        }
        let in_memory = self.heads.peek().map(|Reverse((place, _))| *place);
        let on_disk = self.spilled.first();
        in_memory.into_iter().chain(on_disk).min()
    }

    /// At the end of the input everything is due, also what bears the last time that there is.
    fn has_passed(&self, place: Place) -> bool {
        place.time < self.watermark || self.watermark == EventTime::MAX
    }

    /// Takes at most `most` rows that are due, the first ones, and the time when the first of them was read.
    pub(super) fn take(&mut self, most: usize) -> Result<(Rows, Duration), SpillError> {
        self.collect()?;
        let expected = most.min(self.due.len() - self.next_due);
        let mut taken = Rows::with_capacity(self.fields, expected, expected * ROW_BYTES_EXPECTED);
        let mut read_at = Duration::MAX;
        while taken.rows().len() < most {
            self.collect()?;
            if self.due.is_empty() {
                break;
            }
            let end = self
                .due
                .len()
                .min(self.next_due + most - taken.rows().len());
            for at in self.next_due..end {
                if let Some(&(_, run, row)) = self.due.get(at) {
                    read_at = read_at.min(self.hand_over(run, row, &mut taken));
                }
            }
            self.next_due = end;
        }
        self.events -= taken.rows().len() as u64;
        Ok((taken, read_at))
    }

    /// Copies a row, and forgets its run with the last one. Gives when it was read.
    fn hand_over(&mut self, at: u32, row: u32, taken: &mut Rows) -> Duration {
        let Some(place) = self.runs.get_mut(at as usize) else {
            return Duration::MAX;
        };
        let Some(run) = place else {
            return Duration::MAX;
        };
        if let Some(row) = run.rows.rows().get(row as usize) {
            taken.push_from(&run.rows, row);
        }
        let read_at = run.read_at;
        run.taken += 1;
        if run.taken == run.order.len() {
            self.bytes -= run.bytes;
            *place = None;
            self.free.push(at);
        }
        read_at
    }

    /// Finds the next rows that are due, if there are any and none are left of those that were found before.
    fn collect(&mut self) -> Result<(), SpillError> {
        if self.next_due < self.due.len() {
            return Ok(());
        }
        self.due.clear();
        self.next_due = 0;
        loop {
            let block = self.spilled.first().filter(|&first| self.has_passed(first));
            self.collect_below(block);
            if !self.due.is_empty() || block.is_none() {
                return Ok(());
            }
            // What comes first lies on disk.
            if let Some((rows, read_at)) = self.spilled.read_first(self.fields)? {
                self.keep(rows, read_at);
            }
        }
    }

    /// Makes due what the watermark has passed and, if there is a `limit`, stands before it.
    fn collect_below(&mut self, limit: Option<Place>) {
        let is_due = |place: Place| {
            limit.is_none_or(|limit| place < limit)
                && (place.time < self.watermark || self.watermark == EventTime::MAX)
        };
        while let Some(&Reverse((place, at))) = self.heads.peek() {
            if !is_due(place) {
                break;
            }
            self.heads.pop();
            let Some(Some(run)) = self.runs.get_mut(at as usize) else {
                continue;
            };
            let rest = run.order.get(run.due..).unwrap_or_default();
            let due = rest.partition_point(|(place, _)| is_due(*place));
            let due = rest.get(..due).unwrap_or_default();
            self.due
                .extend(due.iter().map(|&(place, row)| (place, at, row)));
            run.due += due.len();
            if let Some(head) = run.head() {
                self.heads.push(Reverse((head, at)));
            }
        }
        // A merge of sorted pieces, which this sort recognises.
        self.due.sort();
    }

    fn keep(&mut self, rows: Rows, read_at: Duration) {
        let run = Run::new(rows, read_at);
        let Some(head) = run.head() else { return };
        self.bytes += run.bytes;
        let at = match self.free.pop() {
            Some(at) => at,
            None => {
                self.runs.push(None);
                (self.runs.len() - 1) as u32
            }
        };
        if let Some(place) = self.runs.get_mut(at as usize) {
            *place = Some(run);
        }
        self.heads.push(Reverse((head, at)));
    }

    fn read_at(&self, run: u32) -> Option<Duration> {
        Some(self.runs.get(run as usize)?.as_ref()?.read_at)
    }

    /// Writes everything that is not due to disk, as one sorted run.
    fn spill(&mut self) -> Result<(), SpillError> {
        let mut order: Vec<Due> = Vec::new();
        let heads = std::mem::take(&mut self.heads);
        for Reverse((_, at)) in heads {
            if let Some(Some(run)) = self.runs.get_mut(at as usize) {
                let waiting = run.order.drain(run.due..);
                order.extend(waiting.map(|(place, row)| (place, at, row)));
            }
        }
        order.sort();
        let read_at = order.iter().filter_map(|&(_, at, _)| self.read_at(at));
        let mut written = SpilledRun::create(&self.spilled, read_at.min().unwrap_or_default())?;
        for &(place, at, row) in &order {
            if let Some(Some(run)) = self.runs.get(at as usize)
                && let Some(row) = run.rows.rows().get(row as usize)
            {
                written.append(place, &run.rows, row)?;
            }
        }
        self.spilled.add(written)?;
        for (at, place) in (0..).zip(&mut self.runs) {
            if let Some(run) = place
                && run.taken == run.order.len()
            {
                self.bytes -= run.bytes;
                *place = None;
                self.free.push(at);
            }
        }
        Ok(())
    }
}
