//! Does the scripted source hand out exactly its records, in whatever order it was told?
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use proptest::collection::vec;
use proptest::prelude::{any, prop_assert, prop_assert_eq};
use slackwater_dataflow::source::Payload;

use super::*;

const ALL: Share = Share {
    worker: 0,
    workers: 1,
};

fn two_partitions() -> MemorySource {
    let records = |texts: &[&str]| texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    MemorySource::from_records([
        (PartitionId(3), records(&["x", "y\nz", ""])),
        (PartitionId(0), records(&["a", "bb", "c", "d"])),
    ])
    .unwrap()
}

/// Reads to the end: each poll as the text `partition:offset=record ... partition.`, `~` for a wait and
/// the message of an error.
fn polls(source: &MemorySource, share: Share, limit: usize) -> Vec<String> {
    let mut reader = source
        .open(share, &Starts::beginning(), Wake::nobody())
        .unwrap();
    let mut polls = Vec::new();
    loop {
        let mut seen = Vec::new();
        let readiness = reader.poll(Demand::of_all(limit), &mut |polled| {
            match polled {
                Polled::Record {
                    partition,
                    offset,
                    payload: Payload::Whole(record),
                    ..
                } => {
                    let record = String::from_utf8_lossy(record);
                    seen.push(format!("{partition}:{offset}={record}"));
                }
                Polled::Finished(partition) => seen.push(format!("{partition}.")),
                other => panic!("{other:?}"),
            }
            ControlFlow::Continue(())
        });
        match readiness {
            Err(ref error) => seen.push(error.to_string()),
            Ok(Readiness::LookAgain(_) | Readiness::Waiting) => seen.push("~".to_owned()),
            Ok(_) => {}
        }
        polls.push(seen.join(" "));
        if matches!(readiness, Err(_) | Ok(Readiness::Finished)) {
            return polls;
        }
    }
}

#[test]
fn does_each_schedule_read_as_told() {
    let source = two_partitions();
    let check = |schedule, limit, expected: &[&str]| {
        let source = source.clone().with_schedule(schedule);
        assert_eq!(polls(&source, ALL, limit), expected);
    };
    check(
        Schedule::InTurn,
        2,
        &[
            "0:0=a 0:2=bb",
            "3:0=x 3:2=y\nz",
            "0:5=c 0:7=d 0.",
            "3:6= 3.",
        ],
    );
    let read = |partition, records| Turn::Read {
        partition: PartitionId(partition),
        records,
    };
    let script = [read(3, 1), Turn::Wait, read(3, 9), read(3, 1), read(0, 1)];
    check(
        Schedule::Script(script.into()),
        5,
        &[
            "3:0=x",
            "~",
            "3:2=y\nz 3:6= 3.",
            "0:0=a",
            "0:2=bb 0:5=c 0:7=d 0.",
        ],
    );
}

#[test]
fn does_it_fail_at_the_record_it_was_told() {
    let source = two_partitions().failing_at(PartitionId(3), 1);
    assert_eq!(
        polls(&source, ALL, 10),
        [
            "0:0=a 0:2=bb 0:5=c 0:7=d 0.",
            "3:0=x cannot read partition 3 of memory: told to fail"
        ]
    );
    let twice = [(PartitionId(1), vec![]), (PartitionId(1), vec![])];
    assert!(MemorySource::from_records(twice).is_err());
}

#[test]
fn are_lines_cut_as_a_file_would_be() {
    let check = |lines: &str, expected: &str| {
        let partition = (PartitionId(0), Arc::from(lines.as_bytes()));
        let source = MemorySource::from_lines([partition]).unwrap();
        assert_eq!(polls(&source, ALL, 10), [expected], "{lines:?}");
    };
    check("", "0.");
    check("\n", "0:0= 0.");
    check("a\r\n\nbc", "0:0=a 0:3= 0:4=bc 0.");
    check("a\nb\n", "0:0=a 0:2=b 0.");
}

#[test]
fn are_long_records_cut() {
    let source = two_partitions().with_max_bytes(2);
    let mut cut = Vec::new();
    let mut reader = source
        .open(ALL, &Starts::beginning(), Wake::nobody())
        .unwrap();
    while reader
        .poll(Demand::of_all(9), &mut |polled| {
            if let Polled::Record {
                payload: Payload::Oversize { head, length, .. },
                ..
            } = polled
            {
                cut.push((head.to_vec(), length));
            }
            ControlFlow::Continue(())
        })
        .unwrap()
        != Readiness::Finished
    {}
    assert_eq!(cut, [(b"y\nz".to_vec(), 3)]);
}

proptest::proptest! {
    #[test]
    fn does_any_seed_hand_out_everything_once_and_in_order(
        sizes in vec(0_usize..30, 1..6),
        seed in any::<u64>(),
        workers in 1_usize..4,
        limit in 1_usize..9,
    ) {
        let contents: Vec<_> = (0..).map(PartitionId).zip(sizes.iter().map(|&size| {
            (0..size).map(|n| n.to_string().into_bytes()).collect::<Vec<_>>()
        })).collect();
        let source = MemorySource::from_records(contents.clone())
            .unwrap()
            .with_schedule(Schedule::Seeded(seed));
        let mut seen: BTreeMap<PartitionId, Vec<Vec<u8>>> = BTreeMap::new();
        let mut ended = Vec::new();
        for worker in 0..workers {
            let mut reader = source.open(Share { worker, workers }, &Starts::beginning(), Wake::nobody()).unwrap();
            loop {
                let mut records = 0;
                let readiness = reader.poll(Demand::of_all(limit), &mut |polled| {
match polled {
                    Polled::Record { partition, payload: Payload::Whole(record), .. } => {
                        records += 1;
                        seen.entry(partition).or_default().push(record.to_vec());
                    }
                    Polled::Finished(partition) => {
                        seen.entry(partition).or_default();
                        ended.push(partition);
                    }
                    other => panic!("{other:?}"),
                }
ControlFlow::Continue(())
}).unwrap();
                prop_assert!(records <= limit);
                if readiness == Readiness::Finished {
                    break;
                }
            }
        }
        ended.sort();
        let ids: Vec<_> = contents.iter().map(|&(id, _)| id).collect();
        prop_assert_eq!(ended, ids);
        prop_assert_eq!(seen.into_iter().collect::<Vec<_>>(), contents);
    }
}
