//! Is a partition idle exactly when it should be, and raised to what it should be? Raced against one that looks at all
//! that has happened, each time anew.

use proptest::collection::vec;
use proptest::prelude::{Just, ProptestConfig, Strategy, prop_oneof, proptest};

use crate::idleness::{Floors, Idle, Raise, RaisedFrom, Resting, Silences, Speaks};
use crate::moment::EventTime;
use crate::place::{Offset, PartitionId};

const PARTITIONS: u32 = 3;

/// What happens to a source's partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    /// It says that it is silent.
    Silent(u32),
    /// It brings a record.
    Speaks(u32),
    /// It is held back.
    HeldBack(u32),
    /// The command that it is idle, where it is or a record before.
    Idle(u32, u64),
    /// A floor is issued.
    Floor(i64),
    Ends(u32),
}

fn events() -> impl Strategy<Value = Event> {
    let partition = || 0..PARTITIONS;
    prop_oneof![
        4 => partition().prop_map(Event::Silent),
        3 => partition().prop_map(Event::Speaks),
        1 => partition().prop_map(Event::HeldBack),
        4 => (partition(), 0..2_u64).prop_map(|(it, back)| Event::Idle(it, back)),
        2 => (0..100_i64).prop_map(Event::Floor),
        1 => partition().prop_map(Event::Ends),
        1 => Just(Event::Floor(50)),
    ]
}

fn position(past: &[Event], partition: u32) -> u64 {
    past.iter()
        .filter(|it| **it == Event::Speaks(partition))
        .count() as u64
}

/// Whether a partition is silent after all of that: the last thing that it did was to say so, and nothing has been done
/// to it since.
fn is_silent(past: &[Event], partition: u32) -> bool {
    let about = |event: &&Event| match **event {
        Event::Silent(it) | Event::Speaks(it) | Event::HeldBack(it) | Event::Ends(it) => {
            it == partition
        }
        _ => false,
    };
    let last = past.iter().rposition(|event| about(&event));
    let Some(last) = last.filter(|&last| past[last] == Event::Silent(partition)) else {
        return false;
    };
    // A partition that is idle already says it to nobody, nor one that became it meanwhile.
    !is_idle(&past[..last], partition) && !is_idle(past, partition)
}

/// Whether it is idle: of all commands one came while it was silent where the command says, and it did nothing since.
fn is_idle(past: &[Event], partition: u32) -> bool {
    (0..past.len()).rev().any(|at| {
        let came = past[at] == Event::Idle(partition, 0) && is_silent(&past[..at], partition);
        let since = &past[at..];
        let woke = [Event::Speaks(partition), Event::Ends(partition)];
        came && !since.iter().any(|event| woke.contains(event))
    })
}

fn floor(past: &[Event]) -> Option<i64> {
    let floors = past.iter().filter_map(|event| match event {
        Event::Floor(floor) => Some(*floor),
        _ => None,
    });
    floors.max()
}

fn race(events: &[Event]) {
    let mut resting = Resting::default();
    let mut raised = Vec::new();
    for (now, event) in events.iter().enumerate() {
        let past = &events[..now];
        match *event {
            Event::Silent(partition) => {
                let at = Offset(position(past, partition));
                resting.fell_silent(PartitionId(partition), at);
            }
            Event::Speaks(partition) => {
                let (id, offset) = (PartitionId(partition), Offset(position(past, partition)));
                let raise = floor(past).map(|floor| Raise {
                    partition: id,
                    from: RaisedFrom {
                        offset,
                        floor: EventTime(floor),
                        found: false,
                    },
                });
                let expected = is_idle(past, partition).then_some(Speaks {
                    partition: id,
                    stood: EventTime(7),
                    raise,
                });
                assert_eq!(
                    resting.speaks(id, offset),
                    expected,
                    "{event:?} after {past:?}"
                );
                raised.extend(expected.and(raise));
            }
            Event::HeldBack(partition) => resting.held_back(|it| it.0 != partition),
            Event::Idle(partition, back) => {
                let command = Idle {
                    partition: PartitionId(partition),
                    position: Offset(position(past, partition).wrapping_sub(back)),
                };
                let obeyed = resting.obey(command, EventTime(7));
                let expected = back == 0 && is_silent(past, partition);
                assert_eq!(obeyed, expected, "{event:?} after {past:?}");
            }
            Event::Floor(floor) => resting.rise(Some(EventTime(floor))),
            Event::Ends(partition) => {
                let was_idle = resting.end(PartitionId(partition));
                assert_eq!(
                    was_idle,
                    is_idle(past, partition),
                    "{event:?} after {past:?}"
                );
            }
        }
        let past = &events[..=now];
        let idle: Vec<_> = (0..PARTITIONS).filter(|&it| is_idle(past, it)).collect();
        let found: Vec<_> = resting.idle().map(|it| it.0).collect();
        assert_eq!(found, idle, "after {past:?}");
    }
    assert_eq!(resting.take_raised(), raised);
    assert_eq!(resting.take_raised(), []);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn is_each_partition_idle_when_it_should_be(events in vec(events(), 0..40)) {
        race(&events);
    }
}

#[test]
fn is_news_told_once() {
    let (silences, mut resting) = (Silences::default(), Resting::default());
    let tell = |resting: &mut Resting| {
        let news = resting.news().cloned();
        if let Some(silent) = &news {
            silences.tell(1, silent);
        }
        news.is_some().then(|| silences.all())
    };
    assert_eq!(tell(&mut resting), None);
    let at = |position| Idle {
        partition: PartitionId(4),
        position: Offset(position),
    };
    resting.fell_silent(PartitionId(4), Offset(9));
    assert_eq!(tell(&mut resting), Some(vec![at(9)]));
    resting.fell_silent(PartitionId(4), Offset(9));
    assert_eq!(tell(&mut resting), None);
    resting.held_back(|_| true);
    assert_eq!(tell(&mut resting), None);
    resting.held_back(|_| false);
    assert_eq!(tell(&mut resting), Some(Vec::new()));
    resting.fell_silent(PartitionId(4), Offset(9));
    assert_eq!(tell(&mut resting), Some(vec![at(9)]));
    assert_eq!(resting.speaks(PartitionId(4), Offset(9)), None);
    assert_eq!(tell(&mut resting), Some(Vec::new()));
}

#[test]
fn is_a_raise_settled_only_if_all_of_it_was_seen() {
    let mut resting = Resting::default();
    resting.rise(Some(EventTime(5)));
    resting.resume(PartitionId(1), EventTime(3));
    resting.speaks(PartitionId(1), Offset(8));
    resting.finds(PartitionId(2), Offset(0));
    let passed = vec![
        (PartitionId(0), Offset(1)),
        (PartitionId(1), Offset(8)),
        (PartitionId(2), Offset(0)),
    ];
    assert_eq!(resting.settled(passed.clone()), passed[1..]);
    assert_eq!(resting.settled(passed), []);
}

#[test]
fn is_a_partition_found_until_it_brings_something() {
    let at = |offset, floor, found| {
        Some(RaisedFrom {
            offset: Offset(offset),
            floor: EventTime(floor),
            found,
        })
    };
    let id = PartitionId(1);
    let begun_before = Raise {
        partition: id,
        from: at(0, 3, true).unwrap(),
    };
    for is_resumed in [false, true] {
        let mut resting = Resting::default();
        resting.rise(Some(EventTime(5)));
        if is_resumed {
            resting.knows(&begun_before);
        } else {
            let raise = resting.finds(id, Offset(0));
            assert_eq!(raise.map(|it| it.from), at(0, 5, true));
        }
        let mut check = |offset: u64, floor: i64, expected| {
            resting.fell_silent(id, Offset(offset));
            let idle = Idle {
                partition: id,
                position: Offset(offset),
            };
            assert!(resting.obey(idle, EventTime(0)));
            resting.rise(Some(EventTime(floor)));
            let raise = resting.speaks(id, Offset(offset)).and_then(|it| it.raise);
            assert_eq!(raise.map(|it| it.from), expected);
        };
        check(0, 8, at(0, 8, true));
        check(7, 9, at(7, 9, false));
    }
}

#[test]
fn does_the_floor_go_by_the_active_and_never_fall() {
    let mut floors = Floors::new(2, Some(EventTime(10)));
    let mut check = |told: [(usize, Option<i64>); 2], expected: i64| {
        for (worker, least) in told {
            floors.hear(worker, least.map(EventTime));
        }
        assert_eq!(floors.raise(), Some(EventTime(expected)), "{told:?}");
        assert_eq!(floors.before_end(), Some(EventTime(expected)));
    };
    check([(0, Some(50)), (0, Some(50))], 10);
    check([(0, Some(50)), (1, Some(i64::MIN))], 10);
    check([(0, Some(50)), (1, Some(30))], 30);
    check([(0, Some(20)), (1, Some(60))], 30);
    check([(0, None), (1, Some(60))], 60);
    check([(0, None), (1, None)], 60);
    assert_eq!(floors.end(), Some(EventTime::MAX));
    assert_eq!(floors.issued(), Some(EventTime::MAX));
    assert_eq!(floors.before_end(), Some(EventTime(60)));
}
