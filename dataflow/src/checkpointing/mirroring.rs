//! The thread that keeps a copy of state for others, checkpoint after checkpoint. Nobody waits for it, and nothing waits in
//! memory for it: it goes to the newest checkpoint whenever it can.

use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use crate::checkpoint::mirroring::{Copying, Durable, Start};
use crate::checkpointing::leading::{Alarm, Event};
use crate::identity::Generation;
use crate::meters::Meters;
use crate::mirror::{Mirror, MirrorError};
use crate::run::{RETRY_PAUSE, RunError, Stopper, spawn};
use crate::store::Store;

/// What the thread works with.
pub(crate) struct MirrorSetup {
    pub(crate) generation: Generation,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) mirror: Box<dyn Mirror>,
    pub(crate) start: Start,
    pub(crate) durable: Receiver<Durable>,
    pub(crate) events: Sender<Event>,
    pub(crate) meters: Arc<Meters>,
    pub(crate) stopper: Stopper,
}

/// Starts the thread. It ends when no more checkpoints will come and the mirror is at the last one; of a run that is asked
/// to stop, or that has failed, the next one brings it there.
pub(crate) fn start(setup: MirrorSetup) -> Result<JoinHandle<()>, RunError> {
    spawn("mirror", move || {
        let _alarm = Alarm(setup.events.clone());
        let MirrorSetup {
            durable, events, ..
        } = &setup;
        let (durable, events) = (durable.clone(), events.clone());
        if let Err(generation) = Follower::new(setup).follow(&durable) {
            let error = MirrorError::Replaced(generation);
            drop(events.send(Event::Failed(RunError::Mirror(error))));
        }
    })
}

struct Follower {
    copy: Copying,
    newest: Option<Durable>,
    meters: Arc<Meters>,
    stopper: Stopper,
}

impl Follower {
    fn new(setup: MirrorSetup) -> Self {
        let Start { from, known } = setup.start;
        Follower {
            copy: Copying::new(setup.store, setup.mirror, setup.generation, known),
            newest: Some(from),
            meters: setup.meters,
            stopper: setup.stopper,
        }
    }

    /// Follows to the end. An error names the generation that has the mirror now.
    fn follow(&mut self, durable: &Receiver<Durable>) -> Result<(), Generation> {
        let mut has_ended = false;
        loop {
            self.catch_up()?;
            let is_behind = self.newest.is_some();
            if has_ended {
                if !is_behind || self.stopper.is_raised() {
                    return Ok(());
                }
                thread::sleep(RETRY_PAUSE);
                continue;
            }
            // One that is behind waits for the next checkpoint no longer than to be tried again.
            let next = match is_behind {
                false => durable.recv().map_err(|_| RecvTimeoutError::Disconnected),
                true => durable.recv_timeout(RETRY_PAUSE),
            };
            has_ended = matches!(next, Err(RecvTimeoutError::Disconnected));
            // And it goes to the newest at once.
            for next in next.into_iter().chain(durable.try_iter()) {
                self.copy.know(next.point);
                self.newest = Some(next);
            }
        }
    }

    /// Brings the mirror to the newest checkpoint, if it can be.
    fn catch_up(&mut self) -> Result<(), Generation> {
        let Some(to) = self.newest.take() else {
            return Ok(());
        };
        let Err(error) = self.copy.bring(&to) else {
            return Ok(());
        };
        self.meters.note_trouble(error.to_string());
        self.newest = Some(to);
        error.replaced().map_or(Ok(()), Err)
    }
}
