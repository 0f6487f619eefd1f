//! Keyed state in memory: one value per key, found by its stable hash.
//!
//! Values lie in one dense vector and the table holds only their positions, so a batch can first locate
//! all its keys (independent memory accesses that the processor overlaps) and then visit the values.
//!
//! **Snapshots.** A state that tracks changes counts *cycles*. Each value says in which one it was changed last and is
//! not saved yet; a list per cycle names those that were. To freeze is to begin a new cycle, whatever the size. The list of the
//! frozen cycle is then worked off part by part while values go on changing: one that is on it and has to change
//! is saved first. So what is saved is what was there at the freeze.

use std::num::NonZeroU32;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use smallvec::SmallVec;

use crate::place::KeyHash;
use crate::snapshot::Progress;

/// Where a key's value lies. Valid until the key is dropped by [`KeyedState::sweep`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot(u32);

/// Key bytes. Ordinary keys lie inside the entity, which saves a look-up the wait for another line of memory.
type Key = SmallVec<[u8; 24]>;

#[derive(Debug)]
struct Entity<V> {
    hash: KeyHash,
    key: Key,
    /// The cycle of a change that is not saved.
    changed_in: Option<NonZeroU32>,
    value: V,
}

/// What changed since when.
#[derive(Debug)]
struct Changes {
    cycle: NonZeroU32,
    /// Places of values that changed in this cycle, each once.
    changed: Vec<u32>,
    /// Keys that were dropped in it.
    dropped: Vec<(KeyHash, Key)>,
    /// The same of the cycle before, as far as it is not saved.
    frozen_changed: Vec<u32>,
    frozen_dropped: Vec<(KeyHash, Key)>,
}

impl Changes {
    /// The cycle that is being saved.
    fn frozen(&self) -> Option<NonZeroU32> {
        NonZeroU32::new(self.cycle.get() - 1)
    }
}

/// What became of a key, for a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saved<'a, V> {
    /// It has this value.
    Value(&'a V),
    /// It is no more.
    Dropped,
}

/// One value per key.
///
/// ```
/// use slackwater_dataflow::place::KeyHash;
/// use slackwater_dataflow::state::KeyedState;
///
/// let mut visits = KeyedState::<u32>::default();
/// let slot = visits.locate(KeyHash::of(b"anna"), b"anna");
/// *visits.value_mut(slot) += 1;
/// assert_eq!(visits.locate(KeyHash::of(b"anna"), b"anna"), slot);
/// assert_eq!((*visits.value_mut(slot), visits.len()), (1, 1));
/// ```
#[derive(Debug)]
pub struct KeyedState<V> {
    table: HashTable<u32>,
    /// `None` where a key was dropped; such places are used again before the vector grows.
    entities: Vec<Option<Entity<V>>>,
    vacant: Vec<u32>,
    /// Next place that a sweep looks at.
    sweep_from: usize,
    /// None if nobody wants to know.
    changes: Option<Changes>,
}

impl<V> Default for KeyedState<V> {
    fn default() -> Self {
        KeyedState {
            table: HashTable::new(),
            entities: Vec::new(),
            vacant: Vec::new(),
            sweep_from: 0,
            changes: None,
        }
    }
}

impl<V: Default> KeyedState<V> {
    /// The place of `key`'s value, made with the default value if the key is new.
    #[expect(
        clippy::indexing_slicing,
        reason = "the table holds positions of living entities only"
    )]
    pub fn locate(&mut self, hash: KeyHash, key: &[u8]) -> Slot {
        let entities = &self.entities;
        let is_key = |&at: &u32| match &entities[at as usize] {
            Some(entity) => entity.hash == hash && entity.key.as_slice() == key,
            None => false,
        };
        let rehash = |&at: &u32| {
            entities[at as usize]
                .as_ref()
                .map_or(0, |entity| entity.hash.0)
        };
        match self.table.entry(hash.0, is_key, rehash) {
            Entry::Occupied(found) => Slot(*found.get()),
            Entry::Vacant(place) => {
                let entity = Some(Entity {
                    hash,
                    key: Key::from_slice(key),
                    changed_in: None,
                    value: V::default(),
                });
                let at = match self.vacant.pop() {
                    Some(at) => at,
                    None => self.entities.len() as u32,
                };
                place.insert(at);
                if let Some(free) = self.entities.get_mut(at as usize) {
                    *free = entity;
                } else {
                    self.entities.push(entity);
                }
                Slot(at)
            }
        }
    }

    /// The value at `slot`.
    ///
    /// # Panics
    /// If the slot's key has been dropped since it was located.
    #[expect(clippy::expect_used, clippy::indexing_slicing, reason = "see Panics")]
    pub fn value_mut(&mut self, slot: Slot) -> &mut V {
        &mut self.entities[slot.0 as usize]
            .as_mut()
            .expect("a located slot is in use")
            .value
    }

    /// The key at `slot`, its hash and its value.
    ///
    /// # Panics
    /// If the slot's key has been dropped since it was located.
    #[expect(clippy::expect_used, clippy::indexing_slicing, reason = "see Panics")]
    pub fn entry(&self, slot: Slot) -> (KeyHash, &[u8], &V) {
        let entity = self.entities[slot.0 as usize].as_ref();
        let entity = entity.expect("a located slot is in use");
        (entity.hash, &entity.key, &entity.value)
    }
}

impl<V> KeyedState<V> {
    /// Number of keys.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether no key is held.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Begins to track changes: what is there already counts as saved.
    pub fn track_changes(&mut self) {
        self.changes = Some(Changes {
            cycle: NonZeroU32::MIN,
            changed: Vec::new(),
            dropped: Vec::new(),
            frozen_changed: Vec::new(),
            frozen_dropped: Vec::new(),
        });
    }

    /// Notes that the value at `slot` is about to change. Whether it has to be saved as it is now, before it does; it
    /// counts as saved then.
    pub fn note_change(&mut self, slot: Slot) -> bool {
        let Some(changes) = &mut self.changes else {
            return false;
        };
        let Some(Some(entity)) = self.entities.get_mut(slot.0 as usize) else {
            return false;
        };
        if entity.changed_in == Some(changes.cycle) {
            return false;
        }
        let is_unsaved = entity.changed_in.is_some();
        entity.changed_in = Some(changes.cycle);
        changes.changed.push(slot.0);
        is_unsaved
    }

    /// Ends a cycle: what changed in it can now be saved. All of the cycle before has been.
    pub fn freeze(&mut self) {
        let Some(changes) = &mut self.changes else {
            return;
        };
        debug_assert!(changes.frozen_changed.is_empty() && changes.frozen_dropped.is_empty());
        // After four thousand million checkpoints, more than 13 years of one each tenth of a second, cycles begin
        // anew; all but the frozen one are saved by then.
        changes.cycle = changes.cycle.checked_add(1).unwrap_or(NonZeroU32::MIN);
        changes.frozen_changed = std::mem::take(&mut changes.changed);
        changes.frozen_dropped = std::mem::take(&mut changes.dropped);
    }

    /// Gives what changed in the cycle that was frozen last to `save`, at most `most` keys of it.
    pub fn save(
        &mut self,
        most: usize,
        mut save: impl FnMut(KeyHash, &[u8], Saved<'_, V>),
    ) -> Progress {
        let Some(changes) = &mut self.changes else {
            return Progress::Done;
        };
        let frozen = changes.frozen();
        for _ in 0..most {
            if let Some(at) = changes.frozen_changed.pop() {
                let place = self.entities.get_mut(at as usize);
                let unsaved = place.and_then(Option::as_mut);
                if let Some(entity) = unsaved.filter(|entity| entity.changed_in == frozen) {
                    entity.changed_in = None;
                    save(entity.hash, &entity.key, Saved::Value(&entity.value));
                }
            } else if let Some((hash, key)) = changes.frozen_dropped.pop() {
                save(hash, &key, Saved::Dropped);
            } else {
                return Progress::Done;
            }
        }
        Progress::More
    }

    /// Looks at the next `places` places, round and round over all calls, and drops the keys whose value
    /// `keep` gives up. Never visits a place twice in one call. What has to be saved before it changes is given to
    /// `save`.
    pub fn sweep(
        &mut self,
        places: usize,
        mut save: impl FnMut(KeyHash, &[u8], &V),
        mut keep: impl FnMut(KeyHash, &[u8], &mut V) -> bool,
    ) {
        let frozen = self.changes.as_ref().and_then(Changes::frozen);
        for _ in 0..places.min(self.entities.len()) {
            let at = if self.sweep_from < self.entities.len() {
                self.sweep_from
            } else {
                0
            };
            self.sweep_from = at + 1;
            let Some(place) = self.entities.get_mut(at) else {
                return;
            };
            let Some(entity) = place else { continue };
            if frozen.is_some() && entity.changed_in == frozen {
                entity.changed_in = None;
                save(entity.hash, &entity.key, &entity.value);
            }
            if keep(entity.hash, &entity.key, &mut entity.value) {
                continue;
            }
            let hash = entity.hash.0;
            let dropped = place.take();
            if let (Some(changes), Some(entity)) = (&mut self.changes, dropped) {
                changes.dropped.push((entity.hash, entity.key));
            }
            let position = at as u32;
            if let Ok(found) = self.table.find_entry(hash, |&other| other == position) {
                found.remove();
            }
            self.vacant.push(position);
        }
    }

    /// Whether a key is there.
    #[cfg(test)]
    fn holds(&self, key: &[u8]) -> bool {
        let entities = self.entities.iter().flatten();
        entities
            .into_iter()
            .any(|entity| entity.key.as_slice() == key)
    }

    /// Places that a sweep goes through to see every key once.
    pub fn places(&self) -> usize {
        self.entities.len()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;
