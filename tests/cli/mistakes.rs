//! Pipelines and arguments that are wrong: everything wrong is said at once, with its place, and
//! nothing is started.

use serde_json::Value;

use crate::scene::{Scene, pipeline};

/// A good pipeline with these changes, and what must be said about it: line, column, message.
fn check(changes: &[(&str, &str)], expected: &[(usize, usize, &str)]) {
    let scene = Scene::with(changes, b"");
    let lines: Vec<String> = expected
        .iter()
        .map(|(line, column, message)| format!("job.toml:{line}:{column}: {message}"))
        .collect();
    let count = match expected.len() {
        1 => "1 mistake".to_owned(),
        count => format!("{count} mistakes"),
    };
    let said = format!(
        "{}\n{count} in the pipeline file, nothing was started\n",
        lines.join("\n")
    );
    let mistakes: Vec<Value> = expected
        .iter()
        .map(|(line, column, message)| {
            serde_json::json!({ "file": "job.toml", "line": line, "column": column, "message": message })
        })
        .collect();
    let object = serde_json::json!({ "mistakes": mistakes });

    for command in [&["run"][..], &["check"], &["features", "--out", "rows"]] {
        let ran = scene.run(&[command, &["job.toml"]].concat()).ended(2);
        assert_eq!(
            (ran.stdout.as_str(), &ran.stderr),
            ("", &said),
            "{command:?}"
        );
        let ran = scene
            .run(&[command, &["job.toml", "--json"]].concat())
            .ended(2);
        assert_eq!(
            (ran.object(), &ran.stderr),
            (object.clone(), &said),
            "{command:?}"
        );
    }
    let ran = scene
        .run(&["generate", "job.toml", "--out", "made"])
        .ended(2);
    assert_eq!((ran.stdout.as_str(), &ran.stderr), ("", &said));
    for folder in ["out", "rows", "made"] {
        assert!(!scene.path(folder).exists(), "{folder}");
    }
}

/// The line of the test's pipeline that begins with `start`, from 1.
fn line(start: &str) -> usize {
    let text = pipeline(&[]);
    1 + text
        .lines()
        .position(|line| line.starts_with(start))
        .unwrap()
}

#[test]
fn are_five_mistakes_said_at_once_and_in_order() {
    check(
        &[
            ("workers = 0 ", "wokers = 0 "),
            ("max_bytes = \"1MiB\"", "max_bytes = \"1MB\""),
            ("of = \"mean_gap\"", "of = \"maen_gap\""),
            (
                "path = \"builtin:user-events\"",
                "path = \"builtin:user-event\"",
            ),
            ("shards = 2", "shards = 0"),
        ],
        &[
            (
                line("workers"),
                1,
                "unknown key `wokers` in [job], did you mean `workers`?",
            ),
            (
                line("max_bytes"),
                13,
                "`max_bytes`: expected a size such as \"64KiB\", got \"1MB\"",
            ),
            (
                line("of = \"mean_gap\""),
                6,
                "`of`: unknown value \"maen_gap\", did you mean \"mean_gap\"?",
            ),
            (
                line("path = \"builtin"),
                8,
                "unknown builtin model \"user-event\", did you mean \"user-events\"?",
            ),
            (line("shards"), 10, "`shards`: must be from 1 to 64, got 0"),
        ],
    );
}

#[test]
fn is_what_a_later_version_will_do_refused_by_name() {
    let end = pipeline(&[]).lines().count();
    check(
        &[("order = \"arrival\"", "order = \"event_time\"")],
        &[(
            line("order"),
            9,
            "`order`: \"event_time\" is not supported in this version",
        )],
    );
    check(
        &[(
            "kind = \"file\"\npath = \"in.jsonl\"",
            "kind = \"kafka\"\ntopic = \"user_events\"",
        )],
        &[(
            line("kind = \"file\""),
            8,
            "`kind`: \"kafka\" is not supported in this version",
        )],
    );
    check(
        &[(
            "form = \"envelope\"\n",
            "form = \"envelope\"\n\n[checkpoint]\nstore = \"file:state\"\n",
        )],
        &[(end + 2, 1, "[checkpoint] is not supported in this version")],
    );
}

#[test]
fn are_arguments_that_mean_nothing_refused() {
    let scene = Scene::with(&[], b"");
    let check = |arguments: &[&str], said: &str| {
        let ran = scene.run(arguments).ended(2);
        assert_eq!(ran.stdout, "", "{arguments:?}");
        assert!(ran.stderr.contains(said), "{arguments:?}: {}", ran.stderr);
        assert!(!scene.path("out").exists(), "{arguments:?}");
    };
    check(&["frobnicate"], "unrecognized subcommand 'frobnicate'");
    check(
        &["chek", "job.toml"],
        "a similar subcommand exists: 'check'",
    );
    check(
        &["run", "job.toml", "--jsn"],
        "unexpected argument '--jsn' found",
    );
    check(&["--overwrite"], "unexpected argument '--overwrite' found");
    check(
        &["run", "job.toml", "other.toml"],
        "unexpected argument 'other.toml' found",
    );
    check(&["generate"], "--out <OUT>");
    check(
        &["generate", "--out", "x", "--events", "many"],
        "invalid value 'many' for '--events <EVENTS>'",
    );
    check(&["features", "job.toml"], "--out <OUT>");
    for command in ["run", "check"] {
        check(
            &[command, "none.toml"],
            "cannot read pipeline file `none.toml`: No such file or directory",
        );
        check(
            &[command, "."],
            "cannot read pipeline file `.`: Is a directory",
        );
    }
    scene.write("latin.toml", b"[job]\nname = \"caf\xe9\"\n");
    check(
        &["run", "latin.toml"],
        "cannot read pipeline file `latin.toml`: ",
    );
}
