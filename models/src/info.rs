//! Who a loaded model is, and which of its numbers are read.

use crate::digest::ModelDigest;

/// Who a model is, and how it is fed and read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelInfo {
    /// The name that the pipeline gives it.
    pub name: String,
    /// The `model_version` that the file states; 0 if it states none.
    pub version: i64,
    /// The digest of the file.
    pub digest: ModelDigest,
    /// The name of the input that is fed.
    pub input: String,
    /// The scores of a row, in order; at least one.
    pub outputs: Vec<OutputInfo>,
    /// Rows of the fixed shape.
    pub batch: usize,
    /// Features of a row.
    pub features: usize,
}

/// One of the scores of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputInfo {
    /// What it is called.
    pub name: String,
    /// The name of the output tensor that it is read from.
    pub tensor: String,
    /// Which number of the tensor's row it is.
    pub index: usize,
}
