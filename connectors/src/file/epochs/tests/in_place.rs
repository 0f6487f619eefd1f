//! Outputs that are written behind the end of the parts: do they count when they should, and only then?

use slackwater_dataflow::sink::Framing;

use super::*;

fn chunk(stream: OutputStream, text: &str) -> OutputChunk {
    OutputChunk {
        stream,
        shard: ShardId(0),
        records: text.lines().count() as u32,
        framing: Framing::Lines,
        bytes: text.as_bytes().to_vec(),
    }
}

/// Takes over behind these lengths of predictions.
fn behind(root: &Path, generation: u64, length: u64) -> (EpochFiles, Box<dyn InPlace>) {
    let (mut sink, _) = taken(root, generation);
    let place = sink
        .in_place(&[[length, 0, 0, 0], [0; 4]])
        .unwrap()
        .unwrap();
    (sink, place)
}

fn publish(
    sink: &mut EpochFiles,
    by: u64,
    epoch: u64,
    before: u64,
    after: u64,
) -> Result<(), SinkError> {
    sink.publish(ShardEpoch {
        generation: Generation(by),
        epoch: Epoch(epoch),
        checkpoint: CheckpointId(epoch),
        shard: ShardId(0),
        before: [before, 0, 0, 0],
        after: [after, 0, 0, 0],
        chunk_count: 1,
        outputs: ShardOutputs::InPlace,
    })
}

fn committed(root: &Path) -> String {
    tree(root)["predictions/shard-0.jsonl.committed"].clone()
}

#[test]
fn is_what_is_in_place_visible_when_it_counts() {
    let folder = tempfile::tempdir().unwrap();
    let (mut sink, mut place) = behind(folder.path(), 1, 0);
    place
        .append(&chunk(OutputStream::Predictions, "p1\n"))
        .unwrap();
    place.sync()().unwrap();
    // What is of the next epoch does not count with this one.
    place
        .append(&chunk(OutputStream::Predictions, "p2\np3\n"))
        .unwrap();
    assert_eq!(committed(folder.path()), "0\n");
    publish(&mut sink, 1, 1, 0, 3).unwrap();
    assert_eq!(committed(folder.path()), "3\n");
    assert_eq!(tree(folder.path())[PREDICTIONS], "p1\np2\np3\n");
    place.sync()().unwrap();
    publish(&mut sink, 1, 2, 3, 9).unwrap();
    // Once more is no more.
    publish(&mut sink, 1, 2, 3, 9).unwrap();
    assert_eq!(committed(folder.path()), "9\n");
    let refused = place.append(&OutputChunk {
        shard: ShardId(7),
        ..chunk(OutputStream::Predictions, "p\n")
    });
    check_error(refused, &["outputs of shard 7"]);
}

#[test]
fn is_what_does_not_count_cut_off_by_the_next_run() {
    let folder = tempfile::tempdir().unwrap();
    let (mut sink, mut place) = behind(folder.path(), 1, 0);
    place
        .append(&chunk(OutputStream::Predictions, "p1\np2\nlost"))
        .unwrap();
    publish(&mut sink, 1, 1, 0, 3).unwrap();
    drop((sink, place));
    // The checkpoint knows of more than is published: both its epochs are published first.
    let (mut sink, _) = taken(folder.path(), 2);
    publish(&mut sink, 2, 2, 3, 6).unwrap();
    let mut place = sink.in_place(&[[6, 0, 0, 0], [0; 4]]).unwrap().unwrap();
    assert_eq!(tree(folder.path())[PREDICTIONS], "p1\np2\n");
    place
        .append(&chunk(OutputStream::Predictions, "p3\n"))
        .unwrap();
    publish(&mut sink, 2, 3, 6, 9).unwrap();
    assert_eq!(tree(folder.path())[PREDICTIONS], "p1\np2\np3\n");
    assert_eq!(committed(folder.path()), "9\n");
}

#[test]
fn is_a_part_that_is_not_what_was_placed_refused() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let (mut sink, mut place) = behind(root, 1, 0);
    place
        .append(&chunk(OutputStream::Predictions, "p1\np2\n"))
        .unwrap();
    publish(&mut sink, 1, 1, 0, 3).unwrap();
    // Published outputs are not cut off, whatever a checkpoint says; nor is what is missing made up.
    let check = |length, expected: &str| {
        let (mut sink, _) = taken(root, 2);
        check_error(
            sink.in_place(&[[length, 0, 0, 0], [0; 4]]).map(drop),
            &[expected],
        );
    };
    drop((sink, place));
    check(
        0,
        "3 bytes of a part are published, and the checkpoint knows of 0",
    );
    check(7, "it has 6 bytes, but 7 belong there");
    let (mut sink, mut place) = behind(root, 3, 6);
    place
        .append(&chunk(OutputStream::Predictions, "p3\n"))
        .unwrap();
    // Somebody cuts it, then deletes it.
    File::options()
        .write(true)
        .open(root.join(PREDICTIONS))
        .unwrap()
        .set_len(8)
        .unwrap();
    check_error(
        publish(&mut sink, 3, 2, 3, 9),
        &["it has 8 bytes, but 9 belong there"],
    );
    // Nor is anything written behind the hole.
    let refused = place.append(&chunk(OutputStream::Predictions, "p4\n"));
    check_error(refused, &["it has 8 bytes, but 9 were written"]);
    fs::remove_file(root.join(PREDICTIONS)).unwrap();
    check_error(publish(&mut sink, 3, 2, 3, 9), &["deleted or renamed"]);
}
