//! Further places at which a broker listens, and, where clients must say who they are, who may speak there.

use super::certificates::Keys;

/// A further place at which a broker listens, such as for TLS, or for clients that come through a proxy.
#[derive(Clone, Debug, Default)]
pub struct Listener {
    /// Its name, in capitals; properties of its own begin with `listener.name.`, its name in small letters and a dot.
    pub name: String,
    /// `PLAINTEXT`, `SSL`, `SASL_PLAINTEXT` or `SASL_SSL`.
    pub protocol: String,
    /// The port that clients are told to use, if it is not the one at which the broker listens: a proxy's.
    pub advertised: Option<u16>,
}

/// Somebody whom a broker knows, by a password.
#[derive(Clone, Debug)]
pub struct User {
    /// Letters and digits.
    pub name: String,
    /// Letters, digits, `-` and `_`.
    pub password: String,
}

/// How clients say who they are, as Kafka calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// The password itself.
    Plain,
    /// Proof of knowing it.
    ScramSha512,
}

impl Mechanism {
    /// By this name clients ask for it.
    pub fn name(self) -> &'static str {
        match self {
            Mechanism::Plain => "PLAIN",
            Mechanism::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

/// A listener of that name, and the broker's properties for it: clients say who they are by either mechanism, over
/// connections that these keys encrypt.
///
/// Users of the first mechanism are named here; those of the other are in the data of the cluster, see
/// [`super::Settings::users`].
#[must_use]
pub fn secured(name: &str, keys: &Keys, users: &[User]) -> (Listener, Vec<(String, String)>) {
    let listener = Listener {
        name: name.to_owned(),
        protocol: "SASL_SSL".to_owned(),
        advertised: None,
    };
    let mechanisms = [Mechanism::Plain, Mechanism::ScramSha512].map(Mechanism::name);
    let known = users
        .iter()
        .map(|user| format!(" user_{}=\"{}\"", user.name, user.password));
    let modules = "org.apache.kafka.common.security";
    let plain = format!(
        "{modules}.plain.PlainLoginModule required{};",
        known.collect::<String>()
    );
    let scram = format!("{modules}.scram.ScramLoginModule required;");
    let mut properties = vec![
        ("sasl.enabled.mechanisms", mechanisms.join(",")),
        ("plain.sasl.jaas.config", plain),
        ("scram-sha-512.sasl.jaas.config", scram),
    ];
    properties.extend(keys.properties());
    let own = format!("listener.name.{}", name.to_ascii_lowercase());
    let properties = properties.into_iter();
    let properties = properties.map(|(key, value)| (format!("{own}.{key}"), value));
    (listener, properties.collect())
}

/// A user as the tool takes it that makes the folder of a node's data.
pub(super) fn to_make(user: &User) -> String {
    let (name, password) = (&user.name, &user.password);
    let mechanism = Mechanism::ScramSha512.name();
    format!("{mechanism}=[name={name},password={password}]")
}
