//! Feature vectors as lines and as rows of a table, with what is passed through beside them.

use slackwater_dataflow::flow::Ticket;
use slackwater_dataflow::moment::EventTime;
use slackwater_dataflow::place::{KeyHash, Offset, PartitionId, Spread};
use slackwater_dataflow::sink::addressed::records;

use crate::batch::{NewRow, RowBatch, Rows};
use crate::encode::tests::{encode, text};
use crate::encode::{EncodeFeatures, FeatureRow, FeatureRowPlan, Form};
use crate::enrichment::Enrichment;
use crate::features::FeatureBatch;

fn plan(labels: &[&str], form: Form) -> FeatureRowPlan {
    FeatureRowPlan {
        names: ["count", "a \"b\""].map(str::to_owned).to_vec(),
        labels: labels.iter().map(|label| (*label).to_owned()).collect(),
        label_paths: labels
            .iter()
            .map(|label| vec![(*label).to_owned()])
            .collect(),
        max_depth: 9,
        spread: Spread {
            key_groups: 64,
            workers: 1,
            shards: 1,
        },
        form,
    }
}

/// Two events and their features.
fn input(records: [&str; 2]) -> FeatureBatch {
    let mut rows = Rows::with_capacity(0, 2, 0);
    for (number, (record, time)) in records.into_iter().zip([-12, 9]).enumerate() {
        rows.push(NewRow {
            partition: PartitionId(4),
            offset: Offset(500 + number as u64),
            time: EventTime(time),
            order_time: EventTime(time),
            key_hash: KeyHash(0),
            key: b"\x01\x04\0\0\0an\"a",
            origin: &[],
            record: record.as_bytes(),
            cells: &[],
            scratch: &[],
        });
    }
    FeatureBatch {
        batch: RowBatch {
            worker: 0,
            rows,
            ticket: Ticket::detached(),
            turn: None,
        },
        vectors: vec![3.0, 0.1, f32::NAN, f32::NEG_INFINITY],
        enrichment: Enrichment::default(),
    }
}

const RECORDS: [&str; 2] = [
    r#"{"delay":1.50,"kind":"a\"\u00e9","at":[1, {"x": 2}],"delay":-2e3}"#,
    r#"{"other":1,"kind":null}"#,
];

#[test]
fn is_a_row_of_features_exactly_what_it_should_be() {
    let found = encode(
        &mut EncodeFeatures::new(&plan(&[], Form::Lines)),
        input(RECORDS),
    );
    assert_eq!(found.len(), 1);
    let expected = "{\"partition\":4,\"offset\":500,\"key\":\"an\\\"a\",\"event_time\":-12,\
        \"features\":{\"count\":3.0,\"a \\\"b\\\"\":0.1}}\n\
        {\"partition\":4,\"offset\":501,\"key\":\"an\\\"a\",\"event_time\":9,\
        \"features\":{\"count\":null,\"a \\\"b\\\"\":null}}\n";
    assert_eq!(text(&found[0]), expected);
}

#[test]
fn are_labels_passed_through_as_they_stand_in_the_record() {
    let plan = plan(&["kind", "delay", "at"], Form::Lines);
    let found = encode(&mut EncodeFeatures::new(&plan), input(RECORDS));
    let labels: Vec<&str> = text(&found[0])
        .lines()
        .map(|line| line.split_once("},").unwrap().1)
        .collect();
    // Of two the last one, as everywhere.
    let expected = [
        r#""labels":{"kind":"a\"\u00e9","delay":-2e3,"at":[1,{"x":2}]}}"#,
        r#""labels":{"kind":null,"delay":null,"at":null}}"#,
    ];
    assert_eq!(labels, expected);
}

#[test]
fn is_a_row_of_a_table_read_as_it_was_written() {
    let plan = plan(&["delay", "kind"], Form::Rows);
    let found = encode(&mut EncodeFeatures::new(&plan), input(RECORDS));
    let all: Vec<_> = records(&found[0].chunk.bytes).collect();
    assert_eq!((found.len(), found[0].chunk.records, all.len()), (1, 2, 2));
    let first = FeatureRow::read(&all[0], 2, 2).unwrap();
    let expected = FeatureRow {
        partition: 4,
        offset: 500,
        key: "an\"a",
        event_time: -12,
        vector: vec![3.0, 0.1],
        labels: vec![Some(b"-2e3"), Some(br#""a\"\u00e9""#)],
    };
    assert_eq!(first, expected);
    let second = FeatureRow::read(&all[1], 2, 2).unwrap();
    assert_eq!((second.offset, second.event_time), (501, 9));
    let bits: Vec<u32> = second.vector.iter().map(|it| it.to_bits()).collect();
    assert_eq!(bits, [f32::NAN.to_bits(), f32::NEG_INFINITY.to_bits()]);
    assert_eq!(second.labels, [None, None]);
    for (features, labels) in [(1, 2), (3, 2), (2, 1), (2, 3)] {
        assert_eq!(FeatureRow::read(&all[1], features, labels), None);
    }
}
