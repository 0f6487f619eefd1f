//! Scoring: feature vectors in, the scores of each event out.
//!
//! The model runs in blocks of one fixed shape, so an event's scores never depend on which others were
//! scored with it. If a block fails, its rows are scored one by one: only the event that makes the model
//! fail is rejected.

use std::error::Error;

use slackwater_dataflow::faults::{self, Defect};
use slackwater_dataflow::operator::{Emitter, Operator};
use slackwater_dataflow::place::Spread;
use slackwater_models::{ScoreError, Scorer};

use crate::batch::{RowBatch, leave_out};
use crate::enrichment::Enrichment;
use crate::features::FeatureBatch;
use crate::reject::{Code, Reason, RejectBatch, Stage, not_finite};

/// What the stage needs to know besides the model itself.
#[derive(Clone, Debug)]
pub struct InferPlan {
    /// The model's name, for messages.
    pub model: String,
    /// Names of the features, in the order in which the model takes them.
    pub features: Vec<String>,
    /// Where keys go.
    pub spread: Spread,
}

/// Events with their scores.
#[derive(Debug)]
pub struct ScoredBatch {
    /// The events.
    pub batch: RowBatch,
    /// The scores of each event, in the order of the model's outputs; finite.
    pub scores: Vec<f32>,
    /// Where what was looked up for it comes from.
    pub enrichment: Enrichment,
}

/// Scores events.
pub struct Infer {
    plan: InferPlan,
    scorer: Scorer,
}

impl Infer {
    /// A stage with a scorer of its own.
    pub fn new(plan: InferPlan, scorer: Scorer) -> Self {
        Infer { plan, scorer }
    }

    /// Scores what could not be scored together: block by block, and the rows of a failing block one by
    /// one. A row that fails alone gets scores of 0 and a reason.
    fn score_apart(&mut self, vectors: &[f32], scores: &mut Vec<f32>) -> Vec<(usize, Reason)> {
        let (width, outputs) = (self.plan.features.len().max(1), self.outputs());
        let mut failed = Vec::new();
        let mut some = Vec::new();
        for block in vectors.chunks(width * self.scorer.info().batch.max(1)) {
            if self.scorer.score(block, &mut some).is_ok() {
                scores.append(&mut some);
                continue;
            }
            for vector in block.chunks(width) {
                if let Err(error) = self.scorer.score(vector, &mut some) {
                    failed.push((scores.len() / outputs, self.failed(&error)));
                    some.resize(outputs, 0.0);
                }
                scores.append(&mut some);
            }
        }
        failed
    }

    /// Scores of an event.
    fn outputs(&self) -> usize {
        self.scorer.info().outputs.len()
    }

    fn failed(&self, error: &ScoreError) -> Reason {
        let message = format!("model `{}` failed", self.plan.model);
        let cause = error.source();
        let cause = cause.map(|cause| format!("infer/runtime: {cause}"));
        Reason {
            stage: Stage::Infer,
            code: Code::ModelFailed,
            causes: [format!("infer/model: {message}")]
                .into_iter()
                .chain(cause)
                .collect(),
            message,
        }
    }

    /// The events that were scored from, or as, something that is no finite number. A network may well
    /// make an ordinary score of NaN, so its inputs are looked at as well.
    fn not_finite(&self, vectors: &[f32], scores: &[f32]) -> Vec<(usize, Reason)> {
        let all_finite = |numbers: &[f32]| numbers.iter().all(|number| number.is_finite());
        if all_finite(vectors) && all_finite(scores) {
            return Vec::new();
        }
        let plan = &self.plan;
        let events = vectors.chunks(plan.features.len().max(1));
        let events = events.zip(scores.chunks(self.outputs()));
        let reason = |(at, (vector, scores)): (usize, (&[f32], &[f32]))| {
            let mut inputs = vector.iter().zip(&plan.features);
            let mut outputs = scores.iter().zip(&self.scorer.info().outputs);
            let input = inputs.find(|(value, _)| !value.is_finite());
            let (role, name, value) = match input {
                Some((value, name)) => ("input", name, value),
                None => {
                    let (value, output) = outputs.find(|(value, _)| !value.is_finite())?;
                    ("output", &output.name, value)
                }
            };
            let said = not_finite(*value);
            let message = format!("model `{}` {role} `{name}` is {said}", plan.model);
            Some((
                at,
                Reason {
                    stage: Stage::Infer,
                    code: Code::NotFinite,
                    causes: vec![format!("infer/model: {message}")],
                    message,
                },
            ))
        };
        events.enumerate().filter_map(reason).collect()
    }
}

impl Operator for Infer {
    type Input = FeatureBatch;
    type Output = ScoredBatch;
    type Reject = RejectBatch;

    fn on_batch(&mut self, input: FeatureBatch, out: &mut Emitter<ScoredBatch, RejectBatch>) {
        let FeatureBatch {
            mut batch,
            vectors,
            mut enrichment,
        } = input;
        if faults::is_on(Defect::Poison) {
            let records = batch.rows.rows().iter().map(|row| row.record);
            records.for_each(|record| faults::take_poison(batch.rows.bytes(record)));
        }
        let mut scores = Vec::new();
        let mut failed = Vec::new();
        if self.scorer.score(&vectors, &mut scores).is_err() {
            scores.clear();
            failed = self.score_apart(&vectors, &mut scores);
        }
        let mut refused = self.not_finite(&vectors, &scores);
        refused.append(&mut failed);
        if !refused.is_empty() {
            // Where the model failed on an input that is no number, the input is what to tell.
            refused.sort_by_key(|(at, _)| *at);
            refused.dedup_by_key(|(at, _)| *at);
            let positions: Vec<usize> = refused.iter().map(|(at, _)| *at).collect();
            let outputs = self.outputs();
            let of_event = |at: &usize| at * outputs..(at + 1) * outputs;
            let left_out: Vec<usize> = positions.iter().flat_map(of_event).collect();
            leave_out(&mut scores, &left_out);
            enrichment.leave_out(&positions);
            let spread = &self.plan.spread;
            if let Some(rejects) = RejectBatch::take_from(&mut batch, refused, spread) {
                out.reject(rejects);
            }
        }
        if !scores.is_empty() {
            out.give(ScoredBatch {
                batch,
                scores,
                enrichment,
            });
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests;
