//! A history as a checkpoint keeps it: with texts instead of their numbers, which mean something to one
//! worker of one run only.
//!
//! The bytes are described in `docs/checkpoint-format.md`. The same history gives the same bytes on any worker.

use slackwater_dataflow::fields::Fields;
use slackwater_dataflow::moment::EventTime;

use crate::history::texts::TextId;
use crate::history::{Histories, KeyHistory};

/// Stands for a field that is null.
const NULL: u32 = u32::MAX;

/// Numbers the texts of one history in the order of first use, from 0.
#[derive(Debug, Default)]
pub(super) struct Numbering {
    /// By text, the history that used it last, and its number there.
    numbers: Vec<(u32, u32)>,
    history: u32,
    first_uses: Vec<TextId>,
    entries: Vec<u8>,
}

impl Numbering {
    /// Begins with the next history.
    fn begin(&mut self) {
        self.first_uses.clear();
        self.entries.clear();
        self.history = self.history.wrapping_add(1);
        if self.history == 0 {
            // What histories of the round before have left could look like this one's.
            self.numbers.clear();
            self.history = 1;
        }
    }

    fn number(&mut self, id: TextId) -> u32 {
        if id == TextId::NULL {
            return NULL;
        }
        let at = id.0 as usize;
        if self.numbers.len() <= at {
            self.numbers.resize(at + 1, (0, 0));
        }
        let next = self.first_uses.len() as u32;
        match self.numbers.get_mut(at) {
            Some((history, number)) if *history == self.history => *number,
            Some(unused) => {
                *unused = (self.history, next);
                self.first_uses.push(id);
                next
            }
            None => NULL,
        }
    }
}

/// An entry of a saved history, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlainEntry<'b> {
    /// Its order time.
    pub time: EventTime,
    /// The bytes of each history field; none for null.
    pub values: Vec<Option<&'b [u8]>>,
}

/// Reads a saved history of so many fields as it is, in the order in which its events were handled; none if the bytes
/// are not one.
pub fn read_plain(bytes: &[u8], fields: usize) -> Option<Vec<PlainEntry<'_>>> {
    let mut reader = Fields(bytes);
    let (entries, distinct) = (reader.u32()?, reader.u32()?);
    let mut texts = Vec::new();
    for _ in 0..distinct {
        let len = reader.u32()?;
        texts.push(reader.bytes(len)?);
    }
    let mut plain = Vec::new();
    for _ in 0..entries {
        let time = EventTime(reader.i64()?);
        let mut values = Vec::with_capacity(fields);
        for _ in 0..fields {
            values.push(match reader.u32()? {
                NULL => None,
                number => Some(*texts.get(number as usize)?),
            });
        }
        plain.push(PlainEntry { time, values });
    }
    reader.0.is_empty().then_some(plain)
}

impl Histories {
    /// Appends the bytes of a history.
    pub fn write(&mut self, history: &KeyHistory, out: &mut Vec<u8>) {
        let (compiled, numbering) = (&self.compiled, &mut self.numbering);
        numbering.begin();
        for nth in 0..history.len {
            let place = history.place(nth);
            let time = history.times.get(place).copied().unwrap_or_default();
            numbering.entries.extend_from_slice(&time.to_le_bytes());
            for column in 0..compiled.fields.len() {
                let id = history.ring(compiled, column).get(place);
                let number = numbering.number(id.map_or(TextId::NULL, |&id| TextId(id)));
                numbering.entries.extend_from_slice(&number.to_le_bytes());
            }
        }
        out.extend_from_slice(&history.len.to_le_bytes());
        out.extend_from_slice(&(numbering.first_uses.len() as u32).to_le_bytes());
        for &id in &numbering.first_uses {
            let text = self.texts.get(id);
            out.extend_from_slice(&(text.len() as u32).to_le_bytes());
            out.extend_from_slice(text);
        }
        out.extend_from_slice(&numbering.entries);
    }

    /// Reads a history; none if the bytes are not one.
    pub fn read_saved(&mut self, bytes: &[u8]) -> Option<KeyHistory> {
        let mut reader = Fields(bytes);
        let (entries, distinct) = (reader.u32()?, reader.u32()?);
        let mut ids = Vec::new();
        for _ in 0..distinct {
            let len = reader.u32()?;
            ids.push(reader.bytes(len)?);
        }
        let ids: Vec<_> = ids.into_iter().map(|it| self.texts.acquire(it)).collect();
        let history = self.entries_of(reader, entries, &ids);
        // Each entry has its own use of a text by now.
        for id in ids {
            self.texts.release(id);
        }
        history
    }

    fn entries_of(
        &mut self,
        mut reader: Fields<'_>,
        entries: u32,
        ids: &[TextId],
    ) -> Option<KeyHistory> {
        let mut history = KeyHistory::default();
        let mut entry = Vec::with_capacity(self.compiled.fields.len());
        for _ in 0..entries {
            let time = reader.i64()?;
            entry.clear();
            for _ in 0..self.compiled.fields.len() {
                entry.push(match reader.u32()? {
                    NULL => TextId::NULL,
                    number => *ids.get(number as usize)?,
                });
            }
            for &id in &entry {
                self.texts.add_use(id);
            }
            history.make_room(&self.compiled, &mut self.texts);
            history.append(time, &entry, &self.compiled);
        }
        reader.0.is_empty().then_some(history)
    }
}
