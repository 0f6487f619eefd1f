//! The golden vector: rows with known scores, so that a wrong model or a runtime that computes
//! something else is refused at start and not found out from its predictions.

use serde::Deserialize;

use crate::digest::ModelDigest;
use crate::spec::{GOLDEN_BYTES_MAX, GOLDEN_TOLERANCE, LoadError};

/// A golden file that fits the model; other keys of the file are for its readers.
#[derive(Debug)]
pub(crate) struct Golden {
    /// The rows, one after the other.
    pub(crate) rows: Vec<f32>,
    /// One score a row.
    pub(crate) scores: Vec<f32>,
}

/// How well a model agreed with its golden vector when it was loaded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GoldenMatch {
    /// Rows compared; at least 1.
    pub rows: usize,
    /// The greatest difference of a score, at most [`GOLDEN_TOLERANCE`].
    pub greatest_difference: f32,
}

#[derive(Deserialize)]
struct GoldenFile {
    digest: Option<String>,
    inputs: Vec<Vec<f32>>,
    scores: Vec<f32>,
}

impl Golden {
    /// Reads a golden file and checks that it belongs to this model: its digest where it states one,
    /// its rows' width, a score for each row, at least one row.
    ///
    /// # Errors
    /// [`LoadError::GoldenForm`] says what does not fit.
    pub(crate) fn parse(
        name: &str,
        text: &str,
        digest: &ModelDigest,
        features: usize,
    ) -> Result<Self, LoadError> {
        let refuse = |reason: String| LoadError::GoldenForm {
            name: name.to_owned(),
            reason,
        };
        if text.len() > GOLDEN_BYTES_MAX {
            return Err(refuse(format!(
                "it has {} bytes, at most {GOLDEN_BYTES_MAX} are accepted",
                text.len()
            )));
        }
        let file: GoldenFile =
            serde_json::from_str(text).map_err(|error| refuse(error.to_string()))?;
        if let Some(stated) = file.digest.filter(|stated| stated != digest.as_str()) {
            return Err(refuse(format!("it is of model {stated}, not of {digest}")));
        }
        if file.inputs.is_empty() || file.inputs.len() != file.scores.len() {
            return Err(refuse(format!(
                "it has {} inputs and {} scores",
                file.inputs.len(),
                file.scores.len()
            )));
        }
        let mut rows = Vec::with_capacity(file.inputs.len() * features);
        for (index, row) in file.inputs.iter().enumerate() {
            if row.len() != features {
                return Err(refuse(format!(
                    "row {index} has {} numbers, the pipeline declares {features} features",
                    row.len()
                )));
            }
            rows.extend_from_slice(row);
        }
        Ok(Self {
            rows,
            scores: file.scores,
        })
    }

    /// Compares the model's scores of the rows with the golden ones; a NaN never agrees. Gives how many
    /// there are, and how far apart they are at most.
    ///
    /// # Errors
    /// [`LoadError::GoldenMismatch`] names the first row that differs.
    pub(crate) fn compare(&self, name: &str, actual: &[f32]) -> Result<GoldenMatch, LoadError> {
        let mut greatest_difference = 0.0_f32;
        for (row, (&expected, &actual)) in self.scores.iter().zip(actual).enumerate() {
            let difference = (actual - expected).abs();
            let near = difference <= GOLDEN_TOLERANCE;
            greatest_difference = greatest_difference.max(difference);
            if !near {
                return Err(LoadError::GoldenMismatch {
                    name: name.to_owned(),
                    row,
                    actual,
                    expected,
                });
            }
        }
        Ok(GoldenMatch {
            rows: self.scores.len(),
            greatest_difference,
        })
    }
}
