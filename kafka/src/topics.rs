//! What there is of topics, what they take, and how those that are missing are made.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigEntry, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::Client;
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};
use slackwater_dataflow::sink::destinations::Timestamps;

use crate::client::{Cluster, Fault, Noticed, kind_of};

/// How long one question to a cluster may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a topic that was made may stay unknown to the broker that is asked for it.
const VISIBLE_TIMEOUT: Duration = Duration::from_secs(10);

/// What a topic takes if it does not say: the defaults of Apache Kafka.
pub const DEFAULT_TAKES: Takes = Takes {
    record_bytes_max: 1_048_588,
    timestamps: Timestamps {
        before_max_ms: u64::MAX,
        after_max_ms: 3_600_000,
    },
    is_compacted: false,
};

/// What a topic takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Takes {
    /// Most bytes of a batch of records.
    pub record_bytes_max: u64,
    /// Timestamps.
    pub timestamps: Timestamps,
    /// Whether it keeps the last record of each key for ever, and nothing else is deleted.
    pub is_compacted: bool,
}

/// A topic that is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its name.
    pub name: String,
    /// Its partitions.
    pub partitions: u32,
    /// Its settings, where they are not the cluster's.
    pub settings: Vec<(&'static str, &'static str)>,
}

/// Asks a cluster about topics. Each call waits for the answer.
pub struct Topics {
    client: AdminClient<Noticed>,
    brokers: String,
}

impl Topics {
    /// A client that asks. No broker has been spoken to yet.
    ///
    /// # Errors
    /// A setting is not usable.
    pub fn of(cluster: &Cluster) -> Result<Self, Fault> {
        // A question must not make the topic that it asks for.
        let settings = [("allow.auto.create.topics", "false".to_owned())];
        let config = cluster.config(settings);
        let client = AdminClient::from_config_and_context(&config, Noticed::default());
        Ok(Topics {
            client: client.map_err(Fault::told("use", &cluster.brokers))?,
            brokers: cluster.brokers.clone(),
        })
    }

    /// How many partitions a topic has; none if there is no such topic.
    ///
    /// # Errors
    /// No broker answers, or not this client.
    pub fn partitions(&self, topic: &str) -> Result<Option<u32>, Fault> {
        partitions(self.client.inner(), &self.brokers, topic)
    }

    /// What topics take, in their order; none of one whose settings this client must not see.
    ///
    /// # Errors
    /// No broker answers.
    pub fn takes(&self, topics: &[&str]) -> Result<Vec<Option<Takes>>, Fault> {
        let specifiers = topics.iter().map(|topic| ResourceSpecifier::Topic(topic));
        let specifiers: Vec<_> = specifiers.collect();
        let asked = self.client.describe_configs(&specifiers, &options());
        let told = Fault::told("ask for the settings of topics at", &self.brokers);
        let found = pollster::block_on(asked).map_err(told)?;
        let takes = found.into_iter().map(|described| match described {
            Ok(described) => Ok(Some(takes(|name| described.get(name).and_then(value)))),
            Err(code) if kind_of(code) == ErrorKind::PermissionDenied => Ok(None),
            Err(code) => {
                let told = Fault::told("ask for the settings of topics at", &self.brokers);
                Err(told(KafkaError::AdminOp(code)))
            }
        });
        takes.collect()
    }

    /// A setting of the brokers, if this client may see it: of the one that answers, they should be alike.
    ///
    /// # Errors
    /// No broker answers.
    pub fn broker_setting(&self, name: &str) -> Result<Option<String>, Fault> {
        let told = || Fault::told("ask for the settings of brokers at", &self.brokers);
        let asked = self.client.inner().fetch_metadata(None, ANSWER_TIMEOUT);
        let broker = asked.map_err(told())?.brokers().first().map(|it| it.id());
        let Some(broker) = broker else {
            return Ok(None);
        };
        let specifier = [ResourceSpecifier::Broker(broker)];
        let asked = self.client.describe_configs(&specifier, &options());
        let found = pollster::block_on(asked).map_err(told())?;
        let found = found.into_iter().find_map(Result::ok);
        Ok(found.and_then(|described| described.get(name).and_then(value)))
    }

    /// Makes topics, and waits until they are there. One that is there already is left as it is.
    ///
    /// # Errors
    /// No broker answers, or a topic can't be made.
    pub fn create(&self, wanted: &[Wanted]) -> Result<(), Fault> {
        if wanted.is_empty() {
            // The client refuses to ask for nothing.
            return Ok(());
        }
        let new = wanted.iter().map(|topic| {
            // Replicas as the cluster has it.
            let replication = TopicReplication::Fixed(-1);
            let new = NewTopic::new(&topic.name, topic.partitions as i32, replication);
            let settings = topic.settings.iter();
            settings.fold(new, |new, (name, value)| new.set(name, value))
        });
        let new: Vec<_> = new.collect();
        let asked = self.client.create_topics(&new, &options());
        let made =
            pollster::block_on(asked).map_err(Fault::told("create topics at", &self.brokers));
        for made in made? {
            match made {
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((topic, code)) => {
                    return Err(Fault::told("create topic", topic)(KafkaError::AdminOp(
                        code,
                    )));
                }
            }
        }
        wanted
            .iter()
            .try_for_each(|topic| self.await_topic(&topic.name))
    }

    /// Deletes the records of a topic that lie before these offsets of its partitions.
    ///
    /// # Errors
    /// No broker answers, or they will not.
    pub fn delete_before(&self, topic: &str, offsets: &[(u32, u64)]) -> Result<(), Fault> {
        let told = || Fault::told("delete records of", topic);
        let mut before = TopicPartitionList::new();
        for (partition, offset) in offsets {
            let offset = Offset::Offset(i64::try_from(*offset).unwrap_or(i64::MAX));
            before
                .add_partition_offset(topic, *partition as i32, offset)
                .map_err(told())?;
        }
        let asked = self.client.delete_records(&before, &options());
        let deleted = pollster::block_on(asked).map_err(told())?;
        let mut results = deleted.elements().into_iter().map(|it| it.error());
        results.try_for_each(|result| result.map_err(told()))
    }

    fn await_topic(&self, topic: &str) -> Result<(), Fault> {
        let deadline = Instant::now() + VISIBLE_TIMEOUT;
        while self.partitions(topic)?.is_none() {
            if Instant::now() > deadline {
                let seconds = VISIBLE_TIMEOUT.as_secs();
                let reason = format!("it was made, and after {seconds} s no broker knows it");
                return Err(Fault::new("create topic", topic, reason));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

/// How many partitions a topic has; none if there is no such topic. From then on the client that asks knows them.
pub(crate) fn partitions(
    client: &Client<impl ClientContext>,
    brokers: &str,
    topic: &str,
) -> Result<Option<u32>, Fault> {
    let asked = client.fetch_metadata(Some(topic), ANSWER_TIMEOUT);
    let metadata = asked.map_err(Fault::told("ask for topics at", brokers))?;
    let found = metadata.topics().iter().find(|it| it.name() == topic);
    let Some(found) = found else { return Ok(None) };
    match found.error().map(RDKafkaErrorCode::from) {
        None => Ok(Some(found.partitions().len() as u32).filter(|it| *it > 0)),
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
            Ok(None)
        }
        Some(code) => Err(Fault::told("ask for topic", topic)(
            KafkaError::MetadataFetch(code),
        )),
    }
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(ANSWER_TIMEOUT))
        .operation_timeout(Some(ANSWER_TIMEOUT))
}

fn value(entry: &ConfigEntry) -> Option<String> {
    entry.value.clone()
}

/// What a topic with these settings takes.
fn takes(setting: impl Fn(&str) -> Option<String>) -> Takes {
    let number = |name: &str| setting(name).and_then(|value| value.parse::<u64>().ok());
    let default = DEFAULT_TAKES.timestamps;
    let by_broker = setting("message.timestamp.type").as_deref() == Some("LogAppendTime");
    let timestamps = Timestamps {
        before_max_ms: number("message.timestamp.before.max.ms").unwrap_or(default.before_max_ms),
        after_max_ms: number("message.timestamp.after.max.ms").unwrap_or(default.after_max_ms),
    };
    Takes {
        record_bytes_max: number("max.message.bytes").unwrap_or(DEFAULT_TAKES.record_bytes_max),
        // Such a topic looks at no timestamp of ours.
        timestamps: if by_broker {
            Timestamps::ANY
        } else {
            timestamps
        },
        is_compacted: setting("cleanup.policy").as_deref() == Some("compact"),
    }
}

#[cfg(test)]
mod tests {
    use slackwater_dataflow::sink::destinations::Timestamps;

    use crate::topics::{DEFAULT_TAKES, Takes, takes};

    #[test]
    fn what_does_a_topic_take() {
        let check = |settings: &[(&str, &str)], expected: Takes| {
            let setting = |name: &str| {
                let found = settings.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| (*value).to_owned())
            };
            assert_eq!(takes(setting), expected);
        };
        check(&[], DEFAULT_TAKES);
        let limits = [
            ("max.message.bytes", "5000"),
            ("message.timestamp.before.max.ms", "9223372036854775807"),
            ("message.timestamp.after.max.ms", "60000"),
            ("cleanup.policy", "compact"),
        ];
        let expected = Takes {
            record_bytes_max: 5_000,
            timestamps: Timestamps {
                before_max_ms: i64::MAX as u64,
                after_max_ms: 60_000,
            },
            is_compacted: true,
        };
        check(&limits, expected);
        let by_broker = [
            limits.as_slice(),
            &[("message.timestamp.type", "LogAppendTime")],
        ];
        let expected = Takes {
            timestamps: Timestamps::ANY,
            ..expected
        };
        check(&by_broker.concat(), expected);
        let both = [("cleanup.policy", "compact,delete")];
        check(&both, DEFAULT_TAKES);
    }
}
