//! When a store is not asked at all: a plain state machine.
//!
//! After some failures in a row it *opens*, and for a while all questions are answered without asking: a store that is away
//! costs events no time, and one that is overloaded gets some. Then a *probe* is due, which is no event's question. If it
//! succeeds the breaker closes, else it stays open for as long again.

use std::time::Duration;

/// When a breaker opens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerSettings {
    /// Failures in a row; at least 1.
    pub failures: u32,
    /// How long before each probe.
    pub open: Duration,
}

/// A breaker. Times are monotonic readings of one clock.
#[derive(Debug)]
pub struct Breaker {
    settings: BreakerSettings,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The store is asked; it has failed so often in a row.
    Closed { failures: u32 },
    /// It is not, before this time.
    Open { probe_at: Duration },
    /// A probe is under way.
    Probing,
}

impl Breaker {
    /// One that is closed.
    pub fn new(settings: BreakerSettings) -> Self {
        Breaker {
            settings,
            state: State::Closed { failures: 0 },
        }
    }

    /// Whether the store is to be asked.
    pub fn allows(&self) -> bool {
        matches!(self.state, State::Closed { .. })
    }

    /// A question was answered.
    pub fn succeeded(&mut self) {
        // One that was asked before it opened says nothing of now.
        if self.allows() {
            self.state = State::Closed { failures: 0 };
        }
    }

    /// A question was not; whether it has opened for that.
    pub fn failed(&mut self, now: Duration) -> bool {
        let State::Closed { failures } = self.state else {
            return false;
        };
        let failures = failures.saturating_add(1);
        self.state = State::Closed { failures };
        let opens = failures >= self.settings.failures;
        if opens {
            self.open(now);
        }
        opens
    }

    /// When the next probe is due; none while it is closed, or while one is under way.
    pub fn probe_at(&self) -> Option<Duration> {
        match self.state {
            State::Open { probe_at } => Some(probe_at),
            State::Closed { .. } | State::Probing => None,
        }
    }

    /// Begins the probe if it is due; whether it is.
    pub fn begin_probe(&mut self, now: Duration) -> bool {
        let is_due = self.probe_at().is_some_and(|at| at <= now);
        if is_due {
            self.state = State::Probing;
        }
        is_due
    }

    /// How the probe has ended.
    pub fn probed(&mut self, now: Duration, succeeded: bool) {
        match (self.state, succeeded) {
            (State::Probing, true) => self.state = State::Closed { failures: 0 },
            (State::Probing, false) => self.open(now),
            (State::Closed { .. } | State::Open { .. }, _) => {}
        }
    }

    fn open(&mut self, now: Duration) {
        let probe_at = now.saturating_add(self.settings.open);
        self.state = State::Open { probe_at };
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::{Breaker, BreakerSettings};

    const OPEN: Duration = Duration::from_millis(10);

    fn breaker(failures: u32) -> Breaker {
        Breaker::new(BreakerSettings {
            failures,
            open: OPEN,
        })
    }

    #[derive(Clone, Copy, Debug)]
    enum Act {
        Succeeded,
        Failed,
        Probe(bool),
        Wait(u64),
    }

    fn acts() -> impl Strategy<Value = Vec<Act>> {
        let act = prop_oneof![
            1 => Just(Act::Succeeded),
            3 => Just(Act::Failed),
            1 => any::<bool>().prop_map(Act::Probe),
            1 => (0..15u64).prop_map(Act::Wait),
        ];
        prop::collection::vec(act, 0..60)
    }

    proptest! {
        /// What the breaker says follows from all that has happened, looked at from its beginning.
        #[test]
        fn is_a_breaker_what_its_history_says(acts in acts(), most in 1..4u32) {
            let mut breaker = breaker(most);
            let (mut now, mut in_a_row, mut opened_at) = (Duration::ZERO, 0, None);
            for act in acts {
                match act {
                    Act::Wait(ms) => now += Duration::from_millis(ms),
                    Act::Succeeded => {
                        breaker.succeeded();
                        in_a_row = 0;
                    }
                    Act::Failed => {
                        in_a_row += 1;
                        let opens = opened_at.is_none() && in_a_row >= most;
                        prop_assert_eq!(breaker.failed(now), opens);
                        opened_at = opened_at.or(opens.then_some(now));
                    }
                    Act::Probe(succeeds) => {
                        let is_due = opened_at.is_some_and(|at| now >= at + OPEN);
                        prop_assert_eq!(breaker.begin_probe(now), is_due);
                        if is_due {
                            prop_assert!(!breaker.allows());
                            breaker.probed(now, succeeds);
                            opened_at = (!succeeds).then_some(now);
                            in_a_row = 0;
                        }
                    }
                }
                prop_assert_eq!(breaker.allows(), opened_at.is_none());
                prop_assert_eq!(breaker.probe_at(), opened_at.map(|at| at + OPEN));
            }
        }
    }

    #[test]
    fn is_there_one_probe_at_a_time() {
        let mut breaker = breaker(1);
        assert!(breaker.failed(Duration::ZERO));
        assert!(!breaker.begin_probe(OPEN - Duration::from_millis(1)));
        assert!(breaker.begin_probe(OPEN));
        assert!(!breaker.begin_probe(OPEN), "one is under way");
        // What was asked before it opened says nothing.
        breaker.succeeded();
        assert!(!breaker.failed(OPEN));
        assert!(!breaker.allows());
        breaker.probed(OPEN, true);
        assert!(breaker.allows());
        breaker.probed(OPEN, false);
        assert!(breaker.allows(), "no probe was under way");
    }
}
