//! Same input, same content: whatever the number of workers and however the input happens to be polled.
//!
//! - `arrival`: the reference pipeline in arrival order.
//! - `faults`: readers that break their contract, to show that the comparison can fail.

#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "../canonical.rs"]
mod canonical;

mod arrival;
mod faults;
