//! Does each record get the one outcome that the rules give it, and does polling change nothing?
//!
//! - `outcomes`: every code, stage and message, and which check wins.
//! - `batches`: who gets which rows under which partition.
//! - `wanted`: conditions over all fields, and filters.
//! - `race`: random records against a slow, obvious reference.
//! - `shapes`: nested fields, lists, defaults, and times in any unit, with a race of their own.

mod batches;
mod outcomes;
mod wanted;
mod race;
mod shapes;

use std::sync::Arc;

use slackwater_dataflow::flow::Ticket;
use slackwater_dataflow::ingest::{Ingest, Sealed};
use slackwater_dataflow::place::{Offset, PartitionId, Spread};
use slackwater_dataflow::source::{Origin, Payload};

use crate::batch::{Cell, Row, RowBatch};
use crate::check::{Bound, Check, Constant, Rule};
use crate::event::{EventSchema, Field, FieldIndex, FieldType};
use crate::ingest::{EventIngest, FieldRules, IngestPlan, LatePolicy, TimeRules};
use crate::reject::{Reject, RejectBatch};

const USER: FieldIndex = FieldIndex(0);
const TIME: FieldIndex = FieldIndex(5);
const MAX_DEPTH: u32 = 4;

fn check_of(field: usize, rule: Rule, message: &str) -> Check {
    Check::new(FieldIndex(field), rule, message)
}

/// Fields of every type, with and without need and checks: user (text, `not_empty`), category (text,
/// `not_empty` in the feature stage), product (text, required), price (float, optional, `max`), first
/// (bool, optional, `one_of`), at (the time). The checks are out of field order on purpose.
fn plan(workers: usize) -> IngestPlan {
    let fields = vec![
        Field::required("user", FieldType::Text),
        Field::required("category", FieldType::Text),
        Field::required("product", FieldType::Text),
        Field::optional("price", FieldType::Float),
        Field::optional("first", FieldType::Bool),
        Field::required("at", FieldType::Int),
    ];
    let checks = [
        check_of(5, Rule::Min(Bound::Int(-1_000)), "at is before time"),
        check_of(
            4,
            Rule::OneOf(vec![Constant::Bool(true)]),
            "first must be true",
        ),
        check_of(3, Rule::Max(Bound::Float(100.0)), "price is above 100"),
        check_of(0, Rule::NotEmpty, "user cannot be empty"),
        check_of(0, Rule::MaxLength(5), "user is longer than 5"),
    ];
    let later = [check_of(1, Rule::NotEmpty, "category cannot be empty")];
    IngestPlan {
        computed: 0,
        keeps_origins: false,
        detour: None,
        fields: FieldRules::new(fields.len(), &checks, &later),
        schema: EventSchema {
            fields,
            key: vec![USER],
            time: TIME.into(),
        },
        conditions: Vec::new(),
        filters: Vec::new(),
        time: TimeRules {
            max_out_of_orderness_ms: 2_000,
            max_ahead_ms: Some(3_600_000),
        },
        late: LatePolicy::DeadLetter,
        max_bytes: 1_048_576,
        max_depth: MAX_DEPTH,
        spread: Spread {
            key_groups: 16,
            workers,
            shards: 3,
        },
    }
}

fn ingest(workers: usize) -> EventIngest {
    EventIngest::new(Arc::new(plan(workers)))
}

/// A whole poll of records of one partition, offsets from `first` on.
fn poll(ingest: &mut EventIngest, partition: u32, first: u64, records: &[&[u8]]) -> Found {
    for (at, record) in records.iter().enumerate() {
        let offset = Offset(first + at as u64);
        ingest.on_record(
            PartitionId(partition),
            offset,
            Payload::Whole(record),
            Origin::default(),
        );
    }
    seal(ingest)
}

type Found = Sealed<RowBatch, Reject>;

fn seal(ingest: &mut EventIngest) -> Found {
    let mut sealed = Sealed::default();
    ingest.seal(&Ticket::detached(), &mut sealed);
    let each = |(partition, batch): (PartitionId, RejectBatch)| {
        let rejects = batch.rejects.into_iter();
        rejects.map(move |reject| (partition, reject))
    };
    Found {
        dropped: sealed.dropped,
        filtered: sealed.filtered,
        batches: sealed.batches,
        rejects: sealed.rejects.into_iter().flat_map(each).collect(),
    }
}

/// A text cell of a row as a string.
fn text(batch: &RowBatch, row: &Row, field: usize) -> String {
    match batch.rows.cell(row, FieldIndex(field)) {
        Cell::Text { span, .. } => String::from_utf8(batch.rows.bytes(span).to_vec()).unwrap(),
        other => format!("{other:?}"),
    }
}
