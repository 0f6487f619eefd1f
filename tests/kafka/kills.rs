//! Jobs that publish to Kafka, killed at random moments and in each phase of publishing.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde_json::Value;
use slackwater_dataflow::faults::CHUNKS_APART;
use slackwater_dataflow::faults::phases::{Phase, Point};
use slackwater_services::kafka::Read;

use crate::cluster::{Cluster, check, durable, end, expected, found, scale, steady, wait_until};
use crate::job::Job;

/// How often a job is killed at random in the gate.
const KILLS: u64 = 20;

#[test]
fn is_every_record_there_once_however_often_the_job_is_killed() {
    let kills = KILLS * scale();
    let cluster = Cluster::start();
    let variation = steady("arrival", kills.max(10));
    let mut job = cluster.publishing(variation, Vec::new());
    let killed = kill_at_random(&mut job, kills);
    check(&cluster, &job, &expected(variation));
    found(&format!(
        "Jobs killed at random moments: {killed}. {} events.",
        variation.events
    ));
}

/// Runs a job that is killed so often, and goes on with another number of workers now and then.
///
/// Says how often, in words.
pub fn kill_at_random(job: &mut Job, kills: u64) -> String {
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let mut below = |bound: u64| rng.next_u64() % bound;
    let mut running = job.start();
    let (mut killed, mut of_workers) = (0, 0);
    while running.ended().is_none() && killed < kills {
        thread::sleep(Duration::from_millis(200 + below(800)));
        if below(3) == 0 {
            of_workers += u64::from(running.kill_worker());
        } else {
            running.kill_all();
            let workers = [1, 4, 2][below(3) as usize];
            job.rescale(workers);
            running = job.start();
        }
        killed += 1;
    }
    end(job, running);
    assert!(killed > kills / 2, "it has ended after {killed} kills");
    format!(
        "{killed} kills, {of_workers} of them of the worker alone, each other one followed by 1, 2 or 4 workers"
    )
}

/// In each phase of a publishing, some twice in a row, and of what a recovery does with a sink.
#[test]
fn is_every_record_there_once_after_a_kill_in_each_phase() {
    let cluster = Cluster::start();
    let points = [
        (Phase::PublishStarted, 1),
        (Phase::PublishStarted, 2),
        (Phase::PartsSynced, 1),
        (Phase::PartsSynced, 2),
        (Phase::PartsSynced, 3),
        (Phase::MarkerWritten, 1),
        (Phase::MarkerWritten, 2),
        (Phase::ShardPublished, 1),
        (Phase::ShardPublished, 2),
        (Phase::Confirmed, 1),
        (Phase::SinkTakenOver, 1),
        (Phase::AfterManifest, 2),
        // What the manifest listed is settled now.
        (Phase::MarkerWritten, 1),
        (Phase::EpochSettled, 1),
        (Phase::AfterClaim, 1),
    ];
    let points: Vec<Point> = points.map(|(phase, time)| Point { phase, time }).into();
    let points = points.repeat(scale().div_ceil(3) as usize);
    let variation = steady("event_time", points.len() as u64);
    let job = cluster.publishing(variation, points.clone());
    end(&job, job.start());
    let crashed = job.crashed();
    assert_eq!(crashed.len(), points.len(), "{crashed:?}");
    check(&cluster, &job, &expected(variation));
    found(&format!(
        "Jobs that kill themselves in phases of publishing and of recovery: {} kills. {} events.",
        crashed.len(),
        variation.events
    ));
}

/// What is too large for one transaction is published in several: whoever goes on after a crash between two of them begins
/// with the second.
#[test]
fn is_every_record_there_once_when_epochs_take_several_transactions() {
    let mut cluster = Cluster::start();
    let points = [
        (Phase::MarkerWritten, 1),
        (Phase::MarkerWritten, 2),
        (Phase::PartsSynced, 2),
        (Phase::MarkerWritten, 3),
        (Phase::MarkerWritten, 1),
        (Phase::EpochSettled, 1),
    ];
    let points: Vec<Point> = points.map(|(phase, time)| Point { phase, time }).into();
    let variation = steady("arrival", 12);
    let mut job = cluster.publishing(variation, points.clone());
    job.tell(CHUNKS_APART, "1");
    let running = job.start();
    wait_until(&job, "its kills", |_| job.crashed().len() == points.len());
    wait_until(&job, "a checkpoint", |it| durable(it) > 3);
    // A commit that nobody is certain of, between others of the same epoch or not.
    cluster.broker.kill().unwrap();
    cluster.broker.restart().unwrap();
    end(&job, running);
    check(&cluster, &job, &expected(variation));
    let gone_on = gone_on_in_the_middle(&cluster.committed("slackwater-markers.user-events"));
    assert!(gone_on > 0, "no kill was between two transactions");
    found(&format!(
        "Epochs that take several transactions, killed {} times: {gone_on} shards of an epoch were gone on with after the first.",
        points.len()
    ));
}

/// Of how many shards of an epoch one run has published the first chunks, and a later one the others.
fn gone_on_in_the_middle(markers: &[Read]) -> usize {
    let mut by_epoch: BTreeMap<_, BTreeMap<u64, u64>> = BTreeMap::new();
    for read in markers {
        let marker: Value = serde_json::from_slice(read.record.value.as_deref().unwrap()).unwrap();
        let number = |name: &str| marker[name].as_u64().unwrap();
        let shard = (read.partition, marker["checkpoint"].to_string());
        let chunks = by_epoch.entry(shard).or_default();
        let before = chunks.insert(number("chunk"), number("generation"));
        assert_eq!(before, None, "published twice: {marker}");
    }
    let chunks = by_epoch.into_values();
    chunks
        .filter(|chunks| {
            let generations: BTreeSet<_> = chunks.values().collect();
            generations.len() > 1
        })
        .count()
}
