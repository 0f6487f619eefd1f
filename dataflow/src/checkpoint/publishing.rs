//! Gives the outputs of a durable epoch to a sink, out of the objects that hold them.

use std::io::ErrorKind;

use crate::checkpoint::fault::FormatError;
use crate::checkpoint::manifest::{UnconfirmedEpoch, UnconfirmedShard};
use crate::checkpoint::outbox::reading::OutboxReader;
use crate::faults::phases::{Phase, reach};
use crate::identity::Generation;
use crate::sink::{EpochChunk, EpochSink, ShardEpoch, ShardOutputs, SinkError};
use crate::store::Store;

/// Publishes one shard of an epoch, from a chunk on.
pub(crate) fn publish(
    store: &dyn Store,
    sink: &mut dyn EpochSink,
    generation: Generation,
    epoch: &UnconfirmedEpoch,
    shard: &UnconfirmedShard,
    from_chunk: u32,
) -> Result<(), SinkError> {
    let mut publish = |outputs| {
        sink.publish(ShardEpoch {
            generation,
            epoch: epoch.epoch,
            checkpoint: epoch.checkpoint,
            shard: shard.shard,
            before: shard.before,
            after: shard.after,
            chunk_count: shard.chunk_count(),
            outputs,
        })
    };
    if shard.is_in_place() {
        return publish(ShardOutputs::InPlace);
    }
    let chunks = shard.chunk_count();
    let all = shard.segments.iter().flat_map(|segment| {
        let object = segment.object();
        segment.chunks.iter().map(move |chunk| (object, chunk))
    });
    let mut records_before: u64 = 0;
    let all = all.map(|(object, chunk)| {
        let before = records_before;
        records_before += chunk.records;
        (object, chunk, before)
    });
    let mut open: Option<OutboxReader> = None;
    let mut opened = None;
    let mut read = all.enumerate().skip(from_chunk as usize).map(
        |(number, (object, chunk, records_before))| {
            if number > from_chunk as usize {
                reach(Phase::BetweenChunks);
            }
            if opened != Some(object.name) {
                open = Some(OutboxReader::open(store, &object).map_err(unreadable)?);
                opened = Some(object.name);
            }
            let outputs = match &mut open {
                Some(reader) => reader.chunk(shard.shard, chunk).map_err(unreadable)?,
                None => Vec::new(),
            };
            let chunk = number as u32;
            Ok(EpochChunk {
                chunk,
                chunks,
                records_before,
                outputs,
            })
        },
    );
    publish(ShardOutputs::Chunks(&mut read))
}

fn unreadable(error: FormatError) -> SinkError {
    let kind = match &error {
        FormatError::Store(error) => error.source.kind(),
        _ => ErrorKind::InvalidData,
    };
    SinkError {
        action: "read back",
        subject: "outputs of a checkpoint".to_owned(),
        source: std::io::Error::new(kind, error),
    }
}
