//! One part: the file of a stream's shard, of which only a known length counts.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::OFlags;
use rustix::io::Errno;
use slackwater_dataflow::sink::SinkError;

use crate::file::epochs::durable::replace;
use crate::file::sink::failed;

/// Ends the name of the file that says how much of a part is whole.
const COMMITTED_SUFFIX: &str = ".committed";

/// What can be done about a part that is not as it was left.
const WHAT_TO_DO: &str = "restore it, or start over with `--fresh`";

/// An open part.
#[derive(Debug)]
pub(super) struct Part {
    path: PathBuf,
    /// Also with who writes outputs in their place.
    file: Arc<File>,
    /// Device and number of the file.
    identity: (u64, u64),
    /// How much of it is to stay, as far as the epoch that is being published has come.
    length: u64,
    /// It was changed since it was last synced.
    changed: bool,
    /// What the file beside it says, if it says anything.
    committed: Option<u64>,
}

impl Part {
    /// Opens a part of which `published` bytes were published, which is made if that is none.
    ///
    /// # Errors
    /// It is shorter, or is no file but a link or something else.
    pub(super) fn open(path: PathBuf, published: u64) -> Result<Self, SinkError> {
        let mut options = File::options();
        options
            .write(true)
            .create(published == 0)
            .truncate(false)
            // Through a link, a file outside of the folder would be written to and cut.
            .custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
        let opened = options
            .open(&path)
            .and_then(|file| Ok((file.metadata()?, file)));
        let (metadata, file) = opened.map_err(|error| {
            let error = match Errno::from_io_error(&error) {
                Some(Errno::LOOP) => io::Error::other("it is a symbolic link, expected a file"),
                Some(Errno::NOENT) => deleted(published),
                _ => error,
            };
            failed("write to", &path, error)
        })?;
        if !metadata.is_file() {
            let message = "it is a pipe or a device, expected a file";
            return Err(failed("write to", &path, io::Error::other(message)));
        }
        if metadata.len() < published {
            return Err(failed(
                "write to",
                &path,
                shorter(metadata.len(), published),
            ));
        }
        let committed = committed_length(&path);
        Ok(Part {
            identity: identity(&metadata),
            length: metadata.len(),
            path,
            file: Arc::new(file),
            changed: false,
            committed,
        })
    }

    /// Cuts off what is behind `before`, of an attempt that did not end. It is written again even if it is
    /// what was to be written: after a sync that failed nobody knows what of it is on the disk.
    pub(super) fn begin(&mut self, before: u64) -> Result<(), SinkError> {
        let length = self.look().and_then(|length| {
            if length < before {
                return Err(shorter(length, before));
            }
            Ok(length)
        });
        let length = length.map_err(|error| self.failed("write to", error))?;
        if length > before {
            self.changed = true;
            self.file
                .set_len(before)
                .map_err(|error| self.failed("cut", error))?;
        }
        self.length = before;
        Ok(())
    }

    /// How long the file is that has the part's name, if it is the one that is open. What is written to a file
    /// that was deleted or renamed would be lost without a word.
    fn look(&self) -> io::Result<u64> {
        let metadata = match fs::symlink_metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(deleted(self.length));
            }
            result => result?,
        };
        if identity(&metadata) != self.identity {
            let message = format!("another file was put in its place; {WHAT_TO_DO}");
            return Err(io::Error::other(message));
        }
        Ok(metadata.len())
    }

    /// Writes behind what is to stay.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), SinkError> {
        self.changed = true;
        self.file
            .write_all_at(bytes, self.length)
            .map_err(|error| self.failed("write to", error))?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Checks that there is as much as was written in its place.
    pub(super) fn reaches(&mut self, after: u64) -> Result<(), SinkError> {
        let length = self.look().map_err(|error| self.failed("publish", error))?;
        if length < after {
            return Err(self.failed("publish", shorter(length, after)));
        }
        self.length = after;
        Ok(())
    }

    /// Checks that the epoch has brought as much as was said.
    pub(super) fn check(&self, after: u64) -> Result<(), SinkError> {
        if self.length == after {
            return Ok(());
        }
        let message = format!(
            "the epoch's outputs end at byte {}, and not at {after} as its checkpoint says",
            self.length
        );
        Err(self.failed("write to", io::Error::other(message)))
    }

    /// Makes it durable, if it was changed.
    pub(super) fn sync(&mut self) -> Result<(), SinkError> {
        if self.changed {
            self.file
                .sync_data()
                .map_err(|error| self.failed("sync", error))?;
            self.changed = false;
        }
        Ok(())
    }

    /// Says in the file beside it that it is whole up to `length`. Not synced: it follows the marker, and is
    /// put right from there at the next start if a power failure brings an older one back.
    pub(super) fn show(&mut self, length: u64) -> Result<(), SinkError> {
        if self.committed == Some(length) {
            return Ok(());
        }
        self.committed = None;
        let path = committed_path(&self.path);
        replace(&path, format!("{length}\n").as_bytes())
            .map_err(|error| failed("write", &path, error))?;
        self.committed = Some(length);
        Ok(())
    }

    fn failed(&self, action: &'static str, error: io::Error) -> SinkError {
        failed(action, &self.path, error)
    }

    /// The same part for who writes outputs in their place: behind `length`, which is all that counts.
    pub(super) fn tail(&mut self, length: u64) -> Result<Tail, SinkError> {
        self.begin(length)?;
        Ok(Tail {
            path: self.path.clone(),
            file: Arc::clone(&self.file),
            length,
            unsynced: std::mem::take(&mut self.changed),
        })
    }
}

/// What is behind the end of a part, and does not count yet.
#[derive(Debug)]
pub(super) struct Tail {
    path: PathBuf,
    file: Arc<File>,
    length: u64,
    unsynced: bool,
}

impl Tail {
    /// Writes at the end.
    ///
    /// # Errors
    /// If there was no room nothing was written. Or somebody has cut the part meanwhile, or written to it: what is
    /// written now would leave a hole, or take what is there.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), SinkError> {
        let length = self.file.metadata().map(|it| it.len());
        let length = length.map_err(|error| failed("look at", &self.path, error))?;
        if length != self.length {
            let message = format!(
                "it has {length} bytes, but {} were written: somebody has changed it; {WHAT_TO_DO}",
                self.length
            );
            return Err(failed("write to", &self.path, io::Error::other(message)));
        }
        self.unsynced = true;
        if let Err(error) = self.file.write_all_at(bytes, self.length) {
            let error = failed("write to", &self.path, error);
            // What did fit would stay between this and what is written next, if less is.
            return Err(match self.file.set_len(self.length) {
                Err(stuck) if error.is_no_room() => failed("cut", &self.path, stuck),
                _ => error,
            });
        }
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// What is to be synced, if it was changed since this was asked last.
    pub(super) fn take_unsynced(&mut self) -> Option<Unsynced> {
        std::mem::take(&mut self.unsynced).then(|| Unsynced {
            path: self.path.clone(),
            file: Arc::clone(&self.file),
        })
    }
}

/// A part that is to be made durable.
#[derive(Debug)]
pub(super) struct Unsynced {
    path: PathBuf,
    file: Arc<File>,
}

impl Unsynced {
    pub(super) fn sync(&self) -> Result<(), SinkError> {
        let synced = self.file.sync_data();
        synced.map_err(|error| failed("sync", &self.path, error))
    }
}

fn committed_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(COMMITTED_SUFFIX);
    name.into()
}

/// How much of a part whole epochs have written, as the file beside it says; none if that is not there or says nothing:
/// then it is written anew.
pub fn committed_length(part: &Path) -> Option<u64> {
    let text = fs::read_to_string(committed_path(part)).ok()?;
    text.strip_suffix('\n')?.parse().ok()
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

fn deleted(published: u64) -> io::Error {
    let message = format!("it was deleted or renamed, with {published} bytes in it; {WHAT_TO_DO}");
    io::Error::new(io::ErrorKind::NotFound, message)
}

fn shorter(length: u64, published: u64) -> io::Error {
    io::Error::other(format!(
        "it has {length} bytes, but {published} belong there: it was cut or replaced by somebody; {WHAT_TO_DO}"
    ))
}
