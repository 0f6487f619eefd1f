//! A source and sinks in memory: doubles for tests, and input without a disk for benches.

mod epochs;
mod sink;
mod source;
mod wrapped;

pub use epochs::{Committed, MemoryEpochSink, PlaceFault, PublishFault};
pub use sink::MemorySink;
pub use source::{MemorySource, Schedule, Turn};
pub use wrapped::Wrapped;
