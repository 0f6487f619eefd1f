//! Are partitions kept abreast that have something to read, and is nobody held by one that has not?

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::thread;

use crate::clock::ManualClock;
use crate::flow::Ticket;
use crate::idleness::Raise;
use crate::ingest::{FloorEffect, Ingest, Sealed};
use crate::moment::EventTime;
use crate::pace::{Pace, PaceLimits};
use crate::place::{Offset, PartitionId};
use crate::run::RunError;
use crate::scripted::{
    Act, Batch, Encode, Gate, Mood, ScriptedSink, ScriptedSource, TimesIngest, ends,
};
use crate::sink::OutputStream;
use crate::source::{Origin, Payload, Share, Source as _};
use crate::worker::WorkerGroup;

const DRIFT_MS: u64 = 50;

/// Watermarks of partitions that are being read, as all workers know them.
type Read = Arc<Mutex<BTreeMap<PartitionId, EventTime>>>;

/// Sees to it that no poll begins with a partition that is too far ahead of the others.
struct Noting {
    ingest: TimesIngest,
    /// None where partitions may drift apart.
    read: Option<Read>,
    /// The last event of each partition, with which it holds nobody any more.
    last: EventTime,
    begins: bool,
}

impl Ingest for Noting {
    type Batch = Batch;
    type Reject = Batch;

    fn on_record(
        &mut self,
        partition: PartitionId,
        offset: Offset,
        payload: Payload<'_>,
        origin: Origin<'_>,
    ) {
        let own = self.ingest.watermark(partition);
        let is_first = std::mem::take(&mut self.begins);
        self.ingest.on_record(partition, offset, payload, origin);
        let Some(read) = &self.read else {
            return;
        };
        let mut read = read.lock().unwrap();
        if is_first {
            let others = read.iter().filter(|(id, _)| **id != partition);
            let least = others.map(|(_, watermark)| *watermark).min();
            let ahead = least.map_or(0, |least| own.ms_after(least));
            assert!(ahead <= DRIFT_MS, "{partition} is {ahead} ms ahead");
        }
        match self.ingest.watermark(partition) {
            watermark if watermark == self.last => read.remove(&partition),
            watermark => read.insert(partition, watermark),
        };
    }

    fn seal(&mut self, ticket: &Ticket, out: &mut Sealed<Batch, Batch>) {
        self.begins = true;
        self.ingest.seal(ticket, out);
    }

    fn watermark(&self, partition: PartitionId) -> EventTime {
        self.ingest.watermark(partition)
    }

    fn highest(&self, partition: PartitionId) -> Option<EventTime> {
        self.ingest.highest(partition)
    }

    fn resume(&mut self, partition: PartitionId, highest: EventTime) {
        self.ingest.resume(partition, highest);
    }

    fn raise(&mut self, raise: &Raise, effect: FloorEffect) {
        self.ingest.raise(raise, effect);
    }
}

/// Reads these partitions to their ends.
fn run(
    partitions: Vec<Vec<Act>>,
    workers: usize,
    watched: Option<(Read, i64)>,
    sink: ScriptedSink,
) -> Result<(), RunError> {
    let source = ScriptedSource::new(partitions);
    let limits = PaceLimits {
        max_drift_ms: DRIFT_MS,
        waiting_bytes_per_worker: u64::MAX,
    };
    let pace = Arc::new(Pace::new(limits, workers, source.partitions()));
    let group = WorkerGroup::new(workers, Arc::new(ManualClock::default()));
    ends(move || {
        group.run(Box::new(sink), move |graph| {
            let Share { workers, .. } = graph.share();
            let (read, last) = watched.clone().unzip();
            let ingest = Noting {
                ingest: TimesIngest::new(0, workers),
                read,
                last: last.map_or(EventTime::MAX, EventTime),
                begins: true,
            };
            let (batches, early) = graph.source_abreast(&pace, &source, ingest)?;
            let all = graph.concat([batches, early.into_stream()]);
            let (records, none) = graph.apply("encode", all, Encode(OutputStream::Predictions));
            none.none();
            graph.publish(records);
            Ok(())
        })
    })
    .map(drop)
}

fn lines(sink: &ScriptedSink) -> usize {
    let lines = sink.lines.lock().unwrap();
    lines.iter().map(|(_, text)| text.lines().count()).sum()
}

#[test]
fn do_partitions_that_have_something_keep_abreast() {
    const EVENTS: i64 = 300;
    const STEP_MS: i64 = 10;
    for (workers, partitions) in [(1, 3), (2, 2), (2, 5), (3, 4)] {
        // Some bring much at once, some little: left alone they would drift apart.
        let acts = |partition: i64| {
            let times: Vec<i64> = (1..=EVENTS).map(|n| 100 + n * STEP_MS).collect();
            let polls = times.chunks(1 + partition as usize % 3);
            polls.map(|it| Act::Records(it.to_vec())).collect()
        };
        let numbers = (0..partitions).map(PartitionId);
        let read = numbers.map(|id| (id, EventTime::MIN)).collect();
        let read: Read = Arc::new(Mutex::new(read));
        let sink = ScriptedSink::new(Mood::Willing);
        let acts = (0..i64::from(partitions)).map(acts).collect();
        let last = 100 + EVENTS * STEP_MS;
        run(acts, workers, Some((read, last)), sink.clone()).unwrap();
        assert_eq!(lines(&sink), (EVENTS * i64::from(partitions)) as usize);
    }
}

#[test]
fn is_nobody_held_back_by_who_has_nothing() {
    const EVENTS: i64 = 100;
    for workers in [1, 2, 3] {
        let gate = Gate::default();
        let far = |from: i64| (0..EVENTS).map(move |n| Act::Records(vec![from + n * 1_000]));
        // One has brought nothing yet, one little; one is hours behind the others.
        let partitions = vec![
            vec![Act::WaitFor(gate.clone()), Act::Records(vec![90_000])],
            far(100).collect(),
            vec![
                Act::Records(vec![200, 300]),
                Act::WaitFor(gate.clone()),
                Act::Records(vec![400]),
            ],
            far(10_000_000).collect(),
        ];
        let sink = ScriptedSink::new(Mood::Willing);
        let running = {
            let sink = sink.clone();
            thread::spawn(move || run(partitions, workers, None, sink))
        };
        let before = (2 * EVENTS + 2) as usize;
        while lines(&sink) < before {
            assert!(!running.is_finished(), "it waits for the gate");
            thread::yield_now();
        }
        assert_eq!(lines(&sink), before);
        gate.open();
        running.join().unwrap().unwrap();
        assert_eq!(lines(&sink), before + 2);
    }
}
