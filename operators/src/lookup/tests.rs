//! Does each event get what the store has of its key, in the order in which events came, whatever the order of answers?

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use slackwater_dataflow::clock::ManualClock;
use slackwater_dataflow::flow::Ticket;
use slackwater_dataflow::lookup::{Answer, Answered, AskError, Questions};
use slackwater_dataflow::moment::EventTime;
use slackwater_dataflow::operator::{Emitter, WaitingOperator};
use slackwater_dataflow::place::{KeyHash, Offset, PartitionId, Spread};

use super::LookupStage;
use super::answer::Known;
use super::plan::{
    CachePlan, Column, Form, KeyPiece, KeyTemplate, Lookup, LookupField, LookupPlan, LookupType,
    OnError, OnMiss,
};
use crate::batch::{Cell, NewRow, RowBatch, Rows};
use crate::enrichment::{Enrichment, Provenance};
use crate::event::FieldIndex;
use crate::features::{FeatureBatch, Transform};
use crate::reject::{Code, RejectBatch};

/// Features before that of the lookup: the number of the event.
const WIDTH: usize = 2;
const DEFAULT: f64 = 7.0;

/// Questions that were asked and are not answered, to be answered by hand.
#[derive(Clone, Default)]
struct Asked(Rc<RefCell<Questioning>>);

#[derive(Default)]
struct Questioning {
    /// The lookup that asks.
    lookup: Option<Lookup>,
    asked: VecDeque<Box<[u8]>>,
    answered: VecDeque<Answered<Known>>,
    /// Remembered answers that were counted: fresh, last known.
    remembered: (u64, u64),
}

impl Asked {
    /// Answers one of them.
    fn answer(&self, nth: usize, answer: impl Fn(&[u8]) -> Result<Answer, AskError>) {
        let mut questioning = self.0.borrow_mut();
        let key = questioning.asked.remove(nth).unwrap();
        let lookup = questioning.lookup.clone().unwrap();
        let answer = answer(&key).map(|answer| Known::of(answer, &lookup));
        questioning.answered.push_back((key, answer));
    }

    fn open(&self) -> usize {
        self.0.borrow().asked.len()
    }
}

impl Questions<Known> for Asked {
    fn ask(&mut self, key: Box<[u8]>) {
        let asked = &mut self.0.borrow_mut().asked;
        assert!(!asked.contains(&key), "each key once at a time");
        asked.push_back(key);
    }

    fn next_answer(&mut self) -> Option<Answered<Known>> {
        self.0.borrow_mut().answered.pop_front()
    }

    fn count_remembered(&mut self, fresh: u64, last_known: u64) {
        let remembered = &mut self.0.borrow_mut().remembered;
        *remembered = (remembered.0 + fresh, remembered.1 + last_known);
    }
}

fn lookup() -> Lookup {
    Lookup {
        name: "profile".to_owned(),
        key: KeyTemplate(vec![
            KeyPiece::Text("k:".to_owned()),
            KeyPiece::Field(FieldIndex(0)),
        ]),
        form: Form::Texts,
        fields: vec![LookupField {
            name: "weight".to_owned(),
            kind: LookupType::Float,
            default: DEFAULT,
        }],
        columns: vec![Column {
            place: 1,
            field: 0,
            transforms: vec![Transform::Scale(0.0, 2.0)],
        }],
        timeout: Duration::from_millis(50),
        connect_timeout: Duration::from_millis(70),
        on_miss: OnMiss::Default,
        on_error: OnError::DeadLetter,
        in_flight: 3,
        cache: None,
    }
}

fn stage(lookups: Vec<Lookup>, asked: &[Asked], clock: &Arc<ManualClock>) -> LookupStage {
    for (asked, lookup) in asked.iter().zip(&lookups) {
        asked.0.borrow_mut().lookup = Some(lookup.clone());
    }
    let plan = LookupPlan {
        lookups,
        width: WIDTH,
        tells_provenance: true,
        spread: Spread {
            key_groups: 8,
            workers: 1,
            shards: 2,
        },
    };
    let questions = asked.iter().map(|it| Box::new(it.clone()) as Box<_>);
    LookupStage::new(Arc::new(plan), questions.collect(), Arc::clone(clock) as _)
}

/// Events with these keys, numbered on from `first`; none stands for null.
fn batch(first: u64, keys: &[Option<i64>]) -> FeatureBatch {
    let mut rows = Rows::with_capacity(1, keys.len(), 64);
    let mut vectors = Vec::new();
    for (number, key) in (first..).zip(keys) {
        rows.push(NewRow {
            partition: PartitionId(0),
            offset: Offset(number),
            time: EventTime(0),
            order_time: EventTime(0),
            key_hash: KeyHash::of(b"user"),
            key: b"user",
            record: b"{}",
            origin: &[],
            cells: &[key.map_or(Cell::Null, Cell::Int)],
            scratch: &[],
        });
        vectors.extend([number as f32, 0.0]);
    }
    FeatureBatch {
        batch: RowBatch {
            worker: 0,
            rows,
            ticket: Ticket::detached(),
            turn: None,
        },
        vectors,
        enrichment: Enrichment::default(),
    }
}

/// What a batch has given: vectors by offset, and rejects with their code.
type Given = (Vec<(u64, Vec<f32>)>, Vec<(u64, Code, String)>);

fn given(out: &mut Emitter<FeatureBatch, RejectBatch>) -> Given {
    let mut vectors = Vec::new();
    for output in out.take_outputs() {
        let offsets = output.batch.rows.rows().iter().map(|row| row.offset.0);
        assert_eq!(output.vectors.len(), offsets.len() * WIDTH);
        vectors.extend(offsets.zip(output.vectors.chunks(WIDTH).map(<[f32]>::to_vec)));
    }
    let rejects = out.take_rejects().into_iter().flat_map(|it| it.rejects);
    let rejects = rejects.map(|it| (it.offset.0, it.reason.code, it.reason.message));
    (vectors, rejects.collect())
}

/// All that can be given now.
fn finish(stage: &mut LookupStage) -> Given {
    finish_told(stage).0
}

/// The same with the provenance of each vector, by lookup.
fn finish_told(stage: &mut LookupStage) -> (Given, Vec<Vec<Provenance>>) {
    stage.on_wake();
    let mut out = Emitter::default();
    while stage.finish(&mut out) {}
    let (mut told, mut outputs) = (Vec::new(), Vec::new());
    for output in out.take_outputs() {
        let events = output.batch.rows.rows().len();
        told.extend((0..events).map(|at| output.enrichment.of(at).collect::<Vec<_>>()));
        assert_eq!(
            output.enrichment.of(events).count(),
            0,
            "one for each event"
        );
        outputs.push(output);
    }
    outputs.into_iter().for_each(|output| out.give(output));
    (given(&mut out), told)
}

/// What the store of these tests has of a key.
fn has(key: i64) -> Result<Answer, AskError> {
    let value = |text: &str| Answer::Found(vec![Some(Box::from(text.as_bytes()))]);
    match key.rem_euclid(6) {
        0 => Ok(Answer::Missing),
        1 => Err(AskError::TimedOut),
        2 => Ok(value("heavy")),
        _ => Ok(value(&key.to_string())),
    }
}

fn has_bytes(key: &[u8]) -> Result<Answer, AskError> {
    let text = str::from_utf8(key).unwrap();
    has(text.strip_prefix("k:").unwrap().parse().unwrap())
}

/// The obvious way: event by event.
fn expected(number: u64, key: Option<i64>) -> Result<Vec<f32>, Code> {
    let vector = |value: f64| Ok(vec![number as f32, (value / 2.0) as f32]);
    match key.map(has) {
        None | Some(Ok(Answer::Missing)) => vector(DEFAULT),
        Some(Err(_)) => Err(Code::LookupTimeout),
        Some(Ok(_)) => match key.unwrap() {
            key if key.rem_euclid(6) == 2 => Err(Code::LookupBadValue),
            key => vector(key as f64),
        },
    }
}

proptest! {
    #[test]
    fn does_each_event_get_its_own_in_order(
        batches in prop::collection::vec(prop::collection::vec(prop::option::weighted(0.9, 0..12i64), 1..6), 1..8),
        choices in prop::collection::vec(any::<prop::sample::Index>(), 1..200),
        is_cached in any::<bool>(),
    ) {
        let (asked, clock) = (Asked::default(), Arc::new(ManualClock::at(0)));
        let cache = CachePlan { bytes: 700, ttl: Duration::from_secs(1), stale_for: Duration::ZERO };
        let lookup = Lookup { cache: is_cached.then_some(cache), ..lookup() };
        let mut stage = stage(vec![lookup], std::slice::from_ref(&asked), &clock);
        let (mut left, mut number, mut choices) = (batches.iter(), 0, choices.iter().cycle());
        let (mut vectors, mut rejects) = (Vec::new(), Vec::new());
        let mut is_over = false;
        while !is_over {
            // Either another batch comes, or one of the questions is answered.
            let choice = choices.next().unwrap();
            let open = asked.open();
            prop_assert!(open <= 3, "so many may be under way");
            match choice.index(open + 1) {
                nth if nth < open => asked.answer(nth, has_bytes),
                _ => match left.next() {
                    Some(keys) => {
                        stage.on_batch(batch(number, keys));
                        number += keys.len() as u64;
                    }
                    None if open > 0 => asked.answer(0, has_bytes),
                    None => is_over = true,
                },
            }
            let ((some, others), told) = finish_told(&mut stage);
            prop_assert_eq!(some.len(), told.len());
            for ((_, vector), told) in some.iter().zip(told) {
                // No key has that value in the store.
                let expected = match vector[1] == (DEFAULT / 2.0) as f32 {
                    true => told == [Provenance::Default],
                    false if is_cached => matches!(told[..], [Provenance::Fresh | Provenance::Cached(_)]),
                    false => told == [Provenance::Fresh],
                };
                prop_assert!(expected, "{:?}: {:?}", vector, told);
            }
            vectors.extend(some);
            rejects.extend(others);
        }
        prop_assert!(stage.waiting.is_empty());
        let keys = (0..).zip(batches.into_iter().flatten());
        let (mut expected_vectors, mut expected_rejects) = (Vec::new(), Vec::new());
        for (number, key) in keys {
            match expected(number, key) {
                Ok(vector) => expected_vectors.push((number, vector)),
                Err(code) => expected_rejects.push((number, code)),
            }
        }
        prop_assert_eq!(vectors, expected_vectors);
        let rejects: Vec<_> = rejects.into_iter().map(|(number, code, _)| (number, code)).collect();
        prop_assert_eq!(rejects, expected_rejects);
    }
}

/// One event with the key 4, and what becomes of it when the store gives this answer.
fn decided(lookup: Lookup, answer: Result<Answer, AskError>) -> (Given, Option<String>) {
    let (asked, clock) = (Asked::default(), Arc::new(ManualClock::at(0)));
    let mut stage = stage(vec![lookup], std::slice::from_ref(&asked), &clock);
    stage.on_batch(batch(0, &[Some(4)]));
    asked.answer(0, |_| answer.clone());
    stage.on_wake();
    let mut out = Emitter::default();
    assert!(stage.finish(&mut out));
    let failure = out.take_failure().map(|it| it.to_string());
    (given(&mut out), failure)
}

fn found() -> Result<Answer, AskError> {
    Ok(Answer::Found(vec![Some(Box::from(*b"3"))]))
}

fn away() -> Result<Answer, AskError> {
    Err(AskError::Unavailable("connection refused".to_owned()))
}

fn bad() -> Result<Answer, AskError> {
    Ok(Answer::Bad("WRONGTYPE it is a list".to_owned()))
}

#[test]
fn which_events_go_on() {
    let takes = |on_miss, on_error, answer, value: f32| {
        let lookup = Lookup {
            on_miss,
            on_error,
            ..lookup()
        };
        let (given, failure) = decided(lookup, answer);
        assert_eq!(given, (vec![(0, vec![0.0, value])], vec![]));
        assert_eq!(failure, None);
    };
    let default = (DEFAULT / 2.0) as f32;
    takes(OnMiss::DeadLetter, OnError::Fail, found(), 1.5);
    takes(OnMiss::Default, OnError::Fail, Ok(Answer::Missing), default);
    for on_error in [OnError::Default, OnError::LastKnown] {
        for answer in [Err(AskError::TimedOut), away(), bad()] {
            takes(OnMiss::DeadLetter, on_error, answer, default);
        }
    }
}

#[test]
fn which_events_are_dead_letters() {
    let rejects = |on_miss, answer, code, message: &str| {
        let lookup = Lookup {
            on_miss,
            ..lookup()
        };
        let (given, failure) = decided(lookup, answer);
        assert_eq!(given, (vec![], vec![(0, code, message.to_owned())]));
        assert_eq!(failure, None);
    };
    let message = "lookup `profile` has nothing of `k:4`";
    let missing = Ok(Answer::Missing);
    rejects(OnMiss::DeadLetter, missing, Code::LookupMissing, message);
    let message = "lookup `profile` timed out after 50 ms";
    let late = Err(AskError::TimedOut);
    rejects(OnMiss::Default, late, Code::LookupTimeout, message);
    let message = "lookup `profile` got no connection within 70 ms";
    let none = Err(AskError::NoConnection);
    rejects(OnMiss::Default, none, Code::LookupTimeout, message);
    let message = "lookup `profile` is not available: connection refused";
    rejects(OnMiss::Default, away(), Code::LookupUnavailable, message);
    let message = "lookup `profile` has `k:4`, but WRONGTYPE it is a list";
    rejects(OnMiss::Default, bad(), Code::LookupBadValue, message);
}

#[test]
fn does_a_dead_letter_repeat_little_of_a_long_key() {
    let lookup = Lookup {
        key: KeyTemplate(vec![KeyPiece::Text("é".repeat(500_000))]),
        on_miss: OnMiss::DeadLetter,
        ..lookup()
    };
    let (given, _) = decided(lookup, Ok(Answer::Missing));
    let message = &given.1[0].2;
    assert!(message.len() < 1_000, "{}", message.len());
    assert!(message.ends_with("é...`"), "{message}");
}

#[test]
fn does_the_job_fail_where_it_is_to() {
    let lookup = Lookup {
        on_error: OnError::Fail,
        ..lookup()
    };
    let (given, failure) = decided(lookup, away());
    assert_eq!(given, (vec![], vec![]), "neither scored nor a dead letter");
    let failure = failure.unwrap();
    let expected = "connection refused, and `on_error = \"fail\"`";
    assert!(failure.contains(expected), "{failure}");
}

#[test]
fn how_long_does_what_was_known_last_stand_in() {
    let (asked, clock) = (Asked::default(), Arc::new(ManualClock::at(0)));
    let lookup = Lookup {
        on_error: OnError::LastKnown,
        cache: Some(CachePlan {
            bytes: 1_000,
            ttl: Duration::from_millis(10),
            stale_for: Duration::from_millis(90),
        }),
        ..lookup()
    };
    let mut stage = stage(vec![lookup], std::slice::from_ref(&asked), &clock);
    let mut check = |now_ms, answer: Option<Result<&str, AskError>>, expected: f32, from| {
        clock.set(now_ms);
        stage.on_batch(batch(0, &[Some(4)]));
        assert_eq!(asked.open(), usize::from(answer.is_some()), "at {now_ms}");
        if let Some(answer) = answer {
            let answer = answer.map(|text| Answer::Found(vec![Some(Box::from(text.as_bytes()))]));
            asked.answer(0, |_| answer.clone());
        }
        let (given, told) = finish_told(&mut stage);
        assert_eq!(
            given,
            (vec![(0, vec![0.0, expected])], vec![]),
            "at {now_ms}"
        );
        assert_eq!(told, [[from]], "at {now_ms}");
    };
    let ms = Duration::from_millis;
    let (cached, last_known) = (
        |age| Provenance::Cached(ms(age)),
        |age| Provenance::LastKnown(ms(age)),
    );
    let default = (DEFAULT / 2.0) as f32;
    let late = Some(Err(AskError::TimedOut));
    check(0, late.clone(), default, Provenance::Default);
    check(0, Some(Ok("8")), 4.0, Provenance::Fresh);
    check(9, None, 4.0, cached(9));
    check(10, late.clone(), 4.0, last_known(10));
    // Nor does what can't be used take the place of what could.
    check(50, Some(Ok("heavy")), 4.0, last_known(50));
    check(99, late.clone(), 4.0, last_known(99));
    check(100, late, default, Provenance::Default);
    check(101, Some(Ok("2")), 1.0, Provenance::Fresh);
    assert_eq!(asked.0.borrow().remembered, (1, 3));
}

#[test]
fn is_nothing_told_where_nobody_wants_to_know() {
    let (asked, clock) = (Asked::default(), Arc::new(ManualClock::at(0)));
    let mut stage = stage(vec![lookup()], std::slice::from_ref(&asked), &clock);
    let plan = LookupPlan {
        tells_provenance: false,
        ..LookupPlan::clone(&stage.plan)
    };
    stage.plan = Arc::new(plan);
    stage.on_batch(batch(0, &[Some(4)]));
    asked.answer(0, |_| found());
    let (given, told) = finish_told(&mut stage);
    assert_eq!((given.0.len(), told), (1, vec![vec![]]));
}

#[test]
fn does_a_batch_wait_for_all_of_its_lookups() {
    let (first, second) = (Asked::default(), Asked::default());
    let clock = Arc::new(ManualClock::at(0));
    let other = Lookup {
        name: "other".to_owned(),
        columns: vec![Column {
            place: 0,
            field: 0,
            transforms: Vec::new(),
        }],
        ..lookup()
    };
    let asked = [first.clone(), second.clone()];
    let mut stage = stage(vec![lookup(), other], &asked, &clock);
    let found = |text: &str| Ok(Answer::Found(vec![Some(Box::from(text.as_bytes()))]));
    stage.on_batch(batch(0, &[Some(4), Some(5)]));
    second.answer(1, |_| found("50"));
    first.answer(0, |_| found("8"));
    assert_eq!(finish(&mut stage), (vec![], vec![]));
    first.answer(0, |_| Err(AskError::TimedOut));
    assert_eq!(finish(&mut stage), (vec![], vec![]));
    second.answer(0, |_| found("40"));
    let (vectors, rejects) = finish(&mut stage);
    assert_eq!(vectors, [(0, vec![40.0, 4.0])]);
    assert_eq!(rejects.len(), 1);
    assert_eq!(rejects[0].0, 1);
}
