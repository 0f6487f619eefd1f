//! Pipelines without a model: their features go out in place of predictions.

use serde_json::Value;

use crate::scene::{Scene, event, generated, number, pipeline};
use crate::supervised::Running;

/// The model of the reference pipeline, as it stands there.
const MODEL: &str =
    "[model]\npath = \"builtin:user-events\"\noutput = { name = \"prediction\" }\nbatch = 64\n";

/// What both pipelines say of provenance.
const PROVENANCE: (&str, &str) = ("provenance = false", "provenance = true");

#[test]
fn are_features_what_a_model_would_have_seen() {
    let events: String = (0..40)
        .map(|at| event(["a", "b", "c"][at % 3], at as i64 * 700))
        .collect();
    let scene = Scene::with(&[(MODEL, ""), PROVENANCE], events.as_bytes());
    let checked = scene.run(&["check", "job.toml"]).ended(0);
    assert!(checked.stdout.ends_with("16 features\n"), "{checked:?}");
    let summary = scene.summary();
    assert_eq!(number(&summary, "features"), 40);
    assert_eq!(summary.get("predictions"), None);
    assert_eq!(summary["outputs"]["features"], "out/ml_predictions");

    // What training reads is made of the same pipeline, and of one with the model, in a form of its own.
    scene
        .run(&["features", "job.toml", "--out", "rows"])
        .ended(0);
    let read = |root: &str| {
        let records = scene.records_below(root).into_iter();
        let records = records.map(|record| serde_json::from_str::<Value>(&record.line).unwrap());
        let mut records: Vec<_> = records.collect();
        records.sort_by_key(|record| record["offset"].as_u64());
        records
    };
    let (given, rows) = (read("out"), read("rows"));
    assert_eq!((given.len(), rows.len()), (40, 40));
    for (given, row) in given.iter().zip(&rows) {
        assert_eq!(given["features"], row["features"]);
        let names: Vec<_> = given
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        let expected = [
            "epoch",
            "event_time",
            "features",
            "offset",
            "partition",
            "processing_time",
            "product_id",
            "user_id",
        ];
        assert_eq!(names, expected);
    }
    scene.write("with-model.toml", pipeline(&[]).as_bytes());
    scene
        .run(&[
            "features",
            "with-model.toml",
            "--out",
            "rows",
            "--overwrite",
        ])
        .ended(0);
    assert_eq!(read("rows"), rows);
}

#[test]
fn is_a_feature_that_is_no_number_a_dead_letter() {
    let broken = (
        "name = \"one\"\nof = \"constant\"\nvalue = 1.0\n",
        "name = \"one\"\nof = \"constant\"\nvalue = -2.0\ntransform = [\"log1p\"]\n",
    );
    let scene = Scene::with(&[(MODEL, ""), broken], event("a", 0).as_bytes());
    let summary = scene.summary();
    assert_eq!(
        (
            number(&summary, "features"),
            number(&summary, "processing_errors")
        ),
        (0, 1)
    );
    let records = scene.records();
    let letter: Value = serde_json::from_str(&records[0].line).unwrap();
    let text = letter.to_string();
    assert_eq!(records[0].stream, "processing_errors");
    assert!(
        text.contains("feature `one` is NaN") && text.contains("not_finite"),
        "{text}"
    );
}

#[test]
fn does_such_a_job_go_on_from_its_checkpoint() {
    const EVENTS: u64 = 8_000;
    let recovery = "form = \"envelope\"\n[checkpoint]\ninterval = \"50ms\"\nmin_pause = \"0s\"\n";
    let scene = Scene::new();
    let changes = [
        (MODEL, ""),
        PROVENANCE,
        ("events = 1_000_000", "events = 8_000"),
        // Slow, so that it is stopped in time, however busy the machine is.
        ("rate = 0 ", "rate = 400 "),
        ("form = \"envelope\"\n", recovery),
    ];
    scene.write("job.toml", generated(&changes).as_bytes());
    let running = Running::start(&scene, &["--json"]);
    running.status_that(|status| status["last"]["checkpoints"]["completed"].as_u64() > Some(0));
    scene.run(&["stop", "job.toml"]).ended(0);
    let stopped: Value = serde_json::from_slice(&running.end().stdout).unwrap();
    assert!(number(&stopped, "read") < EVENTS, "{stopped}");
    // With a model it is another job.
    let with_model = generated(&changes[1..]);
    scene.write("with-model.toml", with_model.as_bytes());
    let ran = scene.run(&["run", "with-model.toml"]).ended(4);
    assert!(
        ran.stderr.contains("model was `none` and is `sha256:"),
        "{}",
        ran.stderr
    );
    let ran = scene.run(&["run", "job.toml", "--json", "--set", "source.rate=0"]);
    assert_eq!(number(&ran.ended(0).object(), "read"), EVENTS);
    assert_eq!(scene.records_by_place().len() as u64, EVENTS);
}

#[test]
fn what_is_said_of_such_a_pipeline() {
    let scene = Scene::with(&[(MODEL, "")], b"");
    let explained = scene.run(&["explain", "job.toml"]).ended(0).stdout;
    let expected = "\nencode features\n  fields: user_id, product_id, features\n  -> encode dead letters (rejects: \
                    processing_errors)\n  -> publish (records)\n";
    assert!(explained.contains(expected), "{explained}");
    assert!(
        !explained.contains("infer") && !explained.contains("predictions\n  fields"),
        "{explained}"
    );
    for command in ["show", "score", "bench"] {
        let ran = scene.run(&["model", command, "job.toml"]).ended(3);
        let said =
            "preflight failed: the pipeline has no [model]: its features go out as they are\n";
        assert_eq!((ran.stdout.as_str(), &*ran.stderr), ("", said));
    }
    // The name of what goes out is taken.
    let text = pipeline(&[
        (MODEL, ""),
        (
            "fields = [\"user_id\", \"product_id\"]",
            "fields = [\"features\"]",
        ),
    ]);
    let field =
        "[[event.field]]\nname = \"features\"\ntype = \"string\"\nrequired = false\n\n[history]\n";
    scene.write(
        "job.toml",
        text.replacen("[history]\n", field, 1).as_bytes(),
    );
    let ran = scene.run(&["check", "job.toml"]).ended(2);
    let said = "a prediction has a \"features\" of its own: leave it out of `fields`";
    assert!(ran.stderr.contains(said), "{}", ran.stderr);
}
