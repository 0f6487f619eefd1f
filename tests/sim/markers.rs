//! A marker is missing, unknown or ahead: does the run halt, and do both choices do what they say?

use std::time::Duration;

use slackwater_dataflow::checkpoint::manifest::Manifest;
use slackwater_dataflow::checkpoint::recovery::RecoveryError;
use slackwater_dataflow::checkpoint::settle::{Choice, Finding};
use slackwater_dataflow::identity::CheckpointId;
use slackwater_dataflow::moment::Epoch;
use slackwater_dataflow::place::ShardId;
use slackwater_dataflow::sink::{Marker, OutputStream};

use crate::expected::{Expected, newest, visible};
use crate::publishing::refusing;
use crate::scene::{Attempt, SHARDS, Scene, World};

const SHARD: ShardId = ShardId(0);

/// Bytes that are visible of each shard, all streams together.
fn published(world: &World) -> Vec<u64> {
    let of = |shard| {
        let streams = OutputStream::ALL.map(|stream| world.sink.bytes(ShardId(shard), stream));
        streams.iter().map(|bytes| bytes.len() as u64).sum()
    };
    (0..SHARDS).map(of).collect()
}

/// Bytes that a checkpoint lists to be published of the shard.
fn listed(manifest: &Manifest) -> u64 {
    let shards = manifest.unconfirmed.iter().flat_map(|it| &it.shards);
    let shards = shards.filter(|it| it.shard == SHARD);
    let sum = |lengths: &[u64; 4]| lengths.iter().sum::<u64>();
    shards.map(|it| sum(&it.after) - sum(&it.before)).sum()
}

fn records(world: &World) -> usize {
    visible(world).values().map(Vec::len).sum()
}

/// A job that was killed while epochs waited to be published, and the same with them published.
fn worlds(scene: &Scene) -> [World; 2] {
    for takes in (1..4).cycle().take(60) {
        let waiting = World::new();
        refusing(scene, &waiting, takes, Duration::MAX);
        let last = newest(&waiting).pop().unwrap();
        // What is listed is really not published, and something else is.
        let marker = waiting.sink.marker(SHARD);
        let mut confirmed = last.confirmed.iter().filter(|it| it.shard == SHARD);
        let fits = confirmed.any(|it| marker.is_some_and(|at| at.epoch == it.epoch));
        if fits && listed(&last) > 0 && !last.complete {
            let settled = waiting.fork();
            drop(scene.begin_in(&settled, &Attempt::new(1, 2)).unwrap());
            return [waiting, settled];
        }
    }
    unreachable!("no run was killed like that");
}

fn check(
    (scene, expected): (&Scene, &Expected),
    world: &World,
    marker: Option<Marker>,
    finding: fn(&Finding) -> bool,
    is_published: bool,
) {
    world.sink.set_marker(SHARD, marker);
    let last = newest(world).pop().unwrap();
    let listed = listed(&last);
    let before = published(world);
    let attempt = Attempt::new(2, 1);
    for _ in 0..2 {
        match scene.begin_in(world, &attempt).err().unwrap() {
            RecoveryError::Halted { shard, halt, .. } => {
                assert_eq!(shard, SHARD);
                assert!(finding(&halt.found), "{halt}");
            }
            error => unreachable!("{error}"),
        }
        assert_eq!(published(world), before, "a halt publishes nothing");
    }
    for (choice, is_given) in [
        (Choice::AcceptDuplicates, true),
        (Choice::SkipOutbox, false),
    ] {
        let world = world.fork();
        let mut attempt = attempt.clone();
        attempt.choice = Some(choice);
        drop(scene.begin_in(&world, &attempt).unwrap());
        let given = published(&world)[0] - before[0];
        assert_eq!(given, if is_given { listed } else { 0 }, "{choice:?}");
        // It has to be said once more, since no manifest has recorded it. Then it is known.
        let begun = published(&world);
        attempt.choice = is_given.then_some(Choice::SkipOutbox).or(Some(choice));
        scene.run(&world, &attempt).unwrap();
        assert!(published(&world)[0] >= begun[0]);
        let recovered = scene.begin_in(&world, &Attempt::new(3, 2)).unwrap();
        assert!(recovered.is_complete);
        drop(recovered);
        let all: usize = expected.content.values().map(Vec::len).sum();
        match (is_given, is_published) {
            (true, true) => assert!(records(&world) > all, "some are there twice"),
            (false, false) => assert!(records(&world) < all, "some are missing"),
            _ => expected.check(scene, &world).unwrap(),
        }
    }
}

#[test]
fn does_a_marker_that_does_not_fit_halt_the_run() {
    for order in ["arrival", "event_time"] {
        let scene = Scene::new(73, 300, order);
        let expected = Expected::of(&scene);
        let [waiting, settled] = worlds(&scene);
        for (world, is_published) in [(&waiting, false), (&settled, true)] {
            let there = world.sink.marker(SHARD).unwrap();
            let unknown = Marker {
                checkpoint: CheckpointId(7),
                ..there
            };
            let ahead = Marker {
                epoch: Epoch(there.epoch.0 + 1_000),
                ..unknown
            };
            let job = (&scene, &expected);
            let fork = || world.fork();
            let is_missing = |it: &Finding| matches!(it, Finding::MarkerMissing);
            check(job, &fork(), None, is_missing, is_published);
            let is_ahead = |it: &Finding| matches!(it, Finding::MarkerAhead { .. });
            check(job, &fork(), Some(ahead), is_ahead, is_published);
            let is_unknown = |it: &Finding| matches!(it, Finding::MarkerUnknown { .. });
            check(job, &fork(), Some(unknown), is_unknown, is_published);
        }
    }
}
