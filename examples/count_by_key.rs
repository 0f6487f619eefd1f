//! cargo run --release --example count_by_key
//!
//! An operator of your own on the engine, and everything that it needs around it. Two doors note who comes in,
//! one `SECOND NAME` a line. The operator counts the visits of each name in a streak; a minute of silence ends
//! the streak.
//!
//! ```text
//!  the worker that reads the door                   |  the worker that owns the name
//!  source -> Doorkeeper: parse, judge the time -----+-> CountVisits --+
//!                 |                                                   +--> ToRecords --> publish --> Print
//!                 +--- rejects: late, or no visit --------------------+
//! ```
//! Read from top to bottom: what travels, the ingest, the operator, the encoder, the sink, and the graph.

#![expect(clippy::print_stdout, reason = "it shows what it did")]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::error::Error;
use std::io::Write as _;
use std::sync::Arc;

use slackwater_connectors::memory::{MemorySource, Schedule, Turn};
use slackwater_dataflow::adapter::Graph;
use slackwater_dataflow::clock::ManualClock;
use slackwater_dataflow::flow::Publication;
use slackwater_dataflow::flow::Ticket;
use slackwater_dataflow::idleness::Raise;
use slackwater_dataflow::ingest::{FloorEffect, Ingest, Sealed};
use slackwater_dataflow::moment::EventTime;
use slackwater_dataflow::operator::{Emitter, Operator, Routed};
use slackwater_dataflow::place::{KeyHash, Offset, PartitionId, ShardId, Spread};
use slackwater_dataflow::run::RunError;
use slackwater_dataflow::sink::{Framing, OutputChunk, OutputStream, Sink, SinkError};
use slackwater_dataflow::source::{Origin, Payload, Share};
use slackwater_dataflow::state::KeyedState;
use slackwater_dataflow::worker::WorkerGroup;

/// Threads; each runs the whole graph. Another number changes who counts, and nothing else.
const WORKERS: usize = 2;

/// What each door noted. A door is a partition: it is read by one worker, in order.
const DOORS: [&str; 2] = [
    "10 anna\n12 ben\n9 anna\nnoon ben\n40 anna\n34 ben\n35 ben\n130 ben\n131 anna\n",
    "11 carla\n14 dora\n15 carla\ndora\n80 dora\n140 carla\n",
];

/// How far a visit may be behind the newest of its door. The watermark of a door stays this far behind.
const OUT_OF_ORDER_MS: u64 = 5_000;

/// The silence after which a streak is over.
const SILENCE_MS: u64 = 60_000;

// What travels is a batch, never a single event. It carries the ticket of the poll that it was made of: as long
// as a clone of it lives, the poll's events are in flight, and of those there may only be so many.

/// Visits of one door for one worker.
struct Visits {
    worker: usize,
    visits: Vec<Visit>,
    ticket: Ticket,
}

struct Visit {
    name: String,
    at: EventTime,
}

/// By this the engine knows where to bring a batch.
impl Routed for Visits {
    fn worker(&self) -> usize {
        self.worker
    }
}

/// Finished lines for one stream. Here they are what the operator gives and what is rejected as well.
struct Lines {
    stream: OutputStream,
    lines: Vec<String>,
    ticket: Ticket,
}

/// From lines to batches, on the worker that reads them.
struct Doorkeeper {
    spread: Spread,
    /// The newest visit of each door.
    newest: BTreeMap<PartitionId, EventTime>,
    /// What doors were raised to that had been idle; here none ever is.
    raised: BTreeMap<PartitionId, EventTime>,
    /// What goes out at the end of the poll: by door, and by the worker that owns the name.
    open: BTreeMap<(PartitionId, usize), Vec<Visit>>,
    refused: Vec<(PartitionId, OutputStream, String)>,
}

impl Doorkeeper {
    fn new(workers: usize) -> Self {
        Doorkeeper {
            // Keys are spread over workers in groups, whole groups at a time.
            spread: Spread {
                key_groups: 1_024,
                workers,
                shards: 1,
            },
            newest: BTreeMap::new(),
            raised: BTreeMap::new(),
            open: BTreeMap::new(),
            refused: Vec::new(),
        }
    }
}

/// A visit, if the line is one.
fn parse(line: &str) -> Option<Visit> {
    let (second, name) = line.split_once(' ')?;
    let second: u32 = second.parse().ok()?;
    Some(Visit {
        name: name.to_owned(),
        at: EventTime(i64::from(second) * 1_000),
    })
}

impl Ingest for Doorkeeper {
    type Batch = Visits;
    type Reject = Lines;

    fn on_record(&mut self, door: PartitionId, _: Offset, payload: Payload<'_>, _: Origin<'_>) {
        // A source gives records that are too large only in part; the one here has no limit.
        let (Payload::Whole(bytes)
        | Payload::Oversize { head: bytes, .. }
        | Payload::Malformed { bytes, .. }) = payload;
        let line = String::from_utf8_lossy(bytes);
        let Some(visit) = parse(&line) else {
            let refused = (door, OutputStream::ValidationErrors, line.into_owned());
            self.refused.push(refused);
            return;
        };
        // Late is decided here, by what this door has brought so far: not by the wall clock, nor by other
        // doors, or it would be another one each time.
        if visit.at < self.watermark(door) {
            let refused = (door, OutputStream::LateEvents, line.into_owned());
            self.refused.push(refused);
            return;
        }
        let newest = self.newest.entry(door).or_insert(visit.at);
        *newest = visit.at.max(*newest);
        // The key decides who counts.
        let worker = self.spread.worker(KeyHash::of(visit.name.as_bytes()));
        self.open.entry((door, worker)).or_default().push(visit);
    }

    fn seal(&mut self, ticket: &Ticket, out: &mut Sealed<Visits, Lines>) {
        for ((door, worker), visits) in std::mem::take(&mut self.open) {
            let ticket = ticket.clone();
            let batch = Visits {
                worker,
                visits,
                ticket,
            };
            out.batches.push((door, batch));
        }
        for (door, stream, line) in self.refused.drain(..) {
            let reject = Lines {
                stream,
                lines: vec![line],
                ticket: ticket.clone(),
            };
            out.rejects.push((door, reject));
        }
    }

    /// A promise: no visit of this door that goes on is older. The engine asks after each poll, when what was
    /// sealed is on its way.
    fn watermark(&self, door: PartitionId) -> EventTime {
        let newest = self.newest.get(&door);
        let own = newest.map_or(EventTime::MIN, |time| time.minus_ms(OUT_OF_ORDER_MS));
        own.max(self.raised.get(&door).copied().unwrap_or(EventTime::MIN))
    }

    /// What a checkpoint has to know of a door, and where a run goes on that begins from one.
    fn highest(&self, door: PartitionId) -> Option<EventTime> {
        self.newest.get(&door).copied()
    }

    fn resume(&mut self, door: PartitionId, newest: EventTime) {
        self.newest.insert(door, newest);
    }

    fn raise(&mut self, raise: &Raise, effect: FloorEffect) {
        if effect == FloorEffect::Judges {
            self.raised.insert(raise.partition, raise.from.floor);
        }
    }
}

/// The operator: a plain state machine that a test can drive by hand. All visits of a name come to the same
/// one of its instances, so its state needs no lock.
struct CountVisits {
    worker: usize,
    streaks: KeyedState<Streak>,
}

#[derive(Default)]
struct Streak {
    visits: u32,
    last: EventTime,
}

impl Operator for CountVisits {
    type Input = Visits;
    type Output = Lines;
    /// It can count every visit. One that cannot handle an event gives it to `out.reject`.
    type Reject = Infallible;

    fn on_batch(&mut self, batch: Visits, out: &mut Emitter<Lines, Infallible>) {
        let mut lines = Vec::new();
        for Visit { name, at } in batch.visits {
            let key = name.as_bytes();
            let slot = self.streaks.locate(KeyHash::of(key), key);
            let streak = self.streaks.value_mut(slot);
            if at.ms_after(streak.last) > SILENCE_MS {
                streak.visits = 0;
            }
            streak.visits += 1;
            streak.last = streak.last.max(at);
            let (second, nth, worker) = (at.0 / 1_000, streak.visits, self.worker);
            lines.push(format!(
                "{name} at {second} s: visit {nth}, counted by worker {worker}"
            ));
        }
        // The stream of results, whatever they are; the other three are for what has none.
        out.give(Lines {
            stream: OutputStream::Predictions,
            lines,
            ticket: batch.ticket,
        });
    }

    /// The watermark here is that of the slowest door: no visit that is older can still come. So a streak
    /// whose silence it has passed is over, and its memory can be given back. When that happens hangs on timing,
    /// so it must change no output: the silence itself is judged by the times of the visits, above.
    fn on_watermark(&mut self, watermark: EventTime) {
        let goes_on =
            |_, _: &[u8], streak: &mut Streak| watermark.ms_after(streak.last) <= SILENCE_MS;
        // Without checkpoints nothing has to be saved before it goes.
        let nobody = |_, _: &[u8], _: &Streak| {};
        self.streaks.sweep(self.streaks.places(), nobody, goes_on);
    }
}

/// The last stage: bytes, and the ticket that is given back when they are written.
struct ToRecords;

impl Operator for ToRecords {
    type Input = Lines;
    type Output = Publication;
    type Reject = Infallible;

    fn on_batch(&mut self, batch: Lines, out: &mut Emitter<Publication, Infallible>) {
        let chunk = OutputChunk {
            stream: batch.stream,
            shard: ShardId(0),
            records: batch.lines.len() as u32,
            framing: Framing::Lines,
            bytes: (batch.lines.join("\n") + "\n").into_bytes(),
        };
        let ticket = batch.ticket;
        out.give(Publication { chunk, ticket });
    }
}

/// Prints at the end. Workers finish in any order, but the visits of one name come in theirs: so it prints the
/// same every time once the lines are put together by name.
#[derive(Default)]
struct Print {
    lines: BTreeMap<(OutputStream, String), Vec<String>>,
}

impl Sink for Print {
    fn append(&mut self, chunk: &OutputChunk) -> Result<(), SinkError> {
        for line in String::from_utf8_lossy(&chunk.bytes).lines() {
            let name = line.split(' ').next().unwrap_or_default();
            let group = self.lines.entry((chunk.stream, name.to_owned()));
            group.or_default().push(line.to_owned());
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), SinkError> {
        let mut out = std::io::stdout().lock();
        for ((stream, _), lines) in &self.lines {
            for line in lines {
                writeln!(out, "{:<18} {line}", stream.name()).map_err(|source| SinkError {
                    action: "write to",
                    subject: "stdout".to_owned(),
                    source,
                })?;
            }
        }
        Ok(())
    }
}

/// The graph of one worker. It only wires.
fn count_visits(graph: &Graph<'_>, doors: &MemorySource) -> Result<(), RunError> {
    let Share { worker, workers } = graph.share();
    let (visits, refused) = graph.source(doors, Doorkeeper::new(workers))?;
    let count = CountVisits {
        worker,
        streaks: KeyedState::default(),
    };
    // At its key: this is where batches change threads.
    let (counted, none) = graph.apply_at_key("count visits", visits, count);
    none.none();
    // Rejects are events too. They come as a value that has to be used up.
    let lines = graph.concat([counted, refused.into_stream()]);
    let (records, none) = graph.apply("to records", lines, ToRecords);
    none.none();
    graph.publish(records);
    Ok(())
}

/// The same, but what the ingest refuses goes nowhere.
fn forget_the_refused(graph: &Graph<'_>, doors: &MemorySource) -> Result<(), RunError> {
    let Share { workers, .. } = graph.share();
    let (_visits, _refused) = graph.source(doors, Doorkeeper::new(workers))?;
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let partitions = (0..)
        .map(PartitionId)
        .zip(DOORS.map(|door| door.as_bytes().into()));
    // A line a poll, door by door, so that a run as short as this has watermarks on its way. In one poll or in
    // many, the output is the same.
    let turns = (0..8).flat_map(|_| [0, 1]).map(|door| Turn::Read {
        partition: PartitionId(door),
        records: 1,
    });
    let polls = Schedule::Script(turns.collect());
    let doors = MemorySource::from_lines(partitions)?.with_schedule(polls);
    // Wall time only goes into figures, so it may stand still; `SystemClock` is the machine's.
    let group = || WorkerGroup::new(WORKERS, Arc::new(ManualClock::default()));

    let source = doors.clone();
    let finished = group().run(Box::new(Print::default()), move |graph| {
        count_visits(graph, &source)
    })?;
    let totals = finished.totals;
    println!(
        "{} read = {} counted + {} no visit + {} late + {} in flight",
        totals.read,
        totals.written(OutputStream::Predictions),
        totals.written(OutputStream::ValidationErrors),
        totals.written(OutputStream::LateEvents),
        totals.in_flight(),
    );

    let refusal = group().run(Box::new(Print::default()), move |graph| {
        forget_the_refused(graph, &doors)
    });
    match refusal {
        Ok(_) => Err("a graph that forgets events has run".into()),
        Err(error) => {
            println!("a graph that forgets the refused does not start: {error}");
            Ok(())
        }
    }
}
