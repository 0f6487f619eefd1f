//! What is declared of windows, and the same as columns, marks and measures of logs.

use crate::check::RowCheck;
use crate::event::FieldIndex;
use crate::expression::Expression;
use crate::history::Condition;
use crate::window::log::{Distinct, Shape};
use crate::window::measure::{MARKS_MAX, Mark, Measure};
use slackwater_dataflow::place::Spread;

/// What is computed over the events of one key.
#[derive(Clone, Debug)]
pub struct WindowPlan {
    /// Fields of the key; none if it is the job's, which every row bears.
    pub key: Option<Vec<FieldIndex>>,
    /// What is computed, in any order.
    pub aggregates: Vec<Aggregate>,
    /// Checks of the feature stage, where this is the first stage behind the order.
    pub checks: Vec<RowCheck>,
    /// Whether events are handled in the order of their order times.
    pub in_time_order: bool,
    /// Where keys go.
    pub spread: Spread,
}

/// A number that is computed over a window, and where it goes.
#[derive(Clone, Debug, PartialEq)]
pub struct Aggregate {
    /// What it is.
    pub kind: AggregateKind,
    /// Over which events.
    pub over: Over,
    /// Which of them count; none if all do.
    pub among: Option<Among>,
    /// Whether the event itself is in the window.
    pub includes_self: bool,
    /// The cell that it is put into, which stays null where it does not exist.
    pub into: FieldIndex,
}

/// What is computed over a window. Numbers that are null do not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AggregateKind {
    /// Number of events.
    Count,
    /// Sum of a field; of nothing 0.
    Sum(FieldIndex),
    /// Mean of a field.
    Mean(FieldIndex),
    /// Standard deviation of a field, of the population.
    Std(FieldIndex),
    /// Least number of a field.
    Min(FieldIndex),
    /// Greatest number of a field.
    Max(FieldIndex),
    /// The number of the event handled last that has one.
    Last(FieldIndex),
    /// Different values of a field, null being none. Texts and whole numbers are told apart by 64 bits of their hash.
    Distinct(FieldIndex),
    /// Number of events that count, divided by the number of all.
    Share,
    /// Milliseconds since the event of the window handled last before this one; a negative gap is 0.
    SincePrevious,
    /// (last - first) / (n - 1) of the window in milliseconds, in the order in which events were handled; a negative one is 0.
    MeanGap,
}

/// A window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// So many events handled last, of those the ones with a time above the event's less `ttl_ms`.
    History {
        /// Events.
        events: u32,
        /// Milliseconds.
        ttl_ms: u64,
    },
    /// So many events handled last.
    Last(u32),
    /// The events with a time above the event's less so many milliseconds.
    Time(u64),
}

/// Which events of a window count.
#[derive(Clone, Debug, PartialEq)]
pub enum Among {
    /// All conditions hold.
    Equal(Vec<Condition>),
    /// The expression over the event's fields is true; one without a value is not.
    Where(Expression),
}

/// In which order a log has its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LogOrder {
    /// By order time, and where that is the same as they were handled.
    Time,
    /// As they were handled.
    Handled,
}

/// What a log keeps of an event in one of its words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    Marks,
    Turn,
    Number(FieldIndex),
    Identity(FieldIndex),
}

/// How an aggregate is read off a log.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    pub(super) kind: AggregateKind,
    pub(super) over: Over,
    pub(super) includes_self: bool,
    pub(super) into: FieldIndex,
    /// The measure that it needs, if it needs one.
    pub(super) measure: Option<usize>,
    /// Of a mean gap where the window ends: not with this event, if that is left out.
    pub(super) end: Option<usize>,
}

/// A log of each key, and what is read off it.
#[derive(Clone, Debug)]
pub(super) struct LogPlan {
    pub(super) order: LogOrder,
    /// Whether times never fall in it.
    pub(super) is_sorted: bool,
    pub(super) columns: Vec<Column>,
    /// By mark, what an event has to fulfil for it.
    pub(super) conditions: Vec<Among>,
    pub(super) shape: Shape,
    /// Sorted so that those over the same window stand together, those without the event itself first.
    pub(super) readings: Vec<Reading>,
    /// The measure that says whether a history holds what is too old, in a log whose times may fall.
    pub(super) oldest: Option<usize>,
    /// Most events that any window holds; none if that is not known.
    pub(super) events_max: Option<u32>,
    /// The longest time that a window reaches back; none if one does without an end.
    pub(super) reach_ms: Option<u64>,
}

impl LogPlan {
    /// The logs that a plan needs: one of each order at most.
    pub(super) fn all(plan: &WindowPlan) -> Vec<LogPlan> {
        let orders = [LogOrder::Time, LogOrder::Handled];
        orders
            .into_iter()
            .filter_map(|order| LogPlan::of(plan, order))
            .collect()
    }

    fn of(plan: &WindowPlan, order: LogOrder) -> Option<LogPlan> {
        let is_of_order = |aggregate: &&Aggregate| match aggregate.over {
            Over::Time(_) => order == LogOrder::Time,
            Over::History { .. } | Over::Last(_) => order == LogOrder::Handled,
        };
        let aggregates: Vec<_> = plan.aggregates.iter().filter(is_of_order).collect();
        if aggregates.is_empty() {
            return None;
        }
        let mut log = LogPlan {
            order,
            is_sorted: plan.in_time_order || order == LogOrder::Time,
            columns: vec![Column::Marks],
            conditions: Vec::new(),
            shape: Shape::default(),
            readings: Vec::new(),
            oldest: None,
            events_max: Some(0),
            reach_ms: Some(0),
        };
        // Conditions first: what is saved of an event's marks are theirs, which come first.
        let among = aggregates.iter().map(|it| log.condition(it.among.as_ref()));
        let among: Vec<_> = among.collect();
        for (aggregate, among) in aggregates.into_iter().zip(among) {
            log.add(aggregate, among);
            log.reach(aggregate.over);
        }
        let is_of_history = |it: &Reading| matches!(it.over, Over::History { .. });
        if !log.is_sorted && log.readings.iter().any(is_of_history) {
            log.oldest = Some(log.measure(Measure::Oldest));
        }
        let needs_turns = log.shape.measures.iter().any(|(_, measure)| {
            matches!(
                measure,
                Measure::Newest(..) | Measure::First | Measure::Last
            )
        });
        if needs_turns && order == LogOrder::Time && !plan.in_time_order {
            log.shape.turn = Some(log.column(Column::Turn));
        }
        log.shape.columns = log.columns.len();
        log.readings
            .sort_by_key(|it| (it.includes_self, it.over.rank()));
        Some(log)
    }

    fn reach(&mut self, over: Over) {
        let (events, reach_ms) = match over {
            Over::History { events, ttl_ms } => (Some(events), Some(ttl_ms)),
            Over::Last(events) => (Some(events), None),
            Over::Time(ms) => (None, Some(ms)),
        };
        self.events_max = self.events_max.zip(events).map(|(a, b)| a.max(b));
        self.reach_ms = self.reach_ms.zip(reach_ms).map(|(a, b)| a.max(b));
    }

    /// The mark of a condition; none if all events count.
    fn condition(&mut self, among: Option<&Among>) -> Option<Mark> {
        let among = among?;
        let found = self.conditions.iter().position(|known| known == among);
        let at = found.unwrap_or_else(|| {
            self.conditions.push(among.clone());
            self.conditions.len() - 1
        });
        Some(Mark(at as u32))
    }

    fn add(&mut self, aggregate: &Aggregate, among: Option<Mark>) {
        let measure = match aggregate.kind {
            AggregateKind::Count | AggregateKind::Share => among.map(Measure::Count),
            AggregateKind::Sum(field) | AggregateKind::Mean(field) => {
                Some(Measure::Sum(self.column(Column::Number(field)), among))
            }
            AggregateKind::Std(field) => {
                Some(Measure::Moments(self.column(Column::Number(field)), among))
            }
            AggregateKind::Min(field) => {
                Some(Measure::Least(self.column(Column::Number(field)), among))
            }
            AggregateKind::Max(field) => {
                Some(Measure::Greatest(self.column(Column::Number(field)), among))
            }
            AggregateKind::Last(field) => {
                Some(Measure::Newest(self.column(Column::Number(field)), among))
            }
            AggregateKind::Distinct(field) => {
                let column = self.column(Column::Identity(field));
                Some(Measure::Count(self.newest(column, among)))
            }
            AggregateKind::SincePrevious => Some(Measure::Last),
            AggregateKind::MeanGap => Some(Measure::First),
        };
        let measure = measure.map(|measure| self.measure(measure));
        let is_gap = aggregate.kind == AggregateKind::MeanGap;
        let end = is_gap.then(|| self.measure(Measure::Last));
        // The event before is looked for before this one is there; which takes up a place of its window all the same.
        let is_before = aggregate.kind == AggregateKind::SincePrevious;
        let over = match aggregate.over {
            Over::Last(events) if is_before => Over::Last(events.saturating_sub(1)),
            Over::History { events, ttl_ms } if is_before => Over::History {
                events: events.saturating_sub(1),
                ttl_ms,
            },
            over => over,
        };
        self.readings.push(Reading {
            kind: aggregate.kind,
            over,
            includes_self: aggregate.includes_self && !is_before,
            into: aggregate.into,
            measure,
            end,
        });
    }

    fn column(&mut self, column: Column) -> usize {
        let found = self.columns.iter().position(|known| *known == column);
        found.unwrap_or_else(|| {
            self.columns.push(column);
            self.columns.len() - 1
        })
    }

    fn newest(&mut self, column: usize, among: Option<Mark>) -> Mark {
        let mut known = self.shape.distinct.iter();
        let found = known.find(|it| (it.column, it.among) == (column, among));
        if let Some(found) = found {
            return found.newest;
        }
        let newest = Mark((self.conditions.len() + self.shape.distinct.len()) as u32);
        self.shape.distinct.push(Distinct {
            column,
            among,
            newest,
        });
        newest
    }

    fn measure(&mut self, measure: Measure) -> usize {
        let measures = &mut self.shape.measures;
        let found = measures.iter().position(|(_, known)| *known == measure);
        found.unwrap_or_else(|| {
            measures.push((self.shape.words, measure));
            self.shape.words += measure.words();
            measures.len() - 1
        })
    }

    /// Marks that it needs: more than [`MARKS_MAX`] are too many.
    pub(super) fn marks(&self) -> usize {
        self.conditions.len() + self.shape.distinct.len()
    }
}

impl WindowPlan {
    /// Whether a stage can keep what this asks for; else how many conditions and values to be told apart it has for windows of
    /// one kind, where [`MARKS_MAX`] are the most.
    pub fn excess(&self) -> Option<usize> {
        let logs = LogPlan::all(self);
        let marks = logs.iter().map(LogPlan::marks).max()?;
        (marks > MARKS_MAX).then_some(marks)
    }
}

impl Over {
    /// Windows of the same rank are the same.
    fn rank(self) -> (u8, u64, u64) {
        match self {
            Over::History { events, ttl_ms } => (0, u64::from(events), ttl_ms),
            Over::Last(events) => (1, u64::from(events), 0),
            Over::Time(ms) => (2, ms, 0),
        }
    }
}
