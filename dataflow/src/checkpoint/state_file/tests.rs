//! Are the entries of a state object read back, each stage and group by itself, and is nothing else taken for one?

use crate::checkpoint::fault::{Fault, FormatError};
use crate::checkpoint::frame::reading::{FrameReader, verify_whole};
use crate::checkpoint::frame::{BlockType, Encoding, FrameWriter, ObjectKind, ObjectRef};
use crate::checkpoint::groups::GroupSet;
use crate::checkpoint::names::{DataKind, DataName};
use crate::checkpoint::shelf::Shelf;
use crate::checkpoint::state_file::reading::StateReader;
use crate::checkpoint::state_file::{Entry, StateWriter};
use crate::identity::Generation;
use crate::moment::Epoch;
use crate::place::KeyGroup;

const NAME: DataName = DataName {
    generation: Generation(3),
    epoch: Epoch(9),
    worker: 1,
    random: 5,
    kind: DataKind::State,
};

type Owned = (u16, Vec<u8>, Option<Vec<u8>>);

fn entry<'a>(group: u16, key: &'a [u8], value: Option<&'a [u8]>) -> Entry<'a> {
    let group = KeyGroup(group);
    Entry { group, key, value }
}

/// 40 entries in 10 groups, every third of them a removal.
fn sample() -> Vec<Owned> {
    let entry = |number: u16| {
        let value = (!number.is_multiple_of(3)).then(|| vec![number as u8; number.into()]);
        (number / 4, format!("key {number:02}").into_bytes(), value)
    };
    (0..40).map(entry).collect()
}

/// Sections `features` with the sample, `order` with a bound only, `zero` with the sample again.
fn write(store: &Shelf, encoding: Encoding) -> ObjectRef {
    let writer = StateWriter::create(store, NAME, encoding).unwrap();
    let mut writer = writer.with_blocks_of(64);
    for (stage, bound, entries) in [
        ("features", None, sample()),
        ("order", Some(b"bound".as_slice()), Vec::new()),
        ("zero", Some(b"".as_slice()), sample()),
    ] {
        writer.section(stage, bound).unwrap();
        for (group, key, value) in &entries {
            writer.entry(entry(*group, key, value.as_deref())).unwrap();
        }
    }
    writer.finish().unwrap()
}

fn read(reader: &mut StateReader, stage: &str, groups: &GroupSet) -> Vec<Owned> {
    let mut entries = reader.entries(stage, groups);
    let mut read = Vec::new();
    while entries.advance().unwrap() {
        let Entry { group, key, value } = entries.front();
        read.push((group.0, key.to_vec(), value.map(<[u8]>::to_vec)));
    }
    assert!(!entries.advance().unwrap());
    read
}

#[test]
fn is_what_was_written_read_back() {
    for encoding in [Encoding::Plain, Encoding::Lz4] {
        let store = Shelf::default();
        let object = write(&store, encoding);
        verify_whole(&store, &object).unwrap();
        let mut reader = StateReader::open(&store, &object).unwrap();
        assert!(reader.stages().eq(["features", "order", "zero"]));
        assert_eq!(reader.bound("features"), None);
        assert_eq!(reader.bound("order"), Some(b"bound".as_slice()));
        assert_eq!(reader.bound("zero"), Some(b"".as_slice()));
        let all = GroupSet::all();
        assert_eq!(read(&mut reader, "features", &all), sample());
        assert_eq!(read(&mut reader, "zero", &all), sample());
        assert_eq!(read(&mut reader, "order", &all), []);
        assert_eq!(read(&mut reader, "none", &all), []);
        let some = [2, 3, 7, 900];
        let groups = some.into_iter().map(KeyGroup).collect();
        let mut expected = sample();
        expected.retain(|(group, ..)| some.contains(group));
        assert_eq!(read(&mut reader, "features", &groups), expected);
    }
}

#[test]
fn is_an_object_without_sections_read() {
    let store = Shelf::default();
    let writer = StateWriter::create(&store, NAME, Encoding::Plain).unwrap();
    let object = writer.finish().unwrap();
    let reader = StateReader::open(&store, &object).unwrap();
    assert_eq!(reader.stages().count(), 0);
}

#[test]
fn does_the_same_input_give_the_same_bytes() {
    let (first, second) = (Shelf::default(), Shelf::default());
    let object = write(&first, Encoding::Lz4);
    assert_eq!(object, write(&second, Encoding::Lz4));
    let name = object.name.to_string();
    assert_eq!(first.get(&name), second.get(&name));
}

#[test]
fn is_what_is_out_of_order_refused() {
    let check = |write: fn(&mut StateWriter) -> Result<(), FormatError>| {
        let store = Shelf::default();
        let mut writer = StateWriter::create(&store, NAME, Encoding::Plain).unwrap();
        let error = write(&mut writer).unwrap_err();
        assert!(matches!(error, FormatError::Refused { .. }), "{error}");
    };
    check(|writer| writer.entry(entry(0, b"a", None)));
    check(|writer| {
        writer.section("b", None)?;
        writer.section("a", None)
    });
    check(|writer| {
        writer.section("a", None)?;
        writer.section("a", None)
    });
    check(|writer| {
        writer.section("a", None)?;
        writer.entry(entry(1, b"a", None))?;
        writer.entry(entry(1, b"a", None))
    });
    check(|writer| {
        writer.section("a", None)?;
        writer.entry(entry(1, b"a", None))?;
        writer.entry(entry(0, b"b", None))
    });
}

/// What reading `features` says of an object of these blocks, all of them whole.
fn fault(blocks: &[(u16, &[u8])]) -> Fault {
    let store = Shelf::default();
    let mut writer = FrameWriter::create(&store, NAME).unwrap();
    for (block_type, payload) in blocks {
        let block_type = BlockType(*block_type);
        let written = writer.block(block_type, payload, Encoding::Plain);
        written.unwrap();
    }
    let object = writer.finish().unwrap();
    let read = || {
        let mut reader = StateReader::open(&store, &object)?;
        let all = GroupSet::all();
        let mut entries = reader.entries("s", &all);
        while entries.advance()? {}
        Ok(())
    };
    match read() {
        Err(FormatError::Unusable { fault, .. }) => fault,
        other => panic!("{other:?}"),
    }
}

/// Whole blocks with wrong content are refused too: a mistake of a writer must not become state.
#[test]
fn is_content_that_makes_no_sense_refused() {
    let no_index = Fault::Content("no index");
    let wrong_index = Fault::Content("an index that does not fit the object");
    let no_section = Fault::Content("no section that may stand here");
    let no_entries = Fault::Content("no entries that may stand here");
    let section: &[u8] = b"\x01\0\0\0s\0";
    let index = |sections: &[u64], rows: &[(u64, u32, u16, u16)]| {
        let mut index = (sections.len() as u32).to_le_bytes().to_vec();
        index.extend(sections.iter().flat_map(|position| position.to_le_bytes()));
        for (position, section, least, greatest) in rows {
            index.extend(position.to_le_bytes());
            index.extend(section.to_le_bytes());
            index.extend(least.to_le_bytes());
            index.extend(greatest.to_le_bytes());
        }
        index
    };
    assert_eq!(fault(&[]), no_index);
    assert_eq!(fault(&[(1, section)]), no_index);
    assert_eq!(fault(&[(3, b"\xff\xff\xff\xff")]), wrong_index);
    assert_eq!(fault(&[(1, section), (3, &index(&[99], &[]))]), wrong_index);
    let row = index(&[32], &[(32, 1, 0, 0)]);
    assert_eq!(fault(&[(1, section), (3, &row)]), wrong_index);
    let index_of = |payload: &[u8]| fault(&[(1, payload), (3, &index(&[32], &[]))]);
    assert_eq!(index_of(b"\x02\0\0\0s\0"), no_section);
    assert_eq!(index_of(b"\x01\0\0\0s\x02"), no_section);
    assert_eq!(index_of(b"\x01\0\0\0s\0\0"), no_section);
    assert_eq!(index_of(b"\x01\0\0\0\xff\0"), no_section);
    let entries = |least, greatest, entries: &[u8]| {
        let index = index(&[32], &[(54, 0, least, greatest)]);
        fault(&[(1, section), (2, entries), (3, &index)])
    };
    let a = b"\x01\0\x01\0\0\0a\xff\xff\xff\xff".as_slice();
    assert_eq!(entries(2, 3, a), no_entries);
    assert_eq!(entries(1, 1, &a[..8]), no_entries);
    assert_eq!(entries(1, 1, &[a, a].concat()), no_entries);
    assert_eq!(entries(1, 1, b""), no_entries);
    assert_eq!(entries(1, 1, b"\x01\0\x01\0\0\0a\x05\0\0\0"), no_entries);
}

/// A reader of some groups does not read the blocks of others.
#[test]
fn are_other_groups_left_alone() {
    let store = Shelf::default();
    let object = write(&store, Encoding::Plain);
    let mut frame = FrameReader::open(&store, &object, ObjectKind::State).unwrap();
    let (mut payload, mut last) = (Vec::new(), 0);
    while let Some(block) = frame.next_block(&mut payload).unwrap() {
        if block.block_type == BlockType(2) {
            last = block.position;
        }
    }
    let name = object.name.to_string();
    let mut bytes = store.get(&name);
    bytes[last as usize + 20] ^= 1;
    store.set(&name, bytes);
    let mut reader = StateReader::open(&store, &object).unwrap();
    let groups = [KeyGroup(0), KeyGroup(8)].into_iter().collect();
    assert_eq!(read(&mut reader, "zero", &groups).len(), 8);
    let all = GroupSet::all();
    let mut entries = reader.entries("zero", &all);
    let error = loop {
        match entries.advance() {
            Ok(more) => assert!(more, "a damaged block was read"),
            Err(error) => break error,
        }
    };
    assert!(matches!(
        error,
        FormatError::Unusable {
            fault: Fault::Block,
            ..
        }
    ));
}
