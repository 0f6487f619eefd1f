//! The two threads that put outputs where they will stay, for a sink that can have what does not count yet: one
//! writes, in the order of epochs, and one waits for the disk, so that writing goes on meanwhile.
//!
//! An epoch is over when all workers have ended it. What comes of later ones before that is kept here; its tickets are
//! too, so that it counts as in flight.

use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender};

use crate::checkpoint::ledger::Placed;
use crate::checkpoint::turns::{Turn, Turns};
use crate::checkpointing::leading::{Alarm, Event};
use crate::faults::phases::{Phase, reach};
use crate::faults::{self, Defect};
use crate::flow::Publication;
use crate::moment::Epoch;
use crate::run::{Abandoned, RunError, Stopper, spawn};
use crate::sink::{InPlace, SinkError, Synced, Syncing};

/// Bytes after which the disk is set to work, before their epoch ends: what is left to wait for at its end is then the
/// work of a moment, and not of the whole epoch.
const UNSYNCED_BYTES: usize = 16 << 20;

/// What a worker's writer hands on.
pub(crate) enum Placement {
    /// Finished records.
    Output(Epoch, Publication),
    /// The worker has ended this epoch.
    End(Epoch),
}

/// What the threads work with.
pub(crate) struct PlacerSetup {
    pub(crate) workers: usize,
    /// The first epoch of the run.
    pub(crate) open: Epoch,
    pub(crate) place: Box<dyn InPlace>,
    pub(crate) placements: Receiver<Placement>,
    pub(crate) events: Sender<Event>,
    pub(crate) stopper: Stopper,
}

/// Starts both. They end when all writers have hung up, or the run has failed.
pub(crate) fn start(setup: PlacerSetup) -> Result<[JoinHandle<()>; 2], RunError> {
    // Unbounded as a channel: there is one entry for each epoch, and at most one besides.
    let (syncs, to_sync) = crossbeam_channel::unbounded();
    let (events, stopper) = (setup.events.clone(), setup.stopper.clone());
    let syncer = spawn("syncer", move || sync_all(&to_sync, &events, &stopper))?;
    let placer = spawn("placer", move || {
        let _alarm = Alarm(setup.events.clone());
        let placements = setup.placements.clone();
        let mut placer = Placer::new(setup, syncs);
        for placement in placements {
            // What comes after a failure never counts.
            if placer.stopper.has_failed() || placer.handle(placement).is_err() {
                return;
            }
        }
    })?;
    Ok([placer, syncer])
}

/// What is to be made durable, and what is durable then.
struct ToSync {
    syncing: Syncing,
    epoch: Option<(Epoch, Placed)>,
}

fn sync_all(to_sync: &Receiver<ToSync>, events: &Sender<Event>, stopper: &Stopper) {
    let _alarm = Alarm(events.clone());
    for ToSync { mut syncing, epoch } in to_sync {
        while !faults::is_on(Defect::NotSynced) {
            match syncing() {
                Ok(Synced::Durable) => break,
                // Who does not listen any more has failed, and said so.
                Ok(Synced::NotYet(error)) => match events.send(Event::PlaceAway(error)) {
                    Ok(()) if !stopper.has_failed() => {}
                    _ => return,
                },
                // What a failed sync has lost can't be told, so it can't be tried again.
                Err(error) => {
                    drop(events.send(Event::Failed(RunError::Sink(error))));
                    return;
                }
            }
        }
        if let Some((epoch, placed)) = epoch {
            reach(Phase::OutputsSynced);
            drop(events.send(Event::Placed(epoch, placed)));
        }
    }
}

struct Placer {
    place: Box<dyn InPlace>,
    turns: Turns<Publication>,
    /// The epoch that is being written.
    open: Epoch,
    placed: Placed,
    unsynced: usize,
    syncs: Sender<ToSync>,
    events: Sender<Event>,
    stopper: Stopper,
}

impl Placer {
    fn new(setup: PlacerSetup, syncs: Sender<ToSync>) -> Self {
        Placer {
            place: setup.place,
            turns: Turns::new(setup.workers, setup.open),
            open: setup.open,
            placed: Placed::new(),
            unsynced: 0,
            syncs,
            events: setup.events,
            stopper: setup.stopper,
        }
    }

    fn handle(&mut self, placement: Placement) -> Result<(), Abandoned> {
        match placement {
            Placement::Output(epoch, publication) => match self.turns.take(epoch, publication) {
                Some(publication) => self.write(publication),
                None => Ok(()),
            },
            Placement::End(epoch) => {
                for turn in self.turns.end(epoch) {
                    match turn {
                        Turn::Take(publication) => self.write(publication)?,
                        Turn::End(epoch) => self.end(epoch),
                    }
                }
                Ok(())
            }
        }
    }

    fn write(&mut self, publication: Publication) -> Result<(), Abandoned> {
        let Publication { chunk, ticket } = publication;
        while let Err(error) = self.place.append(&chunk) {
            self.wait(error)?;
        }
        reach(Phase::OutputsBegun);
        let bytes = chunk.bytes.len();
        let lengths = self.placed.entry(chunk.shard).or_default();
        if let Some(length) = lengths.get_mut(chunk.stream.index()) {
            *length += bytes as u64;
        }
        // Its events count as retired; what is not published is bounded by the number of epochs.
        drop(ticket);
        self.unsynced += bytes;
        if self.unsynced >= UNSYNCED_BYTES && self.syncs.is_empty() {
            self.sync(None);
        }
        Ok(())
    }

    /// Nothing was written, for want of room, or because nobody takes it: the workers go on until their bounds.
    fn wait(&self, error: SinkError) -> Result<(), Abandoned> {
        let event = match (error.is_no_room(), error.passes()) {
            (true, _) => Event::NotPlaced(self.open, error),
            (false, true) => Event::PlaceAway(error),
            (false, false) => {
                drop(self.events.send(Event::Failed(RunError::Sink(error))));
                return Err(Abandoned);
            }
        };
        drop(self.events.send(event));
        self.stopper.pause()
    }

    fn end(&mut self, epoch: Epoch) {
        let placed = std::mem::take(&mut self.placed);
        self.sync(Some((epoch, placed)));
        self.open = Epoch(epoch.0.saturating_add(1));
    }

    fn sync(&mut self, epoch: Option<(Epoch, Placed)>) {
        self.unsynced = 0;
        let syncing = self.place.sync();
        // Who does not listen any more has failed, and said so.
        drop(self.syncs.send(ToSync { syncing, epoch }));
    }
}
