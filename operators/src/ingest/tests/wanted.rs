//! Conditions over all fields, and filters: when do they speak, and what do they say?

use std::sync::Arc;

use slackwater_dataflow::ingest::Ingest;
use slackwater_dataflow::moment::EventTime;
use slackwater_dataflow::place::PartitionId;

use crate::check::{Filter, When};
use crate::event::FieldType;
use crate::expression::{Expression, Wanted};
use crate::ingest::tests::{Found, plan, poll};
use crate::ingest::{EventIngest, LatePolicy};

/// The fields of the plan.
const FIELDS: [(&str, FieldType); 6] = [
    ("user", FieldType::Text),
    ("category", FieldType::Text),
    ("product", FieldType::Text),
    ("price", FieldType::Float),
    ("first", FieldType::Bool),
    ("at", FieldType::Int),
];

fn expression(text: &str) -> Expression {
    Expression::compile(text, &FIELDS, Wanted::Truth).unwrap()
}

fn ingest(conditions: &[(&str, &str)], filters: &[&str], late: LatePolicy) -> EventIngest {
    let mut plan = plan(1);
    let conditions = conditions.iter().map(|(condition, message)| When {
        condition: expression(condition),
        message: (*message).to_owned(),
    });
    plan.conditions = conditions.collect();
    let filters = filters.iter().map(|keep| Filter {
        keep: expression(keep),
    });
    plan.filters = filters.collect();
    plan.late = late;
    EventIngest::new(Arc::new(plan))
}

fn record(user: &str, price: &str, at: i64) -> String {
    format!(r#"{{"user":"{user}","category":"c","product":"p","price":{price},"at":{at}}}"#)
}

fn read(ingest: &mut EventIngest, records: &[String]) -> Found {
    let records: Vec<&[u8]> = records.iter().map(String::as_bytes).collect();
    poll(ingest, 0, 0, &records)
}

fn rows(found: &Found) -> usize {
    let batches = found.batches.iter();
    batches.map(|(_, batch)| batch.rows.rows().len()).sum()
}

#[test]
fn is_a_condition_held_after_the_checks_of_fields_and_before_time() {
    let conditions = [
        ("price < 10.0 || user == 'rich'", "too expensive"),
        ("user != 'none'", "none!"),
    ];
    let mut ingest = ingest(&conditions, &[], LatePolicy::DeadLetter);
    let found = read(
        &mut ingest,
        &[
            record("anna", "5", 10_000),
            record("rich", "50", 10_000),
            record("anna", "50", 10_000),
            // The first that fails names the reason.
            record("none", "50", 10_000),
            record("none", "5", 10_000),
            // A check of a field comes before, lateness after.
            record("abcdef", "50", 10_000),
            record("anna", "50", 0),
            record("anna", "5", 0),
            // No value: nothing says that it is right.
            record("anna", "null", 10_000),
        ],
    );
    let told = found.rejects.iter().map(|(_, reject)| {
        let reason = &reject.reason;
        let causes: Vec<&str> = reason.causes.iter().map(String::as_str).collect();
        let (offset, stage) = (reject.offset.0, reason.stage.name());
        (
            offset,
            stage,
            reason.code.name(),
            reason.message.as_str(),
            causes,
        )
    });
    let validate = |offset, message| (offset, "validate", "check_failed", message, Vec::new());
    let why = "validate/expression: `<` does not take null and a float in `price < 10.0 || user == 'rich'`";
    let expected = [
        validate(2, "too expensive"),
        validate(3, "too expensive"),
        validate(4, "none!"),
        validate(5, "user is longer than 5"),
        validate(6, "too expensive"),
        (
            7,
            "late",
            "late",
            "8,000 ms behind the watermark",
            Vec::new(),
        ),
        (8, "validate", "check_failed", "too expensive", vec![why]),
    ];
    assert_eq!(told.collect::<Vec<_>>(), expected);
    assert_eq!((rows(&found), found.filtered), (2, 0));
}

#[test]
fn is_an_event_that_no_filter_keeps_counted_and_judged_on_time() {
    for (late, left) in [(LatePolicy::DeadLetter, 1), (LatePolicy::Drop, 0)] {
        let filters = ["user != 'bot'", "price > 1.0"];
        let mut ingest = ingest(&[], &filters, late);
        let found = read(
            &mut ingest,
            &[
                record("anna", "5", 10_000),
                record("bot", "5", 20_000),
                record("anna", "0.5", 20_000),
                // The event that was left out has moved the watermark.
                record("bot", "5", 10_000),
                // The first filter decides before the second has no value.
                record("bot", "null", 20_000),
                record("anna", "null", 20_000),
            ],
        );
        assert_eq!((rows(&found), found.filtered), (1, 3), "{late:?}");
        assert_eq!(found.dropped, 1 - left, "{late:?}");
        assert_eq!(ingest.watermark(PartitionId(0)), EventTime(18_000));
        let (_, reject) = found.rejects.last().unwrap();
        let reason = &reject.reason;
        assert_eq!(
            (reject.offset.0, reject.event_time),
            (5, Some(EventTime(20_000)))
        );
        assert_eq!(
            (reason.stage.name(), reason.code.name()),
            ("validate", "filter_failed")
        );
        let failure = "`>` does not take null and a float";
        let message = format!("filter `price > 1.0` has no value: {failure}");
        assert_eq!(reason.message, message);
        let cause = format!("validate/expression: {failure} in `price > 1.0`");
        assert_eq!(reason.causes, [cause]);
        assert_eq!(found.rejects.len() as u64, 1 + left, "{late:?}");
        // What was counted is counted once.
        assert_eq!(read(&mut ingest, &[]).filtered, 0);
    }
}
