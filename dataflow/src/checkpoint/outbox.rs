//! Outputs of one worker in one epoch, as an object that grows while the epoch lasts.
//!
//! Records are gathered by shard and stream until they are worth a block, and cut into chunks, which a sink commits
//! at once. Here is how an outbox is written; [`reading`] is how its chunks are read back.

pub mod reading;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::checkpoint::fault::FormatError;
use crate::checkpoint::frame::{BLOCK_BYTES, BlockType, Encoding, FrameWriter, ObjectRef};
use crate::checkpoint::names::DataName;
use crate::place::ShardId;
use crate::sink::{Framing, Lengths, OutputChunk, OutputStream};
use crate::store::Store;

const LINES: BlockType = BlockType(1);
const INDEX: BlockType = BlockType(2);
const ADDRESSED: BlockType = BlockType(3);

/// At most so many bytes of records are in a chunk, unless it is one record: whoever publishes holds a chunk in
/// memory, and a sink commits it at once, while a commit of less would cost more than what it commits.
pub const CHUNK_BYTES_MOST: u64 = 8 << 20;

/// Bytes before the records in the payload of their block: shard, stream, a zero, number of records.
const HEAD_BYTES: usize = 8;

/// At most so many bytes of records wait for their blocks to be full; then the fullest block goes out as it is. Without
/// this a job of many shards would hold a block of each stream of each.
const GATHERED_BYTES_MOST: usize = 32 << 20;

/// Some consecutive blocks of one shard in an outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChunkRef {
    /// Position of the first of them in the object.
    pub at: u64,
    /// How many of the shard's blocks.
    pub blocks: u32,
    /// How many records they hold.
    pub records: u64,
    /// Bytes of these.
    pub bytes: u64,
}

/// What an outbox holds of one shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShardOutputs {
    /// Its chunks, in order.
    pub chunks: Vec<ChunkRef>,
    /// Bytes of records by stream.
    pub lengths: Lengths,
}

/// An outbox that was sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedOutbox {
    /// The object.
    pub object: ObjectRef,
    /// What it holds; only shards that have outputs.
    pub shards: BTreeMap<ShardId, ShardOutputs>,
}

/// Records that are in no block yet, as the payload that they will be.
#[derive(Debug, Default)]
struct Gathered {
    records: u32,
    framing: Framing,
    /// The head of the payload, whose number of records is not known yet, and the records; nothing if there are none.
    payload: Vec<u8>,
}

impl Gathered {
    /// Bytes of the records.
    fn bytes(&self) -> usize {
        self.payload.len().saturating_sub(HEAD_BYTES)
    }
}

/// Sizes that a test makes small.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    block: usize,
    chunk: u64,
    gathered: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Bounds {
            block: BLOCK_BYTES,
            chunk: CHUNK_BYTES_MOST,
            gathered: GATHERED_BYTES_MOST,
        }
    }
}

/// Takes the outputs of a worker in an epoch. After an error the object is worth nothing.
pub struct OutboxWriter {
    store: Arc<dyn Store>,
    name: DataName,
    bounds: Bounds,
    /// Made when there is something to write.
    frame: Option<FrameWriter>,
    gathered: BTreeMap<(ShardId, OutputStream), Gathered>,
    gathered_bytes: usize,
    /// Position and shard of each block.
    index: Vec<u8>,
    shards: BTreeMap<ShardId, ShardOutputs>,
    has_ended: bool,
}

impl OutboxWriter {
    /// An outbox of this name. The object is made when there is something to write to it: an epoch without
    /// outputs leaves none.
    pub fn new(store: Arc<dyn Store>, name: DataName) -> Self {
        OutboxWriter {
            store,
            name,
            bounds: Bounds::default(),
            frame: None,
            gathered: BTreeMap::new(),
            gathered_bytes: 0,
            index: Vec::new(),
            shards: BTreeMap::new(),
            has_ended: false,
        }
    }

    /// Takes records after all those of their shard and stream that were given before. They are written by
    /// [`Self::send`].
    ///
    /// # Errors
    /// The object can't be made: nothing was taken, and if there was no room it can be tried again. Or the chunk is not
    /// what it claims.
    pub fn append(&mut self, chunk: &OutputChunk) -> Result<(), FormatError> {
        if chunk.bytes.is_empty() && chunk.records == 0 {
            return Ok(());
        }
        if self.frame.is_none() {
            // An epoch without outputs must leave no object, so it is made here and not before. One that could not be
            // made may be there all the same: the next try has another name.
            let name = self.name;
            self.name.random = self.name.random.wrapping_add(1);
            self.frame = Some(FrameWriter::create(self.store.as_ref(), name)?);
        }
        let framing = chunk.framing;
        let is_open_line = framing == Framing::Lines && chunk.bytes.last() != Some(&b'\n');
        if chunk.records == 0 || is_open_line {
            return Err(self.refused("it would hold records without their line feed"));
        }
        let place = (chunk.shard, chunk.stream);
        if chunk.bytes.len() <= self.bounds.block {
            return self.gather(place, framing, chunk.records, &chunk.bytes);
        }
        // More than a block's worth at once, which would make a chunk too large: cut where records end.
        let mut records = 0;
        for (ends, piece) in framing.pieces(&chunk.bytes, self.bounds.block) {
            records += ends;
            self.gather(place, framing, ends, piece)?;
        }
        if records != chunk.records {
            return Err(self.refused("it would hold other records than were counted"));
        }
        Ok(())
    }

    /// Writes blocks that are full. If there was no room for them, they can be sent again.
    ///
    /// # Errors
    /// The store fails.
    pub fn send(&mut self) -> Result<(), FormatError> {
        self.frame.as_mut().map_or(Ok(()), FrameWriter::send)
    }

    /// Nothing more will come: makes blocks of all that is gathered, which are written by [`Self::send`].
    ///
    /// # Errors
    /// A record is too long.
    pub fn end(&mut self) -> Result<(), FormatError> {
        for (place, mut gathered) in std::mem::take(&mut self.gathered) {
            self.write(place, &mut gathered)?;
        }
        if let Some(frame) = self.frame.as_mut().filter(|_| !self.has_ended) {
            frame.put(INDEX, &self.index, Encoding::Plain)?;
        }
        self.has_ended = true;
        Ok(())
    }

    /// Ends the object, which is durable when this comes back. `None` if there were no outputs, and then there
    /// is no object.
    ///
    /// # Errors
    /// The store fails.
    pub fn seal(mut self) -> Result<Option<SealedOutbox>, FormatError> {
        self.end()?;
        self.send()?;
        let Some(frame) = self.frame else {
            return Ok(None);
        };
        Ok(Some(SealedOutbox {
            object: frame.finish()?,
            shards: self.shards,
        }))
    }

    /// Adds records that are no more than a block's worth, or one record.
    fn gather(
        &mut self,
        place: (ShardId, OutputStream),
        framing: Framing,
        records: u32,
        bytes: &[u8],
    ) -> Result<(), FormatError> {
        let fits = |gathered: &Gathered| {
            let room = self.bounds.block.saturating_sub(gathered.bytes());
            gathered.records == 0 || (gathered.framing == framing && bytes.len() <= room)
        };
        if !self.gathered.get(&place).is_none_or(fits) {
            self.flush(place)?;
        }
        let (shard, stream) = place;
        let gathered = self.gathered.entry(place).or_default();
        if gathered.payload.is_empty() {
            gathered.payload.extend_from_slice(&shard.0.to_le_bytes());
            gathered
                .payload
                .extend_from_slice(&[stream.index() as u8, 0]);
            gathered.payload.extend_from_slice(&0_u32.to_le_bytes());
        }
        gathered.records += records;
        gathered.framing = framing;
        gathered.payload.extend_from_slice(bytes);
        self.gathered_bytes += bytes.len();
        if self.gathered_bytes > self.bounds.gathered {
            let all = self.gathered.iter();
            let fullest = all.max_by_key(|(_, gathered)| gathered.payload.len());
            if let Some(place) = fullest.map(|(place, _)| *place) {
                self.flush(place)?;
                // Of many places few are in use at a time: the others give their room back.
                self.gathered.remove(&place);
            }
        }
        Ok(())
    }

    /// Writes what was gathered of a stream of a shard.
    fn flush(&mut self, place: (ShardId, OutputStream)) -> Result<(), FormatError> {
        let Some(gathered) = self.gathered.get_mut(&place) else {
            return Ok(());
        };
        // Its room is for the records that come next.
        let mut gathered = std::mem::take(gathered);
        self.gathered_bytes -= gathered.bytes();
        self.write(place, &mut gathered)?;
        self.gathered.insert(place, gathered);
        Ok(())
    }

    fn write(
        &mut self,
        (shard, stream): (ShardId, OutputStream),
        gathered: &mut Gathered,
    ) -> Result<(), FormatError> {
        if gathered.records == 0 {
            return Ok(());
        }
        let Some(frame) = &mut self.frame else {
            return Ok(());
        };
        let count = gathered.payload.get_mut(HEAD_BYTES - 4..HEAD_BYTES);
        if let Some(count) = count {
            count.copy_from_slice(&gathered.records.to_le_bytes());
        }
        let block_type = match gathered.framing {
            Framing::Lines => LINES,
            Framing::Addressed => ADDRESSED,
        };
        let at = frame.put(block_type, &gathered.payload, Encoding::Lz4)?;
        self.index.extend_from_slice(&at.to_le_bytes());
        self.index.extend_from_slice(&shard.0.to_le_bytes());

        let (records, bytes) = (gathered.records.into(), gathered.bytes() as u64);
        gathered.payload.clear();
        gathered.records = 0;
        let outputs = self.shards.entry(shard).or_default();
        if let Some(length) = outputs.lengths.get_mut(stream.index()) {
            *length += bytes;
        }
        match outputs.chunks.last_mut() {
            Some(chunk) if chunk.bytes + bytes <= self.bounds.chunk => {
                chunk.blocks += 1;
                chunk.records += records;
                chunk.bytes += bytes;
            }
            _ => outputs.chunks.push(ChunkRef {
                at,
                blocks: 1,
                records,
                bytes,
            }),
        }
        Ok(())
    }

    fn refused(&self, reason: &str) -> FormatError {
        FormatError::refused(&self.name, reason)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod tests;
