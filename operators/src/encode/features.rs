//! A feature vector as a record: what training reads, computed by the code that serves.

use slackwater_dataflow::flow::Publication;
use slackwater_dataflow::operator::{Emitter, Operator};
use slackwater_dataflow::place::Spread;
use slackwater_dataflow::sink::OutputStream;

use crate::encode::{Chunks, json};
use crate::features::FeatureBatch;
use crate::key::{KeyPart, parts};

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
}

/// A key of one field as its value, a key of several as a list: joined by a character, different keys
/// could look the same.
fn write_key(out: &mut Vec<u8>, key: &[u8]) {
    let parts = parts(key);
    let several = parts.len() != 1;
    out.extend_from_slice(if several { b"[" } else { b"" });
    for (at, part) in parts.into_iter().enumerate() {
        out.extend_from_slice(if at > 0 { b"," } else { b"" });
        match part {
            KeyPart::Text(text) => json::text(out, text),
            KeyPart::Int(value) => json::int(out, value),
            KeyPart::Bool(value) => out.extend_from_slice(value.to_string().as_bytes()),
        }
    }
    out.extend_from_slice(if several { b"]" } else { b"" });
}

impl Operator for EncodeFeatures {
    type Input = FeatureBatch;
    type Output = Publication;
    type Reject = std::convert::Infallible;

    fn on_batch(&mut self, input: FeatureBatch, out: &mut Emitter<Publication, Self::Reject>) {
        let FeatureBatch { batch, vectors } = input;
        let rows = batch.rows.rows();
        let mut chunks = Chunks::new(OutputStream::Predictions, self.spread.shards, rows.len());
        for (row, vector) in rows.iter().zip(vectors.chunks(self.before.len().max(1))) {
            let bytes = chunks.record(self.spread.shard(row.key_hash));
            bytes.extend_from_slice(b"{\"partition\":");
            json::int(bytes, row.partition.0);
            bytes.extend_from_slice(b",\"offset\":");
            json::int(bytes, row.offset.0);
            bytes.extend_from_slice(b",\"key\":");
            write_key(bytes, batch.rows.bytes(row.key));
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
            bytes.extend_from_slice(b"}}\n");
        }
        chunks.finish(&batch.ticket, |publication| out.give(publication));
    }
}
