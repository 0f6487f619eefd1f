//! A source and sinks in memory, and a way to put something between a source and whoever reads it: doubles for tests, and
//! input without a disk for benches.

mod epochs;
mod sink;
mod source;
mod wrapped;

pub use epochs::{Committed, MemoryEpochSink, PlaceFault, PublishFault};
pub use sink::MemorySink;
pub use source::{MemorySource, Schedule, Turn};
pub use wrapped::Wrapped;
