//! Checkpoints: what they are made of, when one is taken, and how a run begins from one.
//!
//! `docs/checkpoint-format.md` of the repository describes every byte.
//!
//! What objects hold:
//!
//! - [`names`]: what they are called. [`fault`]: what can be wrong with one, and how it is said.
//! - [`fields`]: numbers and byte strings at the front of a payload. [`frame`]: what every object has around its
//!   content, and how damage is found.
//! - [`groups`]: sets of key groups. [`state_file`]: what changed of a worker's state. [`state_merge`]: what a chain
//!   of such objects means.
//! - [`outbox`]: a worker's outputs of an epoch.
//! - [`job`]: what must not change of a job. [`manifest`]: what claims and manifests say; [`soundness`]: whether that
//!   can be; [`record`]: the same as bytes.
//!
//! What is decided, by plain values with no clock and no file in reach:
//!
//! - [`coordinator`]: when an epoch starts, which checkpoints are complete, which failed, when the job ends.
//! - [`settle`]: at recovery, which outputs are published already and which are not yet.
//! - [`retention`]: which objects and records nothing needs any more.
//! - [`ledger`]: what the next manifest says.
//!
//! And what acts on it:
//!
//! - [`log`]: claims and manifests in the store.
//! - [`writing`]: the thread beside each worker that makes durable what the worker hands over.
//! - [`publishing`]: the thread that makes durable outputs visible.
//! - [`collecting`]: the thread that deletes what nothing needs any more.
//! - [`leading`]: the thread that asks the coordinator and does what it says.
//! - [`recovery`]: how a run begins from what another has left.

pub mod names;
pub mod fault;
mod fields;
pub mod frame;
pub mod groups;
pub mod state_file;
pub mod state_merge;
pub mod outbox;
pub mod job;
pub mod manifest;
mod soundness;
pub mod record;
pub mod coordinator;
pub mod settle;
pub mod retention;
pub mod ledger;
pub mod log;
pub(crate) mod writing;
pub(crate) mod publishing;
pub(crate) mod collecting;
pub(crate) mod leading;
pub mod recovery;

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod shelf;

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod damage;
