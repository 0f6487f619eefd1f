//! Is what a checkpoint keeps of waiting events what waited when its epoch closed, whatever happens meanwhile?

use std::collections::BTreeMap;

use proptest::prelude::{Just, ProptestConfig, Strategy, prop_oneof, proptest};
use slackwater_dataflow::moment::EventTime;
use slackwater_dataflow::operator::{Emitter, Operator};
use slackwater_dataflow::place::{KeyGroup, KeyHash};
use slackwater_dataflow::snapshot::{Progress, SavedEntry, StateDelta};
use slackwater_dataflow::spill::MemoryFiles;

use crate::order::EventTimeOrder;
use crate::order::tests::{Event, SPREAD, batch, contents, released, rows, stage};

/// What happens between two closed epochs.
#[derive(Clone, Debug)]
enum Step {
    /// Events of a partition, so long after the watermark.
    Batch(u32, Vec<u16>),
    Rise(i64),
    Release,
    /// A part of the snapshot under way.
    Save,
    Close,
    /// The stage is made anew from the checkpoints; they build on each other, or begin anew.
    Restart {
        anew: bool,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let gap = prop_oneof![3 => 0..50_u16, 1 => 0..2_000_u16];
    let step = prop_oneof![
        6 => (0..4_u32, proptest::collection::vec(gap, 0..40))
            .prop_map(|(partition, gaps)| Step::Batch(partition, gaps)),
        3 => (0..60_i64).prop_map(Step::Rise),
        4 => Just(Step::Release),
        2 => Just(Step::Save),
        2 => Just(Step::Close),
        1 => proptest::bool::ANY.prop_map(|anew| Step::Restart { anew }),
    ];
    proptest::collection::vec(step, 0..80)
}

/// A chain of checkpoints, by key: key group and value.
#[derive(Clone, Default)]
struct Chain(BTreeMap<Vec<u8>, (KeyGroup, Vec<u8>)>);

impl Chain {
    fn add(&mut self, mut delta: StateDelta) {
        delta.sort();
        if let Some(bound) = delta.bound() {
            self.0.retain(|key, _| key.as_slice() >= bound);
        }
        for (group, key, value) in delta.entries() {
            let saved = (group, value.unwrap().to_vec());
            let before = self.0.insert(key.to_vec(), saved);
            assert_eq!(before, None, "an event is written once");
        }
    }

    /// A stage that goes on from here.
    fn stage(&self, bytes: u64, anew: bool) -> EventTimeOrder {
        let mut stage = stage(bytes, MemoryFiles::default());
        stage.will_be_saved();
        for (key, (group, value)) in &self.0 {
            let entry = SavedEntry {
                group: *group,
                key,
                value,
                anew,
            };
            stage.restore(entry).unwrap();
        }
        stage.on_restored().unwrap();
        stage
    }

    /// All that waits, in order.
    fn contents(&self) -> Vec<String> {
        let mut stage = self.stage(u64::MAX, false);
        stage.on_watermark(EventTime::MAX);
        released(&mut stage)
    }
}

struct Race {
    bytes: u64,
    stage: EventTimeOrder,
    model: BTreeMap<Event, String>,
    offsets: [u64; 4],
    watermark: i64,
    chain: Chain,
    /// The snapshot under way, and what waited when its epoch closed.
    delta: StateDelta,
    frozen: Vec<String>,
    /// All as it was when the epoch before closed.
    at_close: (BTreeMap<Event, String>, i64),
}

impl Race {
    fn new(bytes: u64) -> Self {
        let mut stage = stage(bytes, MemoryFiles::default());
        stage.will_be_saved();
        stage.on_epoch_closed();
        Race {
            bytes,
            stage,
            model: BTreeMap::new(),
            offsets: [0; 4],
            watermark: 0,
            chain: Chain::default(),
            delta: StateDelta::default(),
            frozen: Vec::new(),
            at_close: Default::default(),
        }
    }

    fn end_snapshot(&mut self) {
        while self.stage.snapshot(&mut self.delta) == Progress::More {}
        self.chain.add(std::mem::take(&mut self.delta));
        assert_eq!(self.chain.contents(), self.frozen);
    }

    fn close(&mut self) {
        self.end_snapshot();
        self.stage.on_epoch_closed();
        self.frozen = self.model.values().cloned().collect();
        self.at_close = (self.model.clone(), self.watermark);
    }

    fn take(&mut self, step: Step) {
        let mut out = Emitter::default();
        match step {
            Step::Batch(partition, gaps) => {
                let mut events: Vec<Event> = Vec::new();
                for gap in gaps {
                    let offset = &mut self.offsets[partition as usize];
                    *offset += 1;
                    events.push((self.watermark + i64::from(gap), partition, *offset));
                }
                for &event in &events {
                    let one = contents(&rows(&[event])).remove(0);
                    self.model.insert(event, one);
                }
                self.stage.on_batch(batch(&events), &mut out);
            }
            Step::Rise(by) => {
                self.watermark += by;
                self.stage.on_watermark(EventTime(self.watermark));
            }
            Step::Release if self.stage.is_due() => {
                self.stage.release(&mut out);
                for _ in 0..out.take_outputs()[0].rows.rows().len() {
                    self.model.pop_first();
                }
            }
            Step::Release => {}
            Step::Save => drop(self.stage.snapshot(&mut self.delta)),
            Step::Close => self.close(),
            Step::Restart { anew } => {
                self.end_snapshot();
                self.stage = self.chain.stage(self.bytes, anew);
                (self.model, self.watermark) = self.at_close.clone();
                if anew {
                    self.chain = Chain::default();
                    self.stage.on_epoch_closed();
                }
                self.stage.on_watermark(EventTime(self.watermark));
            }
        }
        assert!(out.take_failure().is_none());
        assert_eq!(self.stage.waiting.events(), self.model.len() as u64);
    }
}

fn race(steps: Vec<Step>, bytes: u64) {
    let mut race = Race::new(bytes);
    for step in steps.into_iter().chain([Step::Close, Step::Close]) {
        race.take(step);
    }
    race.stage.on_watermark(EventTime::MAX);
    let left: Vec<_> = race.model.into_values().collect();
    assert_eq!(released(&mut race.stage), left);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn is_what_is_kept_what_waited(steps in steps()) {
        race(steps, u64::MAX);
    }

    /// So little memory that nearly everything goes to disk.
    #[test]
    fn is_it_so_from_disk(steps in steps(), bytes in prop_oneof![Just(1_u64), Just(20_000)]) {
        race(steps, bytes);
    }
}

/// A quiet job writes nothing at its checkpoints, and the first one after a restart says where it stands.
#[test]
fn does_an_epoch_in_which_nothing_left_say_nothing() {
    let mut stage = Chain::default().stage(20_000, false);
    let delta = |stage: &mut EventTimeOrder| {
        stage.on_epoch_closed();
        let mut delta = StateDelta::default();
        assert_eq!(stage.snapshot(&mut delta), Progress::Done);
        delta
    };
    assert!(delta(&mut stage).bound().is_some());
    assert!(delta(&mut stage).is_empty());
}

#[test]
fn is_an_entry_that_is_none_refused() {
    let mut chain = Chain::default();
    let mut first = stage(u64::MAX, MemoryFiles::default());
    first.will_be_saved();
    first.on_batch(batch(&[(5, 0, 1)]), &mut Emitter::default());
    first.on_epoch_closed();
    let mut delta = StateDelta::default();
    assert_eq!(first.snapshot(&mut delta), Progress::Done);
    chain.add(delta);
    let (key, (group, value)) = chain.0.pop_first().unwrap();
    assert_eq!(group, SPREAD.group(KeyHash::of(b"key 1")));
    let check = |key: &[u8], value: &[u8], is_one: bool| {
        let entry = SavedEntry {
            group,
            key,
            value,
            anew: false,
        };
        let mut stage = stage(u64::MAX, MemoryFiles::default());
        assert_eq!(stage.restore(entry).is_ok(), is_one);
    };
    check(&key, &value, true);
    for len in 0..value.len() {
        check(&key, &value[..len], false);
    }
    check(&key, &[value.as_slice(), b"x"].concat(), false);
    check(&key[..19], &value, false);
    check(&[key.as_slice(), b"x"].concat(), &value, false);
    for at in 0..value.len() {
        for mask in [0x01, 0x80, 0xff] {
            let mut damaged = value.clone();
            damaged[at] ^= mask;
            let entry = SavedEntry {
                group,
                key: &key,
                value: &damaged,
                anew: false,
            };
            // Some bytes may be anything; none may make it panic, also later.
            let mut stage = stage(u64::MAX, MemoryFiles::default());
            if stage.restore(entry).is_ok() {
                stage.on_restored().unwrap();
                stage.on_watermark(EventTime::MAX);
                stage.release(&mut Emitter::default());
            }
        }
    }
}
