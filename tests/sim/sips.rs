//! A source that is read in sips, with time between them: what is read in a moment has no epochs.

use std::ops::ControlFlow;
use std::time::Duration;

use slackwater_connectors::memory::Wrapped;
use slackwater_dataflow::place::{Offset, PartitionId};
use slackwater_dataflow::source::{Demand, Polled, Readiness, Source, SourceError, SourceReader};

/// Most records of a poll.
const SIP: usize = 8;

/// From one poll to the next, at least.
const PAUSE: Duration = Duration::from_micros(300);

/// Another source, in sips.
pub fn sips(source: impl Source) -> impl Source {
    Wrapped::new(source, |_, reader| Box::new(Sipping(reader)))
}

struct Sipping(Box<dyn SourceReader>);

impl SourceReader for Sipping {
    fn poll(
        &mut self,
        mut demand: Demand<'_>,
        emit: &mut dyn FnMut(Polled<'_>) -> ControlFlow<()>,
    ) -> Result<Readiness, SourceError> {
        demand.limit = demand.limit.min(SIP);
        let readiness = self.0.poll(demand, emit)?;
        Ok(match readiness {
            Readiness::More => Readiness::LookAgain(PAUSE),
            other => other,
        })
    }

    fn position(&self, partition: PartitionId) -> Option<Offset> {
        self.0.position(partition)
    }
}
