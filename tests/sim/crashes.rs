//! A crash at each step of the store, and at each step of the recoveries that follow: is every output there once, as if
//! nothing had happened?

use std::collections::BTreeSet;

use slackwater_dataflow::store::memory::{Crash, FaultPlan};

use crate::expected::Expected;
use crate::sampling::{Draws, is_exhaustive, sample_of, seeds, some_of, sweep};
use crate::scene::{Attempt, Ended, Failure, Scene, World};

/// Runs in a row before one has to come through.
const ATTEMPTS: u64 = 20;

/// The same where other things fail besides.
const FAILING_ATTEMPTS: u64 = 30;

const ORDERS: [&str; 2] = ["arrival", "event_time"];

const HOW_MUCH: [Crash; 3] = [Crash::Before, Crash::Half, Crash::After];

/// One crash.
#[derive(Clone, Copy, Debug)]
pub struct Crashing {
    /// Counted from the beginning of the run.
    pub step: u64,
    pub when: Crash,
    /// Whether the power goes too.
    pub power: bool,
}

#[test]
fn does_a_clean_run_give_what_one_without_checkpoints_gives() {
    for order in ORDERS {
        let scene = Scene::new(7, 400, order);
        let expected = Expected::of(&scene);
        for workers in [1, 2, 3] {
            let world = World::new();
            let ended = scene.run(&world, &Attempt::new(0, workers));
            assert_eq!(ended.unwrap(), Ended::Done(expected.totals), "{workers}");
            expected.check(&scene, &world).unwrap();
            let ended = scene.run(&world, &Attempt::new(1, workers));
            assert_eq!(ended.unwrap(), Ended::AlreadyComplete);
            expected.check(&scene, &world).unwrap();
        }
    }
}

/// Runs a job until it is done; the first runs crash as planned. How many of the crashes have struck.
pub fn survive(
    scene: &Scene,
    expected: &Expected,
    world: &World,
    plan: &[Crashing],
    workers: impl Fn(u64) -> usize,
) -> Result<u64, String> {
    let run = |world: &World, attempt: &Attempt| scene.run(world, attempt);
    survive_by(run, scene, expected, world, plan, workers)
}

/// The same with each run as `run` says.
pub fn survive_by(
    run: impl Fn(&World, &Attempt) -> Result<Ended, Failure>,
    scene: &Scene,
    expected: &Expected,
    world: &World,
    plan: &[Crashing],
    workers: impl Fn(u64) -> usize,
) -> Result<u64, String> {
    let mut struck = 0;
    for number in 0..ATTEMPTS {
        let crash = plan.get(number as usize);
        world.store.set_faults(plan_of(world, crash));
        let ended = run(world, &Attempt::new(number, workers(number)));
        world.store.set_faults(FaultPlan::Nothing);
        match ended {
            Ok(Ended::Done(totals)) if totals != expected.totals => {
                return Err(format!("run {number} counted {totals:?}"));
            }
            Ok(_) => {
                // A crash after the last step that matters leaves a run that is done.
                world.restart(false);
                expected.check(scene, world)?;
                return Ok(struck);
            }
            Err(failure) if !world.store.is_dead() => {
                return Err(format!("run {number} failed: {failure}"));
            }
            Err(_) => {
                struck += 1;
                world.restart(crash.is_some_and(|crash| crash.power));
            }
        }
    }
    Err("no run came through".to_owned())
}

/// Runs a job until it is done, in a world whose sink is told to fail; of the first runs some crash. What fails besides
/// says one of `passing`. How many of the crashes have struck.
pub fn survive_failures(
    scene: &Scene,
    expected: &Expected,
    world: &World,
    draws: &mut Draws,
    passing: &[&str],
) -> Result<u64, String> {
    let mut struck = 0;
    for number in 0..FAILING_ATTEMPTS {
        if number < 3 && draws.below(2) == 0 {
            let step = world.store.steps() + draws.next() % 200;
            let when = HOW_MUCH[draws.below(3)];
            world.store.set_faults(FaultPlan::Crash { step, when });
        }
        // With an outbox: as many segments, so as many chunks.
        let workers = 1 + draws.below(3);
        let ended = scene.run(world, &Attempt::new(number, workers));
        world.store.set_faults(FaultPlan::Nothing);
        match ended.map_err(|failure| failure.to_string()) {
            Ok(_) => {
                world.restart(false);
                return expected.check(scene, world).map(|()| struck);
            }
            Err(_) if world.store.is_dead() => {
                struck += 1;
                world.restart(draws.below(2) == 0);
            }
            Err(failure) if passing.iter().any(|it| failure.contains(it)) => {}
            Err(failure) => return Err(format!("run {number} failed: {failure}")),
        }
    }
    Err("no run came through".to_owned())
}

fn plan_of(world: &World, crash: Option<&Crashing>) -> FaultPlan {
    crash.map_or(FaultPlan::Nothing, |crash| FaultPlan::Crash {
        step: world.store.steps() + crash.step,
        when: crash.when,
    })
}

/// All crashes of a run.
pub fn each_way(steps: u64) -> Vec<Crashing> {
    let steps = (0..steps).flat_map(|step| HOW_MUCH.map(|when| (step, when)));
    let ways =
        steps.flat_map(|(step, when)| [false, true].map(|power| Crashing { step, when, power }));
    ways.collect()
}

fn one_crash(order: &str) {
    let scene = Scene::new(11, 150, order);
    let expected = Expected::of(&scene);
    let world = World::new();
    scene.run(&world, &Attempt::new(0, 2)).unwrap();
    let steps = world.store.steps();
    let crashes = some_of(each_way(steps), 160, 1);
    sweep(
        &format!("{order}, one crash at {steps} steps"),
        &crashes,
        |crash| {
            let world = World::new();
            survive(&scene, &expected, &world, &[*crash], |number| {
                2 - number as usize % 2
            })
        },
    );
}

#[test]
fn is_every_output_there_once_after_a_crash_in_arrival_order() {
    one_crash("arrival");
}

#[test]
fn is_every_output_there_once_after_a_crash_in_event_time_order() {
    one_crash("event_time");
}

/// What a crash has left, and how many steps the recovery from it takes.
fn left_by(scene: &Scene, crash: Crashing) -> Option<(World, u64)> {
    let world = World::new();
    world.store.set_faults(plan_of(&world, Some(&crash)));
    scene.run(&world, &Attempt::new(0, 2)).err()?;
    world.store.set_faults(FaultPlan::Nothing);
    world.restart(crash.power);
    let tried = world.fork();
    let before = tried.store.steps();
    scene.begin_in(&tried, &Attempt::new(1, 1)).unwrap();
    Some((world, tried.store.steps() - before))
}

fn crashes_in_recovery(order: &str) {
    let scene = Scene::new(13, 150, order);
    let expected = Expected::of(&scene);
    let world = World::new();
    scene.run(&world, &Attempt::new(0, 2)).unwrap();
    let firsts = sample_of(
        each_way(world.store.steps()),
        if is_exhaustive() { 200 } else { 10 },
        2,
    );
    let mut draws = Draws::new(3);
    let (mut cases, mut steps_in_all, mut lengths) = (Vec::new(), 0, BTreeSet::new());
    for crash in firsts {
        let Some((world, steps)) = left_by(&scene, crash) else {
            continue;
        };
        // Of recoveries that are equally long one is enough where all are tried: they do the same, mostly.
        if !lengths.insert(steps) && is_exhaustive() {
            continue;
        }
        steps_in_all += steps;
        let seconds = some_of(each_way(steps), 16, 4);
        cases.extend(seconds.into_iter().map(|second| {
            let third = Crashing {
                step: draws.next() % steps,
                when: HOW_MUCH[draws.below(3)],
                power: draws.below(2) == 0,
            };
            // Every other one crashes once more.
            let plan = [second, third][..1 + draws.below(2)].to_vec();
            (Hidden(world.clone()), plan)
        }));
    }
    sweep(
        &format!("{order}, crashes at {steps_in_all} steps of recoveries"),
        &cases,
        |(world, plan)| {
            let workers = |number| 1 + number as usize % 2;
            survive(&scene, &expected, &world.0.fork(), plan, workers)
        },
    );
}

/// Not to be printed with a case.
struct Hidden(World);

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "after {} steps", self.0.store.steps())
    }
}

#[test]
fn does_a_crash_during_recovery_change_nothing_in_arrival_order() {
    crashes_in_recovery("arrival");
}

#[test]
fn does_a_crash_during_recovery_change_nothing_in_event_time_order() {
    crashes_in_recovery("event_time");
}

/// Many crashes one after the other, with 1, 4 and 2 workers in turn: each run hands its state to another number of
/// workers.
#[test]
fn is_every_output_there_once_whatever_the_number_of_workers_becomes() {
    for order in ORDERS {
        let scene = Scene::new(17, 250, order);
        let expected = Expected::of(&scene);
        let world = World::new();
        scene.run(&world, &Attempt::new(0, 2)).unwrap();
        let steps = world.store.steps();
        let seeds = seeds(30, 1000);
        sweep(&format!("{order}, 1, 4 and 2 workers"), &seeds, |&seed| {
            let mut draws = Draws::new(seed);
            let plan: Vec<Crashing> = (0..6)
                .map(|_| Crashing {
                    step: 20 + draws.next() % (steps / 2),
                    when: HOW_MUCH[draws.below(3)],
                    power: draws.below(2) == 0,
                })
                .collect();
            let workers = |number: u64| [1, 4, 2][(seed + number) as usize % 3];
            survive(&scene, &expected, &World::new(), &plan, workers)
        });
    }
}
