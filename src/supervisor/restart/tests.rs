//! Is a failed job started again as often, and after as long, as was asked for?

use std::time::Duration;

use crate::supervisor::restart::{Decision, RestartStrategy, RestartTracker};

fn exponential(attempts: u32, jitter: f64, first_at_once: bool) -> RestartStrategy {
    RestartStrategy::ExponentialDelay {
        attempts,
        initial: Duration::from_secs(3),
        max: Duration::from_secs(30),
        multiplier: 2.0,
        jitter,
        reset_after: Duration::from_secs(600),
        first_at_once,
    }
}

/// One run after the other: whether it was healthy, for how many seconds it ran, and after how many seconds the
/// next one starts; none if there is no next one.
fn check(strategy: RestartStrategy, runs: &[(bool, u64, Option<f64>)]) {
    let mut tracker = RestartTracker::new(strategy);
    for (run, (healthy, ran_for, expected)) in runs.iter().enumerate() {
        let decision = tracker.on_failure(*healthy, Duration::from_secs(*ran_for), 0.5);
        let expected = match expected {
            Some(seconds) => Decision::After(Duration::from_secs_f64(*seconds)),
            None => Decision::GiveUp {
                attempts: tracker.attempts(),
            },
        };
        assert_eq!(decision, expected, "{strategy:?}, run {run}");
    }
}

#[test]
fn does_each_strategy_restart_as_it_says() {
    check(RestartStrategy::None, &[(true, 9000, None)]);
    let fixed = RestartStrategy::FixedDelay {
        attempts: 2,
        delay: Duration::from_secs(5),
    };
    let (wait, bad) = (Some(5.0), false);
    check(fixed, &[(bad, 1, wait), (bad, 1, wait), (bad, 1, None)]);
    check(
        exponential(0, 0.0, true),
        &[
            (false, 1, Some(3.0)),
            (false, 1, Some(6.0)),
            (false, 1, Some(12.0)),
            (false, 1, Some(24.0)),
            (false, 1, Some(30.0)),
            (false, 9000, Some(30.0)),
        ],
    );
}

#[test]
fn does_one_durable_checkpoint_give_all_attempts_again() {
    check(
        exponential(2, 0.0, true),
        &[
            (false, 1, Some(3.0)),
            (false, 1, Some(6.0)),
            // It came further: not a failure that comes back at once.
            (true, 1, Some(0.0)),
            (false, 1, Some(12.0)),
            (false, 1, None),
        ],
    );
}

#[test]
fn does_only_long_health_shorten_the_delay() {
    check(
        exponential(0, 0.0, false),
        &[
            (false, 1, Some(3.0)),
            (true, 599, Some(6.0)),
            (true, 599, Some(12.0)),
            (true, 600, Some(3.0)),
        ],
    );
    check(
        exponential(0, 0.0, true),
        &[
            (false, 1, Some(3.0)),
            (true, 600, Some(0.0)),
            (false, 1, Some(3.0)),
            (false, 1, Some(6.0)),
        ],
    );
}

#[test]
fn does_jitter_stay_within_its_part_and_under_the_longest() {
    let delay = |random: f64, jitter: f64, failures: u32| {
        let mut tracker = RestartTracker::new(exponential(0, jitter, false));
        for _ in 1..failures {
            tracker.on_failure(false, Duration::ZERO, 0.5);
        }
        match tracker.on_failure(false, Duration::ZERO, random) {
            Decision::After(delay) => delay.as_millis(),
            Decision::GiveUp { .. } => unreachable!("without end"),
        }
    };
    assert_eq!(delay(0.0, 0.1, 1), 2700);
    assert_eq!(delay(1.0, 0.1, 1), 3300);
    assert_eq!(delay(0.0, 0.5, 9), 15_000);
    assert_eq!(delay(1.0, 0.5, 9), 30_000);
    // A draw or a setting out of range is no way to wait for ever.
    assert_eq!(delay(7.0, 9.0, 1), 6000);
    assert_eq!(delay(f64::NAN, 0.1, 1), 30_000);
}
