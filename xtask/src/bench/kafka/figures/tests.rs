//! What is made of figures.

use std::collections::BTreeMap;

use serde_json::json;

use super::Found;
use crate::bench::kafka::turns::{AT_ONCE, COMMITTED, CONSUME, ENGINE, Load, ONE_RECORD, PRODUCE};
use crate::bench::turns::{Sample, Samples};

/// Each turn costs more than the one before, the engine always 1.2 us beyond both clients.
fn found() -> Found {
    let mut samples = Vec::new();
    for turn in [0, 2, 1, 3] {
        let busy = turn as f64;
        for (what, us) in [(CONSUME, 0.5), (PRODUCE, 1.3), (ENGINE, 3.0 + busy)] {
            let raw = json!({
                "us_per_event": us + busy,
                "events_per_second": 400_000.0 + 1_000.0 * busy,
                "broker_us_per_event": 0.1,
            });
            samples.push(Sample { what, turn, raw });
        }
        for (what, ms) in [(ONE_RECORD, 2.0), (COMMITTED, 130.0), (AT_ONCE, 7.0)] {
            let raw = json!({ "p50_ms": 1.0, "p99_ms": ms + busy, "rate": 199_000.0 });
            samples.push(Sample { what, turn, raw });
        }
    }
    Found {
        command: "cargo xtask bench kafka".to_owned(),
        events: 2_000_000,
        load: Some(Load {
            rate: 201_000,
            seconds: 20,
        }),
        samples: Samples(samples),
        machine: BTreeMap::from([("cores", "2".to_owned())]),
    }
}

#[test]
fn does_the_section_say_what_was_found() {
    let section = found().section();
    let check = |expected: &str| assert!(section.contains(expected), "{expected}\n{section}");
    check("## Through Kafka\n\nWritten by `cargo xtask bench kafka`; each run");
    check("| cores | 2 |");
    check("| consume only | 2.50 (1.50 to 3.50) | 402 (401 to 403) | 0.10 (0.10 to 0.10) |");
    check("beyond consuming and producing it | at most 1.5 us | 1.20 (1.20 to 1.20) us | met |");
    check("| the same, what is hoped for | at most 0.8 us | 1.20 (1.20 to 1.20) us | **missed** |");
    check("| at most 150.0 ms | 128.00 (128.00 to 128.00) ms | met |");
    check("| at most 120.0 ms | 128.00 (128.00 to 128.00) ms | **missed** |");
    check("| the same at least once | at most 4.0 ms | 5.00 (5.00 to 5.00) ms | **missed** |");
    check("| engine, at least once | 1.0 | 0.0 | 9.0 (8.0 to 10.0) |");
    check("for 20 s at 201,000 events/s");
}

#[test]
fn how_large_is_the_load() {
    assert_eq!(found().half_rate(), 201_000);
}

#[test]
fn are_delays_that_were_not_measured_no_verdict() {
    let section = Found {
        load: None,
        ..found()
    }
    .section();
    assert!(!section.contains("at least once"), "{section}");
    assert!(section.contains("at most 1.5 us"), "{section}");
}

#[test]
fn are_all_samples_kept() {
    let json = found().json();
    assert_eq!(json["samples"].as_array().map(Vec::len), Some(24));
    assert_eq!(json["samples"][0]["warm_up"], true);
    assert_eq!(json["load"]["rate"], 201_000);
}
