//! Sinks and jobs with a new producer for each epoch: is it new each time, does nothing that comes late count, and does no
//! run take a producer from another one for good?

use std::fs;
use std::io;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use slackwater_dataflow::faults::phases::{Phase, Point};
use slackwater_dataflow::identity::Generation;
use slackwater_dataflow::sink::EpochSink as _;
use slackwater_kafka::sink::KafkaSink;

use crate::cluster::{Cluster, check, end, expected, found, scale, steady};
use crate::fences::{self, prepared, publish, sink_of};
use crate::hooked::When;
use crate::job::Job;
use crate::kills::kill_at_random;
use crate::networks::{act, behind_a_proxy, run};
use crate::proxy::{Act, END_TRANSACTION, FIND_COORDINATOR, INIT_PRODUCER_ID};

/// The how-manieth look into the store is that of the first renewal: two are made in the beginning, and one for the epoch.
const FIRST_RENEWAL: u64 = 4;

/// A job gets a new producer for each epoch.
fn renewing(mut job: Job) -> Job {
    let key = "\n[sink]\nnew_producer_each_epoch = true\n";
    job.rewrite(|text| text.replace("\n[sink]\n", key));
    job
}

/// Number and epoch of the producer of each batch of predictions that a broker has on its disk, without those that end
/// transactions.
fn producers(cluster: &Cluster) -> Vec<(u64, u16)> {
    let folder = cluster.broker.folder().join("data/ml_predictions-0");
    let files = fs::read_dir(folder).unwrap().map(|it| it.unwrap().path());
    let mut logs: Vec<_> = files
        .filter(|it| it.extension() == Some("log".as_ref()))
        .collect();
    logs.sort();
    let bytes = logs.iter().flat_map(|log| fs::read(log).unwrap());
    let bytes: Vec<u8> = bytes.collect();
    let mut rest = &bytes[..];
    let mut producers = Vec::new();
    // Offset and length, then what the length is of.
    while let Some((length, _)) = rest.get(8..).and_then(|it| it.split_first_chunk::<4>()) {
        let length = u32::from_be_bytes(*length) as usize;
        let (batch, after) = rest.split_at(12 + length);
        let is_control = batch[22] & 0x20 != 0;
        let number = u64::from_be_bytes(*batch[43..].first_chunk().unwrap());
        let epoch = u16::from_be_bytes(*batch[51..].first_chunk().unwrap());
        producers.extend((!is_control).then_some((number, epoch)));
        rest = after;
    }
    producers
}

#[test]
fn does_each_epoch_have_a_producer_of_its_own() {
    const EPOCHS: u64 = 6;
    let cluster = prepared();
    let publish_all = |is_new: bool, from: u64| {
        let mut sink = sink_of(&cluster, is_new, |_, _| Ok(()));
        sink.take_over(Generation(from)).unwrap();
        for epoch in from..from + EPOCHS {
            publish(&mut sink, epoch).unwrap();
        }
    };
    publish_all(false, 1);
    let kept = producers(&cluster);
    assert_eq!(kept.len() as u64, EPOCHS);
    assert!(kept.iter().all(|it| it == &kept[0]), "{kept:?}");
    publish_all(true, 1 + EPOCHS);
    let made = producers(&cluster).split_off(kept.len());
    assert_eq!(made.len() as u64, EPOCHS);
    // Each is newer than the one before, under the same transactional id.
    let is_next = |pair: &[(u64, u16)]| pair[0].0 == pair[1].0 && pair[0].1 < pair[1].1;
    assert!(made.windows(2).all(is_next), "{made:?}");
    let all: Vec<u64> = (1..=2 * EPOCHS).collect();
    let found = sink_of(&cluster, true, |_, _| Ok(())).take_over(Generation(99));
    fences::check(&cluster, &found.unwrap(), &all);
}

/// A run that has published one epoch, and a newer one that begins and publishes the next when the older one asks for the
/// first time whether it may make a producer: right before it is answered that it may not, or right after it was that it may.
/// The newer one keeps its producer, or would take the id back by itself.
fn overtaken(cluster: &Cluster, at: When) -> (KafkaSink, Arc<Mutex<KafkaSink>>) {
    let newer = Arc::new(Mutex::new(sink_of(cluster, false, |_, _| Ok(()))));
    let begins = Arc::clone(&newer);
    let mut older = sink_of(cluster, true, move |when, time| {
        if (when, time) == (at, FIRST_RENEWAL) {
            let mut newer = begins.lock().unwrap();
            newer.take_over(Generation(2)).unwrap();
            publish(&mut newer, 2).unwrap();
        }
        match time < FIRST_RENEWAL || (time == FIRST_RENEWAL && at == When::After) {
            true => Ok(()),
            false => Err(io::ErrorKind::TimedOut.into()),
        }
    });
    assert_eq!(older.take_over(Generation(1)).unwrap(), [None]);
    publish(&mut older, 1).unwrap();
    publish(&mut older, 2).unwrap_err();
    (older, newer)
}

#[test]
fn does_a_run_that_has_lost_its_job_leave_the_next_one_its_producer() {
    let cluster = prepared();
    let (older, newer) = overtaken(&cluster, When::Before);
    publish(&mut newer.lock().unwrap(), 3).unwrap();
    drop(older);
    let found = sink_of(&cluster, true, |_, _| Ok(())).take_over(Generation(3));
    fences::check(&cluster, &found.unwrap(), &[1, 2, 3]);
}

/// It has asked, and loses the job before it takes the id: now the older one is the newest to the broker.
#[test]
fn is_each_epoch_there_once_when_an_older_run_takes_a_producer_late() {
    let cluster = prepared();
    let (_older, newer) = overtaken(&cluster, When::After);
    let mut newer = newer.lock().unwrap();
    let refused = publish(&mut newer, 3).unwrap_err();
    assert!(refused.passes(), "{refused}");
    // As after each doubt.
    let found = newer.take_over(Generation(2)).unwrap();
    fences::check(&cluster, &found, &[1, 2]);
    publish(&mut newer, 3).unwrap();
    let found = sink_of(&cluster, true, |_, _| Ok(())).take_over(Generation(3));
    fences::check(&cluster, &found.unwrap(), &[1, 2, 3]);
}

/// A request comes a second time without anybody's noticing, in the middle of the next transaction.
#[test]
fn is_every_record_there_once_when_commits_come_again_unnoticed() {
    let (cluster, proxy, brokers) = behind_a_proxy();
    let rounds = 6 * scale();
    let variation = steady("arrival", 2 * rounds);
    let job = renewing(cluster.publishing_to(&brokers, variation, Vec::new()));
    let mut running = run(&job);
    for round in 1..=rounds as usize {
        act(&proxy, Act::CopyLate(END_TRANSACTION), &mut running);
        // The next one would take its place.
        while proxy.done().1.len() < round && running.ended().is_none() {
            thread::sleep(Duration::from_millis(5));
        }
    }
    end(&job, running);
    let (_, repeated) = proxy.done();
    assert!(repeated.len() as u64 >= rounds / 2, "{repeated:?}");
    assert!(!repeated.contains(&true), "the broker obeys: {repeated:?}");
    check(&cluster, &job, &expected(variation));
    found(&format!(
        "With a new producer for each epoch: {} requests to commit came a second time, unnoticed, in the middle of the next \
         transaction, and were refused. {} events.",
        repeated.len(),
        variation.events
    ));
}

/// What makes the next producer is held up, or has no answer, and the broker ends meanwhile.
#[test]
fn is_every_record_there_once_when_the_next_producer_is_held_up() {
    let (mut cluster, proxy, brokers) = behind_a_proxy();
    let variation = steady("arrival", 16);
    let job = renewing(cluster.publishing_to(&brokers, variation, Vec::new()));
    let mut running = run(&job);
    let mut acts = 0;
    for step in [INIT_PRODUCER_ID, FIND_COORDINATOR] {
        for what in [
            Act::Stall(step, Duration::from_millis(2_500)),
            Act::DropAnswer(step),
        ] {
            acts += usize::from(act(&proxy, what, &mut running));
        }
    }
    assert_eq!(acts, 4);
    cluster.broker.kill().unwrap();
    thread::sleep(Duration::from_secs(1));
    cluster.broker.restart().unwrap();
    end(&job, running);
    check(&cluster, &job, &expected(variation));
    let said = job.said();
    assert!(!said.contains("attempt 2"), "{said}");
}

#[test]
fn is_every_record_there_once_however_often_the_job_is_killed() {
    let kills = 8 * scale().div_ceil(2);
    let cluster = Cluster::start();
    let variation = steady("event_time", kills.max(6));
    let mut job = renewing(cluster.publishing(variation, Vec::new()));
    let killed = kill_at_random(&mut job, kills);
    check(&cluster, &job, &expected(variation));
    found(&format!(
        "With a new producer for each epoch: {killed}. {} events.",
        variation.events
    ));
}

/// Above all while the next producer is being made, which begins when a shard is published.
#[test]
fn is_every_record_there_once_after_a_kill_around_a_renewal() {
    let cluster = Cluster::start();
    let points = [
        (Phase::MarkerWritten, 2),
        (Phase::ShardPublished, 1),
        (Phase::ShardPublished, 2),
        (Phase::ShardPublished, 3),
        (Phase::Confirmed, 2),
        (Phase::PublishStarted, 2),
        (Phase::PartsSynced, 3),
        (Phase::SinkTakenOver, 1),
    ];
    let points: Vec<Point> = points.map(|(phase, time)| Point { phase, time }).into();
    let variation = steady("arrival", 2 * points.len() as u64);
    let job = renewing(cluster.publishing(variation, points.clone()));
    end(&job, job.start());
    assert_eq!(job.crashed().len(), points.len(), "{:?}", job.crashed());
    check(&cluster, &job, &expected(variation));
}
