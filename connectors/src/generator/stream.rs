//! One partition's events, one after the other, from nothing but the settings and its own random stream.

use std::sync::Arc;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use slackwater_dataflow::place::PartitionId;

use crate::generator::GeneratorConfig;
use crate::generator::sampling::Users;
use crate::generator::templates::{self, BadRow, Event, PRODUCTS, Variety};

/// Largest disorder of events that are not late, whatever the bound: a quarter of the bound, but never
/// more than a real producer's batch would cause.
const JITTER_MS_MAX: u64 = 500;

/// Late events are behind the watermark by this much and up to [`LATE_SPREAD_MS`] more.
const LATE_LEAST_MS: u64 = 1_000;
const LATE_SPREAD_MS: u64 = 59_000;

/// How far ahead of its time an event of [`BadRow::Ahead`] is: twice the hour that pipelines allow.
const AHEAD_MS: i64 = 2 * 60 * 60 * 1_000;

/// Good events that look unusual, of 65,536: one percent.
const VARIED_OF_65536: u64 = 655;

/// An event that was drawn, and how it is written.
#[derive(Clone, Copy, Debug)]
enum Drawn {
    Plain(Event),
    Varied(Event, Variety),
    /// Bad in that way, as so many events were before.
    Bad(Event, BadRow, u64),
}

impl Drawn {
    fn append(&self, out: &mut Vec<u8>) {
        match self {
            Drawn::Plain(event) => templates::plain(out, event),
            Drawn::Varied(event, variety) => templates::varied(out, event, *variety),
            Drawn::Bad(event, row, uses) => templates::bad(out, event, *row, *uses),
        }
    }
}

/// The events of a partition.
#[derive(Debug)]
pub(super) struct EventStream {
    users: Arc<Users>,
    rng: ChaCha8Rng,
    remaining: u64,
    start_ms: i64,
    step: Step,
    /// Below it (of 2^32) an event is bad, from there to the next late.
    bad_below: u64,
    late_below: u64,
    jitter_ms: u64,
    max_out_of_orderness_ms: u64,
    /// Highest time of a good event so far: the watermark is at least this less the bound.
    newest_ms: Option<i64>,
    bad_events: u64,
    varied_events: u64,
}

/// Steps of event `i` of `n`: `i * total / n` rounded down, without a division per event (Bresenham).
#[derive(Debug)]
struct Step {
    at: u64,
    whole: u64,
    remainder: u64,
    collected: u64,
    events: u64,
}

impl Step {
    fn new(total: u64, events: u64) -> Self {
        let events = events.max(1);
        Step {
            at: 0,
            whole: total / events,
            remainder: total % events,
            collected: 0,
            events,
        }
    }

    fn advance(&mut self) {
        self.at += self.whole;
        self.collected += self.remainder;
        if self.collected >= self.events {
            self.collected -= self.events;
            self.at += 1;
        }
    }
}

/// How far event `index` of a partition's `events` is in the job, in events of all partitions, of which there
/// are `total`: what [`Step::at`] is after as many steps.
pub(super) fn progress_of(index: u64, total: u64, events: u64) -> u64 {
    let progress = u128::from(index) * u128::from(total) / u128::from(events.max(1));
    u64::try_from(progress).unwrap_or(u64::MAX)
}

impl EventStream {
    /// The stream of a partition with `events` of the job's events.
    pub(super) fn new(
        config: &GeneratorConfig,
        partition: PartitionId,
        users: Arc<Users>,
        events: u64,
    ) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
        rng.set_stream(u64::from(partition.0));
        let of_draws = |share: f64| (share * 2_f64.powi(32)).round() as u64;
        EventStream {
            users,
            rng,
            remaining: events,
            start_ms: config.start_ms,
            step: Step::new(config.events, events),
            bad_below: of_draws(config.invalid),
            late_below: of_draws(config.invalid + config.late),
            jitter_ms: JITTER_MS_MAX.min(config.max_out_of_orderness_ms / 4),
            max_out_of_orderness_ms: config.max_out_of_orderness_ms,
            newest_ms: None,
            bad_events: 0,
            varied_events: 0,
        }
    }

    /// Whether all events were made.
    pub(super) fn is_finished(&self) -> bool {
        self.remaining == 0
    }

    /// How far the next event is in the job, in events of all partitions. Never falls.
    pub(super) fn progress(&self) -> u64 {
        self.step.at
    }

    /// Appends the next event's text, without a line feed; false when there is none.
    pub(super) fn append_next(&mut self, out: &mut Vec<u8>) -> bool {
        let drawn = self.draw();
        if let Some(drawn) = &drawn {
            drawn.append(out);
        }
        drawn.is_some()
    }

    /// Leaves out the next `events`; false when there are fewer. Every number is drawn all the same, for how
    /// many there are of an event depends on them.
    pub(super) fn skip(&mut self, events: u64) -> bool {
        (0..events).all(|_| self.draw().is_some())
    }

    #[inline]
    fn draw(&mut self) -> Option<Drawn> {
        if self.remaining == 0 {
            return None;
        }
        let now_ms = self.start_ms + self.step.at as i64;
        self.remaining -= 1;
        self.step.advance();

        let user = self.users.draw(self.rng.next_u64());
        let what = self.rng.next_u64();
        let how = self.rng.next_u64();
        let mut event = Event {
            user,
            product: part(what >> 32, 32, u64::from(PRODUCTS)) as u32,
            event_type_percent: part(what & 0xffff_ffff, 32, 100) as u32,
            time_ms: now_ms - part(how >> 48, 16, self.jitter_ms + 1) as i64,
        };
        let lot = how & 0xffff_ffff;
        Some(match self.newest_ms {
            _ if lot < self.bad_below => self.draw_bad(event, now_ms),
            // The first event can't be late: there is no watermark yet.
            Some(newest_ms) if lot < self.late_below => {
                let behind = LATE_LEAST_MS + self.rng.next_u64() % (LATE_SPREAD_MS + 1);
                event.time_ms = newest_ms - (self.max_out_of_orderness_ms + behind) as i64;
                Drawn::Plain(event)
            }
            _ => {
                self.newest_ms = self.newest_ms.max(Some(event.time_ms));
                if (how >> 32) & 0xffff < VARIED_OF_65536 {
                    // The remainder is below the number of varieties.
                    let variety = self.varied_events as usize % Variety::ALL.len();
                    self.varied_events += 1;
                    Drawn::Varied(event, Variety::ALL[variety])
                } else {
                    Drawn::Plain(event)
                }
            }
        })
    }

    fn draw_bad(&mut self, mut event: Event, now_ms: i64) -> Drawn {
        let rows = BadRow::ALL.len() as u64;
        // The remainder is below the number of rows.
        let row = BadRow::ALL[(self.bad_events % rows) as usize];
        if row == BadRow::Ahead {
            event.time_ms = now_ms + AHEAD_MS;
        }
        let uses = self.bad_events / rows;
        self.bad_events += 1;
        Drawn::Bad(event, row, uses)
    }
}

/// A number below `bound` from `bits` even random bits, by multiplication.
fn part(random: u64, bits: u32, bound: u64) -> u64 {
    (random * bound) >> bits
}

#[cfg(test)]
mod tests {
    use proptest::prelude::prop_assert_eq;

    use super::*;

    proptest::proptest! {
        #[test]
        fn are_steps_those_of_a_division(total in 0_u64..100_000, events in 1_u64..300) {
            let mut step = Step::new(total, events);
            for index in 0..events {
                prop_assert_eq!(step.at, index * total / events);
                prop_assert_eq!(step.at, progress_of(index, total, events));
                step.advance();
            }
        }
    }
}
