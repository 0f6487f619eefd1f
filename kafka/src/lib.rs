//! WHERE FROM AND TO, if it is Kafka: a source that reads topics, a sink that publishes each epoch exactly once.
//!
//! Read in this order; later modules use earlier ones, never the reverse:
//!
//! - [`client`]: how brokers are reached, what clients of them notice, and what their errors mean.
//! - [`topics`]: what there is of topics, what they take, and how those that are missing are made.
//! - [`source`]: reads all partitions of some topics.
//! - [`markers`]: the topic that says which epoch of each shard was published last.
//! - [`producer`]: one shard's transactions, and whether it is certain how one has ended.
//! - [`renewal`]: makes the next producer of a shard while nobody waits for it.
//! - [`sink`]: publishes the outputs of durable epochs, each in transactions that end with a marker.
//! - [`at_once`]: sends outputs as they come, at least once.
//!
//! No other crate knows the client library.

pub mod client;
pub mod topics;
pub mod source;
pub mod markers;
pub mod producer;
pub mod renewal;
pub mod sink;
pub mod at_once;
