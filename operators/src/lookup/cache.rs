//! What is remembered of answers: bounded in bytes, the least recently used goes first.

use std::time::Duration;

use lru::LruCache;

use crate::lookup::answer::Known;
use crate::lookup::plan::CachePlan;

/// What an entry costs beside its key and its values: its places in the list and in the table.
const ENTRY_BYTES: usize = 128;

/// Answers by key. Times are monotonic readings of one clock.
#[derive(Debug)]
pub(super) struct Cache {
    plan: CachePlan,
    entries: LruCache<Box<[u8]>, Entry>,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    known: Known,
    at: Duration,
}

/// An answer, and how old it is.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Remembered {
    pub(super) known: Known,
    pub(super) age: Duration,
}

impl Cache {
    pub(super) fn new(plan: CachePlan) -> Self {
        Cache {
            plan,
            entries: LruCache::unbounded(),
            bytes: 0,
        }
    }

    /// What stands for the store's answer.
    pub(super) fn fresh(&mut self, key: &[u8], now: Duration) -> Option<Remembered> {
        self.younger_than(key, now, self.plan.ttl)
    }

    /// What may stand for it where the store gives none.
    pub(super) fn stale(&mut self, key: &[u8], now: Duration) -> Option<Remembered> {
        self.younger_than(key, now, self.plan.ttl + self.plan.stale_for)
    }

    fn younger_than(&mut self, key: &[u8], now: Duration, most: Duration) -> Option<Remembered> {
        let entry = self.entries.get(key)?;
        let age = now.saturating_sub(entry.at);
        (age < most).then(|| Remembered {
            known: entry.known.clone(),
            age,
        })
    }

    /// Remembers an answer in place of what was known before.
    pub(super) fn put(&mut self, key: Box<[u8]>, known: Known, now: Duration) {
        self.bytes += cost(&key, &known);
        if let Some((key, entry)) = self.entries.push(key, Entry { known, at: now }) {
            self.bytes = self.bytes.saturating_sub(cost(&key, &entry.known));
        }
        while self.bytes > self.plan.bytes
            && let Some((key, entry)) = self.entries.pop_lru()
        {
            self.bytes = self.bytes.saturating_sub(cost(&key, &entry.known));
        }
    }
}

fn cost(key: &[u8], known: &Known) -> usize {
    ENTRY_BYTES + key.len() + known.bytes()
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::{Cache, ENTRY_BYTES, Remembered};
    use crate::lookup::answer::Known;
    use crate::lookup::plan::CachePlan;

    const TTL: u64 = 5;
    const STALE: u64 = 7;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    proptest! {
        /// Raced against a list of everything that was ever used, newest first.
        #[test]
        fn is_what_is_remembered_the_newest_that_fits(
            acts in prop::collection::vec((0..6u8, any::<bool>(), 0..4u64), 0..80),
            holds in 0..5usize,
        ) {
            let cost = ENTRY_BYTES + 1 + 8;
            let plan = CachePlan { bytes: holds * cost + cost / 2, ttl: ms(TTL), stale_for: ms(STALE) };
            let mut cache = Cache::new(plan);
            let mut used: VecDeque<(u8, f64, u64)> = VecDeque::new();
            let mut now = 0;
            for (nth, (key, puts, passes)) in acts.into_iter().enumerate() {
                now += passes;
                let bytes: Box<[u8]> = Box::new([key]);
                let at = used.iter().position(|(known, ..)| *known == key);
                if puts {
                    let value = nth as f64;
                    cache.put(bytes, Known::Values([value].into()), ms(now));
                    if let Some(at) = at {
                        used.remove(at);
                    }
                    used.push_front((key, value, now));
                    used.truncate(holds);
                } else {
                    let entry = at.and_then(|at| used.remove(at));
                    if let Some(entry) = entry {
                        used.push_front(entry);
                    }
                    let expected = |most: u64| entry.filter(|(_, _, put)| now - put < most).map(|(_, value, put)| Remembered {
                        known: Known::Values([value].into()),
                        age: ms(now - put),
                    });
                    prop_assert_eq!(cache.fresh(&bytes, ms(now)), expected(TTL));
                    prop_assert_eq!(cache.stale(&bytes, ms(now)), expected(TTL + STALE));
                }
                prop_assert!(cache.bytes <= plan.bytes);
                prop_assert_eq!(cache.entries.len(), used.len());
            }
        }
    }
}
