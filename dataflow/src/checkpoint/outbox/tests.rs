//! Are all outputs read back, each stream of a shard in order, in chunks that are bounded?

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::proptest;

use crate::checkpoint::fault::{Fault, FormatError};
use crate::checkpoint::frame::reading::verify_whole;
use crate::checkpoint::frame::{BlockType, Encoding, FrameWriter};
use crate::checkpoint::names::{DataKind, DataName};
use crate::checkpoint::outbox::reading::OutboxReader;
use crate::checkpoint::outbox::{Bounds, ChunkRef, OutboxWriter, SealedOutbox};
use crate::checkpoint::shelf::Shelf;
use crate::identity::Generation;
use crate::moment::Epoch;
use crate::place::ShardId;
use crate::sink::addressed::{Address, OpenRecord};
use crate::sink::{Framing, OutputChunk, OutputStream};

const NAME: DataName = DataName {
    generation: Generation(3),
    epoch: Epoch(9),
    worker: 1,
    random: 5,
    kind: DataKind::Outbox,
};

const SMALL: Bounds = Bounds {
    block: 60,
    chunk: 200,
    gathered: 150,
};

/// Records of these lengths, each with its number, on one of 3 shards and 4 streams.
fn chunk(place: usize, number: usize, lengths: &[usize]) -> OutputChunk {
    let record = |length: &usize| format!("{number:04}{}\n", "x".repeat(*length));
    OutputChunk {
        stream: OutputStream::ALL[place % 4],
        shard: ShardId((place % 3) as u16),
        records: lengths.len() as u32,
        framing: Framing::Lines,
        bytes: lengths.iter().map(record).collect::<String>().into_bytes(),
    }
}

/// The same, each with its address.
fn addressed(place: usize, number: usize, lengths: &[usize]) -> OutputChunk {
    let lines = chunk(place, number, lengths);
    let mut bytes = Vec::new();
    for value in lines.bytes.split_inclusive(|byte| *byte == b'\n') {
        let mut record = OpenRecord::begin(&mut bytes, Address::default());
        record.value().extend_from_slice(value);
        record.end();
    }
    let framing = Framing::Addressed;
    OutputChunk {
        framing,
        bytes,
        ..lines
    }
}

fn write(store: &Shelf, bounds: Bounds, chunks: &[OutputChunk]) -> Option<SealedOutbox> {
    let mut writer = OutboxWriter::new(Arc::new(store.clone()), NAME);
    writer.bounds = bounds;
    for chunk in chunks {
        writer.append(chunk).unwrap();
    }
    writer.seal().unwrap()
}

/// Records by shard and stream.
type Streams = BTreeMap<(ShardId, OutputStream), (u64, Vec<u8>)>;

fn streams<'a>(chunks: impl IntoIterator<Item = &'a OutputChunk>) -> Streams {
    let mut streams = Streams::new();
    for chunk in chunks.into_iter().filter(|chunk| chunk.records > 0) {
        let (records, bytes) = streams.entry((chunk.shard, chunk.stream)).or_default();
        *records += u64::from(chunk.records);
        bytes.extend_from_slice(&chunk.bytes);
    }
    streams
}

/// Writes and reads; gives what was written.
fn check(bounds: Bounds, chunks: &[OutputChunk]) -> Option<SealedOutbox> {
    let store = Shelf::default();
    let expected = streams(chunks);
    let Some(sealed) = write(&store, bounds, chunks) else {
        assert!(expected.is_empty());
        assert_eq!(store.len(), 0);
        return None;
    };
    verify_whole(&store, &sealed.object).unwrap();
    let mut reader = OutboxReader::open(&store, &sealed.object).unwrap();
    let mut read = Vec::new();
    for (shard, outputs) in &sealed.shards {
        for chunk in &outputs.chunks {
            let records = reader.chunk(*shard, chunk).unwrap();
            for part in &records {
                let expected = chunks.first().map(|it| it.framing);
                assert_eq!(Some(part.framing), expected);
            }
            let bounded = chunk.bytes <= bounds.chunk || chunk.records == 1;
            assert!(bounded, "{chunk:?}");
            read.extend(records);
        }
        for stream in OutputStream::ALL {
            let written = expected.get(&(*shard, stream));
            let length = written.map_or(0, |(_, bytes)| bytes.len() as u64);
            assert_eq!(outputs.lengths[stream.index()], length);
        }
    }
    assert_eq!(streams(&read), expected);
    Some(sealed)
}

proptest! {
    #[test]
    fn is_what_was_written_read_back(
        outputs in vec((0..12_usize, vec(0..40_usize, 0..9)), 0..60),
        long in 0..300_usize,
    ) {
        for make in [chunk, addressed] {
            let mut chunks: Vec<OutputChunk> = outputs
                .iter()
                .enumerate()
                .map(|(number, (place, lengths))| make(*place, number, lengths))
                .collect();
            check(SMALL, &chunks);
            chunks.push(make(0, 61, &[long, 1, long]));
            check(SMALL, &chunks);
            check(Bounds::default(), &chunks);
        }
    }
}

#[test]
fn does_an_epoch_without_outputs_leave_no_object() {
    let store = Shelf::default();
    assert_eq!(write(&store, SMALL, &[]), None);
    assert_eq!(write(&store, SMALL, &[chunk(0, 0, &[])]), None);
    assert_eq!(store.len(), 0);
}

#[test]
fn does_the_same_input_give_the_same_bytes() {
    let chunks: Vec<OutputChunk> = (0..50).map(|n| chunk(n * 7, n, &[n, 1, n])).collect();
    let (first, second) = (Shelf::default(), Shelf::default());
    let sealed = write(&first, SMALL, &chunks).unwrap();
    assert_eq!(sealed, write(&second, SMALL, &chunks).unwrap());
    let name = NAME.to_string();
    assert_eq!(first.get(&name), second.get(&name));
}

#[test]
fn do_blocks_and_chunks_of_a_real_size_keep_their_bounds() {
    let lengths = vec![4000; 1000];
    let chunks = [0, 3, 6].map(|place| chunk(place, 1, &lengths));
    let sealed = check(Bounds::default(), &chunks).unwrap();
    let of_first = &sealed.shards[&ShardId(0)].chunks;
    assert_eq!(of_first.len(), 2);
    assert!(of_first[0].bytes > super::CHUNK_BYTES_MOST - 300_000);
    assert!(sealed.object.length < 1_000_000, "packed");
}

#[test]
fn are_records_that_are_none_refused() {
    let store = Shelf::default();
    let writer = || {
        let mut writer = OutboxWriter::new(Arc::new(store.clone()), NAME);
        writer.bounds = SMALL;
        writer
    };
    let check = |records, bytes: &[u8]| {
        let mut wrong = chunk(0, 0, &[]);
        wrong.records = records;
        wrong.bytes = bytes.to_vec();
        let error = writer().append(&wrong).unwrap_err();
        assert!(matches!(error, FormatError::Refused { .. }), "{error}");
    };
    check(1, b"a");
    check(1, b"");
    check(0, b"a\n");
    check(1, &b"a\n".repeat(50));
}

#[test]
fn is_what_the_manifest_does_not_say_refused() {
    let store = Shelf::default();
    let chunks: Vec<OutputChunk> = (0..50).map(|n| chunk(n * 7, n, &[n, 1, n])).collect();
    let sealed = write(&store, SMALL, &chunks).unwrap();
    let mut reader = OutboxReader::open(&store, &sealed.object).unwrap();
    // The last one, behind which there is nothing to take for a missing block.
    let right = *sealed.shards[&ShardId(1)].chunks.last().unwrap();
    reader.chunk(ShardId(1), &right).unwrap();
    let other = Fault::Content("other outputs than the manifest says");
    let mut check = |change: fn(&mut ChunkRef)| {
        let mut wrong = right;
        change(&mut wrong);
        match reader.chunk(ShardId(1), &wrong) {
            Err(FormatError::Unusable { fault, .. }) => assert_eq!(fault, other),
            found => panic!("{found:?}"),
        }
    };
    check(|chunk| chunk.records += 1);
    check(|chunk| chunk.bytes -= 1);
    check(|chunk| chunk.blocks += 1);
    check(|chunk| chunk.at += 1);
    check(|chunk| chunk.at = u64::MAX);
    reader.chunk(ShardId(2), &right).unwrap_err();
}

/// Whole blocks with wrong content are refused too: a mistake of a writer must not be published.
#[test]
fn is_content_that_makes_no_sense_refused() {
    let fault = |blocks: &[(u16, &[u8])]| {
        let store = Shelf::default();
        let mut writer = FrameWriter::create(&store, NAME).unwrap();
        for (block_type, payload) in blocks {
            let block_type = BlockType(*block_type);
            writer.block(block_type, payload, Encoding::Plain).unwrap();
        }
        let object = writer.finish().unwrap();
        let chunk = ChunkRef {
            at: 32,
            blocks: 1,
            records: 1,
            bytes: 2,
        };
        let read = OutboxReader::open(&store, &object)
            .and_then(|mut reader| reader.chunk(ShardId(1), &chunk));
        match read {
            Err(FormatError::Unusable { fault, .. }) => fault,
            other => panic!("{other:?}"),
        }
    };
    let index = |at: u64| [at.to_le_bytes().as_slice(), b"\x01\0"].concat();
    let no_index = Fault::Content("no index");
    let wrong_index = Fault::Content("an index that does not fit the object");
    let no_outputs = Fault::Content("no outputs that may stand here");
    let right = b"\x01\0\0\0\x01\0\0\0a\n".as_slice();
    assert_eq!(fault(&[]), no_index);
    assert_eq!(fault(&[(1, right)]), no_index);
    assert_eq!(fault(&[(1, right), (2, &index(500))]), wrong_index);
    assert_eq!(fault(&[(1, right), (2, b"\x20")]), wrong_index);
    let wrong = |payload: &[u8]| fault(&[(1, payload), (2, &index(32))]);
    assert_eq!(wrong(&right[..6]), no_outputs);
    assert_eq!(wrong(b"\x02\0\0\0\x01\0\0\0a\n"), no_outputs);
    assert_eq!(wrong(b"\x01\0\x04\0\x01\0\0\0a\n"), no_outputs);
    assert_eq!(wrong(b"\x01\0\0\x01\x01\0\0\0a\n"), no_outputs);
}
