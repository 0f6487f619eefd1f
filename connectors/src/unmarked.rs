//! Whole epochs through a sink that keeps no markers, and so cannot tell what it has: at least once.

use slackwater_dataflow::identity::Generation;
use slackwater_dataflow::sink::{EpochSink, Marker, ShardEpoch, Sink, SinkError};

/// Gives the outputs of each durable epoch to a sink.
#[derive(Debug)]
pub struct Unmarked<S> {
    sink: S,
    shards: u16,
}

impl<S: Sink> Unmarked<S> {
    /// A sink of so many shards, whose markers are always missing.
    pub fn new(sink: S, shards: u16) -> Self {
        Unmarked { sink, shards }
    }
}

impl<S: Sink> EpochSink for Unmarked<S> {
    fn take_over(&mut self, _: Generation) -> Result<Vec<Option<Marker>>, SinkError> {
        Ok(vec![None; usize::from(self.shards)])
    }

    fn keeps_markers(&self) -> bool {
        false
    }

    fn publish(&mut self, outputs: ShardEpoch<'_>) -> Result<(), SinkError> {
        for chunk in outputs.chunks()? {
            for output in &chunk?.outputs {
                self.sink.append(output)?;
            }
        }
        self.sink.finish()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use slackwater_dataflow::identity::{CheckpointId, Generation};
    use slackwater_dataflow::moment::Epoch;
    use slackwater_dataflow::place::ShardId;
    use slackwater_dataflow::sink::{
        EpochChunk, EpochSink, Framing, OutputChunk, OutputStream, ShardEpoch, ShardOutputs,
    };

    use crate::memory::MemorySink;
    use crate::unmarked::Unmarked;

    #[test]
    fn outputs_of_an_epoch_come_in_order_and_leave_no_marker() {
        let kept = MemorySink::new();
        let mut sink = Unmarked::new(kept.clone(), 2);
        assert_eq!(sink.take_over(Generation(1)).unwrap(), [None, None]);
        let chunk = |number: u32, text: &str| EpochChunk {
            chunk: number,
            chunks: 2,
            records_before: 0,
            outputs: vec![OutputChunk {
                stream: OutputStream::Predictions,
                shard: ShardId(1),
                records: 1,
                framing: Framing::Lines,
                bytes: text.as_bytes().to_vec(),
            }],
        };
        let mut chunks = [Ok(chunk(0, "a\n")), Ok(chunk(1, "b\n"))].into_iter();
        sink.publish(ShardEpoch {
            generation: Generation(1),
            epoch: Epoch(1),
            checkpoint: CheckpointId(1),
            shard: ShardId(1),
            before: [0; 4],
            after: [4, 0, 0, 0],
            chunk_count: 2,
            outputs: ShardOutputs::Chunks(&mut chunks),
        })
        .unwrap();
        let lines = kept.records(OutputStream::Predictions);
        assert_eq!(lines, [b"a", b"b"]);
    }
}
