//! Who is trusted, and what proves who asks, where connections are encrypted.

use std::fmt;

/// How to get a program with TLS.
pub const BUILD: &str =
    "this program was built without: build it with `cargo build --release --features tls`";

/// Who is trusted, and what proves who asks; all in PEM.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Trust {
    /// Certificates of those who may have signed the server's; those whom this machine trusts, if there are none.
    pub ca: Option<String>,
    /// A certificate of who asks, with those that it rests on, and the key that it is for.
    pub identity: Option<(String, String)>,
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // It may hold a key.
        f.write_str("Trust(..)")
    }
}

/// What cannot be used for TLS.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// Not a certificate.
    #[error("`ca` holds no certificates in PEM (`-----BEGIN CERTIFICATE-----`)")]
    Authority,
    /// Not a certificate.
    #[error("`certificate` holds no certificates in PEM (`-----BEGIN CERTIFICATE-----`)")]
    Certificate,
    /// Not a key.
    #[error("`certificate_key` holds no key in PEM (`-----BEGIN PRIVATE KEY-----`)")]
    Key,
    /// They do not fit together, or are of a kind that is not known.
    #[error("`certificate` and `certificate_key` cannot be used: {0}")]
    Unusable(String),
    /// The machine has no list of whom to trust.
    #[error("this machine has no certificates that it trusts: name those to trust with `ca`")]
    NobodyTrusted,
    /// The program cannot do it.
    #[error("`rediss://` needs TLS, and {BUILD}")]
    NoTls,
}
