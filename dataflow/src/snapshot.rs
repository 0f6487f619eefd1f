//! What of a stage's state goes into a checkpoint, and comes back from one: entries by key group and key.
//!
//! A stage writes what changed since the checkpoint before into a [`StateDelta`], on its own thread and into
//! memory; sorting and writing it is another thread's business. A run that begins from a checkpoint reads
//! [`SavedState`].

use std::fmt;
use std::ops::Range;

use crate::place::KeyGroup;

/// What changed in the state of one stage and worker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateDelta {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    bound: Option<Vec<u8>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    group: KeyGroup,
    key: Range<usize>,
    /// `None` if the key was removed.
    value: Option<Range<usize>>,
}

impl StateDelta {
    /// Says what a key's value is now: `write` appends its bytes.
    pub fn put(&mut self, group: KeyGroup, key: &[u8], write: impl FnOnce(&mut Vec<u8>)) {
        let key = self.append(key);
        let start = self.bytes.len();
        write(&mut self.bytes);
        let value = Some(start..self.bytes.len());
        self.entries.push(Entry { group, key, value });
    }

    /// Says that a key is no more.
    pub fn remove(&mut self, group: KeyGroup, key: &[u8]) {
        let key = self.append(key);
        let value = None;
        self.entries.push(Entry { group, key, value });
    }

    /// Says that every key below `bound` that an earlier checkpoint has is no more, in all groups.
    pub fn set_bound(&mut self, bound: &[u8]) {
        self.bound = Some(bound.to_owned());
    }

    /// See [`Self::set_bound`].
    pub fn bound(&self) -> Option<&[u8]> {
        self.bound.as_deref()
    }

    /// Takes all that another one says, which is left empty.
    pub fn absorb(&mut self, other: &mut StateDelta) {
        if self.is_empty() {
            std::mem::swap(self, other);
            return;
        }
        let moved = self.bytes.len();
        let shift = |range: Range<usize>| range.start + moved..range.end + moved;
        self.bytes.append(&mut other.bytes);
        self.entries
            .extend(other.entries.drain(..).map(|entry| Entry {
                key: shift(entry.key),
                value: entry.value.map(shift),
                ..entry
            }));
        self.bound = other.bound.take().or_else(|| self.bound.take());
    }

    fn append(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        start..self.bytes.len()
    }

    /// Forgets entries whose key is not wanted.
    pub fn retain(&mut self, mut is_wanted: impl FnMut(&[u8]) -> bool) {
        let bytes = &self.bytes;
        self.entries
            .retain(|entry| is_wanted(bytes.get(entry.key.clone()).unwrap_or_default()));
    }

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.bound.is_none()
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Bytes of all keys and values.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Puts the entries into the order of (group, key), each key once: one that was removed and is there again
    /// has a value.
    pub fn sort(&mut self) {
        let bytes = &self.bytes;
        let place = |entry: &Entry| (entry.group, bytes.get(entry.key.clone()));
        let has_none = |entry: &Entry| entry.value.is_none();
        self.entries
            .sort_unstable_by(|a, b| (place(a), has_none(a)).cmp(&(place(b), has_none(b))));
        self.entries
            .dedup_by(|later, first| place(later) == place(first));
    }

    /// The entries: group, key, and the value or none if the key was removed.
    pub fn entries(&self) -> impl Iterator<Item = (KeyGroup, &[u8], Option<&[u8]>)> {
        let slice = |range: &Range<usize>| self.bytes.get(range.clone()).unwrap_or_default();
        self.entries.iter().map(move |entry| {
            let value = entry.value.as_ref().map(slice);
            (entry.group, slice(&entry.key), value)
        })
    }
}

/// State could not be taken from a checkpoint.
#[derive(Debug, thiserror::Error)]
#[error("cannot load the state of stage `{stage}` from the checkpoint: {reason}")]
pub struct RestoreError {
    /// The stage.
    pub stage: String,
    /// Why not.
    pub reason: Box<dyn std::error::Error + Send + Sync>,
}

/// A stage was given an entry that it did not write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the value of key {key} in key group {group} is not one that this stage writes", key = Shown(key))]
pub struct StrangeEntry {
    /// Its key group.
    pub group: u16,
    /// Its key.
    pub key: Vec<u8>,
}

/// Bytes as people can read them.
struct Shown<'a>(&'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.0.escape_ascii())
    }
}

/// One entry of a checkpoint that a stage takes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SavedEntry<'a> {
    /// Its key group, which this worker owns.
    pub group: KeyGroup,
    /// Its key.
    pub key: &'a [u8],
    /// Its value.
    pub value: &'a [u8],
    /// Whether the next checkpoint is to have it anew, because it will not build on this one.
    pub anew: bool,
}

impl SavedEntry<'_> {
    /// Says that this is none of the stage's entries.
    pub fn is_strange(&self) -> StrangeEntry {
        StrangeEntry {
            group: self.group.0,
            key: self.key.to_owned(),
        }
    }
}

/// Takes entries, one by one.
pub type TakeEntry<'a> = dyn FnMut(SavedEntry<'_>) -> Result<(), StrangeEntry> + 'a;

/// The state of a checkpoint. Read by all workers at once, each for its own key groups.
pub trait SavedState: Send + Sync {
    /// Gives every entry of a stage that lies in `worker`'s key groups, in the order of (group, key).
    fn entries(
        &self,
        stage: &str,
        worker: usize,
        take: &mut TakeEntry<'_>,
    ) -> Result<(), RestoreError>;
}

#[cfg(test)]
mod tests {
    use crate::place::KeyGroup;
    use crate::snapshot::StateDelta;

    #[test]
    fn entries_come_sorted_by_group_and_key() {
        let mut delta = StateDelta::default();
        assert!(delta.is_empty());
        delta.put(KeyGroup(2), b"a", |out| out.extend(b"1"));
        delta.remove(KeyGroup(1), b"b");
        delta.remove(KeyGroup(2), b"a");
        delta.put(KeyGroup(1), b"ab", |out| out.extend(b""));
        let mut more = StateDelta::default();
        more.put(KeyGroup(0), b"z", |out| out.extend(b"2"));
        more.set_bound(b"x");
        delta.absorb(&mut more);
        assert!(more.is_empty());
        delta.sort();
        let entries: Vec<_> = delta.entries().collect();
        let expected: [(KeyGroup, &[u8], Option<&[u8]>); 4] = [
            (KeyGroup(0), b"z", Some(b"2")),
            (KeyGroup(1), b"ab", Some(b"")),
            (KeyGroup(1), b"b", None),
            (KeyGroup(2), b"a", Some(b"1")),
        ];
        assert_eq!(entries, expected);
        assert_eq!(delta.bound(), Some(&b"x"[..]));
    }
}
