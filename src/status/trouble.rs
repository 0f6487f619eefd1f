//! What went wrong of late, and is still worth saying.

use std::time::Duration;

use slackwater_dataflow::meters::Trouble;

/// How long something that went wrong is shown. What lasts is tried again far more often, and so is seen for as long as
/// it lasts; what has passed is gone soon.
const RECENT: Duration = Duration::from_secs(5);

/// Follows what goes wrong.
#[derive(Debug, Default)]
pub(super) struct Recent {
    /// How often something had gone wrong at the last look, and when that became more.
    last: Option<(u64, Duration)>,
}

impl Recent {
    /// What there is to say at a look at `elapsed`, when this was the last trouble.
    pub(super) fn at(&mut self, elapsed: Duration, trouble: Option<Trouble>) -> Option<String> {
        let Trouble { times, what } = trouble?;
        let since = match self.last {
            Some((before, since)) if before == times => since,
            _ => elapsed,
        };
        self.last = Some((times, since));
        (elapsed.saturating_sub(since) < RECENT).then_some(what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_is_trouble_shown() {
        let mut recent = Recent::default();
        let mut check = |ms: u64, times: u64, expected: bool| {
            let what = format!("trouble {times}");
            let trouble = (times > 0).then(|| Trouble {
                times,
                what: what.clone(),
            });
            let found = recent.at(Duration::from_millis(ms), trouble);
            assert_eq!(found, expected.then_some(what), "after {ms} ms");
        };
        check(0, 0, false);
        check(10, 1, true);
        check(5_009, 1, true);
        check(5_010, 1, false);
        check(9_000, 1, false);
        // The same once more.
        check(9_001, 2, true);
        check(10_000, 40, true);
        check(14_999, 40, true);
        check(15_000, 40, false);
    }
}
