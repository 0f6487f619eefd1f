//! A broker of the test's own, jobs on it, and what they have written to it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use slackwater_dataflow::faults::phases::Point;
use slackwater_services::kafka::{Broker, Read, Reading, Settings, Tools, install};

use crate::content::{Content, STREAMS, content, digest, key, lost_and_doubled};
use crate::findings::store;
use crate::job::{Job, Running, Variation};

/// Longest wait for anything; only a failure takes so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// The topic that jobs read.
pub const INPUT: &str = "user_events";

/// By how much longer than in the gate tests take, as the environment says.
pub fn scale() -> u64 {
    let scale = std::env::var("SLACKWATER_SCALE").ok();
    scale.map_or(1, |scale| scale.parse().unwrap())
}

/// Keeps what a test has found for the report of a campaign.
pub fn found(text: &str) {
    println!("{text}");
    store(&json!({ "kafka": text }));
}

/// A job that makes up events at a steady rate for so many seconds, with ten checkpoints a second.
pub fn steady(order: &'static str, seconds: u64) -> Variation {
    Variation {
        seed: 5,
        order,
        events: 5_000 * seconds,
        rate: 5_000,
        interval_ms: Some(100),
        workers: 2,
    }
}

/// A broker, and Java's tools for it.
pub struct Cluster {
    pub broker: Broker,
    pub tools: Tools,
}

impl Cluster {
    pub fn start() -> Self {
        Cluster::with(&Settings::default())
    }

    pub fn with(settings: &Settings) -> Self {
        let kafka = install(|_| ()).unwrap_or_else(|error| panic!("{error:#}"));
        let broker = Broker::start(&kafka, settings).unwrap();
        let tools = broker.tools();
        Cluster { broker, tools }
    }

    /// A job that publishes made-up events, with the topics that it needs.
    pub fn publishing(&self, variation: Variation, crashes: Vec<Point>) -> Job {
        self.publishing_to(&self.broker.bootstrap(), variation, crashes)
    }

    /// The same, by another way.
    pub fn publishing_to(&self, brokers: &str, variation: Variation, crashes: Vec<Point>) -> Job {
        let mut job = Job::with_crashes(variation, crashes);
        job.rewrite(|text| to_topics(&text, brokers));
        create_topics(&job);
        job
    }

    /// A job that reads topics as well; the topic is there.
    pub fn reading(&self, variation: Variation, more: &str) -> Job {
        let mut job = Job::new(variation);
        let brokers = self.broker.bootstrap();
        job.rewrite(|text| {
            let text = from_topic(&to_topics(&text, &brokers), &brokers, more);
            // Its numbers are of the source, and so are those of its files.
            text.replace("provenance = true", "provenance = false")
        });
        create_topics(&job);
        job
    }

    /// What is committed of the outputs, by stream and key.
    pub fn content(&self) -> Content {
        self.content_by(digest)
    }

    /// The same without where each record was read from, which other sources call otherwise.
    pub fn content_but_source(&self) -> Content {
        self.content_by(digest_but_source)
    }

    fn content_by(&self, digest: fn(&str) -> u64) -> Content {
        let mut content = Content::new();
        for stream in STREAMS {
            let mut read = self.committed(stream);
            read.sort_by_key(|it| (it.partition, it.offset));
            check_headers(stream, &read);
            for record in read {
                let value = String::from_utf8(record.record.value.unwrap()).unwrap();
                let place = (stream, key(stream, &value));
                content.entry(place).or_default().push(digest(&value));
            }
        }
        ordered(content)
    }

    pub fn committed(&self, topic: &str) -> Vec<Read> {
        self.tools.consume(&Reading::of(topic).committed()).unwrap()
    }

    /// Whether a transaction is open, by Java's own tool.
    pub fn check_transactions(&self) {
        let listed = self.tools.transactions().unwrap();
        let open: Vec<_> = listed
            .iter()
            .filter(|(_, state)| state == "Ongoing")
            .collect();
        assert!(open.is_empty(), "{open:?}");
    }
}

/// Outputs of a run that nothing happens to, in files, without checkpoints.
pub fn expected(variation: Variation) -> Content {
    let job = Job::new(Variation {
        interval_ms: None,
        rate: 0,
        ..variation
    });
    assert!(job.start().wait().success(), "{}", job.said());
    ordered(content(&job.outputs))
}

fn digest_but_source(value: &str) -> u64 {
    let mut masked = value.to_owned();
    if let Some(at) = masked.find("\"source\":{") {
        let end = at + masked[at..].find('}').unwrap();
        masked.replace_range(at..end, "\"source\":{");
    }
    digest(&masked)
}

/// What must come of what the input's topic holds now: by the same job, on files with the same partitions.
pub fn expected_of(cluster: &Cluster, variation: Variation) -> Content {
    let mut job = Job::new(Variation {
        interval_ms: None,
        ..variation
    });
    let folder = job.folder().join("in");
    fs::create_dir(&folder).unwrap();
    let mut read = cluster.tools.consume(&Reading::of(INPUT)).unwrap();
    read.sort_by_key(|it| (it.partition, it.offset));
    for record in read {
        let part = folder.join(format!("part-{}.jsonl", record.partition));
        let mut file = fs::File::options()
            .create(true)
            .append(true)
            .open(part)
            .unwrap();
        file.write_all(&record.record.value.unwrap()).unwrap();
        file.write_all(b"\n").unwrap();
    }
    let pattern = folder.join("part-*.jsonl").display().to_string();
    job.rewrite(|text| {
        let (at, end) = table(&text, "[source]");
        let source = format!("[source]\nkind = \"file\"\npath = {pattern:?}\n\n");
        let text = format!("{}{source}{}", &text[..at], &text[end..]);
        text.replace("provenance = true", "provenance = false")
    });
    assert!(job.start().wait().success(), "{}", job.said());
    let mut content = Content::new();
    for stream in STREAMS {
        for shard in 0..2 {
            let part = job
                .outputs
                .join(stream)
                .join(format!("shard-{shard}.jsonl"));
            for line in fs::read_to_string(part).unwrap().lines() {
                let place = (stream, key(stream, line));
                content
                    .entry(place)
                    .or_default()
                    .push(digest_but_source(line));
            }
        }
    }
    ordered(content)
}

/// Records without a key are spread over partitions, and so in no order.
fn ordered(mut content: Content) -> Content {
    for ((stream, _), records) in &mut content {
        if matches!(*stream, "validation_errors" | "late_events_dlq") {
            records.sort_unstable();
        }
    }
    content
}

/// Compares what is committed with what it must be.
pub fn check(cluster: &Cluster, job: &Job, expected: &Content) {
    let found = cluster.content();
    let difference = lost_and_doubled(expected, &found);
    assert_eq!(difference, (0, 0), "lost, doubled\n{}", job.said());
    assert!(*expected == found, "the order of a key\n{}", job.said());
    cluster.check_transactions();
}

/// Each record says which it is of its epoch and shard; within a partition they come in that order, and no number twice.
fn check_headers(stream: &str, read: &[Read]) {
    let mut last = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for record in read {
        let header = |wanted: &str| {
            let mut headers = record.record.headers.iter();
            let found = headers.find(|(name, _)| name == wanted);
            let value = found.and_then(|(_, value)| value.clone());
            String::from_utf8(value.unwrap_or_else(|| panic!("{stream}: no {wanted}"))).unwrap()
        };
        let number = |name: &str| header(name).parse::<u64>().unwrap();
        assert_eq!(header("slackwater.job"), "user-events");
        let shard = number("slackwater.shard");
        let at = (number("slackwater.epoch"), number("slackwater.sequence"));
        let before = last.insert((record.partition, shard), at);
        assert!(before < Some(at), "{stream}: {before:?} before {at:?}");
        assert!(
            seen.insert((shard, at)),
            "{stream}: {at:?} of shard {shard} twice"
        );
    }
}

/// The pipeline, with topics for outputs.
fn to_topics(text: &str, brokers: &str) -> String {
    let (at, end) = table(text, "[sink]");
    let sink = &text[at..end];
    let kept = sink.lines().filter(|line| {
        let line = line.trim_start();
        !line.starts_with("kind") && !line.starts_with("path") && !line.starts_with("[sink]")
    });
    let kept: Vec<&str> = kept.collect();
    let sink = format!(
        "[sink]\nkind = \"kafka\"\nbrokers = \"{brokers}\"\nheaders = true\n{}\n",
        kept.join("\n")
    );
    format!("{}{sink}{}", &text[..at], &text[end..])
}

/// The pipeline, with a topic for its input.
fn from_topic(text: &str, brokers: &str, more: &str) -> String {
    let (at, end) = table(text, "[source]");
    let source = format!(
        "[source]\nkind = \"kafka\"\nbrokers = \"{brokers}\"\ntopic = \"{INPUT}\"\n{more}\n\n"
    );
    format!("{}{source}{}", &text[..at], &text[end..])
}

/// Where a table begins and ends.
fn table(text: &str, header: &str) -> (usize, usize) {
    let at = text.find(&format!("\n{header}")).unwrap() + 1;
    let end = text[at + 1..]
        .find("\n[")
        .map_or(text.len(), |end| at + 1 + end + 1);
    (at, end)
}

fn create_topics(job: &Job) {
    let mut check = job.command(&["check"]);
    let ran = check.arg("--create-topics").output().unwrap();
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(ran.status.success(), "{said}");
}

/// What a job says of itself, if it answers.
pub fn status(job: &Job) -> Option<Value> {
    let mut asked: Command = job.command(&["status", "--json"]);
    let answered = asked.output().unwrap();
    serde_json::from_slice(&answered.stdout).ok()
}

/// Waits until something is so of what a job says of itself.
pub fn wait_until(job: &Job, what: &str, mut is_so: impl FnMut(&Value) -> bool) {
    let started = Instant::now();
    while !status(job).is_some_and(|status| is_so(&status)) {
        assert!(
            started.elapsed() < PATIENCE,
            "not within {PATIENCE:?}: {what}\n{:?}\n{}",
            status(job),
            job.said()
        );
        thread::sleep(Duration::from_millis(20));
    }
}

/// Checkpoints that the worker of a job has finished, and who it is.
pub fn durable(status: &Value) -> u64 {
    status["last"]["checkpoints"]["completed"]
        .as_u64()
        .unwrap_or_default()
}

/// Events that a job has read in all.
pub fn read(status: &Value) -> u64 {
    status["last"]["events"]["read"]
        .as_u64()
        .unwrap_or_default()
}

/// Waits for the end of a job that comes by itself.
pub fn end(job: &Job, running: Running) {
    let status = running.wait();
    assert!(status.success(), "{status}\n{}", job.said());
}

/// Stops a job that would go on.
pub fn stop(job: &Job, running: Running) {
    let stopped = job.command(&["stop"]).output().unwrap();
    assert!(
        stopped.status.success(),
        "{}",
        String::from_utf8_lossy(&stopped.stderr)
    );
    end(job, running);
}
