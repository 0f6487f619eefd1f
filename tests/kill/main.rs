//! Is every output there exactly once, however often the processes of a job are killed?
//!
//! - `job`: a job in a folder of its own, started, killed and started again.
//! - `content`: what it has written. `shown`: what of it was visible meanwhile. `reference`: what both must be, and the
//!   state, from a run that nothing happens to.
//! - `campaign`: kills at random moments, of the worker alone and of all, and how long it takes to be back.
//! - `phases`: kills in each phase of a checkpoint and of a recovery.
//! - `findings`: for the report.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests"
)]

mod campaign;
mod content;
mod findings;
#[allow(
    dead_code,
    reason = "`tests/s3` takes this file too, and needs more of it"
)]
mod job;
mod phases;
mod reference;
mod shown;
