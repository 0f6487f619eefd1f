//! Does all of it hold on a real Kafka? Every record is read back by Java's own consumer, which shares no code with ours.
//!
//! - `cluster`: a broker of the test's own, jobs on it, and what they have written to it.
//! - `kills`: jobs that publish to Kafka, killed at random moments and in each phase of publishing.
//! - `at_least_once`: jobs that send outputs as they come.
//! - `fences`: sinks of two runs of one job.
//! - `networks`: answers that are lost, requests that come late or stall, at each step of the protocol; `proxy` does that.
//! - `renewals`: sinks and jobs with a new producer for each epoch.
//! - `outages`: brokers that are killed, stopped or frozen while a job runs.
//! - `reading`: jobs that read from Kafka: positions, new partitions, places that are lost.
//! - `poison`: records and batches that are not as they should be.
//! - `letters`: dead letters, sent again or deleted.
//! - `preflight`: what a person is told before anything runs.
//! - `secured`: brokers that speak TLS, and want to know who speaks to them; with the feature `tls`.
//! - `defects`: whether these tests find what they are there for.
//!
//! Needs Java, and Maven with the network the first time; where they are missing these tests fail and say so.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests"
)]

mod at_least_once;
mod cluster;
#[allow(dead_code, reason = "`tests/kill` has more use for it")]
#[path = "../kill/content.rs"]
mod content;
#[allow(dead_code, reason = "`tests/kill` has more use for it")]
#[path = "../kill/job.rs"]
mod job;
#[path = "../kill/findings.rs"]
mod findings;
#[path = "../sim/red.rs"]
mod red;
#[allow(dead_code, reason = "`tests/sim` has more use for it")]
#[path = "../sim/hooked.rs"]
mod hooked;
mod defects;
mod fences;
mod kills;
mod letters;
mod networks;
mod outages;
mod poison;
mod preflight;
mod proxy;
mod reading;
mod renewals;
#[cfg(feature = "tls")]
mod secured;
