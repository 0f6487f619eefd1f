//! Does keyed state hold what a plain map holds, and is what is saved of it what was there when it was frozen?

use std::collections::{BTreeMap, HashMap};

use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, Strategy, prop_oneof, proptest};

use crate::place::KeyHash;
use crate::snapshot::Progress;
use crate::state::{KeyedState, Saved};

/// Hashes are cut to two bits, so that collisions are the rule.
fn hash(key: &[u8]) -> KeyHash {
    KeyHash(KeyHash::of(key).0 & 3)
}

proptest! {
    #[test]
    fn holds_what_a_plain_map_holds(steps in vec((0..40_u32, 0..12_u8, 0..4_u8), 0..200)) {
        let mut state = KeyedState::<u32>::default();
        let mut model = HashMap::<Vec<u8>, u32>::new();
        for (amount, key, action) in steps {
            let key = vec![key; 3];
            if action == 0 {
                state.sweep(state.places(), |_, _, _| (), |_, _, value| *value > amount);
                model.retain(|_, value| *value > amount);
            } else {
                let slot = state.locate(hash(&key), &key);
                *state.value_mut(slot) += amount;
                *model.entry(key.clone()).or_default() += amount;
                assert_eq!(*state.value_mut(slot), *model.get(&key).unwrap());
            }
            assert_eq!(state.len(), model.len());
        }
        for (key, value) in model {
            let slot = state.locate(hash(&key), &key);
            assert_eq!(*state.value_mut(slot), value);
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Add {
        key: u8,
        amount: u32,
    },
    /// Looks at some places and drops what is not above this.
    Sweep {
        places: usize,
        above: u32,
    },
    /// Saves at most so many keys.
    Save(usize),
    Freeze,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..12_u8, 0..9_u32).prop_map(|(key, amount)| Step::Add { key, amount }),
        2 => (0..15_usize, 0..20_u32).prop_map(|(places, above)| Step::Sweep { places, above }),
        3 => (0..5_usize).prop_map(Step::Save),
        1 => proptest::strategy::Just(Step::Freeze),
    ]
}

type Map = BTreeMap<Vec<u8>, u32>;

/// A state, a plain map that does the same, and what a chain of snapshots adds up to.
#[derive(Default)]
struct Race {
    state: KeyedState<u32>,
    model: Map,
    frozen: Option<Map>,
    /// All snapshots that have ended.
    restored: Map,
    /// Of the one under way: none for a key that was dropped. What has a value wins.
    delta: BTreeMap<Vec<u8>, Option<u32>>,
}

impl Race {
    fn put(delta: &mut BTreeMap<Vec<u8>, Option<u32>>, key: &[u8], value: u32) {
        let before = delta.insert(key.to_owned(), Some(value));
        assert_eq!(before.flatten(), None, "{key:?} has one value");
    }

    fn take(&mut self, step: Step) {
        let delta = &mut self.delta;
        match step {
            Step::Add { key, amount } => {
                let key = vec![key; 3];
                let slot = self.state.locate(hash(&key), &key);
                if self.state.note_change(slot) {
                    let (_, key, &value) = self.state.entry(slot);
                    Self::put(delta, key, value);
                }
                *self.state.value_mut(slot) += amount;
                *self.model.entry(key).or_default() += amount;
            }
            Step::Sweep { places, above } => {
                let model = &mut self.model;
                let save = |_, key: &[u8], &value: &u32| Self::put(delta, key, value);
                let mut gone = Vec::new();
                self.state.sweep(places, save, |_, _, value| {
                    let keep = *value > above;
                    if !keep {
                        gone.push(*value);
                    }
                    keep
                });
                // A sweep does not name the keys that it drops: they are those that are not there any more.
                let before = model.len();
                let left: Vec<_> = model
                    .keys()
                    .filter(|key| self.state.holds(key))
                    .cloned()
                    .collect();
                model.retain(|key, _| left.contains(key));
                assert_eq!(before - model.len(), gone.len());
            }
            Step::Save(most) => {
                self.save(most);
            }
            Step::Freeze => {
                while self.save(3) == Progress::More {}
                self.end_snapshot();
                self.state.freeze();
                self.frozen = Some(self.model.clone());
            }
        }
    }

    fn save(&mut self, most: usize) -> Progress {
        let delta = &mut self.delta;
        self.state.save(most, |_, key, saved| match saved {
            Saved::Value(&value) => Self::put(delta, key, value),
            Saved::Dropped => {
                delta.entry(key.to_owned()).or_default();
            }
        })
    }

    fn end_snapshot(&mut self) {
        for (key, value) in std::mem::take(&mut self.delta) {
            match value {
                Some(value) => self.restored.insert(key, value),
                None => self.restored.remove(&key),
            };
        }
        if let Some(frozen) = self.frozen.take() {
            assert_eq!(self.restored, frozen);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever changes while a snapshot is under way.
    #[test]
    fn a_chain_of_snapshots_is_what_was_there(steps in vec(step(), 0..150)) {
        let mut race = Race::default();
        race.state.track_changes();
        for step in steps.into_iter().chain([Step::Freeze, Step::Freeze]) {
            race.take(step);
        }
    }
}
