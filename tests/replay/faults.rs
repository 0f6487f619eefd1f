//! A source with a fault on purpose: what a broken engine would do to its records.

use std::ops::ControlFlow;

use slackwater_connectors::memory::Wrapped;
use slackwater_dataflow::place::{Offset, PartitionId};
use slackwater_dataflow::source::{
    Demand, Origin, Payload, Polled, Readiness, Source, SourceError, SourceReader,
};

/// What is done to the records of a partition.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// The record at this offset is lost.
    Loses(Offset),
    /// The record at this offset is handed out twice.
    Repeats(Offset),
    /// The records of each poll come last first.
    Reverses,
}

/// A source with a fault in one partition.
pub fn faulty(source: impl Source, partition: PartitionId, fault: Fault) -> impl Source {
    Wrapped::new(source, move |_, inner| {
        Box::new(FaultyReader {
            inner,
            partition,
            fault,
        })
    })
}

struct FaultyReader {
    inner: Box<dyn SourceReader>,
    partition: PartitionId,
    fault: Fault,
}

impl SourceReader for FaultyReader {
    fn poll(
        &mut self,
        demand: Demand<'_>,
        emit: &mut dyn FnMut(Polled<'_>) -> ControlFlow<()>,
    ) -> Result<Readiness, SourceError> {
        // Records of the faulty partition are kept until the poll is over.
        let mut kept: Vec<(Offset, Vec<u8>)> = Vec::new();
        let mut finished = false;
        let readiness = self.inner.poll(demand, &mut |polled| match polled {
            Polled::Record {
                partition,
                offset,
                payload: Payload::Whole(bytes),
                ..
            } if partition == self.partition => {
                kept.push((offset, bytes.to_vec()));
                ControlFlow::Continue(())
            }
            Polled::Finished(partition) if partition == self.partition => {
                finished = true;
                ControlFlow::Continue(())
            }
            other => emit(other),
        })?;
        match self.fault {
            Fault::Loses(lost) => kept.retain(|(offset, _)| *offset != lost),
            Fault::Repeats(twice) => {
                let again = kept.iter().find(|(offset, _)| *offset == twice).cloned();
                kept.extend(again);
            }
            Fault::Reverses => kept.reverse(),
        }
        for (offset, bytes) in kept {
            let _ = emit(Polled::Record {
                partition: self.partition,
                offset,
                payload: Payload::Whole(&bytes),
                origin: Origin::default(),
            });
        }
        if finished {
            let _ = emit(Polled::Finished(self.partition));
        }
        Ok(readiness)
    }

    fn position(&self, partition: PartitionId) -> Option<Offset> {
        self.inner.position(partition)
    }
}
