//! The floor of event time: how far all active sources have come.

use crate::moment::EventTime;

/// What a worker said last of its sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// Nothing yet: it may be behind any time.
    Unknown,
    /// The least watermark of those of its partitions that are active and not at their end.
    At(EventTime),
    /// It has no such partition and holds nothing back.
    Nothing,
}

/// The floor that was issued last, and what the next one may be.
#[derive(Debug)]
pub(crate) struct Floors {
    issued: Option<EventTime>,
    has_ended: bool,
    workers: Vec<Reach>,
}

impl Floors {
    /// Nothing known of any of `workers`; `issued` is what an earlier run issued.
    pub(crate) fn new(workers: usize, issued: Option<EventTime>) -> Self {
        let workers = vec![Reach::Unknown; workers];
        Floors {
            issued,
            has_ended: false,
            workers,
        }
    }

    /// A worker said how far it is; none if it has no active partition.
    pub(crate) fn hear(&mut self, worker: usize, least: Option<EventTime>) {
        if let Some(known) = self.workers.get_mut(worker) {
            *known = match least {
                None => Reach::Nothing,
                // One of its partitions has brought nothing yet.
                Some(EventTime::MIN) => Reach::Unknown,
                Some(least) => Reach::At(least),
            };
        }
    }

    /// The highest that was issued; the end of event time once that was.
    pub(crate) fn issued(&self) -> Option<EventTime> {
        if self.has_ended {
            return Some(EventTime::MAX);
        }
        self.issued
    }

    /// The highest that was issued before the end of event time, which is no floor for a run that goes on from here.
    pub(crate) fn before_end(&self) -> Option<EventTime> {
        self.issued
    }

    /// Issues the next one: as far as all have come, and never less than before.
    pub(crate) fn raise(&mut self) -> Option<EventTime> {
        if !self.workers.contains(&Reach::Unknown) {
            let times = self.workers.iter().filter_map(|reach| match reach {
                Reach::At(time) => Some(*time),
                Reach::Unknown | Reach::Nothing => None,
            });
            // Where nothing is active there is nothing to go by, and the floor stays.
            self.issued = self.issued.max(times.min());
        }
        self.issued()
    }

    /// Issues the end of event time.
    pub(crate) fn end(&mut self) -> Option<EventTime> {
        self.has_ended = true;
        self.issued()
    }
}
