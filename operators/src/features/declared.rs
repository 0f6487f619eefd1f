//! One feature of the events of a batch: its values, then its transforms.
//!
//! Everything is computed in `f64` and rounded to `f32` once at the end, so that any other program can
//! compute the same numbers. What does not exist becomes the feature's `fill`.

use xxhash_rust::xxh3::xxh3_64;

use crate::batch::{Cell, Row, Rows};
use crate::event::FieldIndex;
use crate::features::windows::Windows;

/// Milliseconds of an hour.
const HOUR_MS: i64 = 3_600_000;
/// Milliseconds of a day.
const DAY_MS: i64 = 24 * HOUR_MS;
/// 1970-01-01 was a Thursday; Monday is day 0.
const FIRST_DAY_OF_WEEK: i64 = 3;

/// A declared feature.
#[derive(Clone, Debug, PartialEq)]
pub struct Feature {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: FeatureKind,
    /// What it is when that does not exist.
    pub fill: f64,
    /// Applied to it, left to right.
    pub transforms: Vec<Transform>,
}

/// What a feature is computed from.
#[derive(Clone, Debug, PartialEq)]
pub enum FeatureKind {
    /// A number or truth value of the event itself, or what a stage before has put into one of its cells.
    Value(FieldIndex),
    /// 1 if a text is this one, else 0.
    Is(FieldIndex, String),
    /// Position of a text among declared ones, -1 if it is none of them.
    Index(FieldIndex, Vec<String>),
    /// xxh3_64 (seed 0) of a text's UTF-8 bytes, modulo a number of buckets.
    Hash(FieldIndex, u64),
    /// Sine of the event's UTC hour as an angle.
    HourSin,
    /// Cosine of the event's UTC hour as an angle.
    HourCos,
    /// The event's UTC day of the week, Monday = 0.
    DayOfWeek,
    /// Number of events in the window.
    Count,
    /// A count that histories keep: position of its tally.
    Tally(usize),
    /// A tally divided by the number of events in the window.
    Share(usize),
    /// Milliseconds since the event handled before; a negative gap is 0.
    SincePrevious,
    /// (last - first) / (n - 1) of the window in milliseconds; a negative one is 0.
    MeanGap,
    /// Always the same.
    Constant(f64),
    /// What a later stage puts there: [`crate::lookup`].
    Later,
}

/// A step from a feature's value to what the model sees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Transform {
    /// ln(1 + x).
    Log1p,
    /// At least the first, at most the second; NaN stays NaN. The first is not above the second.
    Clip(f64, f64),
    /// (x - m) / s.
    Scale(f64, f64),
}

/// The events of a batch and what they see of their keys' histories.
#[derive(Clone, Copy, Debug)]
pub(super) struct Events<'a> {
    pub(super) rows: &'a Rows,
    /// `None` if no history is declared.
    pub(super) windows: Option<&'a Windows>,
    pub(super) calendar: &'a Calendar,
}

/// Sine and cosine of the 24 hours.
#[derive(Debug)]
pub(super) struct Calendar {
    hours: [(f64, f64); 24],
}

impl Calendar {
    pub(super) fn new() -> Self {
        let angle = |hour: usize| std::f64::consts::TAU * hour as f64 / 24.0;
        Calendar {
            hours: std::array::from_fn(|hour| angle(hour).sin_cos()),
        }
    }

    fn hour(&self, row: &Row) -> (f64, f64) {
        let hour = row.time.0.rem_euclid(DAY_MS) / HOUR_MS;
        self.hours.get(hour as usize).copied().unwrap_or_default()
    }
}

impl Feature {
    /// A feature that goes to the model as it is, and is 0 where it does not exist.
    pub fn new(name: impl Into<String>, kind: FeatureKind) -> Self {
        Feature {
            name: name.into(),
            kind,
            fill: 0.0,
            transforms: Vec::new(),
        }
    }

    /// The same, transformed by these steps, left to right.
    #[must_use]
    pub fn transformed(mut self, transforms: impl Into<Vec<Transform>>) -> Self {
        self.transforms = transforms.into();
        self
    }

    /// Appends the feature of each event, transformed.
    pub(super) fn compute(&self, events: &Events<'_>, values: &mut Vec<f64>) {
        self.values(events, values);
        for transform in &self.transforms {
            transform.apply(values);
        }
    }

    fn values(&self, events: &Events<'_>, values: &mut Vec<f64>) {
        let rows = events.rows.rows().iter();
        let fill = |value: Option<f64>| value.unwrap_or(self.fill);
        match &self.kind {
            FeatureKind::Value(field) => {
                values.extend(rows.map(|row| fill(events.rows.cell(row, *field).number())));
            }
            FeatureKind::Is(field, wanted) => {
                let is = |text: &[u8]| f64::from(text == wanted.as_bytes());
                values.extend(rows.map(|row| fill(events.text(row, *field).map(is))));
            }
            FeatureKind::Index(field, texts) => {
                let index = |text: &[u8]| {
                    let position = texts.iter().position(|known| known.as_bytes() == text);
                    position.map_or(-1.0, |at| at as f64)
                };
                values.extend(rows.map(|row| fill(events.text(row, *field).map(index))));
            }
            FeatureKind::Hash(field, buckets) => {
                let bucket = |text: &[u8]| (xxh3_64(text) % buckets) as f64;
                values.extend(rows.map(|row| fill(events.text(row, *field).map(bucket))));
            }
            FeatureKind::HourSin => values.extend(rows.map(|row| events.calendar.hour(row).0)),
            FeatureKind::HourCos => values.extend(rows.map(|row| events.calendar.hour(row).1)),
            FeatureKind::DayOfWeek => values.extend(rows.map(day_of_week)),
            FeatureKind::Constant(value) => values.extend(rows.map(|_| *value)),
            FeatureKind::Later => values.extend(rows.map(|_| self.fill)),
            of_history => match events.windows {
                Some(windows) => of_history.of_windows(windows, self.fill, values),
                None => values.extend(rows.map(|_| self.fill)),
            },
        }
    }
}

fn day_of_week(row: &Row) -> f64 {
    let day = row.time.0.div_euclid(DAY_MS);
    (day + FIRST_DAY_OF_WEEK).rem_euclid(7) as f64
}

impl FeatureKind {
    /// Whether the feature needs a history.
    pub fn reads_history(&self) -> bool {
        matches!(
            self,
            FeatureKind::Count
                | FeatureKind::Tally(_)
                | FeatureKind::Share(_)
                | FeatureKind::SincePrevious
                | FeatureKind::MeanGap
        )
    }

    /// Appends a feature of the history for each window. What is not such a feature gives nothing.
    fn of_windows(&self, windows: &Windows, fill: f64, values: &mut Vec<f64>) {
        let events = windows.events.iter().copied();
        match self {
            FeatureKind::Count => values.extend(events.map(f64::from)),
            FeatureKind::Tally(at) => values.extend(windows.tally(*at).map(f64::from)),
            // A window holds at least the event itself.
            FeatureKind::Share(at) => {
                let share = |(tally, events)| f64::from(tally) / f64::from(events);
                values.extend(windows.tally(*at).zip(events).map(share));
            }
            FeatureKind::SincePrevious => {
                let gap = |gap: &Option<u64>| gap.map_or(fill, |ms| ms as f64);
                values.extend(windows.since_previous_ms.iter().map(gap));
            }
            FeatureKind::MeanGap => {
                let mean = |(&length_ms, events): (&u64, u32)| match events {
                    0 | 1 => fill,
                    events => length_ms as f64 / f64::from(events - 1),
                };
                values.extend(windows.length_ms.iter().zip(events).map(mean));
            }
            _ => {}
        }
    }
}

impl Events<'_> {
    fn text(&self, row: &Row, field: FieldIndex) -> Option<&[u8]> {
        match self.rows.cell(row, field) {
            Cell::Text { span, .. } => Some(self.rows.bytes(span)),
            _ => None,
        }
    }
}

impl Transform {
    pub(crate) fn apply(self, values: &mut [f64]) {
        match self {
            Transform::Log1p => values.iter_mut().for_each(|x| *x = x.ln_1p()),
            Transform::Clip(least, most) => {
                values.iter_mut().for_each(|x| *x = x.clamp(least, most));
            }
            Transform::Scale(m, s) => values.iter_mut().for_each(|x| *x = (*x - m) / s),
        }
    }
}
