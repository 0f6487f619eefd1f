//! Keys of where results go, and of running: sinks, dead letters, checkpoints, restarts, the API.

use slackwater_connectors::file::SHARDS_MAX;
use slackwater_dataflow::checkpoint::coordinator::UNPUBLISHED_MAX;

use crate::pipeline::keys::input::MAX_SPAN_MS;
use crate::pipeline::keys::{Choice, Key, Kind, now};

/// As many as the sink of files can keep open, with its reason there.
const MAX_SHARDS: i64 = SHARDS_MAX as i64;
/// Whoever waits longer than a day for a checkpoint or a restart has given up on it.
const MAX_WAIT_MS: u64 = 86_400_000;
/// More checkpoints than epochs that may wait for the sink are never under way.
const MAX_CONCURRENT: i64 = UNPUBLISHED_MAX as i64;
/// Failures in a row beyond a million are without end.
const MAX_IN_A_ROW: i64 = 1_000_000;
/// Each checkpoint that is kept keeps its files.
const MAX_RETAIN: i64 = 1_000;
/// A delay that grows faster is the longest one at once.
const MAX_MULTIPLIER: f64 = 100.0;

const SINKS: &[Choice] = &[now("file"), now("stdout"), now("discard"), now("kafka")];
const DELIVERIES: &[Choice] = &[now("exactly_once"), now("at_least_once")];
const FORMS: &[Choice] = &[now("envelope"), now("raw")];
const STRATEGIES: &[Choice] = &[now("exponential_delay"), now("fixed_delay"), now("none")];

const FILE: &[&str] = &["file"];
const KAFKA: &[&str] = &["kafka"];
const DELAYED: &[&str] = &["exponential_delay", "fixed_delay"];
const EXPONENTIAL: &[&str] = &["exponential_delay"];

const SPAN: Kind = Kind::Duration(0, MAX_SPAN_MS);
const WAIT: Kind = Kind::Duration(0, MAX_WAIT_MS);
const SOME_WAIT: Kind = Kind::Duration(1, MAX_WAIT_MS);
const IN_A_ROW: Kind = Kind::Integer(0, MAX_IN_A_ROW);

#[rustfmt::skip] // One key a paragraph reads as a table.
pub(super) static KEYS: &[Key] = &[
    Key::new("sink", Kind::Table, "Where results go.").needed(),
    Key::new("sink.kind", Kind::Choice(SINKS), "Kind of the sink: files; topics of Kafka, named as the streams; the standard output; or nothing at all, for measuring.").needed().selects(),
    Key::new("sink.path", Kind::Text,
        "Folder, relative to the current one; results are in `<path>/<stream>/shard-<n>.jsonl`.").only(FILE).needed_for(FILE),
    Key::new("sink.brokers", Kind::Text, "Addresses of Kafka brokers, `host:port`, several with commas between them.").only(KAFKA).needed_for(KAFKA).address(),
    Key::new("sink.delivery", Kind::Choice(DELIVERIES), "What a crash may do to outputs. `exactly_once`: nothing; they come out when the checkpoint behind them is \
         durable, which needs `[checkpoint]`. `at_least_once`: some may come out twice; to Kafka they are sent as they come, and checkpoints wait until brokers have them. A job that goes back from that to `exactly_once` finds no markers, and is told once with `--accept-duplicates` to go on. `exactly_once` with `[checkpoint]`, unless results go to the standard output, \
         which cannot be taken back; else `at_least_once`."),
    Key::new("sink.shards", Kind::Integer(1, MAX_SHARDS),
        "Files per stream, or producers of Kafka; fixed for the life of a job.").or("2"),
    Key::new("sink.new_producer_each_epoch", Kind::Bool, "Publish each transaction of a shard with a producer of its own, which is made while nobody waits for it. What a network repeats late, by whatever way, is \
         then refused by the brokers. Costs a producer for each epoch and shard; only with \"exactly_once\".").only(KAFKA).or("false"),
    Key::new("sink.headers", Kind::Bool, "Give each record of a topic headers that name the job, the shard, the epoch and the record's number in it. Costs about as much as all the rest of sending a record.").only(KAFKA).or("false"),
    Key::new("sink.predictions", Kind::Name, "Name of the stream of predictions.").or("\"ml_predictions\""),
    Key::new("sink.validation_errors", Kind::Name,
        "Name of the stream of rejects of decode and validate.").or("\"validation_errors\""),
    Key::new("sink.processing_errors", Kind::Name,
        "Name of the stream of rejects of later stages.").or("\"processing_errors\""),
    Key::new("sink.late_events", Kind::Name, "Name of the stream of late events.").or("\"late_events_dlq\""),
    Key::new("sink.fields", Kind::Texts,
        "Fields of the event that each prediction repeats, in this order; those of the key unless set."),
    Key::new("sink.provenance", Kind::Bool,
        "Add partition, offset, epoch and model to each prediction, and how each lookup has enriched the event.").or("false"),
    Key::new("sink.properties", Kind::Properties, "Further settings of the Kafka client, as in `[source]`.").only(KAFKA),

    Key::new("dead_letter", Kind::Table, "How rejected events are written."),
    Key::new("dead_letter.form", Kind::Choice(FORMS),
        "`envelope`: a JSON object that says what was wrong, around the values of the fields. `raw`: the record as it was read, \
         with its key and headers, and further headers that say what was wrong.").or("\"envelope\""),

    Key::new("mirror", Kind::Table, "Copies of state for other services."),
    Key::new("mirror.redis", Kind::Table, "The history of each key as a list in Redis, the newest event first, see [below](#histories-in-redis). Written after each checkpoint, which does not wait for it; \
         needs `[history]` and `[checkpoint]`.").needed(),
    Key::new("mirror.redis.url", Kind::Text, "Address of the server, `redis://HOST:PORT/DATABASE`; with TLS `rediss://`, see [below](#redis-with-tls).").needed().address(),
    Key::new("mirror.redis.layout", Kind::Text, "Key of a list, with each field of the event's key in braces, as in `visitor:{visitor}:events`. Keys that fit it are the mirror's alone: what the job does not know may be removed.").needed(),
    Key::new("mirror.redis.ttl", SPAN, "How long a list stays that is not written again; 0 for ever. As long as `history.ttl` unless set."),
    Key::new("mirror.redis.username", Kind::Secret, "User of the server, where it wants one."),
    Key::new("mirror.redis.password", Kind::Secret, "Password of the server, where it wants one."),
    Key::new("mirror.redis.ca", Kind::Secret, "Certificates in PEM of those who may have signed the server's, with TLS; those whom the system trusts unless set."),
    Key::new("mirror.redis.certificate", Kind::Secret, "Certificate in PEM that says who comes, with TLS, where the server wants one."),
    Key::new("mirror.redis.certificate_key", Kind::Secret, "Its key, in PEM."),
    Key::new("mirror.redis.timeout", SOME_WAIT, "Time allowed for one write.").or("\"5s\""),
    Key::new("mirror.redis.connect_timeout", SOME_WAIT, "Time allowed to connect.").or("\"1s\""),

    Key::new("checkpoint", Kind::Table, "Durable snapshots of the job, from which it goes on after a crash. Without this table there are none, and a job that crashed begins again."),
    Key::new("checkpoint.store", Kind::Text, "Where they are: `file:FOLDER`, relative to the current folder; `file:state/NAME` unless set, with the job's name; or \
         `s3://BUCKET/PREFIX`, see [below](#checkpoints-in-s3). One job has one store."),
    Key::new("checkpoint.interval", SOME_WAIT, "From the start of one checkpoint to the start of the next, at least.").or("\"1s\""),
    Key::new("checkpoint.min_pause", WAIT, "From the end of one checkpoint to the start of the next, at least.").or("\"500ms\""),
    Key::new("checkpoint.timeout", SOME_WAIT, "A checkpoint that is not durable this long after its start has failed.").or("\"30s\""),
    Key::new("checkpoint.max_concurrent", Kind::Integer(1, MAX_CONCURRENT), "Most checkpoints under way.").or("1"),
    Key::new("checkpoint.tolerable_failures", IN_A_ROW, "Failures of checkpoints in a row that the job survives; one more fails it.").or("3"),
    Key::new("checkpoint.retain", Kind::Integer(1, MAX_RETAIN), "Checkpoints kept, the newest ones.").or("3"),

    Key::new("restart", Kind::Table, "What happens when the job has failed: it is started again from its last checkpoint. Needs `[checkpoint]`; with it, a file without this table has its defaults."),
    Key::new("restart.strategy", Kind::Choice(STRATEGIES), "`exponential_delay`: after delays that grow. `fixed_delay`: after the same delay each time. `none`: not at all.")
        .selects().or("\"exponential_delay\""),
    Key::new("restart.attempts", IN_A_ROW, "Restarts in a row without a durable checkpoint; 0 = without end.").only(DELAYED).or("3"),
    Key::new("restart.initial", WAIT, "The first delay; the only one of `fixed_delay`.").only(DELAYED).or("\"3s\""),
    Key::new("restart.max", WAIT, "Longest delay, jitter included.").only(EXPONENTIAL).or("\"30s\""),
    Key::new("restart.multiplier", Kind::Float(1.0, MAX_MULTIPLIER), "By how much each delay is longer than the one before.").only(EXPONENTIAL).or("2.0"),
    Key::new("restart.jitter", Kind::Float(0.0, 1.0), "By which part of itself a delay is made longer or shorter at random.").only(EXPONENTIAL).or("0.1"),
    Key::new("restart.reset_after", SPAN, "After a run of this length that had a durable checkpoint the first delay is next again.").only(EXPONENTIAL).or("\"10m\""),
    Key::new("restart.first_at_once", Kind::Bool, "The first restart after a run that had a durable checkpoint does not wait.").only(EXPONENTIAL).or("true"),

    Key::new("api", Kind::Table, "Status and metrics over HTTP.").later(),
    Key::new("api.listen", Kind::Text, "Address and port.").later(),
    Key::new("api.token", Kind::Secret, "Token that requests must carry.").later(),
    Key::new("api.cert", Kind::Text, "File of the TLS certificate.").later(),
    Key::new("api.key", Kind::Secret, "Key of the TLS certificate.").later(),
];
