//! The windows of a key as a checkpoint keeps them. The bytes are described in `docs/checkpoint-format.md`.
//!
//! What is measured over blocks is not among them: it is the same when it is measured again, since a log says where its first
//! event stood.

use slackwater_dataflow::fields::Fields;

use crate::window::KeyWindows;
use crate::window::log::Log;
use crate::window::measure::{Mark, Word};
use crate::window::plan::LogPlan;

/// Marks that follow from an event itself; the others follow from those behind it.
fn own_marks(plan: &LogPlan) -> Word {
    let conditions = plan.conditions.len() as u32;
    if conditions >= Word::BITS {
        Word::MAX
    } else {
        Mark(conditions).bit() - 1
    }
}

/// Appends the bytes of a key's windows.
pub(super) fn write(plans: &[LogPlan], windows: &KeyWindows, out: &mut Vec<u8>) {
    for (plan, log) in plans.iter().zip(&windows.logs) {
        let own = own_marks(plan);
        out.extend_from_slice(&log.begin().to_le_bytes());
        out.extend_from_slice(&log.turns().to_le_bytes());
        out.extend_from_slice(&(log.len() as u32).to_le_bytes());
        for number in log.begin()..log.end() {
            let entry = log.entry(&plan.shape, number);
            out.extend_from_slice(&entry.time.to_le_bytes());
            let marks = entry.words.first().map(|marks| marks & own);
            let words = marks.iter().chain(entry.words.iter().skip(1));
            words.for_each(|word| out.extend_from_slice(&word.to_le_bytes()));
        }
    }
}

/// Reads a key's windows; none if the bytes are not of such.
pub(super) fn read(plans: &[LogPlan], bytes: &[u8]) -> Option<KeyWindows> {
    let mut reader = Fields(bytes);
    let mut windows = KeyWindows::default();
    let mut words = Vec::new();
    for plan in plans {
        let mut log = Log::default();
        let (begin, turns, events) = (reader.u64()?, reader.u64()?, reader.u32()?);
        log.begin_at(begin, turns);
        for _ in 0..events {
            let time = reader.i64()?;
            words.clear();
            for _ in 0..plan.shape.columns {
                words.push(reader.u64()?);
            }
            log.put(&plan.shape, log.end(), time, &mut words);
        }
        windows.logs.push(log);
    }
    reader.0.is_empty().then_some(windows)
}
