//! Numbers over the windows of a key: the cells that features are read from.
//!
//! Each key has a log of its events for windows of time, and one for windows of so many events ([`log`]). An event is put
//! into both, and what its windows say then goes into further cells of its row. What a window says follows from the events
//! that the key has had and from nothing else.

mod measure;
mod log;
mod plan;
mod saved;

use std::cell::RefCell;
use std::error::Error;
use std::hint::black_box;
use std::sync::Arc;

use slackwater_dataflow::moment::EventTime;
use slackwater_dataflow::operator::{Emitter, Operator};
use slackwater_dataflow::place::KeyHash;
use slackwater_dataflow::snapshot::{Progress, SavedEntry, StateDelta, StrangeEntry};
use slackwater_dataflow::state::{KeyedState, Saved, Slot};
use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_64;

pub use self::measure::MARKS_MAX;
pub use self::plan::{Aggregate, AggregateKind, Among, Over, WindowPlan};
pub use self::saved::read_plain;

use self::log::{Log, Piece};
use self::measure::{Measured, NULL, Word};
use self::plan::{Column, LogOrder, LogPlan, Reading};
use self::saved::Restoring;
use crate::batch::{Cell, Row, RowBatch, Rows};
use crate::expression::values::RowValues;
use crate::key::KeyWriter;
use crate::refusal::refuse;
use crate::reject::RejectBatch;
use crate::sweeps::Sweeps;

/// Keys written at once for a checkpoint.
const KEYS_PER_PART: usize = 64;

/// The logs of one key, as planned.
#[derive(Clone, Debug, Default)]
struct KeyWindows {
    logs: SmallVec<[Log; 1]>,
}

/// Computes what is planned over the windows of one key, event by event.
pub struct WindowStage {
    plan: Arc<WindowPlan>,
    logs: Vec<LogPlan>,
    key: Option<KeyWriter>,
    state: KeyedState<KeyWindows>,
    /// By event; none where it has no such key.
    slots: Vec<Option<Slot>>,
    windows: Windows,
    watermark: EventTime,
    sweeps: Sweeps,
    /// Windows of the snapshot under way that had to be written before they changed.
    saved_early: StateDelta,
    /// The key that entries of a checkpoint are being given of.
    restoring: Option<Restoring>,
}

impl WindowStage {
    /// A stage without any event yet.
    pub fn new(plan: Arc<WindowPlan>) -> Self {
        WindowStage {
            logs: LogPlan::all(&plan),
            key: plan.key.clone().map(KeyWriter::new),
            state: KeyedState::default(),
            slots: Vec::new(),
            windows: Windows::default(),
            watermark: EventTime::MIN,
            sweeps: Sweeps::default(),
            saved_early: StateDelta::default(),
            restoring: None,
            plan,
        }
    }

    /// Number of keys with events.
    pub fn keys(&self) -> usize {
        self.state.len()
    }

    fn locate(&mut self, rows: &Rows) {
        let (state, key) = (&mut self.state, &mut self.key);
        let slot = |row: &Row| match key {
            None => Some(state.locate(row.key_hash, rows.bytes(row.key))),
            Some(key) => {
                let (key, hash) = key.write_row(rows, row)?;
                Some(state.locate(hash, key))
            }
        };
        self.slots.clear();
        self.slots.extend(rows.rows().iter().map(slot));
        // The processor overlaps accesses that do not depend on each other.
        let touch = |sum, slot: &Option<Slot>| {
            sum ^ slot.map_or(0, |slot| self.state.value_mut(slot).touch())
        };
        black_box(self.slots.iter().fold(0, touch));
    }

    /// What checkpoints have to hear of keys that are about to change.
    fn save_early(&mut self) {
        for slot in self.slots.iter().copied().flatten() {
            if self.state.note_change(slot) {
                let (hash, key, windows) = self.state.entry(slot);
                let place = (self.plan.spread.group(hash), key);
                saved::save(&self.logs, windows, place, &mut self.saved_early);
            }
        }
    }

    fn compute(&mut self, rows: &mut Rows) {
        for (nth, slot) in self.slots.iter().enumerate() {
            let (Some(slot), Some(&time)) = (*slot, rows.order_times().get(nth)) else {
                continue;
            };
            let logs = &mut self.state.value_mut(slot).logs;
            logs.resize_with(self.logs.len(), Log::default);
            let seen_by_all = if self.plan.in_time_order {
                self.watermark.max(time)
            } else {
                self.watermark
            };
            for (plan, log) in self.logs.iter().zip(logs) {
                plan.forget(log, seen_by_all);
                plan.begin_anew_if_quiet(log, time);
                self.windows.visit(plan, log, time, rows, nth);
            }
        }
    }
}

impl KeyWindows {
    /// Reads what adding an event will need; what it adds up to means nothing.
    fn touch(&self) -> u64 {
        self.logs.iter().fold(0, |sum, log| sum ^ log.touch())
    }
}

impl LogPlan {
    /// Drops what no event will see, none being older than this from now on.
    fn forget(&self, log: &mut Log, watermark: EventTime) {
        let expired = self
            .reach_ms
            .and_then(|ms| watermark.0.checked_sub_unsigned(ms));
        let mut from = log.begin();
        match self.order {
            LogOrder::Time => {
                let oldest = log.times().first();
                if oldest.is_some_and(|&oldest| Some(oldest) <= expired) {
                    from = log.first_above(expired);
                }
            }
            LogOrder::Handled => {
                let old = log
                    .times()
                    .iter()
                    .take_while(|&&time| Some(time) <= expired);
                from += old.count() as u64;
            }
        }
        if let Some(most) = self.events_max {
            from = from.max(log.end().saturating_sub(u64::from(most)));
        }
        log.drop_below(&self.shape, from);
    }

    /// Lets a log begin anew if an event at `time` sees nothing of it, or if nothing was ever there.
    fn begin_anew_if_quiet(&self, log: &mut Log, time: EventTime) {
        let is_quiet = match self.reach_ms {
            None => log.turns() == 0,
            Some(reach_ms) => {
                let expired = time.0.checked_sub_unsigned(reach_ms);
                let mut newest_first = log.times().iter().rev();
                newest_first.all(|&earlier| Some(earlier) <= expired)
            }
        };
        if is_quiet {
            log.begin_anew(&self.shape);
        }
    }
}

/// Reads windows off logs.
#[derive(Debug, Default)]
struct Windows {
    words: Vec<Word>,
    pieces: Vec<Piece>,
    /// Whether the window is all events from some place on.
    is_stretch: bool,
}

/// One window of one event.
struct Window<'l> {
    plan: &'l LogPlan,
    log: &'l Log,
    time: EventTime,
    pieces: &'l [Piece],
    is_stretch: bool,
    events: u64,
}

impl Windows {
    /// Adds the event at a position to a log and computes what is read off it.
    fn visit(
        &mut self,
        plan: &LogPlan,
        log: &mut Log,
        time: EventTime,
        rows: &mut Rows,
        nth: usize,
    ) {
        let Some(&row) = rows.rows().get(nth) else {
            return;
        };
        self.describe(plan, rows, &row);
        let without = plan.readings.partition_point(|it| !it.includes_self);
        let (without, with) = plan.readings.split_at(without);
        self.read(plan, without, log, time, rows, nth);
        let number = match plan.order {
            LogOrder::Time => log.place_of(time.0),
            LogOrder::Handled => log.end(),
        };
        log.insert(&plan.shape, number, time.0, &mut self.words);
        self.read(plan, with, log, time, rows, nth);
    }

    /// What a log keeps of an event.
    fn describe(&mut self, plan: &LogPlan, rows: &Rows, row: &Row) {
        self.words.clear();
        for column in &plan.columns {
            self.words.push(match *column {
                Column::Turn => 0,
                Column::Number(field) => rows.cell(row, field).number().map_or(NULL, f64::to_bits),
                Column::Identity(field) => identity(rows, rows.cell(row, field)),
                Column::Marks => {
                    let marks = plan.conditions.iter().enumerate();
                    marks.fold(0, |marks, (at, condition)| {
                        marks | u64::from(condition.holds(rows, row)) << at
                    })
                }
            });
        }
    }

    fn read(
        &mut self,
        plan: &LogPlan,
        readings: &[Reading],
        log: &Log,
        time: EventTime,
        rows: &mut Rows,
        nth: usize,
    ) {
        let mut over = None;
        let mut events = 0;
        for reading in readings {
            // Readings over the same window stand together.
            if over != Some(reading.over) {
                over = Some(reading.over);
                events = self.lay_out(plan, reading.over, log, time);
            }
            let window = Window {
                plan,
                log,
                time,
                pieces: &self.pieces,
                is_stretch: self.is_stretch,
                events,
            };
            let value = window.value(reading);
            let cell = value.map_or(Cell::Null, Cell::Float);
            rows.set_cell(nth, reading.into, cell);
        }
    }

    /// Lays out the window of an event; how many events are in it.
    fn lay_out(&mut self, plan: &LogPlan, over: Over, log: &Log, time: EventTime) -> u64 {
        let last = |events: u32| log.end().saturating_sub(u64::from(events));
        let expired = |ms| time.0.checked_sub_unsigned(ms);
        let from = match over {
            Over::Time(ms) => log.first_above(expired(ms)),
            Over::Last(events) => last(events),
            Over::History { events, ttl_ms } if plan.is_sorted => {
                last(events).max(log.first_above(expired(ttl_ms)))
            }
            // Old events in front may have been dropped already, or not; what is behind them is the same.
            Over::History { events, ttl_ms } => {
                log.first_above_from(last(events).max(log.begin()), expired(ttl_ms))
            }
        };
        let from = from.max(log.begin());
        log.stretch(from, &mut self.pieces);
        self.is_stretch = true;
        if let (Over::History { ttl_ms, .. }, Some(oldest)) = (over, plan.oldest) {
            let oldest = log.measure(&plan.shape, oldest, &self.pieces)[0] as i64;
            if Some(oldest) <= expired(ttl_ms) {
                self.is_stretch = false;
                log.select_above(from, expired(ttl_ms), &mut self.pieces);
                return self.pieces.iter().map(|piece| piece.to - piece.from).sum();
            }
        }
        log.end() - from
    }
}

impl Window<'_> {
    fn measure(&self, nth: Option<usize>) -> Measured {
        nth.map_or_else(Measured::default, |nth| {
            self.log.measure(&self.plan.shape, nth, self.pieces)
        })
    }

    /// What a reading says; none if that does not exist.
    fn value(&self, reading: &Reading) -> Option<f64> {
        let measured = self.measure(reading.measure);
        let count = measured[0];
        let number = |word: Word| Some(f64::from_bits(word)).filter(|number| !number.is_nan());
        match reading.kind {
            AggregateKind::Count if reading.measure.is_none() => Some(self.events as f64),
            AggregateKind::Distinct(_) if !self.is_stretch => {
                let nth = reading.measure.unwrap_or(usize::MAX);
                Some(self.log.different(&self.plan.shape, nth, self.pieces) as f64)
            }
            AggregateKind::Count | AggregateKind::Distinct(_) => Some(count as f64),
            AggregateKind::Share if self.events == 0 => None,
            AggregateKind::Share if reading.measure.is_none() => Some(1.0),
            AggregateKind::Share => Some(count as f64 / self.events as f64),
            AggregateKind::Sum(_) => Some(f64::from_bits(measured[1])),
            AggregateKind::Mean(_) | AggregateKind::Std(_) if count == 0 => None,
            AggregateKind::Mean(_) => Some(f64::from_bits(measured[1]) / count as f64),
            AggregateKind::Std(_) => Some((f64::from_bits(measured[2]) / count as f64).sqrt()),
            AggregateKind::Min(_) | AggregateKind::Max(_) => number(measured[0]),
            AggregateKind::Last(_) => number(measured[1]),
            AggregateKind::SincePrevious if count == 0 => None,
            AggregateKind::SincePrevious => {
                let previous = EventTime(measured[1] as i64);
                Some(self.time.ms_after(previous) as f64)
            }
            AggregateKind::MeanGap if self.events < 2 => None,
            AggregateKind::MeanGap => {
                let last = self.measure(reading.end);
                let first = EventTime(measured[1] as i64);
                let length_ms = EventTime(last[1] as i64).ms_after(first);
                Some(length_ms as f64 / (self.events - 1) as f64)
            }
        }
    }
}

impl Among {
    fn holds(&self, rows: &Rows, row: &Row) -> bool {
        match self {
            Among::Where(expression) => expression.holds(&RowValues { rows, row }).unwrap_or(false),
            Among::Equal(conditions) => conditions
                .iter()
                .all(|condition| condition.holds(rows, row)),
        }
    }
}

/// Values that are the same have the same; null has [`NULL`], and nothing else has.
fn identity(rows: &Rows, cell: Cell) -> Word {
    let hash = |bytes: &[u8]| match xxh3_64(bytes) {
        NULL => NULL - 1,
        hash => hash,
    };
    match cell {
        // The pipeline file is refused where a window looks at lists.
        Cell::Null | Cell::List { .. } => NULL,
        Cell::Text { span, .. } => hash(rows.bytes(span)),
        Cell::Int(value) => hash(&value.to_le_bytes()),
        // One zero for both signs.
        Cell::Float(value) => (value + 0.0).to_bits(),
        Cell::Bool(value) => u64::from(value),
    }
}

impl Operator for WindowStage {
    type Input = RowBatch;
    type Output = RowBatch;
    type Reject = RejectBatch;

    const KEEPS_STATE: bool = true;

    fn on_batch(&mut self, mut batch: RowBatch, out: &mut Emitter<RowBatch, RejectBatch>) {
        let rejects = refuse(&self.plan.checks, &mut batch, &self.plan.spread);
        rejects.into_iter().for_each(|rejects| out.reject(rejects));
        self.locate(&batch.rows);
        self.save_early();
        self.compute(&mut batch.rows);
        out.give(batch);
    }

    fn on_watermark(&mut self, watermark: EventTime) {
        self.watermark = self.watermark.max(watermark);
        // A log whose window has no end in time keeps its key for good, but not what another log has of it.
        let reaches = self.logs.iter().filter_map(|plan| plan.reach_ms);
        let Some(reach_ms) = reaches.max() else {
            return;
        };
        let places = self.state.places();
        let Some(places) = self.sweeps.due(watermark, reach_ms, places) else {
            return;
        };
        let (spread, logs) = (&self.plan.spread, &self.logs);
        let early = RefCell::new(&mut self.saved_early);
        let save = |hash, key: &[u8], windows: &KeyWindows| {
            let place = (spread.group(hash), key);
            saved::save(logs, windows, place, &mut early.borrow_mut());
        };
        let watermark = self.watermark;
        let keep = |hash, key: &[u8], windows: &mut KeyWindows| {
            for (plan, log) in logs.iter().zip(&mut windows.logs) {
                plan.forget(log, watermark);
            }
            let is_left = windows.logs.iter().any(|log| log.len() > 0);
            if !is_left {
                // Of the key itself the state says so. What the chunks hold nobody sees, now or after a restart.
                let place = (spread.group(hash), key);
                saved::forget(windows, place, &mut early.borrow_mut());
            }
            is_left
        };
        self.state.sweep(places, save, keep);
    }

    fn will_be_saved(&mut self) {
        self.state.track_changes();
    }

    fn on_epoch_closed(&mut self) {
        self.state.freeze();
    }

    fn snapshot(&mut self, delta: &mut StateDelta) -> Progress {
        delta.absorb(&mut self.saved_early);
        let spread = &self.plan.spread;
        self.state.save(KEYS_PER_PART, |hash, key, value| {
            let group = spread.group(hash);
            match value {
                Saved::Value(windows) => saved::save(&self.logs, windows, (group, key), delta),
                Saved::Dropped => delta.remove(group, key),
            }
        })
    }

    fn restore(&mut self, entry: SavedEntry<'_>) -> Result<(), StrangeEntry> {
        if let Some(restoring) = &mut self.restoring
            && restoring.take(entry.key, entry.value)
        {
            return Ok(());
        }
        self.finish_restoring()?;
        let begun = Restoring::begin(entry.group, entry.key, entry.value, entry.anew);
        self.restoring = Some(begun.ok_or_else(|| entry.is_strange())?);
        Ok(())
    }

    fn on_restored(&mut self) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(self.finish_restoring()?)
    }
}

impl WindowStage {
    /// All entries of a key are there.
    fn finish_restoring(&mut self) -> Result<(), StrangeEntry> {
        let Some(restored) = self.restoring.take() else {
            return Ok(());
        };
        let windows = restored.windows(&self.logs).ok_or_else(|| StrangeEntry {
            group: restored.group.0,
            key: restored.key.clone(),
        })?;
        let slot = self.state.locate(KeyHash::of(&restored.key), &restored.key);
        *self.state.value_mut(slot) = windows;
        if restored.anew {
            self.state.note_change(slot);
        }
        Ok(())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests;
