//! A pipeline's topics: how its source and its sink reach Kafka, and what has to be true of the topics there.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use slackwater_dataflow::checkpoint::log::Fence;
use slackwater_dataflow::checkpoint::settle::Choice;
use slackwater_dataflow::clock::Clock;
use slackwater_dataflow::sink::destinations::{Destination, Destinations};
use slackwater_dataflow::sink::{EpochSink, OutputStream};
use slackwater_dataflow::source::Partition;
use slackwater_kafka::at_once::AtOnceSink;
use slackwater_kafka::client::{Cluster, Fault};
use slackwater_kafka::markers;
use slackwater_kafka::security::names_file;
use slackwater_kafka::sink::{KafkaSink, RECORD_OVERHEAD_BYTES, SinkConfig, TRANSACTION_TIMEOUT};
use slackwater_kafka::source::{Beginning, KafkaSource, OnLostOffset, SourceConfig};
use slackwater_kafka::topics::{DEFAULT_TAKES, Topics, Wanted};

use crate::pipeline::Pipeline;
use crate::pipeline::preflight::PreflightError;
use crate::pipeline::spec::{ClusterSpec, DeadLetterForm, Delivery, KafkaSourceSpec, StartSpec};

/// A topic that takes less could not even take a dead letter that says so.
const RECORD_BYTES_LEAST: u64 = 16 * 1024;

/// From one question to brokers that are away to the next, which takes its own time.
const AWAY_PAUSE: Duration = Duration::from_millis(500);

/// Longest time that brokers may wait for more records: behind a checkpoint nobody notices it.
const FETCH_WAIT_MOST: Duration = Duration::from_millis(10);

/// Partitions of a stream's topic that is made.
const PARTITIONS_MADE: u32 = 4;

/// Brokers, with the secrets that are needed to speak to them.
fn cluster(pipeline: &Pipeline, spec: &ClusterSpec) -> Result<Cluster, PreflightError> {
    let mut properties = BTreeMap::new();
    for (name, value) in &spec.properties {
        let value = value.value().map_err(|place| PreflightError::NoSecret {
            name: format!("property `{name}`"),
            place,
        })?;
        properties.insert(name.clone(), value);
    }
    let cluster = Cluster {
        brokers: spec.brokers.clone(),
        properties,
        client_id: pipeline.job.name.clone(),
    };
    cluster.usable()?;
    let mut named = cluster.properties.iter();
    let missing = named.find_map(|(name, path)| {
        let error = names_file(name, path).then(|| File::open(path).err())??;
        Some((name, path, error))
    });
    match missing {
        Some((name, path, source)) => Err(PreflightError::NoFile {
            name: name.clone(),
            path: path.clone(),
            source,
        }),
        None => Ok(cluster),
    }
}

/// The same, once they have answered.
pub(crate) fn greeted(pipeline: &Pipeline, spec: &ClusterSpec) -> Result<Cluster, PreflightError> {
    let cluster = cluster(pipeline, spec)?;
    cluster.greet()?;
    Ok(cluster)
}

/// Waits until the brokers of a pipeline answer, however long that takes; comes back at once if it has none.
///
/// # Errors
/// They answer that they will not, or a setting is not usable.
pub(crate) fn await_brokers(pipeline: &Pipeline) -> Result<(), PreflightError> {
    for (_, spec) in pipeline.clusters() {
        let cluster = cluster(pipeline, spec)?;
        while let Err(fault) = cluster.greet() {
            if !fault.passes() {
                return Err(fault.into());
            }
            tracing::warn!("{fault}; the job waits until they answer");
            thread::sleep(AWAY_PAUSE);
        }
    }
    Ok(())
}

/// How long brokers may wait for more records: where results wait for a checkpoint anyway, a small part of that.
fn fetch_wait(pipeline: &Pipeline) -> Duration {
    match &pipeline.checkpoint {
        Some(checkpoint) if pipeline.sink.delivery == Delivery::ExactlyOnce => {
            (checkpoint.settings.interval / 10).min(FETCH_WAIT_MOST)
        }
        _ => Duration::ZERO,
    }
}

/// The source of a pipeline that reads topics.
pub(crate) fn source(
    pipeline: &Pipeline,
    spec: &KafkaSourceSpec,
    known: &[Partition],
    clock: &Arc<dyn Clock>,
) -> Result<KafkaSource, PreflightError> {
    let config = SourceConfig {
        cluster: greeted(pipeline, &spec.cluster)?,
        topics: spec.topics.clone(),
        group: pipeline.job.name.clone(),
        from: match spec.start {
            StartSpec::Earliest => Beginning::Earliest,
            StartSpec::Latest => Beginning::Latest,
            StartSpec::Time(ms) => Beginning::Time(ms),
        },
        on_lost_offset: match spec.goes_on_when_lost {
            true => OnLostOffset::Earliest,
            false => OnLostOffset::Stop,
        },
        discover_every: Duration::from_millis(spec.discover_ms),
        silent_after: pipeline.event.idle_timeout_ms.map(Duration::from_millis),
        max_bytes: pipeline.event.max_bytes,
        fetch_wait: fetch_wait(pipeline),
        keeps_headers: pipeline.dead_letters == DeadLetterForm::Raw,
    };
    Ok(KafkaSource::open(config, known, Arc::clone(clock))?)
}

/// The topics of a pipeline's sink, as they are.
pub(crate) struct SinkTopics {
    cluster: Cluster,
    job: String,
    shards: u16,
    /// Whether outputs are sent as they come, without transactions and markers.
    at_once: bool,
    /// Whether each transaction has a producer of its own.
    new_producer_each_epoch: bool,
    /// Whether records say which they are.
    headers: bool,
    /// In the order of [`OutputStream::ALL`].
    names: [String; OutputStream::ALL.len()],
    topics: Topics,
}

impl SinkTopics {
    /// Those of a pipeline whose brokers have answered, but have not been asked for topics yet.
    pub(crate) fn of(pipeline: &Pipeline, spec: &ClusterSpec) -> Result<Self, PreflightError> {
        let cluster = greeted(pipeline, spec)?;
        Ok(SinkTopics {
            topics: Topics::of(&cluster)?,
            job: pipeline.job.name.clone(),
            shards: u16::try_from(pipeline.sink.shards).unwrap_or(u16::MAX),
            at_once: pipeline.sink.sends_at_once(),
            new_producer_each_epoch: pipeline.sink.new_producer_each_epoch,
            headers: pipeline.sink.headers,
            names: OutputStream::ALL.map(|stream| pipeline.sink.streams.of(stream).to_owned()),
            cluster,
        })
    }

    /// Where each stream goes, for people.
    pub(crate) fn places(&self) -> Vec<(OutputStream, String)> {
        let named = OutputStream::ALL.into_iter().zip(&self.names);
        named
            .map(|(stream, name)| (stream, format!("topic {name}")))
            .collect()
    }

    /// The topics, as they would be made, each with its partitions if it is there; last that of the markers, if any are
    /// kept.
    fn found(&self) -> Result<Vec<(Wanted, Option<u32>)>, PreflightError> {
        let streams = self.names.iter().map(|name| Wanted {
            name: name.clone(),
            partitions: PARTITIONS_MADE,
            settings: Vec::new(),
        });
        let markers = (!self.at_once).then(|| markers::wanted(&self.job, self.shards));
        let wanted = streams.chain(markers);
        wanted
            .map(|wanted| {
                let partitions = self.topics.partitions(&wanted.name)?;
                Ok((wanted, partitions))
            })
            .collect()
    }

    /// Topics that are missing, as they would be made.
    ///
    /// # Errors
    /// No broker answers.
    pub(crate) fn missing(&self) -> Result<Vec<Wanted>, PreflightError> {
        let missing = self.found()?.into_iter();
        let missing = missing.filter_map(|(wanted, partitions)| match partitions {
            None => Some(wanted),
            Some(_) => None,
        });
        Ok(missing.collect())
    }

    /// Makes topics.
    ///
    /// # Errors
    /// No broker answers, or they can't be made.
    pub(crate) fn create(&self, wanted: &[Wanted]) -> Result<(), PreflightError> {
        Ok(self.topics.create(wanted)?)
    }

    /// What the topics take, and so what may be written to them.
    ///
    /// # Errors
    /// No broker answers, a topic is missing, or is not as a sink needs it.
    pub(crate) fn destinations(&self) -> Result<Destinations, PreflightError> {
        let mut partitions = Vec::new();
        for (wanted, found) in self.found()? {
            let missing = || {
                let reason =
                    "there is no such topic; `slackwater check PIPELINE --create-topics` makes it";
                Fault::new("publish to topic", wanted.name.clone(), reason)
            };
            partitions.push(found.ok_or_else(missing)?);
        }
        if !self.at_once {
            self.check_markers(partitions.pop().unwrap_or_default())?;
            self.check_timeout()?;
        }
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        let takes = self.topics.takes(&names)?.into_iter();
        let takes: Vec<_> = takes.map(|it| it.unwrap_or(DEFAULT_TAKES)).collect();
        let least = takes.iter().map(|it| it.record_bytes_max).min();
        let bytes_max = least.unwrap_or(RECORD_BYTES_LEAST);
        if bytes_max < RECORD_BYTES_LEAST {
            let reason = format!(
                "one of them takes batches of {bytes_max} bytes (`max.message.bytes`), and dead letters need \
                 {RECORD_BYTES_LEAST}"
            );
            return Err(Fault::new("publish to topics", names.join(", "), reason).into());
        }
        let mut streams = Vec::new();
        for (partitions, takes) in partitions.into_iter().zip(takes) {
            streams.push(Destination::new(partitions, takes.timestamps));
        }
        let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
        let record = bytes_max.saturating_sub(RECORD_OVERHEAD_BYTES);
        let [a, b, c, d] = streams.try_into().map_err(|_| {
            Fault::new(
                "ask for",
                "the settings of topics",
                "brokers answered for others",
            )
        })?;
        Ok(Destinations::new([a, b, c, d], record))
    }

    /// Markers of a topic that forgets, or has other partitions, would be worth nothing.
    fn check_markers(&self, partitions: u32) -> Result<(), PreflightError> {
        let name = markers::topic(&self.job);
        let refuse =
            |reason: String| Err(Fault::new("keep markers in topic", &*name, reason).into());
        if partitions != u32::from(self.shards) {
            let shards = self.shards;
            return refuse(format!(
                "it has {partitions} partitions, and the job {shards} shards: their number is fixed for the life of a \
                 job"
            ));
        }
        let takes = self.topics.takes(&[&name])?;
        match takes.first() {
            Some(Some(takes)) if !takes.is_compacted => refuse(
                "it would forget what was published: set its `cleanup.policy` to `compact`"
                    .to_owned(),
            ),
            _ => Ok(()),
        }
    }

    /// A broker that allows less would refuse every transaction, when the job runs.
    fn check_timeout(&self) -> Result<(), PreflightError> {
        let name = "transaction.max.timeout.ms";
        let most = self.topics.broker_setting(name)?;
        let most: Option<u128> = most.and_then(|most| most.parse().ok());
        let ours = TRANSACTION_TIMEOUT.as_millis();
        match most.filter(|most| *most < ours) {
            None => Ok(()),
            Some(most) => {
                let reason =
                    format!("they allow {most} ms (`{name}`), and the job needs {ours} ms");
                let brokers = self.cluster.brokers.clone();
                Err(Fault::new("use transactions at", brokers, reason).into())
            }
        }
    }

    /// The sink of a run, and what it does about outputs of which it cannot tell whether it has them, if that is settled.
    pub(crate) fn sink(
        self,
        fence: Fence,
        destinations: Destinations,
    ) -> Result<(Box<dyn EpochSink>, Option<Choice>), Fault> {
        let config = SinkConfig {
            cluster: self.cluster,
            job: self.job,
            shards: self.shards,
            topics: self.names,
            destinations,
            new_producer_each_epoch: self.new_producer_each_epoch,
            headers: self.headers,
        };
        Ok(match self.at_once {
            true => (
                Box::new(AtOnceSink::new(config)?),
                Some(Choice::AcceptDuplicates),
            ),
            false => (Box::new(KafkaSink::new(config, fence)?), None),
        })
    }
}
