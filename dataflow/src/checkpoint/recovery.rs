//! How a run begins from what another has left.
//!
//! The order is fixed. The log is claimed, so that no older run can add to it; then the newest manifest is read and
//! every object that it lists; then the sink is taken over, so that no older run can write to it, and its markers say
//! which outputs are there already; what is missing is published; only then are state and positions loaded.
//! Nothing is ever taken for empty because it could not be read.

use std::io::ErrorKind;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::checkpoint::coordinator::CheckpointSettings;
use crate::checkpoint::fault::FormatError;
use crate::checkpoint::frame::ObjectRef;
use crate::checkpoint::frame::reading::verify_whole;
use crate::checkpoint::job::{Difference, JobIdentity};
use crate::checkpoint::ledger::{Heading, Ledger, Opening, listing};
use crate::checkpoint::log::{Claimant, Fence, Found, ManifestLog, Recorded, manifests, successor};
use crate::checkpoint::manifest::{Manifest, Record, UnconfirmedEpoch};
use crate::checkpoint::mirroring::{Behind, Durable, Start, bring};
use crate::checkpoint::names::{DATA, DataName};
use crate::checkpoint::publishing::{ToPublish, publish};
use crate::checkpoint::record::encode;
use crate::checkpoint::retention::Retention;
use crate::checkpoint::saved::ChainState;
use crate::checkpoint::settle::{Choice, Halt, Step, Unpublished, decide};
use crate::control::Beginning;
use crate::faults::phases::{Phase, reach};
use crate::faults::{self, Defect};
use crate::identity::{CheckpointId, Generation};
use crate::meters::Totals;
use crate::mirror::Mirror;
use crate::moment::Epoch;
use crate::place::{ShardId, Spread};
use crate::sink::{EpochSink, InPlace, Marker, SinkError};
use crate::source::Partition;
use crate::store::probe::{ConditionsError, check_conditions};
use crate::store::{Store, StoreError};

/// Times that the first manifest of a job is tried, with [`RETRY_PAUSE`] between them: enough for a hiccup. A store
/// that is away for longer is an error, and whoever started the run decides about another.
const FIRST_MANIFEST_ATTEMPTS: u32 = 10;
const RETRY_PAUSE: Duration = Duration::from_millis(20);

/// A run could not begin. Nothing was lost, and nothing was published that should not be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecoveryError {
    /// The store can't keep two runs apart.
    #[error(transparent)]
    Conditions(#[from] ConditionsError),
    /// The store fails, or holds what can't be used.
    #[error(transparent)]
    Store(#[from] FormatError),
    /// No manifest can be used, though there are some.
    #[error("no checkpoint of the job can be used: {}. Restore the store from a copy, or start over with `--fresh`", .0.join("; "))]
    Damaged(Vec<String>),
    /// Outputs do not fit the checkpoint.
    #[error("shard {shard}: {halt}{damage}", damage = Damage(.damaged))]
    Halted {
        /// The shard.
        shard: ShardId,
        /// What does not fit.
        halt: Box<Halt>,
        /// Newer checkpoints that are damaged.
        damaged: Vec<String>,
    },
    /// There are outputs, and no checkpoint that has led to them.
    #[error(
        "the outputs have a marker of epoch {epoch} (checkpoint {checkpoint}), but the store holds no checkpoint of the job: was it emptied, or is `store` another one? `--fresh` starts over: files are moved aside, and records of topics stay, so what is read once more is there twice"
    )]
    OutputsWithoutCheckpoint {
        /// The marker's epoch.
        epoch: Epoch,
        /// Its checkpoint.
        checkpoint: CheckpointId,
    },
    /// The sink can't be taken over, or can't take what is missing.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// Another run has claimed the job meanwhile.
    #[error("another run of the job has begun meanwhile and goes on: {winner}")]
    Fenced {
        /// Which one.
        winner: String,
    },
}

/// How often what is missing is published before a run is given up that cannot begin.
const SETTLE_ATTEMPTS: u32 = 100;

/// Pause between two of these.
const SETTLE_PAUSE: Duration = Duration::from_millis(100);

/// Newer checkpoints that are damaged, as the end of a message.
struct Damage<'a>(&'a [String]);

impl std::fmt::Display for Damage<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.0.is_empty() {
            write!(f, ". Newer checkpoints are damaged: {}", self.0.join("; "))?;
        }
        Ok(())
    }
}

impl From<StoreError> for RecoveryError {
    fn from(error: StoreError) -> Self {
        RecoveryError::Store(error.into())
    }
}

/// A job's log that this run has claimed, and what it says.
pub struct Claimed {
    store: Arc<dyn Store>,
    log: ManifestLog,
    /// All that can be read, oldest first.
    manifests: Vec<Manifest>,
    /// Which of them the run goes on from.
    chosen: Option<Manifest>,
    /// Newer ones that can't be used.
    damaged: Vec<String>,
    /// The last epoch that any of them is of.
    last_epoch: Option<Epoch>,
    /// Whether nothing is taken from earlier runs.
    is_fresh: bool,
}

/// Claims a job's log for a new run and finds the checkpoint that it goes on from.
///
/// # Errors
/// The store fails or cannot keep runs apart. One that fails to read an object is an error, and not a reason to go on
/// from an older checkpoint: the object may be read again later.
pub fn claim(store: Arc<dyn Store>, claimant: &Claimant) -> Result<Claimed, RecoveryError> {
    check_conditions(store.as_ref())?;
    reach(Phase::BeforeClaim);
    let log = ManifestLog::claim(Arc::clone(&store), claimant)?;
    reach(Phase::AfterClaim);
    let generation = log.generation();
    let claimed = choose(Arc::clone(&store), log);
    // What another run deletes meanwhile looks like damage.
    let is_whole = claimed.as_ref().is_ok_and(|it| it.damaged.is_empty());
    match successor(store.as_ref(), generation).filter(|_| !is_whole) {
        Some(newer) => Err(RecoveryError::Fenced {
            winner: newer.to_string(),
        }),
        None => claimed,
    }
}

/// Finds the newest checkpoint that can be used.
fn choose(store: Arc<dyn Store>, log: ManifestLog) -> Result<Claimed, RecoveryError> {
    let found = manifests(store.as_ref())?;
    reach(Phase::ManifestsRead);
    let (mut readable, mut damaged) = (Vec::new(), Vec::new());
    let mut chosen = None;
    for Found { manifest, .. } in found.into_iter().rev() {
        match manifest {
            Ok(manifest) => {
                if chosen.is_none() {
                    match verify(&store, &manifest) {
                        Ok(()) => {
                            reach(Phase::ObjectsVerified);
                            chosen = Some(manifest.clone());
                        }
                        Err(error) => damaged.push(damage(error)?),
                    }
                }
                readable.push(manifest);
            }
            // A record that is older than the checkpoint is of no use, whole or not.
            Err(error) if chosen.is_none() => damaged.push(damage(error)?),
            Err(_) => {}
        }
    }
    readable.reverse();
    Ok(Claimed {
        last_epoch: readable.iter().map(|manifest| manifest.epoch).max(),
        store,
        log,
        manifests: readable,
        chosen,
        damaged,
        is_fresh: false,
    })
}

/// What is wrong with an object, if it is damaged or missing, in words.
fn damage(error: FormatError) -> Result<String, RecoveryError> {
    let lasts = match &error {
        FormatError::Store(error) => matches!(
            error.source.kind(),
            ErrorKind::NotFound | ErrorKind::UnexpectedEof | ErrorKind::InvalidData
        ),
        _ => true,
    };
    lasts
        .then(|| error.to_string())
        .ok_or(RecoveryError::Store(error))
}

/// Reads every object that a manifest lists.
fn verify(store: &Arc<dyn Store>, manifest: &Manifest) -> Result<(), FormatError> {
    let objects: Vec<ObjectRef> = manifest.objects().into_values().collect();
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let part = objects.len().div_ceil(threads).max(1);
    thread::scope(|scope| {
        let parts = objects.chunks(part).map(|objects| {
            scope.spawn(|| {
                let mut objects = objects.iter();
                objects.try_for_each(|object| verify_whole(store.as_ref(), object))
            })
        });
        let parts: Vec<_> = parts.collect();
        parts.into_iter().try_for_each(|part| {
            part.join().unwrap_or_else(|_| {
                Err(FormatError::Store(StoreError {
                    action: "verify",
                    name: DATA.to_owned(),
                    source: std::io::Error::other("a thread panicked, see the message above"),
                }))
            })
        })
    })
}

/// What a run asks of recovery.
pub struct Asked {
    /// What must not have changed.
    pub job: JobIdentity,
    /// How keys are spread now.
    pub spread: Spread,
    /// What is read now; those that a checkpoint knows have the same numbers.
    pub partitions: Vec<Partition>,
    /// When checkpoints are taken.
    pub settings: CheckpointSettings,
    /// How many are kept.
    pub retain: usize,
    /// What a person chose where outputs do not fit the checkpoint.
    pub choice: Option<Choice>,
    /// Wall clock.
    pub now_ms: i64,
}

/// A run that can begin.
pub struct Recovered {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) sink: Box<dyn EpochSink>,
    /// Writes outputs where they will stay, if the sink can have that.
    pub(crate) in_place: Option<Box<dyn InPlace>>,
    pub(crate) log: ManifestLog,
    pub(crate) ledger: Ledger,
    pub(crate) retention: Retention,
    pub(crate) settings: CheckpointSettings,
    pub(crate) beginning: Beginning,
    /// Where a mirror goes on.
    pub(crate) mirror_start: Start,
    /// Who copies state for others; none if nobody does.
    pub(crate) mirror: Option<Box<dyn Mirror>>,
    /// The checkpoint that it goes on from.
    pub from: Option<(Epoch, CheckpointId)>,
    /// Whether there is nothing left to do: the input had ended.
    pub is_complete: bool,
}

impl Recovered {
    /// What the job had counted.
    pub fn totals(&self) -> Totals {
        self.ledger.totals()
    }

    /// The same run, which keeps a copy of state for others.
    #[must_use]
    pub fn mirrored(mut self, mirror: Box<dyn Mirror>) -> Self {
        self.mirror = Some(mirror);
        self
    }

    /// Brings the copy to the checkpoint of a job that has ended, whose run may have ended before, however long that takes.
    ///
    /// # Errors
    /// Somebody else writes it.
    pub fn bring(
        &self,
        mirror: Box<dyn Mirror>,
        say: &mut dyn FnMut(&Behind),
    ) -> Result<(), Behind> {
        let start = self.mirror_start.clone();
        bring(&self.store, mirror, self.log.generation(), start, say)
    }
}

impl Claimed {
    /// Of this run.
    pub fn generation(&self) -> Generation {
        self.log.generation()
    }

    /// Whether this run still has the job, for a sink that asks before each thing it does.
    pub fn fence(&self) -> Fence {
        Fence::new(Arc::clone(&self.store), self.generation())
    }

    /// The checkpoint that the run will go on from; none if there is none.
    ///
    /// # Errors
    /// There are some, and none can be used.
    pub fn manifest(&self) -> Result<Option<&Manifest>, RecoveryError> {
        if self.chosen.is_none() && !self.damaged.is_empty() {
            return Err(RecoveryError::Damaged(self.damaged.clone()));
        }
        Ok(self.chosen.as_ref())
    }

    /// What is wrong with newer checkpoints, the newest first. Whoever starts the run should hear of it.
    pub fn damaged(&self) -> &[String] {
        &self.damaged
    }

    /// What the job has changed since that checkpoint.
    pub fn differences(&self, job: &JobIdentity) -> Vec<Difference> {
        let chosen = self.chosen.as_ref();
        chosen.map_or_else(Vec::new, |manifest| manifest.job.differences(job))
    }

    /// Starts over: nothing is taken from earlier runs but the numbers of their epochs.
    pub fn forget(&mut self) {
        self.is_fresh = true;
        self.chosen = None;
        self.damaged.clear();
    }

    /// Takes the sink over, publishes what is missing, and begins.
    ///
    /// # Errors
    /// The outputs do not fit the checkpoint, or store or sink fail, or another run has taken over.
    pub fn begin(self, asked: Asked, sink: Box<dyn EpochSink>) -> Result<Recovered, RecoveryError> {
        let (store, generation) = (Arc::clone(&self.store), self.generation());
        self.go_on(asked, sink)
            .map_err(|error| match successor(store.as_ref(), generation) {
                Some(newer) => RecoveryError::Fenced {
                    winner: newer.to_string(),
                },
                None => error,
            })
    }

    fn go_on(
        mut self,
        asked: Asked,
        mut sink: Box<dyn EpochSink>,
    ) -> Result<Recovered, RecoveryError> {
        self.manifest()?;
        let markers = sink.take_over(self.generation())?;
        reach(Phase::SinkTakenOver);
        let marked = markers.iter().flatten().map(|it| it.epoch).max();
        let seen = self.last_epoch.max(marked);
        let chosen = self.chosen.take();
        let opening = Opening {
            job: asked.job,
            generation: self.generation(),
            workers: asked.spread.workers,
            partitions: asked.partitions,
        };
        let mut ledger = match &chosen {
            Some(manifest) => Ledger::resume(opening, manifest.clone()),
            None => Ledger::new(opening),
        };
        self.settle_patiently(&mut ledger, markers, asked.choice, sink.as_mut())?;
        let in_place = match faults::are_outboxes_wanted() {
            true => None,
            false => sink.in_place(ledger.lengths())?,
        };
        let mut retention = Retention::new(asked.retain, self.generation());
        let unpublished = ledger.unpublished_objects();
        for manifest in self.usable(chosen.as_ref()) {
            // What is to be deleted now is found below, by name.
            drop(retention.on_durable(listing(manifest), &unpublished));
        }
        let (first, from) = match &chosen {
            Some(manifest) => (next(seen), Durable::of(manifest)),
            None => {
                let epoch = seen.map_or(Epoch(0), |seen| next(Some(seen)));
                let begun =
                    self.record_beginning(&mut ledger, &mut retention, epoch, asked.now_ms)?;
                (next(Some(epoch)), Durable::of(&begun))
            }
        };
        // To a run that begins with nothing none has led.
        let known = self.usable(chosen.as_ref()).filter(|_| chosen.is_some());
        let mirror_start = Start::at(from, known);
        self.delete_orphans(&retention)?;
        let state = |it| ChainState::new(&self.store, it, asked.spread);
        let (partitions, idle, raised) = ledger.beginning();
        Ok(Recovered {
            beginning: Beginning {
                epoch: first,
                partitions,
                floor: chosen.as_ref().and_then(|manifest| manifest.floor),
                idle,
                raised,
                state: chosen.as_ref().map(|it| Arc::new(state(it)) as Arc<_>),
            },
            mirror_start,
            mirror: None,
            is_complete: chosen.as_ref().is_some_and(|it| it.complete),
            from: chosen.map(|it| (it.epoch, it.checkpoint)),
            store: self.store,
            log: self.log,
            settings: asked.settings,
            sink,
            in_place,
            ledger,
            retention,
        })
    }

    /// The manifests up to that from which the run goes on, oldest first; all if it goes on from none.
    fn usable(&self, chosen: Option<&Manifest>) -> impl Iterator<Item = &Manifest> {
        let last = chosen.map_or(u64::MAX, |it| it.number.0);
        self.manifests.iter().filter(move |it| it.number.0 <= last)
    }

    /// Settles, and tries again as long as that can help.
    fn settle_patiently(
        &self,
        ledger: &mut Ledger,
        mut markers: Vec<Option<Marker>>,
        choice: Option<Choice>,
        sink: &mut dyn EpochSink,
    ) -> Result<(), RecoveryError> {
        let mut attempt = 1;
        while let Err(error) = self.settle(ledger, &markers, choice, sink) {
            match &error {
                RecoveryError::Sink(error) if error.passes() && attempt < SETTLE_ATTEMPTS => {}
                _ => return Err(error),
            }
            attempt += 1;
            thread::sleep(SETTLE_PAUSE);
            // A sink that failed may have taken all the same what it was given, or a part of it.
            markers = sink.take_over(self.generation())?;
        }
        Ok(())
    }

    /// Publishes what the checkpoint lists and the markers do not say to be there.
    fn settle(
        &self,
        ledger: &mut Ledger,
        markers: &[Option<Marker>],
        choice: Option<Choice>,
        sink: &mut dyn EpochSink,
    ) -> Result<(), RecoveryError> {
        if self.is_fresh {
            // What was published before is known from now on: it is nothing that a next run would have to halt over.
            for (number, marker) in (0..).zip(markers) {
                ledger.accept(ShardId(number), marker.as_ref());
            }
            return Ok(());
        }
        let listed: Vec<UnconfirmedEpoch> = ledger.unconfirmed().cloned().collect();
        // All shards are decided before anything is published.
        let mut steps = Vec::new();
        for (number, marker) in (0..).zip(markers) {
            let shard = ShardId(number);
            steps.push((
                shard,
                self.steps(ledger, shard, marker.as_ref(), &listed, choice)?,
            ));
        }
        let newest = listed.last().map(|epoch| epoch.epoch);
        for epoch in &listed {
            let is_left_out = faults::is_on(Defect::NewestOnly) && Some(epoch.epoch) != newest;
            let steps = steps.iter().filter(|_| !is_left_out);
            let shards = steps.filter_map(|(shard, steps)| {
                let from_chunk = steps.iter().find_map(|step| match step {
                    Step::Publish {
                        epoch: published,
                        from_chunk,
                    } if *published == epoch.epoch => Some(*from_chunk),
                    _ => None,
                })?;
                let shard = epoch.shards.iter().find(|it| it.shard == *shard)?;
                Some(ToPublish { shard, from_chunk })
            });
            let shards: Vec<_> = shards.collect();
            let store = self.store.as_ref();
            let published = publish(store, sink, self.generation(), epoch, &shards);
            published.into_iter().collect::<Result<(), SinkError>>()?;
            ledger.published(epoch.epoch);
            reach(Phase::EpochSettled);
        }
        // What a person chose to live with is known from now on: the next run is not to halt over it once more.
        let is_given = |steps: &[Step]| steps.iter().any(|it| matches!(it, Step::Publish { .. }));
        for ((shard, steps), marker) in steps.iter().zip(markers) {
            if choice.is_some() && !is_given(steps) {
                ledger.accept(*shard, marker.as_ref());
            }
        }
        Ok(())
    }

    fn steps(
        &self,
        ledger: &Ledger,
        shard: ShardId,
        marker: Option<&Marker>,
        listed: &[UnconfirmedEpoch],
        choice: Option<Choice>,
    ) -> Result<Vec<Step>, RecoveryError> {
        let has_checkpoint = self.last_epoch.is_some();
        if let (Some(marker), false) = (marker, has_checkpoint) {
            return Err(RecoveryError::OutputsWithoutCheckpoint {
                epoch: marker.epoch,
                checkpoint: marker.checkpoint,
            });
        }
        let unpublished = listed.iter().filter_map(|epoch| {
            let outputs = epoch.shards.iter().find(|it| it.shard == shard)?;
            Some(Unpublished {
                epoch: epoch.epoch,
                checkpoint: epoch.checkpoint,
                chunks: outputs.chunk_count(),
            })
        });
        let unpublished: Vec<_> = unpublished.collect();
        match (
            decide(marker, ledger.confirmed(shard), &unpublished),
            choice,
        ) {
            (Ok(steps), _) => Ok(steps),
            (Err(_), Some(choice)) => Ok(choice.steps(&unpublished)),
            (Err(halt), None) => Err(RecoveryError::Halted {
                shard,
                halt: Box::new(halt),
                damaged: self.damaged.clone(),
            }),
        }
    }

    /// Makes it durable where the job begins, before its first record is read.
    fn record_beginning(
        &mut self,
        ledger: &mut Ledger,
        retention: &mut Retention,
        epoch: Epoch,
        now_ms: i64,
    ) -> Result<Manifest, RecoveryError> {
        let heading = Heading {
            number: self.log.next(),
            created_ms: now_ms,
            floor: None,
            complete: false,
        };
        let manifest = ledger.manifest(&[epoch], heading);
        let bytes = encode(&Record::Manifest(Box::new(manifest.clone())))?;
        let mut attempt = 1;
        loop {
            match self.log.put(&bytes) {
                Recorded::Created => {
                    reach(Phase::BeginningRecorded);
                    break;
                }
                Recorded::Lost(number) => {
                    let winner = format!("it has written record {number} of the log");
                    return Err(RecoveryError::Fenced { winner });
                }
                Recorded::Unknown(error) if attempt == FIRST_MANIFEST_ATTEMPTS => {
                    return Err(error.into());
                }
                Recorded::Unknown(_) => thread::sleep(RETRY_PAUSE),
            }
            attempt += 1;
        }
        drop(retention.on_durable(listing(&manifest), &ledger.unpublished_objects()));
        Ok(manifest)
    }

    /// Deletes what older runs have left and no manifest that is kept lists: they were writing it when they ended, or
    /// had not come to delete it.
    fn delete_orphans(&self, retention: &Retention) -> Result<(), RecoveryError> {
        for name in self.store.list(DATA)? {
            // What has another name is none of ours.
            let Ok(data) = name.parse::<DataName>() else {
                continue;
            };
            if data.generation < self.generation() && !retention.lists(&name) {
                self.store.delete(&name)?;
                reach(Phase::OrphanDeleted);
            }
        }
        Ok(())
    }
}

fn next(epoch: Option<Epoch>) -> Epoch {
    Epoch(epoch.map_or(0, |epoch| epoch.0) + 1)
}
