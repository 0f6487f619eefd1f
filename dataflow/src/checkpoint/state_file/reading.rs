//! How a state object is read: its index first, then the entries of one stage, a block at a time.

use std::ops::Range;
use std::slice;

use crate::checkpoint::fault::{Fault, FormatError};
use crate::checkpoint::frame::reading::FrameReader;
use crate::checkpoint::frame::{ObjectKind, ObjectRef};
use crate::checkpoint::groups::GroupSet;
use crate::checkpoint::state_file::{ENTRIES, Entry, INDEX, IndexRow, REMOVED, SECTION};
use crate::fields::Fields;
use crate::place::KeyGroup;
use crate::store::Store;

/// A stage's part of an object.
struct Section {
    stage: String,
    bound: Option<Vec<u8>>,
}

/// Reads state objects.
pub struct StateReader {
    frame: FrameReader,
    sections: Vec<Section>,
    rows: Vec<IndexRow>,
}

impl StateReader {
    /// Opens an object and reads what sections it has.
    ///
    /// # Errors
    /// The store fails, or the object is not what it should be.
    pub fn open(store: &dyn Store, object: &ObjectRef) -> Result<Self, FormatError> {
        let mut frame = FrameReader::open(store, object, ObjectKind::State)?;
        let mut payload = Vec::new();
        let index = frame
            .last_block(&mut payload)?
            .filter(|block| block.block_type == INDEX);
        let Some(index) = index else {
            return Err(frame.unusable(object.length, Fault::Content("no index")));
        };
        let wrong_index = Fault::Content("an index that does not fit the object");
        let Some((positions, rows)) = parse_index(&payload, index.position) else {
            return Err(frame.unusable(index.position, wrong_index));
        };
        let mut sections: Vec<Section> = Vec::new();
        for position in positions {
            let block = frame.block_at(position, &mut payload)?;
            let section = Some(&payload)
                .filter(|_| block.block_type == SECTION)
                .and_then(|payload| parse_section(payload))
                .filter(|section| {
                    let before = sections.last();
                    before.is_none_or(|before| before.stage < section.stage)
                });
            let Some(section) = section else {
                return Err(
                    frame.unusable(position, Fault::Content("no section that may stand here"))
                );
            };
            sections.push(section);
        }
        Ok(StateReader {
            frame,
            sections,
            rows,
        })
    }

    /// The stages that have a section, in ascending order.
    pub fn stages(&self) -> impl Iterator<Item = &str> {
        self.sections.iter().map(|section| section.stage.as_str())
    }

    /// The bound of a stage, if it has one.
    pub fn bound(&self, stage: &str) -> Option<&[u8]> {
        let section = self.sections.iter().find(|section| section.stage == stage);
        section?.bound.as_deref()
    }

    /// The entries of a stage in these groups, in ascending order.
    pub fn entries<'a>(&'a mut self, stage: &str, groups: &'a GroupSet) -> Entries<'a> {
        let section = self
            .sections
            .iter()
            .position(|section| section.stage == stage);
        let of_section = |row: &&IndexRow| Some(row.section as usize) == section;
        // The rows of a section are neighbours, as those of an index ascend by section.
        let from = self.rows.iter().take_while(|row| !of_section(row)).count();
        let rows = self.rows.get(from..).unwrap_or_default();
        let most = rows.iter().take_while(of_section).count();
        Entries {
            frame: &mut self.frame,
            rows: rows.get(..most).unwrap_or_default().iter(),
            groups,
            row: None,
            payload: Vec::new(),
            entry: Place::default(),
            group_and_key: None,
        }
    }
}

/// Positions of sections, and rows; `None` if they cannot be those of an object whose index begins at `end`.
fn parse_index(payload: &[u8], end: u64) -> Option<(Vec<u64>, Vec<IndexRow>)> {
    let mut fields = Fields(payload);
    let sections = fields.u32()?;
    let mut positions = Vec::new();
    for _ in 0..sections {
        positions.push(fields.u64()?);
    }
    let mut rows = Vec::<IndexRow>::new();
    while !fields.is_empty() {
        rows.push(IndexRow {
            position: fields.u64()?,
            section: fields.u32()?,
            least: KeyGroup(fields.u16()?),
            greatest: KeyGroup(fields.u16()?),
        });
    }
    let ascend = |row: &IndexRow, next: &IndexRow| {
        let span = (row.section, row.greatest) <= (next.section, next.least);
        row.position < next.position && (row.section < next.section || span)
    };
    let fits = positions.is_sorted_by(|position, next| position < next)
        && positions.iter().all(|position| *position < end)
        && rows.is_sorted_by(ascend)
        && rows
            .iter()
            .all(|row| row.position < end && row.section < sections && row.least <= row.greatest);
    fits.then_some((positions, rows))
}

fn parse_section(payload: &[u8]) -> Option<Section> {
    let mut fields = Fields(payload);
    let stage = fields.text()?.to_owned();
    let bound = match fields.u8()? {
        0 => None,
        1 => Some(fields.string()?.to_vec()),
        _ => return None,
    };
    fields.is_empty().then_some(Section { stage, bound })
}

/// Where the parts of an entry lie in its block.
#[derive(Clone, Debug, Default)]
struct Place {
    group: KeyGroup,
    key: Range<usize>,
    value: Option<Range<usize>>,
    end: usize,
}

impl Place {
    /// The entry that begins at `start`.
    fn parse(payload: &[u8], start: usize) -> Option<Self> {
        let mut fields = Fields(payload.get(start..)?);
        let at = |rest: Fields<'_>| payload.len() - rest.0.len();
        let group = KeyGroup(fields.u16()?);
        let key = fields.string()?.len();
        let key = at(fields) - key..at(fields);
        let value = match fields.u32()? {
            REMOVED => None,
            length => {
                let value = fields.bytes(length)?.len();
                Some(at(fields) - value..at(fields))
            }
        };
        Some(Place {
            group,
            key,
            value,
            end: at(fields),
        })
    }
}

/// Entries of one stage of one object. Holds one block at a time.
pub struct Entries<'a> {
    frame: &'a mut FrameReader,
    rows: slice::Iter<'a, IndexRow>,
    groups: &'a GroupSet,
    /// The block of the entry that stands at the front.
    row: Option<&'a IndexRow>,
    payload: Vec<u8>,
    entry: Place,
    /// Group and key of the entry read last, also of one in no asked group.
    group_and_key: Option<(KeyGroup, Vec<u8>)>,
}

impl Entries<'_> {
    /// Takes the next entry to the front; `false` when there is none.
    ///
    /// # Errors
    /// The store fails, or the object is not what it should be.
    pub fn advance(&mut self) -> Result<bool, FormatError> {
        loop {
            match self.row {
                Some(row) if self.entry.end < self.payload.len() => {
                    self.parse_entry(row)?;
                    if self.groups.contains(self.entry.group) {
                        return Ok(true);
                    }
                }
                _ => {
                    if !self.next_block()? {
                        return Ok(false);
                    }
                }
            }
        }
    }

    /// The entry at the front: what [`Self::advance`] found last.
    pub fn front(&self) -> Entry<'_> {
        let bytes = |range: &Range<usize>| self.payload.get(range.clone()).unwrap_or_default();
        Entry {
            group: self.entry.group,
            key: bytes(&self.entry.key),
            value: self.entry.value.as_ref().map(bytes),
        }
    }

    /// Reads the next block that has an asked group.
    fn next_block(&mut self) -> Result<bool, FormatError> {
        let groups = self.groups;
        self.row = self.rows.find(|row| groups.meets(row.least, row.greatest));
        let Some(row) = self.row else {
            return Ok(false);
        };
        let block = self.frame.block_at(row.position, &mut self.payload)?;
        self.entry = Place::default();
        self.check(row, block.block_type == ENTRIES && !self.payload.is_empty())?;
        Ok(true)
    }

    fn parse_entry(&mut self, row: &IndexRow) -> Result<(), FormatError> {
        let place = Place::parse(&self.payload, self.entry.end);
        let whole = place.is_some();
        self.entry = place.unwrap_or_default();
        let group = self.entry.group;
        let key = self.payload.get(self.entry.key.clone()).unwrap_or_default();
        let ascends = match &mut self.group_and_key {
            Some((before, before_key)) => {
                let ascends = (*before, before_key.as_slice()) < (group, key);
                *before = group;
                before_key.clear();
                before_key.extend_from_slice(key);
                ascends
            }
            None => {
                self.group_and_key = Some((group, key.to_vec()));
                true
            }
        };
        self.check(
            row,
            whole && ascends && (row.least..=row.greatest).contains(&group),
        )
    }

    fn check(&self, row: &IndexRow, right: bool) -> Result<(), FormatError> {
        if right {
            return Ok(());
        }
        let fault = Fault::Content("no entries that may stand here");
        Err(self.frame.unusable(row.position, fault))
    }
}
