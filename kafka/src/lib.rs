//! WHERE FROM AND TO, if it is Kafka: a source that reads topics, a sink that publishes each epoch exactly once.
//!
//! Read in this order; later modules use earlier ones, never the reverse:
//!
//! - [`security`]: how a client proves who it is and is sure of whom it speaks to.
//! - [`client`]: how brokers are reached, what clients of them notice, and what their errors mean.
//! - `greeting`: the first word with brokers: whether they answer this client, and if not, why.
//! - [`topics`]: what there is of topics, what they take, and how those that are missing are made.
//! - [`source`]: reads all partitions of some topics.
//! - [`markers`]: the topic that says which epoch of each shard was published last.
//! - [`producer`]: one shard's transactions, and whether it is certain how one has ended.
//! - [`renewal`]: makes the next producer of a shard while nobody waits for it.
//! - [`sink`]: publishes the outputs of durable epochs, each in transactions that end with a marker.
//! - [`at_once`]: sends outputs as they come, at least once.
//! - [`letters`]: what a person does with records of topics: read them, send them again, delete them.
//!
//! No other crate knows the client library.

pub mod security;
pub mod client;
mod greeting;
pub mod topics;
pub mod source;
pub mod markers;
pub mod producer;
pub mod renewal;
pub mod sink;
pub mod at_once;
pub mod letters;
