//! How a client proves who it is, and makes sure of whom it speaks to: which settings say that, what this program can of
//! it, and what it means when brokers and client do not come together.
//!
//! The client library says some of it itself, but in terms of how it was built, and some of it only when it has tried for
//! ten seconds.

use std::collections::BTreeMap;

use rdkafka::error::RDKafkaErrorCode;

/// Whether this program was built with TLS.
pub const HAS_TLS: bool = cfg!(feature = "tls");

/// How to get one that was.
const BUILD: &str =
    "this program was built without: build it with `cargo build --release --features tls`";

/// Ways to prove who one is that are of use here. The client library knows others, which want libraries that are not
/// built in.
const MECHANISMS: [&str; 3] = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"];

/// Settings whose values are secrets, whatever the way to prove who one is.
const SECRETS: [&str; 7] = [
    "sasl.oauthbearer.assertion.private.key.passphrase",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.config",
    "sasl.password",
    "ssl.key.password",
    "ssl.key.pem",
    "ssl.keystore.password",
];

/// Settings that name files, or folders, which are to be read.
const FILES: [&str; 5] = [
    "ssl.ca.location",
    "ssl.certificate.location",
    "ssl.crl.location",
    "ssl.key.location",
    "ssl.keystore.location",
];

/// What may stand for a file: the places where systems keep the certificates that they trust.
const PROBE: &str = "probe";

/// Whether the value of a setting is for nobody else to see.
pub fn is_secret(name: &str) -> bool {
    SECRETS.contains(&name)
}

/// Whether the value of a setting is the path of a file, or a folder, that is to be read.
pub fn names_file(name: &str, value: &str) -> bool {
    FILES.contains(&name) && value != PROBE
}

/// Why this program cannot do what one setting asks for, if it cannot.
pub fn lacking(name: &str, value: &str, has_tls: bool) -> Option<String> {
    match name {
        "security.protocol" if !has_tls && wants_tls(value) => Some(format!(
            "{} needs TLS, and {BUILD}",
            value.to_ascii_uppercase()
        )),
        "sasl.mechanism" | "sasl.mechanisms" => lacking_of_mechanism(value, has_tls),
        _ if !has_tls && (name.starts_with("ssl.") || name.starts_with("enable.ssl.")) => {
            Some(format!("it belongs to TLS, and {BUILD}"))
        }
        _ => None,
    }
}

fn lacking_of_mechanism(mechanism: &str, has_tls: bool) -> Option<String> {
    if !MECHANISMS.contains(&mechanism) {
        let known = MECHANISMS.map(|known| format!("`{known}`")).join(", ");
        Some(format!("expected one of {known}"))
    } else if !has_tls && mechanism != "PLAIN" {
        Some(format!(
            "{mechanism} needs the cryptography of TLS, and {BUILD}"
        ))
    } else {
        None
    }
}

/// Whether connections of that protocol are encrypted.
fn wants_tls(protocol: &str) -> bool {
    protocol.eq_ignore_ascii_case("ssl") || protocol.eq_ignore_ascii_case("sasl_ssl")
}

/// The first setting that cannot be used as it is, and why.
pub(crate) fn unusable(properties: &BTreeMap<String, String>) -> Option<(&str, String)> {
    let lacks = properties
        .iter()
        .find_map(|(name, value)| Some((name.as_str(), lacking(name, value, HAS_TLS)?)));
    lacks.or_else(|| without_mechanism(properties))
}

/// Without a mechanism the client library takes one that is not built in.
fn without_mechanism(properties: &BTreeMap<String, String>) -> Option<(&str, String)> {
    let (name, protocol) = properties.get_key_value("security.protocol")?;
    let wants = protocol.to_ascii_lowercase().starts_with("sasl");
    let has = |name: &str| properties.contains_key(name);
    if !wants || has("sasl.mechanism") || has("sasl.mechanisms") {
        return None;
    }
    let known = MECHANISMS.map(|known| format!("`{known}`")).join(", ");
    Some((
        name,
        format!("{protocol} needs `sasl.mechanism` beside it, one of {known}"),
    ))
}

/// Why brokers and a client do not come together, though they have spoken to each other. Nothing that waiting helps
/// against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The brokers do not take the client for who it says it is; in the client library's words.
    Client(String),
    /// The client does not take the brokers for who they should be.
    Brokers(String),
    /// They do not find a way to encrypt what they say.
    Encryption(String),
}

impl Refusal {
    /// What an error of a client means, if it means that.
    pub(crate) fn of(code: RDKafkaErrorCode, reason: &str) -> Option<Self> {
        let reason = reason.to_owned();
        match code {
            RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SaslAuthenticationFailed => {
                Some(Refusal::Client(reason))
            }
            RDKafkaErrorCode::SSL if reason.contains("certificate verify failed") => {
                Some(Refusal::Brokers(reason))
            }
            RDKafkaErrorCode::SSL => Some(Refusal::Encryption(reason)),
            _ => None,
        }
    }

    /// The same with what to do; of brokers that are not taken for who they should be, `by_name` is so if it is only
    /// for their name.
    pub(crate) fn advice(&self, by_name: bool) -> String {
        match self {
            Refusal::Client(reason) => format!(
                "they do not accept this client. `sasl.mechanism`, `sasl.username` and `sasl.password` in `properties` \
                 must be those of a user whom the brokers know. The client says: {reason}"
            ),
            Refusal::Brokers(reason) if by_name => format!(
                "their certificate is for other names than the one by which they were reached. `brokers`, and the \
                 addresses that brokers tell their clients (`advertised.listeners`), must be names that stand in their \
                 certificates. The client says: {reason}"
            ),
            Refusal::Brokers(reason) => format!(
                "their certificate is not one that this client trusts. `ssl.ca.location` in `properties` must name the \
                 file with the certificate of who has issued it, and none of them may have run out. The client says: \
                 {reason}"
            ),
            Refusal::Encryption(reason) => format!(
                "no encrypted connection comes about. `security.protocol` in `properties` must be that of the port, and \
                 where brokers want a certificate from their clients, `ssl.certificate.location` and \
                 `ssl.key.location` must name it and its key. The client says: {reason}"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rdkafka::error::RDKafkaErrorCode as Code;

    use crate::security::{Refusal, lacking, names_file, unusable};

    #[test]
    fn what_does_a_program_without_tls_lack() {
        let check = |name: &str, value: &str, without: Option<&str>, with: Option<&str>| {
            for (has_tls, expected) in [(false, without), (true, with)] {
                let found = lacking(name, value, has_tls);
                assert_eq!(found.is_some(), expected.is_some(), "{name} {value}");
                let said = found.unwrap_or_default();
                assert!(said.contains(expected.unwrap_or_default()), "{said}");
            }
        };
        let build = Some("cargo build --release --features tls");
        let expected = Some("expected one of `PLAIN`, `SCRAM-SHA-256`, `SCRAM-SHA-512`");
        check("security.protocol", "SSL", build, None);
        check("security.protocol", "sasl_ssl", build, None);
        check("security.protocol", "SASL_PLAINTEXT", None, None);
        check("security.protocol", "PLAINTEXT", None, None);
        check("sasl.mechanism", "PLAIN", None, None);
        check("sasl.mechanism", "SCRAM-SHA-256", build, None);
        check("sasl.mechanisms", "SCRAM-SHA-512", build, None);
        check("sasl.mechanism", "GSSAPI", expected, expected);
        check("sasl.mechanism", "plain", expected, expected);
        check("ssl.ca.location", "ca.pem", build, None);
        check("enable.ssl.certificate.verification", "false", build, None);
        check("sasl.password", "ssl.", None, None);
    }

    #[test]
    fn which_settings_can_not_be_used() {
        let check = |settings: &[(&str, &str)], expected: Option<(&str, &str)>| {
            let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            let settings: BTreeMap<_, _> = settings.iter().map(owned).collect();
            let found = unusable(&settings);
            assert_eq!(found.is_some(), expected.is_some(), "{found:?}");
            if let (Some((name, why)), Some((expected, part))) = (found, expected) {
                assert!(name == expected && why.contains(part), "{name}: {why}");
            }
        };
        let needs = Some(("security.protocol", "needs `sasl.mechanism` beside it"));
        check(&[], None);
        check(&[("security.protocol", "sasl_plaintext")], needs);
        let plain = [
            ("security.protocol", "SASL_PLAINTEXT"),
            ("sasl.mechanisms", "PLAIN"),
        ];
        check(&plain, None);
    }

    #[test]
    fn which_settings_name_files() {
        assert!(names_file("ssl.ca.location", "ca.pem"));
        assert!(!names_file("ssl.ca.location", "probe"));
        assert!(!names_file("ssl.ca.pem", "ca.pem"));
        assert!(!names_file("sasl.username", "/no/such/file"));
    }

    #[test]
    fn what_do_errors_of_a_client_mean() {
        let check = |code: Code, reason: &str, expected: Option<fn(String) -> Refusal>| {
            let expected = expected.map(|of| of(reason.to_owned()));
            assert_eq!(Refusal::of(code, reason), expected, "{reason}");
        };
        let wrong = "SASL authentication error: Authentication failed";
        check(Code::Authentication, wrong, Some(Refusal::Client));
        let unknown =
            "SSL handshake failed: error:0A000086:SSL routines::certificate verify failed";
        check(Code::SSL, unknown, Some(Refusal::Brokers));
        let plain = "SSL handshake failed: error:0A00010B:SSL routines::wrong version number";
        check(Code::SSL, plain, Some(Refusal::Encryption));
        check(Code::BrokerTransportFailure, "Disconnected", None);
    }

    #[test]
    fn does_each_refusal_say_what_to_do() {
        let check = |refusal: fn(String) -> Refusal, by_name: bool, what: &str| {
            let said = refusal("REASON".to_owned()).advice(by_name);
            assert!(said.contains(what) && said.ends_with("REASON"), "{said}");
        };
        check(Refusal::Client, false, "`sasl.password`");
        check(Refusal::Brokers, false, "`ssl.ca.location`");
        check(Refusal::Brokers, true, "`advertised.listeners`");
        check(Refusal::Encryption, false, "`security.protocol`");
    }
}
