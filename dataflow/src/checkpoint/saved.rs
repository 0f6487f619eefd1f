//! The state of a checkpoint, for the workers that go on from it.

use std::sync::Arc;

use crate::checkpoint::frame::ObjectRef;
use crate::checkpoint::groups::GroupSet;
use crate::checkpoint::manifest::{ChainObject, Manifest};
use crate::checkpoint::state_merge::StateChain;
use crate::faults::phases::{Phase, reach};
use crate::place::{KeyGroup, Spread};
use crate::snapshot::{RestoreError, SavedEntry, SavedState, TakeEntry};
use crate::store::Store;

/// The state of a checkpoint, in its store.
pub(super) struct ChainState {
    store: Arc<dyn Store>,
    /// By the worker that wrote it.
    chains: Vec<Vec<ObjectRef>>,
    spread: Spread,
    /// Whether workers own what they owned when they wrote it.
    is_same: bool,
}

impl ChainState {
    pub(super) fn new(store: &Arc<dyn Store>, manifest: &Manifest, spread: Spread) -> Self {
        let objects = |chain: &Vec<ChainObject>| chain.iter().map(ChainObject::object).collect();
        ChainState {
            store: Arc::clone(store),
            chains: manifest.chains.iter().map(objects).collect(),
            is_same: manifest.chains.len() == spread.workers,
            spread,
        }
    }

    /// The key groups of a worker.
    fn groups(&self, worker: usize) -> GroupSet {
        let all = 0..self.spread.key_groups;
        let owned = all.map(KeyGroup);
        owned
            .filter(|&group| self.spread.owner(group) == worker)
            .collect()
    }

    fn read(
        &self,
        chain: &[ObjectRef],
        stage: &str,
        worker: usize,
        take: &mut TakeEntry<'_>,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let groups = self.groups(worker);
        let mut chain = StateChain::open(self.store.as_ref(), chain.iter().copied())?;
        let mut merge = chain.merge(stage, &groups)?;
        while let Some(entry) = merge.next_entry()? {
            // A merge leaves removals out.
            let Some(value) = entry.value else { continue };
            take(SavedEntry {
                group: entry.group,
                key: entry.key,
                value,
                anew: !self.is_same,
            })?;
        }
        Ok(())
    }
}

impl SavedState for ChainState {
    fn entries(
        &self,
        stage: &str,
        worker: usize,
        take: &mut TakeEntry<'_>,
    ) -> Result<(), RestoreError> {
        let own = self.chains.get(worker).filter(|_| self.is_same);
        let chains = match own {
            Some(chain) => std::slice::from_ref(chain),
            None => self.chains.as_slice(),
        };
        // Chains of different workers have no key in common.
        chains.iter().try_for_each(|chain| {
            self.read(chain, stage, worker, take)
                .map_err(|reason| RestoreError {
                    stage: stage.to_owned(),
                    reason,
                })
        })?;
        reach(Phase::StateLoaded);
        Ok(())
    }
}
