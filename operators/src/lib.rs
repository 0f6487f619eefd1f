//! WHAT HAPPENS TO AN EVENT: each stage as a plain state machine.
//!
//! In the order in which an event meets them:
//!
//! - [`event`]: the declared fields. [`json`]: the scanner that finds them in a record's bytes.
//! - [`batch`]: the unit that travels. [`expression`]: conditions and numbers in CEL. [`check`]: rules on fields. [`reject`]: an event that goes to a
//!   dead-letter stream. [`key`]: canonical key bytes.
//! - [`ingest`]: bytes to rows, at the source's worker.
//! - [`order`]: in event-time order, the wait for the watermark.
//! - [`resequence`], [`reroute`]: where features are of other keys than the job's, the way from the worker of one key to that of the
//!   next.
//! - [`history`], [`window`], [`features`]: what is known of a key, and the vector made of it, at the key's worker.
//! - [`lookup`]: features that others have written elsewhere. [`mod@derive`]: those that are made of others. [`enrichment`]: where they come from, as a prediction tells it.
//! - [`infer`]: the score.
//! - [`encode`]: final bytes of every record.
//!
//! This crate knows no file, socket or pipeline file, and of models only how to ask one for scores.

pub mod event;
pub mod json;
pub mod origin;
pub mod batch;
pub mod expression;
pub mod reject;
pub mod check;
mod refusal;
pub mod key;
pub mod ingest;
pub mod order;
pub mod resequence;
pub mod reroute;
mod sweeps;
pub mod history;
pub mod window;
pub mod enrichment;
pub mod features;
pub mod lookup;
pub mod derive;
pub mod infer;
pub mod encode;
