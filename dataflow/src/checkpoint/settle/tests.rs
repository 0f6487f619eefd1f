//! Is every output published exactly once, whatever was published before, and is nothing guessed?

use crate::checkpoint::settle::{Choice, Confirmed, Finding, Halt, Step, Unpublished, decide};
use crate::identity::{CheckpointId, Generation};
use crate::moment::Epoch;
use crate::sink::Marker;

/// (epoch, chunk, how many chunks), of one that a sink has.
type Piece = (u64, u32, u32);

fn id(epoch: u64) -> CheckpointId {
    CheckpointId(0xabc0 + epoch)
}

fn confirmed(epoch: u64) -> Confirmed {
    Confirmed {
        epoch: Epoch(epoch),
        checkpoint: id(epoch),
    }
}

fn unpublished(epoch: u64, chunks: u32) -> Unpublished {
    Unpublished {
        epoch: Epoch(epoch),
        checkpoint: id(epoch),
        chunks,
    }
}

fn marker(epoch: u64, checkpoint: CheckpointId, chunk: u32, chunks: u32) -> Marker {
    Marker {
        generation: Generation(7),
        epoch: Epoch(epoch),
        checkpoint,
        chunk,
        chunks,
    }
}

/// All pieces that a sink is to have in the end: those of the confirmed epoch, which is there with 2
/// chunks, and of the listed ones.
fn pieces(confirmed: Option<Confirmed>, listed: &[Unpublished]) -> Vec<Piece> {
    let known = confirmed.map(|known| (known.epoch.0, 2));
    let listed = listed.iter().map(|listed| (listed.epoch.0, listed.chunks));
    let epochs = known.into_iter().chain(listed);
    epochs
        .flat_map(|(epoch, chunks)| (0..chunks).map(move |chunk| (epoch, chunk, chunks)))
        .collect()
}

/// The marker that a sink with these pieces has.
fn implied(pieces: &[Piece]) -> Option<Marker> {
    let (epoch, chunk, chunks) = *pieces.last()?;
    Some(marker(epoch, id(epoch), chunk + 1, chunks))
}

/// What a sink with a marker has, of all that the checkpoint can have led to; none if it can't have led to it. A sink
/// takes pieces in their order, and took at least what is confirmed.
fn had(
    found: Option<&Marker>,
    confirmed: Option<Confirmed>,
    listed: &[Unpublished],
) -> Option<Vec<Piece>> {
    let all = pieces(confirmed, listed);
    let least = pieces(confirmed, &[]).len();
    let prefixes = (least..=all.len()).map(|count| all[..count].to_vec());
    let mut fitting = prefixes.filter(|prefix| implied(prefix).as_ref() == found);
    let only = fitting.next();
    assert_eq!(fitting.next(), None, "a marker that says two things");
    only
}

/// Does what was decided.
fn apply(sink: &mut Vec<Piece>, listed: &[Unpublished], steps: &[Step]) {
    assert_eq!(steps.len(), listed.len());
    for (step, listed) in steps.iter().zip(listed) {
        match step {
            Step::Skip { epoch } => assert_eq!(*epoch, listed.epoch),
            Step::Publish { epoch, from_chunk } => {
                assert_eq!(*epoch, listed.epoch);
                let chunks = listed.chunks;
                sink.extend((*from_chunk..chunks).map(|chunk| (epoch.0, chunk, chunks)));
            }
        }
    }
}

/// Every marker out of small numbers, none included.
fn markers() -> Vec<Option<Marker>> {
    let mut all = vec![None];
    for epoch in 0..7 {
        for checkpoint in [id(epoch), id(epoch + 1), id(99)] {
            for chunk in 0..5 {
                let chunks = 0..5;
                all.extend(chunks.map(|chunks| Some(marker(epoch, checkpoint, chunk, chunks))));
            }
        }
    }
    all
}

/// Every list of up to three epochs after the first, with gaps, of up to three chunks each.
fn lists() -> Vec<Vec<Unpublished>> {
    let mut all = vec![Vec::new()];
    for subset in 1..16_u32 {
        let epochs: Vec<u64> = (0..4).filter(|bit| subset & (1 << bit) != 0).collect();
        if epochs.len() > 3 {
            continue;
        }
        for mut number in 0..3_u32.pow(u32::try_from(epochs.len()).unwrap()) {
            let mut list = Vec::new();
            for epoch in &epochs {
                list.push(unpublished(epoch + 2, number % 3 + 1));
                number /= 3;
            }
            all.push(list);
        }
    }
    all
}

#[test]
fn is_every_output_there_exactly_once_or_nothing_done() {
    let (mut settled, mut halted) = (0, 0);
    for listed in lists() {
        for confirmed in [None, Some(confirmed(1))] {
            for found in markers() {
                let decided = decide(found.as_ref(), confirmed, &listed);
                let context = || format!("{found:?} {confirmed:?} {listed:?} {decided:?}");
                // Of the confirmed epoch the checkpoint doesn't say how many chunks it had; here it had two.
                let any_confirmed = found.is_some_and(|found| {
                    confirmed.is_some_and(|known| found.checkpoint == known.checkpoint)
                        && found.epoch == Epoch(1)
                        && found.chunk == found.chunks
                        && found.chunks > 0
                });
                let found = if any_confirmed {
                    Some(marker(1, id(1), 2, 2))
                } else {
                    found
                };
                let Some(mut sink) = had(found.as_ref(), confirmed, &listed) else {
                    halted += 1;
                    assert!(decided.is_err(), "{}", context());
                    continue;
                };
                settled += 1;
                let Ok(steps) = &decided else {
                    unreachable!("{}", context());
                };
                apply(&mut sink, &listed, steps);
                assert_eq!(sink, pieces(confirmed, &listed), "{}", context());
            }
        }
    }
    assert!(settled > 1000 && halted > 10_000, "{settled} {halted}");
}

#[test]
fn does_it_say_why_it_halts() {
    let listed = [unpublished(4, 2), unpublished(6, 3)];
    let check = |marker: Option<Marker>, expected: Finding| {
        let halt = decide(marker.as_ref(), Some(confirmed(3)), &listed).unwrap_err();
        let (confirmed, listed) = (Some(confirmed(3)), listed.to_vec());
        assert_eq!(
            halt,
            Halt {
                found: expected,
                confirmed,
                listed
            }
        );
    };
    check(None, Finding::MarkerMissing);
    let ahead = marker(7, id(7), 1, 1);
    check(Some(ahead), Finding::MarkerAhead { marker: ahead });
    for unknown in [
        marker(2, id(2), 1, 1),
        marker(5, id(5), 1, 1),
        // The right number of an epoch in another history.
        marker(4, id(9), 2, 2),
        marker(3, id(9), 2, 2),
        marker(5, id(4), 2, 2),
    ] {
        check(Some(unknown), Finding::MarkerUnknown { marker: unknown });
    }
    for chunk in [1, 3] {
        let (marker, chunks) = (marker(4, id(4), chunk, 3), 2);
        check(Some(marker), Finding::OtherChunks { marker, chunks });
    }
    let partly = marker(3, id(3), 1, 2);
    check(Some(partly), Finding::ConfirmedInPart { marker: partly });
    for damaged in [marker(4, id(4), 0, 2), marker(4, id(4), 3, 2)] {
        check(Some(damaged), Finding::MarkerDamaged { marker: damaged });
    }
}

#[test]
fn does_a_halt_tell_a_person_what_is_known_and_what_can_be_done() {
    let listed = [unpublished(4, 2), unpublished(6, 3)];
    let ahead = marker(9, id(9), 1, 2);
    let halt = decide(Some(&ahead), Some(confirmed(3)), &listed).unwrap_err();
    assert_eq!(
        halt.to_string(),
        "the marker of the outputs (epoch 9, checkpoint 000000000000abc9, chunk 1 of 2, generation 7) is ahead of the \
         checkpoint; the checkpoint knows that epoch 3 (checkpoint 000000000000abc3) was published and lists 2 to be \
         published, from epoch 4 (checkpoint 000000000000abc4) to epoch 6 (checkpoint 000000000000abc6). With \
         `--accept-duplicates` what the checkpoint lists is published, though it may be there already; with \
         `--skip-outbox` none of it is, though it may be missing. Files that hold it already keep it, once, either way"
    );
    let halt = decide(None, Some(confirmed(3)), &[]).unwrap_err();
    assert!(
        halt.to_string()
            .starts_with("the outputs have no marker; the checkpoint knows that epoch 3 (checkpoint 000000000000abc3) was published and lists nothing"),
        "{halt}"
    );
}

#[test]
fn does_a_choice_decide_for_all_that_is_listed() {
    let listed = [unpublished(4, 2), unpublished(6, 3)];
    let [first, second] = [Epoch(4), Epoch(6)];
    assert_eq!(
        Choice::SkipOutbox.steps(&listed),
        [Step::Skip { epoch: first }, Step::Skip { epoch: second }]
    );
    let publish = |epoch| Step::Publish {
        epoch,
        from_chunk: 0,
    };
    assert_eq!(
        Choice::AcceptDuplicates.steps(&listed),
        [publish(first), publish(second)]
    );
}
