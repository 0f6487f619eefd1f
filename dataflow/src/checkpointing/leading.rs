//! The thread that leads a run with checkpoints: it tells the coordinator what happens, does what the coordinator
//! says, and keeps the ledger and the log.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};

use crate::checkpoint::coordinator::{Action, CheckpointFailure, Coordinator, Reporter};
use crate::checkpoint::fault::FormatError;
use crate::checkpoint::folding::{FoldOrder, Folds};
use crate::checkpoint::frame::ObjectRef;
use crate::checkpoint::ledger::{Heading, Ledger, Placed, Report, listing};
use crate::checkpoint::log::{ManifestLog, Recorded};
use crate::checkpoint::manifest::{Manifest, Record};
use crate::checkpoint::mirroring::{Durable, Pins};
use crate::checkpoint::names::DataName;
use crate::checkpoint::record::encode;
use crate::checkpoint::retention::{Deletable, Retention};
use crate::checkpointing::publishing::ToPublish;
use crate::clock::Clock;
use crate::control::{StartEpoch, Then};
use crate::faults::phases::{Phase, reach};
use crate::faults::{self, Defect};
use crate::identity::CheckpointId;
use crate::meters::{Meters, Totals};
use crate::moment::{Epoch, EventTime};
use crate::run::{RunError, RunShared};
use crate::sink::SinkError;
use crate::steering::{Changes, Lookout};

/// How long the thread sleeps at most before it looks whether the run was asked to stop.
const LOOK_MOST: Duration = Duration::from_millis(20);

/// What happens in a run with checkpoints.
#[derive(Debug)]
pub(crate) enum Event {
    /// Some worker holds an output.
    FirstOutput,
    /// A worker's part of an epoch is durable.
    Reported(usize, Report),
    /// It could not be written; the worker's writer tries again.
    NotWritten(usize, Epoch, FormatError),
    /// All outputs of an epoch are durable where they will stay.
    Placed(Epoch, Placed),
    /// There was no room for some; they are written again.
    NotPlaced(Epoch, SinkError),
    /// Who is to keep them does not answer; they wait.
    PlaceAway(SinkError),
    /// All partitions of a worker have ended.
    AllEnded(usize),
    /// An epoch is published.
    Published(Epoch),
    /// It could not be; the publisher tries again.
    NotPublished(SinkError),
    /// These are folded into that object, which is durable.
    Folded(FoldOrder, ObjectRef),
    /// What was to be folded could not be.
    NotFolded(FormatError),
    /// The run can't go on.
    Failed(RunError),
    /// A thread panicked.
    Panicked,
}

/// Tells the leader that a thread is unwinding, which would otherwise wait for it for ever.
pub(crate) struct Alarm(pub(crate) Sender<Event>);

impl Drop for Alarm {
    fn drop(&mut self) {
        if thread::panicking() {
            drop(self.0.send(Event::Panicked));
        }
    }
}

/// What the leader works with.
pub(crate) struct Leader {
    pub(crate) coordinator: Coordinator,
    pub(crate) ledger: Ledger,
    pub(crate) log: ManifestLog,
    pub(crate) retention: Retention,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) meters: Arc<Meters>,
    /// By worker.
    pub(crate) commands: Vec<Sender<StartEpoch>>,
    pub(crate) events: Receiver<Event>,
    pub(crate) publisher: Sender<ToPublish>,
    /// Who copies state for others; none if nobody does.
    pub(crate) mirror: Option<MirrorLine>,
    pub(crate) folder: Sender<FoldOrder>,
    pub(crate) collector: Sender<Deletable>,
    pub(crate) folds: Folds,
    pub(crate) job: Arc<RunShared>,
    pub(crate) lookout: Lookout,
    /// Workers whose input has ended.
    pub(crate) ended: Vec<bool>,
    /// The last epoch, once it has begun.
    pub(crate) last: Option<Epoch>,
    /// The manifest under way.
    pub(crate) putting: Option<Putting>,
    pub(crate) is_stopping: bool,
}

/// The way to a mirror, and what it is reading.
pub(crate) struct MirrorLine {
    pub(crate) durable: Sender<Durable>,
    pub(crate) pins: Pins,
}

/// A manifest under way.
pub(crate) struct Putting {
    manifest: Manifest,
    bytes: Vec<u8>,
    /// Why it is not known what became of it.
    trouble: Option<String>,
}

impl Leader {
    /// Leads the run to its end. Gives what the job had counted when the last checkpoint was taken.
    pub(crate) fn run(mut self) -> Totals {
        self.lead();
        self.ledger.totals()
    }

    fn lead(&mut self) {
        let first = self.coordinator.open_epoch();
        self.ledger.begin(first, CheckpointId(rand::random()));
        reach(Phase::FirstEpochOpened);
        loop {
            let now = self.clock.monotonic();
            let event = self.wait(now);
            self.hear();
            let actions = match event {
                Some(event) => self.take(event),
                None => self.coordinator.tick(self.clock.monotonic()),
            };
            if self.act(actions) || self.job.has_failed() {
                return;
            }
            if self.job.is_stopping() && !std::mem::replace(&mut self.is_stopping, true) {
                let actions = self.coordinator.stop(self.clock.monotonic());
                if self.act(actions) {
                    return;
                }
            }
        }
    }

    /// How far sources are now, by which the floor of an epoch goes that starts now.
    fn hear(&mut self) {
        for worker in 0..self.commands.len() {
            let least = self.job.reached.least(worker);
            self.coordinator.watermarks(worker, least);
        }
    }

    fn wait(&self, now: Duration) -> Option<Event> {
        let deadline = self.coordinator.next_deadline();
        let left = deadline.map_or(LOOK_MOST, |deadline| deadline.saturating_sub(now));
        self.events.recv_timeout(left.min(LOOK_MOST)).ok()
    }

    fn take(&mut self, event: Event) -> Vec<Action> {
        let now = self.clock.monotonic();
        match event {
            Event::FirstOutput => self.coordinator.first_output(now),
            Event::Reported(worker, report) => {
                let epoch = report.epoch;
                self.ledger.report(worker, report);
                self.coordinator.reported(now, worker, epoch)
            }
            Event::NotWritten(worker, epoch, error) => {
                self.meters.note_trouble(error.to_string());
                self.coordinator.report_failed(now, worker, epoch)
            }
            Event::Placed(epoch, placed) => {
                self.ledger.placed(epoch, placed);
                self.coordinator.reported(now, Reporter::Outputs, epoch)
            }
            Event::NotPlaced(epoch, error) => {
                self.meters.note_trouble(error.to_string());
                self.coordinator
                    .report_failed(now, Reporter::Outputs, epoch)
            }
            Event::PlaceAway(error) => {
                self.meters.note_trouble(error.to_string());
                self.job.wait_no_longer();
                self.coordinator.outputs_held_up(now)
            }
            Event::AllEnded(worker) => {
                if let Some(ended) = self.ended.get_mut(worker) {
                    *ended = true;
                }
                if self.ended.iter().all(|ended| *ended) {
                    self.coordinator.all_finished(now)
                } else {
                    Vec::new()
                }
            }
            Event::Published(epoch) => {
                let (read_at, bytes) = self.ledger.published(epoch);
                reach(Phase::Confirmed);
                self.job.flow.release_published(bytes);
                for (read_at, records) in read_at {
                    let latency = now.saturating_sub(read_at);
                    self.meters.record_visible(latency, u64::from(records));
                }
                self.coordinator.published(now, epoch)
            }
            Event::NotPublished(error) => {
                self.meters.note_trouble(error.to_string());
                self.job.wait_no_longer();
                Vec::new()
            }
            Event::Folded(order, into) => {
                if !self.folds.written(&mut self.ledger, &order, into) {
                    self.discard([into.name]);
                }
                self.fold_next();
                Vec::new()
            }
            Event::NotFolded(error) => {
                self.meters.note_trouble(error.to_string());
                self.folds.failed();
                Vec::new()
            }
            Event::Failed(error) => self.fail(error),
            Event::Panicked => self.fail(RunError::panicked()),
        }
    }

    fn fail(&self, error: RunError) -> Vec<Action> {
        self.job.fail(error);
        Vec::new()
    }

    /// Does what the coordinator says; whether the run is over.
    fn act(&mut self, actions: Vec<Action>) -> bool {
        let mut actions = VecDeque::from(actions);
        while let Some(action) = actions.pop_front() {
            match action {
                Action::StartEpoch {
                    epoch,
                    floor,
                    last,
                    stop,
                } => {
                    let then = match (last, stop) {
                        (true, _) => Then::EndOfInput,
                        (_, true) => Then::Stop,
                        _ => Then::ReadOn,
                    };
                    self.start_epoch(epoch, floor, then);
                }
                Action::PutManifest { epoch, covers } => {
                    actions.extend(self.put_manifest(epoch, &covers));
                }
                Action::RetryPut { epoch } => actions.extend(self.put(epoch)),
                Action::Durable { covers, .. } => self.durable(&covers),
                Action::CheckpointFailed { epoch, reason } => self.failed(epoch, &reason),
                Action::FailJob(failure) => {
                    self.job.fail(RunError::Checkpoints(failure));
                    return true;
                }
                Action::Fenced => {
                    // Its name is looked for when all threads have ended.
                    let winner = "a newer run of the job".to_owned();
                    self.job.fail(RunError::Fenced { winner });
                    return true;
                }
                Action::Finished => {
                    self.job.stopper().end();
                    self.discard_folds();
                    return true;
                }
            }
        }
        false
    }

    fn start_epoch(&mut self, epoch: Epoch, floor: Option<EventTime>, then: Then) {
        self.ledger.begin(epoch, CheckpointId(rand::random()));
        if then == Then::EndOfInput {
            self.last = Some(epoch);
        }
        let changes = match then {
            Then::ReadOn => self.lookout.changes(&self.job, self.clock.monotonic()),
            // Nothing is read any more.
            Then::EndOfInput | Then::Stop => Changes::default(),
        };
        // From now on, whichever epoch is the next to have a manifest: stages may act on it before that.
        self.ledger.idle(&changes.idle);
        self.ledger.found(&changes.found, floor);
        let command = changes.command(epoch, floor, then);
        for worker in &self.commands {
            // Only a worker that has ended does not listen, and then the run has failed.
            worker.send(command.clone()).ok();
        }
        self.job.flow.wake_all();
        reach(Phase::EpochStarted);
    }

    /// What no on-time event of a partition is older than that is idle, or is found later.
    fn floor(&self) -> Option<EventTime> {
        let epochs = self.job.epochs();
        let acted_on = epochs.and_then(|epochs| epochs.acted_on());
        self.coordinator.floor().max(acted_on)
    }

    fn put_manifest(&mut self, epoch: Epoch, covers: &[Epoch]) -> Vec<Action> {
        let heading = Heading {
            number: self.log.next(),
            created_ms: self.clock.wall_ms(),
            floor: self.floor(),
            complete: self.last == Some(epoch),
        };
        let mut manifest = self.ledger.manifest(covers, heading);
        // From a job that is complete no run goes on.
        let epochs = self.job.epochs();
        if !manifest.complete && epochs.is_some_and(|epochs| epochs.have_acted_on_the_end()) {
            manifest.floor = manifest.floor.max(manifest.behind_all());
        }
        if faults::is_on(Defect::PublishedEarly) {
            self.publish(covers);
        }
        let record = Record::Manifest(Box::new(manifest.clone()));
        match encode(&record) {
            Ok(bytes) => {
                self.putting = Some(Putting {
                    manifest,
                    bytes,
                    trouble: None,
                });
                self.put(epoch)
            }
            Err(error) => {
                self.job.fail(RunError::Checkpoint(error));
                Vec::new()
            }
        }
    }

    fn put(&mut self, epoch: Epoch) -> Vec<Action> {
        let Some(putting) = &mut self.putting else {
            return Vec::new();
        };
        reach(Phase::BeforeManifest);
        let recorded = self.log.put(&putting.bytes);
        let now = self.clock.monotonic();
        match recorded {
            Recorded::Created => {
                reach(Phase::AfterManifest);
                self.coordinator.put_created(now, epoch)
            }
            Recorded::Unknown(error) => {
                self.meters.note_trouble(error.to_string());
                putting.trouble = Some(error.to_string());
                self.coordinator.put_unknown(now, epoch)
            }
            Recorded::Lost(_) => self.coordinator.put_lost(now, epoch),
        }
    }

    fn durable(&mut self, covers: &[Epoch]) {
        let counts = self.coordinator.counts();
        if let (Some(epoch), Some(duration)) = (counts.last_durable, counts.last_duration)
            && !self.job.is_doomed()
        {
            // The last one of a run that fails is no sign that it came further than the one before.
            self.meters.record_checkpoint(epoch, duration);
        }
        if !faults::is_on(Defect::PublishedEarly) {
            self.publish(covers);
        }
        if let Some(Putting { manifest, .. }) = self.putting.take() {
            let mut unpublished = self.ledger.unpublished_objects();
            if let Some(mirror) = &self.mirror {
                drop(mirror.durable.send(Durable::of(&manifest)));
                mirror.pins.add_to(&mut unpublished);
            }
            if let Some(source) = self.job.source() {
                let partitions = manifest.partitions.iter();
                let positions: Vec<_> = partitions.map(|it| (it.id, it.position)).collect();
                source.durable(&positions);
            }
            let deletable = self.retention.on_durable(listing(&manifest), &unpublished);
            drop(self.collector.send(deletable));
            self.folds.on_durable(manifest.chains);
            self.fold_next();
        }
    }

    fn fold_next(&mut self) {
        if let Some(order) = self.folds.next(&self.ledger) {
            drop(self.folder.send(order));
        }
    }

    /// Deletes objects that no manifest lists, and none will.
    fn discard(&self, names: impl IntoIterator<Item = DataName>) {
        let names = names.into_iter().map(|name| name.to_string());
        drop(self.collector.send(Deletable {
            objects: names.collect(),
            records: Vec::new(),
        }));
    }

    /// Deletes the folds that the last manifest does not list. One that is written only now is left to the next
    /// recovery.
    fn discard_folds(&mut self) {
        let mut names = self.folds.end();
        let events = self.events.try_iter();
        names.extend(events.filter_map(|event| match event {
            Event::Folded(_, into) => Some(into.name),
            _ => None,
        }));
        self.discard(names);
    }

    fn publish(&self, covers: &[Epoch]) {
        for &epoch in covers {
            let mut listed = self.ledger.unconfirmed();
            let outputs = listed.find(|it| it.epoch == epoch).cloned();
            drop(self.publisher.send(ToPublish { epoch, outputs }));
        }
    }

    fn failed(&self, epoch: Epoch, reason: &CheckpointFailure) {
        self.meters.count_failed_checkpoint();
        let mut what = format!("the checkpoint of epoch {epoch} failed: {reason}");
        // Why was noted right before, and is not to be hidden by this.
        let cause = match reason {
            CheckpointFailure::NotWritten { .. } => self.meters.trouble().map(|it| it.what),
            CheckpointFailure::Unknown { .. } => {
                let putting = self.putting.as_ref();
                putting.and_then(|it| it.trouble.clone())
            }
            CheckpointFailure::TimedOut { .. } => None,
        };
        if let Some(cause) = cause {
            what = format!("{what}: {cause}");
        }
        self.meters.note_trouble(what);
    }
}
