//! What a job must find, written from the definitions in `docs/events.md` and as slow as it is obvious: all events that
//! were handled are in one list, and each feature goes through it from the beginning.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::f64::consts::PI;

use xxhash_rust::xxh3::xxh3_64;

use crate::bounds::Bounds;
use crate::conditions::Form;
use crate::declared::{Check, Feature, History, Order, Pipeline, Rule, Stage, Value, Window};
use crate::events::Input;

/// Partition, and byte of the record in it.
pub type Place = (u64, u64);

/// What becomes of a record.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Its numbers, by the names they are written with.
    Features {
        values: Vec<Value>,
        time: i64,
        numbers: Vec<(String, Bounds)>,
    },
    ValidationError,
    ProcessingError,
    Late,
    /// It leaves no record.
    Nothing,
}

/// An event that is on its way, or was handled.
struct Event {
    place: Place,
    time: i64,
    order_time: i64,
    values: Vec<Value>,
}

const MS_PER_HOUR: i64 = 3_600_000;

/// What becomes of each record of the inputs, which are partitions in this order.
pub fn outcomes(pipeline: &Pipeline, inputs: &[Input]) -> BTreeMap<Place, Outcome> {
    let mut outcomes = BTreeMap::new();
    let mut waiting = Vec::new();
    for (partition, input) in (0..).zip(inputs) {
        let mut highest = None;
        for (offset, record) in input.places() {
            let place = (partition, offset);
            let judged = judge(pipeline, record.values.as_deref(), &mut highest);
            match judged {
                Ok((time, order_time)) => waiting.push(Event {
                    place,
                    time,
                    order_time,
                    values: record.values.clone().unwrap(),
                }),
                Err(outcome) => {
                    outcomes.insert(place, outcome);
                }
            }
        }
    }
    if pipeline.order == Order::EventTime {
        waiting.sort_by_key(|event| (event.order_time, event.place));
    }
    let mut handled: Vec<Event> = Vec::new();
    for event in waiting {
        let place = event.place;
        let fits = |check: &Check| check.stage != Stage::Feature || passes(check, &event.values);
        if !pipeline.checks.iter().all(fits) {
            outcomes.insert(place, Outcome::ProcessingError);
            continue;
        }
        handled.push(event);
        outcomes.insert(place, found(pipeline, &handled));
    }
    outcomes
}

/// The event time and the order time of a record that is handled. `highest` is the partition's highest event time.
fn judge(
    pipeline: &Pipeline,
    values: Option<&[Value]>,
    highest: &mut Option<i64>,
) -> Result<(i64, i64), Outcome> {
    let values = values.ok_or(Outcome::ValidationError)?;
    let fits = |check: &Check| check.stage != Stage::Validate || passes(check, values);
    if !pipeline.checks.iter().all(fits) {
        return Err(Outcome::ValidationError);
    }
    let Value::Int(time) = values[pipeline.time] else {
        return Err(Outcome::ValidationError);
    };
    if let (Some(most), Some(highest)) = (pipeline.max_ahead_ms, *highest)
        && time - highest > most
    {
        return Err(Outcome::ValidationError);
    }
    let watermark = highest.map(|highest| highest - pipeline.max_out_of_orderness_ms);
    let mut order_time = time;
    if let Some(watermark) = watermark.filter(|watermark| time < *watermark) {
        match pipeline.late {
            "process" => order_time = watermark,
            "drop" => return Err(Outcome::Nothing),
            _ => return Err(Outcome::Late),
        }
    }
    *highest = Some(highest.map_or(time, |highest| highest.max(time)));
    match &pipeline.filter {
        None => {}
        Some(keep) => match keep.holds(values) {
            Some(true) => {}
            Some(false) => return Err(Outcome::Nothing),
            // What cannot be told is never left out without a record.
            None => return Err(Outcome::ValidationError),
        },
    }
    Ok((time, order_time))
}

fn passes(check: &Check, values: &[Value]) -> bool {
    match &check.rule {
        Rule::Least(field, least) => values[*field]
            .number()
            .is_none_or(|number| number >= *least),
        Rule::When(condition) => condition.holds(values) == Some(true),
    }
}

/// The features of the event that was handled last.
fn found(pipeline: &Pipeline, handled: &[Event]) -> Outcome {
    let event = handled.last().unwrap();
    let mut numbers: Vec<(String, Bounds)> = Vec::new();
    for feature in &pipeline.features {
        let values = if let Some(expression) = &feature.expression {
            let of = |name: &str| numbers.iter().find(|it| it.0 == name).unwrap().1;
            let (left, right) = (of(&expression.left), of(&expression.right));
            let result = left.rounded().with(
                right.rounded(),
                match expression.form {
                    Form::Sum => |left, right| left + right,
                    Form::TwiceLess => |left, right| left * 2.0 - right,
                    // What is no number cannot be compared: there is no value.
                    Form::Greater => |left: f64, right: f64| match left.partial_cmp(&right) {
                        None => f64::NAN,
                        Some(Ordering::Greater) => left,
                        Some(_) => right,
                    },
                },
            );
            vec![Some(result.or(feature.fill))]
        } else if feature.window.is_some() {
            vec![of_window(pipeline, feature, handled)]
        } else {
            let of_event = of_event(feature, event);
            of_event
                .into_iter()
                .map(|it| it.map(Bounds::exactly))
                .collect()
        };
        for (nth, value) in values.into_iter().enumerate() {
            let value = value.unwrap_or(Bounds::exactly(feature.fill));
            let transforms = feature.transforms.iter();
            let value = transforms.fold(value, |value, it| value.transformed(*it));
            let name = match feature.of {
                "one_hot" => format!("{}={}", feature.name, feature.values[nth]),
                _ => feature.name.clone(),
            };
            numbers.push((name, value));
        }
    }
    Outcome::Features {
        values: event.values.clone(),
        time: event.time,
        numbers,
    }
}

/// The numbers of a feature that looks at its event alone.
fn of_event(feature: &Feature, event: &Event) -> Vec<Option<f64>> {
    let value = feature.field.map(|field| &event.values[field]);
    let hour = event.time.div_euclid(MS_PER_HOUR).rem_euclid(24) as f64;
    // 1970 began on a Thursday.
    let day = (event.time.div_euclid(24 * MS_PER_HOUR) + 3).rem_euclid(7) as f64;
    let number = match (feature.of, value) {
        ("one_hot", Some(value)) => {
            let of = |it: &String| match value {
                Value::Text(text) => Some(f64::from(u8::from(text == it))),
                _ => None,
            };
            return feature.values.iter().map(of).collect();
        }
        ("value", Some(value)) => value.number(),
        ("index", Some(Value::Text(text))) => {
            let position = feature.values.iter().position(|it| it == text);
            Some(position.map_or(-1.0, |position| position as f64))
        }
        ("hash", Some(Value::Text(text))) => {
            Some((xxh3_64(text.as_bytes()) % feature.buckets) as f64)
        }
        ("hour_sin", _) => Some((2.0 * PI * hour / 24.0).sin()),
        ("hour_cos", _) => Some((2.0 * PI * hour / 24.0).cos()),
        ("day_of_week", _) => Some(day),
        ("constant", _) => Some(feature.value),
        _ => None,
    };
    vec![number]
}

/// The events of a feature's window at the event that was handled last, in the order of handling. Without that event it
/// holds as many others as it may with it.
fn window<'e>(
    pipeline: &Pipeline,
    feature: &Feature,
    handled: &'e [Event],
    includes_self: bool,
) -> Vec<&'e Event> {
    let event = handled.last().unwrap();
    let key = feature.key.as_ref().unwrap_or(&pipeline.key);
    let is_same = |other: &&Event| key.iter().all(|&it| other.values[it] == event.values[it]);
    let mut of_key: Vec<&Event> = handled.iter().filter(is_same).collect();
    if !includes_self {
        of_key.pop();
    }
    let newest = |most: usize| of_key[of_key.len().saturating_sub(most)..].to_vec();
    let younger = |mut events: Vec<&'e Event>, ms: i64| {
        events.retain(|it| it.order_time > event.order_time - ms);
        events
    };
    match feature.window.unwrap() {
        Window::Last(events) => newest(events),
        Window::Time(ms) => younger(of_key, ms),
        Window::History => {
            let History { events, ttl_ms } = pipeline.history.unwrap();
            younger(newest(events), ttl_ms)
        }
    }
}

fn of_window(pipeline: &Pipeline, feature: &Feature, handled: &[Event]) -> Option<Bounds> {
    let event = handled.last().unwrap();
    let key = feature.key.as_ref().unwrap_or(&pipeline.key);
    if key.iter().any(|&it| event.values[it] == Value::Null) {
        return None;
    }
    if feature.of == "since_previous" {
        let window = window(pipeline, feature, handled, true);
        let previous = window.iter().rev().nth(1)?;
        let gap = event.order_time - previous.order_time;
        return Some(Bounds::exactly(gap.max(0) as f64));
    }
    let mut window = window(pipeline, feature, handled, feature.includes_self);
    if feature.of == "mean_gap" {
        let (first, last) = (window.first()?, window.last()?);
        let gaps = window.len() - 1;
        let gap = (last.order_time - first.order_time) as f64 / gaps as f64;
        return (gaps > 0).then(|| Bounds::exactly(gap.max(0.0)));
    }
    let all = window.len();
    if let Some(condition) = &feature.condition {
        window.retain(|it| condition.holds(&it.values) == Some(true));
    }
    match feature.of {
        "count" => return Some(Bounds::exactly(window.len() as f64)),
        "share" => {
            return (all > 0).then(|| Bounds::exactly(window.len() as f64 / all as f64));
        }
        _ => {}
    }
    let values: Vec<&Value> = window
        .iter()
        .map(|it| &it.values[feature.field.unwrap()])
        .collect();
    if feature.of == "distinct" {
        let mut different: Vec<&Value> = Vec::new();
        for value in values {
            if *value != Value::Null && !different.contains(&value) {
                different.push(value);
            }
        }
        return Some(Bounds::exactly(different.len() as f64));
    }
    of_numbers(
        feature.of,
        &values
            .iter()
            .filter_map(|it| it.number())
            .collect::<Vec<_>>(),
    )
}

/// What is made of the numbers of a field.
fn of_numbers(of: &str, numbers: &[f64]) -> Option<Bounds> {
    let count = numbers.len() as f64;
    let sum: f64 = numbers.iter().sum();
    // Each addition rounds once, a number that is no larger than all of them together.
    let largest: f64 = numbers.iter().map(|it| it.abs()).fold(0.0, f64::max);
    let error = count * f64::EPSILON * numbers.iter().map(|it| it.abs()).sum::<f64>();
    if of == "sum" {
        // Of none it is 0, which is not what `f64` has.
        return Some(Bounds::about(sum + 0.0, error));
    }
    if numbers.is_empty() {
        return None;
    }
    let mean = sum / count;
    Some(match of {
        "mean" => Bounds::about(mean, (error / count) + f64::EPSILON * mean.abs()),
        "std" => {
            let squares = numbers.iter().map(|it| (it - mean).powi(2));
            let deviation = (squares.sum::<f64>() / count).sqrt();
            Bounds::about(deviation, 4.0 * count * f64::EPSILON * largest)
        }
        "min" => Bounds::exactly(numbers.iter().copied().fold(f64::INFINITY, f64::min)),
        "max" => Bounds::exactly(numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max)),
        "last" => Bounds::exactly(*numbers.last()?),
        other => unreachable!("a kind of feature that the oracle does not know: {other}"),
    })
}
