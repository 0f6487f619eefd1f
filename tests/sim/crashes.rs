//! A crash at each step of the store: is every output there once, as if nothing had happened?

use slackwater_dataflow::store::memory::{Crash, FaultPlan, MemoryStore};

use crate::scene::{Ended, Scene, difference, sink, visible};

/// Runs in a row that may crash before one has to come through.
const ATTEMPTS: u64 = 20;

#[test]
fn does_a_clean_run_give_what_one_without_checkpoints_gives() {
    for order in ["arrival", "event_time"] {
        for workers in [1, 2, 3] {
            let changes = [("order = \"arrival\"", &*format!("order = \"{order}\""))];
            let scene = Scene::new(7, &changes);
            let (expected, totals) = scene.expected(workers);
            let (store, sink) = (MemoryStore::default(), sink());
            assert_eq!(
                scene.run(&store, &sink, workers, 0),
                Ok(Ended::Complete(totals)),
                "{order}, {workers} workers"
            );
            assert_eq!(difference(&expected, &visible(&sink)), None);
            assert_eq!(
                scene.run(&store, &sink, workers, 1),
                Ok(Ended::AlreadyComplete)
            );
            assert_eq!(difference(&expected, &visible(&sink)), None);
        }
    }
}

/// Runs until one comes through; the first crashes at `step`.
fn survives(scene: &Scene, expected: &crate::scene::Content, step: u64, when: Crash, power: bool) {
    let (store, sink) = (MemoryStore::default(), sink());
    store.set_faults(FaultPlan::Crash { step, when });
    for attempt in 0..ATTEMPTS {
        let workers = 1 + (attempt as usize + 1) % 2;
        match scene.run(&store, &sink, workers, attempt) {
            Ok(_) => {
                let found = visible(&sink);
                let difference = difference(expected, &found);
                assert_eq!(difference, None, "step {step}, {when:?}, power {power}");
                return;
            }
            Err(error) => {
                assert!(store.is_dead(), "step {step}, {when:?}: {error}");
                store.set_faults(FaultPlan::Nothing);
                if power {
                    store.power_loss();
                }
                store.revive();
            }
        }
    }
    unreachable!("no run came through after a crash at step {step}");
}

#[test]
fn is_every_output_there_once_after_a_crash_at_any_step() {
    for order in ["arrival", "event_time"] {
        let changes = [("order = \"arrival\"", &*format!("order = \"{order}\""))];
        let scene = Scene::new(11, &changes);
        let (expected, _) = scene.expected(1);
        let (store, clean) = (MemoryStore::default(), sink());
        scene.run(&store, &clean, 2, 0).unwrap();
        let steps = store.steps();
        let mut runs = 0;
        for step in 0..steps {
            for when in [Crash::Before, Crash::Half, Crash::After] {
                survives(&scene, &expected, step, when, step % 2 == 0);
                runs += 1;
            }
        }
        println!("{order}: {runs} crashes at {steps} steps, 0 violations");
    }
}
