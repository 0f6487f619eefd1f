//! Whether the parts of a record go together. What is found here is a mistake of the program that wrote it, as
//! damage is found before; restoring from such a record would lose or repeat data.

use std::collections::{BTreeMap, BTreeSet};

use crate::checkpoint::frame::HEADER_BYTES;
use crate::checkpoint::manifest::{
    ChainObject, Manifest, PartitionPosition, Record, Segment, UnconfirmedEpoch, UnconfirmedShard,
};
use crate::checkpoint::names::{DataKind, DataName, RecordNumber};
use crate::checkpoint::outbox::ChunkRef;
use crate::place::ShardId;
use crate::sink::Lengths;

/// What is wrong with a record, as the end of a sentence that begins with it.
type Wrong = String;

/// Checks a record.
///
/// # Errors
/// Says what is wrong, as the end of a sentence that begins with the record.
pub(super) fn check(record: &Record) -> Result<(), Wrong> {
    if record.number() == RecordNumber(0) {
        return Err("has the number 0, and the first is 1".to_owned());
    }
    match record {
        Record::Claim(_) => Ok(()),
        Record::Manifest(manifest) => check_manifest(manifest),
    }
}

fn check_manifest(manifest: &Manifest) -> Result<(), Wrong> {
    // A generation has the number of its claim, which stands before everything that it writes.
    if manifest.generation.0 == 0 || manifest.generation.0 >= manifest.number.0 {
        return Err(format!(
            "is of generation {}, whose claim does not stand before it",
            manifest.generation
        ));
    }
    if manifest.job.shards == 0 || manifest.job.key_groups == 0 {
        return Err("is of a job without shards or key groups".to_owned());
    }
    if manifest.lengths.len() != usize::from(manifest.job.shards) {
        return Err("does not list the lengths of every shard".to_owned());
    }
    let ids = manifest.partitions.iter().map(|partition| partition.id);
    distinct(ids).map_err(|id| format!("lists partition {id} twice"))?;
    for partition in &manifest.partitions {
        check_partition(manifest, partition)
            .map_err(|wrong| format!("has partition {} {wrong}", partition.id))?;
    }
    check_chains(manifest)?;
    check_unconfirmed(manifest)?;
    let shards = manifest.confirmed.iter().map(|confirmed| confirmed.shard);
    check_shards(manifest, shards)?;
    for confirmed in &manifest.confirmed {
        if confirmed.epoch > manifest.epoch {
            return Err(format!(
                "confirms epoch {}, which comes after its own",
                confirmed.epoch
            ));
        }
    }
    Ok(())
}

/// What is wrong is the end of a sentence that begins with the partition.
fn check_partition(manifest: &Manifest, partition: &PartitionPosition) -> Result<(), Wrong> {
    if partition.idle && partition.finished {
        return Err("that has ended and is idle".to_owned());
    }
    let raised = &partition.raised;
    if !raised.is_sorted_by(|raise, next| raise.offset < next.offset && raise.floor <= next.floor) {
        return Err("whose raises do not ascend".to_owned());
    }
    if raised
        .last()
        .is_some_and(|last| last.offset > partition.position)
    {
        return Err("that was raised where it was not read yet".to_owned());
    }
    if raised.last().map(|last| last.floor) > manifest.floor {
        return Err("that was raised above the floor".to_owned());
    }
    if raised.iter().skip(1).any(|raise| raise.found) {
        return Err("that was found after it had been read".to_owned());
    }
    Ok(())
}

fn check_chains(manifest: &Manifest) -> Result<(), Wrong> {
    if manifest.workers == 0 || manifest.chains.len() != manifest.workers as usize {
        return Err(format!(
            "has chains of {} workers, and says {}",
            manifest.chains.len(),
            manifest.workers
        ));
    }
    let objects = manifest.chains.iter().flatten();
    distinct(objects.map(|object| object.name)).map_err(|name| format!("lists `{name}` twice"))?;
    for (worker, chain) in manifest.chains.iter().enumerate() {
        let whole = |(place, object): (usize, &ChainObject)| object.whole == (place == 0);
        if !chain.iter().enumerate().all(whole) {
            return Err(format!(
                "has a chain of worker {worker} of which not exactly the first object is whole"
            ));
        }
        if !chain.is_sorted_by(|object, next| object.epoch < next.epoch) {
            return Err(format!(
                "has a chain of worker {worker} whose epochs do not ascend"
            ));
        }
        for object in chain {
            let name = &object.name;
            let placed = name.worker as usize == worker && name.epoch == object.epoch;
            if !placed || name.kind != DataKind::State {
                return Err(format!(
                    "lists `{name}` as state of worker {worker} up to epoch {}",
                    object.epoch
                ));
            }
            check_name(manifest, name)?;
        }
    }
    Ok(())
}

fn check_unconfirmed(manifest: &Manifest) -> Result<(), Wrong> {
    let epochs = &manifest.unconfirmed;
    if !epochs.is_sorted_by(|epoch, next| epoch.epoch < next.epoch) {
        return Err("lists unconfirmed epochs that do not ascend".to_owned());
    }
    let mut outboxes = BTreeMap::new();
    // Bytes of a shard with the epochs seen so far.
    let mut lengths = BTreeMap::<ShardId, Lengths>::new();
    for epoch in epochs {
        if epoch.epoch > manifest.epoch {
            return Err(format!(
                "lists outputs of epoch {}, which comes after its own",
                epoch.epoch
            ));
        }
        check_shards(manifest, epoch.shards.iter().map(|shard| shard.shard))?;
        for shard in &epoch.shards {
            let of = || format!("outputs of shard {} in epoch {}", shard.shard, epoch.epoch);
            let before = lengths.insert(shard.shard, shard.after);
            if before.is_some_and(|before| before != shard.before) {
                return Err(format!(
                    "has {} that do not begin where those before end",
                    of()
                ));
            }
            check_shard(manifest, epoch, shard).map_err(|wrong| format!("has {} {wrong}", of()))?;
            for segment in &shard.segments {
                let listed = (segment.length, segment.crc32c);
                if *outboxes.entry(segment.name).or_insert(listed) != listed {
                    return Err(format!("lists two different `{}`", segment.name));
                }
            }
        }
    }
    for (shard, after) in lengths {
        if manifest.lengths.get(usize::from(shard.0)) != Some(&after) {
            return Err(format!(
                "has outputs of shard {shard} that do not end at its length"
            ));
        }
    }
    Ok(())
}

/// What is wrong is the end of a sentence that begins with the shard's outputs.
fn check_shard(
    manifest: &Manifest,
    epoch: &UnconfirmedEpoch,
    shard: &UnconfirmedShard,
) -> Result<(), Wrong> {
    let lengths = shard.before.iter().zip(&shard.after);
    let added = lengths.map(|(before, after)| after.checked_sub(*before).map(u128::from));
    let Some(added) = added.sum::<Option<u128>>() else {
        return Err("that end before they begin".to_owned());
    };
    if shard.is_in_place() {
        return match added {
            0 => Err("that are empty".to_owned()),
            _ => Ok(()),
        };
    }
    let segments = &shard.segments;
    if !segments.is_sorted_by(|segment, next| segment.name.worker < next.name.worker) {
        return Err("whose segments are not in the order of workers".to_owned());
    }
    for segment in segments {
        let name = &segment.name;
        if name.kind != DataKind::Outbox || name.epoch != epoch.epoch {
            return Err(format!("in `{name}`, which is no outbox of this epoch"));
        }
        check_name(manifest, name).map_err(|wrong| format!("from a manifest that {wrong}"))?;
        if !has_sound_chunks(segment) {
            return Err(format!("in chunks that cannot be those of `{name}`"));
        }
    }
    let chunks = segments.iter().flat_map(|segment| &segment.chunks);
    if chunks.map(|chunk| u128::from(chunk.bytes)).sum::<u128>() != added {
        return Err("that are not as long as its lengths say".to_owned());
    }
    Ok(())
}

fn has_sound_chunks(segment: &Segment) -> bool {
    let holds = |chunk: &ChunkRef| {
        let inside = (HEADER_BYTES..segment.length).contains(&chunk.at);
        // A record has its line feed at least.
        inside && chunk.blocks > 0 && chunk.records > 0 && chunk.bytes >= chunk.records
    };
    !segment.chunks.is_empty()
        && segment.chunks.iter().all(holds)
        && segment
            .chunks
            .is_sorted_by(|chunk, next| chunk.at < next.at)
}

/// No object is of a later generation or epoch than the manifest that lists it.
fn check_name(manifest: &Manifest, name: &DataName) -> Result<(), Wrong> {
    if name.generation > manifest.generation || name.epoch > manifest.epoch {
        return Err(format!("lists `{name}`, which is later than itself"));
    }
    Ok(())
}

fn check_shards(
    manifest: &Manifest,
    shards: impl Iterator<Item = ShardId> + Clone,
) -> Result<(), Wrong> {
    if let Some(shard) = shards.clone().find(|shard| shard.0 >= manifest.job.shards) {
        return Err(format!(
            "lists shard {shard} of a job that has {}",
            manifest.job.shards
        ));
    }
    distinct(shards).map_err(|shard| format!("lists shard {shard} twice"))
}

/// Whether all are different; if not, one that is there twice.
fn distinct<T: Ord + Copy>(items: impl Iterator<Item = T>) -> Result<(), T> {
    let mut seen = BTreeSet::new();
    for item in items {
        if !seen.insert(item) {
            return Err(item);
        }
    }
    Ok(())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
pub(super) mod tests;
