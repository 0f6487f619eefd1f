//! Jobs that read from Kafka: positions, new partitions, places that are lost.

use std::collections::BTreeMap;
use std::fs;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use serde_json::Value;
use slackwater_services::kafka::{Reading, Record};

use crate::cluster::{Cluster, INPUT, expected_of, read, status, stop, wait_until};
use crate::content::{STREAMS, lost_and_doubled};
use crate::job::{Job, Variation};

pub const VARIATION: Variation = Variation {
    seed: 3,
    order: "arrival",
    events: 20_000,
    rate: 0,
    interval_ms: Some(100),
    workers: 2,
};

/// Produces made-up events, each with its user as the key, from a file of `key<tab>value`.
pub fn produce_generated(cluster: &Cluster, seed: u64, events: u64) {
    let folder = tempfile::tempdir().unwrap();
    let job = Job::new(Variation {
        seed,
        events,
        ..VARIATION
    });
    let out = folder.path().join("events");
    let mut generate = job.command(&["generate", "--overwrite"]);
    let generated = generate.arg("--out").arg(&out).output().unwrap();
    assert!(
        generated.status.success(),
        "{}",
        String::from_utf8_lossy(&generated.stderr)
    );
    let mut keyed = String::new();
    for part in 0..4 {
        let text = fs::read(out.join(format!("part-{part}.jsonl"))).unwrap();
        for line in text
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
        {
            // What is no text cannot be given to the console.
            if let Ok(line) = str::from_utf8(line) {
                let key = serde_json::from_str::<Value>(line).ok();
                let key = key.and_then(|it| it["user_id"].as_str().map(str::to_owned));
                keyed += &format!("{}\t{line}\n", key.unwrap_or_default());
            }
        }
    }
    let path = folder.path().join("keyed");
    fs::write(&path, keyed).unwrap();
    let input = Stdio::from(fs::File::open(&path).unwrap());
    cluster
        .tools
        .produce_lines(INPUT, input, Some("\t"))
        .unwrap();
}

pub fn input_count(cluster: &Cluster) -> u64 {
    cluster.tools.consume(&Reading::of(INPUT)).unwrap().len() as u64
}

#[test]
fn is_every_event_read_once_through_kills_and_other_numbers_of_workers() {
    let cluster = Cluster::start();
    cluster.tools.create_topic(INPUT, 4, &[]).unwrap();
    produce_generated(&cluster, 3, 20_000);
    let mut job = cluster.reading(VARIATION, "");
    let mut running = job.start();
    let mut batches = 0;
    for workers in [1, 4, 2] {
        thread::sleep(Duration::from_millis(700));
        running.kill_all();
        job.rescale(workers);
        running = job.start();
        batches += 1;
        produce_generated(&cluster, 3 + batches, 5_000);
    }
    let there = input_count(&cluster);
    wait_until(&job, "everything is read", |it| read(it) == there);
    stop(&job, running);
    let found = cluster.content_but_source();
    let expected = expected_of(&cluster, VARIATION);
    assert_eq!(
        lost_and_doubled(&expected, &found),
        (0, 0),
        "{}",
        job.said()
    );
    assert!(expected == found, "the order of a key\n{}", job.said());
    let records: usize = found.values().map(Vec::len).sum();
    assert_eq!(records as u64, there);
    cluster.check_transactions();
    let mut lag = cluster.tools.lag("user-events").unwrap();
    lag.sort();
    let none = (0..4).map(|partition| (INPUT.to_owned(), partition, 0));
    assert_eq!(lag, none.collect::<Vec<_>>(), "what the group was told");
    crate::cluster::found(&format!(
        "A job that reads a topic, killed and gone on with by 1, 4 and 2 workers: {there} events, each once."
    ));
}

#[test]
fn is_the_time_of_an_event_that_of_its_record() {
    let field = "time = { field = \"timestamp_ms\", unit = \"ms\" }";
    let cluster = Cluster::start();
    cluster.tools.create_topic(INPUT, 2, &[]).unwrap();
    let mut job = cluster.reading(VARIATION, "");
    job.rewrite(|text| {
        assert!(text.contains(field), "{text}");
        text.replace(field, "time = \"record\"")
            .replace("provenance = false", "provenance = true")
    });
    for round in 0..2 {
        let events: Vec<Record> = (0..40).map(event).collect();
        cluster.tools.produce(INPUT, &events).unwrap();
        run_to(&job, 40 * (round + 1));
    }
    let place = |partition: i64, offset: i64| (partition, offset);
    let records = cluster.tools.consume(&Reading::of(INPUT)).unwrap();
    let times = records
        .iter()
        .map(|it| (place(it.partition.into(), it.offset), it.time_ms.unwrap()));
    let predictions = cluster.committed("ml_predictions").into_iter().map(|it| {
        let said: Value = serde_json::from_slice(&it.record.value.unwrap()).unwrap();
        let number = |name: &str| said[name].as_i64().unwrap();
        (
            place(number("partition"), number("offset")),
            number("event_time"),
        )
    });
    let times: BTreeMap<_, _> = times.collect();
    assert_eq!(predictions.collect::<BTreeMap<_, _>>(), times);
    assert_eq!(times.len(), 80);
}

#[test]
fn are_partitions_read_that_come_while_the_job_runs() {
    let cluster = Cluster::start();
    cluster.tools.create_topic(INPUT, 2, &[]).unwrap();
    let job = cluster.reading(VARIATION, "discover_partitions = \"200ms\"");
    produce_generated(&cluster, 1, 2_000);
    let running = job.start();
    let first = input_count(&cluster);
    wait_until(&job, "two partitions are read", |it| read(it) == first);
    cluster.tools.set_partitions(INPUT, 5).unwrap();
    cluster.tools.set_partitions("ml_predictions", 6).unwrap();
    let mut all = 0;
    for round in 0..2 {
        // What is published has the sink look at its topics, which it does not do again and again.
        thread::sleep(Duration::from_secs(2));
        produce_generated(&cluster, 2 + round, 2_000);
        all = input_count(&cluster);
        wait_until(&job, "five partitions are read", |it| read(it) == all);
    }
    stop(&job, running);
    let predictions = cluster.committed("ml_predictions");
    let new = predictions.iter().filter(|it| it.partition > 3).count();
    assert!(
        new > 0,
        "nothing is in the partitions that the sink has found"
    );
    assert!(!job.said().contains("attempt 2"), "{}", job.said());
    let written: usize = STREAMS
        .map(|stream| cluster.committed(stream).len())
        .iter()
        .sum();
    assert_eq!(written as u64, all);
}

pub fn event(number: u64) -> Record {
    let value = format!(
        "{{\"user_id\":\"u{number}\",\"product_id\":\"p\",\"category\":\"c\",\"event_type\":\"view\",\"timestamp_ms\":{}}}",
        1_767_225_600_000 + number
    );
    Record::of(value).with_key(format!("u{number}"))
}

/// Runs a job until it has read so many, and stops it.
pub fn run_to(job: &Job, events: u64) {
    let running = job.start();
    wait_until(job, "all is read", |it| read(it) == events);
    stop(job, running);
}

/// What a job says that ends by itself.
pub fn said_at_its_end(job: &Job) -> String {
    let mut run = job.command(&["run"]);
    let ran = run.output().unwrap();
    assert!(!ran.status.success());
    String::from_utf8_lossy(&ran.stderr).into_owned()
}

const NO_RESTART: &str = "[restart]\nstrategy = \"none\"\n";

fn without_restarts(job: &mut Job) {
    job.rewrite(|text| {
        let at = text.find("[restart]").unwrap();
        format!("{}{NO_RESTART}", &text[..at])
    });
}

#[test]
fn is_a_topic_that_was_made_anew_noticed() {
    let cluster = Cluster::start();
    let make = |events: std::ops::Range<u64>| {
        cluster.tools.create_topic(INPUT, 1, &[]).unwrap();
        let records: Vec<_> = events.map(event).collect();
        cluster.tools.produce(INPUT, &records).unwrap();
    };
    make(0..10);
    let mut job = cluster.reading(VARIATION, "");
    without_restarts(&mut job);
    run_to(&job, 10);
    for (events, expected) in [
        // Fewer records than were read, and more: where they go on stands another record.
        (
            100..105,
            "it ends at offset 5, and was read to 10: the topic was made anew",
        ),
        (
            100_000..100_020,
            "another record stands at offset 9 than the one that was read",
        ),
    ] {
        cluster.tools.delete_topic(INPUT).unwrap();
        wait_until_gone(&cluster);
        make(events);
        // However often it is tried.
        for _ in 0..2 {
            let said = said_at_its_end(&job);
            assert!(said.contains(expected), "{said}");
            assert!(said.contains("on_lost_offset = \"earliest\""), "{said}");
        }
    }
}

fn wait_until_gone(cluster: &Cluster) {
    while cluster
        .tools
        .topics()
        .unwrap()
        .iter()
        .any(|topic| topic == INPUT)
    {
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn are_records_missed_that_were_deleted_before_they_were_read() {
    let cluster = Cluster::start();
    cluster.tools.create_topic(INPUT, 1, &[]).unwrap();
    let records: Vec<_> = (0..30).map(event).collect();
    cluster.tools.produce(INPUT, &records[..10]).unwrap();
    let mut job = cluster.reading(VARIATION, "");
    without_restarts(&mut job);
    run_to(&job, 10);
    cluster.tools.produce(INPUT, &records[10..]).unwrap();
    cluster.tools.delete_records(INPUT, 0, 15).unwrap();
    let said = said_at_its_end(&job);
    let expected = "the records from offset 10 to 15 were deleted before they were read";
    assert!(said.contains(expected), "{said}");
    job.rewrite(|text| {
        text.replace(
            "topic = \"user_events\"",
            "topic = \"user_events\"\non_lost_offset = \"earliest\"",
        )
    });
    run_to(&job, 25);
    let said = job.said();
    let goes_on =
        "WARNING: partition 0 of topic user_events goes on at its oldest record, offset 15";
    assert!(
        said.contains(goes_on) && said.contains("deleted before they were read"),
        "{said}"
    );
}

#[test]
fn does_a_silent_partition_hold_up_no_other() {
    let cluster = Cluster::start();
    cluster.tools.create_topic(INPUT, 3, &[]).unwrap();
    let variation = Variation {
        order: "event_time",
        ..VARIATION
    };
    let mut job = cluster.reading(variation, "");
    job.rewrite(|text| {
        text.replace(
            "max_out_of_orderness = \"2s\"",
            "max_out_of_orderness = \"2s\"\nidle_timeout = \"500ms\"",
        )
    });
    // All of one user, and so in one partition.
    let one = |number: u64| Record {
        key: Some(b"one".to_vec()),
        ..event(number * 1_000)
    };
    cluster
        .tools
        .produce(INPUT, &(0..20).map(one).collect::<Vec<_>>())
        .unwrap();
    let running = job.start();
    let scored = |it: &Value| {
        it["last"]["events"]["predictions"]
            .as_u64()
            .unwrap_or_default()
    };
    // Those that the watermark has passed: two seconds behind the newest.
    wait_until(&job, "what the watermark has passed is scored", |it| {
        scored(it) >= 17
    });
    assert!(status(&job).is_some());
    stop(&job, running);
}

#[test]
fn does_a_job_begin_where_it_is_told_to() {
    let cluster = Cluster::start();
    cluster.tools.create_topic(INPUT, 1, &[]).unwrap();
    cluster
        .tools
        .produce(INPUT, &(0..10).map(event).collect::<Vec<_>>())
        .unwrap();
    let job = cluster.reading(VARIATION, "start = \"latest\"");
    let running = job.start();
    wait_until(&job, "it runs", |it| crate::cluster::durable(it) > 0);
    // Killed before it has read anything, it still begins there.
    running.kill_all();
    cluster
        .tools
        .produce(INPUT, &(10..14).map(event).collect::<Vec<_>>())
        .unwrap();
    run_to(&job, 4);
}
