//! What must be true when a job is done, whatever happened on the way.
//!
//! What is expected comes from a run without checkpoints, which shares nothing with the code that is asked about:
//! no epoch, no store, no recovery.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use slackwater_dataflow::checkpoint::groups::GroupSet;
use slackwater_dataflow::checkpoint::log::manifests;
use slackwater_dataflow::checkpoint::manifest::{ChainObject, Manifest};
use slackwater_dataflow::checkpoint::state_merge::{StateChain, StateDigest};
use slackwater_dataflow::meters::Totals;
use slackwater_dataflow::place::ShardId;
use slackwater_dataflow::sink::OutputStream;
use slackwater_dataflow::source::Source;

use crate::canonical::mask;
use crate::scene::{Attempt, Ended, SHARDS, Scene, World};

/// Canonical records by stream and key, in the order in which they became visible.
pub type Content = BTreeMap<(&'static str, String), Vec<Value>>;

/// What a job must have come to in the end.
pub struct Expected {
    pub content: Content,
    pub totals: Totals,
    /// Of the last checkpoint.
    state: StateDigest,
}

impl Expected {
    /// Of a job, from a run without checkpoints; its state from one with checkpoints in which nothing goes wrong.
    pub fn of(scene: &Scene) -> Self {
        Self::from(scene, scene.source.clone())
    }

    /// The same with what is read given in another way.
    pub fn from(scene: &Scene, source: impl Source + 'static) -> Self {
        let (sink, totals) = scene.job().run(source, 1);
        let lines = OutputStream::ALL.map(|stream| sink.records(stream));
        let world = World::new();
        let ended = scene.run(&world, &Attempt::new(0, 1));
        assert_eq!(ended.unwrap(), Ended::Done(totals));
        let expected = Expected {
            content: content(&lines),
            totals,
            state: state(&world, newest(&world).last().unwrap()).unwrap(),
        };
        expected.check(scene, &world).unwrap();
        expected
    }

    /// What is wrong with a job that is done.
    pub fn check(&self, scene: &Scene, world: &World) -> Result<(), String> {
        match scene.begin_in(world, &Attempt::new(0, 1)) {
            Ok(recovered) if recovered.is_complete => {}
            Ok(_) => return Err("it is not complete".to_owned()),
            Err(error) => return Err(format!("it cannot be begun again: {error}")),
        }
        if let Some(difference) = difference(&self.content, &visible(world)) {
            return Err(difference);
        }
        let newest = newest(world);
        let last = newest.last().ok_or("there is no manifest")?;
        let outcomes = OutputStream::ALL.map(|stream| last.totals[stream.name()]);
        let (totals, dropped) = (&self.totals, last.totals["dropped"]);
        let found = (last.totals["read"], outcomes, dropped);
        let expected = (totals.read, totals.outcomes, totals.dropped);
        if found != expected {
            return Err(format!("totals {found:?}, not {expected:?}"));
        }
        let state = state(world, last)?;
        if state != self.state {
            return Err(format!("state {state:?}, not {:?}", self.state));
        }
        nothing_goes_back(world)?;
        nothing_is_left(world, &newest)
    }
}

/// Nothing that is counted up ever goes down.
pub fn nothing_goes_back(world: &World) -> Result<(), String> {
    for shard in 0..SHARDS {
        let committed = world.sink.committed(ShardId(shard));
        let order = |it: &slackwater_connectors::memory::Committed| (it.epoch, it.chunk);
        if !committed.is_sorted_by(|a, b| order(a) < order(b)) {
            return Err(format!("epochs of shard {shard} go back"));
        }
        if !committed.is_sorted_by_key(|it| it.generation) {
            return Err(format!("generations of shard {shard} go back"));
        }
    }
    let manifests = newest(world);
    if !manifests.is_sorted_by(|a, b| a.epoch < b.epoch && a.generation <= b.generation) {
        return Err("manifests are not in the order of epochs".to_owned());
    }
    Ok(())
}

/// After a recovery there is nothing that the checkpoints which are kept do not list.
fn nothing_is_left(world: &World, newest: &[Manifest]) -> Result<(), String> {
    let kept = newest.iter().rev().take(Attempt::new(0, 1).retain);
    let listed: BTreeSet<String> = kept
        .flat_map(|manifest| manifest.objects().into_keys())
        .map(|name| name.to_string())
        .collect();
    let names = world.store.names();
    let mut left = names
        .iter()
        .filter(|name| name.starts_with("data/") && !listed.contains(*name));
    match left.next() {
        Some(name) => Err(format!("`{name}` is left")),
        None => Ok(()),
    }
}

/// All manifests that can be read, oldest first.
pub fn newest(world: &World) -> Vec<Manifest> {
    let found = manifests(&world.store).unwrap();
    found
        .into_iter()
        .filter_map(|found| found.manifest.ok())
        .collect()
}

/// What the state of a checkpoint says, of all workers.
pub fn state(world: &World, manifest: &Manifest) -> Result<StateDigest, String> {
    let mut digest = StateDigest::default();
    for chain in &manifest.chains {
        let read = StateChain::open(&world.store, chain.iter().map(ChainObject::object));
        let read = read.and_then(|mut chain| chain.digest(&GroupSet::all()));
        digest = digest.and(read.map_err(|error| error.to_string())?);
    }
    Ok(digest)
}

/// Everything that is visible.
pub fn visible(world: &World) -> Content {
    let lines = OutputStream::ALL.map(|stream| {
        let shards = (0..SHARDS).map(|shard| world.sink.bytes(ShardId(shard), stream));
        let bytes: Vec<u8> = shards.flatten().collect();
        let lines = bytes.split(|byte| *byte == b'\n');
        lines
            .filter(|line| !line.is_empty())
            .map(<[u8]>::to_vec)
            .collect::<Vec<_>>()
    });
    content(&lines)
}

/// All records of the streams, in the order of [`OutputStream::ALL`].
pub fn content(lines: &[Vec<Vec<u8>>; 4]) -> Content {
    let mut content = Content::new();
    for (stream, lines) in OutputStream::ALL.into_iter().zip(lines) {
        for line in lines {
            let record = mask(str::from_utf8(line).unwrap());
            let key = match stream {
                OutputStream::Predictions => &record["user_id"],
                OutputStream::ProcessingErrors => &record["original_event"][0],
                OutputStream::ValidationErrors | OutputStream::LateEvents => {
                    &record["source"]["partition"]
                }
            };
            let key = (stream.name(), key.to_string());
            content.entry(key).or_default().push(record);
        }
    }
    content
}

/// Where two contents differ first; nothing if they do not.
pub fn difference(expected: &Content, found: &Content) -> Option<String> {
    let keys = expected.keys().chain(found.keys());
    keys.into_iter().find_map(|key| {
        let of = |content: &Content| content.get(key).cloned().unwrap_or_default();
        let (expected, found) = (of(expected), of(found));
        let at = expected.iter().zip(&found).position(|(a, b)| a != b);
        let at = at.unwrap_or(expected.len().min(found.len()));
        (expected != found).then(|| {
            format!(
                "{key:?}: {} records expected, {} found; record {at}:\nexpected {:?}\nfound {:?}",
                expected.len(),
                found.len(),
                expected.get(at),
                found.get(at)
            )
        })
    })
}
