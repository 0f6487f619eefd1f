//! What a pipeline names is not as it should be: exit code 3, before anything is read or written.

use std::fs;

use crate::scene::{Scene, files, model};

const EVENT: &str = "{\"user_id\":\"u\",\"product_id\":\"p\",\"category\":\"c\",\"event_type\":\"view\",\"timestamp_ms\":1767225600000}\n";

const MODEL: &str = "path = \"builtin:user-events\"";
const SOURCE: &str = "path = \"in.jsonl\"";
const SINK: &str = "path = \"out\"";

/// Runs a pipeline with this change in a folder with files of all kinds; it must say this.
fn check(old: &str, new: &str, said: &str) {
    let scene = Scene::with(&[(old, new)], EVENT.as_bytes());
    scene.write("garbage.onnx", b"this is no model\n");
    scene.write("empty.onnx", b"");
    scene.write("golden.json", b"{}");
    scene.write("file", b"kept");
    let said = format!("preflight failed: {said}");
    // `check` does not look at outputs, `features` loads no model.
    let mut commands = vec![vec!["run", "job.toml"], vec!["run", "job.toml", "--json"]];
    if old != SINK {
        commands.push(vec!["check", "job.toml"]);
        commands.push(vec!["check", "job.toml", "--json"]);
    }
    if old == SOURCE {
        commands.push(vec!["features", "job.toml", "--out", "rows"]);
    }
    for command in commands {
        let ran = scene.run(&command).ended(3);
        assert_eq!(ran.stdout, "", "{command:?}");
        assert!(ran.stderr.starts_with(&said), "{command:?}: {}", ran.stderr);
        assert_eq!(ran.stderr.lines().count(), 1, "{command:?}: {}", ran.stderr);
    }
    assert!(!scene.path("out").exists(), "{new}");
    assert!(!scene.path("rows").exists(), "{new}");
    assert_eq!(fs::read(scene.path("file")).unwrap(), b"kept");
}

#[test]
fn is_a_model_that_does_not_fit_refused() {
    let digest = serde_json::from_str::<serde_json::Value>(include_str!(
        "../../pipelines/models/user-events.golden.json"
    ));
    let digest = digest.unwrap()["digest"].as_str().unwrap().to_owned();
    let named = |name: &str| format!("path = {:?}", model(name));
    check(
        MODEL,
        &named("twelve.onnx"),
        "model `twelve` has 12 inputs, the pipeline declares 16 features",
    );
    let zeros = format!("sha256:{}", "0".repeat(64));
    check(
        MODEL,
        &format!("{MODEL}\ndigest = \"{zeros}\""),
        &format!("model `user-events` has digest {digest}, the pipeline accepts only {zeros}"),
    );
    check(
        MODEL,
        &format!("{}\ndigest = \"{digest}\"", named("reciprocal.onnx")),
        "model `reciprocal` has digest sha256:",
    );
    check(
        MODEL,
        "path = \"none.onnx\"",
        "cannot read model `none.onnx`: No such file or directory",
    );
    check(MODEL, "path = \"parts\"", "cannot read model `parts`: ");
    check(
        MODEL,
        "path = \"garbage.onnx\"",
        "model `garbage` is not a readable ONNX file: ",
    );
    check(
        MODEL,
        "path = \"empty.onnx\"",
        "model `empty` is not a readable ONNX file: ",
    );
    check(
        "output = { name = \"prediction\" }",
        "output = { name = \"prediction\", tensor = \"score\" }",
        "model `user-events` has no output `score`, it has: output",
    );
    check(
        "output = { name = \"prediction\" }",
        "output = { name = \"prediction\", index = 1 }",
        "model `user-events`: output `output` has 1 values a row, index 1 is out of range",
    );
    check(
        MODEL,
        &format!("{MODEL}\ngolden = \"golden.json\""),
        "golden vector of model `user-events` is unusable: ",
    );
    check(
        MODEL,
        &format!("{MODEL}\ngolden = \"none.json\""),
        "cannot read golden vector `none.json`: No such file or directory",
    );
}

#[test]
fn is_an_input_that_is_not_there_refused() {
    check(
        SOURCE,
        "path = \"none/*.jsonl\"",
        "cannot open none/*.jsonl: no file matches the pattern",
    );
    check(
        SOURCE,
        "path = \"none.jsonl\"",
        "cannot open none.jsonl: No such file or directory",
    );
    check(
        SOURCE,
        "path = \".\"",
        "cannot open .: it is a folder, expected a file",
    );
}

#[test]
fn is_an_output_that_cannot_be_made_refused() {
    // The folder's place is taken by a file, or lies below one.
    check(
        SINK,
        "path = \"file\"",
        "cannot write below file: it is not a folder",
    );
    check(
        SINK,
        "path = \"file/out\"",
        "cannot list file/out/ml_predictions: Not a directory",
    );
}

#[test]
fn are_outputs_of_an_earlier_run_kept_unless_told_otherwise() {
    let scene = Scene::with(&[], EVENT.as_bytes());
    scene.run(&["run", "job.toml"]).ended(0);
    // More than the next run will write, so that a leftover would show.
    let old = "old\n";
    scene.write("out/validation_errors/shard-7.jsonl", old.as_bytes());
    scene.write("out/ml_predictions/notes.txt", old.as_bytes());
    let before = scene.records();
    assert_eq!(before.len(), 3);

    let ran = scene.run(&["run", "job.toml"]).ended(3);
    assert_eq!(ran.stdout, "");
    assert_eq!(
        ran.stderr,
        "preflight failed: `out/ml_predictions/shard-0.jsonl` holds the outputs of an earlier run; `--overwrite` replaces them\n"
    );
    assert_eq!(scene.records(), before);

    // Nor does a run that fails later in its preflight touch them.
    let broken = fs::read_to_string(scene.path("job.toml")).unwrap();
    let broken = broken.replace(MODEL, "path = \"none.onnx\"");
    scene.write("broken.toml", broken.as_bytes());
    scene.run(&["run", "broken.toml", "--overwrite"]).ended(3);
    assert_eq!(scene.records(), before);

    let ran = scene.run(&["run", "job.toml", "--overwrite"]).ended(0);
    let said = "job `user-events` on ";
    assert!(ran.stderr.starts_with(said), "{}", ran.stderr);
    let said = " workers: from `in.jsonl` to `out`, replacing what an earlier run left\n";
    assert!(ran.stderr.ends_with(said), "{}", ran.stderr);
    // Whatever else lies there is nobody's output.
    assert_eq!(scene.records().len(), 2);
    assert_eq!(files(&scene.path("out/validation_errors")).len(), 2);
    assert_eq!(
        fs::read(scene.path("out/ml_predictions/notes.txt")).unwrap(),
        old.as_bytes()
    );

    // The same holds for `features`.
    let features = ["features", "job.toml", "--out", "out"];
    scene.run(&features).ended(3);
    scene
        .run(&[&features[..], &["--overwrite"]].concat())
        .ended(0);
}
