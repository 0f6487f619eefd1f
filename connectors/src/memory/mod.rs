//! A source and a sink in memory: doubles for tests, and input without a disk for benches.

mod sink;
mod source;

pub use sink::MemorySink;
pub use source::{MemorySource, Schedule, Turn};
