//! Does each record go where its key, its time and its topic say?

use proptest::collection::vec;
use proptest::prelude::any;
use slackwater_dataflow::flow::Ticket;
use slackwater_dataflow::headers::Headers;
use slackwater_dataflow::moment::EventTime;
use slackwater_dataflow::place::ShardId;
use slackwater_dataflow::sink::addressed::records;
use slackwater_dataflow::sink::destinations::{Destination, Destinations, Timestamps};
use slackwater_dataflow::sink::{Framing, OutputStream};

use crate::batch::{Cell, Span};
use crate::encode::form::{
    Chunks, EVENT_TIME_HEADER, Form, Sender, TooLarge, partition_of_key, write_record_key,
};
use crate::event::FieldIndex;
use crate::key::KeyWriter;

const NOW_MS: i64 = 10_000;

fn form(partitions: u32, timestamps: Timestamps, record_bytes_max: usize) -> Form {
    let topic = |_| Destination::new(partitions, timestamps);
    Form::Addressed(Destinations::new(
        OutputStream::ALL.map(topic),
        record_bytes_max,
    ))
}

fn sender(key: Option<&[u8]>, event_time: Option<i64>) -> Sender<'_> {
    Sender {
        shard: ShardId(0),
        key,
        event_time: event_time.map(EventTime),
        place: 7,
        headers: Headers::default(),
    }
}

/// What `Utils.murmur2` of Apache Kafka gives, from the tests of its clients.
#[test]
fn is_a_key_sent_where_the_java_client_sends_it() {
    let check = |key: &str, hash: i32| {
        let found = murmur2::murmur2(key.as_bytes(), murmur2::KAFKA_SEED);
        assert_eq!(found as i32, hash, "{key}");
        let positive = (hash & i32::MAX) as u32;
        assert_eq!(partition_of_key(key.as_bytes(), 1_000), positive % 1_000);
    };
    check("21", -973_932_308);
    check("foobar", -790_332_482);
    check("a-little-bit-long-string", -985_981_536);
    check("a-little-bit-longer-string", -1_486_304_829);
    check(
        "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
        -58_897_971,
    );
    check("abc", 479_470_107);
}

#[test]
fn is_the_time_of_an_event_the_timestamp_if_its_topic_takes_it() {
    let limits = Timestamps {
        before_max_ms: 200,
        after_max_ms: 20,
    };
    let form = form(3, limits, 1_000);
    let check = |event_time: Option<i64>, time_ms: i64, header: Option<&str>| {
        let mut chunks = Chunks::new(OutputStream::LateEvents, 1, 1, &form, NOW_MS);
        let written = chunks.record(sender(None, event_time), |out| out.push(b'x'));
        assert_eq!(written, Ok(()));
        chunks.finish(&Ticket::detached(), |publication| {
            let chunk = publication.chunk;
            assert_eq!((chunk.framing, chunk.records), (Framing::Addressed, 1));
            let record = records(&chunk.bytes).next().unwrap();
            assert_eq!(record.address.time_ms, time_ms, "{event_time:?}");
            assert_eq!(
                (record.address.partition, record.value),
                (1, Some(b"x".as_slice()))
            );
            let headers: Vec<_> = record.headers.iter().collect();
            let header = header.map(|it| (EVENT_TIME_HEADER, Some(it.as_bytes())));
            assert_eq!(headers, Vec::from_iter(header));
        });
    };
    check(Some(9_950), 9_950, None);
    check(Some(9_899), NOW_MS, Some("9899"));
    check(Some(10_011), NOW_MS, Some("10011"));
    check(Some(-5), NOW_MS, Some("-5"));
    check(None, NOW_MS, None);
}

#[test]
fn is_a_record_that_is_too_large_left_out_whole() {
    let form = form(1, Timestamps::ANY, 40);
    let mut chunks = Chunks::new(OutputStream::Predictions, 1, 3, &form, NOW_MS);
    let mut write = |length: usize| {
        let value = vec![b'v'; length];
        chunks.record(sender(Some(b"key"), Some(5)), |out| {
            out.extend_from_slice(&value)
        })
    };
    assert_eq!(write(11), Ok(()));
    let (bytes, most) = (41, 40);
    assert_eq!(write(12), Err(TooLarge { bytes, most }));
    assert_eq!(write(0), Ok(()));
    chunks.finish(&Ticket::detached(), |publication| {
        let chunk = publication.chunk;
        let lengths = records(&chunk.bytes).map(|record| record.value.map(<[u8]>::len));
        assert_eq!(lengths.collect::<Vec<_>>(), [Some(11), Some(0)]);
        assert_eq!(chunk.records, 2);
    });
}

#[test]
fn is_the_key_of_a_record_what_a_reader_would_write() {
    let check = |cells: &[Cell], expected: &str| {
        let mut writer = KeyWriter::new((0..cells.len()).map(FieldIndex).collect());
        let (key, _) = writer.write(cells, b"{anna}", b"o\"k");
        let mut found = Vec::new();
        write_record_key(&mut found, key);
        assert_eq!(String::from_utf8_lossy(&found), expected);
    };
    let text = |start, len, plain| Cell::Text {
        span: Span { start, len },
        plain,
    };
    check(&[text(1, 4, true)], "anna");
    check(&[text(0, 3, false)], "o\"k");
    check(&[Cell::Int(-2)], "-2");
    check(&[Cell::Bool(true)], "true");
    check(&[text(0, 3, false), Cell::Int(7)], r#"["o\"k",7]"#);
}

proptest::proptest! {
    #[test]
    fn is_every_key_sent_to_a_partition_that_is(key in vec(any::<u8>(), 0..20), partitions in 1_u32..50) {
        assert!(partition_of_key(&key, partitions) < partitions);
    }
}
