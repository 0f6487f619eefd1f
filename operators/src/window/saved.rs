//! The windows of a key as a checkpoint keeps them. The bytes are described in `docs/checkpoint-format.md`.
//!
//! A long log does not change but at its ends, so it is kept in chunks of [`CHUNK`] events, each an entry of its own: a
//! checkpoint has those that are new, and the key's own entry, which holds what follows the last whole chunk. What is measured
//! over blocks is not among them: it is the same when it is measured again, since a log says where its first event stood.

use std::ops::Range;

use slackwater_dataflow::fields::Fields;
use slackwater_dataflow::moment::EventTime;
use slackwater_dataflow::place::KeyGroup;
use slackwater_dataflow::snapshot::StateDelta;

use crate::key::without_suffix;
use crate::window::KeyWindows;
use crate::window::log::Log;
use crate::window::measure::{Mark, Word};
use crate::window::plan::LogPlan;

/// Events of a chunk: what is written of a key at each checkpoint at most, beside what is new, is less than one.
pub(super) const CHUNK: u64 = 64;

/// Stands between a key and the number of a chunk; no part of a key begins with it.
const OF_CHUNK: u8 = 0xff;

/// Marks that follow from an event itself; the others follow from those behind it.
fn own_marks(plan: &LogPlan) -> Word {
    let conditions = plan.conditions.len() as u32;
    if conditions >= Word::BITS {
        Word::MAX
    } else {
        Mark(conditions).bit() - 1
    }
}

fn chunk_key(key: &[u8], log: usize, chunk: u64) -> Vec<u8> {
    let mut whole = key.to_vec();
    whole.extend_from_slice(&[OF_CHUNK, log as u8]);
    whole.extend_from_slice(&chunk.to_be_bytes());
    whole
}

/// Says what a key's windows are now, as far as it has changed since that was said last.
pub(super) fn save(
    plans: &[LogPlan],
    windows: &KeyWindows,
    (group, key): (KeyGroup, &[u8]),
    delta: &mut StateDelta,
) {
    delta.put(group, key, |out| {
        for (plan, log) in plans.iter().zip(&windows.logs) {
            out.extend_from_slice(&log.begin().to_le_bytes());
            out.extend_from_slice(&log.end().to_le_bytes());
            out.extend_from_slice(&log.turns().to_le_bytes());
            let rest = log.begin().max(log.end() / CHUNK * CHUNK);
            write_events(plan, log, rest..log.end(), out);
        }
    });
    for (nth, (plan, log)) in plans.iter().zip(&windows.logs).enumerate() {
        let whole = log.begin() / CHUNK..log.end() / CHUNK;
        let (had, changed_from) = log.saved();
        let gone = had.clone().filter(|chunk| !whole.contains(chunk));
        gone.for_each(|chunk| delta.remove(group, &chunk_key(key, nth, chunk)));
        let is_new = |chunk: &u64| *chunk >= changed_from / CHUNK || !had.contains(chunk);
        for chunk in whole.clone().filter(is_new) {
            let events = log.begin().max(chunk * CHUNK)..(chunk + 1) * CHUNK;
            delta.put(group, &chunk_key(key, nth, chunk), |out| {
                out.extend_from_slice(&events.start.to_le_bytes());
                write_events(plan, log, events, out);
            });
        }
        log.note_saved(whole);
    }
}

/// Says that the chunks of a key are no more, whose logs are empty.
pub(super) fn forget(
    windows: &KeyWindows,
    (group, key): (KeyGroup, &[u8]),
    delta: &mut StateDelta,
) {
    for (nth, log) in windows.logs.iter().enumerate() {
        let (had, _) = log.saved();
        had.for_each(|chunk| delta.remove(group, &chunk_key(key, nth, chunk)));
        log.note_saved(0..0);
    }
}

fn write_events(plan: &LogPlan, log: &Log, events: Range<u64>, out: &mut Vec<u8>) {
    let own = own_marks(plan);
    for number in events {
        let entry = log.entry(&plan.shape, number);
        out.extend_from_slice(&entry.time.to_le_bytes());
        let marks = entry.words.first().map(|marks| marks & own);
        let words = marks.iter().chain(entry.words.iter().skip(1));
        words.for_each(|word| out.extend_from_slice(&word.to_le_bytes()));
    }
}

/// What an entry of the stage is of.
enum Saved {
    /// A key.
    Key,
    /// A chunk of one of its logs.
    Chunk { log: usize, chunk: u64 },
}

/// A key, and what of it an entry is; none if it is no entry of the stage.
fn split(entry_key: &[u8]) -> Option<(&[u8], Saved)> {
    let (key, suffix) = without_suffix(entry_key);
    if suffix.is_empty() {
        return Some((key, Saved::Key));
    }
    let mut suffix = Fields(suffix);
    let (mark, log) = (suffix.u8()?, usize::from(suffix.u8()?));
    let chunk = u64::from_be_bytes(suffix.array()?);
    let is_of_chunk = mark == OF_CHUNK && suffix.is_empty();
    is_of_chunk.then_some((key, Saved::Chunk { log, chunk }))
}

/// A key whose entries come one after the other: its own first.
#[derive(Debug, Default)]
pub(super) struct Restoring {
    pub(super) group: KeyGroup,
    pub(super) key: Vec<u8>,
    /// Whether the next checkpoint is to have it anew.
    pub(super) anew: bool,
    own: Vec<u8>,
    /// By log and chunk.
    chunks: Vec<(usize, u64, Vec<u8>)>,
}

impl Restoring {
    /// Begins with a key's own entry; none if it is that of a chunk.
    pub(super) fn begin(group: KeyGroup, key: &[u8], value: &[u8], anew: bool) -> Option<Self> {
        matches!(split(key)?, (_, Saved::Key)).then(|| Restoring {
            group,
            key: key.to_owned(),
            anew,
            own: value.to_owned(),
            chunks: Vec::new(),
        })
    }

    /// Takes an entry if it is of a chunk of this key.
    pub(super) fn take(&mut self, key: &[u8], value: &[u8]) -> bool {
        let Some((key, Saved::Chunk { log, chunk })) = split(key) else {
            return false;
        };
        if key != self.key {
            return false;
        }
        self.chunks.push((log, chunk, value.to_owned()));
        true
    }

    /// The windows that these entries are of; none if they are not of such.
    pub(super) fn windows(&self, plans: &[LogPlan]) -> Option<KeyWindows> {
        let mut own = Fields(&self.own);
        let mut windows = KeyWindows::default();
        for (nth, plan) in plans.iter().enumerate() {
            let (begin, end, turns) = (own.u64()?, own.u64()?, own.u64()?);
            let mut log = Log::default();
            let mut kept = 0..0;
            let mut has_begun = false;
            for (_, chunk, events) in self.chunks.iter().filter(|(log, ..)| *log == nth) {
                let mut events = Fields(events);
                let first = events.u64()?;
                if !has_begun {
                    // Chunks before it may be gone already: nobody sees what they held.
                    (has_begun, kept.start) = (true, *chunk);
                    log.begin_at(begin.max(first), turns);
                }
                kept.end = chunk + 1;
                read_events(plan, &mut log, first..(chunk + 1) * CHUNK, &mut events)?;
            }
            if !has_begun {
                log.begin_at(begin.max(end / CHUNK * CHUNK), turns);
            }
            let rest = begin.max(end / CHUNK * CHUNK);
            read_events(plan, &mut log, rest..end, &mut own)?;
            if log.end() != end {
                return None;
            }
            if !self.anew {
                log.note_saved(kept);
            }
            windows.logs.push(log);
        }
        own.0.is_empty().then_some(windows)
    }
}

/// Adds saved events behind those of a log; what lies before its first is passed over.
fn read_events(
    plan: &LogPlan,
    log: &mut Log,
    events: Range<u64>,
    reader: &mut Fields<'_>,
) -> Option<()> {
    let mut words = Vec::with_capacity(plan.shape.columns);
    for number in events {
        let time = reader.i64()?;
        words.clear();
        for _ in 0..plan.shape.columns {
            words.push(reader.u64()?);
        }
        if number >= log.begin() {
            if number != log.end() {
                return None;
            }
            log.put(&plan.shape, number, time, &mut words);
        }
    }
    Some(())
}

/// An entry of the stage for people: its key, and the times of the events that it holds, log by log.
pub fn read_plain<'b>(
    plan: &crate::window::WindowPlan,
    entry_key: &'b [u8],
    value: &[u8],
) -> Option<(&'b [u8], Vec<EventTime>)> {
    let (key, saved) = split(entry_key)?;
    let plans = LogPlan::all(plan);
    let mut reader = Fields(value);
    let mut times = Vec::new();
    let mut read = |plan: &LogPlan, events: Range<u64>, reader: &mut Fields<'_>| {
        for _ in events {
            times.push(EventTime(reader.i64()?));
            for _ in 0..plan.shape.columns {
                reader.u64()?;
            }
        }
        Some(())
    };
    match saved {
        Saved::Key => {
            for plan in &plans {
                let (begin, end, _) = (reader.u64()?, reader.u64()?, reader.u64()?);
                read(plan, begin.max(end / CHUNK * CHUNK)..end, &mut reader)?;
            }
        }
        Saved::Chunk { log, .. } => {
            let first = reader.u64()?;
            let end = (first / CHUNK + 1) * CHUNK;
            read(plans.get(log)?, first..end, &mut reader)?;
        }
    }
    reader.0.is_empty().then_some((key, times))
}
