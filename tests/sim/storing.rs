//! A store that fails for a while, or answers something else than it has done: is anything lost, and does the job
//! survive what it is to survive, and no more?

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use slackwater_dataflow::checkpoint::names::RecordNumber;
use slackwater_dataflow::checkpoint::recovery::RecoveryError;
use slackwater_dataflow::run::RunError;
use slackwater_dataflow::store::memory::{Crash, FaultPlan, MemoryStore};

use crate::expected::{Expected, newest};
use crate::hooked::{Hook, HookedStore, When};
use crate::sampling::{Draws, seeds, some_of, sweep};
use crate::scene::{Attempt, Ended, Failure, Scene, World};

/// Runs in a row before one has to come through: each may fail at its first step.
const ATTEMPTS: u64 = 100;

/// Runs a job on a store that fails for `length` steps from the first run's `step` on.
fn full(scene: &Scene, expected: &Expected, seed: u64, steps: u64) -> Result<u64, String> {
    let mut draws = Draws::new(seed);
    let world = World::new();
    let step = draws.next() % steps;
    let length = [1, 5, 40][draws.below(3)];
    let kind = [ErrorKind::StorageFull, ErrorKind::Other][draws.below(2)];
    let tolerable = [0, 3][draws.below(2)];
    world.store.set_faults(FaultPlan::Fail {
        steps: step..step + length,
        kind,
    });
    for number in 0..ATTEMPTS {
        let mut attempt = Attempt::new(number, 1 + draws.below(3));
        attempt.settings.tolerable_failures = tolerable;
        match scene.run(&world, &attempt) {
            Ok(_) => {
                let struck = world.store.steps() >= step + length;
                world.store.set_faults(FaultPlan::Nothing);
                expected.check(scene, &world)?;
                return Ok(u64::from(struck));
            }
            Err(Failure::Recovery(
                RecoveryError::Store(_) | RecoveryError::Conditions(_) | RecoveryError::Sink(_),
            )) => {}
            Err(Failure::Run(
                RunError::Checkpoint(_)
                | RunError::Checkpoints(_)
                | RunError::Sink(_)
                | RunError::Restore(_),
            )) => {}
            Err(failure) => return Err(format!("run {number}: {failure}")),
        }
    }
    Err("no run came through".to_owned())
}

#[test]
fn is_nothing_lost_when_the_disk_is_full_for_a_while() {
    for order in ["arrival", "event_time"] {
        let scene = Scene::new(47, 150, order);
        let expected = Expected::of(&scene);
        let world = World::new();
        scene.run(&world, &Attempt::new(0, 2)).unwrap();
        let steps = world.store.steps();
        let seeds = seeds(60, 3000);
        sweep(
            &format!("{order}, full at {steps} steps"),
            &seeds,
            |&seed| full(&scene, &expected, seed, steps),
        );
    }
}

/// What a store refuses.
#[derive(Clone, Copy, Debug)]
enum Refused {
    /// Objects of state.
    States,
    /// Manifests of checkpoints: then it is unknown whether they are there.
    Manifests,
}

/// How a run of the scene ends whose store refuses the first `refused` of them.
fn refusing(
    scene: &Scene,
    world: &World,
    what: Refused,
    refused: u64,
    tolerable: u32,
) -> Result<Ended, Failure> {
    let asked = AtomicU64::new(0);
    // The claim of the first run is record 1, and what its recovery finds is 2.
    let is_checkpoint =
        |name: &str| RecordNumber::of_name(name).is_ok_and(|it| it > RecordNumber(2));
    let hook: Hook = Arc::new(move |when, action, name: &str| {
        let is_refused = when == When::Before
            && match what {
                Refused::States => action == "create" && name.ends_with(".state"),
                Refused::Manifests => action == "put" && is_checkpoint(name),
            };
        if is_refused && asked.fetch_add(1, Ordering::SeqCst) < refused {
            return Err(ErrorKind::StorageFull.into());
        }
        Ok(())
    });
    let store = HookedStore::new(world.store.clone(), hook);
    let mut attempt = Attempt::new(0, 1);
    attempt.settings.tolerable_failures = tolerable;
    // What waits behind the one that is refused fails by its own time.
    attempt.settings.timeout = Duration::from_millis(250);
    scene.run_on(
        Arc::new(store),
        Box::new(world.sink.clone()),
        &attempt,
        &|_| {},
    )
}

#[test]
fn does_a_job_survive_as_many_failures_as_it_is_to() {
    let scene = Scene::new(53, 300, "event_time");
    let expected = Expected::of(&scene);
    // Both are tried again every 100 ms, and a checkpoint has 250: one try more, and a busy machine is late by less than the rest.
    for (what, refused, tolerable, survives) in [
        (Refused::States, 0, 0, true),
        (Refused::States, 1, 0, false),
        (Refused::States, 1, 3, true),
        (Refused::States, 2, 3, true),
        (Refused::States, 20, 3, false),
        // In time: what was unknown is no failure.
        (Refused::Manifests, 1, 0, true),
        (Refused::Manifests, 4, 0, false),
        (Refused::Manifests, 4, 3, true),
        (Refused::Manifests, 20, 3, false),
    ] {
        let world = World::new();
        match refusing(&scene, &world, what, refused, tolerable) {
            Ok(ended) => {
                assert!(
                    survives,
                    "{refused} {what:?} refused, {tolerable} tolerable"
                );
                assert_eq!(ended, Ended::Done(expected.totals));
            }
            Err(Failure::Run(RunError::Checkpoints(failure))) => {
                assert!(
                    !survives,
                    "{refused} {what:?} refused, {tolerable} tolerable: {failure}"
                );
                let said = format!("`tolerable_failures` is {tolerable}");
                assert!(failure.to_string().contains(&said), "{failure}");
                scene.run(&world, &Attempt::new(1, 2)).unwrap();
            }
            Err(failure) => unreachable!("{failure}"),
        }
        expected.check(&scene, &world).unwrap();
    }
}

/// What a put answers that it should not.
#[derive(Clone, Copy, Debug)]
struct Wrong {
    /// Which put of a record, counted from the claim.
    put: u64,
    /// How often in a row.
    times: u64,
    /// Whether it has created the record.
    created: bool,
    /// Whether the process ends before it can ask again.
    dies: bool,
}

fn unknown(scene: &Scene, expected: &Expected, wrong: Wrong) -> Result<u64, String> {
    let world = World::new();
    let asked = AtomicU64::new(0);
    let dying = world.store.clone();
    let hook: Hook = Arc::new(move |when, action, name: &str| {
        let at = if wrong.created {
            When::After
        } else {
            When::Before
        };
        if action != "put" || !name.starts_with("log/") || when != at {
            return Ok(());
        }
        let number = asked.fetch_add(1, Ordering::SeqCst);
        if !(wrong.put..wrong.put + wrong.times).contains(&number) {
            return Ok(());
        }
        if wrong.dies {
            let (step, when) = (dying.steps(), Crash::Before);
            dying.set_faults(FaultPlan::Crash { step, when });
        }
        Err(ErrorKind::TimedOut.into())
    });
    let store = Arc::new(HookedStore::new(world.store.clone(), hook));
    let sink = Box::new(world.sink.clone());
    let ended = scene.run_on(store, sink, &Attempt::new(0, 2), &|stopper| {
        if world.store.is_dead() {
            stopper.abort();
        }
    });
    match ended {
        Ok(ended) if ended == Ended::Done(expected.totals) => {}
        Err(_) if world.store.is_dead() => {
            world.store.set_faults(FaultPlan::Nothing);
            world.restart(true);
            let ended = scene.run(&world, &Attempt::new(1, 1));
            ended.map_err(|failure| format!("after it died: {failure}"))?;
        }
        ended => return Err(format!("it ended with {ended:?}")),
    }
    let numbers: Vec<u64> = newest(&world).iter().map(|it| it.number.0).collect();
    let names = world.store.names();
    let claims = names.iter().filter(|name| name.starts_with("log/")).count() - numbers.len();
    if claims > 2 || BTreeSet::from_iter(&numbers).len() != numbers.len() {
        return Err(format!("{claims} claims, manifests {numbers:?}"));
    }
    expected.check(scene, &world)?;
    Ok(wrong.times)
}

#[test]
fn is_an_answer_that_was_lost_settled_by_asking_again() {
    for order in ["arrival", "event_time"] {
        let scene = Scene::new(59, 150, order);
        let expected = Expected::of(&scene);
        let mut cases = Vec::new();
        for put in 0..8 {
            for (created, dies) in [(false, false), (true, false), (false, true), (true, true)] {
                cases.extend([1, 3].map(|times| Wrong {
                    put,
                    times,
                    created,
                    dies,
                }));
            }
        }
        sweep(
            &format!("{order}, answers"),
            &some_of(cases, 64, 5),
            |&wrong| unknown(&scene, &expected, wrong),
        );
    }
}

#[test]
fn is_a_store_refused_that_takes_no_conditions() {
    let scene = Scene::new(61, 50, "arrival");
    let world = World::new();
    scene.begin_in(&world, &Attempt::new(0, 1)).unwrap();
    let before = world.store.names();
    world.store.set_faults(FaultPlan::IgnoredConditions);
    let refused = scene.begin_in(&world, &Attempt::new(1, 1)).err().unwrap();
    assert!(matches!(refused, RecoveryError::Conditions(_)), "{refused}");
    assert_eq!(world.store.names(), before, "nothing is claimed");
}

#[test]
fn is_a_store_refused_that_was_emptied_beside_its_outputs() {
    for order in ["arrival", "event_time"] {
        let scene = Scene::new(67, 150, order);
        let world = World::new();
        scene.run(&world, &Attempt::new(0, 2)).unwrap();
        let before = crate::expected::visible(&world);
        let emptied = World {
            store: MemoryStore::default(),
            sink: world.sink.clone(),
        };
        // Claims alone are no checkpoint either.
        for number in 1..3 {
            let refused = scene.run(&emptied, &Attempt::new(number, 1)).unwrap_err();
            let is_named = matches!(
                refused,
                Failure::Recovery(RecoveryError::OutputsWithoutCheckpoint { .. })
            );
            assert!(is_named, "{refused}");
            assert!(refused.to_string().contains("--fresh"), "{refused}");
        }
        assert_eq!(
            crate::expected::difference(&before, &crate::expected::visible(&world)),
            None
        );
    }
}

/// The writing of an epoch takes longer than a checkpoint may: it fails, and the next one lists what it has left.
#[test]
fn does_the_next_manifest_list_the_outputs_of_a_checkpoint_that_was_too_slow() {
    for order in ["arrival", "event_time"] {
        let scene = Scene::new(71, 300, order);
        let expected = Expected::of(&scene);
        let mut lists = 0;
        for slow in 1..6_u64 {
            let world = World::new();
            let slept = Arc::new(AtomicU64::new(0));
            let asked = Arc::clone(&slept);
            let hook: Hook = Arc::new(move |when, action, name: &str| {
                let is_it = when == When::Before
                    && action == "finish"
                    && name.contains(&format!("-e{slow}-w1-"));
                if is_it && asked.fetch_add(1, Ordering::SeqCst) == 0 {
                    thread::sleep(Duration::from_millis(90));
                }
                Ok(())
            });
            let store = HookedStore::new(world.store.clone(), hook);
            let mut attempt = Attempt::new(slow, 2);
            attempt.settings.timeout = Duration::from_millis(30);
            attempt.settings.tolerable_failures = 10;
            attempt.retain = 1_000;
            let sink = Box::new(world.sink.clone());
            let ended = scene.run_on(Arc::new(store), sink, &attempt, &|_| {});
            assert_eq!(ended.unwrap(), Ended::Done(expected.totals));
            if slept.load(Ordering::SeqCst) == 0 {
                // That worker had nothing in this epoch.
                continue;
            }
            let manifests = newest(&world);
            let has_failed = !manifests.iter().any(|it| it.epoch.0 == slow);
            let lists_it = manifests
                .iter()
                .flat_map(|it| {
                    let listed = it.unconfirmed.iter();
                    listed.map(move |listed| (it.epoch, listed.epoch))
                })
                .any(|(epoch, listed)| listed.0 == slow && epoch.0 > slow);
            let is_outbox =
                |name: &&String| name.contains(&format!("-e{slow}-")) && name.ends_with(".outbox");
            let names = world.store.names();
            // An epoch without an output is listed nowhere.
            let has_outputs = names.iter().any(|name| is_outbox(&name));
            assert!(has_failed, "epoch {slow}");
            assert_eq!(lists_it, has_outputs, "violation: epoch {slow}");
            lists += u64::from(lists_it);
            drop(scene.begin_in(&world, &Attempt::new(0, 1)).unwrap());
            expected.check(&scene, &world).unwrap();
        }
        assert!(lists > 0, "violation: none was listed");
    }
}
