//! The seam between checkpoints and whatever keeps them: a flat set of objects that are created once and
//! never changed.
//!
//! The whole protocol asks two things of a store: that an object whose [`ObjectWriter::finish`] came back
//! is there after any crash, and that of two who create one name with [`Store::put_if_absent`] exactly one
//! succeeds. Names are `folder/name`; see `docs/checkpoint-format.md` for those that are used.
//!
//! - [`name`]: what a store takes as a name.
//! - [`local`]: objects as files below a folder.
//! - [`memory`]: objects in memory, with faults on demand: the test double.
//! - [`probe`]: whether a store keeps its word about two who create one name.

pub mod name;
pub mod local;
pub mod memory;
pub mod probe;

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]
mod tests;

use std::io;

/// An operation on a store failed. It may have taken effect all the same: what can be repeated is to be
/// repeated, and what was to be created is to be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} `{name}` in the checkpoint store: {source}")]
pub struct StoreError {
    /// What was tried: `create`, `read`, ...
    pub action: &'static str,
    /// The object, or the beginning of the names that were asked for.
    pub name: String,
    /// Why it failed.
    pub source: io::Error,
}

impl StoreError {
    /// Whether there is no such object.
    pub fn is_not_found(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }

    /// Whether there was no room for what was to be written: later there may be.
    pub fn is_no_room(&self) -> bool {
        is_no_room(&self.source)
    }
}

/// Whether what failed for want of room.
pub(crate) fn is_no_room(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// What became of an object that was to be put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It is there now and durable.
    Created,
    /// There was one of this name already; it is as it was, and durable.
    Exists,
}

/// Keeps objects.
pub trait Store: Send + Sync {
    /// Begins an object under a name that nothing has yet; with another name either this fails or its end does.
    fn create(&self, name: &str) -> Result<Box<dyn ObjectWriter>, StoreError>;

    /// Creates a whole object, durable when this comes back, unless there is one of this name.
    ///
    /// # Errors
    /// Whether it was created is not known then, and if it can be read, not whether it is durable. Put it again:
    /// when [`Put::Exists`] comes back, what is there now is durable, and to be read to see whose it is.
    fn put_if_absent(&self, name: &str, bytes: &[u8]) -> Result<Put, StoreError>;

    /// Opens an object.
    fn open(&self, name: &str) -> Result<Box<dyn ObjectReader>, StoreError>;

    /// The names of all objects that begin with `prefix`, a folder and its slash, in ascending order.
    fn list(&self, prefix: &str) -> Result<Vec<String>, StoreError>;

    /// Deletes an object; one that is not there is none to delete, which is no error. A record of the log is gone
    /// for good when this comes back, so that what it lists can be deleted next; a crash may bring back any
    /// other object.
    fn delete(&self, name: &str) -> Result<(), StoreError>;
}

/// Writes an object from its beginning to its end. One that is dropped before it is finished does not count,
/// but may be there.
pub trait ObjectWriter: Send {
    /// Adds bytes at the end.
    ///
    /// # Errors
    /// If there was no room ([`StoreError::is_no_room`]) nothing was added, and it can be tried again. After any
    /// other error a part may have been added, so this object can't be finished any more: create another one.
    fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError>;

    /// Ends the object. When this comes back it is durable, its name too.
    fn finish(self: Box<Self>) -> Result<(), StoreError>;
}

/// Reads an object.
pub trait ObjectReader: Send {
    /// Its length in bytes.
    fn length(&self) -> u64;

    /// Fills `buffer` with the bytes from `position` on.
    ///
    /// # Errors
    /// The object ends before that, or cannot be read.
    fn read_at(&mut self, position: u64, buffer: &mut [u8]) -> Result<(), StoreError>;
}

/// All bytes of an object.
///
/// # Errors
/// It can't be read, or is longer than `most` bytes.
pub fn read_all(store: &dyn Store, name: &str, most: u64) -> Result<Vec<u8>, StoreError> {
    let mut reader = store.open(name)?;
    let length = reader.length();
    if length > most {
        return Err(StoreError {
            action: "read",
            name: name.to_owned(),
            source: io::Error::new(
                io::ErrorKind::InvalidData,
                format!("it has {length} bytes, at most {most} were expected"),
            ),
        });
    }
    let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
    reader.read_at(0, &mut bytes)?;
    Ok(bytes)
}

/// Says of an error what was tried, and on what.
pub(crate) fn failed(action: &'static str, name: &str) -> impl FnOnce(io::Error) -> StoreError {
    move |source| StoreError {
        action,
        name: name.to_owned(),
        source,
    }
}

/// Refuses to go on with an object that has a hole: finished, it would be taken for whole.
///
/// # Errors
/// It is broken.
pub fn refuse_broken(broken: bool) -> io::Result<()> {
    let error = || io::Error::other("an earlier write of it failed: create another one");
    (!broken).then_some(()).ok_or_else(error)
}
