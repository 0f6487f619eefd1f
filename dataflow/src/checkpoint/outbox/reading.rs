//! How the chunks of an outbox are read back.

use crate::checkpoint::fault::{Fault, FormatError};
use crate::checkpoint::frame::reading::FrameReader;
use crate::checkpoint::frame::{BlockType, ObjectKind, ObjectRef};
use crate::checkpoint::outbox::{ADDRESSED, ChunkRef, INDEX, LINES};
use crate::fields::Fields;
use crate::place::ShardId;
use crate::sink::{Framing, OutputChunk, OutputStream};
use crate::store::Store;

/// Reads an outbox, chunk by chunk.
pub struct OutboxReader {
    frame: FrameReader,
    /// Position and shard of each block, in order.
    index: Vec<(u64, ShardId)>,
    payload: Vec<u8>,
}

impl OutboxReader {
    /// Opens an outbox.
    ///
    /// # Errors
    /// The store fails, or the object is not what it should be.
    pub fn open(store: &dyn Store, object: &ObjectRef) -> Result<Self, FormatError> {
        let mut frame = FrameReader::open(store, object, ObjectKind::Outbox)?;
        let mut payload = Vec::new();
        let last = frame
            .last_block(&mut payload)?
            .filter(|block| block.block_type == INDEX);
        let Some(block) = last else {
            return Err(frame.unusable(object.length, Fault::Content("no index")));
        };
        let index = parse_index(&payload).filter(|index| {
            let ends_before = index.last().is_none_or(|(last, _)| *last < block.position);
            ends_before && index.is_sorted_by(|(at, _), (next, _)| at < next)
        });
        let Some(index) = index else {
            let fault = Fault::Content("an index that does not fit the object");
            return Err(frame.unusable(block.position, fault));
        };
        Ok(OutboxReader {
            frame,
            index,
            payload,
        })
    }

    /// The records of a chunk of a shard, in order.
    ///
    /// # Errors
    /// The store fails, or the object does not hold what the chunk says.
    pub fn chunk(
        &mut self,
        shard: ShardId,
        chunk: &ChunkRef,
    ) -> Result<Vec<OutputChunk>, FormatError> {
        let from = self.index.partition_point(|(at, _)| *at < chunk.at);
        let blocks = self.index.get(from..).unwrap_or_default().iter();
        let of_shard = blocks.filter(|(_, other)| *other == shard);
        let mut outputs = Vec::new();
        for (at, _) in of_shard.take(chunk.blocks as usize) {
            let block = self.frame.block_at(*at, &mut self.payload)?;
            let lines = Some(&self.payload)
                .zip(framing(block.block_type))
                .and_then(|(payload, framing)| parse_records(payload, framing))
                .filter(|lines| lines.shard == shard);
            let Some(lines) = lines else {
                let fault = Fault::Content("no outputs that may stand here");
                return Err(self.frame.unusable(*at, fault));
            };
            outputs.push(lines);
        }
        let begins = self.index.get(from) == Some(&(chunk.at, shard));
        let blocks = begins && outputs.len() == chunk.blocks as usize;
        let records: u64 = outputs.iter().map(|lines| u64::from(lines.records)).sum();
        let bytes: u64 = outputs.iter().map(|lines| lines.bytes.len() as u64).sum();
        if !blocks || records != chunk.records || bytes != chunk.bytes {
            let fault = Fault::Content("other outputs than the manifest says");
            return Err(self.frame.unusable(chunk.at, fault));
        }
        Ok(outputs)
    }
}

fn parse_index(payload: &[u8]) -> Option<Vec<(u64, ShardId)>> {
    let mut fields = Fields(payload);
    let mut index = Vec::new();
    while !fields.is_empty() {
        index.push((fields.u64()?, ShardId(fields.u16()?)));
    }
    Some(index)
}

/// How records lie in a block; none if it holds none.
fn framing(block: BlockType) -> Option<Framing> {
    match block {
        LINES => Some(Framing::Lines),
        ADDRESSED => Some(Framing::Addressed),
        _ => None,
    }
}

fn parse_records(payload: &[u8], framing: Framing) -> Option<OutputChunk> {
    let mut fields = Fields(payload);
    let shard = ShardId(fields.u16()?);
    let stream = usize::from(fields.u8()?);
    let stream = *OutputStream::ALL.get(stream)?;
    let zero = fields.u8()?;
    let records = fields.u32()?;
    (zero == 0).then(|| OutputChunk {
        stream,
        shard,
        records,
        framing,
        bytes: fields.0.to_vec(),
    })
}
