//! WHAT OTHERS HAVE WRITTEN, and what they are to read, if it is in Redis: a store for lookups, and a copy of state.
//!
//! Read in this order; later modules use earlier ones, never the reverse:
//!
//! - [`trust`]: who is trusted, and what proves who asks.
//! - [`socket`]: a connection with a hard end to waiting.
//! - [`tls`]: the same encrypted, with the feature `tls` only.
//! - [`address`]: where a server is and who asks it, by the URL that names both.
//! - [`wire`]: bytes to and from a server, encrypted or not, with an end to what is read.
//! - [`session`]: commands and replies on one connection.
//! - [`store`]: what lookups ask.
//! - [`mirror`]: the copy of state, which others read.
//!
//! The protocol is read and written by the client library. Its connections are not used: they give each read its time, and not
//! the whole of an answer, so a server that sends a byte now and then would hold up a job for ever; and they read an
//! answer into memory however large it is.

pub mod trust;
mod socket;
#[cfg_attr(not(feature = "tls"), path = "without_tls.rs")]
pub mod tls;
pub mod address;
mod wire;
mod session;
pub mod store;
pub mod mirror;
