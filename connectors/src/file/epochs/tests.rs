//! Does each epoch end up in the files once, wherever an attempt stopped, and is whatever else was done to
//! them refused?
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use slackwater_dataflow::identity::CheckpointId;
use slackwater_dataflow::moment::Epoch;
use slackwater_dataflow::sink::{EpochChunk, Framing};

use super::*;

mod crashes;
mod damage;
mod earlier;
mod in_place;

const PREDICTIONS: &str = "predictions/shard-0.jsonl";

fn config(root: &Path) -> EpochFilesConfig {
    EpochFilesConfig {
        root: root.to_owned(),
        folders: StreamFolders {
            predictions: "predictions".to_owned(),
            validation_errors: "validation_errors".to_owned(),
            processing_errors: "processing_errors".to_owned(),
            late_events: "late_events".to_owned(),
        },
        shards: 2,
        job: "job".to_owned(),
    }
}

/// All files under `root` that are not empty, with their contents.
fn tree(root: &Path) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(root).unwrap().to_str().unwrap();
            let text = fs::read_to_string(&path).unwrap();
            // The lock holds a number that is another one each time.
            if !text.is_empty() && name != "committed/lock" {
                files.insert(name.to_owned(), text);
            }
        }
    }
    files
}

/// The outputs of an epoch of one shard: of each stream the texts of its chunks.
#[derive(Clone, Debug, PartialEq)]
struct Outputs {
    generation: u64,
    epoch: u64,
    shard: u16,
    before: Lengths,
    after: Lengths,
    chunks: Vec<Vec<(OutputStream, String)>>,
}

impl Outputs {
    /// Epoch `epoch` of shard 0 with its only chunk, after `before`.
    fn new(epoch: u64, before: Lengths, outputs: &[(OutputStream, &str)]) -> Self {
        let outputs = outputs.iter().map(|&(s, text)| (s, text.to_owned()));
        Outputs::of(epoch, before, vec![outputs.collect()])
    }

    fn of(epoch: u64, before: Lengths, chunks: Vec<Vec<(OutputStream, String)>>) -> Self {
        let mut after = before;
        for (stream, text) in chunks.iter().flatten() {
            after[stream.index()] += text.len() as u64;
        }
        Outputs {
            generation: 1,
            epoch,
            shard: 0,
            before,
            after,
            chunks,
        }
    }

    fn by(self, generation: u64) -> Self {
        Outputs { generation, ..self }
    }

    fn to(self, shard: u16) -> Self {
        Outputs { shard, ..self }
    }

    /// Its chunks; after so many, their source fails.
    fn publish_until(&self, sink: &mut EpochFiles, most: usize) -> Result<(), SinkError> {
        let chunk = |(number, outputs): (usize, &Vec<(OutputStream, String)>)| {
            if number >= most {
                let error = io::Error::other("told to fail");
                return Err(failed("read", Path::new("outbox"), error));
            }
            Ok(EpochChunk {
                chunk: number as u32,
                chunks: self.chunks.len() as u32,
                records_before: 0,
                outputs: outputs.iter().map(|it| self.chunk(it)).collect(),
            })
        };
        let mut chunks = self.chunks.iter().enumerate().map(chunk);
        sink.publish(ShardEpoch {
            generation: Generation(self.generation),
            epoch: Epoch(self.epoch),
            checkpoint: self.checkpoint(),
            shard: ShardId(self.shard),
            before: self.before,
            after: self.after,
            chunk_count: self.chunks.len() as u32,
            outputs: ShardOutputs::Chunks(&mut chunks),
        })
    }

    fn chunk(&self, (stream, text): &(OutputStream, String)) -> OutputChunk {
        OutputChunk {
            stream: *stream,
            shard: ShardId(self.shard),
            records: text.lines().count() as u32,
            framing: Framing::Lines,
            bytes: text.clone().into(),
        }
    }

    fn publish(&self, sink: &mut EpochFiles) -> Result<(), SinkError> {
        self.publish_until(sink, usize::MAX)
    }

    fn checkpoint(&self) -> CheckpointId {
        CheckpointId(0xabc0 + self.epoch)
    }

    fn marker(&self) -> Option<Marker> {
        Some(Marker {
            generation: Generation(self.generation),
            epoch: Epoch(self.epoch),
            checkpoint: self.checkpoint(),
            chunk: self.chunks.len() as u32,
            chunks: self.chunks.len() as u32,
        })
    }
}

/// Opens the folder and takes it over; the sink and the markers.
fn taken(root: &Path, generation: u64) -> (EpochFiles, Vec<Option<Marker>>) {
    let mut sink = EpochFiles::open(&config(root)).unwrap();
    let markers = sink.take_over(Generation(generation)).unwrap();
    (sink, markers)
}

/// Two epochs of shard 0.
fn two_epochs() -> [Outputs; 2] {
    use OutputStream::{LateEvents, Predictions, ValidationErrors};
    let first = Outputs::new(
        1,
        [0; 4],
        &[(Predictions, "p1\np2\n"), (LateEvents, "late\n")],
    );
    let chunks = vec![
        vec![(Predictions, "p3\n".to_owned())],
        vec![
            (ValidationErrors, "v1\n".to_owned()),
            (Predictions, "p4\np5\n".to_owned()),
        ],
    ];
    let second = Outputs::of(3, first.after, chunks);
    [first, second]
}

fn check_error<T>(result: Result<T, SinkError>, expected: &[&str]) {
    let message = result.map(drop).unwrap_err().to_string();
    for part in expected {
        assert!(message.contains(part), "{message:?} lacks {part:?}");
    }
}

#[test]
fn do_files_hold_what_was_published() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("deep/out");
    let (mut sink, markers) = taken(&root, 1);
    assert_eq!(markers, [None, None]);
    let parts = |number: &str| format!("/shard-{number}.jsonl");
    for folder in ["predictions", "validation_errors", "processing_errors"] {
        for number in ["0", "1"] {
            let path = root.join(format!("{folder}{}", parts(number)));
            assert_eq!(fs::read_to_string(path).unwrap(), "", "parts exist at once");
        }
    }
    let [first, second] = two_epochs();
    first.publish(&mut sink).unwrap();
    let found = tree(&root);
    let marker = "{\"job\":\"job\",\"generation\":1,\"epoch\":1,\"checkpoint\":\"000000000000abc1\",\
                  \"chunks\":1,\"lengths\":[6,0,0,5]}\n";
    let mut expected: BTreeMap<String, String> = [
        (PREDICTIONS, "p1\np2\n"),
        ("late_events/shard-0.jsonl", "late\n"),
        ("committed/shard-0.json", marker),
    ]
    .map(|(name, text)| (name.to_owned(), text.to_owned()))
    .into();
    for stream in OutputStream::ALL {
        for (shard, length) in [first.after[stream.index()], 0].iter().enumerate() {
            let name = format!("{}/shard-{shard}.jsonl.committed", stream.name());
            expected.insert(name, format!("{length}\n"));
        }
    }
    assert_eq!(found, expected);

    second.publish(&mut sink).unwrap();
    let found = tree(&root);
    assert_eq!(found[PREDICTIONS], "p1\np2\np3\np4\np5\n");
    assert_eq!(found["validation_errors/shard-0.jsonl"], "v1\n");
    assert_eq!(found["predictions/shard-0.jsonl.committed"], "15\n");
    assert_eq!(found["validation_errors/shard-0.jsonl.committed"], "3\n");
    let other = Outputs::new(3, [0; 4], &[(OutputStream::Predictions, "q\n")]).to(1);
    other.publish(&mut sink).unwrap();
    assert_eq!(tree(&root)["predictions/shard-1.jsonl"], "q\n");

    drop(sink);
    let before = tree(&root);
    let (_sink, markers) = taken(&root, 2);
    assert_eq!(markers, [second.marker(), other.marker()]);
    assert_eq!(tree(&root), before, "nothing to put right");
}

#[test]
fn has_a_folder_one_writer() {
    let folder = tempfile::tempdir().unwrap();
    let (sink, _) = taken(folder.path(), 1);
    let root = folder.path().to_str().unwrap();
    let expected = [
        "cannot write to ",
        root,
        &format!(
            ": another process (pid {}) writes its outputs there",
            std::process::id()
        ),
    ];
    check_error(EpochFiles::open(&config(folder.path())), &expected);
    drop(sink);
    EpochFiles::open(&config(folder.path())).unwrap();
}

#[test]
fn is_only_the_newest_generation_let_in() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = two_epochs();
    let mut sink = EpochFiles::open(&config(folder.path())).unwrap();
    check_error(
        first.publish(&mut sink),
        &["generation 1 has not taken over"],
    );
    sink.take_over(Generation(4)).unwrap();
    check_error(
        first.publish(&mut sink),
        &["generation 1 has not taken over"],
    );
    let newer = ["a newer run has taken over: it is generation 4, and this one is 3"];
    check_error(sink.take_over(Generation(3)), &newer);
    sink.take_over(Generation(4)).unwrap();
    first.by(4).publish(&mut sink).unwrap();
    drop(sink);
    let before = tree(folder.path());
    let mut sink = EpochFiles::open(&config(folder.path())).unwrap();
    check_error(sink.take_over(Generation(3)), &newer);
    check_error(
        second.clone().by(3).publish(&mut sink),
        &["has not taken over"],
    );
    assert_eq!(tree(folder.path()), before);
    sink.take_over(Generation(5)).unwrap();
    second.by(5).publish(&mut sink).unwrap();
}

#[test]
fn are_parts_that_an_epoch_does_not_change_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (mut sink, _) = taken(folder.path(), 1);
    let [first, second] = two_epochs();
    first.publish(&mut sink).unwrap();
    let part = folder.path().join("late_events/shard-0.jsonl");
    let committed = folder.path().join("late_events/shard-0.jsonl.committed");
    let past = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
    for path in [&part, &committed] {
        let file = File::options().write(true).open(path).unwrap();
        file.set_modified(past).unwrap();
    }
    second.publish(&mut sink).unwrap();
    for path in [&part, &committed] {
        assert_eq!(fs::metadata(path).unwrap().modified().unwrap(), past);
    }
    // But they are looked at.
    fs::write(&part, "lat").unwrap();
    let third = Outputs::new(4, second.after, &[(OutputStream::Predictions, "p\n")]);
    let expected = [
        "late_events/shard-0.jsonl",
        "it has 3 bytes, but 5 belong there",
    ];
    check_error(third.publish(&mut sink), &expected);
}

#[test]
fn are_unusable_settings_refused() {
    let folder = tempfile::tempdir().unwrap();
    let check = |change: &dyn Fn(&mut EpochFilesConfig), expected: &str| {
        let mut config = config(&folder.path().join("out"));
        change(&mut config);
        check_error(EpochFiles::open(&config), &[expected]);
        check_error(EpochFiles::existing(&config), &[expected]);
        check_error(EpochFiles::set_aside(&config), &[expected]);
        assert!(!folder.path().join("out").exists());
    };
    check(&|config| config.shards = 0, "0 shards, expected 1 to 128");
    check(
        &|config| config.folders.predictions = "late_events".to_owned(),
        "two streams have the folder `late_events`",
    );
    for name in ["committed", "before-7"] {
        check(
            &|config| config.folders.late_events = name.to_owned(),
            "the sink has it itself",
        );
    }
    fs::write(folder.path().join("file"), "").unwrap();
    let under_file = config(&folder.path().join("file/out"));
    check_error(EpochFiles::open(&under_file), &["file/out/committed: "]);
}
