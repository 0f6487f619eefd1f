//! How a frame is read and checked. Nothing is believed before its checksum is: neither a length, for which
//! memory would be taken, nor what the object is.

use crate::checkpoint::fault::{Fault, FormatError};
use crate::checkpoint::frame::{
    BLOCK_HEAD_BYTES, BlockType, HEADER_BYTES, Header, LZ4_EXPANSION, MAGIC, ObjectKind, ObjectRef,
    PAYLOAD_BYTES_MOST, Tally, VERSION,
};
use crate::checkpoint::names::RecordNumber;
use crate::fields::Fields;
use crate::identity::Generation;
use crate::store::{ObjectReader, Store, StoreError};

/// Length of the end with what stands before its payload.
const END_BYTES: u64 = (BLOCK_HEAD_BYTES + 16) as u64;

/// A block that was read and found whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// What it holds.
    pub block_type: BlockType,
    /// Where it begins in the object.
    pub position: u64,
    /// Where the one after it begins.
    pub next: u64,
}

/// Reads an object block by block.
pub struct FrameReader {
    name: String,
    object: Box<dyn ObjectReader>,
    length: u64,
    header: Header,
    /// What was read in order, from the beginning.
    read: Tally,
    /// A payload as it is stored.
    stored: Vec<u8>,
}

impl FrameReader {
    /// Opens an object and checks that it is the one that its name, and whoever lists it, says.
    ///
    /// # Errors
    /// The store fails, it is another object, or its header is damaged.
    pub fn open(
        store: &dyn Store,
        object: &ObjectRef,
        kind: ObjectKind,
    ) -> Result<Self, FormatError> {
        let name = object.name.to_string();
        let reader = store.open(&name)?;
        let found = reader.length();
        if found != object.length {
            let expected = object.length;
            let fault = Fault::Length { found, expected };
            return Err(FormatError::unusable(&name, found.min(expected), fault));
        }
        let expected = Header {
            kind,
            ..Header::of(&object.name)
        };
        let reader = FrameReader::begin(name, reader)?;
        reader.expect_kind(kind)?;
        reader.expect(
            "generation",
            reader.header.generation.0,
            expected.generation.0,
        )?;
        reader.expect("epoch", reader.header.epoch, expected.epoch)?;
        Ok(reader)
    }

    /// Reads the bytes of a record of the log.
    ///
    /// # Errors
    /// It is another object, or its header is damaged.
    pub(in crate::checkpoint) fn of_record(
        number: RecordNumber,
        bytes: &[u8],
    ) -> Result<Self, FormatError> {
        let reader = FrameReader::begin(number.name(), Box::new(Whole(bytes.to_vec())))?;
        reader.expect_kind(ObjectKind::Record)?;
        reader.expect("number", reader.header.epoch, number.0)?;
        Ok(reader)
    }

    /// What the object says of itself.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Reads the block at a position, with its payload in `payload`; the end of the object is one too.
    ///
    /// # Errors
    /// The store fails, or there is no whole block.
    pub fn block_at(&mut self, position: u64, payload: &mut Vec<u8>) -> Result<Block, FormatError> {
        self.any_block(position, payload).map(|(block, _)| block)
    }

    /// Reads the block after the last one that this gave, with its payload in `payload`; `None` after the last,
    /// when the object ends as it should.
    ///
    /// # Errors
    /// The store fails, there is no whole block, or the object does not end as it should.
    pub fn next_block(&mut self, payload: &mut Vec<u8>) -> Result<Option<Block>, FormatError> {
        let (block, head) = self.any_block(self.read.length, payload)?;
        let is_end = block.block_type == BlockType::END;
        if is_end && *payload != self.read.end() {
            return Err(self.unusable(block.position, Fault::End));
        }
        if !is_end {
            self.read.count_block();
        }
        self.read.count(&head);
        self.read.count(&self.stored);
        if !is_end {
            return Ok(Some(block));
        }
        if block.next != self.length {
            return Err(self.unusable(block.next, Fault::Trailing));
        }
        Ok(None)
    }

    /// Reads the last block before the end, with its payload in `payload`; `None` if the object has none.
    ///
    /// # Errors
    /// The store fails, or the end or the block before it is not whole.
    pub fn last_block(&mut self, payload: &mut Vec<u8>) -> Result<Option<Block>, FormatError> {
        let Some(end) = self
            .length
            .checked_sub(END_BYTES)
            .filter(|end| *end >= HEADER_BYTES)
        else {
            return Err(self.unusable(self.length, Fault::Cut));
        };
        let block = self.block_at(end, payload)?;
        let mut fields = Fields(payload);
        let (Some(blocks), Some(last)) = (fields.u64(), fields.u64()) else {
            return Err(self.unusable(end, Fault::End));
        };
        if block.block_type != BlockType::END || (blocks == 0) != (last == 0) {
            return Err(self.unusable(end, Fault::End));
        }
        if blocks == 0 {
            return Ok(None);
        }
        let block = self.block_at(last, payload)?;
        if block.next != end || block.block_type == BlockType::END {
            return Err(self.unusable(end, Fault::End));
        }
        Ok(Some(block))
    }

    /// Something is wrong at a position of this object.
    pub(in crate::checkpoint) fn unusable(&self, position: u64, fault: Fault) -> FormatError {
        FormatError::unusable(&self.name, position, fault)
    }

    fn begin(name: String, mut object: Box<dyn ObjectReader>) -> Result<Self, FormatError> {
        let length = object.length();
        if length < HEADER_BYTES {
            return Err(FormatError::unusable(&name, length, Fault::Cut));
        }
        let mut bytes = [0; HEADER_BYTES as usize];
        object.read_at(0, &mut bytes)?;
        let header =
            parse_header(&bytes).map_err(|fault| FormatError::unusable(&name, 0, fault))?;
        let mut read = Tally::default();
        read.count(&bytes);
        Ok(FrameReader {
            name,
            object,
            length,
            header,
            read,
            stored: Vec::new(),
        })
    }

    fn expect_kind(&self, kind: ObjectKind) -> Result<(), FormatError> {
        let (found, expected) = (self.header.kind.code(), kind.code());
        self.expect("kind", found.into(), expected.into())
    }

    fn expect(&self, what: &'static str, found: u64, expected: u64) -> Result<(), FormatError> {
        if found == expected {
            return Ok(());
        }
        let fault = Fault::Another {
            what,
            found,
            expected,
        };
        Err(self.unusable(0, fault))
    }

    /// Reads a block or the end, and gives what stands before its payload too.
    fn any_block(
        &mut self,
        position: u64,
        payload: &mut Vec<u8>,
    ) -> Result<(Block, [u8; BLOCK_HEAD_BYTES]), FormatError> {
        let content = position.saturating_add(BLOCK_HEAD_BYTES as u64);
        if content > self.length {
            return Err(self.unusable(self.length, Fault::Cut));
        }
        let mut bytes = [0; BLOCK_HEAD_BYTES];
        self.object.read_at(position, &mut bytes)?;
        let Some(head) = BlockHead::parse(&bytes) else {
            return Err(self.unusable(position, Fault::Block));
        };
        let next = content.saturating_add(head.stored.into());
        if next > self.length {
            return Err(self.unusable(self.length, Fault::Cut));
        }
        if head.stored as usize > PAYLOAD_BYTES_MOST {
            return Err(self.unusable(position, Fault::TooLong(head.stored.into())));
        }
        self.stored.resize(head.stored as usize, 0);
        self.object.read_at(content, &mut self.stored)?;
        head.check(&self.stored, self.header.kind)
            .and_then(|()| head.unpack(&self.stored, payload))
            .map_err(|fault| FormatError::unusable(&self.name, position, fault))?;
        let block = Block {
            block_type: head.block_type,
            position,
            next,
        };
        Ok((block, bytes))
    }
}

fn parse_header(bytes: &[u8; HEADER_BYTES as usize]) -> Result<Header, Fault> {
    let mut fields = Fields(bytes);
    if fields.array() != Some(MAGIC) {
        return Err(Fault::Foreign);
    }
    let summed = bytes.split_last_chunk::<4>().map(|(summed, _)| summed);
    let (version, kind) = (fields.u16(), fields.u16());
    let (generation, epoch) = (fields.u64(), fields.u64());
    if fields.u32() != summed.map(crc32c::crc32c) {
        return Err(Fault::Header);
    }
    if version != Some(VERSION) {
        return Err(Fault::Version(version.unwrap_or_default()));
    }
    let kinds = [ObjectKind::Record, ObjectKind::State, ObjectKind::Outbox];
    let kind = kinds
        .into_iter()
        .find(|known| Some(known.code()) == kind)
        .ok_or(Fault::Header)?;
    Ok(Header {
        kind,
        generation: Generation(generation.unwrap_or_default()),
        epoch: epoch.unwrap_or_default(),
    })
}

/// What stands before a payload.
struct BlockHead {
    stored: u32,
    raw: u32,
    block_type: BlockType,
    encoding: u8,
    zero: u8,
    crc32c: u32,
    /// CRC-32C of what stands before the checksum.
    summed: u32,
}

impl BlockHead {
    fn parse(bytes: &[u8; BLOCK_HEAD_BYTES]) -> Option<Self> {
        let (summed, _) = bytes.split_last_chunk::<4>()?;
        let mut fields = Fields(bytes);
        Some(BlockHead {
            stored: fields.u32()?,
            raw: fields.u32()?,
            block_type: BlockType(fields.u16()?),
            encoding: fields.u8()?,
            zero: fields.u8()?,
            crc32c: fields.u32()?,
            summed: crc32c::crc32c(summed),
        })
    }

    /// Whether the block is whole and one that this program knows.
    fn check(&self, stored: &[u8], kind: ObjectKind) -> Result<(), Fault> {
        if crc32c::crc32c_append(self.summed, stored) != self.crc32c {
            return Err(Fault::Block);
        }
        if self.block_type > kind.last_type() {
            return Err(Fault::Type(self.block_type.0));
        }
        if self.zero != 0 {
            return Err(Fault::Content("something where nothing is allowed"));
        }
        if self.raw as usize > PAYLOAD_BYTES_MOST {
            return Err(Fault::TooLong(self.raw.into()));
        }
        Ok(())
    }

    fn unpack(&self, stored: &[u8], payload: &mut Vec<u8>) -> Result<(), Fault> {
        payload.clear();
        match self.encoding {
            0 if self.stored == self.raw => payload.extend_from_slice(stored),
            // The claim is bounded by what is really there before memory is taken for it.
            1 if u64::from(self.raw) <= u64::from(self.stored) * LZ4_EXPANSION => {
                payload.resize(self.raw as usize, 0);
                let unpacked = lz4_flex::block::decompress_into(stored, payload);
                if unpacked.ok() != Some(payload.len()) {
                    return Err(Fault::Block);
                }
            }
            0 | 1 => return Err(Fault::Block),
            encoding => return Err(Fault::Encoding(encoding)),
        }
        Ok(())
    }
}

/// Reads all of an object that a manifest lists: its length, the checksum of all its bytes, and every block.
///
/// # Errors
/// The store fails, or the object is not what the manifest says.
pub fn verify_whole(store: &dyn Store, object: &ObjectRef) -> Result<(), FormatError> {
    let mut reader = FrameReader::open(store, object, object.name.kind.into())?;
    let mut payload = Vec::new();
    while reader.next_block(&mut payload)?.is_some() {}
    if reader.read.crc32c != object.crc32c {
        return Err(reader.unusable(0, Fault::Checksum));
    }
    Ok(())
}

/// Bytes that are in memory already.
struct Whole(Vec<u8>);

impl ObjectReader for Whole {
    fn length(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&mut self, position: u64, buffer: &mut [u8]) -> Result<(), StoreError> {
        let start = usize::try_from(position).unwrap_or(usize::MAX);
        let end = start.saturating_add(buffer.len());
        let bytes = self.0.get(start..end).ok_or_else(|| StoreError {
            action: "read",
            name: "record".to_owned(),
            source: std::io::ErrorKind::UnexpectedEof.into(),
        })?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }
}
