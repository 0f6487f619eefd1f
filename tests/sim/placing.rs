//! Outputs that are written in their place before they count: is every one there once, wherever writing them, waiting
//! for the disk, the store or the power failed?

use slackwater_connectors::memory::PlaceFault;

use crate::crashes::{each_way, survive, survive_failures};
use crate::expected::Expected;
use crate::sampling::{Draws, seeds, some_of, sweep};
use crate::scene::{Attempt, Ended, Scene, World};

const ORDERS: [&str; 2] = ["arrival", "event_time"];

#[test]
fn does_a_clean_run_place_what_one_without_checkpoints_gives() {
    for order in ORDERS {
        let scene = Scene::new(7, 400, order);
        let expected = Expected::of(&scene);
        for workers in [1, 2, 3] {
            let world = World::placing();
            let ended = scene.run(&world, &Attempt::new(0, workers));
            assert_eq!(ended.unwrap(), Ended::Done(expected.totals), "{workers}");
            expected.check(&scene, &world).unwrap();
            let names = world.store.names();
            assert!(!names.iter().any(|name| name.ends_with(".outbox")));
            let ended = scene.run(&world, &Attempt::new(1, workers));
            assert_eq!(ended.unwrap(), Ended::AlreadyComplete);
            expected.check(&scene, &world).unwrap();
        }
    }
}

#[test]
fn is_every_placed_output_there_once_after_a_crash() {
    for order in ORDERS {
        let scene = Scene::new(11, 150, order);
        let expected = Expected::of(&scene);
        let world = World::placing();
        scene.run(&world, &Attempt::new(0, 2)).unwrap();
        let steps = world.store.steps();
        let crashes = some_of(each_way(steps), 100, 1);
        let kind = format!("{order}, outputs in place, one crash at {steps} steps");
        sweep(&kind, &crashes, |crash| {
            let world = World::placing();
            let workers = |number| 2 - number as usize % 2;
            survive(&scene, &expected, &world, &[*crash], workers)
        });
    }
}

/// Operations in place that fail, for want of room, for good, or because nobody answers, and runs that crash besides.
fn survive_faults(scene: &Scene, expected: &Expected, seed: u64) -> Result<u64, String> {
    let mut draws = Draws::new(seed);
    let world = World::placing();
    let mut faults = 0;
    for _ in 0..1 + draws.below(4) {
        let faults_there_are = [PlaceFault::NoRoom, PlaceFault::Broken, PlaceFault::Away];
        let fault = faults_there_are[draws.below(3)];
        world.sink.fail_in_place(draws.next() % 100, fault);
        faults += 1;
    }
    // A sync that found no room has lost nobody knows what.
    let passing = ["told to fail", "cannot sync"];
    let struck = survive_failures(scene, expected, &world, &mut draws, &passing)?;
    Ok(faults + struck)
}

#[test]
fn is_every_placed_output_there_once_when_placing_fails() {
    for order in ORDERS {
        let scene = Scene::new(37, 150, order);
        let expected = Expected::of(&scene);
        let seeds = seeds(60, 3000);
        sweep(&format!("{order}, operations in place"), &seeds, |&seed| {
            survive_faults(&scene, &expected, seed)
        });
    }
}
