//! Outputs that are there already when a job starts from nothing: found, so that they can be refused, or moved out
//! of the way.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use slackwater_dataflow::sink::SinkError;

use crate::file::epochs::durable::{make_folder, sync_folder};
use crate::file::epochs::lock::{COMMITTED, LOCK, committed, lock};
use crate::file::sink::{failed, is_of_shard, outputs_in};

/// Begins the name of a folder that earlier outputs are moved to; a number follows.
pub(super) const BEFORE: &str = "before-";

/// The first part that is not empty, else the first marker. An empty part is none: a run that ends before its
/// first epoch leaves such parts, and must not stand in its own way.
pub(super) fn first_output(root: &Path, folders: &[PathBuf]) -> Result<Option<PathBuf>, SinkError> {
    if root.exists() && !root.is_dir() {
        let error = io::Error::new(io::ErrorKind::NotADirectory, "it is not a folder");
        return Err(failed("write below", root, error));
    }
    for folder in folders {
        for part in outputs_in(folder)? {
            let metadata =
                fs::symlink_metadata(&part).map_err(|error| failed("look at", &part, error))?;
            if !metadata.is_file() || metadata.len() > 0 {
                return Ok(Some(part));
            }
        }
    }
    let folder = committed(root);
    let names = names_in(&folder)?;
    let marker = names.iter().find(|name| is_of_shard(name, ".json"));
    Ok(marker.map(|name| folder.join(name)))
}

/// Moves the streams' folders and all markers to a new folder below `root`; its path, or none if there was no
/// output. Half a move is finished by another call, in another folder.
pub(super) fn move_away(root: &Path, folders: &[PathBuf]) -> Result<Option<PathBuf>, SinkError> {
    if first_output(root, folders)?.is_none() {
        return Ok(None);
    }
    let _lock = lock(root)?;
    let before = make_before(root)?;
    for folder in folders {
        // A link to a folder is moved as what it is.
        if let (Ok(_), Some(name)) = (fs::symlink_metadata(folder), folder.file_name()) {
            fs::rename(folder, before.join(name)).map_err(|error| failed("move", folder, error))?;
        }
    }
    let (from, to) = (committed(root), before.join(COMMITTED));
    make_folder(&to).map_err(|error| failed("create", &to, error))?;
    for name in names_in(&from)? {
        if name != LOCK {
            let path = from.join(&name);
            fs::rename(&path, to.join(name)).map_err(|error| failed("move", &path, error))?;
        }
    }
    for folder in [&to, &from, &before, root] {
        sync_folder(folder).map_err(|error| failed("sync", folder, error))?;
    }
    Ok(Some(before))
}

/// Makes the folder `before-N` of the first number that is free.
fn make_before(root: &Path) -> Result<PathBuf, SinkError> {
    let mut number = 1_u64;
    loop {
        let folder = root.join(format!("{BEFORE}{number}"));
        match fs::create_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(failed("create", &folder, error)),
            Ok(()) => return Ok(folder),
        }
    }
}

/// Names in a folder, in their order; none if there is no folder. What is no text is not ours.
fn names_in(folder: &Path) -> Result<Vec<String>, SinkError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        result => result.map_err(|error| failed("list", folder, error))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| failed("list", folder, error))?;
        names.extend(entry.file_name().into_string());
    }
    names.sort();
    Ok(names)
}
