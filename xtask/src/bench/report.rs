//! The page for people and the file for programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use anyhow::Result;
use serde_json::{Value, json};

use super::bars::write_bars;
use super::samples::{CONFIGURATIONS, Configuration, Sample, YARDSTICK_JOB, Yardstick};
use super::starting::Starts;
use super::statistics::{Summary, grouped};
use crate::{campaign, process};

/// Dependencies whose version may change a figure.
const DEPENDENCIES: [&str; 6] = [
    "mimalloc",
    "rdkafka",
    "redis",
    "serde_json",
    "timely",
    "tract-onnx",
];

/// Everything that a bench found.
pub struct Report {
    /// The line that repeats it.
    pub command: String,
    /// Events of each run.
    pub events: u64,
    /// All runs of both jobs.
    pub samples: Vec<Sample>,
    /// All figures of the yardsticks.
    pub yardsticks: Vec<Yardstick>,
    /// What keys cost.
    pub memory: Vec<Value>,
    /// How long starts take.
    pub starts: Starts,
    /// What checkpoints take.
    pub checkpoints: Vec<Value>,
    /// Where it was measured, and what.
    pub machine: BTreeMap<&'static str, String>,
}

/// Where this runs and which sources it was built from.
pub fn machine() -> Result<BTreeMap<&'static str, String>> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let field = |path: &str, name: &str| {
        let text = read(path);
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name).map(str::to_owned));
        line.unwrap_or_default()
            .trim_matches([' ', '\t', ':'])
            .to_owned()
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let lock = fs::read_to_string(process::root().join("Cargo.lock"))?;
    let versions = DEPENDENCIES.map(|name| format!("{name} {}", locked_version(&lock, name)));
    let rustc = process::output(process::command("rustc").arg("--version"))?;
    Ok(BTreeMap::from([
        ("processor", field("/proc/cpuinfo", "model name")),
        ("cores", cores.to_string()),
        ("memory", field("/proc/meminfo", "MemTotal:")),
        (
            "kernel",
            read("/proc/sys/kernel/osrelease").trim().to_owned(),
        ),
        (
            "load when it ended",
            read("/proc/loadavg").trim().to_owned(),
        ),
        ("compiler", rustc.trim().to_owned()),
        ("versions", versions.join(", ")),
        ("commit", campaign::commit()?),
    ]))
}

/// The version of a package in the lock file.
fn locked_version(lock: &str, name: &str) -> String {
    let header = format!("name = \"{name}\"");
    let mut lines = lock.lines().skip_while(|line| *line != header);
    let version = lines
        .nth(1)
        .and_then(|line| line.strip_prefix("version = "));
    version.unwrap_or("?").trim_matches('"').to_owned()
}

impl Report {
    /// All of it, for programs.
    pub fn json(&self) -> Value {
        let samples = self.samples.iter().map(|sample| {
            json!({
                "job": sample.configuration.job,
                "workers": sample.configuration.workers,
                "repetition": sample.repetition,
                "warm_up": sample.repetition == 0,
                "raw": sample.raw,
            })
        });
        let yardsticks = self
            .yardsticks
            .iter()
            .map(|found| json!({ "name": found.name, "unit": found.unit, "value": found.value }));
        json!({
            "command": self.command,
            "machine": self.machine,
            "events": self.events,
            "samples": samples.collect::<Vec<_>>(),
            "yardsticks": yardsticks.collect::<Vec<_>>(),
            "memory": self.memory,
            "starts_ms": { "plain": self.starts.plain, "exactly_once": self.starts.exactly_once },
            "checkpoints": self.checkpoints,
        })
    }

    /// Figures of a configuration by repetition, without the warm-up.
    pub(super) fn figures(&self, configuration: Configuration, name: &str) -> Vec<f64> {
        let of_it = self
            .samples
            .iter()
            .filter(|sample| sample.configuration == configuration && sample.repetition > 0);
        let mut found: Vec<_> = of_it
            .map(|sample| (sample.repetition, sample.figure(name)))
            .collect();
        found.sort_by_key(|(repetition, _)| *repetition);
        found.into_iter().map(|(_, figure)| figure).collect()
    }

    /// A configuration's figure over that of the hand-written job in the same repetition.
    pub(super) fn ratio(&self, configuration: Configuration, name: &str) -> Summary {
        self.ratio_to(YARDSTICK_JOB, configuration, name)
    }

    /// A configuration's figure over that of another job on as many workers in the same repetition.
    pub(super) fn ratio_to(
        &self,
        job: &'static str,
        configuration: Configuration,
        name: &str,
    ) -> Summary {
        let base = Configuration {
            job,
            ..configuration
        };
        let pairs = self.figures(configuration, name).into_iter();
        Summary::of_ratios(pairs.zip(self.figures(base, name)))
    }

    /// The page.
    pub fn page(&self) -> String {
        let mut page = String::from("# The reference job, by the engine and by hand\n\n");
        let command = &self.command;
        let events = grouped(self.events as f64);
        // Writing to a String cannot fail.
        let _ = write!(
            page,
            "Written by `{command}`; each run replaces it. {events} events in memory, the same bytes for\n\
             all. What `hand-fused` and `engine` give was compared first: same outcomes, same scores, as many\n\
             bytes on each stream but that of validation errors, whose reasons each parser words in its own way. `hand-fused` is\n\
             the job written by hand on timely for its one schema, without pipeline file, bound on events in\n\
             flight or publisher (`benches/reference_job/fused/`); its outputs and those of `engine` are\n\
             made, counted and dropped, `engine-files` writes them to files. `engine-ordered` handles events\n\
             in event-time order, `engine-hot` gets half of them of one user; `engine-exactly-once` writes files\n\
             each epoch exactly once, with a checkpoint each second. The runs took turns, forth and\n\
             back; the first of each is dropped. Figures are medians, with the range of all runs in\n\
             brackets; ratios are of runs of the same turn. Of six turns, the range covers the true median\n\
             with a probability of 97 %. `cargo xtask bench callgrind` counts instructions instead.\n\n"
        );
        self.write_machine(&mut page);
        self.write_runs(&mut page);
        self.write_bars(&mut page);
        self.write_checkpoints(&mut page);
        self.write_yardsticks(&mut page);
        self.write_memory(&mut page);
        page
    }

    fn write_machine(&self, page: &mut String) {
        page.push_str("| | |\n| --- | --- |\n");
        write_machine(page, &self.machine);
    }

    fn write_runs(&self, page: &mut String) {
        page.push_str(
            "\n## Runs\n\n\
             | job | workers | 1,000 events/s | share of hand-fused | CPU ns/event | times hand-fused | peak memory, MB |\n\
             | --- | ---: | ---: | ---: | ---: | ---: | ---: |\n",
        );
        for configuration in CONFIGURATIONS {
            let Configuration {
                job,
                workers,
                times: length,
            } = configuration;
            let of = |name| Summary::of(self.figures(configuration, name));
            let rate = ranged(of("events_per_second"), |rate| grouped(rate / 1e3));
            let cpu = ranged(of("ns_per_event"), grouped);
            let memory = of("peak_rss_bytes").median - of("input_bytes").median;
            let (mut share, mut times) = (String::new(), String::new());
            if job != YARDSTICK_JOB {
                share = ranged(self.ratio(configuration, "events_per_second"), |ratio| {
                    format!("{:.0} %", ratio * 100.0)
                });
                times = ranged(self.ratio(configuration, "ns_per_event"), |ratio| {
                    format!("{ratio:.2}")
                });
            }
            let memory = grouped(memory / 1e6);
            let job = match length {
                1 => job.to_owned(),
                length => format!("{job}, {length} times the events"),
            };
            let _ = writeln!(
                page,
                "| {job} | {workers} | {rate} | {share} | {cpu} | {times} | {memory} |"
            );
        }
        page.push_str("\nMemory is the peak of the process less its input, which is in memory. Where the load is above the\n\
             number of cores, others were at work: rates suffer most, CPU time and ratios least.\n");
    }

    fn write_bars(&self, page: &mut String) {
        page.push_str("\n## Bars\n");
        write_bars(page, self.bars());
    }

    /// What checkpoints take, in full.
    fn write_checkpoints(&self, page: &mut String) {
        page.push_str(
            "\n## Checkpoints\n\n\
             | case | figure | |\n| --- | --- | ---: |\n",
        );
        for found in &self.checkpoints {
            let text = |name: &str| found.get(name).and_then(Value::as_str).unwrap_or_default();
            let case = text("name").trim_start_matches("checkpoints/").to_owned();
            let figures = found.as_object().into_iter().flatten();
            let more = found.get("more").and_then(Value::as_object);
            for (name, value) in figures.chain(more.into_iter().flatten()) {
                if let Some(value) = value.as_f64() {
                    let digits = if value.fract() == 0.0 { 0 } else { 1 };
                    let _ = writeln!(page, "| {case} | {name} | {value:.digits$} |");
                }
            }
        }
        for (what, starts) in [
            ("plain", &self.starts.plain),
            ("exactly once", &self.starts.exactly_once),
        ] {
            let found = Summary::of(starts.iter().copied());
            let _ = writeln!(
                page,
                "| start, {what} | ms | {} |",
                ranged(found, |ms| format!("{ms:.0}"))
            );
        }
        page.push_str(
            "\n`small`: 100,000 events/s, a checkpoint each 0.1 s, outputs in files. `large`: one key in a hundred has an\n\
             event each second, a checkpoint each second; the run goes on from the checkpoint of another one. `closing`: an\n\
             epoch closed by hand over as many keys; a part is what is written between two batches.\n",
        );
    }

    fn write_yardsticks(&self, page: &mut String) {
        page.push_str(
            "\n## What the parts cost alone\n\n\
             One thread unless it says otherwise. Stages are the engine's own, driven by hand batch by batch;\n\
             what a run costs beyond their sum is source, exchange, flow control and publisher.\n\n\
             | part | median | range |\n| --- | ---: | ---: |\n",
        );
        let mut seen: Vec<&str> = Vec::new();
        for Yardstick { name, unit, .. } in &self.yardsticks {
            if seen.contains(&name.as_str()) {
                continue;
            }
            seen.push(name);
            let same = self.yardsticks.iter().filter(|other| other.name == *name);
            let found = Summary::of(same.map(|other| other.value));
            let Summary { median, min, max } = found;
            let unit = unit.split('/').next().unwrap_or_default();
            let _ = writeln!(
                page,
                "| {name} | {median:.1} {unit} | {min:.1} to {max:.1} |"
            );
        }
    }

    fn write_memory(&self, page: &mut String) {
        page.push_str("\n## What a key costs\n\n| job, events | keys | bytes a key |\n| --- | ---: | ---: |\n");
        for found in &self.memory {
            let name = found
                .get("name")
                .and_then(Value::as_str)
                .unwrap_or_default();
            let label = name.trim_start_matches("memory/").replace('/', ", ");
            let keys = found
                .get("keys")
                .and_then(Value::as_f64)
                .unwrap_or_default();
            let bytes = self.bytes_per_key(name);
            let _ = writeln!(page, "| {label} | {} | {} |", grouped(keys), grouped(bytes));
        }
        page.push_str(
            "\n`full`: 50 events for each of a million users. `reference`: a million events of the reference\n\
             job, in which most users have few.\n",
        );
    }

    pub(super) fn bytes_per_key(&self, name: &str) -> f64 {
        let is_it = |found: &&Value| found.get("name").and_then(Value::as_str) == Some(name);
        let found = self
            .memory
            .iter()
            .find(is_it)
            .and_then(|found| found.get("bytes_per_key"));
        found.and_then(Value::as_f64).unwrap_or(f64::NAN)
    }
}

/// The lines of a table that say where it was measured, and what.
pub(super) fn write_machine(page: &mut String, machine: &BTreeMap<&'static str, String>) {
    for (name, value) in machine {
        // Writing to a String cannot fail.
        let _ = writeln!(page, "| {name} | {value} |");
    }
}

/// A median with its range behind it.
pub(super) fn ranged(summary: Summary, text: impl Fn(f64) -> String) -> String {
    let Summary { median, min, max } = summary;
    format!("{} ({} to {})", text(median), text(min), text(max))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::super::samples::{CONFIGURATIONS, Sample};
    use super::{Report, Starts, locked_version};

    #[test]
    fn which_version_is_locked() {
        let lock = "[[package]]\nname = \"timely\"\nversion = \"0.32.0\"\n";
        let check = |name: &str, expected: &str| assert_eq!(locked_version(lock, name), expected);
        check("timely", "0.32.0");
        check("time", "?");
    }

    /// Each repetition is twice as slow as the one before, the engine always at 80 % of the other job.
    fn report() -> Report {
        let sample = |repetition: usize, at: usize| {
            let configuration = CONFIGURATIONS[at];
            let share = if configuration.job == "hand-fused" {
                1.0
            } else {
                0.8
            };
            let rate = 3e6 * share / f64::from(1_u32 << repetition);
            Sample {
                configuration,
                repetition,
                raw: json!({ "events_per_second": rate, "ns_per_event": 1e9 / rate }),
            }
        };
        let all = (0..3).flat_map(|repetition| (0..12).map(move |at| sample(repetition, at)));
        Report {
            command: "cargo xtask bench".to_owned(),
            events: 1_000_000,
            samples: all.collect(),
            yardsticks: Vec::new(),
            memory: vec![
                json!({ "name": "memory/engine/full", "keys": 9, "bytes_per_key": 5000.0 }),
            ],
            starts: Starts {
                plain: vec![100.0, 200.0, 900.0],
                exactly_once: vec![400.0],
            },
            checkpoints: vec![
                json!({ "name": "checkpoints/small", "state_bytes": 42_000, "p99_ms": 20.5 }),
                json!({ "name": "checkpoints/large", "state_bytes": 1e9, "p99_ms": 700 }),
            ],
            machine: BTreeMap::new(),
        }
    }

    #[test]
    fn does_the_page_say_what_was_found() {
        let page = report().page();
        let check = |expected: &str| assert!(page.contains(expected), "{expected}\n{page}");
        check("| hand-fused | 1 | 1,125 (750 to 1,500) |");
        check("| engine | 2 | 900 (600 to 1,200) | 80 % (80 % to 80 %) |");
        check(
            "| 2 workers, outputs dropped | at least 1,300,000 events/s | 900,000 | **missed** |",
        );
        check(
            "| 2 workers, outputs in files | at least 1,200,000 events/s | 900,000 | **missed** |",
        );
        check("| the same, of the hand-fused rate | at least 75 % | 80 % (80 % to 80 %) | met |");
        check(
            "| event-time order, CPU over arrival order | at most 1.25 | 1.00 (1.00 to 1.00) | met |",
        );
        check(
            "| half of all events of one key, of the even rate | at least 45 % | 100 % (100 % to 100 %) | met |",
        );
        check("| a key with a full history | at most 4,096 bytes | 5,000 | **missed** |");
        check(
            "| the same, of the rate without checkpoints | at least 90 % | 100 % (100 % to 100 %) | met |",
        );
        check("| a checkpoint of 42 KB, p99 | at most 20 ms | 20.5 ms | **missed** |");
        check(
            "| a checkpoint of 1000 MB, of which 1 % changes, p99 | at most 1000 ms | 700.0 ms | met |",
        );
        check("| from start to the first output, median | at most 300 ms | 200.0 ms | met |");
        check(
            "| the same with checkpoints, to the first committed output | at most 300 ms | 400.0 ms | **missed** |",
        );
    }

    #[test]
    fn are_all_samples_kept() {
        let json = report().json();
        assert_eq!(json["samples"].as_array().map(Vec::len), Some(36));
        assert_eq!(json["samples"][0]["warm_up"], true);
        assert_eq!(json["samples"][12]["warm_up"], false);
    }
}
