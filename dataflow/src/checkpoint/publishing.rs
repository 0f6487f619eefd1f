//! Gives the outputs of a durable epoch to a sink, out of the objects that hold them.

use std::io::ErrorKind;

use crate::checkpoint::fault::FormatError;
use crate::checkpoint::manifest::{UnconfirmedEpoch, UnconfirmedShard};
use crate::checkpoint::outbox::reading::OutboxReader;
use crate::faults::phases::{Phase, reach};
use crate::identity::Generation;
use crate::sink::{EpochChunk, EpochSink, ShardEpoch, ShardOutputs, SinkError};
use crate::store::Store;

/// A shard of an epoch that is to be published from a chunk on.
#[derive(Clone, Copy)]
pub(crate) struct ToPublish<'e> {
    pub(crate) shard: &'e UnconfirmedShard,
    pub(crate) from_chunk: u32,
}

/// Publishes shards of an epoch. How it went with each, in their order.
pub(crate) fn publish(
    store: &dyn Store,
    sink: &mut dyn EpochSink,
    generation: Generation,
    epoch: &UnconfirmedEpoch,
    shards: &[ToPublish<'_>],
) -> Vec<Result<(), SinkError>> {
    let mut chunks: Vec<_> = shards.iter().map(|it| chunks(store, *it)).collect();
    let outputs = shards.iter().zip(&mut chunks).map(|(it, chunks)| {
        let shard = it.shard;
        ShardEpoch {
            generation,
            epoch: epoch.epoch,
            checkpoint: epoch.checkpoint,
            shard: shard.shard,
            before: shard.before,
            after: shard.after,
            chunk_count: shard.chunk_count(),
            outputs: match shard.is_in_place() {
                true => ShardOutputs::InPlace,
                false => ShardOutputs::Chunks(chunks),
            },
        }
    });
    let outputs = outputs.collect();
    sink.publish_all(outputs)
}

/// Chunks out of the objects that hold them, each read when it is asked for.
fn chunks<'a>(
    store: &'a dyn Store,
    publishing: ToPublish<'a>,
) -> impl Iterator<Item = Result<EpochChunk, SinkError>> + Send + 'a {
    let ToPublish { shard, from_chunk } = publishing;
    let chunks = shard.chunk_count();
    let all = shard.segments.iter().flat_map(|segment| {
        let object = segment.object();
        segment.chunks.iter().map(move |chunk| (object, chunk))
    });
    let mut records_before: u64 = 0;
    let all = all.map(move |(object, chunk)| {
        let before = records_before;
        records_before += chunk.records;
        (object, chunk, before)
    });
    let mut open: Option<OutboxReader> = None;
    let mut opened = None;
    all.enumerate().skip(from_chunk as usize).map(
        move |(number, (object, chunk, records_before))| {
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
    )
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
