//! Does every question get one answer, whatever becomes of the store?

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::{AskSettings, Asker, Asking, Read, Tell};
use crate::clock::SystemClock;
use crate::lookup::breaker::BreakerSettings;
use crate::lookup::counts::AskCounts;
use crate::lookup::scripted::{Mood, ScriptedStore};
use crate::lookup::{Answer, AskError, Connect, Connection, Questions as _};
use crate::source::Wake;

const TIMEOUT: Duration = Duration::from_millis(30);
const OPEN: Duration = Duration::from_millis(60);

fn found(value: &str) -> Answer {
    Answer::Found(vec![Some(Box::from(value.as_bytes()))])
}

fn store() -> ScriptedStore {
    let values = (0..1_000).map(|number| (number.to_string(), found(&number.to_string())));
    let values: Vec<_> = values.collect();
    ScriptedStore::of(
        values
            .iter()
            .map(|(key, value)| (key.as_str(), value.clone())),
    )
}

fn settings(retries: u32, failures: u32) -> AskSettings {
    AskSettings {
        timeout: TIMEOUT,
        connect_timeout: TIMEOUT,
        retries,
        connections: 2,
        breaker: BreakerSettings {
            failures,
            open: OPEN,
        },
    }
}

fn asker(store: &ScriptedStore, settings: AskSettings) -> (Arc<Asking>, Asker<Answer>) {
    telling(store, settings, Box::new(|_| {}))
}

fn telling(
    store: &ScriptedStore,
    settings: AskSettings,
    tell: Tell,
) -> (Arc<Asking>, Asker<Answer>) {
    let clock = Arc::new(SystemClock::default());
    let asking = Asking::new(settings, Arc::new(store.clone()), clock, tell);
    let asking = Arc::new(asking);
    let as_it_is: Read<Answer> = Arc::new(|answer| answer);
    let asker = asking.asker(&Wake::nobody(), &as_it_is).unwrap();
    (asking, asker)
}

/// Asks for keys, and waits for all answers.
fn ask<T: std::fmt::Debug>(
    asker: &mut Asker<T>,
    keys: &[&str],
) -> BTreeMap<String, Result<T, AskError>> {
    for key in keys {
        asker.ask(Box::from(key.as_bytes()));
    }
    let (mut answers, begun) = (BTreeMap::new(), Instant::now());
    while answers.len() < keys.len() {
        while let Some((key, answer)) = asker.next_answer() {
            let key = String::from_utf8(key.into()).unwrap();
            assert!(answers.insert(key, answer).is_none(), "one answer each");
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{answers:?}");
        thread::sleep(Duration::from_millis(1));
    }
    answers
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{what}");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn is_each_question_answered_and_are_many_asked_at_once() {
    let store = store();
    let (asking, mut asker) = asker(&store, settings(0, 5));
    store.set(Mood::Slow(Duration::from_millis(5)));
    let keys: Vec<String> = (0..900).map(|number| number.to_string()).collect();
    let mut keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    keys.push("no such key");
    let answers = ask(&mut asker, &keys);
    for (key, answer) in &answers {
        let expected = match key.as_str() {
            "no such key" => Answer::Missing,
            key => found(key),
        };
        assert_eq!(answer.as_ref(), Ok(&expected), "{key}");
    }
    let asked = store.done().asked;
    assert_eq!(asked.iter().sum::<usize>(), 901);
    assert!(asked.len() <= 12, "{asked:?}");
    assert!(asked.iter().all(|together| *together <= 256), "{asked:?}");
    assert_eq!(asking.counts().answered, 901);
}

#[test]
fn is_what_an_idle_connection_has_lost_no_failure() {
    let store = store();
    // One failure would be told.
    let (asking, mut asker) = asker(&store, settings(0, 1));
    assert_eq!(ask(&mut asker, &["1"])["1"], Ok(found("1")));
    store.close_all();
    for _ in 0..4 {
        assert_eq!(ask(&mut asker, &["2"])["2"], Ok(found("2")));
    }
    assert_eq!(asking.counts().openings, 0);
}

#[test]
fn does_a_second_try_help() {
    let store = store();
    let (_asking, mut asker) = asker(&store, settings(20, 100));
    store.set(Mood::Closes);
    asker.ask(Box::from(*b"1"));
    until("it was tried", || store.done().asked.len() >= 2);
    store.set(Mood::Serves);
    assert_eq!(ask(&mut asker, &["2"])["2"], Ok(found("2")));
    until("both were asked", || asker.answered.is_empty());
}

#[test]
fn how_long_does_a_store_hold_a_question_that_never_answers() {
    let store = store();
    let (asking, mut asker) = asker(&store, settings(1, 100));
    store.set(Mood::Hangs);
    let begun = Instant::now();
    assert_eq!(ask(&mut asker, &["1"])["1"], Err(AskError::TimedOut));
    assert!(begun.elapsed() >= 2 * TIMEOUT, "both tries");
    let counts = AskCounts {
        timed_out: 1,
        ..AskCounts::default()
    };
    assert_eq!(asking.counts(), counts);
}

#[test]
fn is_a_connection_that_does_not_come_told_from_an_answer_that_does_not() {
    let store = store();
    let (asking, mut asker) = asker(&store, settings(0, 100));
    store.set(Mood::Ignores);
    assert_eq!(ask(&mut asker, &["1"])["1"], Err(AskError::NoConnection));
    assert_eq!(asking.counts().timed_out, 1);
}

#[test]
fn is_a_store_that_is_away_asked_by_probes_only_until_it_is_back() {
    let store = store();
    let told: Arc<Mutex<Vec<Option<String>>>> = Arc::default();
    let tells = Arc::clone(&told);
    let tell: Tell = Box::new(move |reason| {
        tells.lock().unwrap().push(reason.map(ToString::to_string));
    });
    let (asking, mut asker) = telling(&store, settings(0, 3), tell);
    store.set(Mood::Refuses);
    for _ in 0..3 {
        let answers = ask(&mut asker, &["1"]);
        assert_eq!(
            answers["1"],
            Err(AskError::Unavailable("connection refused".to_owned()))
        );
    }
    assert_eq!(asking.counts().openings, 1);
    // Seen from outside as long as it lasts.
    let watch = asking.watch("profile");
    let away = watch.look().away.unwrap();
    let expected = "3 times in a row, last because it is not available: connection refused";
    assert!(away.contains(expected), "{away}");
    // It would answer now, but is not asked before a probe has succeeded.
    let before = store.done();
    store.set(Mood::Closes);
    let Err(AskError::Unavailable(reason)) = &ask(&mut asker, &["1"])["1"] else {
        panic!("it was asked");
    };
    assert!(
        reason.contains("3 times in a row, last because it"),
        "{reason}"
    );
    assert_eq!(store.done().asked, before.asked);
    until("it was probed", || store.done().pinged >= 2);
    assert_eq!(store.done().asked, before.asked, "no event's question");
    store.set(Mood::Serves);
    let begun = Instant::now();
    until("it is asked again", || ask(&mut asker, &["1"])["1"].is_ok());
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert_eq!(asking.counts().openings, 1);
    let refused = "is not available: connection refused".to_owned();
    assert_eq!(*told.lock().unwrap(), [Some(refused), None]);
    let figures = watch.look();
    let counts = figures.counts;
    assert_eq!((figures.name.as_str(), figures.away), ("profile", None));
    assert!(
        counts.answered >= 1 && counts.unavailable >= 4,
        "{counts:?}"
    );
}

#[test]
fn are_answers_that_do_not_fit_the_questions_none() {
    let store = store();
    let (_asking, mut asker) = asker(&store, settings(0, 100));
    store.set(Mood::Forgets);
    let expected = AskError::Unavailable("it gave 0 answers to 1 questions".to_owned());
    assert_eq!(ask(&mut asker, &["1"])["1"], Err(expected));
}

#[test]
fn are_questions_answered_whose_threads_crash() {
    let store = store();
    let (_asking, mut asker) = asker(&store, settings(3, 100));
    store.set(Mood::Crashes);
    // Many more than are asked at once: some wait while both threads crash.
    let keys: Vec<String> = (0..900).map(|number| number.to_string()).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    for answer in ask(&mut asker, &keys).values() {
        let Err(AskError::Unavailable(reason)) = answer else {
            panic!("nobody can have answered");
        };
        assert!(reason.contains("crashed"), "{reason}");
    }
    store.set(Mood::Serves);
    assert!(ask(&mut asker, &keys).values().all(Result::is_ok));
}

/// A store that has nothing, and notes each answer that it gives.
#[derive(Clone, Default)]
struct Noting(Arc<Mutex<Vec<String>>>);

impl Noting {
    fn note(&self, what: String) {
        self.0.lock().unwrap().push(what);
    }
}

impl Connect for Noting {
    fn connect(&self, _: Duration) -> Result<Box<dyn Connection>, AskError> {
        Ok(Box::new(self.clone()))
    }
}

impl Connection for Noting {
    fn ask(
        &mut self,
        keys: &[Box<[u8]>],
        _: Duration,
        give: &mut dyn FnMut(Answer),
    ) -> Result<(), AskError> {
        for _ in keys {
            self.note("given".to_owned());
            give(Answer::Missing);
        }
        Ok(())
    }

    fn ping(&mut self, _: Duration) -> Result<(), AskError> {
        Ok(())
    }
}

/// An answer that is read takes little room; one that is not may take a megabyte.
#[test]
fn is_each_answer_read_by_who_asks_before_the_next_one_comes() {
    let (noting, clock) = (Noting::default(), Arc::new(SystemClock::default()));
    let settings = AskSettings {
        connections: 1,
        ..settings(0, 1)
    };
    let asking = Asking::new(settings, Arc::new(noting.clone()), clock, Box::new(|_| {}));
    let reading = noting.clone();
    let read: Read<usize> = Arc::new(move |_| {
        let who = thread::current().name().unwrap_or_default().to_owned();
        reading.note(format!("read by {who}"));
        7
    });
    let mut asker = Arc::new(asking).asker(&Wake::nobody(), &read).unwrap();
    let answers = ask(&mut asker, &["1", "2", "3"]);
    assert!(
        answers.values().all(|answer| *answer == Ok(7)),
        "{answers:?}"
    );
    let noted = noting.0.lock().unwrap();
    assert_eq!(*noted, ["given", "read by asker"].repeat(3));
}

#[test]
fn is_a_question_answered_whose_answer_crashes_who_reads_it() {
    let (store, clock) = (store(), Arc::new(SystemClock::default()));
    let asking = Asking::new(settings(0, 1), Arc::new(store), clock, Box::new(|_| {}));
    let read: Read<Answer> = Arc::new(|answer| match answer {
        Answer::Missing => panic!("told to crash"),
        answer => answer,
    });
    let mut asker = Arc::new(asking).asker(&Wake::nobody(), &read).unwrap();
    let answers = ask(&mut asker, &["no such key"]);
    assert!(answers["no such key"].is_err(), "{answers:?}");
    assert_eq!(ask(&mut asker, &["1"])["1"], Ok(found("1")));
}

#[test]
fn are_answers_kept_that_came_in_time() {
    let store = store();
    // With one failure the store would not be asked any more.
    let (asking, mut asker) = asker(&store, settings(1, 1));
    store.set(Mood::Halves);
    let keys: Vec<String> = (0..600).map(|number| number.to_string()).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let answers = ask(&mut asker, &keys);
    let answered = answers.values().filter(|answer| answer.is_ok()).count();
    // Half at the first try, half of the rest at the second, and a few more as fewer are asked at once.
    assert!(answered >= 450, "{answered}");
    assert_eq!(asking.counts().openings, 0, "it has answered each time");
    let late = Err(AskError::TimedOut);
    assert!(
        answers
            .iter()
            .all(|(key, answer)| *answer == late || *answer == Ok(found(key)))
    );
}

#[test]
fn is_what_is_under_way_and_what_was_spared_counted() {
    let store = store();
    let (asking, mut asker) = asker(&store, settings(0, 100));
    store.set(Mood::Hangs);
    for key in [b"1", b"2", b"3"] {
        asker.ask(Box::from(*key));
    }
    assert_eq!(asking.counts().under_way, 3, "{:?}", asking.counts());
    until("all are answered", || asking.counts().under_way == 0);
    assert_eq!(asking.counts().timed_out, 3);
    asker.count_remembered(5, 2);
    asker.count_remembered(1, 0);
    let counts = asking.counts();
    assert_eq!((counts.remembered, counts.last_known), (6, 2));
}

#[test]
fn are_the_threads_gone_when_nobody_asks_any_more() {
    let store = store();
    let (asking, mut asker) = asker(&store, settings(0, 1));
    let shared = Arc::downgrade(&asking.shared);
    let watch = asking.watch("profile");
    assert!(ask(&mut asker, &["1"])["1"].is_ok());
    drop(asker);
    drop(asking);
    until("all but the watch have let go", || {
        shared.strong_count() == 1
    });
    assert_eq!(watch.look().counts.answered, 1);
}
