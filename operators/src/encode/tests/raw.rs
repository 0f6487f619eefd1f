//! A rejected event as it was read: is nothing of it changed, and is all said of it that an envelope says?

use std::sync::Arc;

use slackwater_dataflow::flow::Ticket;
use slackwater_dataflow::headers::{self, Headers};
use slackwater_dataflow::moment::EventTime;
use slackwater_dataflow::place::{Offset, PartitionId, ShardId};
use slackwater_dataflow::sink::OutputStream;
use slackwater_dataflow::sink::addressed::records;
use slackwater_dataflow::sink::destinations::{Destination, Destinations, Timestamps};
use slackwater_dataflow::source::{Origin, Partition, Topics};

use crate::encode::tests::{clock, encode, text};
use crate::encode::{DeadLetterPlan, EncodeDeadLetters, Form, RawPlan};
use crate::origin;
use crate::reject::{Code, Lateness, Original, Reason, Reject, RejectBatch, RejectKey, Stage};

fn encoder(form: Form) -> EncodeDeadLetters {
    let topics = Topics::default();
    topics.add_as(&Partition::new(PartitionId(6), "clicks"), 2);
    let plan = DeadLetterPlan {
        fields: vec![vec!["user".to_owned()]],
        max_depth: 4,
        topics: Arc::new(topics),
        shards: 4,
        form,
        raw: Some(RawPlan {
            version: "1.2.3".to_owned(),
            model: Some("sha256:ab".to_owned()),
        }),
    };
    EncodeDeadLetters::new(plan, clock())
}

/// A record that was written with a key and headers.
fn reject(stage: Stage, record: &[u8]) -> Reject {
    let mut written = Vec::new();
    headers::write(&mut written, ("trace", Some(b"\xff7")));
    headers::write(&mut written, ("empty", None));
    let written = Origin {
        key: Some(b"a key"),
        headers: Headers::of(&written),
        time: None,
    };
    let mut origin = Vec::new();
    origin::write(written, &mut origin);
    Reject {
        reason: Reason {
            stage,
            code: Code::NotFinite,
            message: "why".to_owned(),
            causes: Vec::new(),
        },
        original: Original::Record(record.to_vec()),
        partition: PartitionId(6),
        offset: Offset(17),
        event_time: None,
        lateness: None,
        shard: ShardId(3),
        key: Some(RejectKey::OfEvent(b"\x01\x03\0\0\0own".to_vec())),
        origin,
    }
}

/// What becomes of a reject in a topic that takes so many bytes: key, headers, value.
type Written = (Option<Vec<u8>>, Vec<(String, String)>, Vec<u8>);

fn addressed(reject: Reject, record_bytes_max: usize) -> Written {
    let topics = OutputStream::ALL.map(|_| Destination::new(3, Timestamps::ANY));
    let form = Form::Addressed(Destinations::new(topics, record_bytes_max));
    let (rejects, ticket) = (vec![reject], Ticket::detached());
    let found = encode(&mut encoder(form), RejectBatch { rejects, ticket });
    let record = records(&found[0].chunk.bytes).next().unwrap();
    let headers = record.headers.iter().map(|(name, value)| {
        let value = value.map_or("none".into(), String::from_utf8_lossy);
        (name.to_owned(), value.into_owned())
    });
    let key = record.address.key.map(<[u8]>::to_vec);
    (key, headers.collect(), record.value.unwrap().to_vec())
}

fn named(headers: &[(&str, &str)]) -> Vec<(String, String)> {
    let headers = headers.iter();
    headers
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

/// What all of these say behind the headers of the record.
const ALWAYS: [(&str, &str); 8] = [
    ("__streams.errors.exception", "PROCESSING_ERROR"),
    ("__streams.errors.message", "why"),
    ("__streams.errors.topic", "clicks"),
    ("__streams.errors.partition", "2"),
    ("__streams.errors.offset", "17"),
    ("slackwater.version", "1.2.3"),
    ("slackwater.stage", "feature"),
    ("slackwater.code", "not_finite"),
];

const NOW: (&str, &str) = ("slackwater.processing_time_ms", "1718054321052");

#[test]
fn are_key_headers_and_bytes_those_of_the_record() {
    let record = b"{\"user\": \"\xff\"}\0";
    let (key, headers, value) = addressed(reject(Stage::Feature, record), 1_000_000);
    assert_eq!(key.unwrap(), b"a key");
    assert_eq!(value, record);
    let written = [("trace", "\u{fffd}7"), ("empty", "none")];
    let expected = [&written[..], &ALWAYS, &[NOW]].concat();
    assert_eq!(headers, named(&expected));
}

#[test]
fn is_all_said_that_is_known() {
    let mut late = reject(Stage::Late, b"{}");
    late.event_time = Some(EventTime(5));
    late.lateness = Some(Lateness {
        watermark: EventTime(-7),
        lateness_ms: 12,
    });
    late.reason.code = Code::Late;
    let (_, headers, _) = addressed(late, 1_000_000);
    let expected = [
        ("__streams.errors.exception", "LATE_EVENT"),
        ("slackwater.stage", "late"),
        ("slackwater.code", "late"),
        ("slackwater.event_time_ms", "5"),
        ("slackwater.watermark_ms", "-7"),
        ("slackwater.lateness_ms", "12"),
    ];
    for header in named(&expected) {
        assert!(headers.contains(&header), "{header:?} in {headers:?}");
    }
    assert!(!headers.iter().any(|(name, _)| name == "slackwater.model"));
    let mut scored = reject(Stage::Infer, b"{}");
    scored.reason.causes = vec!["infer/m: nan".to_owned(), "run: b".to_owned()];
    let (_, headers, _) = addressed(scored, 1_000_000);
    let expected = [
        ("slackwater.model", "sha256:ab"),
        (
            "__streams.errors.stacktrace",
            "infer/m: nan\ncaused by: run: b",
        ),
    ];
    for header in named(&expected) {
        assert!(headers.contains(&header), "{header:?} in {headers:?}");
    }
}

#[test]
fn does_what_its_topic_would_refuse_say_what_is_left_out() {
    let long = vec![b'x'; 100_000];
    let (key, headers, value) = addressed(reject(Stage::Feature, &long), 100_000);
    assert_eq!(value, &long[..65_536]);
    assert_eq!(key.unwrap(), b"a key");
    let last = &headers[headers.len() - 2..];
    assert_eq!(
        last[0],
        ("slackwater.original_length".into(), "100000".into())
    );
    assert_eq!(last[1].0, "slackwater.original_sha256");
    assert_eq!(last[1].1.len(), 64);
    let (key, headers, value) = addressed(reject(Stage::Feature, b"record"), 100);
    assert_eq!((key, value), (None, Vec::new()));
    let left_out = ("slackwater.left_out".into(), "key and headers".into());
    assert!(headers.contains(&left_out));
    assert!(!headers.iter().any(|(name, _)| name == "trace"));
}

#[test]
fn is_a_line_all_of_it_in_json() {
    let line = |record: &[u8]| {
        let reject = reject(Stage::Feature, record);
        let (rejects, ticket) = (vec![reject], Ticket::detached());
        let found = encode(&mut encoder(Form::Lines), RejectBatch { rejects, ticket });
        text(&found[0]).to_owned()
    };
    let line_of_text = line(b"{\"user\": 1}");
    let ending = ",\"value\":\"{\\\"user\\\": 1}\"}\n";
    assert!(line_of_text.ends_with(ending), "{line_of_text}");
    let beginning = "{\"key\":\"a key\",\"headers\":[[\"trace\",{\"base64\":\"/zc=\"}],[\"empty\",null],\
                     [\"__streams.errors.exception\",\"PROCESSING_ERROR\"],";
    assert!(line_of_text.starts_with(beginning), "{line_of_text}");
    let ending = ",\"value\":{\"base64\":\"/w==\"}}\n";
    let line = line(b"\xff");
    assert!(line.ends_with(ending), "{line}");
}
