//! What can be wrong with an object of a checkpoint store, and how it is said.

use crate::checkpoint::names::{DataName, RecordNumber};
use crate::store::StoreError;

/// An object could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// The store failed, or has no such object.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An object is not what it should be. Nothing of it is to be used: restore an older checkpoint, or the
    /// store from a copy.
    #[error("`{name}` in the checkpoint store cannot be used: {fault} (at byte {position})")]
    Unusable {
        /// The object.
        name: String,
        /// Where in it, in bytes.
        position: u64,
        /// What is wrong.
        fault: Fault,
    },
    /// What was to be written could not be read back, so it was not written. A mistake of this program.
    #[error("refused to write `{name}` to the checkpoint store: {reason}")]
    Refused {
        /// The object.
        name: String,
        /// What is wrong.
        reason: String,
    },
}

impl FormatError {
    /// An object that is not what it should be.
    pub(super) fn unusable(name: &str, position: u64, fault: Fault) -> Self {
        FormatError::Unusable {
            name: name.to_owned(),
            position,
            fault,
        }
    }

    /// Content that may not be written.
    pub(super) fn refused(name: &DataName, reason: impl Into<String>) -> Self {
        FormatError::Refused {
            name: name.to_string(),
            reason: reason.into(),
        }
    }

    /// A record that may not be written.
    pub(super) fn refused_record(number: RecordNumber, reason: impl Into<String>) -> Self {
        FormatError::Refused {
            name: number.name(),
            reason: reason.into(),
        }
    }
}

/// What is wrong with an object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The first bytes are others.
    #[error("it is not an object of a checkpoint store, or its beginning is damaged")]
    Foreign,
    /// The checksum of the header.
    #[error("its header is damaged")]
    Header,
    /// Written by another version of the program.
    #[error("it is of format version {0}, and this program reads version 1 only")]
    Version(u16),
    /// Something of another object stands in its place.
    #[error("it holds another object: its {what} is {found}, not {expected}")]
    Another {
        /// What differs.
        what: &'static str,
        /// What it is.
        found: u64,
        /// What it should be.
        expected: u64,
    },
    /// The length is not that in the manifest.
    #[error("it has {found} bytes, and the manifest says {expected}")]
    Length {
        /// Its length.
        found: u64,
        /// What the manifest says.
        expected: u64,
    },
    /// All blocks are whole, and yet it is not the object that the manifest means.
    #[error("it is whole, but not the object of which the manifest has the checksum")]
    Checksum,
    /// It ends before its end.
    #[error("it is cut, or the length of a block is damaged")]
    Cut,
    /// The checksum of a block, or what it unpacks to.
    #[error("the block is damaged")]
    Block,
    /// A block of an unknown encoding.
    #[error("the block has the encoding {0}, which this program does not know")]
    Encoding(u8),
    /// A block of an unknown type.
    #[error("the block has the type {0}, which this program does not know in such an object")]
    Type(u16),
    /// A block that is longer than any may be.
    #[error("the block claims {0} bytes, more than any may have")]
    TooLong(u64),
    /// The end does not fit what stands before it.
    #[error("its end does not fit what stands before it")]
    End,
    /// Bytes after the end.
    #[error("something follows its end")]
    Trailing,
    /// A block whose checksum is right and whose content makes no sense.
    #[error("the block holds {0}")]
    Content(&'static str),
    /// A record of the log that says what cannot be.
    #[error("the record {0}")]
    Record(String),
}
