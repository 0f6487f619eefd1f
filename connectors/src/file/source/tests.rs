//! Are the right files read, in turn, and wrong paths named before anything is read?
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::fs;
use std::io::Write;
use std::ops::ControlFlow;

use slackwater_dataflow::clock::ManualClock;
use slackwater_dataflow::source::Payload;

use super::*;

mod tables;

fn config(path: &Path) -> FileConfig {
    FileConfig {
        path: path.to_str().unwrap().to_owned(),
        follow: false,
        silent_after: None,
        not_below: Vec::new(),
        max_bytes: 1024,
        cells: CellKinds::new(),
        tables: None,
    }
}

const ALONE: Share = Share {
    worker: 0,
    workers: 1,
};

fn open(config: FileConfig) -> Result<FileSource, SourceError> {
    FileSource::new(config, Arc::new(ManualClock::default()))
}

/// What one poll brings, as the text `partition:offset=record ... partition.`.
fn poll(
    reader: &mut dyn SourceReader,
    demand: Demand<'_>,
) -> (String, Result<Readiness, SourceError>) {
    let mut seen = Vec::new();
    let readiness = reader.poll(demand, &mut |polled| {
        match polled {
            Polled::Record {
                partition,
                offset,
                payload: Payload::Whole(record),
                ..
            } => {
                let record = String::from_utf8_lossy(record);
                seen.push(format!("{partition}:{offset}={record}"));
            }
            Polled::Finished(partition) => seen.push(format!("{partition}.")),
            Polled::Silent(partition) => seen.push(format!("{partition}~")),
            other => panic!("{other:?}"),
        }
        ControlFlow::Continue(())
    });
    (seen.join(" "), readiness)
}

/// Reads a share to its end, poll by poll.
fn polls(source: &FileSource, share: Share, limit: usize) -> Vec<String> {
    let mut reader = source
        .open(share, &Starts::beginning(), Wake::nobody())
        .unwrap();
    let mut polls = Vec::new();
    loop {
        let (seen, readiness) = poll(reader.as_mut(), Demand::of_all(limit));
        polls.push(seen);
        if readiness.unwrap() == Readiness::Finished {
            return polls;
        }
    }
}

#[test]
fn are_files_read_in_turn_and_ended_once() {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("b.jsonl", "b1\nb2\nb3"),
        ("a.jsonl", "a1\r\n\na3\n"),
        ("c.jsonl", ""),
        ("d.txt", "no"),
    ] {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let source = open(config(&folder.path().join("*.jsonl"))).unwrap();
    let topics: Vec<_> = source.partitions().iter().map(|p| &*p.topic).collect();
    let expected: Vec<_> = ["a.jsonl", "b.jsonl", "c.jsonl"]
        .map(|name| folder.path().join(name).to_str().unwrap().to_owned())
        .into();
    assert_eq!(topics, expected);

    let check = |worker, workers, limit, expected: &[&str]| {
        let share = Share { worker, workers };
        assert_eq!(polls(&source, share, limit), expected, "{share:?}");
    };
    let all = ["0:0=a1 0:4= 0:5=a3 0.", "1:0=b1 1:3=b2 1:6=b3 1.", "2."];
    check(0, 1, 10, &all);
    check(
        0,
        1,
        2,
        &[
            "0:0=a1 0:4=",
            "1:0=b1 1:3=b2",
            "2.",
            "0:5=a3 0.",
            "1:6=b3 1.",
        ],
    );
    check(0, 2, 10, &[all[0], all[2]]);
    check(1, 2, 10, &[all[1]]);
    check(3, 4, 10, &[""]);
}

#[test]
fn is_a_wrong_path_named_before_anything_is_read() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("sub.jsonl")).unwrap();
    let check = |name: &str, expected: &str| {
        let error = open(config(&folder.path().join(name))).unwrap_err();
        let message = error.to_string();
        assert!(message.contains(expected), "{name}: {message}");
        assert!(message.contains(folder.path().to_str().unwrap()), "{name}");
    };
    check("none.jsonl", "No such file");
    check("none*.jsonl", "no file matches");
    check("*.jsonl", "it is a folder");
    check("sub.jsonl", "it is a folder");
    check("a[", "cannot read the pattern");
    std::os::unix::fs::symlink("/dev/null", folder.path().join("device")).unwrap();
    check("device", "it is a pipe or a device");
}

#[test]
fn is_a_name_with_pattern_characters_found_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("day[1].jsonl");
    fs::write(&path, "x").unwrap();
    let source = open(config(&path)).unwrap();
    let share = Share {
        worker: 0,
        workers: 1,
    };
    assert_eq!(polls(&source, share, 5), ["0:0=x 0."]);
}

fn append(path: &Path, text: &str) {
    let mut file = File::options().append(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

#[test]
fn is_a_followed_file_looked_at_again_and_again() {
    let folder = tempfile::tempdir().unwrap();
    let [a, b] = ["a.jsonl", "b.jsonl"].map(|name| folder.path().join(name));
    fs::write(&a, "a1\na").unwrap();
    fs::write(&b, "").unwrap();
    let clock = Arc::new(ManualClock::default());
    let follow = FileConfig {
        follow: true,
        ..config(&folder.path().join("*.jsonl"))
    };
    let source = FileSource::new(follow, Arc::<ManualClock>::clone(&clock)).unwrap();
    let share = Share {
        worker: 0,
        workers: 1,
    };
    let mut reader = source
        .open(share, &Starts::beginning(), Wake::nobody())
        .unwrap();
    let mut check = |expected: &str, readiness: Readiness| {
        let (seen, told) = poll(reader.as_mut(), Demand::of_all(9));
        assert_eq!((seen.as_str(), told.unwrap()), (expected, readiness));
    };
    let again = |ms| Readiness::LookAgain(Duration::from_millis(ms));
    check("0:0=a1", Readiness::More);
    check("", Readiness::More);
    // Both stand at their ends, and it is too soon to look again.
    append(&b, "b1\n");
    check("", again(1));
    clock.set(1);
    check("", Readiness::More);
    check("1:0=b1", Readiness::More);
    // The first file had nothing twice.
    check("", again(1));
    append(&a, "2\r\n\n");
    clock.set(2);
    check("", Readiness::More);
    check("", again(1));
    clock.set(3);
    check("0:3=a2 0:7=", Readiness::More);
    check("", again(1));
    clock.set(4);
    check("", Readiness::More);
    check("", Readiness::More);
    check("", again(2));
    // Nobody looks at what must not be read.
    clock.set(9);
    append(&a, "a3\n");
    append(&b, "b2\n");
    let only = |id| id == PartitionId(1);
    let demand = Demand::new(9, &only);
    let (seen, told) = poll(reader.as_mut(), demand);
    assert_eq!((seen.as_str(), told.unwrap()), ("1:3=b2", Readiness::More));
    let (_, told) = poll(reader.as_mut(), demand);
    assert_eq!(told.unwrap(), again(1));
    let (_, told) = poll(reader.as_mut(), Demand::new(9, &|_| false));
    assert_eq!(told.unwrap(), Readiness::Waiting);
    // A file that was cut is an error that names it.
    fs::write(&b, "").unwrap();
    clock.set(20);
    let error = loop {
        match poll(reader.as_mut(), Demand::of_all(9)).1 {
            Ok(Readiness::More) => {}
            other => break other.unwrap_err().to_string(),
        }
    };
    let expected = "b.jsonl: it was cut at byte 0, after it had been read to byte 6; ";
    assert!(error.contains(expected), "{error}");
}

#[test]
fn do_known_files_keep_their_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    for name in ["a.jsonl", "b.jsonl", "c.jsonl", "d.jsonl"] {
        fs::write(path(name), name).unwrap();
    }
    let check =
        |pattern: &str, known: &[(u32, &str)], ended: &[u32], expected: Result<&str, &str>| {
            let known: Vec<_> = known
                .iter()
                .map(|&(id, name)| Partition::new(PartitionId(id), Arc::from(path(name))))
                .collect();
            let starts: Starts = ended
                .iter()
                .map(|&id| (PartitionId(id), Start::Ended))
                .collect();
            let config = config(Path::new(&path(pattern)));
            let source =
                FileSource::resumed(config, &known, &starts, Arc::new(ManualClock::default()));
            let found = source.map_err(|error| error.to_string()).map(|source| {
                let partitions = source.partitions().iter().zip(source.paths());
                let found = partitions.map(|(partition, path)| {
                    assert_eq!(*partition.topic, *path.to_str().unwrap());
                    let name = path.file_name().unwrap().to_str().unwrap();
                    format!("{}={}", partition.id, &name[..1])
                });
                let found: Vec<_> = found.collect();
                // What was numbered can be read, but for what had ended.
                let mut reader = source.open(ALONE, &starts, Wake::nobody()).unwrap();
                while poll(reader.as_mut(), Demand::of_all(9)).1.unwrap() != Readiness::Finished {}
                found.join(" ")
            });
            match expected {
                Ok(expected) => assert_eq!(found.unwrap(), expected),
                Err(expected) => {
                    let found = found.unwrap_err();
                    assert!(found.contains(expected), "{found}");
                }
            }
        };
    check("*.jsonl", &[], &[], Ok("0=a 1=b 2=c 3=d"));
    let some = [(0, "b.jsonl"), (4, "d.jsonl")];
    check("*.jsonl", &some, &[], Ok("0=b 4=d 5=a 6=c"));
    check("*.jsonl", &some, &[0], Ok("0=b 4=d 5=a 6=c"));
    let gone = [(0, "x.jsonl"), (1, "a.jsonl")];
    check("*.jsonl", &gone, &[0], Ok("0=x 1=a 2=b 3=c 4=d"));
    check("[x].jsonl", &gone, &[0, 1], Ok("0=x 1=a"));
    check(
        "*.jsonl",
        &gone,
        &[1],
        Err("x.jsonl: it was not read to its end"),
    );
    check(
        "a.jsonl",
        &some,
        &[4],
        Err("b.jsonl: it was not read to its end"),
    );
    check("[x].jsonl", &[], &[], Err("no file matches"));
    check("x.jsonl", &gone, &[1], Err("x.jsonl: No such file"));
}

#[test]
fn is_a_compressed_file_never_followed() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.jsonl", "b.jsonl.gz"] {
        fs::write(folder.path().join(name), "").unwrap();
    }
    let follow = FileConfig {
        follow: true,
        ..config(&folder.path().join("*"))
    };
    let error = open(follow).unwrap_err().to_string();
    assert!(error.starts_with("cannot follow "), "{error}");
    assert!(error.contains("b.jsonl.gz: it is compressed"), "{error}");
}

/// A source that follows `*.jsonl` of a folder, its clock, and a reader of all of it.
fn followed(
    folder: &Path,
    silent_after_ms: Option<u64>,
) -> (FileSource, Arc<ManualClock>, Box<dyn SourceReader>) {
    let clock = Arc::new(ManualClock::default());
    let follow = FileConfig {
        follow: true,
        silent_after: silent_after_ms.map(Duration::from_millis),
        not_below: vec![folder.join("out")],
        ..config(&folder.join("**/*.jsonl"))
    };
    let source = FileSource::new(follow, Arc::<ManualClock>::clone(&clock)).unwrap();
    let reader = source.open(ALONE, &Starts::beginning(), Wake::nobody());
    (source, clock, reader.unwrap())
}

/// Polls until nothing can be read now.
fn all_now(reader: &mut dyn SourceReader) -> String {
    let mut seen = Vec::new();
    loop {
        let (brought, told) = poll(reader, Demand::of_all(9));
        seen.extend((!brought.is_empty()).then_some(brought));
        if told.unwrap() != Readiness::More {
            return seen.join(" ");
        }
    }
}

#[test]
fn is_a_file_silent_when_a_look_after_the_time_finds_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let [a, b] = ["a.jsonl", "b.jsonl"].map(|name| folder.path().join(name));
    fs::write(&a, "a1\n").unwrap();
    fs::write(&b, "b1\nunfini").unwrap();
    let (source, clock, mut reader) = followed(folder.path(), Some(100));
    assert!(source.may_change());
    let mut check = |at_ms: i64, expected: &str| {
        clock.set(at_ms);
        assert_eq!(all_now(reader.as_mut()), expected, "at {at_ms}");
    };
    check(0, "0:0=a1 1:0=b1");
    check(60, "");
    check(99, "");
    // What comes when the time is over, but before the look, has not been silence.
    append(&a, "a2\n");
    check(149, "0:3=a2 1~");
    // It says so again at each look, and is quiet as long as nothing of a line comes.
    check(200, "1~");
    append(&b, "sh");
    check(248, "");
    check(300, "0~");
    check(350, "0~ 1~");
    append(&b, "ed\n");
    check(400, "0~ 1:3=unfinished");
    check(499, "0~");
    check(600, "0~ 1~");
    // Nobody who must not be read is silent.
    clock.set(700);
    let only = |id| id == PartitionId(1);
    let (seen, _) = poll(reader.as_mut(), Demand::new(9, &only));
    assert_eq!(seen, "1~");
}

#[test]
fn are_files_that_come_later_found_once_and_numbered_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir(path("out")).unwrap();
    fs::write(path("b.jsonl"), "b1\n").unwrap();
    let (source, clock, mut reader) = followed(folder.path(), None);
    assert_eq!(source.look_every(), Some(LOOK_EVERY));
    assert_eq!(source.look().unwrap(), []);
    assert_eq!(all_now(reader.as_mut()), "0:0=b1");
    fs::write(path("c.jsonl"), "c1\n").unwrap();
    fs::write(path("a.jsonl"), "").unwrap();
    let found = source.look().unwrap();
    let names: Vec<_> = found.iter().map(|it| (it.id.0, &*it.topic)).collect();
    let [a, c] = ["a.jsonl", "c.jsonl"].map(|name| path(name).to_str().unwrap().to_owned());
    assert_eq!(names, [(1, a.as_str()), (2, c.as_str())]);
    assert_eq!(source.look().unwrap(), []);
    let named = source.topics().name(PartitionId(2)).unwrap();
    assert_eq!((&*named.topic, named.number), (&*c, 2));
    for partition in &found {
        reader.begin(partition).unwrap();
        assert_eq!(reader.position(partition.id), Some(Offset(0)));
    }
    clock.set(100);
    assert_eq!(all_now(reader.as_mut()), "2:0=c1");
    // What the job writes is not read, and what cannot be followed is not passed over.
    let check = |name: &str, expected: &str| {
        fs::write(path(name), "").unwrap();
        let error = source.look().unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("cannot follow {}", path(name).display())),
            "{error}"
        );
        assert!(error.contains(expected), "{error}");
        fs::remove_file(path(name)).unwrap();
    };
    check("out/x.jsonl", "where the job writes its outputs");
    assert_eq!(source.look().unwrap(), []);
    // One file that is followed is one partition for ever.
    let follow = FileConfig {
        follow: true,
        ..config(&path("a.jsonl"))
    };
    let source = open(follow).unwrap();
    assert!(!source.may_change());
}

#[test]
fn is_a_followed_folder_waited_for_while_it_is_empty() {
    let folder = tempfile::tempdir().unwrap();
    let (source, _, mut reader) = followed(folder.path(), None);
    assert_eq!(source.partitions(), []);
    let (_, told) = poll(reader.as_mut(), Demand::of_all(9));
    assert_eq!(told.unwrap(), Readiness::Waiting);
    fs::write(folder.path().join("a.jsonl"), "a1\n").unwrap();
    let found = source.look().unwrap();
    reader.begin(&found[0]).unwrap();
    assert_eq!(all_now(reader.as_mut()), "0:0=a1");
}
