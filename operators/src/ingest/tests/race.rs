//! Random records through the ingest and through a reference that parses them into a tree and judges
//! them one rule after the other. How the records are polled must change nothing.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::{Just, ProptestConfig, Strategy, prop_oneof, proptest};
use proptest::sample::select;
use serde_json::Value;
use slackwater_dataflow::ingest::Ingest;
use slackwater_dataflow::moment::EventTime;
use slackwater_dataflow::operator::Routed;
use slackwater_dataflow::place::{KeyHash, Offset, PartitionId};
use slackwater_dataflow::source::{Origin, Payload};

use crate::ingest::tests::{Found, MAX_DEPTH, ingest, plan, seal};

const WORKERS: usize = 3;

/// What becomes of a record: the worker, the key and the time, or the code of its reject.
#[derive(Clone, Debug, PartialEq)]
enum Outcome {
    Row(usize, Vec<u8>, i64),
    Reject(&'static str),
}

/// A member of an object as written, now and then one of the odd values; `None` leaves the key out.
fn member(
    key: &'static str,
    usual: &[&'static str],
    odd: &[&'static str],
) -> impl Strategy<Value = Option<String>> + use<> {
    let write = move |value: &'static str| Some(format!("{key}:{value}"));
    prop_oneof![
        20 => select(usual.to_vec()).prop_map(write),
        2 => select(odd.to_vec()).prop_map(write),
        1 => Just(None),
    ]
}

const USERS: [&str; 6] = [
    r#""anna""#,
    r#""bob""#,
    r#""\u0062ob""#,
    r#""\"\\""#,
    r#""é""#,
    r#""ééééé""#,
];
const NO_USERS: [&str; 4] = [r#""""#, "null", "5", r#""abcdef""#];
const TIMES: [&str; 8] = [
    "1000", "1500", "3000", "2999", "3001", "5000", "9000", "3603000",
];
const NO_TIMES: [&str; 8] = [
    "-1001",
    "1.0",
    "1e3",
    "null",
    "7209000",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
];

fn record() -> impl Strategy<Value = String> {
    let seldom = |member| prop_oneof![1 => member, 5 => Just(None)];
    let object = (
        member(r#""user""#, &USERS, &NO_USERS),
        member(
            r#""category""#,
            &[r#""c""#, r#""d""#, r#""x\ny""#, r#""""#],
            &["null", "7"],
        ),
        member(
            r#""product""#,
            &[r#""p""#, r#""q""#, r#""""#],
            &["[]", "null"],
        ),
        member(
            r#""price""#,
            &["1", "2.5", "100", "1e2", "-1e300", "null"],
            &["101", "true", r#""1""#],
        ),
        member(r#""first""#, &["true", "null"], &["false", "0"]),
        member(r#""at""#, &TIMES, &NO_TIMES),
        seldom(member(
            r#""other""#,
            &["{}", "[[1]]", r#"{"at":5}"#],
            &["[[[[]]]]", "1e400", "tru"],
        )),
        // The same key again, in another spelling.
        seldom(member(r#""\u0075ser""#, &USERS, &NO_USERS)),
    )
        .prop_map(|(a, b, c, d, e, f, g, h)| [a, b, c, d, e, f, g, h]);
    let object = (object.prop_shuffle(), select(vec![",", " ,\n"])).prop_map(|(members, comma)| {
        let members: Vec<String> = members.into_iter().flatten().collect();
        format!("{{{}}}", members.join(comma))
    });
    let garbage = select(vec!["", "[]", "7", "{", "{\"user\":}", "null", "{}"]);
    prop_oneof![12 => object, 1 => garbage.prop_map(str::to_owned)]
}

fn depth(value: &Value) -> u32 {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(items) => 1 + items.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// The rules of the plan, written out.
fn judge(record: &str, highest: &mut Option<i64>) -> Result<(String, i64), &'static str> {
    let value: Value = serde_json::from_str(record).map_err(|_| "not_json")?;
    if depth(&value) > MAX_DEPTH {
        return Err("too_deep");
    }
    let object = value.as_object().ok_or("not_object")?;
    let of = |name: &str| object.get(name).filter(|value| !value.is_null());
    let user = of("user").ok_or("empty")?.as_str().ok_or("wrong_type")?;
    if user.is_empty() {
        return Err("empty");
    }
    if user.chars().count() > 5 {
        return Err("check_failed");
    }
    if of("category").is_some_and(|value| !value.is_string()) {
        return Err("wrong_type");
    }
    let product = of("product").ok_or("missing")?;
    product.as_str().ok_or("wrong_type")?;
    if let Some(price) = of("price")
        && price.as_f64().ok_or("wrong_type")? > 100.0
    {
        return Err("check_failed");
    }
    if let Some(first) = of("first")
        && !first.as_bool().ok_or("wrong_type")?
    {
        return Err("check_failed");
    }
    let at = of("at").ok_or("missing")?.as_i64().ok_or("wrong_type")?;
    if at < -1_000 {
        return Err("check_failed");
    }
    let before = highest.unwrap_or(at);
    if i128::from(at) - i128::from(before) > 3_600_000 {
        return Err("too_far_ahead");
    }
    if i128::from(at) < i128::from(before) - 2_000 {
        return Err("late");
    }
    *highest = Some(before.max(at));
    Ok((user.to_owned(), at))
}

fn reference(records: &[(u32, String)]) -> (Vec<Outcome>, BTreeMap<u32, i64>) {
    let spread = plan(WORKERS).spread;
    let mut highest = BTreeMap::<u32, Option<i64>>::new();
    let outcomes = records.iter().map(|(partition, record)| {
        match judge(record, highest.entry(*partition).or_default()) {
            Err(code) => Outcome::Reject(code),
            Ok((user, at)) => {
                let length = u32::try_from(user.len()).unwrap().to_le_bytes();
                let key = [&[1], length.as_slice(), user.as_bytes()].concat();
                let group = KeyHash::of(&key).0 % u64::from(spread.key_groups);
                let worker = group * WORKERS as u64 / u64::from(spread.key_groups);
                Outcome::Row(worker as usize, key, at)
            }
        }
    });
    let outcomes = outcomes.collect();
    let highest = highest
        .into_iter()
        .filter_map(|(partition, time)| Some((partition, time?)));
    (outcomes, highest.collect())
}

/// Adds what a poll brought; offsets are positions in the list of records.
fn note(found: Found, outcomes: &mut BTreeMap<u64, Outcome>) {
    for (_, batch) in &found.batches {
        for row in batch.rows.rows() {
            let key = batch.rows.bytes(row.key).to_vec();
            let outcome = Outcome::Row(batch.worker(), key, row.time.0);
            assert_eq!(
                outcomes.insert(row.offset.0, outcome),
                None,
                "a second outcome"
            );
        }
    }
    for (_, reject) in &found.rejects {
        let outcome = Outcome::Reject(reject.reason.code.name());
        assert_eq!(
            outcomes.insert(reject.offset.0, outcome),
            None,
            "a second outcome"
        );
    }
}

/// Outcomes in the order of the records, when a poll ends before each record at `ends`.
fn polled(records: &[(u32, String)], ends: &[usize]) -> (Vec<Outcome>, Vec<EventTime>) {
    let mut ingest = ingest(WORKERS);
    let mut outcomes = BTreeMap::new();
    for (at, (partition, record)) in records.iter().enumerate() {
        if ends.contains(&at) {
            note(seal(&mut ingest), &mut outcomes);
        }
        let payload = Payload::Whole(record.as_bytes());
        ingest.on_record(
            PartitionId(*partition),
            Offset(at as u64),
            payload,
            Origin::default(),
        );
    }
    note(seal(&mut ingest), &mut outcomes);
    let watermarks = (0..3).map(|partition| ingest.watermark(PartitionId(partition)));
    (outcomes.into_values().collect(), watermarks.collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn is_every_record_judged_as_the_reference_does(
        records in vec((0..3_u32, record()), 0..40),
        ends in vec(0..40_usize, 0..8),
    ) {
        let (expected, highest) = reference(&records);
        for ends in [&[], ends.as_slice()] {
            let (found, watermarks) = polled(&records, ends);
            for ((record, found), expected) in records.iter().zip(&found).zip(&expected) {
                assert_eq!(found, expected, "{record:?}");
            }
            assert_eq!(found.len(), records.len(), "an outcome each");
            for (partition, watermark) in (0..).zip(watermarks) {
                let highest = highest.get(&partition);
                let expected = highest.map_or(i64::MIN, |highest| highest - 2_000);
                assert_eq!(watermark, EventTime(expected));
            }
        }
    }
}

/// Else the race would say less than it seems to.
#[test]
fn does_the_race_reach_every_code() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    let mut runner = TestRunner::deterministic();
    let records = vec((0..3_u32, record()), 4_000)
        .new_tree(&mut runner)
        .unwrap();
    let records = records.current();
    // In short lives, as in the race: one event far ahead makes all after it late.
    let outcomes = records.chunks(20).flat_map(|records| reference(records).0);
    let mut counts = BTreeMap::<&str, u32>::new();
    for outcome in outcomes {
        let name = match outcome {
            Outcome::Row(..) => "row",
            Outcome::Reject(code) => code,
        };
        *counts.entry(name).or_default() += 1;
    }
    let all =
        "check_failed empty late missing not_json not_object row too_deep too_far_ahead wrong_type";
    let reached: Vec<&str> = counts.keys().copied().collect();
    assert_eq!(reached.join(" "), all, "{counts:?}");
    assert!(counts["row"] > 400, "{counts:?}");
}
