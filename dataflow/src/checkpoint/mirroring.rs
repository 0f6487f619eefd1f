//! How a mirror is brought to a checkpoint.
//!
//! What has changed is read out of the objects that the checkpoint's manifest lists, which hold it anyway: of a mirror that was
//! away for an hour all that has changed since, each key once. An object that was folded or deleted meanwhile is no harm: a
//! newer manifest has the same in another one.
//!
//! Crashes: what was put before one is put again after it, which is harmless; where the mirror is, it says itself.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::checkpoint::fault::FormatError;
use crate::checkpoint::groups::GroupSet;
use crate::checkpoint::manifest::{ChainObject, Manifest};
use crate::checkpoint::state_merge::StateChain;
use crate::faults::phases::{Phase, reach};
use crate::identity::{CheckpointId, Generation};
use crate::mirror::{CatchUp, Change, Mirror, MirrorError, Point};
use crate::moment::Epoch;
use crate::store::Store;

/// Keys that are put at once, at most.
const KEYS_MOST: usize = 256;

/// Bytes of state that are put at once, but for the last key: a copy of it has several times as many.
const BYTES_MOST: usize = 256 << 10;

/// Checkpoints that are remembered: a mirror that has lost what it had acknowledged is at one of them.
const KNOWN_MOST: usize = 10_000;

/// Where a mirror says it is that has something and is at no checkpoint yet: of what it has nothing must be left over.
const NOWHERE: Point = Point {
    epoch: Epoch(0),
    checkpoint: CheckpointId(0),
};

/// A checkpoint that is durable, and where its state is.
#[derive(Clone, Debug)]
pub(crate) struct Durable {
    pub(crate) point: Point,
    /// By worker, oldest first.
    pub(crate) chains: Vec<Vec<ChainObject>>,
}

impl Durable {
    pub(crate) fn of(manifest: &Manifest) -> Self {
        Durable {
            point: point(manifest),
            chains: manifest.chains.clone(),
        }
    }
}

/// The checkpoint that a manifest is.
pub(crate) fn point(manifest: &Manifest) -> Point {
    Point {
        epoch: manifest.epoch,
        checkpoint: manifest.checkpoint,
    }
}

/// A mirror that a run is to keep.
pub(crate) struct Mirrored {
    pub(crate) mirror: Box<dyn Mirror>,
    pub(crate) start: Start,
}

/// Where a run begins, for a mirror.
#[derive(Clone, Debug)]
pub(crate) struct Start {
    /// The checkpoint that the run goes on from.
    pub(crate) from: Durable,
    /// Checkpoints that have led there.
    pub(crate) known: Vec<Point>,
}

/// Why a mirror is not where it should be.
#[derive(Debug, thiserror::Error)]
pub enum Behind {
    /// It could not be written.
    #[error("the mirror is behind: {0}")]
    Mirror(#[from] MirrorError),
    /// The checkpoint could not be read.
    #[error("the mirror is behind: {0}")]
    Store(#[from] FormatError),
}

impl Behind {
    /// Who writes the mirror instead, for good.
    pub(crate) fn replaced(&self) -> Option<Generation> {
        match self {
            Behind::Mirror(MirrorError::Replaced(generation)) => Some(*generation),
            Behind::Mirror(_) | Behind::Store(_) => None,
        }
    }
}

impl Start {
    pub(crate) fn at(from: Durable, known: impl Iterator<Item = Point>) -> Self {
        let known = known.collect();
        Start { from, known }
    }
}

/// Brings a mirror to the last checkpoint of a job that has ended.
///
/// # Errors
/// It could not be, within some tries.
pub(crate) fn bring(
    store: &Arc<dyn Store>,
    mirror: Box<dyn Mirror>,
    generation: Generation,
    start: Start,
) -> Result<(), Behind> {
    /// More are no help to somebody who waits.
    const TRIES: usize = 20;
    const PAUSE: Duration = Duration::from_millis(100);

    let Start { from: to, known } = start;
    let mut copy = Copying::new(Arc::clone(store), mirror, generation, known);
    let mut tries = 1;
    loop {
        match copy.bring(&to) {
            Ok(()) => return Ok(()),
            Err(error) if tries == TRIES || error.replaced().is_some() => return Err(error),
            Err(_) => thread::sleep(PAUSE),
        }
        tries += 1;
    }
}

/// A mirror, and what is known of where it is.
pub(crate) struct Copying {
    store: Arc<dyn Store>,
    mirror: Box<dyn Mirror>,
    generation: Generation,
    /// Checkpoints of this history, oldest first.
    known: VecDeque<Point>,
    /// Whether it is ours, and where it is then.
    at: Option<Option<Point>>,
    /// Whether there is no state at that checkpoint.
    is_empty: bool,
}

impl Copying {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        mirror: Box<dyn Mirror>,
        generation: Generation,
        known: Vec<Point>,
    ) -> Self {
        Copying {
            store,
            mirror,
            generation,
            known: known.into(),
            at: None,
            is_empty: false,
        }
    }

    /// Learns of a checkpoint of this history, the newest so far.
    pub(crate) fn know(&mut self, point: Point) {
        if self.known.back() != Some(&point) {
            self.known.push_back(point);
        }
        while self.known.len() > KNOWN_MOST {
            self.known.pop_front();
        }
    }

    /// Brings the mirror to a checkpoint.
    pub(crate) fn bring(&mut self, to: &Durable) -> Result<(), Behind> {
        let brought = self.try_bring(to);
        if brought.is_err() {
            // Some of it may be there: where it is, it has to say once more.
            self.at = None;
            self.is_empty = false;
        }
        brought
    }

    fn try_bring(&mut self, to: &Durable) -> Result<(), Behind> {
        self.know(to.point);
        let at = match self.at {
            Some(at) => at,
            None => {
                let at = self.mirror.take_over(self.generation)?;
                self.at = Some(at);
                at
            }
        };
        let (since, sweeps) = match CatchUp::of(at, to.point, self.known.make_contiguous()) {
            CatchUp::Nothing => return Ok(()),
            CatchUp::Changes(since) if !self.is_empty && forgets(to, since) => (None, true),
            CatchUp::Changes(since) => (Some(since), false),
            CatchUp::Whole { sweeps } => (None, sweeps),
        };
        if at.is_none() {
            self.mirror.put(&[], Some(NOWHERE))?;
        }
        if sweeps {
            self.mirror.begin_whole();
        }
        for chain in &to.chains {
            self.put_chain(chain, since)?;
        }
        if sweeps {
            self.mirror.sweep()?;
        }
        self.mirror.put(&[], Some(to.point))?;
        reach(Phase::Mirrored);
        self.at = Some(Some(to.point));
        self.is_empty = to.chains.iter().all(Vec::is_empty);
        Ok(())
    }

    /// Puts what a worker's chain says of keys that have changed since an epoch.
    fn put_chain(&mut self, chain: &[ChainObject], since: Option<Epoch>) -> Result<(), Behind> {
        let objects = chain.iter().filter(|it| Some(it.epoch) > since);
        let objects = objects.map(ChainObject::object);
        let mut chain = StateChain::open(self.store.as_ref(), objects)?;
        let groups = GroupSet::all();
        let stage = self.mirror.stage().to_owned();
        let mut merge = chain.changes(&stage, &groups)?;
        let (mut changes, mut bytes) = (Vec::new(), 0);
        while let Some(entry) = merge.next_entry()? {
            let value = entry.value.map(<[u8]>::to_vec);
            bytes += entry.key.len() + value.as_ref().map_or(0, Vec::len);
            changes.push(Change {
                key: entry.key.to_vec(),
                value,
            });
            if changes.len() == KEYS_MOST || bytes >= BYTES_MOST {
                self.mirror.put(&changes, None)?;
                reach(Phase::Mirroring);
                changes.clear();
                bytes = 0;
            }
        }
        if !changes.is_empty() {
            self.mirror.put(&changes, None)?;
            reach(Phase::Mirroring);
        }
        Ok(())
    }
}

/// Whether chains no longer say what was removed since an epoch: what begins a chain says only what there is.
fn forgets(to: &Durable, since: Epoch) -> bool {
    let mut firsts = to.chains.iter().filter_map(|chain| chain.first());
    firsts.any(|first| first.whole && first.epoch > since)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;
