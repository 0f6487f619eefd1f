//! A job in a folder of its own: its processes, its outputs, its store.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use slackwater_dataflow::faults;
use slackwater_dataflow::faults::phases::{self, Point};

/// Where the binaries under test are, if they are not the one that was built with the tests: one as it is shipped, and
/// one that can be told to kill itself.
const BINARY: &str = "SLACKWATER_KILL_BINARY";
const BINARY_WITH_FAULTS: &str = "SLACKWATER_KILL_BINARY_WITH_FAULTS";

fn binary(variable: &str) -> PathBuf {
    std::env::var_os(variable)
        .map_or_else(|| env!("CARGO_BIN_EXE_slackwater").into(), PathBuf::from)
}

/// What is varied from job to job.
#[derive(Clone, Copy, Debug)]
pub struct Variation {
    pub seed: u64,
    pub order: &'static str,
    pub events: u64,
    /// Events a second; 0 for as many as possible.
    pub rate: u64,
    /// Between checkpoints; none without them.
    pub interval_ms: Option<u64>,
    pub workers: usize,
}

/// A folder with a pipeline, and where its outputs go.
pub struct Job {
    folder: tempfile::TempDir,
    pipeline: PathBuf,
    pub outputs: PathBuf,
    order: &'static str,
    /// Where its processes are to kill themselves, one after the other.
    crashes: Vec<Point>,
    /// More variables of its processes.
    environment: Vec<(String, String)>,
}

/// Whether outputs of jobs in this order that kill themselves go through outboxes, so that both ways are tried.
pub fn has_outboxes(order: &str) -> bool {
    order == "arrival"
}

/// The reference pipeline with these values; each key stands there once.
fn pipeline(outputs: &Path, variation: Variation, store: &str) -> String {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/pipelines/user-events.toml");
    let mut text = fs::read_to_string(file).unwrap();
    let Variation {
        seed,
        order,
        events,
        rate,
        interval_ms,
        workers,
    } = variation;
    let mut set = |key: &str, value: String| {
        let at = text.find(&format!("\n{key} = ")).unwrap() + 1;
        let end = at + text[at..].find('\n').unwrap();
        text.replace_range(at..end, &format!("{key} = {value}"));
    };
    set("order", format!("{order:?}"));
    set("workers", workers.to_string());
    set("seed", seed.to_string());
    set("events", events.to_string());
    set("rate", rate.to_string());
    set("users", "2_000".to_owned());
    set("provenance", "true".to_owned());
    let sink = text.find("\n[sink]").unwrap();
    let at = sink + text[sink..].find("\npath = ").unwrap() + 1;
    let end = at + text[at..].find('\n').unwrap();
    let outputs = outputs.display().to_string();
    text.replace_range(at..end, &format!("path = {outputs:?}"));
    if let Some(at) = text.find("\n[checkpoint]") {
        text.truncate(at);
    }
    if let Some(interval_ms) = interval_ms {
        text += &format!(
            "\n[checkpoint]\nstore = \"{store}\"\ninterval = \"{interval_ms}ms\"\nmin_pause = \"0ms\"\n\n\
             [restart]\nattempts = 0\ninitial = \"20ms\"\nmax = \"100ms\"\n"
        );
    }
    text
}

impl Job {
    /// A job that does not hurt itself.
    pub fn new(variation: Variation) -> Self {
        Job::with_crashes(variation, Vec::new())
    }

    pub fn with_crashes(variation: Variation, crashes: Vec<Point>) -> Self {
        Job::written(variation, crashes, None)
    }

    /// One whose checkpoints are somewhere else.
    pub fn with_store(variation: Variation, store: &str, environment: &[(&str, &str)]) -> Self {
        let mut job = Job::written(variation, Vec::new(), Some(store.to_owned()));
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        job.environment = environment.iter().map(owned).collect();
        job
    }

    /// From its next start on its processes have one more variable.
    pub fn tell(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    fn written(variation: Variation, crashes: Vec<Point>, store: Option<String>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let job = Job {
            pipeline: folder.path().join("job.toml"),
            outputs: folder.path().join("out"),
            folder,
            order: variation.order,
            crashes,
            environment: Vec::new(),
        };
        let own = || format!("file:{}", job.folder().join("state").display());
        let text = pipeline(&job.outputs, variation, &store.unwrap_or_else(own));
        fs::write(&job.pipeline, text).unwrap();
        job
    }

    /// From its next start on it has so many workers.
    pub fn rescale(&mut self, workers: usize) {
        self.rewrite(|text| {
            let at = text.find("\nworkers = ").unwrap() + 1;
            let end = at + text[at..].find('\n').unwrap();
            format!("{}workers = {workers}{}", &text[..at], &text[end..])
        });
    }

    fn crash_list(&self) -> PathBuf {
        self.folder.path().join("crashes")
    }

    /// Changes what the pipeline file says.
    pub fn rewrite(&mut self, change: impl FnOnce(String) -> String) {
        let text = fs::read_to_string(&self.pipeline).unwrap();
        fs::write(&self.pipeline, change(text)).unwrap();
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The binary, about to do this with the job.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let variable = if self.crashes.is_empty() {
            BINARY
        } else {
            BINARY_WITH_FAULTS
        };
        let mut command = Command::new(binary(variable));
        command
            .args(arguments)
            .arg(&self.pipeline)
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    pub fn start(&self) -> Running {
        let said = self.folder.path().join("said");
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(said)
            .unwrap();
        let mut command = self.command(&["run", "--json"]);
        if !self.crashes.is_empty() {
            let points: Vec<String> = self.crashes.iter().map(Point::to_string).collect();
            command.env(phases::VARIABLE, points.join(","));
            command.env(phases::LIST, self.crash_list());
            if has_outboxes(self.order) {
                command.env(faults::OUTBOXES, "1");
            }
        }
        let child = command
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Running { child }
    }

    /// Where its processes have killed themselves, by their own account.
    pub fn crashed(&self) -> Vec<String> {
        let list = fs::read_to_string(self.crash_list()).unwrap_or_default();
        let points = list.lines().map(|line| line.split_once(' ').unwrap().0);
        points.map(str::to_owned).collect()
    }

    /// The digest of the state in its last checkpoint, each object of which is read for that.
    pub fn state_digest(&self) -> String {
        let verified = self
            .command(&["checkpoints", "verify", "--json"])
            .output()
            .unwrap();
        let said = String::from_utf8(verified.stdout).unwrap();
        assert!(verified.status.success(), "{said}");
        let last: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
        last["state"].as_str().unwrap().to_owned()
    }

    /// What all of its processes have said.
    pub fn said(&self) -> String {
        fs::read_to_string(self.folder.path().join("said")).unwrap_or_default()
    }

    /// Epochs of the markers of its shards; what is not there counts as 0.
    pub fn marked(&self) -> [u64; 2] {
        [0, 1].map(|shard| {
            let path = self.outputs.join(format!("committed/shard-{shard}.json"));
            let marker = fs::read(path).ok();
            let marker = marker.and_then(|it| serde_json::from_slice::<Value>(&it).ok());
            marker.and_then(|it| it["epoch"].as_u64()).unwrap_or(0)
        })
    }

    /// Objects in its store.
    pub fn objects(&self) -> usize {
        let data = self.folder.path().join("state/data");
        fs::read_dir(data).map_or(0, Iterator::count)
    }
}

/// The process that stands above a job's worker.
pub struct Running {
    child: Child,
}

impl Running {
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// The worker's process, if there is one now.
    pub fn worker(&self) -> Option<Pid> {
        let pid = self.child.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
        let first = children.split_whitespace().next()?.parse().ok()?;
        Pid::from_raw(first)
    }

    /// Kills the worker alone; whether there was one.
    pub fn kill_worker(&self) -> bool {
        self.worker()
            .is_some_and(|worker| kill_process(worker, Signal::KILL).is_ok())
    }

    /// Kills the process above, and with it the worker.
    pub fn kill_all(mut self) {
        let worker = self.worker();
        kill_process(self.pid(), Signal::KILL).unwrap();
        self.child.wait().unwrap();
        // The worker dies with its parent, a moment later.
        let until = Instant::now() + Duration::from_secs(10);
        while worker.is_some_and(is_alive) {
            assert!(Instant::now() < until, "the worker outlives its supervisor");
            thread::sleep(Duration::from_millis(1));
        }
    }

    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    pub fn wait(mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

fn is_alive(pid: Pid) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    // One that waits to be noticed by its new parent is dead.
    status.is_ok_and(|status| !status.rsplit(')').next().unwrap_or("").starts_with(" Z"))
}
