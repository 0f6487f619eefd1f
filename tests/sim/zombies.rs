//! A run is stopped, as by SIGSTOP, another takes its place, and the first is let go: does it change anything?
//!
//! And two that begin at once: is one the winner, whatever they do to each other?

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use slackwater_dataflow::checkpoint::manifest::Claim;
use slackwater_dataflow::checkpoint::names::RecordNumber;
use slackwater_dataflow::checkpoint::recovery::RecoveryError;
use slackwater_dataflow::run::RunError;

use crate::expected::{Expected, newest};
use crate::hooked::{Gate, Hook, HookedSink, HookedStore, When};
use crate::sampling::{Draws, seeds, sweep};
use crate::scene::{Attempt, Ended, Failure, Scene, World, process_of};

/// Longest wait of one run for another. Only a failure takes so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the successor does before the first run is let go.
#[derive(Clone, Copy, Debug)]
enum Successor {
    /// All that there is to do.
    Finishes,
    /// It is stopped half-way itself, and goes on when the first has ended.
    Waits,
    /// It has just begun when it is killed; a third one finishes.
    Dies,
}

/// One run through a gate.
fn run_through(
    gate: &Gate,
    scene: &Scene,
    world: &World,
    attempt: &Attempt,
) -> Result<Ended, Failure> {
    let store = HookedStore::new(world.store.clone(), gate.hook());
    let sink = HookedSink {
        inner: world.sink.clone(),
        hook: gate.hook(),
    };
    let ended = scene.run_on(Arc::new(store), Box::new(sink), attempt, &|_| {});
    gate.over();
    ended
}

fn is_fenced(failure: &Failure) -> bool {
    matches!(
        failure,
        Failure::Run(RunError::Fenced { .. }) | Failure::Recovery(RecoveryError::Fenced { .. })
    )
}

/// The newest claim.
fn newest_claim(world: &World) -> Option<Claim> {
    slackwater_dataflow::checkpoint::log::newest_claim(&world.store).unwrap()
}

/// Its number, and 0 if there is none.
fn newest_claimed(world: &World) -> u64 {
    newest_claim(world).map_or(0, |claim| claim.number.0)
}

/// The first of two runs, which was stopped, has ended.
struct First {
    ended: Result<Ended, Failure>,
    /// The newest claim when it was stopped; 0 if there was none.
    had_claimed: u64,
    /// Whether it has claimed the log after it was let go: it had not yet, or had not yet looked whether its claim
    /// was overtaken, so that nothing stood behind that. Then it is the successor.
    is_successor: bool,
}

/// What becomes of a run that another has replaced. It may have been done already, or not have begun.
fn check_first(
    first: First,
    world: &World,
    what_follows: &Result<Ended, Failure>,
) -> Result<(), String> {
    let (had_claimed, winner) = (first.had_claimed, newest_claimed(world));
    match first.ended {
        Err(failure) if is_fenced(&failure) => {
            let text = failure.to_string();
            let names_it = (had_claimed..=winner).any(|it| text.contains(&it.to_string()));
            names_it
                .then_some(())
                .ok_or_else(|| format!("the winner is {winner}, and this is said: {text}"))
        }
        Err(failure) => Err(format!("the first run failed otherwise: {failure}")),
        Ok(_) if matches!(what_follows, Ok(Ended::AlreadyComplete)) => Ok(()),
        // It was stopped while it claimed or before it read, and found that the other one had done all.
        Ok(Ended::AlreadyComplete) => Ok(()),
        Ok(_) if first.is_successor => Ok(()),
        Ok(ended) => Err(format!(
            "the first run has come to its end: {ended:?}, and the other to {what_follows:?}"
        )),
    }
}

/// What the checkpoint needs that a successor would go on from.
fn needed(world: &World) -> Vec<String> {
    let manifest = newest(world).pop();
    let listed = manifest.iter().flat_map(|it| {
        let objects = it.objects().into_keys();
        let objects = objects.map(|name| name.to_string());
        objects.chain([it.number.name()])
    });
    listed.collect()
}

fn replace(scene: &Scene, expected: &Expected, seed: u64, operations: u64) -> Result<u64, String> {
    let mut draws = Draws::new(seed);
    let world = World::new();
    let gate = Gate::at(draws.next() % operations);
    let workers = 1 + draws.below(2);
    let successor = [Successor::Finishes, Successor::Waits, Successor::Dies][draws.below(3)];
    thread::scope(|scope| {
        let first = scope.spawn(|| run_through(&gate, scene, &world, &Attempt::new(0, workers)));
        if !gate.wait() {
            // It was over before it came there.
            first.join().unwrap().map_err(|error| error.to_string())?;
            return expected.check(scene, &world).map(|()| 0);
        }
        let had_claimed = newest_claimed(&world);
        let last = world
            .store
            .names()
            .into_iter()
            .rfind(|it| it.starts_with("log/"));
        let may_claim = had_claimed == 0 || last == Some(RecordNumber(had_claimed).name());
        let release = || {
            gate.open();
            let ended = first.join().unwrap();
            // The other is held, or over.
            let newest = newest_claim(&world);
            First {
                ended,
                had_claimed,
                is_successor: newest
                    .is_some_and(|it| it.number.0 > had_claimed && it.process == process_of(0))
                    && may_claim,
            }
        };
        let (first, second) = match successor {
            Successor::Finishes => {
                let second = scene.run(&world, &Attempt::new(1, 2));
                (release(), second)
            }
            Successor::Waits => {
                let other = Gate::at(40 + draws.next() % operations);
                let (gate, world) = (other.clone(), &world);
                let second =
                    scope.spawn(move || run_through(&gate, scene, world, &Attempt::new(1, 2)));
                other.wait();
                let first = release();
                other.open();
                (first, second.join().unwrap())
            }
            Successor::Dies => {
                let begun = scene.begin_in(&world, &Attempt::new(1, 2));
                let needed = needed(&world);
                drop(begun.map_err(|error| error.to_string())?);
                let first = release();
                let names = world.store.names();
                // A successor deletes what it does not need itself.
                let gone = needed.iter().find(|it| !names.contains(it));
                if let (Some(gone), false) = (gone, first.is_successor) {
                    return Err(format!("the first run has deleted `{gone}`"));
                }
                (first, scene.run(&world, &Attempt::new(2, 1)))
            }
        };
        let is_first_successor = first.is_successor;
        check_first(first, &world, &second).map_err(|wrong| format!("{successor:?}: {wrong}"))?;
        match second {
            Ok(_) => {}
            Err(failure) if is_fenced(&failure) && is_first_successor => {}
            Err(failure) => return Err(format!("{successor:?}: the successor failed: {failure}")),
        }
        expected
            .check(scene, &world)
            .map_err(|wrong| format!("{successor:?}: {wrong}"))?;
        Ok(1)
    })
}

#[test]
fn does_a_run_that_was_replaced_while_it_was_stopped_change_nothing() {
    for order in ["arrival", "event_time"] {
        let scene = Scene::new(19, 150, order);
        let expected = Expected::of(&scene);
        let gate = Gate::default();
        run_through(&gate, &scene, &World::new(), &Attempt::new(0, 2)).unwrap();
        let operations = gate.passed();
        let seeds = seeds(100, 5000);
        sweep(
            &format!("{order}, stopped at {operations} places"),
            &seeds,
            |&seed| replace(&scene, &expected, seed, operations),
        );
    }
}

/// Two copies that begin at the same time.
fn race(scene: &Scene, expected: &Expected, seed: u64) -> Result<u64, String> {
    let world = World::new();
    let ended = thread::scope(|scope| {
        let copies = [0, 1].map(|copy| {
            let attempt = Attempt::new(2 * seed + copy, 1 + copy as usize);
            let world = &world;
            scope.spawn(move || scene.run(world, &attempt))
        });
        copies.map(|copy| copy.join().unwrap())
    });
    let mut fenced = 0;
    for ended in &ended {
        match ended {
            Ok(_) => {}
            Err(failure) if is_fenced(failure) => fenced += 1,
            Err(failure) => return Err(format!("{failure}")),
        }
    }
    if fenced == 2 {
        return Err("both were fenced".to_owned());
    }
    expected.check(scene, &world)?;
    Ok(fenced)
}

#[test]
fn does_one_of_two_copies_win() {
    for order in ["arrival", "event_time"] {
        let scene = Scene::new(23, 150, order);
        let expected = Expected::of(&scene);
        let seeds = seeds(60, 3000);
        sweep(&format!("{order}, two copies"), &seeds, |&seed| {
            race(&scene, &expected, seed)
        });
    }
}

/// A run has claimed the log and is stopped before it looks whether that counts; the other claims it, takes
/// checkpoints and is stopped; the first goes on.
#[test]
fn is_a_claim_that_was_overtaken_made_anew() {
    const CLAIMED: u64 = 1;
    const OVERTAKEN: u64 = 2;
    const OVER: u64 = 3;
    let scene = Scene::new(89, 150, "event_time");
    let expected = Expected::of(&scene);
    let (world, turns) = (World::new(), Turns::default());
    let first = turns.hook(|turns, when, put| {
        if (when, put) == (When::After, 0) {
            turns.reach(CLAIMED);
            turns.wait(OVERTAKEN);
        }
    });
    let other = turns.hook(|turns, when, put| match (when, put) {
        (When::Before, 0) => turns.wait(CLAIMED),
        // The claim itself and the first checkpoints.
        (When::After, 2) => {
            turns.reach(OVERTAKEN);
            turns.wait(OVER);
        }
        _ => {}
    });
    let run = |hook: Hook, number: u64| {
        let store = HookedStore::new(world.store.clone(), hook);
        let sink = Box::new(world.sink.clone());
        scene.run_on(Arc::new(store), sink, &Attempt::new(number, 1), &|_| {})
    };
    thread::scope(|scope| {
        let other = scope.spawn(|| run(other, 1));
        assert_eq!(run(first, 0).unwrap(), Ended::Done(expected.totals));
        turns.reach(OVER);
        let other = other.join().unwrap().unwrap_err();
        assert!(is_fenced(&other), "violation: {other}");
    });
    let winner = newest_claim(&world).unwrap();
    assert_eq!(winner.process, process_of(0));
    assert!(winner.number > RecordNumber(3), "it claims above the other");
    expected.check(&scene, &world).unwrap();
}

/// What two runs have done together; each waits for the other.
#[derive(Clone, Default)]
struct Turns(Arc<AtomicU64>);

impl Turns {
    /// That it has come so far.
    fn reach(&self, turn: u64) {
        self.0.fetch_max(turn, Ordering::SeqCst);
    }

    fn wait(&self, turn: u64) {
        let since = Instant::now();
        while self.0.load(Ordering::SeqCst) < turn {
            assert!(
                since.elapsed() < PATIENCE,
                "violation: turn {turn} never came"
            );
            thread::sleep(Duration::from_micros(100));
        }
    }

    /// Calls `at` with the number of each record that a run is about to put, and has put.
    fn hook(&self, at: fn(&Turns, When, u64)) -> Hook {
        let (turns, puts) = (self.clone(), AtomicU64::new(0));
        Arc::new(move |when, action, name: &str| {
            if action == "put" && name.starts_with("log/") {
                let after = u64::from(when == When::After);
                at(&turns, when, puts.fetch_add(after, Ordering::SeqCst));
            }
            Ok(())
        })
    }
}

/// A run looks at the log; another claims the next number, so it is to claim the one after. Before it does, the other
/// writes that one and deletes it again.
#[test]
fn does_a_claim_count_at_a_number_that_is_free_again() {
    const LISTED: u64 = 1;
    const CLAIMED: u64 = 2;
    const REFUSED: u64 = 3;
    const OVER: u64 = 4;
    let scene = Scene::new(83, 150, "arrival");
    let expected = Expected::of(&scene);
    let (world, turns) = (World::new(), Turns::default());
    let slow = turns.hook(|turns, when, put| match (when, put) {
        (When::Before, 0) => {
            turns.reach(LISTED);
            turns.wait(CLAIMED);
        }
        (When::Before, 1) => {
            turns.reach(REFUSED);
            turns.wait(OVER);
        }
        _ => {}
    });
    let quick = turns.hook(|turns, when, put| match (when, put) {
        (When::Before, 0) => turns.wait(LISTED),
        (When::After, 0) => {
            turns.reach(CLAIMED);
            turns.wait(REFUSED);
        }
        _ => {}
    });
    let run = |hook: Hook, number: u64| {
        let store = HookedStore::new(world.store.clone(), hook);
        let mut attempt = Attempt::new(number, 1);
        attempt.retain = 1;
        let sink = Box::new(world.sink.clone());
        scene.run_on(Arc::new(store), sink, &attempt, &|_| {})
    };
    thread::scope(|scope| {
        let slow = scope.spawn(|| run(slow, 0).unwrap());
        let quick = run(quick, 1).unwrap();
        assert_eq!(quick, Ended::Done(expected.totals));
        let names = world.store.names();
        let second = RecordNumber(2).name();
        assert!(!names.contains(&second), "it is free again");
        turns.reach(OVER);
        assert_eq!(slow.join().unwrap(), Ended::AlreadyComplete);
        let claim = RecordNumber(newest_claimed(&world)).name();
        let newest = names.iter().rfind(|name| name.starts_with("log/"));
        assert!(
            Some(&claim) > newest,
            "violation: {claim} is below {newest:?}"
        );
    });
    expected.check(&scene, &world).unwrap();
}
