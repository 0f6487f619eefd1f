//! What checkpoints take, while events come at a rate: of a small state often, and of a large one of which one key in
//! a hundred changes between two; and what a worker's thread spends when an epoch closes over such a state.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use serde_json::json;
use slackwater::pipeline::graph::{Blueprint, Ending, load_model};
use slackwater_connectors::generator::{Generator, GeneratorConfig, GeneratorSource};
use slackwater_dataflow::checkpoint::coordinator::CheckpointSettings;
use slackwater_dataflow::checkpoint::groups::GroupSet;
use slackwater_dataflow::checkpoint::log::manifests;
use slackwater_dataflow::checkpoint::manifest::ChainObject;
use slackwater_dataflow::checkpoint::state_merge::StateChain;
use slackwater_dataflow::clock::{Clock, SystemClock};
use slackwater_dataflow::meters::Meters;
use slackwater_dataflow::operator::Operator as _;
use slackwater_dataflow::snapshot::{Progress, StateDelta};
use slackwater_dataflow::source::Source;
use slackwater_dataflow::store::local::LocalStore;
use slackwater_dataflow::worker::{Finished, WorkerGroup};

use crate::Failure;
use crate::engine;
use crate::gauges::status_bytes;
use crate::input::Options;
use crate::memory::EngineState;
use crate::paced::paced;

/// Keys of the small state: together 42 KB, which is what other engines were measured with.
const SMALL_USERS: u32 = 21;
/// Events a second meanwhile, a twentieth of what two workers can do, and for how long.
const SMALL_RATE: u64 = 100_000;
const SMALL_FOR: Duration = Duration::from_secs(30);
/// Between two checkpoints of it.
const SMALL_INTERVAL: Duration = Duration::from_millis(100);

/// Events for each key of the large state, as many as a history holds.
const EVENTS_PER_KEY: u64 = 50;
/// For how long its checkpoints are taken, each second.
const LARGE_FOR: Duration = Duration::from_secs(60);
/// Of so many keys one changes in a second.
const UNCHANGED: u64 = 100;
/// Epochs that are closed over it by hand.
const CLOSINGS: usize = 200;

/// Measures one case; one line.
pub fn run(options: &Options) -> Result<String, Failure> {
    match options.case.as_str() {
        "small" => small(options),
        "large" => large(options),
        "closing" => closing(options),
        other => Err(format!("no case `{other}`").into()),
    }
}

/// A job that can be run again and again.
struct Job<'a> {
    options: &'a Options,
    folder: tempfile::TempDir,
    users: u32,
}

impl<'a> Job<'a> {
    fn new(options: &'a Options, users: u32) -> Result<Self, Failure> {
        Ok(Job {
            options,
            folder: tempfile::tempdir()?,
            users,
        })
    }

    /// Runs until `is_over`, at so many events a second, 0 for as many as can be.
    fn run(
        &self,
        rate: u64,
        interval: Duration,
        is_over: impl Fn(&Meters) -> bool + Sync,
    ) -> Result<Finished, Failure> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
        let pipeline = engine::pipeline()?;
        let generator = Generator::new(GeneratorConfig {
            // More than any run reads.
            events: u64::from(u32::MAX),
            users: self.users,
            skew: 0.0,
            ..GeneratorConfig::default()
        })?;
        let max_bytes = pipeline.event.max_bytes;
        let source = GeneratorSource::new(generator, max_bytes, Arc::clone(&clock));
        let source: Arc<dyn Source> = Arc::new(paced(source, rate));
        let workers = self.options.workers;
        let model = load_model(&pipeline)?;
        let settings = CheckpointSettings {
            interval,
            min_pause: Duration::ZERO,
            ..CheckpointSettings::default()
        };
        let partitions = source.partitions().to_vec();
        let root = self.folder.path();
        let recovered =
            engine::begin(&pipeline, model.info(), root, workers, partitions, settings)?;
        let ending = Ending::Score(model);
        let blueprint = Blueprint::new(&pipeline, workers, source, ending, Arc::clone(&clock));
        let group = WorkerGroup::new(workers, clock);
        let (meters, stopper) = (group.meters(), group.stopper());
        let over = AtomicBool::new(false);
        let finished = thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over(&meters) && !over.load(Ordering::SeqCst) {
                    thread::sleep(Duration::from_millis(10));
                }
                stopper.stop();
            });
            let finished = group.run_in_epochs(recovered, move |graph| blueprint.build(graph));
            over.store(true, Ordering::SeqCst);
            finished
        });
        Ok(finished?)
    }

    /// Bytes of all keys and values of the last checkpoint, and of the objects that hold them.
    fn state(&self) -> Result<(u64, u64), Failure> {
        let store = LocalStore::open_to_read(&self.folder.path().join("state"))?;
        let last = manifests(&store)?.pop().ok_or("there is no checkpoint")?;
        let groups = GroupSet::all();
        let (mut live, mut stored) = (0, 0);
        for chain in &last.manifest?.chains {
            stored += chain.iter().map(|object| object.length).sum::<u64>();
            let mut chain = StateChain::open(&store, chain.iter().map(ChainObject::object))?;
            for stage in chain.stages() {
                let mut merge = chain.merge(&stage, &groups)?;
                while let Some(entry) = merge.next_entry()? {
                    live += (entry.key.len() + entry.value.map_or(0, <[u8]>::len)) as u64;
                }
            }
        }
        Ok((live, stored))
    }

    fn line(
        &self,
        name: &str,
        finished: &Finished,
        more: serde_json::Value,
    ) -> Result<String, Failure> {
        let (live, stored) = self.state()?;
        let taken = finished.checkpoints;
        let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
        Ok(json!({
            "name": name,
            "workers": self.options.workers,
            "keys": self.users,
            "state_bytes": live,
            "stored_bytes": stored,
            "completed": taken.completed,
            "failed": taken.failed,
            "p50_ms": ms(taken.duration.p50),
            "p99_ms": ms(taken.duration.p99),
            "max_ms": ms(taken.duration.max),
            "visible_p50_ms": ms(finished.visible.p50),
            "visible_p99_ms": ms(finished.visible.p99),
            "peak_rss_bytes": status_bytes("VmHWM:"),
            "more": more,
        })
        .to_string())
    }
}

fn small(options: &Options) -> Result<String, Failure> {
    let job = Job::new(options, SMALL_USERS)?;
    let since = Instant::now();
    let finished = job.run(SMALL_RATE, SMALL_INTERVAL, |_| since.elapsed() > SMALL_FOR)?;
    job.line("checkpoints/small", &finished, json!(null))
}

/// First a state of that size, in one checkpoint; then a run that goes on from it.
fn large(options: &Options) -> Result<String, Failure> {
    let job = Job::new(options, options.users)?;
    let events = u64::from(options.users) * EVENTS_PER_KEY;
    let filled = Instant::now();
    let first = job.run(0, Duration::from_secs(3_600), |meters| {
        meters.totals().read >= events
    })?;
    let filled = filled.elapsed();
    let since = Instant::now();
    let rate = u64::from(options.users) / UNCHANGED;
    let read = first.totals.read;
    let restored = OnceLock::new();
    let finished = job.run(rate, Duration::from_secs(1), |meters| {
        if meters.totals().read > read {
            restored.get_or_init(|| since.elapsed());
        }
        since.elapsed() > LARGE_FOR
    })?;
    let restored = restored.into_inner().unwrap_or_default();
    let more = json!({
        "fill_seconds": filled.as_secs_f64(),
        "first_checkpoint_ms": first.checkpoints.duration.max.as_secs_f64() * 1e3,
        "restore_seconds": restored.as_secs_f64(),
        "events_per_second": rate,
    });
    job.line("checkpoints/large", &finished, more)
}

/// Processor time of this thread.
fn thread_time() -> Duration {
    let spent = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        spent.tv_sec.unsigned_abs(),
        spent.tv_nsec.unsigned_abs() as u32,
    )
}

fn closing(options: &Options) -> Result<String, Failure> {
    let mut state = EngineState::new()?;
    state.stage.will_be_saved();
    let users = u64::from(options.users);
    let mut time_ms = crate::memory::START_MS;
    let mut nth = 0_u64;
    let mut take = |state: &mut EngineState, events: u64| {
        for _ in 0..events {
            time_ms += 1;
            // A prime that goes through all users in turn, and does not leave neighbours together.
            nth = (nth + 7_919) % users;
            state.take_event(nth, time_ms);
        }
        state.seal();
    };
    take(&mut state, users * EVENTS_PER_KEY);
    let (mut closes, mut parts, mut bytes) = (Vec::new(), Vec::new(), 0);
    for closing in 0..=CLOSINGS {
        let before = thread_time();
        state.stage.on_epoch_closed();
        closes.push(thread_time().saturating_sub(before));
        let mut delta = StateDelta::default();
        loop {
            let before = thread_time();
            let progress = state.stage.snapshot(&mut delta);
            parts.push(thread_time().saturating_sub(before));
            if progress == Progress::Done {
                break;
            }
        }
        if closing == 0 {
            // All of it, which no later one writes again.
            closes.clear();
            parts.clear();
        } else {
            bytes += delta.bytes();
        }
        take(&mut state, users / UNCHANGED);
    }
    let p99_us = |times: &mut Vec<Duration>| {
        times.sort_unstable();
        let at = (times.len().saturating_sub(1)) * 99 / 100;
        times.get(at).copied().unwrap_or_default().as_secs_f64() * 1e6
    };
    Ok(json!({
        "name": "checkpoints/closing",
        "keys": users,
        "closings": CLOSINGS,
        "bytes_per_closing": bytes / CLOSINGS,
        "close_p99_us": p99_us(&mut closes),
        "part_p99_us": p99_us(&mut parts),
    })
    .to_string())
}
