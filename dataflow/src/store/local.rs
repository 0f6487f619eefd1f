//! A store in a folder of the local file system.
//!
//! Two things carry it. A name counts once the folder that holds it was synced, not when the file was: so
//! whatever creates a name ends with that. And a hard link fails if its name exists: so a record appears whole
//! and once, whoever else tries.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::lock::{LockError, lock, named};
use crate::store::name::{self, FOLDERS, LOG, random_digits};
use crate::store::{
    ObjectReader, ObjectWriter, Put, Store, StoreError, failed, is_no_room, refuse_broken,
};

/// Where records are written before they get their names.
const TEMPORARY: &str = "tmp";

/// The file whose lock says that a process works on the store.
const LOCK: &str = "lock";

/// Most bytes of an object that are on their way to the disk. Else the sync at the end of a large one would take
/// seconds, and the disk would let all others wait for as long.
const UNSYNCED_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A local store can't be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenStoreError {
    /// Its folder, or something in it, can't be made or opened.
    #[error("cannot {action} `{}` for the checkpoint store: {source}", path.display())]
    Path {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// Somebody holds its lock.
    #[error(
        "another process{} works on the checkpoint store in `{}`: stop it, or give this job a folder of its own",
        named(*pid),
        folder.display()
    )]
    InUse {
        /// The folder of the store.
        folder: PathBuf,
        /// The process that wrote its number last, which is the one unless it is only just beginning.
        pid: Option<u32>,
    },
}

impl OpenStoreError {
    /// Whether there is no store.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Path { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// Objects as files below a folder.
#[derive(Debug)]
pub struct LocalStore {
    folder: PathBuf,
    /// Locked for as long as anybody has this open. None: only to read.
    lock: Option<Arc<File>>,
}

impl LocalStore {
    /// Opens the store in `folder` for this process alone, and makes it if there is none.
    ///
    /// # Errors
    /// Another process has it, or the folder can't be made or used.
    pub fn open(folder: &Path) -> Result<LocalStore, OpenStoreError> {
        // The process may change its folder while it has the store.
        let folder = attempt("find", folder, std::path::absolute(folder))?;
        attempt("make", &folder, make_folder(&folder))?;
        // Before anything else is made: whoever comes second changes nothing.
        let lock = take_lock(&folder)?;
        // The log last: where there is one, there is a store.
        for name in [TEMPORARY].into_iter().chain(FOLDERS.into_iter().rev()) {
            let path = folder.join(name);
            attempt("make", &path, make_folder(&path))?;
        }
        Ok(LocalStore {
            folder,
            lock: Some(Arc::new(lock)),
        })
    }

    /// Opens the store in `folder` to read it, also while a process works on it. What would change it fails.
    ///
    /// # Errors
    /// There is none, which [`OpenStoreError::is_not_found`] tells, or it can't be read.
    pub fn open_to_read(folder: &Path) -> Result<LocalStore, OpenStoreError> {
        let folder = attempt("find", folder, std::path::absolute(folder))?;
        for path in [folder.clone(), folder.join(LOG)] {
            attempt("read", &path, fs::read_dir(&path))?;
        }
        Ok(LocalStore { folder, lock: None })
    }

    /// Removes what earlier processes left on its way to the log, and says how many files it were. To be called
    /// before the first put: it takes those of this process too.
    ///
    /// # Errors
    /// A file can't be removed, or the store is open only to read.
    pub fn remove_leftovers(&self) -> Result<usize, StoreError> {
        let folder = self.folder.join(TEMPORARY);
        let remove = || {
            self.may_change()?;
            let mut removed = 0;
            for entry in fs::read_dir(&folder)? {
                fs::remove_file(entry?.path())?;
                removed += 1;
            }
            Ok(removed)
        };
        remove().map_err(failed("remove leftovers in", TEMPORARY))
    }

    /// Whoever has no lock must change nothing.
    fn may_change(&self) -> io::Result<&Arc<File>> {
        let reason = "the store is open only to read";
        let refused = || io::Error::new(io::ErrorKind::PermissionDenied, reason);
        self.lock.as_ref().ok_or_else(refused)
    }

    /// Makes a file of these bytes that has the name `path` once it is whole.
    fn link(&self, path: &Path, bytes: &[u8]) -> io::Result<Put> {
        let temporary = self.folder.join(TEMPORARY).join(random_digits());
        let mut file = File::create_new(&temporary)?;
        let written = file.write_all(bytes).and_then(|()| file.sync_all());
        let put = written.and_then(|()| match fs::hard_link(&temporary, path) {
            Ok(()) => Ok(Put::Created),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Put::Exists),
            Err(error) => Err(error),
        });
        // On a full disk this gives back what was written in vain. One that can't be removed is left to the
        // next recovery: whether the object is there does not depend on it.
        drop(fs::remove_file(&temporary));
        put
    }
}

impl Store for LocalStore {
    fn create(&self, name: &str) -> Result<Box<dyn ObjectWriter>, StoreError> {
        let (folder, own) = name::parse("create", name)?;
        let folder = self.folder.join(folder);
        let lock = self.may_change().map_err(failed("create", name))?;
        let file = File::create_new(folder.join(own)).map_err(failed("create", name))?;
        Ok(Box::new(LocalWriter {
            name: name.to_owned(),
            file,
            folder,
            length: 0,
            unsynced: 0,
            broken: false,
            _lock: lock.clone(),
        }))
    }

    fn put_if_absent(&self, name: &str, bytes: &[u8]) -> Result<Put, StoreError> {
        let (folder, own) = name::parse("put", name)?;
        let folder = self.folder.join(folder);
        let put = || {
            self.may_change()?;
            let put = self.link(&folder.join(own), bytes)?;
            // Also if it exists: whoever made it may have ended before this, and what the caller
            // reads now must not be gone after a crash.
            sync_folder(&folder)?;
            Ok(put)
        };
        put().map_err(failed("put", name))
    }

    fn open(&self, name: &str) -> Result<Box<dyn ObjectReader>, StoreError> {
        let (folder, own) = name::parse("read", name)?;
        let path = self.folder.join(folder).join(own);
        let open = || {
            let file = File::open(&path)?;
            let length = file.metadata()?.len();
            Ok((file, length))
        };
        let (file, length) = open().map_err(failed("read", name))?;
        Ok(Box::new(LocalReader {
            name: name.to_owned(),
            file,
            length,
        }))
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let folder = name::parse_prefix("list", prefix)?;
        let list = || {
            let mut names = Vec::new();
            for entry in fs::read_dir(self.folder.join(folder))? {
                let entry = entry?;
                let own = entry.file_name();
                // What has no name of an object is none: editors and network file systems leave such files.
                let own = own.to_str().filter(|own| name::is_plain(own));
                if let Some(own) = own
                    && !entry.file_type()?.is_dir()
                {
                    names.push(format!("{folder}/{own}"));
                }
            }
            names.sort_unstable();
            Ok(names)
        };
        list().map_err(failed("list", prefix))
    }

    fn delete(&self, name: &str) -> Result<(), StoreError> {
        let (folder, own) = name::parse("delete", name)?;
        let parent = self.folder.join(folder);
        let delete = || {
            self.may_change()?;
            match fs::remove_file(parent.join(own)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                // Also if there is none: an earlier attempt may have failed between the two.
                _ => {}
            }
            // What a record lists is deleted after the record: a crash must not bring back only the record.
            // Anything else that comes back is listed nowhere, and deleted once more.
            if folder == LOG {
                sync_folder(&parent)?;
            }
            Ok(())
        };
        delete().map_err(failed("delete", name))
    }
}

struct LocalWriter {
    name: String,
    file: File,
    folder: PathBuf,
    length: u64,
    /// Bytes that were appended since the last sync.
    unsynced: usize,
    /// A part of what was appended may be missing, or there twice if it was appended again.
    broken: bool,
    /// A writer may outlive its store, and nobody else is to work on it until then.
    _lock: Arc<File>,
}

impl LocalWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Err(error) = self.file.write_all_at(bytes, self.length) {
            // Without room it is as if nothing had been tried, if what did fit can be taken back.
            let taken_back = is_no_room(&error) && self.file.set_len(self.length).is_ok();
            self.broken = !taken_back;
            return Err(error);
        }
        self.length += bytes.len() as u64;
        self.unsynced = self.unsynced.saturating_add(bytes.len());
        if self.unsynced > UNSYNCED_BYTES_MAX {
            // What a failed sync has lost can't be told.
            self.file.sync_data().inspect_err(|_| self.broken = true)?;
            self.unsynced = 0;
        }
        Ok(())
    }
}

impl ObjectWriter for LocalWriter {
    fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let appended = refuse_broken(self.broken).and_then(|()| self.write(bytes));
        appended.map_err(failed("append to", &self.name))
    }

    fn finish(self: Box<Self>) -> Result<(), StoreError> {
        let finished = refuse_broken(self.broken)
            .and_then(|()| self.file.sync_all())
            .and_then(|()| sync_folder(&self.folder));
        finished.map_err(failed("finish", &self.name))
    }
}

struct LocalReader {
    name: String,
    file: File,
    length: u64,
}

impl ObjectReader for LocalReader {
    fn length(&self) -> u64 {
        self.length
    }

    fn read_at(&mut self, position: u64, buffer: &mut [u8]) -> Result<(), StoreError> {
        let end = position.checked_add(buffer.len() as u64);
        let read = if end.is_some_and(|end| end <= self.length) {
            self.file.read_exact_at(buffer, position)
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        };
        read.map_err(failed("read", &self.name))
    }
}

fn attempt<T>(
    action: &'static str,
    path: &Path,
    result: io::Result<T>,
) -> Result<T, OpenStoreError> {
    result.map_err(|source| OpenStoreError::Path {
        action,
        path: path.to_owned(),
        source,
    })
}

/// Makes the names in a folder durable.
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Makes a folder and those above it, each durable before there is anything in it.
fn make_folder(folder: &Path) -> io::Result<()> {
    let above = folder.parent();
    match fs::create_dir(folder) {
        Ok(()) => sync_folder(above.unwrap_or(folder)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => {
            keep_folder(folder)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let above = above.ok_or(error)?;
            make_folder(above)?;
            match fs::create_dir(folder) {
                // Somebody else was faster.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => {}
                made => made?,
            }
            sync_folder(above)
        }
        Err(error) => Err(error),
    }
}

/// Makes a folder durable that is there: the process that made it may have ended before that.
fn keep_folder(folder: &Path) -> io::Result<()> {
    let folder = fs::canonicalize(folder)?;
    match sync_folder(folder.parent().unwrap_or(&folder)) {
        // Whoever may not read the folder above did not make this one.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        synced => synced,
    }
}

/// Takes the lock of the store in `folder`.
fn take_lock(folder: &Path) -> Result<File, OpenStoreError> {
    let path = folder.join(LOCK);
    lock(&path).map_err(|error| match error {
        LockError::Held { pid } => OpenStoreError::InUse {
            folder: folder.to_owned(),
            pid,
        },
        LockError::Failed { action, source } => OpenStoreError::Path {
            action,
            path,
            source,
        },
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::fs::File;
    use std::io;

    use crate::store::ObjectWriter;
    use crate::store::local::LocalWriter;

    #[test]
    fn does_a_full_disk_say_so() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut writer = Box::new(LocalWriter {
            name: "data/a".into(),
            file: full.try_clone().unwrap(),
            folder: "/dev".into(),
            length: 0,
            unsynced: 0,
            broken: false,
            _lock: full.into(),
        });
        let full = writer.append(b"abcd").unwrap_err();
        assert_eq!(full.source.kind(), io::ErrorKind::StorageFull);
        assert!(full.to_string().starts_with("cannot append to `data/a` in"));
        let broken = writer.append(b"").unwrap_err();
        assert_eq!(broken.source.kind(), io::ErrorKind::Other);
        let broken = writer.finish().unwrap_err();
        assert!(broken.to_string().contains("create another one"));
    }
}
