//! Dead letters of topics: are raw ones the records that were read, and is what is sent again sent once?

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use slackwater_services::kafka::{Reading, Record};

use crate::cluster::{Cluster, INPUT};
use crate::job::Job;
use crate::reading::{VARIATION, event, run_to};

const RAW: &str = "form = \"raw\"";
const ENVELOPE: &str = "form = \"envelope\"";

/// An event without a field, of which nothing can be told by its value alone.
fn wrong(number: u64) -> Record {
    let value = format!("{{\"user_id\":\"u{number}\"}} ");
    Record::of(value)
        .with_key(format!("key {number}"))
        .with_header("trace", format!("é {number}"))
        .with_header("trace", "twice")
}

/// A job that reads a topic of three partitions and writes topics, dead letters in this form.
fn scene(form: &str) -> (Cluster, Job) {
    let cluster = Cluster::start();
    cluster.tools.create_topic(INPUT, 3, &[]).unwrap();
    let mut job = cluster.reading(VARIATION, "");
    job.rewrite(|text| text.replace(ENVELOPE, form));
    (cluster, job)
}

/// What a command of `dlq` says of itself as JSON.
fn dlq(job: &Job, command: &str, more: &[&str]) -> Value {
    let ran = job
        .command(&["dlq", command])
        .args(more)
        .arg("--json")
        .output();
    let ran = ran.unwrap();
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(ran.status.success(), "{said}");
    serde_json::from_slice(&ran.stdout).unwrap()
}

fn letters(job: &Job) -> u64 {
    let listed = dlq(job, "list", &["--limit", "0"]);
    let groups = listed["groups"].as_array().unwrap().iter();
    groups.map(|it| it["records"].as_u64().unwrap()).sum()
}

/// What the input holds that was sent again, and to which of its partitions.
fn sent_again(cluster: &Cluster) -> Vec<(i32, Record)> {
    let read = cluster.tools.consume(&Reading::of(INPUT).committed());
    let again = read.unwrap().into_iter().filter(|it| {
        let mut headers = it.record.headers.iter();
        headers.any(|(name, _)| name == "slackwater.replayed")
    });
    again.map(|it| (it.partition, it.record)).collect()
}

#[test]
fn are_raw_dead_letters_the_records_that_were_read() {
    let (cluster, job) = scene(RAW);
    cluster.tools.produce(INPUT, &[event(1), wrong(7)]).unwrap();
    run_to(&job, 2);
    let letters = cluster.committed("validation_errors");
    assert_eq!(letters.len(), 1);
    let letter = &letters[0].record;
    let original = wrong(7);
    assert_eq!(letter.key, original.key);
    assert_eq!(letter.value, original.value);
    let (own, said): (Vec<_>, Vec<_>) = (letter.headers.clone().into_iter())
        .partition(|(name, _)| !name.starts_with("slackwater.") && !name.starts_with("__"));
    assert_eq!(own, original.headers);
    let count = said.len();
    let said: BTreeMap<_, _> = said
        .into_iter()
        .map(|(name, value)| (name, value.unwrap()))
        .collect();
    assert_eq!(said.len(), count, "each is there once");
    for (name, value) in [
        ("__streams.errors.exception", "VALIDATION_ERROR"),
        ("__streams.errors.message", "product_id is missing"),
        ("__streams.errors.topic", INPUT),
        ("slackwater.stage", "validate"),
        ("slackwater.code", "missing"),
        ("slackwater.job", "user-events"),
    ] {
        assert_eq!(said[name], value.as_bytes(), "{name}");
    }
    let listed = dlq(&job, "list", &[]);
    let place = listed["letters"][0]["place"].as_str().unwrap();
    let shown = dlq(&job, "show", &[place]);
    assert_eq!(shown["key"], "key 7");
    let trace = json!(["trace", "é 7"]);
    assert!(shown["headers"].as_array().unwrap().contains(&trace));
    assert_eq!(shown["value"], "{\"user_id\":\"u7\"} ");
}

/// Twice through: what was sent again is wrong again, and stays at last.
#[test]
fn does_a_replay_send_the_records_again_as_they_were() {
    let (cluster, job) = scene(RAW);
    let wrongs: Vec<_> = (1..=9).map(wrong).collect();
    cluster.tools.produce(INPUT, &wrongs).unwrap();
    let places = cluster.tools.consume(&Reading::of(INPUT)).unwrap();
    let mut expected: Vec<_> = places
        .into_iter()
        .map(|it| {
            (
                it.partition,
                it.record.with_header("slackwater.replayed", "1"),
            )
        })
        .collect();
    expected.sort();
    run_to(&job, 9);
    let tried = dlq(&job, "replay", &["--dry-run"]);
    assert_eq!(tried["sent"], 9);
    assert!(sent_again(&cluster).is_empty(), "it was only tried");
    let none = dlq(&job, "replay", &["--code", "late"]);
    assert_eq!(none["sent"], 0);
    assert_eq!(dlq(&job, "replay", &[])["sent"], 9);
    let mut found = sent_again(&cluster);
    found.sort();
    assert_eq!(found, expected);
    let next = dlq(&job, "replay", &[]);
    assert_eq!((&next["sent"], &next["goes_on"]), (&json!(0), &json!(true)));
    run_to(&job, 18);
    let last = dlq(&job, "replay", &["--max-replays", "1"]);
    assert_eq!(
        (&last["sent"], &last["often_enough"]),
        (&json!(0), &json!(9))
    );
    let again = dlq(&job, "replay", &["--again"]);
    assert_eq!(again["sent"], 18);
    let mut counts = BTreeMap::<Vec<u8>, u32>::new();
    for (_, record) in sent_again(&cluster) {
        let (name, count) = record.headers.last().cloned().unwrap();
        assert_eq!(
            (name.as_str(), record.headers.len()),
            ("slackwater.replayed", 3)
        );
        *counts.entry(count.unwrap()).or_default() += 1;
    }
    assert_eq!(counts, [(b"1".to_vec(), 18), (b"2".to_vec(), 9)].into());
    cluster.check_transactions();
}

#[test]
fn is_the_record_of_an_envelope_read_where_it_was() {
    let (cluster, job) = scene(ENVELOPE);
    cluster
        .tools
        .produce(INPUT, &[wrong(1), wrong(1), wrong(1)])
        .unwrap();
    run_to(&job, 3);
    let there = cluster.tools.consume(&Reading::of(INPUT)).unwrap();
    let partition = there[0].partition;
    cluster
        .tools
        .delete_records(INPUT, partition as u32, 1)
        .unwrap();
    let sent = dlq(&job, "replay", &[]);
    assert_eq!((&sent["sent"], &sent["gone"]), (&json!(2), &json!(1)));
    let expected = wrong(1).with_header("slackwater.replayed", "1");
    let expected = [(partition, expected.clone()), (partition, expected)];
    assert_eq!(sent_again(&cluster), expected);
}

/// Killed again and again on its way, and started again.
#[test]
fn does_a_replay_that_is_killed_send_nothing_twice() {
    const WRONG: u64 = 20_000;
    let (cluster, job) = scene(RAW);
    let wrongs: Vec<_> = (0..WRONG).map(wrong).collect();
    cluster.tools.produce(INPUT, &wrongs).unwrap();
    run_to(&job, WRONG);
    let mut stopped_at = Vec::new();
    for round in 0..60 {
        let mut replay = job.command(&["dlq", "replay"]).spawn().unwrap();
        thread::sleep(Duration::from_millis(100 + 25 * round));
        if let Some(ended) = replay.try_wait().unwrap() {
            assert!(ended.success(), "{ended}");
            break;
        }
        replay.kill().unwrap();
        replay.wait().unwrap();
        stopped_at.push(sent_again(&cluster).len());
    }
    let half_done = |sent: &usize| (1..WRONG as usize).contains(sent);
    assert!(stopped_at.iter().any(half_done), "{stopped_at:?}");
    let sent = sent_again(&cluster);
    let mut keys: Vec<_> = sent.into_iter().map(|(_, it)| it.key.unwrap()).collect();
    let found = keys.len();
    keys.sort();
    keys.dedup();
    assert_eq!((found, keys.len()), (WRONG as usize, WRONG as usize));
    cluster.check_transactions();
}

#[test]
fn are_dead_letters_deleted_that_are_to_be() {
    let (cluster, job) = scene(RAW);
    cluster
        .tools
        .produce(INPUT, &[wrong(1), wrong(2), wrong(3)])
        .unwrap();
    run_to(&job, 3);
    let stream = ["--stream", "validation_errors"];
    let planned = dlq(&job, "purge", &stream);
    assert_eq!(planned["deleted"], false);
    assert_eq!(letters(&job), 3);
    let more = [&stream[..], &["--yes"]].concat();
    assert_eq!(dlq(&job, "purge", &more)["parts"], planned["parts"]);
    assert_eq!(letters(&job), 0);
    assert_eq!(dlq(&job, "purge", &stream)["parts"], json!([]));
    // The job does not mind.
    cluster.tools.produce(INPUT, &[wrong(4)]).unwrap();
    run_to(&job, 4);
    assert_eq!(letters(&job), 1);
}
