//! The thread beside each worker that makes durable what the worker hands over, so that no worker waits for a
//! disk.
//!
//! Outputs go into their epoch's outbox as they come, or on to who puts them in their place. When a worker has handed
//! over all of an epoch, which is known by counting (one cut, one delta of each stage, the end of the outputs), its
//! state is written and both objects are synced; then the epoch is reported. What cannot be written is kept and tried
//! again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender};

use crate::checkpoint::fault::FormatError;
use crate::checkpoint::frame::{Encoding, ObjectRef};
use crate::checkpoint::ledger::{ReadAt, Report};
use crate::checkpoint::names::{DataKind, DataName};
use crate::checkpoint::outbox::OutboxWriter;
use crate::checkpoint::state_file::{Entry, StateWriter};
use crate::checkpointing::leading::{Alarm, Event};
use crate::checkpointing::placing::Placement;
use crate::control::{Part, SourceCut};
use crate::faults::phases::{Phase, reach};
use crate::faults::{self, Defect};
use crate::flow::Publication;
use crate::identity::Generation;
use crate::meters::Meters;
use crate::moment::Epoch;
use crate::run::{Abandoned, RunError, Stopper, spawn};
use crate::sink::Lengths;
use crate::snapshot::StateDelta;
use crate::store::Store;

/// What a writer works with.
pub(crate) struct WriterSetup {
    pub(crate) worker: usize,
    pub(crate) generation: Generation,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) outputs: OutputsTo,
    pub(crate) parts: Receiver<Part>,
    pub(crate) events: Sender<Event>,
    pub(crate) meters: Arc<Meters>,
    pub(crate) stopper: Stopper,
}

/// Where outputs wait until they count.
pub(crate) enum OutputsTo {
    /// In the store.
    Outbox,
    /// Where they will stay.
    Place(Sender<Placement>),
}

/// Starts a worker's writer. It ends when the worker has hung up, or the run has failed.
pub(crate) fn start(setup: WriterSetup) -> Result<JoinHandle<()>, RunError> {
    let run = move || {
        let _alarm = Alarm(setup.events.clone());
        Writer::new(setup).run();
    };
    spawn("writer", run)
}

/// What has come of an epoch so far.
#[derive(Default)]
struct Pending {
    outbox: Option<OutboxWriter>,
    records: Lengths,
    read_at: ReadAt,
    cut: Option<SourceCut>,
    states: BTreeMap<Arc<str>, StateDelta>,
    has_all_outputs: bool,
}

struct Writer {
    setup: WriterSetup,
    /// Stages that hand over state; unknown before the graph is built.
    stages: Option<usize>,
    pending: BTreeMap<Epoch, Pending>,
    has_output: bool,
}

impl WriterSetup {
    fn name(&self, epoch: Epoch, kind: DataKind) -> DataName {
        DataName {
            generation: self.generation,
            epoch,
            worker: self.worker as u32,
            random: rand::random(),
            kind,
        }
    }

    fn tell(&self, event: Event) {
        // Only a run that is over has nobody who listens.
        drop(self.events.send(event));
    }

    /// What is in an outbox can't be written again from memory: the job goes on from its last checkpoint.
    fn abandon(&self, error: FormatError) -> Abandoned {
        self.tell(Event::Failed(RunError::Checkpoint(error)));
        Abandoned
    }

    /// Writes to an outbox, and while there is no room for it waits for some. The worker goes on until its bounds.
    fn insist(
        &self,
        epoch: Epoch,
        mut write: impl FnMut() -> Result<(), FormatError>,
    ) -> Result<(), Abandoned> {
        loop {
            match write() {
                Ok(()) => return Ok(()),
                Err(FormatError::Store(error)) if error.is_no_room() => {
                    let error = FormatError::Store(error);
                    self.tell(Event::NotWritten(self.worker, epoch, error));
                    self.stopper.pause()?;
                }
                Err(error) => return Err(self.abandon(error)),
            }
        }
    }
}

impl Writer {
    fn new(setup: WriterSetup) -> Self {
        Writer {
            setup,
            stages: None,
            pending: BTreeMap::new(),
            has_output: false,
        }
    }

    fn run(mut self) {
        while let Ok(part) = self.setup.parts.recv() {
            if self.take(part).is_err() {
                return;
            }
        }
    }

    fn tell(&self, event: Event) {
        self.setup.tell(event);
    }

    fn take(&mut self, part: Part) -> Result<(), Abandoned> {
        let epoch = match part {
            Part::Stages(stages) => {
                self.stages = Some(stages);
                return Ok(());
            }
            Part::AllEnded => {
                self.tell(Event::AllEnded(self.setup.worker));
                return Ok(());
            }
            Part::Output(epoch, publication) => return self.output(epoch, publication),
            Part::Cut(epoch, cut) => {
                self.pending.entry(epoch).or_default().cut = Some(cut);
                reach(Phase::CutHandedOver);
                epoch
            }
            Part::State(epoch, stage, delta) => {
                let pending = self.pending.entry(epoch).or_default();
                pending.states.insert(stage, delta);
                epoch
            }
            Part::OutputsEnd(epoch) => {
                if let OutputsTo::Place(place) = &self.setup.outputs {
                    drop(place.send(Placement::End(epoch)));
                }
                self.pending.entry(epoch).or_default().has_all_outputs = true;
                epoch
            }
        };
        let is_whole = self.pending.get(&epoch).is_some_and(|pending| {
            let has_states = Some(pending.states.len()) == self.stages;
            has_states && pending.cut.is_some() && pending.has_all_outputs
        });
        if is_whole && let Some(pending) = self.pending.remove(&epoch) {
            self.write(epoch, pending)?;
        }
        Ok(())
    }

    fn output(&mut self, epoch: Epoch, publication: Publication) -> Result<(), Abandoned> {
        let setup = &self.setup;
        let pending = self.pending.entry(epoch).or_default();
        let chunk = &publication.chunk;
        let records = u64::from(chunk.records);
        if let Some(count) = pending.records.get_mut(chunk.stream.index()) {
            *count += records;
        }
        let read_at = publication.ticket.read_at();
        pending.read_at.push((read_at, chunk.records));
        setup.meters.count_written(chunk.stream, records);
        match &setup.outputs {
            // Who does not listen any more has failed, and said so.
            OutputsTo::Place(place) => drop(place.send(Placement::Output(epoch, publication))),
            OutputsTo::Outbox => {
                let flow = &setup.stopper.flow;
                flow.hold_unpublished(chunk.bytes.len() as u64);
                let new = || {
                    let name = setup.name(epoch, DataKind::Outbox);
                    OutboxWriter::new(Arc::clone(&setup.store), name)
                };
                let outbox = pending.outbox.get_or_insert_with(new);
                setup.insist(epoch, || outbox.append(chunk))?;
                reach(Phase::OutputsBegun);
                setup.insist(epoch, || outbox.send())?;
                // With its ticket its events count as retired; what is not published is bounded by the number of
                // epochs.
                drop(publication);
            }
        }
        if !std::mem::replace(&mut self.has_output, true) {
            self.tell(Event::FirstOutput);
        }
        Ok(())
    }

    fn write(&mut self, epoch: Epoch, pending: Pending) -> Result<(), Abandoned> {
        let mut states: Vec<_> = pending.states.into_iter().collect();
        for (_, delta) in &mut states {
            delta.sort();
        }
        let state = self.write_state(epoch, &states)?;
        let outbox = match pending.outbox {
            None => None,
            Some(mut outbox) => {
                outbox.end().map_err(|error| self.setup.abandon(error))?;
                self.setup.insist(epoch, || outbox.send())?;
                outbox.seal().map_err(|error| self.setup.abandon(error))?
            }
        };
        reach(Phase::ObjectsSynced);
        self.tell(Event::Reported(
            self.setup.worker,
            Report {
                epoch,
                cut: pending.cut.unwrap_or_default(),
                state,
                outbox,
                records: pending.records,
                read_at: pending.read_at,
            },
        ));
        Ok(())
    }

    fn write_state(
        &self,
        epoch: Epoch,
        states: &[(Arc<str>, StateDelta)],
    ) -> Result<Option<ObjectRef>, Abandoned> {
        let is_lost = epoch.0.is_multiple_of(2) && faults::is_on(Defect::LostDelta);
        if is_lost || states.iter().all(|(_, delta)| delta.is_empty()) {
            return Ok(None);
        }
        loop {
            let name = self.setup.name(epoch, DataKind::State);
            match write_state(self.setup.store.as_ref(), name, states) {
                Ok(object) => return Ok(Some(object)),
                Err(error @ FormatError::Store(_)) => {
                    self.tell(Event::NotWritten(self.setup.worker, epoch, error));
                    self.setup.stopper.pause()?;
                }
                Err(error) => return Err(self.setup.abandon(error)),
            }
        }
    }
}

fn write_state(
    store: &dyn Store,
    name: DataName,
    states: &[(Arc<str>, StateDelta)],
) -> Result<ObjectRef, FormatError> {
    let mut writer = StateWriter::create(store, name, Encoding::Plain)?;
    for (stage, delta) in states.iter().filter(|(_, delta)| !delta.is_empty()) {
        writer.section(stage, delta.bound())?;
        for (group, key, value) in delta.entries() {
            writer.entry(Entry { group, key, value })?;
        }
    }
    reach(Phase::StateBegun);
    writer.finish()
}
