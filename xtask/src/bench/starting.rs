//! From the start of the process to the first output that a reader may see, of the reference pipeline as it is typed
//! and with checkpoints.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::cost::build_engine;
use crate::process;

/// Starts of each kind; the first fills the page cache and is dropped.
const STARTS: usize = 21;
/// Between two looks.
const LOOK_AGAIN: Duration = Duration::from_micros(200);
/// A start that takes longer is none.
const PATIENCE: Duration = Duration::from_secs(30);

/// Milliseconds of each start, sorted.
#[derive(Clone, Debug, Default)]
pub struct Starts {
    /// Of `slackwater run`.
    pub plain: Vec<f64>,
    /// Of a copy of that pipeline with a checkpoint store, until an epoch is committed.
    pub exactly_once: Vec<f64>,
}

/// Builds the binary in release and starts it again and again.
pub fn measure() -> Result<Starts> {
    let engine = build_engine()?;
    let file = process::root().join("pipelines/user-events.toml");
    let pipeline = fs::read_to_string(&file).with_context(|| format!("{}", file.display()))?;
    let mut starts = Starts::default();
    for start in 0..STARTS {
        let plain = once(&engine, None, "out/ml_predictions/shard-0.jsonl")?;
        let with_store = format!("{pipeline}\n[checkpoint]\nstore = \"file:state\"\n");
        let committed = "out/committed/shard-0.json";
        let exactly_once = once(&engine, Some(&with_store), committed)?;
        if start > 0 {
            starts.plain.push(plain);
            starts.exactly_once.push(exactly_once);
        }
    }
    starts.plain.sort_by(f64::total_cmp);
    starts.exactly_once.sort_by(f64::total_cmp);
    Ok(starts)
}

/// Milliseconds until there is something in the file of this name, in the folder where the job runs.
fn once(engine: &Path, pipeline: Option<&str>, output: &str) -> Result<f64> {
    let folder = process::root().join(process::target()).join("start");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    let mut command = process::command(engine);
    command.arg("run").current_dir(&folder);
    if let Some(text) = pipeline {
        fs::write(folder.join("job.toml"), text)?;
        command.arg("job.toml");
    }
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let since = Instant::now();
    let mut child = command.spawn().context("cannot start the binary")?;
    let took = wait(&folder.join(output), since);
    // It may have ended.
    drop(child.kill());
    child.wait()?;
    took
}

fn wait(path: &Path, since: Instant) -> Result<f64> {
    while since.elapsed() < PATIENCE {
        if fs::metadata(path).is_ok_and(|file| file.len() > 0) {
            return Ok(since.elapsed().as_secs_f64() * 1e3);
        }
        thread::sleep(LOOK_AGAIN);
    }
    bail!("{} did not come in {PATIENCE:?}", path.display())
}
