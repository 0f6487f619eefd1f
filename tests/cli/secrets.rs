//! Whatever is wrong or right: a secret is never shown, wherever it was written.

use crate::scene::{Scene, changed, finish, generated, pipeline};

/// What stands wherever a secret may stand.
const PLANTED: &str = "canary-7f3a";

const ON_KAFKA: &str = include_str!("../../pipelines/user-events.kafka.toml");
const WITH_REDIS: &str = include_str!("../../pipelines/user-events.redis.toml");

/// The header of the sink.
const SINK: &str = "\n[sink]\n";

/// Commands that read a pipeline, each with what else it needs.
const COMMANDS: [&[&str]; 10] = [
    &["check"],
    &["check", "--json"],
    &["check", "--show"],
    &["explain"],
    &["explain", "--json"],
    &["run"],
    &["run", "--json"],
    &["features", "--out", "rows"],
    &["status"],
    &["model", "show"],
];

/// Nothing that a command says of this pipeline holds what was planted.
fn check(file: &str, settings: &[String], variables: &[(String, String)]) {
    let scene = Scene::new();
    scene.write("job.toml", file.as_bytes());
    for command in COMMANDS {
        let mut arguments = vec!["job.toml"];
        settings
            .iter()
            .for_each(|setting| arguments.extend(["--set", setting]));
        let mut program = scene.command(&[command, &arguments].concat());
        program.envs(variables.iter().map(|(name, value)| (name, value)));
        let ran = finish(&mut program);
        let is_silent = !ran.stdout.contains("canary") && !ran.stderr.contains("canary");
        assert!(is_silent, "{command:?} {settings:?} {variables:?}: {ran:?}");
        assert!(ran.code.is_some());
    }
}

/// The same in the file, whose text is changed so; in the environment; and on the command line.
fn check_everywhere(file: &str, change: (&str, &str), path: &str, value: &str) {
    check(&changed(file, &[change]), &[], &[]);
    check(file, &[format!("{path}={value}")], &[]);
    let name = format!("SLACKWATER_{}", path.replace('.', "__").to_uppercase());
    check(file, &[], &[(name, value.to_owned())]);
}

/// A pipeline to brokers that no client can speak to, which is found out before any is tried.
fn to_kafka() -> String {
    let sink = "kind = \"kafka\"\nbrokers = \"127.0.0.1:1\"\nproperties = { \"security.protocol\" = \"none\", \
                \"ssl.key.password\" = { env = \"KEY\" } }\n";
    let few = ("events = 1_000_000", "events = 9");
    generated(&[few, ("kind = \"file\"\npath = \"out\"\n", sink)])
}

#[test]
fn is_a_secret_of_brokers_never_shown() {
    let check = |name: &str, value: &str| {
        let before = "\"ssl.key.password\" = { env = \"KEY\" }";
        let written = format!("\"{name}\" = \"{value}\"");
        let path = format!("sink.properties.{name}");
        check_everywhere(&to_kafka(), (before, &written), &path, value);
    };
    // Right, of a name that nobody knows, and where something else was to stand.
    check("sasl.password", PLANTED);
    check("sasl.pasword", PLANTED);
    check("sasl.mechanism", PLANTED);
}

#[test]
fn is_a_secret_of_a_store_never_shown() {
    let file = WITH_REDIS.replace("127.0.0.1:6379", "127.0.0.1:1");
    let file = changed(&file, &[("events = 1_000_000", "events = 9")]);
    let url = |url: &str| {
        let written = format!("url = \"{url}\"");
        let path = "lookup.profile.url";
        let before = "url = \"redis://127.0.0.1:1/0\"";
        check_everywhere(&file, (before, &written), path, url);
    };
    url(&format!("redis://me:{PLANTED}@127.0.0.1:1/0"));
    url(&format!("redis://{PLANTED}@127.0.0.1:1/0"));
    url(&format!("rdis://:{PLANTED}@127.0.0.1:1/0"));
    let secret = |key: &str| {
        let written = format!("[[lookup]]\n{key} = \"{PLANTED}\"\n");
        let path = format!("lookup.profile.{key}");
        check_everywhere(&file, ("[[lookup]]\n", &written), &path, PLANTED);
    };
    secret("password");
    secret("pasword");
    secret("certificate_key");
}

#[test]
fn is_a_secret_in_a_wrong_place_never_shown() {
    let file = pipeline(&[]);
    let url = format!("redis://me:{PLANTED}@host");
    let check = |key: &str, value: &str| {
        let (table, key) = key.split_once('.').unwrap();
        let written = format!("\n[{table}]\n{key} = \"{value}\"\n");
        let header = format!("\n[{table}]\n");
        let path = format!("{table}.{key}");
        if file.contains(&header) {
            check_everywhere(&file, (&header, &written), &path, value);
        } else {
            check_everywhere(&file, (SINK, &format!("\n{written}{SINK}")), &path, value);
        }
    };
    check("mirror.redis", &url);
    check("mirror.redis", &format!("redis://host?password={PLANTED}"));
    check("sink.kind", &format!("redis://host/0#{PLANTED}"));
    check("sink.kind", &format!("me:{PLANTED}@host"));
    check(
        "mirror.redis.url",
        &format!("redis://host/0?password={PLANTED}"),
    );
    check("source.brokers", &format!("me:{PLANTED}@host:9092"));
    check("sink.properties", &url);
    check("api.token", PLANTED);
    check("model.output", &url);
    // Broken, so that it is no TOML.
    let broken = format!("{{ \"sasl.password\" = {PLANTED} ");
    self::check(ON_KAFKA, &[format!("source.properties={broken}")], &[]);
    let written = format!("{SINK}properties = {broken}\n");
    self::check(&changed(ON_KAFKA, &[(SINK, &written)]), &[], &[]);
    self::check(&file, &[PLANTED.to_owned()], &[]);
}
