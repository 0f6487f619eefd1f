//! The engine on the reference pipeline, as its own binary runs it, with its source in memory.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use slackwater::pipeline::Pipeline;
use slackwater::pipeline::graph::{Blueprint, Ending, files_at, load_model, open_files};
use slackwater::pipeline::identity::identity;
use slackwater::pipeline::spec::Order;
use slackwater_connectors::discard::DiscardSink;
use slackwater_connectors::file::{EpochFiles, EpochFilesConfig, Existing};
use slackwater_connectors::memory::MemorySource;
use slackwater_dataflow::checkpoint::coordinator::CheckpointSettings;
use slackwater_dataflow::checkpoint::log::Claimant;
use slackwater_dataflow::checkpoint::recovery::{Asked, Recovered, claim};
use slackwater_dataflow::clock::{Clock, SystemClock};
use slackwater_dataflow::place::{PartitionId, Spread};
use slackwater_dataflow::sink::{OutputChunk, OutputStream, Sink, SinkError};
use slackwater_dataflow::source::{Partition, Source};
use slackwater_dataflow::store::local::LocalStore;
use slackwater_dataflow::worker::WorkerGroup;
use slackwater_models::ModelInfo;

use crate::Failure;
use crate::gauges::Outcome;
use crate::input::Input;

/// The reference pipeline.
pub const PIPELINE: &str = include_str!("../../pipelines/user-events.toml");

/// Checkpoints kept, as by default.
const RETAIN: usize = 3;

/// Where the outputs go.
pub enum To {
    /// They are counted.
    Nowhere,
    /// They are counted and their scores added up, which costs time of its own.
    Scores,
    /// Files below a folder.
    Files(PathBuf),
    /// The same, each epoch exactly once, with a checkpoint store beside them.
    FilesExactlyOnce(PathBuf),
}

/// A run that is about to start.
pub struct Prepared {
    group: WorkerGroup,
    blueprint: Blueprint,
    outputs: Outputs,
    counts: DiscardSink,
    scores: Option<Arc<Mutex<f64>>>,
}

enum Outputs {
    AtOnce(Box<dyn Sink>),
    ByEpoch(Box<Recovered>),
}

/// The reference pipeline, parsed.
pub fn pipeline() -> Result<Pipeline, Failure> {
    Pipeline::parse("user-events.toml", PIPELINE)
        .map_err(|_| "the reference pipeline has mistakes".into())
}

/// Everything that a run of the binary does before its first poll.
pub fn prepare(input: &Input, to: &To, order: Order) -> Result<Prepared, Failure> {
    let workers = input.options.workers;
    let mut pipeline = pipeline()?;
    pipeline.job.order = order;
    let lines = input.partitions.iter().enumerate();
    let lines = lines.map(|(at, lines)| (PartitionId(at as u32), Arc::clone(&lines.bytes)));
    let source = MemorySource::from_lines(lines)?.with_max_bytes(pipeline.event.max_bytes);
    let source: Arc<dyn Source> = Arc::new(source);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let model = load_model(&pipeline)?;
    let counts = DiscardSink::new();
    let scores = matches!(to, To::Scores).then(Arc::<Mutex<f64>>::default);
    let outputs = match to {
        To::Nowhere => Outputs::AtOnce(Box::new(counts.clone())),
        To::Scores => Outputs::AtOnce(Box::new(ScoreSink {
            counts: counts.clone(),
            sum: scores.clone().unwrap_or_default(),
        })),
        To::Files(root) => Outputs::AtOnce(Box::new(CountedFiles {
            counts: counts.clone(),
            files: open(&pipeline, root)?,
        })),
        To::FilesExactlyOnce(root) => {
            let partitions = source.partitions().to_vec();
            let settings = CheckpointSettings::default();
            let info = model.info();
            let begun = begin(&pipeline, info, root, workers, partitions, settings)?;
            Outputs::ByEpoch(Box::new(begun))
        }
    };
    let ending = Ending::Score(model);
    Ok(Prepared {
        group: WorkerGroup::new(workers, Arc::clone(&clock)),
        blueprint: Blueprint::new(&pipeline, workers, source, ending, clock),
        outputs,
        counts,
        scores,
    })
}

/// A job of this pipeline that goes on from the store below `root`, or begins there.
pub fn begin(
    pipeline: &Pipeline,
    model: &ModelInfo,
    root: &Path,
    workers: usize,
    partitions: Vec<Partition>,
    settings: CheckpointSettings,
) -> Result<Recovered, Failure> {
    let claimant = Claimant {
        host: "bench".to_owned(),
        process: std::process::id(),
        now_ms: 0,
    };
    let store = LocalStore::open(&root.join("state"))?;
    let claimed = claim(Arc::new(store), &claimant)?;
    let outputs = files_at(pipeline, &root.join("out"), Existing::Refuse);
    let sink = EpochFiles::open(&EpochFilesConfig {
        root: outputs.root,
        folders: outputs.folders,
        shards: outputs.shards,
        job: pipeline.job.name.clone(),
    })?;
    let spread = Spread {
        key_groups: u16::try_from(pipeline.job.key_groups)?,
        workers,
        shards: outputs.shards,
    };
    let asked = Asked {
        job: identity(pipeline, Some(model)),
        spread,
        partitions,
        settings,
        retain: RETAIN,
        choice: None,
        now_ms: 0,
    };
    Ok(claimed.begin(asked, Box::new(sink))?)
}

fn open(pipeline: &Pipeline, root: &Path) -> Result<Box<dyn Sink>, Failure> {
    Ok(open_files(&files_at(pipeline, root, Existing::Replace))?.sink)
}

/// From the first poll to the last written record.
pub fn run(prepared: Prepared) -> Result<Outcome, Failure> {
    let Prepared {
        group,
        blueprint,
        outputs,
        counts,
        scores,
    } = prepared;
    let mut outcome = Outcome::default();
    match outputs {
        Outputs::AtOnce(sink) => {
            group.run(sink, move |graph| blueprint.build(graph))?;
            for stream in OutputStream::ALL {
                let discarded = counts.discarded(stream);
                let written = outcome.stream_mut(stream);
                (written.records, written.bytes) = (discarded.records, discarded.bytes);
            }
        }
        Outputs::ByEpoch(recovered) => {
            let finished = group.run_in_epochs(*recovered, move |graph| blueprint.build(graph))?;
            for stream in OutputStream::ALL {
                outcome.stream_mut(stream).records = finished.totals.written(stream);
            }
            outcome.checkpoints = Some(finished.checkpoints);
        }
    }
    outcome.scores = scores.map(|sum| *sum.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(outcome)
}

/// Writes files and counts what it wrote.
struct CountedFiles {
    counts: DiscardSink,
    files: Box<dyn Sink>,
}

impl Sink for CountedFiles {
    fn append(&mut self, chunk: &OutputChunk) -> Result<(), SinkError> {
        self.counts.append(chunk)?;
        self.files.append(chunk)
    }

    fn finish(&mut self) -> Result<(), SinkError> {
        self.files.finish()
    }
}

/// Counts records and adds up the scores that stand in them.
struct ScoreSink {
    counts: DiscardSink,
    sum: Arc<Mutex<f64>>,
}

impl Sink for ScoreSink {
    fn append(&mut self, chunk: &OutputChunk) -> Result<(), SinkError> {
        self.counts.append(chunk)?;
        if chunk.stream == OutputStream::Predictions {
            let mut sum = self.sum.lock().unwrap_or_else(PoisonError::into_inner);
            for line in chunk
                .bytes
                .split(|&byte| byte == b'\n')
                .filter(|line| !line.is_empty())
            {
                let record: Prediction =
                    serde_json::from_slice(line).map_err(|error| SinkError {
                        action: "read",
                        subject: "a prediction".to_owned(),
                        source: error.into(),
                    })?;
                *sum += f64::from(record.prediction);
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), SinkError> {
        Ok(())
    }
}

#[derive(serde::Deserialize)]
struct Prediction {
    prediction: f32,
}
