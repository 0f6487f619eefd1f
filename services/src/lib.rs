//! Real services that chores and tests start on this machine, so that the engine meets the programs which it will meet
//! elsewhere and not only what plays them: a Kafka broker, for now. Nothing of the engine is known here, and nothing of
//! this is in the engine.
//!
//! - [`cache`]: where the services' programs are kept, and the tools of the chores;
//! - `random`: a few bytes that nobody can guess;
//! - `ports`: ports that are free;
//! - [`kafka`]: the broker, and Java's own tools for it.

pub mod cache;
mod random;
mod ports;
pub mod kafka;

pub use ports::free_port;
