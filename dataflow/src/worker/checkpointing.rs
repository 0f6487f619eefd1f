//! The threads beside the workers of a run with checkpoints: a writer for each, the leader, the publisher, the folder,
//! the collector; and those that put outputs in their place, if the sink can have that.

use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender};

use crate::checkpoint::coordinator::{CheckpointSettings, Coordinator};
use crate::checkpoint::folding::{FoldOrder, Folds};
use crate::checkpoint::log::successor;
use crate::checkpoint::recovery::Recovered;
use crate::checkpoint::retention::Deletable;
use crate::checkpointing::collecting::{self, CollectorSetup};
use crate::checkpointing::folder::{self, FolderSetup};
use crate::checkpointing::leading::{Alarm, Event, Leader, MirrorLine};
use crate::checkpointing::mirroring::{self, MirrorSetup};
use crate::checkpointing::placing::{self, Placement, PlacerSetup};
use crate::checkpointing::publishing::{self, PublisherSetup};
use crate::checkpointing::writing::{self, OutputsTo, WriterSetup};
use crate::control::{Beginning, Epochs, Line, Part, StartEpoch};
use crate::identity::Generation;
use crate::meters::{Meters, Totals};
use crate::moment::Epoch;
use crate::run::{Outputs, RunError, RunShared, Stopper, spawn};
use crate::sink::InPlace;
use crate::steering::Lookout;
use crate::store::Store;
use crate::worker::WorkerGroup;

/// The threads of a run.
pub(super) struct Threads {
    generation: Generation,
    store: Arc<dyn Store>,
    writers: Vec<JoinHandle<()>>,
    /// Who puts outputs in their place: they end when the writers have.
    placers: Vec<JoinHandle<()>>,
    others: Vec<JoinHandle<()>>,
    /// Follows the leader; gives why the run has failed.
    mirror: Option<JoinHandle<Option<RunError>>>,
    leader: JoinHandle<Totals>,
    meters: Arc<Meters>,
}

impl Threads {
    /// Waits until all have ended, which the leader does when the run is over or has failed; gives the failure.
    pub(super) fn join(self, job: Arc<RunShared>) -> Option<RunError> {
        let counted = self.leader.join();
        if counted.is_err() {
            job.fail(RunError::panicked());
        }
        for thread in self.others {
            if thread.join().is_err() {
                job.fail(RunError::panicked());
            }
        }
        let mirrored = self.mirror.map_or(Ok(None), JoinHandle::join);
        match mirrored {
            Ok(None) => {}
            Ok(Some(error)) => job.fail(error),
            Err(_) => job.fail(RunError::panicked()),
        }
        let failure = job.take_failure();
        // Hanging up tells the writers that no more comes.
        drop(job);
        for thread in self.writers.into_iter().chain(self.placers) {
            // One that panicked has told the leader.
            drop(thread.join());
        }
        if let (None, Ok(counted)) = (&failure, counted) {
            // What was handled after the last checkpoint is as if it had not been.
            self.meters.begin_with(&counted);
        }
        let store = self.store.as_ref();
        failure.map(|error| explained(error, store, self.generation))
    }
}

/// What a replaced run meets first is its sink's refusal, or an object that its successor has deleted: anything, on any
/// thread. The reason is the successor. A panic has its own.
fn explained(error: RunError, store: &dyn Store, generation: Generation) -> RunError {
    if matches!(error, RunError::Panicked(_)) {
        return error;
    }
    successor(store, generation).map_or(error, |claim| RunError::Fenced {
        winner: claim.to_string(),
    })
}

/// Starts the threads of a run.
pub(super) fn start(
    group: &WorkerGroup,
    mut recovered: Recovered,
) -> Result<(Arc<RunShared>, Threads), RunError> {
    group.meters.begin_with(&recovered.totals());
    let (generation, store) = (recovered.log.generation(), Arc::clone(&recovered.store));
    let (tell, events) = crossbeam_channel::unbounded();
    let (lines, (commands, parts)) = (0..group.workers).map(|_| line()).unzip();
    let epochs = Epochs::new(recovered.beginning.clone(), lines);
    let job = group.shared(Outputs::ByEpoch(Arc::new(epochs)));
    let in_place = recovered.in_place.take();
    let (place, placers) = in_place
        .map(|place| start_placer(group, recovered.beginning.epoch, place, &tell))
        .transpose()?
        .unzip();
    let writers = start_writers(group, &recovered, parts, place.as_ref(), &tell)?;
    let (fold, folder) = start_folder(group, &recovered, &tell)?;
    let (collect, collector) = start_collector(group, &recovered, &tell)?;
    let (mirror, mirroring) = start_mirror(group, &mut recovered, &tell)?.unzip();
    let confirmed = recovered.ledger.all_confirmed();
    let (publish, epochs) = crossbeam_channel::unbounded();
    let publisher = publishing::start(PublisherSetup {
        generation,
        store: Arc::clone(&store),
        sink: recovered.sink,
        epochs,
        events: tell.clone(),
        stopper: group.stopper(),
        confirmed,
    })?;
    let coordinator = coordinator(
        group,
        recovered.settings,
        &recovered.beginning,
        placers.is_some(),
    );
    let leader = Leader {
        coordinator,
        ledger: recovered.ledger,
        log: recovered.log,
        retention: recovered.retention,
        clock: Arc::clone(&group.clock),
        meters: Arc::clone(&group.meters),
        commands,
        events,
        publisher: publish,
        mirror,
        folder: fold,
        collector: collect,
        folds: Folds::default(),
        job: Arc::clone(&job),
        lookout: Lookout::default(),
        ended: vec![false; group.workers],
        last: None,
        putting: None,
        is_stopping: false,
    };
    let leading = lead(leader, tell)?;
    let threads = Threads {
        generation,
        store,
        writers,
        placers: placers.into_iter().flatten().collect(),
        others: vec![publisher, folder, collector],
        mirror: mirroring,
        leader: leading,
        meters: Arc::clone(&group.meters),
    };
    Ok((job, threads))
}

/// What decides when checkpoints are taken, from where a run begins.
fn coordinator(
    group: &WorkerGroup,
    settings: CheckpointSettings,
    beginning: &Beginning,
    awaits_outputs: bool,
) -> Coordinator {
    let coordinator = Coordinator::new(
        settings,
        group.workers,
        beginning.epoch,
        beginning.floor,
        group.clock.monotonic(),
    );
    match awaits_outputs {
        true => coordinator.awaiting_outputs(),
        false => coordinator,
    }
}

/// A worker's line, and its other end.
fn line() -> (Line, (Sender<StartEpoch>, Receiver<Part>)) {
    let (command, commands) = crossbeam_channel::unbounded();
    // Unbounded as a channel; what can be in it is bounded by the flow and by the state.
    let (parts, handed_over) = crossbeam_channel::unbounded();
    (Line { commands, parts }, (command, handed_over))
}

fn start_writers(
    group: &WorkerGroup,
    recovered: &Recovered,
    parts: Vec<Receiver<Part>>,
    place: Option<&Sender<Placement>>,
    tell: &Sender<Event>,
) -> Result<Vec<JoinHandle<()>>, RunError> {
    let writers = parts.into_iter().enumerate().map(|(worker, parts)| {
        writing::start(WriterSetup {
            worker,
            generation: recovered.log.generation(),
            store: Arc::clone(&recovered.store),
            outputs: place.map_or(OutputsTo::Outbox, |place| OutputsTo::Place(place.clone())),
            parts,
            events: tell.clone(),
            meters: Arc::clone(&group.meters),
            stopper: group.stopper(),
        })
    });
    writers.collect()
}

fn start_placer(
    group: &WorkerGroup,
    open: Epoch,
    place: Box<dyn InPlace>,
    tell: &Sender<Event>,
) -> Result<(Sender<Placement>, [JoinHandle<()>; 2]), RunError> {
    let (give, placements) = crossbeam_channel::unbounded();
    let threads = placing::start(PlacerSetup {
        workers: group.workers,
        open,
        place,
        placements,
        events: tell.clone(),
        stopper: group.stopper(),
    })?;
    Ok((give, threads))
}

/// Who tells a mirror of checkpoints, and its thread.
type Mirroring = (MirrorLine, JoinHandle<Option<RunError>>);

fn start_mirror(
    group: &WorkerGroup,
    recovered: &mut Recovered,
    tell: &Sender<Event>,
) -> Result<Option<Mirroring>, RunError> {
    let Some(mirror) = recovered.mirror.take() else {
        return Ok(None);
    };
    let (give, durable) = crossbeam_channel::unbounded();
    let (pins, thread) = mirroring::start(MirrorSetup {
        generation: recovered.log.generation(),
        store: Arc::clone(&recovered.store),
        mirror,
        start: recovered.mirror_start.clone(),
        durable,
        events: tell.clone(),
        meters: Arc::clone(&group.meters),
        stopper: group.stopper(),
    })?;
    let line = MirrorLine {
        durable: give,
        pins,
    };
    Ok(Some((line, thread)))
}

fn start_folder(
    group: &WorkerGroup,
    recovered: &Recovered,
    tell: &Sender<Event>,
) -> Result<(Sender<FoldOrder>, JoinHandle<()>), RunError> {
    let (fold, orders) = crossbeam_channel::unbounded();
    let folder = folder::start(FolderSetup {
        generation: recovered.log.generation(),
        store: Arc::clone(&recovered.store),
        orders,
        events: tell.clone(),
        stopper: group.stopper(),
    })?;
    Ok((fold, folder))
}

fn start_collector(
    group: &WorkerGroup,
    recovered: &Recovered,
    tell: &Sender<Event>,
) -> Result<(Sender<Deletable>, JoinHandle<()>), RunError> {
    let (collect, deletable) = crossbeam_channel::unbounded();
    let collector = collecting::start(CollectorSetup {
        store: Arc::clone(&recovered.store),
        deletable,
        events: tell.clone(),
        meters: Arc::clone(&group.meters),
    })?;
    Ok((collect, collector))
}

fn lead(leader: Leader, tell: Sender<Event>) -> Result<JoinHandle<Totals>, RunError> {
    let stopper = leader.job.stopper().clone();
    let run = move || {
        let _alarm = Alarm(tell);
        let group = EndAtPanic(stopper);
        let counted = leader.run();
        drop(group);
        counted
    };
    spawn("leader", run)
}

/// Ends the group when the leader unwinds: nobody would end its epochs.
struct EndAtPanic(Stopper);

impl Drop for EndAtPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.abort();
        }
    }
}
