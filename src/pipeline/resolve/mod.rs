//! Turns names into indices, and checks what one key says about another. A function gives `None` only
//! when a mistake has been found; then the other parts are still looked at, for theirs.

mod field;
mod event;
mod expression;
mod check;
mod feature;
mod server;
mod lookup;
mod mirror;
mod input;
mod model;
mod recovery;

use std::collections::BTreeMap;

use crate::pipeline::mistakes::Findings;
use crate::pipeline::read::Section;
use crate::pipeline::spec::{
    DeadLetterForm, GeneratorSpec, JobSpec, Order, Pipeline, SinkKind, SinkSpec, SourceSpec,
    StreamNames,
};
use crate::pipeline::value::{Value, quoted};

/// How far ahead an event of Kafka may be unless the pipeline says so: there is no gap in a topic that is written to, as
/// there is between files.
const KAFKA_MAX_AHEAD_MS: u64 = 3_600_000;

/// Resolves a whole file.
pub(super) fn pipeline(root: &Section, findings: &mut Findings) -> Option<Pipeline> {
    let job = root.table("job").and_then(|section| job(section, findings));
    let source = root
        .table("source")
        .and_then(|section| source(section, findings));
    let fields = event::fields(root.table("event"), findings);
    let order = job.as_ref().map(|job| job.order);
    let mut event = root
        .table("event")
        .and_then(|section| event::event(section, &fields, order, findings));
    if let (Some(event), Some(SourceSpec::Kafka(_))) = (&mut event, &source) {
        event.max_ahead_ms.get_or_insert(KAFKA_MAX_AHEAD_MS);
    }
    if let (Some(section), Some(source)) = (root.table("event"), &source) {
        input::idle_timeout(section, source, findings);
        input::record_time(section, source, findings);
    }
    let checks = check::checks(root.tables("check"), &fields, event.as_ref(), findings);
    let filters = check::filters(root.tables("filter"), &fields, findings);
    let kept = root
        .table("history")
        .map(|section| event::history(section, &fields, findings));
    let lookups = lookup::lookups(root.tables("lookup"), &fields, findings);
    let known = feature::Known {
        fields: &fields,
        key: event.as_ref().map(|event| event.key.as_slice()),
        kept: kept.as_ref(),
        lookups: &lookups,
    };
    let features = feature::features(root.tables("feature"), known, findings);
    let model = root
        .table("model")
        .map(|section| model::model(section, &features, findings));
    let sink = root.table("sink").and_then(|section| {
        let key = event.as_ref().map(|event| event.key.as_slice());
        let repeated = repeated(section, &fields, key, root.table("model"), findings);
        let has_checkpoints = root.is_meant("checkpoint");
        sink(section, repeated, has_checkpoints, findings)
    });
    let key = event.as_ref().map(|event| event.key.as_slice());
    let history = kept.as_ref().and_then(|kept| kept.spec.as_ref());
    let mirror = mirror::mirror(root, &fields, key, history, findings);
    let recovery = recovery::recovery(root, findings);
    let history = match kept {
        Some(kept) => Some(kept.spec?),
        None => None,
    };
    let model = match model {
        Some(model) => Some(model?),
        None => None,
    };
    let (recovery, checks) = (recovery?, checks?);
    Some(Pipeline {
        job: job?,
        source: source?,
        event: event?,
        checks: checks.of_fields,
        conditions: checks.conditions,
        filters: filters?,
        history,
        features: features.into_specs()?,
        lookups: lookups.into_specs()?,
        model,
        sink: sink?,
        dead_letters: dead_letters(root),
        mirror: mirror?,
        checkpoint: recovery.checkpoint,
        restart: recovery.restart,
    })
}

fn job(section: &Section, findings: &mut Findings) -> Option<JobSpec> {
    let workers: Option<u32> = section.integer("workers");
    let key_groups: Option<u32> = section.integer("key_groups");
    if let (Some(workers), Some(key_groups), Some((at, _))) =
        (workers, key_groups, section.get("workers"))
        && workers > key_groups
    {
        findings.add(
            at,
            format!(
                "`workers`: {workers} workers need at least as many key_groups, got {key_groups}"
            ),
        );
    }
    Some(JobSpec {
        name: section.string("name")?,
        workers: usize::try_from(workers?).ok()?,
        order: match section.text("order")?.value {
            "event_time" => Order::EventTime,
            _ => Order::Arrival,
        },
        key_groups: key_groups?,
    })
}

fn dead_letters(root: &Section) -> DeadLetterForm {
    let section = root.table("dead_letter");
    let form = section.and_then(|section| section.text("form"));
    match form.map(|form| form.value) {
        Some("raw") => DeadLetterForm::Raw,
        _ => DeadLetterForm::Envelope,
    }
}

fn source(section: &Section, findings: &mut Findings) -> Option<SourceSpec> {
    match section.text("kind")?.value {
        "file" => return input::source(section, findings),
        "kafka" => return input::kafka(section, findings),
        _ => {}
    }
    let invalid = section.float("invalid");
    let late = section.float("late");
    if let (Some(invalid), Some(late), Some((at, _))) = (invalid, late, section.get("late"))
        && invalid + late > 1.0
    {
        let message =
            format!("`late`: invalid and late must add up to at most 1, got {invalid} + {late}");
        findings.add(at, message);
    }
    Some(SourceSpec::Generator(GeneratorSpec {
        seed: section.integer("seed")?,
        events: section.integer("events")?,
        rate: section.integer("rate")?,
        partitions: section.integer("partitions")?,
        users: section.integer("users")?,
        skew: section.float("skew")?,
        invalid: invalid?,
        late: late?,
    }))
}

/// The fields that a prediction repeats. They stand beside values that the job adds, so no name may
/// be both.
fn repeated(
    section: &Section,
    fields: &event::Fields,
    key: Option<&[usize]>,
    model: Option<&Section>,
    findings: &mut Findings,
) -> Option<Vec<usize>> {
    /// What goes out where there is no model.
    const FEATURES: &str = "features";
    /// What a prediction says besides its fields and its score, with provenance or without.
    const ADDED: [&str; 7] = [
        "event_time",
        "processing_time",
        "partition",
        "offset",
        "epoch",
        "model",
        "lookups",
    ];
    let indices = match section.texts("fields") {
        Some(names) => fields.indices(names, findings)?,
        // A wrong value is among the mistakes, and the pipeline is not built.
        None => key?.to_vec(),
    };
    let outputs = model.into_iter().flat_map(model::predicted);
    let scores: Vec<_> = outputs.filter_map(|output| output.text("name")).collect();
    let values = scores.iter().map(|score| score.value);
    let features = model.is_none().then_some(FEATURES);
    let values: Vec<&str> = values.chain(features).collect();
    for score in scores.iter().filter(|it| ADDED.contains(&it.value)) {
        let name = quoted(score.value);
        let message = format!("a prediction has a {name} of its own: name the score otherwise");
        findings.add(score.at, message);
    }
    for (place, &index) in indices.iter().enumerate() {
        let name = fields.name(index);
        if ADDED.contains(&name) || values.contains(&name) {
            let listed = section.texts("fields").and_then(|names| names.get(place));
            let at = listed.map_or(section.at, |listed| listed.at);
            let name = quoted(name);
            let message = format!("a prediction has a {name} of its own: leave it out of `fields`");
            findings.add(at, message);
        }
    }
    Some(indices)
}

fn sink(
    section: &Section,
    repeated: Option<Vec<usize>>,
    has_checkpoints: bool,
    findings: &mut Findings,
) -> Option<SinkSpec> {
    /// The keys that name streams.
    const STREAMS: [&str; 4] = [
        "predictions",
        "validation_errors",
        "processing_errors",
        "late_events",
    ];
    let mut owners = BTreeMap::new();
    let mut named: Vec<_> = STREAMS
        .iter()
        .filter_map(|key| section.text(key).map(|name| (name, *key)))
        .collect();
    named.sort_by_key(|(name, _)| name.at);
    for (name, key) in named {
        if let Some(owner) = owners.insert(name.value, key) {
            let message = format!(
                "`{key}`: {} is already the stream of `{owner}`",
                quoted(name.value)
            );
            findings.add(name.at, message);
        }
    }
    let kind = match section.text("kind")?.value {
        "file" => SinkKind::File {
            path: section.string("path")?,
        },
        "stdout" => SinkKind::Stdout,
        "kafka" => SinkKind::Kafka(input::cluster(section, findings)?),
        _ => SinkKind::Discard,
    };
    let delivery = recovery::delivery(section, &kind, has_checkpoints, findings);
    let new_producer_each_epoch = recovery::renews_producers(section, delivery, findings);
    Some(SinkSpec {
        kind,
        shards: section.integer("shards")?,
        streams: StreamNames {
            predictions: section.string("predictions")?,
            validation_errors: section.string("validation_errors")?,
            processing_errors: section.string("processing_errors")?,
            late_events: section.string("late_events")?,
        },
        fields: repeated?,
        provenance: section.boolean("provenance")?,
        delivery: delivery?,
        new_producer_each_epoch,
        headers: matches!(section.get("headers"), Some((_, Value::Bool(true)))),
    })
}
