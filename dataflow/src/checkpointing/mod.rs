//! The threads that take checkpoints beside the workers of a run.
//!
//! - [`leading`]: asks the coordinator and does what it says.
//! - [`writing`]: beside each worker, makes durable what the worker hands over.
//! - [`publishing`]: makes durable outputs visible.
//! - [`collecting`]: deletes what nothing needs any more.

pub(crate) mod collecting;
pub(crate) mod leading;
pub(crate) mod publishing;
pub(crate) mod writing;
