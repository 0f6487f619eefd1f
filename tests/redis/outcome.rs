//! What became of each event of a job that could not always look things up, and whether that is what its policy says.
//!
//! Two jobs that look nothing up say what must come out: one scores each event with what Redis has, the other with the default.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use serde_json::Value;

use crate::content::{STREAMS, committed, digest};
use crate::faults::Outage;
use crate::scene::place;

/// Within which scoring has to go on when Redis is back.
pub const RESUMES_MS: f64 = 2_000.0;

/// A committed record.
struct Record {
    stream: &'static str,
    user: Option<String>,
    /// The score, if it has one.
    score: Option<f64>,
    /// The code, if its lookup has failed.
    failed: Option<String>,
    /// When that was decided, in milliseconds since 1970.
    at_ms: f64,
    /// Of all else.
    digest: u64,
}

/// All records that a job has committed.
pub struct Records {
    by_place: BTreeMap<(u64, u64), Record>,
    /// The places of each user's scored events, in the order in which they were written.
    orders: HashMap<String, Vec<(u64, u64)>>,
}

impl Records {
    pub fn read(outputs: &Path) -> Self {
        let mut records = Records {
            by_place: BTreeMap::new(),
            orders: HashMap::new(),
        };
        for stream in STREAMS {
            for shard in 0..2 {
                for line in committed(outputs, stream, shard).lines() {
                    records.add(stream, line);
                }
            }
        }
        records
    }

    fn add(&mut self, stream: &'static str, line: &str) {
        let value: Value = serde_json::from_str(line).unwrap();
        let place = place(&value);
        let user = value["user_id"].as_str().map(str::to_owned);
        if let Some(user) = &user {
            let order = self.orders.entry(user.clone()).or_default();
            order.push(place);
        }
        let failed = (value["stage"] == "lookup").then(|| value["code"].as_str());
        let seconds = value["timestamp"].as_f64().unwrap_or_default();
        let record = Record {
            stream,
            user,
            score: value["prediction"].as_f64(),
            failed: failed.flatten().map(str::to_owned),
            at_ms: value["processing_time"].as_f64().unwrap_or(seconds * 1e3),
            digest: without_score(line),
        };
        let before = self.by_place.insert(place, record);
        assert!(before.is_none(), "{place:?} twice: {line}");
    }

    pub fn len(&self) -> usize {
        self.by_place.len()
    }
}

/// The digest of a line but for its score.
fn without_score(line: &str) -> u64 {
    const SCORE: &str = "\"prediction\":";
    let Some(at) = line.find(SCORE) else {
        return digest(line);
    };
    let (before, after) = line.split_at(at + SCORE.len());
    let end = after.find([',', '}']).unwrap();
    digest(&format!("{before}_{}", &after[end..]))
}

/// What a policy lets become of an event whose lookup fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failed {
    /// It is scored with the default.
    Default,
    /// It is a dead letter.
    DeadLetter,
    /// Nothing: the job fails, and comes back.
    Nothing,
}

/// An event, and when that was decided.
#[derive(Clone, Copy, Debug)]
struct Decided {
    is_looked_up: bool,
    at_ms: f64,
}

/// What became of all events.
#[derive(Debug, Default)]
pub struct Outcome {
    decided: Vec<Decided>,
    /// Events whose lookup has failed, as can be seen: by the name of what was done.
    pub failed: BTreeMap<String, u64>,
}

impl Outcome {
    /// Compares what a job has written with what there must be: each event once, in its user's order, scored with what Redis
    /// has, or with what the policy says.
    pub fn of(found: &Records, with: &Records, without: &Records, policy: Failed) -> Self {
        assert_eq!(found.len(), with.len(), "each event once");
        let mut outcome = Outcome::default();
        for (place, record) in &found.by_place {
            let (with, without) = (&with.by_place[place], &without.by_place[place]);
            if let Some(code) = &record.failed {
                assert_eq!(policy, Failed::DeadLetter, "{place:?}: {code}");
                assert_eq!(with.stream, "ml_predictions", "{place:?}: {code}");
                assert!(
                    ["lookup_timeout", "lookup_unavailable"].contains(&code.as_str()),
                    "{place:?}: {code}"
                );
                outcome.add(false, record.at_ms, code);
                continue;
            }
            assert_eq!(
                (record.stream, record.digest),
                (with.stream, with.digest),
                "{place:?}"
            );
            let is_same = with.score == without.score;
            if record.score == with.score {
                // Of some the score is the same anyway.
                if !is_same {
                    outcome.add(true, record.at_ms, "");
                }
                continue;
            }
            assert_eq!(record.score, without.score, "{place:?} has nobody's score");
            assert_eq!(policy, Failed::Default, "{place:?}");
            outcome.add(false, record.at_ms, "default");
        }
        for (user, order) in &with.orders {
            let is_scored = |place: &&(u64, u64)| found.by_place[place].user.is_some();
            let expected: Vec<_> = order.iter().filter(is_scored).copied().collect();
            let found = found.orders.get(user).map_or(&[][..], Vec::as_slice);
            assert_eq!(found, expected, "the order of {user}");
        }
        outcome
    }

    fn add(&mut self, is_looked_up: bool, at_ms: f64, what: &str) {
        let decided = Decided {
            is_looked_up,
            at_ms,
        };
        self.decided.push(decided);
        if !is_looked_up {
            *self.failed.entry(what.to_owned()).or_default() += 1;
        }
    }

    /// For each time that Redis came back, after how many milliseconds an event was scored with what it has.
    pub fn resumed_ms(&self, outages: &[Outage]) -> Vec<f64> {
        let returns = outages.iter().filter_map(|outage| outage.until_ms);
        let first = |back_ms: f64| {
            let after = self.decided.iter().filter(|it| it.is_looked_up);
            let after = after.filter(|it| it.at_ms >= back_ms);
            let first = after.map(|it| it.at_ms).fold(f64::INFINITY, f64::min);
            first - back_ms
        };
        returns.map(first).collect()
    }

    /// Of the events that were decided when Redis had been there for long enough, how many were looked up and how many not.
    pub fn with_redis(&self, outages: &[Outage]) -> (u64, u64) {
        let starts = outages.iter().skip(1).map(|outage| outage.from_ms);
        let ends = starts.chain([f64::INFINITY]);
        let spans: Vec<(f64, f64)> = outages
            .iter()
            .zip(ends)
            .filter_map(|(outage, end)| Some((outage.until_ms? + RESUMES_MS, end)))
            .collect();
        let mut counts = (0, 0);
        for decided in &self.decided {
            let is_in = |(from, to): &(f64, f64)| (*from..*to).contains(&decided.at_ms);
            if spans.iter().any(is_in) {
                match decided.is_looked_up {
                    true => counts.0 += 1,
                    false => counts.1 += 1,
                }
            }
        }
        counts
    }
}

#[test]
fn is_it_seen_when_scoring_resumes() {
    let mut outcome = Outcome::default();
    for (is_looked_up, at_ms) in [
        (true, 50.0),
        (false, 150.0),
        (false, 350.0),
        (true, 400.0),
        (false, 5_000.0),
        (true, 5_100.0),
    ] {
        outcome.add(is_looked_up, at_ms, "default");
    }
    let outage = |from_ms, until_ms| Outage { from_ms, until_ms };
    let outages = [
        outage(100.0, Some(300.0)),
        outage(4_000.0, Some(4_950.0)),
        outage(6_000.0, None),
    ];
    assert_eq!(outcome.resumed_ms(&outages), [100.0, 150.0]);
    assert_eq!(outcome.with_redis(&outages), (0, 0));
    assert_eq!(outcome.with_redis(&outages[..1]), (1, 1));
    assert_eq!(
        outcome.resumed_ms(&[outage(5_200.0, Some(5_300.0))]),
        [f64::INFINITY]
    );
}
