//! Does the engine find the features that their definitions give, whatever the pipeline and the events?
//!
//! Random pipelines on random records are run with one, two and four workers, and a few records at a time; what comes out is
//! held against a slow oracle that was written from the definitions alone.
//!
//! - `dice`: random draws from a seed.
//! - `conditions`, `declared`: what a pipeline of these tests is. `pipelines`: random ones. `files`, `events`: records for them.
//! - `bounds`, `oracle`: what must be found.
//! - `job`: what the engine finds, and whether it is that. `shrink`: the smallest case that differs.
//!
//! `SLACKWATER_FEATURE_CASES=10000` tries so many cases, `SLACKWATER_FEATURE_CASES=17..18` the one that failed.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod bounds;
mod conditions;
mod declared;
mod dice;
mod files;
mod events;
mod job;
mod oracle;
mod pipelines;
mod shrink;

use std::collections::BTreeMap;
use std::env;
use std::fs::File;
use std::io::Write as _;
use std::ops::Range;
use std::path::Path;

use serde_json::json;

use crate::declared::{Feature, Order, Pipeline, Window};
use crate::dice::Dice;
use crate::events::{Record, Size};
use crate::files::Files;
use crate::job::{Case, Fault, Polls, RUNS, check, check_as};
use crate::oracle::Outcome;
use crate::shrink::smallest;

/// Cases of the gate, half of them in each order.
const CASES: u64 = 600;
/// How many are tried, or which.
const WHICH: &str = "SLACKWATER_FEATURE_CASES";
/// The file to which each test adds a line, if somebody wants a report.
const REPORT: &str = "SLACKWATER_FEATURE_REPORT";

#[test]
fn are_features_as_defined_in_arrival_order() {
    Campaign::of(Order::Arrival).run();
}

#[test]
fn are_features_as_defined_in_event_time_order() {
    Campaign::of(Order::EventTime).run();
}

/// Cases in which each of the changes below must show.
const CASES_UNTIL_SEEN: u64 = 100;

#[test]
fn does_an_engine_that_does_something_else_show() {
    fn in_each_feature(engine: &mut Pipeline, change: fn(&mut Feature)) {
        engine.features.iter_mut().for_each(change);
    }
    let check = |what: &str, change: &dyn Fn(&mut Pipeline)| {
        let is_seen = |seed| {
            let order = [Order::EventTime, Order::Arrival][seed as usize % 2];
            let case = drawn(seed, order);
            let mut engine = case.pipeline.clone();
            change(&mut engine);
            matches!(check_as(&case, &engine), Err(Fault::Differs(_)))
        };
        assert!((0..CASES_UNTIL_SEEN).any(is_seen), "{what}");
    };
    check("a millisecond more of time", &|engine| {
        in_each_feature(engine, |it| {
            if let Some(Window::Time(ms)) = &mut it.window {
                *ms += 1;
            }
        });
    });
    check("one more of the last", &|engine| {
        in_each_feature(engine, |it| {
            if let Some(Window::Last(events)) = &mut it.window {
                *events += 1;
            }
        });
    });
    check("a millisecond more of history", &|engine| {
        if let Some(history) = &mut engine.history {
            history.ttl_ms += 1;
        }
    });
    check("one more of history", &|engine| {
        if let Some(history) = &mut engine.history {
            history.events += 1;
        }
    });
    check("a millisecond of disorder", &|engine| {
        engine.max_out_of_orderness_ms += 1;
    });
    check("itself or not", &|engine| {
        in_each_feature(engine, |it| it.includes_self = !it.includes_self);
    });
    check("another fill", &|engine| {
        in_each_feature(engine, |it| it.fill += 1.0);
    });
    check("all events count", &|engine| {
        in_each_feature(engine, |it| {
            if it.of != "share" {
                it.condition = None;
            }
        });
    });
    check("transforms in another order", &|engine| {
        in_each_feature(engine, |it| it.transforms.reverse());
    });
    check("no check", &|engine| engine.checks.clear());
}

/// The cases of one order, and what they had in them.
struct Campaign {
    order: Order,
    cases: u64,
    records: usize,
    outcomes: BTreeMap<&'static str, usize>,
    kinds: BTreeMap<&'static str, usize>,
    windows: BTreeMap<&'static str, usize>,
    also: BTreeMap<&'static str, usize>,
    /// Numbers, by how closely they were held.
    held: BTreeMap<&'static str, usize>,
    numbers: usize,
    files: usize,
}

impl Campaign {
    fn of(order: Order) -> Self {
        Campaign {
            order,
            cases: 0,
            records: 0,
            outcomes: BTreeMap::new(),
            kinds: BTreeMap::new(),
            windows: BTreeMap::new(),
            also: BTreeMap::new(),
            held: BTreeMap::new(),
            numbers: 0,
            files: 0,
        }
    }

    fn run(mut self) {
        for seed in which() {
            // Every other case is of the other order.
            if (seed % 2 == 0) == (self.order == Order::EventTime) {
                self.case(seed);
            }
        }
        self.report();
    }

    fn case(&mut self, seed: u64) {
        let case = drawn(seed, self.order);
        match check(&case) {
            Ok(expected) => self.count(&case, expected.into_values()),
            Err(fault) => {
                let (case, fault) = smallest(case, fault);
                panic!(
                    "case {seed} ({WHICH}={seed}..{} repeats it): {fault}\n{:?}\n\n{}\n{}",
                    seed + 1,
                    case.polls,
                    case.pipeline.file(Path::new("in"), 1),
                    shown(&case),
                );
            }
        }
    }

    fn count(&mut self, case: &Case, outcomes: impl Iterator<Item = Outcome>) {
        self.cases += 1;
        self.files += case.inputs.len();
        for outcome in outcomes {
            self.records += 1;
            let name = match outcome {
                Outcome::Features { numbers, .. } => {
                    self.numbers += numbers.len();
                    for (_, bounds) in numbers {
                        *self.held.entry(bounds.hold().name()).or_default() += 1;
                    }
                    "features"
                }
                Outcome::ValidationError => "validation error",
                Outcome::ProcessingError => "processing error",
                Outcome::Late => "late",
                Outcome::Nothing => "dropped",
            };
            *self.outcomes.entry(name).or_default() += 1;
        }
        for (name, count) in case.pipeline.also() {
            *self.also.entry(name).or_default() += count;
        }
        for feature in &case.pipeline.features {
            *self.kinds.entry(feature.of).or_default() += 1;
            let window = match feature.window {
                Some(Window::History) => "history",
                Some(Window::Last(_)) => "last",
                Some(Window::Time(_)) => "time",
                None => continue,
            };
            *self.windows.entry(window).or_default() += 1;
        }
    }

    fn report(&self) {
        if let Some(path) = env::var_os(REPORT) {
            let found = json!({
                "order": self.order.name(),
                "cases": self.cases,
                "runs": self.cases * RUNS,
                "records": self.records,
                "numbers": self.numbers,
                "files": self.files,
                "held": self.held,
                "outcomes": self.outcomes,
                "kinds": self.kinds,
                "windows": self.windows,
                "also": self.also,
            });
            let file = File::options().create(true).append(true).open(path);
            writeln!(file.unwrap(), "{found}").unwrap();
        }
    }
}

/// The case of a seed.
fn drawn(seed: u64, order: Order) -> Case {
    let mut dice = Dice::new(seed);
    let mut drawn = pipelines::draw(&mut dice, order);
    let size = Size::draw(&mut dice);
    drawn.pipeline.features.truncate(size.features_max());
    let files = Files::draw(&mut dice, &drawn.pipeline);
    let inputs = events::draw(&mut dice, &drawn, &files, size);
    Case {
        pipeline: drawn.pipeline,
        polls: Polls::draw(&mut dice, &inputs),
        inputs,
    }
}

/// The seeds to try.
fn which() -> Range<u64> {
    let Ok(text) = env::var(WHICH) else {
        return 0..CASES;
    };
    let number = |text: &str| {
        let number = text.parse();
        number.unwrap_or_else(|_| panic!("{WHICH}={text}: expected a number or FROM..TO"))
    };
    match text.split_once("..") {
        Some((first, end)) => number(first)..number(end),
        None => 0..number(&text),
    }
}

/// The inputs, a file after the other.
fn shown(case: &Case) -> String {
    let line = |record: &Record| String::from_utf8_lossy(&record.text).into_owned() + "\n";
    let files = case.inputs.iter().enumerate().map(|(nth, input)| {
        let lines: String = input.records.iter().map(line).collect();
        format!("in/{nth}.jsonl:\n{lines}")
    });
    files.collect()
}
