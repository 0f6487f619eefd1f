//! A job in a folder of its own: its processes, its outputs, its store.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// The binary under test: the one that was built with the tests, or another one that was asked for.
pub fn binary() -> PathBuf {
    std::env::var_os("SLACKWATER_KILL_BINARY")
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
    pub interval_ms: u64,
}

/// A folder with a pipeline, and where its outputs go.
pub struct Job {
    folder: tempfile::TempDir,
    pipeline: PathBuf,
    pub outputs: PathBuf,
    /// Variables of its processes.
    environment: Vec<(String, String)>,
}

/// The reference pipeline with these values; each key stands there once.
fn pipeline(outputs: &Path, variation: Variation, store: Option<&str>) -> String {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/pipelines/user-events.toml");
    let mut text = fs::read_to_string(file).unwrap();
    let Variation {
        seed,
        order,
        events,
        rate,
        interval_ms,
    } = variation;
    let rate = if store.is_some() { rate } else { 0 };
    let mut set = |key: &str, value: String| {
        let at = text.find(&format!("\n{key} = ")).unwrap() + 1;
        let end = at + text[at..].find('\n').unwrap();
        text.replace_range(at..end, &format!("{key} = {value}"));
    };
    set("order", format!("{order:?}"));
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
    if let Some(store) = store {
        text += &format!(
            "\n[checkpoint]\nstore = \"{store}\"\ninterval = \"{interval_ms}ms\"\nmin_pause = \"0ms\"\n\n\
             [restart]\nattempts = 0\ninitial = \"20ms\"\nmax = \"100ms\"\n"
        );
    }
    text
}

impl Job {
    /// One without checkpoints, or with them in its folder.
    pub fn new(variation: Variation, checkpoints: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = format!("file:{}", folder.path().join("state").display());
        Job::in_folder(folder, variation, checkpoints.then_some(&*store))
    }

    /// One whose checkpoints are somewhere else.
    pub fn with_store(variation: Variation, store: &str, environment: &[(&str, &str)]) -> Self {
        let mut job = Job::in_folder(tempfile::tempdir().unwrap(), variation, Some(store));
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        job.environment = environment.iter().map(owned).collect();
        job
    }

    fn in_folder(folder: tempfile::TempDir, variation: Variation, store: Option<&str>) -> Self {
        let outputs = folder.path().join("out");
        let text = pipeline(&outputs, variation, store);
        let pipeline = folder.path().join("job.toml");
        fs::write(&pipeline, text).unwrap();
        Job {
            folder,
            pipeline,
            outputs,
            environment: Vec::new(),
        }
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
        let mut command = Command::new(binary());
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
        let child = self
            .command(&["run", "--json"])
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Running { child }
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
