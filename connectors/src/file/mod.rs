//! Files, as a source of events and as a place for outputs: the embedded defaults of a job. The standard
//! input is read as a file of lines is.

mod again;
mod compressed;
mod growing;
mod lines;
mod rows;
mod form;
mod listing;
mod sink;
mod epochs;
mod source;
mod stdin;

pub use compressed::is_compressed;
pub use epochs::{EpochFiles, EpochFilesConfig, committed_length};
pub use form::{FileForm, OpenTable, Table, form};
pub use rows::{CellKind, CellKinds};
pub use sink::{Existing, FileSink, FileSinkConfig, OpenError, SHARDS_MAX, StreamFolders};
pub use source::{FileConfig, FileSource};
pub use stdin::StdinSource;
