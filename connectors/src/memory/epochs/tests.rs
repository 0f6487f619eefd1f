//! Does the sink publish and fail as it was told?
#![expect(clippy::unwrap_used, reason = "tests")]

use slackwater_dataflow::sink::{EpochChunk, Framing};

use super::*;

const SHARD: ShardId = ShardId(1);

/// Publishes the chunks of an epoch from `first` on: one prediction each, `eE-K`.
fn publish(
    sink: &mut MemoryEpochSink,
    generation: u64,
    epoch: u64,
    first: u32,
) -> Result<(), String> {
    const CHUNKS: u32 = 3;
    let mut chunks = (first..CHUNKS).map(|chunk| {
        Ok(EpochChunk {
            chunk,
            chunks: CHUNKS,
            records_before: 0,
            outputs: vec![OutputChunk {
                stream: OutputStream::Predictions,
                shard: SHARD,
                records: 1,
                framing: Framing::Lines,
                bytes: format!("e{epoch}-{chunk}\n").into(),
            }],
        })
    });
    let outputs = ShardEpoch {
        generation: Generation(generation),
        epoch: Epoch(epoch),
        checkpoint: CheckpointId(epoch),
        shard: SHARD,
        before: [0; 4],
        after: [0; 4],
        chunk_count: CHUNKS,
        outputs: ShardOutputs::Chunks(&mut chunks),
    };
    sink.publish(outputs).map_err(|error| error.to_string())
}

/// What is visible, and as which epoch and how far the marker stands.
fn check(sink: &MemoryEpochSink, expected: &str, marker: Option<(u64, u32)>) {
    let bytes = sink.bytes(SHARD, OutputStream::Predictions);
    let text = String::from_utf8(bytes).unwrap().replace('\n', " ");
    assert_eq!(text.trim_end(), expected);
    let found = sink.marker(SHARD);
    assert_eq!(found.map(|found| (found.epoch.0, found.chunk)), marker);
    assert!(found.is_none_or(|found| found.chunks == 3));
    assert!(sink.committed(ShardId(0)).is_empty());
}

#[test]
fn does_it_fail_as_it_was_told() {
    let mut sink = MemoryEpochSink::new(2);
    let kept = sink.clone();
    let run = |sink: &mut MemoryEpochSink, first, fails: bool| {
        let failed = fails.then(|| "cannot publish to memory: told to fail".to_owned());
        assert_eq!(publish(sink, 1, 5, first).err(), failed);
    };
    assert_eq!(sink.take_over(Generation(1)).unwrap(), [None, None]);
    kept.fail_publish(0, PublishFault::Before);
    kept.fail_publish(1, PublishFault::AfterChunks(2));
    kept.fail_publish(3, PublishFault::After);
    run(&mut sink, 0, true);
    check(&kept, "", None);
    run(&mut sink, 0, true);
    check(&kept, "e5-0 e5-1", Some((5, 2)));
    // Who goes on where the marker stands makes it whole.
    run(&mut sink, 2, false);
    check(&kept, "e5-0 e5-1 e5-2", Some((5, 3)));
    // Who does not is seen.
    run(&mut sink, 2, true);
    check(&kept, "e5-0 e5-1 e5-2 e5-2", Some((5, 3)));
    assert_eq!((kept.publishes(), kept.take_overs()), (4, 1));
    let markers = sink.take_over(Generation(1)).unwrap();
    assert_eq!(markers, [None, kept.marker(SHARD)]);
    kept.set_marker(SHARD, None);
    check(&kept, "e5-0 e5-1 e5-2 e5-2", None);
}

#[test]
fn does_what_happens_to_a_fork_stay_there() {
    let mut sink = MemoryEpochSink::new(2);
    sink.take_over(Generation(1)).unwrap();
    publish(&mut sink, 1, 1, 2).unwrap();
    let mut fork = sink.fork();
    publish(&mut fork, 1, 2, 2).unwrap();
    check(&fork, "e1-2 e2-2", Some((2, 3)));
    check(&sink, "e1-2", Some((1, 3)));
}

#[test]
fn is_an_older_generation_kept_from_publishing() {
    let mut old = MemoryEpochSink::new(2);
    let mut new = old.clone();
    let none = "cannot publish to memory: generation 1 has not taken over";
    assert_eq!(publish(&mut old, 1, 1, 0).unwrap_err(), none);
    old.take_over(Generation(1)).unwrap();
    publish(&mut old, 1, 1, 0).unwrap();
    new.take_over(Generation(2)).unwrap();
    let newer = "a newer run has taken over: it is generation 2, and this one is 1";
    let refused = publish(&mut old, 1, 2, 0).unwrap_err();
    assert_eq!(refused, format!("cannot publish to memory: {newer}"));
    let refused = old.take_over(Generation(1)).unwrap_err().to_string();
    assert_eq!(refused, format!("cannot take over memory: {newer}"));
    publish(&mut new, 2, 2, 1).unwrap();
    check(&new, "e1-0 e1-1 e1-2 e2-1 e2-2", Some((2, 3)));
}

#[test]
fn is_what_came_before_a_chunk_that_cannot_be_read_visible() {
    let mut sink = MemoryEpochSink::new(2);
    sink.take_over(Generation(1)).unwrap();
    let mut kept = sink.clone();
    let mut chunks = (0..2).map(|chunk| {
        if chunk == 1 {
            // Nobody holds a lock while chunks are read.
            kept.take_over(Generation(1)).unwrap();
            return Err(failed("read", "told to fail"));
        }
        Ok(EpochChunk {
            chunk,
            chunks: 3,
            records_before: 0,
            outputs: Vec::new(),
        })
    });
    let outputs = ShardEpoch {
        generation: Generation(1),
        epoch: Epoch(1),
        checkpoint: CheckpointId(1),
        shard: SHARD,
        before: [0; 4],
        after: [0; 4],
        chunk_count: 3,
        outputs: ShardOutputs::Chunks(&mut chunks),
    };
    sink.publish(outputs).unwrap_err();
    check(&sink, "", Some((1, 1)));
}
