//! In event-time order, is the content of the outputs a function of the input alone, however the partitions
//! are interleaved?
//!
//! Here a user's events are in all partitions, which arrival order could not put in order. Compared is
//! every record by where its event came from, byte by byte but for what is masked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use slackwater::pipeline::graph::Blueprint;
use slackwater_connectors::generator::{Generator, GeneratorConfig};
use slackwater_connectors::memory::{MemorySink, MemorySource, Schedule};
use slackwater_dataflow::pace::Pace;
use slackwater_dataflow::place::PartitionId;
use slackwater_dataflow::sink::{OutputChunk, OutputStream, Sink, SinkError};

use crate::canonical::mask;
use crate::reference::{Reference, assert_in_order, run_to};

/// Each seed makes other events and other polls.
const SEEDS: u64 = 100;

/// Few users, so that each has a history of many events.
const USERS: u32 = 25;

/// Out of order by at most this, all partitions together.
const DISORDER_MS: u64 = 40;

const EVENT_TIME: (&str, &str) = ("order = \"arrival\"", "order = \"event_time\"");
const DISORDER: (&str, &str) = (
    "max_out_of_orderness = \"2s\"",
    "max_out_of_orderness = \"40ms\"\nmax_drift = \"15ms\"",
);

/// So little memory that most of what waits goes to disk.
const LITTLE_MEMORY: u64 = 16 * 1024;

/// A record of each event, with its stream, by partition and offset.
type Content = BTreeMap<(u64, u64), (&'static str, String)>;

fn content(sink: &MemorySink) -> Content {
    let mut content = Content::new();
    for stream in OutputStream::ALL {
        for line in sink.records(stream) {
            let line = str::from_utf8(&line).unwrap();
            let record = mask(line);
            let place = record.get("source").unwrap_or(&record);
            let number = |key: &str| place[key].as_u64().unwrap();
            let place = (number("partition"), number("offset"));
            let record = (stream.name(), masked_text(line, &record));
            let earlier = content.insert(place, record);
            assert_eq!(earlier, None, "a second record of {place:?}");
        }
    }
    content
}

/// The text of a record with the numbers of masked fields left out; everything else as it was written.
fn masked_text(line: &str, masked: &Value) -> String {
    let mut text = line.to_owned();
    for (name, _) in masked
        .as_object()
        .unwrap()
        .iter()
        .filter(|(_, value)| *value == "masked")
    {
        let key = format!("\"{name}\":");
        assert_eq!(text.matches(&key).count(), 1, "{line}");
        let (before, after) = text.split_once(&key).unwrap();
        let rest = after.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        text = format!("{before}{key}{rest}");
    }
    text
}

/// Lines of generated events in the order of one partition.
fn lines(seed: u64, invalid: f64, late: f64) -> Vec<Vec<u8>> {
    let generator = Generator::new(GeneratorConfig {
        seed,
        events: 200 + seed % 7 * 30,
        partitions: 1,
        users: USERS,
        invalid,
        late,
        max_out_of_orderness_ms: DISORDER_MS,
        ..GeneratorConfig::default()
    });
    let mut lines = Vec::new();
    let generator = generator.unwrap();
    generator
        .write_partition(PartitionId(0), &mut lines)
        .unwrap();
    let lines = lines.split(|&byte| byte == b'\n').map(<[u8]>::to_vec);
    lines.filter(|line| !line.is_empty()).collect()
}

/// A stable number for a line, to deal lines out by.
fn draw(seed: u64, nth: usize) -> u64 {
    let mixed = (seed ^ (nth as u64) << 20).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 33
}

/// The lines, each in one of some partitions, which keep their order.
fn dealt(seed: u64, lines: Vec<Vec<u8>>) -> MemorySource {
    let partitions = 1 + seed % 5;
    let mut dealt = vec![Vec::new(); partitions as usize];
    for (nth, line) in lines.into_iter().enumerate() {
        dealt[(draw(seed, nth) % partitions) as usize].push(line);
    }
    let dealt = (0..).map(PartitionId).zip(dealt);
    MemorySource::from_records(dealt).unwrap()
}

fn first_difference(expected: &Content, found: &Content) -> String {
    let differs = |place: &&(u64, u64)| expected.get(place) != found.get(place);
    let place = expected.keys().chain(found.keys()).find(differs);
    place.map_or_else(String::new, |place| {
        let (expected, found) = (expected.get(place), found.get(place));
        format!("{place:?}\nexpected {expected:?}\nfound {found:?}")
    })
}

/// Gives the number of late events.
fn same_for_any_workers_and_interleaving(changes: &[(&str, &str)]) -> u64 {
    let job = Reference::new(changes);
    let mut outcomes = [0; OutputStream::ALL.len()];
    for seed in 0..SEEDS {
        let source = dealt(seed, lines(seed, 0.1, 0.05));
        let (sink, totals) = job.run(source.clone(), 1);
        let expected = content(&sink);
        for (sum, outcome) in outcomes.iter_mut().zip(totals.outcomes) {
            *sum += outcome;
        }
        for workers in [1, 2, 4] {
            let polls = Schedule::Seeded(seed * 8 + workers as u64);
            let source = source.clone().with_schedule(polls);
            let sink = MemorySink::new();
            let blueprint = job.blueprint(source, workers);
            // One of three goes over the disk.
            let spills = (seed as usize + workers).is_multiple_of(3);
            let memory = if spills { LITTLE_MEMORY } else { u64::MAX };
            let blueprint = blueprint.with_waiting_bytes(memory);
            let again = run_to(blueprint, workers, Box::new(sink.clone()));
            assert_eq!(again, totals, "seed {seed}, {workers} workers");
            let found = content(&sink);
            assert!(
                found == expected,
                "seed {seed}, {workers} workers: {}",
                first_difference(&expected, &found)
            );
        }
    }
    // Else the seeds would compare less than they claim.
    let [predictions, validation, processing, late] = outcomes;
    assert!(
        predictions.min(validation).min(processing) > 200,
        "{outcomes:?}"
    );
    late
}

#[test]
fn is_content_the_same_for_any_workers_and_interleaving() {
    let late = same_for_any_workers_and_interleaving(&[EVENT_TIME, DISORDER]);
    assert!(late > 200, "{late}");
}

#[test]
fn is_it_when_late_events_are_processed() {
    let process = ("late = \"dead_letter\"", "late = \"process\"");
    // Those that are late in the test above.
    let late = same_for_any_workers_and_interleaving(&[EVENT_TIME, DISORDER, process]);
    assert_eq!(late, 0);
}

/// What the comparison is to find: arrival order, where a user's events are in several partitions.
#[test]
fn does_the_comparison_see_another_order() {
    let job = Reference::new(&[DISORDER]);
    let seed = 4;
    let source = dealt(seed, lines(seed, 0.0, 0.0));
    let (in_turn, _) = job.run(source.clone(), 1);
    let (mixed, _) = job.run(source.with_schedule(Schedule::Seeded(1)), 1);
    assert_ne!(content(&in_turn), content(&mixed));
}

/// Events of one user by order of handling: (event time, partition, offset), late ones aside.
#[test]
fn are_events_of_a_user_written_in_order() {
    let job = Reference::new(&[EVENT_TIME, DISORDER]);
    for seed in 0..10 {
        let source = dealt(seed, lines(seed, 0.1, 0.05));
        let (sink, _) = job.run(source.with_schedule(Schedule::Seeded(seed)), 2);
        assert!(assert_in_order(&sink, seed) > 10);
    }
}

/// Predictions by user and event time.
fn by_time(sink: &MemorySink) -> BTreeMap<(String, u64), String> {
    let records = sink.records(OutputStream::Predictions);
    let records = records.iter().map(|line| {
        let record: Value = serde_json::from_slice(line).unwrap();
        let key = (
            record["user_id"].to_string(),
            record["event_time"].as_u64().unwrap(),
        );
        (key, record["prediction"].to_string())
    });
    records.collect()
}

/// Events of a partition in another order, none of them late: the same predictions.
#[test]
fn is_disorder_inside_a_partition_of_no_consequence() {
    let job = Reference::new(&[EVENT_TIME, DISORDER]);
    for seed in 0..20 {
        let mut timed = BTreeMap::new();
        for line in lines(seed, 0.0, 0.0) {
            let event: Value = serde_json::from_slice(&line).unwrap();
            let time = event["timestamp_ms"].as_i64().unwrap();
            // Two events of a user at one time would be told apart by their places, which change here.
            timed.insert((time, event["user_id"].to_string()), line);
        }
        let sorted = |jitter_ms: u64| {
            let mut lines: Vec<_> = timed.iter().enumerate().collect();
            let moved = |nth: usize| draw(seed + 77, nth) % (jitter_ms + 1);
            lines.sort_by_key(|(nth, ((time, _), _))| time + moved(*nth) as i64);
            lines
                .into_iter()
                .map(|(_, (_, line))| line.clone())
                .collect()
        };
        let (ordered, totals) = job.run(dealt(seed, sorted(0)), 2);
        let (shuffled, again) = job.run(dealt(seed, sorted(DISORDER_MS)), 2);
        assert_eq!((totals, totals.outcomes[0]), (again, timed.len() as u64));
        assert_eq!(by_time(&ordered), by_time(&shuffled), "seed {seed}");
    }
}

/// A sink that looks how much waits for the watermark.
struct Watching {
    inner: MemorySink,
    pace: Arc<Pace>,
    most: Arc<Mutex<u64>>,
}

impl Sink for Watching {
    fn append(&mut self, chunk: &OutputChunk) -> Result<(), SinkError> {
        let mut most = self.most.lock().unwrap();
        *most = (*most).max(self.pace.waiting_bytes());
        drop(most);
        self.inner.append(chunk)
    }

    fn finish(&mut self) -> Result<(), SinkError> {
        self.inner.finish()
    }
}

/// Two partitions, of which the second begins two hours of event time later: while the first one catches up,
/// the second has to wait, or all it brings would.
#[test]
fn does_a_partition_two_hours_ahead_stop_or_fill_nothing() {
    const BOUND: u64 = 256 * 1024;
    const EVENTS: i64 = 40_000;
    let record = |at: i64| {
        let user = at % 31;
        let event = format!(
            r#"{{"user_id":"u{user}","product_id":"p","category":"c","event_type":"view","timestamp_ms":{}}}"#,
            1_767_225_600_000 + at
        );
        event.into_bytes()
    };
    const HOUR_MS: i64 = 3_600_000;
    let step = 4 * HOUR_MS / EVENTS;
    let first: Vec<_> = (0..EVENTS).map(|n| record(n * step)).collect();
    let second: Vec<_> = (0..EVENTS)
        .map(|n| record(2 * HOUR_MS + n * step))
        .collect();
    let source = MemorySource::from_records([(PartitionId(0), first), (PartitionId(1), second)]);
    let source = source.unwrap();
    // Held back by its distance; and by what waits, when any distance is allowed.
    for drift in ["1m", "24h"] {
        let drift = format!("max_out_of_orderness = \"2s\"\nmax_drift = \"{drift}\"");
        let ahead = ("max_ahead = \"1h\"", "");
        let job = Reference::new(&[EVENT_TIME, (DISORDER.0, &drift), ahead]);
        for workers in [1, 2] {
            let blueprint: Blueprint = job.blueprint(source.clone(), workers);
            let blueprint = blueprint.with_waiting_bytes(BOUND);
            let (inner, most) = (MemorySink::new(), Arc::default());
            let sink = Watching {
                inner: inner.clone(),
                pace: blueprint.pace().unwrap(),
                most: Arc::clone(&most),
            };
            let totals = run_to(blueprint, workers, Box::new(sink));
            assert_eq!(totals.outcomes[0], 2 * EVENTS as u64);
            assert!(inner.finished());
            // What is in flight counts by its records alone, and waits with its tables: up to three times as
            // much. Beyond that, what some polls bring: while one worker stands still, since somebody else has its
            // core, the other reads on. Without a pace it is 7 MB and more.
            let slack = 4 * 1_024 * 700;
            let most = *most.lock().unwrap();
            assert!(
                most > 0 && most < 3 * BOUND * workers as u64 + slack,
                "{drift}: {most}"
            );
        }
    }
}
