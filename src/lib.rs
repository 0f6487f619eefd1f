//! Slackwater as a library: what the binary is made of, for its own tests and benches.
//!
//! - [`pipeline`]: a pipeline file, from its text to a typed value to a graph of operators.
//! - [`job`]: runs one pipeline in this process. [`report`]: what it says at the end.
//! - [`cli`]: one file per command.

pub mod pipeline;
pub mod report;
pub mod job;
pub mod cli;
