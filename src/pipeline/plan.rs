//! A typed pipeline as plans of the stages: every index in the place where a stage looks for it.

pub(super) mod features;

use std::sync::Arc;
use std::time::Duration;

use slackwater_dataflow::place::Spread;
use slackwater_operators::check::{Bound, Check, Constant, Filter, RowCheck, Rule, When};
use slackwater_operators::derive::DerivePlan;
use slackwater_operators::encode::{
    FeatureRowPlan, Form, ModelIdentity, PredictionPlan, VectorPlan,
};
use slackwater_operators::event::{EventSchema, Field, FieldIndex, TimeFrom};
use slackwater_operators::expression::Expression;
use slackwater_operators::features::FeaturePlan;
use slackwater_operators::infer::InferPlan;
use slackwater_operators::ingest::{Detour, FieldRules, IngestPlan, LatePolicy, TimeRules};
use slackwater_operators::lookup::plan as lookup;
use slackwater_operators::lookup::plan::{Column, Lookup, LookupPlan};
use slackwater_operators::window::WindowPlan;

use self::features::{Columns, transforms};
use crate::pipeline::spec;
use crate::pipeline::spec::Pipeline;

/// What the stages are called, in messages and in outlines.
pub(crate) mod stage {
    pub(crate) const SOURCE: &str = "source";
    pub(crate) const INGEST: &str = "ingest";
    pub(crate) const ORDER: &str = "order";
    pub(crate) const WINDOWS: &str = "windows";
    pub(crate) const RESEQUENCE: &str = "resequence";
    pub(crate) const FEATURES: &str = "features";
    pub(crate) const REROUTE: &str = "reroute";
    pub(crate) const LOOKUP: &str = "lookup";
    pub(crate) const EXPRESSIONS: &str = "expressions";
    pub(crate) const INFER: &str = "infer";
    pub(crate) const ENCODE_PREDICTIONS: &str = "encode predictions";
    pub(crate) const ENCODE_FEATURES: &str = "encode features";
    pub(crate) const ENCODE_DEAD_LETTERS: &str = "encode dead letters";
    pub(crate) const PUBLISH: &str = "publish";

    /// What a stage is called that stands at the workers of another key, also in checkpoints: so the key says whose state it
    /// is, and not how many others there are before it.
    pub(crate) fn at_hop(stage: &str, key: &str) -> String {
        format!("{stage} by {key}")
    }

    /// Whether a stage of this name waits for the watermark, of whichever key.
    pub(crate) fn is_order(name: &str) -> bool {
        let behind = name.strip_prefix(ORDER);
        behind.is_some_and(|behind| behind.is_empty() || behind.starts_with(" by "))
    }
}

/// The plans of all stages that need no model to be loaded.
#[derive(Clone, Debug)]
pub struct Plans {
    /// Where keys and partitions go.
    pub spread: Spread,
    /// Decode and checks.
    pub ingest: Arc<IngestPlan>,
    /// What features read of windows of the job's key, if they do.
    pub windows: Option<Arc<WindowPlan>>,
    /// Where an event goes before it comes to the worker of its key, in order.
    pub hops: Vec<HopPlan>,
    /// Features of each event, in the order in which the model takes them, then those that only expressions look at.
    pub features: Arc<FeaturePlan>,
    /// Features that are made of others, if some are.
    pub derived: Option<Arc<DerivePlan>>,
    /// Scores; `None` without a model.
    pub scoring: Option<ScoringPlans>,
    /// Features in place of predictions.
    pub vectors: VectorPlan,
    /// Rows of features, for training.
    pub feature_rows: FeatureRowPlan,
}

/// The plans of what only a pipeline with a model has.
#[derive(Clone, Debug)]
pub struct ScoringPlans {
    /// Scoring.
    pub infer: InferPlan,
    /// Predictions, without provenance.
    pub prediction: PredictionPlan,
}

impl ScoringPlans {
    /// The plan of predictions that say which model made them and how lookups have enriched the event, if the pipeline
    /// wants that.
    pub fn prediction_by(&self, pipeline: &Pipeline, model: ModelIdentity) -> PredictionPlan {
        let provenance = pipeline.sink.provenance.then_some(model);
        PredictionPlan {
            provenance,
            ..self.prediction.clone()
        }
    }
}

/// What is done at the workers of another key than the job's.
#[derive(Clone, Debug)]
pub struct HopPlan {
    /// The key's fields by name, which its stages are called after.
    pub name: String,
    /// The fields. Where one is null there is no such key, and an event goes where its own sends it.
    pub key: Vec<FieldIndex>,
    /// What features read of windows of the key. Of all stations the first one checks what features ask of an event.
    pub windows: Arc<WindowPlan>,
}

impl Plans {
    /// The plans of `pipeline` on `workers` workers.
    pub fn new(pipeline: &Pipeline, workers: usize) -> Self {
        let spread = Spread {
            key_groups: u16::try_from(pipeline.job.key_groups).unwrap_or(u16::MAX),
            workers,
            shards: u16::try_from(pipeline.sink.shards).unwrap_or(u16::MAX),
        };
        let Columns {
            features,
            names,
            windows,
            hops,
            computed,
            derived,
        } = features::columns(pipeline, spread);
        let hops: Vec<_> = hops.into_iter().map(|it| hop(pipeline, it)).collect();
        let ingest = IngestPlan {
            computed,
            detour: hops.first().map(|first| Detour {
                first: first.key.clone(),
                in_turns: pipeline.job.order == spec::Order::Arrival,
            }),
            ..ingest(pipeline, spread)
        };
        Plans {
            spread,
            hops,
            derived: derived.map(Arc::new),
            ingest: Arc::new(ingest),
            windows: windows.map(Arc::new),
            scoring: pipeline.model.as_ref().map(|model| ScoringPlans {
                infer: InferPlan {
                    model: model_name(&model.path),
                    features: names.clone(),
                    spread,
                },
                prediction: prediction(pipeline, model, spread),
            }),
            vectors: VectorPlan {
                fields: repeated(pipeline),
                names: names.clone(),
                provenance: pipeline.sink.provenance,
                lookups: told_lookups(pipeline, spread),
                spread,
                form: Form::Lines,
            },
            feature_rows: FeatureRowPlan {
                names,
                labels: Vec::new(),
                label_paths: Vec::new(),
                max_depth: u32::try_from(pipeline.event.max_depth).unwrap_or(u32::MAX),
                spread,
                form: Form::Lines,
            },
            features: Arc::new(features),
        }
    }
}

impl Plans {
    /// The windows that the stage of this name keeps, and the fields of their key; none if it keeps none.
    pub(crate) fn windows_of(&self, name: &str) -> Option<(Vec<usize>, &WindowPlan)> {
        let fields = |key: &[FieldIndex]| key.iter().map(|field| field.0).collect();
        if name == stage::WINDOWS {
            let own = fields(&self.ingest.schema.key);
            return Some((own, self.windows.as_deref()?));
        }
        let of_hop = |hop: &&HopPlan| name == stage::at_hop(stage::WINDOWS, &hop.name);
        let hop = self.hops.iter().find(of_hop)?;
        Some((fields(&hop.key), &hop.windows))
    }

    /// Whether something is computed over windows that histories do not have.
    pub fn computes_windows(&self) -> bool {
        self.windows.is_some() || !self.hops.is_empty()
    }
}

/// The windows of another key.
fn hop(pipeline: &Pipeline, windows: WindowPlan) -> HopPlan {
    let key = windows.key.clone().unwrap_or_default();
    HopPlan {
        name: key_name(pipeline, &key),
        key,
        windows: Arc::new(windows),
    }
}

/// A key is called by its fields.
fn key_name(pipeline: &Pipeline, key: &[FieldIndex]) -> String {
    let fields = key.iter();
    let fields = fields.filter_map(|field| pipeline.event.fields.get(field.0));
    let names: Vec<&str> = fields.map(|field| field.name.as_str()).collect();
    names.join(", ")
}

/// Numbers of a vector that goes out.
pub(super) fn width(pipeline: &Pipeline) -> usize {
    let outgoing = pipeline.outgoing_features();
    outgoing.map(spec::FeatureSpec::width).sum()
}

/// A model is called by its file's name, without folder and extension.
pub fn model_name(path: &spec::ModelPath) -> String {
    match path {
        spec::ModelPath::Builtin(name) => name.clone(),
        spec::ModelPath::File(path) => {
            let stem = std::path::Path::new(path).file_stem();
            stem.map_or_else(|| path.clone(), |stem| stem.to_string_lossy().into_owned())
        }
    }
}

/// The checks of fields of a stage, in the order of the file.
pub(super) fn checks(pipeline: &Pipeline, stage: spec::CheckStage) -> Vec<Check> {
    let of_stage = pipeline.checks.iter().filter(|check| check.stage == stage);
    of_stage.map(check).collect()
}

fn check(check: &spec::CheckSpec) -> Check {
    let message = check.message.clone();
    Check::new(FieldIndex(check.field), rule(&check.rule), message)
}

/// The checks of all fields together, before the key.
fn conditions(pipeline: &Pipeline) -> Vec<When> {
    let all = pipeline.conditions.iter();
    let early = all.filter(|it| it.stage == spec::CheckStage::Validate);
    early.map(condition).collect()
}

fn condition(spec: &spec::WhenSpec) -> When {
    When {
        condition: spec.condition.clone(),
        message: spec.message.clone(),
    }
}

/// All checks of the feature stage, in the order of the file.
fn row_checks(pipeline: &Pipeline) -> Vec<RowCheck> {
    let late = |stage| stage == spec::CheckStage::Feature;
    let of_fields = (0..).zip(&pipeline.checks);
    let of_fields = of_fields.filter(|(_, spec)| late(spec.stage));
    let of_fields = of_fields.map(|(at, spec)| (at + 1, RowCheck::Field(check(spec))));
    let conditions = pipeline.conditions.iter().filter(|spec| late(spec.stage));
    let conditions = conditions.map(|spec| (spec.after, RowCheck::When(condition(spec))));
    let mut all: Vec<_> = of_fields.chain(conditions).collect();
    // Stable, and of one place the check of the field stands first.
    all.sort_by_key(|(place, _)| *place);
    all.into_iter().map(|(_, check)| check).collect()
}

fn rule(rule: &spec::Rule) -> Rule {
    match rule {
        spec::Rule::NotEmpty => Rule::NotEmpty,
        spec::Rule::Min(least) => Rule::Min(bound(least)),
        spec::Rule::Max(most) => Rule::Max(bound(most)),
        spec::Rule::OneOf(values) => Rule::OneOf(values.iter().map(constant).collect()),
        spec::Rule::MaxLength(most) => Rule::MaxLength(*most as u64),
        spec::Rule::Matches(pattern) => Rule::Matches(pattern.clone()),
    }
}

fn bound(literal: &spec::Literal) -> Bound {
    match literal {
        spec::Literal::Int(value) => Bound::Int(*value),
        spec::Literal::Float(value) => Bound::Float(*value),
        // `resolve` has refused bounds that are no numbers.
        spec::Literal::Text(_) | spec::Literal::Bool(_) => Bound::Int(0),
    }
}

pub(super) fn constant(literal: &spec::Literal) -> Constant {
    match literal {
        spec::Literal::Text(text) => Constant::Text(text.clone()),
        spec::Literal::Int(value) => Constant::Int(*value),
        spec::Literal::Float(value) => Constant::Float(*value),
        spec::Literal::Bool(value) => Constant::Bool(*value),
    }
}

fn ingest(pipeline: &Pipeline, spread: Spread) -> IngestPlan {
    let event = &pipeline.event;
    let field = |field: &spec::FieldSpec| Field {
        name: field.name.clone(),
        path: field.path.clone(),
        kind: field.kind.into(),
        required: field.required,
        default: field.default.clone(),
    };
    let before_key = checks(pipeline, spec::CheckStage::Validate);
    let later = checks(pipeline, spec::CheckStage::Feature);
    IngestPlan {
        schema: EventSchema {
            fields: event.fields.iter().map(field).collect(),
            key: event.key.iter().copied().map(FieldIndex).collect(),
            time: match event.time {
                spec::TimeSpec::Field { field, unit } => TimeFrom::Field {
                    field: FieldIndex(field),
                    unit,
                },
                spec::TimeSpec::Record => TimeFrom::Record,
            },
        },
        fields: FieldRules::new(event.fields.len(), &before_key, &later),
        conditions: conditions(pipeline),
        filters: filters(pipeline),
        time: TimeRules {
            max_out_of_orderness_ms: event.max_out_of_orderness_ms,
            max_ahead_ms: event.max_ahead_ms,
        },
        late: match event.late {
            spec::Late::DeadLetter => LatePolicy::DeadLetter,
            spec::Late::Process => LatePolicy::Process,
            spec::Late::Drop => LatePolicy::Drop,
        },
        max_bytes: event.max_bytes as u64,
        max_depth: u32::try_from(event.max_depth).unwrap_or(u32::MAX),
        spread,
        computed: 0,
        keeps_origins: pipeline.dead_letters == spec::DeadLetterForm::Raw,
        detour: None,
    }
}

fn filters(pipeline: &Pipeline) -> Vec<Filter> {
    let filter = |keep: &Expression| Filter { keep: keep.clone() };
    pipeline.filters.iter().map(filter).collect()
}

/// The lookups that features take values from, and where these go; none if no feature does. Beside the plan, which of the
/// pipeline's lookups they are.
pub(super) fn lookups(pipeline: &Pipeline, spread: Spread) -> Option<(LookupPlan, Vec<usize>)> {
    let wanted: Vec<_> = features::needed(pipeline).collect();
    let columns = |wanted_of: usize| {
        let placed = wanted.iter().map(|wanted| (wanted.place, wanted.spec));
        let of_lookup = placed.filter_map(move |(place, spec)| match spec.kind {
            spec::FeatureKind::Lookup { lookup, field } if lookup == wanted_of => Some(Column {
                place,
                field,
                transforms: transforms(spec),
            }),
            _ => None,
        });
        of_lookup.collect::<Vec<_>>()
    };
    let all = (0..).zip(&pipeline.lookups);
    let used = all.filter_map(|(at, spec)| {
        let columns = columns(at);
        (!columns.is_empty()).then(|| (at, lookup(spec, columns)))
    });
    let (places, lookups): (Vec<usize>, Vec<Lookup>) = used.unzip();
    let plan = LookupPlan {
        lookups,
        width: features::width_of_all(pipeline),
        tells_provenance: pipeline.sink.provenance,
        spread,
    };
    (!places.is_empty()).then_some((plan, places))
}

fn lookup(spec: &spec::LookupSpec, columns: Vec<Column>) -> Lookup {
    Lookup {
        name: spec.name.clone(),
        key: spec.key.clone(),
        form: match spec.read {
            spec::LookupRead::Hash | spec::LookupRead::Text => lookup::Form::Texts,
            spec::LookupRead::Json => lookup::Form::Json,
        },
        fields: spec.fields.clone(),
        columns,
        timeout: Duration::from_millis(spec.timeout_ms),
        connect_timeout: Duration::from_millis(spec.connect_timeout_ms),
        on_miss: spec.on_miss,
        on_error: spec.on_error,
        in_flight: spec.in_flight,
        cache: spec.cache,
    }
}

/// The fields of events that each prediction repeats.
fn repeated(pipeline: &Pipeline) -> Vec<(String, FieldIndex)> {
    let name = |at: usize| {
        pipeline
            .event
            .fields
            .get(at)
            .map(|field| field.name.clone())
    };
    let fields = pipeline.sink.fields.iter();
    fields
        .filter_map(|&at| Some((name(at)?, FieldIndex(at))))
        .collect()
}

/// Lookups of which provenance says how they have enriched an event.
fn told_lookups(pipeline: &Pipeline, spread: Spread) -> Vec<String> {
    let lookups = lookups(pipeline, spread).filter(|_| pipeline.sink.provenance);
    let lookups = lookups.map_or_else(Vec::new, |(plan, _)| plan.lookups);
    lookups.into_iter().map(|lookup| lookup.name).collect()
}

fn prediction(pipeline: &Pipeline, model: &spec::ModelSpec, spread: Spread) -> PredictionPlan {
    PredictionPlan {
        fields: repeated(pipeline),
        outputs: model.outputs.iter().map(|it| it.name.clone()).collect(),
        provenance: None,
        lookups: told_lookups(pipeline, spread),
        spread,
        form: Form::Lines,
    }
}

#[cfg(test)]
mod tests {
    use crate::pipeline::plan::stage;

    #[test]
    fn are_stages_of_other_keys_called_after_them() {
        let check = |name: &str, is_order| assert_eq!(stage::is_order(name), is_order, "{name}");
        assert_eq!(stage::at_hop(stage::FEATURES, "tide"), "features by tide");
        check(stage::ORDER, true);
        check(&stage::at_hop(stage::ORDER, "order, tide"), true);
        check(&stage::at_hop(stage::FEATURES, "order by"), false);
        check("orders", false);
    }
}
