//! Slackwater as a library: what the binary is made of, for its own tests and benches.
//!
//! - [`supervisor`]: the process above the runs of a job, which starts it again when it has failed.
//! - [`pipeline`]: a pipeline file, from its text to a typed value to a graph of operators.
//! - [`stores`]: the checkpoint store that a pipeline names.
//! - [`report`]: what a run says at its end. [`status`]: what it says meanwhile.
//! - [`letters`]: dead letters, as they lie in topics and files.
//! - [`job`]: runs one pipeline in this process.
//! - [`cli`]: one file per command.

pub mod supervisor;
pub mod pipeline;
pub mod stores;
pub mod report;
pub mod status;
pub mod letters;
pub mod job;
pub mod cli;
