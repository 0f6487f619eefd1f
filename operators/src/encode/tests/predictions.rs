//! A scored event as bytes, and how records are spread over shards.

use slackwater_dataflow::flow::Ticket;
use slackwater_dataflow::moment::{Epoch, EventTime};
use slackwater_dataflow::operator::{Emitter, Operator};
use slackwater_dataflow::place::{KeyHash, Offset, PartitionId, ShardId, Spread};
use slackwater_dataflow::sink::OutputStream;
use slackwater_dataflow::sink::addressed::records;
use slackwater_dataflow::sink::destinations::{Destination, Destinations, Timestamps};

use crate::batch::{Cell, NewRow, RowBatch, Rows, Span};
use crate::encode::tests::{clock, encode, text};
use crate::encode::{EncodePredictions, Form, ModelIdentity, PredictionPlan};
use crate::enrichment::{Enrichment, Provenance};
use crate::event::FieldIndex;
use crate::infer::ScoredBatch;
use crate::reject::Stage;

pub(super) const SPREAD: Spread = Spread {
    key_groups: 64,
    workers: 1,
    shards: 3,
};

/// The record `o'clock` stands for any; plain texts point into it, others into the unescaped texts.
fn plain(start: u32, len: u32) -> Cell {
    let span = Span { start, len };
    Cell::Text { span, plain: true }
}

fn unescaped(len: u32) -> Cell {
    let span = Span { start: 0, len };
    Cell::Text { span, plain: false }
}

pub(super) fn batch(rows: &[(u64, i64, Vec<Cell>, &str)]) -> RowBatch {
    let fields = rows.first().map_or(0, |row| row.2.len());
    let mut all = Rows::with_capacity(fields, rows.len(), 0);
    for (hash, time, cells, scratch) in rows {
        all.push(NewRow {
            partition: PartitionId(4),
            offset: Offset(hash * 100),
            time: EventTime(*time),
            order_time: EventTime(*time),
            key_hash: KeyHash(*hash),
            key: b"\x01\x04\0\0\0an\"a",
            origin: &[],
            record: b"o'clock",
            cells,
            scratch: scratch.as_bytes(),
        });
    }
    RowBatch {
        worker: 0,
        rows: all,
        ticket: Ticket::detached(),
        turn: None,
    }
}

fn plan(fields: usize, provenance: Option<ModelIdentity>) -> PredictionPlan {
    let fields = (0..fields).map(|at| (["user", "a \"b\"", "c"][at].to_owned(), FieldIndex(at)));
    PredictionPlan {
        fields: fields.collect(),
        outputs: vec!["prediction".to_owned()],
        provenance,
        lookups: Vec::new(),
        spread: SPREAD,
        form: Form::Lines,
    }
}

fn identity() -> ModelIdentity {
    ModelIdentity {
        name: "a \"model\"".to_owned(),
        version: 7,
        digest: "sha256:00ff".to_owned(),
    }
}

fn scored(cells: Vec<Cell>, scratch: &str, score: f32) -> ScoredBatch {
    ScoredBatch {
        batch: batch(&[(5, -12, cells, scratch)]),
        scores: vec![score],
        enrichment: Enrichment::default(),
    }
}

#[test]
fn is_a_prediction_exactly_what_it_should_be() {
    let check = |cells: Vec<Cell>, scratch: &str, score: f32, expected: &str| {
        let plan = plan(cells.len(), None);
        let mut encoder = EncodePredictions::new(&plan, clock());
        let found = encode(&mut encoder, scored(cells, scratch, score));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].chunk.stream, OutputStream::Predictions);
        assert_eq!(
            found[0].chunk.shard,
            ShardId(2),
            "5 mod 64 groups, mod 3 shards"
        );
        assert_eq!(text(&found[0]), expected);
    };
    check(
        vec![plain(0, 7), unescaped(7)],
        "a\"\\\n\u{1}é",
        0.5,
        "{\"user\":\"o'clock\",\"a \\\"b\\\"\":\"a\\\"\\\\\\n\\u0001é\",\"prediction\":0.5,\
         \"event_time\":-12,\"processing_time\":1718054321052}\n",
    );
    check(
        vec![Cell::Null, Cell::Int(-5), Cell::Float(1e300)],
        "",
        1.0,
        "{\"user\":null,\"a \\\"b\\\"\":-5,\"c\":1e+300,\"prediction\":1.0,\
         \"event_time\":-12,\"processing_time\":1718054321052}\n",
    );
    // Lists without the white space between their elements: a record is a line.
    let list = |in_record, len| Cell::List {
        span: Span { start: 0, len },
        in_record,
    };
    check(
        vec![list(false, 23), plain(0, 1)],
        "[1.50 ,\n\"a \\\" ,]\", 2e3]",
        1.0,
        "{\"user\":[1.50,\"a \\\" ,]\",2e3],\"a \\\"b\\\"\":\"o\",\"prediction\":1.0,\
         \"event_time\":-12,\"processing_time\":1718054321052}\n",
    );
    check(
        vec![Cell::Bool(true)],
        "",
        0.123_456_79,
        "{\"user\":true,\"prediction\":0.12345679,\
         \"event_time\":-12,\"processing_time\":1718054321052}\n",
    );
    check(
        vec![],
        "",
        -0.0,
        "{\"prediction\":-0.0,\"event_time\":-12,\"processing_time\":1718054321052}\n",
    );
}

/// The fewest digits that name a score: read back, it is the same.
#[test]
fn is_a_score_read_back_as_it_was() {
    for score in [
        f32::MIN_POSITIVE,
        f32::MAX,
        1e-7,
        1.0 / 3.0,
        16_777_216.0,
        f32::from_bits(1),
    ] {
        let mut encoder = EncodePredictions::new(&plan(0, None), clock());
        let found = encode(&mut encoder, scored(vec![], "", score));
        let record: serde_json::Value = serde_json::from_str(text(&found[0])).unwrap();
        let read = record["prediction"].as_f64().unwrap() as f32;
        assert_eq!(read.to_bits(), score.to_bits(), "{record}");
    }
}

#[test]
fn does_provenance_say_where_from_and_which_model() {
    let mut encoder = EncodePredictions::new(&plan(1, Some(identity())), clock());
    let mut out = Emitter::of(Epoch(9));
    encoder.on_batch(scored(vec![plain(2, 5)], "", 0.25), &mut out);
    let found = out.take_outputs();
    let expected = "{\"user\":\"clock\",\"prediction\":0.25,\"event_time\":-12,\
        \"processing_time\":1718054321052,\"partition\":4,\"offset\":500,\"epoch\":9,\
        \"model\":{\"name\":\"a \\\"model\\\"\",\"version\":7,\"digest\":\"sha256:00ff\"}}\n";
    assert_eq!(text(&found[0]), expected);
}

#[test]
fn does_provenance_say_how_lookups_have_enriched_each_event() {
    let mut plan = plan(0, Some(identity()));
    plan.lookups = ["profile", "a \"b\""].map(str::to_owned).to_vec();
    let ms = std::time::Duration::from_millis;
    let of_events = [
        (Provenance::Fresh, r#"{"from":"fresh"}"#),
        (
            Provenance::Cached(ms(812)),
            r#"{"from":"cached","age_ms":812}"#,
        ),
        (
            Provenance::LastKnown(ms(90_000)),
            r#"{"from":"last_known","age_ms":90000}"#,
        ),
        (Provenance::Default, r#"{"from":"default"}"#),
    ];
    let [first, .., last] = of_events;
    let mut enrichment = Enrichment::default();
    enrichment.push(of_events.map(|(provenance, _)| provenance).to_vec());
    enrichment.push(vec![first.0, first.0, first.0, last.0]);
    let scored = ScoredBatch {
        batch: batch(&[0, 1, 2, 3].map(|at| (1, at, vec![], ""))),
        scores: vec![0.5; 4],
        enrichment,
    };
    let found = encode(&mut EncodePredictions::new(&plan, clock()), scored);
    let lines = text(&found[0]).lines();
    for (at, (line, (_, expected))) in lines.zip(of_events).enumerate() {
        let other = if at == 3 { last.1 } else { first.1 };
        let expected =
            format!("}},\"lookups\":{{\"profile\":{expected},\"a \\\"b\\\"\":{other}}}}}");
        assert!(line.ends_with(&expected), "{line}\n{expected}");
    }
}

#[test]
fn are_all_scores_of_an_event_in_its_prediction() {
    let mut plan = plan(1, None);
    plan.outputs = ["on_time", "a \"b\"", "late"].map(str::to_owned).to_vec();
    let rows = [10, 20].map(|time| (1, time, vec![unescaped(1)], "x"));
    let scored = ScoredBatch {
        batch: batch(&rows),
        scores: vec![0.5, 0.25, 0.125, 1.0, -0.0, 1e-7],
        enrichment: Enrichment::default(),
    };
    let found = encode(&mut EncodePredictions::new(&plan, clock()), scored);
    let expected = [
        r#"{"user":"x","on_time":0.5,"a \"b\"":0.25,"late":0.125,"event_time":10"#,
        r#"{"user":"x","on_time":1.0,"a \"b\"":-0.0,"late":1e-7,"event_time":20"#,
    ];
    let lines: Vec<&str> = text(&found[0]).lines().collect();
    assert_eq!(lines.len(), expected.len());
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.starts_with(expected), "{line}\n{expected}");
    }
}

#[test]
fn is_each_record_in_the_chunk_of_its_shard_in_order() {
    // Groups 0 to 9, each twice; shard = group mod 3.
    let rows: Vec<_> = (0..20).map(|at| (at % 10, at as i64, vec![], "")).collect();
    let scored = ScoredBatch {
        batch: batch(&rows),
        scores: (0..20_u8).map(f32::from).collect(),
        enrichment: Enrichment::default(),
    };
    let mut encoder = EncodePredictions::new(&plan(0, None), clock());
    let found = encode(&mut encoder, scored);
    let times = |shard: usize| -> Vec<i64> {
        let lines = text(&found[shard]).lines();
        let record = lines.map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        record
            .map(|record| record["event_time"].as_i64().unwrap())
            .collect()
    };
    let shards: Vec<u16> = found
        .iter()
        .map(|publication| publication.chunk.shard.0)
        .collect();
    assert_eq!(shards, [0, 1, 2]);
    assert_eq!(times(0), [0, 3, 6, 9, 10, 13, 16, 19]);
    assert_eq!(times(1), [1, 4, 7, 11, 14, 17]);
    assert_eq!(times(2), [2, 5, 8, 12, 15, 18]);
    // A shard without records gets no chunk.
    let rows = [(1, 0, vec![], ""), (4, 1, vec![], "")];
    let scored = ScoredBatch {
        batch: batch(&rows),
        scores: vec![0.5; 2],
        enrichment: Enrichment::default(),
    };
    let found = encode(&mut encoder, scored);
    let shards: Vec<u16> = found
        .iter()
        .map(|publication| publication.chunk.shard.0)
        .collect();
    assert_eq!((shards, found[0].chunk.records), (vec![1], 2));
}

#[test]
fn is_a_prediction_that_its_topic_would_refuse_a_dead_letter() {
    let topics = OutputStream::ALL.map(|_| Destination::new(3, Timestamps::ANY));
    let mut plan = plan(1, None);
    plan.form = Form::Addressed(Destinations::new(topics, 150));
    let mut encoder = EncodePredictions::new(&plan, clock());
    let rows = [
        (1, 10, vec![unescaped(2)], "ab"),
        (2, 20, vec![unescaped(99)], &"x".repeat(99)),
        (3, 30, vec![unescaped(2)], "cd"),
    ];
    let batch = batch(&rows);
    let mut out = Emitter::default();
    let scored = ScoredBatch {
        batch,
        scores: vec![0.5; 3],
        enrichment: Enrichment::default(),
    };
    encoder.on_batch(scored, &mut out);
    let refused = out.take_rejects();
    let rejects = &refused[0].rejects;
    assert_eq!((refused.len(), rejects.len()), (1, 1));
    assert_eq!(
        (rejects[0].reason.stage, rejects[0].offset),
        (Stage::Encode, Offset(200))
    );
    let message = &rejects[0].reason.message;
    assert_eq!(message, "the prediction has 205 bytes, its topic takes 150");
    let mut written = Vec::new();
    for publication in out.take_outputs() {
        for record in records(&publication.chunk.bytes) {
            assert_eq!(record.address.key, Some(b"an\"a".as_slice()));
            written.push(record.address.time_ms);
        }
    }
    written.sort_unstable();
    assert_eq!(written, [10, 30]);
}
