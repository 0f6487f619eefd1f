//! What a pipeline will run as, for a person to look at: stages, what each of them does, and what goes
//! from one to the next.
//!
//! It is read from the typed [`Pipeline`] and from the [`Plans`] that the stages themselves run by, so
//! that it says what will happen and not what the file says: a history that no feature reads is not kept,
//! and is not here. Nothing is opened. [`text`](Outline::to_text), [`dot`](Outline::to_dot) and
//! [`mermaid`](Outline::to_mermaid) are three ways of writing it.

mod render;
mod windows;

pub(crate) use self::render::plain;

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;

use std::path::Path;

use serde::Serialize;
use slackwater_connectors::file::Existing;
use slackwater_dataflow::sink::OutputStream;
use slackwater_operators::check::{Bound, Check, Constant, Filter, RowCheck, Rule, When};
use slackwater_operators::event::{
    DefaultValue, EventSchema, Field, FieldIndex, FieldType, TimeFrom, TimeUnit,
};
use slackwater_operators::ingest::LatePolicy;
use slackwater_operators::lookup::plan::Lookup;
use slackwater_operators::reject::{Stage as Rejecting, grouped};

use crate::pipeline::Pipeline;
use crate::pipeline::graph::{files_at, stream_folders};
use crate::pipeline::plan::{Plans, ScoringPlans, checks, lookups, stage};
use crate::pipeline::spec::{CheckStage, ModelPath, ModelSpec, Order, SinkKind, SourceSpec};
use crate::pipeline::units::{show_bytes, show_ms};
use crate::pipeline::value::quoted;

/// A job as a graph.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Outline {
    /// The job's name.
    pub job: String,
    /// Threads.
    pub workers: usize,
    /// In the order in which an event passes them; the four streams are the last ones.
    pub stages: Vec<Stage>,
    /// What goes from stage to stage, in the order of the stages that it leaves.
    pub edges: Vec<Edge>,
}

/// One stage, or a stream of results.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stage {
    /// By which edges name it. All differ.
    pub name: &'static str,
    /// What it does, in order.
    pub facts: Vec<Fact>,
}

/// One thing that a stage does or knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fact {
    /// What it is about; several facts of a stage may be about the same.
    pub about: &'static str,
    /// What there is to say. Names are as the pipeline file has them, whatever characters they have.
    pub says: String,
}

/// Something that goes from one stage to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Edge {
    /// The stage that it leaves.
    pub from: &'static str,
    /// The stage that it enters.
    pub to: &'static str,
    /// What goes there, and how if it leaves its worker.
    pub carries: String,
}

fn fact(about: &'static str, says: impl Into<String>) -> Fact {
    let says = says.into();
    Fact { about, says }
}

fn joined<T: AsRef<str>>(names: impl Iterator<Item = T>) -> String {
    let names: Vec<String> = names.map(|name| name.as_ref().to_owned()).collect();
    names.join(", ")
}

impl Outline {
    /// The outline of `pipeline` as it runs on `workers` workers.
    pub fn new(pipeline: &Pipeline, workers: usize) -> Self {
        let plans = Plans::new(pipeline, workers);
        let (name, facts) = (stage::SOURCE, source(pipeline));
        let mut stages = vec![Stage { name, facts }];
        let mut add = |name, facts| stages.push(Stage { name, facts });
        add(stage::INGEST, ingest(pipeline, &plans));
        if pipeline.job.order == Order::EventTime {
            add(stage::ORDER, order(pipeline));
        }
        if plans.computes_windows() {
            add(stage::WINDOWS, windows::facts(&plans));
        }
        add(stage::FEATURES, features(&plans));
        let lookups = lookups(pipeline, plans.spread);
        let lookups = lookups.map_or_else(Vec::new, |(plan, _)| plan.lookups);
        if !lookups.is_empty() {
            let named = lookups
                .iter()
                .map(|lookup| fact("lookup", looked_up(lookup)));
            add(stage::LOOKUP, named.collect());
        }
        if let Some(plan) = &plans.derived {
            let made = plan
                .derived
                .iter()
                .map(|it| fact("computes", it.expression.text()));
            add(stage::EXPRESSIONS, made.collect());
        }
        match (&pipeline.model, &plans.scoring) {
            (Some(model), Some(scoring)) => {
                add(stage::INFER, infer(model, scoring));
                let plan = &scoring.prediction;
                let values: Vec<&str> = plan.outputs.iter().map(String::as_str).collect();
                let told = outgoing(pipeline, &plan.fields, &values, &plan.lookups);
                add(stage::ENCODE_PREDICTIONS, told);
            }
            _ => {
                let plan = &plans.vectors;
                let told = outgoing(pipeline, &plan.fields, &["features"], &plan.lookups);
                add(stage::ENCODE_FEATURES, told);
            }
        }
        let form = fact("form", "envelope");
        add(stage::ENCODE_DEAD_LETTERS, vec![form]);
        let kind = match &pipeline.sink.kind {
            SinkKind::File { .. } => "file",
            SinkKind::Stdout => "stdout",
            SinkKind::Discard => "discard",
            SinkKind::Kafka(_) => "kafka",
        };
        add(stage::PUBLISH, vec![fact("kind", kind)]);
        for stream in OutputStream::ALL {
            add(stream.name(), vec![destination(pipeline, &plans, stream)]);
        }
        Outline {
            job: pipeline.job.name.clone(),
            workers: plans.spread.workers,
            stages,
            edges: edges(&plans, pipeline.job.order, !lookups.is_empty()),
        }
    }
}

fn edges(plans: &Plans, order: Order, looks_up: bool) -> Vec<Edge> {
    let schema = &plans.ingest.schema;
    let key = joined(schema.key.iter().map(|&field| schema.name(field)));
    let groups = grouped(u64::from(plans.spread.key_groups));
    let hops = plans.hops.iter().map(|hop| format!("{}, then ", hop.name));
    let hops: String = hops.collect();
    let by_key = format!("events, exchanged by key {hops}{key} ({groups} key groups)");
    let rejects = |stages: &[Rejecting]| {
        let streams = stages.iter().map(|stage| stage.stream().name());
        format!("rejects: {}", joined(streams))
    };
    let early = match plans.ingest.late {
        LatePolicy::DeadLetter => rejects(&[Rejecting::Validate, Rejecting::Late]),
        LatePolicy::Process | LatePolicy::Drop => rejects(&[Rejecting::Validate]),
    };
    let letters = stage::ENCODE_DEAD_LETTERS;
    let first = match plans.computes_windows() {
        false => stage::FEATURES,
        true => stage::WINDOWS,
    };
    let windowed = (first != stage::FEATURES).then(|| {
        (
            first,
            stage::FEATURES,
            "events with their windows".to_owned(),
        )
    });
    let in_order = (stage::ORDER, first, "events in order".to_owned());
    let (keyed, in_order) = match order {
        Order::Arrival => (first, None),
        Order::EventTime => (stage::ORDER, Some(in_order)),
    };
    let before = [
        (stage::SOURCE, stage::INGEST, "records".to_owned()),
        (stage::INGEST, keyed, by_key),
        (stage::INGEST, letters, early),
    ];
    let taker = match plans.scoring {
        Some(_) => stage::INFER,
        None => stage::ENCODE_FEATURES,
    };
    let mut filled = ways_of_vectors(plans, looks_up, taker);
    if looks_up {
        filled.push((stage::LOOKUP, letters, rejects(&[Rejecting::Lookup])));
    }
    let mut after = vec![(first, letters, rejects(&[Rejecting::Feature]))];
    after.extend(match plans.scoring {
        Some(_) => vec![
            (stage::INFER, stage::ENCODE_PREDICTIONS, "scores".to_owned()),
            (stage::INFER, letters, rejects(&[Rejecting::Infer])),
            (stage::ENCODE_PREDICTIONS, stage::PUBLISH, records()),
        ],
        None => vec![
            (taker, letters, rejects(&[Rejecting::Feature])),
            (taker, stage::PUBLISH, records()),
        ],
    });
    after.push((letters, stage::PUBLISH, records()));
    let published = OutputStream::ALL.map(|stream| (stage::PUBLISH, stream.name(), records()));
    let edge = |(from, to, carries)| Edge { from, to, carries };
    let all = before.into_iter().chain(in_order).chain(windowed);
    let all = all.chain(filled).chain(after);
    all.chain(published).map(edge).collect()
}

/// From the features over what fills in more of them to who takes them.
fn ways_of_vectors(
    plans: &Plans,
    looks_up: bool,
    taker: &'static str,
) -> Vec<(&'static str, &'static str, String)> {
    let on_the_way = [
        (looks_up, stage::LOOKUP),
        (plans.derived.is_some(), stage::EXPRESSIONS),
        (true, taker),
    ];
    let mut from = stage::FEATURES;
    let there = on_the_way.into_iter().filter(|(is_there, _)| *is_there);
    there
        .map(|(_, to)| (std::mem::replace(&mut from, to), to, "vectors".to_owned()))
        .collect()
}

fn records() -> String {
    "records".to_owned()
}

fn source(pipeline: &Pipeline) -> Vec<Fact> {
    match &pipeline.source {
        SourceSpec::Generator(generator) => {
            let rate = match generator.rate {
                0 => "as fast as possible".to_owned(),
                rate => format!("{} a second", grouped(rate)),
            };
            vec![
                fact("kind", "generator"),
                fact("partitions", generator.partitions.to_string()),
                fact("events", format!("{}, {rate}", grouped(generator.events))),
                fact("seed", generator.seed.to_string()),
            ]
        }
        SourceSpec::Stdin => vec![
            fact("kind", "file"),
            fact("path", "-, the standard input"),
            fact("partitions", "1"),
        ],
        // How many files match is known when the source is opened.
        SourceSpec::File { path, follow } => {
            let mut facts = vec![
                fact("kind", "file"),
                fact("path", path.clone()),
                fact("partitions", "one for each file"),
            ];
            if *follow {
                facts.push(fact("end", "none, each file is followed"));
            }
            if let Some(idle) = pipeline.event.idle_timeout_ms {
                let idle = format!("after {} of silence a file holds no other", show_ms(idle));
                facts.push(fact("idle", idle));
            }
            facts
        }
        // How many partitions there are is known when the brokers have said so.
        SourceSpec::Kafka(spec) => {
            let mut facts = vec![
                fact("kind", "kafka"),
                fact("brokers", spec.cluster.brokers.clone()),
                fact("topics", joined(spec.topics.iter().map(String::as_str))),
                fact("end", "none, topics are followed"),
            ];
            if let Some(idle) = pipeline.event.idle_timeout_ms {
                let idle = format!(
                    "after {} of silence a partition holds no other",
                    show_ms(idle)
                );
                facts.push(fact("idle", idle));
            }
            facts
        }
    }
}

fn ingest(pipeline: &Pipeline, plans: &Plans) -> Vec<Fact> {
    let plan = &plans.ingest;
    let schema = &plan.schema;
    let bytes = show_bytes(plan.max_bytes);
    let depth = plan.max_depth;
    let mut facts = vec![fact(
        "record",
        format!("a JSON object, at most {bytes}, at most {depth} deep"),
    )];
    facts.extend(schema.fields.iter().map(|it| fact("field", field(it))));
    // Checks run field by field, those of one field in the order of the file.
    let mut early = checks(pipeline, CheckStage::Validate);
    early.sort_by_key(|check| check.field.0);
    facts.extend(early.iter().map(|check| checked(plans, check)));
    facts.extend(plan.conditions.iter().map(held));
    facts.push(fact("event time", event_time(schema)));
    if let Some(ahead) = plan.time.max_ahead_ms {
        let ahead = show_ms(ahead);
        facts.push(fact("too far ahead", format!("by more than {ahead}")));
    }
    let behind = show_ms(plan.time.max_out_of_orderness_ms);
    let fate = match plan.late {
        LatePolicy::DeadLetter => "to the stream of late events",
        LatePolicy::Process => "processed at the watermark",
        LatePolicy::Drop => "dropped, only counted",
    };
    let late = format!("more than {behind} behind the newest of its partition: {fate}");
    facts.push(fact("late", late));
    if pipeline.job.order == Order::Arrival && pipeline.has_windows_of_time() {
        facts.push(drift(pipeline, " that has something to read"));
    }
    let kept = |filter: &Filter| fact("filter", format!("keeps {}", filter.keep.text()));
    facts.extend(plan.filters.iter().map(kept));
    facts
}

fn order(pipeline: &Pipeline) -> Vec<Fact> {
    vec![
        fact("by", "event time, partition, offset, behind the watermark"),
        drift(pipeline, ""),
    ]
}

fn drift(pipeline: &Pipeline, among: &str) -> Fact {
    let drift = show_ms(pipeline.event.max_drift_ms);
    let said = format!("no partition more than {drift} ahead of the slowest one{among}");
    fact("drift", said)
}

fn event_time(schema: &EventSchema) -> String {
    let (field, unit) = match schema.time {
        TimeFrom::Record => return "the timestamp of the record".to_owned(),
        TimeFrom::Field { field, unit } => (schema.name(field), unit),
    };
    let unit = match unit {
        TimeUnit::Seconds => "in seconds",
        TimeUnit::Milliseconds => "in milliseconds",
        TimeUnit::Microseconds => "in microseconds",
        TimeUnit::Nanoseconds => "in nanoseconds",
        TimeUnit::Rfc3339 => "as a text of RFC 3339",
    };
    format!("{field}, {unit}")
}

fn field(field: &Field) -> String {
    let kind = match field.kind {
        FieldType::Text => "string",
        FieldType::Int => "int",
        FieldType::Float => "float",
        FieldType::Bool => "bool",
        FieldType::Floats => "list<float>",
        FieldType::Texts => "list<string>",
    };
    let presence = match &field.default {
        Some(default) => format!(", or {}", default_value(default)),
        None if field.required => String::new(),
        None => ", optional".to_owned(),
    };
    let place = match field.path.as_slice() {
        [key] if *key == field.name => String::new(),
        path => format!(", at {}", path.join(".")),
    };
    format!("{}: {kind}{place}{presence}", field.name)
}

fn default_value(value: &DefaultValue) -> String {
    match value {
        DefaultValue::Text(text) => quoted(text),
        DefaultValue::Int(value) => value.to_string(),
        DefaultValue::Float(value) => value.to_string(),
        DefaultValue::Bool(value) => value.to_string(),
        DefaultValue::List(list) => list.clone(),
    }
}

fn checked(plans: &Plans, check: &Check) -> Fact {
    let name = plans.ingest.schema.name(check.field);
    let rule = match &check.rule {
        Rule::NotEmpty => "is not empty".to_owned(),
        Rule::Min(least) => format!("is at least {}", bound(*least)),
        Rule::Max(most) => format!("is at most {}", bound(*most)),
        Rule::OneOf(values) => format!("is one of {}", joined(values.iter().map(constant))),
        Rule::MaxLength(most) if plans.ingest.schema.is_list(check.field) => {
            format!("has at most {most} elements")
        }
        Rule::MaxLength(most) => format!("has at most {most} characters"),
        Rule::Matches(pattern) => format!("matches {}", pattern.as_str()),
    };
    fact("check", format!("{name} {rule}, else: {}", check.message))
}

fn held(when: &When) -> Fact {
    let (condition, message) = (when.condition.text(), &when.message);
    fact("check", format!("{condition}, else: {message}"))
}

fn row_checked(plans: &Plans, check: &RowCheck) -> Fact {
    match check {
        RowCheck::Field(check) => checked(plans, check),
        RowCheck::When(when) => held(when),
    }
}

fn bound(bound: Bound) -> String {
    match bound {
        Bound::Int(value) => value.to_string(),
        Bound::Float(value) => value.to_string(),
    }
}

fn constant(constant: &Constant) -> String {
    match constant {
        Constant::Text(text) => text.clone(),
        Constant::Int(value) => value.to_string(),
        Constant::Float(value) => value.to_string(),
        Constant::Bool(value) => value.to_string(),
    }
}

fn refusing(plans: &Plans, checks: &[RowCheck]) -> Vec<Fact> {
    checks
        .iter()
        .map(|check| row_checked(plans, check))
        .collect()
}

fn features(plans: &Plans) -> Vec<Fact> {
    let plan = &plans.features;
    let mut facts = refusing(plans, &plan.checks);
    let history = match &plan.history {
        None => "none".to_owned(),
        Some(history) => {
            let (events, ttl) = (history.events, show_ms(history.ttl_ms));
            let name = |&field: &FieldIndex| plans.ingest.schema.name(field);
            let fields = match joined(history.fields.iter().map(name)) {
                none if none.is_empty() => "times only".to_owned(),
                fields => format!("with {fields}"),
            };
            format!("the last {events} events of {ttl} of each key, {fields}")
        }
    };
    facts.push(fact("history", history));
    let named = plan.features.iter();
    facts.extend(named.map(|feature| fact("feature", feature.name.clone())));
    facts
}

fn looked_up(lookup: &Lookup) -> String {
    let fields = joined(lookup.fields.iter().map(|field| field.name.as_str()));
    let cached = match lookup.cache {
        None => "nothing is remembered".to_owned(),
        Some(cache) => format!("remembered for {}", show_ms(cache.ttl.as_millis() as u64)),
    };
    let timeout = show_ms(lookup.timeout.as_millis() as u64);
    format!(
        "{}: {fields}, {timeout} for each try, {cached}",
        lookup.name
    )
}

fn infer(model: &ModelSpec, scoring: &ScoringPlans) -> Vec<Fact> {
    let mut facts = vec![fact("model", scoring.infer.model.clone())];
    facts.push(match &model.path {
        ModelPath::Builtin(_) => fact("file", "embedded"),
        ModelPath::File(path) => fact("file", path.clone()),
    });
    if let Some(digest) = &model.digest {
        facts.push(fact("digest", format!("sha256:{digest}")));
    }
    let inputs = scoring.infer.features.len();
    facts.push(fact(
        "rows",
        format!("{inputs} features, {} rows at a time", model.batch),
    ));
    facts
}

/// What records of the predictions stream say: fields of the event, a value, and where that comes from.
fn outgoing(
    pipeline: &Pipeline,
    fields: &[(String, FieldIndex)],
    values: &[&str],
    lookups: &[String],
) -> Vec<Fact> {
    let fields = fields.iter().map(|(name, _)| name.as_str());
    let mut facts = vec![fact("fields", joined(fields.chain(values.iter().copied())))];
    if pipeline.sink.provenance {
        let model = pipeline.model.as_ref().map_or("", |_| ", model");
        let lookups = if lookups.is_empty() { "" } else { ", lookups" };
        let added = format!("partition, offset, epoch{model}{lookups}");
        facts.push(fact("provenance", added));
    }
    facts
}

fn destination(pipeline: &Pipeline, plans: &Plans, stream: OutputStream) -> Fact {
    match &pipeline.sink.kind {
        SinkKind::Stdout => fact("to", "stdout"),
        SinkKind::Discard => fact("to", "nowhere, only counted"),
        SinkKind::Kafka(_) => fact(
            "to",
            format!("topic {}", stream_folders(pipeline).of(stream)),
        ),
        SinkKind::File { path } => {
            let outputs = files_at(pipeline, Path::new(path), Existing::Refuse);
            let folder = outputs.root.join(outputs.folders.of(stream));
            let shards = match plans.spread.shards {
                1 => "1 file".to_owned(),
                shards => format!("{shards} files"),
            };
            fact("to", format!("{}, {shards}", folder.display()))
        }
    }
}
