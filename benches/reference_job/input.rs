//! The events of a run, made before any clock starts: partitions as lines in memory.

use std::sync::Arc;

use slackwater_connectors::generator::{Generator, GeneratorConfig};
use slackwater_dataflow::place::PartitionId;

use crate::Failure;

/// Events of a run unless told otherwise.
const EVENTS: u64 = 1_000_000;
/// Users of a run unless told otherwise.
const USERS: u32 = 100_000;

/// What was asked for.
#[derive(Clone, Debug)]
pub struct Options {
    /// Threads.
    pub workers: usize,
    /// Number of events.
    pub events: u64,
    /// Number of users.
    pub users: u32,
    /// Whether to read the clock of processor time, which a simulator of the processor does not have.
    pub clock: bool,
    /// Whose memory to measure.
    pub job: String,
    /// With which events.
    pub case: String,
}

impl Options {
    /// Reads `--name value` pairs.
    pub fn parse(arguments: &[String]) -> Result<Self, Failure> {
        let mut options = Options {
            workers: 1,
            events: EVENTS,
            users: USERS,
            clock: true,
            job: "engine".to_owned(),
            case: "full".to_owned(),
        };
        for pair in arguments.chunks(2) {
            let [name, value] = pair else {
                return Err(format!("`{}` has no value", pair.concat()).into());
            };
            let number = value.replace('_', "");
            match name.as_str() {
                "--workers" => options.workers = number.parse()?,
                "--events" => options.events = number.parse()?,
                "--users" => options.users = number.parse()?,
                "--clock" => options.clock = value != "off",
                "--job" => options.job.clone_from(value),
                "--case" => options.case.clone_from(value),
                other => return Err(format!("no option `{other}`").into()),
            }
        }
        Ok(options)
    }
}

/// One partition: its lines, and where each record begins and ends.
#[derive(Clone, Debug)]
pub struct PartitionLines {
    /// All lines.
    pub bytes: Arc<[u8]>,
    /// Start and end of each record, its line feed left out.
    pub records: Arc<[(usize, usize)]>,
}

impl PartitionLines {
    /// Finds the records of whole lines.
    pub fn of(bytes: Vec<u8>) -> Self {
        let mut start = 0;
        let mut records = Vec::new();
        for (end, _) in bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
            records.push((start, end));
            start = end + 1;
        }
        PartitionLines {
            bytes: bytes.into(),
            records: records.into(),
        }
    }
}

/// Makes the reference job's events, with seed 1.
pub fn generator(options: &Options) -> Result<Generator, Failure> {
    Ok(Generator::new(GeneratorConfig {
        events: options.events,
        users: options.users,
        ..GeneratorConfig::default()
    })?)
}

/// The events of a run.
#[derive(Clone, Debug)]
pub struct Input {
    /// What they were made from.
    pub options: Options,
    /// By partition.
    pub partitions: Vec<PartitionLines>,
}

impl Input {
    /// Bytes of the lines, and of what says where each begins and ends.
    pub fn bytes(&self) -> u64 {
        let lines = self
            .partitions
            .iter()
            .map(|lines| lines.bytes.len())
            .sum::<usize>();
        lines as u64 + self.options.events * size_of::<(usize, usize)>() as u64
    }

    /// Makes every second event one of the same user.
    pub fn heat(&mut self) {
        /// What stands before and behind the name of an event's user.
        const BEFORE: &[u8] = b"\"user_id\":\"user_";
        const HOT: &[u8] = b"hot";
        for partition in &mut self.partitions {
            let mut lines = Vec::with_capacity(partition.bytes.len());
            let of_partition = partition.bytes.split_inclusive(|&byte| byte == b'\n');
            for (nth, line) in of_partition.enumerate() {
                let name = line.windows(BEFORE.len()).position(|part| part == BEFORE);
                let name = name.map(|at| at + BEFORE.len()).filter(|_| nth % 2 == 0);
                let parts = name.and_then(|at| {
                    let (before, after) = line.split_at_checked(at)?;
                    let end = after.iter().position(|&byte| byte == b'"')?;
                    Some((before, after.get(end..)?))
                });
                match parts {
                    Some((before, after)) => lines.extend([before, HOT, after].concat()),
                    None => lines.extend_from_slice(line),
                }
            }
            *partition = PartitionLines::of(lines);
        }
    }

    /// Keeps the lines only.
    pub fn forget_records(&mut self) {
        for partition in &mut self.partitions {
            partition.records = Arc::new([]);
        }
    }

    /// All events, in memory.
    pub fn generate(options: &Options) -> Result<Self, Failure> {
        let generator = generator(options)?;
        let mut partitions = Vec::new();
        for number in 0..generator.config().partitions {
            let mut lines = Vec::new();
            generator.write_partition(PartitionId(number), &mut lines)?;
            partitions.push(PartitionLines::of(lines));
        }
        Ok(Input {
            options: options.clone(),
            partitions,
        })
    }
}
