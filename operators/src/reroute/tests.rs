//! Do events visit the workers of two other keys and then that of their own, each key's in the order of their partition, whole,
//! and with what was computed on the way?
//!
//! The stages of all workers are driven by hand, with a queue from each sender to each receiver: what lies in one comes out in
//! order, and which of them is served next is drawn. The keys are each in one partition, so a list of what every partition has
//! brought says what must come out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use proptest::prelude::{ProptestConfig, proptest};
use slackwater_dataflow::flow::Ticket;
use slackwater_dataflow::ingest::{Ingest, Sealed};
use slackwater_dataflow::operator::{Emitter, Gather, Operator};
use slackwater_dataflow::place::{KeyHash, Offset, PartitionId, Spread};
use slackwater_dataflow::source::{Origin, Payload};
use slackwater_dataflow::turn::{InTurn, Turns};

use crate::batch::{Cell, RowBatch, Span};
use crate::check::{Bound, Check, RowCheck, Rule};
use crate::event::{EventSchema, Field, FieldIndex, FieldType};
use crate::ingest::{Detour, EventIngest, FieldRules, IngestPlan, LatePolicy, TimeRules};
use crate::key::Route;
use crate::reroute::{Reroute, ReroutePlan};
use crate::resequence::Resequence;
use crate::window::{Aggregate, AggregateKind, Over, WindowPlan, WindowStage};

const FIRST: FieldIndex = FieldIndex(0);
const SECOND: FieldIndex = FieldIndex(1);
const OWN: FieldIndex = FieldIndex(2);
const GOOD: FieldIndex = FieldIndex(3);
const TIME: FieldIndex = FieldIndex(4);
/// Where the counts of both keys are put.
const COUNTS: [FieldIndex; 2] = [FieldIndex(5), FieldIndex(6)];

const PARTITIONS: u64 = 3;

/// What is done wrong on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    Nothing,
    /// A part gets lost on its way between two workers.
    LosesAPart,
    /// Rows of a turn are put together as its parts have come.
    AsPartsCome,
    /// What comes is handled at once.
    WithoutTurns,
    /// The second workers send their parts on as if only some of them had any.
    FewerParts,
    /// Parts of which nothing is left are not sent on.
    KeepsEmpty,
}

fn check() -> Check {
    Check::new(GOOD, Rule::Min(Bound::Int(0)), "it is no good")
}

fn ingest_plan(spread: Spread) -> IngestPlan {
    let fields = vec![
        Field::optional("first", FieldType::Int),
        Field::optional("second", FieldType::Text),
        Field::required("own", FieldType::Text),
        Field::required("good", FieldType::Int),
        Field::required("at", FieldType::Int),
    ];
    IngestPlan {
        fields: FieldRules::new(fields.len(), &[], &[check()]),
        schema: EventSchema {
            fields,
            key: vec![OWN],
            time: TIME.into(),
        },
        conditions: Vec::new(),
        filters: Vec::new(),
        time: TimeRules {
            max_out_of_orderness_ms: 0,
            max_ahead_ms: None,
        },
        late: LatePolicy::DeadLetter,
        max_bytes: 1_000,
        max_depth: 4,
        spread,
        keeps_origins: false,
        computed: 2,
        detour: Some(Detour {
            first: vec![FIRST],
            in_turns: true,
        }),
    }
}

/// Numbers that follow from a seed.
struct Draws(u64);

impl Draws {
    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most
    }
}

/// An event: its keys if it has them, the one of its own, and whether it passes the check.
#[derive(Clone, Debug)]
struct Event {
    first: Option<u64>,
    second: Option<u64>,
    own: u64,
    good: bool,
}

impl Event {
    fn drawn(partition: u64, draws: &mut Draws) -> Self {
        let mut key = |most| Some(partition * 100 + draws.below(most));
        let (first, second) = (key(5), key(3));
        Event {
            first: first.filter(|_| draws.below(9) > 0),
            second: second.filter(|_| draws.below(9) > 0),
            own: partition * 100 + draws.below(4),
            good: draws.below(8) > 0,
        }
    }

    /// Texts need no escapes, or some.
    fn record(&self) -> String {
        let first = self.first.map_or("null".to_owned(), |it| it.to_string());
        let second = self.second.map_or("null".to_owned(), |it| {
            let quote = if it.is_multiple_of(2) { "\\n" } else { "" };
            format!("\"{quote}{it}\"")
        });
        let good = i64::from(self.good) - 1;
        format!(
            r#"{{"first":{first},"second":{second},"own":"u{}","good":{good},"at":1}}"#,
            self.own
        )
    }
}

/// Counts the events of a key, with the event itself.
fn count(key: FieldIndex, nth: usize, checks: Vec<RowCheck>, spread: Spread) -> WindowStage {
    let count = Aggregate {
        kind: AggregateKind::Count,
        over: Over::Last(u32::MAX),
        among: None,
        includes_self: true,
        into: COUNTS[nth],
    };
    WindowStage::new(Arc::new(WindowPlan {
        key: Some(vec![key]),
        aggregates: vec![count],
        checks,
        in_time_order: false,
        spread,
    }))
}

/// The stages of a worker.
struct Worker {
    first: (WindowStage, Reroute),
    second: (Turns<RowBatch>, WindowStage, Reroute),
    last: Turns<RowBatch>,
}

/// Events as they come out: offset, counts, own key.
type Outcome = Vec<(Offset, [f64; 2], String)>;

/// The same by worker and partition.
type Handled = BTreeMap<(usize, PartitionId), Outcome>;

struct Net {
    spread: Spread,
    workers: Vec<Worker>,
    /// By the stage that is sent to, sender and receiver.
    queues: BTreeMap<(usize, usize, usize), VecDeque<RowBatch>>,
    wrong: Wrong,
    sent_to_second: u64,
    handled: Handled,
    refused: BTreeSet<(PartitionId, Offset)>,
}

impl Net {
    fn new(workers: usize, wrong: Wrong) -> Self {
        let spread = Spread {
            key_groups: 16,
            workers,
            shards: 1,
        };
        let reroute = |nth: usize, next: Route| {
            Reroute::new(ReroutePlan {
                next,
                behind_another: nth > 0 && wrong != Wrong::FewerParts,
                spread,
            })
        };
        let worker = |_| Worker {
            first: (
                count(FIRST, 0, vec![RowCheck::Field(check())], spread),
                reroute(0, Route::by(vec![SECOND])),
            ),
            second: (
                Turns::default(),
                count(SECOND, 1, Vec::new(), spread),
                reroute(1, Route::own()),
            ),
            last: Turns::default(),
        };
        Net {
            spread,
            workers: (0..workers).map(worker).collect(),
            queues: BTreeMap::new(),
            wrong,
            sent_to_second: 0,
            handled: Handled::new(),
            refused: BTreeSet::new(),
        }
    }

    fn send(&mut self, stage: usize, from: usize, batches: Vec<RowBatch>) {
        for batch in batches {
            if stage == 1 {
                self.sent_to_second += 1;
                if self.wrong == Wrong::LosesAPart && self.sent_to_second == 5 {
                    continue;
                }
            }
            if self.wrong == Wrong::KeepsEmpty && batch.rows.rows().is_empty() {
                continue;
            }
            let queue = self.queues.entry((stage, from, batch.worker)).or_default();
            queue.push_back(batch);
        }
    }

    /// What is to be handled now that a part has come.
    fn gathered(
        wrong: Wrong,
        turns: &mut Turns<RowBatch>,
        part: RowBatch,
    ) -> Result<Vec<RowBatch>, String> {
        if wrong == Wrong::WithoutTurns {
            return Ok(vec![part]);
        }
        let turn = part.turn().unwrap();
        let taken = turns.take(turn, part);
        taken.map_err(|error| error.to_string())?;
        let mut whole = Vec::new();
        while let Some(mut parts) = turns.next_of(turn.partition) {
            let one = parts.remove(0);
            match wrong {
                Wrong::AsPartsCome => whole.extend([one].into_iter().chain(parts)),
                _ => whole.push(Resequence.gather(one, parts)),
            }
        }
        Ok(whole)
    }

    /// Hands a batch to the worker that it came to.
    fn serve(&mut self, stage: usize, at: usize, batch: RowBatch) -> Result<(), String> {
        let (mut kept, mut out) = (Emitter::default(), Emitter::default());
        let worker = &mut self.workers[at];
        match stage {
            0 => {
                let (count, reroute) = &mut worker.first;
                count.on_batch(batch, &mut kept);
                for batch in kept.take_outputs() {
                    reroute.on_batch(batch, &mut out);
                }
            }
            1 => {
                let (turns, count, reroute) = &mut worker.second;
                for batch in Self::gathered(self.wrong, turns, batch)? {
                    count.on_batch(batch, &mut kept);
                }
                for batch in kept.take_outputs() {
                    reroute.on_batch(batch, &mut out);
                }
            }
            _ => {
                for batch in Self::gathered(self.wrong, &mut worker.last, batch)? {
                    self.handle(at, &batch);
                }
            }
        }
        let rejects = kept.take_rejects().into_iter();
        for reject in rejects.flat_map(|it| it.rejects) {
            assert!(self.refused.insert((reject.partition, reject.offset)));
        }
        self.send(stage + 1, at, out.take_outputs());
        Ok(())
    }

    fn handle(&mut self, at: usize, batch: &RowBatch) {
        for row in batch.rows.rows() {
            assert_eq!(row.key_hash, KeyHash::of(batch.rows.bytes(row.key)));
            assert_eq!(self.spread.worker(row.key_hash), at, "at another worker");
            let counts = COUNTS.map(|cell| match batch.rows.cell(row, cell) {
                Cell::Float(count) => count,
                Cell::Null => 0.0,
                _ => f64::NAN,
            });
            let span = match batch.rows.cell(row, OWN) {
                Cell::Text { span, .. } => span,
                _ => Span::default(),
            };
            let own = String::from_utf8(batch.rows.bytes(span).to_vec()).unwrap();
            let handled = self.handled.entry((at, row.partition)).or_default();
            handled.push((row.offset, counts, own));
        }
    }
}

/// What must have come out of a partition, in order, and which of its events are refused.
fn expected(events: &[Event]) -> (Outcome, BTreeSet<Offset>) {
    let (mut handled, mut refused) = (Vec::new(), BTreeSet::new());
    for (nth, event) in events.iter().enumerate() {
        if !event.good {
            refused.insert(Offset(nth as u64));
            continue;
        }
        let count = |key: fn(&Event) -> Option<u64>| {
            let before = events[..=nth].iter().filter(|it| it.good);
            let same = before.filter(|it| key(it) == key(event));
            key(event).map_or(0.0, |_| same.count() as f64)
        };
        let counts = [count(|it| it.first), count(|it| it.second)];
        handled.push((Offset(nth as u64), counts, format!("u{}", event.own)));
    }
    (handled, refused)
}

/// Reads drawn events in drawn polls, and serves queues as drawn. What is wrong with what comes out.
fn run(seed: u64, workers: usize, wrong: Wrong) -> Result<(), String> {
    let mut draws = Draws(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut net = Net::new(workers, wrong);
    let plan = Arc::new(ingest_plan(net.spread));
    let ingest = |_| EventIngest::new(Arc::clone(&plan));
    let mut sources: Vec<EventIngest> = (0..workers).map(ingest).collect();
    let mut events = vec![Vec::new(); PARTITIONS as usize];
    let mut polls = 12;
    while polls > 0 || net.queues.values().any(|queue| !queue.is_empty()) {
        if polls > 0 && draws.below(6) == 0 {
            polls -= 1;
            // Partitions of one worker, which may come back in a poll.
            let source = draws.below(workers as u64);
            for _ in 0..draws.below(40) {
                let partition = draws.below(PARTITIONS);
                if partition % workers as u64 != source {
                    continue;
                }
                let events = &mut events[partition as usize];
                for _ in 0..1 + draws.below(6) {
                    let event = Event::drawn(partition, &mut draws);
                    sources[source as usize].on_record(
                        PartitionId(partition as u32),
                        Offset(events.len() as u64),
                        Payload::Whole(event.record().as_bytes()),
                        Origin::default(),
                    );
                    events.push(event);
                }
            }
            let mut sealed = Sealed::default();
            sources[source as usize].seal(&Ticket::detached(), &mut sealed);
            let batches = sealed.batches.into_iter().map(|(_, batch)| batch);
            net.send(0, source as usize, batches.collect());
        }
        let full = net.queues.iter().filter(|(_, queue)| !queue.is_empty());
        let full: Vec<_> = full.map(|(&place, _)| place).collect();
        if !full.is_empty() {
            let (stage, from, at) = full[draws.below(full.len() as u64) as usize];
            let queue = net.queues.get_mut(&(stage, from, at)).unwrap();
            let batch = queue.pop_front().unwrap();
            net.serve(stage, at, batch)?;
        }
    }
    let waits =
        |worker: &Worker| worker.second.0.first().is_some() || worker.last.first().is_some();
    if net.workers.iter().any(waits) {
        return Err("a turn is not whole".to_owned());
    }
    for (partition, events) in (0..).map(PartitionId).zip(&events) {
        let (expected, refused) = expected(events);
        let of_partition = net.handled.iter().filter(|((_, it), _)| *it == partition);
        let mut all = Vec::new();
        for ((at, _), handled) in of_partition {
            if !handled.is_sorted_by_key(|(offset, ..)| *offset) {
                return Err(format!("not in order at worker {at}: {handled:?}"));
            }
            all.extend(handled.iter().cloned());
        }
        all.sort_by_key(|(offset, ..)| *offset);
        if all != expected {
            return Err(format!("{all:?}, not {expected:?}"));
        }
        let found = net.refused.iter().filter(|(it, _)| *it == partition);
        if !found.map(|(_, offset)| *offset).eq(refused) {
            return Err("others are refused".to_owned());
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn do_keys_see_their_events_in_order(seed: u64, workers in 1..5_usize) {
        run(seed, workers, Wrong::Nothing).unwrap();
    }
}

#[test]
fn is_it_seen_when_something_goes_wrong() {
    let check = |wrong| {
        let found = (0..50).filter(|&seed| run(seed, 3, wrong).is_err()).count();
        assert!(found > 25, "{wrong:?} was found {found} times of 50");
        assert!((0..50).all(|seed| run(seed, 3, Wrong::Nothing).is_ok()));
    };
    for wrong in [
        Wrong::LosesAPart,
        Wrong::AsPartsCome,
        Wrong::WithoutTurns,
        Wrong::FewerParts,
        Wrong::KeepsEmpty,
    ] {
        check(wrong);
    }
}
