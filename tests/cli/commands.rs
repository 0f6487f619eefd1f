//! What each command prints: what was asked for on stdout, everything else on stderr.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use crate::scene::{STREAMS, Scene, conserved, files, finish, generated, model, number};

const EVENT: &str = "{\"user_id\":\"u\",\"product_id\":\"p\",\"category\":\"c\",\"event_type\":\"view\",\"timestamp_ms\":1767225600000}\n";

/// What the reference model says of it, as a user's first event; by onnxruntime.
const SCORE_OF_EVENT: f64 = 0.213_909_36;

/// Its features: a first event, a view, at midnight. "c" has bucket 11 of 20.
const FIRST_ROW: &str = r#""events":1.0,"views":1.0,"clicks":0.0,"carts":0.0,"purchases":0.0,"distinct_products":1.0,"distinct_categories":1.0,"since_previous":0.0,"mean_gap":0.0,"hour_sin":0.0,"hour_cos":1.0,"category_bucket":0.55,"event_type_index":0.0,"purchase_share":0.0,"cart_share":0.0,"one":1.0"#;

/// Those of a purchase of the same product a minute later; ln(1 + 60,000) = 11.002116.
const SECOND_ROW: &str = r#""events":2.0,"views":1.0,"clicks":0.0,"carts":0.0,"purchases":1.0,"distinct_products":1.0,"distinct_categories":1.0,"since_previous":11.002116,"mean_gap":11.002116,"hour_sin":0.0,"hour_cos":1.0,"category_bucket":0.55,"event_type_index":3.0,"purchase_share":0.5,"cart_share":0.0,"one":1.0"#;

/// The digest of the embedded model, as its golden vector names it.
fn digest() -> String {
    let golden = include_str!("../../pipelines/models/user-events.golden.json");
    let golden: Value = serde_json::from_str(golden).unwrap();
    golden["digest"].as_str().unwrap().to_owned()
}

/// The keys of an object, sorted.
fn keys(object: &Value) -> BTreeSet<&str> {
    let object = object.as_object().unwrap();
    object.keys().map(String::as_str).collect()
}

#[test]
fn what_does_check_say_of_a_good_pipeline() {
    let digest = digest();
    let scene = Scene::with(&[("workers = 0 ", "workers = 3 ")], EVENT.as_bytes());
    let ran = scene.run(&["check", "job.toml"]).ended(0);
    let said = format!(
        "job `user-events` is ready: 1 partition on 3 workers, 16 features, model `user-events` ({digest})\n"
    );
    assert_eq!((ran.stdout, ran.stderr.as_str()), (said, ""));
    let ran = scene.run(&["check", "job.toml", "--json"]).ended(0);
    assert_eq!(ran.stderr, "");
    let expected = json!({
        "mistakes": [],
        "preflight": [],
        "notes": [],
        "job": "user-events",
        "workers": 3,
        "partitions": 1,
        "created_topics": [],
        "features": 16,
        "model": { "name": "user-events", "digest": digest },
    });
    assert_eq!(ran.object(), expected);
    // Without a file: the embedded pipeline.
    let object = scene.run(&["check", "--json"]).ended(0).object();
    assert_eq!(object.get("partitions"), Some(&4.into()));
    assert!(!scene.path("out").exists());
}

#[test]
fn what_does_version_say() {
    let version = env!("CARGO_PKG_VERSION");
    let scene = Scene::new();
    let line = format!("slackwater {version}\n");
    for arguments in [&["version"][..], &["--version"]] {
        let ran = scene.run(arguments).ended(0);
        assert_eq!((ran.stdout, ran.stderr.as_str()), (line.clone(), ""));
    }
    let ran = scene.run(&["version", "--json"]).ended(0);
    assert_eq!(
        ran.object(),
        json!({ "name": "slackwater", "version": version })
    );
}

#[test]
fn does_help_name_every_command_and_exit_code() {
    let scene = Scene::new();
    let ran = scene.run(&["--help"]).ended(0);
    assert_eq!(ran.stderr, "");
    for word in [
        "run",
        "check",
        "explain",
        "generate",
        "features",
        "model",
        "status",
        "stop",
        "version",
        "Exit codes: 0 done, 1 failed",
    ] {
        assert!(ran.stdout.contains(word), "{word}: {}", ran.stdout);
    }
}

#[test]
fn has_a_summary_every_key() {
    let scene = Scene::with(&[], EVENT.as_bytes());
    let ran = scene.run(&["run", "job.toml", "--json"]).ended(0);
    assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
    let summary = ran.object();
    let expected = [
        "job",
        "read",
        "predictions",
        "validation_errors",
        "processing_errors",
        "late_events",
        "filtered",
        "in_flight",
        "seconds",
        "events_per_second",
        "cpu_seconds",
        "latency_ms",
        "outputs",
    ];
    assert_eq!(keys(&summary), BTreeSet::from(expected));
    assert_eq!(summary["job"], "user-events");
    assert_eq!(conserved(&summary), 1);
    let positive = |value: &Value| value.as_f64().is_some_and(|value| value > 0.0);
    for key in ["seconds", "events_per_second", "cpu_seconds"] {
        assert!(positive(&summary[key]), "{key}: {summary}");
    }
    let latency = &summary["latency_ms"];
    assert_eq!(keys(latency), BTreeSet::from(["p50", "p99", "max"]));
    assert!(
        ["p50", "p99", "max"]
            .iter()
            .all(|key| positive(&latency[key])),
        "{summary}"
    );
    let outputs = json!({
        "predictions": "out/ml_predictions",
        "validation_errors": "out/validation_errors",
        "processing_errors": "out/processing_errors",
        "late_events": "out/late_events_dlq",
    });
    assert_eq!(summary["outputs"], outputs);
    // No clock is better than a microsecond.
    let is_whole = |value: &Value, parts: f64| {
        let scaled = value.as_f64().unwrap() * parts;
        assert!((scaled - scaled.round()).abs() < 1e-3, "{value}: {summary}");
    };
    for key in ["seconds", "cpu_seconds"] {
        is_whole(&summary[key], 1e6);
    }
    for key in ["p50", "p99", "max"] {
        is_whole(&latency[key], 1e3);
    }
}

#[test]
fn is_an_empty_input_a_run_like_any_other() {
    let scene = Scene::with(&[], b"");
    assert_eq!(conserved(&scene.summary()), 0);
    assert_eq!(scene.records(), []);
    for stream in STREAMS {
        assert_eq!(files(&scene.path("out").join(stream)).len(), 2, "{stream}");
    }
    let ran = scene.run(&["run", "job.toml", "--overwrite"]).ended(0);
    for nonsense in ["NaN", "an event"] {
        assert!(!ran.stdout.contains(nonsense), "{}", ran.stdout);
    }
}

#[test]
fn are_names_and_numbers_of_outputs_as_the_pipeline_says() {
    let changes = [
        ("path = \"out\"", "path = \"a/b\""),
        ("shards = 2", "shards = 3"),
        (
            "predictions = \"ml_predictions\"",
            "predictions = \"scores\"",
        ),
        (
            "fields = [\"user_id\", \"product_id\"] ",
            "fields = [\"timestamp_ms\", \"category\"] ",
        ),
        (
            "output = { name = \"prediction\" }",
            "output = { name = \"score\" }",
        ),
    ];
    let scene = Scene::with(&changes, EVENT.as_bytes());
    assert_eq!(scene.summary()["outputs"]["predictions"], "a/b/scores");
    let paths = files(&scene.path("a/b/scores"));
    assert_eq!(paths.len(), 3);
    let text: String = paths
        .iter()
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    let start = "{\"timestamp_ms\":1767225600000,\"category\":\"c\",\"score\":0.";
    assert!(text.starts_with(start), "{text}");

    let changes = [(
        "kind = \"file\"\npath = \"out\"\nshards = 2\n",
        "kind = \"discard\"\n",
    )];
    let scene = Scene::with(&changes, EVENT.as_bytes());
    let summary = scene.summary();
    assert_eq!(conserved(&summary), 1);
    assert_eq!(summary["outputs"], json!({}));
    assert!(!scene.path("out").exists());
    let ran = scene.run(&["run", "job.toml"]).ended(0);
    assert_eq!(ran.stdout.matches("discarded").count(), 4, "{}", ran.stdout);
}

#[test]
fn says_provenance_where_an_event_came_from_and_who_scored_it() {
    let scene = Scene::with(
        &[("provenance = false", "provenance = true")],
        EVENT.as_bytes(),
    );
    scene.summary();
    let records = scene.records();
    let record: Value = serde_json::from_str(&records[0].line).unwrap();
    let score = record["prediction"].as_f64().unwrap();
    assert!((score - SCORE_OF_EVENT).abs() < 1e-5, "{score}");
    let version = &record["model"]["version"];
    let end = format!(
        "\"partition\":0,\"offset\":0,\"epoch\":0,\"model\":{{\"name\":\"user-events\",\"version\":{version},\"digest\":\"{}\"}}}}",
        digest()
    );
    assert!(records[0].line.ends_with(&end), "{}", records[0].line);
}

#[test]
fn are_generated_files_the_events_of_the_generator() {
    let scene = Scene::new();
    let all = |folder: &str| -> Vec<Vec<u8>> {
        let paths = files(&scene.path(folder));
        paths.iter().map(|path| fs::read(path).unwrap()).collect()
    };
    let lines = |parts: &[Vec<u8>]| parts.concat().iter().filter(|byte| **byte == b'\n').count();
    let generate = |folder: &str, more: &[&str]| {
        let arguments = [&["generate", "--out", folder][..], more].concat();
        let ran = scene.run(&arguments).ended(0);
        assert_eq!(ran.stderr, "");
        ran.stdout
    };
    let said = generate("one", &["--events", "5000"]);
    assert_eq!(said, "5000 events in 4 files below `one`\n");
    let one = all("one");
    assert_eq!((one.len(), lines(&one)), (4, 5_000));
    let said = generate("one", &["--events", "5000", "--overwrite", "--json"]);
    let object: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(object, json!({ "events": 5_000, "files": 4, "out": "one" }));

    generate("again", &["--events", "5000", "--seed", "1"]);
    assert!(all("again") == one, "the default seed is 1");
    generate("other", &["--events", "5000", "--seed", "2"]);
    assert!(all("other") != one, "another seed gives other events");

    // Numbers of parts have one width, so that sorted paths are in the order of partitions.
    let wide = [
        ("partitions = 4", "partitions = 12"),
        ("events = 1_000_000", "events = 3_000"),
    ];
    scene.write("wide.toml", generated(&wide).as_bytes());
    generate("wide", &["wide.toml"]);
    let paths = files(&scene.path("wide"));
    let names: Vec<_> = paths
        .iter()
        .map(|path| path.file_name().unwrap().to_str().unwrap())
        .collect();
    let expected: Vec<_> = (0..12)
        .map(|part| format!("part-{part:02}.jsonl"))
        .collect();
    assert_eq!(names, expected);
    assert_eq!(lines(&all("wide")), 3_000);

    // A pipeline that reads files has no generator of its own; it is not in the way.
    scene.write("files.toml", crate::scene::pipeline(&[]).as_bytes());
    generate("files", &["files.toml", "--events", "5000", "--seed", "1"]);
    assert!(all("files") == one, "the options are obeyed");

    // Read back, they have the outcomes that the generator's own events have.
    let few = [("events = 1_000_000", "events = 5_000")];
    scene.write("few.toml", generated(&few).as_bytes());
    let job = crate::scene::pipeline(&[("path = \"in.jsonl\"", "path = \"one/*.jsonl\"")]);
    scene.write("job.toml", job.as_bytes());
    let direct = scene.run(&["run", "few.toml", "--json"]).ended(0).object();
    let read = scene.summary();
    for key in [
        "read",
        "predictions",
        "validation_errors",
        "processing_errors",
        "late_events",
    ] {
        assert_eq!(number(&direct, key), number(&read, key), "{key}");
        assert!(number(&read, key) > 0, "{key}");
    }
}

#[test]
fn are_features_rows_that_a_person_can_check() {
    let second = EVENT
        .replace("view", "purchase")
        .replace("00000}", "60000}");
    let input = [EVENT, &second, "{}\n"].concat();
    // No model is loaded for it.
    let path = format!("path = {:?}", model("twelve.onnx"));
    let scene = Scene::with(
        &[("path = \"builtin:user-events\"", &path)],
        input.as_bytes(),
    );
    let ran = scene
        .run(&["features", "job.toml", "--out", "rows", "--json"])
        .ended(0);
    let summary = ran.object();
    assert_eq!(number(&summary, "read"), 3);
    assert_eq!(number(&summary, "features"), 2);
    assert_eq!(number(&summary, "validation_errors"), 1);
    assert_eq!(summary["outputs"]["features"], "rows/features");
    let records = scene.records_below("rows");
    let lines: Vec<&str> = records
        .iter()
        .filter(|record| record.stream == "features")
        .map(|record| record.line.as_str())
        .collect();
    let row = |offset: usize, time: i64, features: &str| {
        format!(
            "{{\"partition\":0,\"offset\":{offset},\"key\":\"u\",\"event_time\":{time},\"features\":{{{features}}}}}"
        )
    };
    let expected = [
        row(0, 1_767_225_600_000, FIRST_ROW),
        row(EVENT.len(), 1_767_225_660_000, SECOND_ROW),
    ];
    assert_eq!(lines, expected);
    assert!(!scene.path("out").exists());
}

#[test]
fn is_a_result_that_cannot_be_printed_a_failure() {
    let scene = Scene::with(&[], EVENT.as_bytes());
    scene.write("bad.toml", b"[jbo]\n");
    let check = |arguments: &[&str]| {
        // A device that is always full.
        let full = fs::OpenOptions::new().write(true).open("/dev/full");
        let ran = finish(scene.command(arguments).stdout(full.unwrap())).ended(1);
        let said = "cannot write to stdout: No space left on device (os error 28)";
        assert_eq!(ran.stderr.lines().last(), Some(said), "{arguments:?}");
    };
    check(&["version"]);
    check(&["check", "job.toml"]);
    check(&["check", "bad.toml", "--json"]);
    check(&["run", "job.toml", "--json"]);
    check(&["run", "job.toml", "--overwrite"]);
    check(&["generate", "--events", "10", "--out", "made"]);
    // The outputs are there all the same.
    assert_eq!(scene.records().len(), 1);

    // Nobody reads it any more: nothing went wrong.
    let mut child = scene
        .command(&["run", "job.toml", "--overwrite"])
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn are_files_of_an_earlier_generate_kept_unless_replaced() {
    let scene = Scene::new();
    let generate = |more: &[&str]| scene.run(&[&["generate", "--out", "g"][..], more].concat());
    generate(&["--events", "100"]).ended(0);
    let before = fs::read(scene.path("g/part-0.jsonl")).unwrap();
    let refused = generate(&["--events", "50"]).ended(3);
    assert!(
        refused.stderr.contains("`--overwrite` replaces them"),
        "{}",
        refused.stderr
    );
    assert_eq!(fs::read(scene.path("g/part-0.jsonl")).unwrap(), before);
    // A part of no use any more would be read as a further partition.
    scene.write("g/part-9.jsonl", b"");
    generate(&["--events", "50", "--overwrite"]).ended(0);
    assert_eq!(files(&scene.path("g")).len(), 4);
    assert_ne!(fs::read(scene.path("g/part-0.jsonl")).unwrap(), before);
}

#[test]
fn has_the_pipeline_of_the_readme_no_mistake() {
    let scene = Scene::new();
    let readme = include_str!("../../README.md");
    let (_, rest) = readme.split_once("```toml\n").unwrap();
    let (pipeline, _) = rest.split_once("```").unwrap();
    scene.write("clicks.toml", pipeline.as_bytes());
    // All that is wrong is that its model is not here.
    let ran = scene.run(&["check", "clicks.toml"]).ended(3);
    assert!(
        ran.stderr.contains("cannot read model `clicks.onnx`"),
        "{}",
        ran.stderr
    );
}

#[test]
fn is_a_schema_printed() {
    let scene = Scene::new();
    let ran = scene.run(&["schema"]).ended(0);
    let schema: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(schema["$schema"], "http://json-schema.org/draft-07/schema#");
    assert!(schema["properties"]["job"]["description"].is_string());
}
