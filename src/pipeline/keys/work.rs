//! Keys of what happens to an event: checks, history, features, lookups, views, the model.

use crate::pipeline::keys::input::MAX_SPAN_MS;
use crate::pipeline::keys::{Choice, Key, Kind, later, now};

/// Every element stays in memory for every key; a hot key then holds a few megabytes.
const MAX_HISTORY_EVENTS: i64 = 65_536;
/// A bucket's number becomes a float32, which is exact for whole numbers up to here.
const MAX_BUCKETS: i64 = 1 << 24;
/// Rows of a batch wait for each other and share one buffer; more brings no speed.
const MAX_BATCH: i64 = 4_096;
/// Outputs of one tensor.
const MAX_OUTPUT_INDEX: i64 = 65_535;

const RULES: &[Choice] = &[
    now("not_empty"),
    now("min"),
    now("max"),
    now("one_of"),
    now("max_length"),
    now("matches"),
];
const STAGES: &[Choice] = &[now("validate"), now("feature")];
const FEATURES: &[Choice] = &[
    now("value"),
    now("one_hot"),
    now("index"),
    now("hash"),
    now("hour_sin"),
    now("hour_cos"),
    now("day_of_week"),
    now("count"),
    now("sum"),
    now("mean"),
    now("min"),
    now("max"),
    now("std"),
    now("last"),
    now("distinct"),
    now("since_previous"),
    now("mean_gap"),
    now("share"),
    now("lookup"),
    later("table"),
    later("view"),
    now("expr"),
    now("constant"),
];
const STORES: &[Choice] = &[now("redis")];
const READS: &[Choice] = &[now("hash"), now("json"), now("string")];
const LOOKUP_TYPES: &[Choice] = &[now("float"), now("int"), now("bool"), later("string")];
const MISSES: &[Choice] = &[now("default"), now("dead_letter")];
const ERRORS: &[Choice] = &[
    now("default"),
    now("last_known"),
    now("dead_letter"),
    now("fail"),
];
const PROBES: &[Choice] = &[now("background")];
const TRY: Kind = Kind::Duration(1, 60_000);
const LOOKUP: &[&str] = &["lookup"];
const SPAN: Kind = Kind::Duration(0, MAX_SPAN_MS);
const ANY: Kind = Kind::Float(f64::MIN, f64::MAX);

const BOUNDED: &[&str] = &["min", "max", "max_length"];
const ONE_OF: &[&str] = &["one_of"];
const MATCHES: &[&str] = &["matches"];
const WITH_FIELD: &[&str] = &[
    "value", "one_hot", "index", "hash", "sum", "mean", "min", "max", "std", "last", "distinct",
];
const WITH_VALUES: &[&str] = &["index", "one_hot"];
const HASH: &[&str] = &["hash"];
const CONSTANT: &[&str] = &["constant"];
const EXPR: &[&str] = &["expr"];
const SHARE: &[&str] = &["share"];
const WITH_WHERE: &[&str] = &[
    "count", "sum", "mean", "min", "max", "std", "last", "distinct", "share",
];
const WITH_WINDOW: &[&str] = &[
    "count",
    "sum",
    "mean",
    "min",
    "max",
    "std",
    "last",
    "distinct",
    "share",
    "since_previous",
    "mean_gap",
];

#[rustfmt::skip] // One key a paragraph reads as a table.
pub(super) static KEYS: &[Key] = &[
    Key::new("check[]", Kind::Tables,
        "Checks of an event; the first that fails rejects it. Those of fields run in the order of the fields, then come those with `when`, in this order; of stage `feature` all in this order."),
    Key::new("check[].field", Kind::Text,
        "Field to check. An optional field that is null passes every rule but `not_empty`.").needed_unless("when"),
    Key::new("check[].rule", Kind::Choice(RULES),
        "Rule to hold it to. `not_empty` also gives its message and stage when a required field is missing or null.").needed_unless("when").selects(),
    Key::new("check[].value", ANY,
        "Bound of `min` and `max`, a number; or of `max_length`, in characters, of a list in elements.").only(BOUNDED).needed_for(BOUNDED).instead_of("when"),
    Key::new("check[].values", Kind::Literals, "Values that `one_of` accepts, of the field's type.").only(ONE_OF).needed_for(ONE_OF).instead_of("when"),
    Key::new("check[].pattern", Kind::Text, "Regular expression that must be found in the text, anywhere: `^...$` holds all of it to it. In the syntax of the Rust crate `regex`, \
         without back references and looks around.").only(MATCHES).needed_for(MATCHES).instead_of("when"),
    Key::new("check[].when", Kind::Expression,
        "Instead of `field` and `rule`: what must hold of the fields, see [expressions](#expressions). An event of which it has no value is rejected."),
    Key::new("check[].message", Kind::Text, "Message of the dead letter; made from field and rule unless set.").needed_with("when"),
    Key::new("check[].stage", Kind::Choice(STAGES),
        "Where rejects go. `validate`: to validation errors; `feature`: to processing errors, later in the order.").or("\"validate\""),

    Key::new("filter[]", Kind::Tables, "Which events are wanted. What a filter does not keep leaves no record, and is counted as `filtered`. It was judged on time before."),
    Key::new("filter[].keep", Kind::Expression,
        "What must hold of the fields, see [expressions](#expressions). An event of which it has no value is rejected, `filter_failed`.").needed(),

    Key::new("history", Kind::Table, "What is kept of earlier events of the same key."),
    Key::new("history.events", Kind::Integer(1, MAX_HISTORY_EVENTS), "Most events kept for a key, the newest handled.").needed(),
    Key::new("history.ttl", Kind::Duration(1, MAX_SPAN_MS), "How long an event is kept, in event time.").needed(),
    Key::new("history.fields", Kind::Texts, "Fields kept of each event: those that features over the history look at.").or("[]"),

    Key::new("feature[]", Kind::Tables, "Inputs of the model, in its order.").needed(),
    Key::new("feature[].name", Kind::Name, "Name of the feature.").needed(),
    Key::new("feature[].of", Kind::Choice(FEATURES), "What the feature is, see [kinds of features](#kinds-of-features).").needed().selects(),
    Key::new("feature[].field", Kind::Text, "Field the feature is made of.").only(WITH_FIELD).needed_for(WITH_FIELD),
    Key::new("feature[].values", Kind::Texts,
        "Strings in the order of their index, where another value gives -1; or of the numbers that `one_hot` gives.").only(WITH_VALUES).needed_for(WITH_VALUES),
    Key::new("feature[].buckets", Kind::Integer(1, MAX_BUCKETS), "Number of buckets; the feature is 0 to one less.").only(HASH).needed_for(HASH),
    Key::new("feature[].value", ANY, "The constant.").only(CONSTANT).needed_for(CONSTANT),
    Key::new("feature[].where", Kind::Where,
        "Which events count: `{ field = value }`, `{ field = [values] }`, several of these, or an expression over the fields, see [expressions](#expressions).").only(WITH_WHERE).needed_for(SHARE),
    Key::new("feature[].window", Kind::Text, "Over which events of the key: `\"history\"`, as [history] says; `\"last 20\"`, the last so many; or a duration such as `\"1h\"`, those of the last hour of event time.").only(WITH_WINDOW).or("\"history\""),
    Key::new("feature[].key", Kind::Texts, "Fields of another key than the job's: the window is that key's. Where one of them is null, the feature does not exist.").only(WITH_WINDOW),
    Key::new("feature[].include_self", Kind::Bool, "Whether the event itself is in its window.").only(WITH_WINDOW).or("true"),
    Key::new("feature[].from", Kind::Text, "Field of a lookup to take the value from: `LOOKUP.FIELD`.").only(LOOKUP).needed_for(LOOKUP),
    Key::new("feature[].expr", Kind::Expression, "What the feature is, in terms of the features above it, see [expressions](#expressions).").only(EXPR).needed_for(EXPR),
    Key::new("feature[].fill", ANY, "What a value that does not exist becomes, before it is transformed.").or("0.0"),
    Key::new("feature[].transform", Kind::Texts, "What is done to the value, from left to right, see [transforms](#transforms).").or("[]"),

    Key::new("lookup[]", Kind::Tables, "Features that others write, read from a store while the events wait; each key is asked for once at a time, however many events want it."),
    Key::new("lookup[].name", Kind::Name, "Name of the lookup.").needed(),
    Key::new("lookup[].store", Kind::Choice(STORES), "Kind of the store.").needed(),
    Key::new("lookup[].url", Kind::Text, "Address of the store, `redis://HOST:PORT/DATABASE`; with TLS `rediss://`, see [below](#redis-with-tls).").needed().address(),
    Key::new("lookup[].username", Kind::Secret, "User of the store, where it wants one."),
    Key::new("lookup[].password", Kind::Secret, "Password of the store, where it wants one."),
    Key::new("lookup[].ca", Kind::Secret, "Certificates in PEM of those who may have signed the store's, with TLS; those whom the system trusts unless set."),
    Key::new("lookup[].certificate", Kind::Secret, "Certificate in PEM that says who asks, with TLS, where the store wants one."),
    Key::new("lookup[].certificate_key", Kind::Secret, "Its key, in PEM."),
    Key::new("lookup[].prefix", Kind::Text, "Put before every key."),
    Key::new("lookup[].key", Kind::Text, "Key to read, with fields of the event in braces, as in `profile:{visitor}`. Where a field is null there is no key, which is a miss.").needed(),
    Key::new("lookup[].read", Kind::Choice(READS), "What lies there: a hash, whose fields are read; a string that holds a JSON object; or a string that is the one field.").needed().selects(),
    Key::new("lookup[].fields[]", Kind::Tables, "What is taken of it.").needed(),
    Key::new("lookup[].fields[].name", Kind::Text, "Name of the field in the store.").needed(),
    Key::new("lookup[].fields[].type", Kind::Choice(LOOKUP_TYPES), "Its type; a truth value is `true` or `false`, or 1 or 0.").or("\"float\""),
    Key::new("lookup[].fields[].default", ANY, "What it is where it is not there; of a truth value 0 or 1.").or("0.0"),
    Key::new("lookup[].timeout", TRY, "Time allowed for one try, whatever the store does.").or("\"50ms\""),
    Key::new("lookup[].connect_timeout", TRY, "Time allowed to connect.").or("\"1s\""),
    Key::new("lookup[].retries", Kind::Integer(0, 10), "Further tries, each after a short pause.").or("1"),
    Key::new("lookup[].on_miss", Kind::Choice(MISSES), "What to do where the store has nothing of the key.").or("\"default\""),
    Key::new("lookup[].on_error", Kind::Choice(ERRORS), "What to do without an answer, or with one that can't be used. `last_known`: what the cache has, if it is not older than `ttl` and `stale_for` together, else the defaults. `fail`: the job fails, and `[restart]` applies.").or("\"dead_letter\""),
    Key::new("lookup[].in_flight", Kind::Integer(1, 1 << 20), "Most keys of a worker that wait for an answer of the store.").or("1024"),
    Key::new("lookup[].cache", Kind::Table, "What each worker remembers of answers; nothing unless set."),
    Key::new("lookup[].cache.bytes", Kind::Size(1 << 10, 1 << 40), "How much; the least recently used goes first.").or("\"64MiB\""),
    Key::new("lookup[].cache.ttl", SPAN, "How long an answer stands for the store.").or("\"5s\""),
    Key::new("lookup[].cache.stale_for", SPAN, "How much longer it may stand for a store that gives none, with `on_error = \"last_known\"`.").or("\"10m\""),
    Key::new("lookup[].breaker", Kind::Table, "When the store is not asked at all.").or("{}"),
    Key::new("lookup[].breaker.failures", Kind::Integer(1, 1_000_000), "Tries in a row that fail until then.").or("5"),
    Key::new("lookup[].breaker.open", TRY, "How long before it is probed, and again after each probe that fails.").or("\"1s\""),
    Key::new("lookup[].breaker.probe", Kind::Choice(PROBES), "Who finds out that it is back: a thread beside the events.").or("\"background\""),

    Key::new("table[]", Kind::Tables, "Changing reference tables, kept inside.").later(),
    Key::new("table[].name", Kind::Name, "Name of the table.").later(),
    Key::new("table[].source", Kind::Other, "Where its changes come from.").later(),
    Key::new("table[].fields", Kind::Other, "Its fields.").later(),

    Key::new("view[]", Kind::Tables, "Features across keys, incrementally maintained.").later(),
    Key::new("view[].name", Kind::Name, "Name of the view.").later(),
    Key::new("view[].key", Kind::Texts, "Its key.").later(),
    Key::new("view[].of", Kind::Choice(FEATURES), "What it is.").later(),
    Key::new("view[].field", Kind::Text, "Field it is made of.").later(),
    Key::new("view[].window", Kind::Text, "Over which events.").later(),
    Key::new("view[].granularity", SPAN, "Step in which it advances.").later(),

    Key::new("model", Kind::Table, "The network that scores features. Without it features go out as they are, in place of predictions, see [below](#pipelines-without-a-model)."),
    Key::new("model.path", Kind::Text, "ONNX file, relative to the current folder, or `builtin:user-events`, which is embedded in the binary.").needed(),
    Key::new("model.digest", Kind::Text, "Refuse any other file: `sha256:` and 64 hexadecimal digits."),
    Key::new("model.features", Kind::Texts, "Features in the order of the input; all of them, in the order of the file, unless set."),
    Key::new("model.input", Kind::Text, "Name of the input tensor; the only one unless set."),
    Key::new("model.output", Kind::Table, "Which number of the output becomes the prediction. Not beside `outputs`.").or("{}").instead_of("outputs"),
    Key::new("model.output.name", Kind::Name, "Name of the value in predictions.").or("\"prediction\""),
    Key::new("model.output.tensor", Kind::Text, "Name of the output tensor; the only one unless set."),
    Key::new("model.output.index", Kind::Integer(0, MAX_OUTPUT_INDEX), "Element of each row of the tensor.").or("0"),
    Key::new("model.outputs[]", Kind::Tables, "Several numbers of the output, or of several outputs, that stand side by side in a prediction, in this order, each under a name of its own; an event of which one is not finite is rejected. Not beside `output`."),
    Key::new("model.outputs[].name", Kind::Name, "Name of the value in predictions.").needed(),
    Key::new("model.outputs[].tensor", Kind::Text, "Name of the output tensor; the only one unless set."),
    Key::new("model.outputs[].index", Kind::Integer(0, MAX_OUTPUT_INDEX), "Element of each row of the tensor.").or("0"),
    Key::new("model.batch", Kind::Integer(1, MAX_BATCH), "Rows scored together; fewer are padded, so that a score never depends on the others.").or("64"),
    Key::new("model.golden", Kind::Text, "JSON file of `inputs`, a list of numbers each, and `scores`, the number that each must give, or of several outputs the list; checked at every start."),
];
