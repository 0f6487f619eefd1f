//! Apache Kafka as its makers ship it, on this machine: one node that is broker and controller in one, in plain Java,
//! and Java's own tools as readers and writers that share nothing with ours.
//!
//! - `java`: Java and Maven of this machine, or what to install;
//! - `properties`: what a node is told;
//! - `wire`: the one request that proves that a broker serves;
//! - [`record`]: records as the tools write and read them;
//! - `archives`: what Maven fetches, and how Java is started with it;
//! - [`certificates`]: an authority, and what it issues;
//! - [`listeners`]: further places at which a broker listens, and who may speak there;
//! - `node`: a node's folder, from nothing to ready;
//! - `console`: one of the tools while it runs;
//! - [`tools`]: topics, and the console's producer and consumer;
//! - [`broker`]: a broker that a test owns;
//! - `install`: from nothing to a Kafka that starts quickly;
//! - [`resident`]: a broker that a person starts and stops.

mod java;
mod properties;
mod wire;
pub mod record;
mod archives;
pub mod certificates;
pub mod listeners;
mod node;
mod console;
pub mod tools;
pub mod broker;
mod install;
pub mod resident;

pub use archives::{Kafka, VERSION};
pub use broker::Broker;
pub use install::install;
pub use listeners::Listener;
pub use node::Settings;
pub use record::{Read, Record};
pub use resident::Resident;
pub use tools::{Reading, Tools};
