//! Real services that chores and tests start on this machine, so that the engine meets the programs which it will meet
//! elsewhere and not only what plays them: a Kafka broker, a Redis server. Nothing of the engine is known here, and nothing of
//! this is in the engine.
//!
//! - [`cache`]: where the services' programs are kept, and the tools of the chores;
//! - `random`: a few bytes that nobody can guess;
//! - `ports`: ports that are free;
//! - `owned`: a process that ends with the test that has started it;
//! - [`process`]: one that outlives the command that has started it;
//! - [`kafka`]: the broker, and Java's own tools for it;
//! - [`redis`]: the server;
//! - [`delay`]: a network between a service and who asks it that takes its time.

pub mod cache;
mod random;
mod ports;
mod owned;
pub mod process;
pub mod kafka;
pub mod redis;
pub mod delay;

pub use ports::free_port;
