//! Many events, one in ten of them garbage of twenty-two kinds: is every one of them somewhere, once?
//!
//! The test's own table says where each line must go; nothing of the engine is asked.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::canonical::mask;
use crate::scene::{Record, Scene, conserved, number};

const LINES: usize = 20_000;
/// One line in so many is garbage.
const GARBAGE_ONE_IN: u64 = 10;
const SEED: u64 = 20_260_101;
const TIME: i64 = 1_767_225_600_000;

/// Bytes of a record that are too many, see `run`.
const TOO_MANY: usize = 5_000;

/// SplitMix64 (Steele, Lea, Flood 2014): enough chance for a test, and the same everywhere.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 to below `end`.
    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// Where a line is: partition, offset.
type Place = (u64, u64);

/// A kind of garbage: a good line made bad, its code.
type Kind = (fn(&str, &mut Chance) -> Vec<u8>, &'static str);

/// Replaces one field's value.
fn with(line: &str, field: &str, json: &str) -> Vec<u8> {
    let key = format!("\"{field}\":");
    let (before, rest) = line.split_once(&key).unwrap();
    let end = rest.find([',', '}']).unwrap();
    format!("{before}{key}{json}{}", &rest[end..]).into()
}

/// Renames one field, so that it is missing.
fn without(line: &str, field: &str) -> Vec<u8> {
    line.replace(field, "renamed").into()
}

#[rustfmt::skip] // One kind a line reads as a table.
const KINDS: [Kind; 22] = [
    (|line, _| with(line, "user_id", "\"\""), "empty"),
    (|line, _| with(line, "user_id", "null"), "empty"),
    (|line, _| without(line, "user_id"), "empty"),
    (|line, _| with(line, "timestamp_ms", "\"abc\""), "wrong_type"),
    (|line, _| with(line, "timestamp_ms", "1.5"), "wrong_type"),
    (|line, _| with(line, "timestamp_ms", "1e3"), "wrong_type"),
    (|line, _| with(line, "timestamp_ms", "true"), "wrong_type"),
    (|line, _| with(line, "timestamp_ms", "99999999999999999999"), "wrong_type"),
    (|line, _| with(line, "event_type", "[1]"), "wrong_type"),
    (|line, _| with(line, "category", "\"\""), "empty in feature"),
    (|line, _| with(line, "category", "null"), "empty in feature"),
    (|line, _| without(line, "category"), "empty in feature"),
    (|line, _| without(line, "product_id"), "missing"),
    (|line, _| [line.as_bytes(), b"\xff"].concat(), "not_utf8"),
    (|line, chance| line.as_bytes()[..1 + chance.below(line.len() as u64 - 1) as usize].to_vec(), "not_json"),
    (|line, _| format!("[{line}]").into(), "not_object"),
    (|_, _| Vec::new(), "not_json"),
    (|_, chance| "[".repeat(65 + chance.below(1_000) as usize).into(), "too_deep"),
    (|line, chance| line.replace('}', &" ".repeat(TOO_MANY + chance.below(200_000) as usize)).into(), "too_large"),
    (|_, chance| std::iter::once(b'#').chain((0..50).map(|_| 32 + chance.below(90) as u8)).collect(), "not_json"),
    (|line, chance| later(line, -20_000 - chance.below(10_000) as i64), "late"),
    (|line, chance| later(line, 7_200_000 + chance.below(10_000) as i64), "too_far_ahead"),
];

/// The stream of each code of [`KINDS`], and of no code.
fn stream(code: &str) -> &'static str {
    match code {
        "" => "ml_predictions",
        "late" => "late_events_dlq",
        "empty in feature" => "processing_errors",
        _ => "validation_errors",
    }
}

/// Moves the event time.
fn later(line: &str, by: i64) -> Vec<u8> {
    let (_, time) = line.split_once("\"timestamp_ms\":").unwrap();
    let time: i64 = time.trim_end_matches('}').parse().unwrap();
    with(line, "timestamp_ms", &(time + by).to_string())
}

/// The files, and for each partition and offset the code that must be found there.
fn input(files: usize) -> (Vec<Vec<u8>>, BTreeMap<Place, &'static str>) {
    let mut chance = Chance(SEED);
    let mut contents = vec![Vec::new(); files];
    let mut expected = BTreeMap::new();
    for number in 0..LINES {
        let file = number % files;
        // A file has users of its own: no other file's order decides their history.
        let user = chance.below(500);
        let kind = ["view", "click", "add_to_cart", "purchase", "other"][chance.below(5) as usize];
        let (product, time) = (chance.below(900), TIME + 10 * number as i64);
        let line = format!(
            r#"{{"user_id":"{file}/{user}","product_id":"p{product}","category":"c","event_type":"{kind}","timestamp_ms":{time}}}"#
        );
        // The first event of a file is good, so that there is something to be late against.
        let is_garbage = number >= files && chance.below(GARBAGE_ONE_IN) == 0;
        let (bytes, code) = if is_garbage {
            let (spoil, code) = KINDS[chance.below(KINDS.len() as u64) as usize];
            (spoil(&line, &mut chance), code)
        } else {
            (line.into_bytes(), "")
        };
        let content = &mut contents[file];
        expected.insert((file as u64, content.len() as u64), code);
        content.extend_from_slice(&bytes);
        let end: &[u8] = if chance.below(7) == 0 { b"\r\n" } else { b"\n" };
        content.extend_from_slice(end);
    }
    (contents, expected)
}

/// Runs the job and compares with the table; gives the masked records by place.
fn run(workers: usize, files: usize) -> BTreeMap<Place, Value> {
    let (contents, expected) = input(files);
    let workers = format!("workers = {workers} ");
    let scene = Scene::with(
        &[
            ("workers = 0 ", &workers),
            ("path = \"in.jsonl\"", "path = \"parts/*.jsonl\""),
            ("max_bytes = \"1MiB\"", "max_bytes = \"4KiB\""),
            ("provenance = false", "provenance = true"),
        ],
        b"",
    );
    for (number, content) in contents.iter().enumerate() {
        scene.write(&format!("parts/{number}.jsonl"), content);
    }
    let summary = scene.summary();
    assert_eq!(conserved(&summary), LINES as u64);
    let count = |wanted: &str| {
        let codes = expected.values();
        codes.filter(|code| stream(code) == wanted).count() as u64
    };
    for (key, wanted) in [
        ("predictions", "ml_predictions"),
        ("validation_errors", "validation_errors"),
        ("processing_errors", "processing_errors"),
        ("late_events", "late_events_dlq"),
    ] {
        assert_eq!(number(&summary, key), count(wanted), "{key}");
    }
    let found = scene.records_by_place();
    let places = |place: (&Place, &Record)| (*place.0, found_code(place.1));
    let found_codes: BTreeMap<_, _> = found.iter().map(places).collect();
    let expected_codes = expected
        .iter()
        .map(|(place, code)| (*place, (stream(code), (*code).to_owned())))
        .collect::<BTreeMap<_, _>>();
    for (place, code) in &expected_codes {
        assert_eq!(found_codes.get(place), Some(code), "{place:?}");
    }
    assert_eq!(found_codes.len(), expected_codes.len());
    let masked = found
        .iter()
        .map(|(place, found)| (*place, mask(&found.line)));
    masked.collect()
}

/// Where a record is and why, in the words of [`KINDS`].
fn found_code(record: &Record) -> (&'static str, String) {
    let value: Value = serde_json::from_str(&record.line).unwrap();
    let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default();
    let code = match (text("code"), text("stage")) {
        ("empty", "feature") => "empty in feature",
        (code, _) => code,
    };
    (record.stream, code.to_owned())
}

#[test]
fn has_every_line_of_garbage_one_outcome_whatever_the_workers() {
    let (_, expected) = input(1);
    for (_, code) in KINDS {
        let lines = expected.values().filter(|found| **found == code).count();
        assert!(lines > 40, "only {lines} lines are {code}");
    }
    for files in [1, 5] {
        let of_one = run(1, files);
        let of_three = run(3, files);
        for (place, record) in &of_one {
            assert_eq!(
                of_three.get(place),
                Some(record),
                "{files} files, {place:?}"
            );
        }
    }
}
