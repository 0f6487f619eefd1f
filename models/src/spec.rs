//! What a caller asks of a model, and every way in which a model or a batch is refused.

use crate::digest::ModelDigest;

/// Largest model file, in bytes. The models meant here are networks of kilobytes to a few megabytes
/// scored per event; a larger file is more likely the wrong file than a model to run per event.
pub const MODEL_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Most graph nodes of a model. Optimising is more than linear in the nodes and runs at every start.
pub const MODEL_NODES_MAX: usize = 10_000;

/// Largest batch, in rows: bounds the buffers of each thread. Far beyond where a row's cost is flat.
pub const BATCH_MAX: usize = 8_192;

/// Most features of a row: bounds a batch's buffer together with [`BATCH_MAX`].
pub const FEATURES_MAX: usize = 4_096;

/// Most numbers of a row's output that are wanted: bounds a batch's scores together with [`BATCH_MAX`].
pub const OUTPUTS_MAX: usize = 1_024;

/// Largest golden file, in bytes: it is compared at every start.
pub const GOLDEN_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How far a score may be from its golden one. Runtimes differ in the order of additions: single
/// precision sums of this size agree to about 1e-7, and a wrong weight shows from 1e-3.
pub const GOLDEN_TOLERANCE: f32 = 1e-5;

/// A model to load, and what the pipeline expects of it.
#[derive(Clone, Debug, Default)]
pub struct ModelSpec {
    /// The name that messages and provenance use.
    pub name: String,
    /// The bytes of the ONNX file.
    pub source: Vec<u8>,
    /// The only digest to accept, `sha256:` and 64 hex digits; `None` accepts any file.
    pub digest: Option<String>,
    /// The name of the input; `None` takes the only one.
    pub input: Option<String>,
    /// The scores of a row, in this order; 1 to [`OUTPUTS_MAX`].
    pub outputs: Vec<OutputSpec>,
    /// Rows of the fixed shape in which the model runs, 1 to [`BATCH_MAX`].
    pub batch: usize,
    /// Features of a row, 1 to [`FEATURES_MAX`].
    pub features: usize,
    /// The text of a golden file (JSON with `inputs` and `scores`, of several outputs a list for each row); `None` compares
    /// nothing.
    pub golden: Option<String>,
}

/// A number of a model's output that is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutputSpec {
    /// What messages call it.
    pub name: String,
    /// The name of the output tensor; `None` takes the only one.
    pub tensor: Option<String>,
    /// Which number of a row of the output tensor it is.
    pub index: usize,
}

/// Why a model was refused. Trying again cannot help: the model or the pipeline has to change.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The pipeline's batch or feature count is outside what this crate allows.
    #[error("model `{name}`: {what} is {value}, allowed is 1 to {max}")]
    Bound {
        /// The model.
        name: String,
        /// The setting.
        what: &'static str,
        /// What was asked.
        value: usize,
        /// The largest value allowed.
        max: usize,
    },
    /// The file, its graph or the golden file is too large.
    #[error(
        "model `{name}` has {value} {what}, at most {max} are accepted: is this the right file?"
    )]
    TooLarge {
        /// The model.
        name: String,
        /// What there is too much of.
        what: &'static str,
        /// How much there is.
        value: usize,
        /// The bound.
        max: usize,
    },
    /// The pipeline's digest is not a digest.
    #[error("model `{name}`: digest `{text}` is not `sha256:` and 64 hex digits")]
    DigestForm {
        /// The model.
        name: String,
        /// What the pipeline says.
        text: String,
    },
    /// The file is another one than the pipeline accepts.
    #[error("model `{name}` has digest {actual}, the pipeline accepts only {expected}")]
    Digest {
        /// The model.
        name: String,
        /// The digest of the file.
        actual: ModelDigest,
        /// The digest that the pipeline names.
        expected: ModelDigest,
    },
    /// The bytes are no ONNX model.
    #[error("model `{name}` is not a readable ONNX file: {reason}")]
    NotOnnx {
        /// The model.
        name: String,
        /// What the reader says.
        reason: String,
    },
    /// Weights lie in other files, which a digest of this one does not cover.
    #[error(
        "model `{name}` keeps tensor `{tensor}` in another file; save it with all data inside the .onnx"
    )]
    ExternalData {
        /// The model.
        name: String,
        /// The first such tensor.
        tensor: String,
    },
    /// The model does not have exactly one input.
    #[error("model `{name}` has {count} inputs ({inputs}), the pipeline can feed exactly 1")]
    InputCount {
        /// The model.
        name: String,
        /// How many inputs it has.
        count: usize,
        /// Their names.
        inputs: String,
    },
    /// The named input or output does not exist.
    #[error("model `{name}` has no {role} {wanted}, it has: {known}")]
    NoSuchTensor {
        /// The model.
        name: String,
        /// `input` or `output`.
        role: &'static str,
        /// The name asked for, and what for.
        wanted: String,
        /// The names there are.
        known: String,
    },
    /// There are several outputs (or none) and the pipeline names none.
    #[error("model `{name}` has {count} outputs ({outputs}), name the one of `{of}` as `tensor`")]
    OutputCount {
        /// The model.
        name: String,
        /// What is to be read.
        of: String,
        /// How many outputs it has.
        count: usize,
        /// Their names.
        outputs: String,
    },
    /// The model takes another number of features.
    #[error("model `{name}` has {actual} inputs, the pipeline declares {expected} features")]
    FeatureCount {
        /// The model.
        name: String,
        /// Features of a row of the model's input.
        actual: usize,
        /// Features that the pipeline declares.
        expected: usize,
    },
    /// The input is no batch of rows of 32-bit floats.
    #[error("model `{name}`: input `{input}` is {actual}, expected float32 [batch, features]")]
    InputShape {
        /// The model.
        name: String,
        /// The input.
        input: String,
        /// Its type and shape.
        actual: String,
    },
    /// The model was exported for one number of rows, which is not the pipeline's.
    #[error(
        "model `{name}` takes exactly {actual} rows, the pipeline's batch is {expected}: export it with a free batch dimension or set `batch = {actual}`"
    )]
    BatchSize {
        /// The model.
        name: String,
        /// Rows that the model takes.
        actual: usize,
        /// Rows that the pipeline declares.
        expected: usize,
    },
    /// The output is no row of 32-bit floats for each row in.
    #[error(
        "model `{name}`: output `{output}` is {actual}, expected float32 [{batch}] or [{batch}, n]"
    )]
    OutputShape {
        /// The model.
        name: String,
        /// The output.
        output: String,
        /// Its type and shape.
        actual: String,
        /// The rows fed.
        batch: usize,
    },
    /// The output's rows are shorter than the index asked for.
    #[error(
        "model `{name}`: output `{output}` has {width} values a row, index {index} of `{of}` is out of range"
    )]
    OutputIndex {
        /// The model.
        name: String,
        /// What is to be read.
        of: String,
        /// The output.
        output: String,
        /// Values of a row.
        width: usize,
        /// The index asked for.
        index: usize,
    },
    /// The model is readable but cannot be made to run.
    #[error("model `{name}` cannot be run: {reason}")]
    NotRunnable {
        /// The model.
        name: String,
        /// What the runtime says, all causes.
        reason: String,
    },
    /// A row's score depends on the rows beside it.
    #[error(
        "model `{name}` gives a row another score when other rows stand beside it; it must score each row by itself"
    )]
    NotRowWise {
        /// The model.
        name: String,
    },
    /// The golden file cannot be used.
    #[error("golden vector of model `{name}` is unusable: {reason}")]
    GoldenForm {
        /// The model.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The model does not say what the golden file says.
    #[error(
        "model `{name}` gives {actual} as `{output}` of golden row {row}, expected {expected} (allowed difference {GOLDEN_TOLERANCE}): this model or this machine's arithmetic is not the one the vector was made with"
    )]
    GoldenMismatch {
        /// The model.
        name: String,
        /// The row, from 0.
        row: usize,
        /// What the score is called.
        output: String,
        /// The score here.
        actual: f32,
        /// The score of the golden file.
        expected: f32,
    },
}

/// Why a batch was not scored. No score of the call is valid.
#[derive(Debug, thiserror::Error)]
pub enum ScoreError {
    /// The numbers are not whole rows.
    #[error("{values} numbers are no whole rows of {features} features for model `{name}`")]
    RowWidth {
        /// The model.
        name: String,
        /// Numbers given.
        values: usize,
        /// Features of a row.
        features: usize,
    },
    /// The runtime failed.
    #[error("model `{name}` failed")]
    Run {
        /// The model.
        name: String,
        /// What the runtime says.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}
