//! Partitions fall silent, are declared idle, wake, and are found: are the outputs a function of the input and of what
//! the last manifest has on record, through any crash?
//!
//! Which events are late is worked out here from the records of the partitions and from the raises on record, in a few
//! lines that share nothing with the engine. Then a job without checkpoints and without any silence is given the same
//! input, with what is late spoilt byte for byte, so that every other record keeps its place. In event-time order it must
//! make the same predictions.

use std::collections::BTreeMap;

use serde_json::Value;
use slackwater_connectors::memory::{MemorySink, MemorySource, Schedule};
use slackwater_dataflow::checkpoint::manifest::{Manifest, PartitionPosition};
use slackwater_dataflow::idleness::RaisedFrom;
use slackwater_dataflow::moment::Epoch;
use slackwater_dataflow::place::{PartitionId, ShardId};
use slackwater_dataflow::sink::{OutputChunk, OutputStream};
use slackwater_dataflow::store::memory::{Crash, FaultPlan};

use crate::expected::{Content, content, difference, newest, nothing_goes_back, visible};
use crate::quiet::Quiet;
use crate::reference::{assert_in_order, run_to};
use crate::sampling::{Draws, seeds, sweep};
use crate::scene::{Attempt, Failure, SHARDS, Scene, World};
use crate::sips::sips;

const PARTITIONS: u32 = 4;
const RECORDS: u64 = 50;
const USERS: usize = 5;
/// `max_out_of_orderness` of the pipeline.
const DISORDER_MS: i64 = 2_000;
const START_MS: i64 = 1_767_225_600_000;
/// Runs in a row that crash.
const CRASHES: usize = 4;

/// A record, as far as lateness goes.
struct Record {
    offset: u64,
    time: i64,
    line: Vec<u8>,
}

/// All partitions, which go on by a second a record or so, and have every user; in arrival order each has its own.
fn partitions(seed: u64, has_own_users: bool) -> Vec<Vec<Record>> {
    let mut draws = Draws::new(seed);
    let of = |partition: u32| {
        let mut offset = 0;
        let records = (0..RECORDS).map(|nth| {
            let time = START_MS + nth as i64 * 1_000 + draws.below(3_500) as i64;
            let user = draws.below(USERS) + if has_own_users { 100 * partition as usize } else { 0 };
            let event = ["view", "click", "add_to_cart", "purchase"][draws.below(4)];
            let line = format!(
                "{{\"user_id\":\"user_{user}\",\"product_id\":\"product_{nth}\",\"category\":\"toys\",\
                 \"event_type\":\"{event}\",\"timestamp_ms\":{time}}}"
            )
            .into_bytes();
            let record = Record { offset, time, line };
            offset += record.line.len() as u64 + 1;
            record
        });
        records.collect::<Vec<_>>()
    };
    (0..PARTITIONS).map(of).collect()
}

/// The lines, each as `of` says.
fn source(partitions: &[Vec<Record>], of: impl Fn(u32, &Record) -> Vec<u8>) -> MemorySource {
    let lines = (0..).zip(partitions).map(|(id, records)| {
        let lines = records.iter().map(|record| of(id, record)).collect();
        (PartitionId(id), lines)
    });
    MemorySource::from_records(lines.collect::<Vec<_>>()).unwrap()
}

/// A late event: what its dead letter says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Late {
    offset: u64,
    watermark: i64,
    lateness_ms: i64,
    code: &'static str,
}

/// Which records of a partition are late, with these raises.
fn late(records: &[Record], raised: &[RaisedFrom]) -> Vec<Late> {
    let (mut highest, mut late) = (None, Vec::new());
    for record in records {
        let raise = raised.iter().rfind(|raise| raise.offset.0 <= record.offset);
        let floor = raise.map_or(i64::MIN, |raise| raise.floor.0);
        let own = highest.map_or(i64::MIN, |highest: i64| highest - DISORDER_MS);
        let watermark = own.max(floor);
        if record.time >= watermark {
            highest = highest.max(Some(record.time));
            continue;
        }
        let is_new = own < floor && raise.is_some_and(|raise| raise.found);
        late.push(Late {
            offset: record.offset,
            watermark,
            lateness_ms: watermark - record.time,
            code: if is_new { "late_new_partition" } else { "late" },
        });
    }
    late
}

/// The late events of a partition that are visible, in their order.
fn visible_late(content: &Content, partition: u32) -> Vec<(u64, i64, i64, String)> {
    let key = (OutputStream::LateEvents.name(), partition.to_string());
    let records = content.get(&key).cloned().unwrap_or_default();
    let number = |value: &Value| value.as_i64().unwrap();
    let of = |record: &Value| {
        (
            record["source"]["offset"].as_u64().unwrap(),
            number(&record["watermark"]),
            number(&record["lateness_ms"]),
            record["code"].as_str().unwrap().to_owned(),
        )
    };
    records.iter().map(of).collect()
}

/// What a run has come to, so that the cases can be seen to be of interest.
#[derive(Clone, Copy, Debug, Default)]
struct Met {
    raises: usize,
    late_by_floor: usize,
    late_new: usize,
}

/// Whether a job that is done has made of its input what its last manifest says.
fn check(scene: &Scene, world: &World, input: &[Vec<Record>]) -> Result<Met, String> {
    let manifests = newest(world);
    let last: &Manifest = manifests.last().ok_or("there is no manifest")?;
    if !last.complete {
        return Err("it is not complete".to_owned());
    }
    nothing_goes_back(world)?;
    let found = visible(world);
    let (mut met, mut all_late) = (Met::default(), BTreeMap::new());
    for (id, records) in (0..).zip(input) {
        let is_it = |it: &&PartitionPosition| it.id == PartitionId(id);
        let position = last.partitions.iter().find(is_it);
        let raised = &position
            .ok_or(format!("partition {id} is not known"))?
            .raised;
        let expected = late(records, raised);
        let said = visible_late(&found, id);
        let of = |it: &Late| (it.offset, it.watermark, it.lateness_ms, it.code.to_owned());
        let wanted: Vec<_> = expected.iter().map(of).collect();
        if said != wanted {
            return Err(format!(
                "partition {id}, raised {raised:?}: late {said:?}\nexpected {wanted:?}"
            ));
        }
        met.raises += raised.len();
        met.late_by_floor += expected.len() - late(records, &[]).len().min(expected.len());
        met.late_new += expected.iter().filter(|it| it.code != "late").count();
        all_late.insert(id, expected);
    }
    let spoilt = source(input, |id, record| {
        let is_late = all_late[&id].iter().any(|it| it.offset == record.offset);
        if is_late {
            vec![b'x'; record.line.len()]
        } else {
            record.line.clone()
        }
    });
    let (sink, _) = scene.job().run(spoilt, 1);
    let kept = |stream: OutputStream| match stream {
        OutputStream::Predictions | OutputStream::ProcessingErrors => sink.records(stream),
        OutputStream::ValidationErrors | OutputStream::LateEvents => Vec::new(),
    };
    let expected = content(&OutputStream::ALL.map(kept));
    let late_events = OutputStream::LateEvents.name();
    let found = found
        .into_iter()
        .filter(|((stream, _), _)| *stream != late_events);
    match difference(&expected, &found.collect()) {
        Some(difference) => Err(difference),
        None => Ok(met),
    }
}

/// One run. What is hidden is found while it runs, or by a restart, or known from an earlier run.
fn run(scene: &Scene, world: &World, attempt: &Attempt, seed: u64) -> Result<(), Failure> {
    let polls = Schedule::Seeded(seed * 1_000 + attempt.number);
    let quiet = Quiet::new(
        scene.source.clone().with_schedule(polls),
        seed + attempt.number,
    );
    let is_known = newest(world)
        .last()
        .is_some_and(|last| last.partitions.len() == PARTITIONS as usize);
    let is_found_at_the_start = attempt.number > 0 && seed.is_multiple_of(3);
    let quiet = match is_known || is_found_at_the_start {
        true => quiet,
        false => quiet.hiding_the_last(),
    };
    let store = std::sync::Arc::new(world.store.clone());
    let sink = Box::new(world.sink.clone());
    let ended = scene.run_from(quiet, store, sink, attempt, &|stopper| {
        if world.store.is_dead() {
            stopper.abort();
        }
    });
    ended.map(|_| ())
}

/// Runs a job until it is done, crashing so many times. How often it did.
fn survive(scene: &Scene, world: &World, seed: u64, crashes: usize) -> Result<u64, String> {
    let mut draws = Draws::new(seed);
    let mut struck = 0;
    for number in 0..CRASHES as u64 + 2 {
        let plan = FaultPlan::Crash {
            step: world.store.steps() + 20 + draws.next() % 250,
            when: [Crash::Before, Crash::Half, Crash::After][draws.below(3)],
        };
        let crashes_now = number < crashes as u64;
        world.store.set_faults(if crashes_now {
            plan
        } else {
            FaultPlan::Nothing
        });
        let attempt = Attempt::new(number, [2, 1, 4][(seed + number) as usize % 3]);
        let ended = run(scene, world, &attempt, seed);
        world.store.set_faults(FaultPlan::Nothing);
        match ended {
            Ok(()) => {
                world.restart(false);
                return Ok(struck);
            }
            Err(failure) if !world.store.is_dead() => {
                return Err(format!("run {number} failed: {failure}"));
            }
            Err(_) => {
                struck += 1;
                world.restart(draws.below(2) == 0);
            }
        }
    }
    Err("no run came through".to_owned())
}

#[test]
fn is_what_is_late_on_record_through_any_crash() {
    let seeds = seeds(40, 1_500);
    let met = std::sync::Mutex::new(Met::default());
    sweep("silences, event_time", &seeds, |&seed| {
        let input = partitions(seed, false);
        let records = source(&input, |_, record| record.line.clone());
        let scene = Scene::of(records, "event_time", seed);
        let world = World::new();
        let struck = survive(&scene, &world, seed, CRASHES)?;
        let this = check(&scene, &world, &input)?;
        let mut met = met.lock().unwrap();
        met.raises += this.raises;
        met.late_by_floor += this.late_by_floor;
        met.late_new += this.late_new;
        Ok(struck)
    });
    let met = met.into_inner().unwrap();
    println!("{met:?}");
    // Else the cases would say less than they claim.
    assert!(
        met.raises > 20 && met.late_by_floor > 50 && met.late_new > 0,
        "{met:?}"
    );
}

/// A record without its score: in arrival order an event below the floor counts as having happened there, which gaps
/// between events show.
fn without_score(content: Content) -> Content {
    let unscored = |mut record: Value| {
        if let Some(score) = record.get_mut("prediction") {
            *score = Value::Null;
        }
        record
    };
    let all = content.into_iter();
    all.map(|(key, records)| (key, records.into_iter().map(unscored).collect()))
        .collect()
}

/// In arrival order a partition is judged by its own watermark only: every event has the outcome that it has without
/// any silence.
#[test]
fn is_nothing_late_by_a_floor_in_arrival_order() {
    let seeds = seeds(10, 300);
    sweep("silences, arrival", &seeds, |&seed| {
        let input = partitions(seed, true);
        let records = source(&input, |_, record| record.line.clone());
        let scene = Scene::of(records.clone(), "arrival", seed);
        let world = World::new();
        let struck = survive(&scene, &world, seed, CRASHES)?;
        let (sink, _) = scene.job().run(records, 1);
        let expected = content(&OutputStream::ALL.map(|stream| sink.records(stream)));
        let (expected, found) = (without_score(expected), without_score(visible(&world)));
        difference(&expected, &found).map_or(Ok(struck), Err)
    });
}

/// Whether no checkpoint has a floor that something which was visible by then lies above: the watermark had passed it.
fn is_above_all_that_was_released(world: &World) -> Result<(), String> {
    let committed = (0..SHARDS).flat_map(|shard| world.sink.committed(ShardId(shard)));
    let mut released = Vec::new();
    for part in committed {
        let is_it = |chunk: &&OutputChunk| chunk.stream == OutputStream::Predictions;
        for chunk in part.outputs.iter().filter(is_it) {
            for line in str::from_utf8(&chunk.bytes).unwrap().lines() {
                let record: Value = serde_json::from_str(line).unwrap();
                released.push((part.epoch, record["event_time"].as_i64().unwrap()));
            }
        }
    }
    for manifest in newest(world).iter().filter(|manifest| !manifest.complete) {
        let is_in = |it: &&(Epoch, i64)| it.0 <= manifest.epoch;
        let last = released.iter().filter(is_in).map(|it| it.1).max();
        let floor = manifest.floor.map(|floor| floor.0);
        if last.is_some() && last >= floor {
            return Err(format!(
                "epoch {}: {last:?} was released, the floor is {floor:?}",
                manifest.epoch
            ));
        }
    }
    Ok(())
}

/// A job whose partitions are fixed has no reserve, and its stages act on watermarks above any floor; a restart finds one
/// partition more.
#[test]
fn is_what_a_restart_finds_never_handled_before_what_was_released() {
    let seeds = seeds(30, 1_000);
    sweep("found by a restart", &seeds, |&seed| {
        let input = partitions(seed, false);
        let records = source(&input, |_, record| record.line.clone());
        let (known, _) = input.split_at(PARTITIONS as usize - 1);
        let known = source(known, |_, record| record.line.clone());
        let scene = Scene::of(records, "event_time", seed);
        let world = World::new();
        let run = |source: &MemorySource, number: u64| {
            let polls = Schedule::Seeded(seed * 10 + number);
            let source = sips(source.clone().with_schedule(polls));
            let store = std::sync::Arc::new(world.store.clone());
            let sink = Box::new(world.sink.clone());
            let attempt = Attempt::new(number, 1 + (seed + number) as usize % 2);
            scene.run_from(source, store, sink, &attempt, &|stopper| {
                if world.store.is_dead() {
                    stopper.abort();
                }
            })
        };
        let mut draws = Draws::new(seed);
        world.store.set_faults(FaultPlan::Crash {
            step: 40 + draws.next() % 100,
            when: Crash::Before,
        });
        if run(&known, 0).is_ok() {
            return Ok(0);
        }
        world.store.set_faults(FaultPlan::Nothing);
        world.restart(true);
        is_above_all_that_was_released(&world)?;
        if newest(&world).iter().any(|manifest| manifest.complete) {
            // It came to the end of what it knew, and reads no more.
            return Ok(0);
        }
        run(&scene.source, 1).map_err(|failure| failure.to_string())?;
        check(&scene, &world, &input).map(|_| 1)
    });
}

/// Without a store nothing is on record. But no user's events are out of order, and everything has an outcome.
#[test]
fn are_events_in_order_without_a_checkpoint_store() {
    let mut late = 0;
    for seed in seeds(4, 40) {
        let input = partitions(seed, false);
        let records = source(&input, |_, record| record.line.clone());
        let scene = Scene::of(records.clone(), "event_time", seed);
        for workers in [1, 2] {
            let polls = Schedule::Seeded(seed + workers as u64);
            let quiet = Quiet::new(records.clone().with_schedule(polls), seed).hiding_the_last();
            let sink = MemorySink::new();
            let blueprint = scene.job().blueprint(quiet, workers);
            let totals = run_to(blueprint, workers, Box::new(sink.clone()));
            assert_eq!(totals.read, u64::from(PARTITIONS) * RECORDS);
            late += sink.records(OutputStream::LateEvents).len();
            assert_in_order(&sink, seed);
        }
    }
    assert!(late > 0);
}
