//! What is said of windows.

use slackwater_operators::event::FieldIndex;
use slackwater_operators::window::{Aggregate, AggregateKind, Among, Over, WindowPlan};

use crate::pipeline::outline::{Fact, constant, fact, joined, refusing};
use crate::pipeline::plan::Plans;
use crate::pipeline::units::show_ms;

/// Key by key, in the order in which events visit their workers: the checks that come first, then each number that is computed.
pub(super) fn facts(plans: &Plans) -> Vec<Fact> {
    let mut facts = Vec::new();
    for hop in &plans.hops {
        facts.push(fact("key", hop.name.clone()));
        facts.extend(of_key(plans, &hop.windows));
    }
    if let Some(windows) = &plans.windows {
        let key = plans.ingest.schema.key.iter();
        facts.push(fact(
            "key",
            joined(key.map(|&it| plans.ingest.schema.name(it))),
        ));
        facts.extend(of_key(plans, windows));
    }
    facts
}

fn of_key(plans: &Plans, windows: &WindowPlan) -> Vec<Fact> {
    let mut facts = refusing(plans, &windows.checks);
    let computed = windows.aggregates.iter();
    facts.extend(computed.map(|it| fact("computes", computes(plans, it))));
    facts
}

fn computes(plans: &Plans, aggregate: &Aggregate) -> String {
    let name = |field: FieldIndex| plans.ingest.schema.name(field);
    let what = match aggregate.kind {
        AggregateKind::Count => "count".to_owned(),
        AggregateKind::Sum(field) => format!("sum of {}", name(field)),
        AggregateKind::Mean(field) => format!("mean of {}", name(field)),
        AggregateKind::Std(field) => format!("std of {}", name(field)),
        AggregateKind::Min(field) => format!("min of {}", name(field)),
        AggregateKind::Max(field) => format!("max of {}", name(field)),
        AggregateKind::Last(field) => format!("last {}", name(field)),
        AggregateKind::Distinct(field) => format!("distinct {}", name(field)),
        AggregateKind::Share => "share".to_owned(),
        AggregateKind::SincePrevious => "time since the event before".to_owned(),
        AggregateKind::MeanGap => "mean gap".to_owned(),
    };
    let over = match aggregate.over {
        Over::History { events, ttl_ms } => {
            format!("the last {events} events of {}", show_ms(ttl_ms))
        }
        Over::Last(events) => format!("the last {events} events"),
        Over::Time(ms) => format!("the last {}", show_ms(ms)),
    };
    let among = match &aggregate.among {
        None => String::new(),
        Some(Among::Where(expression)) => format!(", where {}", expression.text()),
        Some(Among::Equal(conditions)) => {
            let of = |values: &[_]| joined(values.iter().map(constant));
            let all = conditions
                .iter()
                .map(|it| format!("{} = {}", name(it.field), of(&it.values)));
            format!(", where {}", all.collect::<Vec<_>>().join(" and "))
        }
    };
    let without = if aggregate.includes_self {
        ""
    } else {
        ", without the event itself"
    };
    format!("{what} over {over}{among}{without}")
}
