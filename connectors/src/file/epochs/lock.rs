//! One process at a time writes below a folder: two would cut off each other's outputs.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use slackwater_dataflow::lock::{self, LockError, named};
use slackwater_dataflow::sink::SinkError;

use crate::file::epochs::durable::make_folder;
use crate::file::sink::failed;

/// The folder of the markers, below the root.
pub(super) const COMMITTED: &str = "committed";

/// The lock, in the folder of the markers. It is never moved or deleted: who holds another one of this name would
/// think itself alone.
pub(super) const LOCK: &str = "lock";

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
    lock::lock(&path).map_err(|error| match error {
        LockError::Held { pid } => {
            let message = format!(
                "another process{} writes its outputs there and holds `{}`; wait for it to end, stop it, or \
                 use another folder",
                named(pid),
                path.display()
            );
            let source = io::Error::new(io::ErrorKind::WouldBlock, message);
            failed("write to", root, source)
        }
        LockError::Failed { action, source } => failed(action, &path, source),
    })
}
