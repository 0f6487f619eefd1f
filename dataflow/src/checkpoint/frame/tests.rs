//! Is what was written read back, and is everything else refused for its reason?

use crate::checkpoint::fault::{Fault, FormatError};
use crate::checkpoint::frame::reading::{FrameReader, verify_whole};
use crate::checkpoint::frame::{
    BlockType, Encoding, FrameWriter, HEADER_BYTES, ObjectKind, ObjectRef, Tally,
};
use crate::checkpoint::names::{DataKind, DataName};
use crate::checkpoint::shelf::Shelf;
use crate::identity::Generation;
use crate::moment::Epoch;

const NAME: DataName = DataName {
    generation: Generation(3),
    epoch: Epoch(9),
    worker: 1,
    random: 5,
    kind: DataKind::State,
};

fn long() -> Vec<u8> {
    b"tide ".repeat(1000)
}

/// An object of three blocks; also its length after each.
fn write(store: &Shelf) -> (ObjectRef, Vec<u64>) {
    let mut writer = FrameWriter::create(store, NAME).unwrap();
    let mut ends = Vec::new();
    for (block_type, payload, encoding) in [
        (1, b"ebb".to_vec(), Encoding::Lz4),
        (2, long(), Encoding::Lz4),
        (3, long(), Encoding::Plain),
    ] {
        let position = writer.block(BlockType(block_type), &payload, encoding);
        assert_eq!(position.unwrap(), *ends.last().unwrap_or(&HEADER_BYTES));
        ends.push(writer.length());
    }
    (writer.finish().unwrap(), ends)
}

fn read(store: &Shelf, object: &ObjectRef) -> Result<Vec<(u16, Vec<u8>)>, FormatError> {
    let mut reader = FrameReader::open(store, object, ObjectKind::State)?;
    let (mut blocks, mut payload) = (Vec::new(), Vec::new());
    while let Some(block) = reader.next_block(&mut payload)? {
        blocks.push((block.block_type.0, payload.clone()));
    }
    Ok(blocks)
}

#[test]
fn is_what_was_written_read_back() {
    let store = Shelf::default();
    let (object, ends) = write(&store);
    let bytes = store.get(&NAME.to_string());
    assert_eq!(object.length, bytes.len() as u64);
    assert_eq!(object.crc32c, crc32c::crc32c(&bytes));
    assert_eq!(ends[0], HEADER_BYTES + 16 + 3, "too short to be packed");
    assert!(ends[1] - ends[0] < 200, "packed");
    assert_eq!(ends[2] - ends[1], 16 + 5000, "not to be packed");

    let expected = vec![(1, b"ebb".to_vec()), (2, long()), (3, long())];
    assert_eq!(read(&store, &object).unwrap(), expected);
    verify_whole(&store, &object).unwrap();

    let mut reader = FrameReader::open(&store, &object, ObjectKind::State).unwrap();
    let mut payload = Vec::new();
    let block = reader.block_at(ends[0], &mut payload).unwrap();
    assert_eq!((block.block_type, block.next), (BlockType(2), ends[1]));
    assert_eq!(payload, long());
    let last = reader.last_block(&mut payload).unwrap().unwrap();
    assert_eq!((last.block_type, last.position), (BlockType(3), ends[1]));
}

#[test]
fn is_an_object_without_blocks_whole() {
    let store = Shelf::default();
    let object = FrameWriter::create(&store, NAME).unwrap().finish().unwrap();
    verify_whole(&store, &object).unwrap();
    let mut reader = FrameReader::open(&store, &object, ObjectKind::State).unwrap();
    assert_eq!(reader.last_block(&mut Vec::new()).unwrap(), None);
}

#[test]
fn does_the_same_input_give_the_same_bytes() {
    let (first, second) = (Shelf::default(), Shelf::default());
    assert_eq!(write(&first), write(&second));
    let name = NAME.to_string();
    assert_eq!(first.get(&name), second.get(&name));
}

/// The fault of a whole read after `change`, where checksums of the header were made right again.
fn fault(change: impl FnOnce(&mut Vec<u8>)) -> Fault {
    let store = Shelf::default();
    let (mut object, _) = write(&store);
    let mut bytes = store.get(&NAME.to_string());
    change(&mut bytes);
    object.length = bytes.len() as u64;
    store.set(&NAME.to_string(), bytes);
    match read(&store, &object).unwrap_err() {
        FormatError::Unusable { name, fault, .. } => {
            assert_eq!(name, NAME.to_string());
            fault
        }
        other => panic!("{other}"),
    }
}

/// Changes a byte of the header and makes its checksum right again.
fn header(at: usize, value: u8) -> impl FnOnce(&mut Vec<u8>) {
    move |bytes| {
        bytes[at] = value;
        let crc = crc32c::crc32c(&bytes[..28]);
        bytes[28..32].copy_from_slice(&crc.to_le_bytes());
    }
}

/// Changes a byte of the first block's head and makes its checksum right again.
fn block(at: usize, value: u8) -> impl FnOnce(&mut Vec<u8>) {
    move |bytes| {
        let block = &mut bytes[32..32 + 16 + 3];
        block[at] = value;
        let crc = crc32c::crc32c_append(crc32c::crc32c(&block[..12]), &block[16..]);
        block[12..16].copy_from_slice(&crc.to_le_bytes());
    }
}

#[test]
fn is_each_fault_named() {
    let another = |what, found, expected| Fault::Another {
        what,
        found,
        expected,
    };
    assert_eq!(fault(|bytes| bytes[0] = b'X'), Fault::Foreign);
    assert_eq!(fault(|bytes| bytes[12] ^= 1), Fault::Header);
    assert_eq!(fault(header(8, 2)), Fault::Version(2));
    assert_eq!(fault(header(10, 3)), another("kind", 3, 2));
    assert_eq!(fault(header(12, 4)), another("generation", 4, 3));
    assert_eq!(fault(header(20, 8)), another("epoch", 8, 9));
    assert_eq!(fault(|bytes| bytes.truncate(20)), Fault::Cut);
    assert_eq!(fault(|bytes| bytes.truncate(32)), Fault::Cut);
    assert_eq!(fault(|bytes| bytes.truncate(40)), Fault::Cut);
    assert_eq!(fault(|bytes| bytes.truncate(bytes.len() - 1)), Fault::Cut);
    assert_eq!(fault(|bytes| bytes.truncate(bytes.len() - 32)), Fault::Cut);
    assert_eq!(fault(|bytes| bytes[48] ^= 1), Fault::Block);
    assert_eq!(fault(|bytes| bytes[35] = 0x7f), Fault::Cut);
    assert_eq!(fault(|bytes| bytes.push(0)), Fault::Trailing);
    assert_eq!(fault(block(8, 4)), Fault::Type(4));
    assert_eq!(fault(block(10, 2)), Fault::Encoding(2));
    assert_eq!(fault(block(4, 2)), Fault::Block);
    assert_eq!(fault(block(7, 0x80)), Fault::TooLong(0x8000_0003));
    let nothing = Fault::Content("something where nothing is allowed");
    assert_eq!(fault(block(11, 1)), nothing);
    // A block less, and the end tells it.
    let without = |bytes: &mut Vec<u8>| drop(bytes.drain(32..32 + 16 + 3));
    assert_eq!(fault(without), Fault::End);
}

/// A block of three bytes that claims to unpack to almost 1 GiB: no memory is taken for that.
#[test]
fn is_a_claim_beyond_what_lz4_can_hold_refused() {
    let claim = |bytes: &mut Vec<u8>| {
        bytes[32 + 10] = 1;
        block(7, 0x3f)(bytes);
    };
    assert_eq!(fault(claim), Fault::Block);
}

#[test]
fn is_a_whole_object_that_is_not_meant_found_out() {
    let store = Shelf::default();
    let (mut object, _) = write(&store);
    object.crc32c ^= 1;
    let error = verify_whole(&store, &object).unwrap_err();
    let fault = |error| match error {
        FormatError::Unusable { fault, .. } => fault,
        other => panic!("{other}"),
    };
    assert_eq!(fault(error), Fault::Checksum);
    object.length += 1;
    let error = verify_whole(&store, &object).unwrap_err();
    assert!(matches!(fault(error), Fault::Length { .. }));
    object.name.random = 6;
    let error = verify_whole(&store, &object).unwrap_err();
    assert!(matches!(error, FormatError::Store(error) if error.is_not_found()));
}

#[test]
fn is_a_payload_that_no_reader_takes_not_written() {
    let mut tally = Tally::default();
    let mut out = Vec::new();
    let payload = vec![0; super::PAYLOAD_BYTES_MOST + 1];
    let put = tally.put_block(&mut out, BlockType(1), &payload, Encoding::Plain);
    assert!(matches!(put, Err(Fault::TooLong(_))));
    assert!(out.is_empty());
}
