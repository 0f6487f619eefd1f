//! What a bench of features has found: the section of the page for people, whether the figures are what they must be, and the
//! file for programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::jobs::{
    EVENT_ONLY, EVENT_ONLY_TWO, FIFTY, FIFTY_TWO, HOUR_OF_DENSE, HOUR_OF_SPARSE, MONTH_OF_DENSE,
    MONTH_OF_SPARSE, ONE, ONE_TWO,
};
use super::kinds::{KINDS, VARIATIONS};
use crate::bench::bars::{Bar, write_bars};
use crate::bench::report::{ranged, write_machine};
use crate::bench::sections::{FEATURES, REDIS};
use crate::bench::statistics::{Summary, grouped, thousands, us};
use crate::bench::turns::Samples;

/// What a window of thirty days may cost, as processor time over that of one of an hour in which are as many events.
const LENGTH_BAR: f64 = 1.3;

/// All that was found.
pub struct Found {
    /// The line that repeats it.
    pub command: String,
    /// Events of each run.
    pub events: u64,
    /// All runs.
    pub samples: Samples,
    /// Where it was measured, and what.
    pub machine: BTreeMap<&'static str, String>,
}

/// A difference of two runs may be below nothing.
fn ns(ns: f64) -> String {
    format!("{ns:.0}")
}

fn a_feature(ns: f64) -> String {
    format!("{:.0}", ns / VARIATIONS.len() as f64)
}

/// A link to the section that says what lookups cost.
fn lookups() -> String {
    let name = REDIS.trim_start_matches(['#', ' ']);
    format!("[{name}](#{})", name.to_lowercase().replace(' ', "-"))
}

fn times(ratio: f64) -> String {
    format!("{ratio:.2}")
}

fn megabytes(megabytes: f64) -> String {
    grouped(megabytes)
}

impl Found {
    /// All of it, for programs.
    pub fn json(&self) -> Value {
        json!({
            "command": self.command,
            "machine": self.machine,
            "events": self.events,
            "samples": self.samples.json(),
        })
    }

    fn of(&self, what: &str, figure: &str, text: fn(f64) -> String) -> String {
        ranged(self.samples.summary(what, figure), text)
    }

    /// What windows cost over what those of another job do, turn by turn: of each what the rest of the job costs is taken away.
    fn ratio_beyond(&self, what: &str, other: &str) -> Summary {
        let figures = |what: &str| self.samples.figures(what, "us_per_event").into_iter();
        let pairs = figures(what).zip(figures(other)).zip(figures(EVENT_ONLY));
        Summary::of_ratios(pairs.map(|((what, other), base)| (what - base, other - base)))
    }

    fn bars(&self) -> Vec<Bar> {
        let limit = format!("at most {LENGTH_BAR}");
        let bar = |what: &str, found: Summary| {
            Bar::of(
                what,
                &limit,
                ranged(found, times),
                found.median <= LENGTH_BAR,
            )
        };
        vec![
            bar(
                "windows of 30 days over those of an hour with the same events in them, CPU beyond the job without windows",
                self.ratio_beyond(MONTH_OF_SPARSE, HOUR_OF_DENSE),
            ),
            bar(
                "the same, CPU of the whole job",
                self.samples
                    .ratio(MONTH_OF_SPARSE, HOUR_OF_DENSE, "us_per_event"),
            ),
        ]
    }

    /// The section of the page.
    pub fn section(&self) -> String {
        let mut section = format!("{FEATURES}\n\n");
        let (command, events) = (&self.command, grouped(self.events as f64));
        // Writing to a String cannot fail.
        let _ = write!(
            section,
            "Written by `{command}`; each run replaces this section. What features cost in jobs that have no model: {events} events\n\
             with eight fields, one file of JSON lines and so one partition, in arrival order; 10,000 different keys of the job, of which\n\
             the nth has as many events as 1/n says, 1,000 of a second key and 100 of a third, all alike. Each event gives a record with\n\
             all features, which is made, counted and dropped. Rates are from the start of the process to its end. The runs took\n\
             turns, forth and back; the first of each is dropped. Figures are medians, with the range of all runs in brackets; ratios\n\
             and differences are of runs of the same turn.\n\n| | |\n| --- | --- |\n"
        );
        write_machine(&mut section, &self.machine);
        self.write_many(&mut section);
        self.write_kinds(&mut section);
        self.write_lengths(&mut section);
        write_bars(&mut section, self.bars());
        section
    }

    fn write_many(&self, section: &mut String) {
        section.push_str(
            "\nMany features. The fifty are five of the event, six of the history and of the last 20 events, and of each of three keys thirteen of all kinds\n\
             over windows of 1 minute, 10 minutes, 1 hour, 1 day, 7 and 30 days; the events happen over 90 days.\n\n\
             | job | workers | 1,000 events/s | CPU us/event | times without windows | peak memory, MB |\n\
             | --- | ---: | ---: | ---: | ---: | ---: |\n",
        );
        let jobs = [
            (1, EVENT_ONLY, [EVENT_ONLY, ONE, FIFTY]),
            (2, EVENT_ONLY_TWO, [EVENT_ONLY_TWO, ONE_TWO, FIFTY_TWO]),
        ];
        for (workers, base, jobs) in jobs {
            for (name, what) in [EVENT_ONLY, ONE, FIFTY].iter().zip(jobs) {
                let ratio = self.samples.ratio(what, base, "us_per_event");
                let _ = writeln!(
                    section,
                    "| {name} | {workers} | {} | {} | {} | {} |",
                    self.of(what, "events_per_second", thousands),
                    self.of(what, "us_per_event", us),
                    ranged(ratio, times),
                    self.of(what, "peak_mb", megabytes),
                );
            }
        }
    }

    fn write_kinds(&self, section: &mut String) {
        let base = self.of(EVENT_ONLY, "ns_per_event", ns);
        let first = self.samples.beyond(ONE, &[EVENT_ONLY], "ns_per_event");
        let _ = write!(
            section,
            "\nKinds. Each job has eight features of one kind, on one worker, over windows of eight lengths from 1 minute to 1 hour (of the last 5 to 50\n\
             events, or of a history of 50), with eight conditions or bounds where it has any; its events happen over 3 hours. Its cost is beyond that of\n\
             the job without windows, which takes {base} ns an event. A number more in each record is in it: see `value`. The\n\
             first window of a key also brings its log: a single count of an hour costs {} ns. What a `lookup` costs is said with those who\n\
             answer it: {}.\n\n\
             | kind | CPU ns/event, eight of them | of that a feature |\n| --- | ---: | ---: |\n",
            ranged(first, ns),
            lookups(),
        );
        for kind in KINDS {
            let beyond = self
                .samples
                .beyond(kind.name, &[EVENT_ONLY], "ns_per_event");
            let _ = writeln!(
                section,
                "| {} | {} | {} |",
                kind.name,
                ranged(beyond, ns),
                ranged(beyond, a_feature),
            );
        }
    }

    fn write_lengths(&self, section: &mut String) {
        let memory = self.of(EVENT_ONLY, "peak_mb", megabytes);
        let _ = write!(
            section,
            "\nThe length of windows. Eight features over one window, on one worker. Events over 90 days are those over 3 hours with each time 720 times\n\
             as late, so a window of 30 days holds in one what one of an hour holds in the other: the second row against the first. At the same\n\
             rate it holds up to 720 times as many: the second against the third, and the last against the first, where it holds all there is.\n\
             Without windows the job takes {memory} MB.\n\n\
             | window and events | 1,000 events/s | CPU us/event | windows alone, times the first row | times 1h at this rate | peak memory, MB |\n\
             | --- | ---: | ---: | ---: | ---: | ---: |\n",
        );
        let rows = [
            (HOUR_OF_DENSE, HOUR_OF_DENSE),
            (MONTH_OF_SPARSE, HOUR_OF_SPARSE),
            (HOUR_OF_SPARSE, HOUR_OF_SPARSE),
            (MONTH_OF_DENSE, HOUR_OF_DENSE),
        ];
        for (what, hour) in rows {
            let _ = writeln!(
                section,
                "| {what} | {} | {} | {} | {} | {} |",
                self.of(what, "events_per_second", thousands),
                self.of(what, "us_per_event", us),
                ranged(self.ratio_beyond(what, HOUR_OF_DENSE), times),
                ranged(self.ratio_beyond(what, hour), times),
                self.of(what, "peak_mb", megabytes),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::Found;
    use crate::bench::features::jobs::{
        EVENT_ONLY, EVENT_ONLY_TWO, FIFTY, FIFTY_TWO, HOUR_OF_DENSE, HOUR_OF_SPARSE,
        MONTH_OF_DENSE, MONTH_OF_SPARSE, ONE, all,
    };
    use crate::bench::turns::{Sample, Samples};

    /// Each turn is slower than the one before.
    fn found(month: f64) -> Found {
        let mut samples = Vec::new();
        for turn in [0, 2, 1] {
            let busy = 1.0 + turn as f64;
            for job in all() {
                let cost = match job.what {
                    EVENT_ONLY | EVENT_ONLY_TWO => 1.0,
                    ONE => 1.25,
                    FIFTY | FIFTY_TWO => 10.0,
                    HOUR_OF_DENSE => 2.0,
                    MONTH_OF_SPARSE => month,
                    HOUR_OF_SPARSE => 1.5,
                    MONTH_OF_DENSE => 3.0,
                    "sum" => 1.8,
                    "value" => 0.92,
                    _ => 1.4,
                };
                let raw = json!({
                    "events_per_second": 1_200_000.0 / cost / busy,
                    "us_per_event": cost * busy,
                    "ns_per_event": cost * busy * 1e3,
                    "peak_mb": cost * 1e3,
                });
                let what = job.what;
                samples.push(Sample { what, turn, raw });
            }
        }
        Found {
            command: "cargo xtask bench features".to_owned(),
            events: 500_000,
            samples: Samples(samples),
            machine: BTreeMap::from([("cores", "2".to_owned())]),
        }
    }

    #[test]
    fn does_the_section_say_what_was_found() {
        let section = found(2.2).section();
        let check = |expected: &str| assert!(section.contains(expected), "{expected}\n{section}");
        check("## Features\n\nWritten by `cargo xtask bench features`; each run");
        check("| cores | 2 |");
        check(
            "| features of the event only | 2 | 500 (400 to 600) | 2.50 (2.00 to 3.00) | 1.00 (1.00 to 1.00) | 1,000 (1,000 to 1,000) |",
        );
        check(
            "to 30 days | 1 | 50 (40 to 60) | 25.00 (20.00 to 30.00) | 10.00 (10.00 to 10.00) | 10,000 (10,000 to 10,000) |",
        );
        check("which takes 2500 (2000 to 3000) ns an event");
        check("a single count of an hour costs 625 (500 to 750) ns");
        check("who\nanswer it: [Lookups in Redis](#lookups-in-redis).\n\n| kind |");
        check("| constant | 1000 (800 to 1200) | 125 (100 to 150) |");
        check("| sum | 2000 (1600 to 2400) | 250 (200 to 300) |");
        check("| value | -200 (-240 to -160) | -25 (-30 to -20) |");
        check(
            "| 30d, events over 90 days | 227 (182 to 273) | 5.50 (4.40 to 6.60) | 1.20 (1.20 to 1.20) | 2.40 (2.40 to 2.40) | 2,200 ",
        );
        check("| 30d, events over 3 hours | 167 (133 to 200) | 7.50 (6.00 to 9.00) | 2.00 ");
        check("without windows | at most 1.3 | 1.20 (1.20 to 1.20) | met |");
        check("of the whole job | at most 1.3 | 1.10 (1.10 to 1.10) | met |");
    }

    #[test]
    fn is_it_said_that_a_long_window_costs_too_much() {
        let section = found(2.5).section();
        let check = |expected: &str| assert!(section.contains(expected), "{expected}\n{section}");
        check("without windows | at most 1.3 | 1.50 (1.50 to 1.50) | **missed** |");
        check("of the whole job | at most 1.3 | 1.25 (1.25 to 1.25) | met |");
    }

    #[test]
    fn are_all_samples_kept() {
        let json = found(2.0).json();
        let expected = all().len() * 3;
        assert_eq!(json["samples"].as_array().map(Vec::len), Some(expected));
        assert_eq!(json["samples"][0]["warm_up"], true);
    }
}
