//! How fast events are read now, and not only on the average of a run that may last for days.

use std::collections::VecDeque;
use std::time::Duration;

/// How far back "now" reaches: long enough that the number does not tremble, short enough that it shows
/// when something has stopped.
const RECENT: Duration = Duration::from_secs(2);

/// Looks of late, with how many events had been read by then.
#[derive(Debug)]
pub(super) struct Rate {
    /// In order; the first one is the last that is [`RECENT`] old or older, or the beginning.
    looks: VecDeque<(Duration, u64)>,
}

impl Default for Rate {
    fn default() -> Self {
        Rate {
            looks: VecDeque::from([(Duration::ZERO, 0)]),
        }
    }
}

impl Rate {
    /// Events a second up to a look at `elapsed`, when `read` events had been read.
    pub(super) fn at(&mut self, elapsed: Duration, read: u64) -> u64 {
        self.looks.push_back((elapsed, read));
        // Two looks are left at least: the one before is older than what is kept, or is all there is.
        while self.looks.len() > 2
            && let Some((second, _)) = self.looks.get(1)
            && elapsed.saturating_sub(*second) >= RECENT
        {
            self.looks.pop_front();
        }
        let Some(&(since, before)) = self.looks.front() else {
            return 0;
        };
        let seconds = elapsed.saturating_sub(since).as_secs_f64();
        let events = read.saturating_sub(before) as f64;
        // The first look may come at the very beginning.
        if seconds > 0.0 {
            (events / seconds) as u64
        } else {
            0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_fast_is_it_now() {
        let mut rate = Rate::default();
        let mut check = |ms: u64, read: u64, expected: u64| {
            let found = rate.at(Duration::from_millis(ms), read);
            assert_eq!(found, expected, "after {ms} ms");
        };
        check(0, 0, 0);
        check(500, 500, 1_000);
        check(1_000, 2_000, 2_000);
        check(2_500, 2_000, 750);
        // Two seconds of silence are enough to be silent.
        check(3_000, 2_000, 0);
        check(10_000, 9_000, 1_000);
        check(20_000, 19_000, 1_000);
    }

    #[test]
    fn are_few_looks_kept_however_long_it_runs() {
        let mut rate = Rate::default();
        for look in 0..10_000 {
            rate.at(Duration::from_millis(150 * look), 3 * look);
        }
        assert!(rate.looks.len() < 20, "{}", rate.looks.len());
    }
}
