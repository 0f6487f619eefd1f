//! Goes on in a file where reading it stopped, if it still is the file that was read.
//!
//! What is known of it is how far it was read, and a checksum of what stands right before that, its *mark*. So files that
//! were cut or put in its place since are found out, before a record of them is taken for one that was not read yet.
//! The number of the file on its disk would say less: a copy that was put back is as good.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;

use slackwater_dataflow::place::Mark;

/// Bytes skipped at once.
const BLOCK_BYTES: usize = 64 * 1024;

/// Bytes that a mark is made of: more than a line with a time in it has, mostly.
const MARKED_BYTES: usize = 256;

/// The last bytes that were read of a file.
#[derive(Clone, Debug, Default)]
pub(super) struct Tail(Vec<u8>);

impl Tail {
    /// More was read.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let kept = bytes.len().saturating_sub(MARKED_BYTES);
        self.0.extend_from_slice(bytes.get(kept..).unwrap_or(bytes));
        let over = self.0.len().saturating_sub(MARKED_BYTES);
        self.0.drain(..over);
    }

    /// Its mark; none where nothing was read.
    pub(super) fn mark(&self) -> Option<Mark> {
        (!self.0.is_empty()).then(|| Mark(crc32c::crc32c(&self.0)))
    }

    /// Whether these are the bytes of `file` right before the byte `read`. One that has become shorter has others.
    pub(super) fn stands_before(&self, file: &File, read: u64) -> io::Result<bool> {
        let mut found = vec![0; self.0.len()];
        let from = read.saturating_sub(self.0.len() as u64);
        match file.read_exact_at(&mut found, from) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            result => result.map(|()| found == self.0),
        }
    }

    fn check(self, read: u64, expected: Option<Mark>) -> io::Result<Self> {
        if expected.is_some() && self.mark() != expected {
            return Err(changed(read, "other bytes stand before that"));
        }
        Ok(self)
    }
}

/// Sets `file` to the byte that it was read to, where it had this mark, if that is known. If it is `growing`, its last line
/// may lack its end, and was not read then. Gives what stands before that byte.
pub(super) fn seek(
    file: &mut File,
    read: u64,
    mark: Option<Mark>,
    growing: bool,
) -> io::Result<Tail> {
    let marked = read.min(MARKED_BYTES as u64);
    if marked == 0 {
        return Ok(Tail::default());
    }
    let length = file.metadata()?.len();
    if length < read {
        return Err(shorter(length, read));
    }
    let mut tail = vec![0; MARKED_BYTES.min(usize::try_from(marked).unwrap_or(MARKED_BYTES))];
    file.read_exact_at(&mut tail, read - marked)?;
    if (growing || read < length) && tail.last() != Some(&b'\n') {
        return Err(changed(read, NO_RECORD));
    }
    file.seek(SeekFrom::Start(read))?;
    Tail(tail).check(read, mark)
}

/// Reads from `content`, which stands at its beginning, what had been read of it, to where it had this mark.
pub(super) fn skip(content: &mut dyn Read, read: u64, mark: Option<Mark>) -> io::Result<Tail> {
    let mut tail = Tail::default();
    if read == 0 {
        return Ok(tail);
    }
    let mut block = vec![0; BLOCK_BYTES];
    let mut skipped = 0;
    while skipped < read {
        let most = usize::try_from(read - skipped).unwrap_or(BLOCK_BYTES);
        let found = read_some(content, &mut block[..most.min(BLOCK_BYTES)])?;
        if found.is_empty() {
            return Err(shorter(skipped, read));
        }
        skipped += found.len() as u64;
        tail.push(found);
    }
    let last = tail.0.last().copied();
    let tail = tail.check(read, mark)?;
    // Where it ends, a last line without its end was read too. What is read ahead for that is not missed: no record
    // would begin there.
    if last != Some(b'\n') && !read_some(content, &mut block[..1])?.is_empty() {
        return Err(changed(read, NO_RECORD));
    }
    Ok(tail)
}

/// What one read brings; nothing at the end.
fn read_some<'a>(content: &mut dyn Read, buffer: &'a mut [u8]) -> io::Result<&'a [u8]> {
    let read = loop {
        match content.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => break result?,
        }
    };
    Ok(buffer.get(..read).unwrap_or(buffer))
}

/// What can be done about a file that is not as it was.
const WHAT_TO_DO: &str = "restore it, or start over with `--fresh`";

fn shorter(length: u64, read: u64) -> io::Error {
    io::Error::other(format!(
        "it is shorter than what was read of it: it has {length} bytes, and was read to byte {read}; {WHAT_TO_DO}"
    ))
}

/// Why a table is not gone on with that says other things of itself.
pub(super) fn other_table(row: u64) -> io::Error {
    io::Error::other(format!(
        "it is not the table that was read to row {row}: {WHAT_TO_DO}"
    ))
}

const NO_RECORD: &str = "no record begins there";

fn changed(read: u64, here: &str) -> io::Error {
    io::Error::other(format!(
        "it is not the file that was read: that was read to byte {read}, and here {here}; {WHAT_TO_DO}"
    ))
}
