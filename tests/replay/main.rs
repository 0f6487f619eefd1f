//! Same input, same content: whatever the number of workers and however the input happens to be polled.
//!
//! - `reference`: the reference pipeline on sources in memory.
//! - `arrival`: in arrival order.
//! - `event_time`: in event-time order, whatever the interleaving of the partitions.
//! - `other_keys`: features of other keys than the job's, in both orders.
//! - `faults`: readers that break their contract, to show that the comparison can fail.

#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "../canonical.rs"]
mod canonical;

mod arrival;
mod event_time;
mod faults;
mod other_keys;
mod reference;
