//! Models that give no usable score for some events: those become processing errors, all others are
//! scored, also those of the same batch.

use serde_json::Value;

use crate::canonical::mask;
use crate::scene::{Scene, conserved, model, number};

const TIME: i64 = 1_767_225_600_000;

/// One event a line: user and event type.
fn events(events: &[(&str, &str)]) -> String {
    let line = |(user, kind): &(&str, &str)| {
        format!(
            "{{\"user_id\":\"{user}\",\"product_id\":\"p\",\"category\":\"c\",\"event_type\":\"{kind}\",\"timestamp_ms\":{TIME}}}\n"
        )
    };
    events.iter().map(line).collect()
}

/// Runs `events` through a model; gives for each in turn its score, or the record of its error.
fn outcomes(name: &str, of: &[(&str, &str)]) -> Vec<Result<f64, Value>> {
    let path = format!("path = {:?}", model(&format!("{name}.onnx")));
    let changes = [
        ("path = \"builtin:user-events\"", path.as_str()),
        ("provenance = false", "provenance = true"),
        // All events in one batch.
        ("workers = 0 ", "workers = 1 "),
    ];
    let scene = Scene::with(&changes, events(of).as_bytes());
    let ran = scene.run(&["run", "job.toml", "--json"]).ended(0);
    // What a model panics about stands in the dead letters, not on stderr.
    assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
    let summary = ran.object();
    assert_eq!(conserved(&summary), of.len() as u64);
    assert_eq!(number(&summary, "validation_errors"), 0);
    assert_eq!(number(&summary, "late_events"), 0);
    let records = scene.records_by_place().into_values();
    let outcomes: Vec<_> = records
        .map(|record| {
            let value = mask(&record.line);
            match value.get("prediction").and_then(Value::as_f64) {
                Some(score) => Ok(score),
                None => {
                    assert_eq!(record.stream, "processing_errors");
                    Err(value)
                }
            }
        })
        .collect();
    assert_eq!(outcomes.len(), of.len());
    outcomes
}

/// The error of one event.
fn error(from: (&str, &str), offset: usize, code: &str, message: &str, trace: &str) -> Value {
    let (user, kind) = from;
    let record = serde_json::json!({
        "original_event": [user, "p", "c", kind, TIME],
        "error_type": "PROCESSING_ERROR",
        "message": message,
        "timestamp": 0.0,
        "code": code,
        "stage": "infer",
        "source": { "topic": "in.jsonl", "partition": 0, "offset": offset },
        "stack_trace": trace,
        "event_time": TIME,
    });
    mask(&record.to_string())
}

#[test]
fn does_a_score_that_is_no_number_cost_only_its_own_event() {
    let check = |name: &str, of: &[(&str, &str, Result<f64, &str>)]| {
        let pairs: Vec<_> = of.iter().map(|(user, kind, _)| (*user, *kind)).collect();
        let mut offset = 0;
        for (found, (user, kind, expected)) in outcomes(name, &pairs).into_iter().zip(of) {
            let expected = expected.map_err(|value| {
                let message = format!("model `{name}` output `prediction` is {value}");
                let trace = format!("infer/model: {message}");
                error((user, kind), offset, "not_finite", &message, &trace)
            });
            assert_eq!(found, expected, "{user} {kind}");
            offset += events(&[(user, kind)]).len();
        }
    };
    check(
        "logarithm",
        &[
            ("a", "click", Ok(0.0)),
            ("b", "view", Err("-infinity")),
            ("c", "other", Err("NaN")),
            ("d", "click", Ok(0.0)),
            ("c", "click", Ok(0.0)),
            ("a", "other", Err("NaN")),
        ],
    );
    check(
        "reciprocal",
        &[
            ("a", "view", Err("infinity")),
            ("b", "add_to_cart", Ok(0.5)),
            ("c", "other", Ok(-1.0)),
            ("a", "click", Ok(1.0)),
        ],
    );
}

#[test]
fn does_a_failing_model_cost_only_the_events_that_it_fails_for() {
    // The model knows scores for a user's first two events only. An event that it fails for has
    // happened all the same: the fourth is the fourth.
    let of = [
        ("a", "click"),
        ("b", "click"),
        ("a", "click"),
        ("a", "click"),
        ("c", "click"),
        ("a", "view"),
        ("b", "click"),
    ];
    let found = outcomes("gather", &of);
    let expected = [
        Some(0.5),
        Some(0.5),
        Some(0.75),
        None,
        Some(0.5),
        None,
        Some(0.75),
    ];
    let offsets = of.iter().scan(0, |next, event| {
        let offset = *next;
        *next += events(&[*event]).len();
        Some(offset)
    });
    for (((found, expected), event), offset) in found.into_iter().zip(expected).zip(of).zip(offsets)
    {
        match expected {
            Some(score) => assert_eq!(found, Ok(score), "{event:?} at {offset}"),
            None => {
                let found = found.unwrap_err();
                // The cause is in the runtime's own words.
                let trace = found["stack_trace"].as_str().unwrap();
                let caused = "infer/model: model `gather` failed\ncaused by: infer/runtime: ";
                assert!(trace.starts_with(caused), "{trace}");
                assert!(trace.len() > caused.len(), "{trace}");
                let message = "model `gather` failed";
                assert_eq!(found, error(event, offset, "model_failed", message, trace));
            }
        }
    }
}
