//! What happens in one turn: the same work by the engine and by clients alone, on one broker.

use std::cell::Cell;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use slackwater_services::kafka::{Broker, Settings, Tools, install};

use super::pipeline::{Delivery, Job, REFERENCE_INTERVAL_MS};
use super::programs::{Programs, Ran};
use crate::bench::cost::seconds_of;
use crate::bench::turns::Sample;

/// All of the input, by a consumer alone.
pub const CONSUME: &str = "consume only";
/// As many outputs, by a producer alone.
pub const PRODUCE: &str = "produce only";
/// Both in one process.
pub const BOTH: &str = "consume to produce";
/// The reference job, a checkpoint each second.
pub const ENGINE: &str = "engine, exactly once";
/// What drains the input, in the order of a turn.
pub const DRAINS: [&str; 4] = [CONSUME, PRODUCE, BOTH, ENGINE];

/// A record at a time, from a producer to a consumer.
pub const ONE_RECORD: &str = "one record at a time, no engine";
/// The load that the engine gets, from the producer to a consumer.
pub const STRAIGHT: &str = "the same load, no engine";
/// Through the engine, a checkpoint each 100 ms.
pub const COMMITTED: &str = "engine, exactly once, an epoch of 100 ms";
/// The same, sent at once.
pub const AT_ONCE: &str = "engine, at least once";
/// A transaction of a hundred records, from its begin to the end of its commit.
pub const TRANSACTION: &str = "a transaction of 100 records, no engine";
/// What is timed, in the order of a turn.
pub const DELAYS: [&str; 5] = [ONE_RECORD, COMMITTED, AT_ONCE, STRAIGHT, TRANSACTION];

/// From one checkpoint to the next where delays are measured.
pub const SHORT_INTERVAL_MS: u32 = 100;
/// Before that many seconds of a load nothing is measured: a job that has just begun is still catching up.
const WARM_UP_SECONDS: u32 = 5;
/// Records that are sent one at a time, and transactions.
const SINGLE_RECORDS: u32 = 1_500;
const TRANSACTIONS: u32 = 300;
/// Events that a load repeats.
const LOAD_EVENTS: u64 = 200_000;
/// Partitions of each topic that is made here, as the engine makes those of outputs.
const PARTITIONS: u32 = 4;
/// The generator makes a few events that are too large for the job, which a topic has to take nevertheless.
const RECORD_BYTES_MAX: (&str, &str) = ("max.message.bytes", "4194304");
/// Options of Java's with which a broker serves for long, as its makers start it, and not soon, as tests want it.
const FOR_LONG: [&str; 6] = [
    "-XX:TieredStopAtLevel=4",
    "-XX:-UseSerialGC",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-Xms1G",
    "-Xmx1G",
];
/// The input of what drains.
const INPUT: &str = "user_events";

/// A broker with an input, and what works on it.
pub struct Bench {
    programs: Programs,
    broker: Broker,
    tools: Tools,
    /// Goes with the broker.
    folder: PathBuf,
    /// A file of events for each partition.
    load: String,
    events: u64,
    /// Jobs and topics have numbers, so that none meets what another one has left.
    next: Cell<usize>,
}

impl Bench {
    /// Builds the programs, starts a broker and gives it an input of so many events.
    pub fn prepare(events: u64) -> Result<Self> {
        let programs = Programs::build()?;
        let kafka = install(|said| println!("{said} (once)"))?;
        let settings = Settings {
            java: FOR_LONG.map(str::to_owned).to_vec(),
            ..Settings::default()
        };
        let broker = Broker::start(&kafka, &settings)?;
        let tools = broker.tools();
        let folder = broker.folder().join("bench");
        let files = |events| {
            let folder = folder.join(format!("events-{events}"));
            Ok::<_, anyhow::Error>((programs.generate(&folder, events)?, folder))
        };
        let (load, _) = files(LOAD_EVENTS)?;
        let (input, input_folder) = match events {
            LOAD_EVENTS => (load.clone(), None),
            events => files(events).map(|(files, folder)| (files, Some(folder)))?,
        };
        tools.create_topic(INPUT, PARTITIONS, &[RECORD_BYTES_MAX])?;
        let brokers = broker.bootstrap();
        let to = [("brokers", brokers.as_str()), ("topic", INPUT)];
        let loaded =
            programs.yardstick("load", &[&to[..], &[("files", &joined(&input)?)]].concat())?;
        expect_records(&loaded.found, events, "the input")?;
        if let Some(folder) = input_folder {
            // It is in the topic now.
            fs::remove_dir_all(folder)?;
        }
        Ok(Bench {
            load: joined(&load)?,
            programs,
            broker,
            tools,
            folder,
            events,
            next: Cell::new(0),
        })
    }

    /// Does one thing once.
    pub fn run(&self, what: &'static str, turn: usize, load: Option<Load>) -> Result<Sample> {
        println!("turn {turn}: {what}");
        let load = load.unwrap_or(Load {
            rate: 0,
            seconds: 0,
        });
        let raw = match what {
            CONSUME => self.drain_alone("consume", what),
            PRODUCE => self.drain_alone("produce", what),
            BOTH => self.drain_alone("consume-to-produce", what),
            ENGINE => self.drain(),
            ONE_RECORD => self.single("one-record", SINGLE_RECORDS),
            TRANSACTION => self.single("transaction", TRANSACTIONS),
            STRAIGHT => self.straight(load),
            COMMITTED => self.through(Delivery::ExactlyOnce, load),
            AT_ONCE => self.through(Delivery::AtLeastOnce, load),
            other => bail!("nobody knows how `{other}` is run"),
        };
        let raw = raw.with_context(|| format!("cannot measure `{what}`"))?;
        Ok(Sample { what, turn, raw })
    }

    fn number(&self) -> usize {
        self.next.set(self.next.get() + 1);
        self.next.get()
    }

    /// A topic that nobody has used.
    fn topic(&self, name: &str) -> Result<String> {
        let topic = format!("{name}-{}", self.number());
        self.tools
            .create_topic(&topic, PARTITIONS, &[RECORD_BYTES_MAX])?;
        Ok(topic)
    }

    fn sample_file(&self) -> String {
        self.folder.join("sample").display().to_string()
    }

    fn yardstick(&self, name: &str, options: &[(&str, &str)]) -> Result<Ran> {
        let brokers = self.broker.bootstrap();
        let options = [&[("brokers", brokers.as_str())], options].concat();
        self.programs.yardstick(name, &options)
    }

    fn broker_seconds(&self) -> Result<f64> {
        seconds_of(self.broker.id().context("the broker does not run")?)
    }

    /// By a yardstick, which reads the input, writes as many outputs, or both.
    fn drain_alone(&self, name: &str, what: &str) -> Result<Value> {
        let to = self.topic("alone")?;
        let before = self.broker_seconds()?;
        let (records, sample) = (self.events.to_string(), self.sample_file());
        let options = [
            ("topic", INPUT),
            ("to", &to),
            ("sample", &sample),
            ("records", &records),
        ];
        let Ran { found, cpu_seconds } = self.yardstick(name, &options)?;
        let broker_seconds = self.broker_seconds()? - before;
        expect_records(&found, self.events, what)?;
        self.tools.delete_topic(&to)?;
        let rate = found.get("records_per_second").and_then(Value::as_f64);
        let figures = self.figures(cpu_seconds, broker_seconds, rate.unwrap_or(f64::NAN));
        Ok(with(figures, "found", found))
    }

    /// By the reference job. Every event must have come out once, on one of the four topics.
    fn drain(&self) -> Result<Value> {
        let job = Job {
            number: self.number(),
            brokers: self.broker.bootstrap(),
            input: INPUT.to_owned(),
            interval_ms: REFERENCE_INTERVAL_MS,
            delivery: Delivery::ExactlyOnce,
        };
        let topics = job.outputs().join(",");
        let records = self.events.to_string();
        let outputs = [("topics", topics.as_str()), ("records", records.as_str())];
        let running = self.programs.start(&job, &self.folder)?;
        let broker_before = self.broker_seconds()?;
        let begun_at_ms = running.begun_at_ms;
        let settled = self.yardstick("settle", &outputs)?.found;
        let broker_seconds = self.broker_seconds()? - broker_before;
        let cpu_seconds = running.stop()?;
        let sample = self.sample_file();
        let counted = self.yardstick("count", &[&outputs[..], &[("sample", &sample)]].concat())?;
        expect_records(&counted.found, self.events, "outputs")?;
        self.clear(&job)?;
        let settled_at_ms = settled.get("settled_at_ms").and_then(Value::as_u64);
        let took_ms = settled_at_ms
            .unwrap_or_default()
            .saturating_sub(begun_at_ms);
        let rate = self.events as f64 * 1e3 / took_ms as f64;
        let figures = self.figures(cpu_seconds, broker_seconds, rate);
        Ok(with(figures, "found", counted.found))
    }

    fn figures(&self, cpu_seconds: f64, broker_seconds: f64, rate: f64) -> Value {
        let us_per_event = |seconds: f64| seconds * 1e6 / self.events as f64;
        json!({
            "events": self.events,
            "cpu_seconds": cpu_seconds,
            "us_per_event": us_per_event(cpu_seconds),
            "events_per_second": rate,
            "broker_us_per_event": us_per_event(broker_seconds),
        })
    }

    /// Removes what a job leaves on the broker.
    fn clear(&self, job: &Job) -> Result<()> {
        for topic in job.outputs() {
            self.tools.delete_topic(&topic)?;
        }
        if job.delivery == Delivery::ExactlyOnce {
            self.tools.delete_topic(&job.markers())?;
        }
        Ok(())
    }

    /// By a yardstick that needs a topic of its own.
    fn single(&self, name: &str, records: u32) -> Result<Value> {
        let topic = self.topic("single")?;
        let records = records.to_string();
        let ran = self.yardstick(name, &[("topic", &topic), ("records", &records)])?;
        self.tools.delete_topic(&topic)?;
        Ok(ran.found)
    }

    fn straight(&self, load: Load) -> Result<Value> {
        let topic = self.topic("straight")?;
        let found = self.latency(&topic, &topic, load)?;
        self.tools.delete_topic(&topic)?;
        Ok(found)
    }

    /// Through the engine, with an input of its own.
    fn through(&self, delivery: Delivery, load: Load) -> Result<Value> {
        let input = self.topic(INPUT)?;
        let job = Job {
            number: self.number(),
            brokers: self.broker.bootstrap(),
            input: input.clone(),
            interval_ms: SHORT_INTERVAL_MS,
            delivery,
        };
        let mut running = self.programs.start(&job, &self.folder)?;
        running.wait_until_ready()?;
        let found = self.latency(&input, &job.outputs().join(","), load)?;
        let cpu_seconds = running.stop()?;
        self.clear(&job)?;
        self.tools.delete_topic(&input)?;
        Ok(with(found, "engine_cpu_seconds", json!(cpu_seconds)))
    }

    /// The yardstick compares how many were sent and came.
    fn latency(&self, topic: &str, topics: &str, load: Load) -> Result<Value> {
        let (rate, seconds) = (load.rate.to_string(), load.seconds.to_string());
        let options = [
            ("topic", topic),
            ("topics", topics),
            ("files", &self.load),
            ("rate", &rate),
            ("seconds", &seconds),
            ("warm-up", &WARM_UP_SECONDS.to_string()),
        ];
        Ok(self.yardstick("latency", &options)?.found)
    }
}

/// So many events a second for so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Events a second.
    pub rate: u64,
    /// Of which delays are measured.
    pub seconds: u32,
}

fn joined(files: &[PathBuf]) -> Result<String> {
    let name = |file: &PathBuf| {
        let text = file.to_str().filter(|text| !text.contains(','));
        let text = text.with_context(|| format!("{} cannot be an argument", file.display()));
        text.map(str::to_owned)
    };
    let names = files.iter().map(name).collect::<Result<Vec<_>>>()?;
    Ok(names.join(","))
}

fn with(mut object: Value, name: &str, value: Value) -> Value {
    if let Value::Object(fields) = &mut object {
        fields.insert(name.to_owned(), value);
    }
    object
}

/// Stops a bench whose work was not done.
fn expect_records(found: &Value, expected: u64, of: &str) -> Result<()> {
    let records = found.get("records").and_then(Value::as_u64);
    if records != Some(expected) {
        bail!("{of}: {expected} records were expected, and there are {records:?}: {found}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use serde_json::json;

    use super::{expect_records, joined, with};

    #[test]
    fn is_work_that_was_not_done_noticed() {
        let check = |found, expected| {
            assert_eq!(expect_records(&found, 5, "it").is_ok(), expected, "{found}");
        };
        check(json!({ "records": 5 }), true);
        check(json!({ "records": 6 }), false);
        check(json!({ "records": 4 }), false);
        check(json!({}), false);
    }

    #[test]
    fn can_files_be_an_argument() {
        let check = |files: &[&str], expected: Option<&str>| {
            let files: Vec<PathBuf> = files.iter().map(PathBuf::from).collect();
            assert_eq!(joined(&files).ok().as_deref(), expected);
        };
        check(&["/a/b", "c"], Some("/a/b,c"));
        check(&["a,b"], None);
    }

    #[test]
    fn is_a_figure_added() {
        assert_eq!(
            with(json!({ "a": 1 }), "b", json!(2)),
            json!({ "a": 1, "b": 2 })
        );
    }
}
