//! Made-up events as JSON lines: the same ones for the same number of them, evenly over hours or over months.

use std::io::{self, Write};

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Different values of the fields that are keys.
pub const WHO: u64 = 10_000;
pub const WHAT: u64 = 1_000;
pub const WHERE: u64 = 100;
/// The texts of a field.
pub const KINDS: [&str; 5] = ["view", "click", "cart", "order", "return"];
/// Other events for another one.
const SEED: u64 = 7;
/// From when on, in milliseconds since 1970: the first day of 2026.
const BEGIN_MS: u64 = 1_767_225_600_000;
/// Over how long they happen when they are dense: an hour is a third of it.
const DENSE_MS: u64 = 3 * 3_600 * 1_000;

/// When events happen. All else is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// Over three hours.
    Dense,
    /// Over ninety days: each time as many times later as thirty days are longer than an hour, so that a window of thirty days
    /// holds here the events that one of an hour holds there.
    Sparse,
}

impl Times {
    /// Both.
    pub const ALL: [Times; 2] = [Times::Dense, Times::Sparse];

    /// The file of its events.
    pub const fn file(self) -> &'static str {
        match self {
            Times::Dense => "dense.jsonl",
            Times::Sparse => "sparse.jsonl",
        }
    }

    const fn factor(self) -> u64 {
        match self {
            Times::Dense => 1,
            Times::Sparse => 30 * 24,
        }
    }
}

/// A number from 0 to 1, without 1.
fn share(of: u64, which: u64) -> f64 {
    let random = xxh3_64_with_seed(&of.to_le_bytes(), SEED + which);
    // As many bits as the number keeps.
    (random >> 11) as f64 / (1_u64 << 53) as f64
}

fn one_of(of: u64, which: u64, count: u64) -> u64 {
    (share(of, which) * count as f64) as u64
}

/// Somebody, of whom the nth sends as many events as 1 / n says: Zipf's distribution with exponent 1, nearly.
fn who(of: u64) -> u64 {
    ((WHO as f64).powf(share(of, 0)) as u64).min(WHO) - 1
}

/// Writes so many events.
///
/// # Errors
/// When they cannot be written.
pub fn write(to: &mut impl Write, events: u64, times: Times) -> io::Result<()> {
    for of in 0..events {
        let at = BEGIN_MS + of * DENSE_MS / events.max(1) * times.factor();
        let kind = KINDS
            .iter()
            .zip(0..)
            .find(|(_, nth)| *nth == one_of(of, 3, KINDS.len() as u64))
            .map_or("", |(kind, _)| kind);
        writeln!(
            to,
            r#"{{"who":"who_{}","what":"what_{}","where":"where_{}","kind":"{kind}","amount":{:.2},"score":{:.3},"pages":{},"at":{at}}}"#,
            who(of),
            one_of(of, 1, WHAT),
            one_of(of, 2, WHERE),
            share(of, 4) * 100.0,
            share(of, 5),
            one_of(of, 6, 50),
        )?;
    }
    Ok(())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::Value;

    use super::{BEGIN_MS, KINDS, Times, WHAT, WHERE, WHO, write};

    fn events(count: u64, times: Times) -> Vec<Value> {
        let mut text = Vec::new();
        write(&mut text, count, times).unwrap();
        let text = String::from_utf8(text).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    fn counts(events: &[Value], field: &str) -> Vec<u64> {
        let mut counts = BTreeMap::<&str, u64>::new();
        for event in events {
            *counts.entry(event[field].as_str().unwrap()).or_default() += 1;
        }
        let mut counts: Vec<u64> = counts.into_values().collect();
        counts.sort_unstable_by(|a, b| b.cmp(a));
        counts
    }

    #[test]
    fn how_are_events_spread() {
        let events = events(20_000, Times::Dense);
        let check = |field: &str, different: std::ops::RangeInclusive<u64>, most: u64| {
            let counts = counts(&events, field);
            assert!(different.contains(&(counts.len() as u64)), "{field}");
            let share = counts[0] * 100 / 20_000;
            assert_eq!(share, most, "{field}: {counts:?}");
        };
        // The first sends as many as lg 2 / lg 10,000 says.
        check("who", 3_000..=WHO, 7);
        check("what", WHAT..=WHAT, 0);
        check("where", WHERE..=WHERE, 1);
        let kinds = KINDS.len() as u64;
        check("kind", kinds..=kinds, 20);
    }

    #[test]
    fn is_all_but_the_time_the_same() {
        let [mut dense, mut sparse] = Times::ALL.map(|times| events(1_000, times));
        let mut before = 0;
        for (dense, sparse) in dense.iter_mut().zip(&mut sparse) {
            let take = |event: &mut Value| {
                let at = event.as_object_mut().unwrap().remove("at").unwrap();
                at.as_u64().unwrap() - BEGIN_MS
            };
            let (at, later) = (take(dense), take(sparse));
            assert_eq!(at * 720, later);
            assert!(at >= before && at < 3 * 3_600_000);
            before = at;
        }
        assert_eq!(dense, sparse);
        assert!(before > 10_780_000, "{before}");
    }
}
