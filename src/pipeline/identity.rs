//! What must not change of a job that goes on from a checkpoint.
//!
//! Everything that decides what state and outputs mean. What only decides how fast or how often something happens
//! may change: workers, checkpoints, restarts, the bound on drift; the rate of a generator.

use std::collections::BTreeMap;
use std::fmt::Debug;

use slackwater_dataflow::checkpoint::job::JobIdentity;
use slackwater_models::{ModelDigest, ModelInfo};
use slackwater_operators::event::TimeUnit;

use crate::pipeline::spec::{
    self, FeatureKind, FeatureSpec, FieldKind, GeneratorSpec, Order, Pipeline, SourceSpec,
    TimeSpec, WindowSpec,
};

/// What stands for the digest of a model where there is none.
const NO_MODEL: &str = "none";

/// The identity of a job that scores with `model`, or whose features go out as they are.
pub fn identity(pipeline: &Pipeline, model: Option<&ModelInfo>) -> JobIdentity {
    let event = &pipeline.event;
    let key = event
        .key
        .iter()
        .filter_map(|&field| event.fields.get(field));
    let feature = |feature: &FeatureSpec| {
        let digest = match feature.kind {
            // What is read, and not where among others that is declared. Where the store is, and what is done without an
            // answer, may change.
            FeatureKind::Lookup { lookup, field } => {
                let lookup = pipeline.lookups.get(lookup);
                let read = lookup.map(|it| (&it.key, it.read, it.fields.get(field)));
                digest(&("lookup", read, &feature.transforms))
            }
            _ => digest_of(feature),
        };
        (feature.name.clone(), digest)
    };
    JobIdentity {
        name: pipeline.job.name.clone(),
        order: match pipeline.job.order {
            Order::Arrival => "arrival",
            Order::EventTime => "event_time",
        }
        .to_owned(),
        key: key.map(|field| field.name.clone()).collect(),
        key_groups: u16::try_from(pipeline.job.key_groups).unwrap_or(u16::MAX),
        shards: u16::try_from(pipeline.sink.shards).unwrap_or(u16::MAX),
        max_out_of_orderness_ms: event.max_out_of_orderness_ms,
        schema: schema(pipeline),
        source: source(&pipeline.source),
        features: pipeline
            .features
            .iter()
            .map(feature)
            .collect::<BTreeMap<_, _>>(),
        history: history(pipeline),
        model: model.map_or_else(|| NO_MODEL.to_owned(), said_by),
    }
}

/// A model, and what of it is said where that is more than one number: the same columns go on, or others are meant.
fn said_by(model: &ModelInfo) -> String {
    let digest = model.digest.as_str();
    match model.outputs.as_slice() {
        [_] => digest.to_owned(),
        outputs => format!("{digest} {}", self::digest(&outputs)),
    }
}

/// What is kept of each key's events: its history, and what windows need. That means something to the same windows only, in
/// the same order.
fn history(pipeline: &Pipeline) -> String {
    let windows: Vec<_> = pipeline
        .features_of_windows()
        .map(|it| (&it.kind, &it.window, &it.conditions, &it.among))
        .collect();
    if windows.is_empty() {
        return digest(&pipeline.history);
    }
    digest(&(&pipeline.history, windows))
}

/// A feature without a window of its own is what it was before there were others.
fn digest_of(of: &FeatureSpec) -> String {
    if of.window != WindowSpec::default() || of.among.is_some() {
        return digest(of);
    }
    let FeatureSpec {
        name,
        kind,
        window: _,
        conditions,
        among: _,
        transforms,
        fill,
    } = of;
    let without = format!(
        "FeatureSpec {{ name: {name:?}, kind: {kind:?}, conditions: {conditions:?}, transforms: {transforms:?}, fill: {fill:?} }}"
    );
    ModelDigest::of(without.as_bytes()).as_str().to_owned()
}

/// All that decides which records are events, and what they are. What older versions did not know is said only where it is
/// used: a job that does without stays the job that it was.
fn schema(pipeline: &Pipeline) -> String {
    #[derive(Debug)]
    #[expect(dead_code, reason = "what is said of it is made of them")]
    struct FieldSpec<'f> {
        name: &'f str,
        kind: FieldKind,
        required: bool,
    }
    impl<'f> FieldSpec<'f> {
        fn of(field: &'f spec::FieldSpec) -> Self {
            FieldSpec {
                name: &field.name,
                kind: field.kind,
                required: field.required,
            }
        }
    }
    let event = &pipeline.event;
    let known = (
        event.fields.iter().map(FieldSpec::of).collect::<Vec<_>>(),
        event.time.field().unwrap_or(usize::MAX),
        event.late,
        event.max_ahead_ms,
        event.max_bytes,
        event.max_depth,
        &pipeline.checks,
    );
    let is_new = |field: &&spec::FieldSpec| {
        field.default.is_some() || !matches!(field.path.as_slice(), [key] if *key == field.name)
    };
    let new: Vec<_> = event.fields.iter().filter(is_new).collect();
    let time = match event.time {
        TimeSpec::Field {
            unit: TimeUnit::Milliseconds,
            ..
        } => None,
        other => Some(other),
    };
    let expressions = (&pipeline.conditions, &pipeline.filters);
    let has_expressions = !expressions.0.is_empty() || !expressions.1.is_empty();
    match (!new.is_empty() || time.is_some(), has_expressions) {
        (false, false) => digest(&known),
        (true, false) => digest(&(known, new, time)),
        (false, true) => digest(&(known, expressions)),
        (true, true) => digest(&(known, new, time, expressions)),
    }
}

/// Files and topics are told apart by their names, partition by partition.
fn source(source: &SourceSpec) -> String {
    match source {
        SourceSpec::Generator(generator) => {
            let GeneratorSpec { rate: _, .. } = generator;
            let same = GeneratorSpec {
                rate: 0,
                ..generator.clone()
            };
            format!("generator {}", digest(&same))
        }
        SourceSpec::File { .. } => "file".to_owned(),
        SourceSpec::Stdin => "stdin".to_owned(),
        // Brokers may move; topics may be added.
        SourceSpec::Kafka(_) => "kafka".to_owned(),
    }
}

/// A digest of all that a value says.
fn digest(value: &impl Debug) -> String {
    let digest = ModelDigest::of(format!("{value:?}").as_bytes());
    digest.as_str().to_owned()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use crate::pipeline::Pipeline;
    use crate::pipeline::identity::schema;

    const REFERENCE: &str = include_str!("../../pipelines/user-events.toml");

    fn of(changes: &[(&str, &str)]) -> String {
        let mut text = REFERENCE.to_owned();
        for (old, new) in changes {
            assert_eq!(text.matches(old).count(), 1, "{old}");
            text = text.replace(old, new);
        }
        schema(&Pipeline::parse("x.toml", &text).unwrap())
    }

    /// Checkpoints of older versions hold it: a job that uses nothing new must still be the same.
    #[test]
    fn is_the_reference_job_what_it_always_was() {
        assert_eq!(
            of(&[]),
            "sha256:94c45d68957bdb2dfc0fc60557df5ed05f20a185978c3fe9b6e70b1d9a4da2f4"
        );
        let path = (
            "name = \"category\"",
            "name = \"category\"\npath = \"category\"",
        );
        assert_eq!(of(&[path]), of(&[]), "its own name is where it lies anyway");
    }

    #[test]
    fn is_a_job_another_one_when_its_events_are_others() {
        let category = "name = \"category\"";
        let time = "time = { field = \"timestamp_ms\", unit = \"ms\" }";
        let all = [
            of(&[]),
            of(&[(category, "name = \"category\"\npath = \"product.category\"")]),
            of(&[(category, "name = \"category\"\npath = \"product\"")]),
            of(&[(category, "name = \"category\"\nrequired = false")]),
            of(&[(category, "name = \"category\"\ndefault = \"a\"")]),
            of(&[(category, "name = \"category\"\ndefault = \"b\"")]),
            of(&[(time, "time = { field = \"timestamp_ms\", unit = \"s\" }")]),
            of(&[(time, "time = { field = \"timestamp_ms\", unit = \"us\" }")]),
        ];
        let mut different = all.to_vec();
        different.sort();
        different.dedup();
        assert_eq!(different.len(), all.len(), "{all:#?}");
    }
}
