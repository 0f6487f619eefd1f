//! In which order does a stage with state hear of batches, of the ends of epochs and of the watermark?

use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crossbeam_channel::{Receiver, Sender};
use timely::worker::Worker;

use crate::adapter::{Built, Graph};
use crate::clock::ManualClock;
use crate::control::{Beginning, Epochs, Line, Part, StartEpoch, Then};
use crate::flow::{Flow, Ticket};
use crate::idleness::{Idle, Raise, RaisedFrom};
use crate::ingest::{FloorEffect, Ingest, Sealed};
use crate::meters::Meters;
use crate::moment::{Epoch, EventTime};
use crate::operator::{Emitter, Operator};
use crate::pace::{Pace, PaceLimits};
use crate::place::{Offset, PartitionId};
use crate::reached::Reached;
use crate::run::{Outputs, RunShared, Stopper};
use crate::scripted::{Act, Batch, Encode, Gate, REFUSED_AT_KEY, ScriptedSource, TimesIngest};
use crate::sink::OutputStream;
use crate::snapshot::{Progress, StateDelta};
use crate::source::{Origin, Payload, Share, Source};

/// What a stage is told.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    Batch(Vec<i64>),
    Watermark(i64),
    Closed,
    Snapshot,
}

use Told::{Batch as Took, Closed, Snapshot, Watermark};

type Log = Rc<RefCell<Vec<Told>>>;

/// Notes what it is told, and gives what it takes.
struct Witness {
    log: Log,
    /// Parts of each snapshot.
    parts: usize,
    /// Of the one under way.
    given: usize,
}

impl Operator for Witness {
    type Input = Batch;
    type Output = Batch;
    type Reject = Infallible;
    const KEEPS_STATE: bool = true;

    fn on_batch(&mut self, batch: Batch, out: &mut Emitter<Batch, Infallible>) {
        let times = batch.events.iter().map(|(_, time)| *time).collect();
        self.log.borrow_mut().push(Took(times));
        out.give(batch);
    }

    fn on_watermark(&mut self, watermark: EventTime) {
        self.log.borrow_mut().push(Watermark(watermark.0));
    }

    fn on_epoch_closed(&mut self) {
        self.log.borrow_mut().push(Closed);
        self.given = 0;
    }

    fn snapshot(&mut self, _: &mut StateDelta) -> Progress {
        self.log.borrow_mut().push(Snapshot);
        self.given += 1;
        match self.given < self.parts {
            true => Progress::More,
            false => Progress::Done,
        }
    }
}

/// Drops events of one time: the watermark rises with them, and nobody is sent anything.
struct Dropping(TimesIngest);

impl Ingest for Dropping {
    type Batch = Batch;
    type Reject = Batch;

    fn on_record(
        &mut self,
        partition: PartitionId,
        offset: Offset,
        payload: Payload<'_>,
        origin: Origin<'_>,
    ) {
        self.0.on_record(partition, offset, payload, origin);
    }

    fn seal(&mut self, ticket: &Ticket, out: &mut Sealed<Batch, Batch>) {
        self.0.seal(ticket, out);
        for (_, batch) in &mut out.batches {
            batch.events.retain(|(_, time)| *time != REFUSED_AT_KEY);
        }
        out.batches.retain(|(_, batch)| !batch.events.is_empty());
    }

    fn watermark(&self, partition: PartitionId) -> EventTime {
        self.0.watermark(partition)
    }

    fn highest(&self, partition: PartitionId) -> Option<EventTime> {
        self.0.highest(partition)
    }

    fn resume(&mut self, partition: PartitionId, highest: EventTime) {
        self.0.resume(partition, highest);
    }

    fn raise(&mut self, raise: &Raise, effect: FloorEffect) {
        self.0.raise(raise, effect);
    }
}

/// One worker, whose line a test has in its hands.
struct Driven {
    built: Built,
    commands: Sender<StartEpoch>,
    parts: Receiver<Part>,
    log: Log,
    job: Arc<RunShared>,
    stopper: Stopper,
}

/// A graph of a source and a witness, whose snapshots have one part.
fn drive(source: &ScriptedSource, worker: &mut Worker) -> Driven {
    drive_in_parts(source, 1, worker)
}

/// The same with so many parts.
fn drive_in_parts(source: &ScriptedSource, parts_of_each: usize, worker: &mut Worker) -> Driven {
    let (commands, commanded) = crossbeam_channel::unbounded();
    let (hand_over, parts) = crossbeam_channel::unbounded();
    let line = Line {
        commands: commanded,
        parts: hand_over,
    };
    let beginning = Beginning {
        epoch: Epoch(1),
        ..Beginning::default()
    };
    let stopper = Stopper::new(Arc::new(Flow::new(1)));
    let job = RunShared::new(
        stopper.clone(),
        Arc::new(Meters::default()),
        Arc::new(Reached::new(1)),
        Arc::new(ManualClock::default()),
        Outputs::ByEpoch(Arc::new(Epochs::new(beginning, vec![line]))),
    );
    let job = Arc::new(job.watching(Some(Arc::new(source.clone()))));
    let log = Log::default();
    let witness = Witness {
        log: Rc::clone(&log),
        parts: parts_of_each,
        given: 0,
    };
    let built = worker.dataflow(|scope| {
        let share = Share {
            worker: 0,
            workers: 1,
        };
        let graph = Graph::new(scope, Arc::clone(&job), share);
        let ingest = Dropping(TimesIngest::new(0, 1));
        let limits = PaceLimits {
            max_drift_ms: u64::MAX,
            waiting_bytes_per_worker: u64::MAX,
        };
        let pace = Arc::new(Pace::new(limits, 1, source.partitions()));
        let (batches, early) = graph.source_in_step(&pace, source, ingest).unwrap();
        let (batches, none) = graph.apply_at_key("witness", batches, witness);
        none.none();
        let all = graph.concat([batches, early.into_stream()]);
        let (records, none) = graph.apply("encode", all, Encode(OutputStream::Predictions));
        none.none();
        graph.publish(records);
        graph.finish().unwrap()
    });
    Driven {
        built,
        commands,
        parts,
        log,
        job,
        stopper,
    }
}

impl Driven {
    /// Steps until the stage has been told so much.
    fn until(&self, worker: &mut Worker, told: usize) {
        while self.log.borrow().len() < told {
            worker.step_or_park(Some(std::time::Duration::from_millis(1)));
        }
    }

    fn start(&self, epoch: u64) {
        self.change(epoch, None, &[]);
    }

    /// Starts the last epoch.
    fn end(&self, epoch: u64) {
        self.tell(StartEpoch {
            epoch: Epoch(epoch),
            floor: None,
            then: Then::EndOfInput,
            idle: [].into(),
            found: [].into(),
        });
    }

    /// Starts an epoch with a floor and with idle partitions.
    fn change(&self, epoch: u64, floor: Option<i64>, idle: &[Idle]) {
        self.tell(StartEpoch {
            epoch: Epoch(epoch),
            floor: floor.map(EventTime),
            then: Then::ReadOn,
            idle: idle.into(),
            found: [].into(),
        });
    }

    fn tell(&self, command: StartEpoch) {
        self.commands.send(command).unwrap();
        self.stopper.flow.wake_all();
    }
}

#[test]
fn is_an_epoch_closed_under_the_watermark_that_it_had() {
    let source = ScriptedSource::new([vec![
        Act::Records(vec![5]),
        Act::Records(vec![REFUSED_AT_KEY]),
        Act::WaitFor(Gate::default()),
    ]]);
    timely::execute_directly(move |worker| {
        let driven = drive(&source, worker);
        while source.polls.load(Ordering::SeqCst) < 1 {
            worker.step();
        }
        // In one step the source ends the epoch and reads what nobody is sent, so that both become known at once.
        driven.start(2);
        driven.until(worker, 5);
        let expected = [
            Took(vec![5]),
            Watermark(5),
            Closed,
            Watermark(REFUSED_AT_KEY),
            // Of the epoch as it was when it closed: it may take as long as it likes.
            Snapshot,
        ];
        assert_eq!(*driven.log.borrow(), expected);
        let parts: Vec<Part> = driven.parts.try_iter().collect();
        let of_first = |part: &Part| match part {
            Part::State(epoch, ..) | Part::Cut(epoch, _) | Part::OutputsEnd(epoch) => {
                *epoch == Epoch(1)
            }
            _ => false,
        };
        assert_eq!(
            parts.iter().filter(|it| of_first(it)).count(),
            3,
            "{parts:?}"
        );
        worker.drop_dataflow(0);
    });
}

#[test]
fn does_an_idle_partition_hold_nothing_and_wake_at_the_floor() {
    let (silence, end) = (Gate::default(), Gate::default());
    let source = ScriptedSource::new([
        vec![Act::Records(vec![50]), Act::WaitFor(end.clone())],
        vec![
            Act::Records(vec![5]),
            Act::Silent(silence.clone()),
            Act::Records(vec![20, 30, 40]),
            Act::WaitFor(end),
        ],
    ]);
    timely::execute_directly(move |worker| {
        let driven = drive(&source, worker);
        let step = |worker: &mut Worker| {
            worker.step_or_park(Some(std::time::Duration::from_millis(1)));
        };
        // Nothing moves the watermark but a floor.
        driven.until(worker, 2);
        while driven.job.silences.all().is_empty() {
            step(worker);
        }
        let silent = driven.job.silences.all();
        let idle = |position| Idle {
            partition: PartitionId(1),
            position: Offset(position),
        };
        assert_eq!(silent, [idle(1)]);
        // It is not there any more.
        driven.change(2, Some(5), &[idle(0)]);
        driven.until(worker, 5);
        assert_eq!(driven.job.reached.least(0), Some(EventTime(5)));
        driven.change(3, Some(30), &silent);
        driven.until(worker, 8);
        assert_eq!(driven.job.reached.least(0), Some(EventTime(50)));
        silence.open();
        driven.until(worker, 9);
        assert_eq!(driven.job.reached.least(0), Some(EventTime(40)));
        driven.change(4, Some(45), &[]);
        driven.until(worker, 12);
        let mut log = driven.log.borrow().clone();
        // Which of the two comes first does not matter.
        log[..2].sort_by_key(|told| *told == Took(vec![50]));
        let expected = [
            Took(vec![5]),
            Took(vec![50]),
            Closed,
            Watermark(5),
            Snapshot,
            Closed,
            Watermark(30),
            Snapshot,
            // What was below the floor is late. Its own watermark holds the stage from here on.
            Took(vec![30, 40]),
            Closed,
            Watermark(40),
            Snapshot,
        ];
        assert_eq!(log, expected);
        let epochs = driven.job.epochs().unwrap();
        assert_eq!(epochs.acted_on(), Some(EventTime(40)));
        let raised = driven.parts.try_iter().filter_map(|part| match part {
            Part::Cut(epoch, cut) if !cut.raised.is_empty() => Some((epoch, cut.raised)),
            _ => None,
        });
        let raise = Raise {
            partition: PartitionId(1),
            from: RaisedFrom {
                offset: Offset(1),
                floor: EventTime(30),
                found: false,
            },
        };
        assert_eq!(raised.collect::<Vec<_>>(), [(Epoch(3), vec![raise])]);
        worker.drop_dataflow(0);
    });
}

/// When no more input can come a stage has nothing left to do but to write what the last epoch has changed.
#[test]
fn is_all_of_the_last_epoch_written_however_many_parts_that_has() {
    let source = ScriptedSource::new([vec![Act::Records(vec![5])]]);
    timely::execute_directly(move |worker| {
        let driven = drive_in_parts(&source, 4, worker);
        driven.end(2);
        let activator = worker.activator_for(Rc::clone(&driven.built.source));
        while worker.step_or_park(Some(std::time::Duration::from_millis(1))) {
            driven.built.look(&activator);
        }
        let parts = driven.parts.try_iter();
        let states = parts.filter_map(|part| match part {
            Part::State(epoch, ..) => Some(epoch),
            _ => None,
        });
        assert_eq!(states.collect::<Vec<_>>(), [Epoch(1), Epoch(2)]);
    });
}

/// The first test has to find that.
#[cfg(feature = "faults")]
#[test]
fn is_a_watermark_that_rises_first_found() {
    use crate::faults::{Defect, VARIABLE};

    let test = "adapter::tests::effects::is_an_epoch_closed_under_the_watermark_that_it_had";
    let run = std::process::Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact"])
        .env(VARIABLE, Defect::WatermarkFirst.name())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    assert_eq!(run.status.code(), Some(101), "{said}");
    assert!(said.contains("running 1 test"), "{said}");
}
