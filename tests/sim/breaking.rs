//! A source that breaks in the middle of what it hands out: is what came before it in the last checkpoint, and does the next
//! run begin right at what could not be read?

use std::io;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use slackwater_connectors::memory::Wrapped;
use slackwater_dataflow::place::{Mark, Offset, PartitionId};
use slackwater_dataflow::run::RunError;
use slackwater_dataflow::source::{Demand, Polled, Readiness, Source, SourceError, SourceReader};

use crate::expected::{Expected, newest};
use crate::hooked::{Hook, HookedSink};
use crate::sampling::{Draws, seeds, sweep};
use crate::scene::{Attempt, Failure, Scene, World};
use crate::sips::sips;

/// Breaks after so many records, whichever reader hands them out.
fn breaking(source: impl Source, most: u64) -> impl Source {
    let left = Arc::new(Mutex::new(most));
    Wrapped::new(source, move |_, reader| {
        Box::new(Breaking {
            reader,
            left: Arc::clone(&left),
        })
    })
}

struct Breaking {
    reader: Box<dyn SourceReader>,
    left: Arc<Mutex<u64>>,
}

impl SourceReader for Breaking {
    fn poll(
        &mut self,
        mut demand: Demand<'_>,
        emit: &mut dyn FnMut(Polled<'_>) -> ControlFlow<()>,
    ) -> Result<Readiness, SourceError> {
        let mut left = self.left.lock().unwrap();
        demand.limit = demand.limit.min(*left as usize);
        let mut readiness = Ok(Readiness::Waiting);
        if demand.limit > 0 {
            readiness = self.reader.poll(demand, &mut |polled| {
                *left -= u64::from(matches!(polled, Polled::Record { .. }));
                emit(polled)
            });
        }
        match *left {
            0 => Err(SourceError {
                action: "read",
                subject: "what is damaged".to_owned(),
                source: io::ErrorKind::InvalidData.into(),
            }),
            _ => readiness,
        }
    }

    fn position(&self, partition: PartitionId) -> Option<Offset> {
        self.reader.position(partition)
    }

    fn mark(&self, partition: PartitionId) -> Option<Mark> {
        self.reader.mark(partition)
    }
}

fn break_often(scene: &Scene, expected: &Expected, seed: u64) -> Result<u64, String> {
    let mut draws = Draws::new(seed);
    let world = World::new();
    let (mut read, mut breaks) = (0, 0);
    loop {
        let attempt = Attempt::new(10 * seed + breaks, 1 + draws.below(3));
        // One that can't read anything comes no further, and loses nothing.
        let most = if breaks == 5 {
            u64::MAX >> 1
        } else {
            draws.next() % 40
        };
        let source = breaking(sips(scene.source.clone()), most);
        let store = Arc::new(world.store.clone());
        let ended = scene.run_from(
            source,
            store,
            Box::new(world.sink.clone()),
            &attempt,
            &|_| {},
        );
        let last = newest(&world).pop();
        match ended {
            Ok(_) => break,
            Err(Failure::Run(RunError::Source(_))) => breaks += 1,
            Err(failure) => return Err(format!("run {breaks}: {failure}")),
        }
        read += most;
        let kept = last.map_or(0, |last| last.totals["read"]);
        if kept != read {
            return Err(format!(
                "{read} were read, and {kept} are in the checkpoint"
            ));
        }
    }
    expected.check(scene, &world)?;
    Ok(breaks)
}

#[test]
fn is_what_was_read_before_a_source_broke_kept() {
    for order in ["arrival", "event_time"] {
        let scene = Scene::new(43, 200, order);
        let expected = Expected::of(&scene);
        let kind = format!("{order}, a source that breaks");
        sweep(&kind, &seeds(30, 1000), |&seed| {
            break_often(&scene, &expected, seed)
        });
    }
}

/// A run that has nothing more to read, and a sink that takes nothing: it fails, and leaves what is unpublished to the next.
#[test]
fn does_a_run_whose_source_broke_wait_for_no_sink() {
    let scene = Scene::new(47, 100, "arrival");
    let expected = Expected::of(&scene);
    let world = World::new();
    let hook: Hook = Arc::new(|_, action, _: &str| match action {
        "take over" => Ok(()),
        _ => Err(io::ErrorKind::TimedOut.into()),
    });
    let inner = world.sink.clone();
    let sink = Box::new(HookedSink { inner, hook });
    let source = breaking(sips(scene.source.clone()), 40);
    let store = Arc::new(world.store.clone());
    let ended = scene.run_from(source, store, sink, &Attempt::new(0, 2), &|_| {});
    assert!(
        matches!(ended, Err(Failure::Run(RunError::Source(_)))),
        "{ended:?}"
    );
    scene.run(&world, &Attempt::new(1, 2)).unwrap();
    expected.check(&scene, &world).unwrap();
}
