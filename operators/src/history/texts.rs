//! Every distinct value that histories hold, once, as a small number.
//!
//! A history of 50 events would otherwise hold 150 strings. As numbers, an entry is 20 bytes, and "how
//! many of these are views" or "is this product new" compare four bytes per entry. Values are counted and
//! forgotten with their last use, so this never outgrows the histories themselves.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_64;

/// Number of a value that some history holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct TextId(pub(super) u32);

impl TextId {
    /// Of a place in a history that holds no entry. No value has this number.
    pub(super) const VACANT: TextId = TextId(0);
    /// Of a field that is missing or null.
    pub(super) const NULL: TextId = TextId(1);
}

/// Numbers below this are not values.
const RESERVED: u32 = 2;

/// A value's bytes. Ordinary values lie inside the entry, which saves a look-up the wait for another line
/// of memory.
type Bytes = SmallVec<[u8; 16]>;

#[derive(Debug)]
struct Text {
    hash: u64,
    /// Entries and constants that hold it; 0 marks a free place.
    uses: u64,
    bytes: Bytes,
}

/// The values and their numbers.
#[derive(Debug, Default)]
pub(super) struct Texts {
    table: HashTable<u32>,
    texts: Vec<Text>,
    free: Vec<u32>,
}

impl Texts {
    /// The number of a value, with one more use.
    #[expect(
        clippy::indexing_slicing,
        reason = "the table holds positions of `texts` only"
    )]
    pub(super) fn acquire(&mut self, bytes: &[u8]) -> TextId {
        let hash = xxh3_64(bytes);
        let texts = &mut self.texts;
        let is_text = |&at: &u32| {
            let text = &texts[at as usize];
            text.hash == hash && text.bytes.as_slice() == bytes
        };
        match self
            .table
            .entry(hash, is_text, |&at| texts[at as usize].hash)
        {
            Entry::Occupied(found) => {
                let at = *found.get();
                texts[at as usize].uses += 1;
                TextId(at + RESERVED)
            }
            Entry::Vacant(place) => {
                let text = Text {
                    hash,
                    uses: 1,
                    bytes: Bytes::from_slice(bytes),
                };
                let at = self.free.pop().unwrap_or(texts.len() as u32);
                place.insert(at);
                match texts.get_mut(at as usize) {
                    Some(free) => *free = text,
                    None => texts.push(text),
                }
                TextId(at + RESERVED)
            }
        }
    }

    /// One more use of a value that is in use; of a number that is no value's, nothing.
    pub(super) fn add_use(&mut self, id: TextId) {
        let at = id.0.checked_sub(RESERVED);
        if let Some(text) = at.and_then(|at| self.texts.get_mut(at as usize)) {
            text.uses += 1;
        }
    }

    /// The bytes of a value; none of a number that is no value's.
    pub(super) fn get(&self, id: TextId) -> &[u8] {
        let at = id.0.checked_sub(RESERVED);
        let text = at.and_then(|at| self.texts.get(at as usize));
        text.map_or(&[], |text| text.bytes.as_slice())
    }

    /// Takes back one use; the value is forgotten with its last.
    pub(super) fn release(&mut self, id: TextId) {
        let Some(at) = id.0.checked_sub(RESERVED) else {
            return;
        };
        let Some(text) = self.texts.get_mut(at as usize) else {
            return;
        };
        text.uses = text.uses.saturating_sub(1);
        if text.uses > 0 {
            return;
        }
        text.bytes = Bytes::new();
        if let Ok(found) = self.table.find_entry(text.hash, |&other| other == at) {
            found.remove();
            self.free.push(at);
        }
    }

    /// Number of distinct values held.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }
}

#[cfg(test)]
mod tests {
    use crate::history::texts::Texts;

    #[test]
    fn values_are_forgotten_with_their_last_use() {
        let mut texts = Texts::default();
        let view = texts.acquire(b"view");
        assert_eq!(texts.acquire(b"view"), view);
        let click = texts.acquire(b"click");
        assert_ne!(click, view);
        texts.release(view);
        assert_eq!(texts.len(), 2);
        texts.release(view);
        assert_eq!(texts.len(), 1);
        assert_eq!(texts.acquire(b"cart"), view, "a free number is used again");
        assert_eq!(texts.acquire(b"click"), click);
    }
}
