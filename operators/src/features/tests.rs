//! Does each feature have exactly the value that its declaration gives it, and does sweeping change none?

mod saving;

use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, Strategy, any, prop_oneof, proptest};
use slackwater_dataflow::flow::Ticket;
use slackwater_dataflow::moment::EventTime;
use slackwater_dataflow::operator::{Emitter, Operator};
use slackwater_dataflow::place::{KeyHash, Offset, PartitionId, Spread};

use crate::batch::{Cell, NewRow, RowBatch, Rows, Span};
use crate::check::{Check, Constant, RowCheck, Rule};
use crate::event::FieldIndex;
use crate::features::{Feature, FeatureKind, FeaturePlan, FeatureStage, Transform};
use crate::history::{Condition, HistoryPlan, Tally};
use crate::reject::{Original, Reject};

const TEXT: FieldIndex = FieldIndex(0);
const AMOUNT: FieldIndex = FieldIndex(1);

const SPREAD: Spread = Spread {
    key_groups: 64,
    workers: 1,
    shards: 4,
};

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
const TTL_MS: u64 = 800;

/// An event: key, time, text (`None` is null), amount.
#[derive(Clone, Debug)]
struct Event(u8, i64, Option<&'static str>, Cell);

fn batch(events: &[Event]) -> RowBatch {
    let mut rows = Rows::with_capacity(2, events.len(), 0);
    for (at, Event(key, time, text, amount)) in events.iter().enumerate() {
        let record = text.unwrap_or_default().as_bytes();
        let len = u32::try_from(record.len()).unwrap();
        let span = Span { start: 0, len };
        let text = text.map_or(Cell::Null, |_| Cell::Text { span, plain: true });
        rows.push(NewRow {
            partition: PartitionId(3),
            offset: Offset(at as u64),
            time: EventTime(*time),
            order_time: EventTime(*time),
            key_hash: KeyHash::of(&[*key]),
            key: &[*key],
            origin: &[],
            record,
            cells: &[text, *amount],
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

fn feature(kind: FeatureKind, fill: f64, transforms: &[Transform]) -> Feature {
    Feature {
        name: "a feature".to_owned(),
        kind,
        fill,
        transforms: transforms.to_vec(),
    }
}

fn is(text: &str) -> Tally {
    Tally::Where(vec![Condition {
        field: TEXT,
        values: vec![Constant::Text(text.to_owned())],
    }])
}

fn plan(features: Vec<Feature>) -> FeaturePlan {
    FeaturePlan {
        checks: Vec::new(),
        history: Some(HistoryPlan {
            events: 3,
            ttl_ms: TTL_MS,
            fields: vec![TEXT],
            tallies: vec![is("view"), Tally::Distinct(TEXT)],
        }),
        features,
        spread: SPREAD,
    }
}

/// All features that read the history.
fn over_history() -> Vec<Feature> {
    let kinds = [
        FeatureKind::Count,
        FeatureKind::Tally(0),
        FeatureKind::Tally(1),
        FeatureKind::Share(0),
        FeatureKind::SincePrevious,
        FeatureKind::MeanGap,
    ];
    kinds.map(|kind| feature(kind, -7.0, &[])).to_vec()
}

/// Vectors and rejects of one batch.
fn handle(stage: &mut FeatureStage, events: &[Event]) -> (Vec<f32>, Vec<Reject>) {
    let mut out = Emitter::default();
    stage.on_batch(batch(events), &mut out);
    let outputs = out.take_outputs();
    let vectors = outputs.into_iter().flat_map(|output| output.vectors);
    let rejects = out.take_rejects().into_iter();
    (
        vectors.collect(),
        rejects.flat_map(|batch| batch.rejects).collect(),
    )
}

/// A feature of one event, without any history.
fn value(kind: FeatureKind, event: Event) -> f32 {
    let mut plan = plan(vec![feature(kind, -7.0, &[])]);
    plan.history = None;
    let (vectors, rejects) = handle(&mut FeatureStage::new(Arc::new(plan)), &[event]);
    assert_eq!((vectors.len(), rejects.len()), (1, 0));
    vectors[0]
}

#[test]
fn do_hours_and_days_follow_utc() {
    let at = |time| Event(1, time, None, Cell::Null);
    let check = |time: i64, hour: u32, day: f32| {
        let angle = std::f64::consts::TAU * f64::from(hour) / 24.0;
        let (sin, cos) = (angle.sin() as f32, angle.cos() as f32);
        assert_eq!(value(FeatureKind::HourSin, at(time)), sin, "sine at {time}");
        assert_eq!(
            value(FeatureKind::HourCos, at(time)),
            cos,
            "cosine at {time}"
        );
        assert_eq!(
            value(FeatureKind::DayOfWeek, at(time)),
            day,
            "day at {time}"
        );
    };
    // 1970-01-01 was a Thursday.
    check(0, 0, 3.0);
    check(HOUR_MS - 1, 0, 3.0);
    check(HOUR_MS, 1, 3.0);
    check(6 * HOUR_MS, 6, 3.0);
    check(DAY_MS - 1, 23, 3.0);
    check(DAY_MS, 0, 4.0);
    check(4 * DAY_MS, 0, 0.0);
    check(-1, 23, 2.0);
    check(-HOUR_MS, 23, 2.0);
    check(-HOUR_MS - 1, 22, 2.0);
    check(-DAY_MS, 0, 2.0);
    check(-4 * DAY_MS, 0, 6.0);
    // 2026-01-01T15:30:00Z, a Thursday as well.
    check(1_767_225_600_000 + 15 * HOUR_MS + HOUR_MS / 2, 15, 3.0);
    assert_eq!(value(FeatureKind::HourSin, at(0)), 0.0);
    assert_eq!(value(FeatureKind::HourCos, at(0)), 1.0);
    assert_eq!(value(FeatureKind::HourSin, at(6 * HOUR_MS)), 1.0);
}

#[test]
fn is_a_feature_of_the_event_what_it_says() {
    let fill = -7.0;
    let check = |kind: FeatureKind, text: Option<&'static str>, amount: Cell, expected: f32| {
        let found = value(kind.clone(), Event(1, 0, text, amount));
        assert_eq!(found, expected, "{kind:?} of {text:?}, {amount:?}");
    };
    let amount = FeatureKind::Value(AMOUNT);
    check(amount.clone(), None, Cell::Int(-3), -3.0);
    check(amount.clone(), None, Cell::Float(0.1), 0.1);
    check(amount.clone(), None, Cell::Bool(true), 1.0);
    check(amount.clone(), None, Cell::Bool(false), 0.0);
    check(amount, None, Cell::Null, fill);
    let values = || ["view", "click", "add_to_cart"].map(str::to_owned).to_vec();
    let index = || FeatureKind::Index(TEXT, values());
    check(index(), Some("view"), Cell::Null, 0.0);
    check(index(), Some("add_to_cart"), Cell::Null, 2.0);
    check(index(), Some("views"), Cell::Null, -1.0);
    check(index(), Some(""), Cell::Null, -1.0);
    check(index(), None, Cell::Null, fill);
    // xxh3_64 with seed 0 of no bytes is 2d06800538d394c2, of "electronics" what the library says.
    let hash = |buckets| FeatureKind::Hash(TEXT, buckets);
    let bucket =
        |text: &str, buckets| (xxhash_rust::xxh3::xxh3_64(text.as_bytes()) % buckets) as f32;
    check(
        hash(20),
        Some(""),
        Cell::Null,
        (0x2d06_8005_38d3_94c2_u64 % 20) as f32,
    );
    check(
        hash(20),
        Some("electronics"),
        Cell::Null,
        bucket("electronics", 20),
    );
    check(hash(7), Some("é"), Cell::Null, bucket("é", 7));
    check(hash(1), Some("x"), Cell::Null, 0.0);
    check(hash(20), None, Cell::Null, fill);
    check(FeatureKind::Constant(2.5), None, Cell::Null, 2.5);
    // What reads a history that is not there does not exist.
    for kind in over_history().into_iter().map(|feature| feature.kind) {
        assert!(kind.reads_history());
        check(kind, None, Cell::Null, fill);
    }
}

/// A ring of 3 events, 800 ms; fill -7.
#[test]
fn is_a_feature_of_the_history_what_it_says() {
    let mut stage = FeatureStage::new(Arc::new(plan(over_history())));
    let mut check = |key: u8, time: i64, text: Option<&'static str>, expected: [f32; 6]| {
        let (found, _) = handle(&mut stage, &[Event(key, time, text, Cell::Null)]);
        assert_eq!(found, expected, "{key} at {time}");
    };
    // count, views, distinct, share of views, since previous, mean gap
    let third = (1.0_f64 / 3.0) as f32;
    check(1, 1_000, Some("view"), [1.0, 1.0, 1.0, 1.0, -7.0, -7.0]);
    check(1, 1_300, Some("click"), [2.0, 1.0, 2.0, 0.5, 300.0, 300.0]);
    check(2, 1_300, None, [1.0, 0.0, 0.0, 0.0, -7.0, -7.0]);
    check(1, 1_301, Some("click"), [3.0, 1.0, 2.0, third, 1.0, 150.5]);
    // The first is pushed out; a negative gap counts as 0.
    check(1, 1_200, Some("view"), [3.0, 1.0, 2.0, third, 0.0, 0.0]);
    // 2,000 sees above 1,200: the event at 1,200 handled last has expired, older ones of the ring not.
    check(1, 2_000, Some("view"), [2.0, 1.0, 2.0, 0.5, 699.0, 699.0]);
    check(1, 9_000, Some("view"), [1.0, 1.0, 1.0, 1.0, -7.0, -7.0]);
}

#[test]
fn are_fill_and_transforms_applied_in_order() {
    use Transform::{Clip, Log1p, Scale};

    let check = |amount: Cell, fill: f64, transforms: &[Transform], expected: f32| {
        let mut plan = plan(vec![feature(FeatureKind::Value(AMOUNT), fill, transforms)]);
        plan.history = None;
        let event = Event(1, 0, None, amount);
        let (found, _) = handle(&mut FeatureStage::new(Arc::new(plan)), &[event]);
        assert_eq!(found, [expected], "{amount:?} {fill} {transforms:?}");
    };
    check(Cell::Int(9), 0.0, &[], 9.0);
    check(Cell::Int(9), 0.0, &[Log1p], 9.0_f64.ln_1p() as f32);
    check(Cell::Int(9), 0.0, &[Clip(0.0, 5.0)], 5.0);
    check(Cell::Int(-9), 0.0, &[Clip(0.0, 5.0)], 0.0);
    check(Cell::Int(9), 0.0, &[Scale(1.0, 4.0)], 2.0);
    check(
        Cell::Int(20_000_000),
        0.0,
        &[Clip(0.0, 1e7), Log1p],
        1e7_f64.ln_1p() as f32,
    );
    check(Cell::Int(9), 0.0, &[Scale(1.0, 4.0), Clip(0.0, 1.0)], 1.0);
    check(Cell::Int(9), 0.0, &[Clip(0.0, 1.0), Scale(1.0, 4.0)], 0.0);
    // What is not there is filled first, then transformed as if it had come.
    check(Cell::Null, 3.0, &[], 3.0);
    check(
        Cell::Null,
        3.0,
        &[Scale(1.0, 4.0), Log1p],
        0.5_f64.ln_1p() as f32,
    );
    check(Cell::Null, -3.0, &[Clip(0.0, 1.0)], 0.0);
    // Rounded once, at the end: in f32 steps the small part would be lost.
    let big = Cell::Float(16_777_217.0);
    check(big, 0.0, &[Scale(16_777_216.0, 1.0)], 1.0);
    // What is no number stays none, whatever comes after.
    let mut plan = plan(vec![feature(
        FeatureKind::Value(AMOUNT),
        0.0,
        &[Log1p, Clip(0.0, 1.0)],
    )]);
    plan.history = None;
    let event = Event(1, 0, None, Cell::Int(-2));
    let (found, _) = handle(&mut FeatureStage::new(Arc::new(plan)), &[event]);
    assert!(found[0].is_nan(), "{found:?}");
}

#[test]
fn does_a_refused_event_leave_its_history_alone() {
    let mut plan = plan(over_history());
    let check = |rule, message: &str| RowCheck::from(Check::new(TEXT, rule, message));
    plan.checks = vec![
        check(Rule::NotEmpty, "text cannot be empty"),
        check(Rule::MaxLength(5), "text is longer than 5"),
    ];
    let mut stage = FeatureStage::new(Arc::new(plan));
    let event = |time, text| Event(1, time, text, Cell::Null);
    let events = [
        event(100, Some("view")),
        event(200, Some("")),
        event(250, None),
        event(300, Some("view")),
        event(350, Some("longer")),
    ];
    let (vectors, rejects) = handle(&mut stage, &events);
    let counts: Vec<f32> = vectors.chunks(6).map(|vector| vector[0]).collect();
    assert_eq!(counts, [1.0, 2.0]);
    assert_eq!(vectors[6 + 4], 200.0, "since the event before that entered");
    let told = rejects.iter().map(|reject| {
        let reason = &reject.reason;
        assert_eq!(reason.stage.name(), "feature");
        assert_eq!(
            reason.causes,
            [format!("feature/check: {}", reason.message)]
        );
        assert_eq!((reject.partition, reject.lateness), (PartitionId(3), None));
        assert_eq!(reject.shard, SPREAD.shard(KeyHash::of(&[1])), "by its key");
        let time = reject.event_time.unwrap().0;
        (
            reject.offset.0,
            time,
            reason.code.name(),
            reason.message.as_str(),
        )
    });
    let empty = "text cannot be empty";
    let expected = [
        (1, 200, "empty", empty),
        (2, 250, "empty", empty),
        (4, 350, "check_failed", "text is longer than 5"),
    ];
    assert!(told.eq(expected), "{rejects:?}");
    assert_eq!(rejects[2].original, Original::Record(b"longer".to_vec()));
    assert_eq!(stage.keys(), 1);
    // A batch without any event left gives nothing.
    let mut out = Emitter::default();
    stage.on_batch(batch(&[event(400, None)]), &mut out);
    assert_eq!((out.take_outputs().len(), out.take_rejects().len()), (0, 1));
    // Nor does a refused event make a history for a key that has none.
    handle(&mut stage, &[Event(9, 400, None, Cell::Null)]);
    assert_eq!(stage.keys(), 1);
}

#[test]
fn do_sweeps_give_back_keys_that_have_expired() {
    let mut stage = FeatureStage::new(Arc::new(plan(over_history())));
    let events: Vec<Event> = (0..100)
        .map(|key| Event(key, 1_000, None, Cell::Null))
        .collect();
    handle(&mut stage, &events);
    stage.on_watermark(EventTime(1_000));
    assert_eq!(stage.keys(), 100);
    for watermark in (1_000..=1_790).step_by(10) {
        stage.on_watermark(EventTime(watermark));
        assert_eq!(
            stage.keys(),
            100,
            "an event at {watermark} still sees 1,000"
        );
    }
    for watermark in (1_800..=2_400).step_by(10) {
        stage.on_watermark(EventTime(watermark));
    }
    assert_eq!(stage.keys(), 0);
    handle(&mut stage, &events);
    stage.on_watermark(EventTime::MAX);
    assert_eq!(
        stage.keys(),
        100,
        "nothing is swept at the end of the input"
    );
}

/// A batch of events, or a rise of the watermark.
#[derive(Clone, Debug)]
enum Step {
    Events(Vec<(u8, i64, bool)>),
    Rise(i64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let event = (0..12_u8, 0..600_i64, any::<bool>());
    let step = prop_oneof![
        2 => vec(event, 1..6).prop_map(Step::Events),
        1 => prop_oneof![0..150_i64, 0..2_000_i64].prop_map(Step::Rise),
    ];
    vec(step, 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// One stage is told every rise of the watermark, one some of them, one never hears of any.
    #[test]
    fn do_sweeps_change_no_result(steps in steps(), every in 2..5_usize) {
        let plan = Arc::new(plan(over_history()));
        let mut often = FeatureStage::new(Arc::clone(&plan));
        let mut seldom = FeatureStage::new(Arc::clone(&plan));
        let mut never = FeatureStage::new(plan);
        let mut watermark = 1_000;
        for (at, step) in steps.iter().enumerate() {
            match step {
                Step::Rise(by) => {
                    watermark += by;
                    often.on_watermark(EventTime(watermark));
                    if at % every == 0 {
                        seldom.on_watermark(EventTime(watermark));
                    }
                }
                Step::Events(events) => {
                    let text = |is_view| Some(if is_view { "view" } else { "click" });
                    let events: Vec<Event> = events
                        .iter()
                        .map(|&(key, above, view)| Event(key, watermark + above, text(view), Cell::Null))
                        .collect();
                    let expected = handle(&mut never, &events).0;
                    assert_eq!(handle(&mut often, &events).0, expected);
                    assert_eq!(handle(&mut seldom, &events).0, expected);
                }
            }
        }
        assert!(often.keys() <= never.keys());
    }
}
