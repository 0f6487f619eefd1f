//! Does any fault, at any step, break an invariant? Whole jobs on a store, a source and a sink in memory, which fail
//! when they are told to.
//!
//! - `reference`, `scene`: the reference pipeline, run as often as it takes. `expected`: what must be true when it is
//!   done. `sampling`: which of very many cases are tried.
//! - `hooked`: a store and a sink that can be held, or fail, wherever they are asked for something. `sips`: a source that
//!   takes its time.
//! - `crashes`: a crash at each step of the store, before it, half-way and after it, with and without power, and more of
//!   them in the recoveries that follow. `folds`: the same while chains are folded, and whether they stay short.
//! - `hops`: events that go over the workers of other keys.
//! - `placing`: outputs that are written in their place. `publishing`: a sink that fails. `markers`: outputs that do not fit. `storing`: a store that fails for a while.
//! - `zombies`: more than one run at a time. `stopping`: a job that is stopped and goes on. `breaking`: a source that breaks.
//! - `damage`: objects that are not what they were.
//! - `alignment`: workers that end an epoch at different instants.
//! - `silence`: partitions that fall silent, wake, and are found; `quiet`: a source whose partitions do.
//! - `defects`: whether all these tests find what they are there for; `red` runs them so.
//!
//! The gate tries some cases of each kind, always the same ones; `SLACKWATER_SIM=all` tries all.

#![expect(clippy::unwrap_used, reason = "tests")]
#![expect(clippy::print_stdout, reason = "tests say what they have covered")]

#[path = "../canonical.rs"]
mod canonical;
#[path = "../replay/reference.rs"]
mod reference;

mod alignment;
mod breaking;
mod crashes;
mod damage;
#[cfg(feature = "faults")]
mod defects;
mod expected;
mod folds;
mod sampling;
mod hooked;
mod hops;
mod markers;
mod placing;
mod publishing;
mod quiet;
mod red;
mod scene;
mod silence;
mod sips;
mod stopping;
mod storing;
mod zombies;
