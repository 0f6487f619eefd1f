//! A source with a fault on purpose: what a broken engine would do to its records.

use std::ops::ControlFlow;

use slackwater_connectors::memory::MemorySource;
use slackwater_dataflow::place::{Offset, PartitionId};
use slackwater_dataflow::source::{
    Demand, Partition, Payload, Polled, Readiness, Share, Source, SourceError, SourceReader,
    Starts, Wake,
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

/// A [`MemorySource`] with a fault in one partition.
pub struct Faulty {
    pub inner: MemorySource,
    pub partition: PartitionId,
    pub fault: Fault,
}

impl Source for Faulty {
    fn partitions(&self) -> &[Partition] {
        self.inner.partitions()
    }

    fn open(
        &self,
        share: Share,
        from: &Starts,
        wake: Wake,
    ) -> Result<Box<dyn SourceReader>, SourceError> {
        Ok(Box::new(FaultyReader {
            inner: self.inner.open(share, from, wake)?,
            partition: self.partition,
            fault: self.fault,
        }))
    }
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
