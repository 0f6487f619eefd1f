//! A case, run by the engine as `slackwater features` runs it, and held against the oracle.
//!
//! Jobs of one process share nothing that counts: the clock, the allocator and the log of warnings, which nobody reads here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::Path;

use serde_json::Value as Json;
use slackwater::job::{Job, Product};
use slackwater::pipeline::Pipeline as Parsed;
use slackwater_connectors::file::Existing;

use crate::declared::{Pipeline, Value};
use crate::events::Input;
use crate::oracle::{Outcome, Place, outcomes};

/// Numbers of workers that a case is run with.
const WORKERS: [usize; 3] = [1, 2, 4];

/// A pipeline and its inputs.
#[derive(Clone, Debug)]
pub struct Case {
    pub pipeline: Pipeline,
    pub inputs: Vec<Input>,
}

/// Why a case is not as it must be.
#[derive(Debug)]
pub enum Fault {
    /// The engine does not take it or does not end well.
    Unusable(String),
    /// It finds something else.
    Differs(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Fault::Unusable(what) | Fault::Differs(what)) = self;
        out.write_str(what)
    }
}

/// Runs a case with each number of workers, and gives what must have been found.
pub fn check(case: &Case) -> Result<BTreeMap<Place, Outcome>, Fault> {
    let folder = tempfile::tempdir().unwrap();
    let inputs = folder.path().join("in");
    fs::create_dir(&inputs).unwrap();
    for (nth, input) in case.inputs.iter().enumerate() {
        fs::write(inputs.join(format!("{nth}.jsonl")), input.bytes()).unwrap();
    }
    let expected = outcomes(&case.pipeline, &case.inputs);
    let mut first: Option<BTreeMap<Place, String>> = None;
    for workers in WORKERS {
        let file = case.pipeline.file(&inputs, workers);
        let out = folder.path().join(format!("out{workers}"));
        run(&file, &out).map_err(Fault::Unusable)?;
        let found = read(&out).map_err(Fault::Differs)?;
        let told = |what: String| Fault::Differs(format!("{workers} workers: {what}"));
        compare(case, &expected, &found).map_err(told)?;
        let numbers = found
            .into_iter()
            .filter(|(_, (stream, _))| *stream == FEATURES)
            .map(|(place, (_, line))| (place, line))
            .collect();
        match &first {
            None => first = Some(numbers),
            Some(first) if *first == numbers => {}
            Some(first) => {
                let differ = |(place, line): &(&Place, &String)| numbers.get(*place) != Some(line);
                let place = first.iter().find(differ).map(|it| it.0);
                return Err(told(format!("not bit for bit as with one: {place:?}")));
            }
        }
    }
    Ok(expected)
}

fn run(file: &str, out: &Path) -> Result<(), String> {
    let pipeline = Parsed::parse("case.toml", file).map_err(|it| it.to_string())?;
    let product = Product::Features(out.to_owned());
    let job = Job::prepare(&pipeline, &product, Existing::Refuse).map_err(|it| it.to_string())?;
    job.run().map(drop).map_err(|it| it.to_string())
}

const FEATURES: &str = "features";

/// Each record with its stream, by where it came from.
fn read(out: &Path) -> Result<BTreeMap<Place, (&'static str, String)>, String> {
    let mut found = BTreeMap::new();
    for stream in [
        FEATURES,
        "validation_errors",
        "processing_errors",
        "late_events_dlq",
    ] {
        let Ok(folder) = fs::read_dir(out.join(stream)) else {
            continue;
        };
        for shard in folder {
            let text = fs::read_to_string(shard.unwrap().path()).unwrap();
            for line in text.lines() {
                let record: Json = serde_json::from_str(line).unwrap();
                let place = record.get("source").unwrap_or(&record);
                let number = |name: &str| place[name].as_u64().unwrap();
                let place = (number("partition"), number("offset"));
                if found.insert(place, (stream, line.to_owned())).is_some() {
                    return Err(format!("a second record of {place:?}: {line}"));
                }
            }
        }
    }
    Ok(found)
}

fn compare(
    case: &Case,
    expected: &BTreeMap<Place, Outcome>,
    found: &BTreeMap<Place, (&'static str, String)>,
) -> Result<(), String> {
    let places: BTreeSet<&Place> = expected.keys().chain(found.keys()).collect();
    for place in places {
        let (expected, found) = (expected.get(place), found.get(place));
        let differs = || Err(format!("{place:?}: expected {expected:?}, found {found:?}"));
        let stream = match expected {
            Some(Outcome::Features { .. }) => Some(FEATURES),
            Some(Outcome::ValidationError) => Some("validation_errors"),
            Some(Outcome::ProcessingError) => Some("processing_errors"),
            Some(Outcome::Late) => Some("late_events_dlq"),
            Some(Outcome::Nothing) => None,
            None => return differs(),
        };
        if stream != found.map(|it| it.0) {
            return differs();
        }
        if let (Some(expected @ Outcome::Features { .. }), Some((_, line))) = (expected, found) {
            same(case, expected, line).map_err(|what| format!("{place:?}: {what}\n{line}"))?;
        }
    }
    Ok(())
}

/// Whether a line of features says what it must.
fn same(case: &Case, expected: &Outcome, line: &str) -> Result<(), String> {
    let Outcome::Features {
        values,
        time,
        numbers,
    } = expected
    else {
        return Ok(());
    };
    let found: Json = serde_json::from_str(line).unwrap();
    let key: Vec<Json> = case
        .pipeline
        .key
        .iter()
        .map(|&it| json(&values[it]))
        .collect();
    let key = match key.as_slice() {
        [one] => one.clone(),
        some => Json::from(some),
    };
    if found["key"] != key || found["event_time"] != *time {
        return Err(format!("expected key {key} and event time {time}"));
    }
    let features = found["features"].as_object().unwrap();
    if features.len() != numbers.len() {
        return Err(format!("expected {} features", numbers.len()));
    }
    for (name, expected) in numbers {
        let found = features.get(name);
        let number = found.and_then(Json::as_f64);
        if !found.is_some_and(|it| it.is_number() || it.is_null()) || !expected.admit(number) {
            return Err(format!("`{name}`: expected {expected:?}, found {found:?}"));
        }
    }
    Ok(())
}

fn json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Text(text) => text.as_str().into(),
        Value::Int(number) => (*number).into(),
        Value::Float(number) => (*number).into(),
        Value::Bool(truth) => (*truth).into(),
    }
}
