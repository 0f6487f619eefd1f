//! Whole jobs with expressions: checks with `when` in both stages, filters, and what is counted of them.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::scene::{Scene, conserved, event, number};

/// Stands in the pipeline before the history.
const EXPRESSIONS: &str = r#"[[check]]
when = "!user_id.startsWith('test-') || product_id == 'p'"
message = "a test of nothing"

[[check]]
when = "size(user_id) < 12"
message = "a long name"
stage = "feature"

[[check]]
when = "{'view': true, 'click': false}[event_type]"
message = "no views"
stage = "feature"

[[filter]]
keep = "user_id != 'bot'"

[[filter]]
keep = "int(product_id.matches('^[0-9]+$') ? product_id : '7') == 7"

# What is remembered"#;

fn scene(more: &[(&str, &str)]) -> Scene {
    let of = |user: &str, at: i64, product: &str, kind: &str| {
        let line = event(user, at);
        let line = line.replace(
            r#""product_id":"p""#,
            &format!(r#""product_id":"{product}""#),
        );
        line.replace("view", kind)
    };
    let input = [
        of("anna", 0, "p", "view"),
        of("test-1", 0, "p", "view"),
        of("test-1", 0, "q", "view"),
        of("much-too-long", 0, "p", "view"),
        of("anna", 1_000, "p", "click"),
        // There is no such key: what the check says, and why.
        of("bob", 1_000, "p", "buy"),
        // Left out, but its time counts: the next one is late.
        of("bot", 10_000, "p", "view"),
        of("anna", 1_000, "p", "view"),
        of("anna", 10_000, "8", "view"),
        // No 64-bit number: the filter has no value.
        of("anna", 10_000, "99999999999999999999", "view"),
        of("anna", 11_000, "7", "view"),
    ];
    let changes = [&[("# What is remembered", EXPRESSIONS)], more].concat();
    Scene::with(&changes, input.concat().as_bytes())
}

/// What is said of each rejected event, by its time and message.
fn letters(scene: &Scene) -> BTreeMap<(String, String), Value> {
    let records = scene.records();
    let letters = records.iter().filter(|it| it.stream != "ml_predictions");
    letters
        .map(|record| {
            let letter: Value = serde_json::from_str(&record.line).unwrap();
            let message = letter["message"].as_str().unwrap().to_owned();
            let user = letter["original_event"][0].as_str().unwrap();
            ((message, user.to_owned()), letter)
        })
        .collect()
}

#[test]
fn what_becomes_of_events_that_are_checked_and_filtered() {
    for order in ["arrival", "event_time"] {
        let order = format!("order = \"{order}\"");
        let scene = scene(&[("order = \"arrival\"", &order)]);
        let summary = scene.summary();
        assert_eq!(conserved(&summary), 11);
        let counts = [
            ("predictions", 3),
            ("validation_errors", 2),
            ("processing_errors", 3),
            ("late_events", 1),
            ("filtered", 2),
        ];
        for (name, expected) in counts {
            assert_eq!(number(&summary, name), expected, "{name} of {summary}");
        }
        let letters = letters(&scene);
        assert_eq!(letters.len(), 6);
        let check = |message: &str, user: &str, stage: &str, code: &str, trace: Option<&str>| {
            let letter = &letters[&(message.to_owned(), user.to_owned())];
            assert_eq!(
                (&letter["stage"], &letter["code"]),
                (&stage.into(), &code.into())
            );
            assert_eq!(letter["stack_trace"].as_str(), trace, "{letter}");
        };
        check(
            "a test of nothing",
            "test-1",
            "validate",
            "check_failed",
            None,
        );
        let trace = "feature/check: a long name";
        check(
            "a long name",
            "much-too-long",
            "feature",
            "check_failed",
            Some(trace),
        );
        let trace = "feature/check: no views";
        check("no views", "anna", "feature", "check_failed", Some(trace));
        let why = "there is no such key in `{'view': true, 'click': false}[event_type]`";
        let trace = format!("{trace}\ncaused by: feature/expression: {why}");
        check("no views", "bob", "feature", "check_failed", Some(&trace));
        let failure = "Error executing function 'int': string parse error: number too large to fit in target type";
        let filter = "int(product_id.matches('^[0-9]+$') ? product_id : '7') == 7";
        let message = format!("filter `{filter}` has no value: {failure}");
        let trace = format!("validate/expression: {failure} in `{filter}`");
        check(&message, "anna", "validate", "filter_failed", Some(&trace));
        let table = scene
            .run(&["run", "job.toml", "--overwrite"])
            .ended(0)
            .stdout;
        let row = table
            .lines()
            .find(|line| line.trim().starts_with("filtered"));
        assert!(row.unwrap().trim().ends_with("left out"), "{table}");
    }
}

#[test]
fn are_events_that_were_left_out_still_counted_after_a_stop_in_between() {
    let scene = scene(&[(
        "[sink]\n",
        "[checkpoint]\nstore = \"file:state\"\n\n[sink]\n",
    )]);
    let summary = scene.summary();
    assert_eq!((conserved(&summary), number(&summary, "filtered")), (11, 2));
    // The job is complete; what it has counted is in its last checkpoint.
    let shown = scene.run(&["checkpoints", "list", "job.toml", "--json"]);
    let shown = shown.ended(0).stdout;
    assert!(shown.contains("\"filtered\":2"), "{shown}");
}

#[test]
fn is_a_mistake_in_an_expression_told_with_its_place() {
    let scene = scene(&[("keep = \"user_id != 'bot'\"", "keep = \"usr_id != 'bot'\"")]);
    let ran = scene.run(&["check", "job.toml"]).ended(2);
    let text = std::fs::read_to_string(scene.path("job.toml")).unwrap();
    let line = 1 + text
        .lines()
        .position(|line| line.contains("usr_id"))
        .unwrap();
    let expected =
        format!("job.toml:{line}:9: `keep`: unknown field \"usr_id\", did you mean \"user_id\"?");
    assert!(ran.stderr.contains(&expected), "{ran:?}");
}
