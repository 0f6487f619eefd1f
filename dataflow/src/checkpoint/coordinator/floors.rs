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
pub(super) struct Floors {
    issued: Option<EventTime>,
    workers: Vec<Reach>,
}

impl Floors {
    /// Nothing known of any of `workers`; `issued` is what an earlier run issued.
    pub(super) fn new(workers: usize, issued: Option<EventTime>) -> Self {
        let workers = vec![Reach::Unknown; workers];
        Floors { issued, workers }
    }

    /// A worker said how far it is.
    pub(super) fn hear(&mut self, worker: usize, least: Option<EventTime>) {
        if let Some(known) = self.workers.get_mut(worker) {
            *known = least.map_or(Reach::Nothing, Reach::At);
        }
    }

    /// The highest that was issued.
    pub(super) fn issued(&self) -> Option<EventTime> {
        self.issued
    }

    /// Issues the next one: as far as all have come, and never less than before.
    pub(super) fn raise(&mut self) -> Option<EventTime> {
        if !self.workers.contains(&Reach::Unknown) {
            let times = self.workers.iter().filter_map(|reach| match reach {
                Reach::At(time) => Some(*time),
                Reach::Unknown | Reach::Nothing => None,
            });
            // Where nothing is active there is nothing to go by, and the floor stays.
            self.issued = self.issued.max(times.min());
        }
        self.issued
    }

    /// Issues the end of event time.
    pub(super) fn end(&mut self) -> Option<EventTime> {
        self.issued = Some(EventTime::MAX);
        self.issued
    }
}
