//! Does a stage that begins from checkpoints say what the one says that wrote them?

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, Strategy, any, prop_oneof, proptest};
use slackwater_dataflow::moment::EventTime;
use slackwater_dataflow::operator::Operator;
use slackwater_dataflow::place::{KeyGroup, KeyHash};
use slackwater_dataflow::snapshot::{Progress, SavedEntry, StateDelta};

use crate::batch::Cell;
use crate::features::tests::{Event, SPREAD, handle, over_history, plan};
use crate::features::{FeaturePlan, FeatureStage};

#[derive(Clone, Debug)]
enum Step {
    /// Key, time above the watermark, text.
    Events(Vec<(u8, i64, usize)>),
    Rise(i64),
    /// A part of the snapshot under way.
    Save,
    Close,
}

const TEXTS: [Option<&str>; 5] = [
    Some("view"),
    Some("click"),
    Some(""),
    Some("a longer one"),
    None,
];

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let event = (0..12_u8, 0..600_i64, 0..TEXTS.len());
    let step = prop_oneof![
        6 => vec(event, 1..6).prop_map(Step::Events),
        2 => prop_oneof![0..150_i64, 0..2_000_i64].prop_map(Step::Rise),
        1 => any::<()>().prop_map(|()| Step::Save),
        1 => any::<()>().prop_map(|()| Step::Close),
    ];
    vec(step, 0..60)
}

type Chain = BTreeMap<(KeyGroup, Vec<u8>), Vec<u8>>;

fn add(chain: &mut Chain, mut delta: StateDelta) {
    delta.sort();
    for (group, key, value) in delta.entries() {
        assert_eq!(group, SPREAD.group(KeyHash::of(key)));
        let place = (group, key.to_vec());
        match value {
            Some(value) => chain.insert(place, value.to_vec()),
            None => chain.remove(&place),
        };
    }
}

fn restored(chain: &Chain, plan: &Arc<FeaturePlan>, anew: bool) -> FeatureStage {
    let mut stage = FeatureStage::new(Arc::clone(plan));
    stage.will_be_saved();
    for ((group, key), value) in chain {
        let group = *group;
        let entry = SavedEntry {
            group,
            key,
            value,
            anew,
        };
        stage.restore(entry).unwrap();
    }
    stage.on_restored().unwrap();
    stage
}

fn events(times: &[(u8, i64, usize)], watermark: i64) -> Vec<Event> {
    let event = |&(key, above, text): &(u8, i64, usize)| {
        Event(key, watermark + above, TEXTS[text], Cell::Int(above % 3))
    };
    times.iter().map(event).collect()
}

/// Each closed epoch is compared: a stage made of the chain handles what comes as the stage does that wrote it.
fn race(steps: Vec<Step>, anew: bool) {
    let plan = Arc::new(plan(over_history()));
    let (mut stage, mut chain) = (restored(&Chain::new(), &plan, false), Chain::new());
    let mut delta = StateDelta::default();
    let mut watermark = 1_000;
    // Stages as they were when the open epoch began, by another road: everything handled from the beginning.
    let mut handled: Vec<Vec<Event>> = Vec::new();
    let mut closed = 0;
    for step in steps.into_iter().chain([Step::Close, Step::Close]) {
        match step {
            Step::Events(times) => {
                let events = events(&times, watermark);
                handle(&mut stage, &events);
                handled.push(events);
            }
            Step::Rise(by) => {
                watermark += by;
                stage.on_watermark(EventTime(watermark));
            }
            Step::Save => drop(stage.snapshot(&mut delta)),
            Step::Close => {
                while stage.snapshot(&mut delta) == Progress::More {}
                add(&mut chain, std::mem::take(&mut delta));
                stage.on_epoch_closed();
                let mut plain = FeatureStage::new(Arc::clone(&plan));
                for events in &handled[..closed] {
                    handle(&mut plain, events);
                }
                let mut again = restored(&chain, &plan, anew);
                if anew {
                    // What the next chain begins with is all there is.
                    again.on_epoch_closed();
                    let (mut whole, mut other) = (StateDelta::default(), Chain::new());
                    while again.snapshot(&mut whole) == Progress::More {}
                    add(&mut other, whole);
                    assert_eq!(other, chain);
                }
                for events in &handled[closed..] {
                    let expected = handle(&mut plain, events).0;
                    assert_eq!(handle(&mut again, events).0, expected);
                }
                closed = handled.len();
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn does_a_restored_stage_say_the_same(steps in steps(), anew in any::<bool>()) {
        race(steps, anew);
    }
}

#[test]
fn is_an_entry_that_is_none_refused_and_the_same_state_the_same_bytes() {
    let plan = Arc::new(plan(over_history()));
    let write = |histories_before: &[Event]| {
        let mut stage = restored(&Chain::new(), &plan, false);
        handle(&mut stage, histories_before);
        let event = |time, text| Event(1, time, text, Cell::Int(7));
        handle(
            &mut stage,
            &[
                event(1_000, Some("view")),
                event(1_001, None),
                event(1_002, Some("x")),
            ],
        );
        stage.on_epoch_closed();
        let (mut delta, mut chain) = (StateDelta::default(), Chain::new());
        while stage.snapshot(&mut delta) == Progress::More {}
        add(&mut chain, delta);
        chain
            .remove(&(SPREAD.group(KeyHash::of(&[1])), vec![1]))
            .unwrap()
    };
    let value = write(&[]);
    // Texts had other numbers there.
    assert_eq!(write(&[Event(2, 999, Some("x"), Cell::Int(0))]), value);
    let check = |value: &[u8]| {
        let entry = SavedEntry {
            group: SPREAD.group(KeyHash::of(&[1])),
            key: &[1],
            value,
            anew: false,
        };
        FeatureStage::new(Arc::clone(&plan)).restore(entry).is_ok()
    };
    assert!(check(&value));
    for len in 0..value.len() {
        assert!(!check(&value[..len]));
    }
    assert!(!check(&[value.as_slice(), b"x"].concat()));
    for at in 0..value.len() {
        for mask in [0x01, 0x80, 0xff] {
            let mut damaged = value.clone();
            damaged[at] ^= mask;
            // Some bytes may be anything; none may make it panic.
            check(&damaged);
        }
    }
}
