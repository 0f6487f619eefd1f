//! The threads that take checkpoints beside the workers of a run.
//!
//! - [`leading`]: asks the coordinator and does what it says.
//! - [`placing`]: writes outputs where they will stay, for a sink that can have that.
//! - [`writing`]: beside each worker, makes durable what the worker hands over.
//! - [`publishing`]: makes durable outputs visible.
//! - [`mirroring`]: keeps a copy of state for others.
//! - [`folder`]: folds chains.
//! - [`collecting`]: deletes what nothing needs any more.

pub(crate) mod collecting;
pub(crate) mod folder;
pub(crate) mod leading;
pub(crate) mod mirroring;
pub(crate) mod placing;
pub(crate) mod publishing;
pub(crate) mod writing;
