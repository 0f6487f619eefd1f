//! How a mirror is brought to a checkpoint.
//!
//! What has changed is read out of the objects that the checkpoint's manifest lists, which hold it anyway: of a mirror that was
//! away for an hour all that has changed since, each key once. An object that was folded or deleted meanwhile is no harm: a
//! newer manifest has the same in another one.
//!
//! Crashes: what was put before one is put again after it, which is harmless; where the mirror is, it says itself.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::checkpoint::fault::FormatError;
use crate::checkpoint::groups::GroupSet;
use crate::checkpoint::log::newer_claim;
use crate::checkpoint::manifest::{ChainObject, Manifest};
use crate::checkpoint::state_merge::StateChain;
use crate::faults::phases::{Phase, reach};
use crate::identity::Generation;
use crate::mirror::{CatchUp, Change, Mirror, MirrorError, Point};
use crate::moment::Epoch;
use crate::store::Store;

/// Keys that are put at once, at most.
const KEYS_MOST: usize = 256;

/// Bytes of state that are put at once, but for the last key: a copy of it has several times as many.
const BYTES_MOST: usize = 256 << 10;

/// Checkpoints that are remembered: a mirror that has lost what it had acknowledged is at one of them.
const KNOWN_MOST: usize = 10_000;

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

/// Where a run begins, for a mirror.
#[derive(Clone, Debug)]
pub(crate) struct Start {
    /// The checkpoint that the run goes on from.
    pub(crate) from: Durable,
    /// Checkpoints that have led there.
    pub(crate) known: Vec<Point>,
}

impl Start {
    /// A run goes on from a checkpoint, and these are the manifests up to its own, oldest first.
    pub(crate) fn at<'m>(from: Durable, before: impl Iterator<Item = &'m Manifest>) -> Self {
        let before = before.map(|manifest| {
            let has_state = manifest.chains.iter().any(|chain| !chain.is_empty());
            (point(manifest), has_state)
        });
        let known = known(before);
        Start { from, known }
    }
}

/// Which checkpoints have led to the last of some, each of which says whether there was state.
fn known(checkpoints: impl Iterator<Item = (Point, bool)>) -> Vec<Point> {
    let mut known = Vec::new();
    for (point, has_state) in checkpoints {
        if !has_state {
            // Here the job has begun, perhaps once more: what was before has not led anywhere.
            known.clear();
        }
        known.push(point);
    }
    known
}

/// Names of objects that are being read, so that they are not deleted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pins(Arc<Mutex<BTreeSet<String>>>);

impl Pins {
    fn hold(&self, names: BTreeSet<String>) {
        // A panic elsewhere does not make a set wrong that is replaced as a whole.
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = names;
    }

    /// Adds them to names that are not to be deleted.
    pub(crate) fn add_to(&self, names: &mut BTreeSet<String>) {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        names.extend(held.iter().cloned());
    }
}

/// Why a mirror is not where it should be.
#[derive(Debug, thiserror::Error)]
pub enum Behind {
    /// It could not be written.
    #[error("the mirror is behind: {0}")]
    Mirror(#[from] MirrorError),
    /// Nobody waits for it any more.
    #[error("the mirror is behind: the run has ended")]
    Ended,
    /// The checkpoint could not be read.
    #[error("the mirror is behind: {0}")]
    Store(#[from] FormatError),
}

impl Behind {
    /// Who writes the mirror instead, for good.
    pub(crate) fn replaced(&self) -> Option<Generation> {
        match self {
            Behind::Mirror(MirrorError::Replaced(generation)) => Some(*generation),
            Behind::Mirror(_) | Behind::Store(_) | Behind::Ended => None,
        }
    }
}

/// Brings a mirror to the last checkpoint of a job that has ended, however long that takes. `say` is told each time why it
/// is not there yet.
///
/// # Errors
/// Somebody else writes it.
pub(crate) fn bring(
    store: &Arc<dyn Store>,
    mirror: Box<dyn Mirror>,
    generation: Generation,
    start: Start,
    say: &mut dyn FnMut(&Behind),
) -> Result<(), Behind> {
    const PAUSE: Duration = Duration::from_secs(1);

    let Start { from: to, known } = start;
    let mut copy = Copying::new(Arc::clone(store), mirror, generation, known);
    while let Err(error) = copy.bring(&to, &|| true) {
        if error.replaced().is_some() {
            return Err(error);
        }
        say(&error);
        thread::sleep(PAUSE);
    }
    Ok(())
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
    /// Whether it was ever ours: then nobody but a newer run can have it.
    was_taken: bool,
    pins: Pins,
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
            was_taken: false,
            pins: Pins::default(),
        }
    }

    /// What it reads at the moment.
    pub(crate) fn pins(&self) -> Pins {
        self.pins.clone()
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

    /// Brings the mirror to a checkpoint, as long as `goes_on` says so.
    pub(crate) fn bring(&mut self, to: &Durable, goes_on: &dyn Fn() -> bool) -> Result<(), Behind> {
        let brought = self.try_bring(to, goes_on);
        self.pins.hold(BTreeSet::new());
        if brought.is_err() {
            // Some of it may be there: where it is, it has to say once more.
            self.at = None;
            self.is_empty = false;
        }
        brought
    }

    /// Where the mirror is, which is ours from now on.
    fn take_over(&mut self) -> Result<Option<Point>, Behind> {
        let generation = self.generation;
        let at = match self.mirror.take_over(generation, false) {
            // A run that its own store does not know is of another one: what this job had before, or another job with its name.
            Err(MirrorError::Replaced(_)) if !self.was_taken && !self.has_successor()? => {
                self.mirror.take_over(generation, true)?
            }
            taken => taken?,
        };
        self.was_taken = true;
        self.at = Some(at);
        Ok(at)
    }

    fn has_successor(&self) -> Result<bool, FormatError> {
        let newer = newer_claim(self.store.as_ref(), self.generation);
        Ok(newer.map_err(FormatError::Store)?.is_some())
    }

    fn try_bring(&mut self, to: &Durable, goes_on: &dyn Fn() -> bool) -> Result<(), Behind> {
        self.know(to.point);
        let at = match self.at {
            Some(at) => at,
            None => self.take_over()?,
        };
        let (since, sweeps) = match CatchUp::of(at, to.point, self.known.make_contiguous()) {
            CatchUp::Nothing => return Ok(()),
            CatchUp::Changes(since) if !self.is_empty && forgets(to, since) => (None, true),
            CatchUp::Changes(since) => (Some(since), false),
            CatchUp::Whole { sweeps } => (None, sweeps),
        };
        let chains = self.open(to, since)?;
        if at.is_none() {
            self.mirror.put(&[], Some(Point::NOWHERE))?;
        }
        if sweeps {
            self.mirror.begin_whole();
        }
        for mut chain in chains {
            self.put_chain(&mut chain, goes_on)?;
        }
        while sweeps && self.mirror.sweep()? {
            go_on(goes_on)?;
        }
        self.mirror.put(&[], Some(to.point))?;
        reach(Phase::Mirrored);
        self.at = Some(Some(to.point));
        self.is_empty = to.chains.iter().all(Vec::is_empty);
        Ok(())
    }

    /// What changed of each chain since an epoch. All are opened before the first is read, and held until the last is.
    fn open(&self, to: &Durable, since: Option<Epoch>) -> Result<Vec<StateChain>, FormatError> {
        let is_newer = |it: &&ChainObject| Some(it.epoch) > since;
        let newer = to.chains.iter().flatten().filter(is_newer);
        self.pins
            .hold(newer.map(|it| it.name.to_string()).collect());
        let chains = to.chains.iter().map(|chain| {
            let objects = chain.iter().filter(is_newer).map(ChainObject::object);
            StateChain::open(self.store.as_ref(), objects)
        });
        chains.collect()
    }

    /// Puts what a chain says of keys that have changed.
    fn put_chain(
        &mut self,
        chain: &mut StateChain,
        goes_on: &dyn Fn() -> bool,
    ) -> Result<(), Behind> {
        let groups = GroupSet::all();
        let stage = self.mirror.stage().to_owned();
        let mut merge = chain.changes(&stage, &groups)?;
        let (mut changes, mut bytes) = (Vec::new(), 0);
        loop {
            let entry = merge.next_entry()?;
            let has_ended = entry.is_none();
            if let Some(entry) = entry {
                let value = entry.value.map(<[u8]>::to_vec);
                bytes += entry.key.len() + value.as_ref().map_or(0, Vec::len);
                changes.push(Change {
                    key: entry.key.to_vec(),
                    value,
                });
            }
            let is_full = changes.len() == KEYS_MOST || bytes >= BYTES_MOST;
            if is_full || (has_ended && !changes.is_empty()) {
                go_on(goes_on)?;
                self.mirror.put(&changes, None)?;
                reach(Phase::Mirroring);
                changes.clear();
                bytes = 0;
            }
            if has_ended {
                return Ok(());
            }
        }
    }
}

/// Whoever asks for a mirror may not want it any more.
fn go_on(goes_on: &dyn Fn() -> bool) -> Result<(), Behind> {
    match goes_on() {
        true => Ok(()),
        false => Err(Behind::Ended),
    }
}

/// Whether chains no longer say what was removed since an epoch: what begins a chain says only what there is.
fn forgets(to: &Durable, since: Epoch) -> bool {
    let mut firsts = to.chains.iter().filter_map(|chain| chain.first());
    let begins = firsts.any(|first| first.whole && first.epoch > since);
    begins || to.chains.iter().all(Vec::is_empty)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;
