//! A job on a store, a source and a sink in memory, run until it is done, whatever happens on the way.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use slackwater_connectors::generator::GeneratorConfig;
use slackwater_connectors::memory::{MemoryEpochSink, MemorySource, Schedule};
use slackwater_dataflow::checkpoint::coordinator::CheckpointSettings;
use slackwater_dataflow::checkpoint::job::JobIdentity;
use slackwater_dataflow::checkpoint::log::Claimant;
use slackwater_dataflow::checkpoint::recovery::{Asked, claim};
use slackwater_dataflow::clock::SystemClock;
use slackwater_dataflow::meters::Totals;
use slackwater_dataflow::place::{ShardId, Spread};
use slackwater_dataflow::sink::OutputStream;
use slackwater_dataflow::source::Source;
use slackwater_dataflow::store::Store;
use slackwater_dataflow::store::memory::MemoryStore;
use slackwater_dataflow::worker::WorkerGroup;

use crate::canonical::mask;
use crate::reference::{Reference, generated};

const SHARDS: u16 = 2;
const KEY_GROUPS: u16 = 1024;

/// Canonical records by stream and key, in the order in which they became visible.
pub type Content = BTreeMap<(&'static str, String), Vec<Value>>;

/// A job and what it reads.
pub struct Scene {
    job: Reference,
    source: MemorySource,
    polls: u64,
}

/// How a run ended that was not stopped by a fault.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    /// The input has ended, and everything is published.
    Complete(Totals),
    /// There was nothing left to do.
    AlreadyComplete,
}

impl Scene {
    /// A few hundred events, from a seed.
    pub fn new(seed: u64, changes: &[(&str, &str)]) -> Self {
        let source = generated(GeneratorConfig {
            seed,
            events: 400,
            partitions: 3,
            users: 12,
            invalid: 0.1,
            late: 0.05,
            ..GeneratorConfig::default()
        });
        Scene {
            job: Reference::new(changes),
            source,
            polls: seed,
        }
    }

    /// What a job without checkpoints writes.
    pub fn expected(&self, workers: usize) -> (Content, Totals) {
        let (sink, totals) = self.job.run(self.source.clone(), workers);
        let lines = OutputStream::ALL.map(|stream| sink.records(stream));
        (content(&lines), totals)
    }

    /// One run, until its end or until the store is dead.
    pub fn run(
        &self,
        store: &MemoryStore,
        sink: &MemoryEpochSink,
        workers: usize,
        attempt: u64,
    ) -> Result<Ended, String> {
        let said = |error: &dyn std::error::Error| error.to_string();
        let spread = Spread {
            key_groups: KEY_GROUPS,
            workers,
            shards: SHARDS,
        };
        let shared: Arc<dyn Store> = Arc::new(store.clone());
        let claimant = Claimant {
            host: "sim".to_owned(),
            process: 1,
            now_ms: attempt as i64,
        };
        let claimed = claim(shared, &claimant).map_err(|error| said(&error))?;
        let asked = Asked {
            job: identity(),
            spread,
            partitions: self.source.partitions().to_vec(),
            settings: CheckpointSettings {
                interval: Duration::from_millis(2),
                min_pause: Duration::ZERO,
                ..CheckpointSettings::default()
            },
            retain: 2,
            choice: None,
            now_ms: 0,
        };
        let sink = Box::new(sink.clone());
        let recovered = claimed.begin(asked, sink).map_err(|error| said(&error))?;
        if recovered.is_complete {
            return Ok(Ended::AlreadyComplete);
        }
        let polls = Schedule::Seeded(self.polls * 1_000 + attempt);
        let source = self.source.clone().with_schedule(polls);
        let blueprint = self.job.blueprint(source, workers);
        let group = WorkerGroup::new(workers, Arc::new(SystemClock::default()));
        let stopper = group.stopper();
        let over = Arc::new(AtomicBool::new(false));
        // A process whose store has died is dead as well.
        let watching = thread::spawn({
            let (store, over) = (store.clone(), Arc::clone(&over));
            move || {
                while !over.load(Ordering::SeqCst) {
                    if store.is_dead() {
                        stopper.abort();
                    }
                    thread::sleep(Duration::from_micros(200));
                }
            }
        });
        let finished = group.run_in_epochs(recovered, move |graph| blueprint.build(graph));
        over.store(true, Ordering::SeqCst);
        watching.join().unwrap();
        finished
            .map(|finished| Ended::Complete(finished.totals))
            .map_err(|error| said(&error))
    }
}

fn identity() -> JobIdentity {
    JobIdentity {
        name: "sim".to_owned(),
        order: String::new(),
        key: Vec::new(),
        key_groups: KEY_GROUPS,
        shards: SHARDS,
        max_out_of_orderness_ms: 0,
        schema: String::new(),
        source: String::new(),
        features: BTreeMap::new(),
        history: String::new(),
        model: String::new(),
    }
}

/// An empty sink.
pub fn sink() -> MemoryEpochSink {
    MemoryEpochSink::new(SHARDS)
}

/// Everything that is visible.
pub fn visible(sink: &MemoryEpochSink) -> Content {
    let lines = OutputStream::ALL.map(|stream| {
        let shards = (0..SHARDS).map(|shard| sink.bytes(ShardId(shard), stream));
        let bytes: Vec<u8> = shards.flatten().collect();
        let lines = bytes.split(|byte| *byte == b'\n');
        lines
            .filter(|line| !line.is_empty())
            .map(<[u8]>::to_vec)
            .collect::<Vec<_>>()
    });
    content(&lines)
}

fn content(lines: &[Vec<Vec<u8>>; 4]) -> Content {
    let mut content = Content::new();
    for (stream, lines) in OutputStream::ALL.into_iter().zip(lines) {
        for line in lines {
            let record = mask(str::from_utf8(line).unwrap());
            let key = match stream {
                OutputStream::Predictions => &record["user_id"],
                OutputStream::ProcessingErrors => &record["original_event"][0],
                OutputStream::ValidationErrors | OutputStream::LateEvents => {
                    &record["source"]["partition"]
                }
            };
            let key = (stream.name(), key.to_string());
            content.entry(key).or_default().push(record);
        }
    }
    content
}

/// Where two contents differ first; nothing if they do not.
pub fn difference(expected: &Content, found: &Content) -> Option<String> {
    let keys = expected.keys().chain(found.keys());
    keys.into_iter().find_map(|key| {
        let (expected, found) = (expected.get(key), found.get(key));
        let of = |records: Option<&Vec<Value>>| records.map_or(0, Vec::len);
        (expected != found).then(|| {
            format!(
                "{key:?}: {} records expected, {} found\nexpected {expected:?}\nfound {found:?}",
                of(expected),
                of(found)
            )
        })
    })
}
