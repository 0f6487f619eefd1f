//! The thread that deletes what nothing needs any more, so that no checkpoint waits for it: to delete a record syncs a
//! folder.

use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender};

use crate::checkpoint::names::RecordNumber;
use crate::checkpoint::retention::Deletable;
use crate::checkpointing::leading::{Alarm, Event};
use crate::faults::phases::{Phase, reach};
use crate::meters::Meters;
use crate::run::{RunError, spawn};
use crate::store::{Store, StoreError};

/// What the collector works with.
pub(crate) struct CollectorSetup {
    pub(crate) store: Arc<dyn Store>,
    /// Unbounded as a channel; no more can be in it than is in the store.
    pub(crate) deletable: Receiver<Deletable>,
    pub(crate) events: Sender<Event>,
    pub(crate) meters: Arc<Meters>,
}

/// Starts the collector. It ends when it has deleted all, and no more will come, however the run ends: what retention
/// has handed out nobody needs, and what is left takes room until the next recovery.
pub(crate) fn start(setup: CollectorSetup) -> Result<JoinHandle<()>, RunError> {
    spawn("collector", move || run(&setup))
}

fn run(setup: &CollectorSetup) {
    let _alarm = Alarm(setup.events.clone());
    for deletable in &setup.deletable {
        delete(setup.store.as_ref(), &deletable, &setup.meters);
    }
}

/// Deletes the records, then the objects. What can't be deleted is left, and noted: it costs room.
fn delete(store: &dyn Store, deletable: &Deletable, meters: &Meters) {
    let note = |error: StoreError| meters.note_trouble(error.to_string());
    let records = deletable.records.iter();
    let mut names = records.map(|&number| RecordNumber(number).name());
    let deleted = names.try_for_each(|name| {
        store.delete(&name)?;
        reach(Phase::RecordDeleted);
        Ok(())
    });
    if let Err(error) = deleted {
        // The objects stay as well: a record that is there may list them.
        return note(error);
    }
    for name in &deletable.objects {
        store.delete(name).unwrap_or_else(note);
        reach(Phase::ObjectDeleted);
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;
