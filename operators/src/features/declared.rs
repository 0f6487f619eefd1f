//! One feature of one event: its value, then its transforms.
//!
//! Everything is computed in `f64` and rounded to `f32` once at the end, so that any other program can
//! compute the same numbers. What does not exist becomes the feature's `fill`.

use xxhash_rust::xxh3::xxh3_64;

use crate::batch::{Cell, Row, Rows};
use crate::event::FieldIndex;
use crate::history::Window;

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
    /// A number or truth value of the event itself.
    Value(FieldIndex),
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
}

/// A step from a feature's value to what the model sees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Transform {
    /// ln(1 + x).
    Log1p,
    /// At least the first, at most the second.
    Clip(f64, f64),
    /// (x - m) / s.
    Scale(f64, f64),
}

/// An event and what it sees of its key's history.
#[derive(Clone, Copy, Debug)]
pub(super) struct EventView<'a> {
    pub(super) rows: &'a Rows,
    pub(super) row: &'a Row,
    pub(super) window: Option<Window<'a>>,
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
    /// The feature of an event, as the model sees it.
    pub(super) fn compute(&self, event: &EventView<'_>, calendar: &Calendar) -> f32 {
        let value = self.kind.value(event, calendar).unwrap_or(self.fill);
        let transformed = self
            .transforms
            .iter()
            .fold(value, |x, transform| transform.apply(x));
        transformed as f32
    }
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

    fn value(&self, event: &EventView<'_>, calendar: &Calendar) -> Option<f64> {
        let window = event.window.as_ref();
        let tally = |at: usize| window.and_then(|window| window.tallies.get(at)).copied();
        match self {
            FeatureKind::Value(field) => match event.rows.cell(event.row, *field) {
                Cell::Int(value) => Some(value as f64),
                Cell::Float(value) => Some(value),
                Cell::Bool(value) => Some(f64::from(value)),
                Cell::Null | Cell::Text { .. } => None,
            },
            FeatureKind::Index(field, values) => {
                let text = event.text(*field)?;
                let position = values.iter().position(|value| value.as_bytes() == text);
                Some(position.map_or(-1.0, |at| at as f64))
            }
            FeatureKind::Hash(field, buckets) => {
                let text = event.text(*field)?;
                Some((xxh3_64(text) % buckets) as f64)
            }
            FeatureKind::HourSin => Some(calendar.hour(event.row).0),
            FeatureKind::HourCos => Some(calendar.hour(event.row).1),
            FeatureKind::DayOfWeek => {
                let day = event.row.time.0.div_euclid(DAY_MS);
                Some((day + FIRST_DAY_OF_WEEK).rem_euclid(7) as f64)
            }
            FeatureKind::Count => window.map(|window| f64::from(window.events)),
            FeatureKind::Tally(at) => tally(*at).map(f64::from),
            FeatureKind::Share(at) => {
                let events = window
                    .map(|window| window.events)
                    .filter(|&events| events > 0)?;
                Some(f64::from(tally(*at)?) / f64::from(events))
            }
            FeatureKind::SincePrevious => {
                let window = window?;
                Some(window.last.ms_after(window.previous?) as f64)
            }
            FeatureKind::MeanGap => {
                let window = window?;
                let gaps = window.events.checked_sub(1).filter(|&gaps| gaps > 0)?;
                Some(window.last.ms_after(window.first) as f64 / f64::from(gaps))
            }
            FeatureKind::Constant(value) => Some(*value),
        }
    }
}

impl EventView<'_> {
    fn text(&self, field: FieldIndex) -> Option<&[u8]> {
        match self.rows.cell(self.row, field) {
            Cell::Text { span, .. } => Some(self.rows.bytes(span)),
            _ => None,
        }
    }
}

impl Transform {
    fn apply(self, x: f64) -> f64 {
        match self {
            Transform::Log1p => x.ln_1p(),
            Transform::Clip(least, most) => x.max(least).min(most),
            Transform::Scale(m, s) => (x - m) / s,
        }
    }
}
