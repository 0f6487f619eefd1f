//! The first word with brokers: whether they answer this client, and if not, why.
//!
//! A client tries for ever to connect, and says why it cannot in passing only, to whoever listens. Questions that wait for
//! an answer know nothing of it: each of them ends after its time with no more than that a transport has failed. So before
//! anything else is asked, brokers are greeted by a client that listens.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;

use crate::client::{Cluster, Fault, Noticed, io_error};
use crate::security::Refusal;

/// How long brokers may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the first attempt waits. Each one waits twice as long as the one before, so that a slow cluster is waited for,
/// and one that refuses is not.
const FIRST_ATTEMPT: Duration = Duration::from_millis(100);

/// How long others may still take to answer when one of several brokers has refused.
const OTHERS_MAX: Duration = Duration::from_secs(2);

/// How long it may take to find out what of a certificate is not as it should be. It is the second connection to the same
/// broker.
const LOOK_MAX: Duration = Duration::from_secs(3);

/// How long what a client has noticed is waited for.
const LISTEN: Duration = Duration::from_millis(10);

const ACTION: &str = "speak with brokers at";

/// What a greeting has come to.
enum Greeted {
    Answered,
    Refused(Refusal),
    /// Nobody has answered; the last that was noticed, and what the last attempt has ended with.
    Unanswered(Option<String>, KafkaError),
}

impl Cluster {
    /// Waits until one of the brokers answers this client.
    ///
    /// # Errors
    /// A setting is not usable, or brokers and client do not accept each other: nothing that passes. Nobody answers within
    /// ten seconds: that does.
    pub fn greet(&self) -> Result<(), Fault> {
        let mut others = Duration::ZERO;
        if self.brokers.contains(',') {
            others = OTHERS_MAX;
        }
        let refusal = match self.attempt(ANSWER_TIMEOUT, others)? {
            Greeted::Answered => return Ok(()),
            Greeted::Unanswered(noticed, error) => return Err(self.unanswered(noticed, error)),
            Greeted::Refused(refusal) => refusal,
        };
        let by_name = match refusal {
            Refusal::Brokers(_) => self.is_refused_by_name()?,
            Refusal::Client(_) | Refusal::Encryption(_) => false,
        };
        let reason = refusal.advice(by_name);
        Err(Fault {
            action: ACTION,
            subject: self.brokers.clone(),
            source: io::Error::new(ErrorKind::PermissionDenied, reason),
        })
    }

    /// Asks for as long as this at most, and for this long once a broker has refused.
    fn attempt(&self, most: Duration, others: Duration) -> Result<Greeted, Fault> {
        let config = self.config([("allow.auto.create.topics", "false".to_owned())]);
        let noticed = Noticed::default();
        let client: BaseConsumer<Noticed> =
            BaseConsumer::from_config_and_context(&config, noticed.clone())
                .map_err(Fault::told("use", &self.brokers))?;
        let mut until = Instant::now() + most;
        let mut wait = FIRST_ATTEMPT;
        let mut refused = None;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            // Of one topic, which need not be there: an answer about all would be long.
            let asked = client.fetch_metadata(Some(&self.client_id), wait.min(left));
            wait *= 2;
            let error = match asked {
                Ok(_) => return Ok(Greeted::Answered),
                Err(error) => error,
            };
            while client.poll(LISTEN).is_some() {}
            if refused.is_none() && noticed.refusal().is_some() {
                refused = noticed.refusal();
                until = until.min(Instant::now() + others);
            }
            if Instant::now() >= until {
                return Ok(match refused {
                    Some(refusal) => Greeted::Refused(refusal),
                    None => Greeted::Unanswered(noticed.obstacle(), error),
                });
            }
        }
    }

    fn unanswered(&self, noticed: Option<String>, error: KafkaError) -> Fault {
        let source = io_error(error);
        let source = match noticed {
            Some(noticed) => io::Error::new(source.kind(), format!("{source}: {noticed}")),
            None => source,
        };
        Fault {
            action: ACTION,
            subject: self.brokers.clone(),
            source,
        }
    }

    /// Whether brokers whose certificate is not accepted would be, by another name.
    ///
    /// The client library does not say. So they are asked once more by a client that does not look at the name. It must
    /// not say who it is: anybody could be at the other end.
    fn is_refused_by_name(&self) -> Result<bool, Fault> {
        let is_of_tls = |name: &str| name.starts_with("ssl.") || name.starts_with("enable.ssl.");
        let kept = self.properties.iter().filter(|(name, _)| is_of_tls(name));
        let kept = kept.map(|(name, value)| (name.clone(), value.clone()));
        let mut properties: BTreeMap<String, String> = kept.collect();
        let nameless = [
            ("security.protocol", "ssl"),
            ("ssl.endpoint.identification.algorithm", "none"),
        ];
        for (name, value) in nameless {
            properties.insert(name.to_owned(), value.to_owned());
        }
        let nameless = Cluster {
            properties,
            ..self.clone()
        };
        let seen = nameless.attempt(LOOK_MAX, Duration::ZERO)?;
        // A broker that wants to know who the client is ends the connection, but only once there is one.
        Ok(!matches!(seen, Greeted::Refused(Refusal::Brokers(_))))
    }
}
