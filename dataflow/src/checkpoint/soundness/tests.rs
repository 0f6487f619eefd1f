//! Is every manifest refused whose parts do not go together, and for its reason?

use crate::checkpoint::job;
use crate::checkpoint::manifest::{
    ChainObject, Claim, ConfirmedShard, Manifest, PartitionPosition, Record, Segment,
    UnconfirmedEpoch, UnconfirmedShard,
};
use crate::checkpoint::names::{DataKind, DataName, RecordNumber};
use crate::checkpoint::outbox::ChunkRef;
use crate::checkpoint::soundness::check;
use crate::identity::{CheckpointId, Generation};
use crate::idleness::RaisedFrom;
use crate::moment::{Epoch, EventTime};
use crate::place::{Mark, Offset, PartitionId, ShardId};

fn name(epoch: u64, worker: u32, kind: DataKind) -> DataName {
    DataName {
        generation: Generation(7),
        epoch: Epoch(epoch),
        worker,
        random: 0xab,
        kind,
    }
}

fn object(epoch: u64, worker: u32, whole: bool) -> ChainObject {
    ChainObject {
        name: name(epoch, worker, DataKind::State),
        length: 100,
        crc32c: 5,
        epoch: Epoch(epoch),
        whole,
    }
}

fn segment(epoch: u64, worker: u32, bytes: u64) -> Segment {
    let (at, blocks, records) = (32, 1, 2);
    Segment {
        name: name(epoch, worker, DataKind::Outbox),
        length: 200,
        crc32c: 6,
        chunks: vec![ChunkRef {
            at,
            blocks,
            records,
            bytes,
        }],
    }
}

fn shard(shard: u16, before: u64, segments: Vec<Segment>) -> UnconfirmedShard {
    let chunks = segments.iter().flat_map(|segment| &segment.chunks);
    let added: u64 = chunks.map(|chunk| chunk.bytes).sum();
    UnconfirmedShard {
        shard: ShardId(shard),
        before: [before, 0, 1, 2],
        after: [before + added, 0, 1, 2],
        segments,
    }
}

fn unconfirmed(epoch: u64, shards: Vec<UnconfirmedShard>) -> UnconfirmedEpoch {
    UnconfirmedEpoch {
        epoch: Epoch(epoch),
        checkpoint: CheckpointId(epoch),
        shards,
    }
}

fn raised(offset: u64, floor: i64, found: bool) -> RaisedFrom {
    RaisedFrom {
        offset: Offset(offset),
        floor: EventTime(floor),
        found,
    }
}

/// A manifest that uses every field.
pub(in crate::checkpoint) fn sample() -> Manifest {
    Manifest {
        number: RecordNumber(12),
        generation: Generation(8),
        epoch: Epoch(5),
        checkpoint: CheckpointId(5),
        created_ms: 1_700_000_000_000,
        job: job::sample(),
        floor: Some(EventTime(-3)),
        workers: 2,
        partitions: vec![
            PartitionPosition {
                id: PartitionId(0),
                topic: "north".to_owned(),
                position: Offset(1234),
                mark: Some(Mark(77)),
                highest: Some(EventTime(9)),
                finished: false,
                idle: true,
                raised: vec![raised(0, -9, true), raised(1200, -3, false)],
            },
            PartitionPosition {
                id: PartitionId(1),
                topic: "south".to_owned(),
                position: Offset(0),
                mark: None,
                highest: None,
                finished: true,
                idle: false,
                raised: Vec::new(),
            },
        ],
        chains: vec![
            vec![object(3, 0, true), object(5, 0, false)],
            vec![object(4, 1, true)],
        ],
        unconfirmed: vec![
            unconfirmed(
                4,
                vec![
                    shard(1, 10, vec![segment(4, 0, 4), segment(4, 1, 3)]),
                    shard(0, 20, vec![segment(4, 0, 5)]),
                ],
            ),
            unconfirmed(5, vec![shard(1, 17, vec![segment(5, 1, 8)])]),
        ],
        confirmed: vec![ConfirmedShard {
            shard: ShardId(0),
            epoch: Epoch(3),
            checkpoint: CheckpointId(3),
        }],
        lengths: vec![[25, 0, 1, 2], [25, 0, 1, 2]],
        totals: [("events".to_owned(), 17)].into(),
        complete: false,
    }
}

#[test]
fn is_what_goes_together_sound() {
    assert_eq!(check(&Record::Manifest(Box::new(sample()))), Ok(()));
    let mut empty = sample();
    empty.floor = None;
    empty.partitions.clear();
    empty.chains = vec![Vec::new(); 2];
    empty.unconfirmed.clear();
    empty.confirmed.clear();
    assert_eq!(check(&Record::Manifest(Box::new(empty))), Ok(()));
    let mut in_place = sample();
    let shards = in_place
        .unconfirmed
        .iter_mut()
        .flat_map(|epoch| &mut epoch.shards);
    shards.for_each(|shard| shard.segments.clear());
    assert_eq!(check(&Record::Manifest(Box::new(in_place))), Ok(()));
    let claim = |number| {
        Record::Claim(Claim {
            id: CheckpointId(7),
            number: RecordNumber(number),
            claimed_ms: 0,
            host: String::new(),
            process: 0,
        })
    };
    assert_eq!(check(&claim(1)), Ok(()));
    check(&claim(0)).unwrap_err();
}

fn refused(change: impl FnOnce(&mut Manifest), expected: &str) {
    let mut manifest = sample();
    change(&mut manifest);
    let wrong = check(&Record::Manifest(Box::new(manifest))).unwrap_err();
    assert!(wrong.contains(expected), "{wrong}");
}

#[test]
fn is_what_does_not_go_together_refused() {
    refused(|m| m.number = RecordNumber(0), "number 0");
    refused(|m| m.generation = Generation(12), "claim");
    refused(|m| m.generation = Generation(0), "claim");
    refused(|m| m.job.shards = 0, "without shards");
    refused(|m| m.job.key_groups = 0, "without shards or key groups");
    refused(|m| m.job.shards = 3, "lengths of every shard");
    refused(|m| m.partitions[1].id = PartitionId(0), "partition 0 twice");
    let confirm = |shard: u16, epoch: u64| {
        move |m: &mut Manifest| {
            m.confirmed.push(ConfirmedShard {
                shard: ShardId(shard),
                epoch: Epoch(epoch),
                checkpoint: CheckpointId(3),
            });
        }
    };
    refused(confirm(0, 3), "shard 0 twice");
    refused(confirm(2, 3), "shard 2 of a job that has 2");
    refused(confirm(1, 6), "after its own");
}

#[test]
fn are_partitions_that_cannot_be_refused() {
    let first =
        |change: fn(&mut PartitionPosition)| move |m: &mut Manifest| change(&mut m.partitions[0]);
    refused(
        first(|p| p.finished = true),
        "has partition 0 that has ended and is idle",
    );
    refused(first(|p| p.raised[1].offset = Offset(0)), "do not ascend");
    refused(
        first(|p| p.raised[1].floor = EventTime(-10)),
        "do not ascend",
    );
    refused(
        first(|p| p.raised[1].offset = Offset(1235)),
        "where it was not read yet",
    );
    refused(
        first(|p| p.raised[1].floor = EventTime(-2)),
        "above the floor",
    );
    refused(|m| m.floor = None, "above the floor");
    refused(
        first(|p| p.raised[1].found = true),
        "found after it had been read",
    );
}

#[test]
fn are_chains_that_cannot_be_refused() {
    refused(|m| m.workers = 0, "chains of 2 workers");
    refused(|m| m.workers = 3, "chains of 2 workers");
    refused(|m| drop(m.chains.pop()), "chains of 1 workers");
    refused(|m| m.chains[0][0].whole = false, "is whole");
    refused(|m| m.chains[0][1].whole = true, "is whole");
    refused(|m| m.chains[0][0] = object(5, 0, true), "twice");
    refused(
        |m| {
            m.chains[0][0] = object(5, 0, true);
            m.chains[0][0].name.random = 1;
        },
        "do not ascend",
    );
    refused(|m| m.chains[1][0].name.worker = 0, "as state of worker 1");
    refused(|m| m.chains[1][0].epoch = Epoch(2), "as state of worker 1");
    refused(|m| m.chains[1][0].name.kind = DataKind::Outbox, "as state");
    refused(|m| m.chains[1][0] = object(6, 1, true), "later than itself");
    let later = |m: &mut Manifest| m.chains[1][0].name.generation = Generation(9);
    refused(later, "later than itself");
}

#[test]
fn are_outputs_that_cannot_be_refused() {
    refused(|m| m.unconfirmed.swap(0, 1), "do not ascend");
    refused(|m| m.unconfirmed[1].epoch = Epoch(4), "do not ascend");
    refused(|m| m.unconfirmed[1].epoch = Epoch(6), "after its own");
    let first = |change: fn(&mut UnconfirmedShard)| {
        move |m: &mut Manifest| change(&mut m.unconfirmed[0].shards[0])
    };
    refused(first(|s| s.shard = ShardId(2)), "shard 2 of a job");
    refused(first(|s| s.shard = ShardId(0)), "shard 0 twice");
    refused(first(|s| s.before[0] = 30), "before they begin");
    refused(first(|s| s.before[0] = 11), "not as long");
    refused(first(|s| s.after[1] = 1), "not as long");
    refused(first(|s| s.segments.swap(0, 1)), "order of workers");
    refused(first(|s| s.segments[0].chunks.clear()), "chunks");
    refused(first(|s| s.segments[0].chunks[0].at = 31), "chunks");
    refused(first(|s| s.segments[0].chunks[0].at = 200), "chunks");
    refused(first(|s| s.segments[0].chunks[0].blocks = 0), "chunks");
    refused(first(|s| s.segments[0].chunks[0].records = 0), "chunks");
    refused(first(|s| s.segments[0].chunks[0].records = 5), "chunks");
    let twice = |s: &mut UnconfirmedShard| {
        let chunk = s.segments[0].chunks[0];
        s.segments[0].chunks.push(chunk);
    };
    refused(first(twice), "chunks");
    let wrong_epoch = |s: &mut UnconfirmedShard| s.segments[0].name.epoch = Epoch(3);
    refused(first(wrong_epoch), "no outbox of this epoch");
    let state = |s: &mut UnconfirmedShard| s.segments[0].name.kind = DataKind::State;
    refused(first(state), "no outbox of this epoch");
    let later = |s: &mut UnconfirmedShard| s.segments[0].name.generation = Generation(9);
    refused(first(later), "later than itself");
    refused(first(|s| s.segments[0].length = 201), "two different");
    refused(first(|s| s.segments[0].crc32c = 7), "two different");
    let moved = |m: &mut Manifest| {
        let shard = &mut m.unconfirmed[1].shards[0];
        shard.before[0] += 1;
        shard.after[0] += 1;
    };
    refused(moved, "begin where those before end");
    refused(|m| m.lengths[0][0] = 26, "do not end at its length");
    let empty = |s: &mut UnconfirmedShard| {
        s.segments.clear();
        s.after = s.before;
    };
    refused(first(empty), "that are empty");
}
