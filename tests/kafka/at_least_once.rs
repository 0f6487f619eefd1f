//! Jobs that send outputs as they come: before any checkpoint, and each at least once through kills and outages.

use std::thread;
use std::time::Duration;

use slackwater_services::kafka::Reading;

use crate::cluster::{
    Cluster, durable, end, expected, found, scale, status, steady, stop, wait_until,
};
use crate::content::{Content, STREAMS, digest, key, lost_and_doubled};
use crate::job::{Job, Variation};
use crate::kills::kill_at_random;
use crate::reading::said_at_its_end;

/// The pipeline, with outputs that are sent as they come.
fn at_once(text: &str) -> String {
    text.replace("\n[sink]\n", "\n[sink]\ndelivery = \"at_least_once\"\n")
}

fn sending(cluster: &Cluster, variation: Variation) -> Job {
    let mut job = cluster.publishing(variation, Vec::new());
    job.rewrite(|text| at_once(&text));
    job
}

/// What is in the topics, also of transactions that did not count.
fn content(cluster: &Cluster) -> Content {
    let mut content = Content::new();
    for stream in STREAMS {
        for read in cluster.tools.consume(&Reading::of(stream)).unwrap() {
            let value = String::from_utf8(read.record.value.unwrap()).unwrap();
            let place = (stream, key(stream, &value));
            content.entry(place).or_default().push(digest(&value));
        }
    }
    content
}

/// Each output once, and some again.
fn check(cluster: &Cluster, job: &Job, variation: Variation) -> usize {
    let (expected, found) = (expected(variation), content(cluster));
    let (lost, doubled) = lost_and_doubled(&expected, &found);
    assert_eq!(lost, 0, "{doubled} came twice\n{}", job.said());
    for (place, records) in &found {
        let known = expected.get(place).map_or(&[][..], Vec::as_slice);
        let strange = records.iter().filter(|it| !known.contains(it)).count();
        assert_eq!(strange, 0, "{place:?} has records that nothing was to give");
    }
    doubled
}

#[test]
fn are_outputs_there_before_their_checkpoint() {
    let cluster = Cluster::start();
    // The first epoch ends with its first output, the second would in a minute.
    let variation = Variation {
        interval_ms: Some(60_000),
        ..steady("arrival", 10)
    };
    let job = sending(&cluster, variation);
    let running = job.start();
    let some = Reading::of("ml_predictions").committed().at_most(5_000);
    let predictions = cluster.tools.consume(&some).unwrap();
    let status = status(&job).unwrap();
    assert!(durable(&status) < 2, "{status}");
    assert_eq!(predictions.len(), 5_000);
    let headers: Vec<_> = predictions.iter().map(|it| &it.record.headers).collect();
    let named = |name: &str| headers.iter().all(|it| it.iter().any(|(it, _)| it == name));
    assert!(named("slackwater.job") && named("slackwater.shard"));
    stop(&job, running);
    let said = job.said();
    assert!(said.contains("(at least once)"), "{said}");
    // It goes on to its end.
    end(&job, job.start());
    assert_eq!(check(&cluster, &job, variation), 0, "nothing has crashed");
}

#[test]
fn is_nothing_lost_however_often_the_job_is_killed() {
    let cluster = Cluster::start();
    let kills = 12 * scale().div_ceil(4);
    let variation = steady("event_time", kills);
    let mut job = sending(&cluster, variation);
    let killed = kill_at_random(&mut job, kills);
    let doubled = check(&cluster, &job, variation);
    found(&format!(
        "With `delivery = \"at_least_once\"`: {killed}. Of {} events none was lost, and {doubled} records came again.",
        variation.events
    ));
    assert!(doubled > 0, "a kill has no records sent again?");
}

/// No checkpoint fails while brokers are away for longer than one may take, and none is taken: what the job has not got
/// rid of when it is killed is sent by the next one.
#[test]
fn is_nothing_lost_while_brokers_are_away() {
    let mut cluster = Cluster::start();
    let variation = steady("arrival", 15);
    let mut job = sending(&cluster, variation);
    job.rewrite(|text| text.replace("\n[checkpoint]\n", "\n[checkpoint]\ntimeout = \"2s\"\n"));
    let running = job.start();
    wait_until(&job, "a checkpoint", |it| durable(it) > 3);
    cluster.broker.kill().unwrap();
    thread::sleep(Duration::from_secs(5));
    let away = status(&job).unwrap();
    assert_eq!(away["last"]["checkpoints"]["failed"], 0, "{away}");
    let trouble = away["last"]["trouble"]["what"].as_str();
    let trouble = trouble.unwrap_or_default();
    assert!(running.kill_worker());
    cluster.broker.restart().unwrap();
    end(&job, running);
    let said = job.said();
    assert!(
        said.contains("attempt 2") && !said.contains("attempt 3"),
        "{said}"
    );
    check(&cluster, &job, variation);
    assert!(trouble.contains("wait to be acknowledged"), "{trouble}");
}

/// Epochs that were to be published in transactions are sent, when the job is told to send from then on; and when it is told
/// to go back it says what it needs.
#[test]
fn is_nothing_lost_when_a_job_is_told_to_send_at_once_and_to_go_back() {
    let cluster = Cluster::start();
    let variation = steady("arrival", 12);
    let mut job = cluster.publishing(variation, Vec::new());
    let running = job.start();
    wait_until(&job, "a checkpoint", |it| durable(it) > 3);
    running.kill_all();
    job.rewrite(|text| at_once(&text));
    let running = job.start();
    wait_until(&job, "a checkpoint", |it| durable(it) > 3);
    running.kill_all();
    job.rewrite(|text| text.replace("delivery = \"at_least_once\"\n", ""));
    let said = said_at_its_end(&job);
    assert!(said.contains("`--accept-duplicates`"), "{said}");
    let mut run = job.command(&["run", "--accept-duplicates"]);
    let ran = run.output().unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{said}");
    check(&cluster, &job, variation);
}
