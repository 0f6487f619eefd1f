//! WHAT OTHERS HAVE WRITTEN, and what they are to read, if it is in Redis: a store for lookups, and a copy of state.
//!
//! Read in this order; later modules use earlier ones, never the reverse:
//!
//! - [`address`]: where a server is and who asks it, by the URL that names both.
//! - [`wire`]: bytes to and from a server, with a hard end to waiting and to what is read.
//! - [`session`]: commands and replies on one connection.
//! - [`store`]: what lookups ask.
//! - [`mirror`]: the copy of state, which others read.
//!
//! The protocol is read and written by the client library. Its connections are not used: they give each read its time, and not
//! the whole of an answer, so a server that sends a byte now and then would hold up a job for ever; and they read an
//! answer into memory however large it is.

pub mod address;
mod wire;
mod session;
pub mod store;
pub mod mirror;
