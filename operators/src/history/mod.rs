//! Per key, the last n events handled: what features over a history are computed from.
//!
//! A history is a ring of entries. What an event at time t sees of it are the entries with a time above
//! t - ttl, itself included. Two facts keep that cheap and exact:
//!
//! - Tallies (how many entries satisfy a condition, how many values of a field differ) are kept up to
//!   date as entries come and go, so a feature is a read, not a scan.
//! - Entries leave in the order in which they were handled, when the ring is full or when no event that
//!   can still come will see them (their time is at or below watermark - ttl) nor any handled before them.
//!   An entry that *this* event does not see but a later, older one may is still there; then, and only
//!   then, the window is counted by a scan.

mod texts;
mod plan;
mod saved;

use slackwater_dataflow::moment::EventTime;

pub use self::plan::{Condition, HistoryPlan, Tally};
pub use self::saved::{PlainEntry, read_plain};

use self::plan::{Compiled, float_bytes};
use self::saved::Numbering;
use self::texts::{TextId, Texts};
use crate::batch::{Cell, Rows};

/// Entries that a new history has room for; it doubles up to the declared number.
const ENTRIES_AT_FIRST: u32 = 4;

/// What one event sees of its key's history, itself included.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window<'a> {
    /// Number of events in the window.
    pub events: u32,
    /// One count per declared [`Tally`].
    pub tallies: &'a [u32],
    /// Time of the event handled last before this one.
    pub previous: Option<EventTime>,
    /// Time of the event handled first in the window.
    pub first: EventTime,
    /// Time of this event.
    pub last: EventTime,
}

/// The history of one key. Empty until its first event.
#[derive(Debug, Default)]
pub struct KeyHistory {
    /// Entry times, a ring of `times.len()` places.
    times: Box<[i64]>,
    /// Tallies, then one ring per field.
    cells: Box<[u32]>,
    head: u32,
    len: u32,
    /// No entry is older. May be too low, never too high.
    oldest: i64,
}

/// All that histories of one worker share.
#[derive(Debug)]
pub struct Histories {
    compiled: Compiled,
    texts: Texts,
    /// No event older than this will be handled.
    watermark: EventTime,
    /// Values of a batch's events, row-major, one per history field.
    entries: Vec<TextId>,
    /// Tallies of a window that was counted by a scan.
    counted: Vec<u32>,
    /// For histories that are written.
    numbering: Numbering,
}

impl Histories {
    /// Histories as declared.
    pub fn new(plan: &HistoryPlan) -> Self {
        let mut texts = Texts::default();
        let compiled = Compiled::new(plan, &mut texts);
        Histories {
            counted: vec![0; compiled.tallies.len()],
            entries: Vec::new(),
            watermark: EventTime::MIN,
            numbering: Numbering::default(),
            compiled,
            texts,
        }
    }

    /// Told that no older event will be handled.
    pub fn on_watermark(&mut self, watermark: EventTime) {
        self.watermark = self.watermark.max(watermark);
    }

    /// Event time after which a history that no event touched can be dropped.
    pub fn ttl_ms(&self) -> u64 {
        self.compiled.ttl_ms
    }

    /// Numbers the values of a batch of events, which are then added one by one.
    pub fn read(&mut self, rows: &Rows) {
        self.entries.clear();
        for row in rows.rows() {
            for &field in &self.compiled.fields {
                self.entries.push(match rows.cell(row, field) {
                    Cell::Text { span, .. } => self.texts.acquire(rows.bytes(span)),
                    Cell::Int(value) => self.texts.acquire(&value.to_le_bytes()),
                    Cell::Bool(value) => self.texts.acquire(&[u8::from(value)]),
                    Cell::Float(value) => self.texts.acquire(&float_bytes(value)),
                    // The pipeline file is refused where a history keeps lists.
                    Cell::Null | Cell::List { .. } => TextId::NULL,
                });
            }
        }
    }

    /// Adds the event at position `nth` of the batch that was read last to its key's history, and gives
    /// what it sees. Each event is to be added once.
    pub fn add<'h>(
        &'h mut self,
        history: &'h mut KeyHistory,
        nth: usize,
        time: EventTime,
    ) -> Window<'h> {
        let fields = self.compiled.fields.len();
        let entry = self.entries.get(nth * fields..(nth + 1) * fields);
        history.make_room(&self.compiled, &mut self.texts);
        history.append(time.0, entry.unwrap_or_default(), &self.compiled);
        self.window(history, time)
    }

    fn window<'h>(&'h mut self, history: &'h mut KeyHistory, time: EventTime) -> Window<'h> {
        let compiled = &self.compiled;
        let boundary = expired_at(time, compiled.ttl_ms);
        if Some(history.oldest) <= boundary {
            let unseen_by_all = expired_at(self.watermark, compiled.ttl_ms);
            history.drop_expired(unseen_by_all, compiled, &mut self.texts);
            history.oldest = history.entry_times().min().unwrap_or(i64::MAX);
        }
        if Some(history.oldest) > boundary {
            let mut times = history.entry_times();
            let first = times.next().unwrap_or(time.0);
            let before = history
                .len
                .checked_sub(2)
                .and_then(|at| history.time_at(at));
            return Window {
                events: history.len,
                tallies: history
                    .cells
                    .get(..compiled.tallies.len())
                    .unwrap_or_default(),
                previous: before.map(EventTime),
                first: EventTime(first),
                last: time,
            };
        }
        history.count(boundary, compiled, &mut self.counted)
    }

    /// Drops what no event can see any more; whether anything is left.
    pub fn keep(&mut self, history: &mut KeyHistory) -> bool {
        let unseen_by_all = expired_at(self.watermark, self.compiled.ttl_ms);
        history.drop_expired(unseen_by_all, &self.compiled, &mut self.texts);
        history.len > 0
    }
}

impl KeyHistory {
    /// Number of entries held.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether no entry is held.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Reads one number of each cache line that adding an event will need; what they add up to means
    /// nothing. Done for many keys in a row, the processor fetches all of them together.
    pub fn touch(&self) -> u32 {
        /// Bytes of a cache line.
        const LINE: usize = 64;
        let times = self.times.iter().step_by(LINE / size_of::<i64>());
        let cells = self.cells.iter().step_by(LINE / size_of::<u32>());
        let times = times.fold(0, |sum, &time| sum ^ time as u32);
        cells.fold(times, |sum, &cell| sum ^ cell)
    }

    fn capacity(&self) -> u32 {
        self.times.len() as u32
    }

    /// The place in the rings of the entry handled `nth`.
    fn place(&self, nth: u32) -> usize {
        let at = self.head + nth;
        (if at >= self.capacity() {
            at - self.capacity()
        } else {
            at
        }) as usize
    }

    fn time_at(&self, nth: u32) -> Option<i64> {
        self.times.get(self.place(nth)).copied()
    }

    /// Entry times in the order in which they were handled.
    fn entry_times(&self) -> impl Iterator<Item = i64> + '_ {
        (0..self.len).filter_map(|nth| self.time_at(nth))
    }

    /// Ring of a history field.
    fn ring(&self, compiled: &Compiled, column: usize) -> &[u32] {
        let start = compiled.tallies.len() + column * self.times.len();
        self.cells
            .get(start..start + self.times.len())
            .unwrap_or_default()
    }

    fn cell_mut(&mut self, compiled: &Compiled, column: usize, place: usize) -> Option<&mut u32> {
        self.cells
            .get_mut(compiled.tallies.len() + column * self.times.len() + place)
    }

    fn make_room(&mut self, compiled: &Compiled, texts: &mut Texts) {
        if self.len < self.capacity() {
            return;
        }
        if self.capacity() >= compiled.events {
            self.drop_first(compiled, texts);
            return;
        }
        let doubled = (self.capacity() * 2).max(ENTRIES_AT_FIRST);
        let capacity = doubled.min(compiled.events.max(1));
        let mut times = vec![0; capacity as usize].into_boxed_slice();
        for (place, time) in times.iter_mut().zip(self.entry_times()) {
            *place = time;
        }
        let tallies = compiled.tallies.len();
        let mut cells = Vec::with_capacity(tallies + compiled.fields.len() * capacity as usize);
        cells.extend_from_slice(self.cells.get(..tallies).unwrap_or_default());
        cells.resize(tallies, 0);
        for column in 0..compiled.fields.len() {
            let ring = self.ring(compiled, column);
            cells.extend((0..self.len).filter_map(|nth| ring.get(self.place(nth))));
            cells.resize(tallies + (column + 1) * capacity as usize, TextId::VACANT.0);
        }
        if self.len == 0 {
            self.oldest = i64::MAX;
        }
        self.times = times;
        self.cells = cells.into_boxed_slice();
        self.head = 0;
    }

    fn append(&mut self, time: i64, entry: &[TextId], compiled: &Compiled) {
        let place = self.place(self.len);
        for (index, tally) in compiled.tallies.iter().enumerate() {
            if tally.gains(entry, |column| self.ring(compiled, column))
                && let Some(count) = self.cells.get_mut(index)
            {
                *count += 1;
            }
        }
        for (column, id) in entry.iter().enumerate() {
            if let Some(cell) = self.cell_mut(compiled, column, place) {
                *cell = id.0;
            }
        }
        if let Some(at) = self.times.get_mut(place) {
            *at = time;
        }
        self.len += 1;
        self.oldest = self.oldest.min(time);
    }

    /// Drops the entry handled first.
    fn drop_first(&mut self, compiled: &Compiled, texts: &mut Texts) {
        let place = self.place(0);
        let mut entry = [TextId::VACANT; plan::FIELDS_MAX];
        for (column, id) in entry.iter_mut().take(compiled.fields.len()).enumerate() {
            if let Some(cell) = self.cell_mut(compiled, column, place) {
                *id = TextId(std::mem::replace(cell, TextId::VACANT.0));
                texts.release(*id);
            }
        }
        for (index, tally) in compiled.tallies.iter().enumerate() {
            // What the entry would add to a history without it is what it takes away.
            if tally.gains(&entry, |column| self.ring(compiled, column))
                && let Some(count) = self.cells.get_mut(index)
            {
                *count = count.saturating_sub(1);
            }
        }
        self.head = self.place(1) as u32;
        self.len -= 1;
    }

    fn drop_expired(&mut self, unseen_by_all: Option<i64>, compiled: &Compiled, texts: &mut Texts) {
        while self.len > 0
            && self
                .time_at(0)
                .is_some_and(|time| Some(time) <= unseen_by_all)
        {
            self.drop_first(compiled, texts);
        }
    }

    /// Counts the entries above `boundary` one by one: what tallies would say if no other were there.
    fn count<'h>(
        &self,
        boundary: Option<i64>,
        compiled: &Compiled,
        counted: &'h mut [u32],
    ) -> Window<'h> {
        counted.fill(0);
        let seen: Vec<u32> = (0..self.len)
            .filter(|&nth| self.time_at(nth) > boundary)
            .collect();
        for (count, tally) in counted.iter_mut().zip(&compiled.tallies) {
            let value = |nth: &u32, column: usize| {
                TextId(
                    self.ring(compiled, column)
                        .get(self.place(*nth))
                        .copied()
                        .unwrap_or(0),
                )
            };
            *count = tally.count(&seen, value);
        }
        let time = |nth: Option<&u32>| nth.and_then(|&nth| self.time_at(nth)).map(EventTime);
        let last = time(seen.last()).unwrap_or(EventTime::MIN);
        Window {
            events: seen.len() as u32,
            tallies: counted,
            previous: time(seen.len().checked_sub(2).and_then(|at| seen.get(at))),
            first: time(seen.first()).unwrap_or(last),
            last,
        }
    }
}

/// The latest time that an event at `time` does not see any more; `None` where the TTL reaches back
/// beyond the first moment there is, and so comes before every time.
fn expired_at(time: EventTime, ttl_ms: u64) -> Option<i64> {
    time.0.checked_sub_unsigned(ttl_ms)
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "tests")]
mod tests;
