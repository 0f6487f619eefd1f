//! The reference job on Kafka, with what differs from run to run: brokers, names, checkpoints, delivery.

use anyhow::{Context as _, Result};

use crate::bench::settings::with;

/// The key of each output's topic, and the topic's name before the number of its run.
pub const STREAMS: [(&str, &str); 4] = [
    ("predictions", "ml_predictions"),
    ("validation_errors", "validation_errors"),
    ("processing_errors", "processing_errors"),
    ("late_events", "late_events_dlq"),
];

/// From one checkpoint of the reference pipeline to the next.
pub const REFERENCE_INTERVAL_MS: u32 = 1_000;

/// When outputs come out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// When their checkpoint is durable.
    ExactlyOnce,
    /// At once.
    AtLeastOnce,
}

/// A job of one run, with topics of its own for its outputs.
#[derive(Clone, Debug)]
pub struct Job {
    /// Tells it from those of other runs.
    pub number: usize,
    /// Where the brokers are.
    pub brokers: String,
    /// What it reads.
    pub input: String,
    /// From one checkpoint to the next.
    pub interval_ms: u32,
    /// How it writes.
    pub delivery: Delivery,
}

impl Job {
    /// Topics of its outputs; predictions come first.
    pub fn outputs(&self) -> [String; STREAMS.len()] {
        STREAMS.map(|(_, topic)| format!("{topic}-{}", self.number))
    }

    /// Its name.
    pub fn name(&self) -> String {
        format!("bench-{}", self.number)
    }

    /// The topic of its markers.
    pub fn markers(&self) -> String {
        format!("slackwater-markers.{}", self.name())
    }

    /// The reference pipeline, changed for this job.
    ///
    /// # Errors
    /// When the pipeline has no such keys any more.
    pub fn pipeline(&self, reference: &str) -> Result<String> {
        let quoted = |text: &str| format!("\"{text}\"");
        let mut text = reference.to_owned();
        let mut set = |table: &str, key: &str, value: String| -> Result<()> {
            text = with(&text, table, key, &value).with_context(|| {
                format!("pipelines/user-events.kafka.toml has no `{key}` in [{table}] any more")
            })?;
            Ok(())
        };
        set("job", "name", quoted(&self.name()))?;
        set("source", "brokers", quoted(&self.brokers))?;
        set("source", "topic", quoted(&self.input))?;
        set("sink", "brokers", quoted(&self.brokers))?;
        for ((key, _), topic) in STREAMS.iter().zip(self.outputs()) {
            set("sink", key, quoted(&topic))?;
        }
        set("checkpoint", "store", quoted("file:state"))?;
        set(
            "checkpoint",
            "interval",
            format!("\"{}ms\"", self.interval_ms),
        )?;
        if self.interval_ms < REFERENCE_INTERVAL_MS {
            // As often as that, and not only if there is time.
            set("checkpoint", "min_pause", quoted("0ms"))?;
        }
        Ok(match self.delivery {
            Delivery::ExactlyOnce => text,
            Delivery::AtLeastOnce => {
                text.replace("\n[sink]\n", "\n[sink]\ndelivery = \"at_least_once\"\n")
            }
        })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::fs;

    use super::{Delivery, Job, REFERENCE_INTERVAL_MS};
    use crate::process;

    #[test]
    fn does_the_reference_pipeline_have_what_a_bench_changes() {
        let path = process::root().join("pipelines/user-events.kafka.toml");
        let reference = fs::read_to_string(path).unwrap();
        let job = Job {
            number: 7,
            brokers: "127.0.0.1:1234".to_owned(),
            input: "events".to_owned(),
            interval_ms: 100,
            delivery: Delivery::AtLeastOnce,
        };
        let text = job.pipeline(&reference).unwrap();
        let check = |expected: &str| assert!(text.contains(expected), "{expected}\n{text}");
        check("\nname = \"bench-7\"\n");
        check(
            "\n[sink]\ndelivery = \"at_least_once\"\nkind = \"kafka\"\nbrokers = \"127.0.0.1:1234\"\n",
        );
        check("\npredictions = \"ml_predictions-7\"\n");
        check("\ntopic = \"events\"\n");
        check("\ninterval = \"100ms\"\nmin_pause = \"0ms\"");
        assert!(!text.contains("9092\"\n"), "{text}");
        let exactly_once = Job {
            interval_ms: REFERENCE_INTERVAL_MS,
            delivery: Delivery::ExactlyOnce,
            ..job
        };
        let text = exactly_once.pipeline(&reference).unwrap();
        assert!(!text.contains("\ndelivery"), "{text}");
        assert!(text.contains("\nmin_pause = \"500ms\""), "{text}");
    }
}
