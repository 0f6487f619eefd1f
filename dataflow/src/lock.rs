//! One process at a time works in a folder: a file there whose lock says so, and which names the process.

use std::fmt;
use std::fs::{File, TryLockError};
use std::io::{self, Read, Write};
use std::path::Path;

/// Most bytes of the file that are read: far more than the digits of any process.
const BYTES_MAX: u64 = 32;

/// A lock was not taken.
#[derive(Debug)]
pub enum LockError {
    /// Another process holds it.
    Held {
        /// The process that wrote its number last, which is the one unless it is only just beginning.
        pid: Option<u32>,
    },
    /// It can't be made or taken.
    Failed {
        /// What was tried: `open`, `lock`, ...
        action: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

/// Takes the lock of the file at `path`, which is made if it is not there, and writes this process into it. It is
/// held until the file is closed; the system does that when the process ends, however it does. The file is never to
/// be moved or deleted: who locks another one of its name would think itself alone.
///
/// # Errors
/// Another process holds it, or it can't be made.
pub fn lock(path: &Path) -> Result<File, LockError> {
    let failed = |action| move |source| LockError::Failed { action, source };
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false);
    let mut file = options.open(path).map_err(failed("open"))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            // Without a number what is said is still true.
            drop(file.take(BYTES_MAX).read_to_string(&mut text));
            let pid = text.trim().parse().ok();
            return Err(LockError::Held { pid });
        }
        Err(TryLockError::Error(error)) => return Err(failed("lock")(error)),
    }
    // The number of an earlier process would be a lie, but a missing one is none: on a full disk, a job must still
    // come up to delete what it has retired.
    file.set_len(0).map_err(failed("write"))?;
    drop(file.write_all(format!("{}\n", std::process::id()).as_bytes()));
    Ok(file)
}

/// A process as a part of a sentence: ` (pid 12)`, or nothing if it is not known.
pub fn named(pid: Option<impl fmt::Display>) -> String {
    pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default()
}
