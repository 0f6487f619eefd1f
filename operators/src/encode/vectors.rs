//! The feature vector of an event as a record of the predictions stream, where no model scores it.

use std::sync::Arc;

use slackwater_dataflow::clock::Clock;
use slackwater_dataflow::flow::Publication;
use slackwater_dataflow::operator::{Emitter, Operator};
use slackwater_dataflow::place::Spread;

use crate::encode::around::{Around, AroundPlan, Values};
use crate::encode::form::Form;
use crate::encode::json;
use crate::event::FieldIndex;
use crate::features::FeatureBatch;
use crate::reject::{Code, Reason, RejectBatch, Stage, not_finite};

/// Name of the value.
const VALUE: &str = "features";

/// What a record says.
#[derive(Clone, Debug)]
pub struct VectorPlan {
    /// Event fields that it repeats, with their names.
    pub fields: Vec<(String, FieldIndex)>,
    /// Names of the features, in order.
    pub names: Vec<String>,
    /// Whether it says where the event came from.
    pub provenance: bool,
    /// Adds how these lookups have enriched the event; in the order of its
    /// [`Enrichment`](crate::enrichment::Enrichment).
    pub lookups: Vec<String>,
    /// Where keys go.
    pub spread: Spread,
    /// How records are written.
    pub form: Form,
}

/// Encodes feature vectors as results.
pub struct EncodeVectors {
    around: Around,
    names: Vec<String>,
    /// What stands before each value.
    before: Vec<Vec<u8>>,
}

impl EncodeVectors {
    /// An encoder as planned.
    pub fn new(plan: &VectorPlan, clock: Arc<dyn Clock>) -> Self {
        let around = AroundPlan {
            fields: &plan.fields,
            value: VALUE,
            called: "the record of features",
            provenance: plan.provenance.then(Vec::new),
            lookups: &plan.lookups,
            spread: plan.spread,
            form: &plan.form,
        };
        let before =
            |(at, name): (usize, &String)| json::key(if at == 0 { "{" } else { "," }, name);
        EncodeVectors {
            around: Around::new(around, clock),
            before: plan.names.iter().enumerate().map(before).collect(),
            names: plan.names.clone(),
        }
    }
}

/// Feature vectors, row by row.
struct Vectors<'a> {
    values: &'a [f32],
    names: &'a [String],
    before: &'a [Vec<u8>],
}

impl Vectors<'_> {
    fn of(&self, at: usize) -> &[f32] {
        let width = self.names.len();
        let from = at * width;
        self.values.get(from..from + width).unwrap_or_default()
    }
}

impl Values for Vectors<'_> {
    /// JSON has no word for what is no finite number.
    fn refusal(&self, at: usize) -> Option<Reason> {
        let mut values = self.of(at).iter().zip(self.names);
        let (value, name) = values.find(|(value, _)| !value.is_finite())?;
        let said = not_finite(*value);
        let message = format!("feature `{name}` is {said}");
        Some(Reason {
            stage: Stage::Feature,
            code: Code::NotFinite,
            causes: vec![format!("feature/{name}: {message}")],
            message,
        })
    }

    fn write(&self, out: &mut Vec<u8>, at: usize) {
        for (before, &value) in self.before.iter().zip(self.of(at)) {
            out.extend_from_slice(before);
            json::float(out, value);
        }
        out.push(b'}');
    }
}

impl Operator for EncodeVectors {
    type Input = FeatureBatch;
    type Output = Publication;
    type Reject = RejectBatch;

    fn on_batch(&mut self, input: FeatureBatch, out: &mut Emitter<Publication, RejectBatch>) {
        let FeatureBatch {
            mut batch,
            vectors,
            enrichment,
        } = input;
        let vectors = Vectors {
            values: &vectors,
            names: &self.names,
            before: &self.before,
        };
        self.around.write(&mut batch, &enrichment, &vectors, out);
    }
}
