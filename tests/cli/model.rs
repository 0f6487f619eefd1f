//! A pipeline's model by itself: what it is, what it says of rows, what a row costs.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::scene::{Ran, Scene, model, pipeline};

const EVENT: &str = "{\"user_id\":\"u\",\"product_id\":\"p\",\"category\":\"c\",\"event_type\":\"view\",\"timestamp_ms\":1767225600000}\n";

const GOLDEN: &str = include_str!("../../pipelines/models/user-events.golden.json");

/// Runs `model score` of the embedded pipeline on what comes from stdin.
fn scored(scene: &Scene, input: &[u8]) -> Ran {
    let mut command = scene.command(&["model", "score"]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    // It is all read before anything is written, or the pipe holds it.
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

fn lines(text: &str) -> Vec<Value> {
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.collect()
}

#[test]
fn what_is_shown_of_a_model() {
    let scene = Scene::new();
    let golden: Value = serde_json::from_str(GOLDEN).unwrap();
    let ran = scene.run(&["model", "show", "--json"]).ended(0);
    let mut object = ran.object();
    let compared = object["golden"].take();
    assert_eq!(compared["rows"], 32);
    assert!(compared["greatest_difference"].as_f64().unwrap() <= 1e-5);
    let expected = json!({
        "name": "user-events",
        "version": 0,
        "digest": golden["digest"],
        "input": "input",
        "outputs": [{ "name": "prediction", "tensor": "output", "index": 0 }],
        "batch": 64,
        "features": golden["features"],
        "golden": null,
    });
    assert_eq!(object, expected);
    let ran = scene.run(&["model", "show"]).ended(0);
    let start = format!(
        "model     user-events, version 0\ndigest    {}\n",
        golden["digest"].as_str().unwrap()
    );
    assert!(ran.stdout.starts_with(&start), "{}", ran.stdout);
    for said in [
        "golden    32 rows, greatest difference ",
        "\n   0 events\n",
        "\n  15 one\n",
    ] {
        assert!(ran.stdout.contains(said), "{said}: {}", ran.stdout);
    }
}

#[test]
fn is_each_line_answered_with_its_score_or_why_there_is_none() {
    let scene = Scene::new();
    let zeros = "[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]";
    let of_zeros = json!({ "score": 0.412_029_2 });
    let golden: Value = serde_json::from_str(GOLDEN).unwrap();
    let names = golden["features"].as_array().unwrap();
    let object = |leave_out: usize, more: &str| {
        let named = names.iter().skip(leave_out);
        let named: Vec<_> = named.map(|name| format!("{name}:0")).collect();
        format!("{{{}{more}}}", named.join(","))
    };
    let error = |text: &str| json!({ "error": text });
    let rows = [
        (zeros.to_owned(), of_zeros.clone()),
        (object(0, ""), of_zeros.clone()),
        (
            format!("{{\"offset\":3,\"features\":{}}}\r", object(0, "")),
            of_zeros.clone(),
        ),
        (
            "[1,2]".to_owned(),
            error("the line has 2 numbers, the model takes 16"),
        ),
        (object(1, ""), error("feature `events` is missing")),
        (
            object(0, ",\"other\":1"),
            error("the model has no feature `other`"),
        ),
        (
            object(0, ",\"features\":1"),
            error("the model has no feature `features`"),
        ),
        (
            object(1, ",\"events\":null"),
            error("feature `events` is null, expected a number"),
        ),
        (
            object(1, ",\"events\":1e39"),
            error("feature `events` is 1e+39, beyond 32-bit floats"),
        ),
        (
            "7".to_owned(),
            error("expected a list of numbers or an object of names and numbers"),
        ),
        (zeros.to_owned(), of_zeros),
    ];
    // More rows than the model scores together, the last without its line feed.
    let many = || rows.iter().cycle().take(11 * 13);
    let input: Vec<&str> = many().map(|(line, _)| line.as_str()).collect();
    let ran = scored(&scene, input.join("\n").as_bytes()).ended(0);
    let expected: Vec<&Value> = many().map(|(_, answer)| answer).collect();
    // Lines that differ are easier to find than two long lists.
    let answers = lines(&ran.stdout);
    assert_eq!(answers.len(), expected.len());
    for (at, (answer, expected)) in answers.iter().zip(expected).enumerate() {
        let number = |value: &Value| value["score"].as_f64();
        match (number(answer), number(expected)) {
            (Some(score), Some(wanted)) => assert!((score - wanted).abs() < 1e-5, "{answer}"),
            _ => assert_eq!(answer, expected, "line {at}"),
        }
    }
    assert_eq!(ran.stderr, "note: 91 of 143 lines could not be scored\n");
}

#[test]
fn is_a_line_that_is_no_row_told_from_the_end_of_the_input() {
    let scene = Scene::new();
    for (input, start) in [
        (&b"\n"[..], "the line is not JSON"),
        (b"\xff\n", "the line is not JSON"),
        (&[b'['; 1 << 20], "the line has more than 1048576 bytes"),
    ] {
        let ran = scored(&scene, input).ended(0);
        let said = lines(&ran.stdout);
        assert_eq!(said.len(), 1);
        assert!(
            said[0]["error"].as_str().unwrap().starts_with(start),
            "{said:?}"
        );
    }
    let ran = scored(&scene, b"").ended(0);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""));
}

#[test]
fn does_scoring_end_when_nobody_reads_on() {
    let scene = Scene::new();
    let mut command = scene.command(&["model", "score"]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut input = child.stdin.take().unwrap();
    // An input without end: only the process can end this.
    while input.write_all(b"[1]\n").is_ok() {}
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn are_scores_of_written_features_those_of_a_run() {
    let input: String = (0..200)
        .map(|at| {
            EVENT
                .replace("\"u\"", &format!("\"u{}\"", at % 7))
                .replace("0000}", &format!("{:04}}}", at * 7))
        })
        .collect();
    let scene = Scene::with(&[("shards = 2", "shards = 1")], input.as_bytes());
    scene.summary();
    scene
        .run(&["features", "job.toml", "--out", "rows"])
        .ended(0);
    let run = fs::read_to_string(scene.path("out/ml_predictions/shard-0.jsonl")).unwrap();
    let file = "rows/features/shard-0.jsonl";
    let ran = scene
        .run(&["model", "score", "job.toml", "--in", file])
        .ended(0);
    let sorted = |text: &str, name: &str| {
        let mark = format!("\"{name}\":");
        let number = |line: &str| {
            let value = line.split(&mark).nth(1).unwrap();
            value.split([',', '}']).next().unwrap().to_owned()
        };
        let mut numbers: Vec<String> = text.lines().map(number).collect();
        numbers.sort();
        numbers
    };
    // To the last digit, as texts.
    let scores = sorted(&ran.stdout, "score");
    assert_eq!(scores.len(), 200);
    assert_eq!(scores, sorted(&run, "prediction"));
}

#[test]
fn is_a_row_that_the_model_fails_on_alone_in_that() {
    // `gather` fails on rows that begin with more than 2, `reciprocal` divides by the thirteenth number.
    let row = |first: usize, thirteenth: usize| {
        format!("[{first},0,0,0,0,0,0,0,0,0,0,0,{thirteenth},0,0,0]\n")
    };
    let check = |network: &str, rows: [String; 3], expected: [Result<f64, &str>; 3]| {
        let path = format!("path = {:?}", model(&format!("{network}.onnx")));
        let scene = Scene::with(&[("path = \"builtin:user-events\"", &path)], b"");
        scene.write("rows", rows.concat().as_bytes());
        let ran = scene.run(&["model", "score", "job.toml", "--in", "rows"]);
        let said = lines(&ran.ended(0).stdout);
        assert_eq!(said.len(), 3);
        for (said, expected) in said.iter().zip(expected) {
            match expected {
                Ok(score) => assert_eq!(said, &json!({ "score": score })),
                Err(start) => assert!(said["error"].as_str().unwrap().starts_with(start), "{said}"),
            }
        }
    };
    let failed = "model `gather` failed: ";
    check(
        "gather",
        [row(1, 0), row(7, 0), row(2, 0)],
        [Ok(0.5), Err(failed), Ok(0.75)],
    );
    let infinite = "`prediction` is infinity";
    check(
        "reciprocal",
        [row(0, 2), row(0, 0), row(0, 4)],
        [Ok(0.5), Err(infinite), Ok(0.25)],
    );
}

#[test]
fn what_does_a_row_cost() {
    let scene = Scene::with(&[("batch = 64", "batch = 32")], b"");
    let ran = scene
        .run(&["model", "bench", "job.toml", "--json"])
        .ended(0);
    let object = ran.object();
    assert_eq!(
        (&object["model"], &object["threads"]),
        (&"user-events".into(), &1.into())
    );
    let batches = object["batches"].as_array().unwrap();
    let own: Vec<_> = batches
        .iter()
        .filter(|it| it["of_pipeline"] == true)
        .collect();
    assert_eq!(own.len(), 1);
    assert_eq!(own[0]["batch"], 32);
    for measured in batches {
        let least = measured["least_ns"].as_f64().unwrap();
        let median = measured["median_ns"].as_f64().unwrap();
        assert!(0.0 < least && least <= median, "{measured}");
    }
    let ran = scene.run(&["model", "bench"]).ended(0);
    assert!(ran.stdout.contains("the pipeline's"), "{}", ran.stdout);
    assert!(ran.stdout.ends_with("one thread\n"), "{}", ran.stdout);
}

#[test]
fn what_ends_a_look_at_a_model() {
    let scene = Scene::with(&[], b"");
    scene.write("bad.toml", b"[jbo]\n");
    let path = format!("path = {:?}", model("twelve.onnx"));
    let job = pipeline(&[("path = \"builtin:user-events\"", &path)]);
    scene.write("twelve.toml", job.as_bytes());
    let check = |arguments: &[&str], code: i32, said: &str| {
        let ran = scene.run(&[&["model"][..], arguments].concat()).ended(code);
        assert!(ran.stderr.contains(said), "{}", ran.stderr);
    };
    for command in ["show", "score", "bench"] {
        check(&[command, "bad.toml"], 2, "nothing was started");
        check(
            &[command, "twelve.toml"],
            3,
            "has 12 inputs, the pipeline declares 16",
        );
    }
    check(&[], 2, "Usage");
    check(&["score", "--in", "none"], 3, "cannot read rows `none`");
    check(&["score", "--in", "."], 3, "cannot read rows `.`");
}
