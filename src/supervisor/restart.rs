//! Whether a failed job is started again, and after how long.
//!
//! A failure that comes back at once must not keep a machine and a broker busy for ever; one that goes away must not
//! cost more than the restart itself. What tells them apart is progress: a run that had a durable checkpoint is
//! *healthy*, and attempts are counted since the last such run.

use std::time::Duration;

/// What to do when a job has failed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RestartStrategy {
    /// It stays failed.
    None,
    /// It is started again, each time after the same delay.
    FixedDelay {
        /// Restarts in a row without a healthy run; 0 is without end.
        attempts: u32,
        /// Before each.
        delay: Duration,
    },
    /// It is started again after delays that grow.
    ExponentialDelay {
        /// Restarts in a row without a healthy run; 0 is without end.
        attempts: u32,
        /// The first delay.
        initial: Duration,
        /// The longest delay, jitter included.
        max: Duration,
        /// By how much each delay is longer than the one before; below 1 counts as 1.
        multiplier: f64,
        /// By which part of itself a delay is made longer or shorter at random, from 0 to 1.
        jitter: f64,
        /// After a healthy run of this length the first delay is next again.
        reset_after: Duration,
        /// The first restart after a healthy run does not wait, and leaves the delays as they are.
        first_at_once: bool,
    },
}

impl Default for RestartStrategy {
    fn default() -> Self {
        RestartStrategy::ExponentialDelay {
            attempts: 3,
            initial: Duration::from_secs(3),
            max: Duration::from_secs(30),
            multiplier: 2.0,
            jitter: 0.1,
            reset_after: Duration::from_secs(600),
            first_at_once: true,
        }
    }
}

impl RestartStrategy {
    /// How many restarts in a row it allows; none if that is without end.
    pub fn most(&self) -> Option<u32> {
        match *self {
            RestartStrategy::None => Some(0),
            RestartStrategy::FixedDelay { attempts, .. }
            | RestartStrategy::ExponentialDelay { attempts, .. } => {
                (attempts > 0).then_some(attempts)
            }
        }
    }
}

/// What is done about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The job is started again after this time.
    After(Duration),
    /// It stays failed.
    GiveUp {
        /// Restarts since the last healthy run.
        attempts: u32,
    },
}

/// Follows the failures of a job.
#[derive(Clone, Debug)]
pub struct RestartTracker {
    strategy: RestartStrategy,
    /// Restarts since the last healthy run.
    attempts: u32,
    /// The last delay that grew; none when the first one is next.
    delay: Option<Duration>,
}

impl RestartTracker {
    /// No failure so far.
    pub fn new(strategy: RestartStrategy) -> Self {
        RestartTracker {
            strategy,
            attempts: 0,
            delay: None,
        }
    }

    /// Restarts since the last healthy run.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// A run has failed after `ran_for`; it was `healthy` if it had at least one durable checkpoint. `random` is
    /// drawn from 0 up to 1.
    pub fn on_failure(&mut self, healthy: bool, ran_for: Duration, random: f64) -> Decision {
        if healthy {
            self.attempts = 0;
        }
        if self
            .strategy
            .most()
            .is_some_and(|most| self.attempts >= most)
        {
            let attempts = self.attempts;
            return Decision::GiveUp { attempts };
        }
        self.attempts = self.attempts.saturating_add(1);
        Decision::After(self.next_delay(healthy, ran_for, random))
    }

    fn next_delay(&mut self, healthy: bool, ran_for: Duration, random: f64) -> Duration {
        match self.strategy {
            RestartStrategy::None => Duration::ZERO,
            RestartStrategy::FixedDelay { delay, .. } => delay,
            RestartStrategy::ExponentialDelay {
                initial,
                max,
                multiplier,
                jitter,
                reset_after,
                first_at_once,
                ..
            } => {
                if healthy && ran_for >= reset_after {
                    self.delay = None;
                }
                if healthy && first_at_once {
                    return Duration::ZERO;
                }
                let delay = match self.delay {
                    None => initial.min(max),
                    Some(last) => scaled(last, multiplier.max(1.0), max),
                };
                self.delay = Some(delay);
                let swing = jitter.clamp(0.0, 1.0) * (2.0 * random.clamp(0.0, 1.0) - 1.0);
                scaled(delay, 1.0 + swing, max)
            }
        }
    }
}

/// `delay` times `factor`, at most `max`; also when the factor is no number.
fn scaled(delay: Duration, factor: f64, max: Duration) -> Duration {
    let seconds = delay.as_secs_f64() * factor;
    Duration::try_from_secs_f64(seconds).map_or(max, |delay| delay.min(max))
}

#[cfg(test)]
mod tests;
