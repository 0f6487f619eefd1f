//! What an operator keeps for later: is it held for, given in order and as there is room, and given to the end?

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, proptest};

use crate::adapter::tests::{on_time, witness};
use crate::clock::ManualClock;
use crate::flow::{EVENTS_IN_FLIGHT_PER_WORKER, Flow, Ticket};
use crate::moment::EventTime;
use crate::operator::{Emitter, Operator};
use crate::pace::{Pace, PaceLimits, WaitingRoom};
use crate::place::Offset;
use crate::run::RunError;
use crate::scripted::{
    Act, Batch, Encode, Gate, KEYS, Mood, ScriptedSink, ScriptedSource, Strict, TimesIngest,
    Watermarks, ends,
};
use crate::sink::OutputStream;
use crate::source::{Share, Source};
use crate::worker::WorkerGroup;

/// Longest wait for a condition. Only a failure takes so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// Keeps every event until the watermark has passed it.
struct Sorter {
    worker: usize,
    room: WaitingRoom,
    watermark: Option<EventTime>,
    /// By time, partition and offset.
    kept: BTreeMap<(i64, u32, u64), ()>,
    at_once: usize,
    /// How many times it gives something before it fails, if it is to fail.
    fails_after: Option<usize>,
    slow: Option<Duration>,
    /// Of the batches that this turn took.
    taken: Vec<Ticket>,
    /// Most events that it has kept.
    most: Arc<AtomicU64>,
}

impl Sorter {
    fn tell(&mut self) {
        let kept = self.kept.len() as u64;
        self.most.fetch_max(kept, Ordering::SeqCst);
        self.room.holds(kept, kept);
    }
}

impl Operator for Sorter {
    type Input = Batch;
    type Output = Batch;
    type Reject = Batch;

    fn on_batch(&mut self, batch: Batch, _: &mut Emitter<Batch, Batch>) {
        let partition = batch.partition.0;
        let place = |&(offset, time): &(Offset, i64)| ((time, partition, offset.0), ());
        self.kept.extend(batch.events.iter().map(place));
        self.taken.push(batch.ticket);
        self.tell();
    }

    fn on_turn_over(&mut self) {
        self.taken.clear();
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
        let mut given = 0;
        while given < self.at_once && self.is_due() {
            let Some(((time, partition, offset), ())) = self.kept.pop_first() else {
                break;
            };
            given += 1;
            let ticket = self.room.admit(1, 1, Duration::ZERO);
            out.give(Batch::of(self.worker, partition, (offset, time), ticket));
        }
        self.tell();
        let until = Instant::now() + self.slow.unwrap_or_default() * given as u32;
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        match &mut self.fails_after {
            Some(0) => out.fail("told to fail"),
            Some(times) => *times -= 1,
            None => {}
        }
    }
}

/// A job: source, sorter, a stage behind it that holds the watermark to its promise.
struct Script {
    partitions: Vec<Vec<Act>>,
    lag_ms: u64,
    workers: usize,
    /// How far partitions may drift apart.
    drift_ms: u64,
    /// Events given at once; few, and much is due more often than not.
    at_once: usize,
    fails_after: Option<usize>,
    /// Processor time per event that the sorter of the first worker takes to give it.
    slow: Option<Duration>,
    /// How many events a second sorter behind the first gives at once, if there is one.
    second: Option<usize>,
    mood: Mood,
}

impl Script {
    fn of(partitions: Vec<Vec<Vec<i64>>>, lag_ms: u64, workers: usize) -> Self {
        let acts = |polls: Vec<Vec<i64>>| polls.into_iter().map(Act::Records).collect();
        Script {
            partitions: partitions.into_iter().map(acts).collect(),
            lag_ms,
            workers,
            drift_ms: u64::MAX,
            at_once: 3,
            fails_after: None,
            slow: None,
            second: None,
            mood: Mood::Willing,
        }
    }
}

/// What can be seen of a job while it runs, and after it.
struct Running {
    group: WorkerGroup,
    source: ScriptedSource,
    script: Script,
    flow: Arc<Flow>,
    pace: Arc<Pace>,
    sink: ScriptedSink,
    /// Events that passed from the sorter to the stage behind it.
    passed: Arc<Mutex<u64>>,
    /// What that stage was told, by worker.
    told: Watermarks,
    /// Most events that the second sorter of any worker has kept.
    most: Arc<AtomicU64>,
}

impl Running {
    fn new(mut script: Script) -> Self {
        let workers = script.workers;
        let source = ScriptedSource::new(std::mem::take(&mut script.partitions));
        let limits = PaceLimits {
            max_drift_ms: script.drift_ms,
            waiting_bytes_per_worker: u64::MAX,
        };
        let group = WorkerGroup::new(workers, Arc::new(ManualClock::default()));
        Running {
            flow: Arc::clone(&group.stopper().flow),
            group,
            pace: Arc::new(Pace::new(limits, workers, source.partitions())),
            source,
            sink: ScriptedSink::new(script.mood.clone()),
            script,
            passed: Arc::default(),
            told: Watermarks::default(),
            most: Arc::default(),
        }
    }

    fn run(self) -> Result<(), RunError> {
        let Running {
            source,
            script,
            pace,
            passed,
            told,
            most,
            ..
        } = self;
        let (sink, group) = (Box::new(self.sink), self.group);
        ends(move || {
            group.run(sink, move |graph| {
                let Share { worker, workers } = graph.share();
                let ingest = TimesIngest::new(script.lag_ms, workers);
                let (batches, early) = graph.source_in_step(&pace, &source, ingest)?;
                let sorter = Sorter {
                    worker,
                    room: graph.waiting_room(&pace),
                    watermark: None,
                    kept: BTreeMap::new(),
                    at_once: script.at_once,
                    fails_after: script.fails_after,
                    slow: script.slow.filter(|_| worker == 0),
                    taken: Vec::new(),
                    most: Arc::default(),
                };
                let (sorted, none) = graph.apply_at_key("sort", batches, sorter);
                let (sorted, others_again) = match script.second {
                    None => (sorted, None),
                    Some(at_once) => {
                        let second = Sorter {
                            worker,
                            room: graph.waiting_room(&pace),
                            watermark: None,
                            kept: BTreeMap::new(),
                            at_once,
                            fails_after: None,
                            slow: None,
                            taken: Vec::new(),
                            most: Arc::clone(&most),
                        };
                        let (sorted, never) = graph.apply_at_key("again", sorted, second);
                        (sorted, Some(never.into_stream()))
                    }
                };
                let sorted = witness(graph, sorted, &passed);
                let watermarks = Arc::clone(&told);
                let strict = Strict { worker, watermarks };
                let (kept, refused) = graph.apply("strict", sorted, strict);
                let kept_as = Encode(OutputStream::Predictions);
                let (kept, never) = graph.apply("encode", kept, kept_as);
                never.none();
                let others = [
                    early.into_stream(),
                    none.into_stream(),
                    refused.into_stream(),
                ];
                let others = others.into_iter().chain(others_again);
                let late = Encode(OutputStream::LateEvents);
                let (others, never) = graph.apply("encode others", graph.concat(others), late);
                never.none();
                graph.publish(graph.concat([kept, others]));
                Ok(())
            })
        })
        .map(drop)
    }
}

/// Lines of kept events by key, as (time, partition, offset), in the order of writing.
fn by_key(sink: &ScriptedSink) -> BTreeMap<u64, Vec<(i64, u64, u64)>> {
    let mut all = BTreeMap::<_, Vec<_>>::new();
    let lines = sink.lines.lock().unwrap();
    for (_, line) in lines
        .iter()
        .filter(|(stream, _)| *stream == OutputStream::Predictions)
    {
        let numbers = line.split(' ').map(|number| number.parse().unwrap());
        let numbers: Vec<i64> = numbers.collect();
        assert_eq!(numbers.len(), 3, "{line}");
        let (partition, offset, time) = (numbers[0] as u64, numbers[1] as u64, numbers[2]);
        all.entry(offset % KEYS)
            .or_default()
            .push((time, partition, offset));
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
        let mut script = Script::of(partitions, lag_ms, workers);
        script.drift_ms = drift_ms.unwrap_or(u64::MAX);
        let job = Running::new(script);
        let (sink, passed) = (job.sink.clone(), Arc::clone(&job.passed));
        job.run().unwrap();
        let written = by_key(&sink);
        let all = written.values().map(Vec::len).sum::<usize>() as u64;
        assert_eq!((*passed.lock().unwrap(), all), (expected, expected));
        for (key, places) in written {
            assert!(places.is_sorted_by(|a, b| a < b), "{key}: {places:?}");
        }
    }
}

/// A partition far ahead of one that has not spoken yet is held back, and let go on when that one ends.
#[test]
fn does_a_job_in_step_end_whoever_ends_first() {
    for workers in [1, 2, 3] {
        let ahead = (0..50).map(|n| vec![1_000 + 100 * n; 20]).collect();
        let partitions = vec![ahead, vec![], vec![vec![100]], vec![vec![], vec![7_000]]];
        let mut script = Script::of(partitions, 0, workers);
        script.drift_ms = 10;
        let job = Running::new(script);
        let passed = Arc::clone(&job.passed);
        job.run().unwrap();
        assert_eq!(*passed.lock().unwrap(), 50 * 20 + 2);
    }
}

/// What is kept holds the watermark back, but no more than it must: while nothing else comes, the stage behind
/// is told how far it has risen.
#[test]
fn does_the_watermark_rise_behind_what_is_kept() {
    for workers in [1, 2] {
        let more = Gate::default();
        let times = (0..11).map(|n| 1_000 + 10 * n).collect();
        let mut script = Script::of(Vec::new(), 25, workers);
        script.partitions = vec![vec![Act::Records(times), Act::WaitFor(more.clone())]];
        let job = Running::new(script);
        let (told, pace) = (Arc::clone(&job.told), Arc::clone(&job.pace));
        let running = thread::spawn(move || job.run());
        let is_told = || {
            let told = told.lock().unwrap();
            let last = told.values().filter_map(|times| times.last());
            last.filter(|last| **last == EventTime(1_075)).count() == workers
        };
        let start = Instant::now();
        while !is_told() {
            assert!(start.elapsed() < PATIENCE, "{:?}", told.lock().unwrap());
            thread::yield_now();
        }
        assert_eq!(pace.waiting_events(), 3, "1080, 1090 and 1100 are kept");
        more.open();
        running.join().unwrap().unwrap();
    }
}

/// Much that falls due at once, while the sink takes nothing.
#[test]
fn is_what_is_due_given_only_as_there_is_room() {
    const AT_ONCE: usize = 1_000;
    let bound = EVENTS_IN_FLIGHT_PER_WORKER;
    let events = 2 * bound;
    let (all_read, taking) = (Gate::default(), Gate::default());
    let mut script = Script::of(Vec::new(), 0, 1);
    script.partitions = vec![
        vec![Act::Records(vec![100]), Act::WaitFor(all_read.clone())],
        vec![Act::Records(
            (0..events as i64).map(|n| 1_000 + n).collect(),
        )],
    ];
    script.at_once = AT_ONCE;
    script.mood = Mood::Blocked(taking.clone());
    let job = Running::new(script);
    let (flow, pace, sink) = (
        Arc::clone(&job.flow),
        Arc::clone(&job.pace),
        job.sink.clone(),
    );
    let running = thread::spawn(move || job.run());
    let wait_until = |holds: &dyn Fn() -> bool| {
        while !holds() {
            assert!(!running.is_finished(), "the sink is blocked");
            thread::yield_now();
        }
    };
    wait_until(&|| pace.waiting_events() == events + 1 && flow.events_in_flight() == 0);
    all_read.open();
    wait_until(&|| flow.events_in_flight() >= bound);
    // Time only gives a broken bound the chance to show.
    thread::sleep(Duration::from_millis(100));
    let in_flight = flow.events_in_flight();
    assert!(in_flight < bound + AT_ONCE as u64, "{in_flight}");
    taking.open();
    running.join().unwrap().unwrap();
    let written = by_key(&sink).values().map(Vec::len).sum::<usize>();
    assert_eq!(written as u64, events + 1);
    assert_eq!((flow.events_in_flight(), pace.waiting_events()), (0, 0));
}

/// One worker is ten times slower than the one that reads. Its events are due at once, and could pile up where
/// no bound on events in flight counts them: then the other would read on without end.
#[test]
fn does_a_slow_worker_slow_the_source_and_not_fill_the_room_for_waiting_events() {
    const EVENTS: i64 = 1_200_000;
    let times = (0..EVENTS).map(|n| 1_000 + n).collect();
    let mut script = Script::of(Vec::new(), 0, 2);
    script.partitions = vec![vec![], vec![Act::Records(times)]];
    script.at_once = 1_000;
    script.slow = Some(Duration::from_micros(2));
    // Nothing is read before the empty partition has ended: until then all would have to wait.
    script.drift_ms = 1_000_000;
    let job = Running::new(script);
    let (pace, passed) = (Arc::clone(&job.pace), Arc::clone(&job.passed));
    let running = thread::spawn(move || job.run());
    let mut most = 0;
    while !running.is_finished() {
        most = most.max(pace.waiting_events());
        thread::yield_now();
    }
    running.join().unwrap().unwrap();
    assert_eq!(*passed.lock().unwrap(), EVENTS as u64);
    // What one turn takes is bounded by what may be in flight, and it may take another before it learns that
    // the first has become due.
    let bound = 2 * 2 * EVENTS_IN_FLIGHT_PER_WORKER;
    assert!(most < bound + bound / 4, "{most}");
}

/// Much falls due at once in the first of two that keep events, and the second is slower: it would have it all.
#[test]
fn does_who_keeps_events_wait_for_who_does_so_behind_it() {
    const EVENTS: i64 = 60_000;
    for workers in [1, 2] {
        let all_read = Gate::default();
        let mut script = Script::of(Vec::new(), 0, workers);
        let times = (0..EVENTS).map(|n| 1_000 + n).collect();
        script.partitions = vec![
            vec![Act::Records(vec![100]), Act::WaitFor(all_read.clone())],
            vec![Act::Records(times)],
        ];
        script.at_once = 1_000;
        script.second = Some(10);
        let job = Running::new(script);
        let (pace, most) = (Arc::clone(&job.pace), Arc::clone(&job.most));
        let (passed, sink) = (Arc::clone(&job.passed), job.sink.clone());
        let running = thread::spawn(move || job.run());
        while pace.waiting_events() < EVENTS as u64 + 1 {
            assert!(!running.is_finished(), "it waits");
            thread::yield_now();
        }
        all_read.open();
        running.join().unwrap().unwrap();
        assert_eq!(*passed.lock().unwrap(), EVENTS as u64 + 1);
        let sorted = by_key(&sink).into_values();
        assert!({ sorted }.all(|places| places.is_sorted()));
        let most = most.load(Ordering::SeqCst);
        assert!(most < EVENTS as u64 / 3, "the second has kept {most}");
    }
}

#[test]
fn does_an_operator_that_cannot_go_on_end_the_run() {
    for workers in [1, 2] {
        let partitions = vec![(0..40).map(|n| vec![100 + n; 5]).collect(); 2];
        let mut script = Script::of(partitions, 0, workers);
        script.fails_after = Some(2);
        let error = Running::new(script).run().unwrap_err();
        assert_eq!(error.to_string(), "stage `sort` cannot go on: told to fail");
    }
}
