//! In which order does a stage with state hear of batches, of the ends of epochs and of the watermark?

use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crossbeam_channel::{Receiver, Sender};
use timely::worker::Worker;

use crate::adapter::Graph;
use crate::clock::ManualClock;
use crate::control::{Beginning, Epochs, Line, Part, StartEpoch, Then};
use crate::flow::{Flow, Ticket};
use crate::ingest::{Ingest, Sealed};
use crate::meters::Meters;
use crate::moment::{Epoch, EventTime};
use crate::operator::{Emitter, Operator};
use crate::place::{Offset, PartitionId};
use crate::reached::Reached;
use crate::run::{Outputs, RunShared, Stopper};
use crate::scripted::{Act, Batch, Encode, Gate, REFUSED_AT_KEY, ScriptedSource, TimesIngest};
use crate::sink::OutputStream;
use crate::snapshot::{Progress, StateDelta};
use crate::source::{Payload, Share};

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
struct Witness(Log);

impl Operator for Witness {
    type Input = Batch;
    type Output = Batch;
    type Reject = Infallible;
    const KEEPS_STATE: bool = true;

    fn on_batch(&mut self, batch: Batch, out: &mut Emitter<Batch, Infallible>) {
        let times = batch.events.iter().map(|(_, time)| *time).collect();
        self.0.borrow_mut().push(Took(times));
        out.give(batch);
    }

    fn on_watermark(&mut self, watermark: EventTime) {
        self.0.borrow_mut().push(Watermark(watermark.0));
    }

    fn on_epoch_closed(&mut self) {
        self.0.borrow_mut().push(Closed);
    }

    fn snapshot(&mut self, _: &mut StateDelta) -> Progress {
        self.0.borrow_mut().push(Snapshot);
        Progress::Done
    }
}

/// Drops events of one time: the watermark rises with them, and nobody is sent anything.
struct Dropping(TimesIngest);

impl Ingest for Dropping {
    type Batch = Batch;
    type Reject = Batch;

    fn on_record(&mut self, partition: PartitionId, offset: Offset, payload: Payload<'_>) {
        self.0.on_record(partition, offset, payload);
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
}

/// One worker, whose line a test has in its hands.
struct Driven {
    commands: Sender<StartEpoch>,
    parts: Receiver<Part>,
    log: Log,
    stopper: Stopper,
}

/// A graph of a source and a witness.
fn drive(source: ScriptedSource, worker: &mut Worker) -> Driven {
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
    let job = Arc::new(RunShared::new(
        stopper.clone(),
        Arc::new(Meters::default()),
        Arc::new(Reached::new(1)),
        Arc::new(ManualClock::default()),
        Outputs::ByEpoch(Arc::new(Epochs::new(beginning, vec![line]))),
    ));
    let log = Log::default();
    let witness = Witness(Rc::clone(&log));
    worker.dataflow(|scope| {
        let share = Share {
            worker: 0,
            workers: 1,
        };
        let graph = Graph::new(scope, job, share);
        let ingest = Dropping(TimesIngest::new(0, 1));
        let (batches, early) = graph.source(&source, ingest).unwrap();
        let (batches, none) = graph.apply_at_key("witness", batches, witness);
        none.none();
        let all = graph.concat([batches, early.into_stream()]);
        let (records, none) = graph.apply("encode", all, Encode(OutputStream::Predictions));
        none.none();
        graph.publish(records);
        graph.finish().unwrap();
    });
    Driven {
        commands,
        parts,
        log,
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
        let command = StartEpoch {
            epoch: Epoch(epoch),
            floor: None,
            then: Then::ReadOn,
        };
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
        let driven = drive(source.clone(), worker);
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

/// The test above has to find that.
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
