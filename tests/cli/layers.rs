//! What is said above a pipeline file: by the environment, and on the command line.

use std::fs::File;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::scene::{Ran, Scene, conserved, event, finish};

fn run(scene: &Scene, arguments: &[&str], environment: &[(&str, &str)]) -> Ran {
    let mut command = scene.command(arguments);
    finish(command.envs(environment.iter().copied()))
}

#[test]
fn is_every_layer_obeyed_and_the_highest_one_first() {
    let events = format!("{}{}", event("a", 0), event("b", 1));
    let scene = Scene::with(&[], events.as_bytes());
    let environment = [
        ("SLACKWATER_SINK__PATH", "by-variable"),
        ("SLACKWATER_SINK__PROVENANCE", "true"),
    ];
    run(&scene, &["run", "job.toml"], &environment).ended(0);
    let records = scene.records_below("by-variable");
    assert_eq!(records.len(), 2);
    assert!(
        records
            .iter()
            .all(|record| record.line.contains("\"epoch\":"))
    );
    let set = ["run", "job.toml", "--set", "sink.path=by-argument"];
    run(&scene, &set, &environment).ended(0);
    assert_eq!(scene.records_below("by-argument").len(), 2);
    assert!(!scene.path("out").exists());

    // The embedded pipeline takes them as well, and so does every other command.
    let small = [
        "--set",
        "source.events=100",
        "--set",
        "sink.path=embedded",
        "--json",
    ];
    let ran = run(&scene, &[&["run"][..], &small].concat(), &[]).ended(0);
    assert_eq!(conserved(&ran.object()), 100);
    assert!(scene.path("embedded").exists());
    let named = ["--set", "job.name=other"];
    let explained = run(
        &scene,
        &[&["explain", "job.toml"][..], &named].concat(),
        &[],
    )
    .ended(0);
    assert!(explained.stdout.starts_with("job other, "), "{explained:?}");
    let status = run(&scene, &[&["status", "job.toml"][..], &named].concat(), &[]).ended(2);
    assert!(
        status.stderr.starts_with("job `other` has no [checkpoint]"),
        "{status:?}"
    );
}

#[test]
fn is_what_is_shown_a_pipeline_file() {
    let scene = Scene::with(&[], event("a", 0).as_bytes());
    let environment = [("SLACKWATER_JOB__WORKERS", "2")];
    let show = ["check", "job.toml", "--show", "--set", "sink.path=shown"];
    let ran = run(&scene, &show, &environment).ended(0);
    assert_eq!(ran.stderr, "");
    assert!(
        ran.stdout.contains("\nworkers = 2 # environment\n"),
        "{}",
        ran.stdout
    );
    assert!(
        ran.stdout.contains("\npath = \"shown\" # --set\n"),
        "{}",
        ran.stdout
    );
    scene.write("shown.toml", ran.stdout.as_bytes());
    let checked = scene.run(&["check", "shown.toml"]).ended(0);
    assert_eq!(checked.stderr, "");
    scene.run(&["run", "shown.toml"]).ended(0);
    assert_eq!(scene.records_below("shown").len(), 1);
}

#[test]
fn is_a_mistake_above_the_file_told_by_its_name() {
    let scene = Scene::with(&[], b"");
    let environment = [("SLACKWATER_JOB__WROKERS", "4")];
    let arguments = [
        "check",
        "job.toml",
        "--set",
        "snik.path=x",
        "--set",
        "sink",
        "--json",
    ];
    let ran = run(&scene, &arguments, &environment).ended(2);
    let said = "environment SLACKWATER_JOB__WROKERS: unknown key `wrokers` in [job], did you mean `workers`?\n\
                --set snik.path: unknown table [snik], did you mean [sink]?\n\
                --set: expected TABLE.KEY=VALUE, as in `--set job.workers=4`\n\
                3 mistakes in the pipeline file, nothing was started\n";
    assert_eq!(ran.stderr, said);
    let object = ran.object();
    assert_eq!(object["count"], 3);
    let expected = json!({
        "file": null, "line": null, "column": null, "layer": "--set snik.path",
        "message": "unknown table [snik], did you mean [sink]?",
    });
    assert_eq!(object["mistakes"][1], expected);
}

/// A pipe gives what is in it once.
#[test]
fn is_a_pipeline_read_once() {
    let scene = Scene::with(&[], b"");
    let shown = scene.run(&["check", "job.toml", "--show"]).ended(0);
    let file = File::open(scene.path("job.toml")).unwrap();
    let mut cat = Command::new("cat");
    let mut cat = cat.stdin(file).stdout(Stdio::piped()).spawn().unwrap();
    let mut command = scene.command(&["check", "/dev/stdin", "--show"]);
    let piped = finish(command.stdin(cat.stdout.take().unwrap())).ended(0);
    cat.wait().unwrap();
    assert_eq!(piped.stdout, shown.stdout);
}
