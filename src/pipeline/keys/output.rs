//! Keys of where results go, and of running: sinks, dead letters, checkpoints, restarts, the API.

use slackwater_connectors::file::SHARDS_MAX;

use crate::pipeline::keys::input::MAX_SPAN_MS;
use crate::pipeline::keys::{Choice, Key, Kind, later, now};

/// As many as the sink of files can keep open, with its reason there.
const MAX_SHARDS: i64 = SHARDS_MAX as i64;

const SINKS: &[Choice] = &[now("file"), now("stdout"), now("discard"), later("kafka")];
const DELIVERIES: &[Choice] = &[later("exactly_once"), later("at_least_once")];
const FORMS: &[Choice] = &[now("envelope"), later("raw")];
const STRATEGIES: &[Choice] = &[
    later("exponential_delay"),
    later("fixed_delay"),
    later("none"),
];

const FILE: &[&str] = &["file"];
const KAFKA: &[&str] = &["kafka"];

const SPAN: Kind = Kind::Duration(0, MAX_SPAN_MS);
const COUNT: Kind = Kind::Integer(0, i64::MAX);

#[rustfmt::skip] // One key a paragraph reads as a table.
pub(super) static KEYS: &[Key] = &[
    Key::new("sink", Kind::Table, "Where results go.").needed(),
    Key::new("sink.kind", Kind::Choice(SINKS), "Kind of the sink: files; the standard output; or nothing at all, for measuring.").needed().selects(),
    Key::new("sink.path", Kind::Text,
        "Folder, relative to the current one; results are in `<path>/<stream>/shard-<n>.jsonl`.").only(FILE).needed_for(FILE),
    Key::new("sink.brokers", Kind::Text, "Addresses of Kafka brokers.").only(KAFKA).later(),
    Key::new("sink.delivery", Kind::Choice(DELIVERIES), "What a crash may do to outputs; needs `[checkpoint]`.").later(),
    Key::new("sink.shards", Kind::Integer(1, MAX_SHARDS),
        "Files per stream, fixed for the life of a job.").or("2"),
    Key::new("sink.new_producer_each_epoch", Kind::Bool, "Use a new Kafka producer for each epoch.").only(KAFKA).later(),
    Key::new("sink.predictions", Kind::Name, "Name of the stream of predictions.").or("\"ml_predictions\""),
    Key::new("sink.validation_errors", Kind::Name,
        "Name of the stream of rejects of decode and validate.").or("\"validation_errors\""),
    Key::new("sink.processing_errors", Kind::Name,
        "Name of the stream of rejects of later stages.").or("\"processing_errors\""),
    Key::new("sink.late_events", Kind::Name, "Name of the stream of late events.").or("\"late_events_dlq\""),
    Key::new("sink.fields", Kind::Texts,
        "Fields of the event that each prediction repeats, in this order; those of the key unless set."),
    Key::new("sink.provenance", Kind::Bool,
        "Add partition, offset, epoch and model to each prediction.").or("false"),
    Key::new("sink.properties", Kind::Other, "Raw settings of the Kafka client.").only(KAFKA).later(),

    Key::new("dead_letter", Kind::Table, "How rejected events are written."),
    Key::new("dead_letter.form", Kind::Choice(FORMS),
        "`envelope`: a JSON object around the values; `raw`: the original bytes.").or("\"envelope\""),

    Key::new("mirror", Kind::Table, "Copies of state for other services.").later(),
    Key::new("mirror.redis", Kind::Table, "History and features in Redis.").later(),
    Key::new("mirror.redis.url", Kind::Text, "Address of Redis.").later(),
    Key::new("mirror.redis.layout", Kind::Text, "Key to write, with fields in braces.").later(),
    Key::new("mirror.redis.ttl", SPAN, "Expiry of the keys.").later(),

    Key::new("checkpoint", Kind::Table, "Durable snapshots.").later(),
    Key::new("checkpoint.store", Kind::Text, "file:FOLDER or s3://bucket/prefix.").later(),
    Key::new("checkpoint.interval", SPAN, "Time between checkpoints.").later(),
    Key::new("checkpoint.min_pause", SPAN, "Least time from the end of one to the start of the next.").later(),
    Key::new("checkpoint.timeout", SPAN, "When a checkpoint is given up.").later(),
    Key::new("checkpoint.max_concurrent", COUNT, "Most checkpoints under way.").later(),
    Key::new("checkpoint.tolerable_failures", COUNT, "Failures in a row that the job survives.").later(),
    Key::new("checkpoint.retain", COUNT, "Checkpoints kept.").later(),

    Key::new("restart", Kind::Table, "What happens when the job fails.").later(),
    Key::new("restart.strategy", Kind::Choice(STRATEGIES), "How delays grow.").later(),
    Key::new("restart.attempts", COUNT, "Restarts in a row without progress; 0 = without end.").later(),
    Key::new("restart.initial", SPAN, "First delay.").later(),
    Key::new("restart.max", SPAN, "Longest delay.").later(),
    Key::new("restart.multiplier", Kind::Float(1.0, 100.0), "Growth of the delay.").later(),
    Key::new("restart.jitter", Kind::Float(0.0, 1.0), "Share of the delay that is random.").later(),
    Key::new("restart.reset_after", SPAN, "Health that resets the delay.").later(),
    Key::new("restart.first_at_once", Kind::Bool, "The first restart after a healthy run does not wait.").later(),

    Key::new("api", Kind::Table, "Status and metrics over HTTP.").later(),
    Key::new("api.listen", Kind::Text, "Address and port.").later(),
    Key::new("api.token", Kind::Secret, "Token that requests must carry.").later(),
    Key::new("api.cert", Kind::Text, "File of the TLS certificate.").later(),
    Key::new("api.key", Kind::Secret, "Key of the TLS certificate.").later(),
];
