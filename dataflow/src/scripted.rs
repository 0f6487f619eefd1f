//! A source, an ingest, stages and a sink that do as they are told: what the engine is tested with.
//!
//! An event is nothing but a time; its key is its offset modulo [`KEYS`]. Records are eight bytes.

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use crate::adapter::Graph;
use crate::flow::{Flow, Publication, Ticket};
use crate::idleness::Raise;
use crate::ingest::{FloorEffect, Ingest, Sealed};
use crate::moment::EventTime;
use crate::operator::{Emitter, Operator, Routed};
use crate::place::{Offset, PartitionId, ShardId};
use crate::run::RunError;
use crate::sink::{Framing, OutputChunk, OutputStream, Sink, SinkError};
use crate::source::{
    Demand, Origin, Partition, Payload, Polled, Readiness, Share, Source, SourceError,
    SourceReader, Start, Starts, Wake,
};

/// Number of different keys.
pub(crate) const KEYS: u64 = 5;
/// Events of this time are rejected by the ingest.
pub(crate) const REFUSED_EARLY: i64 = 13;
/// Events of this time are rejected at their key.
pub(crate) const REFUSED_AT_KEY: i64 = 17;
/// An event of this time makes the operator panic.
pub(crate) const PANICS: i64 = 666;

/// Long enough for any of these runs on a busy machine, short enough to be told before the harness ends
/// the test.
const HANGS_AFTER: Duration = Duration::from_secs(60);

/// Runs `run` on a thread and gives its result; fails the test if it does not end.
pub(crate) fn ends<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, result) = mpsc::channel();
    thread::spawn(move || done.send(run()));
    result.recv_timeout(HANGS_AFTER).expect("the run hangs")
}

/// Holds who waits until it is opened.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    pub(crate) fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    pub(crate) fn is_open(&self) -> bool {
        *self.0.0.lock().unwrap()
    }

    pub(crate) fn wait(&self) {
        let open = self.0.0.lock().unwrap();
        drop(self.0.1.wait_while(open, |open| !*open).unwrap());
    }
}

/// What a reader says that has nothing now.
const LOOK_AGAIN: Readiness = Readiness::LookAgain(Duration::from_millis(1));

/// What a reader does next with a partition.
#[derive(Clone)]
pub(crate) enum Act {
    /// Hands out records of these times.
    Records(Vec<i64>),
    /// Says once that it has nothing now.
    Wait,
    /// Says so until the gate is open.
    WaitFor(Gate),
    /// Says that the partition is silent until the gate is open.
    Silent(Gate),
    /// Hands out records of rising times for ever.
    Endless,
    /// Fails.
    Fail,
    /// Says that the partition has ended, and yet goes on.
    LieAboutEnd,
}

/// Partitions with what happens in each; every partition ends after its last act.
#[derive(Clone, Default)]
pub(crate) struct ScriptedSource {
    partitions: Vec<Partition>,
    acts: BTreeMap<PartitionId, Vec<Act>>,
    /// Polls of all readers.
    pub(crate) polls: Arc<AtomicU64>,
    /// Most events in flight that a poll has seen, if the flow is known.
    pub(crate) most_in_flight: Arc<AtomicU64>,
    pub(crate) flow: Option<Arc<Flow>>,
}

impl ScriptedSource {
    pub(crate) fn new(partitions: impl IntoIterator<Item = Vec<Act>>) -> Self {
        let mut source = ScriptedSource::default();
        for (number, acts) in partitions.into_iter().enumerate() {
            let id = PartitionId(u32::try_from(number).unwrap());
            let topic = Arc::from("scripted");
            source.partitions.push(Partition::new(id, topic));
            source.acts.insert(id, acts);
        }
        source
    }
}

impl Source for ScriptedSource {
    fn partitions(&self) -> &[Partition] {
        &self.partitions
    }

    fn open(
        &self,
        share: Share,
        from: &Starts,
        _: Wake,
    ) -> Result<Box<dyn SourceReader>, SourceError> {
        let mine = self.acts.iter().filter(|(id, _)| share.reads(**id));
        let open = mine.filter_map(|(&partition, acts)| match from.of(partition) {
            None => Some(Cursor::new(partition, acts, 0)),
            Some(Start::At(offset)) => Some(Cursor::new(partition, acts, offset.0)),
            Some(Start::Ended) => None,
        });
        Ok(Box::new(ScriptedReader {
            open: open.collect(),
            ended: BTreeMap::new(),
            turn: 0,
            source: self.clone(),
        }))
    }

    fn may_change(&self) -> bool {
        let mut acts = self.acts.values().flatten();
        acts.any(|act| matches!(act, Act::Silent(_)))
    }
}

struct Cursor {
    partition: PartitionId,
    /// The next one last.
    acts: Vec<Act>,
    next: u64,
}

struct ScriptedReader {
    open: Vec<Cursor>,
    /// Where those that ended did so.
    ended: BTreeMap<PartitionId, Offset>,
    turn: usize,
    source: ScriptedSource,
}

type Emit<'a> = &'a mut dyn FnMut(Polled<'_>) -> ControlFlow<()>;

impl Cursor {
    /// All acts, but as if `next` records had been handed out already.
    fn new(partition: PartitionId, acts: &[Act], next: u64) -> Self {
        let mut skip = usize::try_from(next).unwrap();
        let mut acts: Vec<Act> = acts.iter().rev().cloned().collect();
        for act in acts.iter_mut().rev() {
            if let Act::Records(times) = act {
                let skipped = times.drain(..skip.min(times.len())).count();
                skip -= skipped;
            }
        }
        Cursor {
            partition,
            acts,
            next,
        }
    }

    fn hand_out(&mut self, times: impl IntoIterator<Item = i64>, emit: Emit<'_>) -> usize {
        let mut handed_out = 0;
        for time in times {
            handed_out += 1;
            let offset = Offset(self.next);
            self.next += 1;
            let polled = Polled::Record {
                partition: self.partition,
                offset,
                payload: Payload::Whole(&time.to_le_bytes()),
                origin: Origin::default(),
            };
            if emit(polled).is_break() {
                break;
            }
        }
        handed_out
    }
}

impl SourceReader for ScriptedReader {
    fn poll(&mut self, demand: Demand<'_>, emit: Emit<'_>) -> Result<Readiness, SourceError> {
        self.source.polls.fetch_add(1, Ordering::SeqCst);
        if let Some(flow) = &self.source.flow {
            let most = &self.source.most_in_flight;
            most.fetch_max(flow.events_in_flight(), Ordering::SeqCst);
        }
        if self.open.is_empty() {
            return Ok(Readiness::Finished);
        }
        let turns = 1..=self.open.len();
        let mut turns = turns.map(|step| (self.turn + step) % self.open.len());
        let allowed = |&at: &usize| demand.allows(self.open[at].partition);
        let Some(turn) = turns.find(allowed) else {
            return Ok(Readiness::Waiting);
        };
        self.turn = turn;
        let cursor = &mut self.open[self.turn];
        match cursor.acts.pop() {
            None => {
                let _ = emit(Polled::Finished(cursor.partition));
                self.ended.insert(cursor.partition, Offset(cursor.next));
                self.open.remove(self.turn);
            }
            Some(Act::Records(mut times)) => {
                let rest = times.split_off(times.len().min(demand.limit));
                let handed_out = cursor.hand_out(times.iter().copied(), emit);
                let left = times.split_off(handed_out);
                let rest = [left, rest].concat();
                if !rest.is_empty() {
                    cursor.acts.push(Act::Records(rest));
                }
            }
            Some(Act::Wait) => return Ok(LOOK_AGAIN),
            Some(Act::WaitFor(gate)) => {
                if !gate.is_open() {
                    cursor.acts.push(Act::WaitFor(gate));
                    return Ok(LOOK_AGAIN);
                }
            }
            Some(Act::Silent(gate)) => {
                if !gate.is_open() {
                    let _ = emit(Polled::Silent(cursor.partition));
                    cursor.acts.push(Act::Silent(gate));
                    return Ok(LOOK_AGAIN);
                }
            }
            Some(Act::Endless) => {
                let from = i64::try_from(cursor.next).unwrap() + 1_000;
                cursor.hand_out(from..from + 16, emit);
                cursor.acts.push(Act::Endless);
            }
            Some(Act::Fail) => {
                return Err(SourceError {
                    action: "read",
                    subject: "script".to_owned(),
                    source: io::Error::other("told to fail"),
                });
            }
            Some(Act::LieAboutEnd) => {
                let _ = emit(Polled::Finished(cursor.partition));
            }
        }
        Ok(if self.open.is_empty() {
            Readiness::Finished
        } else {
            Readiness::More
        })
    }

    fn position(&self, partition: PartitionId) -> Option<Offset> {
        let open = self.open.iter().find(|open| open.partition == partition);
        let open = open.map(|open| Offset(open.next));
        open.or_else(|| self.ended.get(&partition).copied())
    }
}

/// Events of one partition for one worker.
pub(crate) struct Batch {
    pub(crate) partition: PartitionId,
    pub(crate) events: Vec<(Offset, i64)>,
    worker: usize,
    pub(crate) ticket: Ticket,
}

impl Batch {
    /// One event, offset and time, as a batch of its own.
    pub(crate) fn of(worker: usize, partition: u32, event: (u64, i64), ticket: Ticket) -> Self {
        let (offset, time) = event;
        Batch {
            partition: PartitionId(partition),
            events: vec![(Offset(offset), time)],
            worker,
            ticket,
        }
    }
}

impl Routed for Batch {
    fn worker(&self) -> usize {
        self.worker
    }
}

/// One batch per partition and worker; the watermark is the highest time less `lag_ms`.
pub(crate) struct TimesIngest {
    pub(crate) lag_ms: u64,
    pub(crate) workers: usize,
    highest: BTreeMap<PartitionId, EventTime>,
    raised: BTreeMap<PartitionId, EventTime>,
    open: BTreeMap<(PartitionId, usize), Vec<(Offset, i64)>>,
    refused: Vec<(PartitionId, Offset, i64)>,
}

impl TimesIngest {
    pub(crate) fn new(lag_ms: u64, workers: usize) -> Self {
        TimesIngest {
            lag_ms,
            workers,
            highest: BTreeMap::new(),
            raised: BTreeMap::new(),
            open: BTreeMap::new(),
            refused: Vec::new(),
        }
    }
}

impl Ingest for TimesIngest {
    type Batch = Batch;
    type Reject = Batch;

    fn on_record(
        &mut self,
        partition: PartitionId,
        offset: Offset,
        payload: Payload<'_>,
        _: Origin<'_>,
    ) {
        let Payload::Whole(bytes) = payload else {
            unreachable!("scripted records are whole");
        };
        let time = i64::from_le_bytes(bytes.try_into().unwrap());
        if time == REFUSED_EARLY || EventTime(time) < self.watermark(partition) {
            self.refused.push((partition, offset, time));
            return;
        }
        let highest = self.highest.entry(partition).or_insert(EventTime(time));
        *highest = (*highest).max(EventTime(time));
        let worker = (offset.0 % KEYS) as usize % self.workers;
        let events = self.open.entry((partition, worker)).or_default();
        events.push((offset, time));
    }

    fn seal(&mut self, ticket: &Ticket, out: &mut Sealed<Batch, Batch>) {
        let batch = |partition, worker, events| Batch {
            partition,
            events,
            worker,
            ticket: ticket.clone(),
        };
        for ((partition, worker), events) in std::mem::take(&mut self.open) {
            out.batches
                .push((partition, batch(partition, worker, events)));
        }
        for (partition, offset, time) in self.refused.drain(..) {
            let events = vec![(offset, time)];
            out.rejects.push((partition, batch(partition, 0, events)));
        }
    }

    fn watermark(&self, partition: PartitionId) -> EventTime {
        let highest = self.highest.get(&partition);
        let own = highest.map_or(EventTime::MIN, |time| time.minus_ms(self.lag_ms));
        let raised = self.raised.get(&partition).copied();
        own.max(raised.unwrap_or(EventTime::MIN))
    }

    fn highest(&self, partition: PartitionId) -> Option<EventTime> {
        self.highest.get(&partition).copied()
    }

    fn resume(&mut self, partition: PartitionId, highest: EventTime) {
        self.highest.insert(partition, highest);
    }

    fn raise(&mut self, raise: &Raise, effect: FloorEffect) {
        if effect == FloorEffect::Judges {
            self.raised.insert(raise.partition, raise.from.floor);
        }
    }
}

/// What the stages of all workers have seen of the watermark, worker by worker.
pub(crate) type Watermarks = Arc<Mutex<BTreeMap<usize, Vec<EventTime>>>>;

/// Lets events through, and holds the engine to its promises while it does.
pub(crate) struct Strict {
    pub(crate) worker: usize,
    pub(crate) watermarks: Watermarks,
}

impl Operator for Strict {
    type Input = Batch;
    type Output = Batch;
    type Reject = Batch;

    fn on_batch(&mut self, mut batch: Batch, out: &mut Emitter<Batch, Batch>) {
        let watermarks = self.watermarks.lock().unwrap();
        let told = watermarks.get(&self.worker).and_then(|all| all.last());
        let told = told.copied().unwrap_or(EventTime::MIN);
        drop(watermarks);
        assert_eq!(batch.worker, self.worker, "a batch at another worker");
        let (refused, kept): (Vec<_>, Vec<_>) = batch
            .events
            .into_iter()
            .partition(|(_, time)| *time == REFUSED_AT_KEY);
        for (_, time) in &kept {
            assert_ne!(*time, PANICS, "told to panic");
            assert!(
                EventTime(*time) >= told,
                "{time} came after watermark {told}"
            );
        }
        if !refused.is_empty() {
            out.reject(Batch {
                events: refused,
                ticket: batch.ticket.clone(),
                ..batch
            });
        }
        batch.events = kept;
        out.give(batch);
    }

    fn on_watermark(&mut self, watermark: EventTime) {
        let mut watermarks = self.watermarks.lock().unwrap();
        watermarks.entry(self.worker).or_default().push(watermark);
    }
}

/// Writes `partition offset time` lines.
pub(crate) struct Encode(pub(crate) OutputStream);

impl Operator for Encode {
    type Input = Batch;
    type Output = Publication;
    type Reject = std::convert::Infallible;

    fn on_batch(&mut self, batch: Batch, out: &mut Emitter<Publication, Self::Reject>) {
        let line =
            |(offset, time): &(Offset, i64)| format!("{} {offset} {time}\n", batch.partition);
        let lines: String = batch.events.iter().map(line).collect();
        out.give(Publication {
            chunk: OutputChunk {
                stream: self.0,
                shard: ShardId(0),
                records: u32::try_from(batch.events.len()).unwrap(),
                framing: Framing::Lines,
                bytes: lines.into_bytes(),
            },
            ticket: batch.ticket,
        });
    }
}

/// The whole graph: source, one keyed stage, two streams.
pub(crate) fn build(
    graph: &Graph<'_>,
    source: &ScriptedSource,
    lag_ms: u64,
    watermarks: &Watermarks,
) -> Result<(), RunError> {
    let Share { worker, workers } = graph.share();
    let (batches, early) = graph.source(source, TimesIngest::new(lag_ms, workers))?;
    let watermarks = Arc::clone(watermarks);
    let (kept, late) = graph.apply_at_key("strict", batches, Strict { worker, watermarks });
    let refused = graph.concat([early.into_stream(), late.into_stream()]);
    let (kept, none) = graph.apply("encode", kept, Encode(OutputStream::Predictions));
    none.none();
    let encode = Encode(OutputStream::ValidationErrors);
    let (refused, none) = graph.apply("encode rejects", refused, encode);
    none.none();
    graph.publish(graph.concat([kept, refused]));
    Ok(())
}

/// What a sink does besides collecting.
#[derive(Clone, Default)]
pub(crate) enum Mood {
    #[default]
    Willing,
    /// Waits for the gate before the first chunk.
    Blocked(Gate),
    /// Fails at its third chunk.
    Fails,
    /// Panics at its third chunk.
    Panics,
    /// Fails at the end.
    CannotFinish,
}

/// Collects lines; clones share them.
#[derive(Clone, Default)]
pub(crate) struct ScriptedSink {
    pub(crate) lines: Arc<Mutex<Vec<(OutputStream, String)>>>,
    pub(crate) mood: Mood,
    chunks: u32,
}

impl ScriptedSink {
    pub(crate) fn new(mood: Mood) -> Self {
        ScriptedSink {
            mood,
            ..ScriptedSink::default()
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.lines.lock().unwrap().len()
    }
}

fn refusal() -> SinkError {
    SinkError {
        action: "write",
        subject: "script".to_owned(),
        source: io::Error::other("told to fail"),
    }
}

impl Sink for ScriptedSink {
    fn append(&mut self, chunk: &OutputChunk) -> Result<(), SinkError> {
        self.chunks += 1;
        match &self.mood {
            Mood::Blocked(gate) => gate.wait(),
            Mood::Fails if self.chunks == 3 => return Err(refusal()),
            Mood::Panics => assert_ne!(self.chunks, 3, "told to panic"),
            _ => {}
        }
        let text = String::from_utf8(chunk.bytes.clone()).unwrap();
        let lines = text.lines().map(|line| (chunk.stream, line.to_owned()));
        self.lines.lock().unwrap().extend(lines);
        Ok(())
    }

    fn finish(&mut self) -> Result<(), SinkError> {
        match self.mood {
            Mood::CannotFinish => Err(refusal()),
            _ => Ok(()),
        }
    }
}
