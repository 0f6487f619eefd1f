//! From events to feature vectors: checks of the feature stage, history, the declared features.
//!
//! One vector of `f32` per event, row-major, in declared order. An event that fails a check here has not
//! entered its history; one that fails later has.

mod windows;
mod declared;

use std::cell::RefCell;
use std::hint::black_box;
use std::sync::Arc;

use slackwater_dataflow::moment::EventTime;
use slackwater_dataflow::operator::{Emitter, Operator};
use slackwater_dataflow::place::{KeyHash, Spread};
use slackwater_dataflow::snapshot::{Progress, SavedEntry, StateDelta, StrangeEntry};
use slackwater_dataflow::state::{KeyedState, Saved, Slot};

pub use self::declared::{Feature, FeatureKind, Transform};

use self::declared::{Calendar, Events};
use self::windows::Windows;
use crate::batch::{Row, RowBatch, Rows};
use crate::check::RowCheck;
use crate::enrichment::Enrichment;
use crate::history::{Histories, HistoryPlan, KeyHistory};
use crate::refusal::refuse;
use crate::reject::RejectBatch;
use crate::sweeps::Sweeps;

/// Keys written at once for a checkpoint: at a microsecond or two for a full history, well below a millisecond.
const KEYS_PER_PART: usize = 256;

/// Everything that decides the vectors, compiled from the pipeline file.
#[derive(Clone, Debug)]
pub struct FeaturePlan {
    /// Checks of the feature stage, in the order of the file.
    pub checks: Vec<RowCheck>,
    /// The history, if one is declared.
    pub history: Option<HistoryPlan>,
    /// The features, in order.
    pub features: Vec<Feature>,
    /// Where keys go.
    pub spread: Spread,
}

impl FeaturePlan {
    /// The names of the features, in order.
    pub fn names(&self) -> Vec<String> {
        let names = self.features.iter().map(|feature| feature.name.clone());
        names.collect()
    }
}

/// Events with their vectors.
#[derive(Debug)]
pub struct FeatureBatch {
    /// The events.
    pub batch: RowBatch,
    /// Row-major, `rows * features`.
    pub vectors: Vec<f32>,
    /// Where what was looked up comes from.
    pub enrichment: Enrichment,
}

/// Computes the declared features of each event.
pub struct FeatureStage {
    plan: Arc<FeaturePlan>,
    calendar: Calendar,
    histories: Option<Histories>,
    state: KeyedState<KeyHistory>,
    slots: Vec<Slot>,
    windows: Windows,
    /// One feature of all events of a batch.
    values: Vec<f64>,
    sweeps: Sweeps,
    /// Histories of the snapshot under way that had to be written before they changed.
    saved_early: StateDelta,
}

impl FeatureStage {
    /// A stage without any history yet.
    pub fn new(plan: Arc<FeaturePlan>) -> Self {
        FeatureStage {
            calendar: Calendar::new(),
            histories: plan.history.as_ref().map(Histories::new),
            state: KeyedState::default(),
            windows: Windows::new(
                plan.history
                    .as_ref()
                    .map_or(0, |history| history.tallies.len()),
            ),
            slots: Vec::new(),
            values: Vec::new(),
            sweeps: Sweeps::default(),
            saved_early: StateDelta::default(),
            plan,
        }
    }

    /// Number of keys with a history.
    pub fn keys(&self) -> usize {
        self.state.len()
    }

    /// Adds every event to its key's history and notes what it sees.
    fn add_to_histories(&mut self, rows: &Rows) {
        let Some(histories) = &mut self.histories else {
            return;
        };
        self.windows.clear();
        // First find every key, then touch every history, then visit them: the processor overlaps
        // accesses that do not depend on each other, and most of the time of a large state is waiting
        // for memory.
        self.slots.clear();
        let state = &mut self.state;
        let locate = |row: &Row| state.locate(row.key_hash, rows.bytes(row.key));
        self.slots.extend(rows.rows().iter().map(locate));
        let touch = |sum, &slot| sum ^ self.state.value_mut(slot).touch();
        black_box(self.slots.iter().fold(0, touch));
        for &slot in &self.slots {
            if self.state.note_change(slot) {
                let (hash, key, history) = self.state.entry(slot);
                let group = self.plan.spread.group(hash);
                let write = |out: &mut Vec<u8>| histories.write(history, out);
                self.saved_early.put(group, key, write);
            }
        }
        histories.read(rows);
        for (nth, (&time, &slot)) in rows.order_times().iter().zip(&self.slots).enumerate() {
            let window = histories.add(self.state.value_mut(slot), nth, time);
            self.windows.push(&window);
        }
    }

    /// Drops what no event can see any more from the next histories.
    fn sweep(&mut self, places: usize) {
        let Some(histories) = &mut self.histories else {
            return;
        };
        let (saved, spread) = (&mut self.saved_early, &self.plan.spread);
        let histories = RefCell::new(histories);
        let save = |hash, key: &[u8], history: &KeyHistory| {
            let write = |out: &mut Vec<u8>| histories.borrow_mut().write(history, out);
            saved.put(spread.group(hash), key, write);
        };
        let keep = |_, _: &[u8], history: &mut KeyHistory| histories.borrow_mut().keep(history);
        self.state.sweep(places, save, keep);
    }

    /// Computes feature by feature, so that what a feature is has to be asked once a batch.
    fn vectors(&mut self, rows: &Rows) -> Vec<f32> {
        let features = &self.plan.features;
        let mut vectors = vec![0.0; rows.rows().len() * features.len()];
        let events = Events {
            rows,
            windows: self.histories.is_some().then_some(&self.windows),
            calendar: &self.calendar,
        };
        for (column, feature) in features.iter().enumerate() {
            self.values.clear();
            feature.compute(&events, &mut self.values);
            let vectors = vectors.chunks_exact_mut(features.len());
            for (vector, &value) in vectors.zip(&self.values) {
                if let Some(place) = vector.get_mut(column) {
                    *place = value as f32;
                }
            }
        }
        vectors
    }
}

impl Operator for FeatureStage {
    type Input = RowBatch;
    type Output = FeatureBatch;
    type Reject = RejectBatch;

    const KEEPS_STATE: bool = true;

    fn on_batch(&mut self, mut batch: RowBatch, out: &mut Emitter<FeatureBatch, RejectBatch>) {
        let rejects = refuse(&self.plan.checks, &mut batch, &self.plan.spread);
        rejects.into_iter().for_each(|rejects| out.reject(rejects));
        if !batch.rows.rows().is_empty() {
            self.add_to_histories(&batch.rows);
            let vectors = self.vectors(&batch.rows);
            out.give(FeatureBatch {
                batch,
                vectors,
                enrichment: Enrichment::default(),
            });
        }
    }

    fn on_watermark(&mut self, watermark: EventTime) {
        let Some(histories) = &mut self.histories else {
            return;
        };
        histories.on_watermark(watermark);
        let places = self.state.places();
        if let Some(due) = self.sweeps.due(watermark, histories.ttl_ms(), places) {
            self.sweep(due);
        }
    }

    fn will_be_saved(&mut self) {
        self.state.track_changes();
    }

    fn on_epoch_closed(&mut self) {
        self.state.freeze();
    }

    fn snapshot(&mut self, delta: &mut StateDelta) -> Progress {
        delta.absorb(&mut self.saved_early);
        let Some(histories) = &mut self.histories else {
            return Progress::Done;
        };
        let spread = &self.plan.spread;
        self.state.save(KEYS_PER_PART, |hash, key, saved| {
            let group = spread.group(hash);
            match saved {
                Saved::Value(history) => delta.put(group, key, |out| histories.write(history, out)),
                Saved::Dropped => delta.remove(group, key),
            }
        })
    }

    fn restore(&mut self, entry: SavedEntry<'_>) -> Result<(), StrangeEntry> {
        let Some(histories) = &mut self.histories else {
            // Of features that are no more: nobody reads it, and it stays where it is.
            return Ok(());
        };
        let history = histories.read_saved(entry.value);
        let slot = self.state.locate(KeyHash::of(entry.key), entry.key);
        *self.state.value_mut(slot) = history.ok_or_else(|| entry.is_strange())?;
        if entry.anew {
            self.state.note_change(slot);
        }
        Ok(())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests;
