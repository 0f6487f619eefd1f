//! Is every output there exactly once, however often the processes of a job are killed?
//!
//! - `job`: a job in a folder of its own, started, killed and started again.
//! - `content`: what it has written, compared with what a run writes that nothing happens to.
//! - `campaign`: kills at random moments, of the worker alone and of all, and how long it takes to be back.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod campaign;
mod content;
#[allow(
    dead_code,
    reason = "`tests/s3` takes this file too, and needs more of it"
)]
mod job;
