//! What a pipeline names is not as it should be: exit code 3, before anything is read or written.

use std::fs;

use serde_json::json;

use crate::scene::{Scene, changed, files, generated, model, pipeline};

const EVENT: &str = "{\"user_id\":\"u\",\"product_id\":\"p\",\"category\":\"c\",\"event_type\":\"view\",\"timestamp_ms\":1767225600000}\n";

const MODEL: &str = "path = \"builtin:user-events\"";
const SOURCE: &str = "path = \"in.jsonl\"";
const SINK: &str = "path = \"out\"";

/// Runs a pipeline with this change in a folder with files of all kinds; it must say this.
fn check(old: &str, new: &str, said: &str) {
    // What does not fit the model is said with the place where that is declared.
    let of_model = said.starts_with("model ") || said.starts_with("golden ");
    let said = &*format!("{}{said}", if of_model { "job.toml:153:1: " } else { "" });
    let scene = Scene::with(&[(old, new)], EVENT.as_bytes());
    scene.write("garbage.onnx", b"this is no model\n");
    scene.write("empty.onnx", b"");
    scene.write("golden.json", b"{}");
    scene.write("file", b"kept");
    let object = scene
        .run(&["check", "job.toml", "--json"])
        .ended(3)
        .object();
    let faults = object["preflight"].as_array().unwrap();
    assert_eq!(faults.len(), 1, "{object}");
    assert!(faults[0].as_str().unwrap().starts_with(said), "{object}");
    let said = format!("preflight failed: {said}");
    let mut commands = vec![vec!["run", "job.toml"], vec!["run", "job.toml", "--json"]];
    commands.push(vec!["check", "job.toml"]);
    // `features` loads no model and has an output of its own.
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
        "model `user-events` has no output `score` for `prediction`, it has: output",
    );
    check(
        "output = { name = \"prediction\" }",
        "output = { name = \"prediction\", index = 1 }",
        "model `user-events`: output `output` has 1 values a row, index 1 of `prediction` is out of range",
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
fn are_all_faults_said_by_one_check() {
    let scene = Scene::with(
        &[
            (MODEL, "path = \"none.onnx\""),
            (SOURCE, "path = \"none.jsonl\""),
            (SINK, "path = \"job.toml\""),
        ],
        b"",
    );
    let faults = [
        "cannot read model `none.onnx`: No such file or directory (os error 2)",
        "cannot open none.jsonl: No such file or directory (os error 2)",
        "cannot write below job.toml: it is not a folder",
    ];
    let said: String = faults
        .map(|it| format!("preflight failed: {it}\n"))
        .concat();
    let ran = scene.run(&["check", "job.toml"]).ended(3);
    assert_eq!((ran.stdout.as_str(), &ran.stderr), ("", &said));
    let ran = scene.run(&["check", "job.toml", "--json"]).ended(3);
    assert_eq!(ran.stderr, said);
    let object = ran.object();
    assert_eq!(object["mistakes"], json!([]));
    assert_eq!(object["preflight"], json!(faults));
    assert_eq!(
        (&object["model"], &object["partitions"]),
        (&json!(null), &json!(null))
    );
}

#[test]
fn is_an_input_among_the_outputs_never_written_over() {
    let lies = |input: &str, root: &str| {
        format!(
            "preflight failed: the source reads `{input}`, which lies in the folder `{root}/validation_errors` \
             of the job's own outputs; write to another folder or move the input\n"
        )
    };
    // Under the name of an output, under another, by a link to it, and by a link in its place.
    let check = |source: &str, input: &str| {
        let scene = Scene::new();
        let text = pipeline(&[(SOURCE, &format!("path = \"{source}\""))]);
        scene.write("job.toml", text.as_bytes());
        scene.write(
            "elsewhere.toml",
            changed(&text, &[(SINK, "path = \"b\"")]).as_bytes(),
        );
        scene.write("out/validation_errors/shard-0.jsonl", EVENT.as_bytes());
        scene.write("out/validation_errors/mine.jsonl", EVENT.as_bytes());
        scene.write("kept.jsonl", EVENT.as_bytes());
        std::os::unix::fs::symlink("out/validation_errors", scene.path("linked")).unwrap();
        let link = scene.path("out/validation_errors/shard-1.jsonl");
        std::os::unix::fs::symlink("../../kept.jsonl", &link).unwrap();
        for command in [
            &["run", "job.toml"][..],
            &["run", "job.toml", "--overwrite"],
            &["features", "job.toml", "--out", "./out", "--overwrite"],
            &["features", "elsewhere.toml", "--out", "out", "--overwrite"],
            &["check", "job.toml"],
        ] {
            let root = if command.contains(&"./out") {
                "./out"
            } else {
                "out"
            };
            let ran = scene.run(command).ended(3);
            // What else `check` has to say, a note, comes first.
            let last = ran.stderr.lines().last().unwrap();
            assert_eq!(format!("{last}\n"), lies(input, root), "{command:?}");
        }
        for name in ["shard-0.jsonl", "mine.jsonl"] {
            let path = scene.path("out/validation_errors").join(name);
            assert_eq!(fs::read(path).unwrap(), EVENT.as_bytes(), "{name}");
        }
        assert!(link.is_symlink());
        assert!(!scene.path("b").exists());
        // To another folder it may go.
        scene.run(&["run", "elsewhere.toml"]).ended(0);
    };
    let shard = "out/validation_errors/shard-0.jsonl";
    check(
        "out/validation_errors/*.jsonl",
        "out/validation_errors/mine.jsonl",
    );
    check(shard, shard);
    check(
        "./out/../out/validation_errors/mine.jsonl",
        "./out/../out/validation_errors/mine.jsonl",
    );
    check("linked/mine.jsonl", "linked/mine.jsonl");
    check(
        "out/validation_errors/shard-1.jsonl",
        "out/validation_errors/shard-1.jsonl",
    );
}

#[test]
fn is_a_generator_of_other_events_refused() {
    let required = "name = \"label\"\ntype = \"string\"";
    let scene = Scene::new();
    let write = |name: &str, field: &str| {
        let text = generated(&[
            ("events = 1_000_000", "events = 100"),
            (
                "[history]\n",
                &format!("[[event.field]]\n{field}\n\n[history]\n"),
            ),
        ]);
        scene.write(name, text.as_bytes());
    };
    write("job.toml", required);
    write("optional.toml", &format!("{required}\nrequired = false"));
    let made = "`user_id`, `product_id`, `category`, `event_type`, `timestamp_ms`";
    let said = format!(
        "preflight failed: the generator cannot make events with the required field `label`; it makes \
         {made}: read files with `kind = \"file\"` in [source] instead\n"
    );
    for command in ["run", "check"] {
        let ran = scene.run(&[command, "job.toml"]).ended(3);
        assert_eq!((ran.stdout.as_str(), &ran.stderr), ("", &said), "{command}");
    }
    assert!(!scene.path("out").exists());
    scene.run(&["run", "optional.toml"]).ended(0);

    let note = format!(
        "note: generated events are those of the reference job, with {made}; this pipeline's `label` is \
         not among them\n"
    );
    for name in ["job.toml", "optional.toml"] {
        let ran = scene
            .run(&["generate", name, "--out", "made", "--overwrite"])
            .ended(0);
        assert_eq!(ran.stderr, note, "{name}");
    }
}

#[test]
fn are_outputs_of_an_earlier_run_a_note_of_check() {
    let scene = Scene::with(&[], EVENT.as_bytes());
    scene.run(&["run", "job.toml"]).ended(0);
    let note = "`out/ml_predictions/shard-0.jsonl` holds the outputs of an earlier run; `run` needs `--overwrite`";
    let ran = scene.run(&["check", "job.toml"]).ended(0);
    assert_eq!(ran.stderr, format!("note: {note}\n"));
    let ran = scene.run(&["check", "job.toml", "--json"]).ended(0);
    assert_eq!(
        (ran.object()["notes"].clone(), ran.stderr.as_str()),
        (json!([note]), "")
    );
}

#[test]
fn is_generate_kept_from_what_is_not_its_own() {
    let scene = Scene::new();
    scene.write("file", b"kept");
    for (out, said) in [
        ("file", "cannot write below file: it is not a folder"),
        (
            "file/below",
            "cannot create file/below: Not a directory (os error 20)",
        ),
    ] {
        let ran = scene
            .run(&["generate", "--out", out, "--overwrite"])
            .ended(3);
        assert_eq!(ran.stderr, format!("preflight failed: {said}\n"));
    }
    assert_eq!(fs::read(scene.path("file")).unwrap(), b"kept");
    let others = [
        "part-.jsonl",
        "part-x.jsonl",
        "part-1.jsonl.bak",
        "part-1-old.jsonl",
    ];
    for name in others {
        scene.write(&format!("made/{name}"), b"kept");
    }
    let generate = ["generate", "--out", "made", "--events", "10"];
    scene.run(&generate).ended(0);
    scene.write("made/part-77.jsonl", b"of an earlier call");
    scene.run(&generate).ended(3);
    scene
        .run(&[&generate[..], &["--overwrite"]].concat())
        .ended(0);
    assert!(!scene.path("made/part-77.jsonl").exists());
    for name in others {
        let path = scene.path("made").join(name);
        assert_eq!(fs::read(path).unwrap(), b"kept", "{name}");
    }
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
