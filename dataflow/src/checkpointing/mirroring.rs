//! The thread that keeps a copy of state for others, checkpoint after checkpoint. Nobody waits for it, and nothing waits in
//! memory for it: it goes to the newest checkpoint whenever it can.

use std::cell::OnceCell;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use crate::checkpoint::mirroring::{Copying, Durable, Pins, Start};
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

/// How long a run that is asked to stop waits for its mirror; what is missing then the next run writes.
const LAST_WAIT: Duration = Duration::from_secs(2);

/// How often it is said at most that a mirror is behind, if nothing else is the reason.
const SAID_EVERY: Duration = Duration::from_secs(4);

/// Starts the thread. It ends when no more checkpoints will come and the mirror is at the last one; of a run that is asked
/// to stop, or that has failed, the next one brings it there. It gives why the run must fail, if it must.
pub(crate) fn start(setup: MirrorSetup) -> Result<(Pins, JoinHandle<Option<RunError>>), RunError> {
    let (events, durable) = (setup.events.clone(), setup.durable.clone());
    let mut follower = Follower::new(setup);
    let pins = follower.copy.pins();
    let thread = spawn("mirror", move || {
        let _alarm = Alarm(events.clone());
        let generation = follower.follow(&durable).err()?;
        let replaced = || RunError::Mirror(MirrorError::Replaced(generation));
        // The leader is not there any more if the run is at its end.
        drop(events.send(Event::Failed(replaced())));
        Some(replaced())
    })?;
    Ok((pins, thread))
}

struct Follower {
    copy: Copying,
    newest: Option<Durable>,
    meters: Arc<Meters>,
    stopper: Stopper,
    /// Since when the run is to stop.
    stopping: OnceCell<Instant>,
    /// What was said last, and when.
    said: Option<(String, Instant)>,
}

impl Follower {
    fn new(setup: MirrorSetup) -> Self {
        let Start { from, known } = setup.start;
        Follower {
            copy: Copying::new(setup.store, setup.mirror, setup.generation, known),
            newest: Some(from),
            meters: setup.meters,
            stopper: setup.stopper,
            stopping: OnceCell::new(),
            said: None,
        }
    }

    /// Follows to the end. An error names the generation that has the mirror now.
    fn follow(&mut self, durable: &Receiver<Durable>) -> Result<(), Generation> {
        let mut has_ended = false;
        loop {
            self.catch_up()?;
            let is_behind = self.newest.is_some();
            if has_ended {
                if !is_behind || !self.goes_on() {
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
        let (stopper, stopping) = (&self.stopper, &self.stopping);
        let Err(error) = self.copy.bring(&to, &|| goes_on(stopper, stopping)) else {
            self.meters.note_mirrored(to.point.epoch);
            return Ok(());
        };
        self.newest = Some(to);
        let text = error.to_string();
        let is_known = |(said, at): &(String, Instant)| *said == text && at.elapsed() < SAID_EVERY;
        if !self.said.as_ref().is_some_and(is_known) {
            self.meters.note_trouble(text.clone());
            self.said = Some((text, Instant::now()));
        }
        error.replaced().map_or(Ok(()), Err)
    }

    fn goes_on(&self) -> bool {
        goes_on(&self.stopper, &self.stopping)
    }
}

/// Whether somebody still waits for a mirror.
fn goes_on(stopper: &Stopper, stopping: &OnceCell<Instant>) -> bool {
    let has_time = || stopping.get_or_init(Instant::now).elapsed() < LAST_WAIT;
    !stopper.has_failed() && (!stopper.is_raised() || has_time())
}
