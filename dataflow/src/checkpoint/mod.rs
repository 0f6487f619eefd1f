//! Checkpoints: what they are made of, when one is taken, and how a run begins from one.
//!
//! `docs/checkpoint-format.md` of the repository describes every byte.
//!
//! What objects hold:
//!
//! - [`names`]: what they are called. [`fault`]: what can be wrong with one, and how it is said.
//! - [`frame`]: what every object has around its content, and how damage is found.
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
//! - [`turns`]: the order of epochs, for outputs that several workers bring.
//! - [`ledger`]: what the next manifest says.
//! - [`folding`]: which objects of a chain are to become one.
//!
//! And what acts on it:
//!
//! - [`log`]: claims and manifests in the store.
//! - [`publishing`]: how a durable epoch is given to a sink.
//! - [`mirroring`]: how a mirror is brought to a checkpoint.
//! - [`saved`]: the state of a checkpoint, for the workers that go on from it.
//! - [`recovery`]: how a run begins from what another has left.

pub mod names;
pub mod fault;
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
mod partitions;
pub(crate) mod turns;
pub mod ledger;
pub mod folding;
pub mod log;
pub(crate) mod publishing;
pub mod mirroring;
mod saved;
pub mod recovery;

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod shelf;

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod damage;
