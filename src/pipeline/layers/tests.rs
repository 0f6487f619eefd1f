//! Which settings are read, as what, and how their mistakes are told.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use crate::pipeline::layers::Layers;
use crate::pipeline::spec::{FeatureKind, Pipeline, PropertySpec, SinkKind, SourceSpec};

const REFERENCE: &str = include_str!("../../../pipelines/user-events.toml");
const ON_KAFKA: &str = include_str!("../../../pipelines/user-events.kafka.toml");
const WITH_REDIS: &str = include_str!("../../../pipelines/user-events.redis.toml");

fn layers(variables: &[(&str, &str)], arguments: &[&str]) -> Layers {
    let variables = variables
        .iter()
        .map(|(name, value)| (name.into(), value.into()));
    let arguments: Vec<_> = arguments.iter().map(|&it| it.to_owned()).collect();
    Layers::new(variables, &arguments)
}

fn parse(text: &str, layers: &Layers) -> Pipeline {
    Pipeline::parse_layered("x.toml", text.as_bytes(), layers).unwrap()
}

fn with(text: &str, arguments: &[&str]) -> Pipeline {
    parse(text, &layers(&[], arguments))
}

fn mistakes(text: &str, layers: &Layers) -> Vec<String> {
    let mistakes = Pipeline::parse_layered("x.toml", text.as_bytes(), layers).unwrap_err();
    mistakes.list().iter().map(ToString::to_string).collect()
}

#[test]
fn which_layer_has_the_last_word() {
    let check = |variables: &[(&str, &str)], arguments: &[&str], expected: usize| {
        let text = REFERENCE.replace("workers = 0 ", "workers = 1 ");
        let pipeline = parse(&text, &layers(variables, arguments));
        assert_eq!(pipeline.job.workers, expected);
    };
    let variable = ("SLACKWATER_JOB__WORKERS", "2");
    check(&[], &[], 1);
    check(&[variable], &[], 2);
    check(&[variable], &["job.workers=3"], 3);
    check(&[], &["job.workers=3", "job.workers=4"], 4);
    // These are somebody else's.
    check(
        &[
            ("SLACKWATER_FAULT", "9"),
            ("SLACKWATER_JOB", "9"),
            ("JOB__WORKERS", "9"),
        ],
        &[],
        1,
    );
}

#[test]
fn is_a_set_pipeline_the_one_that_says_so_itself() {
    let check = |argument: &str, written: (&str, &str)| {
        assert_eq!(
            with(REFERENCE, &[argument]),
            parse(
                &REFERENCE.replacen(written.0, written.1, 1),
                &Layers::default()
            ),
            "{argument}"
        );
        let (path, value) = argument.split_once('=').unwrap();
        let variable = format!("SLACKWATER_{}", path.replace('.', "__").to_uppercase());
        assert_eq!(
            parse(REFERENCE, &layers(&[(&variable, value)], &[])),
            with(REFERENCE, &[argument]),
            "{variable}"
        );
    };
    assert!(REFERENCE.contains("[sink]\nkind = \"file\"\npath = \"out\"\n"));
    check("sink.path=out/x", ("path = \"out\"", "path = \"out/x\""));
    check("sink.path=7", ("path = \"out\"", "path = \"7\""));
    check("sink.path=\"a b\"", ("path = \"out\"", "path = \"a b\""));
    check("sink.path=a=b", ("path = \"out\"", "path = \"a=b\""));
    check("sink.shards=3", ("shards = 2", "shards = 3"));
    check(
        "sink.provenance=true",
        ("provenance = false", "provenance = true"),
    );
    check(
        "event.max_bytes=4096",
        ("max_bytes = \"1MiB\"", "max_bytes = 4096"),
    );
    check(
        "event.max_bytes=4KiB",
        ("max_bytes = \"1MiB\"", "max_bytes = \"4KiB\""),
    );
    check("job.name=42", ("name = \"user-events\"", "name = \"42\""));
    check(
        "event.time={ field = \"timestamp_ms\", unit = \"ms\" }",
        ("[nothing]", ""),
    );
    check(
        "model.outputs=[{ name = \"a\" }, { name = \"b\" }]",
        (
            "output = { name = \"prediction\" }",
            "outputs = [{ name = \"a\" }, { name = \"b\" }]",
        ),
    );
    check(
        "model.output.name=score",
        ("name = \"prediction\"", "name = \"score\""),
    );
    check(
        "feature.hour_sin.transform=[\"log1p\"]",
        (
            "of = \"hour_sin\"",
            "of = \"hour_sin\"\ntransform = [\"log1p\"]",
        ),
    );
    check(
        "dead_letter.form=raw",
        ("form = \"envelope\"", "form = \"raw\""),
    );
}

#[test]
fn what_does_a_path_reach() {
    let kafka = with(
        ON_KAFKA,
        &[
            "source.start.timestamp=2026-01-01T00:00:00Z",
            "source.properties.sasl.mechanism=PLAIN",
            "source.properties.sasl.password=1_000",
            "source.properties.sasl.username={ env = \"WHO\" }",
        ],
    );
    let SourceSpec::Kafka(source) = &kafka.source else {
        unreachable!("{:?}", kafka.source)
    };
    let mut properties = source.cluster.properties.clone();
    properties.sort_by(|one, other| one.0.cmp(&other.0));
    let text = |text: &str| PropertySpec::Text(text.to_owned());
    let expected = [
        ("sasl.mechanism", text("PLAIN")),
        ("sasl.password", text("1_000")),
        ("sasl.username", PropertySpec::Env("WHO".to_owned())),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value));
    assert_eq!(properties, expected);

    let of_record = with(ON_KAFKA, &["event.time=record"]);
    let written = "time = { field = \"timestamp_ms\", unit = \"ms\" }";
    let text = ON_KAFKA.replacen(written, "time = \"record\"", 1);
    assert_ne!(text, ON_KAFKA);
    assert_eq!(of_record, parse(&text, &Layers::default()));
    let back = ["event.time.field=timestamp_ms", "event.time.unit=ms"];
    assert_eq!(with(&text, &back), with(ON_KAFKA, &[]));

    let redis = with(
        WITH_REDIS,
        &[
            "lookup.profile.password.env=PW",
            "lookup.profile.timeout=70ms",
        ],
    );
    assert_eq!(redis.lookups[0].timeout_ms, 70);
    let password = redis.lookups[0].server.password.clone();
    assert_eq!(password, Some(PropertySpec::Env("PW".to_owned())));
}

#[test]
fn does_what_does_not_go_with_a_selected_word_leave_with_its_layer() {
    let sink = |text: &str, layers: &Layers| parse(text, layers).sink.kind;
    assert_eq!(
        sink(REFERENCE, &layers(&[], &["sink.kind=stdout"])),
        SinkKind::Stdout
    );
    let file = SinkKind::File {
        path: "x".to_owned(),
    };
    for arguments in [
        ["sink.kind=file", "sink.path=x"],
        ["sink.path=x", "sink.kind=file"],
    ] {
        assert_eq!(sink(ON_KAFKA, &layers(&[], &arguments)), file);
    }
    let constant = with(
        REFERENCE,
        &[
            "feature.since_previous.of=constant",
            "feature.since_previous.value=3",
        ],
    );
    let mut features = constant.features.iter();
    assert!(features.any(|it| it.kind == FeatureKind::Constant(3.0)));
    // Said in one layer, they contradict each other.
    let both = layers(&[], &["sink.kind=discard", "sink.path=x"]);
    assert_eq!(
        mistakes(REFERENCE, &both),
        ["--set sink.path: `path` does not go with kind = \"discard\", only with \"file\""]
    );
}

/// A setting of the reference pipeline, and the one thing that must be said about it.
fn check(argument: &str, expected: &str) {
    assert_eq!(mistakes(REFERENCE, &layers(&[], &[argument])), [expected]);
}

#[test]
fn what_is_said_of_a_setting_that_is_wrong() {
    check(
        "job.wrokers=4",
        "--set job.wrokers: unknown key `wrokers` in [job], did you mean `workers`?",
    );
    check(
        "jbo.workers=4",
        "--set jbo.workers: unknown table [jbo], did you mean [job]?",
    );
    check(
        "event.tiem.unit=ms",
        "--set event.tiem.unit: unknown key `tiem` in [event], did you mean `time`?",
    );
    check(
        "job.workers=many",
        "--set job.workers: `workers`: expected a whole number, got \"many\"",
    );
    check(
        "job.workers=-1",
        "--set job.workers: `workers`: must be from 0 to 256, got -1",
    );
    check(
        "job.workers=",
        "--set job.workers: `workers`: expected a whole number, got \"\"",
    );
    check(
        "job.workers.more=4",
        "--set job.workers.more: `workers` in [job] is no table",
    );
    check("job=4", "--set job: `job`: expected a table, got 4");
    check(
        "sink.kind=flie",
        "--set sink.kind: `kind`: unknown value \"flie\", did you mean \"file\"?",
    );
    check(
        "job.workers",
        "--set: expected TABLE.KEY=VALUE, as in `--set job.workers=4`",
    );
    check(
        "job..workers=4",
        "--set job..workers: expected TABLE.KEY=VALUE, as in `--set job.workers=4`",
    );
    check(
        "api.listen=x",
        "--set api.listen: [api] is not supported in this version",
    );
}

#[test]
fn what_is_said_of_an_element_that_is_not_there() {
    check(
        "feature.hour_cso.fill=1",
        "--set feature.hour_cso.fill: unknown name \"hour_cso\", did you mean \"hour_cos\"?",
    );
    check(
        "feature.hour_cos=1",
        "--set feature.hour_cos: expected `feature.NAME.KEY`, with the name of one [[feature]]",
    );
    check(
        "feature.hour_cos.fil=1",
        "--set feature.hour_cos.fil: unknown key `fil` in [[feature]], did you mean `fill`?",
    );
    check(
        "check.user_id.message=x",
        "--set check.user_id.message: one [[check]] cannot be told from another, since they have no name: change the \
         file, or set all of `check` to a list of tables",
    );
    check(
        "lookup.profile.timeout=1s",
        "--set lookup.profile.timeout: unknown name \"profile\": no [[lookup]] has that name, to set its `timeout`",
    );
    check(
        "history.fields=[\"nobody\"]",
        "--set history.fields: unknown field \"nobody\", known are \"user_id\", \"product_id\", \"category\", \
         \"event_type\", \"timestamp_ms\"",
    );
}

#[test]
fn are_mistakes_of_all_layers_told_at_once() {
    let text = REFERENCE.replace("shards = 2", "shards = 0");
    let variables = [
        ("SLACKWATER_JOB__WROKERS", "4"),
        ("SLACKWATER_SUORCE__PATH", "x"),
        ("SLACKWATER_SINK__KIND", "flie"),
    ];
    let said = layers(&variables, &["job.nmae=x", "history.ttl=soon"]);
    let line = 1 + text
        .lines()
        .position(|line| line.starts_with("shards = 0"))
        .unwrap();
    assert_eq!(
        mistakes(&text, &said),
        [
            format!("x.toml:{line}:10: `shards`: must be from 1 to 128, got 0"),
            "environment SLACKWATER_SINK__KIND: `kind`: unknown value \"flie\", did you mean \"file\"?".to_owned(),
            "environment SLACKWATER_JOB__WROKERS: unknown key `wrokers` in [job], did you mean `workers`?".to_owned(),
            "environment SLACKWATER_SUORCE__PATH: unknown table [suorce], did you mean [source]?".to_owned(),
            "--set job.nmae: unknown key `nmae` in [job], did you mean `name`?".to_owned(),
            "--set history.ttl: `ttl`: expected a duration such as \"2s\", got \"soon\"".to_owned(),
        ]
    );
    let mistakes = Pipeline::parse_layered("x.toml", text.as_bytes(), &said).unwrap_err();
    let last = serde_json::to_value(mistakes.list().last().unwrap()).unwrap();
    let expected = serde_json::json!({
        "file": null, "line": null, "column": null, "layer": "--set history.ttl",
        "message": "`ttl`: expected a duration such as \"2s\", got \"soon\"",
    });
    assert_eq!(last, expected);
}

#[test]
fn is_a_variable_that_is_no_text_told() {
    let value = OsString::from_vec(vec![0xff]);
    let layers = Layers::new([("SLACKWATER_JOB__NAME".into(), value)].into_iter(), &[]);
    let expected = ["environment SLACKWATER_JOB__NAME: its value is not UTF-8"];
    assert_eq!(mistakes(REFERENCE, &layers), expected);
}

#[test]
fn is_a_file_that_cannot_be_read_not_blamed_on_a_setting() {
    let text = REFERENCE.replace("[sink]\n", "[sink\n");
    let with = mistakes(
        &text,
        &layers(&[], &["sink.path=x", "feature.hour_cos.fill=1"]),
    );
    assert_eq!(with, mistakes(&text, &Layers::default()));
}

#[test]
fn is_a_job_with_another_setting_another_job_only_where_it_matters() {
    use crate::pipeline::graph::load_model;
    use crate::pipeline::identity::identity;

    let identity = |arguments: &[&str]| {
        let pipeline = with(REFERENCE, arguments);
        identity(&pipeline, Some(load_model(&pipeline).unwrap().info()))
    };
    assert_eq!(identity(&["job.workers=7"]), identity(&[]));
    assert_ne!(identity(&["sink.shards=7"]), identity(&[]));
    assert_eq!(
        identity(&["sink.shards=7"]),
        identity(&["sink.shards=2", "sink.shards=7"])
    );
}

/// A condition on a field takes the place of an expression, and the reverse.
#[test]
fn does_one_form_of_a_condition_replace_the_other() {
    let table = "where = { event_type = \"purchase\" }\n";
    assert!(REFERENCE.contains(table));
    let text = REFERENCE.replace(table, "where = \"event_type == 'view'\"\n");
    let features = text
        .split("[[feature]]")
        .filter(|it| it.contains("where = \"event_type"));
    let names = features.map(|it| it.split('"').nth(1).unwrap());
    let names: Vec<_> = names.collect();
    assert!(!names.is_empty());
    let set = |value: &str| {
        let set = names
            .iter()
            .map(|name| format!("feature.{name}.where{value}"));
        set.collect::<Vec<_>>()
    };
    let set_in = |text: &str, set: &[String]| {
        let set: Vec<_> = set.iter().map(String::as_str).collect();
        with(text, &set)
    };
    let plain = parse(&text, &Layers::default());
    let expected = parse(REFERENCE, &Layers::default());
    assert_ne!(plain, expected);
    assert_eq!(set_in(&text, &set(".event_type=purchase")), expected);
    assert_eq!(set_in(REFERENCE, &set("=event_type == 'view'")), plain);
}
