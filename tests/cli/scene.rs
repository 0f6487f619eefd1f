//! A folder for one test, a pipeline in it, and the binary run there.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// The pipeline that all others of these tests are changes of.
const REFERENCE: &str = include_str!("../../pipelines/user-events.toml");

/// The streams, as the reference pipeline names their folders.
pub const STREAMS: [&str; 4] = [
    "ml_predictions",
    "validation_errors",
    "processing_errors",
    "late_events_dlq",
];

/// What the reference pipeline's source becomes: one file.
pub const FROM_FILE: &str = "[source]\nkind = \"file\"\npath = \"in.jsonl\"\n\n";

/// What the reference pipeline's sink becomes when its records go to the standard output.
pub const TO_STDOUT: (&str, &str) = (
    "kind = \"file\"\npath = \"out\"\nshards = 2\n",
    "kind = \"stdout\"\n",
);

/// The first of January 2026, 00:00, where the events of these tests begin.
pub const START: i64 = 1_767_225_600_000;

/// A line with a good event, so many milliseconds after the start.
pub fn event(user: &str, at: i64) -> String {
    let time = START + at;
    format!(
        r#"{{"user_id":"{user}","product_id":"p","category":"c","event_type":"view","timestamp_ms":{time}}}{}"#,
        '\n'
    )
}

/// One record of an output file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Record {
    /// The stream's folder.
    pub stream: &'static str,
    /// The line, without its line feed.
    pub line: String,
}

/// What a run of the binary left behind.
#[derive(Debug)]
pub struct Ran {
    /// Its exit code; nothing if a signal ended it.
    pub code: Option<i32>,
    /// All of stdout.
    pub stdout: String,
    /// All of stderr.
    pub stderr: String,
}

impl Ran {
    /// The object that stdout must consist of, on one line.
    pub fn object(&self) -> Value {
        assert_eq!(self.stdout.lines().count(), 1, "{self:?}");
        serde_json::from_str(&self.stdout).unwrap()
    }

    /// This run, which must have ended with `code`.
    pub fn ended(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        self
    }
}

/// A folder that goes with the test.
pub struct Scene {
    folder: TempDir,
}

impl Scene {
    /// An empty folder.
    pub fn new() -> Self {
        Scene {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// A folder with `in.jsonl` and the pipeline `job.toml` that reads it.
    pub fn with(changes: &[(&str, &str)], input: &[u8]) -> Self {
        let scene = Scene::new();
        scene.write("job.toml", pipeline(changes).as_bytes());
        scene.write("in.jsonl", input);
        scene
    }

    /// The path of a file in the folder.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file, and the folders above it.
    pub fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// The binary, to be started in the folder.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_slackwater"));
        command.args(arguments);
        self.place(&mut command);
        command
    }

    /// Puts any command into the folder, with nothing to read.
    pub fn place(&self, command: &mut Command) {
        command
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
    }

    /// Runs the binary in the folder.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        finish(&mut self.command(arguments))
    }

    /// Runs `job.toml`, which must end well, and gives the summary object.
    pub fn summary(&self) -> Value {
        let ran = self.run(&["run", "job.toml", "--json", "--overwrite"]);
        ran.ended(0).object()
    }

    /// All records of the four streams below `out`, stream by stream.
    pub fn records(&self) -> Vec<Record> {
        self.records_below("out")
    }

    /// All records of the four streams below a folder, stream by stream.
    pub fn records_below(&self, root: &str) -> Vec<Record> {
        let mut records = Vec::new();
        let streams = STREAMS.into_iter().chain(["features"]);
        for stream in streams.filter(|stream| self.path(root).join(stream).exists()) {
            for path in parts(&self.path(root).join(stream)) {
                let text = fs::read_to_string(&path).unwrap();
                assert!(text.is_empty() || text.ends_with('\n'), "{path:?}");
                records.extend(text.lines().map(|line| Record {
                    stream,
                    line: line.to_owned(),
                }));
            }
        }
        records
    }

    /// Whole lines below `out` so far, of a run that may still be writing.
    pub fn written(&self) -> usize {
        let folders = STREAMS.map(|stream| self.path("out").join(stream));
        let folders = folders.iter().filter(|folder| folder.exists());
        let files = folders.flat_map(|folder| parts(folder));
        let lines = |path: PathBuf| {
            // A run that starts gives its files their names only when all of them are there.
            let text = fs::read(path).unwrap_or_default();
            text.iter().filter(|&&byte| byte == b'\n').count()
        };
        files.map(lines).sum()
    }

    /// The records below `out` by where their events came from: partition, offset. Needs provenance.
    /// Each place must have one record.
    pub fn records_by_place(&self) -> BTreeMap<(u64, u64), Record> {
        let mut records = BTreeMap::new();
        for record in self.records() {
            let value: Value = serde_json::from_str(&record.line).unwrap();
            let from = value.get("source").unwrap_or(&value);
            let number = |key: &str| from.get(key).and_then(Value::as_u64).unwrap();
            let place = (number("partition"), number("offset"));
            let earlier = records.insert(place, record);
            assert_eq!(earlier, None, "a second record of {place:?}");
        }
        records
    }
}

/// Runs a command to its end.
pub fn finish(command: &mut Command) -> Ran {
    let output = command.output().unwrap();
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// The files of a folder but for those that say how much of the others counts, which come with checkpoints; sorted.
fn parts(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let files = files(folder).into_iter();
    files.filter(|path| path.extension().is_none_or(|it| it != "committed"))
}

/// The files of a folder, sorted.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// The reference pipeline reading `in.jsonl`, changed: each text must be there once.
pub fn pipeline(changes: &[(&str, &str)]) -> String {
    let (before, rest) = REFERENCE.split_once("[source]\n").unwrap();
    let (_, after) = rest.split_once("[event]\n").unwrap();
    changed(&format!("{before}{FROM_FILE}[event]\n{after}"), changes)
}

/// The reference pipeline with its generator, changed: each text must be there once.
pub fn generated(changes: &[(&str, &str)]) -> String {
    changed(REFERENCE, changes)
}

/// A text with changes: each old text must be there once.
pub fn changed(text: &str, changes: &[(&str, &str)]) -> String {
    let mut text = text.to_owned();
    for (old, new) in changes {
        assert_eq!(text.matches(old).count(), 1, "{old:?}");
        text = text.replace(old, new);
    }
    text
}

/// The path of a model of these tests.
pub fn model(name: &str) -> String {
    format!("{}/tests/cli/models/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// A number of a summary object.
pub fn number(summary: &Value, key: &str) -> u64 {
    let value = summary.get(key).and_then(Value::as_u64);
    value.unwrap_or_else(|| panic!("no number `{key}` in {summary}"))
}

/// Everything read must have one outcome; gives the number read.
pub fn conserved(summary: &Value) -> u64 {
    let outcomes = [
        "predictions",
        "validation_errors",
        "processing_errors",
        "late_events",
        "filtered",
        "in_flight",
    ];
    let read = number(summary, "read");
    let sum: u64 = outcomes.iter().map(|key| number(summary, key)).sum();
    assert_eq!(read, sum, "{summary}");
    assert_eq!(number(summary, "in_flight"), 0, "{summary}");
    read
}
