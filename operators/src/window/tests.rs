//! Does each window say what looking at all events of the key says, whenever old ones are dropped, and after a restart?

mod expected;
mod logs;

use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, Strategy, any, prop_assert_eq, prop_oneof, proptest};
use proptest::sample::select;
use slackwater_dataflow::flow::Ticket;
use slackwater_dataflow::moment::EventTime;
use slackwater_dataflow::operator::{Emitter, Operator};
use slackwater_dataflow::place::{KeyHash, Offset, PartitionId, Spread};
use slackwater_dataflow::snapshot::{Progress, SavedEntry, StateDelta};

use self::expected::expected;
use crate::batch::{Cell, NewRow, RowBatch, Rows, Span};
use crate::check::Constant;
use crate::event::FieldIndex;
use crate::history::Condition;
use crate::window::{Aggregate, AggregateKind, Among, Over, WindowPlan, WindowStage};

/// Fields of an event, then the cells of aggregates.
const TEXT: FieldIndex = FieldIndex(0);
const AMOUNT: FieldIndex = FieldIndex(1);
const FIELDS: usize = 2;

const SPREAD: Spread = Spread {
    key_groups: 16,
    workers: 1,
    shards: 1,
};

/// An event.
#[derive(Clone, Debug)]
struct Event {
    key: u8,
    time: i64,
    text: Option<&'static str>,
    amount: Option<f64>,
}

fn batch(events: &[Event], aggregates: usize) -> RowBatch {
    let mut rows = Rows::with_capacity(FIELDS + aggregates, events.len(), 0);
    for (at, event) in events.iter().enumerate() {
        let record = event.text.unwrap_or_default().as_bytes();
        let len = u32::try_from(record.len()).unwrap();
        let span = Span { start: 0, len };
        let mut cells = vec![Cell::Null; FIELDS + aggregates];
        if event.text.is_some() {
            cells[TEXT.0] = Cell::Text { span, plain: true };
        }
        cells[AMOUNT.0] = event.amount.map_or(Cell::Null, Cell::Float);
        rows.push(NewRow {
            partition: PartitionId(3),
            offset: Offset(at as u64),
            time: EventTime(event.time),
            order_time: EventTime(event.time),
            key_hash: KeyHash::of(&[event.key]),
            key: &[event.key],
            origin: &[],
            record,
            cells: &cells,
            scratch: b"",
        });
    }
    RowBatch {
        worker: 0,
        rows,
        ticket: Ticket::detached(),
        turn: None,
    }
}

/// What a stage says of some events, aggregate by aggregate.
fn handle(stage: &mut WindowStage, events: &[Event], aggregates: usize) -> Vec<Vec<Option<f64>>> {
    let mut out = Emitter::default();
    stage.on_batch(batch(events, aggregates), &mut out);
    let batch = out.take_outputs().pop().unwrap();
    let value = |cell| match cell {
        Cell::Float(value) => Some(value),
        _ => None,
    };
    let of_row = |row| {
        let cells = (0..aggregates).map(|at| batch.rows.cell(row, FieldIndex(FIELDS + at)));
        cells.map(value).collect()
    };
    batch.rows.rows().iter().map(of_row).collect()
}

fn over() -> impl Strategy<Value = Over> {
    prop_oneof![
        (1..70_u32, 1..400_u64).prop_map(|(events, ttl_ms)| Over::History { events, ttl_ms }),
        (1..70_u32).prop_map(Over::Last),
        (1..60_u64).prop_map(Over::Time),
        (1..2_000_u64).prop_map(Over::Time),
    ]
}

fn kind() -> impl Strategy<Value = AggregateKind> {
    select(vec![
        AggregateKind::Count,
        AggregateKind::Sum(AMOUNT),
        AggregateKind::Mean(AMOUNT),
        AggregateKind::Std(AMOUNT),
        AggregateKind::Min(AMOUNT),
        AggregateKind::Max(AMOUNT),
        AggregateKind::Last(AMOUNT),
        AggregateKind::Distinct(TEXT),
        AggregateKind::Distinct(AMOUNT),
        AggregateKind::Share,
        AggregateKind::SincePrevious,
        AggregateKind::MeanGap,
    ])
}

fn among() -> impl Strategy<Value = Option<Among>> {
    let equal = |field, values| Condition { field, values };
    let a = Among::Equal(vec![equal(TEXT, vec![Constant::Text("a".into())])]);
    let b = vec![Constant::Text("b".into()), Constant::Text("c".into())];
    let both = Among::Equal(vec![
        equal(TEXT, b),
        equal(AMOUNT, vec![Constant::Float(1.0), Constant::Float(2.5)]),
    ]);
    select(vec![None, None, Some(a), Some(both)])
}

fn aggregates() -> impl Strategy<Value = Vec<Aggregate>> {
    let one = (kind(), over(), among(), any::<bool>());
    vec(one, 1..10).prop_map(|all| {
        let aggregate = |(at, (kind, over, among, includes_self))| Aggregate {
            kind,
            over,
            among: match kind {
                AggregateKind::SincePrevious | AggregateKind::MeanGap => None,
                _ => among,
            },
            includes_self,
            into: FieldIndex(FIELDS + at),
        };
        all.into_iter().enumerate().map(aggregate).collect()
    })
}

/// Events, each with how far the watermark rises behind it.
fn events() -> impl Strategy<Value = Vec<(Event, i64)>> {
    let event = (
        select(vec![0_u8, 0, 0, 1, 2]),
        prop_oneof![0..8_i64, 0..8_i64, -40..0_i64, 100..3_000_i64],
        select(vec![Some("a"), Some("b"), Some("c"), Some("d"), None]),
        select(vec![
            None,
            Some(1.0),
            Some(2.5),
            Some(-3.0),
            Some(0.1),
            Some(1e9),
        ]),
        0..40_i64,
    );
    let event = event.prop_map(|(key, step, text, amount, rise)| {
        let event = Event {
            key,
            time: step,
            text,
            amount,
        };
        (event, rise)
    });
    prop_oneof![vec(event.clone(), 1..40), vec(event, 1..400)]
}

/// Turns steps into times; in time order if that is wanted. With each the watermark behind it, which no later one is below.
fn timed(steps: &[(Event, i64)], in_time_order: bool) -> Vec<(Event, i64)> {
    let mut now = 0;
    let mut all: Vec<_> = steps
        .iter()
        .map(|(event, rise)| {
            now += event.time.max(0);
            let time = now + if in_time_order { 0 } else { event.time.min(0) };
            let event = Event {
                time,
                ..event.clone()
            };
            (event, *rise)
        })
        .collect();
    let mut least = i64::MAX;
    for (event, rise) in all.iter_mut().rev() {
        let below_all_that_come = least;
        least = least.min(event.time);
        *rise = below_all_that_come.min(event.time).saturating_sub(*rise);
    }
    all
}

fn plan(aggregates: &[Aggregate], in_time_order: bool) -> Arc<WindowPlan> {
    Arc::new(WindowPlan {
        key: None,
        aggregates: aggregates.to_vec(),
        checks: Vec::new(),
        in_time_order,
        spread: SPREAD,
    })
}

/// All that a stage has to save, into another one.
fn restarted(stage: &mut WindowStage, plan: &Arc<WindowPlan>) -> WindowStage {
    stage.on_epoch_closed();
    let mut delta = StateDelta::default();
    while matches!(stage.snapshot(&mut delta), Progress::More) {}
    delta.sort();
    let mut next = WindowStage::new(Arc::clone(plan));
    next.will_be_saved();
    for (group, key, value) in delta.entries() {
        if let Some(value) = value {
            let saved = SavedEntry {
                group,
                key,
                value,
                anew: true,
            };
            next.restore(saved).unwrap();
        }
    }
    next
}

fn close(found: Option<f64>, wanted: Option<f64>) -> bool {
    match (found, wanted) {
        (Some(found), Some(wanted)) => (found - wanted).abs() <= 1e-6 * wanted.abs().max(1.0),
        (found, wanted) => found == wanted,
    }
}

fn check(aggregates: &[Aggregate], steps: &[(Event, i64)], in_time_order: bool, restart: usize) {
    let events = timed(steps, in_time_order);
    let plan = plan(aggregates, in_time_order);
    let (mut lazy, mut eager) = (
        WindowStage::new(Arc::clone(&plan)),
        WindowStage::new(Arc::clone(&plan)),
    );
    eager.will_be_saved();
    for (at, (event, watermark)) in events.iter().enumerate() {
        let found = handle(&mut lazy, std::slice::from_ref(event), aggregates.len());
        if at == restart % events.len() {
            eager = restarted(&mut eager, &plan);
        }
        let again = handle(&mut eager, std::slice::from_ref(event), aggregates.len());
        eager.on_watermark(EventTime(*watermark));
        let handled: Vec<_> = events[..=at].iter().map(|(event, _)| event).collect();
        for ((aggregate, found), again) in aggregates.iter().zip(&found[0]).zip(&again[0]) {
            let wanted = expected(&handled, aggregate);
            assert!(
                close(*found, wanted),
                "{aggregate:?} of event {at}: {found:?}, expected {wanted:?}"
            );
            assert_eq!(
                found.map(f64::to_bits),
                again.map(f64::to_bits),
                "{aggregate:?} of event {at}: whenever old events are dropped, and after a restart"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn is_a_window_what_all_events_say(
        aggregates in aggregates(),
        steps in events(),
        in_time_order in any::<bool>(),
        restart in any::<usize>(),
    ) {
        check(&aggregates, &steps, in_time_order, restart);
    }

    /// A batch is no more than its events, one after the other.
    #[test]
    fn does_it_matter_how_events_are_cut_into_batches(
        aggregates in aggregates(),
        steps in events(),
        cut in 1..50_usize,
    ) {
        let events: Vec<_> = timed(&steps, false).into_iter().map(|(event, _)| event).collect();
        let plan = plan(&aggregates, false);
        let mut stages = [WindowStage::new(Arc::clone(&plan)), WindowStage::new(plan)];
        let [one, other] = &mut stages;
        let all = handle(one, &events, aggregates.len());
        let cut: Vec<_> = events
            .chunks(cut)
            .flat_map(|some| handle(other, some, aggregates.len()))
            .collect();
        prop_assert_eq!(all, cut);
    }
}

/// Memory of a key is given back when nothing of it can be seen any more.
#[test]
fn are_keys_dropped_that_nobody_sees() {
    let aggregate = |over| Aggregate {
        kind: AggregateKind::Count,
        over,
        among: None,
        includes_self: true,
        into: FieldIndex(FIELDS),
    };
    let keys = |over: Over| {
        let mut stage = WindowStage::new(plan(&[aggregate(over)], true));
        let event = |key| Event {
            key,
            time: 0,
            text: None,
            amount: None,
        };
        let events: Vec<_> = (0..200).map(event).collect();
        handle(&mut stage, &events, 1);
        (1..=40).for_each(|step| stage.on_watermark(EventTime(step * 100)));
        stage.keys()
    };
    assert_eq!(keys(Over::Time(1_000)), 0);
    assert_eq!(keys(Over::Time(1_000_000)), 200);
    let history = |ttl_ms| Over::History { events: 9, ttl_ms };
    assert_eq!(keys(history(1_000)), 0);
    assert_eq!(
        keys(Over::Last(3)),
        200,
        "the last events of a key are so for good"
    );
}
