//! Does every event come out once, in order, whole, and as soon as the watermark has passed it?

mod saving;

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::{Just, ProptestConfig, Strategy, prop_oneof, proptest};
use slackwater_dataflow::fields::Fields;
use slackwater_dataflow::flow::Ticket;
use slackwater_dataflow::headers::{self, Headers};
use slackwater_dataflow::moment::EventTime;
use slackwater_dataflow::operator::{Emitter, Operator};
use slackwater_dataflow::pace::{PaceLimits, WaitingRoom};
use slackwater_dataflow::place::{KeyHash, Offset, PartitionId, Spread};
use slackwater_dataflow::source::Origin;
use slackwater_dataflow::spill::{MemoryFiles, Spill, SpillFile};

use crate::batch::{Cell, NewRow, RowBatch, RowShape, Rows, Span};
use crate::order::runs::Place;
use crate::order::{EventTimeOrder, Part, read_plain, row};
use crate::origin::{self, KeptOrigin};

const FIELDS: usize = 6;

const SHAPE: RowShape = RowShape {
    fields: FIELDS,
    keeps_origins: true,
};

const SPREAD: Spread = Spread {
    key_groups: 64,
    workers: 3,
    shards: 4,
};

/// The first thing that the order goes by; the others are made of it.
type Event = (i64, u32, u64);

/// A row whose every part can be told from its place.
fn push(rows: &mut Rows, (time, partition, offset): Event) {
    let record = format!("{{record {partition} {offset}}}");
    let scratch = format!("\"{offset}\n");
    let key = format!("key {}", offset % 7);
    let text = |start: u32, len: usize, plain| Cell::Text {
        span: Span {
            start,
            len: len as u32,
        },
        plain,
    };
    let cells = [
        text(1, record.len() - 2, true),
        text(0, scratch.len(), false),
        Cell::Int(-(offset as i64)),
        if offset.is_multiple_of(3) {
            Cell::Null
        } else {
            Cell::Float(offset as f64 / 3.0)
        },
        Cell::Bool(offset.is_multiple_of(2)),
        Cell::List {
            span: Span {
                start: offset as u32 % 2,
                len: 2,
            },
            in_record: offset.is_multiple_of(3),
        },
    ];
    let mut headers = Vec::new();
    headers::write(&mut headers, ("h", Some(key.as_bytes())));
    let mut origin = Vec::new();
    let written = Origin {
        key: (!offset.is_multiple_of(4)).then_some(record.as_bytes()),
        headers: Headers::of(&headers),
        time: None,
    };
    origin::write(written, &mut origin);
    rows.push(NewRow {
        origin: &origin,
        partition: PartitionId(partition),
        offset: Offset(offset),
        time: EventTime(time - 1),
        order_time: EventTime(time),
        key_hash: KeyHash::of(key.as_bytes()),
        key: key.as_bytes(),
        record: record.as_bytes(),
        cells: &cells,
        scratch: scratch.as_bytes(),
    });
}

fn rows(events: &[Event]) -> Rows {
    let mut rows = Rows::with_capacity(SHAPE, events.len(), 0);
    for &event in events {
        push(&mut rows, event);
    }
    rows
}

fn batch(events: &[Event]) -> RowBatch {
    RowBatch {
        worker: 0,
        rows: rows(events),
        ticket: Ticket::detached(),
        turn: None,
    }
}

/// A stage that holds so much in memory, and gives three events at once.
fn stage(bytes: u64, spill: impl Spill + 'static) -> EventTimeOrder {
    let limits = PaceLimits {
        max_drift_ms: 0,
        waiting_bytes_per_worker: bytes,
    };
    let room = WaitingRoom::detached(limits);
    let stage = EventTimeOrder::new(2, SPREAD, SHAPE, room, Box::new(spill));
    EventTimeOrder {
        part: Part {
            events: 3,
            bytes: usize::MAX,
        },
        ..stage
    }
}

/// Everything that rows say, without where in their bytes it lies.
fn contents(rows: &Rows) -> Vec<String> {
    let timed = rows.rows().iter().zip(rows.order_times());
    let all = timed.map(|(row, order_time)| {
        let cells = rows.cells(row).map(|cell| match cell {
            Cell::Text { span, plain } => {
                let text = String::from_utf8(rows.bytes(span).to_vec()).unwrap();
                format!("{text:?} {plain}")
            }
            Cell::List { span, in_record } => {
                let text = String::from_utf8(rows.bytes(span).to_vec()).unwrap();
                format!("list {text:?} {in_record}")
            }
            other => format!("{other:?}"),
        });
        let cells: Vec<String> = cells.collect();
        let (record, key) = (rows.bytes(row.record), rows.bytes(row.key));
        let place = (
            order_time,
            row.partition,
            row.offset,
            row.time,
            row.key_hash,
        );
        let origin = origin::read(rows.origin_of(row));
        format!("{place:?} {cells:?} {record:?} {key:?} {origin:?}")
    });
    all.collect()
}

/// All that is due, in the order in which it comes.
fn released(stage: &mut EventTimeOrder) -> Vec<String> {
    let mut out = Emitter::default();
    let mut all = Vec::new();
    while stage.is_due() {
        let before = stage.keeps_from().unwrap();
        stage.release(&mut out);
        assert!(out.take_failure().is_none());
        let batches = out.take_outputs();
        assert_eq!(batches.len(), 1);
        let rows = &batches[0].rows;
        assert_eq!(batches[0].worker, 2);
        assert!((1..=3).contains(&rows.rows().len()));
        assert_eq!(rows.order_times()[0], before, "held for the first");
        all.extend(contents(rows));
    }
    all
}

#[derive(Clone, Debug)]
enum Step {
    /// Events of a partition, so long after the watermark.
    Batch(u32, Vec<u16>),
    /// The watermark rises by so much.
    Rise(i64),
    /// One part of what is due.
    Release,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let gap = prop_oneof![3 => 0..50_u16, 1 => 0..2_000_u16];
    let step = prop_oneof![
        6 => (0..4_u32, vec(gap, 0..40)).prop_map(|(partition, gaps)| Step::Batch(partition, gaps)),
        3 => (0..60_i64).prop_map(Step::Rise),
        1 => (0..3_000_i64).prop_map(Step::Rise),
        3 => Just(Step::Release),
    ];
    vec(step, 0..60)
}

/// Raced against a sorted map of everything.
fn race(steps: Vec<Step>, bytes: u64) {
    let mut stage = stage(bytes, MemoryFiles::default());
    let mut model = BTreeMap::<Event, String>::new();
    let mut offsets = [0_u64; 4];
    let mut watermark = 0;
    let mut out = Emitter::default();
    let due = |model: &mut BTreeMap<Event, String>, watermark: i64| {
        let rest = model.split_off(&(watermark, 0, 0));
        std::mem::replace(model, rest)
            .into_values()
            .collect::<Vec<_>>()
    };
    stage.on_watermark(EventTime(watermark));
    for step in steps {
        match step {
            Step::Batch(partition, gaps) => {
                let events = gaps.into_iter().map(|gap| {
                    let offset = &mut offsets[partition as usize];
                    *offset += 1;
                    (watermark + i64::from(gap), partition, *offset)
                });
                let events: Vec<Event> = events.collect();
                for &event in &events {
                    let one = contents(&rows(&[event])).remove(0);
                    model.insert(event, one);
                }
                stage.on_batch(batch(&events), &mut out);
                assert!(out.take_failure().is_none());
            }
            Step::Rise(by) => {
                watermark += by;
                stage.on_watermark(EventTime(watermark));
            }
            Step::Release if stage.is_due() => {
                // Events may come between two parts of what is due.
                stage.release(&mut out);
                let found = contents(&out.take_outputs()[0].rows);
                let part = model.range(..(watermark, 0, 0)).take(3);
                let part: Vec<Event> = part.map(|(&event, _)| event).collect();
                let expected: Vec<_> = part
                    .iter()
                    .filter_map(|event| model.remove(event))
                    .collect();
                assert_eq!(found, expected);
            }
            Step::Release => assert!(due(&mut model, watermark).is_empty()),
        }
        let least = model.keys().next().map(|&(time, ..)| EventTime(time));
        assert_eq!(stage.keeps_from(), least);
        assert_eq!(stage.waiting.events(), model.len() as u64);
    }
    assert_eq!(released(&mut stage), due(&mut model, watermark));
    stage.on_watermark(EventTime::MAX);
    assert_eq!(
        released(&mut stage),
        model.into_values().collect::<Vec<_>>()
    );
    assert_eq!((stage.waiting.events(), stage.waiting.bytes()), (0, 0));
    assert_eq!(stage.keeps_from(), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn does_it_give_what_a_sorted_map_would(steps in steps()) {
        race(steps, u64::MAX);
    }

    /// So little memory that nearly everything goes to disk, in blocks of a row or of a few.
    #[test]
    fn does_it_do_so_from_disk(steps in steps(), bytes in prop_oneof![Just(1_u64), Just(20_000), Just(600_000)]) {
        race(steps, bytes);
    }
}

/// A job may keep origins from one run on, or no longer: rows of the run before are read all the same.
#[test]
fn is_a_row_read_whether_its_origin_is_kept_or_not() {
    let without = RowShape::from(FIELDS);
    for (written, wanted) in [
        (SHAPE, SHAPE),
        (SHAPE, without),
        (without, SHAPE),
        (without, without),
    ] {
        let mut rows = Rows::with_capacity(written, 1, 0);
        push(&mut rows, (7, 1, 5));
        let mut bytes = Vec::new();
        row::write(&rows, &rows.rows()[0], &mut bytes);
        let mut read = Rows::with_capacity(wanted, 1, 0);
        let place = Place::of(&rows.rows()[0], EventTime(7));
        let mut fields = Fields(&bytes);
        let mut reader = row::RowReader::new(wanted);
        reader.read(place, &mut fields, &mut read).unwrap();
        assert!(fields.is_empty());
        let mut expected = Rows::with_capacity(wanted, 1, 0);
        push(&mut expected, (7, 1, 5));
        let kept = origin::read(read.origin_of(&read.rows()[0]));
        match (written.keeps_origins, wanted.keeps_origins) {
            (false, true) => assert_eq!(kept, Some(KeptOrigin::default())),
            _ => assert_eq!(contents(&read), contents(&expected)),
        }
        let plain = read_plain(&[0; 20], &bytes, FIELDS).unwrap();
        assert_eq!(plain.record, b"{record 1 5}");
        assert_eq!(plain.key, b"key 5");
        for cut in 0..bytes.len() {
            let mut rows = Rows::with_capacity(wanted, 1, 0);
            let mut fields = Fields(&bytes[..cut]);
            assert!(reader.read(place, &mut fields, &mut rows).is_none());
        }
    }
}

#[test]
fn does_an_event_at_the_watermark_wait() {
    let mut stage = stage(u64::MAX, MemoryFiles::default());
    let mut out = Emitter::default();
    stage.on_batch(batch(&[(5, 0, 1), (i64::MAX, 0, 2)]), &mut out);
    stage.on_watermark(EventTime(5));
    assert!(!stage.is_due());
    stage.on_watermark(EventTime(6));
    assert_eq!(released(&mut stage).len(), 1);
    stage.on_watermark(EventTime(i64::MAX - 1));
    assert!(!stage.is_due());
    // At the end of the input everything is due, whatever its time.
    stage.on_watermark(EventTime::MAX);
    assert_eq!(released(&mut stage).len(), 1);
}

/// Large events must not travel by the thousand.
#[test]
fn is_a_part_bounded_by_its_bytes() {
    let mut stage = stage(u64::MAX, MemoryFiles::default());
    stage.part = Part {
        events: 1_000,
        bytes: 150,
    };
    let events: Vec<Event> = (0..40).map(|n| (n, 0, n as u64)).collect();
    let mut out = Emitter::default();
    stage.on_batch(batch(&events), &mut out);
    stage.on_watermark(EventTime::MAX);
    let mut given = 0;
    while stage.is_due() {
        stage.release(&mut out);
        let rows = &out.take_outputs()[0].rows;
        let last = rows.bytes_of(rows.rows().last().unwrap()).len();
        assert!(rows.bytes_held() - last < 150);
        given += rows.rows().len();
    }
    assert_eq!(given, 40);
}

/// A batch of one event must not keep the room that a batch of many starts with.
#[test]
fn do_small_batches_take_little_memory() {
    let mut stage = stage(u64::MAX, MemoryFiles::default());
    for offset in 0..100 {
        let mut one = Rows::with_capacity(SHAPE, 512, 512 * 192);
        push(&mut one, (7, 0, offset));
        stage.waiting.add(one, Duration::ZERO).unwrap();
    }
    assert!(
        stage.waiting.bytes() < 100 * 700,
        "{}",
        stage.waiting.bytes()
    );
}

/// What lies in memory stays near its bound however much waits, and all of it comes back.
#[test]
fn is_memory_bounded_however_much_waits() {
    const BOUND: u64 = 256 * 1024;
    let mut stage = stage(BOUND, MemoryFiles::default());
    let mut out = Emitter::default();
    let mut most = 0;
    for nth in 0..200_u64 {
        // Every batch spans all of event time.
        let event = |n: u64| {
            (
                (n * 7_919 + nth * 104_729) as i64 % 1_000_003,
                0,
                nth * 100 + n,
            )
        };
        stage.on_batch(batch(&(0..100).map(event).collect::<Vec<_>>()), &mut out);
        assert!(out.take_failure().is_none());
        most = most.max(stage.waiting.bytes() - stage.waiting.spilled.bytes());
    }
    assert!(stage.waiting.spilled.bytes() > 8 * BOUND);
    for step in 0..=100 {
        stage.on_watermark(EventTime(step * 10_001));
        while stage.is_due() {
            stage.release(&mut out);
            most = most.max(stage.waiting.bytes() - stage.waiting.spilled.bytes());
        }
    }
    stage.on_watermark(EventTime::MAX);
    let _ = released(&mut stage);
    let given: usize = out
        .take_outputs()
        .iter()
        .map(|batch| batch.rows.rows().len())
        .sum();
    assert!(given > 19_000, "{given}");
    assert!(most < BOUND + BOUND / 2, "{most}");
}

/// What the watermark has passed is about to go: writing it to disk would be for nothing.
#[test]
fn is_only_what_must_wait_written_to_disk() {
    let events = |from: i64| {
        (from..from + 60)
            .map(|n| (n, 0, n as u64))
            .collect::<Vec<_>>()
    };
    let (first, second) = (batch(&events(0)), batch(&events(100)));
    let bytes = first.rows.memory_bytes() as u64;
    let mut stage = stage(bytes * 3 / 2, MemoryFiles::default());
    let mut out = Emitter::default();
    stage.on_batch(first, &mut out);
    stage.on_watermark(EventTime(90));
    stage.on_batch(second, &mut out);
    assert_eq!(
        stage.waiting.spilled.first().map(|place| place.time),
        Some(EventTime(100))
    );
    assert_eq!(released(&mut stage).len(), 60);
    stage.on_watermark(EventTime::MAX);
    assert_eq!(released(&mut stage).len(), 60);
}

/// A disk that gives back something else than it was given.
struct Damaging;

struct Damaged(Box<dyn SpillFile>);

impl Spill for Damaging {
    fn create(&self) -> std::io::Result<Box<dyn SpillFile>> {
        Ok(Box::new(Damaged(MemoryFiles::default().create()?)))
    }
}

impl SpillFile for Damaged {
    fn append(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.0.append(bytes)
    }

    fn read(&self, at: u64, piece: &mut [u8]) -> std::io::Result<()> {
        self.0.read(at, piece)?;
        if let Some(last) = piece.last_mut() {
            *last ^= 1;
        }
        Ok(())
    }
}

#[test]
fn is_a_disk_that_fails_an_error_and_not_a_loss() {
    let events: Vec<Event> = (0..50).map(|n| (n, 0, n as u64)).collect();
    let mut out = Emitter::default();
    let mut full = stage(1, MemoryFiles { room: 100 });
    full.on_batch(batch(&events), &mut out);
    let said = out.take_failure().unwrap().to_string();
    assert!(said.starts_with("cannot write events that wait"), "{said}");

    let mut damaged = stage(1, Damaging);
    damaged.on_batch(batch(&events), &mut out);
    assert!(out.take_failure().is_none());
    damaged.on_watermark(EventTime::MAX);
    damaged.release(&mut out);
    let said = out.take_failure().unwrap().to_string();
    assert!(said.contains("read back otherwise"), "{said}");
}
