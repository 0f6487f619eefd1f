//! What is kept for others.

use slackwater_operators::lookup::plan::KeyTemplate;

use crate::pipeline::spec::ServerSpec;

/// Histories as lists in Redis.
#[derive(Clone, Debug, PartialEq)]
pub struct MirrorSpec {
    /// Where.
    pub server: ServerSpec,
    /// The key of a list: each field of the event's key, and no other.
    pub layout: KeyTemplate,
    /// How long a list stays that is not written again; 0 for ever.
    pub ttl_ms: u64,
    /// For one write; at least 1.
    pub timeout_ms: u64,
    /// For connecting; at least 1.
    pub connect_timeout_ms: u64,
}
