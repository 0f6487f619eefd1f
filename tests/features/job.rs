//! A case, run by the engine as `slackwater features` runs it, and held against the oracle.
//!
//! Jobs of one process share nothing that counts: the clock, the allocator and the log of warnings, which nobody reads here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value as Json;
use slackwater::job::{FeatureFiles, Job, Product};
use slackwater::pipeline::Pipeline as Parsed;
use slackwater::pipeline::graph::{Blueprint, Ending};
use slackwater_connectors::file::Existing;
use slackwater_connectors::memory::{MemorySink, MemorySource, Schedule, Turn};
use slackwater_dataflow::clock::{Clock, SystemClock};
use slackwater_dataflow::place::PartitionId;
use slackwater_dataflow::sink::OutputStream;
use slackwater_dataflow::worker::WorkerGroup;

use crate::declared::{Pipeline, Value};
use crate::dice::Dice;
use crate::events::Input;
use crate::oracle::{Outcome, Place, outcomes};

/// Numbers of workers that a case is run with.
const WORKERS: [usize; 3] = [1, 2, 4];
/// Jobs of a case that is as it must be.
pub const RUNS: u64 = WORKERS.len() as u64 + 1;

/// A pipeline and its inputs.
#[derive(Clone, Debug)]
pub struct Case {
    pub pipeline: Pipeline,
    pub inputs: Vec<Input>,
    pub polls: Polls,
}

/// How the inputs are polled in memory.
#[derive(Clone, Debug)]
pub struct Polls {
    pub workers: usize,
    /// Of a single file, numbers of records until all are read. A script of several would wait for a partition that is too
    /// far ahead.
    pub turns: Vec<usize>,
    /// Of several files.
    pub seed: u64,
    /// In event-time order, what may wait in memory; more goes to disk.
    pub waiting_bytes: u64,
}

impl Polls {
    pub fn draw(dice: &mut Dice, inputs: &[Input]) -> Self {
        let most = dice.of(&[1, 5, 40]);
        let turns = match inputs {
            [one] => one.records.iter().map(|_| 1 + dice.below(most)).collect(),
            _ => Vec::new(),
        };
        let records = inputs.iter().flat_map(|input| &input.records);
        let bytes: usize = records.map(|record| record.text.len()).sum();
        // What waits fills some files, and not so many that the engine gives up.
        let little = 1024.max(bytes as u64 / 50);
        Polls {
            turns,
            seed: dice.below(1 << 32) as u64,
            workers: dice.of(&WORKERS),
            waiting_bytes: dice.of(&[little, 1 << 27]),
        }
    }
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

/// Which record a run has written of each that was read, with its stream.
type Found = BTreeMap<Place, (&'static str, String)>;

/// Runs a case with each number of workers, and gives what must have been found.
pub fn check(case: &Case) -> Result<BTreeMap<Place, Outcome>, Fault> {
    check_as(case, &case.pipeline)
}

/// The same, but the engine is given another pipeline than the oracle.
pub fn check_as(case: &Case, engine: &Pipeline) -> Result<BTreeMap<Place, Outcome>, Fault> {
    let folder = tempfile::tempdir().unwrap();
    let inputs = folder.path().join("in");
    fs::create_dir(&inputs).unwrap();
    for (nth, input) in case.inputs.iter().enumerate() {
        fs::write(inputs.join(format!("{nth}.jsonl")), input.bytes()).unwrap();
    }
    let expected = outcomes(&case.pipeline, &case.inputs);
    let mut first: Option<Found> = None;
    let mut hold = |found: Found, told: &str| {
        let differs = |what: String| Fault::Differs(format!("{told}: {what}"));
        compare(case, &expected, &found).map_err(differs)?;
        let first = first.get_or_insert_with(|| found.clone());
        same_bits(first, &found).map_err(differs)
    };
    for workers in WORKERS {
        let out = folder.path().join(format!("out{workers}"));
        run(&engine.file(&inputs, workers), &out).map_err(Fault::Unusable)?;
        let found = read(&out).map_err(Fault::Differs)?;
        hold(found, &format!("{workers} workers"))?;
    }
    let workers = case.polls.workers;
    let file = engine.file(&inputs, workers);
    let found = run_polled(&file, case).map_err(Fault::Unusable)?;
    let found = collected(found).map_err(Fault::Differs)?;
    hold(found, &format!("{workers} workers, a few records a poll"))?;
    Ok(expected)
}

/// As the command does it.
fn run(file: &str, out: &Path) -> Result<(), String> {
    let pipeline = Parsed::parse("case.toml", file).map_err(|it| it.to_string())?;
    let product = Product::Features(FeatureFiles {
        root: out.to_owned(),
        ..FeatureFiles::default()
    });
    let job = Job::prepare(&pipeline, &product, Existing::Refuse).map_err(|it| it.to_string())?;
    job.run().map(drop).map_err(|it| it.to_string())
}

/// On the same bytes in memory, a few records at a time: so the watermark moves again and again, and what no event will
/// see is dropped.
fn run_polled(file: &str, case: &Case) -> Result<MemorySink, String> {
    let pipeline = Parsed::parse("case.toml", file).map_err(|it| it.to_string())?;
    let partitions = (0..).map(PartitionId).zip(&case.inputs);
    let partitions = partitions.map(|(id, input)| (id, input.bytes().into()));
    let turns = case.polls.turns.iter().map(|&records| Turn::Read {
        partition: PartitionId(0),
        records,
    });
    let schedule = match case.inputs.len() {
        1 => Schedule::Script(turns.collect()),
        _ => Schedule::Seeded(case.polls.seed),
    };
    let source = MemorySource::from_lines(partitions).map_err(|it| it.to_string())?;
    let source = source.with_max_bytes(1024 * 1024).with_schedule(schedule);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let (workers, ending) = (case.polls.workers, Ending::WriteFeatures);
    let blueprint = Blueprint::new(
        &pipeline,
        workers,
        Arc::new(source),
        ending,
        Arc::clone(&clock),
    )
    .with_waiting_bytes(case.polls.waiting_bytes);
    let sink = MemorySink::new();
    let group = WorkerGroup::new(workers, clock).watching(blueprint.source());
    let finished = group.run(Box::new(sink.clone()), move |graph| blueprint.build(graph));
    finished.map(|_| sink).map_err(|it| it.to_string())
}

const FEATURES: &str = "features";

/// Streams as folders of files, and in memory.
const STREAMS: [(&str, OutputStream); 4] = [
    (FEATURES, OutputStream::Predictions),
    ("validation_errors", OutputStream::ValidationErrors),
    ("processing_errors", OutputStream::ProcessingErrors),
    ("late_events_dlq", OutputStream::LateEvents),
];

fn read(out: &Path) -> Result<Found, String> {
    let mut found = Found::new();
    for (stream, _) in STREAMS {
        let Ok(folder) = fs::read_dir(out.join(stream)) else {
            continue;
        };
        for shard in folder {
            let text = fs::read_to_string(shard.unwrap().path()).unwrap();
            for line in text.lines() {
                add(&mut found, stream, line)?;
            }
        }
    }
    Ok(found)
}

fn collected(sink: MemorySink) -> Result<Found, String> {
    let mut found = Found::new();
    for (name, stream) in STREAMS {
        for line in sink.records(stream) {
            add(&mut found, name, str::from_utf8(&line).unwrap())?;
        }
    }
    Ok(found)
}

/// Each record is there once.
fn add(found: &mut Found, stream: &'static str, line: &str) -> Result<(), String> {
    let record: Json = serde_json::from_str(line).unwrap();
    let place = record.get("source").unwrap_or(&record);
    let number = |name: &str| place[name].as_u64().unwrap();
    let place = (number("partition"), number("offset"));
    match found.insert(place, (stream, line.to_owned())) {
        None => Ok(()),
        Some(_) => Err(format!("a second record of {place:?}: {line}")),
    }
}

/// Whether two runs have the same features, bit for bit. Other records say when they were written.
fn same_bits(first: &Found, found: &Found) -> Result<(), String> {
    for (place, (stream, line)) in first {
        let other = found.get(place).map(|it| &it.1);
        if *stream == FEATURES && other != Some(line) {
            return Err(format!("{place:?}: {other:?}, but with one worker {line}"));
        }
    }
    Ok(())
}

fn compare(case: &Case, expected: &BTreeMap<Place, Outcome>, found: &Found) -> Result<(), String> {
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
