//! Whether what is shown is the same pipeline, and no secret.

use crate::pipeline::effective;
use crate::pipeline::layers::Layers;
use crate::pipeline::{Mistakes, Pipeline};

const REFERENCE: &str = include_str!("../../../pipelines/user-events.toml");
const ON_KAFKA: &str = include_str!("../../../pipelines/user-events.kafka.toml");
const WITH_REDIS: &str = include_str!("../../../pipelines/user-events.redis.toml");
const FLIGHTS: &str = include_str!("../../../pipelines/flights.toml");

/// The text alone.
fn effective(file_name: &str, bytes: &[u8], layers: &Layers) -> Result<String, Mistakes> {
    effective::effective(file_name, bytes, layers).map(|it| it.text)
}

fn layers(variables: &[(&str, &str)], arguments: &[&str]) -> Layers {
    let variables = variables
        .iter()
        .map(|(name, value)| (name.into(), value.into()));
    let arguments: Vec<_> = arguments.iter().map(|&it| it.to_owned()).collect();
    Layers::new(variables, &arguments)
}

#[test]
fn is_what_is_shown_the_same_pipeline() {
    let check = |text: &str, arguments: &[&str]| {
        let layers = layers(&[], arguments);
        let meant = Pipeline::parse_layered("x.toml", text.as_bytes(), &layers).unwrap();
        let shown = effective("x.toml", text.as_bytes(), &layers).unwrap();
        let read = Pipeline::parse("shown.toml", &shown);
        assert_eq!(read.as_ref(), Ok(&meant), "{shown}");
        // Nothing is left to be filled in.
        let again = effective("shown.toml", shown.as_bytes(), &Layers::default()).unwrap();
        let bare = |text: &str| {
            let lines = text.lines();
            let lines = lines.map(|line| line.split(" # ").next().unwrap_or("").to_owned());
            lines.collect::<Vec<_>>()
        };
        assert_eq!(bare(&again), bare(&shown));
        assert!(!again.contains("# default"), "{again}");
    };
    for text in [REFERENCE, ON_KAFKA, WITH_REDIS, FLIGHTS] {
        check(text, &[]);
        check(
            text,
            &[
                "job.workers=0x2",
                "checkpoint.interval=2s",
                "restart.strategy=none",
            ],
        );
        check(
            text,
            &[
                "sink.path=a \"b\"\\\t\u{e9}",
                "sink.kind=file",
                "job.order=event_time",
            ],
        );
        check(
            text,
            &[
                "checkpoint={}",
                "source.kind=file",
                "source.path=x",
                "dead_letter.form=raw",
            ],
        );
    }
    check(
        ON_KAFKA,
        &[
            "event.time=record",
            "filter=[{ keep = \"event_type != 'x'\" }]",
        ],
    );
    check(
        REFERENCE,
        &["check=[{ when = \"event_type != 'x'\", message = \"no\" }]"],
    );
    // Which is not required then.
    let with_default = REFERENCE.replacen(
        "name = \"category\"\ntype = \"string\"\n",
        "name = \"category\"\ntype = \"string\"\ndefault = \"none\"\n",
        1,
    );
    assert_ne!(with_default, REFERENCE);
    check(&with_default, &[]);
    let kafka = [
        "source.start.timestamp=2026-01-01T00:00:00Z",
        "source.properties.client.rack=7",
    ];
    check(ON_KAFKA, &kafka);
}

#[test]
fn who_says_what() {
    let layers = layers(
        &[("SLACKWATER_JOB__WORKERS", "3")],
        &["job.order=event_time"],
    );
    let shown = effective("x.toml", REFERENCE.as_bytes(), &layers).unwrap();
    let job = "[job]\nname = \"user-events\"\nworkers = 3 # environment\norder = \"event_time\" # --set\n\
               key_groups = 1024\n\n[source]\n";
    assert!(shown.starts_with(job), "{shown}");
    assert!(
        shown.contains("\n[model.output]\nname = \"prediction\"\nindex = 0 # default\n"),
        "{shown}"
    );
    assert!(
        !shown.contains("[restart]") && !shown.contains("[history."),
        "{shown}"
    );
}

#[test]
fn is_one_output_left_out_where_there_are_several() {
    let file = REFERENCE.replace(
        "output = { name = \"prediction\" }",
        "outputs = [{ name = \"yes\" }, { name = \"no\", index = 1 }]",
    );
    let layers = layers(&[], &["model.outputs.yes.tensor=probabilities"]);
    let shown = effective("x.toml", file.as_bytes(), &layers).unwrap();
    let expected = "\n[[model.outputs]]\nname = \"yes\"\ntensor = \"probabilities\" # --set\nindex = 0 # default\n\
                    \n[[model.outputs]]\nname = \"no\"\nindex = 1\n";
    assert!(shown.contains(expected), "{shown}");
    assert!(!shown.contains("[model.output]"), "{shown}");
    assert!(Pipeline::parse("x.toml", &shown).is_ok(), "{shown}");
}

#[test]
fn is_a_password_hidden_and_the_rest_not() {
    let check = |argument: &str, expected: &str| {
        let text = if argument.starts_with("lookup") {
            WITH_REDIS
        } else {
            ON_KAFKA
        };
        let shown = effective("x.toml", text.as_bytes(), &layers(&[], &[argument])).unwrap();
        assert!(
            shown.contains(&format!("\n{expected} # --set\n")),
            "{shown}"
        );
        assert!(!shown.contains("canary"), "{shown}");
    };
    check(
        "lookup.profile.url=redis://me:canary@host:7/1",
        "url = \"redis://me:***@host:7/1\"",
    );
    check(
        "lookup.profile.url=redis://:c@nary:canary@host",
        "url = \"redis://:***@host\"",
    );
    check(
        "lookup.profile.password.env=PW",
        "password = { env = \"PW\" }",
    );
    let property = |name: &str, value: &str, shown: &str| {
        check(
            &format!("sink.properties.{name}={value}"),
            &format!("\"{name}\" = {shown}"),
        );
    };
    property("sasl.password", "canary", "\"***\"");
    property("sasl.username", "canary", "\"***\"");
    property("ssl.key.pem", "canary", "\"***\"");
    property("of.nobody.knows", "canary", "\"***\"");
    property(
        "ssl.key.password",
        "{ file = \"key\" }",
        "{ file = \"key\" }",
    );
    property("security.protocol", "sasl_ssl", "\"sasl_ssl\"");
}

/// What looks like an address with a password, where there is none.
#[test]
fn is_what_is_no_address_shown_as_it_is() {
    let check = |argument: &str, line: &str| {
        let layers = layers(&[], &[argument]);
        let shown = effective("x.toml", REFERENCE.as_bytes(), &layers).unwrap();
        assert!(shown.contains(&format!("\n{line} # --set\n")), "{shown}");
        let meant = Pipeline::parse_layered("x.toml", REFERENCE.as_bytes(), &layers);
        assert_eq!(Pipeline::parse("shown.toml", &shown), meant);
    };
    let keep = "keep = \"event_type != 'https://me:word@host'\"";
    check(&format!("filter=[{{ {keep} }}]"), keep);
    let pattern = "pattern = \"^https?://[^:]+:[^@]+@\"";
    let field = "field = \"event_type\", rule = \"matches\"";
    check(&format!("check=[{{ {field}, {pattern} }}]"), pattern);
}
