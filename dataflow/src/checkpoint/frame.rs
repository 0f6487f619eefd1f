//! What every object has around its content: a header that says which object it is, blocks that each carry a
//! checksum, and an end without which the object was cut.
//!
//! Here is how a frame is written; [`reading`] is how one is read and checked.

pub mod reading;

use crate::checkpoint::fault::{Fault, FormatError};
use crate::checkpoint::names::{DataKind, DataName};
use crate::identity::Generation;
use crate::store::{ObjectWriter, Store};

/// The version of the format that this program reads and writes.
pub const VERSION: u16 = 1;
/// Length of a header.
pub const HEADER_BYTES: u64 = 32;
/// No payload is longer: whoever reads one holds all of it in memory.
pub const PAYLOAD_BYTES_MOST: usize = 1 << 30;
/// As long as writers make blocks: large enough that LZ4 and the disk work well, small enough that a reader of
/// many objects at once can hold a block of each.
pub const BLOCK_BYTES: usize = 256 << 10;

const MAGIC: [u8; 8] = *b"SLACKWTR";
/// Length of what stands before each payload.
const BLOCK_HEAD_BYTES: usize = 16;
/// An LZ4 block of `n` bytes holds at most this many times `n`: no byte of a length stands for more.
const LZ4_EXPANSION: u64 = 255;

/// What an object holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ObjectKind {
    /// A record of the manifest log.
    Record,
    /// State of a worker.
    State,
    /// Outputs of a worker.
    Outbox,
}

impl ObjectKind {
    fn code(self) -> u16 {
        match self {
            ObjectKind::Record => 1,
            ObjectKind::State => 2,
            ObjectKind::Outbox => 3,
        }
    }

    /// The greatest type of a block in it; all from 1 on are in use.
    fn last_type(self) -> BlockType {
        match self {
            ObjectKind::Record => BlockType(1),
            ObjectKind::State => BlockType(3),
            ObjectKind::Outbox => BlockType(3),
        }
    }
}

impl From<DataKind> for ObjectKind {
    fn from(kind: DataKind) -> Self {
        match kind {
            DataKind::State => ObjectKind::State,
            DataKind::Outbox => ObjectKind::Outbox,
        }
    }
}

/// What a block holds, of the numbering of the object's kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BlockType(pub u16);

impl BlockType {
    /// Ends the object.
    pub const END: BlockType = BlockType(0);
}

/// How a payload is stored. One that LZ4 does not shrink is stored as it is all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// As it is.
    Plain,
    /// As an LZ4 block.
    Lz4,
}

impl Encoding {
    fn code(self) -> u8 {
        match self {
            Encoding::Plain => 0,
            Encoding::Lz4 => 1,
        }
    }
}

/// Says which object it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What it holds.
    pub kind: ObjectKind,
    /// Who wrote it.
    pub generation: Generation,
    /// Its epoch; of a record of the log its own number.
    pub epoch: u64,
}

impl Header {
    /// What the header of the object of this name says.
    pub fn of(name: &DataName) -> Self {
        Header {
            kind: name.kind.into(),
            generation: name.generation,
            epoch: name.epoch.0,
        }
    }
}

/// A whole object and what finds out that it is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectRef {
    /// Its name.
    pub name: DataName,
    /// Its length in bytes.
    pub length: u64,
    /// CRC-32C of all its bytes.
    pub crc32c: u32,
}

/// What has gone into an object so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    /// Bytes.
    pub(super) length: u64,
    /// CRC-32C of them.
    pub(super) crc32c: u32,
    /// Blocks, without the end.
    blocks: u64,
    /// Position of the last of them, 0 if there is none.
    last: u64,
}

impl Tally {
    fn count(&mut self, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        self.crc32c = crc32c::crc32c_append(self.crc32c, bytes);
    }

    fn count_block(&mut self) {
        self.blocks += 1;
        self.last = self.length;
    }

    /// Adds the header to `out`.
    pub(super) fn put_header(&mut self, out: &mut Vec<u8>, header: &Header) {
        let start = out.len();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&header.kind.code().to_le_bytes());
        out.extend_from_slice(&header.generation.0.to_le_bytes());
        out.extend_from_slice(&header.epoch.to_le_bytes());
        let written = out.get(start..).unwrap_or_default();
        let crc = crc32c::crc32c(written);
        out.extend_from_slice(&crc.to_le_bytes());
        self.count(out.get(start..).unwrap_or_default());
    }

    /// Adds a block to `out`; gives its position.
    ///
    /// # Errors
    /// The payload is too long; nothing was added.
    pub(super) fn put_block(
        &mut self,
        out: &mut Vec<u8>,
        block_type: BlockType,
        payload: &[u8],
        encoding: Encoding,
    ) -> Result<u64, Fault> {
        if payload.len() > PAYLOAD_BYTES_MOST {
            return Err(Fault::TooLong(payload.len() as u64));
        }
        let position = self.length;
        self.count_block();
        self.put_any_block(out, block_type, payload, encoding);
        Ok(position)
    }

    /// Adds the end to `out`.
    pub(super) fn put_end(&mut self, out: &mut Vec<u8>) {
        let payload = self.end();
        self.put_any_block(out, BlockType::END, &payload, Encoding::Plain);
    }

    /// The payload of the end.
    fn end(&self) -> Vec<u8> {
        [self.blocks, self.last].map(u64::to_le_bytes).concat()
    }

    fn put_any_block(
        &mut self,
        out: &mut Vec<u8>,
        block_type: BlockType,
        payload: &[u8],
        encoding: Encoding,
    ) {
        let start = out.len();
        let content = start + BLOCK_HEAD_BYTES;
        out.resize(content, 0);
        let stored_as = match encoding {
            Encoding::Lz4 if put_lz4(out, payload) => Encoding::Lz4,
            _ => {
                out.extend_from_slice(payload);
                Encoding::Plain
            }
        };
        // Both are at most 1 GiB.
        let stored = (out.len() - content) as u32;
        let summed: [&[u8]; 4] = [
            &stored.to_le_bytes(),
            &(payload.len() as u32).to_le_bytes(),
            &block_type.0.to_le_bytes(),
            &[stored_as.code(), 0],
        ];
        let summed = summed.concat();
        let crc = crc32c::crc32c(&summed);
        let crc = crc32c::crc32c_append(crc, out.get(content..).unwrap_or_default());
        let head = [summed.as_slice(), &crc.to_le_bytes()].concat();
        if let Some(place) = out.get_mut(start..content) {
            place.copy_from_slice(&head);
        }
        self.count(out.get(start..).unwrap_or_default());
    }
}

/// Adds `payload` as an LZ4 block if that is shorter; `false`, and nothing is added, if not.
fn put_lz4(out: &mut Vec<u8>, payload: &[u8]) -> bool {
    let start = out.len();
    out.resize(
        start + lz4_flex::block::get_maximum_output_size(payload.len()),
        0,
    );
    let room = out.get_mut(start..).unwrap_or_default();
    let packed = lz4_flex::block::compress_into(payload, room)
        .ok()
        .filter(|packed| *packed < payload.len());
    out.truncate(start + packed.unwrap_or_default());
    packed.is_some()
}

/// Writes an object block by block.
pub struct FrameWriter {
    name: DataName,
    object: Box<dyn ObjectWriter>,
    tally: Tally,
    /// Blocks as they will be stored, that were put and not sent.
    out: Vec<u8>,
}

impl FrameWriter {
    /// Begins an object under a name that nothing has yet.
    ///
    /// # Errors
    /// The store fails.
    pub fn create(store: &dyn Store, name: DataName) -> Result<Self, FormatError> {
        let mut writer = FrameWriter {
            name,
            object: store.create(&name.to_string())?,
            tally: Tally::default(),
            out: Vec::new(),
        };
        writer.tally.put_header(&mut writer.out, &Header::of(&name));
        writer.send()?;
        Ok(writer)
    }

    /// Adds a block; gives its position in the object.
    ///
    /// # Errors
    /// The store fails, or the payload is longer than [`PAYLOAD_BYTES_MOST`]. The object is worth nothing then.
    pub fn block(
        &mut self,
        block_type: BlockType,
        payload: &[u8],
        encoding: Encoding,
    ) -> Result<u64, FormatError> {
        let position = self.put(block_type, payload, encoding)?;
        self.send()?;
        Ok(position)
    }

    /// The same, but the store is not asked before [`Self::send`].
    ///
    /// # Errors
    /// The payload is longer than [`PAYLOAD_BYTES_MOST`].
    pub(super) fn put(
        &mut self,
        block_type: BlockType,
        payload: &[u8],
        encoding: Encoding,
    ) -> Result<u64, FormatError> {
        let put = self
            .tally
            .put_block(&mut self.out, block_type, payload, encoding);
        put.map_err(|fault| FormatError::refused(&self.name, format!("{fault}")))
    }

    /// Bytes written so far.
    pub fn length(&self) -> u64 {
        self.tally.length
    }

    /// The object's name.
    pub fn name(&self) -> &DataName {
        &self.name
    }

    /// Ends the object; it is durable when this comes back.
    ///
    /// # Errors
    /// The store fails.
    pub fn finish(mut self) -> Result<ObjectRef, FormatError> {
        self.tally.put_end(&mut self.out);
        self.send()?;
        self.object.finish()?;
        Ok(ObjectRef {
            name: self.name,
            length: self.tally.length,
            crc32c: self.tally.crc32c,
        })
    }

    /// Writes what was put. If there was no room for it, it can be sent again.
    ///
    /// # Errors
    /// The store fails.
    pub(super) fn send(&mut self) -> Result<(), FormatError> {
        if !self.out.is_empty() {
            self.object.append(&self.out)?;
            self.out.clear();
        }
        Ok(())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod tests;
