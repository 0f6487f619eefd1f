//! Which pipeline files are read, as what, and which mistakes are told where.

use std::path::PathBuf;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::{any, prop_assert, prop_assert_eq};
use proptest::proptest;
use slackwater_dataflow::checkpoint::coordinator::CheckpointSettings;
use slackwater_operators::event::TimeUnit;

use crate::pipeline::spec::{
    CheckStage, CheckpointSpec, Condition, Delivery, FeatureKind, FieldKind, Literal, ModelPath,
    Pipeline, Rule, SinkKind, SourceSpec, StorePlace, TimeSpec, Transform,
};
use crate::supervisor::restart::RestartStrategy;

mod bad;
mod events;
mod expressions;
mod keys;
mod windows;

use bad::{BAD, Bad};

const REFERENCE: &str = include_str!("../../pipelines/user-events.toml");

const ON_KAFKA: &str = include_str!("../../pipelines/user-events.kafka.toml");

#[test]
fn is_the_reference_job_on_kafka_the_same_job() {
    let reference = Pipeline::parse("user-events.toml", REFERENCE).unwrap();
    let mut on_kafka = Pipeline::parse("user-events.kafka.toml", ON_KAFKA).unwrap();
    let SourceSpec::Kafka(source) = &on_kafka.source else {
        panic!("{:?}", on_kafka.source)
    };
    let SinkKind::Kafka(cluster) = &on_kafka.sink.kind else {
        panic!("{:?}", on_kafka.sink.kind)
    };
    assert_eq!(source.cluster, *cluster);
    assert_eq!(source.topics, ["user_events"]);
    assert_eq!(on_kafka.sink.delivery, Delivery::ExactlyOnce);
    on_kafka.source = reference.source.clone();
    on_kafka.sink.kind = reference.sink.kind.clone();
    on_kafka.sink.delivery = reference.sink.delivery;
    on_kafka.checkpoint = None;
    on_kafka.restart = reference.restart;
    assert_eq!(on_kafka, reference);
}

/// The smallest pipeline that has something to refer to; bad files are made from it.
const SMALL: &str = r#"[job]
name = "small"

[source]
kind = "file"
path = "in.jsonl"

[event]
key = ["user"]
time = { field = "at", unit = "ms" }

[[event.field]]
name = "user"
type = "string"

[[event.field]]
name = "at"
type = "int"

[[event.field]]
name = "price"
type = "float"
required = false

[history]
events = 5
ttl = "1h"
fields = ["user"]

[[feature]]
name = "seen"
of = "count"

[model]
path = "m.onnx"

[sink]
kind = "discard"
"#;

fn mistakes(text: &str) -> Vec<String> {
    let mistakes = Pipeline::parse("x.toml", text).unwrap_err();
    mistakes
        .list()
        .iter()
        .map(|m| format!("{}:{}: {}", m.line, m.column, m.message))
        .collect()
}

#[test]
#[expect(clippy::too_many_lines, reason = "the whole file, key by key")]
fn what_does_the_reference_file_say() {
    let p = Pipeline::parse("user-events.toml", REFERENCE).unwrap();
    assert_eq!(
        (p.job.name.as_str(), p.job.workers, p.job.key_groups),
        ("user-events", 0, 1024)
    );
    let SourceSpec::Generator(generator) = &p.source else {
        panic!("not a generator")
    };
    assert_eq!(
        (generator.seed, generator.events, generator.rate),
        (1, 1_000_000, 0)
    );
    assert_eq!((generator.partitions, generator.users), (4, 100_000));
    let shares = [generator.skew, generator.invalid, generator.late];
    assert!(
        shares
            .iter()
            .zip([1.0, 0.01, 0.01])
            .all(|(a, b)| (a - b).abs() < 1e-12)
    );

    let fields: Vec<_> = p
        .event
        .fields
        .iter()
        .map(|f| (f.name.as_str(), f.kind))
        .collect();
    let expected = [
        ("user_id", FieldKind::String),
        ("product_id", FieldKind::String),
        ("category", FieldKind::String),
        ("event_type", FieldKind::String),
        ("timestamp_ms", FieldKind::Int),
    ];
    assert_eq!(fields, expected);
    assert!(p.event.fields.iter().all(|field| field.required));
    let time = TimeSpec::Field {
        field: 4,
        unit: TimeUnit::Milliseconds,
    };
    assert_eq!((p.event.key.as_slice(), p.event.time), (&[0][..], time));
    assert_eq!(
        (p.event.max_out_of_orderness_ms, p.event.max_ahead_ms),
        (2_000, Some(3_600_000))
    );
    assert_eq!((p.event.max_bytes, p.event.max_depth), (1_048_576, 64));

    let checks: Vec<_> = p
        .checks
        .iter()
        .map(|c| (c.field, &c.rule, c.message.as_str(), c.stage))
        .collect();
    let expected = [
        (
            0,
            &Rule::NotEmpty,
            "user_id cannot be empty",
            CheckStage::Validate,
        ),
        (
            2,
            &Rule::NotEmpty,
            "Category name cannot be empty",
            CheckStage::Feature,
        ),
    ];
    assert_eq!(checks, expected);
    let history = p.history.as_ref().unwrap();
    assert_eq!((history.events, history.ttl_ms), (50, 86_400_000));
    assert_eq!(history.fields, [1, 2, 3]);

    assert_eq!(
        p.model.as_ref().unwrap().path,
        ModelPath::Builtin("user-events".into())
    );
    assert_eq!(
        p.model.as_ref().unwrap().features,
        (0..16).collect::<Vec<_>>()
    );
    assert_eq!(
        (
            p.model.as_ref().unwrap().batch,
            p.model.as_ref().unwrap().outputs[0].index
        ),
        (64, 0)
    );
    assert_eq!(p.model.as_ref().unwrap().outputs[0].name, "prediction");
    assert_eq!(
        (
            &p.model.as_ref().unwrap().digest,
            &p.model.as_ref().unwrap().golden,
            &p.model.as_ref().unwrap().input
        ),
        (&None, &None, &None)
    );
    assert_eq!(p.sink.kind, SinkKind::File { path: "out".into() });
    assert_eq!((p.sink.shards, p.sink.provenance), (2, false));
    assert_eq!(p.sink.fields, [0, 1]);
    assert_eq!(p.sink.streams.late_events, "late_events_dlq");
}

#[test]
#[expect(clippy::too_many_lines, reason = "the whole file, key by key")]
fn which_features_does_the_reference_file_declare() {
    let p = Pipeline::parse("user-events.toml", REFERENCE).unwrap();
    let is = |of: &str| {
        vec![Condition {
            field: 3,
            any_of: vec![Literal::Text(of.into())],
        }]
    };
    let gap = vec![
        Transform::Clip {
            least: 0.0,
            most: 1e7,
        },
        Transform::Log1p,
    ];
    let values = ["view", "click", "add_to_cart", "purchase"]
        .map(String::from)
        .to_vec();
    let twentieth = vec![Transform::Scale {
        mean: 0.0,
        deviation: 20.0,
    }];
    let expected = [
        ("events", FeatureKind::Count, vec![], vec![]),
        ("views", FeatureKind::Count, is("view"), vec![]),
        ("clicks", FeatureKind::Count, is("click"), vec![]),
        ("carts", FeatureKind::Count, is("add_to_cart"), vec![]),
        ("purchases", FeatureKind::Count, is("purchase"), vec![]),
        (
            "distinct_products",
            FeatureKind::Distinct { field: 1 },
            vec![],
            vec![],
        ),
        (
            "distinct_categories",
            FeatureKind::Distinct { field: 2 },
            vec![],
            vec![],
        ),
        (
            "since_previous",
            FeatureKind::SincePrevious,
            vec![],
            gap.clone(),
        ),
        ("mean_gap", FeatureKind::MeanGap, vec![], gap),
        ("hour_sin", FeatureKind::HourSin, vec![], vec![]),
        ("hour_cos", FeatureKind::HourCos, vec![], vec![]),
        (
            "category_bucket",
            FeatureKind::Hash {
                field: 2,
                buckets: 20,
            },
            vec![],
            twentieth,
        ),
        (
            "event_type_index",
            FeatureKind::Index { field: 3, values },
            vec![],
            vec![],
        ),
        ("purchase_share", FeatureKind::Share, is("purchase"), vec![]),
        ("cart_share", FeatureKind::Share, is("add_to_cart"), vec![]),
        ("one", FeatureKind::Constant(1.0), vec![], vec![]),
    ];
    assert_eq!(p.features.len(), expected.len());
    for (feature, (name, kind, conditions, transforms)) in p.features.iter().zip(expected) {
        assert_eq!(feature.name, name);
        assert_eq!(feature.kind, kind, "{name}");
        assert_eq!(feature.conditions, conditions, "{name}");
        assert_eq!(feature.transforms, transforms, "{name}");
        assert!(feature.fill.abs() < f64::EPSILON, "{name}");
    }
}

#[test]
fn what_are_the_defaults() {
    let p = Pipeline::parse("small.toml", SMALL).unwrap();
    assert_eq!((p.job.workers, p.job.key_groups), (0, 1024));
    assert_eq!(
        (p.event.max_out_of_orderness_ms, p.event.max_ahead_ms),
        (2_000, None)
    );
    assert_eq!((p.event.max_bytes, p.event.max_depth), (1 << 20, 64));
    assert_eq!((p.sink.kind, p.sink.shards), (SinkKind::Discard, 2));
    assert_eq!(p.sink.fields, p.event.key);
    assert_eq!(p.sink.streams.predictions, "ml_predictions");
    assert_eq!(
        (
            p.model.as_ref().unwrap().batch,
            p.model.as_ref().unwrap().outputs[0].name.as_str()
        ),
        (64, "prediction")
    );
}

#[test]
fn what_is_said_about_checkpoints_and_restarts() {
    let none = RestartStrategy::None;
    let check = |more: &str, store: Option<&str>, restart: RestartStrategy| {
        let p = Pipeline::parse("x.toml", &format!("{SMALL}{more}")).unwrap();
        let spec = |store: &str| CheckpointSpec {
            store: StorePlace::Folder(PathBuf::from(store)),
            settings: CheckpointSettings::default(),
            retain: 3,
        };
        assert_eq!(
            (p.checkpoint, p.restart),
            (store.map(spec), restart),
            "{more}"
        );
    };
    check("", None, none);
    check(
        "[checkpoint]",
        Some("state/small"),
        RestartStrategy::default(),
    );
    check(
        "[checkpoint]\n[restart]",
        Some("state/small"),
        RestartStrategy::default(),
    );
    check(
        "[checkpoint]\nstore = \"file:/var/lib/x\"\n[restart]\nstrategy = \"none\"",
        Some("/var/lib/x"),
        none,
    );
    check(
        "[checkpoint]\nstore = \"file:s\"\n[restart]\nstrategy = \"fixed_delay\"\nattempts = 0\ninitial = \"5s\"",
        Some("s"),
        RestartStrategy::FixedDelay {
            attempts: 0,
            delay: Duration::from_secs(5),
        },
    );
    check(
        "[checkpoint]\n[restart]\nattempts = 9\ninitial = \"1s\"\nmax = \"1s\"\nmultiplier = 1\njitter = 0\n\
         reset_after = \"1h\"\nfirst_at_once = false",
        Some("state/small"),
        RestartStrategy::ExponentialDelay {
            attempts: 9,
            initial: Duration::from_secs(1),
            max: Duration::from_secs(1),
            multiplier: 1.0,
            jitter: 0.0,
            reset_after: Duration::from_secs(3_600),
            first_at_once: false,
        },
    );
    let all = "[checkpoint]\ninterval = \"50ms\"\nmin_pause = \"0s\"\ntimeout = \"1m\"\nmax_concurrent = 2\n\
               tolerable_failures = 0\nretain = 1";
    let p = Pipeline::parse("x.toml", &format!("{SMALL}{all}")).unwrap();
    let expected = CheckpointSpec {
        store: StorePlace::Folder(PathBuf::from("state/small")),
        settings: CheckpointSettings {
            interval: Duration::from_millis(50),
            min_pause: Duration::ZERO,
            timeout: Duration::from_secs(60),
            max_concurrent: 2,
            tolerable_failures: 0,
            ..CheckpointSettings::default()
        },
        retain: 1,
    };
    assert_eq!(p.checkpoint, Some(expected));
}

#[test]
fn what_may_a_crash_do_to_results() {
    let check = |sink: &str, more: &str, expected: Delivery| {
        let text = SMALL.replace("kind = \"discard\"", sink);
        let p = Pipeline::parse("x.toml", &format!("{text}{more}")).unwrap();
        assert_eq!(p.sink.delivery, expected, "{sink} {more}");
    };
    let (once, least) = (Delivery::ExactlyOnce, Delivery::AtLeastOnce);
    let asked = |kind: &str, delivery: &str| format!("{kind}\ndelivery = \"{delivery}\"");
    let (file, stdout, discard) = (
        "kind = \"file\"\npath = \"out\"",
        "kind = \"stdout\"",
        "kind = \"discard\"",
    );
    for (kind, with_checkpoints) in [(file, once), (discard, once), (stdout, least)] {
        check(kind, "", least);
        check(&asked(kind, "at_least_once"), "", least);
        check(kind, "[checkpoint]", with_checkpoints);
    }
    check(&asked(file, "exactly_once"), "[checkpoint]", once);
    check(&asked(discard, "exactly_once"), "[checkpoint]", once);
    check(&asked(stdout, "at_least_once"), "[checkpoint]", least);
    let kafka = "kind = \"kafka\"\nbrokers = \"b:9092\"";
    check(kafka, "[checkpoint]", once);
    check(&asked(kafka, "at_least_once"), "[checkpoint]", least);
}

#[test]
fn which_sinks_have_a_new_producer_for_each_epoch() {
    let check = |more: &str, expected: bool| {
        let sink = format!("kind = \"kafka\"\nbrokers = \"b:9092\"\n{more}\n[checkpoint]");
        let text = SMALL.replace("kind = \"discard\"", &sink);
        let p = Pipeline::parse("x.toml", &text).unwrap();
        assert_eq!(p.sink.new_producer_each_epoch, expected, "{more}");
    };
    check("", false);
    check("new_producer_each_epoch = true", true);
    check("new_producer_each_epoch = false", false);
    check(
        "delivery = \"at_least_once\"\nnew_producer_each_epoch = false",
        false,
    );
}

#[test]
fn which_message_does_a_check_have_by_default() {
    let check = |lines: &str, rule: Rule, message: &str| {
        let p = Pipeline::parse("x.toml", &format!("{SMALL}[[check]]\n{lines}\n")).unwrap();
        assert_eq!(
            (&p.checks[0].rule, p.checks[0].message.as_str()),
            (&rule, message)
        );
    };
    check(
        "field='user'\nrule='not_empty'",
        Rule::NotEmpty,
        "user cannot be empty",
    );
    check(
        "field='at'\nrule='min'\nvalue=5",
        Rule::Min(Literal::Int(5)),
        "at must be at least 5",
    );
    check(
        "field='price'\nrule='max'\nvalue=5",
        Rule::Max(Literal::Float(5.0)),
        "price must be at most 5",
    );
    check(
        "field='user'\nrule='max_length'\nvalue=8",
        Rule::MaxLength(8),
        "user must have at most 8 characters",
    );
    check(
        "field='user'\nrule='one_of'\nvalues=['a','b']",
        Rule::OneOf(vec![Literal::Text("a".into()), Literal::Text("b".into())]),
        "user must be one of a, b",
    );
}

#[test]
fn which_mistakes_does_a_bad_file_have() {
    have_mistakes(BAD);
}

fn have_mistakes(bad: &[Bad]) {
    let mut failures = String::new();
    for Bad { old, new, expected } in bad {
        assert!(
            old.is_empty() || SMALL.matches(old).count() == 1,
            "{old} must occur once"
        );
        let text = if old.is_empty() {
            format!("{SMALL}{new}")
        } else {
            SMALL.replace(old, new)
        };
        let found = mistakes(&text);
        if found != *expected {
            failures.push_str(&format!(
                "\n{new}\n  found {found:#?}\n  expected {expected:#?}"
            ));
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

#[test]
fn are_all_mistakes_told_in_one_run() {
    let text = REFERENCE
        .replace("workers = 0 ", "wokers = 2 ")
        .replace("kind = \"generator\"", "kind = \"generator")
        .replace("key = [\"user_id\"]", "key = [\"user\"]")
        .replace("ttl = \"24h\"", "ttl = 24")
        .replace(
            "batch = 64",
            "batch = 0\n[api]\nlisten = \"127.0.0.1:8081\"",
        );
    let expected = [
        "7:1: unknown key `wokers` in [job], did you mean `workers`?",
        "16:18: invalid basic string, expected `\"`",
        "28:8: unknown field \"user\", known are \"user_id\", \"product_id\", \"category\", \
         \"event_type\", \"timestamp_ms\"",
        "74:7: `ttl`: expected a duration such as \"2s\", got 24",
        "163:9: `batch`: must be from 1 to 4096, got 0",
        "164:1: [api] is not supported in this version",
    ];
    assert_eq!(mistakes(&text), expected);
}

#[test]
fn are_mistakes_of_one_place_told_in_the_order_of_the_table() {
    // All of them stand at the header of the table in which something is missing.
    let expected = [
        "1:1: [event] needs `key`",
        "1:1: [event] needs `time`",
        "1:1: [event] needs [[event.field]]",
        "1:1: the file needs [[feature]]",
    ];
    let found = mistakes(
        "[event]\n[job]\nname='x'\n[source]\nkind='generator'\n[model]\npath='m.onnx'\n[sink]\nkind='discard'\n",
    );
    assert_eq!(found, expected);
}

#[test]
fn are_columns_of_many_mistakes_on_one_line_those_of_a_plain_count() {
    let keys = (0..2_000).map(|number| format!("\"\u{e9}{number}\" = 1"));
    let keys: Vec<_> = keys.collect();
    let line = format!("where = {{ {} }}", keys.join(", "));
    let text = SMALL.replace("of = \"count\"\n", &format!("of = \"count\"\n{line}\n"));
    let mistakes = Pipeline::parse("x.toml", &text).unwrap_err();
    let found: Vec<_> = mistakes.list().iter().map(|it| it.column).collect();
    let plain = |key: &String| 1 + line[..line.find(key).unwrap()].chars().count();
    assert_eq!(found, keys.iter().map(plain).collect::<Vec<_>>());
}

#[test]
fn how_are_mistakes_shown() {
    let text = SMALL
        .replace("name = \"small\"", "name = \"small\"\nworkers = -1")
        .replace("[\"user\"]\ntime", "[\"\u{e9}\", 5]\ntime");
    let mistakes = Pipeline::parse("pipelines/x.toml", &text).unwrap_err();
    // Columns count characters: the 5 stands at byte 14 of its line.
    let shown = "pipelines/x.toml:3:11: `workers`: must be from 0 to 256, got -1\n\
                 pipelines/x.toml:10:13: `key`: expected a string, got 5";
    assert_eq!(mistakes.to_string(), shown);
    let json = r#"{"file":"pipelines/x.toml","line":10,"column":13,"message":"`key`: expected a string, got 5"}"#;
    assert_eq!(serde_json::to_string(&mistakes.list()[1]).unwrap(), json);
}

proptest! {
    #[test]
    fn is_every_text_read_without_a_panic(
        edits in vec((any::<u16>(), any::<u8>(), 0_usize..4), 1..12),
    ) {
        let mut bytes = REFERENCE.as_bytes().to_vec();
        for (place, byte, edit) in edits {
            let place = usize::from(place) % bytes.len();
            let end = (place + usize::from(byte)).min(bytes.len());
            match edit {
                0 => drop(bytes.drain(place..end)),
                1 => {
                    let copy = bytes[place..end].to_vec();
                    bytes.splice(place..place, copy);
                }
                2 => bytes[place] = byte,
                // Characters that mean something in TOML.
                _ => bytes[place] = b"[]{}\"'=,.#\n0-_"[usize::from(byte) % 14],
            }
            if bytes.is_empty() {
                bytes.push(b'\n');
            }
        }
        let text = String::from_utf8_lossy(&bytes);
        if let Err(mistakes) = Pipeline::parse("x.toml", &text) {
            prop_assert!(!mistakes.list().is_empty());
            prop_assert!(!mistakes.to_string().contains("please report it"), "{}", mistakes);
            let lines: Vec<_> = text.split('\n').collect();
            for mistake in mistakes.list() {
                let line = lines.get(mistake.line - 1);
                prop_assert!(line.is_some(), "{}", mistake);
                let columns = line.map_or(0, |line| line.chars().count() + 1);
                prop_assert!((1..=columns).contains(&mistake.column), "{}", mistake);
            }
            let mut sorted = mistakes.list().to_vec();
            sorted.sort_by_key(|mistake| (mistake.line, mistake.column));
            prop_assert_eq!(mistakes.list(), sorted.as_slice());
        }
    }
}
