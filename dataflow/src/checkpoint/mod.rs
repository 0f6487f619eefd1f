//! Checkpoints: what they are made of, when one is taken, and how a run begins from one.
//!
//! `docs/checkpoint-format.md` of the repository describes every byte. What is decided here is decided by plain
//! values, with no clock and no file in reach:
//!
//! - [`coordinator`]: when an epoch starts, which checkpoints are complete, which failed, when the job ends;
//! - [`settle`]: at recovery, which outputs are published already and which are not yet;
//! - [`retention`]: which objects and records nothing needs any more.

pub mod coordinator;
pub mod settle;
pub mod retention;
