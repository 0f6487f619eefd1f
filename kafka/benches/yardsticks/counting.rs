//! What has come out of a job: when all of it was there, and how much it is.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::Message as _;
use serde_json::{Value, json};

use crate::Failure;
use crate::arguments::Arguments;
use crate::clients::{PATIENCE, Reader, now_ms};
use crate::sample::{self, Sampled};

/// Between two looks at where topics end.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Topics that have not grown for so long will not: outputs come each second.
const SILENCE: Duration = Duration::from_millis(2_500);
/// After the last record that was expected, so long is waited for one too many.
const ONE_TOO_MANY: Duration = Duration::from_secs(1);
/// Records of a sample.
const SAMPLE: u64 = 20_000;

/// Waits until topics hold so many committed records and grow no more, and says when they grew last. Costs a question for
/// where they end, instead of reading all of them beside the job that is measured.
pub fn settle(arguments: &Arguments) -> Result<Value, Failure> {
    let reader = Reader::of(arguments.text("brokers")?, &arguments.list("topics")?)?;
    let wanted: i64 = arguments.number("records")?;
    let (mut ends, mut grown, mut grown_at_ms) = (0, Instant::now(), now_ms());
    loop {
        match reader.ends() {
            Ok(found) if found != ends => {
                (ends, grown, grown_at_ms) = (found, Instant::now(), now_ms());
            }
            Ok(_) => {}
            // A topic that was made a moment ago may have no leader yet.
            Err(error) if grown.elapsed() > PATIENCE => return Err(error),
            Err(_) => {}
        }
        if ends >= wanted && grown.elapsed() > SILENCE {
            return Ok(json!({ "settled_at_ms": grown_at_ms, "ends": ends }));
        }
        if grown.elapsed() > PATIENCE {
            let missing =
                format!("{ends} of {wanted} records came, and then none for {PATIENCE:?}");
            return Err(missing.into());
        }
        thread::sleep(LOOK_AGAIN);
    }
}

/// Counts the committed records of topics by reading them, and keeps some of them if that was asked for.
pub fn count(arguments: &Arguments) -> Result<Value, Failure> {
    let topics = arguments.list("topics")?;
    let reader = Reader::of(arguments.text("brokers")?, &topics)?;
    let wanted: u64 = arguments.number("records")?;
    let every = (wanted / SAMPLE).max(1);
    let is_sampled = arguments.given("sample").is_some();
    let mut by_topic: BTreeMap<String, u64> = topics
        .iter()
        .map(|topic| ((*topic).to_owned(), 0))
        .collect();
    let (mut records, mut bytes, mut sampled) = (0_u64, 0, Vec::new());
    reader.begin()?;
    loop {
        let patience = match records >= wanted {
            true => ONE_TOO_MANY,
            false => PATIENCE / 4,
        };
        let Some(message) = reader.next(patience)? else {
            break;
        };
        if is_sampled && records.is_multiple_of(every) {
            sampled.push(Sampled::of(&message));
        }
        records += 1;
        bytes += message.payload().map_or(0, <[u8]>::len) + message.key().map_or(0, <[u8]>::len);
        if let Some(count) = by_topic.get_mut(message.topic()) {
            *count += 1;
        }
    }
    if let Some(path) = arguments.given("sample") {
        sample::write(path, &sampled)?;
    }
    let sample_bytes: usize = sampled.iter().map(Sampled::bytes).sum();
    Ok(json!({
        "records": records,
        "bytes_per_record": bytes as f64 / records.max(1) as f64,
        "sample_bytes_per_record": sample_bytes as f64 / sampled.len().max(1) as f64,
        "by_topic": by_topic,
    }))
}
