//! Does every source that is opened where an earlier reader stood go on without a gap or a repetition?
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, any, prop_oneof};
use proptest::strategy::{Just, Strategy};
use slackwater_dataflow::clock::ManualClock;
use slackwater_dataflow::place::{Mark, Offset, PartitionId};
use slackwater_dataflow::source::{
    Demand, Payload, Polled, Readiness, Share, Source, SourceReader, Start, Starts, Wake,
};

use crate::file::{CellKinds, FileConfig, FileSource};
use crate::generator::{Generator, GeneratorConfig, GeneratorSource};
use crate::memory::{MemorySource, Schedule};

/// A record: its offset, its first bytes, its length, and its digest if it is too long.
type Found = (u64, Vec<u8>, u64, Option<[u8; 32]>);

/// What was handed out of each partition, by any number of readers.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    records: BTreeMap<PartitionId, Vec<Found>>,
    ended: BTreeSet<PartitionId>,
}

impl Seen {
    fn take(&mut self, polled: Polled<'_>) {
        match polled {
            Polled::Record {
                partition,
                offset,
                payload,
                ..
            } => {
                assert!(!self.ended.contains(&partition), "a record after the end");
                let found = match payload {
                    Payload::Whole(record) | Payload::Malformed { bytes: record, .. } => {
                        (record.to_vec(), record.len() as u64, None)
                    }
                    Payload::Oversize {
                        head,
                        length,
                        sha256,
                    } => (head.to_vec(), length, Some(sha256)),
                };
                let (head, length, digest) = found;
                let records = self.records.entry(partition).or_default();
                records.push((offset.0, head, length, digest));
            }
            Polled::Finished(partition) => assert!(self.ended.insert(partition), "ended twice"),
            Polled::Silent(_) => {}
        }
    }

    fn many(&self, partition: PartitionId) -> usize {
        self.records.get(&partition).map_or(0, Vec::len)
    }
}

/// One run of the readers of all workers, until each has handed out so many records.
#[derive(Clone, Debug)]
struct Run {
    workers: usize,
    records: usize,
    /// Most records of a poll.
    limit: usize,
    /// A poll is broken off after this many.
    breaks: usize,
    /// Partitions that have ended are opened at their ends all the same.
    opens_ended: bool,
}

fn run() -> impl Strategy<Value = Run> {
    let sizes = (1_usize..4, 0_usize..12, 1_usize..6, 1_usize..6);
    (sizes, any::<bool>()).prop_map(|((workers, records, limit, breaks), opens_ended)| Run {
        workers,
        records,
        limit,
        breaks,
        opens_ended,
    })
}

/// Polls until so many records came or all have ended; checks the positions after each poll, where it is known
/// what there is to read.
fn read(reader: &mut dyn SourceReader, run: &Run, seen: &mut Seen, whole: Option<&Seen>) {
    let mut left = run.records;
    while left > 0 {
        let mut breaks = run.breaks.min(left);
        let readiness = reader.poll(Demand::of_all(run.limit), &mut |polled| {
            if matches!(polled, Polled::Record { .. }) {
                breaks -= 1;
                left -= 1;
            }
            seen.take(polled);
            if breaks == 0 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        for (id, records) in whole.iter().flat_map(|whole| &whole.records) {
            let next = records.get(seen.many(*id)).map(|found| Offset(found.0));
            if let (Some(position), Some(next)) = (reader.position(*id), next) {
                assert_eq!(position, next, "partition {id}");
            }
        }
        if readiness.unwrap() == Readiness::Finished {
            return;
        }
    }
}

/// Everything in one go.
const WHOLE: Run = Run {
    workers: 1,
    records: usize::MAX,
    limit: 1_000,
    breaks: usize::MAX,
    opens_ended: false,
};

/// Reads a source once from its beginning to its end and once by the runs, each from where the one before stood,
/// and to its end.
fn race(source: &dyn Source, runs: &[Run]) {
    let share = |worker, workers| Share { worker, workers };
    let open = |share, starts: &Starts| source.open(share, starts, Wake::nobody()).unwrap();
    let mut whole = Seen::default();
    read(
        open(share(0, 1), &Starts::beginning()).as_mut(),
        &WHOLE,
        &mut whole,
        None,
    );
    let mut seen = Seen::default();
    let mut positions: BTreeMap<PartitionId, Offset> = BTreeMap::new();
    let mut marks: BTreeMap<PartitionId, Mark> = BTreeMap::new();
    for run in runs.iter().chain([&WHOLE]) {
        if run.opens_ended {
            seen.ended.clear();
        }
        let start = |(&id, &offset): (&PartitionId, &Offset)| {
            let has_ended = seen.ended.contains(&id);
            (
                id,
                if has_ended {
                    Start::Ended
                } else {
                    Start::At(offset)
                },
            )
        };
        let starts: Starts = positions.iter().map(start).collect();
        let starts = starts.with_marks(std::mem::take(&mut marks));
        for worker in 0..run.workers {
            let share = share(worker, run.workers);
            let mut reader = open(share, &starts);
            read(reader.as_mut(), run, &mut seen, Some(&whole));
            for id in source.partitions().iter().map(|partition| partition.id) {
                let position = reader.position(id);
                let reads = share.reads(id) && !starts.has_ended(id);
                assert_eq!(position.is_some(), reads, "partition {id}");
                positions.extend(position.map(|position| (id, position)));
                marks.extend(reader.mark(id).map(|mark| (id, mark)));
            }
        }
    }
    assert_eq!(seen, whole);
}

/// Lines of all kinds, the last one perhaps without its end.
fn lines() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"\n".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"a".to_vec()),
        vec(any::<u8>(), 0..20),
    ];
    vec(piece, 0..30).prop_map(|pieces| pieces.concat())
}

fn write_gzip(path: &Path, content: &[u8]) {
    let file = File::create(path).unwrap();
    let mut encoder = GzEncoder::new(file, Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap();
}

fn write_zstandard(path: &Path, content: &[u8]) {
    let compressed = zstd::encode_all(content, 1).unwrap();
    fs::write(path, compressed).unwrap();
}

/// Writes the contents in turn as a plain file, as a gzip file and as a Zstandard file.
fn write_files(folder: &Path, contents: &[Vec<u8>]) {
    for (number, content) in contents.iter().enumerate() {
        let path = |end: &str| folder.join(format!("{number:02}.jsonl{end}"));
        match number % 3 {
            0 => fs::write(path(""), content).unwrap(),
            1 => write_gzip(&path(".gz"), content),
            _ => write_zstandard(&path(".zst"), content),
        }
    }
}

fn files(pattern: PathBuf, follow: bool, max_bytes: usize) -> FileSource {
    let config = FileConfig {
        path: pattern.to_str().unwrap().to_owned(),
        follow,
        silent_after: None,
        not_below: Vec::new(),
        max_bytes,
        cells: CellKinds::new(),
        tables: None,
    };
    FileSource::new(config, Arc::new(ManualClock::default())).unwrap()
}

proptest::proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn does_reading_files_go_on(
        contents in vec(lines(), 1..6),
        runs in vec(run(), 0..5),
        max_bytes in 0_usize..15,
    ) {
        let folder = tempfile::tempdir().unwrap();
        write_files(folder.path(), &contents);
        race(&files(folder.path().join("*"), false, max_bytes), &runs);
    }

    #[test]
    fn does_reading_memory_go_on(
        contents in vec(lines(), 1..6),
        runs in vec(run(), 0..5),
        max_bytes in 0_usize..15,
        seed in any::<Option<u64>>(),
    ) {
        let partitions = (0..).map(PartitionId).zip(contents.iter().map(|c| Arc::from(c.as_slice())));
        let source = MemorySource::from_lines(partitions).unwrap().with_max_bytes(max_bytes);
        race(&source.with_schedule(seed.map_or(Schedule::InTurn, Schedule::Seeded)), &runs);
        let records = contents.iter().map(|c| c.split(|&b| b == b'a').map(<[u8]>::to_vec).collect());
        let source = MemorySource::from_records((0..).map(PartitionId).zip(records)).unwrap();
        race(&source, &runs);
    }

    #[test]
    fn does_reading_the_generator_go_on(
        events in 0_u64..60,
        partitions in 1_u32..6,
        (invalid, late) in (0.0_f64..0.5, 0.0_f64..0.5),
        seed in any::<u64>(),
        runs in vec(run(), 0..5),
    ) {
        let config = GeneratorConfig {
            events, partitions, invalid, late, seed, users: 20, ..GeneratorConfig::default()
        };
        let generator = Generator::new(config).unwrap();
        race(&GeneratorSource::new(generator, 150, Arc::new(ManualClock::default())), &runs);
    }

    #[test]
    fn does_following_a_file_go_on(
        content in lines(),
        pieces in vec(0_usize..9, 1..9),
        max_bytes in 0_usize..15,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        fs::write(&path, "").unwrap();
        let mut file = File::options().append(true).open(&path).unwrap();
        let (mut seen, mut starts, mut written) = (Seen::default(), Starts::beginning(), 0);
        for piece in pieces.iter().chain([&content.len()]) {
            let end = (written + piece).min(content.len());
            file.write_all(&content[written..end]).unwrap();
            written = end;
            let (position, mark) = follow(&files(path.clone(), true, max_bytes), &starts, &mut seen);
            let whole_lines = content[..end].iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1);
            assert_eq!(position, Offset(whole_lines as u64));
            // Inside a long line there is none.
            assert!(mark.is_none() || position != Offset(0));
            starts = [(PartitionId(0), Start::At(position))].into_iter().collect();
            starts = starts.with_marks(mark.map(|mark| (PartitionId(0), mark)));
        }
        let end = content.iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1);
        fs::write(&path, &content[..end]).unwrap();
        let mut whole = Seen::default();
        let reader = files(path, false, max_bytes).open(ALONE, &Starts::beginning(), Wake::nobody());
        read(reader.unwrap().as_mut(), &WHOLE, &mut whole, None);
        assert_eq!(seen.records, whole.records);
    }
}

const ALONE: Share = Share {
    worker: 0,
    workers: 1,
};

/// Reads a followed file to where it ends now; the position there, and its mark.
fn follow(source: &FileSource, starts: &Starts, seen: &mut Seen) -> (Offset, Option<Mark>) {
    let mut reader = source.open(ALONE, starts, Wake::nobody()).unwrap();
    let mut emit = |polled: Polled<'_>| {
        seen.take(polled);
        ControlFlow::Continue(())
    };
    while reader.poll(Demand::of_all(3), &mut emit).unwrap() == Readiness::More {}
    let id = PartitionId(0);
    (reader.position(id).unwrap(), reader.mark(id))
}

#[test]
fn is_the_position_inside_a_huge_line_its_beginning() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jsonl");
    let huge = "x".repeat(9_000_000);
    fs::write(&path, format!("a\n{huge}\nb\n")).unwrap();
    let source = files(path, false, 10);
    let mut reader = source
        .open(ALONE, &Starts::beginning(), Wake::nobody())
        .unwrap();
    let (mut polls_inside, mut records) = (0, 0);
    loop {
        let before = records;
        let readiness = reader.poll(Demand::of_all(1), &mut |_| {
            records += 1;
            ControlFlow::Continue(())
        });
        if readiness.unwrap() == Readiness::Finished {
            break;
        }
        let expected = [0, 2, 9_000_003, 9_000_005][records];
        assert_eq!(reader.position(PartitionId(0)), Some(Offset(expected)));
        polls_inside += usize::from(records == before);
    }
    assert!(polls_inside > 0, "the line came in one poll");
}

fn at(offset: u64) -> Starts {
    [(PartitionId(0), Start::At(Offset(offset)))]
        .into_iter()
        .collect()
}

#[test]
fn is_a_file_that_is_not_the_one_that_was_read_refused() {
    let folder = tempfile::tempdir().unwrap();
    let check = |name: &str, follow: bool, offset: u64, expected: &str| {
        let path = folder.path().join(name);
        let content = b"one\ntwo";
        match path.extension().unwrap().to_str().unwrap() {
            "gz" => write_gzip(&path, content),
            "zst" => write_zstandard(&path, content),
            _ => fs::write(&path, content).unwrap(),
        }
        let source = files(path, follow, 100);
        let opened = source.open(ALONE, &at(offset), Wake::nobody());
        let message = opened.map(drop).map_err(|error| error.to_string());
        if expected.is_empty() {
            assert_eq!(message, Ok(()), "{name} at {offset}");
        } else {
            let message = message.unwrap_err();
            let start = format!("cannot open {}: ", folder.path().join(name).display());
            assert!(message.starts_with(&start), "{message}");
            assert!(message.contains(expected), "{message}");
        }
    };
    let shorter =
        "it is shorter than what was read of it: it has 7 bytes, and was read to byte 8; ";
    let changed = "here no record begins there";
    for name in ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst"] {
        for (offset, expected) in [(0, ""), (4, ""), (7, ""), (8, shorter), (3, changed)] {
            check(name, false, offset, expected);
        }
    }
    for (offset, expected) in [(0, ""), (4, ""), (7, changed), (8, shorter), (3, changed)] {
        check("b.jsonl", true, offset, expected);
    }
}

/// Another file in its place in which a record begins there by chance; a copy is as good as the file itself.
#[test]
fn is_a_file_of_other_bytes_refused() {
    let folder = tempfile::tempdir().unwrap();
    let line = |number: usize| format!("line {number:06} of a log\n");
    let content: String = (0..100).map(line).collect();
    let write = |name: &str, content: &str| {
        let path = folder.path().join(name);
        match path.extension().unwrap().to_str().unwrap() {
            "gz" => write_gzip(&path, content.as_bytes()),
            _ => fs::write(&path, content).unwrap(),
        }
        path
    };
    for (name, follows) in [("a.jsonl", false), ("a.jsonl", true), ("a.jsonl.gz", false)] {
        let path = write(name, &content);
        let source = files(path.clone(), follows, 100);
        let mut reader = source.open(ALONE, &Starts::beginning(), Wake::nobody());
        let reader = reader.as_mut().unwrap();
        let mut emit = |_: Polled<'_>| ControlFlow::Continue(());
        reader.poll(Demand::of_all(60), &mut emit).unwrap();
        let (position, mark) = (reader.position(PartitionId(0)), reader.mark(PartitionId(0)));
        let starts = at(position.unwrap().0).with_marks(mark.map(|mark| (PartitionId(0), mark)));
        let known = [source.partitions()[0].clone()];
        let open = || {
            let config = FileConfig {
                path: path.to_str().unwrap().to_owned(),
                follow: follows,
                silent_after: None,
                not_below: Vec::new(),
                max_bytes: 100,
                cells: CellKinds::new(),
                tables: None,
            };
            let clock = Arc::new(ManualClock::default());
            let source = FileSource::resumed(config, &known, &starts, clock);
            let opened = source.and_then(|it| it.open(ALONE, &starts, Wake::nobody()));
            opened.map(drop).map_err(|error| error.to_string())
        };
        fs::remove_file(&path).unwrap();
        write(name, &format!("{content}{}", line(100)));
        assert_eq!(open(), Ok(()), "{name}");
        let other: String = (1_000..1_200).map(line).collect();
        write(name, &other);
        let message = open().unwrap_err();
        assert!(
            message.contains("and here other bytes stand before that; restore it"),
            "{message}"
        );
    }
}

#[test]
fn is_a_place_that_no_record_begins_at_refused() {
    let lines = (PartitionId(0), Arc::from(b"one\ntwo".as_slice()));
    let memory = MemorySource::from_lines([lines]).unwrap();
    let config = GeneratorConfig {
        events: 7,
        partitions: 1,
        ..GeneratorConfig::default()
    };
    let generator = Generator::new(config).unwrap();
    let generator = GeneratorSource::new(generator, 100, Arc::new(ManualClock::default()));
    let check = |source: &dyn Source, offset: u64, expected: &str| {
        let opened = source.open(ALONE, &at(offset), Wake::nobody());
        let message = opened.map_or_else(|error| error.to_string(), |_| String::new());
        let is_expected = message.contains(expected) && message.is_empty() == expected.is_empty();
        assert!(is_expected, "{offset}: {message}");
    };
    for offset in [0, 4, 7] {
        check(&memory, offset, "");
        check(&generator, offset, "");
    }
    check(&memory, 3, "no record begins at 3");
    check(&memory, 8, "no record begins at 8");
    check(
        &generator,
        8,
        "fewer than the 8 events that were read of it",
    );
}
