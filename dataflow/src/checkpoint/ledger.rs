//! What the next manifest says: everything that is known of a job's checkpoints, kept up to date by what workers
//! report and what was published.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::checkpoint::frame::ObjectRef;
use crate::checkpoint::job::JobIdentity;
use crate::checkpoint::manifest::{
    ChainObject, ConfirmedShard, Manifest, Segment, UnconfirmedEpoch, UnconfirmedShard,
};
use crate::checkpoint::names::RecordNumber;
use crate::checkpoint::outbox::SealedOutbox;
use crate::checkpoint::partitions::Partitions;
use crate::checkpoint::retention::Listing;
use crate::checkpoint::settle::Confirmed;
use crate::control::{PartitionCut, SourceCut};
use crate::faults::{self, Defect};
use crate::identity::{CheckpointId, Generation};
use crate::idleness::{Idle, Raise};
use crate::meters::Totals;
use crate::moment::{Epoch, EventTime};
use crate::place::{PartitionId, ShardId};
use crate::sink::{Lengths, Marker, OutputStream};
use crate::source::Partition;

/// Counted: records read.
pub const READ: &str = "read";
/// Counted: late events dropped on purpose.
pub const DROPPED: &str = "dropped";
/// Counted: events left out because the job does not want them; not there where it has left out none.
pub const FILTERED: &str = "filtered";

/// When records were read from the source, and how many they were.
pub(crate) type ReadAt = Vec<(Duration, u32)>;

/// Bytes that an epoch has brought to their place in the sink, by shard; only shards that it has brought any.
pub type Placed = BTreeMap<ShardId, Lengths>;

/// What a worker has made durable of an epoch.
#[derive(Debug)]
pub struct Report {
    /// The epoch.
    pub epoch: Epoch,
    /// How its source ended it.
    pub cut: SourceCut,
    /// What changed in its state; none if nothing did.
    pub state: Option<ObjectRef>,
    /// Its outputs; none if there were none.
    pub outbox: Option<SealedOutbox>,
    /// Number of records by stream.
    pub records: Lengths,
    /// When these were read.
    pub read_at: ReadAt,
}

/// A job as it is at the beginning of a run.
pub struct Opening {
    /// What must not change.
    pub job: JobIdentity,
    /// Who runs it.
    pub generation: Generation,
    /// Number of workers.
    pub workers: usize,
    /// What is read.
    pub partitions: Vec<Partition>,
}

/// Everything that the next manifest says.
pub struct Ledger {
    job: JobIdentity,
    generation: Generation,
    partitions: Partitions,
    /// By worker.
    chains: Vec<Vec<ChainObject>>,
    /// Whether the next object of a worker begins its chain.
    begins: Vec<bool>,
    unconfirmed: VecDeque<UnconfirmedEpoch>,
    confirmed: BTreeMap<ShardId, Confirmed>,
    lengths: Vec<Lengths>,
    totals: BTreeMap<String, u64>,
    /// Of epochs that no manifest lists, by worker.
    reports: BTreeMap<Epoch, Vec<Option<Report>>>,
    /// Of the same, bytes that they have brought to their place in the sink.
    placed: BTreeMap<Epoch, Placed>,
    ids: BTreeMap<Epoch, CheckpointId>,
    /// When the outputs of epochs that are not published were read.
    read_at: BTreeMap<Epoch, ReadAt>,
}

impl Ledger {
    /// Of a job at its very beginning.
    pub fn new(opening: Opening) -> Self {
        let shards = usize::from(opening.job.shards);
        Ledger {
            job: opening.job,
            generation: opening.generation,
            partitions: Partitions::new(opening.partitions),
            chains: vec![Vec::new(); opening.workers],
            begins: vec![true; opening.workers],
            unconfirmed: VecDeque::new(),
            confirmed: BTreeMap::new(),
            lengths: vec![Lengths::default(); shards],
            totals: BTreeMap::new(),
            reports: BTreeMap::new(),
            placed: BTreeMap::new(),
            ids: BTreeMap::new(),
            read_at: BTreeMap::new(),
        }
    }

    /// Of a job that goes on from a manifest. A number of workers that is another begins new chains.
    /// Partitions that it does not know were found since.
    pub fn resume(opening: Opening, manifest: Manifest) -> Self {
        let is_same = manifest.chains.len() == opening.workers;
        let mut ledger = Ledger::new(opening);
        let partitions = &mut ledger.partitions;
        partitions.resume(manifest.partitions, manifest.floor);
        if is_same {
            ledger.begins = manifest.chains.iter().map(Vec::is_empty).collect();
            ledger.chains = manifest.chains;
        }
        ledger.unconfirmed = manifest.unconfirmed.into();
        let confirmed = |it: ConfirmedShard| {
            let ConfirmedShard {
                shard,
                epoch,
                checkpoint,
            } = it;
            (shard, Confirmed { epoch, checkpoint })
        };
        ledger.confirmed = manifest.confirmed.into_iter().map(confirmed).collect();
        ledger.lengths = manifest.lengths;
        ledger.totals = manifest.totals;
        ledger
    }

    /// Partitions are idle from an epoch on that is about to start, unless they have moved by then.
    pub fn idle(&mut self, commands: &[Idle]) {
        self.partitions.idle(commands);
    }

    /// These are new in an epoch that is about to start with this floor.
    pub fn found(&mut self, partitions: &[Partition], floor: Option<EventTime>) {
        self.partitions.found(partitions, floor);
    }

    /// Where a run goes on: each partition; which are idle; what each was raised to last.
    pub fn beginning(&self) -> (Vec<PartitionCut>, Vec<PartitionId>, Vec<Raise>) {
        let all = &self.partitions;
        (all.cuts(), all.idle_now(), all.last_raised())
    }

    /// Bytes of all records of each shard's streams, by shard.
    pub fn lengths(&self) -> &[Lengths] {
        &self.lengths
    }

    /// Epochs that are durable and not known to be published, oldest first.
    pub fn unconfirmed(&self) -> impl Iterator<Item = &UnconfirmedEpoch> {
        self.unconfirmed.iter()
    }

    /// What was published last, of all shards that have published.
    pub fn all_confirmed(&self) -> BTreeMap<ShardId, Confirmed> {
        self.confirmed.clone()
    }

    /// What was published last of each shard.
    pub fn confirmed(&self, shard: ShardId) -> Option<Confirmed> {
        self.confirmed.get(&shard).copied()
    }

    /// What a shard's marker says is what is known to be published of it, whatever was known before. One that says
    /// that an epoch is there in part cannot be said in a manifest.
    pub fn accept(&mut self, shard: ShardId, marker: Option<&Marker>) {
        match marker {
            None => {
                self.confirmed.remove(&shard);
            }
            Some(marker) if marker.chunk == marker.chunks => {
                let confirmed = Confirmed {
                    epoch: marker.epoch,
                    checkpoint: marker.checkpoint,
                };
                self.confirmed.insert(shard, confirmed);
            }
            Some(_) => {}
        }
    }

    /// What the job had counted when the last manifest was written.
    pub fn totals(&self) -> Totals {
        let total = |name: &str| self.totals.get(name).copied().unwrap_or_default();
        Totals {
            read: total(READ),
            outcomes: OutputStream::ALL.map(|stream| total(stream.name())),
            dropped: total(DROPPED),
            filtered: total(FILTERED),
        }
    }

    /// An epoch has begun: this is its checkpoint's id, whichever manifest will list it.
    pub fn begin(&mut self, epoch: Epoch, id: CheckpointId) {
        self.ids.insert(epoch, id);
    }

    /// A worker has made its part of an epoch durable.
    pub fn report(&mut self, worker: usize, report: Report) {
        let workers = self.chains.len();
        let reports = self.reports.entry(report.epoch);
        let reports = reports.or_insert_with(|| (0..workers).map(|_| None).collect());
        if let Some(place) = reports.get_mut(worker) {
            *place = Some(report);
        }
    }

    /// All outputs of an epoch are durable in their place in the sink.
    pub fn placed(&mut self, epoch: Epoch, placed: Placed) {
        self.placed.insert(epoch, placed);
    }

    /// The manifest of the last of the epochs `covers`, all of whose reports are here. From now on they are part of
    /// what is known: this manifest will be durable, or the run is over.
    pub fn manifest(&mut self, covers: &[Epoch], heading: Heading) -> Manifest {
        for &epoch in covers {
            let is_failed = Some(&epoch) != covers.last();
            if is_failed && faults::is_on(Defect::ForgottenOutputs) {
                let reports = self.reports.get_mut(&epoch).into_iter().flatten();
                reports.flatten().for_each(|report| report.outbox = None);
            }
            self.take_in(epoch);
        }
        let epoch = covers.last().copied().unwrap_or_default();
        let id = self.id(epoch);
        let confirmed = |(&shard, confirmed): (&ShardId, &Confirmed)| ConfirmedShard {
            shard,
            epoch: confirmed.epoch,
            checkpoint: confirmed.checkpoint,
        };
        let manifest = Manifest {
            number: heading.number,
            generation: self.generation,
            epoch,
            checkpoint: id,
            created_ms: heading.created_ms,
            job: self.job.clone(),
            floor: heading.floor,
            workers: self.chains.len() as u32,
            partitions: self.partitions.positions(),
            chains: self.chains.clone(),
            unconfirmed: self.unconfirmed.iter().cloned().collect(),
            confirmed: self.confirmed.iter().map(confirmed).collect(),
            lengths: self.lengths.clone(),
            totals: self.totals.clone(),
            complete: heading.complete,
        };
        self.ids.retain(|other, _| *other > epoch);
        manifest
    }

    fn id(&self, epoch: Epoch) -> CheckpointId {
        let id = self.ids.get(&epoch).copied();
        id.unwrap_or_else(|| CheckpointId(rand::random()))
    }

    fn take_in(&mut self, epoch: Epoch) {
        let reports = self.reports.remove(&epoch).unwrap_or_default();
        let checkpoint = self.id(epoch);
        self.ids.insert(epoch, checkpoint);
        let mut shards = BTreeMap::<ShardId, UnconfirmedShard>::new();
        let mut read_at = ReadAt::new();
        for (worker, report) in reports.into_iter().enumerate() {
            let Some(report) = report else { continue };
            self.count(READ, report.cut.read);
            self.count(DROPPED, report.cut.dropped);
            if report.cut.filtered > 0 {
                self.count(FILTERED, report.cut.filtered);
            }
            self.partitions.take_in(report.cut);
            for (stream, records) in OutputStream::ALL.iter().zip(report.records) {
                self.count(stream.name(), records);
            }
            self.extend_chain(worker, epoch, report.state);
            if let Some(outbox) = report.outbox {
                self.add_outputs(&mut shards, outbox);
            }
            read_at.extend(report.read_at);
        }
        for (shard, lengths) in self.placed.remove(&epoch).unwrap_or_default() {
            let all = self.outputs_of(&mut shards, shard);
            add(&mut all.after, lengths);
        }
        for shard in shards.values() {
            if let Some(lengths) = self.lengths.get_mut(usize::from(shard.shard.0)) {
                *lengths = shard.after;
            }
        }
        if !shards.is_empty() {
            self.read_at.insert(epoch, read_at);
            self.unconfirmed.push_back(UnconfirmedEpoch {
                epoch,
                checkpoint,
                shards: shards.into_values().collect(),
            });
        }
    }

    fn count(&mut self, name: &str, more: u64) {
        *self.totals.entry(name.to_owned()).or_default() += more;
    }

    fn extend_chain(&mut self, worker: usize, epoch: Epoch, state: Option<ObjectRef>) {
        let (Some(chain), Some(begins)) =
            (self.chains.get_mut(worker), self.begins.get_mut(worker))
        else {
            return;
        };
        let Some(object) = state else { return };
        let whole = std::mem::take(begins);
        if whole {
            chain.clear();
        }
        chain.push(ChainObject {
            name: object.name,
            length: object.length,
            crc32c: object.crc32c,
            epoch,
            whole,
        });
    }

    fn add_outputs(&self, shards: &mut BTreeMap<ShardId, UnconfirmedShard>, outbox: SealedOutbox) {
        for (shard, outputs) in outbox.shards {
            let all = self.outputs_of(shards, shard);
            add(&mut all.after, outputs.lengths);
            all.segments.push(Segment {
                name: outbox.object.name,
                length: outbox.object.length,
                crc32c: outbox.object.crc32c,
                chunks: outputs.chunks,
            });
        }
    }

    /// Of a shard in the epoch that is taken in.
    fn outputs_of<'a>(
        &self,
        shards: &'a mut BTreeMap<ShardId, UnconfirmedShard>,
        shard: ShardId,
    ) -> &'a mut UnconfirmedShard {
        let before = self.lengths.get(usize::from(shard.0)).copied();
        let before = before.unwrap_or_default();
        shards.entry(shard).or_insert_with(|| UnconfirmedShard {
            shard,
            before,
            after: before,
            segments: Vec::new(),
        })
    }

    /// All outputs of an epoch are published. Gives when they were read, and the bytes that had waited in outboxes.
    pub fn published(&mut self, epoch: Epoch) -> (ReadAt, u64) {
        let mut bytes = 0;
        while let Some(first) = self.unconfirmed.pop_front_if(|it| it.epoch <= epoch) {
            for shard in &first.shards {
                let confirmed = Confirmed {
                    epoch: first.epoch,
                    checkpoint: first.checkpoint,
                };
                self.confirmed.insert(shard.shard, confirmed);
                if !shard.is_in_place() {
                    bytes += shard.after.iter().sum::<u64>() - shard.before.iter().sum::<u64>();
                }
            }
        }
        (self.read_at.remove(&epoch).unwrap_or_default(), bytes)
    }

    /// A fold stands for neighbours in a worker's chain, if they are still there.
    pub fn fold(&mut self, worker: usize, folded: &[ChainObject], into: ObjectRef) -> bool {
        let Some(chain) = self.chains.get_mut(worker) else {
            return false;
        };
        let (Some(first), Some(last)) = (folded.first(), folded.last()) else {
            return false;
        };
        let Some(at) = chain.iter().position(|it| it == first) else {
            return false;
        };
        if chain.get(at..at + folded.len()) != Some(folded) {
            return false;
        }
        let object = ChainObject {
            name: into.name,
            length: into.length,
            crc32c: into.crc32c,
            epoch: last.epoch,
            whole: first.whole,
        };
        chain.splice(at..at + folded.len(), [object]);
        true
    }

    /// The chain of a worker.
    pub fn chain(&self, worker: usize) -> &[ChainObject] {
        self.chains.get(worker).map_or(&[], Vec::as_slice)
    }

    /// Names of all objects of epochs that are not published.
    pub fn unpublished_objects(&self) -> BTreeSet<String> {
        let shards = self.unconfirmed.iter().flat_map(|epoch| &epoch.shards);
        let segments = shards.flat_map(|shard| &shard.segments);
        segments.map(|segment| segment.name.to_string()).collect()
    }
}

fn add(lengths: &mut Lengths, more: Lengths) {
    for (length, more) in lengths.iter_mut().zip(more) {
        *length += more;
    }
}

/// Where and when a manifest stands.
#[derive(Clone, Copy, Debug)]
pub struct Heading {
    /// Its place in the log.
    pub number: RecordNumber,
    /// Wall clock.
    pub created_ms: i64,
    /// What no on-time event of a partition is older than that is idle, or is found later.
    pub floor: Option<EventTime>,
    /// Whether the input has ended and all of it is in here.
    pub complete: bool,
}

/// What retention has to know of a manifest.
pub fn listing(manifest: &Manifest) -> Listing {
    let objects = manifest.objects();
    Listing {
        number: manifest.number.0,
        generation: manifest.generation,
        objects: objects.keys().map(ToString::to_string).collect(),
    }
}
