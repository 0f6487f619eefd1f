//! Workers end an epoch at different instants: is what a stage does then, and what it keeps, that of one that reads
//! alone?
//!
//! One partition ends an epoch and runs on, far ahead in event time; the other is still in the epoch, and moves the
//! watermark beyond events that the first has sent already, for the same keys. Who releases then is wrong, and so is
//! who takes the events of the next epoch before this one has closed: the checkpoint would have them twice.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use slackwater_connectors::memory::{MemorySource, Wrapped};
use slackwater_dataflow::place::{Offset, PartitionId};
use slackwater_dataflow::source::{Demand, Polled, Readiness, Source, SourceError, SourceReader};
use slackwater_dataflow::store::memory::{Crash, FaultPlan};

use crate::expected::Expected;
use crate::hooked::{Hook, HookedStore, When};
use crate::sampling::{is_exhaustive, sweep};
use crate::scene::{Attempt, Ended, Failure, Scene, World};

/// How often one partition runs ahead of the other.
const ROUNDS: u64 = 5;
/// From one round to the next: never more than a partition may run ahead of another.
const ROUND_SECONDS: u64 = 50;
/// Users, who are spread over both partitions and both workers.
const USERS: u64 = 6;
/// Records of a round in the partition that runs ahead, before and after it ends the epoch.
const AHEAD: [u64; 2] = [1, USERS + 1];
/// Longest that a worker stands still while nothing has happened that it waits for.
const STANDSTILL: Duration = Duration::from_millis(4);
/// Records of a round in the one that hears last of the epoch's end.
const BEHIND: u64 = USERS + 1;

fn record(user: u64, second: u64) -> Vec<u8> {
    let event = ["view", "click", "add_to_cart", "purchase"][(user + second) as usize % 4];
    format!(
        "{{\"user_id\":\"user_{user}\",\"product_id\":\"product_{second}\",\"category\":\"toys\",\
         \"event_type\":\"{event}\",\"timestamp_ms\":{}}}",
        1_767_225_600_000 + second * 1_000
    )
    .into_bytes()
}

/// In each round, with its own beginning: the first partition is at 10 when it ends the epoch, goes to 20 with every
/// user, and on to 40. The second goes to 29 with every user, and to 32, so that 30 is its watermark.
fn records() -> MemorySource {
    let round = |round: u64| round * ROUND_SECONDS;
    let ahead = (0..ROUNDS).flat_map(|it| {
        let users = (0..USERS).map(move |user| record(user, round(it) + 20));
        [record(0, round(it) + 10)]
            .into_iter()
            .chain(users)
            .chain([record(1, round(it) + 40)])
    });
    let behind = (0..ROUNDS).flat_map(|it| {
        let users = (0..USERS).map(move |user| record(user, round(it) + 29));
        users.chain([record(2, round(it) + 32)])
    });
    // As long as it has nothing the other is not read on: it could be any time ahead.
    let first = [record(3, 8)].into_iter();
    let partitions = [
        (PartitionId(0), ahead.collect::<Vec<_>>()),
        (PartitionId(1), first.chain(behind).collect()),
    ];
    MemorySource::from_records(partitions).unwrap()
}

/// Where the reader of the first partition is, which that of the second waits for.
#[derive(Default)]
struct Progress {
    /// Epochs that it has ended.
    ended: AtomicU64,
    /// Records that it has read.
    read: AtomicU64,
    /// Nobody is to wait any more.
    is_over: AtomicBool,
}

/// The records, in this order: see the head of this file.
fn skewed(records: MemorySource, progress: Arc<Progress>) -> impl Source {
    Wrapped::new(records, move |share, reader| {
        Box::new(SkewedReader {
            reader,
            progress: Arc::clone(&progress),
            is_ahead: share.reads(PartitionId(0)),
            read: 0,
        })
    })
}

struct SkewedReader {
    reader: Box<dyn SourceReader>,
    progress: Arc<Progress>,
    is_ahead: bool,
    read: u64,
}

impl SkewedReader {
    /// How many records are to be read now; none if something has to happen before.
    fn due(&self) -> Option<u64> {
        let ended = self.progress.ended.load(Ordering::SeqCst);
        if self.is_ahead {
            let [before, after] = AHEAD;
            let (round, place) = (self.read / (before + after), self.read % (before + after));
            return match place {
                0 => Some(before),
                _ => (ended > round).then_some(after),
            };
        }
        // Its worker stands still most of the time, and so hears last that the epoch has ended; but not for long,
        // since it must close the one before as well.
        let Some(read) = self.read.checked_sub(1) else {
            return Some(1);
        };
        let round = (read / BEHIND).min(ROUNDS - 1);
        let since = Instant::now();
        while self.progress.ended.load(Ordering::SeqCst) <= round {
            if since.elapsed() > STANDSTILL {
                return None;
            }
            thread::sleep(Duration::from_micros(50));
        }
        let needed = (round + 1) * (AHEAD[0] + AHEAD[1]);
        while self.progress.read.load(Ordering::SeqCst) < needed
            && !self.progress.is_over.load(Ordering::SeqCst)
        {
            thread::sleep(Duration::from_micros(50));
        }
        Some(BEHIND)
    }
}

impl SourceReader for SkewedReader {
    fn poll(
        &mut self,
        mut demand: Demand<'_>,
        emit: &mut dyn FnMut(Polled<'_>) -> ControlFlow<()>,
    ) -> Result<Readiness, SourceError> {
        let pause = Readiness::LookAgain(Duration::from_micros(200));
        if self.progress.is_over.load(Ordering::SeqCst) {
            return Ok(pause);
        }
        let Some(due) = self.due() else {
            return Ok(pause);
        };
        demand.limit = due as usize;
        let mut read = 0;
        let readiness = self.reader.poll(demand, &mut |polled| {
            read += u64::from(matches!(polled, Polled::Record { .. }));
            emit(polled)
        })?;
        self.read += read;
        if self.is_ahead {
            self.progress.read.store(self.read, Ordering::SeqCst);
        }
        Ok(match readiness {
            Readiness::More => pause,
            other => other,
        })
    }

    fn position(&self, partition: PartitionId) -> Option<Offset> {
        // Asked for when an epoch ends, and at the end of the partition.
        if self.is_ahead {
            self.progress.ended.fetch_add(1, Ordering::SeqCst);
        }
        self.reader.position(partition)
    }
}

/// A run that reads so; it is killed when so many manifests are there.
fn run(scene: &Scene, world: &World, manifests: u64) -> Result<Ended, Failure> {
    let progress = Arc::new(Progress::default());
    let source = skewed(scene.source.clone(), Arc::clone(&progress));
    let (put, store) = (AtomicU64::new(0), world.store.clone());
    let hook: Hook = Arc::new(move |when, action, name: &str| {
        // The claim is a record too, and so is the manifest of the beginning.
        if when == When::After
            && action == "put"
            && name.starts_with("log/")
            && put.fetch_add(1, Ordering::SeqCst) == manifests + 1
        {
            let (step, when) = (store.steps(), Crash::Before);
            store.set_faults(FaultPlan::Crash { step, when });
        }
        Ok(())
    });
    let store = Arc::new(HookedStore::new(world.store.clone(), hook));
    let sink = Box::new(world.sink.clone());
    scene.run_from(source, store, sink, &Attempt::new(0, 2), &|stopper| {
        if world.store.is_dead() {
            progress.is_over.store(true, Ordering::SeqCst);
            stopper.abort();
        }
    })
}

#[test]
fn is_the_watermark_held_back_by_what_is_stashed() {
    let scene = Scene::of(records(), "event_time", 1);
    let expected = Expected::of(&scene);
    for _ in 0..if is_exhaustive() { 200 } else { 10 } {
        let world = World::new();
        let ended = run(&scene, &world, u64::MAX - 1).unwrap();
        assert_eq!(ended, Ended::Done(expected.totals));
        let wrong = expected.check(&scene, &world).err();
        assert!(wrong.is_none(), "violation: {}", wrong.unwrap_or_default());
    }
}

#[test]
fn does_a_checkpoint_hold_nothing_of_the_next_epoch() {
    for order in ["arrival", "event_time"] {
        // In arrival order only what each partition has by itself is determined: then each user is on one.
        let source = match order {
            "arrival" => records_apart(),
            _ => records(),
        };
        let scene = Scene::of(source, order, 2);
        let expected = Expected::of(&scene);
        let most = if is_exhaustive() { 40 } else { 3 };
        let cases: Vec<(u64, u64)> = (0..most)
            .flat_map(|round| (1..2 * ROUNDS).map(move |manifests| (round, manifests)))
            .collect();
        sweep(&format!("{order}, skewed"), &cases, |&(_, manifests)| {
            let world = World::new();
            match run(&scene, &world, manifests) {
                Ok(_) => return expected.check(&scene, &world).map(|()| 0),
                Err(failure) if !world.store.is_dead() => return Err(failure.to_string()),
                Err(_) => {}
            }
            world.store.set_faults(FaultPlan::Nothing);
            world.restart(true);
            let ended = scene.run(&world, &Attempt::new(1, 1));
            ended.map_err(|failure| failure.to_string())?;
            expected.check(&scene, &world).map(|()| 1)
        });
    }
}

/// The same, but the users of the second partition are others.
fn records_apart() -> MemorySource {
    let round = |round: u64| round * ROUND_SECONDS;
    let of = |times: &'static [u64], first: u64| {
        let records = (0..ROUNDS).flat_map(move |it| {
            times
                .iter()
                .enumerate()
                .map(move |(place, &time)| record(first + place as u64 % USERS, round(it) + time))
        });
        records.collect::<Vec<_>>()
    };
    let behind = of(&[29, 29, 29, 29, 29, 29, 32], 100);
    let partitions = [
        (PartitionId(0), of(&[10, 20, 20, 20, 20, 20, 20, 40], 0)),
        (PartitionId(1), [vec![record(100, 8)], behind].concat()),
    ];
    MemorySource::from_records(partitions).unwrap()
}
