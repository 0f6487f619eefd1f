//! State of a worker that changed in some epochs, as an object: sections of stages, with their entries in order.
//!
//! Here is how such an object is written; [`reading`] is how the entries of one stage are streamed back.

pub mod reading;

use crate::checkpoint::fault::FormatError;
use crate::checkpoint::frame::{BLOCK_BYTES, BlockType, Encoding, FrameWriter, ObjectRef};
use crate::checkpoint::names::DataName;
use crate::fields::put_string;
use crate::place::KeyGroup;
use crate::store::Store;

const SECTION: BlockType = BlockType(1);
const ENTRIES: BlockType = BlockType(2);
const INDEX: BlockType = BlockType(3);

/// Stands in place of a value's length when the key was removed.
const REMOVED: u32 = u32::MAX;

/// What became of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The key's group.
    pub group: KeyGroup,
    /// The key.
    pub key: &'a [u8],
    /// Its value; `None` if it was removed.
    pub value: Option<&'a [u8]>,
}

/// Where a block of entries lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct IndexRow {
    position: u64,
    section: u32,
    least: KeyGroup,
    greatest: KeyGroup,
}

/// Writes sections one after the other, each entry by entry. After an error the object is worth nothing.
pub struct StateWriter {
    frame: FrameWriter,
    encoding: Encoding,
    block_bytes: usize,
    /// Position of each section.
    sections: Vec<u64>,
    /// The stage of the last of them.
    stage: Option<String>,
    rows: Vec<IndexRow>,
    /// Entries that are in no block yet.
    entries: Vec<u8>,
    /// Least and greatest group of these.
    span: Option<(KeyGroup, KeyGroup)>,
    /// Group and key of the last entry of the section.
    last: Option<(KeyGroup, Vec<u8>)>,
}

impl StateWriter {
    /// Begins an object under a name that nothing has yet. Entries are stored in the encoding.
    ///
    /// # Errors
    /// The store fails.
    pub fn create(
        store: &dyn Store,
        name: DataName,
        encoding: Encoding,
    ) -> Result<Self, FormatError> {
        Ok(StateWriter {
            frame: FrameWriter::create(store, name)?,
            encoding,
            block_bytes: BLOCK_BYTES,
            sections: Vec::new(),
            stage: None,
            rows: Vec::new(),
            entries: Vec::new(),
            span: None,
            last: None,
        })
    }

    /// Makes blocks as short as this, so that a test needs few entries for many of them.
    #[cfg(test)]
    pub(crate) fn with_blocks_of(mut self, bytes: usize) -> Self {
        self.block_bytes = bytes;
        self
    }

    /// Begins the section of a stage, whose name comes after those before. All entries of older objects with a
    /// key below the bound are gone.
    ///
    /// # Errors
    /// The store fails, or the stage is out of order.
    pub fn section(&mut self, stage: &str, bound: Option<&[u8]>) -> Result<(), FormatError> {
        self.flush()?;
        if self.stage.as_deref().is_some_and(|before| before >= stage) {
            return Err(self.refused(format!("stage `{stage}` is out of order")));
        }
        let mut payload = Vec::new();
        let mut fits = put_string(&mut payload, stage.as_bytes());
        payload.push(u8::from(bound.is_some()));
        if let Some(bound) = bound {
            fits &= put_string(&mut payload, bound);
        }
        if !fits {
            return Err(self.refused("a stage's name or bound is too long"));
        }
        let position = self.frame.block(SECTION, &payload, Encoding::Plain)?;
        self.sections.push(position);
        self.stage = Some(stage.to_owned());
        self.last = None;
        Ok(())
    }

    /// Adds an entry to the section begun last; it comes after those before by (key group, key).
    ///
    /// # Errors
    /// The store fails, no section was begun, the entry is out of order, or it is too long.
    pub fn entry(&mut self, entry: Entry<'_>) -> Result<(), FormatError> {
        if self.stage.is_none() {
            return Err(self.refused("an entry stands before the first section"));
        }
        match &mut self.last {
            Some((group, key)) if (*group, key.as_slice()) >= (entry.group, entry.key) => {
                return Err(
                    self.refused(format!("keys of group {} are out of order", entry.group.0))
                );
            }
            Some((group, key)) => {
                *group = entry.group;
                key.clear();
                key.extend_from_slice(entry.key);
            }
            None => self.last = Some((entry.group, entry.key.to_vec())),
        }
        self.entries.extend_from_slice(&entry.group.0.to_le_bytes());
        let mut fits = put_string(&mut self.entries, entry.key);
        match entry.value {
            // What is as long as the mark of a removal must not be taken for one.
            Some(value) => {
                fits &= value.len() < REMOVED as usize && put_string(&mut self.entries, value);
            }
            None => self.entries.extend_from_slice(&REMOVED.to_le_bytes()),
        }
        if !fits {
            return Err(self.refused("a key or value is too long"));
        }
        let least = self.span.map_or(entry.group, |(least, _)| least);
        self.span = Some((least, entry.group));
        if self.entries.len() >= self.block_bytes {
            self.flush()?;
        }
        Ok(())
    }

    /// Ends the object; it is durable when this comes back.
    ///
    /// # Errors
    /// The store fails.
    pub fn finish(mut self) -> Result<ObjectRef, FormatError> {
        self.flush()?;
        let mut index = (self.sections.len() as u32).to_le_bytes().to_vec();
        for position in &self.sections {
            index.extend_from_slice(&position.to_le_bytes());
        }
        for row in &self.rows {
            index.extend_from_slice(&row.position.to_le_bytes());
            index.extend_from_slice(&row.section.to_le_bytes());
            index.extend_from_slice(&row.least.0.to_le_bytes());
            index.extend_from_slice(&row.greatest.0.to_le_bytes());
        }
        self.frame.block(INDEX, &index, Encoding::Plain)?;
        self.frame.finish()
    }

    fn flush(&mut self) -> Result<(), FormatError> {
        let Some((least, greatest)) = self.span.take() else {
            return Ok(());
        };
        let position = self.frame.block(ENTRIES, &self.entries, self.encoding)?;
        self.entries.clear();
        self.rows.push(IndexRow {
            position,
            section: self.sections.len().saturating_sub(1) as u32,
            least,
            greatest,
        });
        Ok(())
    }

    fn refused(&self, reason: impl Into<String>) -> FormatError {
        FormatError::refused(self.frame.name(), reason)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod tests;
