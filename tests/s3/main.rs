//! Does all that rests on a checkpoint store rest as well on a bucket of S3?
//!
//! The service is moto, which plays S3 in memory: good for the protocol, for conditions and for what a client does when
//! answers are lost. It is no evidence of what the real one does under load, and its conditional puts are one at a time
//! because `server.py` lets one request in at a time.
//!
//! - `server`: the service, started by each test for itself.
//! - `proxy`: what stands between a client and the service, and can be told to misbehave.
//! - `stores`: the store itself, against what every store keeps, and against a service that misbehaves.
//! - `jobs`: whole jobs: killed, with the service away, with answers lost; and the commands that look at them.
//! - `copies`: two copies of one job.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests"
)]

#[allow(dead_code, reason = "`tests/kill` needs more of it")]
#[path = "../kill/content.rs"]
mod content;
#[path = "../../dataflow/src/store/tests/contract.rs"]
mod contract;
mod copies;
#[allow(dead_code, reason = "`tests/kill` needs more of it")]
#[path = "../kill/job.rs"]
mod job;
mod jobs;
mod proxy;
mod server;
mod stores;

use slackwater_dataflow::store::probe::check_conditions;
use slackwater_dataflow::store::{Put, Store, StoreError, read_all};
