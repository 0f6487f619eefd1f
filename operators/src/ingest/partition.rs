//! Event time of one partition: its watermark, and what is late or too far ahead of it.
//!
//! Both are decided by what this partition has brought so far and by nothing else: not by the wall clock,
//! other partitions, or how the records happened to be polled. So which events are late is a function of
//! the partition's content alone; and, where it had been idle or was found while the job ran, of the floor that it was
//! raised to, which is on record.

use slackwater_dataflow::idleness::RaisedFrom;
use slackwater_dataflow::ingest::FloorEffect;
use slackwater_dataflow::moment::EventTime;
use slackwater_dataflow::place::Offset;
use slackwater_dataflow::source::RecordTime;

use crate::reject::Lateness;

/// The rules of event time, from the pipeline file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeRules {
    /// How far the watermark stays behind the highest event time seen.
    pub max_out_of_orderness_ms: u64,
    /// How far an event may lie ahead of what is believed; `None` if it may lie anywhere.
    pub max_ahead_ms: Option<u64>,
}

/// What event time says about an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on; the watermark may have moved.
    OnTime {
        /// When it counts as having happened.
        order_time: EventTime,
    },
    /// A timestamp that cannot be believed. It moves nothing.
    TooFarAhead {
        /// How far ahead of what is believed.
        ahead_ms: u64,
        /// How far is allowed.
        max_ahead_ms: u64,
    },
    /// Older than the watermark.
    Late {
        /// How late.
        lateness: Lateness,
        /// When it counts as having happened if it is handled all the same.
        order_time: EventTime,
        /// Whether it is older than what the job had reached when it found this partition.
        before_found: bool,
    },
}

/// What a partition was raised to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Raised {
    from: RaisedFrom,
    effect: FloorEffect,
    /// Whether an event lay below the floor while the own watermark did.
    had_effect: bool,
    /// Whether it was told that it had none.
    is_told: bool,
}

/// The highest event time that a partition has brought, and what it was raised to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartitionClock {
    highest: Option<EventTime>,
    raised: Option<Raised>,
}

impl PartitionClock {
    /// The clock of a partition that has brought this and nothing later.
    pub fn at(highest: EventTime) -> Self {
        PartitionClock {
            highest: Some(highest),
            raised: None,
        }
    }

    /// From the next event on a floor counts as well.
    pub fn raise(&mut self, from: RaisedFrom, effect: FloorEffect) {
        self.raised = Some(Raised {
            from,
            effect,
            had_effect: false,
            is_told: false,
        });
    }

    /// The offset of a raise that is over and has changed nothing; once.
    pub fn passed(&mut self, rules: &TimeRules) -> Option<Offset> {
        let own = self.own(rules);
        let raised = self.raised.as_mut()?;
        let has_passed = raised.from.floor <= own && !raised.had_effect && !raised.is_told;
        raised.is_told |= has_passed;
        has_passed.then_some(raised.from.offset)
    }

    /// The highest event time that counted; none if none did.
    pub fn highest(&self) -> Option<EventTime> {
        self.highest
    }

    /// No on-time event of this partition is older than this.
    pub fn watermark(&self, rules: &TimeRules) -> EventTime {
        let judges = |it: &Raised| it.effect == FloorEffect::Judges;
        let floor = self.raised.filter(judges).map(|it| it.from.floor);
        self.own(rules).max(floor.unwrap_or(EventTime::MIN))
    }

    /// The watermark by what the partition has brought.
    fn own(&self, rules: &TimeRules) -> EventTime {
        self.highest.map_or(EventTime::MIN, |time| {
            time.minus_ms(rules.max_out_of_orderness_ms)
        })
    }

    /// Judges an event that passed all checks, and lets it move the clock if it is believed.
    ///
    /// Whoever keeps the record has a clock that is believed. Its maker's is not, but for the first event of a partition,
    /// which has nothing else to be compared with; after that the highest event time is, as it is where a record says
    /// nothing. There the first event may lie anywhere.
    pub fn judge(
        &mut self,
        time: EventTime,
        written: Option<RecordTime>,
        rules: &TimeRules,
    ) -> Verdict {
        let believed = match written {
            Some(RecordTime::Appended(ms)) => Some(EventTime(ms)),
            Some(RecordTime::Created(ms)) => self.highest.or(Some(EventTime(ms))),
            None => self.highest,
        };
        let ahead_ms = believed.map_or(0, |believed| time.ms_after(believed));
        if let Some(max_ahead_ms) = rules.max_ahead_ms.filter(|&most| ahead_ms > most) {
            return Verdict::TooFarAhead {
                ahead_ms,
                max_ahead_ms,
            };
        }
        let (own, watermark) = (self.own(rules), self.watermark(rules));
        let mut order_time = time.max(watermark);
        let mut before_found = false;
        if let Some(raised) = self.raised.as_mut().filter(|it| own < it.from.floor) {
            order_time = order_time.max(raised.from.floor);
            raised.had_effect |= time < raised.from.floor;
            before_found = raised.from.found && raised.effect == FloorEffect::Judges;
        }
        if time < watermark {
            let lateness_ms = watermark.ms_after(time);
            return Verdict::Late {
                lateness: Lateness {
                    watermark,
                    lateness_ms,
                },
                order_time,
                before_found,
            };
        }
        self.highest = self.highest.max(Some(time));
        Verdict::OnTime { order_time }
    }
}

#[cfg(test)]
mod tests {
    use slackwater_dataflow::idleness::RaisedFrom;
    use slackwater_dataflow::ingest::FloorEffect;
    use slackwater_dataflow::moment::EventTime;
    use slackwater_dataflow::place::Offset;
    use slackwater_dataflow::source::RecordTime;

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
                clock.judge(EventTime(time), None, &rules),
                verdict,
                "event of {time}"
            );
            assert_eq!(
                clock.watermark(&rules),
                EventTime(watermark),
                "after {time}"
            );
        };
        let late = |watermark, lateness_ms| Verdict::Late {
            lateness: Lateness {
                watermark: EventTime(watermark),
                lateness_ms,
            },
            order_time: EventTime(watermark),
            before_found: false,
        };
        let ahead = |ahead_ms| Verdict::TooFarAhead {
            ahead_ms,
            max_ahead_ms: 3_600_000,
        };
        check(10_000, on_time(10_000), 8_000);
        check(8_000, on_time(8_000), 8_000);
        check(7_999, late(8_000, 1), 8_000);
        check(10_000 + 3_600_001, ahead(3_600_001), 8_000);
        check(10_000 + 3_600_000, on_time(10_000 + 3_600_000), 3_608_000);
        check(10_000, late(3_608_000, 3_598_000), 3_608_000);
        check(i64::MIN, late(3_608_000, 3_608_000 + (1 << 63)), 3_608_000);
        check(i64::MAX, ahead(i64::MAX as u64 - 3_610_000), 3_608_000);
    }

    #[test]
    fn what_an_event_is_compared_with_depends_on_who_says_when_it_was_written() {
        let rules = TimeRules {
            max_out_of_orderness_ms: 0,
            max_ahead_ms: Some(10),
        };
        let check = |highest: Option<i64>, written: Option<RecordTime>, believed: Option<i64>| {
            let clock = highest.map_or_else(PartitionClock::default, |it| {
                PartitionClock::at(EventTime(it))
            });
            let ahead = |time: i64| {
                let judged = clock.clone().judge(EventTime(time), written, &rules);
                matches!(judged, Verdict::TooFarAhead { .. })
            };
            match believed {
                Some(time) => assert!(!ahead(time + 10) && ahead(time + 11), "{written:?}"),
                None => assert!(!ahead(i64::MAX), "{written:?}"),
            }
        };
        for highest in [None, Some(500)] {
            check(highest, None, highest);
            check(highest, Some(RecordTime::Appended(900)), Some(900));
            let created = highest.or(Some(900));
            check(highest, Some(RecordTime::Created(900)), created);
        }
    }

    #[test]
    fn without_max_ahead_any_gap_is_believed() {
        let rules = TimeRules {
            max_out_of_orderness_ms: 0,
            max_ahead_ms: None,
        };
        let mut clock = PartitionClock::default();
        assert_eq!(clock.watermark(&rules), EventTime::MIN);
        for order_time in [EventTime(0), EventTime::MAX] {
            let judged = clock.judge(order_time, None, &rules);
            assert_eq!(judged, Verdict::OnTime { order_time });
        }
        assert_eq!(clock.watermark(&rules), EventTime::MAX);
    }

    /// A partition whose own watermark is behind the floor that it is raised to.
    fn raised(effect: FloorEffect, found: bool) -> (PartitionClock, TimeRules) {
        let rules = TimeRules {
            max_out_of_orderness_ms: 10,
            max_ahead_ms: None,
        };
        let mut clock = PartitionClock::at(EventTime(60));
        let from = RaisedFrom {
            offset: Offset(7),
            floor: EventTime(100),
            found,
        };
        clock.raise(from, effect);
        (clock, rules)
    }

    #[test]
    fn is_an_event_below_the_floor_late_or_handled_as_if_it_were_at_it() {
        for found in [false, true] {
            let (mut clock, rules) = raised(FloorEffect::Judges, found);
            assert_eq!(clock.watermark(&rules), EventTime(100));
            let late = Verdict::Late {
                lateness: Lateness {
                    watermark: EventTime(100),
                    lateness_ms: 1,
                },
                order_time: EventTime(100),
                before_found: found,
            };
            assert_eq!(clock.judge(EventTime(99), None, &rules), late);
            assert_eq!(clock.highest(), Some(EventTime(60)));
            assert_eq!(clock.judge(EventTime(100), None, &rules), on_time(100));
            assert_eq!(clock.judge(EventTime(111), None, &rules), on_time(111));
            // From here on its own watermark is all that counts.
            let late = Verdict::Late {
                lateness: Lateness {
                    watermark: EventTime(101),
                    lateness_ms: 2,
                },
                order_time: EventTime(101),
                before_found: false,
            };
            assert_eq!(clock.judge(EventTime(99), None, &rules), late);
        }
        let (mut clock, rules) = raised(FloorEffect::Orders, true);
        assert_eq!(clock.watermark(&rules), EventTime(50));
        assert_eq!(clock.judge(EventTime(99), None, &rules), on_time(100));
        assert_eq!(clock.watermark(&rules), EventTime(89));
        let late = Verdict::Late {
            lateness: Lateness {
                watermark: EventTime(89),
                lateness_ms: 9,
            },
            order_time: EventTime(100),
            before_found: false,
        };
        assert_eq!(clock.judge(EventTime(80), None, &rules), late);
        assert_eq!(clock.judge(EventTime(120), None, &rules), on_time(120));
        assert_eq!(clock.judge(EventTime(111), None, &rules), on_time(111));
    }

    fn on_time(order_time: i64) -> Verdict {
        Verdict::OnTime {
            order_time: EventTime(order_time),
        }
    }

    #[test]
    fn is_a_raise_that_changed_nothing_told_once_when_it_is_over() {
        for effect in [FloorEffect::Judges, FloorEffect::Orders] {
            let (mut clock, rules) = raised(effect, false);
            clock.judge(EventTime(109), None, &rules);
            assert_eq!(clock.passed(&rules), None, "it could still have an effect");
            clock.judge(EventTime(110), None, &rules);
            assert_eq!(clock.passed(&rules), Some(Offset(7)));
            assert_eq!(clock.passed(&rules), None);
            let (mut clock, rules) = raised(effect, false);
            clock.judge(EventTime(99), None, &rules);
            clock.judge(EventTime(200), None, &rules);
            assert_eq!(clock.passed(&rules), None, "it had an effect");
        }
    }
}
