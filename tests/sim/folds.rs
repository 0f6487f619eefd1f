//! Do chains and the store stay short, however many checkpoints there are, and does a crash while chains are folded
//! lose or double anything?

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use slackwater_connectors::generator::GeneratorConfig;
use slackwater_connectors::memory::{MemorySource, Wrapped};
use slackwater_dataflow::checkpoint::folding::CHAIN_OBJECTS_MAX;
use slackwater_dataflow::checkpoint::manifest::Manifest;
use slackwater_dataflow::place::{Offset, PartitionId};
use slackwater_dataflow::source::{Demand, Polled, Readiness, Source, SourceError, SourceReader};

use crate::crashes::{Crashing, each_way, survive_by};
use crate::expected::{Expected, newest};
use crate::reference::generated;
use crate::sampling::{some_of, sweep};
use crate::scene::{Attempt, Ended, Failure, Scene, World};

/// Pause before a reader that waits looks at the store again.
const LOOK_AGAIN: Duration = Duration::from_micros(200);

/// Reads much at first, and then a little for each checkpoint, so that there are many.
#[derive(Clone)]
struct Drops {
    source: MemorySource,
    world: World,
    first: usize,
    each: usize,
    /// Whether more may be read now that the world looks like this.
    may_go_on: Arc<dyn Fn(&World) -> bool + Send + Sync>,
}

impl Drops {
    fn source(self) -> impl Source {
        Wrapped::new(self.source.clone(), move |_, reader| {
            Box::new(DropsReader {
                reader,
                limit: self.first,
                read_at: None,
                drops: self.clone(),
            })
        })
    }
}

struct DropsReader {
    reader: Box<dyn SourceReader>,
    /// Most records of the next poll.
    limit: usize,
    /// The last record of the log when something was read last.
    read_at: Option<String>,
    drops: Drops,
}

impl SourceReader for DropsReader {
    fn poll(
        &mut self,
        demand: Demand<'_>,
        emit: &mut dyn FnMut(Polled<'_>) -> ControlFlow<()>,
    ) -> Result<Readiness, SourceError> {
        let names = self.drops.world.store.names();
        let newest = names.into_iter().rfind(|name| name.starts_with("log/"));
        let is_same = self.read_at.is_some() && newest == self.read_at;
        if is_same || !(self.drops.may_go_on)(&self.drops.world) {
            return Ok(Readiness::LookAgain(LOOK_AGAIN));
        }
        self.read_at = newest;
        let limit = std::mem::replace(&mut self.limit, self.drops.each).min(demand.limit);
        let allowed = |partition| demand.allows(partition);
        self.reader.poll(Demand::new(limit, &allowed), emit)
    }

    fn position(&self, partition: PartitionId) -> Option<Offset> {
        self.reader.position(partition)
    }
}

/// A job that reads in drops.
fn run(scene: &Scene, drops: Drops, attempt: &Attempt) -> Result<Ended, Failure> {
    let world = drops.world.clone();
    let store = Arc::new(world.store.clone());
    scene.run_from(
        drops.source(),
        store,
        Box::new(world.sink),
        attempt,
        &|stopper| {
            // A process whose store has died is dead as well.
            if world.store.is_dead() {
                stopper.abort();
            }
        },
    )
}

/// So many events of so many users.
fn scene(events: u64, users: u32, order: &str) -> Scene {
    let source = generated(GeneratorConfig {
        seed: 5,
        events,
        partitions: 3,
        users,
        invalid: 0.1,
        late: 0.05,
        ..GeneratorConfig::default()
    });
    Scene::of(source, order, 5)
}

/// What was seen of a store over a run.
#[derive(Debug, Default)]
struct Seen {
    manifests: BTreeSet<u64>,
    longest_chain: usize,
    /// First objects of chains: all but one of each chain are folds.
    bases: BTreeSet<String>,
    most_objects: usize,
}

impl Seen {
    fn look(&mut self, manifest: &Manifest, objects: usize) {
        self.manifests.insert(manifest.number.0);
        for chain in &manifest.chains {
            self.longest_chain = self.longest_chain.max(chain.len());
            let base = chain.first().map(|it| it.name.to_string());
            self.bases.extend(base);
        }
        self.most_objects = self.most_objects.max(objects);
    }
}

/// A chain, what two manifests more list of it, a fold, and outputs on their way.
const OBJECTS_PER_WORKER: usize = 2 * CHAIN_OBJECTS_MAX + 8;

fn objects(world: &World) -> usize {
    let names = world.store.names();
    names.iter().filter(|it| it.starts_with("data/")).count()
}

/// The next records come only when chains are short and the store is small again: a job in which one of them stays
/// otherwise would wait for ever.
#[test]
fn do_chains_and_the_store_stay_short_over_many_checkpoints() {
    const WORKERS: usize = 2;
    const OBJECTS: usize = WORKERS * OBJECTS_PER_WORKER;
    for (order, users) in [("arrival", 150), ("arrival", 5), ("event_time", 150)] {
        let scene = scene(700, users, order);
        let expected = Expected::of(&scene);
        let world = World::new();
        let seen = Arc::<Mutex<Seen>>::default();
        let looking = Arc::clone(&seen);
        let drops = Drops {
            source: scene.source.clone(),
            world: world.clone(),
            first: 200,
            each: 2,
            may_go_on: Arc::new(move |world| {
                let Some(manifest) = newest(world).pop() else {
                    return false;
                };
                let objects = objects(world);
                looking.lock().unwrap().look(&manifest, objects);
                let mut chains = manifest.chains.iter();
                chains.all(|chain| chain.len() <= CHAIN_OBJECTS_MAX) && objects <= OBJECTS
            }),
        };
        let mut attempt = Attempt::new(0, WORKERS);
        // A fold has a while, as in a job with a checkpoint every second.
        attempt.settings.interval = Duration::from_millis(8);
        let ended = run(&scene, drops, &attempt);
        assert_eq!(ended.unwrap(), Ended::Done(expected.totals), "{order}");
        expected.check(&scene, &world).unwrap();
        let seen = seen.lock().unwrap();
        assert!(seen.manifests.len() > 50, "{seen:?}");
        // Of few users each checkpoint holds almost all, and the first object is soon outweighed.
        assert!(users > 5 || seen.bases.len() > 10, "{seen:?}");
    }
}

/// Each checkpoint holds a little, and there are more of them than objects that there may be, so that there is something
/// to fold.
#[test]
fn is_every_output_there_once_after_a_crash_while_chains_are_folded() {
    let scene = scene(105, 20, "arrival");
    let expected = Expected::of(&scene);
    let attempt_in = |world: &World, attempt: &Attempt| {
        let most = attempt.workers * OBJECTS_PER_WORKER;
        let drops = Drops {
            source: scene.source.clone(),
            world: world.clone(),
            first: 15,
            each: 3,
            may_go_on: Arc::new(move |world| objects(world) <= most),
        };
        run(&scene, drops, attempt)
    };
    let world = World::new();
    attempt_in(&world, &Attempt::new(0, 1)).unwrap();
    let steps = world.store.steps();
    let chain = newest(&world).pop().unwrap().chains.remove(0);
    let is_folded = chain.first().is_some_and(|it| it.epoch.0 > 2);
    assert!(is_folded, "the first object is no fold: {chain:?}");
    let crashes = some_of(each_way(steps), 150, 6);
    sweep(
        &format!("folds, one crash at {steps} steps"),
        &crashes,
        |crash: &Crashing| {
            // Chains go on when as many workers do, and begin anew when not.
            let workers =
                |number: u64| 1 + crash.step.is_multiple_of(4) as usize * (number as usize % 2);
            survive_by(
                attempt_in,
                &scene,
                &expected,
                &World::new(),
                &[*crash],
                workers,
            )
        },
    );
}
