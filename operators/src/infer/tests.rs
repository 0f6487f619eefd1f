//! Is only the event rejected that the model cannot score, and are all others scored as ever?

use std::time::Duration;

use slackwater_dataflow::flow::Ticket;
use slackwater_dataflow::moment::EventTime;
use slackwater_dataflow::operator::{Emitter, Operator};
use slackwater_dataflow::place::{KeyHash, Offset, PartitionId, Spread};
use slackwater_models::{Model, ModelSpec, OutputSpec};

use crate::batch::{NewRow, RowBatch, Rows};
use crate::enrichment::{Enrichment, Provenance};
use crate::features::FeatureBatch;
use crate::infer::{Infer, InferPlan};

/// What the model answers to the features 0, 1, 2, ...; it fails on any other.
const ANSWERS: [f32; 5] = [0.25, 0.5, f32::NAN, f32::INFINITY, f32::NEG_INFINITY];

/// A field of a protobuf message that holds bytes: a text, a message, packed numbers.
fn bytes(field: u8, content: &[u8]) -> Vec<u8> {
    // One byte of length is enough for all but the graph.
    let (low, high) = (content.len() as u8 & 0x7f, (content.len() >> 7) as u8);
    [&[field << 3 | 2, low | 0x80, high], content].concat()
}

/// A field that holds a number below 128.
fn number(field: u8, value: u8) -> Vec<u8> {
    vec![field << 3, value]
}

/// A tensor of 32-bit floats, any number of rows of one value.
fn tensor(name: &str) -> Vec<u8> {
    let rows = bytes(1, &bytes(2, b"rows"));
    let shape = [rows, bytes(1, &number(1, 1))].concat();
    let kind = bytes(1, &[number(1, 1), bytes(2, &shape)].concat());
    [bytes(1, name.as_bytes()), bytes(2, &kind)].concat()
}

/// An ONNX model that looks its only feature up in a table, `Gather(answers, Cast(input))`, and gives the feature back as well.
fn table() -> Vec<u8> {
    const INT64: u8 = 7;
    let node = |inputs: &[&str], output: &str, kind: &str| {
        let inputs = inputs.iter().flat_map(|input| bytes(1, input.as_bytes()));
        let output = bytes(2, output.as_bytes());
        [inputs.collect(), output, bytes(4, kind.as_bytes())].concat()
    };
    let to = [bytes(1, b"to"), number(3, INT64), vec![0xa0, 0x01, 2]].concat();
    let cast = [node(&["input"], "places", "Cast"), bytes(5, &to)].concat();
    let gather = node(&["answers", "places"], "output", "Gather");
    let same = node(&["input"], "same", "Identity");
    let answers: Vec<u8> = ANSWERS
        .iter()
        .flat_map(|answer| answer.to_le_bytes())
        .collect();
    let answers = [
        number(1, ANSWERS.len() as u8),
        number(2, 1),
        bytes(8, b"answers"),
        bytes(9, &answers),
    ];
    let graph = [
        bytes(1, &cast),
        bytes(1, &gather),
        bytes(1, &same),
        bytes(2, b"table"),
        bytes(5, &answers.concat()),
        bytes(11, &tensor("input")),
        bytes(12, &tensor("output")),
        bytes(12, &tensor("same")),
    ];
    let opset = number(2, 13);
    [number(1, 8), bytes(7, &graph.concat()), bytes(8, &opset)].concat()
}

/// A stage that gives these tensors of the model, each called as it is here.
fn stage(outputs: &[(&str, &str)]) -> Infer {
    let outputs = outputs.iter().map(|(name, tensor)| OutputSpec {
        name: (*name).to_owned(),
        tensor: Some((*tensor).to_owned()),
        index: 0,
    });
    let spec = ModelSpec {
        name: "table".to_owned(),
        source: table(),
        batch: 4,
        features: 1,
        outputs: outputs.collect(),
        ..ModelSpec::default()
    };
    let plan = InferPlan {
        model: "table".to_owned(),
        features: vec!["x".to_owned()],
        spread: Spread {
            key_groups: 8,
            workers: 1,
            shards: 2,
        },
    };
    Infer::new(plan, Model::load(&spec).unwrap().scorer().unwrap())
}

/// What tells an event from the others.
fn provenance(offset: u64) -> Provenance {
    Provenance::Cached(Duration::from_millis(offset))
}

/// Events whose only feature is this; offsets from 0.
fn events(vectors: &[f32]) -> FeatureBatch {
    let mut rows = Rows::with_capacity(0, 0, 0);
    for at in 0..vectors.len() as u64 {
        rows.push(NewRow {
            partition: PartitionId(2),
            offset: Offset(at),
            time: EventTime(1_000 + at as i64),
            order_time: EventTime(1_000 + at as i64),
            key_hash: KeyHash(at),
            key: b"key",
            origin: &[],
            record: b"record",
            cells: &[],
            scratch: b"",
        });
    }
    let mut enrichment = Enrichment::default();
    enrichment.push((0..vectors.len() as u64).map(provenance).collect());
    FeatureBatch {
        enrichment,
        batch: RowBatch {
            worker: 0,
            rows,
            ticket: Ticket::detached(),
            turn: None,
        },
        vectors: vectors.to_vec(),
    }
}

/// The scores of an event.
type Scores = Vec<f32>;
/// Scores by offset, and rejects as offset, code and message.
type Found = (Vec<(u64, Scores)>, Vec<(u64, &'static str, String)>);

fn score(stage: &mut Infer, vectors: &[f32]) -> Found {
    let mut out = Emitter::default();
    stage.on_batch(events(vectors), &mut out);
    let mut scored = Vec::new();
    for output in out.take_outputs() {
        let rows = output.batch.rows.rows();
        let width = stage.outputs();
        assert_eq!(rows.len() * width, output.scores.len());
        for (at, row) in rows.iter().enumerate() {
            let found: Vec<_> = output.enrichment.of(at).collect();
            assert_eq!(found, [provenance(row.offset.0)]);
        }
        let scores = output.scores.chunks(width).map(<[f32]>::to_vec);
        scored.extend(rows.iter().map(|row| row.offset.0).zip(scores));
    }
    let rejects = out.take_rejects().into_iter();
    let rejects = rejects.flat_map(|batch| batch.rejects).map(|reject| {
        assert_eq!(reject.reason.stage.name(), "infer");
        let first = format!("infer/model: {}", reject.reason.message);
        assert_eq!(reject.reason.causes[0], first);
        let has_cause = reject
            .reason
            .causes
            .get(1)
            .is_some_and(|c| c.starts_with("infer/runtime: "));
        assert_eq!(has_cause, reject.reason.code.name() == "model_failed");
        assert_eq!(
            reject.event_time,
            Some(EventTime(1_000 + reject.offset.0 as i64))
        );
        assert_eq!(reject.shard.0, (reject.offset.0 % 2) as u16, "by its key");
        (
            reject.offset.0,
            reject.reason.code.name(),
            reject.reason.message,
        )
    });
    (scored, rejects.collect())
}

#[test]
fn is_only_the_event_rejected_that_has_no_score() {
    let mut stage = stage(&[("answer", "output")]);
    let mut check =
        |vectors: &[f32], scores: &[(u64, f32)], rejects: &[(u64, &'static str, &str)]| {
            let (scored, rejected) = score(&mut stage, vectors);
            let scores: Vec<_> = scores.iter().map(|(at, it)| (*at, vec![*it])).collect();
            assert_eq!(scored, scores, "{vectors:?}");
            let rejected: Vec<_> = rejected
                .iter()
                .map(|(o, c, m)| (*o, *c, m.as_str()))
                .collect();
            assert_eq!(rejected, rejects, "{vectors:?}");
        };
    let failed = |offset| (offset, "model_failed", "model `table` failed");
    let not_finite = |offset, message| (offset, "not_finite", message);
    let nan = "model `table` output `answer` is NaN";
    let infinite = "model `table` output `answer` is infinity";
    let below = "model `table` output `answer` is -infinity";
    check(&[0.0, 1.0, 0.0], &[(0, 0.25), (1, 0.5), (2, 0.25)], &[]);
    check(&[], &[], &[]);
    check(&[2.0], &[], &[not_finite(0, nan)]);
    check(
        &[3.0, 1.0, 4.0],
        &[(1, 0.5)],
        &[not_finite(0, infinite), not_finite(2, below)],
    );
    check(&[1000.0], &[], &[failed(0)]);
    // A network may make a number of what is none: the input is looked at, and named.
    let input = |offset, said| (offset, "not_finite", said);
    check(
        &[f32::NAN, 1.0, f32::INFINITY],
        &[(1, 0.5)],
        &[
            input(0, "model `table` input `x` is NaN"),
            input(2, "model `table` input `x` is infinity"),
        ],
    );
    // More than one block of the model, failures and numbers that are none in any order.
    check(
        &[0.0, 1000.0, 1.0, 2.0, 3.0, 0.0, 1000.0],
        &[(0, 0.25), (2, 0.5), (5, 0.25)],
        &[
            failed(1),
            not_finite(3, nan),
            not_finite(4, infinite),
            failed(6),
        ],
    );
    check(
        &[1.0; 9],
        &[0, 1, 2, 3, 4, 5, 6, 7, 8].map(|at| (at, 0.5)),
        &[],
    );
}

#[test]
fn do_all_scores_of_an_event_go_with_it() {
    let of = |outputs: &[(&str, &str)], vectors: &[f32]| score(&mut stage(outputs), vectors);
    let both = [("first", "same"), ("answer", "output")];
    let rejected = |offset, code, message: &str| (offset, code, message.to_owned());
    let nan = "model `table` output `answer` is NaN";
    let failed = "model `table` failed";
    assert_eq!(
        of(&both, &[1.0, 2.0, 0.0, 1000.0, 1.0]),
        (
            vec![
                (0, vec![1.0, 0.5]),
                (2, vec![0.0, 0.25]),
                (4, vec![1.0, 0.5])
            ],
            vec![
                rejected(1, "not_finite", nan),
                rejected(3, "model_failed", failed)
            ],
        )
    );
    // The first that is no number is named.
    let twice = [("answer", "output"), ("again", "output")];
    let (scored, rejects) = of(&twice, &[2.0, 0.0]);
    assert_eq!(scored, [(1, vec![0.25, 0.25])]);
    assert_eq!(rejects, [rejected(0, "not_finite", nan)]);
}
