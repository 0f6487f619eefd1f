//! A pipeline as the rest of the program sees it: typed, complete, every name turned into an index.
//! All durations are milliseconds, all sizes bytes; an index of a field counts [`EventSpec::fields`],
//! an index of a feature counts [`Pipeline::features`].

mod event;
mod feature;
mod server;
mod lookup;
mod mirror;
mod when;

use std::fmt;
use std::path::PathBuf;

use slackwater_dataflow::checkpoint::coordinator::CheckpointSettings;
use slackwater_dataflow::sink::OutputStream;
use slackwater_operators::check::Pattern;
use slackwater_operators::expression::Expression;

use crate::pipeline::mistakes::Place;
use crate::supervisor::restart::RestartStrategy;

pub use self::event::{EventSpec, FieldKind, FieldSpec, TimeSpec};
pub use self::feature::{Condition, FeatureKind, FeatureSpec, Over, Transform, WindowSpec};
pub use self::lookup::{LookupRead, LookupSpec};
pub use self::mirror::MirrorSpec;
pub use self::server::{Hidden, ServerSpec};
pub use self::when::WhenSpec;

/// One job: what a pipeline file says, with defaults filled in and references resolved.
#[derive(Clone, Debug, PartialEq)]
pub struct Pipeline {
    /// The job itself.
    pub job: JobSpec,
    /// Where events come from.
    pub source: SourceSpec,
    /// What an event is.
    pub event: EventSpec,
    /// Checks of fields, in the order of the file.
    pub checks: Vec<CheckSpec>,
    /// Checks of all fields together, in the order of the file.
    pub conditions: Vec<WhenSpec>,
    /// Which events are wanted: all of these must hold. Their names are those of [`EventSpec::fields`].
    pub filters: Vec<Expression>,
    /// What is kept of earlier events of a key; `None`: nothing.
    pub history: Option<HistorySpec>,
    /// What is read of stores, in the order of the file.
    pub lookups: Vec<LookupSpec>,
    /// Features in the order of the file; at least one.
    pub features: Vec<FeatureSpec>,
    /// The network that scores them; `None`: they go out as they are.
    pub model: Option<ModelSpec>,
    /// Where results go.
    pub sink: SinkSpec,
    /// How rejected events are written.
    pub dead_letters: DeadLetterForm,
    /// Where others read a copy of its histories; none if nobody does.
    pub mirror: Option<MirrorSpec>,
    /// Its checkpoints; `None`: it has none, and begins again after a crash.
    pub checkpoint: Option<CheckpointSpec>,
    /// What happens when it has failed; nothing without checkpoints.
    pub restart: RestartStrategy,
}

impl Pipeline {
    /// The features that go to the model, or out without one, in their order there.
    pub fn outgoing_features(&self) -> impl Iterator<Item = &FeatureSpec> {
        let (listed, all) = match &self.model {
            Some(model) => (model.features.as_slice(), [].as_slice()),
            None => ([].as_slice(), self.features.as_slice()),
        };
        let listed = listed.iter().filter_map(|&at| self.features.get(at));
        listed.chain(all)
    }

    /// The features that are computed and read off a window that a stage before the features keeps.
    pub fn features_of_windows(&self) -> impl Iterator<Item = &FeatureSpec> {
        let needed = self.needed_features().into_iter();
        needed.filter(|feature| feature.is_of_window(self.history.as_ref()))
    }

    /// Whether any feature that is computed looks at a window of time.
    pub fn has_windows_of_time(&self) -> bool {
        let mut windows = self.features_of_windows();
        windows.any(|feature| matches!(feature.window.over, Over::Time(_)))
    }

    /// The features that are computed for these: behind the outgoing ones those that only expressions look at.
    pub fn needed_features(&self) -> Vec<&FeatureSpec> {
        let mut needed: Vec<&FeatureSpec> = self.outgoing_features().collect();
        let mut at = 0;
        while let Some(feature) = needed.get(at) {
            at += 1;
            let FeatureKind::Expr { expression, names } = &feature.kind else {
                continue;
            };
            let used = expression.uses().filter_map(|place| names.get(place));
            for input in used.filter_map(|&input| self.features.get(input)) {
                if !needed.iter().any(|known| known.name == input.name) {
                    needed.push(input);
                }
            }
        }
        needed
    }

    /// Brokers that it speaks to, by the table that names them.
    pub(crate) fn clusters(&self) -> impl Iterator<Item = (&'static str, &ClusterSpec)> {
        let of_source = match &self.source {
            SourceSpec::Kafka(source) => Some(("source", &source.cluster)),
            SourceSpec::Generator(_) | SourceSpec::File { .. } | SourceSpec::Stdin => None,
        };
        let of_sink = match &self.sink.kind {
            SinkKind::Kafka(cluster) => Some(("sink", cluster)),
            SinkKind::File { .. } | SinkKind::Stdout | SinkKind::Discard => None,
        };
        of_source.into_iter().chain(of_sink)
    }
}

/// The job itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobSpec {
    /// Letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// Threads per process; 0 = one per core. At most `key_groups`.
    pub workers: usize,
    /// In which order events of a key are handled.
    pub order: Order,
    /// Units by which keys are assigned to workers; at least 1.
    pub key_groups: u32,
}

/// In which order events of a key are handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// As they come in.
    Arrival,
    /// By order time, partition and offset, once the watermark has passed them.
    EventTime,
}

/// What becomes of events that are older than their partition's watermark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Late {
    /// They go to the stream of late events.
    DeadLetter,
    /// They are handled as if they had happened at the watermark.
    Process,
    /// They are counted.
    Drop,
}

/// Where events come from.
#[derive(Clone, Debug, PartialEq)]
pub enum SourceSpec {
    /// Made up, from a seed.
    Generator(GeneratorSpec),
    /// Files of JSON lines.
    File {
        /// A path, or a pattern of paths.
        path: String,
        /// Whether to wait for more at their ends, until the job is stopped.
        follow: bool,
    },
    /// JSON lines from the standard input.
    Stdin,
    /// Topics of Kafka.
    Kafka(KafkaSourceSpec),
}

/// What is read from Kafka.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaSourceSpec {
    /// Where.
    pub cluster: ClusterSpec,
    /// At least one, all different.
    pub topics: Vec<String>,
    /// Where partitions begin of which nothing was read before.
    pub start: StartSpec,
    /// Whether to go on at the oldest record there is when the next one is gone; else the job ends.
    pub goes_on_when_lost: bool,
    /// How often to look for new partitions.
    pub discover_ms: u64,
}

/// Brokers of Kafka, and how to speak to them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterSpec {
    /// `host:port`, several with commas between them.
    pub brokers: String,
    /// Settings of the client by name, none of which the job sets itself.
    pub properties: Vec<(String, PropertySpec)>,
}

/// The value of a setting, or where it is.
#[derive(Clone, PartialEq, Eq)]
pub enum PropertySpec {
    /// The value.
    Text(String),
    /// In a variable of the environment.
    Env(String),
    /// In a file, without the line feed at its end.
    File(String),
}

impl PropertySpec {
    /// The value, from where it is.
    ///
    /// # Errors
    /// It is not there, as this says.
    pub(crate) fn value(&self) -> Result<String, String> {
        match self {
            PropertySpec::Text(value) => Ok(value.clone()),
            PropertySpec::Env(variable) => std::env::var(variable)
                .map_err(|_| format!("the environment has no variable `{variable}`")),
            PropertySpec::File(path) => {
                let read = std::fs::read_to_string(path);
                let read = read.map_err(|error| format!("`{path}` cannot be read: {error}"))?;
                Ok(read.trim_end_matches(['\r', '\n']).to_owned())
            }
        }
    }
}

impl fmt::Debug for PropertySpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // It may be a secret.
            PropertySpec::Text(_) => f.write_str("Text(..)"),
            PropertySpec::Env(name) => f.debug_tuple("Env").field(name).finish(),
            PropertySpec::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

/// Where a partition begins of which nothing was read before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartSpec {
    /// At its oldest record.
    Earliest,
    /// Behind its newest.
    Latest,
    /// At its first record from this time on, in milliseconds since 1970.
    Time(i64),
}

/// What the generator makes.
#[derive(Clone, Debug, PartialEq)]
pub struct GeneratorSpec {
    /// The same seed gives the same events.
    pub seed: u64,
    /// Events in all; at least 1.
    pub events: u64,
    /// Events per second over all partitions; 0 = as fast as possible.
    pub rate: u64,
    /// At least 1.
    pub partitions: u32,
    /// Different users; at least 1.
    pub users: u32,
    /// Exponent of the Zipf distribution of users; 0 = all alike.
    pub skew: f64,
    /// Share of events that are wrong; with `late` at most 1.
    pub invalid: f64,
    /// Share of events that come late.
    pub late: f64,
}

/// A value that a field is compared with; of the field's type.
#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    /// For strings.
    Text(String),
    /// For ints.
    Int(i64),
    /// For floats; finite.
    Float(f64),
    /// For booleans.
    Bool(bool),
}

/// One check of one field.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckSpec {
    /// Index of the field.
    pub field: usize,
    /// What must hold. A null of an optional field passes every rule but [`Rule::NotEmpty`].
    pub rule: Rule,
    /// What the dead letter says.
    pub message: String,
    /// Which stage rejects, and so which stream gets the dead letter.
    pub stage: CheckStage,
}

/// What must hold for the value of a field.
#[derive(Clone, Debug, PartialEq)]
pub enum Rule {
    /// Not missing, not null, and neither the empty string nor the empty list. A required field that is missing or null
    /// and has this check is rejected with the check's message at the check's stage.
    NotEmpty,
    /// At least this: a [`Literal::Int`] or [`Literal::Float`], as the field.
    Min(Literal),
    /// At most this: a [`Literal::Int`] or [`Literal::Float`], as the field.
    Max(Literal),
    /// Equal to one of these.
    OneOf(Vec<Literal>),
    /// A string of at most so many characters (Unicode scalar values), or a list of at most so many elements.
    MaxLength(usize),
    /// A string in which this is found.
    Matches(Pattern),
}

/// The stage at which a check rejects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckStage {
    /// Before the key: validation errors.
    Validate,
    /// After the key, before history: processing errors.
    Feature,
}

/// What is kept of earlier events of the same key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistorySpec {
    /// Most events kept; at least 1.
    pub events: usize,
    /// How long an event is kept, in event time; at least 1.
    pub ttl_ms: u64,
    /// Indices of the fields kept, all different.
    pub fields: Vec<usize>,
}

/// The network that scores features.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelSpec {
    /// Where it is.
    pub path: ModelPath,
    /// SHA-256 of the file, 64 lower-case hexadecimal digits; `None`: any file.
    pub digest: Option<String>,
    /// Indices of the features, in the order of the input; at least one, all different.
    pub features: Vec<usize>,
    /// Name of the input tensor; `None`: the only one.
    pub input: Option<String>,
    /// What becomes the prediction, in order; at least one, all of different names.
    pub outputs: Vec<OutputSpec>,
    /// Rows scored together; at least 1.
    pub batch: usize,
    /// File of inputs and scores to check at every start.
    pub golden: Option<String>,
    /// Where it is declared.
    pub place: Place,
}

/// Where a model is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelPath {
    /// Embedded in the binary, by name.
    Builtin(String),
    /// A file, relative to the current folder.
    File(String),
}

/// A number of a model's outputs that becomes part of the prediction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputSpec {
    /// Name of the value in predictions.
    pub name: String,
    /// Name of the output tensor; `None`: the only one.
    pub tensor: Option<String>,
    /// Element of each row of the tensor.
    pub index: usize,
}

/// How rejected events are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeadLetterForm {
    /// In JSON that says what was wrong, around the values of the fields.
    #[default]
    Envelope,
    /// As they were read: key, headers and bytes, with further headers that say what was wrong.
    Raw,
}

/// Where results go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkSpec {
    /// Kind of the sink.
    pub kind: SinkKind,
    /// Files per stream; at least 1.
    pub shards: u32,
    /// Names of the four streams; all different.
    pub streams: StreamNames,
    /// Indices of the fields that each prediction repeats, in this order, all different.
    pub fields: Vec<usize>,
    /// Whether predictions carry partition, offset, epoch and model.
    pub provenance: bool,
    /// What a crash may do to results.
    pub delivery: Delivery,
    /// Whether each transaction has a producer of its own; only where there are transactions.
    pub new_producer_each_epoch: bool,
    /// Whether records of topics say in headers which they are.
    pub headers: bool,
}

impl SinkSpec {
    /// Whether outputs are sent as they come, and not when the checkpoint behind them is durable.
    pub fn sends_at_once(&self) -> bool {
        matches!(self.kind, SinkKind::Kafka(_)) && self.delivery == Delivery::AtLeastOnce
    }
}

/// What a crash may do to results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Nothing: each comes out once, when the checkpoint behind it is durable. Goes with checkpoints only.
    ExactlyOnce,
    /// Some may come out twice.
    AtLeastOnce,
}

/// Kind of a sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkKind {
    /// `<path>/<stream>/shard-<n>.jsonl`.
    File {
        /// A folder, relative to the current one.
        path: String,
    },
    /// All streams to the standard output, each record with the name of its stream.
    Stdout,
    /// Nowhere: results are counted only.
    Discard,
    /// Topics of Kafka, named as the streams.
    Kafka(ClusterSpec),
}

/// Names of the streams of results.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamNames {
    /// Scored events.
    pub predictions: String,
    /// Rejects of decode and validate.
    pub validation_errors: String,
    /// Rejects of later stages.
    pub processing_errors: String,
    /// Events behind the watermark.
    pub late_events: String,
}

impl StreamNames {
    /// The name of a stream.
    pub fn of(&self, stream: OutputStream) -> &str {
        match stream {
            OutputStream::Predictions => &self.predictions,
            OutputStream::ValidationErrors => &self.validation_errors,
            OutputStream::ProcessingErrors => &self.processing_errors,
            OutputStream::LateEvents => &self.late_events,
        }
    }
}

/// Where checkpoints are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StorePlace {
    /// In a folder, relative to the current one.
    Folder(PathBuf),
    /// In a bucket of S3.
    Bucket {
        /// Its name.
        bucket: String,
        /// What the names of the objects begin with: plain names with slashes between them; empty for none.
        prefix: String,
    },
}

impl fmt::Display for StorePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StorePlace::Folder(folder) => folder.display().fmt(f),
            StorePlace::Bucket { bucket, prefix } if prefix.is_empty() => {
                write!(f, "s3://{bucket}")
            }
            StorePlace::Bucket { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
        }
    }
}

/// The checkpoints of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointSpec {
    /// Where they are.
    pub store: StorePlace,
    /// When they are taken, and what may go wrong.
    pub settings: CheckpointSettings,
    /// How many are kept; at least 1.
    pub retain: u32,
}
