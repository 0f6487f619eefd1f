//! Runs: rows of one batch, sorted once, and how rows of several runs are put in order.

use std::cmp::Ordering;
use std::time::Duration;

use slackwater_dataflow::moment::EventTime;
use slackwater_dataflow::place::{Offset, PartitionId};

use crate::batch::{Row, Rows};

/// Where a row stands in the order of handling. No two rows of a job stand at the same place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) time: EventTime,
    pub(super) partition: PartitionId,
    pub(super) offset: Offset,
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
pub(super) struct Timed(i128);

impl Timed {
    pub(super) fn new(time: EventTime, run: u32, row: u32) -> Self {
        Timed(i128::from(time.0) << 64 | i128::from(run) << 32 | i128::from(row))
    }

    pub(super) fn in_run(self, run: u32) -> Self {
        Timed::new(self.time(), run, self.row())
    }

    pub(super) fn time(self) -> EventTime {
        EventTime((self.0 >> 64) as i64)
    }

    pub(super) fn run(self) -> u32 {
        (self.0 >> 32) as u32
    }

    pub(super) fn row(self) -> u32 {
        self.0 as u32
    }
}

/// Where the rows of a run come from.
#[derive(Clone, Copy)]
pub(super) enum Origin {
    /// A batch of one partition, with the number of batches that came before it.
    Batch(PartitionId, u64),
    /// Disk, or another stage that keeps events: any partitions, in the order of places.
    Block,
}

/// Rows of one batch and their order.
pub(super) struct Run {
    pub(super) rows: Rows,
    pub(super) read_at: Duration,
    origin: Origin,
    /// In order. A batch holds rows of one partition in the order of their offsets, and a block is
    /// in order as a whole: so among rows of one time their numbers decide.
    pub(super) order: Vec<Timed>,
    /// How many of them have become due.
    pub(super) due: usize,
    /// How many were taken: always the first ones in order.
    pub(super) taken: usize,
    /// What it counts for.
    pub(super) bytes: u64,
    /// Whether a checkpoint has still to hear of its rows.
    pub(super) news: News,
}

/// Whether checkpoints know the rows of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// They do, or there are none.
    Known,
    /// It came in the epoch that is open.
    OfOpenEpoch,
    /// It came in the epoch that closed last, whose snapshot is under way.
    OfSnapshot,
}

impl Run {
    pub(super) fn new(mut rows: Rows, read_at: Duration, origin: Origin) -> Self {
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
            news: News::Known,
        }
    }

    /// When the next row is that is not due.
    pub(super) fn head(&self) -> Option<EventTime> {
        self.order.get(self.due).map(|timed| timed.time())
    }

    pub(super) fn row(&self, timed: Timed) -> Option<&Row> {
        self.rows.rows().get(timed.row() as usize)
    }

    pub(super) fn place(&self, timed: Timed) -> Option<Place> {
        Some(Place::of(self.row(timed)?, timed.time()))
    }

    /// Whether a row stands before `limit` in the order of handling.
    pub(super) fn stands_before(&self, timed: Timed, limit: Place) -> bool {
        match timed.time().cmp(&limit.time) {
            Ordering::Equal => self.place(timed) < Some(limit),
            order => order == Ordering::Less,
        }
    }
}

/// Runs in memory, by number. Numbers are used again.
#[derive(Default)]
pub(super) struct Runs {
    runs: Vec<Option<Run>>,
    free: Vec<u32>,
    /// Of all runs.
    pub(super) bytes: u64,
}

impl Runs {
    pub(super) fn get(&self, at: u32) -> Option<&Run> {
        self.runs.get(at as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, at: u32) -> Option<&mut Run> {
        self.runs.get_mut(at as usize)?.as_mut()
    }

    pub(super) fn row(&self, timed: Timed) -> Option<(&Run, &Row)> {
        let run = self.get(timed.run())?;
        Some((run, run.row(timed)?))
    }

    pub(super) fn add(&mut self, run: Run) -> u32 {
        self.bytes += run.bytes;
        let at = self.free.pop().unwrap_or(self.runs.len() as u32);
        match self.runs.get_mut(at as usize) {
            Some(place) => *place = Some(run),
            None => self.runs.push(Some(run)),
        }
        at
    }

    /// Puts rows of one time into the order of their places.
    pub(super) fn settle(&self, tied: &mut [Timed]) {
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
    pub(super) fn forget_if_taken(&mut self, at: u32) {
        if self.get(at).is_some_and(|run| run.taken == run.order.len())
            && let Some(run) = self.runs.get_mut(at as usize).and_then(Option::take)
        {
            self.bytes -= run.bytes;
            self.free.push(at);
        }
    }
}
