//! What of a stage's state goes into a checkpoint, and comes back from one: entries by key group and key.
//!
//! A stage writes what changed since the checkpoint before into a [`StateDelta`], on its own thread and into
//! memory; sorting and writing it is another thread's business. A run that begins from a checkpoint reads
//! [`SavedState`].

use std::fmt;

use crate::place::KeyGroup;

/// Bytes from which on a piece of a delta takes no more entries: large enough that pieces are few, small enough that
/// a piece, which grows by being copied, is not copied for long.
const PIECE_BYTES: usize = 512 * 1024;

/// What changed in the state of one stage and worker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateDelta {
    /// Keys and values. An entry's lie in one piece.
    pieces: Vec<Vec<u8>>,
    entries: Vec<Entry>,
    bound: Option<Vec<u8>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    group: KeyGroup,
    piece: u32,
    /// Where the key begins, and where it ends.
    key: (u32, u32),
    /// Where the value ends that follows the key; none if the key was removed.
    value_end: Option<u32>,
}

impl StateDelta {
    /// Says what a key's value is now: `write` appends its bytes.
    pub fn put(&mut self, group: KeyGroup, key: &[u8], write: impl FnOnce(&mut Vec<u8>)) {
        self.append(group, key, |piece| {
            write(piece);
            true
        });
    }

    /// Says that a key is no more.
    pub fn remove(&mut self, group: KeyGroup, key: &[u8]) {
        self.append(group, key, |_| false);
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
        let moved = self.pieces.len() as u32;
        self.pieces.append(&mut other.pieces);
        self.entries
            .extend(other.entries.drain(..).map(|entry| Entry {
                piece: entry.piece + moved,
                ..entry
            }));
        self.bound = other.bound.take().or_else(|| self.bound.take());
    }

    /// A value of 4 GiB does not come to be: histories and events are bounded far below.
    fn append(&mut self, group: KeyGroup, key: &[u8], write: impl FnOnce(&mut Vec<u8>) -> bool) {
        let has_room = |piece: &Vec<u8>| piece.len() < PIECE_BYTES;
        if !self.pieces.last().is_some_and(has_room) {
            self.pieces.push(Vec::new());
        }
        let number = self.pieces.len() as u32 - 1;
        let Some(piece) = self.pieces.last_mut() else {
            return;
        };
        let start = piece.len() as u32;
        piece.extend_from_slice(key);
        let end = piece.len() as u32;
        let has_value = write(piece);
        self.entries.push(Entry {
            group,
            piece: number,
            key: (start, end),
            value_end: has_value.then_some(piece.len() as u32),
        });
    }

    /// Forgets entries whose key is not wanted.
    pub fn retain(&mut self, mut is_wanted: impl FnMut(&[u8]) -> bool) {
        let pieces = &self.pieces;
        self.entries.retain(|entry| is_wanted(entry.key(pieces)));
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
        self.pieces.iter().map(Vec::len).sum()
    }

    /// Puts the entries into the order of (group, key), each key once: one that was removed and is there again
    /// has a value.
    pub fn sort(&mut self) {
        let pieces = &self.pieces;
        let place = |entry: &Entry| (entry.group, entry.key(pieces), entry.value_end.is_none());
        self.entries
            .sort_unstable_by(|a, b| place(a).cmp(&place(b)));
        self.entries.dedup_by(|later, first| {
            (later.group, later.key(pieces)) == (first.group, first.key(pieces))
        });
    }

    /// The entries: group, key, and the value or none if the key was removed.
    pub fn entries(&self) -> impl Iterator<Item = (KeyGroup, &[u8], Option<&[u8]>)> {
        self.entries.iter().map(|entry| {
            let value = entry
                .value_end
                .map(|end| entry.part(&self.pieces, entry.key.1, end));
            (entry.group, entry.key(&self.pieces), value)
        })
    }
}

impl Entry {
    fn part<'p>(&self, pieces: &'p [Vec<u8>], start: u32, end: u32) -> &'p [u8] {
        let piece = pieces.get(self.piece as usize);
        let part = piece.and_then(|piece| piece.get(start as usize..end as usize));
        part.unwrap_or_default()
    }

    fn key<'p>(&self, pieces: &'p [Vec<u8>]) -> &'p [u8] {
        self.part(pieces, self.key.0, self.key.1)
    }
}

/// How far a snapshot has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// All is written.
    Done,
    /// There is more to write.
    More,
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
        type Found<'a> = (KeyGroup, &'a [u8], Option<&'a [u8]>);
        let expected: [Found<'_>; 4] = [
            (KeyGroup(0), b"z", Some(b"2")),
            (KeyGroup(1), b"ab", Some(b"")),
            (KeyGroup(1), b"b", None),
            (KeyGroup(2), b"a", Some(b"1")),
        ];
        assert_eq!(entries, expected);
        assert_eq!(delta.bound(), Some(&b"x"[..]));
    }
}
