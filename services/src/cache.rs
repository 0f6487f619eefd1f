//! The place for programs and packages that took time to fetch or to build, outside `target`, so that `cargo clean` does
//! not throw them away: `$SLACKWATER_CACHE`, else `$XDG_CACHE_HOME/slackwater`, else `~/.cache/slackwater`. The rule
//! stands here alone; chores and tests ask.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// Written last into a folder of the cache: one without it was interrupted and is made again.
pub const COMPLETE: &str = "complete";

/// The root of the repository: the folder above this crate's.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// Where all of it is kept. A relative folder is seen from the root of the repository.
///
/// # Errors
/// When none of the three variables that could name it is set.
pub fn folder() -> Result<PathBuf> {
    let cache = folder_from(|name| std::env::var_os(name).filter(|value| !value.is_empty()))
        .context("no place for tools: set SLACKWATER_CACHE, XDG_CACHE_HOME or HOME")?;
    // An absolute folder replaces what it is joined to.
    Ok(root().join(cache))
}

/// The decision behind [`folder`], over any set of variables.
fn folder_from(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    variable("SLACKWATER_CACHE")
        .map(PathBuf::from)
        .or_else(|| variable("XDG_CACHE_HOME").map(|base| Path::new(&base).join("slackwater")))
        .or_else(|| variable("HOME").map(|home| Path::new(&home).join(".cache/slackwater")))
}

/// Takes the lock of a folder, which is made if it is not there, waiting for whoever has it; dropping the file gives it
/// back.
///
/// # Errors
/// When the folder or its lock cannot be made.
pub fn lock(folder: &Path) -> Result<File> {
    let path = folder.join("lock");
    let tried = || format!("cannot lock {}", folder.display());
    fs::create_dir_all(folder).with_context(tried)?;
    let file = File::create(&path).with_context(tried)?;
    file.lock().with_context(tried)?;
    Ok(file)
}

/// Removes a folder that may not be there.
///
/// # Errors
/// When it is there and stays.
pub fn remove_folder(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::ffi::OsString;
    use std::fs::{self, File};
    use std::path::PathBuf;

    use super::{folder_from, lock, remove_folder};

    #[test]
    fn where_is_the_cache() {
        let check = |set: &[(&str, &str)], expected: Option<&str>| {
            let found = folder_from(|name| {
                let value = set.iter().find(|(key, _)| *key == name)?.1;
                Some(OsString::from(value))
            });
            assert_eq!(found, expected.map(PathBuf::from), "{set:?}");
        };
        check(&[], None);
        check(&[("HOME", "/h")], Some("/h/.cache/slackwater"));
        check(
            &[("HOME", "/h"), ("XDG_CACHE_HOME", "/x")],
            Some("/x/slackwater"),
        );
        check(
            &[("XDG_CACHE_HOME", "/x"), ("SLACKWATER_CACHE", "/s")],
            Some("/s"),
        );
    }

    #[test]
    fn does_a_lock_keep_others_out_until_it_is_dropped() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("new");
        let held = lock(&folder).unwrap();
        let other = File::create(folder.join("lock")).unwrap();
        assert!(other.try_lock().is_err());
        drop(held);
        other.try_lock().unwrap();
    }

    #[test]
    fn is_a_folder_that_is_not_there_removed_in_silence() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("a");
        remove_folder(&folder).unwrap();
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("file"), "").unwrap();
        remove_folder(&folder).unwrap();
        assert!(!folder.exists());
    }
}
