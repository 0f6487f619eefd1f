//! The seam between checkpoints and whatever keeps them: a flat set of objects that are created once and
//! never changed.
//!
//! The whole protocol asks two things of a store: that an object whose [`ObjectWriter::finish`] came back
//! is there after any crash, and that of two who create one name with [`Store::put_if_absent`] exactly one
//! succeeds. Names are `folder/name`; see `docs/checkpoint-format.md` for those that are used.

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
}

/// What became of an object that was to be put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It is there now and durable.
    Created,
    /// There was one of this name already; it is as it was.
    Exists,
}

/// Keeps objects.
pub trait Store: Send + Sync {
    /// Begins an object under a name that nothing has yet.
    fn create(&self, name: &str) -> Result<Box<dyn ObjectWriter>, StoreError>;

    /// Creates a whole object, durable when this comes back, unless there is one of this name.
    ///
    /// # Errors
    /// Whether it was created is not known then.
    fn put_if_absent(&self, name: &str, bytes: &[u8]) -> Result<Put, StoreError>;

    /// Opens an object.
    fn open(&self, name: &str) -> Result<Box<dyn ObjectReader>, StoreError>;

    /// The names of all objects that begin with `prefix`, a folder and its slash, in ascending order.
    fn list(&self, prefix: &str) -> Result<Vec<String>, StoreError>;

    /// Deletes an object; one that is not there is none to delete, which is no error.
    fn delete(&self, name: &str) -> Result<(), StoreError>;
}

/// Writes an object from its beginning to its end. One that is dropped before it is finished does not count,
/// but may be there.
pub trait ObjectWriter: Send {
    /// Adds bytes at the end.
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
