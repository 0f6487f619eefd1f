//! Does each worker get its keys, in order, one batch per partition?

use std::sync::Arc;

use slackwater_dataflow::ingest::Ingest;
use slackwater_dataflow::moment::EventTime;
use slackwater_dataflow::operator::Routed;
use slackwater_dataflow::place::{KeyHash, Offset, PartitionId};
use slackwater_dataflow::source::{Origin, Payload};
use slackwater_dataflow::turn::{InTurn, Turn};

use crate::batch::Cell;
use crate::event::FieldIndex;
use crate::ingest::tests::{ingest, plan, seal, text};
use crate::ingest::{Detour, EventIngest};
use crate::key::Route;

fn event(user: &str, at: i64) -> String {
    format!(r#"{{"user":"{user}","category":"c","product":"p","at":{at}}}"#)
}

#[test]
fn is_a_batch_of_one_partition_for_one_worker() {
    const WORKERS: usize = 3;
    let mut ingest = ingest(WORKERS);
    let spread = plan(WORKERS).spread;
    // Partitions change inside the poll, and come back.
    for (offset, partition) in [2, 2, 2, 5, 5, 2, 2, 0]
        .into_iter()
        .cycle()
        .take(40)
        .enumerate()
    {
        let record = event(&format!("u{}", offset % 7), 1_000);
        let payload = Payload::Whole(record.as_bytes());
        ingest.on_record(
            PartitionId(partition),
            Offset(offset as u64),
            payload,
            Origin::default(),
        );
    }
    let found = seal(&mut ingest);
    let mut offsets = Vec::new();
    let mut last = std::collections::BTreeMap::new();
    for (partition, batch) in &found.batches {
        assert!(!batch.rows.rows().is_empty(), "an empty batch");
        for row in batch.rows.rows() {
            assert_eq!(spread.worker(row.key_hash), batch.worker());
            assert_eq!(row.partition, *partition);
            assert_eq!(row.key_hash, KeyHash::of(batch.rows.bytes(row.key)));
            let user = format!("u{}", row.offset.0 % 7);
            assert_eq!(text(batch, row, 0), user);
            let before = last.insert((*partition, batch.worker()), row.offset);
            assert!(before < Some(row.offset), "order of {partition}");
            offsets.push(row.offset.0);
        }
    }
    offsets.sort_unstable();
    assert!(offsets.into_iter().eq(0..40), "each event in one batch");
    assert!(
        seal(&mut ingest).batches.is_empty(),
        "a poll is sealed once"
    );
}

#[test]
fn are_polls_of_one_partition_one_batch_per_worker() {
    let mut ingest = ingest(2);
    for offset in 0..50 {
        let record = event(&format!("u{}", offset % 9), 1_000);
        let payload = Payload::Whole(record.as_bytes());
        ingest.on_record(PartitionId(1), Offset(offset), payload, Origin::default());
        // Rejects in between close nothing.
        ingest.on_record(
            PartitionId(1),
            Offset(offset),
            Payload::Whole(b"{}"),
            Origin::default(),
        );
    }
    let found = seal(&mut ingest);
    let mut workers: Vec<usize> = found.batches.iter().map(|(_, b)| b.worker()).collect();
    workers.sort_unstable();
    assert_eq!((workers, found.rejects.len()), (vec![0, 1], 50));
}

#[test]
fn does_each_partition_have_its_own_watermark() {
    let mut ingest = ingest(1);
    let mut check = |partition: u32, at: i64, expected: [i64; 2]| {
        let record = event("anna", at);
        let payload = Payload::Whole(record.as_bytes());
        ingest.on_record(
            PartitionId(partition),
            Offset(0),
            payload,
            Origin::default(),
        );
        let found = [0, 1].map(|partition| ingest.watermark(PartitionId(partition)));
        assert_eq!(found, expected.map(EventTime), "after {at} in {partition}");
    };
    let never = i64::MIN;
    check(0, 50_000, [48_000, never]);
    check(1, 1_000, [48_000, -1_000]);
    check(1, 900, [48_000, -1_000]);
    check(0, 50_001, [48_001, -1_000]);
    check(0, 47_000, [48_001, -1_000]);
    check(1, 3_602_000, [48_001, -1_000]);
    check(1, 3_601_000, [48_001, 3_599_000]);
}

/// Whatever cannot be used moves no watermark, however high its time.
#[test]
fn do_rejects_leave_the_watermark_alone() {
    let mut ingest = ingest(1);
    let mut check = |record: &str| {
        ingest.on_record(
            PartitionId(0),
            Offset(0),
            Payload::Whole(record.as_bytes()),
            Origin::default(),
        );
        assert_eq!(ingest.watermark(PartitionId(0)), EventTime::MIN, "{record}");
    };
    check(r#"{"user":"","category":"c","product":"p","at":9000}"#);
    check(r#"{"user":"a","category":"c","at":9000}"#);
    check(r#"{"user":"a","category":"c","product":"p","at":9000.0}"#);
    check(r#"{"user":"a","category":"c","product":"p","price":101,"at":9000}"#);
    check(r#"{"user":"a","category":"c","product":"p","at":9000"#);
}

/// The first key on the way is the product, which may be null here; the second half of each poll is of another partition.
#[test]
fn does_each_batch_go_to_the_first_key_and_say_its_turn() {
    const WORKERS: usize = 3;
    const PRODUCT: FieldIndex = FieldIndex(2);
    let mut plan = plan(WORKERS);
    plan.schema.fields[PRODUCT.0].required = false;
    plan.computed = 2;
    plan.detour = Some(Detour {
        first: vec![PRODUCT],
        in_turns: true,
    });
    let spread = plan.spread;
    let mut ingest = EventIngest::new(Arc::new(plan));
    for poll in 0..4 {
        for nth in 0..20 {
            let partition = PartitionId(u32::from(nth >= 10));
            let product = match nth % 5 {
                0 => "null".to_owned(),
                product => format!("\"p{product}\""),
            };
            let record =
                format!(r#"{{"user":"u{nth}","category":"c","product":{product},"at":1000}}"#);
            let payload = Payload::Whole(record.as_bytes());
            ingest.on_record(
                partition,
                Offset(poll * 20 + nth),
                payload,
                Origin::default(),
            );
        }
        let found = seal(&mut ingest);
        for partition in [0, 1].map(PartitionId) {
            let batches = found.batches.iter().filter(|(it, _)| *it == partition);
            let batches: Vec<_> = batches.map(|(_, batch)| batch).collect();
            assert!(batches.len() > 1);
            let turn = Turn {
                partition,
                number: poll,
                parts: batches.len(),
            };
            for batch in batches {
                assert_eq!(batch.turn(), Some(turn));
                for row in batch.rows.rows() {
                    let hash = Route::by(vec![PRODUCT]).hash(&batch.rows, row);
                    assert_eq!(spread.worker(hash), batch.worker());
                    assert_eq!(row.key_hash, KeyHash::of(batch.rows.bytes(row.key)));
                    assert_eq!(batch.rows.cells(row).count(), 8);
                    assert_eq!(batch.rows.cell(row, FieldIndex(7)), Cell::Null);
                }
            }
        }
    }
    // A poll of which nothing is left is none.
    ingest.on_record(
        PartitionId(0),
        Offset(99),
        Payload::Whole(b"{}"),
        Origin::default(),
    );
    assert!(seal(&mut ingest).batches.is_empty());
    let last = event("anna", 1_000);
    let payload = Payload::Whole(last.as_bytes());
    ingest.on_record(PartitionId(0), Offset(100), payload, Origin::default());
    let found = seal(&mut ingest);
    let numbers = found
        .batches
        .iter()
        .map(|(_, batch)| batch.turn().unwrap().number);
    assert!(numbers.eq([4]));
}
