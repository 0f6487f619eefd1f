//! WHEN things happen: event time, progress, keyed state, and the threads that run a graph.
//!
//! Read in this order; later modules use earlier ones, never the reverse:
//!
//! - [`place`]: one type for every number that says where an event stands: partition, offset, key group,
//!   shard; and the fixed rules between them.
//! - [`moment`]: the one clock, (epoch, watermark) under the product order, and its two projections.
//! - [`identity`]: who wrote a checkpoint, and which one it is.
//! - [`clock`]: wall and monotonic time, for output fields and figures only.
//! - [`lock`]: one process at a time works in a folder.
//! - [`fields`]: numbers and byte strings at the front of a payload. [`text`]: texts of others as messages repeat them.
//! - [`source`], [`sink`], [`store`]: the seams to the outside; [`mirror`]: the one to a store in which others read a copy of
//!   state.
//! - [`idleness`]: which partitions hold event time, and what those are raised to that come back.
//! - [`flow`]: the bound on events in flight, as tickets. [`pace`]: the bound on events that wait for the
//!   watermark, and [`spill`] for those beyond it. [`meters`]: what a run counts;
//!   [`reached`]: how far event time has come.
//! - [`snapshot`]: what of a stage's state goes into a checkpoint. [`state`]: keyed state in memory.
//! - [`turn`]: how events of a partition are in order again that have come over several workers.
//! - [`operator`], [`ingest`]: what a stage is: a plain state machine.
//! - [`control`]: what a coordinator tells workers, and what they hand over of each epoch.
//! - [`checkpoint`]: what checkpoints are made of, when one is taken, and how a run begins from one.
//! - [`run`]: what the threads of one run share, and how it ends.
//! - [`lookup`]: the seam to stores that are asked for what others have written, and the threads that ask them.
//! - [`checkpointing`]: the threads that take checkpoints beside the workers.
//! - [`steering`]: floors and idleness of a run without checkpoints.
//! - [`adapter`]: the one place where state machines meet timely, and the [`adapter::Graph`] they form.
//! - [`worker`]: runs a graph on a group of threads.
//!
//! A tutorial is `examples/count_by_key.rs` of the repository: a whole program on this crate, with an operator,
//! an ingest and a sink of its own. `examples/score_events.rs` runs the stages of `operators` on it.
//!
//! This crate knows nothing of JSON, models, pipeline files, or any single operator.

pub mod faults;
pub mod place;
pub mod moment;
pub mod identity;
pub mod clock;
pub mod lock;
pub mod fields;
pub mod text;
pub mod headers;
pub mod source;
pub mod store;
pub mod sink;
pub mod mirror;
pub mod idleness;
pub mod flow;
pub mod pace;
pub mod spill;
pub mod meters;
pub mod reached;
pub mod snapshot;
pub mod state;
pub mod turn;
pub mod operator;
pub mod ingest;
pub mod control;
pub mod checkpoint;
pub mod run;
pub mod lookup;
mod steering;
mod checkpointing;
pub mod adapter;
pub mod worker;

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
mod scripted;
