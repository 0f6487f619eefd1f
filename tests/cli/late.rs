//! Late events: to a stream of their own, handled at the watermark, or dropped and counted.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::scene::{START, Scene, conserved, event, files, number};

/// Events of one user, so long after the start. With two seconds of disorder, the watermark is at 3,000 when
/// the third one comes.
const EVENTS: [i64; 4] = [0, 5_000, -1, 5_500];

fn scene(late: &str, order: &str) -> Scene {
    let input: String = EVENTS.iter().map(|&at| event("u", at)).collect();
    let late = format!("late = \"{late}\"");
    let order = format!("order = \"{order}\"");
    let changes = [
        ("late = \"dead_letter\"", &*late),
        ("order = \"arrival\"", &*order),
        ("provenance = false", "provenance = true"),
    ];
    Scene::with(&changes, input.as_bytes())
}

/// Milliseconds since the user's event before, and the sine of the hour, by the event's time.
fn features(scene: &Scene) -> BTreeMap<i64, (i64, f64)> {
    scene
        .run(&["features", "job.toml", "--out", "vectors"])
        .ended(0);
    let mut found = BTreeMap::new();
    for path in files(&scene.path("vectors/features")) {
        for line in std::fs::read_to_string(path).unwrap().lines() {
            let row: Value = serde_json::from_str(line).unwrap();
            let feature = |name: &str| row["features"][name].as_f64().unwrap();
            let gap = feature("since_previous").exp_m1().round() as i64;
            let at = row["event_time"].as_i64().unwrap() - START;
            found.insert(at, (gap, feature("hour_sin")));
        }
    }
    found
}

#[test]
fn is_a_late_event_that_is_processed_handled_at_the_watermark() {
    let check = |order: &str, gaps: [i64; 4]| {
        let scene = scene("process", order);
        let summary = scene.summary();
        assert_eq!(
            (conserved(&summary), number(&summary, "predictions")),
            (4, 4)
        );
        let found = features(&scene);
        for (at, gap) in EVENTS.iter().zip(gaps) {
            assert_eq!(found[at].0, gap, "{order}: {at}");
        }
        // Its own features go by its own time: a millisecond before midnight.
        let sine = (std::f64::consts::TAU * 23.0 / 24.0).sin();
        assert!((found[&-1].1 - sine).abs() < 1e-6, "{order}");
        // So does the time that its prediction shows.
        let late = scene.records_by_place().into_values().find(|record| {
            let record: Value = serde_json::from_str(&record.line).unwrap();
            record["event_time"] == START - 1
        });
        assert_eq!(late.unwrap().stream, "ml_predictions");
    };
    // In the order in which they came, the late one at 3,000.
    check("arrival", [0, 5_000, 0, 2_500]);
    // Before the one of 5,000, which was read first.
    check("event_time", [0, 2_000, 3_000, 500]);
}

#[test]
fn is_a_late_event_that_is_dropped_counted() {
    for order in ["arrival", "event_time"] {
        let scene = scene("drop", order);
        let summary = scene.summary();
        assert_eq!(
            (conserved(&summary), number(&summary, "predictions")),
            (4, 3)
        );
        assert_eq!(number(&summary, "late_events"), 1);
        assert!(
            scene
                .records()
                .iter()
                .all(|record| record.stream == "ml_predictions")
        );
        assert_eq!(scene.records().len(), 3);
        let table = scene
            .run(&["run", "job.toml", "--overwrite"])
            .ended(0)
            .stdout;
        let row = table
            .lines()
            .find(|line| line.trim().starts_with("late events"));
        let row = row.unwrap().trim();
        assert!(row.contains(" 1 ") && row.ends_with("dropped"), "{table}");
    }
}

/// One event far ahead, and all that follow it are late: nothing that a person would guess from the table.
#[test]
fn is_a_person_told_why_most_events_were_late() {
    let check = |ahead: &[(&str, &str)], first: i64, expected: bool| {
        let later = (0..10).map(|at| event("u", at));
        let lines: String = std::iter::once(event("u", first)).chain(later).collect();
        let scene = Scene::with(ahead, lines.as_bytes());
        let ran = scene.run(&["run", "job.toml"]).ended(0);
        let note = "note: 10 of 11 events were late. One event with a time far ahead";
        assert_eq!(ran.stderr.contains(note), expected, "{}", ran.stderr);
    };
    let unbounded = [("max_ahead = \"1h\" ", "")];
    check(&unbounded, 900_000_000, true);
    check(&unbounded, 100, false);
    check(&[], 900_000_000, false);
}
