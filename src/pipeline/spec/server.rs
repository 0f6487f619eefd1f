//! Servers that a job reaches besides brokers.

use std::fmt;

use crate::pipeline::spec::PropertySpec;

/// Where a server is, and who comes.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerSpec {
    /// Where. It may hold a password.
    pub url: Hidden,
    /// Who comes.
    pub username: Option<PropertySpec>,
    /// And the proof.
    pub password: Option<PropertySpec>,
    /// Who may have signed the server's certificate, in PEM; none: whom this machine trusts.
    pub ca: Option<PropertySpec>,
    /// A certificate of who comes and its key, in PEM.
    pub identity: Option<(PropertySpec, PropertySpec)>,
}

/// A text that messages do not show.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(pub String);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hidden(..)")
    }
}
