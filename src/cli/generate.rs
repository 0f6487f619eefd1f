//! `slackwater generate`: the generator's events as files, for tests, benches and other programs.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use slackwater_dataflow::place::PartitionId;

use crate::cli::{Failure, PipelineArgument, counted, load, output_error, print};
use crate::pipeline::graph::{PreflightError, generator};
use crate::pipeline::spec::SourceSpec;

/// Writes generated events to `part-<n>.jsonl`, one file per partition.
#[derive(Debug, clap::Args)]
pub struct Generate {
    #[command(flatten)]
    pipeline: PipelineArgument,
    /// Folder to write to; made if it is not there
    #[arg(long)]
    out: PathBuf,
    /// Number of events, instead of the pipeline's
    #[arg(long)]
    events: Option<u64>,
    /// Seed, instead of the pipeline's
    #[arg(long)]
    seed: Option<u64>,
    /// Replace the files of an earlier call
    #[arg(long)]
    overwrite: bool,
}

impl Generate {
    pub(super) fn run(self) -> Result<(), Failure> {
        let mut pipeline = load(self.pipeline.pipeline.as_deref(), false)?;
        // A pipeline that reads files says nothing about the generator: it is the embedded one's.
        if !matches!(pipeline.source, SourceSpec::Generator(_)) {
            pipeline.source = load(None, false)?.source;
        }
        if let SourceSpec::Generator(spec) = &mut pipeline.source {
            spec.events = self.events.unwrap_or(spec.events);
            spec.seed = self.seed.unwrap_or(spec.seed);
        }
        let generator = generator(&pipeline)?;
        fs::create_dir_all(&self.out).map_err(|error| output_error(&self.out, error))?;
        self.clear()?;
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
        let files = counted(u64::from(partitions), "file");
        let events = counted(events, "event");
        print(&format!("{events} in {files} below `{out}`"))
    }

    /// Removes the files of an earlier call, which would be read as further partitions.
    fn clear(&self) -> Result<(), Failure> {
        let failed = |error| output_error(&self.out, error);
        for entry in fs::read_dir(&self.out).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if !(name.starts_with("part-") && name.ends_with(".jsonl")) {
                continue;
            }
            if !self.overwrite {
                return Err(PreflightError::OutputsExist { path }.into());
            }
            fs::remove_file(&path).map_err(|error| output_error(&path, error))?;
        }
        Ok(())
    }
}
