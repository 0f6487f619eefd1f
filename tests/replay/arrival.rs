//! In arrival order, is the content of the outputs a function of the input alone?
//!
//! Compared are canonical records, in order per key: by user where the key is known, by partition where
//! a record was rejected before that. Equal sequences per key are equal multisets as well.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use serde_json::Value;
use slackwater_connectors::generator::GeneratorConfig;
use slackwater_connectors::memory::{MemorySink, MemorySource, Schedule};
use slackwater_dataflow::meters::Totals;
use slackwater_dataflow::place::{Offset, PartitionId};
use slackwater_dataflow::sink::OutputStream;
use slackwater_dataflow::source::{Demand, Polled, Share, Source, Starts, Wake};

use crate::canonical::mask;
use crate::faults::{Fault, faulty};
use crate::reference::{Reference, generated};

/// Each seed makes other events and other polls.
const SEEDS: u64 = 100;

/// Few users, so that each has a history of many events.
const USERS: u32 = 25;

/// Canonical records by stream and key, in order.
type Content = BTreeMap<(&'static str, String), Vec<Value>>;

/// Runs the job and sorts what it wrote.
fn run(job: &Reference, source: impl Source + 'static, workers: usize) -> (Content, Totals) {
    let (sink, totals) = job.run(source, workers);
    (content(&sink), totals)
}

fn content(sink: &MemorySink) -> Content {
    let mut content = Content::new();
    for stream in OutputStream::ALL {
        for line in sink.records(stream) {
            let record = mask(str::from_utf8(&line).unwrap());
            let key = match stream {
                OutputStream::Predictions => &record["user_id"],
                OutputStream::ProcessingErrors => &record["original_event"][0],
                OutputStream::ValidationErrors | OutputStream::LateEvents => {
                    &record["source"]["partition"]
                }
            };
            assert!(!key.is_null(), "a record without key: {record}");
            let key = (stream.name(), key.to_string());
            content.entry(key).or_default().push(record);
        }
    }
    content
}

/// A few hundred events, some of them wrong or late.
fn source(seed: u64) -> MemorySource {
    generated(GeneratorConfig {
        seed,
        events: 200 + seed % 7 * 30,
        partitions: 1 + (seed % 5) as u32,
        users: USERS,
        invalid: 0.1,
        late: 0.05,
        ..GeneratorConfig::default()
    })
}

#[test]
fn is_content_the_same_for_any_workers_and_polls() {
    let job = Reference::new(&[]);
    let mut outcomes = [0; OutputStream::ALL.len()];
    for seed in 0..SEEDS {
        let source = source(seed);
        let records = source.records() as u64;
        let (expected, totals) = run(&job, source.clone(), 1);
        assert_eq!(totals.read, records, "seed {seed}");
        for (sum, outcome) in outcomes.iter_mut().zip(totals.outcomes) {
            *sum += outcome;
        }
        for workers in [1, 2, 4] {
            let polls = Schedule::Seeded(seed * 8 + workers as u64);
            let (found, again) = run(&job, source.clone().with_schedule(polls), workers);
            assert_eq!(again, totals, "seed {seed}, {workers} workers");
            assert!(
                found == expected,
                "seed {seed}, {workers} workers: {}",
                first_difference(&expected, &found)
            );
        }
    }
    // Else the seeds would compare less than they claim.
    assert!(
        outcomes.iter().all(|&records| records > 200),
        "{outcomes:?}"
    );
}

fn first_difference(expected: &Content, found: &Content) -> String {
    let keys = expected.keys().chain(found.keys());
    for key in keys {
        let (expected, found) = (expected.get(key), found.get(key));
        if expected != found {
            return format!("{key:?}\nexpected {expected:?}\nfound {found:?}");
        }
    }
    String::new()
}

/// Per key and partition, offsets in output never go back.
#[test]
fn do_offsets_of_a_key_only_go_forward() {
    let job = Reference::new(&[]);
    for seed in 0..5 {
        let source = source(seed).with_schedule(Schedule::Seeded(seed));
        let (content, _) = run(&job, source, 4);
        for ((stream, key), records) in &content {
            let mut last = BTreeMap::new();
            for record in records {
                let place = match record.get("source") {
                    Some(source) => source,
                    None => record,
                };
                let partition = place["partition"].as_u64().unwrap();
                let offset = place["offset"].as_u64().unwrap();
                let before = last.insert(partition, offset);
                assert!(before < Some(offset), "{stream} {key}: {record}");
            }
        }
    }
}

/// Where the third record of partition 0 stands.
fn third_offset(source: &MemorySource) -> Offset {
    let (worker, workers) = (0, 1);
    let mut reader = source
        .open(
            Share { worker, workers },
            &Starts::beginning(),
            Wake::nobody(),
        )
        .unwrap();
    let mut third = Offset::default();
    let mut keep = |polled: Polled<'_>| {
        if let Polled::Record { offset, .. } = polled {
            third = offset;
        }
        ControlFlow::Continue(())
    };
    reader.poll(Demand::of_all(3), &mut keep).unwrap();
    third
}

/// The comparison above must see what a broken engine would do.
#[test]
fn does_the_comparison_see_faults() {
    let job = Reference::new(&[]);
    let seed = 1;
    let (expected, _) = run(&job, source(seed), 2);
    let third = third_offset(&source(seed));
    let check = |fault| {
        let (found, _) = run(&job, faulty(source(seed), PartitionId(0), fault), 2);
        assert!(found != expected, "{fault:?} was not seen");
    };
    check(Fault::Loses(third));
    check(Fault::Repeats(third));
    check(Fault::Reverses);
    let fault = Fault::Loses(Offset(u64::MAX));
    let unharmed = faulty(source(seed), PartitionId(0), fault);
    assert!(
        run(&job, unharmed, 2).0 == expected,
        "no fault, no difference"
    );
}
