//! A feature vector as a record: what training reads, computed by the code that serves.

use slackwater_dataflow::flow::Publication;
use slackwater_dataflow::headers::Headers;
use slackwater_dataflow::operator::{Emitter, Operator};
use slackwater_dataflow::place::Spread;
use slackwater_dataflow::sink::OutputStream;

use crate::batch::{Row, Rows};
use crate::encode::form::{Chunks, Form, Sender};
use crate::encode::json;
use crate::features::FeatureBatch;
use crate::key::parts;

/// What a row of features says.
#[derive(Clone, Debug)]
pub struct FeatureRowPlan {
    /// Names of the features, in order.
    pub names: Vec<String>,
    /// Where keys go.
    pub spread: Spread,
}

/// Encodes feature vectors.
pub struct EncodeFeatures {
    spread: Spread,
    /// What stands before each value.
    before: Vec<Vec<u8>>,
}

impl EncodeFeatures {
    /// An encoder as planned.
    pub fn new(plan: &FeatureRowPlan) -> Self {
        let before = |(at, name): (usize, &String)| json::key(if at == 0 { "" } else { "," }, name);
        let before = plan.names.iter().enumerate().map(before).collect();
        EncodeFeatures {
            spread: plan.spread,
            before,
        }
    }

    fn write(&self, bytes: &mut Vec<u8>, rows: &Rows, row: &Row, vector: &[f32]) {
        bytes.extend_from_slice(b"{\"partition\":");
        json::int(bytes, row.partition.0);
        bytes.extend_from_slice(b",\"offset\":");
        json::int(bytes, row.offset.0);
        bytes.extend_from_slice(b",\"key\":");
        match parts(rows.bytes(row.key)).as_slice() {
            [part] => json::key_part(bytes, part),
            parts => json::key_parts(bytes, parts),
        }
        bytes.extend_from_slice(b",\"event_time\":");
        json::int(bytes, row.time.0);
        bytes.extend_from_slice(b",\"features\":{");
        for (before, &value) in self.before.iter().zip(vector) {
            bytes.extend_from_slice(before);
            if value.is_finite() {
                json::float(bytes, value);
            } else {
                // JSON has no word for it.
                bytes.extend_from_slice(b"null");
            }
        }
        bytes.extend_from_slice(b"}}");
    }
}

impl Operator for EncodeFeatures {
    type Input = FeatureBatch;
    type Output = Publication;
    type Reject = std::convert::Infallible;

    fn on_batch(&mut self, input: FeatureBatch, out: &mut Emitter<Publication, Self::Reject>) {
        let FeatureBatch { batch, vectors, .. } = input;
        let rows = batch.rows.rows();
        let (shards, rows_expected) = (self.spread.shards, rows.len());
        let mut chunks = Chunks::new(
            OutputStream::Predictions,
            shards,
            rows_expected,
            &Form::Lines,
            0,
        );
        for (row, vector) in rows.iter().zip(vectors.chunks(self.before.len().max(1))) {
            let sender = Sender {
                shard: self.spread.shard(row.key_hash),
                key: None,
                event_time: Some(row.time),
                headers: Headers::default(),
                place: row.offset.0,
            };
            let written = chunks.record(sender, |out| self.write(out, &batch.rows, row, vector));
            debug_assert!(written.is_ok(), "lines have no limit");
        }
        chunks.finish(&batch.ticket, |publication| out.give(publication));
    }
}
