//! Decides when epochs start and what becomes of their checkpoints.
//!
//! One [`Coordinator`] per run, at worker 0. It is a plain state machine: whatever happens is told by a method
//! call, with a monotonic time that never goes back, and what is to be done comes back as [`Action`]s. It
//! holds no contents: what workers report is kept by the caller, by epoch.
//!
//! An epoch is open from its start. Its checkpoint begins when the epoch after it starts, is complete when all
//! workers have reported, and who writes outputs in their place if somebody does, and durable when its manifest was
//! created; then its outputs are published. Along that way:
//!
//! - **A manifest lists all epochs since the last durable one**, those of failed checkpoints too, so a
//!   failed checkpoint loses nothing: what workers keep of it, and report late, goes into the next manifest.
//! - **One put at a time, in the order of epochs.** While its result is unknown the same put is tried until it is
//!   known: any other manifest could contradict it. Each timeout that goes by counts as a failure, so a store
//!   that never says ends the run, and the next one sees what is there.
//! - **Nobody is to blame for who does not answer**: while outputs wait for somebody else's system to come back, the time
//!   of the checkpoints that wait for them does not run.
//! - **The final checkpoint has no next one.** When it fails it has as much time again, until more have failed in a
//!   row than the job survives.
//! - **The first epoch of a run ends as soon as it holds an output**: after a restart nobody should wait an interval
//!   for what was lost, and a run that has one durable checkpoint counts as one that came further.

mod action;
mod cuts;
mod settings;

pub use action::{Action, CheckpointFailure, JobFailure, Reporter};
pub use settings::{CheckpointSettings, PUT_RETRY_PAUSE, UNPUBLISHED_MAX};

use std::collections::VecDeque;
use std::time::Duration;

use crate::idleness::Floors;
use crate::moment::{Epoch, EventTime};
use cuts::Cuts;

/// What has become of the checkpoints of a run so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CheckpointCounts {
    /// Became durable.
    pub completed: u64,
    /// Failed, each attempt of the final one counted, and each timeout of one whose manifest may be there or not.
    pub failed: u64,
    /// Failed since the last that became durable.
    pub failed_in_a_row: u32,
    /// Have begun, and are neither durable nor failed.
    pub pending: usize,
    /// Epochs that are durable and not yet published.
    pub unpublished: usize,
    /// From the start of the last that became durable until it did.
    pub last_duration: Option<Duration>,
    /// The epoch of the last that became durable.
    pub last_durable: Option<Epoch>,
}

/// Why no epoch will start after the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// The input has ended.
    Input,
    /// A person asked for it.
    Stop,
}

/// Decides when epochs start and what becomes of their checkpoints. See the module.
#[derive(Debug)]
pub struct Coordinator {
    settings: CheckpointSettings,
    /// The latest time that any call has given.
    now: Duration,
    first: Epoch,
    open: Epoch,
    floors: Floors,
    cuts: Cuts,
    unpublished: VecDeque<Epoch>,
    counts: CheckpointCounts,
    /// When the last checkpoint started; before the first one, when the run did.
    last_start: Duration,
    /// When a checkpoint became durable or failed last.
    last_end: Option<Duration>,
    /// The next checkpoint is to start whatever interval and pause say.
    at_once: bool,
    ending: Option<Ending>,
    /// The epoch that has the final checkpoint, once the one after which nothing starts has started.
    final_epoch: Option<Epoch>,
    over: bool,
    actions: Vec<Action>,
}

impl Coordinator {
    /// A run of `workers` begins now, with `first` as the open epoch and the highest floor that an earlier run
    /// issued. That epoch the caller starts by itself.
    pub fn new(
        settings: CheckpointSettings,
        workers: usize,
        first: Epoch,
        floor: Option<EventTime>,
        now: Duration,
    ) -> Self {
        Coordinator {
            settings,
            now,
            first,
            open: first,
            floors: Floors::new(workers, floor),
            cuts: Cuts::new(workers),
            unpublished: VecDeque::new(),
            counts: CheckpointCounts::default(),
            last_start: now,
            last_end: None,
            at_once: false,
            ending: None,
            final_epoch: None,
            over: false,
            actions: Vec::new(),
        }
    }

    /// Outputs are made durable apart from the workers' parts, and reported so. To be said before the first epoch ends.
    #[must_use]
    pub fn awaiting_outputs(mut self) -> Self {
        self.cuts.await_outputs();
        self
    }

    /// Time has passed.
    #[must_use]
    pub fn tick(&mut self, now: Duration) -> Vec<Action> {
        self.after(now, |_| {})
    }

    /// When [`Self::tick`] is to be called unless something else happens before; none when only something that
    /// happens can bring anything about.
    pub fn next_deadline(&self) -> Option<Duration> {
        if self.over {
            return None;
        }
        let start = self.may_start().then(|| self.start_due());
        let times = [start, self.cuts.deadline(), self.cuts.retry_at()];
        times.into_iter().flatten().min()
    }

    /// Some worker holds an output of the open epoch. Only that of the first epoch of a run counts.
    #[must_use]
    pub fn first_output(&mut self, now: Duration) -> Vec<Action> {
        self.after(now, |this| this.at_once |= this.open == this.first)
    }

    /// How far a worker's sources are: the least watermark of its partitions that are active and not at their
    /// end, none if it has no such partition. Tells the floor of epochs that start from now on.
    pub fn watermarks(&mut self, worker: usize, least: Option<EventTime>) {
        self.floors.hear(worker, least);
    }

    /// Somebody's parts of an epoch are durable.
    #[must_use]
    pub fn reported(
        &mut self,
        now: Duration,
        by: impl Into<Reporter>,
        epoch: Epoch,
    ) -> Vec<Action> {
        self.after(now, |this| this.cuts.report(by.into(), epoch))
    }

    /// Parts of an epoch could not be written: its checkpoint fails now, unless it is the final one, which has its
    /// time. Who writes them keeps them, and reports once it could.
    #[must_use]
    pub fn report_failed(
        &mut self,
        now: Duration,
        by: impl Into<Reporter>,
        epoch: Epoch,
    ) -> Vec<Action> {
        let of = by.into();
        self.after(now, |this| {
            if this.final_epoch == Some(epoch) {
                // No checkpoint comes after it, so it is tried again for as long as its time says.
                this.cuts.drained();
                this.begin_drained();
            } else if this.cuts.can_fail(of, epoch) {
                this.fail(epoch, CheckpointFailure::NotWritten { of });
            }
        })
    }

    /// Who is to keep the outputs does not answer. No checkpoint that waits for them is to blame: it has all its time
    /// again.
    #[must_use]
    pub fn outputs_held_up(&mut self, now: Duration) -> Vec<Action> {
        self.now = self.now.max(now);
        self.cuts.extend_all(Reporter::Outputs, self.deadline());
        self.after(now, |_| {})
    }

    /// The last epoch has closed: nothing of it is on its way any more. A report of it says the same.
    #[must_use]
    pub fn drained(&mut self, now: Duration) -> Vec<Action> {
        self.after(now, |this| this.cuts.drained())
    }

    /// The put of this epoch's manifest created its record, and no record with a higher number exists. Of any put
    /// but the one under way a result says nothing.
    #[must_use]
    pub fn put_created(&mut self, now: Duration, epoch: Epoch) -> Vec<Action> {
        self.after_put(now, epoch, Self::make_durable)
    }

    /// What became of the put of this epoch's manifest is unknown. It is issued again after a pause.
    #[must_use]
    pub fn put_unknown(&mut self, now: Duration, epoch: Epoch) -> Vec<Action> {
        self.after_put(now, epoch, |this| {
            let retry_at = this.now.saturating_add(PUT_RETRY_PAUSE);
            this.cuts.put_unknown(retry_at);
        })
    }

    /// The number of the put of this epoch's manifest, or a higher one, is taken by somebody else.
    #[must_use]
    pub fn put_lost(&mut self, now: Duration, epoch: Epoch) -> Vec<Action> {
        self.after_put(now, epoch, |this| this.end(Action::Fenced))
    }

    /// The outputs of a durable epoch are published. Epochs are published in their order, so those of all durable
    /// ones before it are too.
    #[must_use]
    pub fn published(&mut self, now: Duration, epoch: Epoch) -> Vec<Action> {
        self.after(now, |this| {
            while this
                .unpublished
                .pop_front_if(|next| *next <= epoch)
                .is_some()
            {}
        })
    }

    /// Every partition of every worker has ended: the last epoch starts as soon as a checkpoint may.
    #[must_use]
    pub fn all_finished(&mut self, now: Duration) -> Vec<Action> {
        self.after(now, |this| {
            this.ending.get_or_insert(Ending::Input);
        })
    }

    /// A person asked the job to stop: the final checkpoint starts as soon as one may, whatever the interval says.
    /// When the last epoch has started already the job ends with that.
    #[must_use]
    pub fn stop(&mut self, now: Duration) -> Vec<Action> {
        self.after(now, |this| this.ending = Some(Ending::Stop))
    }

    /// A person asked for a checkpoint: one starts as soon as it may, whatever the interval says.
    #[must_use]
    pub fn trigger(&mut self, now: Duration) -> Vec<Action> {
        self.after(now, |this| this.at_once = true)
    }

    /// The epoch that started last.
    pub fn open_epoch(&self) -> Epoch {
        self.open
    }

    /// The highest floor that was issued before the end of event time: what a manifest that is written now has to
    /// hold.
    pub fn floor(&self) -> Option<EventTime> {
        self.floors.before_end()
    }

    /// What has become of the checkpoints so far.
    pub fn counts(&self) -> CheckpointCounts {
        CheckpointCounts {
            pending: self.cuts.pending(),
            unpublished: self.unpublished.len(),
            ..self.counts
        }
    }

    /// Does what time brought about, then what happened, then what that makes possible.
    fn after(&mut self, now: Duration, happened: impl FnOnce(&mut Self)) -> Vec<Action> {
        self.now = self.now.max(now);
        // One after the other, since the first that is one too many ends the run.
        for epoch in self.cuts.expired(self.now) {
            let timeout = self.settings.timeout;
            let reason = if self.cuts.putting() == Some(epoch) {
                CheckpointFailure::Unknown { timeout }
            } else {
                CheckpointFailure::TimedOut {
                    timeout,
                    missing: self.cuts.missing(epoch),
                }
            };
            self.fail(epoch, reason);
        }
        if !self.over {
            happened(self);
        }
        if !self.over {
            self.proceed();
        }
        std::mem::take(&mut self.actions)
    }

    /// As [`Self::after`], if that put is under way.
    fn after_put(
        &mut self,
        now: Duration,
        epoch: Epoch,
        happened: impl FnOnce(&mut Self),
    ) -> Vec<Action> {
        self.after(now, |this| {
            if this.cuts.putting() == Some(epoch) {
                happened(this);
            }
        })
    }

    fn proceed(&mut self) {
        self.begin_drained();
        if let Some(epoch) = self.cuts.retry(self.now) {
            self.actions.push(Action::RetryPut { epoch });
        }
        if let Some((epoch, covers)) = self.cuts.next_put() {
            self.actions.push(Action::PutManifest { epoch, covers });
        }
        if self.may_start() && self.start_due() <= self.now {
            self.start_epoch();
        }
        let all_durable = self.final_epoch.is_some() && self.cuts.len() == 0;
        if all_durable && self.unpublished.is_empty() {
            self.end(Action::Finished);
        }
    }

    /// Whether a checkpoint may start, if one is due.
    fn may_start(&self) -> bool {
        let nothing_follows = self.over || self.final_epoch.is_some();
        let pending = self.cuts.pending();
        !nothing_follows && pending < self.settings.most_pending() && self.has_room(pending)
    }

    /// Whether the epochs that a start adds have room among those that are not yet published.
    fn has_room(&self, pending: usize) -> bool {
        // The last epoch ends without another start, so it is added together with the one before.
        let added = if self.ending == Some(Ending::Input) {
            2
        } else {
            1
        };
        let not_published = self.unpublished.len().saturating_add(self.cuts.len());
        // With nothing to wait for there is always room: else epochs of failed checkpoints, which only
        // another checkpoint can make durable, would hold it up for ever.
        let nothing_to_wait_for = pending == 0 && self.unpublished.is_empty();
        let most = self.settings.unpublished_max as usize;
        nothing_to_wait_for || not_published.saturating_add(added) <= most
    }

    /// From when on a checkpoint is due.
    fn start_due(&self) -> Duration {
        if self.at_once || self.ending.is_some() {
            return self.now;
        }
        let by_interval = self.last_start.saturating_add(self.settings.interval);
        let by_pause = self
            .last_end
            .map(|end| end.saturating_add(self.settings.min_pause));
        by_pause.map_or(by_interval, |by_pause| by_pause.max(by_interval))
    }

    fn start_epoch(&mut self) {
        let ended = self.open;
        let epoch = Epoch(ended.0.saturating_add(1));
        self.cuts.begin(ended, self.now, self.deadline());
        let floor = match self.ending {
            None => self.floors.raise(),
            Some(Ending::Input) => {
                self.cuts.drain(epoch);
                self.final_epoch = Some(epoch);
                self.floors.end()
            }
            // Nothing moves event time on the way to a stop, so that what waits for it stays in the state.
            Some(Ending::Stop) => {
                self.final_epoch = Some(ended);
                self.floors.issued()
            }
        };
        self.open = epoch;
        self.last_start = self.now;
        self.at_once = false;
        self.actions.push(Action::StartEpoch {
            epoch,
            floor,
            last: self.ending == Some(Ending::Input),
            stop: self.ending == Some(Ending::Stop),
        });
    }

    /// The last epoch ended by itself; its checkpoint begins once it may.
    fn begin_drained(&mut self) {
        if self.cuts.pending() < self.settings.most_pending() {
            self.cuts.begin_drained(self.now, self.deadline());
        }
    }

    fn make_durable(&mut self) {
        let Some(covered) = self.cuts.put_created() else {
            return;
        };
        self.unpublished.extend(&covered.covers);
        self.last_end = Some(self.now);
        self.counts.completed = self.counts.completed.saturating_add(1);
        self.counts.failed_in_a_row = 0;
        self.counts.last_duration = Some(self.now.saturating_sub(covered.began));
        self.counts.last_durable = Some(covered.epoch);
        self.actions.push(Action::Durable {
            epoch: covered.epoch,
            covers: covered.covers,
        });
    }

    fn fail(&mut self, epoch: Epoch, reason: CheckpointFailure) {
        if self.over {
            return;
        }
        if self.final_epoch == Some(epoch) || self.cuts.putting() == Some(epoch) {
            self.cuts.extend(epoch, self.deadline());
        } else {
            self.cuts.fail(epoch);
        }
        self.last_end = Some(self.now);
        self.counts.failed = self.counts.failed.saturating_add(1);
        self.counts.failed_in_a_row = self.counts.failed_in_a_row.saturating_add(1);
        self.actions.push(Action::CheckpointFailed {
            epoch,
            reason: reason.clone(),
        });
        let (failures, tolerable) = (
            self.counts.failed_in_a_row,
            self.settings.tolerable_failures,
        );
        if failures > tolerable {
            self.end(Action::FailJob(JobFailure {
                failures,
                tolerable,
                epoch,
                last: reason,
            }));
        }
    }

    /// When a checkpoint that begins now times out.
    fn deadline(&self) -> Duration {
        self.now.saturating_add(self.settings.timeout)
    }

    fn end(&mut self, action: Action) {
        self.over = true;
        self.actions.push(action);
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;
