//! What a checkpoint keeps of events that wait: those that came and still wait, and where the rest ends.
//!
//! Events leave in the order of their places, and none comes that stands before one that has left. So what a
//! checkpoint has to hear of those that left is one place: everything before it is gone. Of those that wait it hears
//! once. A run is written when its epoch has closed, part by part while the stage goes on; when one of its rows is
//! about to leave, at once. Rows that go to disk are written then, and left out again if they have left when the epoch
//! closes.

use slackwater_dataflow::fields::Fields;
use slackwater_dataflow::moment::EventTime;

use slackwater_dataflow::place::{KeyGroup, Offset, PartitionId};
use slackwater_dataflow::snapshot::{Progress, SavedEntry, StateDelta, StrangeEntry};

use crate::batch::{Row, RowShape, Rows};
use crate::order::row::{self, RowLengths, RowReader};
use crate::order::runs::{News, Place, Run, Runs};

/// Rows written at once: two polls' worth, well below a millisecond.
const ROWS_PER_PART: usize = 2_048;

/// Rows of a run that is made of a checkpoint: as many as a batch has.
const ROWS_PER_RUN: usize = 1_024;

/// Comes after every place.
const END: [u8; 21] = [0xff; 21];

/// A place as a key of the checkpoint, which sorts as places do.
fn key(place: Place) -> [u8; 20] {
    let mut key = [0; 20];
    let time = (place.time.0 as u64) ^ (1 << 63);
    let (of_time, rest) = key.split_at_mut(8);
    of_time.copy_from_slice(&time.to_be_bytes());
    let (of_partition, of_offset) = rest.split_at_mut(4);
    of_partition.copy_from_slice(&place.partition.0.to_be_bytes());
    of_offset.copy_from_slice(&place.offset.0.to_be_bytes());
    key
}

fn place(key: &[u8]) -> Option<Place> {
    let mut reader = Fields(key);
    let time = u64::from_be_bytes(reader.array()?) ^ (1 << 63);
    let place = Place {
        time: EventTime(time as i64),
        partition: PartitionId(u32::from_be_bytes(reader.array()?)),
        offset: Offset(u64::from_be_bytes(reader.array()?)),
    };
    reader.0.is_empty().then_some(place)
}

/// An event that waits, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlainWaiting<'b> {
    /// What it waits by.
    pub order_time: EventTime,
    /// Where it comes from.
    pub partition: PartitionId,
    /// Its place there.
    pub offset: Offset,
    /// The record.
    pub record: &'b [u8],
    /// Its key.
    pub key: &'b [u8],
}

/// Reads an entry of the stage as it is, of events with so many cells; none if it is not one.
pub fn read_plain<'b>(
    entry_key: &[u8],
    value: &'b [u8],
    fields: usize,
) -> Option<PlainWaiting<'b>> {
    let place = place(entry_key)?;
    let mut reader = Fields(value);
    let (_time, _key_hash) = (reader.i64()?, reader.u64()?);
    let lengths = RowLengths::read(&mut reader)?;
    for _ in 0..fields {
        let (_tag, _value) = (reader.array::<1>()?, reader.u64()?);
    }
    let bytes = lengths.bytes(&mut reader)?;
    reader.0.is_empty().then_some(PlainWaiting {
        order_time: place.time,
        partition: place.partition,
        offset: place.offset,
        record: bytes.record,
        key: bytes.key,
    })
}

/// Where a row belongs: to the group of the key by which it has come.
pub(super) type GroupOfRow = Box<dyn FnMut(&Rows, &Row) -> KeyGroup>;

/// What checkpoints have still to hear.
pub(super) struct Saving {
    group: GroupOfRow,
    /// Runs that came in the open epoch.
    new: Vec<u32>,
    /// Rows that did and went to disk.
    spilled: StateDelta,
    /// Runs of the snapshot under way.
    frozen: Vec<u32>,
    /// What is written of it.
    written: StateDelta,
    /// The bound that they heard of last.
    bound: Vec<u8>,
}

impl Saving {
    /// Nothing to hear yet; `group` is where a row belongs.
    pub(super) fn new(group: GroupOfRow) -> Self {
        Saving {
            group,
            new: Vec::new(),
            spilled: StateDelta::default(),
            frozen: Vec::new(),
            written: StateDelta::default(),
            bound: Vec::new(),
        }
    }

    /// A run has come.
    pub(super) fn on_new(&mut self, at: u32, run: &mut Run) {
        run.news = News::OfOpenEpoch;
        self.new.push(at);
    }

    /// A row of this run is about to leave memory.
    pub(super) fn before_leaving(&mut self, run: &mut Run) {
        if run.news == News::OfSnapshot {
            self.write(run);
        }
    }

    /// A row of this run goes to disk.
    pub(super) fn on_spilled(&mut self, place: Place, run: &Run, row: &Row) {
        if run.news == News::OfOpenEpoch {
            put(&mut self.spilled, &mut self.group, place, &run.rows, row);
        }
    }

    fn write(&mut self, run: &mut Run) {
        run.news = News::Known;
        for &timed in run.order.get(run.taken..).unwrap_or_default() {
            if let Some((place, row)) = run.place(timed).zip(run.row(timed)) {
                put(&mut self.written, &mut self.group, place, &run.rows, row);
            }
        }
    }

    /// The open epoch has closed; `first` waits and everything before it has left.
    pub(super) fn freeze(&mut self, runs: &mut Runs, first: Option<Place>) {
        let bound = first.map_or(END.to_vec(), |first| key(first).to_vec());
        self.written = std::mem::take(&mut self.spilled);
        self.written.retain(|key| key >= bound.as_slice());
        if bound != self.bound {
            self.written.set_bound(&bound);
            self.bound = bound;
        }
        for at in self.new.drain(..) {
            // Numbers of runs are used again: what is marked already is on the list already.
            if let Some(run) = runs.get_mut(at)
                && run.news == News::OfOpenEpoch
            {
                run.news = News::OfSnapshot;
                self.frozen.push(at);
            }
        }
    }

    /// Goes on with the snapshot.
    pub(super) fn snapshot(&mut self, runs: &mut Runs, delta: &mut StateDelta) -> Progress {
        let before = self.written.len();
        while self.written.len() - before < ROWS_PER_PART
            && let Some(at) = self.frozen.pop()
        {
            if let Some(run) = runs.get_mut(at)
                && run.news == News::OfSnapshot
            {
                self.write(run);
            }
        }
        delta.absorb(&mut self.written);
        if self.frozen.is_empty() {
            Progress::Done
        } else {
            Progress::More
        }
    }
}

fn put(delta: &mut StateDelta, group: &mut GroupOfRow, place: Place, rows: &Rows, row: &Row) {
    delta.put(group(rows, row), &key(place), |out| {
        row::write(rows, row, out);
    });
}

/// Rows that come from a checkpoint.
pub(super) struct Restoring {
    reader: RowReader,
    rows: Rows,
    anew: bool,
    shape: RowShape,
}

impl Restoring {
    /// Of rows of this shape. Where a checkpoint has kept more of them than that it is left out, and where it has kept
    /// less nothing is known.
    pub(super) fn new(shape: RowShape) -> Self {
        Restoring {
            reader: RowReader::new(shape),
            rows: Rows::with_capacity(shape, 0, 0),
            anew: false,
            shape,
        }
    }

    pub(super) fn take(&mut self, entry: SavedEntry<'_>) -> Result<(), StrangeEntry> {
        self.anew |= entry.anew;
        let mut reader = Fields(entry.value);
        place(entry.key)
            .and_then(|place| self.reader.read(place, &mut reader, &mut self.rows))
            .filter(|()| reader.0.is_empty())
            .ok_or_else(|| entry.is_strange())
    }

    /// All rows in order, a run's worth at a time, and whether checkpoints have to hear of them anew.
    pub(super) fn finish(self) -> (Vec<Rows>, bool) {
        let times = self.rows.order_times();
        let mut order: Vec<(Place, usize)> = (self.rows.rows().iter().zip(times))
            .enumerate()
            .map(|(nth, (row, &time))| (Place::of(row, time), nth))
            .collect();
        order.sort_unstable();
        let mut runs = Vec::new();
        for part in order.chunks(ROWS_PER_RUN) {
            let mut rows = Rows::with_capacity(self.shape, part.len(), 0);
            for &(_, nth) in part {
                rows.push_from(&self.rows, nth);
            }
            runs.push(rows);
        }
        (runs, self.anew)
    }
}
