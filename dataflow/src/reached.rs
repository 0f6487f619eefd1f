//! How far event time has come: for people who watch a job run, and for the floors that idle partitions are raised to.

use std::sync::atomic::{AtomicI64, Ordering};

use crate::moment::EventTime;

/// The watermarks of a group's partitions, as far as each worker has told. One store a poll: figures need
/// not be of one instant.
#[derive(Debug)]
pub struct Reached {
    workers: Box<[Marks]>,
}

/// What one worker has told.
#[derive(Debug)]
struct Marks {
    /// Of the partitions that are active; [`EventTime::MAX`] if there are none.
    least: AtomicI64,
    /// Of all that it ever read.
    most: AtomicI64,
}

/// From where to where the watermarks of the partitions reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The job's watermark: that of the partition furthest behind of those that are being read. None as
    /// long as one of them has brought no event.
    pub least: Option<EventTime>,
    /// That of the partition furthest ahead, ended or not.
    pub most: EventTime,
}

impl Reached {
    /// Nothing is known yet of `workers` workers.
    pub fn new(workers: usize) -> Self {
        let unknown = || Marks {
            least: AtomicI64::new(EventTime::MIN.0),
            most: AtomicI64::new(EventTime::MIN.0),
        };
        Reached {
            workers: (0..workers).map(|_| unknown()).collect(),
        }
    }

    /// Tells the watermarks of all partitions of a worker that are active: neither idle nor ended.
    pub fn tell(&self, worker: usize, watermarks: impl Iterator<Item = EventTime>) {
        let Some(marks) = self.workers.get(worker) else {
            return;
        };
        let mut least = EventTime::MAX;
        // Only this worker writes here, so nothing comes between the two.
        let mut most = EventTime(marks.most.load(Ordering::Relaxed));
        for watermark in watermarks {
            least = least.min(watermark);
            most = most.max(watermark);
        }
        marks.least.store(least.0, Ordering::Relaxed);
        marks.most.store(most.0, Ordering::Relaxed);
    }

    /// The least watermark of a worker's active partitions, none if it has no such partition.
    pub fn least(&self, worker: usize) -> Option<EventTime> {
        let marks = self.workers.get(worker)?;
        let least = EventTime(marks.least.load(Ordering::Relaxed));
        (least != EventTime::MAX).then_some(least)
    }

    /// How far the partitions of all workers are; none before the first event.
    pub fn span(&self) -> Option<Span> {
        let read = |mark: &AtomicI64| EventTime(mark.load(Ordering::Relaxed));
        let most = self.workers.iter().map(|marks| read(&marks.most)).max()?;
        let least = self.workers.iter().map(|marks| read(&marks.least)).min()?;
        (most != EventTime::MIN).then_some(Span {
            // After the end of all partitions, what was reached last.
            least: (least != EventTime::MIN).then_some(least.min(most)),
            most,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_far_are_the_partitions_of_all_workers() {
        let reached = Reached::new(3);
        let check = |worker: usize, watermarks: &[i64], expected: Option<(Option<i64>, i64)>| {
            reached.tell(worker, watermarks.iter().copied().map(EventTime));
            let span = reached.span();
            let span = span.map(|span| (span.least.map(|time| time.0), span.most.0));
            assert_eq!(span, expected, "{worker} {watermarks:?}");
        };
        let none = EventTime::MIN.0;
        check(0, &[none, none], None);
        check(0, &[7, none], Some((None, 7)));
        check(0, &[7, 5], Some((None, 7)));
        check(1, &[9], Some((None, 9)));
        // The third worker reads nothing.
        check(2, &[], Some((Some(5), 9)));
        check(0, &[8], Some((Some(8), 9)));
        check(0, &[], Some((Some(9), 9)));
        check(1, &[], Some((Some(9), 9)));
        // There is no such worker.
        check(3, &[99], Some((Some(9), 9)));
    }
}
