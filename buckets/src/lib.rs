//! Checkpoint stores in a bucket of S3, or of a service that speaks its protocol and keeps its word about conditions.
//!
//! A crate of its own, so that its clients (HTTP, TLS, an asynchronous runtime) are in nobody's way: the rest of the
//! engine is built, and works, without them. Nothing asynchronous leaves it: the threads that call it wait, as they do
//! for a disk.
//!
//! - [`fault`]: what went wrong, in words and as a kind that recovery understands, without anything secret.
//! - [`link`]: the client, and the small runtime in which its requests run.
//! - `reading`, `writing`: one object.
//! - [`store`]: objects, as [`Store`](slackwater_dataflow::store::Store) wants them.

pub mod fault;
pub mod link;
mod reading;
mod writing;
pub mod store;

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]
mod tests;

pub use link::{OpenError, Patience};
pub use store::BucketStore;
