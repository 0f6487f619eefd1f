//! Tables of Parquet as input: with the feature `parquet` of the program only.

use slackwater_connectors::file::OpenTable;

/// Whether this program reads and writes tables of Parquet.
pub(crate) const HAS_PARQUET: bool = cfg!(feature = "parquet");

/// What opens tables; none if they cannot be read.
pub(crate) fn opener() -> Option<OpenTable> {
    #[cfg(feature = "parquet")]
    return Some(OpenTable(columns::open));
    #[cfg(not(feature = "parquet"))]
    return None;
}

#[cfg(feature = "parquet")]
mod columns {
    use std::io;
    use std::path::Path;

    use slackwater_columns::reading::Rows;
    use slackwater_connectors::file::Table;
    use slackwater_dataflow::place::Mark;

    struct FileTable(Rows);

    pub(super) fn open(path: &Path, row: u64) -> io::Result<Box<dyn Table>> {
        Ok(Box::new(FileTable(Rows::open(path, row)?)))
    }

    impl Table for FileTable {
        fn read(&mut self, record: &mut Vec<u8>) -> io::Result<bool> {
            self.0.read(record)
        }

        fn mark(&self) -> Mark {
            Mark(self.0.mark())
        }
    }
}
