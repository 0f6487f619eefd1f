//! One process at a time writes below a folder: two would cut off each other's outputs.

use std::fs::{File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use slackwater_dataflow::sink::SinkError;

use crate::file::epochs::durable::make_folder;
use crate::file::sink::failed;

/// The folder of the markers, below the root.
pub(super) const COMMITTED: &str = "committed";

/// The lock, in the folder of the markers. It is never moved or deleted: who holds another one of this name would
/// think itself alone.
pub(super) const LOCK: &str = "lock";

/// Most bytes of the lock's file that are read: far more than the digits of any process.
const LOCK_BYTES_MAX: u64 = 32;

/// The folder of the markers.
pub(super) fn committed(root: &Path) -> PathBuf {
    root.join(COMMITTED)
}

/// Takes the lock of the outputs below `root`, which is held until the file is closed.
///
/// # Errors
/// Another process holds it, or it can't be made.
pub(super) fn lock(root: &Path) -> Result<File, SinkError> {
    let folder = committed(root);
    make_folder(&folder).map_err(|error| failed("create", &folder, error))?;
    let path = folder.join(LOCK);
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false);
    let mut file = options
        .open(&path)
        .map_err(|error| failed("open", &path, error))?;
    match file.try_lock() {
        Ok(()) => {
            // The number of an earlier process would be a lie, but a missing one is none.
            drop(file.set_len(0));
            drop(file.write_all(format!("{}\n", std::process::id()).as_bytes()));
            Ok(file)
        }
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            drop(file.take(LOCK_BYTES_MAX).read_to_string(&mut text));
            let pid = text.trim().parse::<u32>().ok();
            let message = format!(
                "another process{} writes its outputs there and holds `{}`; wait for it to end, stop it, or \
                 use another folder",
                pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default(),
                path.display()
            );
            let source = io::Error::new(io::ErrorKind::WouldBlock, message);
            Err(failed("write to", root, source))
        }
        Err(TryLockError::Error(error)) => Err(failed("lock", &path, error)),
    }
}
