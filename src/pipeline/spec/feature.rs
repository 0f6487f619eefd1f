//! Features as the pipeline file declares them.

use slackwater_operators::expression::Expression;

use crate::pipeline::spec::{HistorySpec, Literal};

/// Events of a history up to which features look at each of it; those of a longer one are read off a log, as windows are.
const LOOKED_AT_MAX: usize = 64;

/// One feature.
#[derive(Clone, Debug, PartialEq)]
pub struct FeatureSpec {
    /// Its name; names differ.
    pub name: String,
    /// What it is.
    pub kind: FeatureKind,
    /// Over which events, where it is over some.
    pub window: WindowSpec,
    /// Which events of the window count: all conditions hold. Empty: every event.
    pub conditions: Vec<Condition>,
    /// Of those, the ones for which this is true of their fields.
    pub among: Option<Expression>,
    /// Applied left to right, in f64.
    pub transforms: Vec<Transform>,
    /// What a value that does not exist becomes, before the transforms; finite.
    pub fill: f64,
}

impl FeatureSpec {
    /// Numbers that it gives the model.
    pub fn width(&self) -> usize {
        match &self.kind {
            FeatureKind::OneHot { values, .. } => values.len(),
            _ => 1,
        }
    }

    /// Whether it is one of the counts of the history of the job's key. Of what it looks at a history keeps
    /// [`HistorySpec::fields`] only.
    pub fn is_count_of_history(&self) -> bool {
        let is_counted = match &self.kind {
            FeatureKind::Count
            | FeatureKind::Share
            | FeatureKind::SincePrevious
            | FeatureKind::MeanGap => true,
            FeatureKind::Distinct { .. } => self.conditions.is_empty(),
            _ => false,
        };
        is_counted && self.among.is_none() && self.window == WindowSpec::default()
    }

    /// Whether it is read off the history that is kept beside the features.
    pub fn is_of_history(&self, history: Option<&HistorySpec>) -> bool {
        self.is_count_of_history() && history.is_none_or(|history| history.events <= LOOKED_AT_MAX)
    }

    /// Whether it is read off a window that a stage before the features keeps.
    pub fn is_of_window(&self, history: Option<&HistorySpec>) -> bool {
        let is_over_events = match &self.kind {
            FeatureKind::Count
            | FeatureKind::Share
            | FeatureKind::SincePrevious
            | FeatureKind::MeanGap
            | FeatureKind::Sum { .. }
            | FeatureKind::Mean { .. }
            | FeatureKind::Std { .. }
            | FeatureKind::Min { .. }
            | FeatureKind::Max { .. }
            | FeatureKind::Last { .. }
            | FeatureKind::Distinct { .. } => true,
            FeatureKind::Value { .. }
            | FeatureKind::Lookup { .. }
            | FeatureKind::OneHot { .. }
            | FeatureKind::Index { .. }
            | FeatureKind::Hash { .. }
            | FeatureKind::HourSin
            | FeatureKind::HourCos
            | FeatureKind::DayOfWeek
            | FeatureKind::Expr { .. }
            | FeatureKind::Constant(_) => false,
        };
        is_over_events && !self.is_of_history(history)
    }
}

/// Over which events a feature is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowSpec {
    /// How many, and how old.
    pub over: Over,
    /// Indices of the fields whose values the events have in common; `None`: those of the job's key.
    pub key: Option<Vec<usize>>,
    /// Whether the event itself is among them.
    pub includes_self: bool,
}

impl Default for WindowSpec {
    fn default() -> Self {
        WindowSpec {
            over: Over::History,
            key: None,
            includes_self: true,
        }
    }
}

/// How many events of a key are in a window, and how old they may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// As [`HistorySpec`] says.
    History,
    /// So many, the last ones handled.
    Last(u32),
    /// Those of the last so many milliseconds of event time.
    Time(u64),
}

/// What a feature is.
#[derive(Clone, Debug, PartialEq)]
pub enum FeatureKind {
    /// The field's number; a boolean counts 0 or 1.
    Value {
        /// An int, float or bool.
        field: usize,
    },
    /// A field of an answer.
    Lookup {
        /// Which lookup.
        lookup: usize,
        /// Which of its fields.
        field: usize,
    },
    /// One number for each of `values`: 1 where the field's string is that one, else 0.
    OneHot {
        /// A string.
        field: usize,
        /// At least one, all different.
        values: Vec<String>,
    },
    /// The place of the field's string in `values`, from 0; -1 when it is not there.
    Index {
        /// A string.
        field: usize,
        /// At least one, all different.
        values: Vec<String>,
    },
    /// Hash of the field's string modulo `buckets`.
    Hash {
        /// A string.
        field: usize,
        /// At least 1.
        buckets: u32,
    },
    /// Sine of 2 pi h / 24, h the whole hour of the event time in UTC.
    HourSin,
    /// Cosine of 2 pi h / 24, h the whole hour of the event time in UTC.
    HourCos,
    /// Day of the week of the event time in UTC.
    DayOfWeek,
    /// Events of the window that meet the conditions.
    Count,
    /// Sum of the field over the events that meet the conditions; of no number 0.
    Sum {
        /// An int, float or bool.
        field: usize,
    },
    /// Mean of the field over the events that meet the conditions.
    Mean {
        /// An int, float or bool.
        field: usize,
    },
    /// The field's least number in the window.
    Min {
        /// An int, float or bool.
        field: usize,
    },
    /// The field's greatest number in the window.
    Max {
        /// An int, float or bool.
        field: usize,
    },
    /// Standard deviation of the field's numbers in the window, of the population.
    Std {
        /// An int, float or bool.
        field: usize,
    },
    /// The newest number of the field in the window.
    Last {
        /// An int, float or bool.
        field: usize,
    },
    /// Different values of the field in the window.
    Distinct {
        /// Any type.
        field: usize,
    },
    /// Milliseconds since the previous event of the key.
    SincePrevious,
    /// Mean of the gaps between events of the window, in milliseconds.
    MeanGap,
    /// Events that meet the conditions, of all events of the window.
    Share,
    /// What an expression makes of other features.
    Expr {
        /// The expression.
        expression: Expression,
        /// Index of the feature that each name stands for which it may use; all are above this one.
        names: Vec<usize>,
    },
    /// A finite number.
    Constant(f64),
}

/// One condition of a window feature.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// Index of the field.
    pub field: usize,
    /// The field equals any of these; at least one.
    pub any_of: Vec<Literal>,
}

/// One step from a feature's value to the model's input. All numbers are finite.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Transform {
    /// ln(1 + x).
    Log1p,
    /// At least `least`, at most `most`; `least <= most`.
    Clip {
        /// Lower bound.
        least: f64,
        /// Upper bound.
        most: f64,
    },
    /// (x - mean) / deviation.
    Scale {
        /// Subtracted first.
        mean: f64,
        /// Divided by; not 0.
        deviation: f64,
    },
}
