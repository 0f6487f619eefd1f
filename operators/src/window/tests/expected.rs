//! Windows the slow way: by looking at everything that was ever handled.

use crate::check::Constant;
use crate::history::Condition;
use crate::window::tests::{AMOUNT, Event, TEXT};
use crate::window::{Aggregate, AggregateKind, Among, Over};

fn holds(condition: &Condition, event: &Event) -> bool {
    condition.values.iter().any(|value| match value {
        Constant::Text(text) => condition.field == TEXT && event.text == Some(text.as_str()),
        Constant::Float(number) => condition.field == AMOUNT && event.amount == Some(*number),
        _ => false,
    })
}

fn counts(aggregate: &Aggregate, event: &Event) -> bool {
    let Some(Among::Equal(conditions)) = &aggregate.among else {
        return true;
    };
    conditions.iter().all(|condition| holds(condition, event))
}

/// What an aggregate is at the last of all events handled.
pub(super) fn expected(handled: &[&Event], aggregate: &Aggregate) -> Option<f64> {
    let (this, _) = handled.split_last()?;
    let mut of_key: Vec<&Event> = handled
        .iter()
        .copied()
        .filter(|it| it.key == this.key)
        .collect();
    let is_previous = aggregate.kind == AggregateKind::SincePrevious;
    if !aggregate.includes_self && !is_previous {
        of_key.pop();
    }
    let last = |n: u32| &of_key[of_key.len().saturating_sub(n as usize)..];
    let window: Vec<&Event> = match aggregate.over {
        Over::Last(n) => last(n).to_vec(),
        Over::Time(ms) => of_key
            .iter()
            .copied()
            .filter(|it| it.time > this.time - ms as i64)
            .collect(),
        Over::History { events, ttl_ms } => {
            let last = last(events).iter().copied();
            last.filter(|it| it.time > this.time - ttl_ms as i64)
                .collect()
        }
    };
    let among: Vec<&Event> = window
        .iter()
        .copied()
        .filter(|it| counts(aggregate, it))
        .collect();
    let numbers: Vec<f64> = among.iter().filter_map(|it| it.amount).collect();
    let n = numbers.len() as f64;
    let mean = (n > 0.0).then(|| numbers.iter().sum::<f64>() / n);
    let gap = |from: i64, to: i64| (to - from).max(0) as f64;
    match aggregate.kind {
        AggregateKind::Count => Some(among.len() as f64),
        AggregateKind::Share => {
            (!window.is_empty()).then(|| among.len() as f64 / window.len() as f64)
        }
        AggregateKind::Sum(_) => Some(numbers.iter().sum()),
        AggregateKind::Mean(_) => mean,
        AggregateKind::Std(_) => mean.map(|mean| {
            let squares: f64 = numbers.iter().map(|it| (it - mean) * (it - mean)).sum();
            (squares / n).sqrt()
        }),
        AggregateKind::Min(_) => numbers.iter().copied().reduce(f64::min),
        AggregateKind::Max(_) => numbers.iter().copied().reduce(f64::max),
        AggregateKind::Last(_) => numbers.last().copied(),
        AggregateKind::Distinct(field) => {
            let mut different = Vec::new();
            for event in &among {
                let value = if field == TEXT {
                    event.text.map(str::to_owned)
                } else {
                    event.amount.map(|number| number.to_string())
                };
                if value.is_some() && !different.contains(&value) {
                    different.push(value);
                }
            }
            Some(different.len() as f64)
        }
        AggregateKind::SincePrevious => {
            let before = window.len().checked_sub(2)?;
            Some(gap(window[before].time, this.time))
        }
        AggregateKind::MeanGap => {
            let gaps = window.len().checked_sub(1).filter(|gaps| *gaps > 0)?;
            Some(gap(window[0].time, window[gaps].time) / gaps as f64)
        }
    }
}
