//! Whatever is damaged in a store: is it found, or does it not matter?
//!
//! Thousands of random damages to the objects of jobs that have ended in different ways. A recovery must say which
//! object it is, or go on and come to the same outputs. It must never begin anew, and nothing may panic.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::Duration;

use slackwater_dataflow::checkpoint::manifest::Manifest;
use slackwater_dataflow::checkpoint::recovery::RecoveryError;
use slackwater_dataflow::store::memory::{Crash, FaultPlan};
use slackwater_dataflow::store::{Store, read_all};

use crate::expected::{Expected, newest};
use crate::publishing::refusing;
use crate::sampling::{Draws, is_exhaustive, seeds, sweep};
use crate::scene::{Attempt, Scene, World};

/// Damages of one job; there are five of them.
const DAMAGES: u64 = 2_000;

/// What is done to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Flipped,
    Cut,
    Zeroed,
    Removed,
    Swapped,
    Older,
    Longer,
    Noise,
    Emptied,
}

const KINDS: [Kind; 9] = [
    Kind::Flipped,
    Kind::Cut,
    Kind::Zeroed,
    Kind::Removed,
    Kind::Swapped,
    Kind::Older,
    Kind::Longer,
    Kind::Noise,
    Kind::Emptied,
];

/// One damage, and the objects that it was done to.
#[derive(Debug)]
struct Damage {
    kind: Kind,
    names: Vec<String>,
}

fn bytes(world: &World, name: &str) -> Vec<u8> {
    read_all(&world.store as &dyn Store, name, u64::MAX).unwrap()
}

fn replace(world: &World, name: &str, bytes: Vec<u8>) {
    assert!(world.store.damage(name, |there| *there = bytes));
}

/// Damages one object, or two.
fn damage(world: &World, draws: &mut Draws) -> Damage {
    let kind = KINDS[draws.below(KINDS.len())];
    let mut names = world.store.names();
    names.retain(|name| !name.starts_with("probe/"));
    names.retain(|name| !bytes(world, name).is_empty());
    let name = names[draws.below(names.len())].clone();
    let ending = |name: &str| name.rsplit_once('.').map(|(_, ending)| ending.to_owned());
    let folder = |name: &str| name.split_once('/').map(|(folder, _)| folder.to_owned());
    names.retain(|it| ending(it) == ending(&name) && folder(it) == folder(&name));
    let other = names[draws.below(names.len())].clone();
    let mut content = bytes(world, &name);
    let at = draws.below(content.len());
    let to = at + 1 + draws.below(64);
    let length = content.len();
    match kind {
        Kind::Removed => {
            world.store.remove(&name);
        }
        Kind::Swapped => {
            replace(world, &name, bytes(world, &other));
            replace(world, &other, content);
        }
        Kind::Older => {
            world.store.copy(&other, &name);
        }
        _ => {
            match kind {
                Kind::Flipped => content[at] ^= 1 << draws.below(8),
                Kind::Cut => content.truncate(at),
                Kind::Zeroed => content[at..to.min(length)].fill(0),
                Kind::Longer => content.extend((0..to - at).map(|_| draws.next() as u8)),
                Kind::Noise => content.fill_with(|| draws.next() as u8),
                _ => content.clear(),
            }
            replace(world, &name, content);
        }
    }
    let names = vec![name, other];
    Damage { kind, names }
}

/// What has come of the damages to a job.
#[derive(Debug, Default)]
struct Tally {
    found: u64,
    harmless: u64,
    fell_back: u64,
    run: u64,
}

/// Whether an error is what this damage must lead to.
fn says_it(error: &RecoveryError, damage: &Damage) -> bool {
    let text = error.to_string();
    let names_it = damage.names.iter().any(|name| text.contains(name));
    // Of what is gone without a trace only the outputs can tell.
    let outputs_tell = matches!(
        error,
        RecoveryError::Halted { .. } | RecoveryError::OutputsWithoutCheckpoint { .. }
    );
    names_it || damage.kind == Kind::Removed && outputs_tell
}

fn one_damage(
    (scene, expected, base): (&Scene, &Expected, &World),
    seed: u64,
    tally: &Mutex<Tally>,
) -> Result<u64, String> {
    let mut draws = Draws::new(seed);
    let world = base.fork();
    let newest = newest(&world).pop().map(|it| (it.epoch, it.checkpoint));
    let damage = damage(&world, &mut draws);
    let attempt = Attempt::new(seed, 1 + draws.below(3));
    let begun = catch_unwind(AssertUnwindSafe(|| scene.begin_in(&world, &attempt)));
    let begun = begun.map_err(|_| format!("{damage:?}: a panic"))?;
    let recovered = match begun {
        Err(error) if says_it(&error, &damage) => {
            tally.lock().unwrap().found += 1;
            return Ok(1);
        }
        Err(error) => return Err(format!("{damage:?}: it does not name the object: {error}")),
        Ok(recovered) => recovered,
    };
    let fell_back = recovered.from != newest;
    if recovered.from.is_none() {
        return Err(format!("{damage:?}: the job began anew"));
    }
    drop(recovered);
    let every = if fell_back { 16 } else { 120 };
    let runs = is_exhaustive() || draws.below(every) == 0;
    {
        let mut tally = tally.lock().unwrap();
        tally.harmless += 1;
        tally.fell_back += u64::from(fell_back);
        tally.run += u64::from(runs);
    }
    if runs {
        let ended = scene.run(&world, &attempt);
        let ended = ended.map_err(|failure| format!("{damage:?}: {failure}"));
        ended?;
        expected
            .check(scene, &world)
            .map_err(|wrong| format!("{damage:?}: {wrong}"))?;
    }
    Ok(1)
}

fn damages(order: &str, what: &str, leave: impl Fn(&Scene, &World)) {
    let scene = Scene::new(29, 300, order);
    let expected = Expected::of(&scene);
    let base = World::new();
    leave(&scene, &base);
    let objects = base.store.names().len();
    let tally = Mutex::new(Tally::default());
    let seeds = seeds(DAMAGES, 10 * DAMAGES);
    sweep(&format!("{what}, {objects} objects"), &seeds, |&seed| {
        one_damage((&scene, &expected, &base), seed, &tally)
    });
    println!("{what}: {:?}", tally.into_inner().unwrap());
}

/// Runs that are killed at these steps, each with its number of workers.
fn killed(scene: &Scene, world: &World, kills: &[(u64, usize)]) {
    for (number, &(step, workers)) in (0..).zip(kills) {
        let step = world.store.steps() + step;
        let when = Crash::Before;
        world.store.set_faults(FaultPlan::Crash { step, when });
        scene
            .run(world, &Attempt::new(number, workers))
            .map(|ended| assert_eq!(format!("{ended:?}"), "killed"))
            .unwrap_err();
        world.store.set_faults(FaultPlan::Nothing);
        world.restart(false);
    }
}

#[test]
fn is_damage_to_a_job_that_is_done_found() {
    damages("event_time", "done", |scene, world| {
        scene.run(world, &Attempt::new(0, 2)).unwrap();
    });
}

#[test]
fn is_damage_to_a_job_that_was_killed_found() {
    damages("arrival", "killed", |scene, world| {
        killed(scene, world, &[(300, 2)]);
    });
}

#[test]
fn is_damage_to_a_job_that_was_killed_often_found() {
    damages("event_time", "killed often", |scene, world| {
        killed(scene, world, &[(90, 1), (90, 4), (90, 2), (70, 2)]);
    });
}

#[test]
fn is_damage_found_while_epochs_wait_to_be_published() {
    for order in ["arrival", "event_time"] {
        let what = format!("unpublished, {order}");
        damages(order, &what, |scene, world| {
            refusing(scene, world, 2, Duration::MAX);
            let last = newest(world).pop().unwrap();
            assert!(last.unconfirmed.len() > 1, "{}", last.unconfirmed.len());
        });
    }
}

/// An older checkpoint is as good as the newest as long as nothing of what lies between was published.
#[test]
fn is_an_older_checkpoint_taken_only_if_the_outputs_agree() {
    let scene = Scene::new(31, 200, "event_time");
    let expected = Expected::of(&scene);
    // Of the newest epoch there are outputs of both shards, or its checkpoint would be as good as the one before.
    let has_outputs = |world: &World| {
        let last = newest(world).pop().unwrap();
        let unconfirmed = last.unconfirmed.last();
        unconfirmed.is_some_and(|it| it.epoch == last.epoch && it.shards.len() == 2)
    };
    let mut worlds = (0..100).map(|_| {
        let world = World::new();
        refusing(&scene, &world, 1, Duration::MAX);
        world
    });
    let waiting = worlds.find(has_outputs).unwrap();
    let published = waiting.fork();
    drop(scene.begin_in(&published, &Attempt::new(7, 2)).unwrap());
    let manifests = newest(&waiting);
    let last = manifests.last().unwrap();
    let names: Vec<String> = last.objects().keys().map(ToString::to_string).collect();
    for name in names.iter().chain([&last.number.name()]) {
        let is_whole = |it: &&Manifest| {
            let mut objects = it.objects().into_keys();
            it.number != last.number && !objects.any(|object| object.to_string() == *name)
        };
        let older = manifests.iter().rev().find(is_whole);
        let world = waiting.fork();
        assert!(world.store.damage(name, |bytes| bytes[40] ^= 1));
        match scene.begin_in(&world, &Attempt::new(8, 1)) {
            Ok(recovered) => {
                let older = older.map(|it| (it.epoch, it.checkpoint));
                assert!(older.is_some() && recovered.from == older, "{name}");
                drop(recovered);
                scene.run(&world, &Attempt::new(9, 1)).unwrap();
                expected.check(&scene, &world).unwrap();
            }
            Err(error) => {
                assert!(older.is_none(), "{error}");
                assert!(error.to_string().contains(name), "{error}");
            }
        }
        let world = published.fork();
        assert!(world.store.damage(name, |bytes| bytes[40] ^= 1));
        let refused = scene.begin_in(&world, &Attempt::new(8, 1)).err().unwrap();
        let text = refused.to_string();
        assert!(text.contains(name), "{text}");
        if older.is_some() {
            assert!(matches!(refused, RecoveryError::Halted { .. }), "{text}");
            assert!(text.contains("--accept-duplicates"), "{text}");
        }
    }
}
