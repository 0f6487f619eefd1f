//! Tables as input: the outputs of the same events as JSON lines, and a reason for each row that is none.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;

use crate::canonical::mask;
use crate::scene::{START, Scene, conserved};

const EVENTS: i64 = 1_000;

/// What one event has beside its user: product, category and type.
fn texts(number: i64) -> [String; 3] {
    let category = if number % 7 == 0 {
        "a \"b\",\nc".to_owned()
    } else {
        format!("c{}", number % 5)
    };
    let kind = ["view", "click", "purchase", ""][(number % 4) as usize];
    [format!("p{}", number % 11), category, kind.to_owned()]
}

fn lines() -> String {
    let line = |number: i64| {
        let [product, category, kind] = texts(number);
        let kind = if kind.is_empty() {
            Value::Null
        } else {
            kind.into()
        };
        let event = serde_json::json!({
            "user_id": format!("u{}", number % 37),
            "product_id": product,
            "category": category,
            "event_type": kind,
            "timestamp_ms": START + 10 * number,
        });
        format!("{event}\n")
    };
    (0..EVENTS).map(line).collect()
}

/// The same with another column, and columns in another order.
fn csv() -> String {
    let row = |number: i64| {
        let [product, category, kind] = texts(number);
        let category = category.replace('"', "\"\"");
        let (user, time) = (number % 37, START + 10 * number);
        format!("{time},u{user},{number},{product},\"{category}\",{kind}\r\n")
    };
    let rows: String = (0..EVENTS).map(row).collect();
    format!("timestamp_ms,user_id,extra,product_id,category,event_type\r\n{rows}")
}

/// The records of a whole run that reads this file, without times, the file's name and offsets, sorted: in which order
/// those of two workers come is chance.
fn outputs(name: &str, bytes: &[u8]) -> Vec<String> {
    let path = format!("path = \"{name}\"");
    let changes = [
        ("path = \"in.jsonl\"", path.as_str()),
        ("workers = 0 ", "workers = 2 "),
    ];
    let scene = Scene::with(&changes, b"");
    scene.write(name, bytes);
    assert_eq!(conserved(&scene.summary()), EVENTS as u64, "{name}");
    let records = scene.records();
    let canonical = records.iter().map(|record| {
        let mut value = mask(&record.line);
        if let Some(value) = value.as_object_mut() {
            value.remove("source");
        }
        value.to_string()
    });
    let mut canonical: Vec<String> = canonical.collect();
    canonical.sort();
    canonical
}

/// As [`assert_eq`] of both, which would print all of them.
fn assert_same(found: &[String], expected: &[String], name: &str) {
    assert_eq!(found.len(), expected.len(), "{name}");
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found, expected, "{name}");
    }
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn are_rows_the_events_that_lines_are() {
    let expected = outputs("in.jsonl", lines().as_bytes());
    let errors = expected.iter().filter(|it| it.contains("\"code\""));
    assert_eq!(errors.count(), EVENTS as usize / 4);
    let csv = csv();
    let check = |name: &str, bytes: &[u8]| assert_same(&outputs(name, bytes), &expected, name);
    check("in.csv", csv.as_bytes());
    check("in.csv.gz", &gzip(&csv));
    let zstandard = zstd::encode_all(csv.as_bytes(), 1).unwrap();
    check("in.csv.zst", &zstandard);
}

#[test]
fn does_a_row_that_is_none_say_why() {
    let changes = [
        ("path = \"in.jsonl\"", "path = \"in.csv\""),
        ("workers = 0 ", "workers = 1 "),
    ];
    let scene = Scene::with(&changes, b"");
    let head = "user_id,product_id,category,event_type,timestamp_ms\n";
    let rows = [
        format!("u,p,c,view,{START}\n"),
        "u,p,c\n".to_owned(),
        "u,p,c,view,noon\n".to_owned(),
        "u,p,c,\"view,1\n".to_owned(),
    ];
    scene.write("in.csv", (head.to_owned() + &rows.concat()).as_bytes());
    assert_eq!(conserved(&scene.summary()), 4);
    let records = scene.records();
    let errors = records.iter().filter(|it| it.stream == "validation_errors");
    let errors: Vec<Value> = errors.map(|it| mask(&it.line)).collect();
    let found: Vec<_> = errors
        .iter()
        .map(|it| {
            (
                it["code"].as_str().unwrap(),
                it["message"].as_str().unwrap(),
            )
        })
        .collect();
    let expected = [
        (
            "bad_row",
            "row has 3 cells, the header names 5 columns: \"user_id\", \"product_id\", \"category\", ...",
        ),
        (
            "wrong_type",
            "timestamp_ms must be an integer, got \"noon\"",
        ),
        (
            "bad_row",
            "a quote at the beginning of a cell has no other at its end",
        ),
    ];
    assert_eq!(found, expected);
    assert_eq!(errors[0]["original_event"], "u,p,c");
    assert_eq!(errors[1]["original_event"][4], "noon");
    let offset = head.len() + rows[0].len();
    assert_eq!(errors[0]["source"]["offset"], offset);
}

/// The field that lies in a column says what its cells are, not one that is called so and lies elsewhere.
#[test]
fn are_cells_what_the_field_is_that_lies_there() {
    let scene = Scene::with(&[("path = \"in.jsonl\"", "path = \"in.csv\"")], b"");
    let head = "user_id,product,category,event_type,at,timestamp_ms";
    scene.write(
        "in.csv",
        format!("{head}\n7,7,c,view,{START},8\n").as_bytes(),
    );
    let moved = [
        "--set",
        "event.field.timestamp_ms.path=at",
        "--set",
        "event.field.product_id.path=product",
    ];
    let run = |more: &[&str]| {
        let command = ["run", "job.toml", "--json", "--overwrite"];
        let ran = scene.run(&[&command[..], &moved, more].concat());
        ran.ended(0).object()["predictions"].clone()
    };
    assert_eq!(run(&[]), 1);
    // A text, in a column that is called as a number.
    assert_eq!(run(&["--set", "event.field.user_id.path=timestamp_ms"]), 1);
    // A label reads the same column, which stays a text.
    let label = |label: &str| {
        let command = [
            "features",
            "job.toml",
            "--out",
            "rows",
            "--overwrite",
            "--label",
            label,
        ];
        scene.run(&[&command[..], &moved].concat()).ended(0);
        let records = scene.records_below("rows");
        let row: Value = serde_json::from_str(&records[0].line).unwrap();
        row["labels"][label].clone()
    };
    assert_eq!(label("product"), "7");
    assert_eq!(label("product_id"), "7");
    assert_eq!(label("at"), START);
    assert_eq!(label("timestamp_ms"), START);
}
