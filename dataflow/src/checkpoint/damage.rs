//! Is every damage to a checkpoint found out, whatever it is, and does nothing panic over it?
//!
//! A small checkpoint of two workers lies in a store, with older objects of each kind beside it. It is damaged in
//! one way at a time and must not pass; undamaged it must.

use std::sync::Arc;

use crate::checkpoint::fault::FormatError;
use crate::checkpoint::frame::Encoding;
use crate::checkpoint::frame::reading::verify_whole;
use crate::checkpoint::groups::GroupSet;
use crate::checkpoint::job;
use crate::checkpoint::manifest::{
    ChainObject, Manifest, Record, Segment, UnconfirmedEpoch, UnconfirmedShard,
};
use crate::checkpoint::names::{DataKind, DataName, RecordNumber};
use crate::checkpoint::outbox::reading::OutboxReader;
use crate::checkpoint::outbox::{OutboxWriter, SealedOutbox};
use crate::checkpoint::record::{decode, encode};
use crate::checkpoint::shelf::Shelf;
use crate::checkpoint::state_file::{Entry, StateWriter};
use crate::checkpoint::state_merge::StateChain;
use crate::identity::{CheckpointId, Generation};
use crate::moment::Epoch;
use crate::place::{KeyGroup, ShardId};
use crate::sink::{Framing, Lengths, OutputChunk, OutputStream};
use crate::store::{Store, read_all};

const WORKERS: u32 = 2;
const SHARDS: u16 = 2;
/// The record of the checkpoint that is damaged.
const LAST: RecordNumber = RecordNumber(4);

fn name(epoch: u64, worker: u32, kind: DataKind) -> DataName {
    DataName {
        generation: Generation(1),
        epoch: Epoch(epoch),
        worker,
        random: epoch << 8 | u64::from(worker),
        kind,
    }
}

fn write_state(store: &Shelf, epoch: u64, worker: u32) -> ChainObject {
    let name = name(epoch, worker, DataKind::State);
    // Packed and plain blocks, whole files and changes.
    let encoding = [Encoding::Lz4, Encoding::Plain][(epoch % 2) as usize];
    let writer = StateWriter::create(store, name, encoding).unwrap();
    let mut writer = writer.with_blocks_of(80);
    for (stage, bound) in [("features", None), ("order", Some(b"k1".as_slice()))] {
        writer.section(stage, bound).unwrap();
        for key in 0..5_u16 {
            // As long for each worker, so that only the checksum of the whole tells them apart.
            let value = format!("{epoch} {worker} ").repeat(5);
            writer
                .entry(Entry {
                    group: KeyGroup(key / 2),
                    key: format!("k{key}").as_bytes(),
                    value: (key != 3).then_some(value.as_bytes()),
                })
                .unwrap();
        }
    }
    let object = writer.finish().unwrap();
    ChainObject {
        name,
        length: object.length,
        crc32c: object.crc32c,
        epoch: Epoch(epoch),
        whole: epoch == 1,
    }
}

fn write_outbox(store: &Shelf, epoch: u64, worker: u32) -> SealedOutbox {
    let name = name(epoch, worker, DataKind::Outbox);
    let mut writer = OutboxWriter::new(Arc::new(store.clone()), name);
    for shard in 0..SHARDS {
        for stream in [OutputStream::Predictions, OutputStream::LateEvents] {
            let records = 6;
            let bytes = format!("{{\"worker\":{worker},\"shard\":{shard}}}\n").repeat(6);
            let shard = ShardId(shard);
            writer
                .append(&OutputChunk {
                    stream,
                    shard,
                    records,
                    framing: Framing::Lines,
                    bytes: bytes.into_bytes(),
                })
                .unwrap();
        }
    }
    writer.seal().unwrap().unwrap()
}

/// Writes the outboxes of an epoch; `lengths` are those of each shard before, and then after it.
fn outputs(store: &Shelf, epoch: u64, lengths: &mut [Lengths]) -> UnconfirmedEpoch {
    let sealed: Vec<SealedOutbox> = (0..WORKERS)
        .map(|worker| write_outbox(store, epoch, worker))
        .collect();
    let mut shards = Vec::new();
    for (shard, length) in (0..).map(ShardId).zip(lengths) {
        let before = *length;
        let mut segments = Vec::new();
        for outbox in &sealed {
            let outputs = &outbox.shards[&shard];
            let added = length.iter_mut().zip(outputs.lengths);
            added.for_each(|(length, added)| *length += added);
            segments.push(Segment {
                name: outbox.object.name,
                length: outbox.object.length,
                crc32c: outbox.object.crc32c,
                chunks: outputs.chunks.clone(),
            });
        }
        shards.push(UnconfirmedShard {
            shard,
            before,
            after: *length,
            segments,
        });
    }
    UnconfirmedEpoch {
        epoch: Epoch(epoch),
        checkpoint: CheckpointId(epoch),
        shards,
    }
}

/// The store with checkpoints of the epochs 1 to 3, the records 2 to 4.
fn checkpoint() -> Shelf {
    let store = Shelf::default();
    let mut chains = vec![Vec::new(); WORKERS as usize];
    let mut lengths = vec![Lengths::default(); usize::from(SHARDS)];
    for epoch in 1..=3 {
        for (worker, chain) in (0..).zip(&mut chains) {
            chain.push(write_state(&store, epoch, worker));
        }
        let outputs = outputs(&store, epoch, &mut lengths);
        let manifest = Manifest {
            number: RecordNumber(epoch + 1),
            generation: Generation(1),
            epoch: Epoch(epoch),
            checkpoint: CheckpointId(epoch),
            created_ms: 0,
            job: job::sample(),
            floor: None,
            workers: WORKERS,
            partitions: Vec::new(),
            chains: chains.clone(),
            unconfirmed: vec![outputs],
            confirmed: Vec::new(),
            lengths: lengths.clone(),
            totals: [("events".to_owned(), epoch)].into(),
            complete: false,
        };
        let record = Record::Manifest(Box::new(manifest));
        store.set(&record.number().name(), encode(&record).unwrap());
    }
    store
}

fn manifest(store: &Shelf) -> Result<Manifest, FormatError> {
    let bytes = read_all(store, &LAST.name(), 1 << 20)?;
    match decode(&bytes, LAST)? {
        Record::Manifest(manifest) => Ok(*manifest),
        Record::Claim(_) => panic!("a claim under the number of a manifest"),
    }
}

/// Checks all of the last checkpoint.
fn verify(store: &Shelf) -> Result<(), FormatError> {
    for object in manifest(store)?.objects().values() {
        verify_whole(store, object)?;
    }
    Ok(())
}

/// Reads all content of the last checkpoint, as a recovery does that has verified nothing before.
fn read(store: &Shelf) -> Result<(), FormatError> {
    let manifest = manifest(store)?;
    for chain in &manifest.chains {
        let objects = chain.iter().map(ChainObject::object);
        StateChain::open(store, objects)?.digest(&GroupSet::all())?;
    }
    for shard in manifest.unconfirmed.iter().flat_map(|epoch| &epoch.shards) {
        for segment in &shard.segments {
            let mut reader = OutboxReader::open(store, &segment.object())?;
            for chunk in &segment.chunks {
                reader.chunk(shard.shard, chunk)?;
            }
        }
    }
    Ok(())
}

/// The names of all that the last checkpoint consists of, and of what is older.
fn names(store: &Shelf) -> (Vec<String>, Vec<String>) {
    let listed = manifest(store).unwrap();
    let mut names: Vec<String> = listed.objects().keys().map(ToString::to_string).collect();
    names.push(LAST.name());
    let mut older = store.list("").unwrap();
    older.retain(|name| !names.contains(name));
    (names, older)
}

#[test]
fn is_every_changed_byte_found_out() {
    let store = checkpoint();
    verify(&store).unwrap();
    read(&store).unwrap();
    let (names, _) = names(&store);
    let kinds = ["state", "outbox", "00004"];
    let of_each_kind = kinds.map(|kind| names.iter().find(|name| name.ends_with(kind)).unwrap());
    let object = |name: &String| name.parse::<DataName>().ok();
    let listed = manifest(&store).unwrap().objects();
    for name in of_each_kind {
        let whole = store.get(name);
        let listed = object(name).map(|name| listed[&name]);
        for at in 0..whole.len() {
            for change in [0x01, 0x80, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] ^= change;
                let found_out = match listed {
                    Some(object) => {
                        store.set(name, bytes);
                        verify_whole(&store, &object).is_err()
                    }
                    None => decode(&bytes, LAST).is_err(),
                };
                assert!(found_out, "byte {at} of `{name}`, {change:#x}");
            }
        }
        store.set(name, whole);
    }
    verify(&store).unwrap();
}

/// Blocks have checksums of their own, so that damage is found by whoever reads a part only.
#[test]
fn is_a_changed_byte_found_out_by_a_reader_too() {
    let store = checkpoint();
    let (names, _) = names(&store);
    for name in names.iter().filter(|name| name.contains("e3-w1")) {
        let whole = store.get(name);
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            store.set(name, bytes);
            assert!(read(&store).is_err(), "byte {at} of `{name}`");
        }
        store.set(name, whole);
    }
    read(&store).unwrap();
}

/// Numbers without any pattern: xorshift, always the same.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end.max(1) as u64) as usize
    }

    fn pick<'a>(&mut self, names: &'a [String]) -> &'a String {
        &names[self.below(names.len())]
    }
}

/// Damages an object; says how, and which other object was damaged with it.
fn damage(
    store: &Shelf,
    dice: &mut Dice,
    target: &str,
    (names, older): (&[String], &[String]),
) -> (&'static str, Option<String>) {
    let mut bytes = store.get(target);
    let (at, other) = (dice.below(bytes.len()), dice.pick(names).clone());
    let (what, with) = match dice.below(8) {
        0 => {
            bytes[at] ^= 1 << dice.below(8);
            ("a flipped bit", None)
        }
        1 => {
            bytes.truncate(at);
            ("cut", None)
        }
        2 => {
            let end = (at + 1 + dice.below(64)).min(bytes.len());
            bytes[at..end].fill(0);
            ("a range of zeros", None)
        }
        3 => {
            let with = store.get(&other);
            store.set(&other, std::mem::replace(&mut bytes, with));
            ("swapped", Some(other))
        }
        4 => {
            // All that differs from the object in place is when it was written.
            let kind = |name: &str| name.rsplit('.').next().map(str::to_owned);
            let of_log = |name: &str| name.starts_with("log/");
            let same = |name: &&String| {
                of_log(name) == of_log(target) && (of_log(name) || kind(name) == kind(target))
            };
            let same: Vec<String> = older.iter().chain(names).filter(same).cloned().collect();
            bytes = store.get(dice.pick(&same));
            ("an older or another one of its kind", None)
        }
        5 => {
            store.delete(target).unwrap();
            return ("removed", None);
        }
        6 => {
            let piece = bytes[at..].to_vec();
            bytes.extend(piece);
            ("a piece twice", None)
        }
        _ => {
            bytes.drain(at..(at + 1 + dice.below(64)).min(bytes.len()));
            ("a piece left out", None)
        }
    };
    store.set(target, bytes);
    (what, with)
}

#[test]
fn is_every_damage_found_out() {
    const ROUNDS: u32 = 10_000;
    let store = checkpoint();
    verify(&store).unwrap();
    let (names, older) = names(&store);
    let listed = manifest(&store).unwrap().objects();
    let passes = |name: &str| match name.parse::<DataName>() {
        Ok(name) => verify_whole(&store, &listed[&name]).is_ok(),
        Err(_) => manifest(&store).is_ok(),
    };
    let mut dice = Dice(0x5eed);
    let mut damaged = 0;
    for round in 0..ROUNDS {
        let target = dice.pick(&names);
        let before: Vec<Vec<u8>> = names.iter().map(|name| store.get(name)).collect();
        let (what, with) = damage(&store, &mut dice, target, (&names, &older));
        for name in [Some(target), with.as_ref()].into_iter().flatten() {
            let at = names.iter().position(|other| other == name).unwrap();
            let as_before = store.open(name).is_ok() && store.get(name) == before[at];
            assert_eq!(passes(name), as_before, "`{name}`: {what}, with {with:?}");
            damaged += u32::from(!as_before);
        }
        // Whoever reads without having verified may find less, but must come back. It takes longer than all else.
        if round % 10 == 0 {
            let _ = read(&store);
        }
        for (name, bytes) in names.iter().zip(before) {
            store.set(name, bytes);
        }
    }
    assert!(damaged >= ROUNDS * 9 / 10, "{damaged}");
    verify(&store).unwrap();
}
