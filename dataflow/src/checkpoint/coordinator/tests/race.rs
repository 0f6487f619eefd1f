//! Does any order of events, in any settings, break what must hold of checkpoints, or bring them to a stand?

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, ProptestConfig, Strategy, prop_oneof, proptest};
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::model::Model;
use super::{Event, call, ms, words};
use crate::checkpoint::coordinator::{Action, CheckpointFailure, CheckpointSettings, Coordinator};
use crate::moment::Epoch;

/// An event, with epochs relative to where the run is when it happens.
#[derive(Clone, Copy, Debug)]
enum Draw {
    Exactly(Event),
    /// A report of this worker, of so many epochs before the open one.
    Reported(usize, u64),
    ReportFailed(usize, u64),
    /// The report of all that are missing which has this number.
    Missing(usize),
    /// A result of the put under way, and of one of this epoch if there is none.
    Put(fn(u64) -> Event, u64),
    /// The next epoch is published.
    Published,
    /// All workers report all that they have not.
    AllReported,
}

fn draws() -> impl Strategy<Value = Draw> {
    let exactly = |event: Event| Just(Draw::Exactly(event));
    prop_oneof![
        8 => exactly(Event::Tick),
        1 => exactly(Event::FirstOutput),
        2 => (0..3_usize, option::of(0..50_i64))
            .prop_map(|(worker, least)| Draw::Exactly(Event::Watermarks(worker, least))),
        3 => (0..4_usize, 0..5_u64).prop_map(|(worker, back)| Draw::Reported(worker, back)),
        2 => (0..4_usize, 0..4_u64).prop_map(|(worker, back)| Draw::ReportFailed(worker, back)),
        8 => (0..4_usize).prop_map(Draw::Missing),
        2 => Just(Draw::AllReported),
        6 => (0..9_u64).prop_map(|other| Draw::Put(Event::PutCreated, other)),
        2 => (0..9_u64).prop_map(|other| Draw::Put(Event::PutUnknown, other)),
        1 => (0..9_u64).prop_map(|epoch| Draw::Exactly(Event::PutCreated(epoch))),
        1 => (0..2_u64).prop_map(|epoch| Draw::Exactly(Event::PutLost(epoch))),
        4 => Just(Draw::Published),
        1 => (0..20_u64).prop_map(|epoch| Draw::Exactly(Event::Published(epoch))),
        1 => exactly(Event::Trigger),
        1 => exactly(Event::Drained),
    ]
}

/// What is seldom, or the runs would all be short.
fn ending() -> impl Strategy<Value = Draw> {
    prop_oneof![
        4 => Just(Draw::Exactly(Event::Stop)),
        4 => Just(Draw::Exactly(Event::AllFinished)),
        1 => Just(Draw::Put(Event::PutLost, 0)),
    ]
}

fn settings() -> impl Strategy<Value = CheckpointSettings> {
    let times = (0..6_u64, 0..4_u64, 0..12_u64);
    (times, 1..4_u32, 0..4_u32, 1..6_u32).prop_map(
        |((interval, min_pause, timeout), max_concurrent, tolerable_failures, unpublished_max)| {
            CheckpointSettings {
                interval: ms(interval * 10),
                min_pause: ms(min_pause * 10),
                timeout: ms(10 + timeout * 20),
                max_concurrent,
                tolerable_failures,
                unpublished_max,
            }
        },
    )
}

#[derive(Clone, Debug)]
struct Case {
    settings: CheckpointSettings,
    workers: usize,
    draws: Vec<(u64, Draw)>,
    ending: Draw,
    more: Vec<(u64, Draw)>,
    last: bool,
}

fn cases() -> impl Strategy<Value = Case> {
    let some = |most: usize| vec((0..15_u64, draws()), 0..most);
    let parts = (
        settings(),
        1..4_usize,
        some(120),
        ending(),
        some(40),
        0..2_u8,
    );
    parts.prop_map(|(settings, workers, draws, ending, more, last)| Case {
        settings,
        workers,
        draws,
        ending,
        more,
        last: last == 1,
    })
}

/// A coordinator beside its model.
struct Race {
    coordinator: Coordinator,
    model: Model,
    now: Duration,
    actions: Vec<Action>,
}

impl Race {
    fn new(case: &Case) -> Self {
        let Case {
            settings, workers, ..
        } = *case;
        Race {
            coordinator: Coordinator::new(settings, workers, Epoch(1), None, ms(0)),
            model: Model::new(settings, workers, 1),
            now: ms(0),
            actions: Vec::new(),
        }
    }

    fn event(&mut self, event: Event) {
        let actions = call(&mut self.coordinator, self.now, event);
        if let Event::Watermarks(worker, least) = event {
            // Those of a worker that there is not leave no trace.
            if worker < self.model.workers {
                self.model.watermarks.insert(worker, least);
            }
        } else {
            let expected = self.model.expect(self.now, event);
            assert_eq!(actions, expected, "{event:?} at {:?}", self.now);
        }
        self.actions.extend(actions);
        self.holds();
    }

    /// What must hold whatever the model thinks of it.
    fn holds(&self) {
        let (model, settings) = (&self.model, &self.model.settings);
        let counts = self.coordinator.counts();
        assert_eq!(counts.pending, model.pending().len());
        assert_eq!(counts.unpublished, model.unpublished());
        assert!(counts.pending <= settings.max_concurrent as usize);
        // Only epochs of failed checkpoints can be more, with the one that lists them and the last one: those since the
        // last durable epoch, which failed before it became durable or after.
        let failed = 2 * settings.tolerable_failures;
        let most = settings.unpublished_max.max(failed + 2);
        assert!(counts.unpublished <= most as usize);
        if model.over.is_some() {
            assert_eq!(self.coordinator.next_deadline(), None);
        }
    }

    fn draw(&mut self, after_ms: u64, draw: Draw) {
        self.pass(self.now + ms(after_ms));
        let open = self.model.open;
        match draw {
            Draw::Exactly(event) => self.event(event),
            Draw::Reported(worker, back) => {
                self.event(Event::Reported(worker, open.saturating_sub(back)));
            }
            Draw::ReportFailed(worker, back) => {
                self.event(Event::ReportFailed(worker, open.saturating_sub(back)));
            }
            Draw::Missing(number) => {
                let missing = self.model.unreported();
                if let Some((epoch, worker)) = missing.get(number % missing.len().max(1)) {
                    self.event(Event::Reported(*worker, *epoch));
                }
            }
            Draw::Put(event, other) => self.event(event(self.model.putting().unwrap_or(other))),
            Draw::Published => self.event(Event::Published(self.model.published + 1)),
            Draw::AllReported => {
                for (epoch, worker) in self.model.unreported() {
                    self.event(Event::Reported(worker, epoch));
                }
            }
        }
    }

    /// Lets time pass as a caller would: a call at each deadline, and none before.
    fn pass(&mut self, until: Duration) {
        for _ in 0..20 {
            match self.coordinator.next_deadline() {
                Some(deadline) if deadline > until => break,
                None => break,
                Some(deadline) if deadline > self.now => {
                    self.now = deadline - Duration::from_nanos(1);
                    let before = self.actions.len();
                    self.event(Event::Tick);
                    assert_eq!(self.actions.len(), before, "something came too early");
                    self.now = deadline;
                    self.event(Event::Tick);
                    assert!(self.actions.len() > before, "nothing came at a deadline");
                }
                Some(_) => self.event(Event::Tick),
            }
        }
        self.now = self.now.max(until);
    }

    /// From here on all goes well: does the run end?
    fn finish(&mut self, last: bool) {
        self.event(if last {
            Event::AllFinished
        } else {
            Event::Stop
        });
        for _ in 0..20 {
            self.draw(0, Draw::AllReported);
            self.draw(0, Draw::Put(Event::PutCreated, 0));
            self.event(Event::Published(self.model.published + 1));
            if self.model.over.is_some() {
                return;
            }
            self.now += ms(1);
        }
        unreachable!("the run does not end: {:?}", self.coordinator);
    }

    /// All that was to be done in the whole run.
    fn verify(&self) {
        let (mut next_covered, mut next_durable, mut next_epoch) = (1, 1, 2);
        let (mut floor, mut nothing_follows, mut putting) = (None, false, None);
        for (at, action) in self.actions.iter().enumerate() {
            let is_last = at + 1 == self.actions.len();
            match action {
                Action::StartEpoch {
                    epoch,
                    floor: next,
                    last,
                    stop,
                } => {
                    assert!(!nothing_follows, "an epoch after the end");
                    nothing_follows = *last || *stop;
                    assert_eq!(epoch.0, next_epoch);
                    next_epoch += 1;
                    assert!(*next >= floor, "the floor fell");
                    floor = *next;
                }
                Action::PutManifest { epoch, covers } => {
                    assert_eq!(putting, None, "two puts at a time");
                    putting = Some(*epoch);
                    let expected: Vec<Epoch> = (next_covered..=epoch.0).map(Epoch).collect();
                    assert_eq!(*covers, expected);
                    next_covered = epoch.0 + 1;
                }
                Action::RetryPut { epoch } => assert_eq!(putting, Some(*epoch)),
                Action::Durable { epoch, covers } => {
                    assert_eq!(putting.take(), Some(*epoch));
                    assert_eq!(covers.first(), Some(&Epoch(next_durable)));
                    next_durable = epoch.0 + 1;
                }
                Action::CheckpointFailed { epoch, reason } => {
                    let is_unknown = matches!(reason, CheckpointFailure::Unknown { .. });
                    assert_eq!(is_unknown, putting == Some(*epoch));
                }
                Action::FailJob(_) | Action::Fenced => assert!(is_last),
                Action::Finished => {
                    assert!(is_last && nothing_follows && putting.is_none());
                    assert_eq!(self.model.published + 1, next_durable);
                }
            }
        }
    }
}

fn race(case: &Case) -> Vec<Action> {
    let mut race = Race::new(case);
    for (after_ms, draw) in &case.draws {
        race.draw(*after_ms, *draw);
    }
    race.draw(0, case.ending);
    for (after_ms, draw) in &case.more {
        race.draw(*after_ms, *draw);
    }
    race.finish(case.last);
    for event in [Event::Stop, Event::AllFinished, Event::Trigger] {
        race.now += ms(1000);
        let before = race.actions.len();
        race.event(event);
        assert_eq!(race.actions.len(), before, "something after the end");
    }
    race.verify();
    race.actions
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn does_every_order_of_events_keep_the_rules(case in cases()) {
        race(&case);
    }
}

#[test]
fn does_the_race_meet_all_that_can_happen() {
    let mut runner = TestRunner::deterministic();
    let mut met = BTreeMap::<String, u32>::new();
    for _ in 0..300 {
        let case = cases().new_tree(&mut runner).unwrap().current();
        for action in race(&case) {
            let name = match &action {
                Action::StartEpoch { last: true, .. } => "last".to_owned(),
                Action::StartEpoch { stop: true, .. } => "stop".to_owned(),
                Action::Durable { covers, .. } if covers.len() > 2 => "durable of many".to_owned(),
                Action::CheckpointFailed {
                    reason: CheckpointFailure::Unknown { .. },
                    ..
                } => "unknown".to_owned(),
                other => words(other).split(' ').next().unwrap().to_owned(),
            };
            *met.entry(name).or_default() += 1;
        }
    }
    for name in [
        "start",
        "last",
        "stop",
        "put",
        "retry",
        "durable",
        "durable of many",
        "failed",
        "unknown",
        "job",
        "fenced",
        "finished",
    ] {
        assert!(met.get(name).copied().unwrap_or_default() > 10, "{met:?}");
    }
}
