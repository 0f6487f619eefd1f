//! The sink fails, before, in the middle of and after an epoch, now and then or for a while: is every output there
//! once?

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use slackwater_connectors::memory::PublishFault;
use slackwater_dataflow::run::RunError;

use crate::crashes::survive_failures;
use crate::expected::{Expected, newest};
use crate::hooked::{Hook, HookedSink, HookedStore, When};
use crate::sampling::{Draws, seeds, sweep};
use crate::scene::{Attempt, Ended, Failure, Scene, World};

const FAULTS: [PublishFault; 5] = [
    PublishFault::Before,
    PublishFault::AfterChunks(1),
    PublishFault::AfterChunks(2),
    PublishFault::AfterChunks(3),
    PublishFault::After,
];

/// A run whose sink takes so many epochs and then nothing, for that long or until it is killed, which it is when the
/// newest checkpoint lists several epochs to be published.
pub fn refusing(scene: &Scene, world: &World, takes: usize, refuses: Duration) {
    let taken = Mutex::new(BTreeSet::new());
    let since = Instant::now();
    let hook: Hook = Arc::new(move |_, action, epoch: &str| {
        let mut taken = taken.lock().unwrap();
        let is_open = taken.len() < takes || since.elapsed() > refuses;
        if action == "take over" || is_open && taken.insert(epoch.to_owned()) {
            return Ok(());
        }
        // An epoch is taken of all shards.
        let is_taken = taken.contains(epoch);
        is_taken.then_some(()).ok_or(ErrorKind::TimedOut.into())
    });
    let sink = HookedSink {
        inner: world.sink.clone(),
        hook,
    };
    let store = Arc::new(world.store.clone());
    let mut attempt = Attempt::new(0, 2);
    attempt.settings.interval = Duration::ZERO;
    let ended = scene.run_on(store, Box::new(sink), &attempt, &|stopper| {
        let last = newest(world).pop();
        let are_enough = last.is_some_and(|last| last.unconfirmed.len() >= 4 || last.complete);
        if refuses == Duration::MAX && are_enough {
            stopper.abort();
        }
    });
    match ended {
        Ok(_) => assert!(refuses < Duration::MAX),
        Err(Failure::Run(RunError::Aborted | RunError::Sink(_))) => world.restart(false),
        Err(failure) => unreachable!("{failure}"),
    }
}

/// Publishes that fail, and runs that crash besides.
fn survive(scene: &Scene, expected: &Expected, seed: u64) -> Result<u64, String> {
    let mut draws = Draws::new(seed);
    let world = World::new();
    let mut faults = 0;
    for _ in 0..1 + draws.below(4) {
        let fault = FAULTS[draws.below(FAULTS.len())];
        world.sink.fail_publish(draws.next() % 16, fault);
        faults += 1;
    }
    let struck = survive_failures(scene, expected, &world, &mut draws, &["told to fail"])?;
    Ok(faults + struck)
}

#[test]
fn is_every_output_there_once_when_publishing_fails() {
    for order in ["arrival", "event_time"] {
        let scene = Scene::new(37, 150, order);
        let expected = Expected::of(&scene);
        let seeds = seeds(60, 3000);
        sweep(&format!("{order}, publishes"), &seeds, |&seed| {
            survive(&scene, &expected, seed)
        });
    }
}

/// Epochs pile up while the sink takes nothing, and all of them are published when it does, by this run or by the next.
#[test]
fn are_all_epochs_published_that_a_sink_refused_for_a_while() {
    for order in ["arrival", "event_time"] {
        let scene = Scene::new(41, 200, order);
        let expected = Expected::of(&scene);
        let mut most = 0;
        for takes in [0, 1, 2] {
            let world = World::new();
            refusing(&scene, &world, takes, Duration::MAX);
            let unconfirmed = newest(&world).pop().unwrap().unconfirmed;
            most = most.max(unconfirmed.len());
            scene.run(&world, &Attempt::new(1, 3)).unwrap();
            expected.check(&scene, &world).unwrap();

            let world = World::new();
            refusing(&scene, &world, takes, Duration::from_millis(150));
            expected.check(&scene, &world).unwrap();
        }
        // How many come together before the run is ended is a matter of its speed.
        assert!(most >= 2, "{order}: {most}");
    }
}

/// Asked of the store whenever the sink is given something, while manifests take their time to become durable.
#[test]
fn is_an_epoch_durable_before_it_is_visible() {
    let scene = Scene::new(89, 150, "arrival");
    let expected = Expected::of(&scene);
    let world = World::new();
    let slow: Hook = Arc::new(|when, action, name: &str| {
        if when == When::Before && action == "put" && name.starts_with("log/") {
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    });
    let (early, there) = (Arc::new(Mutex::new(BTreeSet::new())), world.clone());
    let noted = Arc::clone(&early);
    let hook: Hook = Arc::new(move |when, action, epoch: &str| {
        let manifests = newest(&there);
        let mut listed = manifests.iter().flat_map(|it| &it.unconfirmed);
        let is_durable = listed.any(|it| it.epoch.to_string() == epoch);
        if when == When::Before && action == "publish" && !is_durable {
            noted.lock().unwrap().insert(epoch.to_owned());
        }
        Ok(())
    });
    let sink = Box::new(HookedSink {
        inner: world.sink.clone(),
        hook,
    });
    let store = Arc::new(HookedStore::new(world.store.clone(), slow));
    let mut attempt = Attempt::new(0, 2);
    // Nothing that was listed is to be deleted before it is asked for.
    attempt.retain = 1_000;
    scene.run_on(store, sink, &attempt, &|_| {}).unwrap();
    let early = early.lock().unwrap();
    assert!(early.is_empty(), "violation: epochs {early:?} are early");
    drop(scene.begin_in(&world, &Attempt::new(1, 1)).unwrap());
    expected.check(&scene, &world).unwrap();
}

/// The sink has taken an epoch, or a part of it, and its answer is lost; the run goes on and asks again.
#[test]
fn is_nothing_published_twice_when_an_answer_is_lost() {
    let scene = Scene::new(43, 200, "event_time");
    let expected = Expected::of(&scene);
    for lost in 0..6 {
        let world = World::new();
        let asked = AtomicU64::new(0);
        let hook: Hook = Arc::new(move |when, action, _| {
            if when == When::After
                && action == "publish"
                && asked.fetch_add(1, Ordering::SeqCst) == lost
            {
                return Err(ErrorKind::TimedOut.into());
            }
            Ok(())
        });
        let sink = Box::new(HookedSink {
            inner: world.sink.clone(),
            hook,
        });
        let store = Arc::new(world.store.clone());
        let ended = scene.run_on(store, sink, &Attempt::new(0, 2), &|_| {});
        assert_eq!(ended.unwrap(), Ended::Done(expected.totals));
        expected.check(&scene, &world).unwrap();
    }
}
