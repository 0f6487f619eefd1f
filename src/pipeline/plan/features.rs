//! Features as columns of the vectors, and what of windows they read.

use slackwater_dataflow::place::Spread;
use slackwater_operators::derive::{DerivePlan, Derived};
use slackwater_operators::event::FieldIndex;
use slackwater_operators::features::{Feature, FeatureKind, FeaturePlan, Transform};
use slackwater_operators::history::{Condition, HistoryPlan, Tally};
use slackwater_operators::window::{Aggregate, AggregateKind, Among, Over, WindowPlan};

use crate::pipeline::plan::{constant, key_name, row_checks, width};
use crate::pipeline::spec;
use crate::pipeline::spec::{FeatureSpec, Pipeline};

/// A feature that is computed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Needed<'p> {
    pub(super) spec: &'p FeatureSpec,
    /// Its first column.
    pub(super) place: usize,
}

/// The features that are computed: the outgoing ones in their order, then what only expressions look at.
pub(super) fn needed(pipeline: &Pipeline) -> impl Iterator<Item = Needed<'_>> {
    let mut next = 0;
    pipeline.needed_features().into_iter().map(move |spec| {
        let place = next;
        next += spec.width();
        Needed { spec, place }
    })
}

/// Columns of all that is computed.
pub(super) fn width_of_all(pipeline: &Pipeline) -> usize {
    let needed = pipeline.needed_features().into_iter();
    needed.map(FeatureSpec::width).sum()
}

/// The plans that make vectors.
#[derive(Debug)]
pub(super) struct Columns {
    pub(super) features: FeaturePlan,
    /// The names of the columns that go out, in order.
    pub(super) names: Vec<String>,
    /// Of the job's key; none if no feature needs one.
    pub(super) windows: Option<WindowPlan>,
    /// Of other keys, in the order in which features name them.
    pub(super) hops: Vec<WindowPlan>,
    /// Cells of a row behind those of its fields, for what is computed over windows.
    pub(super) computed: usize,
    /// None if no feature is made of others.
    pub(super) derived: Option<DerivePlan>,
}

/// The columns that are computed, and in which order.
pub(super) fn columns(pipeline: &Pipeline, spread: Spread) -> Columns {
    let mut reader = Reader {
        pipeline,
        tallies: Vec::new(),
        stations: Vec::new(),
        computed: 0,
    };
    let all = needed(pipeline);
    let features: Vec<Feature> = all.flat_map(|it| reader.columns(it.spec)).collect();
    let needs_history = features.iter().any(|feature| feature.kind.reads_history());
    let is_read = needs_history || pipeline.mirror.is_some();
    let history = pipeline.history.as_ref().filter(|_| is_read);
    let Reader {
        tallies,
        stations,
        computed,
        ..
    } = reader;
    let mut checks = row_checks(pipeline);
    let mut plan = |station: StationPlan| WindowPlan {
        key: station.key,
        aggregates: station.aggregates,
        // Whoever comes first looks whether an event is to be refused.
        checks: std::mem::take(&mut checks),
        in_time_order: pipeline.job.order == spec::Order::EventTime,
        spread,
    };
    // The job's key comes last.
    let (own, others): (Vec<_>, Vec<_>) = stations.into_iter().partition(|it| it.key.is_none());
    let hops: Vec<_> = others.into_iter().map(&mut plan).collect();
    let windows = own.into_iter().next().map(&mut plan);
    let outgoing = width(pipeline);
    let names = features.iter().take(outgoing);
    Columns {
        names: names.map(|feature| feature.name.clone()).collect(),
        features: FeaturePlan {
            checks,
            history: history.map(|history| HistoryPlan {
                events: events(history),
                ttl_ms: history.ttl_ms,
                fields: history.fields.iter().copied().map(FieldIndex).collect(),
                tallies,
            }),
            features,
            spread,
        },
        windows,
        hops,
        computed,
        derived: derived(pipeline, outgoing),
    }
}

/// A key whose windows have more conditions, and values to be told apart, than go together, and how many they are.
pub(in crate::pipeline) fn excess(pipeline: &Pipeline) -> Option<(String, usize)> {
    let spread = Spread {
        key_groups: 1,
        workers: 1,
        shards: 1,
    };
    let Columns { windows, hops, .. } = columns(pipeline, spread);
    let mut plans = hops.iter().chain(&windows);
    plans.find_map(|plan| {
        let excess = plan.excess()?;
        let job = || pipeline.event.key.iter().copied().map(FieldIndex).collect();
        let key: Vec<FieldIndex> = plan.key.clone().unwrap_or_else(job);
        Some((key_name(pipeline, &key), excess))
    })
}

/// What is made of other features: in the order of the file, in which none looks at one below it.
fn derived(pipeline: &Pipeline, outgoing: usize) -> Option<DerivePlan> {
    let needed: Vec<_> = needed(pipeline).collect();
    let place_of = |name: &str| {
        let found = needed.iter().find(|it| it.spec.name == name);
        found.map_or(usize::MAX, |it| it.place)
    };
    let features = pipeline.features.iter();
    let computed = features.filter(|spec| needed.iter().any(|it| it.spec.name == spec.name));
    let derived = computed.filter_map(|spec| {
        let spec::FeatureKind::Expr { expression, names } = &spec.kind else {
            return None;
        };
        let input = |&at: &usize| pipeline.features.get(at).map(|it| place_of(&it.name));
        Some(Derived {
            column: place_of(&spec.name),
            expression: expression.clone(),
            inputs: names
                .iter()
                .map(|at| input(at).unwrap_or(usize::MAX))
                .collect(),
            fill: spec.fill,
            transforms: transforms(spec),
        })
    });
    let derived: Vec<_> = derived.collect();
    (!derived.is_empty()).then(|| DerivePlan {
        width: width_of_all(pipeline),
        outgoing,
        derived,
    })
}

/// What is computed at the workers of one key.
struct StationPlan {
    /// None of the job's.
    key: Option<Vec<FieldIndex>>,
    aggregates: Vec<Aggregate>,
}

fn events(history: &spec::HistorySpec) -> u32 {
    u32::try_from(history.events).unwrap_or(u32::MAX)
}

/// Turns features into columns, and collects what they read.
struct Reader<'p> {
    pipeline: &'p Pipeline,
    tallies: Vec<Tally>,
    stations: Vec<StationPlan>,
    /// Cells that are taken.
    computed: usize,
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
            Spec::Lookup { .. } | Spec::OneHot { .. } | Spec::Expr { .. } => FeatureKind::Later,
            _ if spec.is_of_history(self.pipeline.history.as_ref()) => self.of_history(spec),
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
        let into = FieldIndex(fields + self.computed);
        self.computed += 1;
        let conditions = conditions(spec);
        let among = match &spec.among {
            Some(expression) => Some(Among::Where(expression.clone())),
            None if conditions.is_empty() => None,
            None => Some(Among::Equal(conditions)),
        };
        let key = spec.window.key.as_ref();
        let key = key.map(|key| key.iter().copied().map(FieldIndex).collect());
        let found = self.stations.iter().position(|station| station.key == key);
        let at = found.unwrap_or_else(|| {
            self.stations.push(StationPlan {
                key,
                aggregates: Vec::new(),
            });
            self.stations.len() - 1
        });
        if let Some(station) = self.stations.get_mut(at) {
            station.aggregates.push(Aggregate {
                kind,
                over,
                among,
                includes_self: spec.window.includes_self,
                into,
            });
        }
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
