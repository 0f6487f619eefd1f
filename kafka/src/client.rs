//! How brokers are reached, what clients of them notice, and what their errors mean.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext as _, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{DeliveryResult, ProducerContext};
use slackwater_dataflow::sink::SinkError;
use slackwater_dataflow::source::SourceError;

use crate::security::{Refusal, unusable};

/// Where the brokers are, and how they are spoken to.
#[derive(Clone, PartialEq, Eq)]
pub struct Cluster {
    /// `host:port`, several with commas between them.
    pub brokers: String,
    /// Settings of the client library, as they are. They may hold secrets.
    pub properties: BTreeMap<String, String>,
    /// What brokers see in their logs.
    pub client_id: String,
}

/// Settings that belong to the job: what exactly once rests on, and what is said elsewhere in a pipeline file.
const RESERVED: [(&str, &str); 27] = [
    ("acks", SET),
    ("allow.auto.create.topics", SET),
    ("auto.offset.reset", "`on_lost_offset` and `start` say that"),
    ("bootstrap.servers", "`brokers` says that"),
    ("debug", LOGS),
    ("log.connection.close", LOGS),
    ("log.queue", LOGS),
    ("log_level", LOGS),
    ("client.id", "it is the job's name"),
    ("delivery.report.only.error", SET),
    ("delivery.timeout.ms", WAITED_FOR),
    ("enable.auto.commit", SET),
    ("enable.auto.offset.store", SET),
    ("enable.idempotence", SET),
    ("enable.partition.eof", SET),
    ("group.id", "it is the job's name"),
    ("group.instance.id", "no group is joined"),
    ("group.protocol", "no group is joined"),
    ("isolation.level", SET),
    ("max.in.flight", SET),
    ("max.in.flight.requests.per.connection", SET),
    ("metadata.broker.list", "`brokers` says that"),
    ("message.max.bytes", "it is what the topics take"),
    ("message.timeout.ms", WAITED_FOR),
    ("request.required.acks", SET),
    ("transaction.timeout.ms", SET),
    ("transactional.id", SET),
];

const LOGS: &str = "the job reads what the client logs: a lost connection is told nowhere else";

const WAITED_FOR: &str =
    "brokers that are away are waited for, and transactions have their own time";

const SET: &str = "the job sets it itself, and what is exactly once rests on it";

/// Why a setting is not for a person to set, if it is not.
pub fn reserved(name: &str) -> Option<&'static str> {
    let mut reserved = RESERVED.iter();
    reserved.find_map(|(known, why)| (*known == name).then_some(*why))
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let properties: Vec<_> = self.properties.keys().collect();
        f.debug_struct("Cluster")
            .field("brokers", &self.brokers)
            .field("properties", &properties)
            .finish_non_exhaustive()
    }
}

impl Cluster {
    /// Whether this program can do what the settings ask for, as far as they alone tell.
    ///
    /// # Errors
    /// It can not: the first such setting, and what to do.
    pub fn usable(&self) -> Result<(), Fault> {
        match unusable(&self.properties) {
            Some((name, why)) => Err(Fault::new("use", format!("the property `{name}`"), why)),
            None => Ok(()),
        }
    }

    /// Settings of a client: ours, then what a person has set.
    pub(crate) fn config<'s>(
        &self,
        settings: impl IntoIterator<Item = (&'s str, String)>,
    ) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers);
        config.set("client.id", &self.client_id);
        // A broker that is back is found again within a second, and one that is away costs nothing.
        config.set("reconnect.backoff.ms", "50");
        config.set("reconnect.backoff.max.ms", "1000");
        for (name, value) in settings {
            config.set(name, value);
        }
        for (name, value) in &self.properties {
            config.set(name, value);
        }
        config.set_log_level(RDKafkaLogLevel::Warning);
        config
    }

    /// A client that reads.
    pub(crate) fn consumer<'s>(
        &self,
        settings: impl IntoIterator<Item = (&'s str, String)>,
    ) -> Result<BaseConsumer<Noticed>, Fault> {
        let ours = [
            ("enable.auto.commit", "false".to_owned()),
            // A question must not make the topic that it asks for.
            ("allow.auto.create.topics", "false".to_owned()),
            // Who has lost its place is to say so.
            ("auto.offset.reset", "error".to_owned()),
        ];
        let config = self.config(ours.into_iter().chain(settings));
        BaseConsumer::from_config_and_context(&config, Noticed::default())
            .map_err(Fault::told("use", &self.brokers))
    }
}

/// Something that was asked of a cluster and not done.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {subject}: {source}")]
pub struct Fault {
    /// What was tried: `read`, `create`, ...
    pub action: &'static str,
    /// On what: a topic, a transaction.
    pub subject: String,
    /// Why it failed, of a kind as [`kind_of`] says.
    pub source: io::Error,
}

impl Fault {
    /// A fault of a cluster that answers, which a person has to see to.
    pub fn new(
        action: &'static str,
        subject: impl Into<String>,
        reason: impl Into<String>,
    ) -> Self {
        Fault {
            action,
            subject: subject.into(),
            source: io::Error::other(reason.into()),
        }
    }

    /// A fault that passes by itself.
    pub(crate) fn passing(
        action: &'static str,
        subject: impl Into<String>,
        reason: impl Into<String>,
    ) -> Self {
        Fault {
            action,
            subject: subject.into(),
            source: io::Error::new(ErrorKind::TimedOut, reason.into()),
        }
    }

    /// What the client library says.
    pub(crate) fn told(
        action: &'static str,
        subject: impl Into<String>,
    ) -> impl FnOnce(KafkaError) -> Self {
        let subject = subject.into();
        move |error| Fault {
            action,
            subject,
            source: io_error(error),
        }
    }

    /// Whether it passes by itself, when the cluster is there again.
    pub fn passes(&self) -> bool {
        matches!(
            self.source.kind(),
            ErrorKind::NotConnected | ErrorKind::TimedOut
        )
    }
}

impl From<Fault> for SinkError {
    fn from(fault: Fault) -> Self {
        SinkError {
            action: fault.action,
            subject: fault.subject,
            source: fault.source,
        }
    }
}

impl From<Fault> for SourceError {
    fn from(fault: Fault) -> Self {
        SourceError {
            action: fault.action,
            subject: fault.subject,
            source: fault.source,
        }
    }
}

/// What a client notices, beside its answers. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Noticed(Arc<Seen>);

#[derive(Debug, Default)]
struct Seen {
    /// Whether a connection was lost in use, or nobody has answered a request.
    loss: AtomicBool,
    /// Whether a record was not delivered.
    undelivered: AtomicBool,
    /// Why the first of them was not, if that says more than that others were not.
    cause: Mutex<Option<RDKafkaErrorCode>>,
    /// Why brokers and this client did not come together the first time, if they have spoken to each other.
    refusal: Mutex<Option<Refusal>>,
    /// Why the last connection did not come about, or did not stay.
    obstacle: Mutex<Option<String>>,
}

impl Noticed {
    /// Whether a connection was lost in use so far, or a request not answered in time.
    pub fn has_loss(&self) -> bool {
        self.0.loss.load(Ordering::SeqCst)
    }

    /// Whether a record was not delivered so far.
    pub fn has_undelivered(&self) -> bool {
        self.0.undelivered.load(Ordering::SeqCst)
    }

    /// Why the first of them was not delivered, if that is known.
    pub fn cause(&self) -> Option<RDKafkaErrorCode> {
        *self.0.cause.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why brokers and this client do not accept each other, if they do not.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        let refusal = self.0.refusal.lock();
        refusal.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Why the last connection did not come about, in the client library's words.
    pub(crate) fn obstacle(&self) -> Option<String> {
        let obstacle = self.0.obstacle.lock();
        obstacle.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note_error(&self, code: RDKafkaErrorCode, reason: &str) {
        if let Some(refusal) = Refusal::of(code, reason) {
            let mut first = self
                .0
                .refusal
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            first.get_or_insert(refusal);
        }
        if matches!(
            code,
            RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::Resolve
        ) {
            let mut last = self
                .0
                .obstacle
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            *last = Some(reason.to_owned());
        }
    }

    fn note(&self, facility: &str, message: &str) {
        if is_loss(facility, message) {
            self.0.loss.store(true, Ordering::SeqCst);
        }
    }
}

/// Whether the client library says that a request may have been sent whose answer will not come. Connections that were
/// never there are no loss: one broker of many may be away for long.
///
/// A connection that ends says so in its log only, as `FAIL`, with the state it was in.
fn is_loss(facility: &str, message: &str) -> bool {
    facility == "REQTMOUT" || (facility == "FAIL" && message.contains("in state UP"))
}

impl ClientContext for Noticed {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.note(facility, message);
        tracing::debug!(facility, ?level, "kafka: {message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.note("FAIL", reason);
        if let Some(code) = error.rdkafka_error_code() {
            self.note_error(code, reason);
        }
        tracing::debug!("kafka: {error}: {reason}");
    }
}

impl ConsumerContext for Noticed {}

impl ProducerContext for Noticed {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let Err((error, _)) = result else { return };
        let code = error.rdkafka_error_code();
        let follows = matches!(
            code,
            Some(RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight)
        );
        if let Some(code) = code.filter(|_| !follows) {
            let mut cause = self.0.cause.lock().unwrap_or_else(PoisonError::into_inner);
            cause.get_or_insert(code);
        }
        self.0.undelivered.store(true, Ordering::SeqCst);
    }
}

/// What an error means for who asked: kinds that pass, as far as waiting can help, and others.
///
/// `NotConnected` and `TimedOut` pass; `PermissionDenied` and `NotFound` need a person.
pub fn kind_of(code: RDKafkaErrorCode) -> ErrorKind {
    use RDKafkaErrorCode as Code;
    match code {
        Code::BrokerTransportFailure
        | Code::AllBrokersDown
        | Code::Resolve
        | Code::NodeUpdate
        | Code::BrokerNotAvailable
        | Code::LeaderNotAvailable
        | Code::NotLeaderForPartition
        | Code::CoordinatorLoadInProgress
        | Code::CoordinatorNotAvailable
        | Code::NotCoordinator
        | Code::NetworkException
        | Code::NotEnoughReplicas
        | Code::NotEnoughReplicasAfterAppend
        | Code::KafkaStorageError
        | Code::ReplicaNotAvailable
        | Code::WaitingForCoordinator => ErrorKind::NotConnected,
        Code::OperationTimedOut
        | Code::RequestTimedOut
        | Code::MessageTimedOut
        | Code::TimedOutQueue
        | Code::ConcurrentTransactions => ErrorKind::TimedOut,
        Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed
        | Code::Authentication
        | Code::SaslAuthenticationFailed => ErrorKind::PermissionDenied,
        Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition => {
            ErrorKind::NotFound
        }
        _ => ErrorKind::Other,
    }
}

/// An error of the client library as one of input and output.
pub(crate) fn io_error(error: KafkaError) -> io::Error {
    let code = error.rdkafka_error_code();
    let kind = code.map_or(ErrorKind::Other, kind_of);
    io::Error::new(kind, Told(error))
}

/// What the library says of a setting, without its value, which it repeats for some kinds of settings: that may be a
/// secret, if only in the wrong place.
fn masked(why: &str, value: &str) -> String {
    let why = why.replace(&format!("\"{value}\""), "\"...\"");
    let last = why.strip_suffix(value).filter(|_| !value.is_empty());
    match last.and_then(|rest| rest.strip_suffix(": ")) {
        Some(rest) => rest.to_owned(),
        None => why,
    }
}

/// An error in its own words, without the library's frame around it.
#[derive(Debug)]
struct Told(KafkaError);

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.0, self.0.rdkafka_error_code()) {
            (KafkaError::ClientConfig(_, why, name, value), _) => {
                let why = masked(why, value);
                write!(f, "the property `{name}` is not usable: {why}")
            }
            (KafkaError::ClientCreation(why), _) => write!(f, "{why}"),
            (KafkaError::Transaction(error), _) => write!(f, "{}", error.string()),
            (_, Some(code)) => write!(f, "{code}"),
            (error, None) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for Told {}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::client::{Cluster, is_loss, masked};

    fn cluster() -> Cluster {
        let secret = ("sasl.password".to_owned(), "hunter2".to_owned());
        Cluster {
            brokers: "one:9092,two:9092".to_owned(),
            properties: BTreeMap::from([secret, ("linger.ms".to_owned(), "7".to_owned())]),
            client_id: "job".to_owned(),
        }
    }

    #[test]
    fn is_what_a_person_sets_above_ours() {
        let config = cluster().config([("linger.ms", "5".to_owned()), ("acks", "all".to_owned())]);
        assert_eq!(config.get("linger.ms"), Some("7"));
        assert_eq!(config.get("acks"), Some("all"));
        assert_eq!(config.get("bootstrap.servers"), Some("one:9092,two:9092"));
    }

    #[test]
    fn which_log_lines_tell_of_a_loss() {
        let check = |facility: &str, message: &str, expected: bool| {
            assert_eq!(is_loss(facility, message), expected, "{message}");
        };
        let up = "[thrd:b:9/1]: b:9/1: Disconnected (after 23ms in state UP)";
        check("FAIL", up, true);
        let suppressed =
            "b:9/1: Disconnected (after 23ms in state UP, 1 identical error(s) suppressed)";
        check("FAIL", suppressed, true);
        let away =
            "b:9/1: Connect to ipv4#b:9 failed: Connection refused (after 0ms in state CONNECT)";
        check("FAIL", away, false);
        check("REQTMOUT", "b:9/1: Timed out EndTxnRequest in flight", true);
        check("GETPID", "in state UP", false);
    }

    #[test]
    fn is_a_value_left_out_of_what_is_said_of_it() {
        let check = |why: &str, expected: &str| assert_eq!(masked(why, "hunter2"), expected);
        check(
            "Invalid value for property \"x\": hunter2",
            "Invalid value for property \"x\"",
        );
        check(
            "Invalid value \"hunter2\" for x",
            "Invalid value \"...\" for x",
        );
        check("Invalid value for x", "Invalid value for x");
        assert_eq!(masked("Invalid value for x: ", ""), "Invalid value for x: ");
    }

    #[test]
    fn are_secrets_shown_to_nobody() {
        let shown = format!("{:?}", cluster());
        assert!(
            shown.contains("sasl.password") && !shown.contains("hunter2"),
            "{shown}"
        );
    }
}
