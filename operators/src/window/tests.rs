//! Does each window say what looking at all events of the key says, whenever old ones are dropped, and after a restart?

mod expected;
mod logs;

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, Strategy, any, prop_assert_eq, prop_oneof, proptest};
use proptest::sample::select;
use slackwater_dataflow::flow::Ticket;
use slackwater_dataflow::moment::EventTime;
use slackwater_dataflow::operator::{Emitter, Operator};
use slackwater_dataflow::place::{KeyGroup, KeyHash, Offset, PartitionId, Spread};
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

/// The bytes of a key: a text of one character.
fn key(name: u8) -> [u8; 6] {
    [1, 1, 0, 0, 0, name]
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
            key_hash: KeyHash::of(&key(event.key)),
            key: &key(event.key),
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

/// What checkpoints have, one built on the other.
#[derive(Default)]
struct Kept {
    entries: BTreeMap<(u16, Vec<u8>), Vec<u8>>,
    /// Bytes of the last one alone.
    last_bytes: usize,
}

impl Kept {
    /// Takes a checkpoint of a stage.
    fn checkpoint(&mut self, stage: &mut WindowStage) {
        stage.on_epoch_closed();
        let mut delta = StateDelta::default();
        while matches!(stage.snapshot(&mut delta), Progress::More) {}
        delta.sort();
        self.last_bytes = delta.bytes();
        for (group, key, value) in delta.entries() {
            let place = (group.0, key.to_vec());
            match value {
                Some(value) => drop(self.entries.insert(place, value.to_vec())),
                None => drop(self.entries.remove(&place)),
            }
        }
    }

    /// A stage that begins with it.
    fn restored(&self, plan: &Arc<WindowPlan>, anew: bool) -> WindowStage {
        let mut next = WindowStage::new(Arc::clone(plan));
        next.will_be_saved();
        for ((group, key), value) in &self.entries {
            let group = KeyGroup(*group);
            let saved = SavedEntry {
                group,
                key,
                value,
                anew,
            };
            next.restore(saved).unwrap();
        }
        next.on_restored().unwrap();
        next
    }
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
    let mut kept = Kept::default();
    for (at, (event, watermark)) in events.iter().enumerate() {
        let found = handle(&mut lazy, std::slice::from_ref(event), aggregates.len());
        if at % 17 == restart % 17 {
            kept.checkpoint(&mut eager);
        }
        if at == restart % events.len() {
            kept.checkpoint(&mut eager);
            let anew = restart.is_multiple_of(2);
            eager = kept.restored(&plan, anew);
            if anew {
                kept = Kept::default();
            }
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

/// A checkpoint writes what is new of a key, however many events it has, and keeps nothing of what nobody sees.
#[test]
fn does_a_checkpoint_of_a_long_window_write_little() {
    let count = Aggregate {
        kind: AggregateKind::Sum(AMOUNT),
        over: Over::Time(10_000),
        among: None,
        includes_self: true,
        into: FieldIndex(FIELDS),
    };
    let plan = plan(&[count], true);
    let mut stage = WindowStage::new(Arc::clone(&plan));
    stage.will_be_saved();
    let event = |time| Event {
        key: 0,
        time,
        text: None,
        amount: Some(1.0),
    };
    let mut kept = Kept::default();
    for time in 0..30_000 {
        handle(&mut stage, &[event(time)], 1);
        stage.on_watermark(EventTime(time));
        if time % 100 == 99 {
            kept.checkpoint(&mut stage);
            assert!(
                kept.last_bytes < 8_000,
                "{} bytes at {time}",
                kept.last_bytes
            );
        }
    }
    // Of the last 10,000 events each takes three words.
    let bytes: usize = kept.entries.values().map(Vec::len).sum();
    assert!((240_000..250_000).contains(&bytes), "{bytes} bytes");
    let mut again = kept.restored(&plan, false);
    let found = handle(&mut again, &[event(30_000)], 1);
    assert_eq!(found[0][0], Some(10_000.0));
    // When all of it has expired, nothing is left.
    (1..=80).for_each(|step| stage.on_watermark(EventTime(30_000 + step * 2_000)));
    kept.checkpoint(&mut stage);
    assert_eq!((stage.keys(), kept.entries.len()), (0, 0));
}
