//! Does a group write what it read, once and in order, and end when it fails?

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use crate::adapter::RECORDS_PER_POLL_MAX;
use crate::clock::ManualClock;
use crate::flow::EVENTS_IN_FLIGHT_PER_WORKER;
use crate::moment::EventTime;
use crate::operator::{Emitter, Operator};
use crate::place::PartitionId;
use crate::run::{RunError, Stopper};
use crate::scripted::{
    Act, Batch, Encode, Gate, KEYS, Mood, PANICS, REFUSED_AT_KEY, REFUSED_EARLY, ScriptedSink,
    ScriptedSource, TimesIngest, Watermarks, build, ends,
};
use crate::sink::OutputStream;
use crate::source::Share;
use crate::worker::{Finished, WorkerGroup};

const LAG_MS: u64 = 5;

/// Watermarks that each worker's stage was told.
type Told = BTreeMap<usize, Vec<EventTime>>;

/// A run about to start.
struct Run {
    group: WorkerGroup,
    source: ScriptedSource,
    sink: ScriptedSink,
    lag_ms: u64,
}

impl Run {
    fn new(workers: usize, source: ScriptedSource, mood: Mood) -> Self {
        Run {
            group: WorkerGroup::new(workers, Arc::new(ManualClock::default())),
            source,
            sink: ScriptedSink::new(mood),
            lag_ms: LAG_MS,
        }
    }

    fn stopper(&self) -> Stopper {
        self.group.stopper()
    }

    fn run(self) -> (Result<Finished, RunError>, Told) {
        let (watermarks, lag_ms) = (Watermarks::default(), self.lag_ms);
        let (told, source) = (Arc::clone(&watermarks), self.source);
        let sink = Box::new(self.sink);
        let finished = self
            .group
            .run(sink, move |graph| build(graph, &source, lag_ms, &told));
        let told = watermarks.lock().unwrap().clone();
        (finished, told)
    }

    fn until_it_ends(self) -> (Result<Finished, RunError>, Told) {
        ends(move || self.run())
    }
}

/// Four partitions of disordered times that are polled in pieces and wait in between; one has nothing.
fn pieces() -> Vec<Vec<Act>> {
    let piece = |partition: i64, piece: i64| {
        let time = move |n: i64| 1_000 + piece * 40 + (n * 7 + partition) % 11 - 3;
        let mut times: Vec<i64> = (0..40).map(time).collect();
        times[3] = REFUSED_AT_KEY;
        times[20] = REFUSED_EARLY;
        Act::Records(times)
    };
    let acts = |partition: i64| {
        let pieces = (0..6).flat_map(move |n| [piece(partition, n), Act::Wait]);
        pieces.collect::<Vec<_>>()
    };
    vec![acts(0), Vec::new(), acts(2), acts(3), acts(4)]
}

/// Lines of each (stream, partition, key), as offsets in the order of writing.
fn offsets(sink: &ScriptedSink) -> BTreeMap<(OutputStream, u64, u64), Vec<u64>> {
    let mut offsets = BTreeMap::<_, Vec<u64>>::new();
    for (stream, line) in sink.lines.lock().unwrap().iter() {
        let mut numbers = line.split(' ').map(|number| number.parse::<i64>().unwrap());
        let mut next = || u64::try_from(numbers.next().unwrap()).unwrap();
        let (partition, offset) = (next(), next());
        let key = (*stream, partition, offset % KEYS);
        offsets.entry(key).or_default().push(offset);
    }
    offsets
}

fn never_falls(told: &Told) -> bool {
    told.values().all(|times| times.is_sorted_by(|a, b| a < b))
}

#[test]
fn is_everything_read_written_once_and_in_order() {
    for workers in [1, 2, 4] {
        let run = Run::new(workers, ScriptedSource::new(pieces()), Mood::Willing);
        let sink = run.sink.clone();
        let (finished, told) = run.until_it_ends();
        let totals = finished.unwrap().totals;
        assert_eq!(
            (totals.read, totals.in_flight()),
            (4 * 6 * 40, 0),
            "{workers}"
        );
        assert_eq!(sink.len() as u64, totals.read);
        let mut all = BTreeMap::<u64, Vec<u64>>::new();
        for ((stream, partition, key), offsets) in offsets(&sink) {
            if stream == OutputStream::Predictions {
                let rising = offsets.is_sorted_by(|a, b| a < b);
                assert!(rising, "{workers}: {partition} {key}: {offsets:?}");
            }
            all.entry(partition).or_default().extend(offsets);
        }
        for (partition, mut offsets) in all {
            offsets.sort_unstable();
            assert!(offsets.into_iter().eq(0..6 * 40), "{workers}: {partition}");
        }
        assert!(never_falls(&told), "{told:?}");
        assert_eq!(told.len(), workers);
        for times in told.values() {
            assert_eq!(
                times.last(),
                Some(&EventTime::MAX),
                "at the end of the input"
            );
        }
    }
}

/// A time as high as can be, with a watermark as high, is no end of the input.
#[test]
fn does_an_event_at_the_end_of_time_end_nothing() {
    for workers in [1, 2] {
        let partition = || {
            let late = (0..50).flat_map(|_| [Act::Records(vec![7]), Act::Wait]);
            let first = Act::Records(vec![i64::MAX, 5, i64::MAX]);
            std::iter::once(first).chain(late).collect::<Vec<_>>()
        };
        let source = ScriptedSource::new([partition(), partition()]);
        let mut run = Run::new(workers, source, Mood::Willing);
        run.lag_ms = 0;
        let totals = run.until_it_ends().0.unwrap().totals;
        assert_eq!(
            (totals.read, totals.in_flight()),
            (2 * 53, 0),
            "{workers} workers"
        );
    }
}

#[test]
fn does_a_source_without_partitions_or_records_end() {
    for workers in [1, 3] {
        for partitions in [vec![], vec![vec![]], vec![vec![], vec![Act::Wait]]] {
            let run = Run::new(workers, ScriptedSource::new(partitions), Mood::Willing);
            let (finished, _) = run.until_it_ends();
            assert_eq!(finished.unwrap().totals.read, 0);
        }
    }
}

#[test]
fn is_the_bound_on_events_in_flight_kept_while_the_sink_is_blocked() {
    for workers in [1, 2] {
        let bound = EVENTS_IN_FLIGHT_PER_WORKER * workers as u64;
        let gate = Gate::default();
        let partition = || vec![Act::Records(vec![1_000; 2 * bound as usize])];
        let source = ScriptedSource::new([partition(), partition()]);
        let mut run = Run::new(workers, source, Mood::Blocked(gate.clone()));
        let flow = Arc::clone(&run.group.stopper.flow);
        run.source.flow = Some(Arc::clone(&flow));
        let (polls, most) = (run.source.polls.clone(), run.source.most_in_flight.clone());
        let sink = run.sink.clone();
        let running = thread::spawn(move || run.until_it_ends());
        while flow.events_in_flight() < bound {
            assert!(!running.is_finished(), "the sink is blocked");
            thread::yield_now();
        }
        // Workers may be about to admit what they polled last; after that, nothing is polled. Time only
        // gives a broken bound the chance to show.
        thread::sleep(Duration::from_millis(50));
        let polls_when_full = polls.load(Ordering::SeqCst);
        thread::sleep(Duration::from_millis(150));
        assert_eq!(polls.load(Ordering::SeqCst), polls_when_full);
        assert_eq!(sink.len(), 0);
        let slack = (RECORDS_PER_POLL_MAX * workers) as u64;
        let in_flight = flow.events_in_flight();
        assert!(
            in_flight < bound + slack,
            "{in_flight} with {workers} workers"
        );
        gate.open();
        let (finished, _) = running.join().unwrap();
        let totals = finished.unwrap().totals;
        assert_eq!((totals.read, totals.in_flight()), (4 * bound, 0));
        assert_eq!(sink.len() as u64, 4 * bound);
        assert!(most.load(Ordering::SeqCst) < bound + slack);
        assert_eq!(flow.events_in_flight(), 0);
    }
}

/// Takes its time with every event.
struct Slow {
    per_event: Duration,
}

impl Operator for Slow {
    type Input = Batch;
    type Output = Batch;
    type Reject = std::convert::Infallible;

    fn on_batch(&mut self, batch: Batch, out: &mut Emitter<Batch, Self::Reject>) {
        let until = Instant::now() + self.per_event * batch.events.len() as u32;
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        out.give(batch);
    }
}

/// Both read as fast as they can; what the slow one has not handled is in flight.
#[test]
fn is_the_bound_kept_when_one_worker_is_ten_times_slower() {
    let workers = 2;
    let bound = EVENTS_IN_FLIGHT_PER_WORKER * workers as u64;
    let partition = || vec![Act::Records(vec![1_000; bound as usize])];
    let mut source = ScriptedSource::new([partition(), partition()]);
    let group = WorkerGroup::new(workers, Arc::new(ManualClock::default()));
    source.flow = Some(Arc::clone(&group.stopper.flow));
    let most = source.most_in_flight.clone();
    let sink = ScriptedSink::new(Mood::Willing);
    let written = sink.clone();
    let finished = ends(move || {
        group.run(Box::new(sink), move |graph| {
            let Share { worker, workers } = graph.share();
            let (batches, early) = graph.source(&source, TimesIngest::new(0, workers))?;
            let per_event = Duration::from_nanos(if worker == 0 { 5_000 } else { 500 });
            let (events, none) = graph.apply_at_key("slow", batches, Slow { per_event });
            none.none();
            let events = graph.concat([events, early.into_stream()]);
            let encode = Encode(OutputStream::Predictions);
            let (records, none) = graph.apply("encode", events, encode);
            none.none();
            graph.publish(records);
            Ok(())
        })
    });
    let totals = finished.unwrap().totals;
    assert_eq!((totals.read, totals.in_flight()), (2 * bound, 0));
    assert_eq!(written.len() as u64, 2 * bound);
    let slack = (RECORDS_PER_POLL_MAX * workers) as u64;
    let most = most.load(Ordering::SeqCst);
    // Else the slow one was not slow enough to be noticed.
    assert!((bound / 2..bound + slack).contains(&most), "{most}");
}

type Expected = fn(&RunError) -> bool;

#[test]
fn does_a_run_end_with_the_error_that_it_met() {
    let check = |acts: Vec<Act>, mood: Mood, expected: Expected| {
        for workers in [1, 3] {
            // Every worker has a partition without end: none may go on because it has more to read,
            // nor wait for who is gone.
            let others = vec![vec![Act::Endless]; 3];
            let source = ScriptedSource::new([vec![acts.clone()], others].concat());
            let (finished, told) = Run::new(workers, source, mood.clone()).until_it_ends();
            let error = finished.unwrap_err();
            assert!(expected(&error), "{workers} workers: {error:?}");
            let ended = |times: &Vec<EventTime>| times.contains(&EventTime::MAX);
            assert!(!told.values().any(ended), "{workers} workers: {told:?}");
        }
    };
    let before = || Act::Records((0..100).map(|n| 1_000 + n).collect());
    let panics = || Act::Records(vec![PANICS]);
    check(
        vec![before(), Act::Fail],
        Mood::Willing,
        |error| matches!(error, RunError::Source(error) if error.to_string().contains("cannot read script")),
    );
    check(vec![Act::Fail], Mood::Willing, |error| {
        matches!(error, RunError::Source(_))
    });
    check(
        vec![before()],
        Mood::Fails,
        |error| matches!(error, RunError::Sink(error) if error.to_string().contains("cannot write script")),
    );
    check(vec![before()], Mood::Panics, |error| {
        matches!(error, RunError::Panicked(_))
    });
    check(vec![panics(), before()], Mood::Willing, |error| {
        matches!(error, RunError::Panicked(_))
    });
    check(vec![Act::LieAboutEnd, before()], Mood::Willing, |error| {
        matches!(error, RunError::RecordAfterEnd(PartitionId(0)))
    });
}

#[test]
fn is_a_sink_that_cannot_finish_an_error() {
    for workers in [1, 2] {
        let run = Run::new(workers, ScriptedSource::new(pieces()), Mood::CannotFinish);
        let error = run.until_it_ends().0.unwrap_err();
        assert!(matches!(error, RunError::Sink(_)), "{error:?}");
    }
}

/// One partition has ended long before the stop, one never has anything, one goes on for ever.
#[test]
fn is_a_stop_an_end_of_the_input_where_it_was_read_to() {
    for round in 0..30 {
        let workers = [1, 2, 3][round % 3];
        let never = Gate::default();
        let acts = [
            vec![Act::Endless],
            vec![Act::Records(vec![1_000])],
            vec![Act::WaitFor(never)],
        ];
        let run = Run::new(workers, ScriptedSource::new(acts), Mood::Willing);
        let (stopper, sink) = (run.stopper(), run.sink.clone());
        let running = thread::spawn(move || run.until_it_ends());
        while sink.len() < 500 {
            assert!(!running.is_finished(), "only a stop ends it");
            thread::yield_now();
        }
        stopper.stop();
        let (finished, told) = running.join().unwrap();
        let totals = finished.unwrap().totals;
        assert_eq!((totals.in_flight(), totals.read), (0, sink.len() as u64));
        assert!(never_falls(&told), "{told:?}");
        for times in told.values() {
            assert_eq!(times.last(), Some(&EventTime::MAX), "round {round}");
        }
    }
}

/// A stop that came before the start ends the run as well.
#[test]
fn does_a_stop_before_the_start_count() {
    for workers in [1, 3] {
        let run = Run::new(
            workers,
            ScriptedSource::new([vec![Act::Endless]]),
            Mood::Willing,
        );
        run.stopper().stop();
        assert_eq!(run.until_it_ends().0.unwrap().totals.in_flight(), 0);
    }
}

#[test]
fn does_a_waiting_reader_neither_spin_nor_lose() {
    for workers in [1, 2] {
        let gate = Gate::default();
        let acts = || {
            vec![
                Act::Records(vec![1_000; 10]),
                Act::WaitFor(gate.clone()),
                Act::Records(vec![1_001; 10]),
            ]
        };
        let run = Run::new(
            workers,
            ScriptedSource::new([acts(), acts()]),
            Mood::Willing,
        );
        let (polls, sink) = (run.source.polls.clone(), run.sink.clone());
        let running = thread::spawn(move || run.until_it_ends());
        while sink.len() < 20 {
            thread::yield_now();
        }
        let (from, before) = (Instant::now(), polls.load(Ordering::SeqCst));
        thread::sleep(Duration::from_millis(100));
        let polled = polls.load(Ordering::SeqCst) - before;
        let waited_ms = u64::try_from(from.elapsed().as_millis()).unwrap() + 1;
        // At most one look per reader and millisecond.
        let most = (waited_ms + 2) * workers as u64;
        assert!(
            (1..=most).contains(&polled),
            "{polled} polls in {waited_ms} ms"
        );
        gate.open();
        let (finished, _) = running.join().unwrap();
        let totals = finished.unwrap().totals;
        assert_eq!((totals.read, totals.in_flight(), sink.len()), (40, 0, 40));
    }
}
