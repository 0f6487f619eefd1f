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
    let object = serde_json::json!({ "mistakes": mistakes, "count": expected.len() });

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
            (line("shards"), 10, "`shards`: must be from 1 to 128, got 0"),
        ],
    );
}

#[cfg(not(feature = "parquet"))]
#[test]
fn is_a_table_refused_by_a_program_that_cannot_read_it() {
    check(
        &[(
            "kind = \"file\"\npath = \"in.jsonl\"",
            "kind = \"file\"\npath = \"in.parquet\"",
        )],
        &[(
            line("kind = \"file\"") + 1,
            8,
            "`path`: tables of Parquet are read by a program that was built with `cargo build --release --features parquet`",
        )],
    );
}

#[test]
fn is_what_a_later_version_will_do_refused_by_name() {
    let end = pipeline(&[]).lines().count();
    check(
        &[(
            "form = \"envelope\"\n",
            "form = \"envelope\"\n\n[api]\nlisten = \"127.0.0.1:8081\"\n",
        )],
        &[(end + 2, 1, "[api] is not supported in this version")],
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
        "some similar subcommands exist: 'schema', 'checkpoints', 'check'",
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
    for events in ["0", "1000000000001"] {
        check(
            &["generate", "--out", "x", "--events", events],
            &format!(
                "invalid value '{events}' for '--events <EVENTS>': {events} is not in 1..=1000000000000"
            ),
        );
    }
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
}

#[test]
fn is_a_file_that_is_no_pipeline_told_from_one() {
    let scene = Scene::new();
    let check = |bytes: &[u8], said: &str| {
        scene.write("job.toml", bytes);
        let ran = scene.run(&["run", "job.toml", "--json"]).ended(2);
        let (first, rest) = ran.stderr.split_once('\n').unwrap();
        assert_eq!(first, format!("job.toml:{said}"));
        assert_eq!(
            rest,
            "1 mistake in the pipeline file, nothing was started\n"
        );
        assert_eq!(ran.object()["count"], 1);
    };
    check(
        b"[job]\nname = \"caf\xe9\"\n",
        "2:12: byte 17 of the file is not UTF-8: expected a pipeline file, which is text in TOML",
    );
    check(
        b"\x7fELF\xff",
        "1:5: byte 4 of the file is not UTF-8: expected a pipeline file, which is text in TOML",
    );
    let long = "1:1: the file has more than 1MiB: expected a pipeline file, which is written by hand in TOML";
    // The last byte that is read is the first of two.
    check("\u{e9}".repeat(600_000).as_bytes(), long);
    check(&vec![b'\n'; (1 << 20) + 1], long);

    // A file without an end is not read to it.
    let ran = scene.run(&["check", "/dev/zero"]).ended(2);
    assert!(
        ran.stderr.starts_with("/dev/zero:1:1: the file has more"),
        "{}",
        ran.stderr
    );
}

#[test]
fn are_many_mistakes_cut_and_counted() {
    let scene = Scene::new();
    let check = |mistakes: usize, shown: usize, more: &str, listed: usize| {
        let keys = (0..mistakes).map(|number| format!("k{number} = 1\n"));
        let keys: String = keys.collect();
        let text = pipeline(&[("[job]\n", &format!("[job]\n{keys}"))]);
        scene.write("job.toml", text.as_bytes());
        let ran = scene.run(&["check", "job.toml", "--json"]).ended(2);
        let tail: Vec<&str> = ran.stderr.lines().skip(shown).collect();
        let count = format!("{mistakes} mistakes in the pipeline file, nothing was started");
        let expected: Vec<&str> = [more, &count]
            .into_iter()
            .filter(|it| !it.is_empty())
            .collect();
        assert_eq!(tail, expected);
        let object = ran.object();
        assert_eq!(object["count"], mistakes);
        assert_eq!(object["mistakes"].as_array().unwrap().len(), listed);
    };
    check(50, 50, "", 50);
    check(51, 50, "and 1 more", 51);
    check(1_500, 50, "and 1450 more", 1_000);
}
