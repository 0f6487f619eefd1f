//! Lists in Redis that the job's histories are: after kills of both sides, of two runs at once, and where they cannot be kept.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde_json::Value;
use slackwater_dataflow::faults::phases::{Phase, Point};
use slackwater_dataflow::identity::{CheckpointId, Generation};
use slackwater_dataflow::mirror::{self, Change, Mirror, MirrorError};
use slackwater_dataflow::moment::Epoch;
use slackwater_redis::address::Address;
use slackwater_redis::mirror::{Layout, List, MirrorConfig, RedisMirror};
use slackwater_services::redis::Redis;

use crate::content::committed;
use crate::findings::store;
use crate::job::{Job, Variation};
use crate::scene::{redis, run, scale, variation};

/// How often a job or Redis is killed in the gate.
const KILLS: u64 = 20;

/// Lists by key, their elements in order.
type Lists = BTreeMap<String, Vec<String>>;

/// Of how many events a history is made.
const EVENTS: usize = 50;

fn mirrored(variation: Variation, url: &str, crashes: Vec<Point>) -> Job {
    mirrored_with(variation, url, "", crashes)
}

/// A job with a mirror there, and with more keys of it.
pub fn mirrored_with(variation: Variation, url: &str, more: &str, crashes: Vec<Point>) -> Job {
    let mut job = Job::with_crashes(variation, crashes);
    job.rewrite(|text| {
        let own = "\nfields = [\"user_id\", \"product_id\"]";
        let all = "\nfields = [\"user_id\", \"product_id\", \"category\", \"event_type\"]";
        assert!(text.contains(own));
        let text = text.replacen(own, all, 1);
        let mirror = format!(
            "\n[mirror.redis]\nurl = \"{url}\"\nlayout = \"user:{{user_id}}:events\"\ntimeout = \"1s\"\n{more}\n[checkpoint]\n"
        );
        text.replacen("\n[checkpoint]\n", &mirror, 1)
    });
    job
}

/// What lists must be, by what the job has predicted: a prediction repeats what a history keeps.
fn expected(job: &Job) -> Lists {
    let mut lists = Lists::new();
    for shard in 0..2 {
        for line in committed(&job.outputs, "ml_predictions", shard).lines() {
            let event: Value = serde_json::from_str(line).unwrap();
            let kept = ["product_id", "category", "event_type"];
            let kept = kept.map(|name| format!("\"{name}\":{}", event[name]));
            let element = format!(
                "{{{},\"timestamp_ms\":{}}}",
                kept.join(","),
                event["event_time"]
            );
            let key = format!("user:{}:events", event["user_id"].as_str().unwrap());
            lists.entry(key).or_default().insert(0, element);
        }
    }
    for list in lists.values_mut() {
        list.truncate(EVENTS);
    }
    lists
}

/// What Redis has, as its own client says it.
fn found(redis: &Redis) -> Lists {
    const ALL: &str = "local all = {} for _, key in ipairs(redis.call('KEYS', 'user:*')) do \
                       table.insert(all, key .. '\\t' .. table.concat(redis.call('LRANGE', key, 0, -1), '\\t')) end return all";
    let printed = redis.cli(&["EVAL", ALL, "0"]).unwrap();
    let lines = printed.lines().filter(|line| !line.is_empty());
    let lists = lines.map(|line| {
        let (key, elements) = line.split_once('\t').unwrap();
        (
            key.to_owned(),
            elements.split('\t').map(str::to_owned).collect(),
        )
    });
    lists.collect()
}

/// Compares the lists that are there with those that must be.
pub fn check(job: &Job, redis: &Redis) {
    let (expected, found) = (expected(job), found(redis));
    assert!(expected.len() > 500, "{} lists", expected.len());
    let differ = |key: &&String| expected.get(*key) != found.get(*key);
    let all: BTreeSet<&String> = expected.keys().chain(found.keys()).collect();
    let other: Vec<_> = all.iter().filter(|key| differ(key)).take(3).collect();
    let shown = other
        .first()
        .map(|key| (expected.get(**key), found.get(**key)));
    assert!(other.is_empty(), "{other:?}\n{shown:?}\n{}", job.said());
}

#[test]
fn are_lists_what_histories_are_however_often_both_sides_are_killed() {
    let kills = KILLS * u64::from(scale());
    let mut redis = redis(&["--appendonly", "yes"]);
    let events = 4_000 * kills;
    let variation = Variation {
        interval_ms: Some(50),
        ..variation(events, 3_000)
    };
    let mut job = mirrored(variation, &redis.url(), Vec::new());
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let mut below = |bound: u64| rng.next_u64() % bound;
    let mut running = job.start();
    let mut of = [0; 4];
    for _ in 0..kills {
        thread::sleep(Duration::from_millis(50 + below(300)));
        match below(4) {
            0 => {
                let begun = Instant::now();
                while !running.kill_worker() {
                    assert!(begun.elapsed() < Duration::from_secs(30), "{}", job.said());
                    thread::sleep(Duration::from_millis(10));
                }
                of[0] += 1;
            }
            1 => {
                running.kill_all();
                let workers = [1, 4, 2][below(3) as usize];
                job.rescale(workers);
                running = job.start();
                of[1] += 1;
            }
            nth => {
                // What the server had on its disk at some time: as after a loss of power it has forgotten what came later.
                let before = redis.saved().unwrap();
                thread::sleep(Duration::from_millis(below(400)));
                redis.kill().unwrap();
                if nth == 3 {
                    redis.put_back(&before).unwrap();
                }
                thread::sleep(Duration::from_millis(below(300)));
                redis.restart().unwrap();
                of[nth as usize] += 1;
            }
        }
    }
    let ended = running.wait();
    assert!(ended.success(), "{ended}\n{}", job.said());
    check(&job, &redis);
    let [worker, all, server, forgotten] = of;
    assert_eq!(worker + all + server + forgotten, kills as usize, "{of:?}");
    assert!(
        worker > 0 && all > 0 && server > 0 && forgotten > 0,
        "{of:?}"
    );
    let expiry = redis
        .cli(&["PTTL", found(&redis).keys().next().unwrap()])
        .unwrap();
    assert!(expiry.trim().parse::<i64>().unwrap() > 0, "{expiry}");
    let text = format!(
        "Lists of histories: {worker} kills of the worker, {all} of the whole job, each followed by 1, 2 or 4 workers, {server} of Redis, \
         {forgotten} of Redis with what it had acknowledged up to 0.4 s before forgotten; {} lists are those that {events} events must leave.",
        found(&redis).len()
    );
    store(&serde_json::json!({ "mirror": text }));
}

#[test]
fn are_lists_whole_after_a_kill_between_their_parts() {
    let redis = redis(&[]);
    let points = [
        (Phase::Mirroring, 1),
        (Phase::Mirroring, 4),
        (Phase::Mirrored, 1),
        (Phase::Mirrored, 3),
        (Phase::Mirroring, 2),
        (Phase::AfterManifest, 3),
    ];
    let points: Vec<Point> = points.map(|(phase, time)| Point { phase, time }).into();
    let job = mirrored(variation(30_000, 5_000), &redis.url(), points.clone());
    run(&job);
    assert_eq!(job.crashed().len(), points.len(), "{:?}", job.crashed());
    check(&job, &redis);
}

/// Redis away when the input ends: the job waits for it, and can be stopped; a later run brings the lists where they belong.
#[test]
fn does_the_end_of_a_job_wait_for_its_mirror() {
    let mut redis = redis(&[]);
    let job = mirrored(variation(20_000, 0), &redis.url(), Vec::new());
    redis.stop().unwrap();
    let mut running = job.start();
    let begun = Instant::now();
    while !job.said().contains("the mirror is behind") {
        assert!(begun.elapsed() < Duration::from_secs(30), "{}", job.said());
        thread::sleep(Duration::from_millis(20));
    }
    thread::sleep(Duration::from_secs(1));
    assert!(running.ended().is_none(), "{}", job.said());
    let stopped = job.command(&["stop"]).output().unwrap();
    assert!(stopped.status.success(), "{stopped:?}");
    assert!(running.wait().success(), "{}", job.said());
    redis.restart().unwrap();
    run(&job);
    check(&job, &redis);
    is_said_where_it_is(&redis);
    // What was there before the job began was nobody's to remove; now that the job has a mirror there, it is.
    let fresh = |redis: &Redis| {
        redis.cli(&["RPUSH", "user:of others:events", "x"]).unwrap();
        let ran = job.command(&["run", "--fresh"]).output().unwrap();
        assert!(ran.status.success(), "{ran:?}");
    };
    fresh(&redis);
    check(&job, &redis);
}

fn is_said_where_it_is(redis: &Redis) {
    let job = mirrored(variation(100_000, 5_000), &redis.url(), Vec::new());
    let running = job.start();
    let begun = Instant::now();
    let said = loop {
        let asked = job.command(&["status"]).output().unwrap();
        let said = String::from_utf8(asked.stdout).unwrap();
        if said.contains("; the mirror is at epoch") {
            break said;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "{said}\n{}",
            job.said()
        );
        thread::sleep(Duration::from_millis(50));
    };
    assert!(!said.contains("the mirror is behind"), "{said}");
    let stopped = job.command(&["stop"]).status().unwrap();
    assert!(
        stopped.success() && running.wait().success(),
        "{}",
        job.said()
    );
}

#[test]
fn is_a_server_refused_that_cannot_hold_lists() {
    let check = |options: &[&str], expected: &str| {
        let redis = redis(options);
        let job = mirrored(variation(100, 0), &redis.url(), Vec::new());
        assert_eq!(job.start().wait().code(), Some(3), "{}", job.said());
        assert!(job.said().contains(expected), "{}", job.said());
        let checked = job.command(&["check"]).output().unwrap();
        assert!(
            String::from_utf8_lossy(&checked.stderr).contains(expected),
            "{checked:?}"
        );
    };
    check(&["--cluster-enabled", "yes"], "part of a cluster");
    let evicting = ["--maxmemory", "100mb", "--maxmemory-policy", "volatile-lru"];
    check(&evicting, "maxmemory-policy noeviction");
}

/// Keys and values as they are.
struct AsTheyAre;

impl Layout for AsTheyAre {
    fn stage(&self) -> &str {
        "stage"
    }

    fn list(&self, change: &Change) -> Option<List> {
        Some(List {
            key: change.key.clone(),
            elements: change.value.iter().cloned().collect(),
        })
    }

    fn name(&self) -> String {
        "user:{}".to_owned()
    }

    fn pattern(&self) -> Vec<u8> {
        b"user:*".to_vec()
    }
}

fn change(key: &str, value: Option<&str>) -> Change {
    Change {
        key: key.into(),
        value: value.map(Into::into),
    }
}

/// Lists in this server, without a job.
fn bare(redis: &Redis) -> RedisMirror {
    RedisMirror::new(MirrorConfig {
        job: "a".to_owned(),
        address: Address::parse(&redis.url()).unwrap(),
        timeout: Duration::from_secs(5),
        connect_timeout: Duration::from_secs(5),
        ttl: None,
        layout: Arc::new(AsTheyAre),
    })
}

fn point(epoch: u64) -> mirror::Point {
    mirror::Point {
        epoch: Epoch(epoch),
        checkpoint: CheckpointId(epoch + 7),
    }
}

#[test]
fn does_the_newest_run_write_and_no_other() {
    let redis = redis(&[]);
    let (mut older, mut newer) = (bare(&redis), bare(&redis));
    assert_eq!(older.take_over(Generation(9), false), Ok(None));
    assert_eq!(
        older.put(&[change("user:1", Some("a"))], Some(point(1))),
        Ok(())
    );
    assert_eq!(newer.take_over(Generation(10), false), Ok(Some(point(1))));
    let replaced = Err(MirrorError::Replaced(Generation(10)));
    assert_eq!(older.put(&[change("user:1", Some("b"))], None), replaced);
    assert_eq!(older.take_over(Generation(9), false).map(|_| ()), replaced);
    assert_eq!(redis.cli(&["LRANGE", "user:1", "0", "-1"]).unwrap(), "a\n");
    // All of an epoch but the last word; then another turn of the same run, in which what is late is refused.
    assert_eq!(newer.put(&[change("user:2", Some("c"))], None), Ok(()));
    let mut late = newer;
    let mut newer = bare(&redis);
    assert_eq!(newer.take_over(Generation(10), false), Ok(Some(point(1))));
    assert_eq!(
        late.put(&[change("user:2", Some("b"))], None),
        Err(MirrorError::Moved)
    );
    assert_eq!(newer.put(&[], Some(point(2))), Ok(()));
    // A run of another store has smaller numbers, and may be allowed to take it: then it is nowhere.
    let mut other = bare(&redis);
    assert_eq!(
        other.take_over(Generation(1), false),
        Err(MirrorError::Replaced(Generation(10)))
    );
    assert_eq!(
        other.take_over(Generation(1), true),
        Ok(Some(mirror::Point::NOWHERE))
    );
    assert_eq!(
        newer.put(&[change("user:2", Some("e"))], None),
        Err(MirrorError::Moved)
    );
    assert_eq!(
        newer.take_over(Generation(10), false),
        Ok(Some(mirror::Point::NOWHERE))
    );
}

#[test]
fn is_what_is_not_put_again_gone_and_what_was_lost_found_out() {
    let redis = redis(&[]);
    let mut newer = bare(&redis);
    assert_eq!(newer.take_over(Generation(10), false), Ok(None));
    assert_eq!(
        newer.put(&[change("user:1", Some("a"))], Some(point(1))),
        Ok(())
    );
    // What is not put again goes, and nothing else.
    redis.cli(&["RPUSH", "user:3", "x"]).unwrap();
    redis.cli(&["SET", "user:4", "x"]).unwrap();
    redis.cli(&["RPUSH", "other", "x"]).unwrap();
    newer.begin_whole();
    assert_eq!(newer.put(&[change("user:2", Some("d"))], None), Ok(()));
    while newer.sweep().unwrap() {}
    let mut keys: Vec<String> = redis
        .cli(&["KEYS", "*"])
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    keys.sort();
    assert_eq!(keys, ["other", "slackwater:mirror:a", "user:2", "user:4"]);
    redis.cli(&["FLUSHALL"]).unwrap();
    assert_eq!(
        newer.put(&[change("user:2", Some("d"))], None),
        Err(MirrorError::Moved)
    );
    assert_eq!(newer.take_over(Generation(10), false), Ok(None));
    assert_eq!(newer.put(&[change("user:2", Some("d"))], None), Ok(()));
}
