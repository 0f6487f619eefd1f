//! Features of other keys than the job's: are they what a list of all events says, for any number of workers, and do a key's
//! events stay in order?

use std::collections::BTreeMap;

use serde_json::Value;
use slackwater::pipeline::graph::Ending;
use slackwater_connectors::generator::{Generator, GeneratorConfig};
use slackwater_connectors::memory::{MemorySink, MemorySource, Schedule};
use slackwater_dataflow::place::PartitionId;
use slackwater_dataflow::sink::OutputStream;
use slackwater_operators::event::FieldIndex;

use crate::reference::{Reference, run_to};

const SEEDS: u64 = 30;

/// So little memory that most of what waits goes to disk.
const LITTLE_MEMORY: u64 = 16 * 1024;

/// A key of the reference job's fields, by their positions and their names.
#[derive(Clone, Copy)]
struct Key {
    fields: &'static [(usize, &'static str)],
    /// Place and name of the model's input that its count stands for.
    input: (usize, &'static str),
}

const TYPE: Key = Key {
    fields: &[(3, "event_type")],
    input: (1, "views"),
};

const CATEGORY: Key = Key {
    fields: &[(2, "category")],
    input: (3, "carts"),
};

/// Its events are in one partition, as a user's are, but at other workers than that one's.
const CATEGORY_OF_USER: Key = Key {
    fields: &[(2, "category"), (0, "user_id")],
    input: (1, "views"),
};

const TYPE_OF_USER: Key = Key {
    fields: &[(3, "event_type"), (0, "user_id")],
    input: (3, "carts"),
};

fn counting(keys: &[Key]) -> Vec<(Vec<FieldIndex>, usize)> {
    let key = |key: &Key| {
        let fields = key.fields.iter().map(|(at, _)| FieldIndex(*at));
        (fields.collect(), key.input.0)
    };
    keys.iter().map(key).collect()
}

/// Lines of generated events, partition by partition.
fn lines(config: GeneratorConfig) -> Vec<Vec<Vec<u8>>> {
    let partitions = config.partitions;
    let generator = Generator::new(config).unwrap();
    let lines = (0..partitions).map(|number| {
        let mut bytes = Vec::new();
        let partition = PartitionId(number);
        generator.write_partition(partition, &mut bytes).unwrap();
        let lines = bytes.split(|&byte| byte == b'\n').map(<[u8]>::to_vec);
        lines.filter(|line| !line.is_empty()).collect()
    });
    lines.collect()
}

/// Records of features by partition and offset.
fn features(sink: &MemorySink) -> BTreeMap<(u64, u64), Value> {
    let records = sink.records(OutputStream::Predictions);
    let records = records.iter().map(|line| {
        let record: Value = serde_json::from_slice(line).unwrap();
        let number = |key: &str| record[key].as_u64().unwrap();
        ((number("partition"), number("offset")), record)
    });
    let mut features = BTreeMap::new();
    for (place, record) in records {
        assert_eq!(features.insert(place, record), None, "{place:?} twice");
    }
    features
}

/// Asserts that the counts are those of a list of all events that have features, in this order.
fn assert_counted(
    found: &BTreeMap<(u64, u64), Value>,
    events: &BTreeMap<(u64, u64), Value>,
    order: impl Fn((u64, u64), &Value) -> (i64, u64, u64),
    keys: &[Key],
) {
    let mut handled: Vec<_> = found.keys().map(|place| (*place, &events[place])).collect();
    handled.sort_by_key(|(place, event)| order(*place, event));
    for key in keys {
        let mut counts = BTreeMap::new();
        for (place, event) in &handled {
            let of_event: Vec<&Value> = key.fields.iter().map(|(_, name)| &event[name]).collect();
            let count = counts.entry(format!("{of_event:?}")).or_insert(0.0);
            *count += 1.0;
            let record = &found[place];
            let value = record["features"][key.input.1].as_f64();
            assert_eq!(value, Some(*count), "{}: {event} {record}", key.input.1);
        }
        assert!(
            counts.values().any(|count| *count > 2.0),
            "hardly any key has events"
        );
    }
}

/// Events by partition and offset, which is where a line begins; none of what is no JSON.
fn parsed(lines: &[Vec<Vec<u8>>]) -> BTreeMap<(u64, u64), Value> {
    let mut events = BTreeMap::new();
    for (partition, lines) in (0..).zip(lines) {
        let mut offset = 0;
        for line in lines {
            if let Ok(event) = serde_json::from_slice(line) {
                events.insert((partition, offset), event);
            }
            offset += line.len() as u64 + 1;
        }
    }
    events
}

/// Runs the job on workers and polls of many kinds, holds the features against a list, and gives how many there were.
fn check(
    changes: &[(&str, &str)],
    keys: &[Key],
    order: impl Fn((u64, u64), &Value) -> (i64, u64, u64),
) -> usize {
    let job = Reference::new(changes).counting_by(counting(keys));
    let mut compared = 0;
    for seed in 0..SEEDS {
        let lines = lines(GeneratorConfig {
            seed,
            events: 200 + seed % 7 * 30,
            partitions: 1 + (seed % 5) as u32,
            users: 25,
            invalid: 0.1,
            late: 0.05,
            ..GeneratorConfig::default()
        });
        let events = parsed(&lines);
        let partitions = (0..).map(PartitionId).zip(lines);
        let source = MemorySource::from_records(partitions).unwrap();
        for workers in [1, 2, 4] {
            let polls = Schedule::Seeded(seed * 8 + workers as u64);
            let sink = MemorySink::new();
            let source = source.clone().with_schedule(polls);
            let blueprint = job.ending(Ending::WriteFeatures, source, workers);
            // In event-time order one of three goes over the disk.
            let spills = (seed as usize + workers).is_multiple_of(3);
            let memory = if spills { LITTLE_MEMORY } else { u64::MAX };
            let blueprint = blueprint.with_waiting_bytes(memory);
            run_to(blueprint, workers, Box::new(sink.clone()));
            let found = features(&sink);
            assert_counted(&found, &events, &order, keys);
            compared += found.len();
        }
    }
    compared
}

/// Where a key's events are in one partition, its order is theirs.
#[test]
fn do_keys_of_one_partition_see_their_events_in_its_order() {
    let order = |(partition, offset), _: &Value| (0, partition, offset);
    for keys in [
        &[CATEGORY_OF_USER][..],
        &[TYPE_OF_USER, CATEGORY_OF_USER],
        &[CATEGORY_OF_USER, TYPE_OF_USER],
    ] {
        assert!(check(&[], keys, order) > 10_000);
    }
}

/// Keys whose events are in all partitions.
#[test]
fn do_keys_of_many_partitions_see_their_events_by_time() {
    let order = |(partition, offset), event: &Value| {
        let time = event["timestamp_ms"].as_i64().unwrap();
        (time, partition, offset)
    };
    let event_time = ("order = \"arrival\"", "order = \"event_time\"");
    for keys in [
        &[TYPE][..],
        &[TYPE, CATEGORY],
        &[CATEGORY_OF_USER, CATEGORY],
    ] {
        assert!(check(&[event_time], keys, order) > 10_000);
    }
}
