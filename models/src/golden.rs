//! The golden vector: rows with known scores, so that a wrong model or a runtime that computes
//! something else is refused at start and not found out from its predictions.

use serde::Deserialize;

use crate::info::ModelInfo;
use crate::spec::{GOLDEN_BYTES_MAX, GOLDEN_TOLERANCE, LoadError};

/// A golden file that fits the model; other keys of the file are for its readers.
#[derive(Debug)]
pub(crate) struct Golden {
    /// The rows, one after the other.
    pub(crate) rows: Vec<f32>,
    /// The scores of each row, one after the other.
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
    scores: Vec<Scores>,
}

/// The scores of a row.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a number or a list of numbers")]
enum Scores {
    /// Of a model with one output.
    One(f32),
    /// In the order of the outputs.
    Each(Vec<f32>),
}

impl Scores {
    fn as_slice(&self) -> &[f32] {
        match self {
            Scores::One(score) => std::slice::from_ref(score),
            Scores::Each(scores) => scores,
        }
    }
}

impl Golden {
    /// Reads a golden file and checks that it belongs to this model: its digest where it states one,
    /// its rows' width, scores for each row, at least one row.
    ///
    /// # Errors
    /// [`LoadError::GoldenForm`] says what does not fit.
    pub(crate) fn parse(text: &str, model: &ModelInfo) -> Result<Self, LoadError> {
        let refuse = |reason: String| LoadError::GoldenForm {
            name: model.name.clone(),
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
        let digest = &model.digest;
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
        let (features, outputs) = (model.features, model.outputs.len());
        // One number, which may be given under several names.
        let is_one = model.outputs.windows(2).all(|two| match two {
            [one, other] => (&one.tensor, one.index) == (&other.tensor, other.index),
            _ => true,
        });
        let mut rows = Vec::with_capacity(file.inputs.len() * features);
        let mut scores = Vec::with_capacity(file.scores.len() * outputs);
        for (index, (row, of_row)) in file.inputs.iter().zip(&file.scores).enumerate() {
            let repeated = match of_row {
                Scores::One(score) if is_one => vec![*score; outputs],
                _ => Vec::new(),
            };
            let of_row = match repeated.as_slice() {
                [] => of_row.as_slice(),
                repeated => repeated,
            };
            for (what, found, declared) in [
                ("number", row.len(), (features, "feature")),
                ("score", of_row.len(), (outputs, "output")),
            ] {
                let (wanted, declares) = declared;
                if found != wanted {
                    let (found, wanted) = (counted(found, what), counted(wanted, declares));
                    let reason = format!("row {index} has {found}, the pipeline declares {wanted}");
                    return Err(refuse(reason));
                }
            }
            if !of_row.iter().all(|score| score.is_finite()) {
                return Err(refuse(format!(
                    "a score of row {index} is beyond 32-bit floats"
                )));
            }
            rows.extend_from_slice(row);
            scores.extend_from_slice(of_row);
        }
        Ok(Self { rows, scores })
    }

    /// Compares the model's scores of the rows with the golden ones; a NaN never agrees. Gives how many rows
    /// there are, and how far apart scores are at most.
    ///
    /// # Errors
    /// [`LoadError::GoldenMismatch`] names the first row that differs.
    pub(crate) fn compare(
        &self,
        actual: &[f32],
        model: &ModelInfo,
    ) -> Result<GoldenMatch, LoadError> {
        let mut greatest_difference = 0.0_f32;
        let outputs = model.outputs.len();
        for (at, (&expected, &actual)) in self.scores.iter().zip(actual).enumerate() {
            let difference = (actual - expected).abs();
            let near = difference <= GOLDEN_TOLERANCE;
            greatest_difference = greatest_difference.max(difference);
            if !near {
                let output = model.outputs.get(at % outputs);
                return Err(LoadError::GoldenMismatch {
                    name: model.name.clone(),
                    row: at / outputs,
                    output: output.map_or_else(String::new, |output| output.name.clone()),
                    actual,
                    expected,
                });
            }
        }
        Ok(GoldenMatch {
            rows: self.scores.len() / outputs,
            greatest_difference,
        })
    }
}

fn counted(count: usize, what: &str) -> String {
    let end = if count == 1 { "" } else { "s" };
    format!("{count} {what}{end}")
}
