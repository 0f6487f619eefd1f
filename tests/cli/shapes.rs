//! Events of another shape than the reference job's: nested fields, lists, defaults, and times as texts. What a prediction
//! repeats of them, what a dead letter does, and that a wait for the watermark changes none of it.

use serde_json::{Value, json};

use crate::canonical::mask;
use crate::scene::{Scene, conserved, number};

/// The reference job's fields, elsewhere and otherwise, and two lists.
const FIELDS: [(&str, &str); 10] = [
    (
        "name = \"user_id\"\ntype = \"string\"",
        "name = \"user_id\"\npath = \"user.id\"\ntype = \"string\"\n\n\
         [[event.field]]\nname = \"tags\"\npath = \"user.tags\"\ntype = \"list<string>\"\ndefault = [\"new\"]\n\n\
         [[event.field]]\nname = \"scores\"\ntype = \"list<float>\"\nrequired = false",
    ),
    (
        "name = \"product_id\"\ntype = \"string\"",
        "name = \"product_id\"\ntype = \"string\"\ndefault = \"no \\\"product\\\"\"",
    ),
    (
        "name = \"category\"\ntype = \"string\"",
        "name = \"category\"\npath = \"product.shelf.category\"\ntype = \"string\"",
    ),
    (
        "name = \"timestamp_ms\"   # milliseconds since 1970\ntype = \"int\"",
        "name = \"at\"\npath = \"meta.at\"\ntype = \"string\"",
    ),
    (
        "time = { field = \"timestamp_ms\", unit = \"ms\" }",
        "time = { field = \"at\", unit = \"rfc3339\" }",
    ),
    (
        "[[check]]\nfield = \"category\"",
        "[[check]]\nfield = \"user_id\"\nrule = \"matches\"\npattern = '^u\\d+$'\n\n\
         [[check]]\nfield = \"tags\"\nrule = \"max_length\"\nvalue = 2\n\n[[check]]\nfield = \"category\"",
    ),
    (
        "fields = [\"user_id\", \"product_id\"]  ",
        "fields = [\"user_id\", \"product_id\", \"tags\", \"scores\", \"at\"]  ",
    ),
    ("order = \"arrival\"", "order = \"event_time\""),
    ("provenance = false", "provenance = true"),
    ("workers = 0 ", "workers = 2 "),
];

/// A record, and what comes of it: what its prediction repeats, or its dead letter's code, message and original event.
type Event = (&'static str, Result<Value, Value>);

fn scored() -> Vec<Event> {
    let noon = 1_767_268_800_000_i64;
    vec![
        (
            r#"{"user":{"id":"u1","tags":[ "a" , "b\u0062" ]},"scores":[1, 2.50],"product_id":"p","product":{"shelf":{"category":"c"}},"event_type":"view","meta":{"at":"2026-01-01T13:00:00.0009+01:00"}}"#,
            Ok(json!([
                "u1",
                "p",
                ["a", "bb"],
                [1, 2.5],
                "2026-01-01T13:00:00.0009+01:00",
                noon
            ])),
        ),
        (
            r#"{"meta":{"at":"2026-01-01T11:59:59.999Z"},"user":{"tags":null,"id":"u2"},"product_id":null,"event_type":"view","product":{"shelf":{"category":"c"}}}"#,
            Ok(json!([
                "u2",
                "no \"product\"",
                ["new"],
                null,
                "2026-01-01T11:59:59.999Z",
                noon - 1
            ])),
        ),
    ]
}

fn refused() -> Vec<Event> {
    vec![
        (
            r#"{"user":"u1","product_id":5}"#,
            Err(json!([
                "wrong_type",
                "user must be an object with id in it, got \"u1\"",
                [null, null, null, 5, null, null, null]
            ])),
        ),
        (
            r#"{"user":{"id":"anna"}}"#,
            Err(json!([
                "check_failed",
                "user_id must match ^u\\d+$",
                ["anna", null, null, null, null, null, null]
            ])),
        ),
        (
            r#"{"user":{"id":"u1","tags":["a", 1]}}"#,
            Err(json!([
                "wrong_type",
                "tags must be a list of strings, element 2 is 1",
                ["u1", ["a", 1], null, null, null, null, null]
            ])),
        ),
        (
            r#"{"user":{"id":"u1","tags":["a","b","c"]}}"#,
            Err(json!([
                "check_failed",
                "tags must have at most 2 elements",
                ["u1", ["a", "b", "c"], null, null, null, null, null]
            ])),
        ),
        (
            r#"{"user":{"id":"u3"},"event_type":"view","product":{"shelf":{"category":""}},"meta":{"at":"2026-01-01T12:00:00Z"}}"#,
            // Behind the wait, and a default is not in what was sent.
            Err(json!([
                "empty",
                "Category name cannot be empty",
                ["u3", null, null, null, "", "view", "2026-01-01T12:00:00Z"]
            ])),
        ),
        (
            r#"{"user":{"id":"u3"},"event_type":"view","product":{"shelf":{"category":"c"}},"meta":{"at":"noon"}}"#,
            Err(json!([
                "wrong_type",
                "at must be a time such as \"2026-01-01T00:00:00Z\", got \"noon\"",
                ["u3", null, null, null, "c", "view", "noon"]
            ])),
        ),
    ]
}

fn told(line: &str) -> Result<Value, Value> {
    let record = mask(line);
    let of = |key: &str| record.get(key).cloned().unwrap_or_default();
    match record.get("code") {
        Some(_) => Err(json!([of("code"), of("message"), of("original_event")])),
        None => Ok(json!([
            of("user_id"),
            of("product_id"),
            of("tags"),
            of("scores"),
            of("at"),
            of("event_time"),
        ])),
    }
}

#[test]
fn what_becomes_of_events_of_another_shape() {
    let events = [scored(), refused()].concat();
    let input: String = events
        .iter()
        .map(|(record, _)| format!("{record}\n"))
        .collect();
    let [rest @ .., order, provenance, workers] = FIELDS;
    for order in [order, ("order = \"arrival\"", "order = \"arrival\"")] {
        let changes = [&rest[..], &[order, provenance, workers]].concat();
        let scene = Scene::with(&changes, input.as_bytes());
        let summary = scene.summary();
        assert_eq!(conserved(&summary), events.len() as u64);
        assert_eq!(number(&summary, "predictions"), 2);
        let records = scene.records_by_place().into_values();
        for (found, (sent, expected)) in records.zip(&events) {
            assert_eq!(told(&found.line), *expected, "{sent}");
        }
        let explained = scene.run(&["explain", "job.toml"]).ended(0).stdout;
        for fact in [
            "user_id: string, at user.id",
            "tags: list<string>, at user.tags, or [\"new\"]",
            "scores: list<float>, optional",
            "product_id: string, or \"no \\\"product\\\"\"",
            "event time: at, as a text of RFC 3339",
            "user_id matches ^u\\d+$, else: user_id must match ^u\\d+$",
            "tags has at most 2 elements, else: tags must have at most 2 elements",
        ] {
            assert!(explained.contains(fact), "{fact}: {explained}");
        }
    }
}
