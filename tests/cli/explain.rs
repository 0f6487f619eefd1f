//! What a pipeline will run as: shown without opening anything that the pipeline names.

use serde_json::Value;

use crate::scene::{Scene, model, pipeline};

#[test]
fn is_a_pipeline_explained_in_every_form() {
    let scene = Scene::new();
    // Neither its input nor its model is there.
    let changes = [("path = \"builtin:user-events\"", "path = \"none.onnx\"")];
    scene.write("job.toml", pipeline(&changes).as_bytes());
    let check = |arguments: &[&str], start: &str, within: &str| {
        let ran = scene.run(&[&["explain"][..], arguments].concat()).ended(0);
        assert_eq!(ran.stderr, "");
        assert!(ran.stdout.starts_with(start), "{}", ran.stdout);
        assert!(ran.stdout.contains(within), "{within}: {}", ran.stdout);
        assert!(ran.stdout.ends_with('\n') && !ran.stdout.ends_with("\n\n"));
    };
    let text = "job user-events, ";
    check(&["job.toml"], text, "\n  path: in.jsonl\n");
    check(
        &["job.toml", "--format", "text"],
        text,
        "\n  file: none.onnx\n",
    );
    let edge = "\"features\" -> \"infer\" [label=\"vectors\"];";
    check(
        &["job.toml", "--format", "dot"],
        "digraph \"user-events\" {\n",
        edge,
    );
    let edge = "stage_features -->|\"vectors\"| stage_infer";
    check(&["job.toml", "--format", "mermaid"], "flowchart TD\n", edge);
    // Without a file: the embedded pipeline.
    check(&[], text, "\n  kind: generator\n  partitions: 4\n");
    assert!(!scene.path("out").exists());
}

#[test]
fn is_the_object_the_same_graph() {
    let scene = Scene::with(&[("workers = 0 ", "workers = 3 ")], b"");
    let ran = scene.run(&["explain", "job.toml", "--json"]).ended(0);
    let object = ran.object();
    assert_eq!(
        (&object["job"], &object["workers"]),
        (&"user-events".into(), &3.into())
    );
    let stages = object["stages"].as_array().unwrap();
    assert_eq!(stages.len(), 11);
    let stage = |name: &str| stages.iter().find(|stage| stage["name"] == name).unwrap();
    let facts = stage("late_events")["facts"].as_array().unwrap();
    assert_eq!(facts[0]["says"], "out/late_events_dlq, 2 files");
    let edges = object["edges"].as_array().unwrap();
    let leads = |edge: &&Value| edge["from"] == "source" && edge["to"] == "ingest";
    assert_eq!(edges.iter().filter(leads).count(), 1);
}

#[test]
fn what_is_not_explained() {
    let scene = Scene::with(&[], b"");
    scene.write("bad.toml", b"[jbo]\n");
    let check = |arguments: &[&str], said: &str| {
        let ran = scene.run(&[&["explain"][..], arguments].concat()).ended(2);
        assert!(ran.stderr.contains(said), "{}", ran.stderr);
    };
    check(&["bad.toml"], "in the pipeline file, nothing was started");
    check(&["none.toml"], "cannot read pipeline file `none.toml`");
    check(&["job.toml", "--format", "svg"], "invalid value 'svg'");
    check(
        &["job.toml", "--json", "--format", "dot"],
        "cannot be used with",
    );
    // A model that would be refused is explained all the same: nothing is opened.
    let path = format!("path = {:?}", model("twelve.onnx"));
    let job = pipeline(&[("path = \"builtin:user-events\"", &path)]);
    scene.write("twelve.toml", job.as_bytes());
    scene.run(&["explain", "twelve.toml"]).ended(0);
}
