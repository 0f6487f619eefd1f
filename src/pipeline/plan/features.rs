//! Features as columns of the vectors, and what of windows they read.

use slackwater_dataflow::place::Spread;
use slackwater_operators::event::FieldIndex;
use slackwater_operators::features::{Feature, FeatureKind, FeaturePlan, Transform};
use slackwater_operators::history::{Condition, HistoryPlan, Tally};
use slackwater_operators::window::{Aggregate, AggregateKind, Among, Over, WindowPlan};

use crate::pipeline::plan::{constant, row_checks};
use crate::pipeline::spec;
use crate::pipeline::spec::{FeatureSpec, Pipeline};

/// A feature that the model takes, or that goes out without one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'p> {
    pub(super) spec: &'p FeatureSpec,
    /// Its first column.
    pub(super) place: usize,
}

/// The features that the model takes, in its order.
pub(super) fn wanted(pipeline: &Pipeline) -> impl Iterator<Item = Wanted<'_>> {
    let mut next = 0;
    pipeline.outgoing_features().map(move |spec| {
        let place = next;
        next += spec.width();
        Wanted { spec, place }
    })
}

/// The plans that make vectors.
#[derive(Debug)]
pub(super) struct Columns {
    pub(super) features: FeaturePlan,
    /// None if no feature needs one.
    pub(super) windows: Option<WindowPlan>,
    /// Cells of a row behind those of its fields, for what is computed over windows.
    pub(super) computed: usize,
}

/// The columns that the model takes, in its order.
pub(super) fn columns(pipeline: &Pipeline, spread: Spread) -> Columns {
    let mut reader = Reader {
        pipeline,
        tallies: Vec::new(),
        aggregates: Vec::new(),
    };
    let wanted = wanted(pipeline);
    let features: Vec<Feature> = wanted.flat_map(|it| reader.columns(it.spec)).collect();
    let Reader {
        tallies,
        aggregates,
        ..
    } = reader;
    let needs_history = features.iter().any(|feature| feature.kind.reads_history());
    let history = pipeline.history.as_ref().filter(|_| needs_history);
    let mut checks = row_checks(pipeline);
    let computed = aggregates.len();
    let windows = (computed > 0).then(|| WindowPlan {
        key: None,
        aggregates,
        // Whoever comes first looks whether an event is to be refused.
        checks: std::mem::take(&mut checks),
        in_time_order: pipeline.job.order == spec::Order::EventTime,
        spread,
    });
    let features = FeaturePlan {
        checks,
        history: history.map(|history| HistoryPlan {
            events: events(history),
            ttl_ms: history.ttl_ms,
            fields: history.fields.iter().copied().map(FieldIndex).collect(),
            tallies,
        }),
        features,
        spread,
    };
    Columns {
        features,
        windows,
        computed,
    }
}

fn events(history: &spec::HistorySpec) -> u32 {
    u32::try_from(history.events).unwrap_or(u32::MAX)
}

/// Turns features into columns, and collects what they read.
struct Reader<'p> {
    pipeline: &'p Pipeline,
    tallies: Vec<Tally>,
    aggregates: Vec<Aggregate>,
}

impl Reader<'_> {
    fn columns(&mut self, spec: &FeatureSpec) -> Vec<Feature> {
        if let spec::FeatureKind::OneHot { field, values } = &spec.kind {
            let column = |value: &String| {
                let kind = FeatureKind::Is(FieldIndex(*field), value.clone());
                feature(spec, format!("{}={value}", spec.name), kind)
            };
            return values.iter().map(column).collect();
        }
        let kind = self.kind(spec);
        if kind == FeatureKind::Later {
            return vec![Feature::new(spec.name.clone(), kind)];
        }
        vec![feature(spec, spec.name.clone(), kind)]
    }

    fn kind(&mut self, spec: &FeatureSpec) -> FeatureKind {
        use spec::FeatureKind as Spec;
        match &spec.kind {
            Spec::Value { field } => FeatureKind::Value(FieldIndex(*field)),
            Spec::Index { field, values } => FeatureKind::Index(FieldIndex(*field), values.clone()),
            Spec::Hash { field, buckets } => {
                FeatureKind::Hash(FieldIndex(*field), u64::from(*buckets))
            }
            Spec::HourSin => FeatureKind::HourSin,
            Spec::HourCos => FeatureKind::HourCos,
            Spec::DayOfWeek => FeatureKind::DayOfWeek,
            Spec::Constant(value) => FeatureKind::Constant(*value),
            Spec::Lookup { .. } | Spec::OneHot { .. } => FeatureKind::Later,
            _ if spec.is_of_history() => self.of_history(spec),
            _ => self.of_window(spec),
        }
    }

    /// What histories have at hand.
    fn of_history(&mut self, spec: &FeatureSpec) -> FeatureKind {
        use spec::FeatureKind as Spec;
        let tallies = &mut self.tallies;
        let mut tally = |wanted: Tally| wanted.place_in(tallies);
        let conditions = || Tally::Where(conditions(spec));
        match &spec.kind {
            Spec::Distinct { field } => {
                FeatureKind::Tally(tally(Tally::Distinct(FieldIndex(*field))))
            }
            Spec::Share => FeatureKind::Share(tally(conditions())),
            Spec::SincePrevious => FeatureKind::SincePrevious,
            Spec::MeanGap => FeatureKind::MeanGap,
            _ if spec.conditions.is_empty() => FeatureKind::Count,
            _ => FeatureKind::Tally(tally(conditions())),
        }
    }

    /// What a stage before computes and puts into a cell of the row.
    fn of_window(&mut self, spec: &FeatureSpec) -> FeatureKind {
        use spec::FeatureKind as Spec;
        let kind = match spec.kind {
            Spec::Sum { field } => AggregateKind::Sum(FieldIndex(field)),
            Spec::Mean { field } => AggregateKind::Mean(FieldIndex(field)),
            Spec::Min { field } => AggregateKind::Min(FieldIndex(field)),
            Spec::Max { field } => AggregateKind::Max(FieldIndex(field)),
            Spec::Std { field } => AggregateKind::Std(FieldIndex(field)),
            Spec::Last { field } => AggregateKind::Last(FieldIndex(field)),
            Spec::Distinct { field } => AggregateKind::Distinct(FieldIndex(field)),
            Spec::Share => AggregateKind::Share,
            Spec::SincePrevious => AggregateKind::SincePrevious,
            Spec::MeanGap => AggregateKind::MeanGap,
            _ => AggregateKind::Count,
        };
        let over = match (spec.window.over, &self.pipeline.history) {
            (spec::Over::Last(events), _) => Over::Last(events),
            (spec::Over::Time(ms), _) => Over::Time(ms),
            (spec::Over::History, Some(history)) => Over::History {
                events: events(history),
                ttl_ms: history.ttl_ms,
            },
            // The pipeline file is refused then.
            (spec::Over::History, None) => Over::Last(1),
        };
        let fields = self.pipeline.event.fields.len();
        let into = FieldIndex(fields + self.aggregates.len());
        let conditions = conditions(spec);
        self.aggregates.push(Aggregate {
            kind,
            over,
            among: (!conditions.is_empty()).then_some(Among::Equal(conditions)),
            includes_self: spec.window.includes_self,
            into,
        });
        FeatureKind::Value(into)
    }
}

fn conditions(spec: &FeatureSpec) -> Vec<Condition> {
    let condition = |condition: &spec::Condition| Condition {
        field: FieldIndex(condition.field),
        values: condition.any_of.iter().map(constant).collect(),
    };
    spec.conditions.iter().map(condition).collect()
}

fn feature(spec: &FeatureSpec, name: String, kind: FeatureKind) -> Feature {
    Feature {
        name,
        kind,
        fill: spec.fill,
        transforms: transforms(spec),
    }
}

pub(super) fn transforms(spec: &FeatureSpec) -> Vec<Transform> {
    let transform = |transform: &spec::Transform| match *transform {
        spec::Transform::Log1p => Transform::Log1p,
        spec::Transform::Clip { least, most } => Transform::Clip(least, most),
        spec::Transform::Scale { mean, deviation } => Transform::Scale(mean, deviation),
    };
    spec.transforms.iter().map(transform).collect()
}
