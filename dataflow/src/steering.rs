//! Who decides about partitions that fall silent or are found: what an epoch begins with, besides its number.
//!
//! In a run with checkpoints the leader does, whenever its coordinator starts an epoch. Without them there is one
//! epoch, and a thread of its own here says at a fixed pace what would begin with the next.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use crate::control::{StartEpoch, Then};
use crate::idleness::{Floors, Idle};
use crate::moment::{Epoch, EventTime};
use crate::run::{PanicAlarm, RunError, RunShared, spawn};
use crate::source::Partition;

/// From one floor to the next in a run without checkpoints. Events wait no longer than that for a floor in event-time
/// order, and ten commands a second cost nothing.
pub(crate) const FLOOR_INTERVAL: Duration = Duration::from_millis(100);

/// What changes with the beginning of an epoch.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// Partitions that are idle from there on.
    pub(crate) idle: Vec<Idle>,
    /// Partitions that are new.
    pub(crate) found: Vec<Partition>,
}

impl Changes {
    /// As workers are told.
    pub(crate) fn command(self, epoch: Epoch, floor: Option<EventTime>, then: Then) -> StartEpoch {
        StartEpoch {
            epoch,
            floor,
            then,
            idle: self.idle.into(),
            found: self.found.into(),
        }
    }
}

/// Looks for partitions at the pace of their source.
#[derive(Debug, Default)]
pub(crate) struct Lookout {
    /// A reading of the clock; none before the first look, which is due at once: the source was opened before.
    looked: Option<Duration>,
}

impl Lookout {
    /// What an epoch begins with that starts now. A look that fails ends the run.
    pub(crate) fn changes(&mut self, job: &RunShared, now: Duration) -> Changes {
        let Some(source) = job.source() else {
            return Changes::default();
        };
        let is_due = source.look_every().is_some_and(|every| {
            let due = self.looked.map(|looked| looked.saturating_add(every));
            due.is_none_or(|due| due <= now)
        });
        let mut found = Vec::new();
        if is_due {
            self.looked = Some(now);
            match source.look() {
                Ok(partitions) => found = partitions,
                Err(error) => job.fail(RunError::Source(error)),
            }
        }
        Changes {
            idle: job.silences.all(),
            found,
        }
    }
}

/// The thread of a run without checkpoints. Hanging up on it ends it.
pub(crate) struct Steering {
    over: Sender<()>,
    thread: JoinHandle<()>,
}

impl Steering {
    /// Starts it; it tells each worker through one of `commands`.
    pub(crate) fn start(
        job: Arc<RunShared>,
        commands: Vec<Sender<StartEpoch>>,
    ) -> Result<Self, RunError> {
        let (over, hung_up) = crossbeam_channel::bounded(0);
        let run = move || {
            let _alarm = PanicAlarm(Arc::clone(&job));
            steer(&job, &commands, &hung_up);
        };
        let thread = spawn("steering", run)?;
        Ok(Steering { over, thread })
    }

    /// Ends it. If it panicked the run has failed.
    pub(crate) fn end(self) {
        drop(self.over);
        drop(self.thread.join());
    }
}

fn steer(job: &RunShared, commands: &[Sender<StartEpoch>], hung_up: &Receiver<()>) {
    let mut lookout = Lookout::default();
    let mut floors = Floors::new(commands.len(), None);
    let mut epoch = Epoch(0);
    let mut told = None;
    while hung_up.recv_timeout(FLOOR_INTERVAL) == Err(RecvTimeoutError::Timeout) {
        for worker in 0..commands.len() {
            floors.hear(worker, job.reached.least(worker));
        }
        let floor = floors.raise();
        let changes = lookout.changes(job, job.clock.monotonic());
        if told == floor && changes.idle.is_empty() && changes.found.is_empty() {
            continue;
        }
        told = floor;
        epoch = Epoch(epoch.0 + 1);
        let command = changes.command(epoch, floor, Then::ReadOn);
        for worker in commands {
            // One that has ended does not listen.
            worker.send(command.clone()).ok();
        }
        job.flow.wake_all();
    }
}
