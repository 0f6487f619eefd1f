//! Are the generator's events the ones that its settings promise, whoever reads them and however?
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use proptest::prelude::{ProptestConfig, prop_assert, prop_assert_eq};
use slackwater_dataflow::clock::{Clock, ManualClock};
use slackwater_dataflow::source::{
    Demand, Payload, Polled, Readiness, Share, Source, Start, Starts, Wake,
};

use super::*;
use crate::generator::templates::{BadRow, Event, Variety};

const MAX_BYTES: usize = 1024 * 1024;

fn small() -> GeneratorConfig {
    GeneratorConfig {
        events: 20_000,
        users: 1_000,
        ..GeneratorConfig::default()
    }
}

/// The lines of all partitions, as `generate` writes them.
fn written(generator: &Generator) -> Vec<Vec<Vec<u8>>> {
    (0..generator.config().partitions)
        .map(|partition| {
            let mut bytes = Vec::new();
            let count = generator.write_partition(PartitionId(partition), &mut bytes);
            let mut lines: Vec<_> = bytes.split(|&b| b == b'\n').map(<[u8]>::to_vec).collect();
            assert_eq!(lines.pop().unwrap(), b"", "the last line ends");
            assert_eq!(lines.len() as u64, count.unwrap());
            lines
        })
        .collect()
}

/// A clock that nothing here asks: there is no rate.
fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::default())
}

/// The records of all partitions, as readers of `workers` shares hand them out.
fn read(generator: &Generator, workers: usize, limit: usize) -> Vec<Vec<Vec<u8>>> {
    let source = GeneratorSource::new(generator.clone(), MAX_BYTES, clock());
    let mut partitions = vec![Vec::new(); source.partitions().len()];
    let mut ended = Vec::new();
    for worker in 0..workers {
        let mut reader = source
            .open(
                Share { worker, workers },
                &Starts::beginning(),
                Wake::nobody(),
            )
            .unwrap();
        let mut handed_out = 0;
        while reader
            .poll(Demand::of_all(limit), &mut |polled| {
                match polled {
                    Polled::Record {
                        partition,
                        offset,
                        payload: Payload::Whole(record),
                        ..
                    } => {
                        let records = &mut partitions[partition.0 as usize];
                        assert_eq!(offset.0, records.len() as u64);
                        records.push(record.to_vec());
                        handed_out += 1;
                    }
                    Polled::Finished(partition) => ended.push(partition.0),
                    other => panic!("{other:?}"),
                }
                ControlFlow::Continue(())
            })
            .unwrap()
            != Readiness::Finished
        {
            assert!(handed_out <= limit);
            handed_out = 0;
        }
    }
    ended.sort_unstable();
    assert_eq!(
        ended,
        (0..generator.config().partitions).collect::<Vec<_>>()
    );
    partitions
}

/// User and time of an event in the usual form; none for any other text.
fn parse(line: &[u8]) -> Option<(u32, i64)> {
    let text = std::str::from_utf8(line).ok()?;
    let mut numbers = text.split(|c: char| !c.is_ascii_digit());
    let mut next = || numbers.by_ref().find(|part| !part.is_empty());
    let user = next()?.parse().ok()?;
    let product = next()?.parse().ok()?;
    let time_ms = next()?.parse().ok()?;
    let is_plain = (0..100).any(|event_type_percent| {
        let mut plain = Vec::new();
        let event = Event {
            user,
            product,
            event_type_percent,
            time_ms,
        };
        templates::plain(&mut plain, &event);
        plain == line
    });
    is_plain.then_some((user, time_ms))
}

#[test]
fn is_the_content_the_same_for_any_share_and_limit() {
    let generator = Generator::new(small()).unwrap();
    let expected = written(&generator);
    for (workers, limit) in [(1, 1), (1, 1_000), (2, 7), (3, 64), (7, 100_000)] {
        assert_eq!(read(&generator, workers, limit), expected);
    }
    let other = GeneratorConfig { seed: 2, ..small() };
    assert_ne!(written(&Generator::new(other).unwrap()), expected);
}

#[test]
fn is_the_content_the_same_on_every_machine() {
    // Files of events, golden outputs and old figures rest on it: a change here changes them all.
    let generator = Generator::new(small()).unwrap();
    let all: Vec<u8> = written(&generator).concat().concat();
    assert_eq!(
        generator.partition_events().collect::<Vec<_>>(),
        [3536, 5252, 7650, 3562]
    );
    assert_eq!(xxhash_rust::xxh3::xxh3_64(&all), 9_731_283_044_244_529_128);
}

#[test]
fn are_events_spread_as_set() {
    let config = GeneratorConfig {
        events: 200_000,
        invalid: 0.04,
        late: 0.02,
        ..GeneratorConfig::default()
    };
    let generator = Generator::new(config.clone()).unwrap();
    let mut users: BTreeMap<u32, u64> = BTreeMap::new();
    let (mut other, mut late, mut ahead) = (0, 0, 0);
    for lines in written(&generator) {
        let mut newest = i64::MIN;
        for line in &lines {
            let Some((user, time)) = parse(line) else {
                other += 1;
                continue;
            };
            *users.entry(user).or_default() += 1;
            if newest != i64::MIN && time < newest - 2_000 {
                assert!((3_000..=62_000 + 500).contains(&(newest - time)));
                late += 1;
            } else if time > newest.max(config.start_ms) + 3_600_000 {
                ahead += 1;
            } else {
                assert!(newest == i64::MIN || time >= newest - 1_000, "well inside");
                newest = newest.max(time);
            }
        }
        let end = config.start_ms + config.events as i64;
        assert!((end - 1_000..end).contains(&newest), "all end in step");
    }
    let check = |what: &str, found: u64, share: f64| {
        let expected = share * config.events as f64;
        let error = (found as f64 - expected).abs();
        assert!(
            error <= 5.0 * expected.sqrt(),
            "{what}: {found} for {expected}"
        );
    };
    check("late", late, 0.02);
    check("ahead", ahead, 0.04 / 5.0);
    check("unusual or bad", other, 0.04 * 4.0 / 5.0 + 0.94 * 0.01);
    let harmonic: f64 = (1..=100_000).map(|rank| 1.0 / f64::from(rank)).sum();
    let usual = 1.0 - 0.04 * 4.0 / 5.0 - 0.94 * 0.01;
    for user in [0, 1, 2, 9, 99, 999] {
        let share = usual / harmonic / f64::from(user + 1);
        check("user", users[&user], share);
    }
}

#[test]
fn are_all_rows_of_bad_events_and_all_forms_used_alike() {
    let config = GeneratorConfig {
        events: 3_000,
        partitions: 1,
        users: 1,
        invalid: 1.0,
        late: 0.0,
        ..GeneratorConfig::default()
    };
    let lines = written(&Generator::new(config).unwrap()).concat();
    let count = |test: &dyn Fn(&str) -> bool| {
        let texts = lines.iter().map(|line| std::str::from_utf8(line).unwrap());
        texts.filter(|text| test(text)).count()
    };
    let check = |expected, parts: &[&str]| {
        let found = count(&|text| parts.iter().all(|part| text.contains(part)));
        assert_eq!(found, expected, "{parts:?}");
    };
    assert_eq!(BadRow::ALL.len() * 600, lines.len());
    check(200, &[r#""user_id":"""#]);
    check(200, &[r#""user_id":null"#]);
    check(200, &[r#"{"product_id""#, "}"]);
    for time in [r#""abc"}"#, "1.5}", "1e3}", "true}", "null}"] {
        check(120, &[&format!(r#""timestamp_ms":{time}"#)]);
    }
    check(600, &[r#""category":"","#]);
    // The large one takes the turn of one of these.
    check(119, &["was here"]);
    check(120, &["[[[["]);
    check(1, &["xxxxxxxx"]);
    assert_eq!(count(&|text| text.starts_with(r#"["user_0","#)), 120);
    assert_eq!(count(&|text| text.len() > MAX_BYTES), 1);
}

#[test]
fn is_a_large_record_handed_out_as_oversize() {
    let config = GeneratorConfig {
        events: 1_000,
        partitions: 1,
        invalid: 1.0,
        late: 0.0,
        ..GeneratorConfig::default()
    };
    let source = GeneratorSource::new(Generator::new(config).unwrap(), MAX_BYTES, clock());
    let share = Share {
        worker: 0,
        workers: 1,
    };
    let mut lengths = Vec::new();
    let mut emit = |polled: Polled<'_>| {
        if let Polled::Record {
            payload: Payload::Oversize { length, .. },
            ..
        } = polled
        {
            lengths.push(length);
        }
        ControlFlow::Continue(())
    };
    let mut reader = source
        .open(share, &Starts::beginning(), Wake::nobody())
        .unwrap();
    while reader.poll(Demand::of_all(100), &mut emit).unwrap() != Readiness::Finished {}
    assert!(matches!(lengths[..], [length] if length > MAX_BYTES as u64));
}

#[test]
fn do_partitions_hold_exactly_their_users() {
    let config = GeneratorConfig {
        partitions: 3,
        users: 50,
        skew: 0.0,
        ..small()
    };
    let generator = Generator::new(config).unwrap();
    let mut seen = BTreeSet::new();
    for (partition, lines) in (0..).zip(written(&generator)) {
        for (user, _) in lines.iter().filter_map(|line| parse(line)) {
            let hash = xxhash_rust::xxh3::xxh3_64(format!("user_{user}").as_bytes());
            assert_eq!(hash % 3, partition);
            seen.insert(user);
        }
    }
    assert_eq!(seen.len(), 50);
}

#[test]
fn is_a_rate_kept_by_the_clock() {
    let clock = Arc::new(ManualClock::at(5_000));
    let config = GeneratorConfig {
        rate: 1_000,
        events: 3_000,
        ..small()
    };
    let source = GeneratorSource::new(Generator::new(config).unwrap(), MAX_BYTES, clock.clone());
    let share = Share {
        worker: 0,
        workers: 1,
    };
    let mut reader = source
        .open(share, &Starts::beginning(), Wake::nobody())
        .unwrap();
    let mut records = 0_u64;
    // Reads until nothing is due.
    let mut drain = || loop {
        let readiness = reader.poll(Demand::of_all(10), &mut |polled| {
            records += u64::from(matches!(polled, Polled::Record { .. }));
            ControlFlow::Continue(())
        });
        match readiness.unwrap() {
            Readiness::More => {}
            done => return (records, done),
        }
    };
    for second in 0..3_u64 {
        let (found, readiness) = drain();
        assert!(
            matches!(readiness, Readiness::LookAgain(_)),
            "{readiness:?}"
        );
        // The first of each partition is due at once.
        let expected = second * 1_000;
        assert!((expected..=expected + 4).contains(&found), "{found}");
        clock.set(clock.wall_ms() + 1_000);
    }
    assert_eq!(drain(), (3_000, Readiness::Finished));
}

#[test]
fn does_a_rate_go_on_where_the_job_was() {
    let clock = Arc::new(ManualClock::at(5_000));
    let config = GeneratorConfig {
        rate: 1_000,
        events: 3_000,
        ..small()
    };
    let generator = Generator::new(config).unwrap();
    let all = generator.partition_events().next().unwrap();
    let source = GeneratorSource::new(generator, MAX_BYTES, clock.clone());
    let share = Share {
        worker: 0,
        workers: 1,
    };
    let mut starts = Starts::beginning();
    let (mut records, mut ended) = (0_u64, 0);
    // Each second of the job a new reader, and a long time between them.
    for second in 1..=3_u64 {
        let mut reader = source.open(share, &starts, Wake::nobody()).unwrap();
        for _ in 0..=1_000 {
            clock.set(clock.wall_ms() + 1);
            while reader
                .poll(Demand::of_all(10), &mut |polled| {
                    match polled {
                        Polled::Record { .. } => records += 1,
                        Polled::Finished(_) => ended += 1,
                        Polled::Silent(_) => unreachable!("it is never silent"),
                    }
                    ControlFlow::Continue(())
                })
                .unwrap()
                == Readiness::More
            {}
        }
        let expected = second * 1_000;
        assert!(
            (expected - 8..=expected + 4).contains(&records),
            "{records}"
        );
        let positions = source.partitions().iter().filter_map(|p| {
            let position = reader.position(p.id)?;
            Some((p.id, Start::At(position)))
        });
        starts = positions.collect();
        clock.set(clock.wall_ms() + 1_000_000);
    }
    assert_eq!((records, ended), (3_000, 4));
    // One partition stood still: it has all that was due at once, the others go on.
    let starts: Starts = (1..4).map(|id| (PartitionId(id), Start::Ended)).collect();
    let mut reader = source.open(share, &starts, Wake::nobody()).unwrap();
    let mut late = 0;
    while reader
        .poll(Demand::of_all(10), &mut |polled| {
            late += u64::from(matches!(polled, Polled::Record { .. }));
            ControlFlow::Continue(())
        })
        .unwrap()
        == Readiness::More
    {}
    assert!((all - 2..=all).contains(&late), "{late} of {all}");
}

#[test]
fn are_impossible_settings_refused_by_name() {
    let check = |change: &dyn Fn(&mut GeneratorConfig), expected: &str| {
        let mut config = small();
        change(&mut config);
        let message = Generator::new(config).unwrap_err().to_string();
        assert_eq!(message, format!("generator: {expected}"));
    };
    check(
        &|config| config.partitions = 0,
        "partitions is 0, expected 1 to 1024",
    );
    check(
        &|config| config.users = 0,
        "users is 0, expected 1 to 10000000",
    );
    check(
        &|config| config.skew = f64::NAN,
        "skew is NaN, expected 0 to 10",
    );
    check(
        &|config| config.late = -0.5,
        "late is -0.5, expected 0 to 1",
    );
    check(
        &|config| (config.invalid, config.late) = (0.75, 0.5),
        "invalid + late is 1.25, expected 0 to 1",
    );
}

proptest::proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn is_skipping_events_generating_them(
        events in 0_u64..300,
        partitions in 1_u32..4,
        skew in 0.0_f64..3.0,
        (invalid, late) in (0.0_f64..0.5, 0.0_f64..0.5),
        seed in 0_u64..1_000,
        max_out_of_orderness_ms in 0_u64..5_000,
    ) {
        let config = GeneratorConfig {
            seed, events, partitions, users: 30, skew, invalid, late, max_out_of_orderness_ms,
            ..GeneratorConfig::default()
        };
        let generator = Generator::new(config).unwrap();
        for (partition, lines) in (0..).map(PartitionId).zip(written(&generator)) {
            for skipped in 0..=lines.len() {
                let mut stream = generator.stream(partition).unwrap();
                prop_assert!(stream.skip(skipped as u64));
                // The rest of all events follows from the next few and the state behind them.
                for line in lines.iter().skip(skipped).take(5) {
                    let mut text = Vec::new();
                    prop_assert!(stream.append_next(&mut text));
                    prop_assert_eq!(&text, line);
                }
                let left = lines.len().saturating_sub(skipped + 5) as u64;
                prop_assert!(stream.skip(left) && stream.is_finished() && !stream.skip(1));
            }
        }
    }

    #[test]
    fn do_counts_add_up_for_any_settings(
        events in 0_u64..3_000,
        partitions in 1_u32..20,
        users in 1_u32..40,
        skew in 0.0_f64..10.0,
        invalid in 0.0_f64..0.5,
        late in 0.0_f64..0.5,
        seed in 0_u64..1_000,
        max_out_of_orderness_ms in 0_u64..5_000,
    ) {
        let config = GeneratorConfig {
            seed, events, partitions, users, skew, invalid, late, max_out_of_orderness_ms,
            ..GeneratorConfig::default()
        };
        let generator = Generator::new(config).unwrap();
        prop_assert_eq!(generator.partition_events().sum::<u64>(), events);
        let lines: Vec<_> = written(&generator).iter().map(|lines| lines.len() as u64).collect();
        prop_assert_eq!(lines, generator.partition_events().collect::<Vec<_>>());
    }
}

#[test]
fn are_all_varieties_used() {
    let lines = written(&Generator::new(small()).unwrap()).concat();
    let texts: Vec<_> = lines.iter().map(|l| String::from_utf8_lossy(l)).collect();
    let marks = ["session", "größe", r#"{"timestamp_ms""#, "{ \t"];
    assert_eq!(marks.len(), Variety::ALL.len());
    for mark in marks {
        let found = texts.iter().filter(|text| text.contains(mark)).count();
        assert!((30..=70).contains(&found), "{mark}: {found}");
    }
}
