//! A scored event as a record of the predictions stream.

use std::sync::Arc;

use slackwater_dataflow::clock::Clock;
use slackwater_dataflow::flow::Publication;
use slackwater_dataflow::operator::{Emitter, Operator};
use slackwater_dataflow::place::Spread;

use crate::encode::around::{Around, AroundPlan, Values};
use crate::encode::form::Form;
use crate::encode::json;
use crate::event::FieldIndex;
use crate::infer::ScoredBatch;
use crate::reject::{Reason, RejectBatch};

/// Which model said so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelIdentity {
    /// Its name.
    pub name: String,
    /// The version that the model file states.
    pub version: i64,
    /// `sha256:` and the file's digest in hexadecimal.
    pub digest: String,
}

/// What a prediction says.
#[derive(Clone, Debug)]
pub struct PredictionPlan {
    /// Event fields that it repeats, with their names.
    pub fields: Vec<(String, FieldIndex)>,
    /// Names of the scores, in the order of the model's outputs; at least one.
    pub outputs: Vec<String>,
    /// Adds where the event came from and this model, if wanted.
    pub provenance: Option<ModelIdentity>,
    /// Adds how these lookups have enriched the event; in the order of its [`Enrichment`](crate::enrichment::Enrichment).
    pub lookups: Vec<String>,
    /// Where keys go.
    pub spread: Spread,
    /// How records are written.
    pub form: Form,
}

/// Encodes scored events.
pub struct EncodePredictions {
    around: Around,
    /// What stands before each score but the first.
    between: Vec<Vec<u8>>,
}

impl EncodePredictions {
    /// An encoder as planned.
    pub fn new(plan: &PredictionPlan, clock: Arc<dyn Clock>) -> Self {
        let (first, others) = plan.outputs.split_first().unzip();
        let others = others.unwrap_or_default();
        let around = AroundPlan {
            fields: &plan.fields,
            value: first.map_or("", String::as_str),
            called: "the prediction",
            provenance: plan.provenance.as_ref().map(model),
            lookups: &plan.lookups,
            spread: plan.spread,
            form: &plan.form,
        };
        EncodePredictions {
            around: Around::new(around, clock),
            between: others.iter().map(|name| json::key(",", name)).collect(),
        }
    }
}

/// Scores, which are finite.
struct Scores<'a> {
    scores: &'a [f32],
    between: &'a [Vec<u8>],
}

impl Values for Scores<'_> {
    fn refusal(&self, _: usize) -> Option<Reason> {
        None
    }

    fn write(&self, out: &mut Vec<u8>, at: usize) {
        let of_event = self.scores.get(at * (1 + self.between.len())..);
        let mut of_event = of_event.unwrap_or_default().iter().copied();
        json::float(out, of_event.next().unwrap_or_default());
        for (before, score) in self.between.iter().zip(of_event) {
            out.extend_from_slice(before);
            json::float(out, score);
        }
    }
}

fn model(identity: &ModelIdentity) -> Vec<u8> {
    let mut bytes = json::key(",", "model");
    bytes.extend_from_slice(&json::key("{", "name"));
    json::text(&mut bytes, &identity.name);
    bytes.extend_from_slice(&json::key(",", "version"));
    json::int(&mut bytes, identity.version);
    bytes.extend_from_slice(&json::key(",", "digest"));
    json::text(&mut bytes, &identity.digest);
    bytes.push(b'}');
    bytes
}

impl Operator for EncodePredictions {
    type Input = ScoredBatch;
    type Output = Publication;
    type Reject = RejectBatch;

    fn on_batch(&mut self, scored: ScoredBatch, out: &mut Emitter<Publication, RejectBatch>) {
        let ScoredBatch {
            mut batch,
            scores,
            enrichment,
        } = scored;
        let scores = Scores {
            scores: &scores,
            between: &self.between,
        };
        self.around.write(&mut batch, &enrichment, &scores, out);
    }
}
