//! From a typed pipeline to a running job: the only place that names concrete connectors.

mod stations;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use slackwater_connectors::discard::DiscardSink;
use slackwater_connectors::file::{
    CellKind, CellKinds, Existing, FileConfig, FileSink, FileSinkConfig, FileSource, OpenError,
    StdinSource, StreamFolders,
};
use slackwater_connectors::generator::{Generator, GeneratorConfig, GeneratorSource};
use slackwater_connectors::stdout::StdoutSink;
use slackwater_dataflow::adapter::{Events, Graph};
use slackwater_dataflow::clock::Clock;
use slackwater_dataflow::flow::Publication;
use slackwater_dataflow::lookup::asking::AskWatch;
use slackwater_dataflow::pace::{Pace, PaceLimits, WAITING_BYTES_PER_WORKER};
use slackwater_dataflow::place::Spread;
use slackwater_dataflow::run::RunError;
use slackwater_dataflow::sink::{OutputStream, Sink};
use slackwater_dataflow::source::{Partition, Source, Starts};
use slackwater_models::builtin;
use slackwater_models::{Model, ModelSpec, OutputSpec, Scorer};
use slackwater_operators::derive::DeriveStage;
use slackwater_operators::encode::{
    DeadLetterPlan, EncodeDeadLetters, EncodeFeatures, EncodePredictions, EncodeVectors, Form,
    ModelIdentity, RawPlan, VectorPlan,
};
use slackwater_operators::features::FeatureBatch;
use slackwater_operators::infer::Infer;
use slackwater_operators::ingest::EventIngest;
use slackwater_operators::reject::RejectBatch;

use crate::pipeline::lookups::Lookups;
use crate::pipeline::plan::{Plans, ScoringPlans, model_name, stage, width};
use crate::pipeline::preflight::{PreflightError, fits_generator};
use crate::pipeline::spec::{self, Pipeline};
use crate::pipeline::tables;
use crate::pipeline::topics;

/// The model of a pipeline, checked, optimised and run once.
pub fn load_model(pipeline: &Pipeline) -> Result<Model, PreflightError> {
    let wanted = pipeline.model.as_ref().ok_or(PreflightError::NoModel)?;
    let name = model_name(&wanted.path);
    let mut spec = match &wanted.path {
        spec::ModelPath::Builtin(name) => builtin::spec(name, wanted.batch)
            .ok_or_else(|| PreflightError::NoBuiltin(name.clone()))?,
        spec::ModelPath::File(path) => ModelSpec {
            source: std::fs::read(path).map_err(|e| unreadable("model", path, e))?,
            ..ModelSpec::default()
        },
    };
    spec.name = name;
    spec.digest = wanted
        .digest
        .as_ref()
        .map(|digest| format!("sha256:{digest}"));
    spec.input.clone_from(&wanted.input);
    let outputs = wanted.outputs.iter().map(|output| OutputSpec {
        name: output.name.clone(),
        tensor: output.tensor.clone(),
        index: output.index,
    });
    spec.outputs = outputs.collect();
    spec.batch = wanted.batch;
    spec.features = width(pipeline);
    if let Some(path) = &wanted.golden {
        let text = std::fs::read_to_string(path);
        spec.golden = Some(text.map_err(|e| unreadable("golden vector", path, e))?);
    }
    Model::load(&spec).map_err(|source| PreflightError::Model {
        place: wanted.place.clone(),
        source,
    })
}

fn unreadable(what: &'static str, path: &str, source: io::Error) -> PreflightError {
    PreflightError::Unreadable {
        what,
        path: path.to_owned(),
        source,
    }
}

/// A source that is ready, and what it reads.
pub(crate) struct OpenSource {
    /// The source.
    pub(crate) source: Arc<dyn Source>,
    /// Its files; none if it reads none.
    pub(crate) files: Vec<PathBuf>,
}

/// Where the events come from.
pub(crate) fn open_source(
    pipeline: &Pipeline,
    clock: &Arc<dyn Clock>,
) -> Result<OpenSource, PreflightError> {
    open_source_of(pipeline, &[], clock)
}

/// The same where more is read of each event than its fields: `labels`, of which nobody says what they are.
pub(crate) fn open_source_of(
    pipeline: &Pipeline,
    labels: &[String],
    clock: &Arc<dyn Clock>,
) -> Result<OpenSource, PreflightError> {
    let max_bytes = pipeline.event.max_bytes;
    Ok(match &pipeline.source {
        spec::SourceSpec::Stdin => OpenSource {
            source: Arc::new(StdinSource::new(max_bytes)),
            files: Vec::new(),
        },
        spec::SourceSpec::File { path, follow } => {
            let mut config = file_config(pipeline, path, *follow);
            for label in labels {
                let mut fields = pipeline.event.fields.iter();
                if !fields.any(|it| it.name == *label || column(it) == Some(label)) {
                    config.cells.insert(label.clone(), CellKind::Either);
                }
            }
            let source = FileSource::new(config, Arc::clone(clock))?;
            OpenSource {
                files: source.paths().to_vec(),
                source: Arc::new(source),
            }
        }
        spec::SourceSpec::Kafka(spec) => OpenSource {
            source: Arc::new(topics::source(pipeline, spec, &[], clock)?),
            files: Vec::new(),
        },
        spec::SourceSpec::Generator(_) => {
            fits_generator(pipeline)?;
            let generator = Generator::new(generator_config(pipeline))?;
            OpenSource {
                source: Arc::new(GeneratorSource::new(
                    generator,
                    max_bytes,
                    Arc::clone(clock),
                )),
                files: Vec::new(),
            }
        }
    })
}

/// The same for a job that goes on: partitions that it knows keep their numbers, and those that had ended may be gone.
pub(crate) fn open_source_again(
    pipeline: &Pipeline,
    known: &[Partition],
    starts: &Starts,
    clock: &Arc<dyn Clock>,
) -> Result<OpenSource, PreflightError> {
    match &pipeline.source {
        spec::SourceSpec::File { path, follow } => {
            let config = file_config(pipeline, path, *follow);
            let source = FileSource::resumed(config, known, starts, Arc::clone(clock))?;
            Ok(OpenSource {
                files: source.paths().to_vec(),
                source: Arc::new(source),
            })
        }
        spec::SourceSpec::Kafka(spec) => Ok(OpenSource {
            source: Arc::new(topics::source(pipeline, spec, known, clock)?),
            files: Vec::new(),
        }),
        spec::SourceSpec::Generator(_) | spec::SourceSpec::Stdin => open_source(pipeline, clock),
    }
}

fn file_config(pipeline: &Pipeline, path: &str, follow: bool) -> FileConfig {
    let outputs = match &pipeline.sink.kind {
        spec::SinkKind::File { path } => {
            let outputs = files_at(pipeline, Path::new(path), Existing::Refuse);
            let folders = OutputStream::ALL.map(|stream| outputs.folders.of(stream).to_owned());
            folders.map(|folder| outputs.root.join(folder)).into()
        }
        spec::SinkKind::Stdout | spec::SinkKind::Discard | spec::SinkKind::Kafka(_) => Vec::new(),
    };
    let idle_timeout_ms = pipeline.event.idle_timeout_ms;
    FileConfig {
        path: path.to_owned(),
        follow,
        silent_after: idle_timeout_ms.map(Duration::from_millis),
        not_below: outputs,
        max_bytes: pipeline.event.max_bytes,
        cells: cells(pipeline),
        tables: tables::opener(),
    }
}

/// The column of a table in which a field lies; one that lies in an object lies in none.
fn column(field: &spec::FieldSpec) -> Option<&String> {
    match field.path.as_slice() {
        [column] => Some(column),
        _ => None,
    }
}

/// What columns of CSV are, by the declared fields that lie in them.
fn cells(pipeline: &Pipeline) -> CellKinds {
    let fields = pipeline.event.fields.iter();
    let kind = |field: &spec::FieldSpec| match field.kind {
        spec::FieldKind::Int | spec::FieldKind::Float => Some(CellKind::Number),
        spec::FieldKind::Bool => Some(CellKind::Bool),
        _ => None,
    };
    fields
        .filter_map(|field| Some((column(field)?.clone(), kind(field)?)))
        .collect()
}

/// The generator's settings of a pipeline; the defaults where the pipeline reads files, which says
/// nothing about a generator.
pub(crate) fn generator_config(pipeline: &Pipeline) -> GeneratorConfig {
    let max_out_of_orderness_ms = pipeline.event.max_out_of_orderness_ms;
    let defaults = GeneratorConfig {
        max_out_of_orderness_ms,
        ..GeneratorConfig::default()
    };
    match &pipeline.source {
        spec::SourceSpec::File { .. } | spec::SourceSpec::Stdin | spec::SourceSpec::Kafka(_) => {
            defaults
        }
        spec::SourceSpec::Generator(spec) => GeneratorConfig {
            seed: spec.seed,
            events: spec.events,
            rate: spec.rate,
            partitions: spec.partitions,
            users: spec.users,
            skew: spec.skew,
            invalid: spec.invalid,
            late: spec.late,
            ..defaults
        },
    }
}

/// A sink that is ready, and where it puts each stream.
pub struct OpenSink {
    /// The sink.
    pub sink: Box<dyn Sink>,
    /// Where each stream goes, a folder or `stdout`; none if the outputs go nowhere.
    pub places: Vec<(OutputStream, String)>,
}

impl OpenSink {
    /// A sink that counts and keeps nothing.
    pub(crate) fn discard() -> Self {
        OpenSink {
            sink: Box::new(DiscardSink::new()),
            places: Vec::new(),
        }
    }

    /// All streams to the standard output, with the pipeline's stream names.
    pub(crate) fn stdout(pipeline: &Pipeline) -> Self {
        let folders = stream_folders(pipeline);
        let sink = StdoutSink::new(io::stdout(), |stream| folders.of(stream).to_owned());
        let place = |stream| (stream, "stdout".to_owned());
        OpenSink {
            sink: Box::new(sink),
            places: OutputStream::ALL.map(place).into(),
        }
    }
}

pub(crate) fn stream_folders(pipeline: &Pipeline) -> StreamFolders {
    let names = &pipeline.sink.streams;
    StreamFolders {
        predictions: names.predictions.clone(),
        validation_errors: names.validation_errors.clone(),
        processing_errors: names.processing_errors.clone(),
        late_events: names.late_events.clone(),
    }
}

/// Files at `root`, with the pipeline's stream names.
pub fn files_at(pipeline: &Pipeline, root: &Path, existing: Existing) -> FileSinkConfig {
    FileSinkConfig {
        root: root.to_owned(),
        folders: stream_folders(pipeline),
        shards: u16::try_from(pipeline.sink.shards).unwrap_or(u16::MAX),
        existing,
    }
}

/// Opens a file sink.
pub fn open_files(config: &FileSinkConfig) -> Result<OpenSink, PreflightError> {
    let sink = open_file_sink(config)?;
    Ok(OpenSink {
        places: places(&sink),
        sink: Box::new(sink),
    })
}

/// The same, for who puts something around it.
pub(crate) fn open_file_sink(config: &FileSinkConfig) -> Result<FileSink, PreflightError> {
    FileSink::open(config).map_err(|error| match error {
        OpenError::Exists { path } => PreflightError::OutputsExist { path },
        OpenError::Failed(error) => PreflightError::Sink(error),
    })
}

/// Where the streams of a file sink go.
pub(crate) fn places(sink: &FileSink) -> Vec<(OutputStream, String)> {
    let place = |stream| (stream, sink.folder(stream).display().to_string());
    OutputStream::ALL.into_iter().map(place).collect()
}

/// What stands behind the features.
pub enum Ending {
    /// Scores become predictions.
    Score(Model),
    /// Features go out in place of predictions: there is no model.
    GiveFeatures,
    /// Features are written for training.
    WriteFeatures,
}

/// Everything that each worker builds its graph from.
pub struct Blueprint {
    plans: Plans,
    source: Arc<dyn Source>,
    /// Of event-time order; in arrival order nothing waits.
    pace: Option<Arc<Pace>>,
    /// Of arrival order, with windows that should not hold what is yet to come.
    abreast: Option<Arc<Pace>>,
    clock: Arc<dyn Clock>,
    dead_letters: DeadLetterPlan,
    lookups: Option<Lookups>,
    last: Last,
}

enum Last {
    /// One scorer per worker is made when its graph is built.
    Predict(Model, Box<ScoringPlans>),
    Give(Box<VectorPlan>),
    Features,
}

impl Blueprint {
    /// The blueprint of `pipeline` on `workers` workers.
    pub fn new(
        pipeline: &Pipeline,
        workers: usize,
        source: Arc<dyn Source>,
        ending: Ending,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let plans = Plans::new(pipeline, workers);
        let mut dead_letters = DeadLetterPlan::new(&plans.ingest, source.topics());
        if pipeline.dead_letters == spec::DeadLetterForm::Raw {
            dead_letters.raw = Some(RawPlan {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                model: None,
            });
        }
        let last = match ending {
            Ending::WriteFeatures => Last::Features,
            Ending::GiveFeatures => Last::Give(Box::new(plans.vectors.clone())),
            Ending::Score(model) => {
                let identity = identity(&model);
                if let Some(raw) = &mut dead_letters.raw {
                    raw.model = Some(identity.digest.clone());
                }
                scored(pipeline, &plans, model, identity)
            }
        };
        let pace = |waiting_bytes_per_worker| {
            let limits = PaceLimits {
                max_drift_ms: pipeline.event.max_drift_ms,
                waiting_bytes_per_worker,
            };
            Arc::new(Pace::new(limits, workers, source.partitions()))
        };
        let (in_step, abreast) = match pipeline.job.order {
            spec::Order::EventTime => (Some(pace(WAITING_BYTES_PER_WORKER)), None),
            spec::Order::Arrival => {
                let is_abreast = pipeline.has_windows_of_time();
                (None, is_abreast.then(|| pace(u64::MAX)))
            }
        };
        Blueprint {
            plans,
            source,
            pace: in_step,
            abreast,
            clock,
            dead_letters,
            lookups: None,
            last,
        }
    }

    /// The same with what its features look up, if they do.
    pub(crate) fn looking_up(mut self, lookups: Option<Lookups>) -> Self {
        self.lookups = lookups;
        self
    }

    /// Looks at its lookups from outside.
    pub(crate) fn lookup_watches(&self) -> Vec<AskWatch> {
        let lookups = self.lookups.as_ref();
        lookups.map_or_else(Vec::new, Lookups::watches)
    }

    /// Where keys and partitions go.
    pub(crate) fn spread(&self) -> Spread {
        self.plans.spread
    }

    /// The same, but with another bound on the memory of events that wait for the watermark.
    #[must_use]
    pub fn with_waiting_bytes(mut self, per_worker: u64) -> Self {
        let partitions = self.source.partitions();
        let bounded = |pace: Arc<Pace>| {
            let limits = PaceLimits {
                waiting_bytes_per_worker: per_worker,
                ..pace.limits()
            };
            Arc::new(Pace::new(limits, self.plans.spread.workers, partitions))
        };
        self.pace = self.pace.map(bounded);
        self
    }

    /// The same, but outputs are written in this form.
    #[must_use]
    pub fn in_form(mut self, form: Form) -> Self {
        match &mut self.last {
            Last::Predict(_, plans) => plans.prediction.form = form.clone(),
            Last::Give(plan) => plan.form = form.clone(),
            Last::Features => {}
        }
        self.dead_letters.form = form;
        self
    }

    /// The same, but rows of features have these labels, and are written in this form.
    #[must_use]
    pub(crate) fn writing_rows(mut self, labels: &[String], form: Form) -> Self {
        // A field is where it is declared to be, anything else in the outermost object.
        let path = |label: &String| {
            let mut fields = self.plans.ingest.schema.fields.iter();
            let field = fields.find(|field| field.name == *label);
            field.map_or_else(|| vec![label.clone()], |field| field.path.clone())
        };
        self.plans.feature_rows.label_paths = labels.iter().map(path).collect();
        self.plans.feature_rows.labels = labels.to_vec();
        self.plans.feature_rows.form = form;
        self
    }

    /// How much waits for the watermark, and where; none in arrival order, where nothing does.
    pub fn pace(&self) -> Option<Arc<Pace>> {
        self.pace.clone()
    }

    /// What it reads, of which the group of workers has to be told.
    pub fn source(&self) -> Arc<dyn Source> {
        Arc::clone(&self.source)
    }

    /// Builds the graph of one worker.
    pub fn build(&self, graph: &Graph<'_>) -> Result<(), RunError> {
        let plans = &self.plans;
        let ingest = EventIngest::new(Arc::clone(&plans.ingest));
        let source = self.source.as_ref();
        let (rows, refused) = match (&self.pace, &self.abreast) {
            (Some(pace), _) => graph.source_in_step(pace, source, ingest)?,
            (None, Some(pace)) => graph.source_abreast(pace, source, ingest)?,
            (None, None) => graph.source(source, ingest)?,
        };
        let mut rejects = vec![refused.into_stream()];
        let rows = self.over_hops(graph, rows, &mut rejects);
        let vectors = self.vectors(graph, rows, &mut rejects);
        let vectors = match &self.lookups {
            None => vectors,
            Some(lookups) => {
                let (vectors, refused) = lookups.apply(graph, vectors)?;
                rejects.push(refused.into_stream());
                vectors
            }
        };
        let vectors = match &plans.derived {
            None => vectors,
            Some(plan) => {
                let derive = DeriveStage::new(Arc::clone(plan));
                let (vectors, none) = graph.apply(stage::EXPRESSIONS, vectors, derive);
                none.none();
                vectors
            }
        };
        let records = self.records(graph, vectors, &mut rejects)?;
        let dead_letters =
            EncodeDeadLetters::new(self.dead_letters.clone(), Arc::clone(&self.clock));
        let (dead_letters, none) = graph.apply(
            stage::ENCODE_DEAD_LETTERS,
            graph.concat(rejects),
            dead_letters,
        );
        none.none();
        graph.publish(graph.concat([records, dead_letters]));
        Ok(())
    }

    fn records<'s>(
        &self,
        graph: &Graph<'s>,
        vectors: Events<'s, FeatureBatch>,
        rejects: &mut Vec<Events<'s, RejectBatch>>,
    ) -> Result<Events<'s, Publication>, RunError> {
        let records = match &self.last {
            Last::Features => {
                let encode = EncodeFeatures::new(&self.plans.feature_rows);
                let (records, none) = graph.apply(stage::ENCODE_FEATURES, vectors, encode);
                none.none();
                records
            }
            Last::Give(plan) => {
                let encode = EncodeVectors::new(plan, Arc::clone(&self.clock));
                let (records, refused) = graph.apply(stage::ENCODE_FEATURES, vectors, encode);
                rejects.push(refused.into_stream());
                records
            }
            Last::Predict(model, plans) => {
                let infer = Infer::new(plans.infer.clone(), scorer(model)?);
                let (scored, refused) = graph.apply(stage::INFER, vectors, infer);
                rejects.push(refused.into_stream());
                let encode = EncodePredictions::new(&plans.prediction, Arc::clone(&self.clock));
                let (records, refused) = graph.apply(stage::ENCODE_PREDICTIONS, scored, encode);
                rejects.push(refused.into_stream());
                records
            }
        };
        Ok(records)
    }
}

/// What scores and says so. Of a pipeline without a model nothing does, whatever model there is.
fn scored(pipeline: &Pipeline, plans: &Plans, model: Model, identity: ModelIdentity) -> Last {
    match &plans.scoring {
        Some(scoring) => {
            let prediction = scoring.prediction_by(pipeline, identity);
            let infer = scoring.infer.clone();
            Last::Predict(model, Box::new(ScoringPlans { infer, prediction }))
        }
        None => Last::Give(Box::new(plans.vectors.clone())),
    }
}

/// A scorer for one thread.
pub(crate) fn scorer(model: &Model) -> Result<Scorer, RunError> {
    model.scorer().map_err(|error| RunError::Stage {
        stage: stage::INFER,
        source: Box::new(error),
    })
}

fn identity(model: &Model) -> ModelIdentity {
    let info = model.info();
    ModelIdentity {
        name: info.name.clone(),
        version: info.version,
        digest: info.digest.as_str().to_owned(),
    }
}
