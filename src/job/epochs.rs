//! A job with checkpoints, made ready: who else runs it, what was left of it, whether it may go on from that.

use std::io::ErrorKind;
use std::process;
use std::sync::Arc;

use slackwater_connectors::discard::DiscardSink;
use slackwater_connectors::file::{EpochFiles, EpochFilesConfig};
use slackwater_connectors::stdout::StdoutSink;
use slackwater_connectors::unmarked::Unmarked;
use slackwater_dataflow::checkpoint::job::Difference;
use slackwater_dataflow::checkpoint::log::{Claimant, Fence};
use slackwater_dataflow::checkpoint::manifest::{Manifest, PartitionPosition};
use slackwater_dataflow::checkpoint::recovery::{Asked, Recovered, RecoveryError, claim};
use slackwater_dataflow::checkpoint::settle::Choice;
use slackwater_dataflow::clock::Clock;
use slackwater_dataflow::place::Spread;
use slackwater_dataflow::sink::destinations::Destinations;
use slackwater_dataflow::sink::{EpochSink, OutputStream, SinkError};
use slackwater_dataflow::source::Partition;
use slackwater_models::ModelInfo;
use slackwater_operators::encode::Form;

use crate::pipeline::Pipeline;
use crate::pipeline::graph::{OpenSource, open_source, open_source_again, stream_folders};
use crate::pipeline::identity::identity;
use crate::pipeline::preflight::PreflightError;
use crate::pipeline::spec::{CheckpointSpec, SinkKind};
use crate::pipeline::topics::{SinkTopics, await_brokers};
use crate::stores::{self, open_once_left};

/// What a person says about how a job is to begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resuming {
    /// Start over, whatever there is.
    pub fresh: bool,
    /// What to do where outputs do not fit the checkpoint.
    pub choice: Option<Choice>,
    /// Features and the model may be others than those of the checkpoint.
    pub allow_new_features: bool,
    /// Wait for brokers that are away: an earlier worker of this job has spoken to them.
    pub waits: bool,
}

/// A job must not go on as it is. Nothing was read or published.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Another process works on the same store or outputs.
    #[error("{0}")]
    InUse(String),
    /// Outputs without a checkpoint.
    #[error(
        "`{path}` is there, but the store `{store}` holds no checkpoint of the job: was it emptied, or is `store` another one? Put the store back, or start over with `--fresh`, which moves these outputs aside"
    )]
    OutputsWithoutCheckpoint {
        /// The first output.
        path: String,
        /// The store.
        store: String,
    },
    /// The pipeline has changed.
    #[error(
        "the pipeline is not the one that the checkpoint of epoch {epoch} was taken with: {changes}. {way_on}"
    )]
    Changed {
        /// The checkpoint's epoch.
        epoch: u64,
        /// What has changed.
        changes: String,
        /// What to do.
        way_on: &'static str,
    },
    /// What was left can't be gone on from as it is.
    #[error(transparent)]
    Recovery(RecoveryError),
}

const CHANGED: &str =
    "State and outputs would mean something else: put it back, or start over with `--fresh`";
const CHANGED_WINDOWS: &str = "State and outputs would mean something else: what is kept of each key is its [history] and what features need of \
                               other windows. Put these back as they were, or start over with `--fresh`";
const CHANGED_FEATURES: &str = "With `--allow-new-features` the job goes on with the new ones, on the histories that it has; \
                                `--fresh` starts over";

/// Why a job with checkpoints can't begin.
#[derive(Debug)]
pub(super) enum Blocked {
    Preflight(PreflightError),
    Refused(Refusal),
}

impl From<PreflightError> for Blocked {
    fn from(error: PreflightError) -> Self {
        Blocked::Preflight(error)
    }
}

impl From<SinkError> for Blocked {
    fn from(error: SinkError) -> Self {
        Blocked::Preflight(error.into())
    }
}

impl From<stores::OpenError> for Blocked {
    fn from(error: stores::OpenError) -> Self {
        match error {
            stores::OpenError::InUse(message) => Blocked::Refused(Refusal::InUse(message)),
            stores::OpenError::Unusable(message) => {
                Blocked::Preflight(PreflightError::Store(message))
            }
        }
    }
}

impl From<Refusal> for Blocked {
    fn from(refusal: Refusal) -> Self {
        Blocked::Refused(refusal)
    }
}

fn blocked(error: RecoveryError) -> Blocked {
    match error {
        RecoveryError::Store(error) => Blocked::Preflight(PreflightError::Store(error.to_string())),
        RecoveryError::Conditions(error) => {
            Blocked::Preflight(PreflightError::Store(error.to_string()))
        }
        RecoveryError::Sink(error) => error.into(),
        error => Blocked::Refused(Refusal::Recovery(error)),
    }
}

/// Everything that a job with checkpoints begins with.
pub(super) struct Begun {
    pub(super) source: OpenSource,
    pub(super) recovered: Recovered,
    /// Where each stream goes.
    pub(super) places: Vec<(OutputStream, String)>,
    /// How outputs are written.
    pub(super) form: Form,
    /// What a person should know.
    pub(super) warnings: Vec<String>,
}

/// What is to be said of a job that does not go on from its newest checkpoint.
fn fallen_back(manifest: Option<&Manifest>, damaged: &[String]) -> Option<String> {
    let manifest = manifest.filter(|_| !damaged.is_empty())?;
    let Manifest { epoch, number, .. } = manifest;
    Some(format!(
        "WARNING: the newest checkpoint is damaged, and the job goes on from an older one, that of epoch {epoch} (record \
         {number}). What came after it is read and handled once more; outputs stay as they are. Damaged: {}. Have the \
         disk checked; `slackwater checkpoints verify` reads all that is kept",
        damaged.join("; ")
    ))
}

/// Claims the job's store, takes over its outputs, and opens its source where it goes on.
pub(super) fn begin(
    pipeline: &Pipeline,
    checkpoint: &CheckpointSpec,
    model: Option<&ModelInfo>,
    spread: Spread,
    resuming: Resuming,
    clock: &Arc<dyn Clock>,
) -> Result<Begun, Blocked> {
    if resuming.waits {
        await_brokers(pipeline)?;
    }
    // What the job reads is looked at before anything is claimed: a run that cannot begin must not end one that
    // goes on.
    let first = open_source(pipeline, clock)?;
    let store = stores::open(&checkpoint.store, clock)?;
    let files = files(pipeline);
    let (topics, form) = sink_topics(pipeline)?;
    if let Some(files) = files.as_ref().filter(|files| files.root.is_dir()) {
        // Nor one whose outputs another run writes to: its store may have no lock that says so. Where nothing is, there
        // is no such run, and nothing is made before the store has answered.
        drop(open_files(files, clock)?);
    }
    let claimant = Claimant {
        host: rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned(),
        process: process::id(),
        now_ms: clock.wall_ms(),
    };
    let mut claimed = claim(store, &claimant).map_err(blocked)?;
    if resuming.fresh {
        claimed.forget();
        if let Some(files) = &files {
            EpochFiles::set_aside(files)?;
        }
    }
    let manifest = claimed.manifest().map_err(blocked)?.cloned();
    if let (None, Some(files), false) = (&manifest, &files, resuming.fresh) {
        refuse_outputs(files, checkpoint)?;
    }
    let job = identity(pipeline, model);
    refuse_changes(manifest.as_ref(), &claimed.differences(&job), resuming)?;
    let source = match &manifest {
        Some(manifest) => resume_source(pipeline, manifest, clock)?,
        None => first,
    };
    let warning = fallen_back(manifest.as_ref(), claimed.damaged());
    let (sink, places, choice) = match topics {
        Some(topics) => publish_to(topics, claimed.fence(), resuming)?,
        None => open_sink(pipeline, files.as_ref(), resuming, clock)?,
    };
    let asked = Asked {
        job,
        spread,
        partitions: source.source.partitions().to_vec(),
        settings: checkpoint.settings,
        retain: checkpoint.retain as usize,
        choice,
        now_ms: clock.wall_ms(),
    };
    Ok(Begun {
        source,
        recovered: claimed.begin(asked, sink).map_err(blocked)?,
        places,
        form,
        warnings: warning.into_iter().collect(),
    })
}

/// Takes the outputs, once the worker of an earlier run has left them that may be about to end.
fn open_files(files: &EpochFilesConfig, clock: &Arc<dyn Clock>) -> Result<EpochFiles, Blocked> {
    let is_held = |error: &SinkError| error.source.kind() == ErrorKind::WouldBlock;
    let opened = open_once_left(clock, is_held, || EpochFiles::open(files));
    opened.map_err(|error| match is_held(&error) {
        true => Refusal::InUse(error.to_string()).into(),
        false => error.into(),
    })
}

fn files(pipeline: &Pipeline) -> Option<EpochFilesConfig> {
    match &pipeline.sink.kind {
        SinkKind::File { path } => Some(EpochFilesConfig {
            root: path.into(),
            folders: stream_folders(pipeline),
            shards: shards(pipeline),
            job: pipeline.job.name.clone(),
        }),
        SinkKind::Stdout | SinkKind::Discard | SinkKind::Kafka(_) => None,
    }
}

/// The topics of a sink that has some, and what they take.
type OpenTopics = (SinkTopics, Destinations);

/// These, and how outputs are written.
fn sink_topics(pipeline: &Pipeline) -> Result<(Option<OpenTopics>, Form), PreflightError> {
    let SinkKind::Kafka(cluster) = &pipeline.sink.kind else {
        return Ok((None, Form::Lines));
    };
    let topics = SinkTopics::of(pipeline, cluster)?;
    let takes = topics.destinations()?;
    let form = Form::Addressed(takes.clone());
    Ok((Some((topics, takes)), form))
}

fn publish_to(
    (topics, takes): OpenTopics,
    fence: Fence,
    resuming: Resuming,
) -> Result<OpenEpochSink, PreflightError> {
    let places = topics.places();
    let (sink, choice) = topics.sink(fence, takes)?;
    Ok((sink, places, choice.or(resuming.choice)))
}

fn shards(pipeline: &Pipeline) -> u16 {
    u16::try_from(pipeline.sink.shards).unwrap_or(u16::MAX)
}

fn refuse_outputs(files: &EpochFilesConfig, checkpoint: &CheckpointSpec) -> Result<(), Blocked> {
    match EpochFiles::existing(files)? {
        None => Ok(()),
        Some(path) => Err(Refusal::OutputsWithoutCheckpoint {
            path: path.display().to_string(),
            store: checkpoint.store.to_string(),
        }
        .into()),
    }
}

fn refuse_changes(
    manifest: Option<&Manifest>,
    changes: &[Difference],
    resuming: Resuming,
) -> Result<(), Refusal> {
    let is_of_features =
        |change: &Difference| change.part.starts_with("features.") || change.part == "model";
    let only_features = changes.iter().all(is_of_features);
    if changes.is_empty() || (only_features && resuming.allow_new_features) {
        return Ok(());
    }
    let keeps_else = changes.iter().any(|change| change.part == "history");
    let changes: Vec<String> = changes.iter().map(ToString::to_string).collect();
    Err(Refusal::Changed {
        epoch: manifest.map_or(0, |manifest| manifest.epoch.0),
        changes: changes.join("; "),
        way_on: if only_features {
            CHANGED_FEATURES
        } else if keeps_else {
            CHANGED_WINDOWS
        } else {
            CHANGED
        },
    })
}

fn resume_source(
    pipeline: &Pipeline,
    manifest: &Manifest,
    clock: &Arc<dyn Clock>,
) -> Result<OpenSource, PreflightError> {
    let known = manifest
        .partitions
        .iter()
        .map(|it| Partition::new(it.id, Arc::from(it.topic.as_str())));
    let known: Vec<Partition> = known.collect();
    let starts = manifest.partitions.iter().map(PartitionPosition::cut);
    open_source_again(pipeline, &known, &starts.collect(), clock)
}

/// A sink, where it puts each stream, and what it does about outputs of which it cannot tell whether it has them.
type OpenEpochSink = (
    Box<dyn EpochSink>,
    Vec<(OutputStream, String)>,
    Option<Choice>,
);

fn open_sink(
    pipeline: &Pipeline,
    files: Option<&EpochFilesConfig>,
    resuming: Resuming,
    clock: &Arc<dyn Clock>,
) -> Result<OpenEpochSink, Blocked> {
    let shards = shards(pipeline);
    let names = stream_folders(pipeline);
    Ok(match (files, &pipeline.sink.kind) {
        (Some(files), _) => {
            let place = |stream| {
                let folder = files.root.join(files.folders.of(stream));
                (stream, folder.display().to_string())
            };
            let places = OutputStream::ALL.map(place).into();
            (Box::new(open_files(files, clock)?), places, resuming.choice)
        }
        (None, SinkKind::Stdout) => {
            let sink = StdoutSink::new(std::io::stdout(), |stream| names.of(stream).to_owned());
            let place = |stream| (stream, "stdout".to_owned());
            let places = OutputStream::ALL.map(place).into();
            let choice = Some(Choice::AcceptDuplicates);
            (Box::new(Unmarked::new(sink, shards)), places, choice)
        }
        (None, _) => {
            let sink = Unmarked::new(DiscardSink::new(), shards);
            (Box::new(sink), Vec::new(), Some(Choice::SkipOutbox))
        }
    })
}
