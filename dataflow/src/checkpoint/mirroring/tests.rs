//! Is a mirror what a plain map is that was told of every change, whatever fails on the way there?

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};

use crate::checkpoint::frame::{Encoding, ObjectRef};
use crate::checkpoint::manifest::ChainObject;
use crate::checkpoint::mirroring::{Behind, Copying, Durable, known};
use crate::checkpoint::names::{DataKind, DataName};
use crate::checkpoint::shelf::Shelf;
use crate::checkpoint::state_file::{Entry, StateWriter};
use crate::checkpoint::state_merge::StateChain;
use crate::identity::{CheckpointId, Generation};
use crate::mirror::{Change, Mirror, MirrorError, Point};
use crate::moment::Epoch;
use crate::place::KeyGroup;
use crate::store::Store;

const STAGE: &str = "stage";

/// Checkpoints that a new run knows of.
const RETAINED: usize = 3;

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// What a mirror holds.
#[derive(Clone, Debug, Default)]
struct Held {
    map: Map,
    at: Option<Point>,
    generation: Generation,
}

/// A mirror in memory.
#[derive(Clone, Default)]
struct Plain {
    held: Arc<Mutex<Vec<Held>>>,
    /// Puts until one fails.
    fails_in: Arc<Mutex<Option<usize>>>,
    expects: Option<Point>,
    generation: Generation,
    put: Option<BTreeSet<Vec<u8>>>,
}

impl Plain {
    fn held(&self) -> MutexGuard<'_, Vec<Held>> {
        let mut held = self.held.lock().unwrap();
        if held.is_empty() {
            held.push(Held::default());
        }
        held
    }

    fn last(&self) -> Held {
        self.held().last().unwrap().clone()
    }

    /// Changes what is held, unless it is to fail or not as expected.
    fn change(&self, change: impl FnOnce(&mut Held)) -> Result<(), MirrorError> {
        let mut held = self.last();
        if held.generation > self.generation {
            return Err(MirrorError::Replaced(held.generation));
        }
        if held.generation != self.generation || held.at != self.expects {
            return Err(MirrorError::Moved);
        }
        let mut fails_in = self.fails_in.lock().unwrap();
        if let Some(left) = fails_in.as_mut() {
            if *left == 0 {
                *fails_in = None;
                return Err(MirrorError::Unavailable("as told".to_owned()));
            }
            *left -= 1;
        }
        change(&mut held);
        self.held().push(held);
        Ok(())
    }
}

impl Mirror for Plain {
    fn stage(&self) -> &str {
        STAGE
    }

    fn take_over(
        &mut self,
        generation: Generation,
        from_anybody: bool,
    ) -> Result<Option<Point>, MirrorError> {
        self.put = None;
        let mut held = self.last();
        if held.generation > generation {
            if !from_anybody {
                return Err(MirrorError::Replaced(held.generation));
            }
            held.at = Some(Point::NOWHERE);
        }
        held.generation = generation;
        (self.generation, self.expects) = (generation, held.at);
        self.held().push(held);
        Ok(self.expects)
    }

    fn begin_whole(&mut self) {
        self.put = Some(BTreeSet::new());
    }

    fn put(&mut self, changes: &[Change], reaches: Option<Point>) -> Result<(), MirrorError> {
        self.change(|held| {
            for Change { key, value } in changes {
                match value {
                    Some(value) => drop(held.map.insert(key.clone(), value.clone())),
                    None => drop(held.map.remove(key)),
                }
            }
            held.at = reaches.or(held.at);
        })?;
        self.expects = reaches.or(self.expects);
        if let Some(put) = &mut self.put {
            let there = changes.iter().filter(|it| it.value.is_some());
            put.extend(there.map(|it| it.key.clone()));
        }
        Ok(())
    }

    fn sweep(&mut self) -> Result<bool, MirrorError> {
        let put = self.put.clone().unwrap_or_default();
        let mut more = false;
        self.change(|held| {
            let mut others = held.map.keys().filter(|key| !put.contains(*key));
            let gone = others.next().cloned();
            more = others.next().is_some();
            if let Some(gone) = gone {
                held.map.remove(&gone);
            }
        })?;
        Ok(more)
    }
}

/// A job's state, and the objects that hold it.
struct Job {
    store: Arc<Shelf>,
    state: Map,
    chain: Vec<ChainObject>,
    /// Checkpoints, with whether there was state.
    points: Vec<(Point, bool)>,
}

impl Job {
    fn new() -> Self {
        let mut job = Job {
            store: Arc::new(Shelf::default()),
            state: Map::new(),
            chain: Vec::new(),
            points: Vec::new(),
        };
        job.points.push((job.next(), false));
        job
    }

    fn next(&self) -> Point {
        Point {
            epoch: Epoch(self.points.last().map_or(0, |(last, _)| last.epoch.0 + 1)),
            checkpoint: CheckpointId(
                1_000 + self.store.len() as u64 * 10 + self.points.len() as u64,
            ),
        }
    }

    fn writer(&self, epoch: Epoch) -> StateWriter {
        let name = DataName {
            generation: Generation(1),
            epoch,
            worker: 0,
            random: self.store.len() as u64,
            kind: DataKind::State,
        };
        StateWriter::create(self.store.as_ref(), name, Encoding::Plain).unwrap()
    }

    /// A checkpoint with these changes.
    fn checkpoint(&mut self, changes: &BTreeMap<u8, Option<u8>>) {
        let point = self.next();
        self.points
            .push((point, !self.chain.is_empty() || !changes.is_empty()));
        if changes.is_empty() {
            return;
        }
        let mut writer = self.writer(point.epoch);
        writer.section(STAGE, None).unwrap();
        for (key, value) in changes {
            let (key, value) = ([*key], value.map(|value| [value]));
            let entry = Entry {
                group: KeyGroup(0),
                key: &key,
                value: value.as_ref().map(|value| value.as_slice()),
            };
            writer.entry(entry).unwrap();
            match value {
                Some(value) => drop(self.state.insert(key.into(), value.into())),
                None => drop(self.state.remove(key.as_slice())),
            }
        }
        let object = writer.finish().unwrap();
        let whole = self.chain.is_empty();
        self.chain.push(listed(object, point.epoch, whole));
    }

    /// The last objects become one.
    fn fold(&mut self, how_many: usize) {
        let from = self.chain.len().saturating_sub(how_many);
        let folded = self.chain.split_off(from);
        let Some((first, last)) = folded.first().zip(folded.last()) else {
            return;
        };
        let objects = folded.iter().map(ChainObject::object);
        let chain = StateChain::open(self.store.as_ref(), objects).unwrap();
        let object = chain.fold(first.whole, self.writer(last.epoch)).unwrap();
        self.chain.push(listed(object, last.epoch, first.whole));
    }

    /// It begins once more, with nothing; the manifests of before are still there.
    fn go_back(&mut self) {
        self.state.clear();
        self.chain.clear();
        self.points.push((self.next(), false));
    }

    fn durable(&self) -> Durable {
        Durable {
            point: self.points.last().unwrap().0,
            chains: vec![self.chain.clone()],
        }
    }

    /// A new run.
    fn copying(&self, mirror: &Plain, generation: u64) -> Copying {
        let retained = self.points.iter().rev().take(RETAINED).rev();
        let known = known(retained.copied());
        let store = Arc::clone(&self.store) as Arc<dyn Store>;
        let mirror = Box::new(mirror.clone());
        Copying::new(store, mirror, Generation(generation), known)
    }
}

fn listed(object: ObjectRef, epoch: Epoch, whole: bool) -> ChainObject {
    ChainObject {
        name: object.name,
        length: object.length,
        crc32c: object.crc32c,
        epoch,
        whole,
    }
}

#[derive(Clone, Debug)]
enum Act {
    Checkpoint(BTreeMap<u8, Option<u8>>),
    Fold(usize),
    Bring,
    /// The put with this number fails.
    FailIn(usize),
    /// The mirror forgets so many of the last writes that it has acknowledged.
    Forget(usize),
    Restart,
    GoBack,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => btree_map(0..5_u8, option::of(any::<u8>()), 0..3).prop_map(Act::Checkpoint),
        2 => (2..6_usize).prop_map(Act::Fold),
        4 => Just(Act::Bring),
        2 => (0..3_usize).prop_map(Act::FailIn),
        1 => (1..9_usize).prop_map(Act::Forget),
        1 => Just(Act::Restart),
        1 => Just(Act::GoBack),
    ]
}

proptest! {
    #[test]
    fn is_a_mirror_in_the_end_what_the_state_is(acts in vec(act(), 0..60)) {
        let (mut job, mirror, mut generation) = (Job::new(), Plain::default(), 1);
        let mut copying = job.copying(&mirror, generation);
        for act in acts {
            match act {
                Act::Checkpoint(changes) => job.checkpoint(&changes),
                Act::Fold(how_many) => job.fold(how_many),
                Act::Bring => drop(copying.bring(&job.durable(), &|| true)),
                Act::FailIn(puts) => *mirror.fails_in.lock().unwrap() = Some(puts),
                Act::Forget(writes) => {
                    let mut held = mirror.held();
                    let left = held.len().saturating_sub(writes).max(1);
                    held.truncate(left);
                }
                Act::Restart | Act::GoBack => {
                    if matches!(act, Act::GoBack) {
                        job.go_back();
                    }
                    generation += 1;
                    copying = job.copying(&mirror, generation);
                }
            }
        }
        *mirror.fails_in.lock().unwrap() = None;
        // A mirror that nobody writes to may have forgotten something without being asked.
        job.checkpoint(&BTreeMap::from([(9, Some(9))]));
        // The first may find that it is not where it was left.
        if copying.bring(&job.durable(), &|| true).is_err() {
            copying.bring(&job.durable(), &|| true).unwrap();
        }
        let held = mirror.last();
        assert_eq!(held.map, job.state);
        assert_eq!(held.at, Some(job.durable().point));
    }
}

#[test]
fn is_a_mirror_written_by_the_newest_run_only() {
    let (mut job, mirror) = (Job::new(), Plain::default());
    let mut older = job.copying(&mirror, 1);
    older.bring(&job.durable(), &|| true).unwrap();
    job.checkpoint(&BTreeMap::from([(1, Some(1))]));
    let mut newer = job.copying(&mirror, 2);
    newer.bring(&job.durable(), &|| true).unwrap();
    job.checkpoint(&BTreeMap::from([(2, Some(2))]));
    for _ in 0..2 {
        let refused = older.bring(&job.durable(), &|| true).unwrap_err();
        assert!(matches!(
            refused,
            Behind::Mirror(MirrorError::Replaced(Generation(2)))
        ));
    }
    assert_eq!(mirror.last().map.len(), 1);
}

/// What has changed is put, and not all there is.
#[test]
fn how_much_is_put() {
    let (mut job, mirror) = (Job::new(), Plain::default());
    let mut copying = job.copying(&mirror, 1);
    let all = (0..200).map(|key| (key, Some(1))).collect();
    job.checkpoint(&all);
    copying.bring(&job.durable(), &|| true).unwrap();
    job.checkpoint(&BTreeMap::from([(7, Some(2))]));
    // Nobody else has changed it meanwhile, or this would be put in its place.
    mirror
        .held()
        .last_mut()
        .unwrap()
        .map
        .insert(vec![8], vec![9]);
    copying.bring(&job.durable(), &|| true).unwrap();
    let held = mirror.last().map;
    assert_eq!((&held[&vec![7]], &held[&vec![8]]), (&vec![2], &vec![9]));
    // Also by a run that goes on from there.
    job.checkpoint(&BTreeMap::from([(6, Some(2))]));
    job.copying(&mirror, 2)
        .bring(&job.durable(), &|| true)
        .unwrap();
    let held = mirror.last().map;
    assert_eq!((&held[&vec![6]], &held[&vec![8]]), (&vec![2], &vec![9]));
}

/// A job whose store was emptied begins with a small generation, and has its mirror all the same. The run of the other store that
/// had it has it no more.
#[test]
fn is_a_mirror_of_another_store_taken_and_emptied() {
    let (mut before, mirror) = (Job::new(), Plain::default());
    before.checkpoint(&BTreeMap::from([(1, Some(1))]));
    let mut older = before.copying(&mirror, 57);
    older.bring(&before.durable(), &|| true).unwrap();
    let mut job = Job::new();
    job.checkpoint(&BTreeMap::from([(2, Some(2))]));
    let mut newer = job.copying(&mirror, 1);
    newer.bring(&job.durable(), &|| true).unwrap();
    assert_eq!(mirror.last().map, job.state);
    before.checkpoint(&BTreeMap::from([(3, Some(3))]));
    assert!(older.bring(&before.durable(), &|| true).is_err());
    assert_eq!(mirror.last().map, job.state);
}

#[test]
fn does_a_copy_end_that_nobody_waits_for() {
    let (mut job, mirror) = (Job::new(), Plain::default());
    job.checkpoint(&BTreeMap::from([(1, Some(1))]));
    let mut copying = job.copying(&mirror, 1);
    let ended = copying.bring(&job.durable(), &|| false);
    assert!(matches!(ended, Err(Behind::Ended)), "{ended:?}");
    assert!(mirror.last().map.is_empty());
}
