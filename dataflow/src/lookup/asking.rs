//! The threads that ask a store beside the workers.
//!
//! Each worker has an [`Asker`], and each asker some threads with a connection each. A thread takes all questions that wait, up to a
//! bound, and asks them at once; meanwhile the next ones gather. So one question costs a round trip, and many cost little
//! more. It reads each answer as it comes, so the worker has no more to do with it than to take it. Whatever becomes of a thread, a connection or the store, each question gets exactly one answer or error, after at
//! most so many tries, each with a hard time; then its worker is woken.
//!
//! The breaker is one for all workers, and so is the thread that probes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};

use crate::clock::Clock;
use crate::lookup::breaker::{Breaker, BreakerSettings};
use crate::lookup::counts::{AskCounts, Counters, LookupFigures};
use crate::lookup::pauses::pause;
use crate::lookup::{Answer, Answered, AskError, Connect, Connection, Questions};
use crate::run::{RunError, spawn};
use crate::source::Wake;

/// Questions that are asked at once, at most: what a store answers in well under a millisecond.
const TOGETHER_MOST: usize = 256;

/// How a store is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AskSettings {
    /// How long one try may take, but for connecting.
    pub timeout: Duration,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// Tries after the first.
    pub retries: u32,
    /// Connections of each worker; at least 1.
    pub connections: usize,
    /// When it is not asked.
    pub breaker: BreakerSettings,
}

/// Makes of an answer what the worker works with; in the threads that ask.
pub type Read<T> = Arc<dyn Fn(Answer) -> T + Send + Sync>;

/// Told when a store is not asked any more, and why; and without a reason when it is asked again.
pub type Tell = Box<dyn Fn(Option<&AskError>) + Send + Sync>;

/// A store that a worker group asks.
pub struct Asking {
    shared: Arc<Shared>,
    /// Whether there is a thread that probes.
    is_probed: AtomicBool,
}

struct Shared {
    settings: AskSettings,
    connect: Arc<dyn Connect>,
    clock: Arc<dyn Clock>,
    tell: Tell,
    guarded: Mutex<Guarded>,
    /// Rung when the breaker opens, and at the end.
    changed: Condvar,
    counters: Counters,
}

struct Guarded {
    breaker: Breaker,
    /// What failed last.
    last: Option<AskError>,
    is_over: bool,
}

impl Asking {
    /// A store that nobody asks yet.
    pub fn new(
        settings: AskSettings,
        connect: Arc<dyn Connect>,
        clock: Arc<dyn Clock>,
        tell: Tell,
    ) -> Self {
        let shared = Arc::new(Shared {
            guarded: Mutex::new(Guarded {
                breaker: Breaker::new(settings.breaker),
                last: None,
                is_over: false,
            }),
            settings,
            connect,
            clock,
            tell,
            changed: Condvar::new(),
            counters: Counters::default(),
        });
        Asking {
            shared,
            is_probed: AtomicBool::new(false),
        }
    }

    /// The asker of one worker, which is woken when there are answers, read like this. The first one also starts the thread that probes, which
    /// ends when nobody has this store any more.
    ///
    /// # Errors
    /// The system has no threads for it.
    pub fn asker<T: Send + 'static>(
        self: &Arc<Self>,
        wake: &Wake,
        read: &Read<T>,
    ) -> Result<Asker<T>, RunError> {
        if !self.is_probed.swap(true, Ordering::SeqCst) {
            let probed = Arc::clone(&self.shared);
            spawn("probe", move || probed.probe())?;
        }
        let (questions, asked) = crossbeam_channel::unbounded();
        let (answers, answered) = crossbeam_channel::unbounded();
        for _ in 0..self.shared.settings.connections.max(1) {
            let thread = Thread {
                shared: Arc::clone(&self.shared),
                questions: asked.clone(),
                answers: answers.clone(),
                wake: wake.clone(),
                read: Arc::clone(read),
                connection: None,
                together: TOGETHER_MOST,
            };
            spawn("asker", move || thread.run())?;
        }
        Ok(Asker {
            questions,
            answers,
            answered,
            wake: wake.clone(),
            asking: Arc::clone(self),
        })
    }

    /// What was asked so far.
    pub fn counts(&self) -> AskCounts {
        self.shared.counters.read()
    }

    /// Looks at it from outside, by the name of its lookup.
    pub fn watch(&self, name: &str) -> AskWatch {
        AskWatch {
            name: name.to_owned(),
            shared: Arc::clone(&self.shared),
        }
    }
}

/// Looks at a store that is asked, also when nobody asks it any more. Clones look at the same.
#[derive(Clone)]
pub struct AskWatch {
    name: String,
    shared: Arc<Shared>,
}

impl AskWatch {
    /// How it is now.
    pub fn look(&self) -> LookupFigures {
        LookupFigures {
            name: self.name.clone(),
            counts: self.shared.counters.read(),
            away: self.shared.refusal(),
        }
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.shared.guarded().is_over = true;
        self.shared.changed.notify_all();
    }
}

/// Asks for one worker. Its threads end when it is dropped and what it has asked is answered.
pub struct Asker<T> {
    questions: Sender<Box<[u8]>>,
    answers: Sender<Answered<T>>,
    answered: Receiver<Answered<T>>,
    wake: Wake,
    asking: Arc<Asking>,
}

impl<T> Questions<T> for Asker<T> {
    fn ask(&mut self, key: Box<[u8]>) {
        self.counters().asked();
        // Its threads are there as long as it is.
        if let Err(back) = self.questions.send(key) {
            let crashed = Err(crashed());
            self.counters().ended(&crashed);
            drop(self.answers.send((back.into_inner(), crashed)));
            self.wake.wake();
        }
    }

    fn next_answer(&mut self) -> Option<Answered<T>> {
        self.answered.try_recv().ok()
    }

    fn count_remembered(&mut self, fresh: u64, last_known: u64) {
        self.counters().remembered(fresh, last_known);
    }
}

impl<T> Asker<T> {
    fn counters(&self) -> &Counters {
        &self.asking.shared.counters
    }
}

/// Of a question that was with a thread when that crashed.
fn crashed() -> AskError {
    AskError::Unavailable("what asks it has crashed, see the message above".to_owned())
}

impl Shared {
    fn guarded(&self) -> MutexGuard<'_, Guarded> {
        // Nobody leaves it half changed.
        self.guarded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// None if the store may be asked, else why not.
    fn refusal(&self) -> Option<String> {
        let guarded = self.guarded();
        if guarded.breaker.allows() {
            return None;
        }
        let failures = self.settings.breaker.failures;
        let last = guarded.last.as_ref();
        let last = last.map(|last| format!(", last because it {last}"));
        Some(format!(
            "it has failed {failures} times in a row{}, and is asked again when it answers a probe",
            last.unwrap_or_default()
        ))
    }

    fn succeeded(&self) {
        self.guarded().breaker.succeeded();
    }

    fn failed(&self, error: &AskError) {
        let now = self.clock.monotonic();
        let mut guarded = self.guarded();
        guarded.last = Some(error.clone());
        if guarded.breaker.failed(now) {
            self.counters.opened();
            self.changed.notify_all();
            drop(guarded);
            (self.tell)(Some(error));
        }
    }

    /// Probes whenever that is due, until all is over.
    fn probe(&self) {
        let mut guarded = self.guarded();
        while !guarded.is_over {
            let now = self.clock.monotonic();
            if guarded.breaker.begin_probe(now) {
                drop(guarded);
                let probing = AssertUnwindSafe(|| self.probe_once());
                let probed = catch_unwind(probing).unwrap_or_else(|_| Err(crashed()));
                if probed.is_ok() {
                    (self.tell)(None);
                }
                guarded = self.guarded();
                guarded
                    .breaker
                    .probed(self.clock.monotonic(), probed.is_ok());
                guarded.last = probed.err().or(guarded.last.take());
                continue;
            }
            guarded = match guarded.breaker.probe_at() {
                None => self
                    .changed
                    .wait(guarded)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(at) => {
                    let waited = self.changed.wait_timeout(guarded, at.saturating_sub(now));
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// A new connection; that there is none in time is another thing than no answer in time.
    fn connect(&self, timeout: Duration) -> Result<Box<dyn Connection>, AskError> {
        let connected = self.connect.connect(timeout);
        connected.map_err(|error| match error {
            AskError::TimedOut => AskError::NoConnection,
            error => error,
        })
    }

    fn probe_once(&self) -> Result<(), AskError> {
        let mut connection = self.connect(self.settings.connect_timeout)?;
        connection.ping(self.settings.timeout)
    }
}

/// One that asks.
struct Thread<T> {
    shared: Arc<Shared>,
    questions: Receiver<Box<[u8]>>,
    answers: Sender<Answered<T>>,
    wake: Wake,
    read: Read<T>,
    connection: Option<Box<dyn Connection>>,
    /// How many questions it asks at once: fewer when so many are not answered in time.
    together: usize,
}

impl<T> Thread<T> {
    fn run(mut self) {
        while let Ok(first) = self.questions.recv() {
            let others = self.questions.try_iter().take(self.together - 1);
            let taken = Taken {
                keys: std::iter::once(first).chain(others).collect(),
                shared: Arc::clone(&self.shared),
                answers: self.answers.clone(),
                wake: self.wake.clone(),
            };
            // A thread that crashed would leave questions that nobody takes.
            let asking = AssertUnwindSafe(|| self.insist(&taken.keys));
            match catch_unwind(asking) {
                Ok((answers, error)) => taken.answer(answers, error),
                Err(_) => self.connection = None,
            }
        }
    }

    /// Asks, and again as often as that may be for those without an answer: the answers, and why the rest has none.
    fn insist(&mut self, keys: &[Box<[u8]>]) -> (Vec<T>, Option<AskError>) {
        let (mut answers, mut tries) = (Vec::with_capacity(keys.len()), 0);
        loop {
            if let Some(refusal) = self.shared.refusal() {
                return (answers, Some(AskError::Unavailable(refusal)));
            }
            let before = answers.len();
            let rest = keys.get(before..).unwrap_or_default();
            let error = match self.ask(rest, &mut answers) {
                Ok(()) => {
                    self.shared.succeeded();
                    self.together = (self.together * 2).min(TOGETHER_MOST);
                    return (answers, None);
                }
                Err(error) => error,
            };
            if answers.len() > before {
                // It answers, but not so many in that time.
                self.shared.succeeded();
                self.together = (self.together / 2).max(1);
            } else {
                self.shared.failed(&error);
            }
            tries += 1;
            if tries > self.shared.settings.retries {
                return (answers, Some(error));
            }
            thread::sleep(pause(tries, rand::random()));
        }
    }

    /// One try.
    fn ask(&mut self, keys: &[Box<[u8]>], answers: &mut Vec<T>) -> Result<(), AskError> {
        let AskSettings {
            timeout,
            connect_timeout,
            ..
        } = self.shared.settings;
        let (before, read) = (answers.len(), Arc::clone(&self.read));
        let ask = |connection: &mut dyn Connection, answers: &mut Vec<T>| {
            connection.ask(keys, timeout, &mut |answer| answers.push(read(answer)))
        };
        if let Some(mut connection) = self.connection.take() {
            match ask(connection.as_mut(), answers) {
                Ok(()) => return self.whole(connection, answers.len() - before, keys.len()),
                Err(error @ (AskError::TimedOut | AskError::NoConnection)) => return Err(error),
                Err(error) if answers.len() > before => return Err(error),
                // The store has closed it, perhaps since it was idle: a new one tells.
                Err(AskError::Unavailable(_)) => {}
            }
        }
        let mut connection = self.shared.connect(connect_timeout)?;
        ask(connection.as_mut(), answers)?;
        self.whole(connection, answers.len() - before, keys.len())
    }

    /// A connection that has given all answers is kept.
    fn whole(
        &mut self,
        connection: Box<dyn Connection>,
        got: usize,
        wanted: usize,
    ) -> Result<(), AskError> {
        if got != wanted {
            let reason = format!("it gave {got} answers to {wanted} questions");
            return Err(AskError::Unavailable(reason));
        }
        self.connection = Some(connection);
        Ok(())
    }
}

/// Questions that a thread has taken. Those that have no answer when this is dropped get one then.
struct Taken<T> {
    keys: Vec<Box<[u8]>>,
    shared: Arc<Shared>,
    answers: Sender<Answered<T>>,
    wake: Wake,
}

impl<T> Taken<T> {
    fn answer(mut self, answers: Vec<T>, error: Option<AskError>) {
        let missing = || error.clone().unwrap_or_else(crashed);
        let answers = answers.into_iter().map(Ok);
        let answers = answers.chain(std::iter::repeat_with(|| Err(missing())));
        let keys = std::mem::take(&mut self.keys);
        keys.into_iter().zip(answers).for_each(|it| self.tell(it));
    }

    fn tell(&self, answered: Answered<T>) {
        self.shared.counters.ended(&answered.1);
        // Who does not listen any more is at its end.
        drop(self.answers.send(answered));
    }
}

impl<T> Drop for Taken<T> {
    fn drop(&mut self) {
        for key in std::mem::take(&mut self.keys) {
            self.tell((key, Err(crashed())));
        }
        self.wake.wake();
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod tests;
