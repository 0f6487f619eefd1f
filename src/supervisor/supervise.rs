//! The process above the workers of a job: does what [`Attempts`] say.

use std::collections::VecDeque;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command as Program};
use std::sync::mpsc::{Sender, channel};
use std::thread::Builder;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use slackwater_dataflow::clock::{Clock, SystemClock};
use slackwater_dataflow::faults::phases::{Phase, reach};

use crate::supervisor::attempts::{Attempts, End, Outcome, Step};
use crate::supervisor::control::{Control, ControlError, Event, say};
use crate::supervisor::protocol::{Answer, Ask, Command};
use crate::supervisor::restart::RestartStrategy;

/// How long what a worker said before it ended may take to be read.
const LAST_WORDS_MAX: Duration = Duration::from_secs(5);

/// Most requests to stop that wait for the end: a person sends one.
const STOPS_MAX: usize = 32;

/// A job cannot be supervised.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SuperviseError {
    /// Its socket cannot be had.
    #[error(transparent)]
    Control(#[from] ControlError),
}

/// What is to be supervised.
pub struct Setup<'a> {
    /// The job's name.
    pub job: &'a str,
    /// The folder for its socket.
    pub room: &'a Path,
    /// Its checkpoint store, as a person names it.
    pub store: &'a str,
    /// What happens when it fails.
    pub strategy: RestartStrategy,
    /// The program of a worker, for an attempt, and whether it only goes on with what an earlier one has begun. It
    /// connects a [`Reporter`](super::reporter::Reporter).
    pub program: &'a dyn Fn(u32, bool) -> Program,
    /// Says something to the person at the terminal.
    pub say: &'a dyn Fn(&str),
}

/// Runs workers until the job has ended, and gives how this process is to end.
///
/// To be called on the process's first thread: a worker that is bound to its supervisor is killed when the thread
/// that started it ends.
///
/// # Errors
/// The job is supervised already, or its socket cannot be made. Nothing was started then.
pub fn supervise(setup: &Setup<'_>) -> Result<Outcome, SuperviseError> {
    let (tell, events) = channel();
    let control = Control::open(setup.room, setup.store, tell.clone())?;
    follow_signals(tell.clone());
    let clock = SystemClock::default();
    let (attempts, first) = Attempts::begin(setup.job, setup.strategy, clock.monotonic());
    let mut supervisor = Supervisor {
        setup,
        clock,
        attempts,
        tell,
        worker: None,
        stops: Vec::new(),
        outcome: None,
    };
    supervisor.take(first);
    let outcome = loop {
        if let Some(outcome) = supervisor.outcome {
            break outcome;
        }
        let now = supervisor.clock.monotonic();
        let patience = supervisor.attempts.next_look(now);
        if let Ok(event) = events.recv_timeout(patience) {
            supervisor.handle(event);
        }
        supervisor.look();
    };
    supervisor.answer_stops(outcome);
    drop(control);
    Ok(outcome)
}

/// A worker's process.
struct Worker {
    child: Child,
    attempt: u32,
    /// The way to it, once it has connected and until it hangs up.
    line: Option<UnixStream>,
    /// It has ended; what it said before that is waited for until then.
    ended: Option<Duration>,
}

struct Supervisor<'a> {
    setup: &'a Setup<'a>,
    clock: SystemClock,
    attempts: Attempts,
    tell: Sender<Event>,
    worker: Option<Worker>,
    /// Those who want to know when the job has stopped.
    stops: Vec<UnixStream>,
    outcome: Option<Outcome>,
}

impl Supervisor<'_> {
    fn handle(&mut self, event: Event) {
        let now = self.clock.monotonic();
        let worker = self.worker.as_mut();
        let of = |attempt| worker.filter(|worker| worker.attempt == attempt);
        match event {
            Event::Connected(attempt, line) => {
                if let Some(worker) = of(attempt) {
                    worker.line = Some(line);
                }
            }
            Event::Reported(attempt, report) => {
                if of(attempt).is_some() {
                    self.attempts.heard(now, report);
                }
            }
            Event::Closed(attempt) => {
                if let Some(worker) = of(attempt) {
                    worker.line = None;
                }
            }
            Event::Exited(attempt) => {
                if let Some(worker) = of(attempt) {
                    worker.ended = Some(now);
                }
            }
            Event::Asked(ask, line) => self.answer(now, ask, line),
            Event::Signalled(signal) => {
                let steps = self.attempts.signalled(now, signal);
                self.take(steps);
            }
        }
    }

    /// Does what is due.
    fn look(&mut self) {
        let now = self.clock.monotonic();
        // A worker connects before it does anything else, so one that never did has said nothing.
        let is_heard = |worker: &mut Worker| {
            worker.ended.is_some_and(|ended| {
                worker.line.is_none() || now.saturating_sub(ended) > LAST_WORDS_MAX
            })
        };
        if let Some(mut worker) = self.worker.take_if(is_heard) {
            let end = match worker.child.wait() {
                Ok(status) => match (status.code(), status.signal()) {
                    (Some(code), _) => End::Code(code),
                    (None, signal) => End::Signal(signal.unwrap_or_default()),
                },
                Err(error) => End::NotStarted(error.to_string()),
            };
            reach(Phase::WorkerEnded);
            self.ended(end);
        }
        let steps = self.attempts.tick(now);
        self.take(steps);
    }

    fn ended(&mut self, end: End) {
        let (now, wall_ms) = (self.clock.monotonic(), self.clock.wall_ms());
        let steps = self.attempts.ended(now, wall_ms, end, random());
        self.take(steps);
    }

    fn take(&mut self, steps: Vec<Step>) {
        let mut steps = VecDeque::from(steps);
        while let Some(step) = steps.pop_front() {
            match step {
                Step::Start { attempt, goes_on } => {
                    if let Err(error) = self.start(attempt, goes_on) {
                        self.ended(End::NotStarted(error.to_string()));
                    }
                }
                Step::Stop => self.command(Command::Stop),
                Step::End => self.command(Command::End),
                Step::Kill => self.signal(Signal::KILL),
                Step::Say(text) => (self.setup.say)(&text),
                Step::Over(outcome) => self.outcome = Some(outcome),
            }
        }
    }

    fn start(&mut self, attempt: u32, goes_on: bool) -> io::Result<()> {
        let mut child = (self.setup.program)(attempt, goes_on).spawn()?;
        reach(Phase::WorkerSpawned);
        let (pid, tell) = (Pid::from_child(&child), self.tell.clone());
        let wait = move || {
            // Only looks: until its supervisor has waited for it too, nobody else can get its number.
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            while waitid(WaitId::Pid(pid), options).is_err_and(|error| error == Errno::INTR) {}
            drop(tell.send(Event::Exited(attempt)));
        };
        let waiting = Builder::new().name("worker".to_owned()).spawn(wait);
        if let Err(error) = waiting {
            drop(child.kill());
            drop(child.wait());
            return Err(error);
        }
        self.worker = Some(Worker {
            child,
            attempt,
            line: None,
            ended: None,
        });
        Ok(())
    }

    /// Tells the worker something. That is no signal: a terminal and a service manager send theirs to both
    /// processes, and what came twice would count as the second one, which ends a worker at once. Telling it to
    /// stop changes nothing when it knows already. Only a worker that has not connected yet, so that it has
    /// nothing to finish either, gets a signal.
    fn command(&mut self, command: Command) {
        let line = self.worker.as_ref().and_then(|it| it.line.as_ref());
        let told = line.is_some_and(|line| say(line, &command).is_ok());
        if !told {
            self.signal(Signal::TERM);
        }
    }

    fn signal(&mut self, signal: Signal) {
        if let Some(worker) = &self.worker {
            // One that has ended meanwhile needs none.
            let _ = kill_process(Pid::from_child(&worker.child), signal);
        }
    }

    fn answer(&mut self, now: Duration, ask: Ask, line: UnixStream) {
        match ask {
            Ask::Status => {
                let pid = self.worker.as_ref().map(|worker| worker.child.id());
                let status = self.attempts.status(now, pid);
                // Who has gone away wants no answer.
                drop(say(&line, &Answer::Status(Box::new(status))));
            }
            Ask::Stop if self.stops.len() >= STOPS_MAX => {
                let said = "the job is stopping, and too many wait for it already";
                drop(say(&line, &Answer::Error(said.to_owned())));
            }
            Ask::Stop => {
                self.stops.push(line);
                let steps = self.attempts.asked_to_stop(now);
                self.take(steps);
            }
        }
    }

    fn answer_stops(&self, outcome: Outcome) {
        let code = match outcome {
            Outcome::Code(code) => i32::from(code),
            // As shells say it.
            Outcome::Signal(signal) => 128 + signal,
        };
        for line in &self.stops {
            drop(say(line, &Answer::Ended(code)));
        }
    }
}

fn follow_signals(tell: Sender<Event>) {
    let Ok(mut signals) = Signals::new([SIGINT, SIGTERM]) else {
        // Without handlers a signal ends the supervisor at once, and its worker with it: a crash like another.
        return;
    };
    let follow = move || {
        for signal in signals.forever() {
            if tell.send(Event::Signalled(signal)).is_err() {
                return;
            }
        }
    };
    drop(Builder::new().name("signals".to_owned()).spawn(follow));
}

/// From 0 up to 1, another one each time: the keys of a map of the standard library are drawn at random.
fn random() -> f64 {
    let drawn = RandomState::new().build_hasher().finish();
    drawn as f64 / u64::MAX as f64
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod tests;
