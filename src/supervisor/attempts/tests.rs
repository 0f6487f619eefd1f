//! Does the supervisor do the right thing, whatever its worker does and whatever a person wants?

use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGKILL, SIGTERM};

use crate::supervisor::attempts::{
    Attempts, END_GRACE, End, FAILURES_MAX, Outcome, SILENCE_MAX, Step,
};
use crate::supervisor::protocol::{CAUSE_CHARS_MAX, Checkpoints, JobState, Report, Status};
use crate::supervisor::restart::RestartStrategy;

const SECOND: Duration = Duration::from_secs(1);

fn fixed(attempts: u32, seconds: u64) -> RestartStrategy {
    RestartStrategy::FixedDelay {
        attempts,
        delay: Duration::from_secs(seconds),
    }
}

/// The start of a worker that no other has begun the job for.
fn start(attempt: u32) -> Step {
    let goes_on = false;
    Step::Start { attempt, goes_on }
}

fn over(code: u8) -> Step {
    Step::Over(Outcome::Code(code))
}

/// A heartbeat of a run with so many durable checkpoints.
fn beat(completed: u64) -> Report {
    let checkpoints = Checkpoints {
        completed,
        ..Checkpoints::default()
    };
    Report::Status(Status {
        checkpoints,
        ..Status::default()
    })
}

/// A job whose time goes on by itself, second by second.
struct Scene {
    attempts: Attempts,
    now: Duration,
}

impl Scene {
    /// A job whose first worker has been started.
    fn new(strategy: RestartStrategy) -> Self {
        let (attempts, steps) = Attempts::begin("tides", strategy, SECOND);
        assert_eq!(steps, [start(1)]);
        Scene {
            attempts,
            now: SECOND,
        }
    }

    fn heard(&mut self, report: Report) {
        self.attempts.heard(self.now, report);
    }

    fn ended(&mut self, end: End) -> Vec<Step> {
        self.attempts.ended(self.now, 0, end, 0.5)
    }

    fn signalled(&mut self, signal: i32) -> Vec<Step> {
        self.attempts.signalled(self.now, signal)
    }

    /// All steps of so many seconds, each with the second in which it came.
    fn pass(&mut self, seconds: u64) -> Vec<(u64, Step)> {
        let mut steps = Vec::new();
        for second in 1..=seconds {
            self.now += SECOND;
            let now = self.attempts.tick(self.now);
            steps.extend(now.into_iter().map(|step| (second, step)));
        }
        steps
    }

    fn state(&self) -> JobState {
        self.attempts.status(self.now, None).state
    }

    /// The last failure's cause, which the first of these steps must say too.
    fn cause(&self, steps: &[Step]) -> String {
        let failures = self.attempts.status(self.now, None).failures;
        let cause = failures.last().map(|failure| failure.cause.clone());
        let cause = cause.unwrap_or_default();
        let Some(Step::Say(said)) = steps.first() else {
            panic!("nothing is said: {steps:?}")
        };
        assert!(said.contains(&cause), "{said}");
        cause
    }
}

#[test]
fn which_ends_are_followed_by_another_attempt() {
    let check = |end: End, expected: Option<u8>| {
        let mut scene = Scene::new(fixed(1, 3));
        let steps = scene.ended(end.clone());
        if let Some(code) = expected {
            assert_eq!(steps, [over(code)], "{end:?}");
            assert_eq!(scene.state(), JobState::Ended);
            return;
        }
        assert!(matches!(steps.as_slice(), [Step::Say(_)]), "{steps:?}");
        assert_eq!(scene.state(), JobState::Restarting);
        assert_eq!(scene.pass(3), [(3, start(2))], "{end:?}");
        // One more is one too many.
        let steps = scene.ended(end.clone());
        assert!(
            matches!(steps.as_slice(), [Step::Say(_), step] if *step == over(1)),
            "{steps:?}"
        );
    };
    for code in [0, 2, 3, 4] {
        check(End::Code(code), u8::try_from(code).ok());
    }
    for code in [1, 5, 101] {
        check(End::Code(code), None);
    }
    for signal in [SIGKILL, SIGTERM, 11] {
        check(End::Signal(signal), None);
    }
    check(End::NotStarted("no memory".into()), None);
}

#[test]
fn what_is_the_cause_of_a_failure() {
    let check = |reported: Option<&str>, end: End, expected: &str| {
        let mut scene = Scene::new(fixed(1, 3));
        if let Some(cause) = reported {
            scene.heard(Report::Failed(cause.into()));
        }
        let steps = scene.ended(end);
        assert_eq!(scene.cause(&steps), expected);
    };
    check(Some("disk\nfull"), End::Code(1), "disk full");
    check(Some("disk full"), End::Signal(SIGKILL), "disk full");
    check(
        None,
        End::Signal(SIGKILL),
        "its process was ended by SIGKILL",
    );
    check(None, End::Signal(42), "its process was ended by signal 42");
    let silent = "its process ended with exit code 101 and did not say why";
    check(None, End::Code(101), silent);
    let none = "its process could not be started: no memory";
    check(None, End::NotStarted("no memory".into()), none);
    let long = "\u{e9}".repeat(CAUSE_CHARS_MAX + 1);
    let cut = format!("{}...", "\u{e9}".repeat(CAUSE_CHARS_MAX));
    check(Some(&long), End::Code(1), &cut);
}

#[test]
fn what_is_said_of_failures() {
    let mut scene = Scene::new(fixed(2, 3));
    scene.pass(2);
    let fail = |scene: &mut Scene| {
        scene.heard(Report::Failed("disk full".into()));
        scene.ended(End::Code(1))
    };
    let again = |next: u32, restart: u32| {
        Step::Say(format!(
            "job `tides` failed: disk full\nattempt {next} starts in 3 s (restart {restart} of 2 without a durable checkpoint)"
        ))
    };
    assert_eq!(fail(&mut scene), [again(2, 1)]);
    scene.pass(3);
    assert_eq!(fail(&mut scene), [again(3, 2)]);
    scene.pass(4);
    // A checkpoint gives all restarts again.
    scene.heard(beat(1));
    assert_eq!(fail(&mut scene), [again(4, 1)]);
    scene.pass(3);
    assert_eq!(fail(&mut scene), [again(5, 2)]);
    scene.pass(3);
    let said = "FAILED: job `tides` is not started again\n  attempt 1, after 2 s: disk full\n  attempt 2, after 0 s: \
                disk full\n  attempt 3, after 1 s: disk full\n  attempt 4, after 0 s: disk full\n  attempt 5, after 0 s: \
                disk full";
    assert_eq!(fail(&mut scene), [Step::Say(said.into()), over(1)]);
}

#[test]
fn is_a_restart_at_once_at_once() {
    let mut scene = Scene::new(RestartStrategy::default());
    scene.heard(beat(1));
    let said = "job `tides` failed: its process was ended by SIGKILL\nattempt 2 starts at once (restart 1 of 3 without a durable checkpoint)";
    let expected = [Step::Say(said.into()), start(2)];
    assert_eq!(scene.ended(End::Signal(SIGKILL)), expected);
}

#[test]
fn is_what_is_done_once_at_the_beginning_done_once() {
    let mut scene = Scene::new(fixed(3, 0));
    let goes_on = |steps: Vec<Step>| match steps.last() {
        Some(Step::Start { goes_on, .. }) => *goes_on,
        other => panic!("{other:?}"),
    };
    // A worker that ended before it had begun has done nothing.
    scene.heard(beat(0));
    assert!(!goes_on(scene.ended(End::Code(1))));
    scene.heard(Report::Begun);
    assert!(goes_on(scene.ended(End::Code(1))));
    assert!(goes_on(scene.ended(End::Code(1))));
}

#[test]
fn is_a_silent_worker_ended_and_one_that_speaks_not() {
    let mut scene = Scene::new(fixed(1, 3));
    let silence = SILENCE_MAX.as_secs();
    assert_eq!(scene.state(), JobState::Starting);
    for _ in 0..3 {
        assert_eq!(scene.pass(silence - 1), []);
        scene.heard(beat(0));
        assert_eq!(scene.state(), JobState::Running);
    }
    assert_eq!(scene.pass(silence + 5), [(silence, Step::Kill)]);
    let steps = scene.ended(End::Signal(SIGKILL));
    assert_eq!(scene.cause(&steps), "no heartbeat for 30 s");
    // The next one has all its time.
    assert_eq!(scene.pass(3), [(3, start(2))]);
    assert_eq!(scene.pass(silence + 5), [(silence, Step::Kill)]);
}

#[test]
fn is_a_worker_not_blamed_for_the_sleep_of_its_supervisor() {
    let mut scene = Scene::new(fixed(1, 3));
    scene.now += SILENCE_MAX * 10;
    assert_eq!(scene.attempts.tick(scene.now), []);
    assert_eq!(scene.pass(SILENCE_MAX.as_secs() - 3), []);
}

#[test]
fn does_a_first_signal_stop_the_job_and_a_second_end_it() {
    let mut scene = Scene::new(fixed(1, 3));
    scene.heard(beat(1));
    assert_eq!(scene.signalled(SIGINT), [Step::Stop]);
    assert_eq!(scene.state(), JobState::Stopping);
    assert_eq!(scene.signalled(SIGTERM), [Step::End]);
    // What does not help is helped.
    let grace = END_GRACE.as_secs();
    assert_eq!(scene.pass(grace), [(grace, Step::Kill)]);
    assert_eq!(scene.signalled(SIGINT), [Step::Kill]);
    let steps = scene.ended(End::Signal(SIGKILL));
    assert_eq!(steps, [Step::Over(Outcome::Signal(SIGINT))]);
}

#[test]
fn how_does_a_job_end_that_was_to_stop() {
    let check = |signal: Option<i32>, end: End, expected: Step| {
        let mut scene = Scene::new(fixed(1, 3));
        let steps = match signal {
            Some(signal) => scene.signalled(signal),
            None => scene.attempts.asked_to_stop(scene.now),
        };
        assert_eq!(steps, [Step::Stop]);
        let steps = scene.ended(end.clone());
        assert_eq!(steps.last(), Some(&expected), "{end:?}");
        assert_eq!(scene.pass(100), []);
    };
    for signal in [None, Some(SIGINT)] {
        check(signal, End::Code(0), over(0));
        check(signal, End::Code(3), over(3));
        // A person wants it to stop: no restart.
        check(signal, End::Code(1), over(1));
        check(signal, End::Signal(SIGKILL), over(1));
    }
    // Nothing had begun that would have to be finished.
    check(None, End::Signal(SIGTERM), over(0));
    let by_signal = Step::Over(Outcome::Signal(SIGINT));
    check(Some(SIGINT), End::Signal(SIGTERM), by_signal);
}

#[test]
fn is_being_asked_to_stop_twice_the_same_as_once() {
    let mut scene = Scene::new(fixed(1, 3));
    assert_eq!(scene.attempts.asked_to_stop(scene.now), [Step::Stop]);
    assert_eq!(scene.attempts.asked_to_stop(scene.now), []);
    // Nor does a person at the terminal know of it.
    assert_eq!(scene.signalled(SIGINT), []);
    assert_eq!(scene.signalled(SIGINT), [Step::End]);
}

#[test]
fn is_there_no_further_attempt_after_a_stop() {
    let mut scene = Scene::new(fixed(1, 30));
    scene.ended(End::Code(1));
    let said = "job `tides` was stopped before its attempt 2";
    assert_eq!(scene.signalled(SIGTERM), [Step::Say(said.into()), over(1)]);
    assert_eq!(scene.pass(100), []);
}

#[test]
fn is_the_history_of_failures_bounded() {
    let mut scene = Scene::new(fixed(0, 0));
    let failures = FAILURES_MAX as u64 + 5;
    for _ in 0..failures {
        scene.heard(Report::Failed("x".into()));
        scene.ended(End::Code(1));
    }
    let status = scene.attempts.status(scene.now, Some(7));
    assert_eq!(
        (status.failed, status.failures.len()),
        (failures, FAILURES_MAX)
    );
    let attempts = |failure: Option<&crate::supervisor::protocol::Failure>| {
        failure.map(|failure| u64::from(failure.attempt))
    };
    assert_eq!(attempts(status.failures.first()), Some(6));
    assert_eq!(attempts(status.failures.last()), Some(failures));
    assert_eq!((status.pid, status.attempt), (Some(7), 106));
}
