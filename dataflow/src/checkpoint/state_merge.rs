//! What a chain of state objects means, and one object that means the same.
//!
//! Entries of all objects are merged as they are read, in ascending order, so that memory holds one block of
//! each object, however much state there is.

use std::cmp::{Ordering, Reverse};
use std::collections::binary_heap::PeekMut;
use std::collections::{BTreeSet, BinaryHeap};
use std::fmt;

use xxhash_rust::xxh3::xxh3_128;

use crate::checkpoint::fault::FormatError;
use crate::checkpoint::frame::ObjectRef;
use crate::checkpoint::groups::GroupSet;
use crate::checkpoint::state_file::reading::{Entries, StateReader};
use crate::checkpoint::state_file::{Entry, StateWriter};
use crate::store::Store;

/// Objects of a chain, or neighbours of one, opened.
pub struct StateChain {
    /// Oldest first.
    objects: Vec<StateReader>,
}

impl StateChain {
    /// Opens objects, oldest first.
    ///
    /// # Errors
    /// The store fails, or an object is not what it should be.
    pub fn open(
        store: &dyn Store,
        objects: impl IntoIterator<Item = ObjectRef>,
    ) -> Result<Self, FormatError> {
        let objects = objects.into_iter();
        let opened = objects.map(|object| StateReader::open(store, &object));
        let objects = opened.collect::<Result<_, FormatError>>()?;
        Ok(StateChain { objects })
    }

    /// All stages that have a section in some object.
    pub fn stages(&self) -> BTreeSet<String> {
        let stages = self.objects.iter().flat_map(StateReader::stages);
        stages.map(str::to_owned).collect()
    }

    /// The greatest bound of a stage, if it has one.
    pub fn bound(&self, stage: &str) -> Option<Vec<u8>> {
        let bounds = self.objects.iter().map(|object| object.bound(stage));
        bounds.max().flatten().map(<[u8]>::to_vec)
    }

    /// What the chain says of a stage in these groups: every key that it has, in ascending order by group and key.
    ///
    /// # Errors
    /// The store fails, or an object is not what it should be.
    pub fn merge<'a>(
        &'a mut self,
        stage: &str,
        groups: &'a GroupSet,
    ) -> Result<Merge<'a>, FormatError> {
        self.merge_all(stage, groups, false)
    }

    /// What objects that need not begin a chain say of a stage: also which keys are no more.
    ///
    /// # Errors
    /// As [`Self::merge`].
    pub(crate) fn changes<'a>(
        &'a mut self,
        stage: &str,
        groups: &'a GroupSet,
    ) -> Result<Merge<'a>, FormatError> {
        self.merge_all(stage, groups, true)
    }

    /// Writes one object that says what these say together, and that can stand in their place. `begins_chain`:
    /// nothing older is in the chain that a removal could be about.
    ///
    /// # Errors
    /// The store fails, or an object is not what it should be.
    pub fn fold(
        mut self,
        begins_chain: bool,
        mut writer: StateWriter,
    ) -> Result<ObjectRef, FormatError> {
        let groups = GroupSet::all();
        for stage in self.stages() {
            // The greatest bound stands for all of them: each acted on all that is older than the fold. What
            // they did within it is done by the merge.
            writer.section(&stage, self.bound(&stage).as_deref())?;
            let mut merge = self.merge_all(&stage, &groups, !begins_chain)?;
            while let Some(entry) = merge.next_entry()? {
                writer.entry(entry)?;
            }
        }
        writer.finish()
    }

    /// The digest of what the chain says in these groups.
    ///
    /// # Errors
    /// The store fails, or an object is not what it should be.
    pub fn digest(&mut self, groups: &GroupSet) -> Result<StateDigest, FormatError> {
        let mut digest = StateDigest::default();
        for stage in self.stages() {
            let mut merge = self.merge(&stage, groups)?;
            while let Some(entry) = merge.next_entry()? {
                digest.add(&stage, entry);
            }
        }
        Ok(digest)
    }

    fn merge_all<'a>(
        &'a mut self,
        stage: &str,
        groups: &'a GroupSet,
        removals: bool,
    ) -> Result<Merge<'a>, FormatError> {
        let mut merge = Merge {
            waiting: BinaryHeap::new(),
            front: None,
            removals,
        };
        let mut bound: Option<Vec<u8>> = None;
        for (age, object) in self.objects.iter_mut().rev().enumerate() {
            // A bound acts on what is older than its object.
            let gone_below = bound.clone();
            bound = bound.max(object.bound(stage).map(<[u8]>::to_vec));
            merge.push_advanced(Source {
                age,
                gone_below,
                entries: object.entries(stage, groups),
            })?;
        }
        Ok(merge)
    }
}

/// Entries of one object, of which one is at the front.
struct Source<'a> {
    /// 0 for the newest object.
    age: usize,
    /// The greatest bound of newer objects.
    gone_below: Option<Vec<u8>>,
    entries: Entries<'a>,
}

impl Source<'_> {
    /// What is taken first is greatest: the least key, and of one key the newest entry.
    fn rank(&self) -> Reverse<(u16, &[u8], usize)> {
        let entry = self.entries.front();
        Reverse((entry.group.0, entry.key, self.age))
    }
}

impl PartialEq for Source<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.rank() == other.rank()
    }
}

impl Eq for Source<'_> {}

impl PartialOrd for Source<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Source<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank().cmp(&other.rank())
    }
}

/// Entries of one stage of a chain, merged. After an error there is nothing more to be had.
pub struct Merge<'a> {
    waiting: BinaryHeap<Source<'a>>,
    /// The object whose entry was given last.
    front: Option<Source<'a>>,
    /// Whether removals are given too.
    removals: bool,
}

impl<'a> Merge<'a> {
    /// The next entry: the newest of its key.
    ///
    /// # Errors
    /// The store fails, or an object is not what it should be.
    pub fn next_entry(&mut self) -> Result<Option<Entry<'_>>, FormatError> {
        loop {
            if let Some(given) = self.front.take() {
                self.push_advanced(given)?;
            }
            let Some(source) = self.waiting.pop() else {
                return Ok(None);
            };
            let entry = source.entries.front();
            self.pass_over(entry)?;
            // If a bound acts on the newest entry of a key, it acts on the older ones too.
            let gone = source
                .gone_below
                .as_deref()
                .is_some_and(|bound| entry.key < bound);
            let given = !gone && (self.removals || entry.value.is_some());
            self.front = Some(source);
            if given {
                break;
            }
        }
        Ok(self.front.as_ref().map(|source| source.entries.front()))
    }

    /// Takes the next entry of a source to its front, and the source back, if it has one.
    fn push_advanced(&mut self, mut source: Source<'a>) -> Result<(), FormatError> {
        if source.entries.advance()? {
            self.waiting.push(source);
        }
        Ok(())
    }

    /// Passes over the older entries of a key.
    fn pass_over(&mut self, newest: Entry<'_>) -> Result<(), FormatError> {
        while let Some(mut older) = self.waiting.peek_mut() {
            let entry = older.entries.front();
            if (entry.group, entry.key) != (newest.group, newest.key) {
                break;
            }
            if !older.entries.advance()? {
                PeekMut::pop(older);
            }
        }
        Ok(())
    }
}

/// A number that is the same for the same state, whatever objects it is spread over: the sum of the hashes of
/// its entries, so that neither the shape of the chains nor how workers share the groups has a part in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateDigest(pub u128);

impl StateDigest {
    /// The digest of the state of this and another worker.
    #[must_use]
    pub fn and(self, other: StateDigest) -> StateDigest {
        StateDigest(self.0.wrapping_add(other.0))
    }

    fn add(&mut self, stage: &str, entry: Entry<'_>) {
        let group = entry.group.0.to_le_bytes();
        let parts: [&[u8]; 4] = [
            stage.as_bytes(),
            &group,
            entry.key,
            entry.value.unwrap_or_default(),
        ];
        let mut bytes = Vec::new();
        for part in parts {
            // With its length, so that no byte can belong to one part as well as to the next.
            bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
            bytes.extend_from_slice(part);
        }
        self.0 = self.0.wrapping_add(xxh3_128(&bytes));
    }
}

impl fmt::Display for StateDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;
