//! The seam between the engine and whatever its outputs are written to.
//!
//! Workers seal finished records into [`OutputChunk`]s and hand them to one publisher thread, which owns
//! the [`Sink`]. So a sink that is slow or stalls never stops a worker: the bound on events in flight
//! does, at the source.

use crate::place::ShardId;

/// The four streams. Every event gives exactly one record on exactly one of them, or is filtered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OutputStream {
    /// Scored events.
    Predictions,
    /// Events that are not what the schema says.
    ValidationErrors,
    /// Events that were valid and could not be scored.
    ProcessingErrors,
    /// Events older than their partition's watermark.
    LateEvents,
}

impl OutputStream {
    /// All streams, in the order in which summaries list them.
    pub const ALL: [OutputStream; 4] = [
        OutputStream::Predictions,
        OutputStream::ValidationErrors,
        OutputStream::ProcessingErrors,
        OutputStream::LateEvents,
    ];

    /// Position in [`Self::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }

    /// The stream's name in summaries and pipeline files.
    pub fn name(self) -> &'static str {
        match self {
            OutputStream::Predictions => "predictions",
            OutputStream::ValidationErrors => "validation_errors",
            OutputStream::ProcessingErrors => "processing_errors",
            OutputStream::LateEvents => "late_events",
        }
    }
}

/// Finished records of one stream and shard, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputChunk {
    /// The stream.
    pub stream: OutputStream,
    /// The shard.
    pub shard: ShardId,
    /// Number of records in `bytes`.
    pub records: u32,
    /// The records, each followed by one line feed.
    pub bytes: Vec<u8>,
}

/// Outputs could not be written. Final for this run.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {subject}: {source}")]
pub struct SinkError {
    /// What was tried: `write`, `create`, ...
    pub action: &'static str,
    /// On what: a path, a topic.
    pub subject: String,
    /// Why it failed.
    pub source: std::io::Error,
}

/// Takes finished records. Called by one thread only.
pub trait Sink: Send {
    /// Writes a chunk after all chunks given before.
    fn append(&mut self, chunk: &OutputChunk) -> Result<(), SinkError>;

    /// Called once, after the last chunk of a run that ended well.
    fn finish(&mut self) -> Result<(), SinkError>;
}
