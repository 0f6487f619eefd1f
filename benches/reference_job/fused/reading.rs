//! The first half, on the worker that reads: parse, check, judge by time, sort by target worker.

use std::borrow::Cow;

use slackwater_dataflow::sink::OutputStream;
use xxhash_rust::xxh3::xxh3_64;

use crate::Failure;
use crate::fused::batch::{Batch, Row};
use crate::fused::event::{Event, Refused, parse};
use crate::fused::records::{Origin, dead_letter, grouped};
use crate::gauges::Outcome;
use crate::input::PartitionLines;

/// Rows of a full batch: sixteen batches of the model.
pub const ROWS_MAX: usize = 1_024;
/// Records read at a time from one partition.
const RECORDS: usize = 1_024;
/// How far the watermark stays behind.
const OUT_OF_ORDER_MS: i64 = 2_000;
/// How far ahead an event may be.
const AHEAD_MS: i64 = 3_600_000;

/// A partition that is being read.
struct Cursor {
    number: u32,
    lines: PartitionLines,
    next: usize,
    newest: Option<i64>,
}

/// Reads a worker's share of the input.
pub struct Reading {
    open: Vec<Cursor>,
    turn: usize,
    /// One per worker.
    batches: Vec<Batch>,
    letters: Vec<u8>,
    /// What became of the events that go no further.
    pub outcome: Outcome,
}

impl Reading {
    /// The share of worker `index` of `peers`.
    pub fn new(partitions: &[PartitionLines], index: usize, peers: usize) -> Self {
        let mine = partitions
            .iter()
            .enumerate()
            .filter(|(at, _)| at % peers == index);
        Reading {
            open: mine
                .map(|(at, lines)| Cursor {
                    number: at as u32,
                    lines: lines.clone(),
                    next: 0,
                    newest: None,
                })
                .collect(),
            turn: 0,
            batches: (0..peers)
                .map(|at| Batch::with_room(at as u64, ROWS_MAX))
                .collect(),
            letters: Vec::new(),
            outcome: Outcome::default(),
        }
    }

    /// Reads on; gives batches that are full, or at the end of the input all. Whether there is more.
    pub fn step(&mut self, mut give: impl FnMut(Batch)) -> Result<bool, Failure> {
        if self.open.is_empty() {
            return Ok(false);
        }
        let at = self.turn % self.open.len();
        self.turn = at + 1;
        let mut cursor = self.open.swap_remove(at);
        for _ in 0..RECORDS {
            let Some(&(start, end)) = cursor.lines.records.get(cursor.next) else {
                break;
            };
            let record = cursor.lines.bytes.get(start..end).unwrap_or_default();
            cursor.next += 1;
            let judged = parse(record).and_then(|event| judge(&mut cursor.newest, event));
            let refused = match judged {
                Ok(event) => {
                    self.sort(&event, &mut give);
                    continue;
                }
                Err(refused) => refused,
            };
            let origin = Origin {
                partition: cursor.number,
                offset: start as u64,
                record,
            };
            self.letters.clear();
            dead_letter(&mut self.letters, &origin, &refused)?;
            let written = self.outcome.stream_mut(refused.stream);
            written.records += 1;
            written.bytes += std::hint::black_box(&self.letters).len() as u64;
        }
        if cursor.next < cursor.lines.records.len() {
            self.open.push(cursor);
            let last = self.open.len() - 1;
            self.open.swap(at, last);
        } else if self.open.is_empty() {
            for batch in self
                .batches
                .drain(..)
                .filter(|batch| !batch.rows.is_empty())
            {
                give(batch);
            }
        }
        Ok(!self.open.is_empty())
    }

    /// Sorts one good event; any other is left out.
    pub fn take(&mut self, record: &[u8], mut give: impl FnMut(Batch)) {
        if let Ok(event) = parse(record) {
            self.sort(&event, &mut give);
        }
    }

    fn sort(&mut self, event: &Event<'_>, give: &mut impl FnMut(Batch)) {
        let user_hash = xxh3_64(event.user.as_bytes());
        let peers = self.batches.len() as u64;
        // The upper half: tables use the lower bits.
        let target = ((user_hash >> 32) * peers) >> 32;
        let Some(batch) = self.batches.get_mut(target as usize) else {
            return;
        };
        batch.rows.push(Row {
            time: event.time,
            user_hash,
            start: batch.texts.len() as u32,
            user: event.user.len() as u32,
            product: event.product.len() as u32,
            category: event.category.len() as u32,
            kind: event.kind,
            user_plain: matches!(event.user, Cow::Borrowed(_)),
            product_plain: matches!(event.product, Cow::Borrowed(_)),
        });
        batch.texts.extend_from_slice(event.user.as_bytes());
        batch.texts.extend_from_slice(event.product.as_bytes());
        batch.texts.extend_from_slice(event.category.as_bytes());
        if batch.rows.len() == ROWS_MAX {
            give(std::mem::replace(batch, Batch::with_room(target, ROWS_MAX)));
        }
    }
}

/// Late, too far ahead, or without a category: decided by what the partition has brought so far.
fn judge<'a>(newest: &mut Option<i64>, event: Event<'a>) -> Result<Event<'a>, Refused> {
    let highest = newest.unwrap_or(event.time);
    let ahead = event.time.saturating_sub(highest);
    if ahead > AHEAD_MS {
        let (ahead, most) = (grouped(ahead), grouped(AHEAD_MS));
        let message = format!("timestamp_ms is {ahead} ms ahead, max_ahead is {most} ms");
        let refused = Refused::validation("too_far_ahead", "validate", message);
        return Err(Refused {
            time: Some(event.time),
            ..refused
        });
    }
    let watermark = highest.saturating_sub(OUT_OF_ORDER_MS);
    if event.time < watermark {
        let behind = grouped(watermark - event.time);
        return Err(Refused {
            stream: OutputStream::LateEvents,
            code: "late",
            stage: "late",
            message: format!("{behind} ms behind the watermark"),
            time: Some(event.time),
            watermark: Some(watermark),
        });
    }
    *newest = Some(highest.max(event.time));
    if event.category.is_empty() {
        return Err(Refused {
            stream: OutputStream::ProcessingErrors,
            code: "empty",
            stage: "feature",
            message: "Category name cannot be empty".to_owned(),
            time: Some(event.time),
            watermark: None,
        });
    }
    Ok(event)
}
