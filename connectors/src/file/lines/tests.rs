//! Are lines those of a plain split, whatever the sizes of blocks, lines and limits?
#![expect(clippy::unwrap_used, reason = "tests")]

use std::ops::ControlFlow;

use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, any, prop_assert_eq, prop_oneof};
use proptest::strategy::{Just, Strategy};
use sha2::{Digest, Sha256};
use slackwater_dataflow::source::OVERSIZE_HEAD_BYTES;

use super::*;

/// A record, owned: its offset, and the payload by its head, length and digest (none when whole).
type Found = (u64, Vec<u8>, usize, Option<[u8; 32]>);

fn owned(offset: Offset, payload: Payload<'_>) -> Found {
    match payload {
        Payload::Whole(bytes) | Payload::Malformed { bytes, .. } => {
            (offset.0, bytes.to_vec(), bytes.len(), None)
        }
        Payload::Oversize {
            head,
            length,
            sha256,
        } => (offset.0, head.to_vec(), length as usize, Some(sha256)),
    }
}

/// The same by the definition: split everything at line feeds.
fn reference(input: &[u8], max_bytes: usize) -> Vec<Found> {
    let mut lines: Vec<&[u8]> = input.split(|&byte| byte == b'\n').collect();
    if lines.last().is_some_and(|last| last.is_empty()) {
        lines.pop();
    }
    let mut offset = 0;
    let mut found = Vec::new();
    for line in lines {
        let record = line.strip_suffix(b"\r").unwrap_or(line);
        let head = &record[..record.len().min(OVERSIZE_HEAD_BYTES)];
        found.push(if record.len() <= max_bytes {
            (offset, record.to_vec(), record.len(), None)
        } else {
            let digest = Sha256::digest(record).into();
            (offset, head.to_vec(), record.len(), Some(digest))
        });
        offset += line.len() as u64 + 1;
    }
    found
}

/// Gives its bytes in pieces of the given sizes, over and over; for a size of 0 an interruption, and the
/// next time that it has nothing now.
struct Pieces<'a> {
    bytes: &'a [u8],
    sizes: std::iter::Cycle<std::slice::Iter<'a, usize>>,
    dry: bool,
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let size = *self.sizes.next().unwrap();
        if size == 0 {
            self.dry = !self.dry;
            return Err(if self.dry {
                io::ErrorKind::Interrupted.into()
            } else {
                io::ErrorKind::WouldBlock.into()
            });
        }
        let (now, later) = self.bytes.split_at(size.min(self.bytes.len()));
        let read = { now }.read(buffer)?;
        self.bytes = if read == now.len() {
            later
        } else {
            &self.bytes[read..]
        };
        Ok(read)
    }
}

fn read_all(input: impl Read, max_bytes: usize, block: usize, limit: usize) -> Vec<Found> {
    let mut reader = LineReader::new(input, max_bytes, block);
    let mut found = Vec::new();
    loop {
        let before = found.len();
        let lines = reader
            .read(limit, &mut |offset, payload| {
                found.push(owned(offset, payload));
                ControlFlow::Continue(())
            })
            .unwrap();
        assert!(found.len() - before <= limit);
        assert!(reader.buffer.len() <= max_bytes + block.max(2));
        if lines == Lines::Ended {
            return found;
        }
    }
}

#[test]
fn is_the_room_of_a_long_line_given_back() {
    let block = 16;
    let input = ["x".repeat(300), "\n".to_owned(), "y\n".repeat(100)].concat();
    let mut reader = LineReader::new(input.as_bytes(), 1_000, block);
    let mut largest = 0;
    while reader
        .read(1, &mut |_, _| ControlFlow::Continue(()))
        .is_ok_and(|lines| lines != Lines::Ended)
    {
        largest = largest.max(reader.buffer.len());
    }
    assert!(largest > 300, "{largest}");
    assert_eq!(reader.buffer.len(), block);
}

#[test]
fn is_every_line_a_record() {
    let check = |input: &str, expected: &[&str]| {
        let found = read_all(input.as_bytes(), 100, 4, 10);
        let texts: Vec<_> = found.iter().map(|found| found.1.as_slice()).collect();
        let expected: Vec<_> = expected.iter().map(|text| text.as_bytes()).collect();
        assert_eq!(texts, expected, "{input:?}");
    };
    check("", &[]);
    check("\n", &[""]);
    check("a", &["a"]);
    check("a\n", &["a"]);
    check("a\r\nb\r\n", &["a", "b"]);
    check("a\n\n\nb", &["a", "", "", "b"]);
    check("a\r\r\n\rb\r", &["a\r", "\rb"]);
    check("\r", &[""]);
}

#[test]
fn does_a_huge_line_need_no_more_memory_than_the_bound() {
    for (length, max_bytes, end) in [
        (200_000, 100_000, "\n"),
        (9_000_000, 70_000, "\r\nafter\n"),
        (150_000, 10, ""),
        (100_001, 100_000, "\r\nafter"),
    ] {
        let input = ["before\n", &"x".repeat(length), end].concat();
        // read_all checks the size of the buffer.
        let found = read_all(input.as_bytes(), max_bytes, 1000, 3);
        assert_eq!(found, reference(input.as_bytes(), max_bytes));
    }
}

/// Gives one piece a call, and `None` for a call that has nothing.
struct Calls(std::vec::IntoIter<Option<&'static str>>);

impl Read for Calls {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.next() {
            None => Ok(0),
            Some(None) => Err(io::ErrorKind::WouldBlock.into()),
            Some(Some(piece)) => piece.as_bytes().read(buffer),
        }
    }
}

#[test]
fn does_a_line_wait_for_its_end_while_the_input_may_go_on() {
    let calls = vec![
        None,
        Some("a\nb"),
        None,
        None,
        Some("c"),
        Some("\r"),
        None,
        Some("\nd"),
        None,
    ];
    let mut reader = LineReader::new(Calls(calls.into_iter()), 100, 16);
    let mut check = |limit: usize, expected: &str, lines: Lines| {
        let mut found = Vec::new();
        let told = reader.read(limit, &mut |offset, payload| {
            let (_, bytes, ..) = owned(offset, payload);
            found.push(format!("{offset}={}", String::from_utf8(bytes).unwrap()));
            ControlFlow::Continue(())
        });
        assert_eq!((found.join(" ").as_str(), told.unwrap()), (expected, lines));
    };
    check(9, "", Lines::Dry);
    check(1, "0=a", Lines::More);
    check(9, "", Lines::Dry);
    check(9, "", Lines::Dry);
    check(9, "", Lines::Dry);
    check(1, "2=bc", Lines::More);
    check(9, "", Lines::Dry);
    // The end of the input is the end of its last line.
    check(9, "6=d", Lines::Ended);
    check(9, "", Lines::Ended);
}

proptest::proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn are_lines_those_of_a_plain_split(
        input in vec(
            prop_oneof![Just(b'\n'), Just(b'\r'), Just(b'a'), any::<u8>().boxed()],
            0..120,
        ),
        sizes in vec(0_usize..9, 1..5),
        block in 1_usize..20,
        max_bytes in 0_usize..12,
        limit in 1_usize..6,
    ) {
        // At least one piece must move on.
        let sizes = [sizes, vec![3]].concat();
        let pieces = Pieces { bytes: &input, sizes: sizes.iter().cycle(), dry: false };
        prop_assert_eq!(
            read_all(pieces, max_bytes, block, limit),
            reference(&input, max_bytes)
        );
    }
}
