//! Runs one pipeline in this process: preflight, workers, report.
//!
//! - [`epochs`]: how one with checkpoints is made ready.

mod epochs;

use std::num::NonZero;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use slackwater_connectors::file::{Existing, FileSinkConfig};
use slackwater_dataflow::adapter::Graph;
use slackwater_dataflow::checkpoint::log::newest_claim;
use slackwater_dataflow::checkpoint::recovery::Recovered;
use slackwater_dataflow::clock::{Clock, SystemClock};
use slackwater_dataflow::lookup::asking::AskWatch;
use slackwater_dataflow::meters::{Latency, Meters, Trouble};
use slackwater_dataflow::moment::Epoch;
use slackwater_dataflow::place::Spread;
use slackwater_dataflow::run::{RunError, Stopper};
use slackwater_dataflow::sink::OutputStream;
use slackwater_dataflow::worker::{WORKERS_MAX, WorkerGroup};
use slackwater_models::{Model, ModelInfo};
use slackwater_operators::encode::Form;

use self::epochs::{Begun, Blocked, begin};
pub use self::epochs::{Refusal, Resuming};

use crate::pipeline::Pipeline;
#[cfg(feature = "parquet")]
use crate::pipeline::feature_tables;
use crate::pipeline::graph::{
    Blueprint, Ending, OpenSink, files_at, load_model, open_files, open_source, open_source_of,
};
use crate::pipeline::lookups::{self, Lookups};
use crate::pipeline::mirror;
#[cfg(feature = "parquet")]
use crate::pipeline::plan::Plans;
use crate::pipeline::preflight::{self, PreflightError};
use crate::pipeline::spec::{CheckpointSpec, ClusterSpec, SinkKind, SourceSpec, StorePlace};
use crate::pipeline::topics::SinkTopics;
use crate::report::{EpochFigures, ProductName, Report};
use crate::status::{Subject, Watch};
use crate::stores;
use crate::supervisor::protocol;

/// A job did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// It could not start; nothing was read or written.
    #[error(transparent)]
    Preflight(#[from] PreflightError),
    /// It must not go on as it is; nothing was read or published.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It failed while running.
    #[error(transparent)]
    Run(#[from] RunError),
}

impl From<Blocked> for JobError {
    fn from(blocked: Blocked) -> Self {
        match blocked {
            Blocked::Preflight(error) => JobError::Preflight(error),
            Blocked::Refused(refusal) => JobError::Refused(refusal),
        }
    }
}

/// What a job is to produce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Product {
    /// Predictions, or features of a pipeline without a model, to the pipeline's sink.
    Predictions,
    /// Feature vectors for training instead.
    Features(FeatureFiles),
}

/// Where feature vectors go, and what stands beside them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FeatureFiles {
    /// Folder below which the files are.
    pub root: PathBuf,
    /// Names of values that are passed through, declared fields or others.
    pub labels: Vec<String>,
    /// What they hold.
    pub form: RowForm,
}

/// How feature vectors are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum RowForm {
    /// As lines of JSON.
    #[default]
    Jsonl,
    /// As a table in columns.
    Parquet,
}

/// Folder of feature vectors, beside those of the dead letters.
const FEATURES_FOLDER: &str = "features";

impl Product {
    /// What a job of this pipeline makes: without a model, its results are features.
    fn name(&self, pipeline: &Pipeline) -> ProductName {
        match self {
            Product::Predictions if pipeline.model.is_some() => ProductName::Predictions,
            Product::Predictions | Product::Features(_) => ProductName::Features,
        }
    }

    /// The folder that it goes to; none if it goes to no files.
    fn root(&self, pipeline: &Pipeline) -> Option<PathBuf> {
        match (self, &pipeline.sink.kind) {
            (Product::Features(files), _) => Some(files.root.clone()),
            (Product::Predictions, SinkKind::File { path }) => Some(path.into()),
            (Product::Predictions, SinkKind::Stdout | SinkKind::Discard | SinkKind::Kafka(_)) => {
                None
            }
        }
    }
}

/// Threads of a job: as declared, or one per core.
pub fn workers(pipeline: &Pipeline) -> usize {
    let cores = || thread::available_parallelism().map_or(1, NonZero::get);
    let declared = pipeline.job.workers;
    let workers = if declared == 0 { cores() } else { declared };
    workers.clamp(1, WORKERS_MAX.min(pipeline.job.key_groups as usize))
}

/// A job that passed its preflight.
pub struct Job {
    subject: Subject,
    group: WorkerGroup,
    clock: Arc<dyn Clock>,
    blueprint: Blueprint,
    output: Output,
}

/// Where a job's outputs go, and how.
enum Output {
    /// As they come.
    AtOnce(OpenSink),
    /// Epoch by epoch.
    ByEpoch(ByEpoch),
}

/// Outputs of a job with checkpoints.
struct ByEpoch {
    recovered: Box<Recovered>,
    /// Where each stream goes.
    places: Vec<(OutputStream, String)>,
    warnings: Vec<String>,
    /// Whether they are visible when their epoch is durable, and not before.
    when_durable: bool,
}

/// A job that passed its preflight, or has nothing left to do.
pub enum Prepared {
    /// It can run.
    Ready(Box<Job>),
    /// Its input had ended, and all of it was handled, as the checkpoint of this epoch says.
    Complete(Epoch, Box<Report>),
}

impl Job {
    /// Loads the model, opens source and sink. Existing outputs are only touched when everything else is
    /// as it should be.
    pub fn prepare(
        pipeline: &Pipeline,
        product: &Product,
        existing: Existing,
    ) -> Result<Self, PreflightError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
        let workers = workers(pipeline);
        let ending = match product {
            Product::Predictions => ending(model(pipeline)?),
            Product::Features(_) => Ending::WriteFeatures,
        };
        let (labels, rows) = match product {
            Product::Predictions => (&[][..], RowForm::Jsonl),
            Product::Features(files) => (files.labels.as_slice(), files.form),
        };
        let source = open_source_of(pipeline, labels, &clock)?;
        let output = match product.root(pipeline) {
            None if pipeline.sink.kind == SinkKind::Stdout => OpenSink::stdout(pipeline),
            None => OpenSink::discard(),
            Some(root) => {
                let mut outputs = files_at(pipeline, &root, existing);
                if matches!(product, Product::Features(_)) {
                    outputs.folders.predictions = FEATURES_FOLDER.to_owned();
                }
                preflight::inputs_outside(&source.files, &outputs)?;
                match rows {
                    RowForm::Jsonl => open_files(&outputs)?,
                    RowForm::Parquet => open_tables(pipeline, &outputs, labels)?,
                }
            }
        };
        let blueprint =
            Blueprint::new(pipeline, workers, source.source, ending, Arc::clone(&clock))
                .writing_rows(
                    labels,
                    match rows {
                        RowForm::Jsonl => Form::Lines,
                        RowForm::Parquet => Form::Rows,
                    },
                );
        let lookups = Lookups::of(pipeline, blueprint.spread(), &clock)?;
        Ok(Job {
            subject: subject(pipeline, product),
            group: WorkerGroup::new(workers, Arc::clone(&clock)),
            blueprint: blueprint.looking_up(lookups),
            clock,
            output: Output::AtOnce(output),
        })
    }

    /// The same for a job with checkpoints, which makes predictions: goes on where the one before has ended.
    pub fn resume(
        pipeline: &Pipeline,
        checkpoint: &CheckpointSpec,
        resuming: Resuming,
    ) -> Result<Prepared, JobError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
        let started = clock.monotonic();
        let workers = workers(pipeline);
        let model = model(pipeline)?;
        let spread = Spread {
            key_groups: u16::try_from(pipeline.job.key_groups).unwrap_or(u16::MAX),
            workers,
            shards: u16::try_from(pipeline.sink.shards).unwrap_or(u16::MAX),
        };
        mirror::check_if_there(pipeline)?;
        let info = model.as_ref().map(Model::info);
        let begun = begin(pipeline, checkpoint, info, spread, resuming, &clock)?;
        let Begun {
            source,
            recovered,
            places,
            form,
            warnings,
        } = begun;
        let subject = subject(pipeline, &Product::Predictions);
        let mirror = mirror::mirror(pipeline)?;
        let recovered = match mirror {
            None => recovered,
            Some(mirror) if recovered.is_complete => {
                // The run that came to the end of the input may have ended before its mirror did.
                let mut say = |behind: &_| tracing::warn!("{behind}; the job waits for it");
                recovered.bring(mirror, &mut say).map_err(mirror::behind)?;
                recovered
            }
            Some(mirror) => recovered.mirrored(mirror),
        };
        if recovered.is_complete {
            let at = recovered.from.map_or(Epoch(0), |(epoch, _)| epoch);
            let report = Box::new(Report {
                job: subject.job,
                product: subject.product,
                totals: recovered.totals(),
                elapsed: clock.monotonic().saturating_sub(started),
                cpu: processor_time(),
                outputs: places,
                latency: Latency::default(),
                epochs: Some(EpochFigures::default()),
                lookups: Vec::new(),
            });
            return Ok(Prepared::Complete(at, report));
        }
        let ending = ending(model);
        let blueprint =
            Blueprint::new(pipeline, workers, source.source, ending, Arc::clone(&clock));
        let lookups = Lookups::of(pipeline, spread, &clock)?;
        Ok(Prepared::Ready(Box::new(Job {
            subject,
            group: WorkerGroup::new(workers, Arc::clone(&clock)),
            blueprint: blueprint.in_form(form).looking_up(lookups),
            clock,
            output: Output::ByEpoch(ByEpoch {
                recovered: Box::new(recovered),
                places,
                warnings,
                when_durable: !pipeline.sink.sends_at_once(),
            }),
        })))
    }

    /// A handle that ends the run early: what has been read is still handled and written.
    pub fn stopper(&self) -> Stopper {
        self.group.stopper()
    }

    /// What is counted of the run.
    pub fn meters(&self) -> Arc<Meters> {
        self.group.meters()
    }

    /// Watches the run, which must begin now.
    pub fn watch(&self) -> Watch {
        let (meters, reached) = (self.group.meters(), self.group.reached());
        let (pace, clock) = (self.blueprint.pace(), Arc::clone(&self.clock));
        let watch = Watch::new(self.subject.clone(), meters, reached, pace, clock);
        watch.looking_up(self.blueprint.lookup_watches())
    }

    /// Tells how the run is, for its supervisor.
    pub fn health(&self) -> impl FnMut() -> Option<protocol::Status> + Send + 'static {
        let (meters, clock) = (self.group.meters(), Arc::clone(&self.clock));
        let lookups = self.blueprint.lookup_watches();
        let mut last = None;
        move || {
            let trouble = meters.trouble();
            let is_known =
                |it: &protocol::Trouble| trouble.as_ref().is_some_and(|now| now.times == it.times);
            if !last.as_ref().is_some_and(is_known) {
                last = trouble.map(|Trouble { times, what }| protocol::Trouble {
                    what,
                    at_ms: clock.wall_ms(),
                    times,
                });
            }
            Some(protocol::Status {
                checkpoints: (&meters.checkpoints()).into(),
                events: (&meters.totals()).into(),
                lookups: lookups.iter().map(|it| it.look().into()).collect(),
                trouble: last.clone(),
            })
        }
    }

    /// What a person should know before the job begins.
    pub fn warnings(&self) -> &[String] {
        match &self.output {
            Output::AtOnce(_) => &[],
            Output::ByEpoch(outputs) => &outputs.warnings,
        }
    }

    /// Runs to the end of the input.
    pub fn run(self) -> Result<Report, RunError> {
        let blueprint = self.blueprint;
        let lookups = blueprint.lookup_watches();
        let group = self.group.watching(blueprint.source());
        let started = self.clock.monotonic();
        let build = move |graph: &Graph<'_>| blueprint.build(graph);
        let (finished, outputs, epochs) = match self.output {
            Output::AtOnce(OpenSink { sink, places }) => (group.run(sink, build)?, places, None),
            Output::ByEpoch(outputs) => {
                let finished = group.run_in_epochs(*outputs.recovered, build)?;
                let figures = EpochFigures {
                    visible: outputs.when_durable.then_some(finished.visible),
                    checkpoints: finished.checkpoints,
                    restarts: 0,
                };
                (finished, outputs.places, Some(figures))
            }
        };
        Ok(Report {
            job: self.subject.job,
            product: self.subject.product,
            totals: finished.totals,
            latency: finished.latency,
            elapsed: self.clock.monotonic().saturating_sub(started),
            cpu: processor_time(),
            outputs,
            epochs,
            lookups: lookups.iter().map(AskWatch::look).collect(),
        })
    }
}

/// Opens a sink that writes features as tables.
#[cfg(feature = "parquet")]
fn open_tables(
    pipeline: &Pipeline,
    outputs: &FileSinkConfig,
    labels: &[String],
) -> Result<OpenSink, PreflightError> {
    let names = Plans::new(pipeline, 1).feature_rows.names;
    feature_tables::open(pipeline, outputs, &names, labels)
}

#[cfg(not(feature = "parquet"))]
fn open_tables(_: &Pipeline, _: &FileSinkConfig, _: &[String]) -> Result<OpenSink, PreflightError> {
    Err(PreflightError::NoParquet)
}

/// The model of a pipeline that has one.
fn model(pipeline: &Pipeline) -> Result<Option<Model>, PreflightError> {
    let model = pipeline.model.as_ref();
    model.map(|_| load_model(pipeline)).transpose()
}

fn ending(model: Option<Model>) -> Ending {
    model.map_or(Ending::GiveFeatures, Ending::Score)
}

fn subject(pipeline: &Pipeline, product: &Product) -> Subject {
    let (expected, as_they_happen) = match &pipeline.source {
        SourceSpec::Generator(generator) => (Some(generator.events), false),
        SourceSpec::File { follow, .. } => (None, *follow),
        SourceSpec::Stdin | SourceSpec::Kafka(_) => (None, true),
    };
    Subject {
        job: pipeline.job.name.clone(),
        product: product.name(pipeline),
        expected,
        max_out_of_orderness_ms: pipeline.event.max_out_of_orderness_ms,
        as_they_happen,
    }
}

/// What a preflight finds that opens and writes nothing: every fault, not only the first.
#[derive(Debug, Default)]
pub struct Findings {
    /// Why the job cannot run.
    pub faults: Vec<PreflightError>,
    /// An output of an earlier run: no fault, but `run` needs `--overwrite`.
    pub existing: Option<PathBuf>,
    /// What is known of the model, if there is one and it could be loaded.
    pub model: Option<ModelInfo>,
    /// Partitions of the source, if it could be opened.
    pub partitions: Option<usize>,
    /// Topics that were made.
    pub created: Vec<String>,
}

/// Does the preflight of a job that makes predictions, without writing anything but, if asked to, topics that are missing.
pub fn examine(pipeline: &Pipeline, create_topics: bool) -> Findings {
    let mut found = Findings::default();
    match model(pipeline) {
        Ok(model) => found.model = model.map(|model| model.info().clone()),
        Err(fault) => found.faults.push(fault),
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let mut inputs = Vec::new();
    match open_source(pipeline, &clock) {
        Ok(open) => {
            found.partitions = Some(open.source.partitions().len());
            inputs = open.files;
        }
        Err(fault) => found.faults.push(fault),
    }
    if let Some(root) = Product::Predictions.root(pipeline) {
        let outputs = files_at(pipeline, &root, Existing::Refuse);
        found
            .faults
            .extend(preflight::inputs_outside(&inputs, &outputs).err());
        match preflight::examine(&outputs) {
            Ok(existing) => found.existing = existing,
            Err(fault) => found.faults.push(fault),
        }
    }
    if let SinkKind::Kafka(cluster) = &pipeline.sink.kind {
        let examined = examine_topics(pipeline, cluster, create_topics);
        match examined {
            Ok(created) => found.created = created,
            Err(fault) => found.faults.push(fault),
        }
    }
    found.faults.extend(lookups::greet(pipeline));
    found.faults.extend(mirror::check(pipeline).err());
    // One in a folder is made where it is not there.
    let bucket = pipeline.checkpoint.as_ref().map(|it| &it.store);
    if let Some(place @ StorePlace::Bucket { .. }) = bucket {
        found.faults.extend(look_into(place).err());
    }
    found
}

/// Whether the topics of a sink are as it needs them; those that were made for that.
fn examine_topics(
    pipeline: &Pipeline,
    cluster: &ClusterSpec,
    create: bool,
) -> Result<Vec<String>, PreflightError> {
    let topics = SinkTopics::of(pipeline, cluster)?;
    let mut created = Vec::new();
    if create {
        let missing = topics.missing()?;
        topics.create(&missing)?;
        created.extend(missing.into_iter().map(|topic| topic.name));
    }
    topics.destinations()?;
    Ok(created)
}

/// Whether a store answers, and who asks may ask.
fn look_into(place: &StorePlace) -> Result<(), PreflightError> {
    let store = stores::open_to_read(place).map_err(|it| PreflightError::Store(it.to_string()))?;
    let listed = newest_claim(store.as_ref());
    listed
        .map(drop)
        .map_err(|it| PreflightError::Store(it.to_string()))
}

/// Processor time that this process has used, all threads together.
pub fn processor_time() -> Duration {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(spent.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(spent.tv_nsec).unwrap_or_default())
}
