//! Makes folders and files so that they are there after a power failure too: what a file system knows of a name
//! is written when the folder is synced, not when the file is.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use crate::file::sink::new_path;

/// Makes a folder with all that lead to it, each durable.
pub(super) fn make_folder(folder: &Path) -> io::Result<()> {
    let missing = folder
        .ancestors()
        .take_while(|path| !path.as_os_str().is_empty() && !path.exists());
    let missing: Vec<&Path> = missing.collect();
    for path in missing.iter().rev() {
        match fs::create_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            result => result?,
        }
        sync_parent(path)?;
    }
    if folder.is_dir() {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::NotADirectory,
        "it is not a folder",
    ))
}

/// Makes the names in a folder durable, those that are gone too.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => sync_folder(Path::new(".")),
        Some(parent) => sync_folder(parent),
        None => Ok(()),
    }
}

/// Puts a file with this content in the place of `path`, which always has either what it had or all of this.
/// When this comes back, it has this after a power failure too.
pub(super) fn replace_durably(path: &Path, content: &[u8]) -> io::Result<()> {
    write_new(path, content)?.sync_all()?;
    fs::rename(new_path(path), path)?;
    sync_parent(path)
}

/// The same, but a power failure may bring back what it had before, or leave it empty.
pub(super) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    write_new(path, content)?;
    fs::rename(new_path(path), path)
}

fn write_new(path: &Path, content: &[u8]) -> io::Result<File> {
    let new = new_path(path);
    // Perhaps there is one of an attempt that did not end. It is not written to: it could be a link.
    match fs::remove_file(&new) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        result => result?,
    }
    let mut file = File::create_new(new)?;
    file.write_all(content)?;
    Ok(file)
}
