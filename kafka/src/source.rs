//! Reads all partitions of some topics.
//!
//! Partitions are assigned by hand: partition `p` of the source to worker `p mod workers`, with no group to join and none to
//! be thrown out of. Where each stands is in the checkpoints; what is committed to the group is for those who watch.
//! Each partition has a queue of its own, so one that may not be read now is left alone, and the client stops to fetch it when
//! its queue is full.

mod places;
mod reader;
mod silence;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::consumer::BaseConsumer;
use slackwater_dataflow::clock::Clock;
use slackwater_dataflow::place::{Offset, PartitionId};
use slackwater_dataflow::source::{
    Partition, PartitionName, Share, Source, SourceError, SourceReader, Start, Starts, Topics, Wake,
};

use crate::client::{Cluster, Fault, Noticed};
use crate::source::reader::KafkaReader;
use crate::source::silence::Silences;
use crate::topics;

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
    /// Name of the group that offsets are committed to. Nobody joins it.
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
}

/// A partition of a topic, as Kafka calls it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
}

/// All partitions of some topics.
pub struct KafkaSource {
    config: SourceConfig,
    partitions: Vec<Partition>,
    names: Arc<Topics>,
    /// Asks about offsets, of what is there whether it is committed or not.
    asking: Arc<BaseConsumer<Noticed>>,
    admin: topics::Topics,
    /// All that were found so far, with the numbers that they have here.
    known: Mutex<BTreeMap<Place, PartitionId>>,
    silences: Option<Arc<Silences>>,
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
        let admin = topics::Topics::of(&config.cluster)?;
        let asking = config.cluster.config([
            ("isolation.level", "read_uncommitted".to_owned()),
            ("allow.auto.create.topics", "false".to_owned()),
        ]);
        let asking = BaseConsumer::from_config_and_context(&asking, Noticed::default());
        let asking = Arc::new(asking.map_err(Fault::told("use", &config.cluster.brokers))?);
        let silences = config
            .silent_after
            .map(|after| Silences::start(after, Arc::clone(&asking), clock));
        let mut source = KafkaSource {
            names: Arc::default(),
            known: Mutex::new(places::of(known)),
            partitions: known.to_vec(),
            silences: silences.transpose()?.map(Arc::new),
            asking,
            admin,
            config,
        };
        let found = source.find(source.config.from)?;
        source.partitions.extend(found);
        source.partitions.sort_by_key(|it| it.id);
        source.partitions.iter().for_each(|it| source.name(it));
        Ok(source)
    }

    /// Partitions that are not known yet, each with where it begins.
    fn find(&self, from: Beginning) -> Result<Vec<Partition>, SourceError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut new = Vec::new();
        for topic in &self.config.topics {
            let topic: Arc<str> = Arc::from(topic.as_str());
            let known_of = known.keys().filter(|it| it.topic == topic).count() as u32;
            let Some(there) = self.admin.partitions(&topic)? else {
                let reason =
                    "there is no such topic; `slackwater check PIPELINE --create-topics` makes it";
                return Err(Fault::new("read topic", &*topic, reason).into());
            };
            if there < known_of {
                let reason = format!(
                    "it has {there} partitions, and {known_of} were read: it was made anew. Its offsets mean \
                     something else now; start over with `--fresh`"
                );
                return Err(Fault::new("read topic", &*topic, reason).into());
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

    /// Tells what a partition is called that was found: by its number in its topic.
    fn name(&self, partition: &Partition) {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = known.iter();
        if let Some((place, _)) = all.find(|(_, id)| **id == partition.id) {
            self.names.add_as(partition, place.partition as u32);
        }
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
        let silences = self.silences.clone();
        let mut reader = KafkaReader::new(&self.config, wake, silences, self.topics())?;
        let mine = self.partitions.iter().filter(|it| share.reads(it.id));
        let begins = mine.filter_map(|partition| {
            let place = Place::from(self.names.name(partition.id)?);
            let offset = match from.of(partition.id) {
                Some(Start::At(offset)) => offset,
                Some(Start::Ended) => return None,
                None => partition.begins,
            };
            Some((partition.id, place, offset, from.mark(partition.id)))
        });
        for (id, place, offset, mark) in begins {
            let lost = self.config.on_lost_offset;
            let start = places::check(&self.asking, &place, offset, mark, lost)?;
            reader.assign(id, place, start)?;
        }
        Ok(Box::new(reader))
    }

    fn look_every(&self) -> Option<Duration> {
        Some(self.config.discover_every)
    }

    fn look(&self) -> Result<Vec<Partition>, SourceError> {
        let found = match self.find(Beginning::Earliest) {
            // It is looked again; what is known is read meanwhile.
            Err(error) if is_passing(&error) => Vec::new(),
            found => found?,
        };
        found.iter().for_each(|it| self.name(it));
        Ok(found)
    }

    fn topics(&self) -> Arc<Topics> {
        Arc::clone(&self.names)
    }
}

fn is_passing(error: &SourceError) -> bool {
    use std::io::ErrorKind;
    matches!(
        error.source.kind(),
        ErrorKind::NotConnected | ErrorKind::TimedOut
    )
}

/// An offset of Kafka as one of the engine's: none is negative.
fn offset(raw: i64) -> Offset {
    Offset(raw.max(0) as u64)
}

/// The other way round.
fn raw(offset: Offset) -> i64 {
    offset.0.min(i64::MAX as u64) as i64
}
