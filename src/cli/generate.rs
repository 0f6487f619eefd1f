//! `slackwater generate`: the generator's events as files, for tests, benches and other programs.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use slackwater_connectors::generator::{EVENTS_MAX, Generator};
use slackwater_dataflow::place::PartitionId;
use slackwater_dataflow::sink::SinkError;

use crate::cli::{Failure, PipelineArgument, counted, output_error, print, say};
use crate::pipeline::graph::generator_config;
use crate::pipeline::preflight::{PreflightError, generated_fields, not_generated};

/// Writes generated events to `part-<n>.jsonl`, one file per partition.
#[derive(Debug, clap::Args)]
pub struct Generate {
    #[command(flatten)]
    pipeline: PipelineArgument,
    /// Folder to write to; made if it is not there
    #[arg(long)]
    out: PathBuf,
    /// Number of events, instead of the pipeline's
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=EVENTS_MAX))]
    events: Option<u64>,
    /// Seed, instead of the pipeline's
    #[arg(long)]
    seed: Option<u64>,
    /// Replace the files of an earlier call
    #[arg(long)]
    overwrite: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Generate {
    pub(super) fn run(self) -> Result<(), Failure> {
        let pipeline = self.pipeline.load(self.json)?;
        let mut config = generator_config(&pipeline);
        config.events = self.events.unwrap_or(config.events);
        config.seed = self.seed.unwrap_or(config.seed);
        let generator = Generator::new(config).map_err(PreflightError::from)?;
        self.prepare()?;
        if let Some(field) = not_generated(&pipeline).next() {
            let (name, made) = (&field.name, generated_fields());
            say(&format!(
                "note: generated events are those of the reference job, with {made}; this pipeline's `{name}` is not among them"
            ));
        }
        let partitions = generator.config().partitions;
        // Sorted paths number the partitions when the files are read, so all numbers have one width.
        let width = partitions.saturating_sub(1).to_string().len();
        let mut events = 0;
        for partition in 0..partitions {
            let path = self.out.join(format!("part-{partition:0width$}.jsonl"));
            let written = File::create(&path).and_then(|file| {
                let mut file = BufWriter::with_capacity(1 << 20, file);
                let events = generator.write_partition(PartitionId(partition), &mut file)?;
                file.flush()?;
                Ok(events)
            });
            events += written.map_err(|error| output_error(&path, error))?;
        }
        let out = self.out.display();
        print(&if self.json {
            serde_json::json!({ "events": events, "files": partitions, "out": out.to_string() })
                .to_string()
        } else {
            let files = counted(u64::from(partitions), "file");
            let events = counted(events, "event");
            format!("{events} in {files} below `{out}`")
        })
    }

    /// Makes the folder, and removes the files of an earlier call, which would be read as further
    /// partitions.
    fn prepare(&self) -> Result<(), PreflightError> {
        let failed = |action, source| SinkError {
            action,
            subject: self.out.display().to_string(),
            source,
        };
        if self.out.exists() && !self.out.is_dir() {
            let error = io::Error::new(io::ErrorKind::NotADirectory, "it is not a folder");
            return Err(failed("write below", error).into());
        }
        fs::create_dir_all(&self.out).map_err(|error| failed("create", error))?;
        for entry in fs::read_dir(&self.out).map_err(|error| failed("list", error))? {
            let entry = entry.map_err(|error| failed("list", error))?;
            let path = entry.path();
            if !entry.file_name().to_str().is_some_and(is_part) {
                continue;
            }
            if !self.overwrite {
                return Err(PreflightError::OutputsExist { path });
            }
            fs::remove_file(&path).map_err(|source| SinkError {
                action: "delete",
                subject: path.display().to_string(),
                source,
            })?;
        }
        Ok(())
    }
}

/// Whether a file's name is `part-<n>.jsonl`.
fn is_part(name: &str) -> bool {
    let number = name
        .strip_prefix("part-")
        .and_then(|rest| rest.strip_suffix(".jsonl"));
    number.is_some_and(|number| {
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}
