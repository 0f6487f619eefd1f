//! The last stage: final bytes of every record, decided once.
//!
//! - [`EncodePredictions`]: scored events.
//! - [`EncodeDeadLetters`]: rejected events, in the envelope that says why.
//! - [`EncodeFeatures`]: feature vectors, for training.
//!
//! Records are compact JSON, one a line. The clock is read once per batch, never per event.

mod json;
mod dead_letter;
mod features;
mod prediction;

pub use self::dead_letter::{DeadLetterPlan, EncodeDeadLetters};
pub use self::features::{EncodeFeatures, FeatureRowPlan};
pub use self::prediction::{EncodePredictions, ModelIdentity, PredictionPlan};

use slackwater_dataflow::flow::Publication;
use slackwater_dataflow::flow::Ticket;
use slackwater_dataflow::place::ShardId;
use slackwater_dataflow::sink::{OutputChunk, OutputStream};

/// Room per record that a chunk starts with.
const RECORD_BYTES_EXPECTED: usize = 160;

/// The open chunks of one batch, one per shard.
struct Chunks {
    stream: OutputStream,
    open: Vec<(u32, Vec<u8>)>,
    /// Records that one shard may expect of a batch.
    expected: usize,
}

impl Chunks {
    fn new(stream: OutputStream, shards: u16, rows: usize) -> Self {
        let expected = rows / usize::from(shards.max(1)) + rows / 8 + 1;
        Chunks {
            stream,
            open: vec![(0, Vec::new()); usize::from(shards.max(1))],
            expected,
        }
    }

    /// Where to append the next record of a shard; counts it.
    fn record(&mut self, shard: ShardId) -> &mut Vec<u8> {
        let last = self.open.len().saturating_sub(1);
        let at = usize::from(shard.0).min(last);
        let expected = self.expected;
        #[expect(
            clippy::indexing_slicing,
            reason = "there is at least one shard, and `at` is one"
        )]
        let (records, bytes) = &mut self.open[at];
        if *records == 0 {
            bytes.reserve(expected * RECORD_BYTES_EXPECTED);
        }
        *records += 1;
        bytes
    }

    fn finish(self, ticket: &Ticket, mut give: impl FnMut(Publication)) {
        let stream = self.stream;
        for (shard, (records, bytes)) in self.open.into_iter().enumerate() {
            if records > 0 {
                let shard = ShardId(shard as u16);
                let chunk = OutputChunk {
                    stream,
                    shard,
                    records,
                    bytes,
                };
                give(Publication {
                    chunk,
                    ticket: ticket.clone(),
                });
            }
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests;
