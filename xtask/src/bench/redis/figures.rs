//! What a bench with lookups has found: the section of the page for people, whether the figures are what they must be, and the
//! file for programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::runs::{
    ALONE, DELAYED, DELAYED_TWICE, DIRECT, EVEN, EVERYTHING, GET, HMGET, NOTHING, PROXIED,
};
use crate::bench::bars::{Bar, write_bars};
use crate::bench::report::{ranged, write_machine};
use crate::bench::sections::REDIS;
use crate::bench::statistics::{Summary, grouped, thousands, us};
use crate::bench::turns::Samples;

/// What must be left of the rate when each answer comes 5 ms later, and what is hoped for.
const DELAY_BARS: (f64, f64) = (0.90, 0.98);

/// All that was found.
pub struct Found {
    /// The line that repeats it.
    pub command: String,
    /// Events of each run.
    pub events: u64,
    /// Users where they are many.
    pub users: u64,
    /// The version of Redis.
    pub server: String,
    /// All runs.
    pub samples: Samples,
    /// Where it was measured, and what.
    pub machine: BTreeMap<&'static str, String>,
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

impl Found {
    /// All of it, for programs.
    pub fn json(&self) -> Value {
        json!({
            "command": self.command,
            "machine": self.machine,
            "redis": self.server,
            "events": self.events,
            "many_users": self.users,
            "samples": self.samples.json(),
        })
    }

    fn of(&self, what: &str, figure: &str, text: fn(f64) -> String) -> String {
        ranged(self.samples.summary(what, figure), text)
    }

    fn bars(&self) -> Vec<Bar> {
        let (bar, hoped) = DELAY_BARS;
        let share = |what: &str, base: &str, bar: f64| {
            let found = self.samples.ratio(DELAYED, base, "events_per_second");
            let limit = format!("at least {:.0} %", bar * 100.0);
            Bar::of(what, &limit, ranged(found, percent), found.median >= bar)
        };
        let what = "rate with 5 ms of delay in front of Redis, of that without";
        vec![
            share(what, PROXIED, bar),
            share("the same, what is hoped for", PROXIED, hoped),
            share(
                "rate with 5 ms of delay, of that without any proxy",
                DIRECT,
                bar,
            ),
            share("the same, what is hoped for", DIRECT, hoped),
        ]
    }

    /// The section of the page.
    pub fn section(&self) -> String {
        let mut section = format!("{REDIS}\n\n");
        let (command, events) = (&self.command, grouped(self.events as f64));
        let server = &self.server;
        // Writing to a String cannot fail.
        let _ = write!(
            section,
            "Written by `{command}`; each run replaces this section. The reference job with and without a lookup\n\
             (`pipelines/user-events.redis.toml` and `pipelines/user-events.toml`): {events} events are made up as fast as it\n\
             takes them, and written to files exactly once, with a checkpoint each second, by two workers. One server of\n\
             Redis {server} is on the same machine, and has something of each user. Rates are from the start of the process to its\n\
             end; CPU is that of the engine's processes. How many questions there were the server has counted. The runs took\n\
             turns, forth and back; the first of each is dropped. Figures are medians, with the range of all runs in brackets;\n\
             ratios and differences are of runs of the same turn.\n\n| | |\n| --- | --- |\n"
        );
        write_machine(&mut section, &self.machine);
        self.write_delays(&mut section);
        self.write_remembered(&mut section);
        self.write_costs(&mut section);
        write_bars(&mut section, self.bars());
        section
    }

    fn write_delays(&self, section: &mut String) {
        section.push_str(
            "\nA delay is a proxy's, half of it in each direction, that holds nothing up: what comes meanwhile waits as long. \
             Without it\nthe proxy costs as much. `late` are lookups that had no answer in time: they are dead letters.\n\n\
             | the job as it stands there | 1,000 events/s | of the rate through the proxy, no delay | CPU us/event | questions an event | late |\n\
             | --- | ---: | ---: | ---: | ---: | ---: |\n",
        );
        for what in [ALONE, DIRECT, PROXIED, DELAYED, DELAYED_TWICE] {
            let ratio = self.samples.ratio(what, PROXIED, "events_per_second");
            let questions = self.samples.summary(what, "questions_per_event").median;
            let _ = writeln!(
                section,
                "| {what} | {} | {} | {} | {questions:.3} | {} |",
                self.of(what, "events_per_second", thousands),
                ranged(ratio, percent),
                self.of(what, "us_per_event", us),
                self.late(what),
            );
        }
    }

    /// Of all runs together.
    fn late(&self, what: &str) -> String {
        let late = self.samples.figures(what, "dead_letters").into_iter().sum();
        grouped(late)
    }

    fn write_remembered(&self, section: &mut String) {
        let users = grouped(self.users as f64);
        let _ = write!(
            section,
            "\nHow often no question is needed, as a share of all lookups, counted by the server: because the answer is remembered, or the same\n\
             is asked for already. *Many users* are {users} who all send alike; all else is the job as it stands there, but that a\n\
             question may take 2 s instead of 50 ms: with both cores full some take longer than that, and while Redis is not asked\n\
             for it nothing would be measured.\n\n\
             | job | no question needed | 1,000 events/s | of the rate without lookup | CPU us/event | beyond no lookup | late |\n\
             | --- | ---: | ---: | ---: | ---: | ---: | ---: |\n"
        );
        let of_base = [(EVEN, [NOTHING, EVERYTHING].as_slice()), (ALONE, &[DIRECT])];
        for (base, jobs) in of_base {
            let _ = writeln!(
                section,
                "| {base} | | {} | | {} | | |",
                self.of(base, "events_per_second", thousands),
                self.of(base, "us_per_event", us),
            );
            for what in jobs {
                let ratio = self.samples.ratio(what, base, "events_per_second");
                let beyond = self.samples.beyond(what, &[base], "us_per_event");
                let _ = writeln!(
                    section,
                    "| {what} | {} | {} | {} | {} | {} | {} |",
                    self.of(what, "not_asked", percent),
                    self.of(what, "events_per_second", thousands),
                    ranged(ratio, percent),
                    self.of(what, "us_per_event", us),
                    ranged(beyond, us),
                    self.late(what),
                );
            }
        }
    }

    /// What a question costs, turn by turn: what a run costs beyond one without a lookup, by the questions that it asks.
    fn question(&self, figure: &str) -> Summary {
        let with = self.samples.figures(NOTHING, figure).into_iter();
        let without = self.samples.figures(EVEN, figure).into_iter();
        let questions = self.samples.figures(NOTHING, "questions_per_event");
        let beyond = with.zip(without).map(|(with, without)| with - without);
        Summary::of_ratios(beyond.zip(questions))
    }

    fn write_costs(&self, section: &mut String) {
        section.push_str(
            "\nWhat a question costs. The engine's is what a run in which nothing is remembered costs beyond one without a lookup: making\n\
             the key, asking, reading the answer into the vector, and all waiting. `redis-benchmark` makes its requests once, counts\n\
             the answers and drops them, with four connections as the engine and 256 requests in each pipeline.\n\n\
             | question | CPU us of who asks | CPU us of Redis | 1,000 a second |\n\
             | --- | ---: | ---: | ---: |\n",
        );
        let rate = |(rate, questions): (f64, f64)| rate * questions;
        let rates = self
            .samples
            .figures(NOTHING, "events_per_second")
            .into_iter();
        let asked = rates.zip(self.samples.figures(NOTHING, "questions_per_event"));
        let _ = writeln!(
            section,
            "| engine, HMGET of one field | {} | {} | {} |",
            ranged(self.question("us_per_event"), us),
            ranged(self.question("server_us_per_event"), us),
            ranged(Summary::of(asked.map(rate)), thousands),
        );
        for what in [GET, HMGET] {
            let _ = writeln!(
                section,
                "| {what} | {} | {} | {} |",
                self.of(what, "us_per_request", us),
                self.of(what, "server_us_per_request", us),
                self.of(what, "requests_per_second", thousands),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::Found;
    use crate::bench::redis::runs::{
        ALL, ALONE, DELAYED, DELAYED_TWICE, EVEN, GET, HMGET, NOTHING,
    };
    use crate::bench::turns::{Sample, Samples};

    /// Each turn is slower than the one before, what is delayed always as much.
    fn found() -> Found {
        let mut samples = Vec::new();
        for turn in [0, 2, 1] {
            let busy = 1.0 + turn as f64;
            for what in ALL {
                let (rate, cost, questions) = match what {
                    ALONE | EVEN => (400_000.0, 2.0, 0.0),
                    DELAYED => (190_000.0, 3.0, 0.2),
                    DELAYED_TWICE => (100_000.0, 3.0, 0.2),
                    NOTHING => (100_000.0, 4.0, 0.8),
                    _ => (200_000.0, 3.0, 0.2),
                };
                let raw = match what {
                    GET | HMGET => json!({
                        "us_per_request": 0.25 * busy,
                        "server_us_per_request": 0.5 * busy,
                        "requests_per_second": 1_200_000.0 / busy,
                    }),
                    _ => json!({
                        "events_per_second": rate / busy,
                        "us_per_event": cost * busy,
                        "server_us_per_event": questions * busy,
                        "questions_per_event": questions,
                        "not_asked": 1.0 - questions,
                        "dead_letters": if what == NOTHING { 3 } else { 0 },
                    }),
                };
                samples.push(Sample { what, turn, raw });
            }
        }
        Found {
            command: "cargo xtask bench redis".to_owned(),
            events: 2_000_000,
            users: 1_250_000,
            server: "7.0".to_owned(),
            samples: Samples(samples),
            machine: BTreeMap::from([("cores", "2".to_owned())]),
        }
    }

    #[test]
    fn does_the_section_say_what_was_found() {
        let section = found().section();
        let check = |expected: &str| assert!(section.contains(expected), "{expected}\n{section}");
        check("## Lookups in Redis\n\nWritten by `cargo xtask bench redis`; each run");
        check("| cores | 2 |");
        check(
            "| no lookup | 167 (133 to 200) | 200.0 % (200.0 % to 200.0 %) | 5.00 (4.00 to 6.00) | 0.000 | 0 |",
        );
        check("| the same, 5 ms of delay | 79 (63 to 95) | 95.0 % (95.0 % to 95.0 %) |");
        check("| no lookup, many users | | 167 (133 to 200) | | 5.00 (4.00 to 6.00) | | |");
        check(
            "| lookup, many users, nothing remembered | 20.0 % (20.0 % to 20.0 %) | 42 (33 to 50) | 25.0 % ",
        );
        check("| 10.00 (8.00 to 12.00) | 5.00 (4.00 to 6.00) | 6 |");
        // Beyond no lookup 4 and 6 us an event, with 0.8 questions.
        check(
            "| engine, HMGET of one field | 6.25 (5.00 to 7.50) | 2.50 (2.00 to 3.00) | 33 (27 to 40) |",
        );
        check(
            "| redis-benchmark, GET | 0.62 (0.50 to 0.75) | 1.25 (1.00 to 1.50) | 500 (400 to 600) |",
        );
        check("of that without | at least 90 % | 95.0 % (95.0 % to 95.0 %) | met |");
        check(
            "| the same, what is hoped for | at least 98 % | 95.0 % (95.0 % to 95.0 %) | **missed** |",
        );
        check("without any proxy | at least 90 % | 95.0 % (95.0 % to 95.0 %) | met |");
    }

    #[test]
    fn are_all_samples_kept() {
        let json = found().json();
        assert_eq!(json["samples"].as_array().map(Vec::len), Some(30));
        assert_eq!(json["samples"][0]["warm_up"], true);
        assert_eq!(json["samples"][10]["warm_up"], false);
    }
}
