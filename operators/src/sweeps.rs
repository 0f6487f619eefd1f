//! When keyed state is looked through for what no event can see any more.

use slackwater_dataflow::moment::EventTime;

/// Sweeps go through all keys this many times while event time advances by the time that something is seen: a key's memory
/// is given back at most this share of that time after its last entry expired.
const SWEEPS_PER_REACH: u64 = 8;
/// Keys that one sweep looks at, at most. Most are not in the processor's caches: it is about a
/// millisecond, after which events have their turn, however far event time has leapt.
const PLACES_PER_SWEEP_MAX: u64 = 8_192;

/// How far event time has been used up for sweeps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sweeps {
    swept_to: EventTime,
}

impl Default for Sweeps {
    fn default() -> Self {
        Sweeps {
            swept_to: EventTime::MIN,
        }
    }
}

impl Sweeps {
    /// How many of so many places are due, if any, now that the watermark has risen. What is kept is seen for `reach_ms`.
    pub(crate) fn due(
        &mut self,
        watermark: EventTime,
        reach_ms: u64,
        places: usize,
    ) -> Option<usize> {
        if watermark == EventTime::MAX {
            // The input has ended; nothing is left to save memory for.
            return None;
        }
        let round_ms = (reach_ms / SWEEPS_PER_REACH).max(1);
        // A round has looked at every key: to make up for more than one is of no use.
        self.swept_to = self.swept_to.max(watermark.minus_ms(round_ms));
        let passed_ms = watermark.ms_after(self.swept_to);
        let places = places as u64;
        let due = places.saturating_mul(passed_ms) / round_ms;
        let due = due.min(places).min(PLACES_PER_SWEEP_MAX);
        if due == 0 {
            return None;
        }
        // Only the time that these places stand for is used up; the rest counts next time.
        let used_ms = due.saturating_mul(round_ms) / places;
        self.swept_to = self.swept_to.plus_ms(used_ms);
        Some(due as usize)
    }
}
