//! Features that are made of other features, by expressions. They come last, when all others have their values, those of
//! stores among them.
//!
//! An expression sees what a model would see of a feature: its value, transformed, as a 32-bit float.

use std::convert::Infallible;
use std::sync::Arc;

use slackwater_dataflow::operator::{Emitter, Operator};

use crate::expression::Expression;
use crate::expression::values::{Given, Values};
use crate::features::{FeatureBatch, Transform};

/// What is made of which columns.
#[derive(Clone, Debug)]
pub struct DerivePlan {
    /// Columns of a vector that comes.
    pub width: usize,
    /// Of these, how many go on: the others are there for expressions only.
    pub outgoing: usize,
    /// In an order in which none is looked at before it has its value.
    pub derived: Vec<Derived>,
}

/// A feature that an expression gives.
#[derive(Clone, Debug)]
pub struct Derived {
    /// Its column.
    pub column: usize,
    /// What it is.
    pub expression: Expression,
    /// The column of each name that the expression may use.
    pub inputs: Vec<usize>,
    /// What it is where the expression has no value.
    pub fill: f64,
    /// Applied to it, left to right.
    pub transforms: Vec<Transform>,
}

/// A vector, for the names of an expression.
struct Columns<'v> {
    vector: &'v [f32],
    inputs: &'v [usize],
}

impl Values for Columns<'_> {
    fn value(&self, place: usize) -> Given<'_> {
        let column = self.inputs.get(place);
        let value = column.and_then(|&column| self.vector.get(column));
        value.map_or(Given::Null, |&value| Given::Float(f64::from(value)))
    }
}

/// Puts derived features into their columns.
pub struct DeriveStage {
    plan: Arc<DerivePlan>,
}

impl DeriveStage {
    /// A stage as planned.
    pub fn new(plan: Arc<DerivePlan>) -> Self {
        DeriveStage { plan }
    }

    fn derive(&self, vector: &mut [f32]) {
        for derived in &self.plan.derived {
            let columns = Columns {
                vector,
                inputs: &derived.inputs,
            };
            let number = derived.expression.number(&columns).ok().flatten();
            let mut value = [number.unwrap_or(derived.fill)];
            for transform in &derived.transforms {
                transform.apply(&mut value);
            }
            if let Some(place) = vector.get_mut(derived.column) {
                *place = value[0] as f32;
            }
        }
    }
}

impl Operator for DeriveStage {
    type Input = FeatureBatch;
    type Output = FeatureBatch;
    type Reject = Infallible;

    fn on_batch(&mut self, mut batch: FeatureBatch, out: &mut Emitter<FeatureBatch, Infallible>) {
        let DerivePlan {
            width, outgoing, ..
        } = *self.plan;
        for vector in batch.vectors.chunks_mut(width.max(1)) {
            self.derive(vector);
        }
        if outgoing < width {
            let vectors = batch.vectors.chunks(width.max(1));
            let going = vectors.flat_map(|vector| vector.iter().take(outgoing).copied());
            batch.vectors = going.collect();
        }
        out.give(batch);
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::sync::Arc;

    use slackwater_dataflow::flow::Ticket;
    use slackwater_dataflow::operator::{Emitter, Operator};

    use crate::batch::{RowBatch, Rows};
    use crate::derive::{DerivePlan, DeriveStage, Derived};
    use crate::enrichment::Enrichment;
    use crate::event::FieldType;
    use crate::expression::{Expression, Wanted};
    use crate::features::{FeatureBatch, Transform};

    fn derived(column: usize, text: &str, transforms: &[Transform]) -> Derived {
        let names = [
            ("a", FieldType::Float),
            ("b", FieldType::Float),
            ("c", FieldType::Float),
        ];
        Derived {
            column,
            expression: Expression::compile(text, &names, Wanted::Number).unwrap(),
            inputs: vec![0, 3, 2],
            fill: -1.0,
            transforms: transforms.to_vec(),
        }
    }

    #[test]
    fn what_is_a_derived_feature_and_what_goes_on() {
        let plan = DerivePlan {
            width: 4,
            outgoing: 3,
            derived: vec![
                derived(2, "a / b", &[]),
                derived(1, "c > 1.0 ? c * 10.0 : a", &[Transform::Scale(1.0, 2.0)]),
            ],
        };
        let mut stage = DeriveStage::new(Arc::new(plan));
        let mut out = Emitter::default();
        stage.on_batch(
            FeatureBatch {
                batch: RowBatch {
                    worker: 0,
                    rows: Rows::default(),
                    ticket: Ticket::detached(),
                    turn: None,
                },
                vectors: vec![6.0, 0.0, 0.0, 4.0, 6.0, 0.0, 0.0, 0.0],
                enrichment: Enrichment::default(),
            },
            &mut out,
        );
        let batch = out.take_outputs().pop().unwrap();
        // Nothing is divided by 0: that has no value.
        assert_eq!(batch.vectors, [6.0, 7.0, 1.5, 6.0, 2.5, -1.0]);
    }
}
