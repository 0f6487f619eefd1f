//! What is read of stores.

use slackwater_operators::lookup::plan::{CachePlan, KeyTemplate, LookupField, OnError, OnMiss};

use crate::pipeline::spec::ServerSpec;

/// What is read of a store for each event.
#[derive(Clone, Debug, PartialEq)]
pub struct LookupSpec {
    /// Its name; names differ.
    pub name: String,
    /// Where the store is.
    pub server: ServerSpec,
    /// What is asked for.
    pub key: KeyTemplate,
    /// What lies there.
    pub read: LookupRead,
    /// What is taken of it; at least one, all names different.
    pub fields: Vec<LookupField>,
    /// For one try; at least 1.
    pub timeout_ms: u64,
    /// For connecting; at least 1.
    pub connect_timeout_ms: u64,
    /// Further tries.
    pub retries: u32,
    /// Where the store has nothing.
    pub on_miss: OnMiss,
    /// Where it gives no answer, or one that can't be used.
    pub on_error: OnError,
    /// Keys of a worker under way; at least 1.
    pub in_flight: usize,
    /// What is remembered; none if nothing is.
    pub cache: Option<CachePlan>,
    /// Failures in a row until the store is not asked; at least 1.
    pub breaker_failures: u32,
    /// How long before each probe then; at least 1.
    pub breaker_open_ms: u64,
}

/// What lies at a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookupRead {
    /// A hash with the fields.
    Hash,
    /// A string that holds a JSON object with the fields.
    Json,
    /// A string that is the only field.
    Text,
}
