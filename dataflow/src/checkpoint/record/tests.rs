//! Are records read back as they were, and is everything else refused?

use serde_json::{Value, json};

use crate::checkpoint::fault::{Fault, FormatError};
use crate::checkpoint::frame::{BlockType, Encoding, Header, ObjectKind, Tally};
use crate::checkpoint::manifest::{Claim, Record};
use crate::checkpoint::names::RecordNumber;
use crate::checkpoint::record::{decode, encode};
use crate::checkpoint::soundness::tests::sample;
use crate::identity::{CheckpointId, Generation};
use crate::moment::EventTime;

fn claim() -> Record {
    Record::Claim(Claim {
        id: CheckpointId(7),
        number: RecordNumber(12),
        claimed_ms: -1,
        host: "quay \"7\"".to_owned(),
        process: 4711,
    })
}

fn manifest() -> Record {
    Record::Manifest(Box::new(sample()))
}

/// A whole record of these blocks.
fn framed(generation: u64, blocks: &[&[u8]]) -> Vec<u8> {
    let header = Header {
        kind: ObjectKind::Record,
        generation: Generation(generation),
        epoch: 12,
    };
    let (mut tally, mut bytes) = (Tally::default(), Vec::new());
    tally.put_header(&mut bytes, &header);
    for block in blocks {
        let put = tally.put_block(&mut bytes, BlockType(1), block, Encoding::Plain);
        put.unwrap();
    }
    tally.put_end(&mut bytes);
    bytes
}

#[test]
fn are_records_read_back() {
    for record in [claim(), manifest()] {
        let bytes = encode(&record).unwrap();
        assert_eq!(bytes, encode(&record).unwrap());
        assert_eq!(decode(&bytes, RecordNumber(12)).unwrap(), record);
        decode(&bytes, RecordNumber(11)).unwrap_err();
    }
}

/// The names on the page.
#[test]
fn is_the_json_that_of_the_page() {
    let claim = json!({
        "kind": "claim", "number": 12, "id": "0000000000000007", "claimed_ms": -1, "host": "quay \"7\"", "process": 4711,
    });
    assert_eq!(serde_json::to_value(self::claim()).unwrap(), claim);
    let object = |epoch: u64, worker: u32, whole: bool| {
        json!({
            "name": format!("data/g7-e{epoch}-w{worker}-00000000000000ab.state"),
            "length": 100, "crc32c": 5, "epoch": epoch, "whole": whole,
        })
    };
    let segment = |epoch: u64, worker: u32, bytes: u64| {
        json!({
            "name": format!("data/g7-e{epoch}-w{worker}-00000000000000ab.outbox"),
            "length": 200, "crc32c": 6,
            "chunks": [{"at": 32, "blocks": 1, "records": 2, "bytes": bytes}],
        })
    };
    let manifest = json!({
        "kind": "manifest",
        "number": 12, "generation": 8, "epoch": 5, "checkpoint": "0000000000000005",
        "created_ms": 1_700_000_000_000_u64,
        "job": {
            "name": "tides", "order": "event_time", "key": ["harbour", "gauge"],
            "key_groups": 1024, "shards": 2, "max_out_of_orderness_ms": 5000,
            "schema": "5c", "source": "50", "features": {"count": "c0"},
            "history": "41", "model": "3d",
        },
        "floor": -3,
        "workers": 2,
        "partitions": [
            {
                "id": 0, "topic": "north", "position": 1234, "mark": 77, "highest": 9, "finished": false, "idle": true,
                "raised": [
                    {"offset": 0, "floor": -9, "found": true},
                    {"offset": 1200, "floor": -3, "found": false},
                ],
            },
            {
                "id": 1, "topic": "south", "position": 0, "mark": null, "highest": null, "finished": true, "idle": false,
                "raised": [],
            },
        ],
        "chains": [[object(3, 0, true), object(5, 0, false)], [object(4, 1, true)]],
        "unconfirmed": [
            {"epoch": 4, "checkpoint": "0000000000000004", "shards": [
                {"shard": 1, "before": [10, 0, 1, 2], "after": [17, 0, 1, 2],
                 "segments": [segment(4, 0, 4), segment(4, 1, 3)]},
                {"shard": 0, "before": [20, 0, 1, 2], "after": [25, 0, 1, 2],
                 "segments": [segment(4, 0, 5)]},
            ]},
            {"epoch": 5, "checkpoint": "0000000000000005", "shards": [
                {"shard": 1, "before": [17, 0, 1, 2], "after": [25, 0, 1, 2],
                 "segments": [segment(5, 1, 8)]},
            ]},
        ],
        "confirmed": [{"shard": 0, "epoch": 3, "checkpoint": "0000000000000003"}],
        "lengths": [[25, 0, 1, 2], [25, 0, 1, 2]],
        "totals": {"events": 17},
        "complete": false,
    });
    assert_eq!(serde_json::to_value(self::manifest()).unwrap(), manifest);
}

#[test]
fn does_a_manifest_name_every_object_once() {
    let names: Vec<String> = sample().objects().keys().map(ToString::to_string).collect();
    let expected = [
        "data/g7-e3-w0-00000000000000ab.state",
        "data/g7-e4-w0-00000000000000ab.outbox",
        "data/g7-e4-w1-00000000000000ab.state",
        "data/g7-e4-w1-00000000000000ab.outbox",
        "data/g7-e5-w0-00000000000000ab.state",
        "data/g7-e5-w1-00000000000000ab.outbox",
    ];
    assert_eq!(names, expected);
}

/// What is said of a whole record with this text.
fn refusal(generation: u64, json: &[u8]) -> String {
    let bytes = framed(generation, &[json]);
    match decode(&bytes, RecordNumber(12)).unwrap_err() {
        FormatError::Unusable {
            fault: Fault::Record(wrong),
            ..
        } => wrong,
        other => panic!("{other}"),
    }
}

/// Takes each field, at any depth, away, and gives each object one that is not known.
fn spoilt(value: &Value, path: &str, spoil: &mut dyn FnMut(&str, Value)) {
    match value {
        // Maps of names, of which any will do.
        Value::Object(_) if ["/job/features", "/totals"].contains(&path) => {}
        Value::Object(fields) => {
            for (name, field) in fields {
                let mut without = fields.clone();
                without.remove(name);
                let place = format!("{path}/{name}");
                spoil(&format!("without {place}"), without.into());
                spoilt(field, &place, &mut |what, field| {
                    let mut fields = fields.clone();
                    fields.insert(name.clone(), field);
                    spoil(what, fields.into());
                });
            }
            let mut more = fields.clone();
            more.insert("tide".to_owned(), json!("high"));
            spoil(&format!("{path} with a field more"), more.into());
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                spoilt(item, &format!("{path}/{at}"), &mut |what, item| {
                    let mut items = items.clone();
                    items[at] = item;
                    spoil(what, items.into());
                });
            }
        }
        _ => {}
    }
}

#[test]
fn is_a_field_more_or_less_refused() {
    for (generation, record) in [(12, claim()), (8, manifest())] {
        let whole = serde_json::to_value(&record).unwrap();
        let mut count = 0;
        spoilt(&whole, "", &mut |what, value| {
            count += 1;
            let text = serde_json::to_vec(&value).unwrap();
            let bytes = framed(generation, &[&text]);
            let read = decode(&bytes, RecordNumber(12));
            assert!(read.is_err(), "{what}");
        });
        assert!(count > 5);
        let text = serde_json::to_vec(&whole).unwrap();
        decode(&framed(generation, &[&text]), RecordNumber(12)).unwrap();
    }
}

#[test]
fn is_what_is_not_understood_refused() {
    let check = |generation, json: &str, expected: &str| {
        let wrong = refusal(generation, json.as_bytes());
        assert!(wrong.contains(expected), "{wrong}");
    };
    let claim = r#""id": "0000000000000007", "claimed_ms": 1, "host": "a", "process": 1}"#;
    let with =
        |kind: &str, number: u64| format!(r#"{{"kind": "{kind}", "number": {number}, {claim}"#);
    check(12, &with("oath", 12), "unknown variant `oath`");
    check(12, &with("claim", 13), "number is 13");
    check(11, &with("claim", 12), "generation 12 wrote it");
    check(12, "{}", "missing field `kind`");
    check(12, "", "EOF");
    check(12, &(with("claim", 12) + "x"), "trailing");
    check(
        12,
        &with("claim\", \"kind\": \"claim", 12),
        "duplicate field",
    );
    check(12, &with("claim", 12).replace('1', "-1"), "invalid value");
    refusal(12, b"\xff");
    let text = serde_json::to_string(&manifest()).unwrap();
    check(9, &text, "generation 8 wrote it");
    check(
        8,
        &text.replace("\"workers\":2", "\"workers\":3"),
        "chains of 2",
    );
    check(8, &text.replace(".outbox", ".inbox"), "not a name");
    check(8, &text.replace("[17,0,1,2]", "[17,0,1]"), "invalid length");
    check(8, &text.replace("0000000000000003", "3"), "not the id");

    let second = with("claim", 12);
    for blocks in [vec![], vec![second.as_bytes(); 2]] {
        let read = decode(&framed(12, &blocks), RecordNumber(12));
        let error = read.unwrap_err();
        let content = matches!(
            error,
            FormatError::Unusable {
                fault: Fault::Content(_),
                ..
            }
        );
        assert!(content, "{error}");
    }
}

#[test]
fn is_what_could_not_be_read_back_not_written() {
    let mut wrong = sample();
    wrong.workers = 3;
    let error = encode(&Record::Manifest(Box::new(wrong))).unwrap_err();
    assert!(matches!(error, FormatError::Refused { .. }));
    assert!(
        error
            .to_string()
            .contains("has chains of 2 workers, and says 3")
    );
}

#[test]
fn where_does_a_partition_begin_that_is_found_after_the_end_of_all() {
    let Record::Manifest(mut manifest) = manifest() else {
        unreachable!("it is one");
    };
    let highest = manifest.partitions.iter().filter_map(|it| it.highest);
    let behind = highest.max().map(|highest| EventTime(highest.0 + 1));
    assert!(behind.is_some());
    assert_eq!(manifest.behind_all(), behind);
    manifest.partitions.clear();
    assert_eq!(manifest.behind_all(), None);
}
