//! Files, as a source of events and as a place for outputs: the embedded defaults of a job.

mod compressed;
mod lines;
mod sink;
mod source;

pub use sink::{Existing, FileSink, FileSinkConfig, OpenError, SHARDS_MAX, StreamFolders};
pub use source::{FileConfig, FileSource};
