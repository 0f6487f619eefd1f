//! Does any fault, at any step, break an invariant? Whole jobs on a store, a source and a sink in memory, which fail
//! when they are told to.
//!
//! - `reference`, `scene`: the reference pipeline, run as often as it takes. `expected`: what must be true when it is
//!   done. `sampling`: which of very many cases are tried.
//! - `hooked`: a store and a sink that can be held, or fail, wherever they are asked for something. `sips`: a source that
//!   takes its time.
//! - `crashes`: a crash at each step of the store, before it, half-way and after it, with and without power, and more of
//!   them in the recoveries that follow. `folds`: the same while chains are folded, and whether they stay short.
//! - `publishing`: a sink that fails. `zombies`: more than one run at a time. `damage`: objects that are not what they
//!   were.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

#[path = "../canonical.rs"]
mod canonical;
#[path = "../replay/reference.rs"]
mod reference;

mod crashes;
mod damage;
mod expected;
mod folds;
mod sampling;
mod hooked;
mod markers;
mod publishing;
mod scene;
mod sips;
mod stopping;
mod storing;
mod zombies;
