//! How a source's set of active partitions changes: idle, awake again, found; and how a run goes on with all that.

use crate::adapter::held::Held;
use crate::adapter::source::{Failed, Head};
use crate::control::{Beginning, StartEpoch};
use crate::idleness::{Raise, Speaks};
use crate::ingest::Ingest;
use crate::moment::EventTime;
use crate::place::PartitionId;
use crate::run::RunError;
use crate::source::Partition;

impl<I: Ingest> Head<I> {
    /// Goes on where an earlier run has come to.
    pub(super) fn go_on(&mut self, beginning: &Beginning, idle: &[PartitionId]) {
        self.epoch.epoch = beginning.epoch;
        self.capabilities.enter(beginning.epoch);
        self.resting.rise(beginning.floor);
        self.capabilities.rise(beginning.floor);
        for &cut in &beginning.partitions {
            if let Some(highest) = cut.highest {
                self.ingest.resume(cut.partition, highest);
            }
            if cut.finished && cut.partition.worker(self.workers) == self.worker {
                self.epoch.ended.push(cut);
            }
        }
        for raise in &beginning.raised {
            self.ingest.raise(raise, self.pacing.effect());
            self.capabilities.lift(raise.partition, raise.from.floor);
            if self.reader.position(raise.partition) == Some(raise.from.offset) {
                self.resting.knows(raise);
            }
        }
        for &partition in idle {
            let stood = self.stood(partition, &beginning.raised);
            self.resting.resume(partition, stood);
            self.advance_pace(partition, EventTime::MAX);
        }
        let ended: Vec<_> = self.epoch.ended.iter().map(|cut| cut.partition).collect();
        for partition in ended {
            self.advance_pace(partition, EventTime::MAX);
        }
    }

    /// Where the capability of a partition stood that is idle.
    fn stood(&self, partition: PartitionId, raised: &[Raise]) -> EventTime {
        let mut raised = raised.iter();
        let raised = raised.find(|raise| raise.partition == partition);
        let own = self.ingest.watermark(partition);
        raised.map_or(own, |raise| own.max(raise.from.floor))
    }

    /// A new floor, with partitions that are idle from here on, or new.
    pub(super) fn change(&mut self, command: &StartEpoch) -> Result<(), Failed> {
        self.resting.rise(command.floor);
        self.capabilities.rise(command.floor);
        for &idle in command.idle.iter() {
            let active = &self.capabilities.active;
            let stood = active.get(&idle.partition).map(Held::watermark);
            if stood.is_some_and(|stood| self.resting.obey(idle, stood)) {
                self.capabilities.active.remove(&idle.partition);
                self.advance_pace(idle.partition, EventTime::MAX);
            }
        }
        for partition in command.found.iter() {
            if partition.id.worker(self.workers) == self.worker {
                self.find(partition)?;
            }
        }
        self.tell_silence();
        self.tell();
        Ok(())
    }

    /// A partition was found, and is read from its beginning.
    fn find(&mut self, partition: &Partition) -> Result<(), Failed> {
        let begun = self.reader.begin(partition);
        begun.map_err(|error| self.fail(RunError::Source(error)))?;
        let id = partition.id;
        if let Some(raise) = self.resting.finds(id, partition.begins) {
            self.ingest.raise(&raise, self.pacing.effect());
        }
        self.capabilities.begin(id, EventTime::MIN);
        if let Some(pace) = self.pacing.pace() {
            pace.find(id, self.ingest.watermark(id));
        }
        Ok(())
    }

    /// Partitions that were idle have spoken, and what they said is still to be sent.
    pub(super) fn wake(&mut self, woken: &[Speaks]) {
        for speaks in woken {
            self.capabilities.begin(speaks.partition, speaks.stood);
            let watermark = self.ingest.watermark(speaks.partition);
            self.advance_pace(speaks.partition, watermark);
        }
    }

    /// Tells who decides about it what is silent now.
    pub(super) fn tell_silence(&mut self) {
        if let Some(silent) = self.resting.news() {
            self.job.silences.tell(self.worker, silent);
        }
    }
}
