//! Does a job that looks things up in a real Redis lose nothing, double nothing, and hang for nothing?
//!
//! - `scene`: jobs with a lookup, and the same without, which say what must come out.
//! - `answers`: what Redis has reaches the scores, and what it has of another kind does no harm.
//! - `mirror`: lists that others read are what histories are, through kills of both sides.
//! - `faults`: what happens to Redis. `outcome`: what became of each event meanwhile, and whether that is right.
//! - `outages`: Redis stopped, frozen or absent, with every policy.
//! - `told`: what is told of lookups: where each value comes from, and that a store is away.
//! - `secured`: Redis that speaks TLS, in a program that does.
//! - `resident`: the server that a person starts.
//!
//! Needs `redis-server`; where it is missing these tests fail and say so.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests"
)]

mod answers;
#[allow(dead_code, reason = "`tests/kill` has more use for it")]
#[path = "../kill/content.rs"]
mod content;
#[allow(dead_code, reason = "`tests/kill` has more use for it")]
#[path = "../kill/findings.rs"]
mod findings;
#[allow(dead_code, reason = "`tests/kill` has more use for it")]
#[path = "../kill/job.rs"]
mod job;
mod faults;
mod mirror;
mod outages;
mod outcome;
mod resident;
mod scene;
#[cfg(feature = "tls")]
mod secured;
mod told;
