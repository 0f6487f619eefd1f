//! A sample: a job, stopped in the middle by a crash, with all that it needs to go on; and how one is made.
//!
//! The job reads two files in the order of event time, keeps short histories, and is stopped and started again as its
//! input grows, so that its store has all that the format knows. Then it is killed when a checkpoint is durable and its
//! outputs are not published.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use slackwater_dataflow::faults;
use slackwater_dataflow::faults::phases;
use tempfile::TempDir;

use crate::canonical::mask;
use crate::reading::Objects;

/// Asks for a new sample in the place of the one that is kept: its name.
const NEW: &str = "SLACKWATER_NEW_SAMPLE";

const REFERENCE: &str = include_str!("../../pipelines/user-events.toml");
const MODEL: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/pipelines/models/user-events.onnx"
);

const FOLLOW: &str = "follow = true\n";

/// Longest wait for anything; only a failure takes so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often the job is stopped before it is killed, and events between two stops.
const STOPS: usize = 4;
const EVENTS: usize = 24;

/// Users, of whom a stop sees a few: the histories of the others are removed.
const USERS: usize = 24;
const USERS_AT_ONCE: usize = 8;

/// Where a sample is kept.
pub fn kept_sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/formats")
        .join(name)
}

/// The JSON lines of a file.
pub fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn write_lines(path: &Path, lines: &[Value]) {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    fs::write(path, text).unwrap();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (from, to) = (
            entry.as_ref().unwrap().path(),
            to.join(entry.unwrap().file_name()),
        );
        if from.is_dir() {
            copy(&from, &to);
        } else {
            fs::copy(&from, &to).unwrap();
        }
    }
}

/// A job in a folder of its own.
pub struct Job {
    folder: TempDir,
}

impl Job {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Job { folder }
    }

    /// A copy of a sample, which may change.
    pub fn copy_of(sample: &Path) -> Self {
        let job = Job::new();
        copy(sample, job.folder.path());
        job
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        // The log names the machine, and a sample is of none.
        let script = "hostname sample && exec \"$0\" \"$@\"";
        let mut command = Command::new("unshare");
        command.args(namespace()).args(["sh", "-c", script]);
        command
            .arg(env!("CARGO_BIN_EXE_slackwater"))
            .args(arguments);
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Has a run of the job make outboxes, which files do without: other sinks do not.
    fn with_outboxes(command: &mut Command) -> &mut Command {
        command.env(faults::OUTBOXES, "1")
    }

    /// What a command prints, which must end well.
    fn said(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What each command says of the checkpoints, with its name.
    pub fn said_of_checkpoints(&self) -> [(&'static str, Vec<Value>); 4] {
        let parse = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        let said = |command: &str, arguments: &[&str]| {
            let before = ["checkpoints", command, "job.toml"];
            self.said(&[&before[..], arguments].concat())
        };
        let list = parse(&said("list", &["--json"]))
            .as_array()
            .unwrap()
            .clone();
        // The others are among the objects.
        let show = vec![parse(&said("show", &[]))];
        let each = |text: String| text.lines().map(parse).collect();
        [
            ("list", list),
            ("show", show),
            ("verify", each(said("verify", &["--json"]))),
            ("export", each(said("export", &[]))),
        ]
    }

    /// Lets the job go on to the end of its input; its outputs.
    pub fn run_to_the_end(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.path("job.toml")).unwrap();
        fs::write(self.path("job.toml"), text.replace(FOLLOW, "")).unwrap();
        self.said(&["run", "job.toml", "--json"]);
        self.outputs()
    }

    /// All outputs, by stream and by where each event came from.
    fn outputs(&self) -> Vec<Value> {
        let mut outputs = Vec::new();
        for stream in fs::read_dir(self.path("out")).unwrap() {
            let stream = stream.unwrap();
            for shard in 0..2 {
                let part = stream.path().join(format!("shard-{shard}.jsonl"));
                // `committed` has none.
                let text = fs::read_to_string(part).unwrap_or_default();
                let name = stream.file_name().into_string().unwrap();
                outputs.extend(
                    text.lines()
                        .map(|line| json!({ "stream": name, "record": mask(line) })),
                );
            }
        }
        outputs.sort_by_key(Value::to_string);
        outputs
    }

    fn append(&self, partition: usize, text: &str) {
        let path = self.path(&format!("in/{partition}.jsonl"));
        let file = File::options().create(true).append(true).open(path);
        file.unwrap().write_all(text.as_bytes()).unwrap();
    }

    fn start(&self, environment: &[(&str, &str)]) -> Child {
        let mut command = self.command(&["run", "job.toml", "--json"]);
        Job::with_outboxes(&mut command);
        command.envs(environment.iter().copied()).spawn().unwrap()
    }

    /// Waits until the job is so.
    fn wait_for(&self, is_so: impl Fn(&Value) -> bool) {
        let began = Instant::now();
        loop {
            let asked = self
                .command(&["status", "job.toml", "--json"])
                .output()
                .unwrap();
            let status = serde_json::from_slice(&asked.stdout).unwrap_or_default();
            if is_so(&status) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{status}");
        }
    }
}

/// Arguments of `unshare` for a name of a machine that only the job sees: as root, or else as root of a user namespace.
fn namespace() -> &'static [&'static str] {
    let ways: [&[&str]; 2] = [&["--uts"], &["--user", "--map-root-user", "--uts"]];
    let works = |way: &&&[&str]| {
        let tried = Command::new("unshare").args(**way).arg("true").output();
        tried.is_ok_and(|tried| tried.status.success())
    };
    ways.iter().find(works).unwrap_or_else(|| {
        panic!("this test needs `unshare --uts` of util-linux and the right to make namespaces")
    })
}

fn pipeline() -> String {
    let (before, rest) = REFERENCE.split_once("[source]\n").unwrap();
    let (_, after) = rest.split_once("[event]\n").unwrap();
    let source = format!("[source]\nkind = \"file\"\npath = \"in/*.jsonl\"\n{FOLLOW}\n");
    let mut text = format!("{before}{source}[event]\n{after}");
    let recovery = "form = \"envelope\"\n\n[checkpoint]\nstore = \"file:store\"\ninterval = \"20ms\"\nmin_pause = \"0ms\"\nretain = 2\n\n\
                    [restart]\nstrategy = \"none\"\n";
    for (old, new) in [
        ("workers = 0 ", "workers = 2 "),
        ("order = \"arrival\" ", "order = \"event_time\" "),
        ("key_groups = 1024 ", "key_groups = 16 "),
        ("ttl = \"24h\" ", "ttl = \"20s\" "),
        ("path = \"builtin:user-events\"", "path = \"model.onnx\""),
        ("provenance = false", "provenance = true"),
        ("form = \"envelope\"\n", recovery),
    ] {
        assert_eq!(text.matches(old).count(), 1, "{old}");
        text = text.replace(old, new);
    }
    text
}

/// The events between two stops of a partition: some of each way to go. Event time goes on by the time to live with
/// every stop.
fn events(stop: usize, partition: usize) -> String {
    let kinds = ["view", "click", "add_to_cart", "purchase"];
    let event = |at: usize| {
        let user = (stop * USERS_AT_ONCE / 2 + at * (partition + 3) % USERS_AT_ONCE) % USERS;
        let start = 1_767_225_600_000 + stop as i64 * 24_000;
        // Out of order by less than the bound; one in 12 is late.
        let disorder = (at * 7 % 5) as i64 * 300 + if at % 12 == 10 { 9_000 } else { 0 };
        let time = start + at as i64 * 2_000 - disorder;
        let category = if at % 20 == 11 { "" } else { "books" };
        let kind = kinds[(at + stop) % 4];
        if at % 20 == 7 {
            return "{\"user_id\":7}\n".to_owned();
        }
        format!(
            "{{\"user_id\":\"u{user}\",\"product_id\":\"p{}\",\"category\":\"{category}\",\"event_type\":\"{kind}\",\"timestamp_ms\":{time}}}\n",
            at % 9
        )
    };
    (0..EVENTS / 2).map(event).collect()
}

/// Lets the job read on, where there is no room to publish anything, until it is killed: so several epochs wait for that.
fn kill(job: &Job) {
    // Half of it is there at once, so that it is in some epoch however busy the machine is.
    let more = [0, 1].map(|partition| events(STOPS, partition));
    let mut pairs: Vec<_> = more[0].lines().zip(more[1].lines()).collect();
    let later = pairs.split_off(pairs.len() / 2);
    let append = |(zero, one): (&str, &str)| {
        job.append(0, &format!("{zero}\n"));
        job.append(1, &format!("{one}\n"));
    };
    pairs.into_iter().for_each(append);
    // What is on the small disk goes with it; below it the outputs stay as they were.
    let script = "cp -r out kept && mount -t tmpfs -o size=1m tmpfs out && cp -r kept/. out/ && cat /dev/zero > out/full; \
                  hostname sample && exec \"$0\" \"$@\"";
    let mut command = Command::new("unshare");
    command.arg("--mount").args(namespace());
    command.args(["sh", "-c", script, env!("CARGO_BIN_EXE_slackwater")]);
    command.args(["run", "job.toml"]);
    command.env(phases::VARIABLE, "after-manifest:5");
    Job::with_outboxes(&mut command);
    command.current_dir(job.folder.path()).stdin(Stdio::null());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut run = command.spawn().unwrap();
    // Line by line, so that there is more than one epoch of it.
    for pair in later {
        append(pair);
        thread::sleep(Duration::from_millis(40));
    }
    assert_eq!(run.wait().unwrap().code(), Some(1), "it was to be killed");
    fs::remove_dir_all(job.path("kept")).unwrap();
}

/// Makes a sample: the job and its input, its store and its outputs after the crash, and what all of it says.
fn make(into: &Path) {
    let job = Job::new();
    fs::create_dir(job.path("in")).unwrap();
    fs::write(job.path("job.toml"), pipeline()).unwrap();
    fs::copy(MODEL, job.path("model.onnx")).unwrap();
    for stop in 0..STOPS {
        for partition in 0..2 {
            job.append(partition, &events(stop, partition));
        }
        let run = job.start(&[]);
        let read = (stop + 1) * (EVENTS / 2) * 2;
        // Enough checkpoints that chains are folded, and that the folds are listed.
        job.wait_for(|status| {
            let last = &status["last"];
            last["events"]["read"] == read && last["checkpoints"]["completed"].as_u64() > Some(8)
        });
        job.said(&["stop", "job.toml"]);
        let output = run.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    kill(&job);
    for left in [
        "store/lock",
        "store/control.sock",
        "store/tmp",
        "out/committed/lock",
    ] {
        let path = job.path(left);
        let removed = if path.is_dir() {
            fs::remove_dir_all(path)
        } else {
            fs::remove_file(path)
        };
        // A killed process has left what it has left.
        drop(removed);
    }
    expect(&job);
    copy(job.folder.path(), into);
}

/// Writes down what the sample says, and what its job must come to: the outputs of a run that knows nothing of
/// checkpoints.
fn expect(job: &Job) {
    let whole = Job::new();
    copy(&job.path("in"), &whole.path("in"));
    fs::copy(job.path("model.onnx"), whole.path("model.onnx")).unwrap();
    let text = fs::read_to_string(job.path("job.toml")).unwrap();
    let (without, _) = text.split_once("[checkpoint]").unwrap();
    fs::write(whole.path("job.toml"), without).unwrap();
    let expected = job.path("expected");
    let said = job.said_of_checkpoints();
    fs::create_dir(&expected).unwrap();
    write_lines(&expected.join("outputs.jsonl"), &whole.run_to_the_end());
    write_lines(
        &expected.join("objects.jsonl"),
        &Objects::read(&job.path("store")).lines,
    );
    for (name, lines) in said {
        write_lines(&expected.join(format!("{name}.jsonl")), &lines);
    }
}

/// A folder with a sample of the present version. If a new one is asked for it takes the place of that name.
pub fn made_sample() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    make(folder.path());
    if let Ok(name) = std::env::var(NEW) {
        let kept = kept_sample(&name);
        for part in ["in", "store", "out", "expected"] {
            drop(fs::remove_dir_all(kept.join(part)));
        }
        copy(folder.path(), &kept);
    }
    folder
}
