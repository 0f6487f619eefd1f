//! A loaded model, shared by threads, and the scorer that each of them has.
//!
//! The model runs in one fixed shape: batches are cut to `batch` rows and the last one is padded with
//! zeros. So a row's scores are the same bits wherever it stands and whatever stands beside it.

use std::sync::Arc;

use crate::digest::ModelDigest;
use crate::golden::{Golden, GoldenMatch};
use crate::info::{ModelInfo, OutputInfo};
use crate::onnx::{Parsed, Plan, Session, compile, parse};
use crate::spec::{
    BATCH_MAX, FEATURES_MAX, LoadError, MODEL_BYTES_MAX, ModelSpec, OUTPUTS_MAX, OutputSpec,
    ScoreError,
};

/// A model that was checked, optimised and run once. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Model {
    plan: Arc<Plan>,
    info: Arc<ModelInfo>,
    golden: Option<GoldenMatch>,
}

/// One thread's way of scoring: its own buffers over the shared model.
#[derive(Debug)]
pub struct Scorer {
    session: Session,
    info: Arc<ModelInfo>,
}

impl Model {
    /// Checks everything that can be known before the first event, makes the model ready to run in
    /// batches of `spec.batch` rows, and runs it once (on the golden rows where there are any).
    ///
    /// # Errors
    /// Every refusal says what the model has and what the pipeline expects; no bytes make it panic.
    pub fn load(spec: &ModelSpec) -> Result<Self, LoadError> {
        check_bounds(spec)?;
        let digest = check_digest(spec)?;
        let parsed = parse(spec)?;
        let input = choose_input(spec, &parsed)?;
        let outputs = spec.outputs.iter();
        let outputs = outputs.map(|output| choose_output(spec, output, &parsed));
        let outputs = outputs.collect::<Result<Vec<_>, _>>()?;
        let plan = compile(spec, &parsed, &input, &outputs)?;
        let mut model = Self {
            plan: Arc::new(plan),
            info: Arc::new(ModelInfo {
                name: spec.name.clone(),
                version: parsed.version,
                digest,
                input,
                outputs,
                batch: spec.batch,
                features: spec.features,
            }),
            golden: None,
        };
        model.golden = model.warm_up(spec)?;
        Ok(model)
    }

    /// Who this model is, for provenance.
    #[must_use]
    pub fn info(&self) -> &ModelInfo {
        &self.info
    }

    /// How well it agreed with its golden vector; `None` if the pipeline has none.
    #[must_use]
    pub fn golden(&self) -> Option<GoldenMatch> {
        self.golden
    }

    /// A scorer for one thread. The optimised model is shared, not made again.
    ///
    /// # Errors
    /// [`ScoreError::Run`] if the runtime cannot make its buffers.
    pub fn scorer(&self) -> Result<Scorer, ScoreError> {
        let session = Session::new(&self.plan).map_err(|error| ScoreError::Run {
            name: self.info.name.clone(),
            source: error.into(),
        })?;
        Ok(Scorer {
            session,
            info: Arc::clone(&self.info),
        })
    }

    /// The first run finds what only shows in running, and pays for the first use of every buffer.
    fn warm_up(&self, spec: &ModelSpec) -> Result<Option<GoldenMatch>, LoadError> {
        let golden = match &spec.golden {
            Some(text) => Some(Golden::parse(text, &self.info)?),
            None => None,
        };
        let one_row = vec![0.0; spec.features];
        let rows = golden.as_ref().map_or(&one_row, |golden| &golden.rows);
        let scores = self.score_once(spec, rows)?;
        self.check_rows_are_apart(spec)?;
        let compared = golden.map(|golden| golden.compare(&scores, &self.info));
        compared.transpose()
    }

    fn score_once(&self, spec: &ModelSpec, rows: &[f32]) -> Result<Vec<f32>, LoadError> {
        let mut scores = Vec::new();
        let scored = self
            .scorer()
            .and_then(|mut scorer| scorer.score(rows, &mut scores));
        scored.map_err(|error| LoadError::NotRunnable {
            name: spec.name.clone(),
            reason: match error {
                ScoreError::Run { source, .. } => source.to_string(),
                other @ ScoreError::RowWidth { .. } => other.to_string(),
            },
        })?;
        Ok(scores)
    }

    /// Refuses a model that mixes rows, for instance by a mean over the batch: with padding and whatever
    /// else is scored at the time, its scores would be accidents.
    fn check_rows_are_apart(&self, spec: &ModelSpec) -> Result<(), LoadError> {
        let number = |at: usize| (at % 7) as f32 * 0.25;
        let rows: Vec<f32> = (0..spec.features * spec.batch).map(number).collect();
        let last = rows.get(rows.len() - spec.features..).unwrap_or_default();
        let Ok(mut scorer) = self.scorer() else {
            return Ok(());
        };
        let (mut beside_others, mut alone) = (Vec::new(), Vec::new());
        let scored = scorer.score(&rows, &mut beside_others);
        if scored.and(scorer.score(last, &mut alone)).is_err() {
            // Made-up rows may be none that this model can score, which says nothing about it.
            return Ok(());
        }
        let bits = |score: &f32| score.to_bits();
        let last = beside_others.iter().rev().map(bits);
        if last
            .take(self.info.outputs.len())
            .eq(alone.iter().rev().map(bits))
        {
            Ok(())
        } else {
            let name = spec.name.clone();
            Err(LoadError::NotRowWise { name })
        }
    }
}

impl Scorer {
    /// Scores rows. `rows` holds any number of rows of `features` numbers, one after the other (none
    /// is fine); `scores` is cleared and gets as many numbers a row as the model has outputs, which can be NaN
    /// or infinite if the model says so. A row's scores do not depend on its place or its neighbours.
    ///
    /// Every started batch costs as much as a full one, so give as many rows as there are.
    ///
    /// # Errors
    /// [`ScoreError::RowWidth`] if `rows` is not whole rows, [`ScoreError::Run`] if the runtime fails.
    pub fn score(&mut self, rows: &[f32], scores: &mut Vec<f32>) -> Result<(), ScoreError> {
        scores.clear();
        let features = self.info.features;
        if !rows.len().is_multiple_of(features) {
            return Err(ScoreError::RowWidth {
                name: self.info.name.clone(),
                values: rows.len(),
                features,
            });
        }
        scores.reserve(rows.len() / features * self.info.outputs.len());
        for batch in rows.chunks(self.info.batch * features) {
            if let Err(error) = self.session.run(batch, scores) {
                scores.clear();
                return Err(ScoreError::Run {
                    name: self.info.name.clone(),
                    source: error.into(),
                });
            }
        }
        Ok(())
    }

    /// Who the model is.
    #[must_use]
    pub fn info(&self) -> &ModelInfo {
        &self.info
    }
}

fn check_bounds(spec: &ModelSpec) -> Result<(), LoadError> {
    for (what, value, max) in [
        ("batch", spec.batch, BATCH_MAX),
        ("number of features", spec.features, FEATURES_MAX),
        ("number of outputs", spec.outputs.len(), OUTPUTS_MAX),
    ] {
        if value == 0 || value > max {
            return Err(LoadError::Bound {
                name: spec.name.clone(),
                what,
                value,
                max,
            });
        }
    }
    if spec.source.len() > MODEL_BYTES_MAX {
        return Err(LoadError::TooLarge {
            name: spec.name.clone(),
            what: "bytes",
            value: spec.source.len(),
            max: MODEL_BYTES_MAX,
        });
    }
    Ok(())
}

fn check_digest(spec: &ModelSpec) -> Result<ModelDigest, LoadError> {
    let actual = ModelDigest::of(&spec.source);
    let Some(text) = &spec.digest else {
        return Ok(actual);
    };
    let Some(expected) = ModelDigest::parse(text) else {
        return Err(LoadError::DigestForm {
            name: spec.name.clone(),
            text: text.clone(),
        });
    };
    if actual == expected {
        return Ok(actual);
    }
    Err(LoadError::Digest {
        name: spec.name.clone(),
        actual,
        expected,
    })
}

/// The name of the input to feed.
fn choose_input(spec: &ModelSpec, parsed: &Parsed) -> Result<String, LoadError> {
    if let Some(wanted) = &spec.input {
        find_tensor(spec, ("input", ""), wanted, &parsed.inputs)?;
    }
    match parsed.inputs.as_slice() {
        [input] => Ok(input.clone()),
        all => Err(LoadError::InputCount {
            name: spec.name.clone(),
            count: all.len(),
            inputs: all.join(", "),
        }),
    }
}

/// Where a wanted number is read.
fn choose_output(
    spec: &ModelSpec,
    output: &OutputSpec,
    parsed: &Parsed,
) -> Result<OutputInfo, LoadError> {
    let tensor = match (&output.tensor, parsed.outputs.as_slice()) {
        (Some(wanted), known) => find_tensor(spec, ("output", &output.name), wanted, known)?,
        (None, [only]) => only.clone(),
        (None, all) => {
            return Err(LoadError::OutputCount {
                name: spec.name.clone(),
                of: output.name.clone(),
                count: all.len(),
                outputs: all.join(", "),
            });
        }
    };
    Ok(OutputInfo {
        name: output.name.clone(),
        tensor,
        index: output.index,
    })
}

/// A tensor by name; who reads it is said where there are several.
fn find_tensor(
    spec: &ModelSpec,
    (role, reader): (&'static str, &str),
    wanted: &String,
    known: &[String],
) -> Result<String, LoadError> {
    if known.contains(wanted) {
        return Ok(wanted.clone());
    }
    Err(LoadError::NoSuchTensor {
        name: spec.name.clone(),
        role,
        wanted: match reader {
            "" => format!("`{wanted}`"),
            reader => format!("`{wanted}` for `{reader}`"),
        },
        known: known.join(", "),
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;
