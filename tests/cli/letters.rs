//! Dead letters of files, looked at: in both forms, of jobs with and without checkpoints.

use std::fs;

use serde_json::{Value, json};

use crate::scene::{Scene, TO_STDOUT, event, files};

/// A good event, one without a field, one that is no JSON, bytes that are no text.
fn input() -> Vec<u8> {
    let mut input = event("u", 0).into_bytes();
    input.extend_from_slice(b"{\"user_id\":\"u\"}\n{\"user\n\xff\n");
    input
}

const STORE: &str = "[checkpoint]\nstore = \"file:state\"\n";

const ENVELOPE: &str = "form = \"envelope\"\n";
const RAW: &str = "form = \"raw\"\n";

/// The reference pipeline with this form of dead letters, and what follows.
fn scene(form: &str) -> Scene {
    let scene = Scene::with(&[(ENVELOPE, form)], &input());
    scene.run(&["run", "job.toml"]).ended(0);
    scene
}

fn list(scene: &Scene, more: &[&str]) -> Value {
    let arguments = [&["dlq", "list", "job.toml", "--json"], more].concat();
    scene.run(&arguments).ended(0).object()
}

fn codes(listed: &Value) -> Vec<(String, u64)> {
    let groups = listed["groups"].as_array().unwrap().iter();
    let groups = groups.map(|group| {
        assert_eq!(group["stream"], "validation_errors");
        let code = group["code"].as_str().unwrap().to_owned();
        (code, group["records"].as_u64().unwrap())
    });
    groups.collect()
}

#[test]
fn are_dead_letters_counted_and_shown_whatever_their_form() {
    let stored = |form: &str| format!("{form}{STORE}");
    for form in [ENVELOPE, RAW, &stored(ENVELOPE), &stored(RAW)] {
        let scene = scene(form);
        let listed = list(&scene, &[]);
        let expected = [("missing", 1), ("not_json", 1), ("not_utf8", 1)];
        let mut found = codes(&listed);
        found.sort();
        let expected = expected.map(|(code, records)| (code.to_owned(), records));
        assert_eq!(found, expected, "{form}");
        let only = list(&scene, &["--code", "missing", "--limit", "1"]);
        assert_eq!(codes(&only), [("missing".to_owned(), 1)]);
        let letter = &only["letters"][0];
        assert_eq!(letter["message"], "product_id is missing");
        // Behind the good event.
        let behind = event("u", 0).len();
        let source = json!({ "topic": "in.jsonl", "partition": 0, "offset": behind });
        assert_eq!(letter["source"], source);
        let place = letter["place"].as_str().unwrap();
        let shown = scene.run(&["dlq", "show", "job.toml", place, "--json"]);
        let shown = shown.ended(0).object();
        assert_eq!(&shown["letter"], letter);
        let value = shown["value"].as_str().unwrap();
        if form.contains("raw") {
            assert_eq!(value, "{\"user_id\":\"u\"}");
        } else {
            let envelope: Value = serde_json::from_str(value).unwrap();
            let values = json!(["u", null, null, null, null]);
            assert_eq!(envelope["original_event"], values);
        }
        let text = scene.run(&["dlq", "show", "job.toml", place]).ended(0);
        let why = "why       validate/missing: product_id is missing";
        assert!(text.stdout.contains(why), "{}", text.stdout);
        let table = scene.run(&["dlq", "list", "job.toml"]).ended(0);
        assert!(table.stdout.contains("not_utf8") && table.stdout.contains(place));
    }
}

#[test]
fn is_what_there_is_not_said() {
    let scene = scene(ENVELOPE);
    let none = scene.run(&["dlq", "list", "job.toml", "--stage", "infer"]);
    assert_eq!(none.ended(0).stdout, "no dead letters\n");
    let refused = |arguments: &[&str], code: i32, expected: &str| {
        let ran = scene.run(arguments).ended(code);
        assert!(ran.stderr.contains(expected), "{}", ran.stderr);
    };
    let nowhere = ["dlq", "show", "job.toml", "validation_errors/0/7777"];
    refused(&nowhere, 1, "`dlq list` shows which there are");
    let unknown = ["dlq", "list", "job.toml", "--stream", "predictions"];
    refused(
        &unknown,
        1,
        "those of this pipeline are `validation_errors`, `processing_errors`, `late_events_dlq`",
    );
    let replay = ["dlq", "replay", "job.toml"];
    refused(
        &replay,
        1,
        "replay is for topics: dead letters of this pipeline go to files: put the records",
    );
    let purge = ["dlq", "purge", "job.toml", "--stream", "validation_errors"];
    refused(
        &purge,
        1,
        "purge is for topics: the files of a job are its own",
    );
    refused(
        &["dlq", "show", "job.toml", "x"],
        2,
        "STREAM/PARTITION/OFFSET",
    );
    let offsets = ["dlq", "list", "job.toml", "--offsets", "7"];
    refused(&offsets, 2, "expected FROM..TO");
}

#[test]
fn does_what_is_not_published_yet_not_count() {
    let scene = scene(&format!("{RAW}{STORE}"));
    let folder = scene.path("out/validation_errors");
    let parts = files(&folder).into_iter();
    let part = parts.filter(|it| it.extension().is_some_and(|it| it == "jsonl"));
    let part = part.max_by_key(|it| it.metadata().unwrap().len()).unwrap();
    let text = fs::read_to_string(&part).unwrap();
    // A run that has ended before its epoch was published leaves such lines.
    let again = format!("{text}{text}");
    fs::write(&part, again).unwrap();
    let total = |listed: &Value| {
        codes(listed)
            .iter()
            .map(|(_, records)| records)
            .sum::<u64>()
    };
    assert_eq!(total(&list(&scene, &[])), 3);
    let shard = part.file_stem().unwrap().to_str().unwrap();
    let shard = shard.strip_prefix("shard-").unwrap();
    let behind = format!("validation_errors/{shard}/{}", text.len());
    let shown = scene.run(&["dlq", "show", "job.toml", &behind]).ended(1);
    assert!(shown.stderr.contains("`dlq list` shows which there are"));
}

/// Key, headers and value of a record stand in a line as they stand in a record of a topic, bytes that are no text too.
#[test]
fn is_a_raw_dead_letter_whole_on_the_standard_output_too() {
    let scene = Scene::with(&[(ENVELOPE, RAW), TO_STDOUT], &input());
    let ran = scene.run(&["run", "job.toml"]).ended(0);
    let lines = ran
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    let letters: Vec<Value> = lines
        .filter(|it: &Value| it["stream"] == "validation_errors")
        .map(|it| it["record"].clone())
        .collect();
    assert_eq!(letters.len(), 3);
    for (letter, (code, value)) in letters.iter().zip([
        ("missing", json!("{\"user_id\":\"u\"}")),
        ("not_json", json!("{\"user")),
        ("not_utf8", json!({ "base64": "/w==" })),
    ]) {
        assert_eq!((&letter["key"], &letter["value"]), (&Value::Null, &value));
        let headers = letter["headers"].as_array().unwrap();
        assert!(
            headers.contains(&json!(["slackwater.code", code])),
            "{letter}"
        );
        assert!(headers.contains(&json!(["__streams.errors.topic", "in.jsonl"])));
    }
}
