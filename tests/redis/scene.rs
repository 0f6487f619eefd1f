//! Jobs with a lookup, and the same without, which say what must come out.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use slackwater_services::redis::{Redis, install};

use crate::content::{STREAMS, committed};
use crate::job::{Job, Variation};

/// A server with nothing in it.
pub fn redis(options: &[&str]) -> Redis {
    install(|_| {}).unwrap();
    Redis::start(options).unwrap()
}

/// By how much longer than in the gate tests take, as the environment says.
pub fn scale() -> u32 {
    let scale = std::env::var("SLACKWATER_SCALE").ok();
    scale.map_or(1, |scale| scale.parse().unwrap())
}

/// So many events, at so many a second, with a checkpoint each 0.2 s.
pub fn variation(events: u64, rate: u64) -> Variation {
    Variation {
        seed: 7,
        order: "arrival",
        events,
        rate,
        interval_ms: Some(200),
        workers: 2,
    }
}

/// The feature that the lookup is to take the place of.
const CONSTANT: &str = "name = \"one\"\nof = \"constant\"\nvalue = 1.0\n";

/// The reference job with that feature looked up, or with another one that is always the same.
pub fn job(variation: Variation, feature: &str, lookup: &str) -> Job {
    let mut job = Job::new(variation);
    job.rewrite(|text| {
        assert!(text.contains(CONSTANT));
        let text = text.replace(CONSTANT, &format!("name = \"one\"\n{feature}\n"));
        text.replacen("\n[history]", &format!("\n{lookup}\n[history]"), 1)
    });
    job
}

/// One whose feature is always this.
pub fn constant(variation: Variation, value: f64) -> Job {
    job(
        variation,
        &format!("of = \"constant\"\nvalue = {value:?}"),
        "",
    )
}

/// One whose feature is in Redis, 1 if it is not; with more keys of the lookup.
pub fn looking_up(variation: Variation, url: &str, more: &str) -> Job {
    let lookup = format!(
        "[[lookup]]\nname = \"profile\"\nstore = \"redis\"\nurl = \"{url}\"\nkey = \"profile:{{user_id}}\"\n\
         read = \"hash\"\nfields = [{{ name = \"weight\", default = 1.0 }}]\n{more}\n"
    );
    job(
        variation,
        "of = \"lookup\"\nfrom = \"profile.weight\"",
        &lookup,
    )
}

/// Runs a job to its end, which is a good one.
pub fn run(job: &Job) {
    let ended = job.start().wait();
    assert!(ended.success(), "{ended}\n{}", job.said());
}

/// All records that a job has committed, by stream and place of the event; each event has one.
pub type Outcomes = BTreeMap<(u64, u64), (&'static str, Value)>;

/// Partition and offset of the event that a record is made of.
pub fn place(record: &Value) -> (u64, u64) {
    let place = record.get("source").unwrap_or(record);
    let number = |name: &str| place[name].as_u64().unwrap();
    (number("partition"), number("offset"))
}

/// What became of each event, by partition and offset.
pub fn outcomes(outputs: &Path) -> Outcomes {
    let mut outcomes = Outcomes::new();
    for stream in STREAMS {
        for shard in 0..2 {
            for line in committed(outputs, stream, shard).lines() {
                let record: Value = serde_json::from_str(line).unwrap();
                let place = place(&record);
                let before = outcomes.insert(place, (stream, record));
                assert!(before.is_none(), "{place:?} twice: {before:?}");
            }
        }
    }
    outcomes
}
