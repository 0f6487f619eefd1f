//! Are the right files read, in turn, and wrong paths named before anything is read?
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::ops::ControlFlow;

use slackwater_dataflow::source::Payload;

use super::*;

fn config(path: &Path) -> FileConfig {
    FileConfig {
        path: path.to_str().unwrap().to_owned(),
        max_bytes: 1024,
    }
}

/// Reads a share to its end: each poll as the text `partition:offset=record ... partition.`.
fn polls(source: &FileSource, share: Share, limit: usize) -> Vec<String> {
    let mut reader = source.open(share, Wake::nobody()).unwrap();
    let mut polls = Vec::new();
    loop {
        let mut seen = Vec::new();
        let readiness = reader.poll(Demand::of_all(limit), &mut |polled| {
            match polled {
                Polled::Record {
                    partition,
                    offset,
                    payload: Payload::Whole(record),
                } => {
                    let record = String::from_utf8_lossy(record);
                    seen.push(format!("{partition}:{offset}={record}"));
                }
                Polled::Finished(partition) => seen.push(format!("{partition}.")),
                other => panic!("{other:?}"),
            }
            ControlFlow::Continue(())
        });
        polls.push(seen.join(" "));
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
    let source = FileSource::new(config(&folder.path().join("*.jsonl"))).unwrap();
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
        let error = FileSource::new(config(&folder.path().join(name))).unwrap_err();
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
    let source = FileSource::new(config(&path)).unwrap();
    let share = Share {
        worker: 0,
        workers: 1,
    };
    assert_eq!(polls(&source, share, 5), ["0:0=x 0."]);
}
