//! Records that are hardly any, batches that cannot be read, partitions that hold nothing that counts: named, bounded, and
//! nothing else is lost for them.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use slackwater_services::kafka::Record;

use crate::cluster::{Cluster, INPUT, read, stop, wait_until};
use crate::job::Job;
use crate::reading::{VARIATION, event, run_to, said_at_its_end};

/// Of a batch of records on disk: where its length is, where its checksum is, and what that covers.
const LENGTH_AT: usize = 8;
const CHECKSUM_AT: usize = 17;
const COVERED_FROM: usize = 21;
/// Where its records begin.
const RECORDS_AT: usize = 61;

/// What is done to a batch.
#[derive(Clone, Copy, Debug)]
enum Damage {
    /// Its records are no longer what its checksum says.
    Flipped,
    /// Nor what its compression says; whoever did that has made a new checksum.
    Garbled,
}

/// Damages the batch of this number in the only segment of the input's partition 0; the broker must not run.
fn damage(cluster: &Cluster, number: usize, damage: Damage) {
    let folder: PathBuf = cluster.broker.folder().join("data/user_events-0");
    let path = folder.join("00000000000000000000.log");
    let mut bytes = fs::read(&path).unwrap();
    let int = |bytes: &[u8], at: usize| u32::from_be_bytes(*bytes[at..].first_chunk().unwrap());
    let mut start = 0;
    for _ in 0..number {
        start += 12 + int(&bytes, start + LENGTH_AT) as usize;
    }
    let end = start + 12 + int(&bytes, start + LENGTH_AT) as usize;
    let batch = &mut bytes[start..end];
    match damage {
        Damage::Flipped => batch[RECORDS_AT + 20] ^= 1,
        Damage::Garbled => {
            batch[RECORDS_AT..].fill(0xff);
            let checksum = crc32c::crc32c(&batch[COVERED_FROM..]);
            batch[CHECKSUM_AT..COVERED_FROM].copy_from_slice(&checksum.to_be_bytes());
        }
    }
    fs::write(&path, &bytes).unwrap();
}

fn is_a_batch_named(how: Damage) {
    let mut cluster = Cluster::start();
    let compressed = [("compression.type", "lz4")];
    cluster.tools.create_topic(INPUT, 1, &compressed).unwrap();
    let events: Vec<Record> = (0..30).map(event).collect();
    // Each is a batch: ten records are sent together.
    for batch in events.chunks(10) {
        cluster.tools.produce(INPUT, batch).unwrap();
    }
    let mut job = cluster.reading(VARIATION, "");
    job.rewrite(|text| {
        let at = text.find("[restart]").unwrap();
        let restart = "[restart]\nstrategy = \"fixed_delay\"\nattempts = 2\ninitial = \"50ms\"\n";
        format!("{}{restart}", &text[..at])
    });
    cluster.broker.stop().unwrap();
    damage(&cluster, 1, how);
    cluster.broker.restart().unwrap();
    let said = said_at_its_end(&job);
    let place =
        "cannot read partition 0 of topic user_events: the batch of records that offset 10 is in";
    assert!(said.contains(place), "{how:?}: {said}");
    assert!(said.contains("on_lost_offset = \"earliest\""), "{said}");
    // Each attempt that had a checkpoint before it met the batch gives the others again.
    assert!(
        said.contains("attempt 3") && said.contains("FAILED"),
        "{said}"
    );
    // What was read before is there, and as it says: without the batch the job goes on behind it.
    assert_eq!(scored(&cluster), (0..10).collect());
    cluster.tools.delete_records(INPUT, 0, 20).unwrap();
    job.rewrite(|text| {
        let topic = "topic = \"user_events\"";
        text.replace(topic, &format!("{topic}\non_lost_offset = \"earliest\""))
    });
    let running = job.start();
    wait_until(&job, "the rest is read", |it| read(it) == 20);
    stop(&job, running);
    assert_eq!(scored(&cluster), (0..10).chain(20..30).collect(), "{how:?}");
}

/// The numbers of the events that were scored.
fn scored(cluster: &Cluster) -> BTreeSet<u64> {
    let read = cluster.committed("ml_predictions").into_iter();
    let users = read.map(|it| {
        let value: Value = serde_json::from_slice(&it.record.value.unwrap()).unwrap();
        value["user_id"].as_str().unwrap()[1..].parse().unwrap()
    });
    users.collect()
}

#[test]
fn is_a_batch_named_that_is_not_what_was_written() {
    is_a_batch_named(Damage::Flipped);
}

#[test]
fn is_a_batch_named_that_cannot_be_unpacked() {
    is_a_batch_named(Damage::Garbled);
}

#[test]
fn what_becomes_of_records_that_are_hardly_any() {
    let cluster = Cluster::start();
    cluster.tools.create_topic(INPUT, 1, &[]).unwrap();
    let long = Record {
        value: Some(format!("{{\"user_id\":\"{}\"}}", "x".repeat(5_000)).into_bytes()),
        ..event(1)
    };
    let records = [
        Record {
            value: None,
            ..event(0)
        },
        Record {
            value: Some(Vec::new()),
            ..event(0)
        },
        Record {
            key: None,
            ..event(2)
        },
        Record {
            key: Some(Vec::new()),
            ..event(3)
        },
        event(4).with_header("trace", "7"),
        long,
    ];
    for record in &records {
        cluster
            .tools
            .produce(INPUT, std::slice::from_ref(record))
            .unwrap();
    }
    let mut job = cluster.reading(VARIATION, "");
    job.rewrite(|text| text.replace("max_bytes = \"1MiB\"", "max_bytes = \"1KiB\""));
    run_to(&job, records.len() as u64);
    assert_eq!(scored(&cluster), BTreeSet::from([2, 3, 4]));
    let rejected = cluster.committed("validation_errors").into_iter();
    let rejected = rejected.map(|it| {
        let value: Value = serde_json::from_slice(&it.record.value.unwrap()).unwrap();
        let offset = value["source"]["offset"].as_u64().unwrap();
        (offset, value["message"].as_str().unwrap().to_owned())
    });
    let mut rejected: Vec<(u64, String)> = rejected.collect();
    rejected.sort();
    println!("{rejected:?}");
    let offsets: Vec<u64> = rejected.iter().map(|(offset, _)| *offset).collect();
    assert_eq!(offsets, [0, 1, 5], "{rejected:?}");
    assert!(rejected[2].1.contains("1024"), "{rejected:?}");
}

/// Events of one partition wait for no other that holds only transactions that did not count, before and after a restart.
#[test]
fn does_a_partition_of_nothing_that_counts_hold_up_nothing() {
    let cluster = Cluster::start();
    cluster.tools.create_topic(INPUT, 1, &[]).unwrap();
    cluster.tools.open_transaction("nobody's", INPUT).unwrap();
    cluster.tools.abort_transaction(INPUT, 0, 0).unwrap();
    cluster.tools.set_partitions(INPUT, 2).unwrap();
    let variation = crate::job::Variation {
        order: "event_time",
        ..VARIATION
    };
    let mut job: Job = cluster.reading(variation, "");
    job.rewrite(|text| {
        let order = "max_out_of_orderness = \"2s\"";
        text.replace(order, &format!("{order}\nidle_timeout = \"500ms\""))
    });
    // Keys that go to the other partition.
    let events = |range: std::ops::Range<u64>| {
        let one = range.map(|number| Record {
            key: Some(b"one".to_vec()),
            ..event(number * 1_000)
        });
        one.collect::<Vec<_>>()
    };
    let mut read_so_far = 0;
    for round in 0..2 {
        cluster
            .tools
            .produce(INPUT, &events(round * 20..round * 20 + 20))
            .unwrap();
        read_so_far += 20;
        let running = job.start();
        let scored = |it: &Value| it["last"]["events"]["predictions"].as_u64();
        wait_until(&job, "what the watermark has passed is scored", |it| {
            scored(it).unwrap_or_default() >= read_so_far - 3 && read(it) == read_so_far
        });
        stop(&job, running);
    }
}
