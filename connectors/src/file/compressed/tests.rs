//! Does a compressed file give the records and offsets of the plain one, and is less than the whole of
//! it always an error?
#![expect(clippy::unwrap_used, reason = "tests")]

use std::io::Write;
use std::ops::ControlFlow;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, any, prop_assert, prop_assert_eq, prop_oneof};
use proptest::sample::Index;
use proptest::strategy::{Just, Strategy};

use slackwater_dataflow::source::Payload;

use super::*;
use crate::file::lines::{LineReader, Lines};

const FORMATS: [Format; 2] = [Format::Gzip, Format::Zstandard];

/// One member or frame, with a checksum.
fn compress(format: Format, content: &[u8]) -> Vec<u8> {
    match format {
        Format::Gzip => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(content).unwrap();
            encoder.finish().unwrap()
        }
        Format::Zstandard => {
            let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
            encoder.include_checksum(true).unwrap();
            encoder.write_all(content).unwrap();
            encoder.finish().unwrap()
        }
    }
}

/// Each part as a member or frame of its own.
fn compress_parts(format: Format, parts: &[Vec<u8>]) -> Vec<u8> {
    let parts: Vec<_> = parts.iter().map(|part| compress(format, part)).collect();
    parts.concat()
}

/// An offset and its record.
type Found = (u64, Vec<u8>);

/// Records with their offsets, up to the end or an error.
fn records(input: impl Read, block: usize) -> (Vec<Found>, Result<(), String>) {
    let mut reader = LineReader::new(input, 1_000_000, block);
    let mut found = Vec::new();
    loop {
        let read = reader.read(3, &mut |offset, payload| {
            let Payload::Whole(record) = payload else {
                return ControlFlow::Break(());
            };
            found.push((offset.0, record.to_vec()));
            ControlFlow::Continue(())
        });
        match read {
            Ok(Lines::Ended) => return (found, Ok(())),
            Ok(_) => {}
            Err(error) => return (found, Err(error.to_string())),
        }
    }
}

fn decompressed(format: Format, bytes: &[u8]) -> Decompressed {
    Decompressed::new(format, io::Cursor::new(bytes.to_vec())).unwrap()
}

/// Lines of any length, some bytes that compress badly.
fn content() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![Just(b'\n'), Just(b'a'), any::<u8>().boxed()];
    (vec(byte, 0..200), 1_usize..40).prop_map(|(bytes, times)| bytes.repeat(times))
}

proptest::proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn are_records_and_offsets_those_of_the_plain_file(
        parts in vec(content(), 1..5),
        block in 1_usize..5_000,
    ) {
        let plain = records(parts.concat().as_slice(), block);
        for format in FORMATS {
            let bytes = compress_parts(format, &parts);
            prop_assert_eq!(&records(decompressed(format, &bytes), block), &plain);
        }
    }

    #[test]
    fn is_a_file_that_is_cut_short_an_error_after_what_was_good(
        parts in vec(content(), 1..4),
        cut in any::<Index>(),
        block in 1_usize..5_000,
    ) {
        let (plain, _) = records(parts.concat().as_slice(), block);
        for format in FORMATS {
            let bytes = compress_parts(format, &parts);
            let cut = cut.index(bytes.len());
            // A cut between two members leaves a whole file: nobody can tell.
            let ends = (1..=parts.len()).map(|many| compress_parts(format, &parts[..many]).len());
            let (found, end) = records(decompressed(format, &bytes[..cut]), block);
            prop_assert_eq!(end.is_ok(), ends.into_iter().any(|end| end == cut));
            // The last line of a whole file may lack its end.
            let whole = if end.is_ok() { found.len().saturating_sub(1) } else { found.len() };
            prop_assert!(plain.starts_with(&found[..whole]));
        }
    }

    #[test]
    fn is_a_damaged_file_never_read_as_something_else(
        parts in vec(content(), 1..4),
        place in any::<Index>(),
        change in 1_u8..,
    ) {
        let content = parts.concat();
        for format in FORMATS {
            let mut bytes = compress_parts(format, &parts);
            let place = place.index(bytes.len());
            bytes[place] ^= change;
            let mut found = Vec::new();
            // Headers have bytes that mean nothing for the content.
            if decompressed(format, &bytes).read_to_end(&mut found).is_ok() {
                prop_assert_eq!(&found, &content);
            }
        }
    }
}

#[test]
fn does_an_error_say_how_far_the_data_was_good() {
    let check = |format, bytes: &[u8], expected: &str| {
        let mut found = Vec::new();
        let error = decompressed(format, bytes).read_to_end(&mut found);
        let message = error.unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
        let given = format!("up to byte {} of", found.len());
        assert!(message.contains(&given), "{message}");
    };
    for (format, name) in [
        (Format::Gzip, "the gzip data is cut short or damaged"),
        (
            Format::Zstandard,
            "the Zstandard data is cut short or damaged",
        ),
    ] {
        let whole = compress(format, b"one\ntwo\n");
        check(format, b"", name);
        check(format, b"{\"plain\":1}\n", name);
        check(format, &whole[..whole.len() - 1], name);
        check(format, &[&whole, b"rest".as_slice()].concat(), name);
    }
}

#[test]
fn which_names_are_compressed() {
    let check = |name: &str, expected| assert_eq!(Format::of(Path::new(name)), expected, "{name}");
    check("a.jsonl", None);
    check("a.jsonl.gz", Some(Format::Gzip));
    check("dir.gz/a.jsonl", None);
    check("a.zst", Some(Format::Zstandard));
    check("gz", None);
    check(".gz", None);
}
