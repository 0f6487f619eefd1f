//! The seam to the disk for what waits and has no room in memory.
//!
//! What is spilled belongs to the run that spilled it and is worth nothing to any other: files have no name,
//! and are gone with the process, however it ends. Each holds one sorted piece of what waits, and is dropped
//! when all of it has been read back.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

/// Makes files to spill to.
pub trait Spill {
    /// A new, empty file.
    fn create(&self) -> io::Result<Box<dyn SpillFile>>;
}

/// Bytes that are written once, from the beginning to the end, and then read back in pieces.
pub trait SpillFile {
    /// Writes behind everything written before.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Reads as many bytes as `piece` has room for, from position `at` on.
    fn read(&self, at: u64, piece: &mut [u8]) -> io::Result<()>;
}

/// Files in the folder for temporary files of the system, which the variable `TMPDIR` names.
#[derive(Clone, Copy, Debug, Default)]
pub struct TemporaryFiles;

impl Spill for TemporaryFiles {
    fn create(&self) -> io::Result<Box<dyn SpillFile>> {
        Ok(Box::new(TemporaryFile(tempfile::tempfile()?)))
    }
}

struct TemporaryFile(File);

impl SpillFile for TemporaryFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    fn read(&self, at: u64, piece: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(piece, at)
    }
}

/// A disk in memory of a certain size: the test double.
#[derive(Clone, Copy, Debug)]
pub struct MemoryFiles {
    /// Bytes for which each file has room; writing beyond that fails as on a full disk.
    pub room: usize,
}

impl Default for MemoryFiles {
    fn default() -> Self {
        MemoryFiles { room: usize::MAX }
    }
}

impl Spill for MemoryFiles {
    fn create(&self) -> io::Result<Box<dyn SpillFile>> {
        Ok(Box::new(MemoryFile {
            room: self.room,
            bytes: Vec::new(),
        }))
    }
}

struct MemoryFile {
    room: usize,
    bytes: Vec<u8>,
}

impl SpillFile for MemoryFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.len() > self.room - self.bytes.len() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn read(&self, at: u64, piece: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(at).unwrap_or(usize::MAX);
        let end = start.saturating_add(piece.len());
        let bytes = self.bytes.get(start..end);
        piece.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::io;

    use crate::spill::{MemoryFiles, Spill, TemporaryFiles};

    #[test]
    fn is_what_was_written_read_back() {
        let check = |spill: &dyn Spill| {
            let mut file = spill.create().unwrap();
            file.append(b"abc").unwrap();
            file.append(b"").unwrap();
            file.append(b"defg").unwrap();
            let mut piece = [0; 4];
            file.read(2, &mut piece).unwrap();
            assert_eq!(&piece, b"cdef");
            file.append(b"h").unwrap();
            file.read(4, &mut piece).unwrap();
            assert_eq!(&piece, b"efgh");
            let beyond = file.read(5, &mut piece).unwrap_err();
            assert_eq!(beyond.kind(), io::ErrorKind::UnexpectedEof);
        };
        check(&TemporaryFiles);
        check(&MemoryFiles::default());
    }

    #[test]
    fn does_a_full_disk_say_so() {
        let mut file = MemoryFiles { room: 3 }.create().unwrap();
        file.append(b"ab").unwrap();
        let full = file.append(b"cd").unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
    }
}
