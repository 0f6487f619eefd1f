//! A source that gives so many records a second, all partitions together.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use slackwater_connectors::memory::Wrapped;
use slackwater_dataflow::place::{Offset, PartitionId};
use slackwater_dataflow::source::{Demand, Polled, Readiness, Source, SourceError, SourceReader};

/// When to look again whether a record is due.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// Another source, slowed down to so many records a second; 0 for as many as can be.
pub fn paced(source: impl Source, rate: u64) -> impl Source {
    Wrapped::new(source, move |share, inner| -> Box<dyn SourceReader> {
        if rate == 0 {
            return inner;
        }
        Box::new(PacedReader {
            inner,
            rate: rate as f64 / share.workers as f64,
            since: None,
            given: 0,
        })
    })
}

struct PacedReader {
    inner: Box<dyn SourceReader>,
    rate: f64,
    since: Option<Instant>,
    given: u64,
}

impl SourceReader for PacedReader {
    fn poll(
        &mut self,
        demand: Demand<'_>,
        emit: &mut dyn FnMut(Polled<'_>) -> ControlFlow<()>,
    ) -> Result<Readiness, SourceError> {
        let since = *self.since.get_or_insert_with(Instant::now);
        let due = (since.elapsed().as_secs_f64() * self.rate) as u64;
        let left = due.saturating_sub(self.given) as usize;
        if left == 0 {
            return Ok(Readiness::LookAgain(LOOK_AGAIN));
        }
        let may_read = |partition| demand.allows(partition);
        let slowed = Demand::new(demand.limit.min(left), &may_read);
        let given = &mut self.given;
        self.inner.poll(slowed, &mut |polled| {
            *given += u64::from(matches!(polled, Polled::Record { .. }));
            emit(polled)
        })
    }

    fn position(&self, partition: PartitionId) -> Option<Offset> {
        self.inner.position(partition)
    }
}
