//! Are outputs where they should be, and old ones kept or replaced as asked?
#![expect(clippy::unwrap_used, reason = "tests")]

use slackwater_dataflow::sink::Framing;

use std::collections::BTreeMap;

use slackwater_dataflow::place::ShardId;

use super::*;

fn config(root: &Path, shards: u16, existing: Existing) -> FileSinkConfig {
    FileSinkConfig {
        root: root.to_owned(),
        folders: StreamFolders {
            predictions: "predictions".to_owned(),
            validation_errors: "validation_errors".to_owned(),
            processing_errors: "processing_errors".to_owned(),
            late_events: "late_dlq".to_owned(),
        },
        shards,
        existing,
    }
}

/// All files under `root` with their contents.
fn tree(root: &Path) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for folder in fs::read_dir(root).unwrap() {
        for file in fs::read_dir(folder.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            let name = path.strip_prefix(root).unwrap().to_str().unwrap();
            files.insert(name.to_owned(), fs::read_to_string(&path).unwrap());
        }
    }
    files
}

fn chunk(stream: OutputStream, shard: u16, text: &str) -> OutputChunk {
    OutputChunk {
        stream,
        shard: ShardId(shard),
        records: text.lines().count() as u32,
        framing: Framing::Lines,
        bytes: text.into(),
    }
}

#[test]
fn do_chunks_arrive_in_order_in_the_file_of_their_stream_and_shard() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("deep").join("out");
    let mut sink = FileSink::open(&config(&root, 2, Existing::Refuse)).unwrap();
    assert_eq!(tree(&root).len(), 8, "all files exist from the start");
    for (stream, shard, text) in [
        (OutputStream::Predictions, 1, "a\nb\n"),
        (OutputStream::LateEvents, 0, "late\n"),
        (OutputStream::Predictions, 1, "c\n"),
    ] {
        sink.append(&chunk(stream, shard, text)).unwrap();
    }
    sink.finish().unwrap();
    let written = tree(&root);
    let full: Vec<_> = written
        .iter()
        .filter(|(_, text)| !text.is_empty())
        .collect();
    assert_eq!(
        format!("{full:?}"),
        r#"[("late_dlq/shard-0.jsonl", "late\n"), ("predictions/shard-1.jsonl", "a\nb\nc\n")]"#
    );
    assert_eq!(sink.folder(OutputStream::LateEvents), root.join("late_dlq"));
    assert_eq!(
        sink.paths(OutputStream::LateEvents).last().unwrap(),
        root.join("late_dlq").join("shard-1.jsonl")
    );
    let error = sink.append(&chunk(OutputStream::Predictions, 2, "x\n"));
    assert!(error.unwrap_err().to_string().contains("no shard 2"));
}

#[test]
fn are_old_outputs_kept_or_replaced_as_asked() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let mut sink = FileSink::open(&config(root, 3, Existing::Refuse)).unwrap();
    sink.append(&chunk(OutputStream::Predictions, 2, "old\n"))
        .unwrap();
    fs::write(root.join("predictions").join("shard-x.jsonl"), "mine").unwrap();
    let before = tree(root);

    let refused = FileSink::open(&config(root, 2, Existing::Refuse)).unwrap_err();
    assert!(
        matches!(&refused, OpenError::Exists { path } if path.ends_with("predictions/shard-0.jsonl")),
        "{refused}"
    );
    assert_eq!(tree(root), before);

    FileSink::open(&config(root, 2, Existing::Replace)).unwrap();
    let after = tree(root);
    assert_eq!(after.len(), 9, "{after:?}");
    assert_eq!(after["predictions/shard-x.jsonl"], "mine");
    assert!(!after.contains_key("predictions/shard-2.jsonl"));
}

#[test]
fn does_a_failure_half_way_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("deep").join("out");
    // The last folder's place is taken by a file that no check can see: it is a broken link.
    let check = |existing: Existing, before: &BTreeMap<String, String>| {
        let taken = root.join("late_dlq");
        std::os::unix::fs::symlink("nowhere/at/all", &taken).unwrap();
        FileSink::open(&config(&root, 3, existing)).unwrap_err();
        fs::remove_file(taken).unwrap();
        assert_eq!(&tree(&root), before);
    };
    fs::create_dir_all(&root).unwrap();
    check(Existing::Refuse, &BTreeMap::new());
    assert_eq!(fs::read_dir(&root).unwrap().count(), 0, "no folder is left");

    let mut sink = FileSink::open(&config(&root, 4, Existing::Refuse)).unwrap();
    sink.append(&chunk(OutputStream::Predictions, 0, "old\n"))
        .unwrap();
    fs::remove_dir_all(root.join("late_dlq")).unwrap();
    let before = tree(&root);
    check(Existing::Replace, &before);

    // A folder in the place of a file.
    fs::create_dir_all(root.join("late_dlq/shard-2.jsonl")).unwrap();
    let error = FileSink::open(&config(&root, 3, Existing::Replace)).unwrap_err();
    assert!(error.to_string().ends_with("it is a folder"), "{error}");
    fs::remove_dir_all(root.join("late_dlq")).unwrap();
    assert_eq!(tree(&root), before);
}

#[test]
fn is_a_link_replaced_and_not_written_through() {
    let folder = tempfile::tempdir().unwrap();
    let precious = folder.path().join("precious.jsonl");
    fs::write(&precious, "mine\n").unwrap();
    let root = folder.path().join("out");
    fs::create_dir_all(root.join("predictions")).unwrap();
    let soft = root.join("predictions/shard-0.jsonl");
    std::os::unix::fs::symlink(&precious, soft).unwrap();
    fs::hard_link(&precious, root.join("predictions/shard-1.jsonl")).unwrap();
    let mut sink = FileSink::open(&config(&root, 2, Existing::Replace)).unwrap();
    for shard in [0, 1] {
        sink.append(&chunk(OutputStream::Predictions, shard, "new\n"))
            .unwrap();
    }
    assert_eq!(fs::read_to_string(precious).unwrap(), "mine\n");
    assert_eq!(tree(&root)["predictions/shard-1.jsonl"], "new\n");
}

#[test]
fn does_an_examination_write_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("out");
    let config = config(&root, 2, Existing::Refuse);
    assert_eq!(FileSink::examine(&config).unwrap(), None);
    assert!(!root.exists());
    FileSink::open(&config).unwrap();
    let found = FileSink::examine(&config).unwrap();
    assert_eq!(found, Some(root.join("predictions/shard-0.jsonl")));
    fs::remove_dir_all(&root).unwrap();
    fs::write(&root, "").unwrap();
    let message = FileSink::examine(&config).unwrap_err().to_string();
    assert!(message.ends_with("it is not a folder"), "{message}");
}

#[test]
fn is_an_unusable_place_named_before_anything_runs() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let good = config(&folder.path().join("out"), 2, Existing::Replace);
    let check = |change: &dyn Fn(&mut FileSinkConfig), expected: &str| {
        let mut config = good.clone();
        change(&mut config);
        let message = FileSink::open(&config).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
        assert!(!folder.path().join("out").exists());
    };
    check(&|config| config.root = file.clone(), "it is not a folder");
    check(&|config| config.shards = 0, "expected 1 to 128");
    check(&|config| config.shards = 129, "expected 1 to 128");
    check(
        &|config| config.folders.late_events = "predictions".to_owned(),
        "two streams have the folder `predictions`",
    );
    check(
        &|config| config.folders.late_events = "../up".to_owned(),
        "`../up` is not the name of a folder",
    );
}

#[test]
fn does_a_full_disk_name_the_file() {
    let full = Path::new("/dev/full");
    if !full.exists() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut sink = FileSink::open(&config(folder.path(), 1, Existing::Refuse)).unwrap();
    // The file is swapped for a device that is always full, the path stays.
    sink.streams[0].shards[0].1 = File::options().write(true).open(full).unwrap();
    let error = sink.append(&chunk(OutputStream::Predictions, 0, "x\n"));
    let message = error.unwrap_err().to_string();
    assert!(
        message.contains("shard-0.jsonl") && message.contains("No space left"),
        "{message}"
    );
}
