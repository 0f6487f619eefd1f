//! Files, as a source of events and as a place for outputs: the embedded defaults of a job. The standard
//! input is read as a file is, line by line.

mod again;
mod compressed;
mod growing;
mod lines;
mod listing;
mod sink;
mod epochs;
mod source;
mod stdin;

pub use compressed::is_compressed;
pub use epochs::{EpochFiles, EpochFilesConfig, committed_length};
pub use sink::{Existing, FileSink, FileSinkConfig, OpenError, SHARDS_MAX, StreamFolders};
pub use source::{FileConfig, FileSource};
pub use stdin::StdinSource;
