//! The attempts of a job: what to do when its worker starts, speaks, falls silent or ends, and when a person wants it
//! to stop.
//!
//! [`Attempts`] is told what happened, with a monotonic time, and gives the [`Step`]s to take. It knows no process and
//! no socket.

use std::collections::VecDeque;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level::signal_name;
use slackwater_dataflow::text::shortened;

use crate::supervisor::protocol::{CAUSE_CHARS_MAX, Failure, JobState, JobStatus, Report, Status};
use crate::supervisor::restart::{Decision, RestartStrategy, RestartTracker};

/// A worker that says nothing for so long hangs, and is ended: it says how it is every second, and nothing that it
/// does keeps it from that for a tenth of this.
pub const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Longest time between two looks that counts as silence of the worker. More has passed if the supervisor itself
/// was stopped, or the whole machine was asleep, and then nobody was there to listen.
const AWAKE_MAX: Duration = Duration::from_secs(2);

/// Between two looks at what time brought about.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);

/// How long a worker that is to end at once may take for that: it takes what it has drawn from the terminal.
const END_GRACE: Duration = Duration::from_secs(3);

/// Failures that are remembered one by one: enough to see how it came about, few enough for one answer.
const FAILURES_MAX: usize = 100;

/// How a worker ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It exited with this code.
    Code(i32),
    /// A signal ended it.
    Signal(i32),
    /// It could not be started at all, for this reason.
    NotStarted(String),
}

/// How the supervisor ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With this exit code.
    Code(u8),
    /// By this signal, as a process without a supervisor would.
    Signal(i32),
}

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Start a worker.
    Start {
        /// For this attempt, from 1.
        attempt: u32,
        /// An earlier one has begun the job: this one only goes on, and does nothing that is done once at the
        /// beginning.
        goes_on: bool,
    },
    /// Ask the worker to stop with a final checkpoint.
    Stop,
    /// Ask the worker to end at once.
    End,
    /// End the worker, however it is.
    Kill,
    /// Say this to the person at the terminal.
    Say(String),
    /// End.
    Over(Outcome),
}

/// What is going on.
#[derive(Clone, Debug)]
enum Phase {
    /// A worker is there.
    Working(Working),
    /// The next one starts then.
    Waiting(Duration),
    /// Nothing happens any more.
    Over,
}

/// A worker, as far as it is known.
#[derive(Clone, Debug, Default)]
struct Working {
    /// How long it has said nothing.
    silent: Duration,
    has_spoken: bool,
    /// It had a durable checkpoint.
    healthy: bool,
    /// Why it ends, by its own account.
    cause: Option<String>,
    /// It was ended because it was silent.
    was_killed: bool,
    /// It is to have ended by then, since a person wants no more of it.
    end_by: Option<Duration>,
}

/// A person wants the job to stop.
#[derive(Clone, Copy, Debug)]
struct Stopping {
    /// The signal that said so; none if a request did.
    signal: Option<i32>,
    /// It was said again, by a signal: at once.
    at_once: bool,
}

/// Follows the attempts of a job. See the module.
#[derive(Clone, Debug)]
pub struct Attempts {
    job: String,
    strategy: RestartStrategy,
    tracker: RestartTracker,
    phase: Phase,
    /// When the phase began.
    since: Duration,
    /// The latest time that any call has given.
    now: Duration,
    attempt: u32,
    has_begun: bool,
    stopping: Option<Stopping>,
    /// What the worker said last, and when.
    last: Option<(Status, Duration)>,
    failed: u64,
    failures: VecDeque<Failure>,
}

impl Attempts {
    /// A job that is to begin `now`, and its first step.
    pub fn begin(job: &str, strategy: RestartStrategy, now: Duration) -> (Self, Vec<Step>) {
        let mut attempts = Attempts {
            job: job.to_owned(),
            strategy,
            tracker: RestartTracker::new(strategy),
            phase: Phase::Over,
            since: now,
            now,
            attempt: 0,
            has_begun: false,
            stopping: None,
            last: None,
            failed: 0,
            failures: VecDeque::new(),
        };
        let start = attempts.start();
        (attempts, vec![start])
    }

    /// The worker said something.
    pub fn heard(&mut self, now: Duration, report: Report) {
        self.pass(now);
        let Phase::Working(worker) = &mut self.phase else {
            return;
        };
        worker.silent = Duration::ZERO;
        match report {
            Report::Attempt(_) => {}
            Report::Begun => self.has_begun = true,
            Report::Status(mut status) => {
                worker.has_spoken = true;
                if let Some(trouble) = &mut status.trouble {
                    trouble.what = one_line(&trouble.what);
                }
                let breakers = status.lookups.iter_mut().map(|it| &mut it.breaker);
                for reason in breakers.filter_map(|it| it.reason.as_mut()) {
                    *reason = one_line(reason);
                }
                worker.healthy |= status.checkpoints.completed > 0;
                self.last = Some((status, now));
            }
            Report::Failed(cause) => worker.cause = Some(one_line(&cause)),
        }
    }

    /// The worker has ended, or could not be started. `random` is drawn from 0 up to 1.
    #[must_use]
    pub fn ended(&mut self, now: Duration, wall_ms: i64, end: End, random: f64) -> Vec<Step> {
        self.pass(now);
        let Phase::Working(worker) = self.phase.clone() else {
            return Vec::new();
        };
        match (&end, self.stopping) {
            (End::Code(0), _) => return vec![self.over(Outcome::Code(0))],
            // A preflight of a job that had begun: what was there then may be there again in a moment.
            (End::Code(3), None) if self.has_begun => {}
            // Usage, preflight, refused: trying again would bring the same.
            (End::Code(code @ 2..=4), _) => {
                let code = u8::try_from(*code).unwrap_or(1);
                return vec![self.over(Outcome::Code(code))];
            }
            // Before it had begun, or because a person had no more patience.
            (End::Signal(signal), Some(stopping))
                if stopping.at_once || [SIGINT, SIGTERM].contains(signal) =>
            {
                let outcome = stopping.signal.map_or(Outcome::Code(0), Outcome::Signal);
                return vec![self.over(outcome)];
            }
            _ => {}
        }
        let cause = cause(&worker, &end);
        let ran_for = now.saturating_sub(self.since);
        self.failed += 1;
        self.failures.push_back(Failure {
            attempt: self.attempt,
            cause: cause.clone(),
            at_ms: wall_ms,
            ran_ms: ms(ran_for),
            healthy: worker.healthy,
        });
        if self.failures.len() > FAILURES_MAX {
            self.failures.pop_front();
        }
        let job = &self.job;
        if self.stopping.is_some() {
            let said = format!("FAILED: job `{job}`, while it was being stopped: {cause}");
            return vec![Step::Say(said), self.over(Outcome::Code(1))];
        }
        match self.tracker.on_failure(worker.healthy, ran_for, random) {
            Decision::After(delay) => {
                let said = self.restarting(&cause, delay);
                self.enter(Phase::Waiting(now.saturating_add(delay)));
                let mut steps = vec![Step::Say(said)];
                steps.extend(self.tick(now));
                steps
            }
            Decision::GiveUp { .. } => {
                vec![Step::Say(self.given_up()), self.over(Outcome::Code(1))]
            }
        }
    }

    /// A signal came that asks the process to end. The first one stops the job in order, the next one ends it.
    #[must_use]
    pub fn signalled(&mut self, now: Duration, signal: i32) -> Vec<Step> {
        self.pass(now);
        let Some(stopping) = &mut self.stopping else {
            return self.stop(Some(signal));
        };
        let by_request = stopping.signal.is_none();
        stopping.signal.get_or_insert(signal);
        // Who was asked to stop by somebody else has not been told twice by this person.
        if by_request {
            return Vec::new();
        }
        stopping.at_once = true;
        let end_by = now.saturating_add(END_GRACE);
        match &mut self.phase {
            Phase::Working(worker) if worker.end_by.is_none() => {
                worker.end_by = Some(end_by);
                vec![Step::End]
            }
            Phase::Working(_) => vec![Step::Kill],
            Phase::Waiting(_) | Phase::Over => Vec::new(),
        }
    }

    /// A request came to stop the job, which may come as often as it likes.
    #[must_use]
    pub fn asked_to_stop(&mut self, now: Duration) -> Vec<Step> {
        self.pass(now);
        match self.stopping {
            Some(_) => Vec::new(),
            None => self.stop(None),
        }
    }

    /// Time has passed.
    #[must_use]
    pub fn tick(&mut self, now: Duration) -> Vec<Step> {
        self.pass(now);
        match &mut self.phase {
            Phase::Working(worker) => {
                let is_mute = worker.silent >= SILENCE_MAX && !worker.was_killed;
                worker.was_killed |= is_mute;
                let is_overdue = worker.end_by.is_some_and(|end_by| end_by <= now);
                if is_overdue {
                    // The next look is soon enough to do it again.
                    worker.end_by = Some(now.saturating_add(END_GRACE));
                }
                let kill = is_mute || is_overdue;
                kill.then_some(Step::Kill).into_iter().collect()
            }
            Phase::Waiting(until) if *until <= now => vec![self.start()],
            Phase::Waiting(_) | Phase::Over => Vec::new(),
        }
    }

    /// After how long [`Self::tick`] is to be called, unless something else happens before.
    pub fn next_look(&self, now: Duration) -> Duration {
        match &self.phase {
            Phase::Waiting(until) => until.saturating_sub(now).min(BETWEEN_LOOKS),
            Phase::Working(_) | Phase::Over => BETWEEN_LOOKS,
        }
    }

    /// How the job is, with the worker's process.
    pub fn status(&self, now: Duration, pid: Option<u32>) -> JobStatus {
        let (state, restart_in_ms) = match &self.phase {
            Phase::Over => (JobState::Ended, None),
            Phase::Waiting(until) => (JobState::Restarting, Some(ms(until.saturating_sub(now)))),
            Phase::Working(_) if self.stopping.is_some() => (JobState::Stopping, None),
            Phase::Working(worker) if worker.has_spoken => (JobState::Running, None),
            Phase::Working(_) => (JobState::Starting, None),
        };
        JobStatus {
            job: self.job.clone(),
            state,
            attempt: self.attempt,
            pid,
            for_ms: ms(now.saturating_sub(self.since)),
            restart_in_ms,
            last: self.last.as_ref().map(|(status, _)| status.clone()),
            last_age_ms: self
                .last
                .as_ref()
                .map(|(_, at)| ms(now.saturating_sub(*at))),
            failed: self.failed,
            failures: self.failures.iter().cloned().collect(),
        }
    }

    fn stop(&mut self, signal: Option<i32>) -> Vec<Step> {
        let at_once = false;
        self.stopping = Some(Stopping { signal, at_once });
        match &self.phase {
            Phase::Working(_) => vec![Step::Stop],
            Phase::Waiting(_) => {
                let (job, next) = (&self.job, self.attempt + 1);
                let said = format!("job `{job}` was stopped before its attempt {next}");
                vec![Step::Say(said), self.over(Outcome::Code(1))]
            }
            Phase::Over => Vec::new(),
        }
    }

    fn start(&mut self) -> Step {
        self.attempt = self.attempt.saturating_add(1);
        self.enter(Phase::Working(Working::default()));
        Step::Start {
            attempt: self.attempt,
            goes_on: self.has_begun,
        }
    }

    fn over(&mut self, outcome: Outcome) -> Step {
        self.enter(Phase::Over);
        Step::Over(outcome)
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.since = self.now;
    }

    /// Lets time pass, and with it the silence of the worker.
    fn pass(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.now).min(AWAKE_MAX);
        self.now = self.now.max(now);
        if let Phase::Working(worker) = &mut self.phase {
            worker.silent = worker.silent.saturating_add(passed);
        }
    }

    /// What is said of a failure that is not the last.
    fn restarting(&self, cause: &str, delay: Duration) -> String {
        let (job, next) = (&self.job, self.attempt + 1);
        let when = if delay.is_zero() {
            "at once".to_owned()
        } else {
            format!("in {}", seconds(delay))
        };
        let restarts = self.tracker.attempts();
        let most = match self.strategy.most() {
            Some(most) => format!(" of {most}"),
            None => String::new(),
        };
        format!(
            "job `{job}` failed: {cause}\nattempt {next} starts {when} (restart {restarts}{most} without a durable checkpoint)"
        )
    }

    /// What is said of the last failure.
    fn given_up(&self) -> String {
        let mut text = format!("FAILED: job `{}` is not started again", self.job);
        let shown = self.failures.len() as u64;
        if self.failed > shown {
            text.push_str(&format!("\n  {} earlier failures", self.failed - shown));
        }
        for failure in &self.failures {
            let Failure { attempt, cause, .. } = failure;
            let ran = seconds(Duration::from_millis(failure.ran_ms));
            text.push_str(&format!("\n  attempt {attempt}, after {ran}: {cause}"));
        }
        text
    }
}

fn cause(worker: &Working, end: &End) -> String {
    if worker.was_killed {
        let silence = seconds(SILENCE_MAX);
        return format!("no heartbeat for {silence}");
    }
    if let Some(cause) = &worker.cause {
        return cause.clone();
    }
    match end {
        End::Code(code) => format!("its process ended with exit code {code} and did not say why"),
        End::Signal(signal) => match signal_name(*signal) {
            Some(name) => format!("its process was ended by {name}"),
            None => format!("its process was ended by signal {signal}"),
        },
        End::NotStarted(why) => format!("its process could not be started: {why}"),
    }
}

/// A cause of bounded length, on one line.
fn one_line(cause: &str) -> String {
    let line = cause.split_whitespace().collect::<Vec<_>>().join(" ");
    shortened(&line, CAUSE_CHARS_MAX)
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A time as people say it, to a tenth of a second.
pub(crate) fn seconds(duration: Duration) -> String {
    let tenths = (duration.as_secs_f64() * 10.0).round() / 10.0;
    format!("{tenths} s")
}

#[cfg(test)]
#[expect(clippy::panic, reason = "tests")]
mod tests;
