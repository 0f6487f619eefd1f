//! Does any fault, at any step, break an invariant? Whole jobs on a store, a source and a sink in memory, which fail
//! when they are told to.
//!
//! - `reference`, `scene`: the reference pipeline, run as often as it takes. `expected`: what must be true when it is
//!   done. `sampling`: which of very many cases are tried.
//! - `crashes`: a crash at each step of the store, before it, half-way and after it, with and without power, and more of
//!   them in the recoveries that follow.

#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "../canonical.rs"]
mod canonical;
#[path = "../replay/reference.rs"]
mod reference;

mod crashes;
mod expected;
mod sampling;
mod scene;
