//! Does what waits for something outside go on whole and in order, and does event time wait with it?

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::adapter::Graph;
use crate::clock::ManualClock;
use crate::operator::{Emitter, WaitingOperator};
use crate::run::RunError;
use crate::scripted::{
    Act, Batch, Encode, Mood, ScriptedSink, ScriptedSource, Strict, TimesIngest, Watermarks, ends,
};
use crate::sink::OutputStream;
use crate::source::{Share, Wake};
use crate::worker::WorkerGroup;

/// Events of this time make the operator fail.
const FAILS: i64 = 999_999;

/// Lets each batch wait for a thread that takes its time, another one for each, and in no order.
struct Delayed {
    wake: Wake,
    waiting: VecDeque<(Batch, Arc<AtomicBool>)>,
    taken: u64,
}

impl WaitingOperator for Delayed {
    type Input = Batch;
    type Output = Batch;
    type Reject = Batch;

    fn on_batch(&mut self, batch: Batch) {
        self.taken += 1;
        let delay = Duration::from_micros(self.taken * 7_919 % 3_000);
        let is_there = Arc::new(AtomicBool::new(false));
        self.waiting.push_back((batch, Arc::clone(&is_there)));
        let wake = self.wake.clone();
        thread::spawn(move || {
            thread::sleep(delay);
            is_there.store(true, Ordering::SeqCst);
            wake.wake();
        });
    }

    fn on_wake(&mut self) {}

    fn finish(&mut self, out: &mut Emitter<Batch, Batch>) -> bool {
        let is_first_there = |(_, it): &mut (Batch, Arc<AtomicBool>)| it.load(Ordering::SeqCst);
        let Some((batch, _)) = self.waiting.pop_front_if(is_first_there) else {
            return false;
        };
        if batch.events.iter().any(|(_, time)| *time == FAILS) {
            out.fail("told to fail");
        }
        // Every seventh batch is refused.
        match batch
            .events
            .first()
            .is_some_and(|(offset, _)| offset.0.is_multiple_of(7))
        {
            true => out.reject(batch),
            false => out.give(batch),
        }
        true
    }
}

/// The source, the stage that waits, and behind it one that is told of event time and holds the engine to it.
fn build(
    graph: &Graph<'_>,
    source: &ScriptedSource,
    watermarks: &Watermarks,
) -> Result<(), RunError> {
    let Share { worker, workers } = graph.share();
    let (batches, early) = graph.source(source, TimesIngest::new(3, workers))?;
    let own = Strict {
        worker,
        watermarks: Watermarks::default(),
    };
    let (batches, refused) = graph.apply_at_key("own", batches, own);
    let (waited, others) = graph.apply_waiting("delayed", batches, |wake| {
        Ok(Delayed {
            wake,
            waiting: VecDeque::new(),
            taken: 0,
        })
    })?;
    let watermarks = Arc::clone(watermarks);
    let (kept, late) = graph.apply("strict", waited, Strict { worker, watermarks });
    let rejects = [early, refused, others, late].map(|it| it.into_stream());
    let (kept, none) = graph.apply("encode", kept, Encode(OutputStream::Predictions));
    none.none();
    let encode = Encode(OutputStream::ValidationErrors);
    let (rejects, none) = graph.apply("encode rejects", graph.concat(rejects), encode);
    none.none();
    graph.publish(graph.concat([kept, rejects]));
    Ok(())
}

fn run(
    workers: usize,
    partitions: Vec<Vec<Act>>,
) -> (Result<u64, RunError>, ScriptedSink, Watermarks) {
    let (sink, watermarks) = (ScriptedSink::new(Mood::Willing), Watermarks::default());
    let (lines, told) = (sink.clone(), Arc::clone(&watermarks));
    let source = ScriptedSource::new(partitions);
    let ended = ends(move || {
        let group = WorkerGroup::new(workers, Arc::new(ManualClock::default()));
        let finished = group.run(Box::new(sink), move |graph| build(graph, &source, &told));
        finished.map(|finished| {
            assert_eq!(finished.totals.in_flight(), 0);
            finished.totals.read
        })
    });
    (ended, lines, watermarks)
}

#[test]
fn does_all_that_waited_go_on_in_order() {
    let piece = |n: i64| Act::Records((0..30).map(|at| 1_000 + n * 20 + at % 9).collect());
    let partition = || {
        (0..8)
            .flat_map(|n| [piece(n), Act::Wait])
            .collect::<Vec<_>>()
    };
    for workers in [1, 2, 4] {
        let (read, sink, watermarks) = run(workers, (0..3).map(|_| partition()).collect());
        assert_eq!(read.unwrap(), 3 * 8 * 30);
        let lines = sink.lines.lock().unwrap();
        assert_eq!(lines.len(), 3 * 8 * 30, "each once");
        let mut last = BTreeMap::new();
        // Rejects of several stages have no order among themselves.
        let kept = lines
            .iter()
            .filter(|(stream, _)| *stream == OutputStream::Predictions);
        for (_, line) in kept {
            let numbers: Vec<u64> = line.split(' ').map(|it| it.parse().unwrap()).collect();
            let key = (numbers[0], numbers[1] % crate::scripted::KEYS);
            let before = last.insert(key, numbers[1]);
            assert!(before < Some(numbers[1]), "{line} after {before:?}");
        }
        let told = watermarks.lock().unwrap();
        assert!(told.values().all(|all| all.is_sorted()), "{told:?}");
    }
}

#[test]
fn does_a_run_end_whose_waiting_stage_cannot_go_on() {
    let times = (0..50).map(|at| if at == 20 { FAILS } else { 1_000 + at });
    let (ended, ..) = run(2, vec![vec![Act::Records(times.collect())]]);
    let said = ended.unwrap_err().to_string();
    assert!(said.contains("delayed"), "{said}");
}
