//! Does a manifest say of each partition what a run that goes on from it has to know, and no more?

use std::sync::Arc;

use crate::checkpoint::manifest::PartitionPosition;
use crate::checkpoint::partitions::{Partitions, RAISED_MAX};
use crate::control::{PartitionCut, SourceCut};
use crate::idleness::{Idle, Raise, RaisedFrom};
use crate::moment::EventTime;
use crate::place::{Mark, Offset, PartitionId};
use crate::source::Partition;

fn partition(id: u32) -> Partition {
    Partition::new(PartitionId(id), Arc::from(format!("t{id}")))
}

fn of(ids: &[u32]) -> Partitions {
    Partitions::new(ids.iter().map(|&id| partition(id)).collect())
}

fn at(partition: u32, position: u64, finished: bool) -> PartitionCut {
    PartitionCut {
        partition: PartitionId(partition),
        position: Offset(position),
        mark: Some(Mark(position as u32)),
        highest: None,
        finished,
    }
}

fn cut(partitions: &[PartitionCut]) -> SourceCut {
    SourceCut {
        partitions: partitions.to_vec(),
        ..SourceCut::default()
    }
}

fn idle(partition: u32, position: u64) -> Idle {
    Idle {
        partition: PartitionId(partition),
        position: Offset(position),
    }
}

fn from(offset: u64, floor: i64, found: bool) -> RaisedFrom {
    RaisedFrom {
        offset: Offset(offset),
        floor: EventTime(floor),
        found,
    }
}

fn raise(partition: u32, offset: u64, floor: i64) -> Raise {
    Raise {
        partition: PartitionId(partition),
        from: from(offset, floor, false),
    }
}

/// What a manifest says, in few words: `id@position`, `idle`, raises.
fn words(positions: &[PartitionPosition]) -> String {
    let words = positions.iter().map(|it| {
        let idle = if it.idle { " idle" } else { "" };
        let raised = it.raised.iter().map(|raise| {
            let found = if raise.found { " found" } else { "" };
            format!(" {}>{}{found}", raise.offset, raise.floor)
        });
        let raised: String = raised.collect();
        format!("{}@{}{idle}{raised}", it.id, it.position)
    });
    words.collect::<Vec<_>>().join(", ")
}

#[test]
fn is_a_partition_idle_only_where_it_was_silent() {
    let mut all = of(&[0, 1, 2, 3]);
    all.take_in(cut(&[
        at(0, 10, false),
        at(1, 10, false),
        at(2, 10, false),
        at(3, 10, true),
    ]));
    // The second moves before the command is there; of the third it is of a time that no manifest holds yet.
    all.idle(&[idle(0, 10), idle(1, 9), idle(2, 11), idle(3, 10)]);
    assert_eq!(words(&all.positions()), "0@10 idle, 1@10, 2@10, 3@10");
    assert_eq!(all.idle_now(), [PartitionId(0)]);
    all.take_in(cut(&[at(2, 11, false)]));
    assert_eq!(words(&all.positions()), "0@10 idle, 1@10, 2@11 idle, 3@10");
    // It woke.
    all.take_in(cut(&[at(0, 20, false)]));
    assert_eq!(words(&all.positions()), "0@20, 1@10, 2@11 idle, 3@10");
    let mut again = of(&[0, 1, 2, 3]);
    again.resume(all.positions(), None);
    assert_eq!(again.positions(), all.positions());
    assert_eq!(again.idle_now(), [PartitionId(2)]);
}

#[test]
fn is_what_partitions_were_raised_to_carried_on_until_it_is_known_to_be_of_no_effect() {
    let mut all = of(&[0, 1]);
    let mut woke = cut(&[at(0, 20, false), at(1, 30, false)]);
    woke.raised = vec![raise(0, 10, 100), raise(1, 15, 100)];
    all.take_in(woke);
    let mut again = of(&[0, 1]);
    again.resume(all.positions(), Some(EventTime(100)));
    assert_eq!(words(&again.positions()), "0@20 10>100, 1@30 15>100");
    assert_eq!(again.last_raised(), [raise(0, 10, 100), raise(1, 15, 100)]);
    let mut woke = cut(&[at(0, 40, false)]);
    woke.raised = vec![raise(0, 20, 150)];
    woke.passed = vec![(PartitionId(1), Offset(15)), (PartitionId(0), Offset(11))];
    again.take_in(woke);
    assert_eq!(words(&again.positions()), "0@40 10>100 20>150, 1@30");
    assert_eq!(again.last_raised(), [raise(0, 20, 150)]);
}

#[test]
fn is_a_partition_that_is_found_raised_to_the_floor_from_its_beginning() {
    let mut all = of(&[0]);
    all.found(&[partition(1)], None);
    all.found(&[partition(2)], Some(EventTime(70)));
    assert_eq!(words(&all.positions()), "0@0, 1@0, 2@0 0>70 found");
    // It was idle before it brought anything.
    let mut woke = cut(&[at(2, 5, false)]);
    woke.raised = vec![Raise {
        partition: PartitionId(2),
        from: from(0, 90, true),
    }];
    all.take_in(woke);
    assert_eq!(words(&all.positions()), "0@0, 1@0, 2@5 0>90 found");
    // A run that begins finds one more.
    let mut again = of(&[0, 1, 2, 3]);
    again.resume(all.positions(), Some(EventTime(95)));
    let expected = "0@0, 1@0, 2@5 0>90 found, 3@0 0>95 found";
    assert_eq!(words(&again.positions()), expected);
    assert_eq!(again.positions().last().unwrap().topic, "t3");
}

#[test]
fn is_what_is_kept_bounded() {
    let mut all = of(&[0, 1]);
    let most = RAISED_MAX as u64;
    for offset in 0..most + 10 {
        let mut woke = cut(&[]);
        woke.raised = vec![raise(0, offset, offset as i64)];
        all.take_in(woke);
    }
    let mut woke = cut(&[]);
    woke.raised = vec![raise(1, 3, 3)];
    all.take_in(woke);
    let positions = all.positions();
    assert_eq!(positions[0].raised.len() as u64, most - 1);
    assert_eq!(
        positions[0].raised.last(),
        Some(&from(most + 9, most as i64 + 9, false))
    );
    assert_eq!(positions[1].raised, [from(3, 3, false)]);
}
