//! Keys of the job, its source and its events.

use slackwater_connectors::generator::{EVENTS_MAX, PARTITIONS_MAX, SKEW_MAX, USERS_MAX};
use slackwater_dataflow::worker::WORKERS_MAX;

use crate::pipeline::keys::{Choice, Key, Kind, now};

/// As many as a group of workers can have.
const MAX_WORKERS: i64 = WORKERS_MAX as i64;
/// Key groups are numbered in 16 bits, and the power of two below that spreads any job far enough.
const MAX_KEY_GROUPS: i64 = 32_768;
// What the generator can do, with its reasons there.
const MAX_PARTITIONS: i64 = PARTITIONS_MAX as i64;
const MAX_USERS: i64 = USERS_MAX as i64;
const MAX_EVENTS: i64 = EVENTS_MAX as i64;
const MAX_SKEW: f64 = SKEW_MAX;
/// Room for the smallest event that says anything.
const MIN_EVENT_BYTES: u64 = 64;
/// An event is held in memory as one piece.
const MAX_EVENT_BYTES: u64 = 256 << 20;
/// Nesting that parsers of JSON in common use accept by default.
const MAX_DEPTH: i64 = 128;
/// Lateness, time to live and the like beyond ten years are typing mistakes.
pub(in crate::pipeline) const MAX_SPAN_MS: u64 = 10 * 365 * 86_400_000;

const ORDERS: &[Choice] = &[now("arrival"), now("event_time")];
const SOURCES: &[Choice] = &[now("generator"), now("file"), now("kafka")];
const LOST_OFFSET: &[Choice] = &[now("stop"), now("earliest")];
const FORMATS: &[Choice] = &[now("json")];
const TIME_UNITS: &[Choice] = &[now("s"), now("ms"), now("us"), now("ns"), now("rfc3339")];
const LATE: &[Choice] = &[now("dead_letter"), now("process"), now("drop")];
const FIELD_TYPES: &[Choice] = &[
    now("string"),
    now("int"),
    now("float"),
    now("bool"),
    now("list<float>"),
    now("list<string>"),
];

const GENERATOR: &[&str] = &["generator"];
const FILE: &[&str] = &["file"];
const KAFKA: &[&str] = &["kafka"];

const SPAN: Kind = Kind::Duration(0, MAX_SPAN_MS);

#[rustfmt::skip] // One key a paragraph reads as a table.
pub(super) static KEYS: &[Key] = &[
    Key::new("job", Kind::Table, "The job itself.").needed(),
    Key::new("job.name", Kind::Name, "Name of the job, as its messages and its report show it.").needed(),
    Key::new("job.workers", Kind::Integer(0, MAX_WORKERS), "Threads that share the work by key; 0 = one per core.").or("0"),
    Key::new("job.order", Kind::Choice(ORDERS), "Order in which events of one key are handled. `arrival`: as they come in. `event_time`: by event time, \
         partition and offset, once the watermark has passed them; what comes out follows from the input alone.").or("\"arrival\""),
    Key::new("job.key_groups", Kind::Integer(1, MAX_KEY_GROUPS),
        "Units by which keys are assigned to workers, fixed for the life of a job.").or("1024"),
    Key::new("job.record", Kind::Bool, "Journal the answers of lookups, for replay.").later(),

    Key::new("source", Kind::Table, "Where events come from.").needed(),
    Key::new("source.kind", Kind::Choice(SOURCES), "Kind of the source: made-up events of the reference job; files, or the standard input; topics of Kafka.").needed().selects(),
    Key::new("source.seed", Kind::Integer(0, i64::MAX),
        "Seed of the generator: the same seed gives the same events.").only(GENERATOR).or("1"),
    Key::new("source.events", Kind::Integer(1, MAX_EVENTS), "Events to generate.").only(GENERATOR).or("1000000"),
    Key::new("source.rate", Kind::Integer(0, i64::MAX),
        "Events per second over all partitions; 0 = as fast as possible.").only(GENERATOR).or("0"),
    Key::new("source.partitions", Kind::Integer(1, MAX_PARTITIONS), "Partitions to generate; all events of a user are in one.").only(GENERATOR).or("4"),
    Key::new("source.users", Kind::Integer(1, MAX_USERS), "Different users that events are of.").only(GENERATOR).or("100000"),
    Key::new("source.skew", Kind::Float(0.0, MAX_SKEW),
        "Exponent of the Zipf distribution of users; 0 = all alike.").only(GENERATOR).or("1.0"),
    Key::new("source.invalid", Kind::Float(0.0, 1.0),
        "Share of events that are wrong, spread evenly over the kinds of bad events.").only(GENERATOR).or("0.01"),
    Key::new("source.late", Kind::Float(0.0, 1.0), "Share of events that come late.").only(GENERATOR).or("0.01"),
    Key::new("source.path", Kind::Text,
        "File of JSON lines, relative to the current folder, or a pattern such as `dir/*.jsonl`: each file is a partition. \
         A name that ends in `.csv` is a table with a header; one that ends in `.parquet` is read by a program that was built with `--features parquet`. \
         One that ends in `.gz` (gzip) or `.zst` (Zstandard) is decompressed. `-` is the standard input, as one partition, \
         and never decompressed.")
        .only(FILE).needed_for(FILE),
    Key::new("source.follow", Kind::Bool, "Wait for more at the end of each file, until the job is stopped. A last line without a line feed is no record yet. \
         With a pattern, new files are looked for every second. A file that is cut, replaced or deleted ends the job with an error.").only(FILE).or("false"),
    Key::new("source.brokers", Kind::Text, "Addresses of Kafka brokers, `host:port`, several with commas between them.").only(KAFKA).needed_for(KAFKA).address(),
    Key::new("source.topic", Kind::Name, "Topic to read.").only(KAFKA),
    Key::new("source.topics", Kind::Texts, "Topics to read, if there are several. Others may be added at the end.").only(KAFKA),
    Key::new("source.start", Kind::Start,
        "Where partitions begin of which nothing was read before: `\"earliest\"`, `\"latest\"` or `{ timestamp = \"2026-01-01T00:00:00Z\" }`, their first record from then on. \
         Partitions that are found while the job runs begin at their oldest record.").only(KAFKA).or("\"earliest\""),
    Key::new("source.on_lost_offset", Kind::Choice(LOST_OFFSET),
        "What to do when the record that is to be read next is gone, by the topic's retention or because the topic was made anew. `stop`: the job ends and says so. \
         `earliest`: it goes on at the oldest record there is, and says so.").only(KAFKA).or("\"stop\""),
    Key::new("source.discover_partitions", Kind::Duration(100, MAX_SPAN_MS), "How often to look for new partitions.").only(KAFKA).or("\"30s\""),
    Key::new("source.properties", Kind::Properties, "Further settings of the Kafka client, by librdkafka's names: `security.protocol`, `sasl.*`, `ssl.*` and the like, see [below](#kafka-with-tls-and-passwords). \
         Secrets are `{ env = \"NAME\" }` or `{ file = \"PATH\" }`. What exactly once rests on cannot be set.").only(KAFKA),

    Key::new("event", Kind::Table, "What an event is.").needed(),
    Key::new("event.format", Kind::Choice(FORMATS), "Format of a record.").or("\"json\""),
    Key::new("event.key", Kind::Texts, "Fields by which events belong together, one or more, each a string or int that is required or has a default.").needed(),
    Key::new("event.time", Kind::Table, "Which field is the event time. `\"record\"`: none, the event time is the timestamp that Kafka has of the record.").needed().or_word("record"),
    Key::new("event.time.field", Kind::Text, "Field that says the event time, a required int, or a required string with `unit` `\"rfc3339\"`.").needed(),
    Key::new("event.time.unit", Kind::Choice(TIME_UNITS), "How the field says it: seconds, milliseconds, microseconds or nanoseconds since 1970; `rfc3339`: as a text such as \
         `\"2026-01-01T00:00:00+01:00\"`. What is finer than a millisecond is cut off.").needed(),
    Key::new("event.max_out_of_orderness", SPAN,
        "How far an event may be behind the newest of its partition without being late.").or("\"2s\""),
    Key::new("event.max_drift", SPAN, "How far the watermark of one partition may run ahead of the slowest one: one that is further ahead is not read until the others have \
         caught up. In `event_time` order 1m unless set. In arrival order only with windows of time, `max_out_of_orderness` unless set, but at least 1s; there a partition that has nothing to read \
         holds nobody back."),
    Key::new("event.idle_timeout", Kind::Duration(1, MAX_SPAN_MS), "After which silence a followed file, or a partition of a topic, no longer holds the others: then event time goes on without it, \
         and what it brings later is late where it is older than what the others had reached. One that the job itself does not read on is not silent. Off unless set."),
    Key::new("event.max_ahead", SPAN,
        "How far an event time may be ahead of the newest of its partition; off unless set. With Kafka, `1h` unless set; there it may be ahead of when the broker has written \
         the record, where the topic says so, and a partition's first event of when its record was made."),
    Key::new("event.late", Kind::Choice(LATE), "What happens to late events. `dead_letter`: they go to the stream of late events. `process`: they are handled \
         as if they had happened at their partition's watermark. `drop`: they are counted.").or("\"dead_letter\""),
    Key::new("event.max_bytes", Kind::Size(MIN_EVENT_BYTES, MAX_EVENT_BYTES), "Largest record; a larger one is rejected.").or("\"1MiB\""),
    Key::new("event.max_depth", Kind::Integer(1, MAX_DEPTH), "Deepest nesting of a record, undeclared fields included; a deeper one is rejected.").or("64"),
    Key::new("event.field[]", Kind::Tables, "Fields of an event, in the order of `original_event` in dead letters.").needed(),
    Key::new("event.field[].name", Kind::Text, "Name of the field; in the JSON object too, unless there is a `path`.").needed(),
    Key::new("event.field[].path", Kind::Text, "Where the field lies in the JSON object, if not under its name: keys with dots between them, as in `\"a.b.c\"`, which is `c` in the object `b` in \
         the object `a`. A key that has a dot itself can be a `name`, not a part of a path."),
    Key::new("event.field[].type", Kind::Choice(FIELD_TYPES), "Type of the field. Lists are for checks, expressions and outputs: no key, time or history is made of them.").needed(),
    Key::new("event.field[].required", Kind::Bool, "Whether an event without the field, or with null, is rejected; if not, the field is null, or its `default`. With a `default` it is `false`.").or("true"),
    Key::new("event.field[].default", Kind::Literal, "Value of a field that is missing or null, of its type. Checks and all that follows see it; `original_event` repeats what was sent."),
];
