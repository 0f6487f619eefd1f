//! Made-up events of the reference job: the same on every machine, for any number of workers and however
//! they are read.
//!
//! Each partition has a random stream of its own, from the seed and the partition's number, and draws
//! its events one after the other. Nothing else goes in: no clock, no other partition, no reader. So the
//! files that `generate` writes hold exactly what a job with the same settings reads.

mod sampling;
mod source;
mod stream;
mod templates;

use std::io::{self, Write};
use std::sync::Arc;

use slackwater_dataflow::place::PartitionId;

use crate::generator::sampling::{Users, plan};
use crate::generator::stream::EventStream;

pub use source::GeneratorSource;
pub use templates::field_names;

/// Most events of a job. One millisecond each, they span 31 years of event time, and every count stays
/// exact in a double.
pub const EVENTS_MAX: u64 = 1_000_000_000_000;

/// Most partitions of a job: far more than workers, few enough that each may hold a stream.
pub const PARTITIONS_MAX: u32 = 1_024;

/// Most users of a job. Each costs 12 bytes in the tables they are drawn from and about 25 while those are
/// made: with so many, `generate` was measured to need 267 MiB and one second before its first event.
pub const USERS_MAX: u32 = 10_000_000;

/// Largest Zipf exponent. At 10 the first user has 99.9 % of the events; beyond it, weights only
/// underflow.
pub const SKEW_MAX: f64 = 10.0;

/// Bytes of lines gathered before they are written, so that a file gets few and large writes.
const WRITE_BYTES: usize = 256 * 1024;

/// Settings of the generator.
#[derive(Clone, Debug, PartialEq)]
pub struct GeneratorConfig {
    /// Everything random comes from it.
    pub seed: u64,
    /// Number of events of all partitions together.
    pub events: u64,
    /// Events per second of all partitions together; 0 = as fast as they are read. Has no influence on
    /// the events.
    pub rate: u64,
    /// Number of partitions. A user's events are all in partition `xxh3(user) mod partitions`.
    pub partitions: u32,
    /// Number of different users.
    pub users: u32,
    /// Zipf exponent: the user of rank `r` (from 1) has weight `r ^ -skew`; 0 = all alike.
    pub skew: f64,
    /// Share of events, 0 to 1, that are invalid, spread evenly over the ways to be so.
    pub invalid: f64,
    /// Share of events, 0 to 1, that are older than their partition's watermark.
    pub late: f64,
    /// Bound on disorder that the job assumes, in milliseconds: late events go beyond it by 1 s to 60 s,
    /// all others stay well inside.
    pub max_out_of_orderness_ms: u64,
    /// Event time at the start, milliseconds since 1970. Time goes on by 1 ms an event of the job.
    pub start_ms: i64,
}

/// 2026-01-01T00:00:00Z: a fixed day, so that event times never depend on when a job runs.
const START_MS: i64 = 1_767_225_600_000;

impl Default for GeneratorConfig {
    fn default() -> Self {
        GeneratorConfig {
            seed: 1,
            events: 1_000_000,
            rate: 0,
            partitions: 4,
            users: 100_000,
            skew: 1.0,
            invalid: 0.01,
            late: 0.01,
            max_out_of_orderness_ms: 2_000,
            start_ms: START_MS,
        }
    }
}

/// Settings that no events can be made from.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("generator: {name} is {value}, expected {expected}")]
pub struct GeneratorError {
    /// The setting, as in [`GeneratorConfig`].
    pub name: &'static str,
    /// What it is.
    pub value: String,
    /// What it could be.
    pub expected: String,
}

impl GeneratorConfig {
    fn check(&self) -> Result<(), GeneratorError> {
        /// Event times of any number of events stay inside 64 bits with these.
        const TIME_MS_MAX: i64 = i64::MAX / 4;

        let shares = self.invalid + self.late;
        let settings = [
            in_range("events", self.events, 0, EVENTS_MAX),
            in_range("partitions", self.partitions, 1, PARTITIONS_MAX),
            in_range("users", self.users, 1, USERS_MAX),
            in_range("skew", self.skew, 0.0, SKEW_MAX),
            in_range("invalid", self.invalid, 0.0, 1.0),
            in_range("late", self.late, 0.0, 1.0),
            in_range("invalid + late", shares, 0.0, 1.0),
            in_range(
                "max_out_of_orderness_ms",
                self.max_out_of_orderness_ms,
                0,
                TIME_MS_MAX as u64,
            ),
            in_range("start_ms", self.start_ms, -TIME_MS_MAX, TIME_MS_MAX),
        ];
        settings.into_iter().collect()
    }
}

fn in_range<T: PartialOrd + std::fmt::Display>(
    name: &'static str,
    value: T,
    least: T,
    most: T,
) -> Result<(), GeneratorError> {
    // Written so that NaN is refused.
    if value >= least && value <= most {
        return Ok(());
    }
    Err(GeneratorError {
        name,
        value: value.to_string(),
        expected: format!("{least} to {most}"),
    })
}

/// A job's worth of events, planned: who appears in which partition, and how many events each has.
#[derive(Clone, Debug)]
pub struct Generator {
    config: GeneratorConfig,
    /// By partition.
    partitions: Vec<PlannedPartition>,
}

#[derive(Clone, Debug)]
struct PlannedPartition {
    users: Arc<Users>,
    events: u64,
}

impl Generator {
    /// Plans the events; takes a few milliseconds per 100,000 users.
    ///
    /// # Errors
    /// A setting is out of its range.
    pub fn new(config: GeneratorConfig) -> Result<Self, GeneratorError> {
        config.check()?;
        let partitions = plan(&config)
            .into_iter()
            .map(|(users, events)| PlannedPartition {
                users: Arc::new(users),
                events,
            })
            .collect();
        Ok(Generator { config, partitions })
    }

    /// The settings.
    pub fn config(&self) -> &GeneratorConfig {
        &self.config
    }

    /// Number of events of each partition, by its number. They follow the weights of the partition's
    /// users and add up to the events of the job.
    fn partition_events(&self) -> impl ExactSizeIterator<Item = u64> {
        self.partitions.iter().map(|partition| partition.events)
    }

    /// Writes a partition's events to `output`, each as a line; their number. A partition that does not
    /// exist has none.
    ///
    /// # Errors
    /// Those of `output`.
    pub fn write_partition(
        &self,
        partition: PartitionId,
        output: &mut dyn Write,
    ) -> io::Result<u64> {
        let Some(mut stream) = self.stream(partition) else {
            return Ok(0);
        };
        let mut lines = Vec::with_capacity(WRITE_BYTES);
        let mut events = 0;
        while stream.append_next(&mut lines) {
            lines.push(b'\n');
            events += 1;
            if lines.len() >= WRITE_BYTES {
                output.write_all(&lines)?;
                lines.clear();
            }
        }
        output.write_all(&lines)?;
        Ok(events)
    }

    /// The events of a partition from its first.
    fn stream(&self, partition: PartitionId) -> Option<EventStream> {
        let planned = self.partitions.get(partition.0 as usize)?;
        let users = Arc::clone(&planned.users);
        Some(EventStream::new(
            &self.config,
            partition,
            users,
            planned.events,
        ))
    }
}

#[cfg(test)]
mod tests;
