//! A job on a store, a source and a sink in memory, run as often as it takes.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use slackwater_connectors::generator::GeneratorConfig;
use slackwater_connectors::memory::{MemoryEpochSink, MemorySource, Schedule};
use slackwater_dataflow::checkpoint::coordinator::CheckpointSettings;
use slackwater_dataflow::checkpoint::job::JobIdentity;
use slackwater_dataflow::checkpoint::log::Claimant;
use slackwater_dataflow::checkpoint::recovery::{Asked, Recovered, RecoveryError, claim};
use slackwater_dataflow::checkpoint::settle::Choice;
use slackwater_dataflow::clock::SystemClock;
use slackwater_dataflow::meters::Totals;
use slackwater_dataflow::place::Spread;
use slackwater_dataflow::run::{RunError, Stopper};
use slackwater_dataflow::sink::EpochSink;
use slackwater_dataflow::source::{Partition, Source};
use slackwater_dataflow::store::Store;
use slackwater_dataflow::store::memory::MemoryStore;
use slackwater_dataflow::worker::WorkerGroup;
use slackwater_operators::event::FieldIndex;

use crate::reference::{Reference, generated};
use crate::sips::sips;

pub const SHARDS: u16 = 2;
const KEY_GROUPS: u16 = 1024;

/// Longest that a run may take. Only one that hangs takes so long; it is ended so that the test says which it was.
const PATIENCE: Duration = Duration::from_secs(40);

/// What outlives a run: the store and the outputs.
#[derive(Clone, Debug)]
pub struct World {
    pub store: MemoryStore,
    pub sink: MemoryEpochSink,
}

impl World {
    /// Nothing.
    pub fn new() -> Self {
        World {
            store: MemoryStore::default(),
            sink: MemoryEpochSink::new(SHARDS),
        }
    }

    /// The same with a sink that takes outputs in their place.
    pub fn placing() -> Self {
        World {
            sink: MemoryEpochSink::placing(SHARDS),
            ..World::new()
        }
    }

    /// Another one that is what this one is now.
    pub fn fork(&self) -> Self {
        World {
            store: self.store.fork(),
            sink: self.sink.fork(),
        }
    }

    /// The next process begins, after the power was away or not.
    pub fn restart(&self, power_loss: bool) {
        if power_loss {
            self.store.power_loss();
            self.sink.power_loss();
        }
        self.store.revive();
    }
}

/// A job and what it reads.
pub struct Scene {
    job: Reference,
    pub source: MemorySource,
    polls: u64,
}

/// How a run is started.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Of all of a test, from 0: no two read in the same order.
    pub number: u64,
    pub workers: usize,
    pub settings: CheckpointSettings,
    /// Checkpoints that are kept.
    pub retain: usize,
    pub choice: Option<Choice>,
}

impl Attempt {
    /// With checkpoints as often as they can be.
    pub fn new(number: u64, workers: usize) -> Self {
        Attempt {
            number,
            workers,
            settings: CheckpointSettings {
                interval: Duration::from_millis(2),
                min_pause: Duration::ZERO,
                ..CheckpointSettings::default()
            },
            retain: 2,
            choice: None,
        }
    }
}

/// How a run ended that was not stopped by a fault.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    /// The input has ended, or the run was asked to stop; everything is published.
    Done(Totals),
    /// There was nothing left to do.
    AlreadyComplete,
}

/// Why a run ended that was.
#[derive(Debug)]
pub enum Failure {
    /// It could not begin.
    Recovery(RecoveryError),
    /// It could not go on.
    Run(RunError),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Recovery(error) => write!(f, "it could not begin: {error}"),
            Failure::Run(error) => write!(f, "it could not go on: {error}"),
        }
    }
}

/// Called again and again while a job runs.
pub type Watch<'a> = &'a (dyn Fn(&Stopper) + Sync);

impl Scene {
    /// So many events, from a seed.
    pub fn new(seed: u64, events: u64, order: &str) -> Self {
        let source = generated(GeneratorConfig {
            seed,
            events,
            partitions: 3,
            users: 12,
            invalid: 0.1,
            late: 0.05,
            ..GeneratorConfig::default()
        });
        Self::of(source, order, seed)
    }

    /// These events.
    pub fn of(source: MemorySource, order: &str, polls: u64) -> Self {
        Scene {
            job: Reference::new(&[("order = \"arrival\"", &format!("order = \"{order}\""))]),
            source,
            polls,
        }
    }

    /// The same, but events go over the workers of these keys first, which count them for the model's inputs at these places.
    pub fn counting_by(self, keys: Vec<(Vec<FieldIndex>, usize)>) -> Self {
        Scene {
            job: self.job.counting_by(keys),
            ..self
        }
    }

    pub fn job(&self) -> &Reference {
        &self.job
    }

    /// One run, until its end or until the store is dead.
    pub fn run(&self, world: &World, attempt: &Attempt) -> Result<Ended, Failure> {
        self.run_watched(world, attempt, &|_| {})
    }

    /// The same with somebody who looks on.
    pub fn run_watched(
        &self,
        world: &World,
        attempt: &Attempt,
        watch: Watch<'_>,
    ) -> Result<Ended, Failure> {
        let store = Arc::new(world.store.clone());
        self.run_on(store, Box::new(world.sink.clone()), attempt, &|stopper| {
            // A process whose store has died is dead as well.
            if world.store.is_dead() {
                stopper.abort();
            }
            watch(stopper);
        })
    }

    /// The same on any store and sink.
    pub fn run_on(
        &self,
        store: Arc<dyn Store>,
        sink: Box<dyn EpochSink>,
        attempt: &Attempt,
        watch: Watch<'_>,
    ) -> Result<Ended, Failure> {
        let polls = Schedule::Seeded(self.polls * 1_000 + attempt.number);
        let source = self.source.clone().with_schedule(polls);
        self.run_from(sips(source), store, sink, attempt, watch)
    }

    /// The same from any source.
    pub fn run_from(
        &self,
        source: impl Source + 'static,
        store: Arc<dyn Store>,
        sink: Box<dyn EpochSink>,
        attempt: &Attempt,
        watch: Watch<'_>,
    ) -> Result<Ended, Failure> {
        let partitions = source.partitions().to_vec();
        let recovered = self.begin_with(partitions, store, sink, attempt);
        let recovered = recovered.map_err(Failure::Recovery)?;
        if recovered.is_complete {
            return Ok(Ended::AlreadyComplete);
        }
        let blueprint = self.job.blueprint(source, attempt.workers);
        let group = WorkerGroup::new(attempt.workers, Arc::new(SystemClock::default()));
        let group = group.watching(blueprint.source());
        let stopper = group.stopper();
        let over = AtomicBool::new(false);
        let finished = thread::scope(|scope| {
            scope.spawn(|| {
                let since = Instant::now();
                while !over.load(Ordering::SeqCst) {
                    watch(&stopper);
                    if since.elapsed() > PATIENCE {
                        println!("violation: a run hangs: {attempt:?}");
                        std::process::exit(HUNG);
                    }
                    thread::sleep(Duration::from_micros(500));
                }
            });
            let finished = group.run_in_epochs(recovered, move |graph| blueprint.build(graph));
            over.store(true, Ordering::SeqCst);
            finished
        });
        finished
            .map(|finished| Ended::Done(finished.totals))
            .map_err(Failure::Run)
    }

    /// Takes the store and the sink over and publishes what is missing.
    pub fn begin(
        &self,
        store: Arc<dyn Store>,
        sink: Box<dyn EpochSink>,
        attempt: &Attempt,
    ) -> Result<Recovered, RecoveryError> {
        let partitions = self.source.partitions().to_vec();
        self.begin_with(partitions, store, sink, attempt)
    }

    fn begin_with(
        &self,
        partitions: Vec<Partition>,
        store: Arc<dyn Store>,
        sink: Box<dyn EpochSink>,
        attempt: &Attempt,
    ) -> Result<Recovered, RecoveryError> {
        let claimant = Claimant {
            host: "sim".to_owned(),
            process: process_of(attempt.number),
            now_ms: attempt.number as i64,
        };
        let asked = Asked {
            job: identity(),
            spread: Spread {
                key_groups: KEY_GROUPS,
                workers: attempt.workers,
                shards: SHARDS,
            },
            partitions,
            settings: attempt.settings,
            retain: attempt.retain,
            choice: attempt.choice,
            now_ms: 0,
        };
        claim(store, &claimant)?.begin(asked, sink)
    }

    /// The same on a world.
    pub fn begin_in(&self, world: &World, attempt: &Attempt) -> Result<Recovered, RecoveryError> {
        let store = Arc::new(world.store.clone());
        self.begin(store, Box::new(world.sink.clone()), attempt)
    }
}

/// The process that an attempt says it is.
pub fn process_of(attempt: u64) -> u32 {
    1 + attempt as u32
}

/// How the process ends when a run hangs.
const HUNG: i32 = 3;

fn identity() -> JobIdentity {
    JobIdentity {
        name: "sim".to_owned(),
        order: String::new(),
        key: Vec::new(),
        key_groups: KEY_GROUPS,
        shards: SHARDS,
        max_out_of_orderness_ms: 0,
        schema: String::new(),
        source: String::new(),
        features: BTreeMap::new(),
        history: String::new(),
        model: String::new(),
    }
}
