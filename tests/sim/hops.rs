//! Events that go over the workers of other keys: is each there once, with what these keys have counted, whatever crashes, and
//! however many workers go on?
//!
//! Each key has its own state and, in event-time order, its own events that wait, which go to other workers with their own key.

use slackwater_dataflow::store::memory::Crash;
use slackwater_operators::event::FieldIndex;

use crate::crashes::{Crashing, survive};
use crate::expected::Expected;
use crate::sampling::{Draws, seeds, sweep};
use crate::scene::{Attempt, Ended, Scene, World};

const HOW_MUCH: [Crash; 3] = [Crash::Before, Crash::Half, Crash::After];

/// Fields of the reference job.
const USER: FieldIndex = FieldIndex(0);
const PRODUCT: FieldIndex = FieldIndex(1);
const CATEGORY: FieldIndex = FieldIndex(2);
const TYPE: FieldIndex = FieldIndex(3);

/// Inputs of the model that the counts stand for.
const INPUTS: [usize; 2] = [1, 3];

/// In arrival order each key's events are in one partition, and their order is its.
fn scene(seed: u64, events: u64, order: &str) -> Scene {
    let keys = match order {
        "arrival" => [vec![TYPE, USER], vec![CATEGORY, USER]],
        _ => [vec![CATEGORY], vec![PRODUCT]],
    };
    let counting_by = keys.into_iter().zip(INPUTS).collect();
    Scene::new(seed, events, order).counting_by(counting_by)
}

#[test]
fn does_a_clean_run_give_what_one_without_checkpoints_gives() {
    for order in ["arrival", "event_time"] {
        let scene = scene(7, 400, order);
        let expected = Expected::of(&scene);
        let plain = Expected::of(&Scene::new(7, 400, order));
        assert_eq!(plain.totals, expected.totals);
        assert!(
            plain.content != expected.content,
            "the counts change nothing"
        );
        for workers in [1, 2, 3] {
            let world = World::new();
            let ended = scene.run(&world, &Attempt::new(0, workers));
            assert_eq!(ended.unwrap(), Ended::Done(expected.totals), "{workers}");
            expected.check(&scene, &world).unwrap();
        }
    }
}

/// Many crashes one after the other, with 1, 4 and 2 workers in turn.
fn crashes(order: &str) {
    let scene = scene(17, 250, order);
    let expected = Expected::of(&scene);
    let world = World::new();
    scene.run(&world, &Attempt::new(0, 2)).unwrap();
    let steps = world.store.steps();
    let kind = format!("{order}, two other keys, 1, 4 and 2 workers");
    sweep(&kind, &seeds(30, 1000), |&seed| {
        let mut draws = Draws::new(seed);
        let crash = |_| Crashing {
            step: 20 + draws.next() % (steps / 2),
            when: HOW_MUCH[draws.below(3)],
            power: draws.below(2) == 0,
        };
        let plan: Vec<Crashing> = (0..6).map(crash).collect();
        let workers = |number: u64| [1, 4, 2][(seed + number) as usize % 3];
        survive(&scene, &expected, &World::new(), &plan, workers)
    });
}

#[test]
fn is_every_output_there_once_after_crashes_in_arrival_order() {
    crashes("arrival");
}

#[test]
fn is_every_output_there_once_after_crashes_in_event_time_order() {
    crashes("event_time");
}
