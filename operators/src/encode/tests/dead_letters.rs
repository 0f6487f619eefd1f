//! A rejected event as bytes: the envelope in every form that `original_event` has, and its keys in order.

use std::sync::Arc;

use slackwater_dataflow::flow::Ticket;
use slackwater_dataflow::moment::EventTime;
use slackwater_dataflow::place::{Offset, PartitionId, ShardId};
use slackwater_dataflow::sink::OutputStream;
use slackwater_dataflow::sink::addressed::records;
use slackwater_dataflow::sink::destinations::{Destination, Destinations, Timestamps};
use slackwater_dataflow::source::{Partition, Topics};

use crate::encode::tests::{clock, encode, text};
use crate::encode::{DeadLetterPlan, EncodeDeadLetters, Form};
use crate::reject::{Code, Lateness, Original, Reason, Reject, RejectBatch, RejectKey, Stage};

fn encoder(form: Form) -> EncodeDeadLetters {
    let topic: Arc<str> = Arc::from("dir/a \"b\".jsonl");
    let plan = DeadLetterPlan {
        fields: ["user", "n", "at", "nested", "flag", "gone"]
            .map(|name| vec![name.to_owned()])
            .to_vec(),
        max_depth: 4,
        topics: Arc::new(Topics::of(&[Partition::new(PartitionId(6), topic)])),
        shards: 4,
        form,
        raw: None,
    };
    EncodeDeadLetters::new(plan, clock())
}

fn reject(stage: Stage, code: Code, message: &str, original: Original) -> Reject {
    Reject {
        reason: Reason {
            stage,
            code,
            message: message.to_owned(),
            causes: Vec::new(),
        },
        original,
        partition: PartitionId(6),
        offset: Offset(17),
        event_time: None,
        lateness: None,
        shard: ShardId(3),
        key: None,
        origin: Vec::new(),
    }
}

fn envelope(reject: Reject) -> String {
    let stream = reject.reason.stage.stream();
    let (rejects, ticket) = (vec![reject], Ticket::detached());
    let found = encode(&mut encoder(Form::Lines), RejectBatch { rejects, ticket });
    assert_eq!(found.len(), 1);
    let chunk = &found[0].chunk;
    assert_eq!(
        (chunk.stream, chunk.shard, chunk.records),
        (stream, ShardId(3), 1)
    );
    text(&found[0]).to_owned()
}

/// What stands behind the original event of every reject that has nothing more to say.
const PLAIN_END: &str = ",\"error_type\":\"VALIDATION_ERROR\",\"message\":\"why\",\
    \"timestamp\":1718054321.052,\"code\":\"empty\",\"stage\":\"validate\",\
    \"source\":{\"topic\":\"dir/a \\\"b\\\".jsonl\",\"partition\":6,\"offset\":17}}\n";

#[track_caller]
fn check(original: Original, expected: &str) {
    let found = envelope(reject(Stage::Validate, Code::Empty, "why", original));
    assert_eq!(found, format!("{{\"original_event\":{expected}{PLAIN_END}"));
}

#[test]
fn are_fields_shown_in_schema_order_as_they_came() {
    let check = |record: &str, expected: &str| {
        check(Original::Record(record.as_bytes().to_vec()), expected);
    };
    check(
        r#" { "at" : 1.50, "user": "a\u0062\"\/", "n":1e3, "other": 5,
            "nested": { "x" : [ 1, 2.0 ], "y":" a b\" " }, "flag": true } "#,
        r#"["a\u0062\"\/",1e3,1.50,{"x":[1,2.0],"y":" a b\" "},true,null]"#,
    );
    check(r#"{}"#, "[null,null,null,null,null,null]");
    check(
        r#"{"user":null,"n":-0,"at":123456789012345678901234567890,"nested":[],"flag":false,"gone":""}"#,
        r#"[null,-0,123456789012345678901234567890,[],false,""]"#,
    );
    // The last of equal keys; a key written with escapes.
    check(
        r#"{"n":1,"n":2,"\u0061t":"é"}"#,
        r#"[null,2,"é",null,null,null]"#,
    );
}

#[test]
fn is_what_is_no_object_shown_as_raw_text() {
    let check = |record: &str, expected: &str| {
        check(Original::Record(record.as_bytes().to_vec()), expected);
    };
    check("", r#""""#);
    check(r#"[1, "2"]"#, r#""[1, \"2\"]""#);
    check("{\"user\":\"a\t\\", "\"{\\\"user\\\":\\\"a\\t\\\\\"");
    check("é\u{1}\u{7f}", "\"é\\u0001\u{7f}\"");
    // Deeper than is scanned: also as text.
    check(r#"{"n":[[[[]]]]}"#, r#""{\"n\":[[[[]]]]}""#);
}

#[test]
fn are_bytes_that_are_no_text_shown_in_base64() {
    let check = |record: &[u8], expected: &str| {
        let expected = format!("null,\"original_bytes\":\"{expected}\"");
        check(Original::Record(record.to_vec()), &expected);
    };
    check(b"\xff", "/w==");
    check(b"{\"user\":\"\xfe\xff\"}", "eyJ1c2VyIjoi/v8ifQ==");
    check(b"abc\xc3", "YWJjww==");
}

#[test]
fn is_a_record_that_was_too_large_shown_by_its_head() {
    let mut sha256 = [0; 32];
    (sha256[0], sha256[1], sha256[31]) = (0xab, 0x01, 0xff);
    let digest = format!("ab01{}ff", "00".repeat(29));
    let check = |head: &[u8], expected: &str| {
        let original = Original::Oversize {
            head: head.to_vec(),
            length: 52_428_800,
            sha256,
        };
        let more = format!(",\"original_length\":52428800,\"original_sha256\":\"{digest}\"");
        check(original, &format!("{expected}{more}"));
    };
    // As text even if it begins like an object, or is one.
    check(b"{\"user\":\"a", r#""{\"user\":\"a""#);
    check(b"{}", r#""{}""#);
    check("aé".as_bytes(), r#""aé""#);
    // Cut at a character.
    check(&"aé".as_bytes()[..2], r#""a""#);
    check(&"a🦀".as_bytes()[..4], r#""a""#);
    check(b"a\xffb", r#"null,"original_bytes":"Yf9i""#);
}

#[test]
fn do_the_keys_come_in_order_with_those_that_apply() {
    let end = |reject: Reject| {
        let found = envelope(reject);
        let (start, end) = found.split_once(",\"error_type\":").unwrap();
        assert_eq!(start, "{\"original_event\":[null,null,null,null,null,null]");
        end.to_owned()
    };
    let original = || Original::Record(b"{}".to_vec());
    let source = "\"source\":{\"topic\":\"dir/a \\\"b\\\".jsonl\",\"partition\":6,\"offset\":17}";

    let mut late = reject(
        Stage::Late,
        Code::Late,
        "1 ms behind the watermark",
        original(),
    );
    late.event_time = Some(EventTime(7_999));
    late.lateness = Some(Lateness {
        watermark: EventTime(8_000),
        lateness_ms: 1,
    });
    let expected = format!(
        "\"LATE_EVENT\",\"message\":\"1 ms behind the watermark\",\"timestamp\":1718054321.052,\
         \"code\":\"late\",\"stage\":\"late\",{source},\
         \"event_time\":7999,\"watermark\":8000,\"lateness_ms\":1}}\n"
    );
    assert_eq!(end(late), expected);

    let mut failed = reject(
        Stage::Infer,
        Code::ModelFailed,
        "model `m` failed",
        original(),
    );
    failed.event_time = Some(EventTime(-5));
    failed.reason.causes = ["infer/model: model `m` failed", "infer/runtime: a \"b\""]
        .map(str::to_owned)
        .to_vec();
    let expected = format!(
        "\"PROCESSING_ERROR\",\"message\":\"model `m` failed\",\"timestamp\":1718054321.052,\
         \"code\":\"model_failed\",\"stage\":\"infer\",{source},\
         \"stack_trace\":\"infer/model: model `m` failed\\ncaused by: infer/runtime: a \\\"b\\\"\",\
         \"event_time\":-5}}\n"
    );
    assert_eq!(end(failed), expected);

    // A partition that the source does not name.
    let mut unknown = reject(Stage::Decode, Code::NotJson, "a \"b\"\n", original());
    unknown.partition = PartitionId(0);
    let expected = "\"VALIDATION_ERROR\",\"message\":\"a \\\"b\\\"\\n\",\
        \"timestamp\":1718054321.052,\"code\":\"not_json\",\"stage\":\"decode\",\
        \"source\":{\"topic\":\"\",\"partition\":0,\"offset\":17}}\n";
    assert_eq!(end(unknown), expected);
}

#[test]
fn does_each_stage_have_its_stream_and_type() {
    let check = |stage: Stage, stream: OutputStream, kind: &str| {
        assert_eq!(stage.stream(), stream);
        let found = envelope(reject(stage, Code::Empty, "why", Original::Record(vec![])));
        let kind = format!("\"error_type\":\"{kind}\"");
        assert!(found.contains(&kind), "{found}");
    };
    check(
        Stage::Decode,
        OutputStream::ValidationErrors,
        "VALIDATION_ERROR",
    );
    check(
        Stage::Validate,
        OutputStream::ValidationErrors,
        "VALIDATION_ERROR",
    );
    check(Stage::Late, OutputStream::LateEvents, "LATE_EVENT");
    check(
        Stage::Feature,
        OutputStream::ProcessingErrors,
        "PROCESSING_ERROR",
    );
    check(
        Stage::Infer,
        OutputStream::ProcessingErrors,
        "PROCESSING_ERROR",
    );
}

/// The one record that becomes of a reject in topics that take so many bytes: key and value.
fn addressed(reject: Reject, record_bytes_max: usize) -> (Option<Vec<u8>>, Vec<u8>) {
    let topics = OutputStream::ALL.map(|_| Destination::new(3, Timestamps::ANY));
    let form = Form::Addressed(Destinations::new(topics, record_bytes_max));
    let (rejects, ticket) = (vec![reject], Ticket::detached());
    let found = encode(&mut encoder(form), RejectBatch { rejects, ticket });
    assert_eq!((found.len(), found[0].chunk.records), (1, 1));
    let mut records = records(&found[0].chunk.bytes);
    let record = records.next().unwrap();
    assert!(records.next().is_none());
    let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
    (owned(record.address.key), owned(record.value).unwrap())
}

#[test]
fn which_key_has_a_dead_letter() {
    let check = |key: Option<RejectKey>, expected: Option<&str>| {
        let mut reject = reject(Stage::Late, Code::Late, "why", Original::Record(vec![]));
        reject.key = key;
        let (found, _) = addressed(reject, 1_000);
        assert_eq!(found.as_deref(), expected.map(str::as_bytes));
    };
    check(None, None);
    check(Some(RejectKey::OfRecord(b"an\"a".to_vec())), Some("an\"a"));
    let canonical = b"\x01\x04\0\0\0an\"a".to_vec();
    check(Some(RejectKey::OfEvent(canonical)), Some("an\"a"));
}

/// What a topic would refuse repeats less of what was read; it says how long that was, and its digest.
#[test]
fn does_a_dead_letter_fit_into_its_topic() {
    let check = |record: &str, key: usize, most: usize, kept: Option<usize>| {
        let original = Original::Record(record.as_bytes().to_vec());
        let mut reject = reject(Stage::Decode, Code::NotJson, "why", original);
        reject.key = Some(RejectKey::OfRecord(vec![b'k'; key]));
        let (found_key, value) = addressed(reject, most);
        let value: serde_json::Value = serde_json::from_slice(&value).unwrap();
        let repeated = value["original_event"].as_str().unwrap();
        match kept {
            None => assert_eq!(repeated, record),
            Some(kept) => {
                assert_eq!(repeated, &record[..kept]);
                assert_eq!(value["original_length"], record.len());
                assert_eq!(value["original_sha256"].as_str().unwrap().len(), 64);
            }
        }
        assert_eq!(
            (&value["message"], &value["code"]),
            (&"why".into(), &"not_json".into())
        );
        assert_eq!(found_key.map(|it| it.len()), (key < most).then_some(key));
    };
    let long = "x".repeat(100_000);
    check("short", 3, 1_000_000, None);
    check(&long, 3, 101_000, None);
    check(&long, 3, 100_000, Some(65_536));
    check(&long, 3, 60_000, Some(32_768));
    check(&"\u{1}".repeat(100_000), 3, 100_000, Some(16_384));
    check(&long, 3, 500, Some(128));
    check(&long, 600, 500, Some(0));
}
