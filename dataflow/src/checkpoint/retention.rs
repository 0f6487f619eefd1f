//! Which objects and records of a checkpoint store nothing needs any more.
//!
//! Names to be deleted are only ever taken from manifests that were *retired*, because enough newer ones are
//! durable, and never from a listing of the store: what another run has just written, or is about to list, is
//! in no retired manifest. An object may be listed by many manifests in a row, and goes when the last of those
//! that are kept no longer lists it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::identity::Generation;

/// What a durable manifest lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The number of its record in the log.
    pub number: u64,
    /// Who wrote it.
    pub generation: Generation,
    /// The names of all objects that it lists: of states, and of outputs that were not known to be published.
    pub objects: BTreeSet<String>,
}

/// What may be deleted: the records before the objects. The deletion of a record is durable at once, that of an
/// object is not: so no crash leaves a record that lists what is gone. Objects that a crash leaves are found by the next
/// recovery.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deletable {
    /// Names of objects, in ascending order.
    pub objects: Vec<String>,
    /// Numbers of records of the log, all manifests of this generation, in ascending order. The record of a claim,
    /// or of another generation, is never among them: a stale process may still want its number.
    pub records: Vec<u64>,
}

/// Follows the manifests of a store, from the oldest to the newest, and says after each what may be deleted.
#[derive(Debug)]
pub struct Retention {
    retain: usize,
    generation: Generation,
    /// The newest, oldest first.
    kept: VecDeque<Listing>,
    /// How many of those list an object.
    listed: BTreeMap<String, usize>,
    /// Objects that a retired manifest of this generation or an older one listed, and that were not yet given out.
    retired: BTreeSet<String>,
}

impl Retention {
    /// Keeps the `retain` newest manifests, at least one, for the run of a generation.
    pub fn new(retain: usize, generation: Generation) -> Self {
        Retention {
            retain: retain.max(1),
            generation,
            kept: VecDeque::new(),
            listed: BTreeMap::new(),
            retired: BTreeSet::new(),
        }
    }

    /// A manifest is durable. At the beginning of a run those that are in the store are told like this one by
    /// one, which may name objects once more that an earlier run had deleted.
    ///
    /// `unpublished` are the objects of epochs whose publishing is not confirmed now. None of them is deleted, even
    /// if no kept manifest should list it.
    ///
    /// Manifests come in the order of their numbers; one that isn't newer than the last changes nothing.
    #[must_use]
    pub fn on_durable(&mut self, manifest: Listing, unpublished: &BTreeSet<String>) -> Deletable {
        let newest = self.kept.back().map(|kept| kept.number);
        if Some(manifest.number) <= newest {
            return Deletable::default();
        }
        for name in &manifest.objects {
            let count = self.listed.entry(name.clone()).or_default();
            *count = count.saturating_add(1);
        }
        self.kept.push_back(manifest);
        let mut records = Vec::new();
        while self.kept.len() > self.retain
            && let Some(retired) = self.kept.pop_front()
        {
            if retired.generation == self.generation {
                records.push(retired.number);
            }
            self.retire(retired);
        }
        let listed = &self.listed;
        let free = |name: &String| !listed.contains_key(name) && !unpublished.contains(name);
        let objects = self.retired.extract_if(.., free).collect();
        Deletable { objects, records }
    }

    /// Whether a manifest that is kept lists an object.
    pub fn lists(&self, name: &str) -> bool {
        self.listed.contains_key(name)
    }

    fn retire(&mut self, manifest: Listing) {
        let is_ours_or_older = manifest.generation <= self.generation;
        for name in manifest.objects {
            if let Some(count) = self.listed.get_mut(&name) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    self.listed.remove(&name);
                }
            }
            if is_ours_or_older {
                self.retired.insert(name);
            }
        }
    }
}

#[cfg(test)]
mod tests;
