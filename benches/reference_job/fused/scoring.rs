//! The second half, on the worker that owns the user: history, features, model, prediction.

use slackwater_dataflow::sink::OutputStream;
use slackwater_models::Scorer;

use crate::Failure;
use crate::fused::batch::Batch;
use crate::fused::history::{Catalogue, FEATURES, Seen, Users, hours};
use crate::fused::records::{now_ms, text};
use crate::gauges::Outcome;

/// Room for a prediction.
const PREDICTION_BYTES: usize = 160;

/// Scores events.
pub struct Scoring {
    users: Users,
    catalogue: Catalogue,
    hours: [(f32, f32); 24],
    scorer: Scorer,
    places: Vec<u32>,
    vectors: Vec<f32>,
    scores: Vec<f32>,
    bytes: Vec<u8>,
    /// Predictions so far.
    pub outcome: Outcome,
}

impl Scoring {
    /// Nothing is known of any user yet.
    pub fn new(scorer: Scorer) -> Self {
        Scoring {
            users: Users::default(),
            catalogue: Catalogue::default(),
            hours: hours(),
            scorer,
            places: Vec::new(),
            vectors: Vec::new(),
            scores: Vec::new(),
            bytes: Vec::new(),
            outcome: Outcome {
                scores: Some(0.0),
                ..Outcome::default()
            },
        }
    }

    /// Handles a batch to the last byte of its predictions.
    pub fn take(&mut self, batch: &Batch) -> Result<(), Failure> {
        self.features(batch);
        self.scorer.score(&self.vectors, &mut self.scores)?;
        self.encode(batch)?;
        let sum = self
            .scores
            .iter()
            .map(|&score| f64::from(score))
            .sum::<f64>();
        *self.outcome.scores.get_or_insert(0.0) += sum;
        let written = self.outcome.stream_mut(OutputStream::Predictions);
        written.records += batch.rows.len() as u64;
        written.bytes += std::hint::black_box(&self.bytes).len() as u64;
        Ok(())
    }

    /// Number of users known.
    pub fn users(&self) -> usize {
        self.users.len()
    }

    /// Remembers a batch and computes its vectors.
    pub fn features(&mut self, batch: &Batch) {
        // All users are looked up first: look-ups that do not wait for each other overlap.
        self.places.clear();
        for row in &batch.rows {
            let (user, _, _) = batch.texts(row);
            self.places.push(self.users.locate(row.user_hash, user));
        }
        let touched = self
            .places
            .iter()
            .fold(0, |all, &place| all ^ self.users.touch(place));
        std::hint::black_box(touched);
        self.vectors.clear();
        self.vectors.reserve(batch.rows.len() * FEATURES);
        for (row, &place) in batch.rows.iter().zip(&self.places) {
            let (_, product, category) = batch.texts(row);
            let (product, _) = self.catalogue.number(product);
            let (category, category_hash) = self.catalogue.number(category);
            let seen = Seen {
                time: row.time,
                product,
                category,
                kind: row.kind,
                category_hash,
            };
            if let Some(history) = self.users.history(place) {
                self.vectors
                    .extend_from_slice(&history.add(&seen, &self.hours));
            }
        }
    }

    fn encode(&mut self, batch: &Batch) -> Result<(), Failure> {
        self.bytes.clear();
        self.bytes.reserve(batch.rows.len() * PREDICTION_BYTES);
        let mut now = b",\"processing_time\":".to_vec();
        now.extend_from_slice(itoa::Buffer::new().format(now_ms()).as_bytes());
        now.extend_from_slice(b"}\n");
        let out = &mut self.bytes;
        for (row, &score) in batch.rows.iter().zip(&self.scores) {
            if !score.is_finite() {
                return Err("the reference model gave no number".into());
            }
            let (user, product, _) = batch.texts(row);
            out.extend_from_slice(b"{\"user_id\":");
            text(out, user, row.user_plain)?;
            out.extend_from_slice(b",\"product_id\":");
            text(out, product, row.product_plain)?;
            out.extend_from_slice(b",\"prediction\":");
            out.extend_from_slice(zmij::Buffer::new().format_finite(score).as_bytes());
            out.extend_from_slice(b",\"event_time\":");
            out.extend_from_slice(itoa::Buffer::new().format(row.time).as_bytes());
            out.extend_from_slice(&now);
        }
        Ok(())
    }
}
