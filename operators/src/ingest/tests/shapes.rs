//! Events of any shape: nested fields, lists, defaults, and times in other units than milliseconds. What is said of each
//! mistake, and random records against a reference that parses them into a tree.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::{BoxedStrategy, Just, ProptestConfig, Strategy, prop_oneof, proptest};
use proptest::sample::select;
use serde_json::{Value, json};
use slackwater_dataflow::moment::EventTime;
use slackwater_dataflow::place::{Offset, PartitionId};
use slackwater_dataflow::source::{Origin, Payload, RecordTime};

use crate::batch::{Cell, Row, Rows};
use crate::check::{Bound, Pattern, Rule};
use crate::event::{
    DefaultValue, EventSchema, Field, FieldIndex, FieldType, LIST_ELEMENTS_MAX, TimeFrom, TimeUnit,
};
use crate::ingest::tests::{check_of, plan, poll, seal};
use crate::ingest::{EventIngest, FieldRules, Ingest, IngestPlan};
use crate::key::{KeyPart, parts};

/// A field of each kind that the others have not: nested ones, lists, defaults of each type.
fn schema() -> EventSchema {
    let text = |text: &str| DefaultValue::Text(text.to_owned());
    EventSchema {
        fields: vec![
            Field::required("id", FieldType::Text).at(&["user", "id"]),
            Field::optional("tags", FieldType::Texts)
                .at(&["user", "tags"])
                .or(DefaultValue::List("[\"no\\n\",\"tags\"]".to_owned())),
            Field::optional("scores", FieldType::Floats),
            Field::optional("country", FieldType::Text)
                .at(&["user", "place", "country"])
                .or(text("\"?\"")),
            Field::optional("n", FieldType::Int).or(DefaultValue::Int(7)),
            Field::optional("share", FieldType::Float).or(DefaultValue::Float(0.5)),
            Field::optional("new", FieldType::Bool).or(DefaultValue::Bool(true)),
            Field::required("at", FieldType::Text).at(&["meta", "at"]),
        ],
        key: vec![FieldIndex(0), FieldIndex(4)],
        time: TimeFrom::Field {
            field: FieldIndex(7),
            unit: TimeUnit::Rfc3339,
        },
    }
}

fn shaped() -> IngestPlan {
    let schema = schema();
    let code = Rule::Matches(Pattern::new("^..?.?$").unwrap());
    let checks = [
        check_of(1, Rule::NotEmpty, "no tags"),
        check_of(1, Rule::MaxLength(3), "too many tags"),
        check_of(2, Rule::NotEmpty, "scores are needed"),
        check_of(3, code, "no country"),
        check_of(4, Rule::Min(Bound::Int(0)), "n is below 0"),
    ];
    IngestPlan {
        fields: FieldRules::new(schema.fields.len(), &checks, &[]),
        schema,
        max_depth: 64,
        ..plan(1)
    }
}

/// One record through a fresh ingest: the rows that it gave, or code and message.
fn outcome(plan: IngestPlan, record: &str) -> Result<Rows, (&'static str, String)> {
    let mut ingest = EventIngest::new(Arc::new(plan));
    let mut found = poll(&mut ingest, 0, 0, &[record.as_bytes()]);
    match (found.batches.pop(), found.rejects.pop()) {
        (Some((_, batch)), None) => Ok(batch.rows),
        (None, Some((_, reject))) => Err((reject.reason.code.name(), reject.reason.message)),
        other => unreachable!("{other:?} of {record}"),
    }
}

/// The values of a row's fields, a list as what is in it.
fn values(rows: &Rows, row: &Row) -> Vec<Value> {
    let value = |cell| match cell {
        Cell::Null => Value::Null,
        Cell::Text { span, .. } => json!(str::from_utf8(rows.bytes(span)).unwrap()),
        Cell::Int(value) => json!(value),
        Cell::Float(value) => json!(value),
        Cell::Bool(value) => json!(value),
        Cell::List { span, .. } => serde_json::from_slice(rows.bytes(span)).unwrap(),
    };
    rows.cells(row).map(value).collect()
}

const AT: &str = r#""meta":{"at":"2026-01-01T01:00:00.0019+01:00"}"#;

#[test]
fn what_does_a_row_hold_of_nested_fields_lists_and_defaults() {
    let check = |record: &str, expected: Value| {
        let rows = outcome(shaped(), record).unwrap();
        let row = &rows.rows()[0];
        assert_eq!(Value::Array(values(&rows, row)), expected, "{record}");
        assert_eq!(row.time, EventTime(1_767_225_600_001), "{record}");
        assert_eq!(rows.bytes(row.record), record.as_bytes());
    };
    let at = "2026-01-01T01:00:00.0019+01:00";
    check(
        &format!(
            r#"{{"user":{{"tags":["\u0061", "b"],"id":"\u0041","place":{{"country":"NL"}}}},
                "scores":[1, 2.50 ],"n":3,"share":2,"new":false,{AT}}}"#
        ),
        json!(["A", ["a", "b"], [1, 2.5], "NL", 3, 2.0, false, at]),
    );
    check(
        &format!(r#"{{"scores":[0],"n":null,"user":{{"id":"a","place":null}},{AT}}}"#),
        json!(["a", ["no\n", "tags"], [0], "\"?\"", 7, 0.5, true, at]),
    );
    // The last of equal keys, on the way too: what the first one held is gone.
    check(
        &format!(
            r#"{{"user":{{"id":"x","tags":["y"]}},{AT},"scores":[],"user":{{"id":1,"id":"a"}},"scores":[3]}}"#
        ),
        json!(["a", ["no\n", "tags"], [3], "\"?\"", 7, 0.5, true, at]),
    );
}

/// Else a checkpoint would look for it among unescaped texts, where there may be none.
#[test]
fn does_an_empty_default_lie_in_the_record() {
    let mut plan = plan(1);
    let empty = DefaultValue::Text(String::new());
    plan.schema.fields[2] = Field::optional("product", FieldType::Text).or(empty);
    let rows = outcome(plan, r#"{"user":"a","category":"b","at":7}"#).unwrap();
    let row = &rows.rows()[0];
    assert_eq!(values(&rows, row)[2], json!(""));
    let cell = rows.cell(row, FieldIndex(2));
    assert!(matches!(cell, Cell::Text { plain: true, .. }), "{cell:?}");
}

#[test]
fn is_a_default_in_a_composite_key() {
    let rows = outcome(
        shaped(),
        &format!(r#"{{"user":{{"id":"a"}},"scores":[1],{AT}}}"#),
    )
    .unwrap();
    let key = rows.bytes(rows.rows()[0].key);
    assert_eq!(parts(key), [KeyPart::Text("a"), KeyPart::Int(7)]);
}

/// A record of these members is refused with this code and message.
#[track_caller]
fn check(members: &str, code: &str, message: &str) {
    let record = format!("{{{members}}}");
    let found = outcome(shaped(), &record).map(|_| ()).unwrap_err();
    assert_eq!(found, (code, message.to_owned()), "{record}");
}

#[test]
fn what_is_said_of_a_nested_field_that_is_not_what_it_should_be() {
    let wrong = "wrong_type";
    check("", "missing", "id is missing");
    check(r#""user":null"#, "missing", "id is missing");
    check(r#""user":{"id":null}"#, "missing", "id is missing");
    check(r#""user":{"id":5}"#, wrong, "id must be a string, got 5");
    let no_user = "user must be an object with id in it, got";
    check(r#""user":"anna""#, wrong, &format!("{no_user} \"anna\""));
    check(
        r#""user":[{"id":"a"}]"#,
        wrong,
        &format!("{no_user} [{{\"id\":\"a\"}}]"),
    );
    check(r#""user":false"#, wrong, &format!("{no_user} false"));
    let place = "user.place must be an object with country in it, got 5";
    check(r#""user":{"id":"a","place":5},"scores":[1]"#, wrong, place);
}

/// A message is about what was sent, where nobody knows how the job calls it.
#[test]
fn which_key_lacks_what_is_no_object() {
    let named = |path: &[&str]| {
        let mut plan = plan(1);
        plan.schema.fields[0] = Field::required("user", FieldType::Text).at(path);
        plan
    };
    let check = |path: &[&str], record: &str, message: &str| {
        let found = outcome(named(path), record).map(|_| ()).unwrap_err();
        assert_eq!(found, ("wrong_type", message.to_owned()), "{record}");
    };
    let of_who = "who must be an object with id in it, got 5";
    check(&["who", "id"], r#"{"who":5}"#, of_who);
    let deep: &[&str] = &["who", "is", "id"];
    let of_is = "who.is must be an object with id in it, got 5";
    check(deep, r#"{"who":{"is":5}}"#, of_is);
    let of_who = "who must be an object with is in it, got 5";
    check(deep, r#"{"who":5}"#, of_who);
}

#[test]
fn what_is_said_of_lists_that_are_none_and_of_what_comes_behind_them() {
    let wrong = "wrong_type";
    let user = r#""user":{"id":"a"}"#;
    let tags = |tags: &str| format!(r#""user":{{"id":"a","tags":{tags}}}"#);
    let list = "tags must be a list of strings,";
    check(&tags("\"a\""), wrong, &format!("{list} got \"a\""));
    check(&tags("{}"), wrong, &format!("{list} got {{}}"));
    check(
        &tags("[\"a\", null]"),
        wrong,
        &format!("{list} element 2 is null"),
    );
    check(
        &tags("[[\"a\"]]"),
        wrong,
        &format!("{list} element 1 is [\"a\"]"),
    );
    check(&tags("[]"), "empty", "no tags");
    check(&tags(r#"["","","",""]"#), "check_failed", "too many tags");
    let scores = |scores: &str| format!(r#"{user},"scores":{scores}"#);
    let list = "scores must be a list of numbers,";
    check(
        &scores("[1,\"2\"]"),
        wrong,
        &format!("{list} element 2 is \"2\""),
    );
    check(
        &scores("[1,2,true]"),
        wrong,
        &format!("{list} element 3 is true"),
    );
    check(&scores("[]"), "empty", "scores are needed");
    check(user, "empty", "scores are needed");
    let long = format!("[{}0]", "0,".repeat(LIST_ELEMENTS_MAX));
    check(
        &scores(&long),
        wrong,
        "scores has more than 65,536 elements",
    );
    let country = r#""user":{"id":"a","place":{"country":"Narnia"}},"scores":[1]"#;
    check(country, "check_failed", "no country");
    check(
        &format!(r#"{user},"scores":[1],"n":-1"#),
        "check_failed",
        "n is below 0",
    );
    let good = format!(r#"{user},"scores":[1]"#);
    check(&good, "missing", "at is missing");
    let time = "at must be a time such as \"2026-01-01T00:00:00Z\", got \"soon\"";
    check(
        &format!(r#"{good},"meta":{{"at":"s\u006fon"}}"#),
        wrong,
        time,
    );
}

#[test]
fn is_a_list_of_the_most_elements_let_through() {
    let list = format!("[{}0]", "0,".repeat(LIST_ELEMENTS_MAX - 1));
    let record = format!(r#"{{"user":{{"id":"a"}},"scores":{list},{AT}}}"#);
    assert!(outcome(shaped(), &record).is_ok());
}

/// The plan of the other tests, with its time in this unit.
fn timed(unit: TimeUnit) -> IngestPlan {
    let mut plan = plan(1);
    plan.schema.time = TimeFrom::Field {
        field: FieldIndex(5),
        unit,
    };
    plan
}

#[test]
fn does_a_cell_keep_the_time_as_it_was_sent() {
    let check = |unit, at: i64, expected: Result<i64, &str>| {
        let record = format!(r#"{{"user":"a","category":"b","product":"c","at":{at}}}"#);
        match (outcome(timed(unit), &record), expected) {
            (Ok(rows), Ok(time)) => {
                let row = &rows.rows()[0];
                assert_eq!(row.time, EventTime(time), "{at}");
                assert_eq!(rows.cell(row, FieldIndex(5)), Cell::Int(at));
            }
            (Err(found), Err(message)) => assert_eq!(found, ("wrong_type", message.to_owned())),
            (found, _) => unreachable!("{found:?} of {at}"),
        }
    };
    check(TimeUnit::Seconds, 1_767_225_600, Ok(1_767_225_600_000));
    check(TimeUnit::Microseconds, 1_999, Ok(1));
    check(TimeUnit::Nanoseconds, -1, Ok(-1));
    let message = "at must be a time in seconds since 1970, got 9223372036854775807";
    check(TimeUnit::Seconds, i64::MAX, Err(message));
}

#[test]
fn is_the_time_of_the_record_the_event_time_where_it_is_wanted() {
    let plan = || IngestPlan {
        schema: EventSchema {
            time: TimeFrom::Record,
            ..plan(1).schema
        },
        ..plan(1)
    };
    let check = |written: &[Option<RecordTime>], expected: &str| {
        let mut ingest = EventIngest::new(Arc::new(plan()));
        for (offset, &time) in (0..).zip(written) {
            let record = br#"{"user":"a","category":"b","product":"c","at":7}"#;
            let origin = Origin {
                time,
                ..Origin::default()
            };
            ingest.on_record(
                PartitionId(0),
                Offset(offset),
                Payload::Whole(record),
                origin,
            );
        }
        let found = seal(&mut ingest);
        let rows = found
            .batches
            .iter()
            .flat_map(|(_, batch)| batch.rows.rows());
        let times = rows.map(|row| row.time.0.to_string());
        let refused = found.rejects.iter().map(|(_, reject)| {
            let reason = &reject.reason;
            format!("{}: {}", reason.code.name(), reason.message)
        });
        let all: Vec<String> = times.chain(refused).collect();
        assert_eq!(all.join("; "), expected);
    };
    let made = |ms| Some(RecordTime::Created(ms));
    check(&[made(5), Some(RecordTime::Appended(6))], "5; 6");
    check(&[None], "missing: the record has no timestamp");
    let ahead =
        "5; too_far_ahead: the record's timestamp is 7,200,000 ms ahead, max_ahead is 3,600,000 ms";
    check(&[made(5), made(7_200_005)], ahead);
}

/// A key and one of its usual values, now and then an odd one, or nothing.
fn member(
    key: &'static str,
    usual: Vec<&'static str>,
    odd: Vec<&'static str>,
) -> BoxedStrategy<String> {
    let write = move |value| format!("\"{key}\":{value}");
    prop_oneof![
        20 => select(usual).prop_map(write),
        2 => select(odd).prop_map(write),
        1 => Just(String::new()),
    ]
    .boxed()
}

/// An object of some of these members, in any order, some of them twice; now and then something else.
fn object(members: Vec<BoxedStrategy<String>>) -> impl Strategy<Value = String> {
    let count = members.len();
    let object = (members, vec(0..count, 0..2)).prop_map(|(members, again)| {
        let again = again.into_iter().map(|at| members[at].clone());
        let all: Vec<String> = again
            .chain(members.clone())
            .filter(|it| !it.is_empty())
            .collect();
        format!("{{{}}}", all.join(" ,"))
    });
    let other = select(vec!["null", "5", "\"x\"", "[{}]", "{}"]).prop_map(str::to_owned);
    prop_oneof![20 => object, 1 => other]
}

fn record() -> impl Strategy<Value = String> {
    let within = |key: &'static str, object: BoxedStrategy<String>| {
        let write = move |object| format!("\"{key}\": {object}");
        object.prop_map(write).boxed()
    };
    let countries = vec!["\"NL\"", "\"\\u00e9\"", "null"];
    let country = member("country", countries, vec!["\"none\"", "1"]);
    let tags = vec!["[\"a\"]", "[ \"a\", \"\\u0062]\" ]", "null"];
    let no_tags = vec!["[]", "[\"a\",\"b\",\"c\",\"d\"]", "[1]", "\"a\""];
    let user = object(vec![
        member("id", vec!["\"a\"", "\"b\\n\"", "\"\""], vec!["5"]),
        member("tags", tags, no_tags),
        within("place", object(vec![country]).boxed()),
    ]);
    let times = vec![
        "\"2026-01-01T00:00:00Z\"",
        "\"1969-12-31T23:59:59.9999+00:30\"",
    ];
    let meta = object(vec![member("at", times, vec!["\"now\"", "7"])]);
    let no_scores = vec!["[ ]", "[null]", "{\"a\":[1]}", "null"];
    object(vec![
        within("user", user.boxed()),
        within("meta", meta.boxed()),
        member("scores", vec!["[1,2.5]", "[-0]"], no_scores),
        member("n", vec!["1", "null"], vec!["-1", "1.0"]),
        member("share", vec!["1", "2.5", "null"], vec!["\"\""]),
        member("new", vec!["true", "false", "null"], vec!["0"]),
    ])
}

/// What lies at a path; an error where something else than an object is on the way.
fn lies_at<'r>(record: &'r Value, path: &[String]) -> Result<Option<&'r Value>, ()> {
    let mut value = record;
    for part in path {
        match value {
            Value::Null => return Ok(None),
            Value::Object(object) => match object.get(part) {
                Some(found) => value = found,
                None => return Ok(None),
            },
            _ => return Err(()),
        }
    }
    Ok((!value.is_null()).then_some(value))
}

/// A value as the type wants it, if it is of that type.
fn as_kind(value: &Value, kind: FieldType) -> Option<Value> {
    match kind {
        FieldType::Text => value.is_string(),
        FieldType::Int => value.is_i64(),
        FieldType::Float => value.is_number(),
        FieldType::Bool => value.is_boolean(),
        FieldType::Floats => value.as_array()?.iter().all(Value::is_number),
        FieldType::Texts => value.as_array()?.iter().all(Value::is_string),
    }
    .then(|| match kind {
        FieldType::Float => json!(value.as_f64()),
        _ => value.clone(),
    })
}

fn default_value(default: &DefaultValue) -> Value {
    match default {
        DefaultValue::Text(text) => json!(text),
        DefaultValue::Int(value) => json!(value),
        DefaultValue::Float(value) => json!(value),
        DefaultValue::Bool(value) => json!(value),
        DefaultValue::List(list) => serde_json::from_str(list).unwrap(),
    }
}

/// The rules of the plan, written out: the values of the fields and the time, or a code.
fn judge(record: &str) -> Result<(Vec<Value>, i64), &'static str> {
    let record: Value = serde_json::from_str(record).map_err(|_| "not_json")?;
    if !record.is_object() {
        return Err("not_object");
    }
    let mut values = Vec::new();
    for field in schema().fields {
        let found = lies_at(&record, &field.path).map_err(|()| "wrong_type")?;
        let found = found.map(|value| as_kind(value, field.kind).ok_or("wrong_type"));
        let value = found
            .transpose()?
            .or(field.default.as_ref().map(default_value));
        let elements = value.as_ref().and_then(Value::as_array).map(Vec::len);
        let failed = match (field.name.as_str(), &value) {
            ("tags", _) if elements == Some(0) => Some("empty"),
            ("tags", _) if elements > Some(3) => Some("check_failed"),
            ("scores", None) => Some("empty"),
            ("scores", _) if elements == Some(0) => Some("empty"),
            ("country", Some(Value::String(text))) if text.chars().count() > 3 => {
                Some("check_failed")
            }
            ("n", Some(n)) if n.as_i64() < Some(0) => Some("check_failed"),
            (_, None) if field.required => Some("missing"),
            _ => None,
        };
        if let Some(code) = failed {
            return Err(code);
        }
        values.push(value.unwrap_or_default());
    }
    let time = match values[7].as_str() {
        Some("2026-01-01T00:00:00Z") => 1_767_225_600_000,
        Some("1969-12-31T23:59:59.9999+00:30") => -1_800_001,
        _ => return Err("wrong_type"),
    };
    Ok((values, time))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn is_every_shape_read_as_the_reference_does(record in record()) {
        let found = outcome(shaped(), &record).map(|rows| {
            let row = &rows.rows()[0];
            (values(&rows, row), row.time.0)
        });
        let found = found.map_err(|(code, _)| code);
        assert_eq!(found, judge(&record), "{record}");
    }
}

/// Else the race would say less than it seems to.
#[test]
fn does_the_race_of_shapes_reach_every_code() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    let mut runner = TestRunner::deterministic();
    let records = vec(record(), 4_000).new_tree(&mut runner).unwrap();
    let (mut codes, mut rows) = (std::collections::BTreeSet::new(), 0);
    for record in records.current() {
        match judge(&record) {
            Ok(_) => rows += 1,
            Err(code) => drop(codes.insert(code)),
        }
    }
    let codes: Vec<&str> = codes.into_iter().collect();
    let expected = "check_failed empty missing not_object wrong_type";
    assert_eq!(codes.join(" "), expected);
    assert!(rows > 200, "{rows}");
}
