//! Goes on in a file where reading it stopped, if it still is the file that was read.
//!
//! All that is known of it is how far it was read. But that is never inside a line: so most files that were cut or
//! put in its place since are found out, before a record of them is taken for one that was not read yet.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;

/// Bytes skipped at once.
const BLOCK_BYTES: usize = 64 * 1024;

/// Sets `file` to the byte that it was read to. If it is `growing`, its last line may lack its end, and was
/// not read then.
pub(super) fn seek(file: &mut File, read: u64, growing: bool) -> io::Result<()> {
    let Some(last) = read.checked_sub(1) else {
        return Ok(());
    };
    let length = file.metadata()?.len();
    if length < read {
        return Err(shorter(length, read));
    }
    if growing || read < length {
        let mut byte = [0];
        file.read_exact_at(&mut byte, last)?;
        if byte != *b"\n" {
            return Err(changed(read));
        }
    }
    file.seek(SeekFrom::Start(read))?;
    Ok(())
}

/// Reads from `content`, which stands at its beginning, what had been read of it.
pub(super) fn skip(content: &mut dyn Read, read: u64) -> io::Result<()> {
    if read == 0 {
        return Ok(());
    }
    let mut block = vec![0; BLOCK_BYTES];
    let mut skipped = 0;
    let mut last = None;
    while skipped < read {
        let most = usize::try_from(read - skipped).unwrap_or(BLOCK_BYTES);
        let found = read_some(content, &mut block[..most.min(BLOCK_BYTES)])?;
        if found.is_empty() {
            return Err(shorter(skipped, read));
        }
        skipped += found.len() as u64;
        last = found.last().copied();
    }
    // Where it ends, a last line without its end was read too.
    if last != Some(b'\n') && !read_some(content, &mut block[..1])?.is_empty() {
        return Err(changed(read));
    }
    Ok(())
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

fn changed(read: u64) -> io::Error {
    io::Error::other(format!(
        "it is not the file that was read: that was read to byte {read}, and here no record begins there; \
         {WHAT_TO_DO}"
    ))
}
