//! Are a partition's events in order again behind two exchanges, under their own time, and is a part that is missing found?

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, proptest};

use crate::adapter::Graph;
use crate::adapter::tests::on_time;
use crate::clock::ManualClock;
use crate::flow::Ticket;
use crate::operator::{Emitter, Gather, Operator, Routed};
use crate::place::{Offset, PartitionId};
use crate::run::RunError;
use crate::scripted::{
    Act, Batch, Encode, Mood, ScriptedSink, ScriptedSource, Strict, TimesIngest, Watermarks, ends,
};
use crate::sink::OutputStream;
use crate::source::Share;
use crate::turn::{InTurn, Turn};
use crate::worker::WorkerGroup;

/// What a relay does wrong with the fourth turn of partition 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    Nothing,
    LosesAPart,
    SendsOneTwice,
    SaysNoTurn,
}

#[derive(Clone)]
struct Part {
    worker: usize,
    turn: Option<Turn>,
    events: Vec<(Offset, i64)>,
    ticket: Ticket,
}

impl Routed for Part {
    fn worker(&self) -> usize {
        self.worker
    }
}

impl InTurn for Part {
    fn turn(&self) -> Option<Turn> {
        self.turn
    }
}

/// Where an event goes first, and then.
fn relay_of(offset: Offset, workers: usize) -> usize {
    (offset.0 / 2) as usize % workers
}

fn last_of(offset: Offset, workers: usize) -> usize {
    offset.0 as usize % workers
}

/// Makes a turn of each batch, at the worker that has read it.
struct Split {
    workers: usize,
    turns: BTreeMap<PartitionId, u64>,
}

impl Operator for Split {
    type Input = Batch;
    type Output = Part;
    type Reject = std::convert::Infallible;

    fn on_batch(&mut self, batch: Batch, out: &mut Emitter<Part, Self::Reject>) {
        let number = self.turns.entry(batch.partition).or_default();
        let mut parts = BTreeMap::<usize, Vec<_>>::new();
        for event in batch.events {
            let worker = relay_of(event.0, self.workers);
            parts.entry(worker).or_default().push(event);
        }
        let turn = Turn {
            partition: batch.partition,
            number: *number,
            parts: parts.len(),
        };
        *number += 1;
        for (worker, events) in parts {
            out.give(Part {
                worker,
                turn: Some(turn),
                events,
                ticket: batch.ticket.clone(),
            });
        }
    }
}

/// Sends on a part of each part to each worker.
struct Relay {
    workers: usize,
    wrong: Wrong,
}

impl Operator for Relay {
    type Input = Part;
    type Output = Part;
    type Reject = std::convert::Infallible;

    fn on_batch(&mut self, part: Part, out: &mut Emitter<Part, Self::Reject>) {
        let is_fourth = |turn: &Turn| turn.partition == PartitionId(0) && turn.number == 3;
        for worker in 0..self.workers {
            let events = part.events.iter().copied();
            let mut part = Part {
                worker,
                events: events
                    .filter(|(offset, _)| last_of(*offset, self.workers) == worker)
                    .collect(),
                ..part.clone()
            };
            if worker == 0 && part.turn.as_ref().is_some_and(is_fourth) {
                match self.wrong {
                    Wrong::Nothing => {}
                    Wrong::LosesAPart => continue,
                    Wrong::SendsOneTwice => out.give(part.clone()),
                    Wrong::SaysNoTurn => part.turn = None,
                }
            }
            out.give(part);
        }
    }
}

struct Sort;

impl Gather for Sort {
    type Part = Part;
    type Whole = Batch;

    fn gather(&mut self, one: Part, others: Vec<Part>) -> Batch {
        let partition = one.turn.unwrap().partition;
        let mut batch = Batch::of(one.worker, partition.0, (0, 0), one.ticket);
        batch.events = one.events;
        batch
            .events
            .extend(others.into_iter().flat_map(|it| it.events));
        batch.events.sort();
        batch
    }
}

fn build(
    graph: &Graph<'_>,
    source: &ScriptedSource,
    lag_ms: u64,
    wrong: Wrong,
) -> Result<(), RunError> {
    let Share { worker, workers } = graph.share();
    // One batch for each poll: what is split is a whole one.
    let (batches, early) = graph.source(source, TimesIngest::new(lag_ms, 1))?;
    let turns = BTreeMap::new();
    let (parts, none) = graph.apply("split", batches, Split { workers, turns });
    none.none();
    let (parts, none) = graph.apply_at_key("relay", parts, Relay { workers, wrong });
    none.none();
    let gathered = graph.gather_at_key("gather", parts, Sort);
    let watermarks = Watermarks::default();
    let (kept, late) = graph.apply("strict", gathered, Strict { worker, watermarks });
    let (kept, none) = graph.apply("encode", kept, Encode(OutputStream::Predictions));
    none.none();
    let rejects = graph.concat([early.into_stream(), late.into_stream()]);
    let encode = Encode(OutputStream::ValidationErrors);
    let (rejects, none) = graph.apply("encode rejects", rejects, encode);
    none.none();
    graph.publish(graph.concat([kept, rejects]));
    Ok(())
}

fn run(
    partitions: Vec<Vec<Vec<i64>>>,
    lag_ms: u64,
    workers: usize,
    wrong: Wrong,
) -> (Result<(), RunError>, ScriptedSink) {
    let acts = |polls: Vec<Vec<i64>>| polls.into_iter().map(Act::Records).collect();
    let source = ScriptedSource::new(partitions.into_iter().map(acts));
    let sink = ScriptedSink::new(Mood::Willing);
    let lines = sink.clone();
    let ended = ends(move || {
        let group = WorkerGroup::new(workers, Arc::new(ManualClock::default()));
        let build = move |graph: &Graph<'_>| build(graph, &source, lag_ms, wrong);
        let finished = group.run(Box::new(sink), build);
        finished.map(|finished| assert_eq!(finished.totals.in_flight(), 0))
    });
    (ended, lines)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn do_events_of_a_partition_come_in_order_over_several_workers(
        partitions in vec(vec(vec(100..140_i64, 0..9), 0..8), 1..5),
        lag_ms in 0..15_u64,
        workers in 1..5_usize,
    ) {
        let expected = on_time(&partitions, lag_ms);
        let (ended, sink) = run(partitions, lag_ms, workers, Wrong::Nothing);
        ended.unwrap();
        let mut last = BTreeMap::new();
        let mut found = 0;
        for (stream, line) in sink.lines.lock().unwrap().iter() {
            if *stream == OutputStream::Predictions {
                let numbers: Vec<u64> = line.split(' ').map(|it| it.parse().unwrap()).collect();
                let offset = Offset(numbers[1]);
                let place = (numbers[0], last_of(offset, workers));
                let before = last.insert(place, offset);
                assert!(before < Some(offset), "{line} after {before:?}");
                found += 1;
            }
        }
        assert_eq!(found, expected);
    }
}

#[test]
fn does_a_run_end_that_would_wait_for_a_part_for_ever() {
    let check = |wrong, workers, expected: &str| {
        let polls = |n: i64| (0..8).map(|at| 100 + n * 10 + at).collect();
        let partitions = vec![(0..30).map(polls).collect(), (0..30).map(polls).collect()];
        let (ended, _) = run(partitions, 0, workers, wrong);
        let found = ended.unwrap_err().to_string();
        let expected = format!("stage `gather` cannot go on: {expected}");
        assert!(found.starts_with(&expected), "{found}, not {expected}");
    };
    for workers in [1, 2, 4] {
        check(Wrong::LosesAPart, workers, "a part is lost of turn ");
        let too_many = "one part too many of turn 3 of partition 0";
        check(Wrong::SendsOneTwice, workers, too_many);
        check(Wrong::SaysNoTurn, workers, "a batch bears no turn");
    }
}
