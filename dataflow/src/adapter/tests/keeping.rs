//! What an operator keeps for later: is it held for, given in order, and given to the end?

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, proptest};

use crate::adapter::tests::{on_time, strict, witness};
use crate::clock::ManualClock;
use crate::moment::EventTime;
use crate::operator::{Emitter, Operator};
use crate::pace::{Pace, PaceLimits};
use crate::run::RunError;
use crate::scripted::{
    Act, Batch, Encode, KEYS, Mood, ScriptedSink, ScriptedSource, TimesIngest, ends,
};
use crate::sink::OutputStream;
use crate::source::{Share, Source};
use crate::worker::WorkerGroup;

/// Events given at once: few, so that much is due more often than not.
const EVENTS_PER_RELEASE: usize = 3;

/// Keeps every event until the watermark has passed it.
#[derive(Default)]
struct Sorter {
    watermark: Option<EventTime>,
    kept: BTreeMap<(i64, u32, u64), Batch>,
    /// How many times it gives something before it fails, if it is to fail.
    fails_after: Option<usize>,
}

impl Operator for Sorter {
    type Input = Batch;
    type Output = Batch;
    type Reject = Batch;

    fn on_batch(&mut self, batch: Batch, _: &mut Emitter<Batch, Batch>) {
        for &(offset, time) in &batch.events {
            let one = batch.of(vec![(offset, time)]);
            self.kept.insert((time, batch.partition.0, offset.0), one);
        }
    }

    fn on_watermark(&mut self, watermark: EventTime) {
        assert!(Some(watermark) > self.watermark, "a watermark only rises");
        self.watermark = Some(watermark);
    }

    fn keeps_from(&self) -> Option<EventTime> {
        let (&(time, ..), _) = self.kept.first_key_value()?;
        Some(EventTime(time))
    }

    fn is_due(&self) -> bool {
        self.keeps_from()
            .is_some_and(|first| Some(first) < self.watermark)
    }

    fn release(&mut self, out: &mut Emitter<Batch, Batch>) {
        for _ in 0..EVENTS_PER_RELEASE {
            if self.is_due()
                && let Some((_, batch)) = self.kept.pop_first()
            {
                out.give(batch);
            }
        }
        match &mut self.fails_after {
            Some(0) => out.fail("told to fail"),
            Some(times) => *times -= 1,
            None => {}
        }
    }
}

struct Script {
    partitions: Vec<Vec<Vec<i64>>>,
    lag_ms: u64,
    workers: usize,
    /// How far partitions may drift apart, if they are to keep in step.
    drift_ms: Option<u64>,
}

/// Source, sorter, a stage behind it that holds the watermark to its promise; gives what was written.
fn run(script: Script, fails_after: Option<usize>) -> Result<(u64, Vec<String>), RunError> {
    let acts = |polls: Vec<Vec<i64>>| polls.into_iter().map(Act::Records).collect();
    let source = ScriptedSource::new(script.partitions.into_iter().map(acts));
    let seen = Arc::new(Mutex::new(0));
    let counter = Arc::clone(&seen);
    let sink = ScriptedSink::new(Mood::Willing);
    let written = sink.clone();
    let (lag_ms, workers) = (script.lag_ms, script.workers);
    let limits = script.drift_ms.map(|max_drift_ms| PaceLimits {
        max_drift_ms,
        waiting_bytes_per_worker: u64::MAX,
    });
    let pace = limits.map(|limits| Arc::new(Pace::new(limits, workers, source.partitions())));
    ends(move || {
        let group = WorkerGroup::new(workers, Arc::new(ManualClock::default()));
        group.run(Box::new(sink), move |graph| {
            let Share { workers, .. } = graph.share();
            let ingest = TimesIngest::new(lag_ms, workers);
            let (batches, early) = match &pace {
                Some(pace) => graph.source_in_step(pace, &source, ingest)?,
                None => graph.source(&source, ingest)?,
            };
            let sorter = Sorter {
                fails_after,
                ..Sorter::default()
            };
            let (sorted, none) = graph.apply_at_key("sort", batches, sorter);
            let sorted = witness(graph, sorted, &counter);
            let (kept, refused) = graph.apply("strict", sorted, strict(graph));
            let encode = |stream| Encode(stream);
            let (kept, never) = graph.apply("encode", kept, encode(OutputStream::Predictions));
            never.none();
            let others = [
                early.into_stream(),
                none.into_stream(),
                refused.into_stream(),
            ];
            let late = encode(OutputStream::LateEvents);
            let (others, never) = graph.apply("encode others", graph.concat(others), late);
            never.none();
            graph.publish(graph.concat([kept, others]));
            Ok(())
        })
    })?;
    let lines = written.lines.lock().unwrap();
    let sorted = lines
        .iter()
        .filter(|(stream, _)| *stream == OutputStream::Predictions);
    let sorted = sorted.map(|(_, line)| line.clone()).collect();
    let seen = *seen.lock().unwrap();
    Ok((seen, sorted))
}

/// Lines by key, as (time, partition, offset), in the order of writing.
fn by_key(lines: &[String]) -> BTreeMap<u64, Vec<(i64, u64, u64)>> {
    let mut all = BTreeMap::<_, Vec<_>>::new();
    for line in lines {
        let numbers: Vec<i64> = line
            .split(' ')
            .map(|number| number.parse().unwrap())
            .collect();
        let [partition, offset, time] = numbers[..] else {
            panic!("{line}");
        };
        let place = (time, partition as u64, offset as u64);
        all.entry(offset as u64 % KEYS).or_default().push(place);
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]

    #[test]
    fn is_what_is_kept_given_once_in_order_and_under_its_time(
        partitions in vec(vec(vec(100..140_i64, 0..6), 0..8), 1..5),
        lag_ms in 0..15_u64,
        workers in 1..4_usize,
        drift_ms in proptest::option::of(0..20_u64),
    ) {
        let expected = on_time(&partitions, lag_ms);
        let script = Script { partitions, lag_ms, workers, drift_ms };
        let (seen, lines) = run(script, None).unwrap();
        assert_eq!((seen, lines.len() as u64), (expected, expected));
        for (key, places) in by_key(&lines) {
            assert!(places.is_sorted_by(|a, b| a < b), "{key}: {places:?}");
        }
    }
}

/// A partition far ahead of one that has not spoken yet is held back, and let go on when that one ends.
#[test]
fn does_a_job_in_step_end_whoever_ends_first() {
    for workers in [1, 2, 3] {
        let ahead = (0..50).map(|n| vec![1_000 + 100 * n; 20]).collect();
        let partitions = vec![
            ahead,
            vec![],
            vec![vec![100]],
            vec![vec![], vec![], vec![7_000]],
        ];
        let script = Script {
            partitions,
            lag_ms: 0,
            workers,
            drift_ms: Some(10),
        };
        assert_eq!(run(script, None).unwrap().0, 50 * 20 + 2);
    }
}

#[test]
fn does_an_operator_that_cannot_go_on_end_the_run() {
    for workers in [1, 2] {
        let partitions = vec![(0..40).map(|n| vec![100 + n; 5]).collect(); 2];
        let script = Script {
            partitions,
            lag_ms: 0,
            workers,
            drift_ms: None,
        };
        let error = run(script, Some(2)).unwrap_err();
        assert_eq!(error.to_string(), "stage `sort` cannot go on: told to fail");
    }
}
