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
    /// Name of the score.
    pub output: String,
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
}

impl EncodePredictions {
    /// An encoder as planned.
    pub fn new(plan: &PredictionPlan, clock: Arc<dyn Clock>) -> Self {
        let around = AroundPlan {
            fields: &plan.fields,
            value: &plan.output,
            called: "the prediction",
            provenance: plan.provenance.as_ref().map(model),
            lookups: &plan.lookups,
            spread: plan.spread,
            form: &plan.form,
        };
        EncodePredictions {
            around: Around::new(around, clock),
        }
    }
}

/// Scores, which are finite.
struct Scores<'a>(&'a [f32]);

impl Values for Scores<'_> {
    fn refusal(&self, _: usize) -> Option<Reason> {
        None
    }

    fn write(&self, out: &mut Vec<u8>, at: usize) {
        json::float(out, self.0.get(at).copied().unwrap_or_default());
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
        self.around
            .write(&mut batch, &enrichment, &Scores(&scores), out);
    }
}
