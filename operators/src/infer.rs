//! Scoring: feature vectors in, one score per event out.
//!
//! The model runs in blocks of one fixed shape, so an event's score never depends on which others were
//! scored with it. If a block fails, its rows are scored one by one: only the event that makes the model
//! fail is rejected.

use std::error::Error;

use slackwater_dataflow::operator::{Emitter, Operator};
use slackwater_dataflow::place::Spread;
use slackwater_models::Scorer;

use crate::batch::{RowBatch, leave_out};
use crate::features::FeatureBatch;
use crate::reject::{Code, Reason, RejectBatch, Stage};

/// What the stage needs to know besides the model itself.
#[derive(Clone, Debug)]
pub struct InferPlan {
    /// The model's name, for messages.
    pub model: String,
    /// The output's name, for messages.
    pub output: String,
    /// Number of features.
    pub features: usize,
    /// Where keys go.
    pub spread: Spread,
}

/// Events with their scores.
#[derive(Debug)]
pub struct ScoredBatch {
    /// The events.
    pub batch: RowBatch,
    /// One score per event, finite.
    pub scores: Vec<f32>,
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

    /// Scores row by row what could not be scored together.
    fn score_alone(&mut self, vectors: &[f32], scores: &mut Vec<f32>) -> Vec<(usize, Reason)> {
        let mut failed = Vec::new();
        let mut alone = Vec::with_capacity(1);
        for (at, vector) in vectors.chunks(self.plan.features.max(1)).enumerate() {
            let scored = self.scorer.score(vector, &mut alone);
            let score = alone.first().copied().filter(|_| scored.is_ok());
            scores.push(score.unwrap_or_default());
            if let Err(error) = scored {
                let message = format!("model `{}` failed", self.plan.model);
                let mut causes = vec![format!("infer/model: {message}")];
                causes.extend(
                    error
                        .source()
                        .map(|cause| format!("infer/runtime: {cause}")),
                );
                let reason = Reason {
                    stage: Stage::Infer,
                    code: Code::ModelFailed,
                    message,
                    causes,
                };
                failed.push((at, reason));
            }
        }
        failed
    }

    fn not_finite(&self, score: f32) -> Reason {
        let value = match score {
            score if score.is_nan() => "NaN",
            score if score > 0.0 => "infinity",
            _ => "-infinity",
        };
        let (model, output) = (&self.plan.model, &self.plan.output);
        let message = format!("model `{model}` output `{output}` is {value}");
        let causes = vec![format!("infer/model: {message}")];
        Reason {
            stage: Stage::Infer,
            code: Code::NotFinite,
            message,
            causes,
        }
    }
}

impl Operator for Infer {
    type Input = FeatureBatch;
    type Output = ScoredBatch;
    type Reject = RejectBatch;

    fn on_batch(&mut self, input: FeatureBatch, out: &mut Emitter<ScoredBatch, RejectBatch>) {
        let FeatureBatch { mut batch, vectors } = input;
        let mut scores = Vec::with_capacity(batch.rows.rows().len());
        let mut refused = Vec::new();
        if self.scorer.score(&vectors, &mut scores).is_err() {
            scores.clear();
            refused = self.score_alone(&vectors, &mut scores);
        }
        for (at, &score) in scores
            .iter()
            .enumerate()
            .filter(|(_, score)| !score.is_finite())
        {
            refused.push((at, self.not_finite(score)));
        }
        if !refused.is_empty() {
            refused.sort_by_key(|(at, _)| *at);
            let positions: Vec<usize> = refused.iter().map(|(at, _)| *at).collect();
            leave_out(&mut scores, &positions);
            let spread = &self.plan.spread;
            if let Some(rejects) = RejectBatch::take_from(&mut batch, refused, spread) {
                out.reject(rejects);
            }
        }
        if !scores.is_empty() {
            out.give(ScoredBatch { batch, scores });
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests;
