//! Is the slowest partition always read, and does nobody who was held back sleep on?

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::{any, proptest};

use crate::flow::Flow;
use crate::moment::EventTime;
use crate::pace::{Pace, PaceLimits, WaitingRoom};
use crate::place::PartitionId;
use crate::source::{Partition, Wake};

const LIMITS: PaceLimits = PaceLimits {
    max_drift_ms: 60_000,
    waiting_bytes_per_worker: 1_000,
};

fn pace(partitions: u32) -> Pace {
    let partition = |number| Partition::new(PartitionId(number), Arc::from("test"));
    let partitions: Vec<Partition> = (0..partitions).map(partition).collect();
    Pace::new(LIMITS, 2, &partitions)
}

#[test]
fn who_may_be_read() {
    let check = |own: i64, least: i64, waiting: u64, expected: bool| {
        let found = LIMITS.may_read(EventTime(own), EventTime(least), waiting, 2);
        assert_eq!(found, expected, "{own} with {least}, {waiting} bytes");
    };
    check(0, 0, u64::MAX, true);
    check(60_000, 0, 1_999, true);
    check(60_001, 0, 0, false);
    check(1, 0, 2_000, false);
    // A partition that has brought nothing yet holds all others.
    check(i64::MIN, i64::MIN, u64::MAX, true);
    check(0, i64::MIN, 0, false);
    // What was seen of the others may be older than what is known of one's own.
    check(-5, 0, u64::MAX, true);
}

proptest! {
    /// Wherever the partitions stand and whatever waits, somebody may be read who holds the watermark.
    #[test]
    fn is_a_holder_always_read(marks in vec(any::<i64>(), 1..8), bytes in any::<u64>()) {
        let (pace, flow) = (pace(marks.len() as u32), Flow::new(1));
        pace.bytes.store(bytes, Ordering::SeqCst);
        for (number, &mark) in (0..).zip(&marks) {
            let _ = pace.advance(PartitionId(number), EventTime(mark));
        }
        let least = marks.iter().min();
        for (number, mark) in (0..).zip(&marks) {
            let allowed = pace.look(&flow).allows(PartitionId(number));
            assert!(allowed || Some(mark) != least);
        }
    }
}

#[test]
fn is_who_was_held_back_woken_by_what_may_let_it_go_on() {
    let (pace, flow) = (Arc::new(pace(2)), Flow::new(1));
    let (slow, fast) = (PartitionId(0), PartitionId(1));
    assert!(!pace.advance(fast, EventTime(100_000)), "nobody waits");
    assert!(!pace.look(&flow).allows(fast));
    assert!(pace.advance(slow, EventTime(10_000)));
    assert!(!pace.advance(slow, EventTime(20_000)), "woken once");
    assert!(!pace.look(&flow).allows(fast));
    assert!(!pace.advance(slow, EventTime(20_000)), "nothing changed");
    assert!(pace.advance(slow, EventTime::MAX));
    assert!(pace.look(&flow).allows(fast), "the last one that is read");
}

#[test]
fn does_a_partition_that_rests_hold_nobody_back() {
    let (pace, flow) = (pace(3), Flow::new(1));
    let [slow, fast, other] = [0, 1, 2].map(PartitionId);
    for (partition, mark) in [(slow, 0), (fast, 100_000), (other, 100_000)] {
        assert!(!pace.advance(partition, EventTime(mark)));
    }
    assert!(!pace.look(&flow).allows(fast));
    assert!(pace.rest(slow), "who was held back looks again");
    assert!(!pace.rest(slow));
    assert!(pace.look(&flow).allows(fast));
    // Where it stands it may be read, however far the others are.
    assert!(pace.look(&flow).allows(slow));
    assert!(!pace.advance(slow, EventTime(0)), "it speaks again");
    assert!(!pace.look(&flow).allows(fast));
    assert!(pace.look(&flow).allows(slow));
    // One that is ahead and rests is not read before its time either.
    assert!(pace.rest(fast));
    assert!(!pace.look(&flow).allows(fast));
    assert!(pace.rest(slow) && !pace.rest(other));
    assert!(
        pace.look(&flow).allows(fast),
        "all rest: whoever brings something is read"
    );
}

#[test]
fn does_room_for_waiting_events_wake() {
    let pace = Arc::new(pace(2));
    let flow = Arc::new(Flow::new(1));
    let woken = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&woken);
    flow.on_room(Wake::new(move || {
        counter.fetch_add(1, Ordering::SeqCst);
    }));
    let mut room = WaitingRoom::new(Arc::clone(&flow), Arc::clone(&pace));
    let mut other = WaitingRoom::new(Arc::clone(&flow), Arc::clone(&pace));
    for (partition, mark) in [(0, 0), (1, 5)] {
        assert!(!pace.advance(PartitionId(partition), EventTime(mark)));
    }
    room.holds(3, 1_500);
    other.holds(1, 500);
    assert_eq!((pace.waiting_events(), pace.waiting_bytes()), (4, 2_000));
    assert!(!pace.look(&flow).allows(PartitionId(1)));
    other.holds(2, 499);
    let in_flight = flow.admit(1, 1, Duration::ZERO);
    assert!(
        !pace.look(&flow).allows(PartitionId(1)),
        "it is about to wait"
    );
    drop(in_flight);
    assert_eq!(woken.swap(0, Ordering::SeqCst), 1, "that it fell");
    assert!(pace.look(&flow).allows(PartitionId(1)));
    other.holds(2, 700);
    assert!(!pace.look(&flow).allows(PartitionId(1)));
    assert_eq!(woken.load(Ordering::SeqCst), 0);
    room.holds(0, 0);
    assert_eq!(woken.load(Ordering::SeqCst), 1);
    assert!(pace.look(&flow).allows(PartitionId(1)));
    other.holds(0, 0);
    assert_eq!((pace.waiting_events(), pace.waiting_bytes()), (0, 0));
}

#[test]
fn do_those_who_keep_events_share_the_memory_and_one_bound() {
    let (flow, pace) = (Arc::new(Flow::new(1)), Arc::new(pace(1)));
    let room = || WaitingRoom::new(Arc::clone(&flow), Arc::clone(&pace)).shared_by(3);
    let (mut first, mut second) = (room(), room());
    assert_eq!(first.memory_bytes_max(), 333);
    first.holds(2, 70);
    second.holds(1, 30);
    assert_eq!((pace.waiting_events(), pace.waiting_bytes()), (3, 100));
    first.holds(0, 0);
    second.holds(3, 100);
    assert_eq!((pace.waiting_events(), pace.waiting_bytes()), (3, 100));
}
