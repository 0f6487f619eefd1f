//! From bytes to rows, on the worker that reads them: decode, field checks, lateness, key.
//!
//! All of it looks at borrowed bytes; an event is copied once, into the batch of the worker that owns its
//! key. The order of the steps is part of what users rely on, since the first that fails names the
//! reason: size, UTF-8, depth, JSON, object; then each field in schema order, presence and type, then its
//! checks; then its time; then conditions over all fields; then `max_ahead`; then lateness. Filters come last: an event that one leaves out
//! was judged on time, and has moved its partition's clock.

mod fields;
mod partition;
mod time;

use std::collections::BTreeMap;
use std::sync::Arc;

use slackwater_dataflow::flow::Ticket;
use slackwater_dataflow::idleness::Raise;
use slackwater_dataflow::ingest::{FloorEffect, Ingest, Sealed};
use slackwater_dataflow::moment::EventTime;
use slackwater_dataflow::place::{Offset, PartitionId, Spread};
use slackwater_dataflow::source::{Origin, Payload};
use slackwater_dataflow::turn::Turn;

pub use self::fields::FieldRules;
pub use self::partition::{PartitionClock, TimeRules, Verdict};

use self::fields::{Decoded, FieldReader};
use crate::batch::{NewRow, ROW_BYTES_EXPECTED, RowBatch, RowShape, Rows};
use crate::check::{Filter, When};
use crate::event::{EventSchema, FieldIndex};
use crate::expression::values::RecordValues;
use crate::json::Malformed;
use crate::key::KeyWriter;
use crate::origin;
use crate::reject::{
    Code, Lateness, Original, Reason, Reject, RejectBatch, RejectKey, Stage, grouped,
};

/// What a batch has room for at once, if nothing is known of batches before it.
const EXPECTED: Extent = Extent {
    rows: 512,
    bytes: 512 * ROW_BYTES_EXPECTED,
};

/// Rows and bytes of a batch.
#[derive(Clone, Copy, Debug)]
struct Extent {
    rows: usize,
    bytes: usize,
}

/// Everything that decides what becomes of a record, compiled from the pipeline file.
#[derive(Clone, Debug)]
pub struct IngestPlan {
    /// The declared fields.
    pub schema: EventSchema,
    /// Presence, types and checks.
    pub fields: FieldRules,
    /// Conditions over all fields, in the order of the file.
    pub conditions: Vec<When>,
    /// Which events are wanted: all of these must keep one.
    pub filters: Vec<Filter>,
    /// Watermark and `max_ahead`.
    pub time: TimeRules,
    /// What becomes of late events.
    pub late: LatePolicy,
    /// The limit that the source obeyed, for the message.
    pub max_bytes: u64,
    /// Deepest nesting of a record.
    pub max_depth: u32,
    /// Where keys and partitions go.
    pub spread: Spread,
    /// Cells of each row behind those of its fields, for what later stages compute.
    pub computed: usize,
    /// Whether keys and headers of records are kept, for dead letters that repeat them.
    pub keeps_origins: bool,
    /// Where rows go before they come to the worker of their key; none if they go there at once.
    pub detour: Option<Detour>,
}

/// A way over the workers of other keys than the job's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detour {
    /// The fields of the key whose worker gets a row first.
    pub first: Vec<FieldIndex>,
    /// Whether batches say their turns, because nothing else would put them in order behind the first of these workers.
    pub in_turns: bool,
}

impl IngestPlan {
    /// What the rows have that come of it.
    pub fn shape(&self) -> RowShape {
        RowShape {
            fields: self.schema.fields.len() + self.computed,
            keeps_origins: self.keeps_origins,
        }
    }
}

/// What becomes of an event that is older than its partition's watermark.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LatePolicy {
    /// It goes to the stream of late events.
    #[default]
    DeadLetter,
    /// It is handled as if it had happened at the watermark; its own features still go by its time.
    Process,
    /// It is counted, and that is all.
    Drop,
}

/// Decodes records and builds one batch per partition and target worker.
#[derive(Debug)]
pub struct EventIngest {
    plan: Arc<IngestPlan>,
    reader: FieldReader,
    key: KeyWriter,
    /// That of the first worker on the way, if it is another one.
    first_key: Option<KeyWriter>,
    clocks: BTreeMap<PartitionId, PartitionClock>,
    /// Open rows by target worker, of `current`.
    open: Vec<Option<Rows>>,
    /// What the last batch for each worker held, and so the next one has room for at once.
    expected: Vec<Extent>,
    current: PartitionId,
    /// Rows closed because another partition's records followed.
    closed: Vec<Closed>,
    /// The next turn of each partition, where batches say them.
    turns: BTreeMap<PartitionId, u64>,
    /// Rejects of `current`.
    refused: Vec<Reject>,
    /// Rejects closed for the same reason.
    closed_rejects: Vec<(PartitionId, Vec<Reject>)>,
    /// Late events left out on purpose.
    dropped: u64,
    /// Events that a filter left out.
    filtered: u64,
    /// What the record was written with that is being looked at, if that is kept.
    origin: Vec<u8>,
}

/// Rows of a partition for a worker.
#[derive(Debug)]
struct Closed {
    partition: PartitionId,
    worker: usize,
    rows: Rows,
    turn: Option<Turn>,
}

/// What is wrong with an event.
struct Refusal {
    reason: Reason,
    event_time: Option<EventTime>,
    lateness: Option<Lateness>,
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Refusal {
            reason,
            event_time: None,
            lateness: None,
        }
    }
}

impl EventIngest {
    /// An ingest that has seen nothing.
    pub fn new(plan: Arc<IngestPlan>) -> Self {
        EventIngest {
            reader: FieldReader::new(&plan.schema),
            key: KeyWriter::new(plan.schema.key.clone()),
            first_key: plan
                .detour
                .as_ref()
                .map(|it| KeyWriter::new(it.first.clone())),
            clocks: BTreeMap::new(),
            open: (0..plan.spread.workers.max(1)).map(|_| None).collect(),
            expected: vec![EXPECTED; plan.spread.workers.max(1)],
            current: PartitionId::default(),
            closed: Vec::new(),
            turns: BTreeMap::new(),
            refused: Vec::new(),
            closed_rejects: Vec::new(),
            dropped: 0,
            filtered: 0,
            origin: Vec::new(),
            plan,
        }
    }

    fn take(
        &mut self,
        partition: PartitionId,
        offset: Offset,
        record: &[u8],
        origin: Origin<'_>,
    ) -> Result<(), Refusal> {
        let plan = &*self.plan;
        let decoded = self.reader.read(plan, record, &origin.time)?;
        let Decoded {
            time,
            cells,
            scratch,
        } = decoded;
        // Mostly there are none, and nothing is made ready for them.
        let values = || RecordValues {
            cells,
            record,
            scratch,
        };
        if !plan.conditions.is_empty() {
            check(&plan.conditions, &values())?;
        }
        let clock = self.clocks.entry(partition).or_default();
        let verdict = clock.judge(time, origin.time, &plan.time);
        let Some(order_time) = handled_at(plan, time, verdict)? else {
            self.dropped += 1;
            return Ok(());
        };
        if !plan.filters.is_empty() && !keeps(&plan.filters, &values(), time)? {
            self.filtered += 1;
            return Ok(());
        }
        let (key, key_hash) = self.key.write(cells, record, scratch);
        let first_key = self.first_key.as_mut();
        let first_key = first_key.and_then(|it| it.write_if_whole(cells, record, scratch));
        let target = plan
            .spread
            .worker(first_key.map_or(key_hash, |(_, hash)| hash));
        #[expect(
            clippy::indexing_slicing,
            reason = "the spread names workers below its number"
        )]
        let (rows, expected) = (&mut self.open[target], self.expected[target]);
        let room = || Rows::with_capacity(plan.shape(), expected.rows, expected.bytes);
        rows.get_or_insert_with(room).push(NewRow {
            partition,
            offset,
            time,
            order_time,
            key_hash,
            key,
            record,
            origin: &self.origin,
            cells,
            scratch,
        });
        Ok(())
    }

    /// A batch holds one partition: closes what is open of another.
    fn turn_to(&mut self, partition: PartitionId) {
        if self.current != partition {
            self.close();
            self.current = partition;
        }
    }

    /// The turn in which the open rows go out, if batches say it.
    fn next_turn(&mut self) -> Option<Turn> {
        let parts = self.open.iter().flatten().count();
        let in_turns = self.plan.detour.as_ref().is_some_and(|it| it.in_turns);
        if !in_turns || parts == 0 {
            return None;
        }
        let partition = self.current;
        let next = self.turns.entry(partition).or_default();
        let number = *next;
        *next += 1;
        Some(Turn {
            partition,
            number,
            parts,
        })
    }

    fn close(&mut self) {
        let turn = self.next_turn();
        let expected = &mut self.expected;
        for ((target, rows), expected) in self.open.iter_mut().enumerate().zip(expected) {
            if let Some(rows) = rows.take() {
                // And an eighth, so that batches of one size by and large fit.
                let (held, bytes) = (rows.rows().len(), rows.bytes_held());
                expected.rows = held + held / 8 + 1;
                expected.bytes = bytes + bytes / 8;
                self.closed.push(Closed {
                    partition: self.current,
                    worker: target,
                    rows,
                    turn,
                });
            }
        }
        if !self.refused.is_empty() {
            let refused = std::mem::take(&mut self.refused);
            self.closed_rejects.push((self.current, refused));
        }
    }
}

impl Ingest for EventIngest {
    type Batch = RowBatch;
    type Reject = RejectBatch;

    fn on_record(
        &mut self,
        partition: PartitionId,
        offset: Offset,
        payload: Payload<'_>,
        origin: Origin<'_>,
    ) {
        self.turn_to(partition);
        if self.plan.keeps_origins {
            self.origin.clear();
            origin::write(origin, &mut self.origin);
        }
        let taken = match payload {
            Payload::Whole(record) => self.take(partition, offset, record, origin),
            Payload::Oversize { length, .. } => {
                let message = format!(
                    "record has {length} bytes, max_bytes is {}",
                    self.plan.max_bytes
                );
                Err(reason(Stage::Decode, Code::TooLarge, message).into())
            }
            Payload::Malformed { reason: why, .. } => {
                Err(reason(Stage::Decode, Code::BadRow, why.to_owned()).into())
            }
        };
        if let Err(Refusal {
            reason,
            event_time,
            lateness,
        }) = taken
        {
            self.refused.push(Reject {
                reason,
                original: Original::from(payload),
                partition,
                offset,
                event_time,
                lateness,
                shard: self.plan.spread.shard_of_partition(partition),
                key: origin.key.map(|key| RejectKey::OfRecord(key.to_vec())),
                origin: self.origin.clone(),
            });
        }
    }

    fn seal(&mut self, ticket: &Ticket, out: &mut Sealed<RowBatch, RejectBatch>) {
        self.close();
        for closed in self.closed.drain(..) {
            let batch = RowBatch {
                worker: closed.worker,
                rows: closed.rows,
                ticket: ticket.clone(),
                turn: closed.turn,
            };
            out.batches.push((closed.partition, batch));
        }
        for (partition, rejects) in self.closed_rejects.drain(..) {
            let ticket = ticket.clone();
            out.rejects
                .push((partition, RejectBatch { rejects, ticket }));
        }
        out.dropped += std::mem::take(&mut self.dropped);
        out.filtered += std::mem::take(&mut self.filtered);
    }

    fn watermark(&self, partition: PartitionId) -> EventTime {
        self.clocks
            .get(&partition)
            .map_or(EventTime::MIN, |clock| clock.watermark(&self.plan.time))
    }

    fn highest(&self, partition: PartitionId) -> Option<EventTime> {
        self.clocks.get(&partition)?.highest()
    }

    fn resume(&mut self, partition: PartitionId, highest: EventTime) {
        self.clocks.insert(partition, PartitionClock::at(highest));
    }

    fn raise(&mut self, raise: &Raise, effect: FloorEffect) {
        let clock = self.clocks.entry(raise.partition).or_default();
        clock.raise(raise.from, effect);
    }

    fn passed(&mut self) -> Vec<(PartitionId, Offset)> {
        let rules = &self.plan.time;
        let passed = self.clocks.iter_mut();
        passed
            .filter_map(|(&partition, clock)| Some((partition, clock.passed(rules)?)))
            .collect()
    }
}

/// Holds an event to conditions over all of its fields.
fn check(conditions: &[When], values: &RecordValues<'_>) -> Result<(), Refusal> {
    let mut refused = conditions
        .iter()
        .filter_map(|condition| condition.refuses(values, Stage::Validate));
    refused.next().map_or(Ok(()), |reason| Err(reason.into()))
}

/// When an event counts as having happened that time has judged so; `None` if it is dropped.
#[inline]
fn handled_at(
    plan: &IngestPlan,
    time: EventTime,
    verdict: Verdict,
) -> Result<Option<EventTime>, Refusal> {
    match verdict {
        Verdict::OnTime { order_time } => Ok(Some(order_time)),
        Verdict::TooFarAhead {
            ahead_ms,
            max_ahead_ms,
        } => Err(Refusal {
            reason: too_far_ahead(plan, ahead_ms, max_ahead_ms),
            event_time: Some(time),
            lateness: None,
        }),
        Verdict::Late {
            lateness,
            order_time,
            before_found,
        } => match plan.late {
            LatePolicy::Process => Ok(Some(order_time)),
            LatePolicy::Drop => Ok(None),
            LatePolicy::DeadLetter => Err(Refusal {
                reason: late(lateness, before_found),
                event_time: Some(time),
                lateness: Some(lateness),
            }),
        },
    }
}

/// Whether all filters keep an event of this time.
fn keeps(filters: &[Filter], values: &RecordValues<'_>, time: EventTime) -> Result<bool, Refusal> {
    for filter in filters {
        let kept = filter.keeps(values).map_err(|reason| Refusal {
            reason,
            event_time: Some(time),
            lateness: None,
        });
        if !kept? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn late(lateness: Lateness, before_found: bool) -> Reason {
    let behind = grouped(lateness.lateness_ms);
    if before_found {
        let reached = "what the job had reached when it found this partition";
        let message = format!("{behind} ms behind {reached}");
        return reason(Stage::Late, Code::LateNewPartition, message);
    }
    reason(
        Stage::Late,
        Code::Late,
        format!("{behind} ms behind the watermark"),
    )
}

fn reason(stage: Stage, code: Code, message: String) -> Reason {
    Reason {
        stage,
        code,
        message,
        causes: Vec::new(),
    }
}

fn too_far_ahead(plan: &IngestPlan, ahead_ms: u64, max_ahead_ms: u64) -> Reason {
    let field = plan.schema.time_name();
    let (ahead, most) = (grouped(ahead_ms), grouped(max_ahead_ms));
    let message = format!("{field} is {ahead} ms ahead, max_ahead is {most} ms");
    reason(Stage::Validate, Code::TooFarAhead, message)
}

fn malformed(malformed: Malformed, max_depth: u32) -> Reason {
    let (code, message) = match malformed {
        Malformed::NotUtf8 { at } => (Code::NotUtf8, format!("record is not UTF-8 at byte {at}")),
        Malformed::TooDeep { at } => (
            Code::TooDeep,
            format!("record is nested deeper than max_depth {max_depth} at byte {at}"),
        ),
        Malformed::NotJson { reason, at } => (
            Code::NotJson,
            format!("record is not JSON: {reason} at byte {at}"),
        ),
        Malformed::NotObject { kind } => (
            Code::NotObject,
            format!("record is a JSON {kind}, expected an object"),
        ),
    };
    reason(Stage::Decode, code, message)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests;
