//! What must hold of a coordinator, by plain sets and no cleverness: it is told each call and what came of it, and
//! works out every fact anew from all that it has seen.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Event, ms};
use crate::checkpoint::coordinator::{
    Action, CheckpointFailure, CheckpointSettings, JobFailure, PUT_RETRY_PAUSE, Reporter,
};
use crate::moment::{Epoch, EventTime};

pub(super) struct Model {
    pub(super) settings: CheckpointSettings,
    pub(super) workers: usize,
    first: u64,
    pub(super) open: u64,
    /// When the run began, then when each checkpoint started.
    starts: Vec<Duration>,
    /// When checkpoints ended, durable or failed.
    ends: Vec<Duration>,
    /// When the checkpoint of an epoch began, or last failed if it is the final one or its manifest is being put.
    began: BTreeMap<u64, Duration>,
    reports: BTreeSet<(u64, usize)>,
    failed: BTreeSet<u64>,
    /// The put under way, and since when it is unknown.
    put: Option<(Vec<u64>, Option<Duration>)>,
    /// In the order of manifests.
    durable: Vec<u64>,
    pub(super) published: u64,
    failed_in_a_row: u32,
    pub(super) watermarks: BTreeMap<usize, Option<i64>>,
    floor: Option<i64>,
    at_once: bool,
    wants_last: bool,
    wants_stop: bool,
    last: Option<u64>,
    stopped: Option<u64>,
    drained: bool,
    pub(super) over: Option<Action>,
}

impl Model {
    pub(super) fn new(settings: CheckpointSettings, workers: usize, first: u64) -> Self {
        Model {
            settings,
            workers,
            first,
            open: first,
            starts: vec![ms(0)],
            ends: Vec::new(),
            began: BTreeMap::new(),
            reports: BTreeSet::new(),
            failed: BTreeSet::new(),
            put: None,
            durable: Vec::new(),
            published: first - 1,
            failed_in_a_row: 0,
            watermarks: BTreeMap::new(),
            floor: None,
            at_once: false,
            wants_last: false,
            wants_stop: false,
            last: None,
            stopped: None,
            drained: false,
            over: None,
        }
    }

    /// Epochs that have ended, or end by themselves.
    fn ended(&self) -> impl Iterator<Item = u64> + use<> {
        let end = self.last.map_or(self.open, |last| last + 1);
        self.first..end
    }

    /// Ended epochs and workers whose reports of them are missing.
    pub(super) fn unreported(&self) -> Vec<(u64, usize)> {
        let all = self
            .ended()
            .flat_map(|epoch| (0..self.workers).map(move |worker| (epoch, worker)));
        all.filter(|pair| !self.reports.contains(pair)).collect()
    }

    fn uncovered(&self) -> Vec<u64> {
        let ended = self.ended();
        ended
            .filter(|epoch| !self.durable.contains(epoch))
            .collect()
    }

    pub(super) fn pending(&self) -> Vec<u64> {
        let uncovered = self.uncovered().into_iter();
        uncovered
            .filter(|epoch| self.began.contains_key(epoch) && !self.failed.contains(epoch))
            .collect()
    }

    pub(super) fn unpublished(&self) -> usize {
        let durable = self.durable.iter();
        durable.filter(|epoch| **epoch > self.published).count()
    }

    /// The epoch whose manifest is being put.
    pub(super) fn putting(&self) -> Option<u64> {
        let put = self.put.as_ref();
        put.and_then(|(covers, _)| covers.last().copied())
    }

    fn most_pending(&self) -> usize {
        self.settings.max_concurrent as usize
    }

    fn is_final(&self, epoch: u64) -> bool {
        self.last.or(self.stopped) == Some(epoch)
    }

    /// Whether a checkpoint starts now, for whatever reason.
    fn starts_now(&self, now: Duration) -> bool {
        if self.last.is_some() || self.stopped.is_some() {
            return false;
        }
        let pending = self.pending().len();
        let adds = if self.wants_last && !self.wants_stop {
            2
        } else {
            1
        };
        let full = self.unpublished() + self.uncovered().len() + adds
            > self.settings.unpublished_max as usize;
        let could_get_less = pending > 0 || self.unpublished() > 0;
        if pending >= self.most_pending() || (full && could_get_less) {
            return false;
        }
        let interval = self
            .starts
            .iter()
            .all(|start| now >= *start + self.settings.interval);
        let pause = self
            .ends
            .iter()
            .all(|end| now >= *end + self.settings.min_pause);
        self.at_once || self.wants_last || self.wants_stop || (interval && pause)
    }

    /// The manifest that is put now.
    fn puts_now(&self) -> Option<Vec<u64>> {
        let epoch = *self.pending().first()?;
        let covers: Vec<u64> = self
            .uncovered()
            .into_iter()
            .filter(|e| *e <= epoch)
            .collect();
        let missing = self.unreported();
        let complete = missing.iter().all(|(epoch, _)| !covers.contains(epoch));
        (self.put.is_none() && complete).then_some(covers)
    }

    fn begin_drained(&mut self, now: Duration) {
        if let Some(last) = self.last
            && self.drained
            && self.pending().len() < self.most_pending()
        {
            self.began.entry(last).or_insert(now);
        }
    }

    fn next_floor(&self) -> Option<i64> {
        let all_known = self.watermarks.len() == self.workers;
        let least = self.watermarks.values().flatten().min().copied();
        self.floor.max(least.filter(|_| all_known))
    }

    /// Says what has to come of a call, and notes it.
    pub(super) fn expect(&mut self, now: Duration, event: Event) -> Vec<Action> {
        let mut expected = Vec::new();
        if self.over.is_some() {
            return expected;
        }
        let putting = self.putting();
        for epoch in self.pending() {
            let late = now >= self.began[&epoch] + self.settings.timeout;
            if !late || self.over.is_some() {
                continue;
            }
            let timeout = self.settings.timeout;
            if putting == Some(epoch) {
                let is_unknown = self.put.as_ref().is_some_and(|(_, since)| since.is_some());
                if is_unknown {
                    let reason = CheckpointFailure::Unknown { timeout };
                    self.fail(now, epoch, reason, &mut expected);
                }
            } else {
                let missing: BTreeSet<usize> = self
                    .unreported()
                    .into_iter()
                    .filter(|(e, _)| *e <= epoch)
                    .map(|(_, worker)| worker)
                    .collect();
                let reason = CheckpointFailure::TimedOut {
                    timeout,
                    missing: missing.into_iter().map(Reporter::Worker).collect(),
                };
                self.fail(now, epoch, reason, &mut expected);
            }
        }
        if self.over.is_none() {
            self.note(now, event, &mut expected);
        }
        if self.over.is_none() {
            self.proceed(now, &mut expected);
        }
        expected
    }

    fn fail(
        &mut self,
        now: Duration,
        epoch: u64,
        reason: CheckpointFailure,
        expected: &mut Vec<Action>,
    ) {
        self.ends.push(now);
        if self.is_final(epoch) || self.putting() == Some(epoch) {
            self.began.insert(epoch, now);
        } else {
            assert!(self.failed.insert(epoch), "epoch {epoch} failed twice");
        }
        self.failed_in_a_row += 1;
        expected.push(Action::CheckpointFailed {
            epoch: Epoch(epoch),
            reason: reason.clone(),
        });
        if self.failed_in_a_row > self.settings.tolerable_failures {
            self.end(
                Action::FailJob(JobFailure {
                    failures: self.failed_in_a_row,
                    tolerable: self.settings.tolerable_failures,
                    epoch: Epoch(epoch),
                    last: reason,
                }),
                expected,
            );
        }
    }

    fn end(&mut self, action: Action, expected: &mut Vec<Action>) {
        self.over = Some(action.clone());
        expected.push(action);
    }

    fn note(&mut self, now: Duration, event: Event, expected: &mut Vec<Action>) {
        match event {
            // Of watermarks the race tells without a time.
            Event::Tick | Event::Watermarks(..) => {}
            Event::FirstOutput => self.at_once |= self.open == self.first,
            Event::Trigger => self.at_once = true,
            Event::Reported(worker, epoch) => {
                if self.uncovered().contains(&epoch) {
                    self.reports.insert((epoch, worker));
                    self.drained |= self.last == Some(epoch);
                }
            }
            Event::ReportFailed(worker, epoch) => {
                self.drained |= self.last == Some(epoch);
                self.begin_drained(now);
                let missing = self.unreported().contains(&(epoch, worker));
                if missing && self.pending().contains(&epoch) && !self.is_final(epoch) {
                    let reason = CheckpointFailure::NotWritten { of: worker.into() };
                    self.fail(now, epoch, reason, expected);
                }
            }
            Event::Drained => self.drained |= self.last.is_some(),
            Event::PutCreated(epoch) if self.putting() == Some(epoch) => {
                let (covers, _) = self.put.take().unwrap();
                self.ends.push(now);
                self.failed_in_a_row = 0;
                self.durable.extend(&covers);
                expected.push(Action::Durable {
                    epoch: Epoch(epoch),
                    covers: covers.into_iter().map(Epoch).collect(),
                });
            }
            Event::PutUnknown(epoch) if self.putting() == Some(epoch) => {
                if let Some((_, unknown @ None)) = &mut self.put {
                    *unknown = Some(now);
                }
            }
            Event::PutLost(epoch) if self.putting() == Some(epoch) => {
                self.end(Action::Fenced, expected);
            }
            // Of a put that is not under way.
            Event::PutCreated(_) | Event::PutUnknown(_) | Event::PutLost(_) => {}
            Event::Published(epoch) => {
                let durable = self.durable.iter().filter(|durable| **durable <= epoch);
                let upto = durable.max().copied().unwrap_or_default();
                self.published = self.published.max(upto);
            }
            Event::AllFinished => self.wants_last = true,
            Event::Stop => self.wants_stop |= self.last.is_none(),
        }
    }

    fn proceed(&mut self, now: Duration, expected: &mut Vec<Action>) {
        self.begin_drained(now);
        if let Some((covers, unknown)) = &mut self.put
            && unknown.is_some_and(|since| now >= since + PUT_RETRY_PAUSE)
        {
            *unknown = None;
            let epoch = Epoch(*covers.last().unwrap());
            expected.push(Action::RetryPut { epoch });
        }
        if let Some(covers) = self.puts_now() {
            let epochs: Vec<_> = covers.iter().copied().map(Epoch).collect();
            let epoch = *epochs.last().unwrap();
            expected.push(Action::PutManifest {
                epoch,
                covers: epochs,
            });
            self.put = Some((covers, None));
        }
        if self.starts_now(now) {
            self.began.insert(self.open, now);
            self.starts.push(now);
            let stop = self.wants_stop;
            let last = self.wants_last && !stop;
            if stop {
                self.stopped = Some(self.open);
            } else if last {
                self.floor = Some(i64::MAX);
                self.last = Some(self.open + 1);
            } else {
                self.floor = self.next_floor();
            }
            self.open += 1;
            self.at_once = false;
            expected.push(Action::StartEpoch {
                epoch: Epoch(self.open),
                floor: self.floor.map(EventTime),
                last,
                stop,
            });
        }
        let ends = self.last.or(self.stopped);
        if ends.is_some_and(|end| self.published >= end) {
            self.end(Action::Finished, expected);
        }
    }
}
