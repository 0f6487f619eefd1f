//! Epochs that have ended and are in no durable manifest yet, and the one manifest that is being put.

use std::collections::VecDeque;
use std::time::Duration;

use crate::checkpoint::coordinator::action::Reporter;
use crate::moment::Epoch;

/// Where the checkpoint of an epoch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Not begun. Only the last epoch is ever here: it ends by itself, when nothing of it is on its way any
    /// more, and how long that takes is no matter of its checkpoint.
    Draining { drained: bool },
    /// Waits for reports, or for the manifest before its own.
    Pending { began: Duration, deadline: Duration },
    /// Its manifest is being put, so it stays here until that is known. Each time that this takes too long counts as a
    /// failure.
    Putting { began: Duration, deadline: Duration },
    /// Failed; the next manifest lists it.
    Failed,
}

#[derive(Debug)]
struct Cut {
    epoch: Epoch,
    stage: Stage,
    /// Whose parts are not known to be durable.
    missing: Vec<Reporter>,
}

impl Cut {
    fn is_pending(&self) -> bool {
        matches!(self.stage, Stage::Pending { .. } | Stage::Putting { .. })
    }

    fn is_complete(&self) -> bool {
        self.missing.is_empty()
    }
}

/// A manifest became durable.
#[derive(Debug)]
pub(super) struct Covered {
    pub(super) epoch: Epoch,
    pub(super) covers: Vec<Epoch>,
    pub(super) began: Duration,
}

/// The ended epochs, in ascending order without gaps.
#[derive(Debug)]
pub(super) struct Cuts {
    /// Whose parts a manifest needs of each epoch.
    reporters: Vec<Reporter>,
    cuts: VecDeque<Cut>,
    /// While a put's result is unknown: when it is tried again.
    retry_at: Option<Duration>,
}

impl Cuts {
    pub(super) fn new(workers: usize) -> Self {
        Cuts {
            reporters: (0..workers).map(Reporter::Worker).collect(),
            cuts: VecDeque::new(),
            retry_at: None,
        }
    }

    /// Outputs are made durable apart from the workers' parts.
    pub(super) fn await_outputs(&mut self) {
        self.reporters.push(Reporter::Outputs);
    }

    /// An epoch has ended; its checkpoint begins.
    pub(super) fn begin(&mut self, epoch: Epoch, began: Duration, deadline: Duration) {
        self.push(epoch, Stage::Pending { began, deadline });
    }

    /// The last epoch starts, and will end by itself.
    pub(super) fn drain(&mut self, epoch: Epoch) {
        self.push(epoch, Stage::Draining { drained: false });
    }

    fn push(&mut self, epoch: Epoch, stage: Stage) {
        self.cuts.push_back(Cut {
            epoch,
            stage,
            missing: self.reporters.clone(),
        });
    }

    /// Nothing of the last epoch is on its way any more.
    pub(super) fn drained(&mut self) {
        for cut in &mut self.cuts {
            if let Stage::Draining { drained } = &mut cut.stage {
                *drained = true;
            }
        }
    }

    /// Begins the checkpoint of a last epoch that has drained.
    pub(super) fn begin_drained(&mut self, began: Duration, deadline: Duration) {
        for cut in &mut self.cuts {
            if cut.stage == (Stage::Draining { drained: true }) {
                cut.stage = Stage::Pending { began, deadline };
            }
        }
    }

    /// Ended epochs that no durable manifest lists.
    pub(super) fn len(&self) -> usize {
        self.cuts.len()
    }

    /// Checkpoints that have begun and neither failed nor become durable.
    pub(super) fn pending(&self) -> usize {
        self.cuts.iter().filter(|cut| cut.is_pending()).count()
    }

    /// Somebody's parts of an epoch are durable. Of an epoch that has not ended, or that a manifest lists
    /// already, there is nothing to be noted.
    pub(super) fn report(&mut self, reporter: Reporter, epoch: Epoch) {
        let Some(cut) = self.cuts.iter_mut().find(|cut| cut.epoch == epoch) else {
            return;
        };
        cut.missing.retain(|missing| *missing != reporter);
        if let Stage::Draining { drained } = &mut cut.stage {
            // An epoch closes on all workers at once, so who reports proves that it has.
            *drained = true;
        }
    }

    /// Whether this reporter can still fail this epoch's checkpoint: it has begun, and the reporter's parts are not
    /// there.
    pub(super) fn can_fail(&self, reporter: Reporter, epoch: Epoch) -> bool {
        let cut = self.cuts.iter().find(|cut| cut.epoch == epoch);
        cut.is_some_and(|cut| {
            cut.missing.contains(&reporter) && matches!(cut.stage, Stage::Pending { .. })
        })
    }

    /// Checkpoints whose time is up.
    pub(super) fn expired(&self, now: Duration) -> Vec<Epoch> {
        let deadlines = self.deadlines();
        let expired = deadlines.filter(|(_, deadline)| *deadline <= now);
        expired.map(|(epoch, _)| epoch).collect()
    }

    /// When which checkpoints time out. One whose manifest is being put has time until its result is known, or known
    /// to be unknown.
    fn deadlines(&self) -> impl Iterator<Item = (Epoch, Duration)> {
        self.cuts.iter().filter_map(|cut| match cut.stage {
            Stage::Pending { deadline, .. } => Some((cut.epoch, deadline)),
            Stage::Putting { deadline, .. } if self.retry_at.is_some() => {
                Some((cut.epoch, deadline))
            }
            _ => None,
        })
    }

    /// Whose parts a manifest of this epoch lacks.
    pub(super) fn missing(&self, epoch: Epoch) -> Vec<Reporter> {
        let lacks = |reporter: &Reporter| {
            let mut cuts = self.cuts.iter().take_while(|cut| cut.epoch <= epoch);
            cuts.any(|cut| cut.missing.contains(reporter))
        };
        self.reporters.iter().copied().filter(lacks).collect()
    }

    /// A checkpoint failed: the manifest of a later epoch will list it.
    pub(super) fn fail(&mut self, epoch: Epoch) {
        if let Some(cut) = self.cuts.iter_mut().find(|cut| cut.epoch == epoch) {
            cut.stage = Stage::Failed;
        }
    }

    /// A checkpoint failed and stays where it is: it has as much time again.
    pub(super) fn extend(&mut self, epoch: Epoch, until: Duration) {
        if let Some(cut) = self.cuts.iter_mut().find(|cut| cut.epoch == epoch)
            && let Stage::Pending { deadline, .. } | Stage::Putting { deadline, .. } =
                &mut cut.stage
        {
            *deadline = until;
        }
    }

    /// What waits for this reporter has time until then.
    pub(super) fn extend_all(&mut self, reporter: Reporter, until: Duration) {
        for cut in &mut self.cuts {
            if let Stage::Pending { deadline, .. } = &mut cut.stage
                && cut.missing.contains(&reporter)
            {
                *deadline = until;
            }
        }
    }

    /// Issues the next put, if none is under way and all that the manifest has to list has been reported. The one
    /// under way is always that of the oldest pending checkpoint.
    pub(super) fn next_put(&mut self) -> Option<(Epoch, Vec<Epoch>)> {
        let next = self.cuts.iter().position(Cut::is_pending)?;
        let listed = self.cuts.iter().take(next.saturating_add(1));
        if !listed.clone().all(Cut::is_complete) {
            return None;
        }
        let covers = listed.map(|cut| cut.epoch).collect();
        let cut = self.cuts.get_mut(next)?;
        let Stage::Pending { began, deadline } = cut.stage else {
            return None;
        };
        cut.stage = Stage::Putting { began, deadline };
        Some((cut.epoch, covers))
    }

    /// The epoch whose manifest is being put.
    pub(super) fn putting(&self) -> Option<Epoch> {
        let putting = |cut: &&Cut| matches!(cut.stage, Stage::Putting { .. });
        self.cuts.iter().find(putting).map(|cut| cut.epoch)
    }

    /// The result of the put under way is unknown: it is due again then.
    pub(super) fn put_unknown(&mut self, retry_at: Duration) {
        if self.retry_at.is_none() {
            self.retry_at = Some(retry_at);
        }
    }

    /// When the put under way is due again, if its result is unknown.
    pub(super) fn retry_at(&self) -> Option<Duration> {
        self.retry_at
    }

    /// The put under way is issued again, if it is due.
    pub(super) fn retry(&mut self, now: Duration) -> Option<Epoch> {
        if self.retry_at? > now {
            return None;
        }
        self.retry_at = None;
        self.putting()
    }

    /// The put under way has succeeded: what its manifest lists is durable.
    pub(super) fn put_created(&mut self) -> Option<Covered> {
        let putting = |cut: &Cut| match cut.stage {
            Stage::Putting { began, .. } => Some((cut.epoch, began)),
            _ => None,
        };
        let (epoch, began) = self.cuts.iter().find_map(putting)?;
        self.retry_at = None;
        let mut covers = Vec::new();
        while let Some(cut) = self.cuts.pop_front_if(|cut| cut.epoch <= epoch) {
            covers.push(cut.epoch);
        }
        Some(Covered {
            epoch,
            covers,
            began,
        })
    }

    /// When the next of the checkpoints times out.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.deadlines().map(|(_, deadline)| deadline).min()
    }
}
