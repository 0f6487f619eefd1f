//! Event time of one partition: its watermark, and what is late or too far ahead of it.
//!
//! Both are decided by what this partition has brought so far and by nothing else: not by the wall clock,
//! other partitions, or how the records happened to be polled. So which events are late is a function of
//! the partition's content alone.

use slackwater_dataflow::moment::EventTime;

use crate::reject::Lateness;

/// The rules of event time, from the pipeline file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeRules {
    /// How far the watermark stays behind the highest event time seen.
    pub max_out_of_orderness_ms: u64,
    /// How far an event may lie beyond the highest event time seen; `None` if it may lie anywhere.
    pub max_ahead_ms: Option<u64>,
}

/// What event time says about an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on; the watermark may have moved.
    OnTime,
    /// A timestamp that cannot be believed. It moves nothing.
    TooFarAhead {
        /// How far beyond the highest event time seen.
        ahead_ms: u64,
        /// How far is allowed.
        max_ahead_ms: u64,
    },
    /// Older than the watermark.
    Late(Lateness),
}

/// The highest event time that a partition has brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartitionClock {
    highest: Option<EventTime>,
}

impl PartitionClock {
    /// The clock of a partition that has brought this and nothing later.
    pub fn at(highest: EventTime) -> Self {
        PartitionClock {
            highest: Some(highest),
        }
    }

    /// The highest event time that counted; none if none did.
    pub fn highest(&self) -> Option<EventTime> {
        self.highest
    }

    /// No on-time event of this partition is older than this.
    pub fn watermark(&self, rules: &TimeRules) -> EventTime {
        self.highest.map_or(EventTime::MIN, |time| {
            time.minus_ms(rules.max_out_of_orderness_ms)
        })
    }

    /// Judges an event that passed all checks, and lets it move the clock if it is believed. The first
    /// event of a partition has nothing to be compared with.
    pub fn judge(&mut self, time: EventTime, rules: &TimeRules) -> Verdict {
        let Some(highest) = self.highest else {
            self.highest = Some(time);
            return Verdict::OnTime;
        };
        let ahead_ms = time.ms_after(highest);
        if let Some(max_ahead_ms) = rules.max_ahead_ms.filter(|&most| ahead_ms > most) {
            return Verdict::TooFarAhead {
                ahead_ms,
                max_ahead_ms,
            };
        }
        let watermark = self.watermark(rules);
        if time < watermark {
            return Verdict::Late(Lateness {
                watermark,
                lateness_ms: watermark.ms_after(time),
            });
        }
        self.highest = Some(highest.max(time));
        Verdict::OnTime
    }
}

#[cfg(test)]
mod tests {
    use slackwater_dataflow::moment::EventTime;

    use crate::ingest::partition::{PartitionClock, TimeRules, Verdict};
    use crate::reject::Lateness;

    #[test]
    fn judges_by_what_the_partition_has_brought() {
        let rules = TimeRules {
            max_out_of_orderness_ms: 2_000,
            max_ahead_ms: Some(3_600_000),
        };
        let mut clock = PartitionClock::default();
        let mut check = |time: i64, verdict: Verdict, watermark: i64| {
            assert_eq!(
                clock.judge(EventTime(time), &rules),
                verdict,
                "event of {time}"
            );
            assert_eq!(
                clock.watermark(&rules),
                EventTime(watermark),
                "after {time}"
            );
        };
        let late = |watermark, lateness_ms| {
            Verdict::Late(Lateness {
                watermark: EventTime(watermark),
                lateness_ms,
            })
        };
        let ahead = |ahead_ms| Verdict::TooFarAhead {
            ahead_ms,
            max_ahead_ms: 3_600_000,
        };
        check(10_000, Verdict::OnTime, 8_000);
        check(8_000, Verdict::OnTime, 8_000);
        check(7_999, late(8_000, 1), 8_000);
        check(10_000 + 3_600_001, ahead(3_600_001), 8_000);
        check(10_000 + 3_600_000, Verdict::OnTime, 3_608_000);
        check(10_000, late(3_608_000, 3_598_000), 3_608_000);
        check(i64::MIN, late(3_608_000, 3_608_000 + (1 << 63)), 3_608_000);
        check(i64::MAX, ahead(i64::MAX as u64 - 3_610_000), 3_608_000);
    }

    #[test]
    fn without_max_ahead_any_gap_is_believed() {
        let rules = TimeRules {
            max_out_of_orderness_ms: 0,
            max_ahead_ms: None,
        };
        let mut clock = PartitionClock::default();
        assert_eq!(clock.watermark(&rules), EventTime::MIN);
        assert_eq!(clock.judge(EventTime(0), &rules), Verdict::OnTime);
        assert_eq!(clock.judge(EventTime(i64::MAX), &rules), Verdict::OnTime);
        assert_eq!(clock.watermark(&rules), EventTime::MAX);
    }
}
