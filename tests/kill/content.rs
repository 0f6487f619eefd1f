//! What a job has written, without what may differ from run to run, compared by key.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::path::Path;

/// Streams of the reference pipeline.
pub const STREAMS: [&str; 4] = [
    "ml_predictions",
    "validation_errors",
    "processing_errors",
    "late_events_dlq",
];

/// By stream and key, a digest of each record in the order in which it was written.
pub type Content = BTreeMap<(&'static str, String), Vec<u64>>;

/// The committed part of all outputs, or all of them where nothing says what is committed.
pub fn content(outputs: &Path) -> Content {
    let mut content = Content::new();
    for stream in STREAMS {
        for shard in 0..2 {
            let text = committed(outputs, stream, shard);
            let epochs: Vec<u64> = text.lines().filter_map(epoch).collect();
            let goes_back = "goes back to an earlier epoch";
            assert!(epochs.is_sorted(), "{stream}, shard {shard} {goes_back}");
            for line in text.lines() {
                let key = key(stream, line);
                content.entry((stream, key)).or_default().push(digest(line));
            }
        }
    }
    content
}

/// The records of a shard that count: all, where nothing says how many do.
pub fn committed(outputs: &Path, stream: &str, shard: usize) -> String {
    let part = outputs.join(stream).join(format!("shard-{shard}.jsonl"));
    let mut bytes = fs::read(&part).unwrap();
    if let Ok(length) = fs::read_to_string(part.with_extension("jsonl.committed")) {
        bytes.truncate(length.trim().parse().unwrap());
    }
    let text = String::from_utf8(bytes).unwrap();
    assert!(
        text.is_empty() || text.ends_with('\n'),
        "{part:?} ends in a record"
    );
    text
}

/// The last epoch that a prediction says it is of.
pub fn last_epoch(outputs: &Path) -> Option<u64> {
    let parts = [0, 1].map(|shard| outputs.join(format!("ml_predictions/shard-{shard}.jsonl")));
    let texts = parts.map(|part| fs::read_to_string(part).unwrap());
    let epochs = texts.iter().flat_map(|text| text.lines().filter_map(epoch));
    epochs.max()
}

/// What the records of a stream are in order for: the user where it is known, else the partition.
pub fn key(stream: &str, line: &str) -> String {
    let name = match stream {
        "ml_predictions" => "\"user_id\":",
        "processing_errors" => "\"original_event\":[",
        _ => "\"partition\":",
    };
    let at = line.find(name).unwrap() + name.len();
    let end = line[at..].find([',', '}']).unwrap();
    line[at..at + end].to_owned()
}

/// The epoch of a record, which every job with checkpoints says in the streams that have one.
fn epoch(line: &str) -> Option<u64> {
    let name = "\"epoch\":";
    let from = line.rfind(name)? + name.len();
    let end = line[from..].find([',', '}'])?;
    line[from..from + end].parse().ok()
}

/// Of a line without the numbers that say when, or in which run, it was made, and without how lookups have enriched it, which is
/// chance; it says so last.
pub fn digest(line: &str) -> u64 {
    let mut masked = line.to_owned();
    for name in ["\"processing_time\":", "\"timestamp\":", "\"epoch\":"] {
        // The last one: fields of the event itself stand before.
        if let Some(at) = masked.rfind(name) {
            let from = at + name.len();
            let end = masked[from..].find([',', '}']).unwrap();
            masked.replace_range(from..from + end, "_");
        }
    }
    if let Some(at) = masked.rfind(",\"lookups\":{") {
        masked.replace_range(at.., "}");
    }
    BuildHasherDefault::<DefaultHasher>::default().hash_one(masked)
}

/// How many records are missing, and how many are there too often or should not be.
pub fn lost_and_doubled(expected: &Content, found: &Content) -> (usize, usize) {
    let count = |content: &Content| {
        let mut counts = BTreeMap::<(&str, u64), i64>::new();
        for ((stream, _), records) in content {
            for &record in records {
                *counts.entry((stream, record)).or_default() += 1;
            }
        }
        counts
    };
    let mut counts = count(expected);
    for (record, times) in count(found) {
        *counts.entry(record).or_default() -= times;
    }
    let lost: i64 = counts.values().filter(|times| **times > 0).sum();
    let doubled: i64 = counts.values().filter(|times| **times < 0).sum();
    (lost as usize, doubled.unsigned_abs() as usize)
}

#[test]
fn are_missing_and_doubled_records_seen() {
    let of = |records: &[u64]| Content::from([(("a", String::new()), records.to_vec())]);
    assert_eq!(lost_and_doubled(&of(&[1, 2]), &of(&[1, 2])), (0, 0));
    assert_eq!(lost_and_doubled(&of(&[1, 2]), &of(&[2, 2, 3])), (1, 2));
    let line = r#"{"user_id":"u","prediction":0.5,"processing_time":12,"epoch":3}"#;
    assert_eq!(
        digest(line),
        digest(&line.replace("12", "99").replace(":3}", ":4}"))
    );
    assert_ne!(digest(line), digest(&line.replace("0.5", "0.6")));
    let enriched = line.replace("}", r#","lookups":{"p":{"from":"cached","age_ms":7}}}"#);
    assert_eq!(digest(line), digest(&enriched));
    assert_eq!(key("ml_predictions", line), "\"u\"");
}
