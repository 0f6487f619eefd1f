//! Keyed state in memory: one value per key, found by its stable hash.
//!
//! Values lie in one dense vector and the table holds only their positions, so a batch can first locate
//! all its keys (independent memory accesses that the processor overlaps) and then visit the values.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use smallvec::SmallVec;

use crate::place::KeyHash;

/// Where a key's value lies. Valid until the key is dropped by [`KeyedState::sweep`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot(u32);

/// Key bytes. Ordinary keys lie inside the entity, which saves a look-up the wait for another line of memory.
type Key = SmallVec<[u8; 24]>;

#[derive(Debug)]
struct Entity<V> {
    hash: KeyHash,
    key: Key,
    value: V,
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
}

impl<V> Default for KeyedState<V> {
    fn default() -> Self {
        KeyedState {
            table: HashTable::new(),
            entities: Vec::new(),
            vacant: Vec::new(),
            sweep_from: 0,
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

    /// Looks at the next `places` places, round and round over all calls, and drops the keys whose value
    /// `keep` gives up. Never visits a place twice in one call.
    pub fn sweep(&mut self, places: usize, mut keep: impl FnMut(&mut V) -> bool) {
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
            if keep(&mut entity.value) {
                continue;
            }
            let hash = entity.hash.0;
            *place = None;
            let position = at as u32;
            if let Ok(found) = self.table.find_entry(hash, |&other| other == position) {
                found.remove();
            }
            self.vacant.push(position);
        }
    }

    /// Places that a sweep goes through to see every key once.
    pub fn places(&self) -> usize {
        self.entities.len()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::collections::HashMap;

    use proptest::collection::vec;
    use proptest::prelude::proptest;

    use crate::place::KeyHash;
    use crate::state::KeyedState;

    proptest! {
        /// Raced against a std map; hashes are cut to two bits so that collisions are the rule.
        #[test]
        fn holds_what_a_plain_map_holds(steps in vec((0..40_u32, 0..12_u8, 0..4_u8), 0..200)) {
            let mut state = KeyedState::<u32>::default();
            let mut model = HashMap::<Vec<u8>, u32>::new();
            for (amount, key, action) in steps {
                let key = vec![key; 3];
                let hash = KeyHash(KeyHash::of(&key).0 & 3);
                if action == 0 {
                    state.sweep(state.places(), |value| *value > amount);
                    model.retain(|_, value| *value > amount);
                } else {
                    let slot = state.locate(hash, &key);
                    *state.value_mut(slot) += amount;
                    *model.entry(key.clone()).or_default() += amount;
                    assert_eq!(*state.value_mut(slot), *model.get(&key).unwrap());
                }
                assert_eq!(state.len(), model.len());
            }
            for (key, value) in model {
                let slot = state.locate(KeyHash(KeyHash::of(&key).0 & 3), &key);
                assert_eq!(*state.value_mut(slot), value);
            }
        }
    }
}
