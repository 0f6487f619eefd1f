//! Reads all partitions of some topics.
//!
//! Partitions are assigned by hand: partition `p` of the source to worker `p mod workers`, with no group to join and none to
//! be thrown out of. Where each stands is in the checkpoints; a group is told for whoever watches its lag.
//! Each partition has a queue of its own, so one that may not be read now is left alone, and the client stops to fetch it when
//! its queue is full.

mod places;
mod progress;
pub(crate) mod records;
mod reader;
mod silence;

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use slackwater_dataflow::clock::Clock;
use slackwater_dataflow::place::{Offset, PartitionId};
use slackwater_dataflow::source::{
    Partition, PartitionName, Share, Source, SourceError, SourceReader, Start, Starts, Topics, Wake,
};

use crate::client::{Cluster, Fault, Noticed};
use crate::source::progress::Progress;
use crate::source::reader::KafkaReader;
use crate::source::silence::Silences;
use crate::topics::partitions;

pub use crate::source::places::{Beginning, OnLostOffset};

/// How long a question about offsets may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// What is read.
#[derive(Clone, Debug)]
pub struct SourceConfig {
    /// The brokers.
    pub cluster: Cluster,
    /// The topics; at least one, all different.
    pub topics: Vec<String>,
    /// Name of the group that is told how far the job is. Nobody joins it.
    pub group: String,
    /// Where partitions begin of which nothing was read before.
    pub from: Beginning,
    /// What to do where the record that is to be read next is gone.
    pub on_lost_offset: OnLostOffset,
    /// How often to look for new partitions.
    pub discover_every: Duration,
    /// After which silence a partition no longer holds the others; none: never.
    pub silent_after: Option<Duration>,
    /// Largest record that is kept whole.
    pub max_bytes: usize,
    /// How long brokers may wait for more records before they answer. They answer with less, and less often asked they and the job
    /// have less to do.
    pub fetch_wait: Duration,
    /// Whether headers of records are wanted.
    pub keeps_headers: bool,
}

/// A partition of a topic, as Kafka calls it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
}

/// All partitions of some topics.
pub struct KafkaSource {
    partitions: Vec<Partition>,
    names: Arc<Topics>,
    finder: Arc<Finder>,
    /// A look for new partitions that is under way.
    looking: Mutex<Option<JoinHandle<Found>>>,
    silences: Option<Arc<Silences>>,
    progress: Progress,
}

/// Partitions that were not known.
type Found = Result<Vec<Partition>, Fault>;

/// Asks what there is of the topics.
struct Finder {
    config: SourceConfig,
    /// Asks about partitions, and about offsets of what is there whether it is committed or not.
    asking: Arc<BaseConsumer<Noticed>>,
    /// All that were found so far, with the numbers that they have here.
    known: Mutex<BTreeMap<Place, PartitionId>>,
}

impl KafkaSource {
    /// What there is of the topics now. Those partitions that are `known` keep their numbers.
    ///
    /// # Errors
    /// No broker answers, there is no such topic, or less of one than is known.
    pub fn open(
        config: SourceConfig,
        known: &[Partition],
        clock: Arc<dyn Clock>,
    ) -> Result<Self, SourceError> {
        let left_out = known
            .iter()
            .find(|it| !config.topics.contains(&it.topic.to_string()));
        if let Some(Partition { topic, .. }) = left_out {
            let reason = "it was read before, and the pipeline does not name it any more: add it again, or start \
                          over with `--fresh`";
            return Err(Fault::new("leave out topic", &**topic, reason).into());
        }
        let settings = [
            ("group.id", config.group.clone()),
            ("isolation.level", "read_uncommitted".to_owned()),
        ];
        let asking = Arc::new(config.cluster.consumer(settings)?);
        let silences = config
            .silent_after
            .map(|after| Silences::start(after, Arc::clone(&asking), clock));
        let progress = Progress::start(config.group.clone(), Arc::clone(&asking))?;
        let finder = Finder {
            known: Mutex::new(places::of(known)),
            asking,
            config,
        };
        // What was not there when the job began is read from its beginning.
        let from = match known {
            [] => finder.config.from,
            _ => Beginning::Earliest,
        };
        let mut partitions = known.to_vec();
        partitions.extend(finder.find(from)?);
        partitions.sort_by_key(|it| it.id);
        let source = KafkaSource {
            partitions,
            names: Arc::default(),
            finder: Arc::new(finder),
            looking: Mutex::default(),
            silences: silences.transpose()?.map(Arc::new),
            progress,
        };
        source.partitions.iter().for_each(|it| source.name(it));
        Ok(source)
    }

    /// Tells what a partition is called that was found: by its number in its topic.
    fn name(&self, partition: &Partition) {
        let known = &self.finder.known;
        let known = known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = known.iter();
        if let Some((place, _)) = all.find(|(_, id)| **id == partition.id) {
            self.names.add_as(partition, place.partition as u32);
        }
    }
}

impl Finder {
    /// Partitions that are not known yet, each with where it begins.
    fn find(&self, from: Beginning) -> Found {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let brokers = &self.config.cluster.brokers;
        let mut new = Vec::new();
        for topic in &self.config.topics {
            let topic: Arc<str> = Arc::from(topic.as_str());
            let known_of = known.keys().filter(|it| it.topic == topic).count() as u32;
            let Some(there) = partitions(self.asking.client(), brokers, &topic)? else {
                let reason = "there is no such topic";
                return Err(Fault::new("read topic", &*topic, reason));
            };
            if there < known_of {
                let reason = format!(
                    "it has {there} partitions, and {known_of} were read: it was made anew. Its offsets mean \
                     something else now; start over with `--fresh`"
                );
                return Err(Fault::new("read topic", &*topic, reason));
            }
            let places = (known_of..there).map(|partition| Place {
                topic: Arc::clone(&topic),
                partition: partition as i32,
            });
            new.extend(places);
        }
        let begins = places::begins(&self.asking, &new, from)?;
        let first = known.values().map(|id| id.0 + 1).max().unwrap_or_default();
        let mut found = Vec::new();
        for (id, (place, begins)) in (first..).map(PartitionId).zip(new.into_iter().zip(begins)) {
            found.push(Partition {
                id,
                topic: Arc::clone(&place.topic),
                begins,
            });
            known.insert(place, id);
        }
        Ok(found)
    }
}

impl From<PartitionName> for Place {
    fn from(name: PartitionName) -> Self {
        Place {
            topic: name.topic,
            partition: name.number as i32,
        }
    }
}

impl Source for KafkaSource {
    fn partitions(&self) -> &[Partition] {
        &self.partitions
    }

    fn open(
        &self,
        share: Share,
        from: &Starts,
        wake: Wake,
    ) -> Result<Box<dyn SourceReader>, SourceError> {
        let mine = self.partitions.iter().filter(|it| share.reads(it.id));
        let mine: Vec<_> = mine.collect();
        let (config, silences) = (&self.finder.config, self.silences.clone());
        let mut reader = KafkaReader::new(config, wake, silences, self.topics(), mine.len())?;
        let begins = mine.into_iter().filter_map(|partition| {
            let place = Place::from(self.names.name(partition.id)?);
            let offset = match from.of(partition.id) {
                Some(Start::At(offset)) => offset,
                Some(Start::Ended) => return None,
                None => partition.begins,
            };
            Some((partition.id, place, offset, from.mark(partition.id)))
        });
        for (id, place, offset, mark) in begins {
            let lost = config.on_lost_offset;
            let start = places::check(&self.finder.asking, &place, offset, mark, lost)?;
            reader.assign(id, place, start)?;
        }
        Ok(Box::new(reader))
    }

    fn look_every(&self) -> Option<Duration> {
        Some(self.finder.config.discover_every)
    }

    /// A question may take its time while brokers are away, and whoever looks has other things to do: it is asked on a thread
    /// of its own, and the answer is given at the next look.
    fn look(&self) -> Result<Vec<Partition>, SourceError> {
        let mut looking = self.looking.lock().unwrap_or_else(PoisonError::into_inner);
        if looking.as_ref().is_some_and(|it| !it.is_finished()) {
            return Ok(Vec::new());
        }
        let found = match looking.take().map(JoinHandle::join) {
            Some(Ok(Ok(found))) => found,
            // What is not there on all brokers yet will be; what is known is read meanwhile.
            Some(Ok(Err(fault))) if fault.passes() || is_new(&fault) => Vec::new(),
            Some(Ok(Err(fault))) => return Err(fault.into()),
            Some(Err(_)) | None => Vec::new(),
        };
        found.iter().for_each(|it| self.name(it));
        let finder = Arc::clone(&self.finder);
        let look = move || finder.find(Beginning::Earliest);
        let started = thread::Builder::new()
            .name("discovery".to_owned())
            .spawn(look);
        *looking = started.ok();
        Ok(found)
    }

    fn topics(&self) -> Arc<Topics> {
        Arc::clone(&self.names)
    }

    fn durable(&self, positions: &[(PartitionId, Offset)]) {
        let places = positions.iter().filter_map(|(id, position)| {
            let place = Place::from(self.names.name(*id)?);
            Some((place, raw(*position)))
        });
        self.progress.tell(places.collect());
    }
}

/// Whether a leader does not know yet what the others say is there.
fn is_new(fault: &Fault) -> bool {
    fault.source.kind() == ErrorKind::NotFound
}

/// An offset of Kafka as one of the engine's: none is negative.
fn offset(raw: i64) -> Offset {
    Offset(raw.max(0) as u64)
}

/// The other way round.
fn raw(offset: Offset) -> i64 {
    offset.0.min(i64::MAX as u64) as i64
}
