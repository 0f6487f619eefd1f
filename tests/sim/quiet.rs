//! A source whose partitions fall silent now and then, from a seed, and one of which is found later.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use slackwater_connectors::memory::MemorySource;
use slackwater_dataflow::place::{Offset, PartitionId};
use slackwater_dataflow::source::{
    Demand, Partition, Polled, Readiness, Share, Source, SourceError, SourceReader, Starts, Topics,
    Wake,
};

use crate::sampling::Draws;

/// From one poll to the next, at least.
const PAUSE: Duration = Duration::from_micros(300);
/// Most records of a poll.
const SIP: usize = 4;
/// One of so many records has a silence before it.
const SILENCES: usize = 12;
/// A silence lasts this many polls at most.
const LONGEST: usize = 50;
/// From one look for partitions to the next.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// Records in memory, with silences.
#[derive(Clone)]
pub struct Quiet {
    records: MemorySource,
    seed: u64,
    known: Vec<Partition>,
    /// Found by the look of this number.
    hidden: Option<(Partition, u64)>,
    looks: Arc<AtomicU64>,
    topics: Arc<Topics>,
}

impl Quiet {
    /// All partitions are known at the start.
    pub fn new(records: MemorySource, seed: u64) -> Self {
        Quiet {
            known: records.partitions().to_vec(),
            topics: records.topics(),
            records,
            seed,
            hidden: None,
            looks: Arc::default(),
        }
    }

    /// The last partition is not, and is found after some looks.
    pub fn hiding_the_last(mut self) -> Self {
        let looks = 1 + self.seed % 12;
        self.hidden = self.known.pop().map(|last| (last, looks));
        self
    }
}

impl Source for Quiet {
    fn partitions(&self) -> &[Partition] {
        &self.known
    }

    fn open(
        &self,
        share: Share,
        from: &Starts,
        wake: Wake,
    ) -> Result<Box<dyn SourceReader>, SourceError> {
        Ok(Box::new(QuietReader {
            reader: self.records.open(share, from, wake)?,
            hidden: self.hidden.as_ref().map(|(hidden, _)| hidden.id),
            seed: self.seed,
            silences: BTreeMap::new(),
        }))
    }

    fn may_change(&self) -> bool {
        true
    }

    fn look_every(&self) -> Option<Duration> {
        self.hidden.is_some().then_some(LOOK_EVERY)
    }

    fn look(&self) -> Result<Vec<Partition>, SourceError> {
        let look = self.looks.fetch_add(1, Ordering::SeqCst);
        let found = self.hidden.iter().filter(|(_, at)| *at == look);
        Ok(found.map(|(hidden, _)| hidden.clone()).collect())
    }

    fn topics(&self) -> Arc<Topics> {
        Arc::clone(&self.topics)
    }
}

struct QuietReader {
    reader: Box<dyn SourceReader>,
    /// Not to be read yet.
    hidden: Option<PartitionId>,
    seed: u64,
    /// Before which record a partition is silent, and for how many polls more.
    silences: BTreeMap<PartitionId, (Offset, usize)>,
}

impl QuietReader {
    /// Begins a silence where there is one, and says whether a partition is inside one.
    fn is_silent(&mut self, partition: PartitionId) -> bool {
        let Some(position) = self.reader.position(partition) else {
            return false;
        };
        let seed = self.seed ^ (u64::from(partition.0) << 40) ^ (position.0 << 8);
        let mut draws = Draws::new(seed);
        let polls = match draws.below(SILENCES) {
            0 => 1 + draws.below(LONGEST),
            _ => 0,
        };
        let silence = self.silences.entry(partition).or_insert((position, polls));
        if silence.0 != position {
            *silence = (position, polls);
        }
        let left = silence.1;
        silence.1 = left.saturating_sub(1);
        left > 0
    }
}

impl SourceReader for QuietReader {
    fn poll(
        &mut self,
        demand: Demand<'_>,
        emit: &mut dyn FnMut(Polled<'_>) -> ControlFlow<()>,
    ) -> Result<Readiness, SourceError> {
        let all = (0..8).map(PartitionId);
        let readable: Vec<_> = all
            .filter(|&id| Some(id) != self.hidden && demand.allows(id))
            .collect();
        let silent: Vec<_> = readable
            .into_iter()
            .filter(|&id| self.is_silent(id))
            .collect();
        let (hidden, seed) = (self.hidden, self.seed);
        let may_read = |id| demand.allows(id) && !silent.contains(&id) && Some(id) != hidden;
        let sip = Demand::new(demand.limit.min(SIP), &may_read);
        let readiness = self.reader.poll(sip, &mut |polled| {
            let flow = emit(polled);
            // One at a time: the next one may have a silence before it.
            if seed.is_multiple_of(2) {
                return ControlFlow::Break(());
            }
            flow
        })?;
        for &partition in &silent {
            let _ = emit(Polled::Silent(partition));
        }
        Ok(match readiness {
            Readiness::Finished => Readiness::Finished,
            _ => Readiness::LookAgain(PAUSE),
        })
    }

    fn position(&self, partition: PartitionId) -> Option<Offset> {
        self.reader.position(partition)
    }

    fn begin(&mut self, partition: &Partition) -> Result<(), SourceError> {
        if self.hidden == Some(partition.id) {
            self.hidden = None;
        }
        Ok(())
    }
}
