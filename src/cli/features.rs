//! `slackwater features`: what training reads, computed by the code that serves.

use std::path::PathBuf;

use slackwater_connectors::file::Existing;

use crate::cli::run::{announce, folder, run_live, show};
use crate::cli::{Failure, PipelineArgument, load};
use crate::job::{Job, Product};
use crate::status::warnings::Warnings;

/// Writes the feature vector of each event to `<folder>/features/shard-<n>.jsonl`, and rejected
/// events beside them.
#[derive(Debug, clap::Args)]
pub struct Features {
    #[command(flatten)]
    pipeline: PipelineArgument,
    /// Folder to write to
    #[arg(long)]
    out: PathBuf,
    /// Replace what an earlier run left there
    #[arg(long)]
    overwrite: bool,
    /// End with one JSON object on stdout instead of a table
    #[arg(long)]
    json: bool,
}

impl Features {
    pub(super) fn run(self) -> Result<(), Failure> {
        let pipeline = load(self.pipeline.pipeline.as_deref(), self.json)?;
        let existing = if self.overwrite {
            Existing::Replace
        } else {
            Existing::Refuse
        };
        let to = folder(&self.out.display().to_string(), self.overwrite);
        let warnings = Warnings::listen();
        let job = Job::prepare(&pipeline, &Product::Features(self.out), existing)?;
        announce(&pipeline, &to);
        show(
            &run_live(&pipeline, job, &warnings, false, None)?,
            self.json,
        )
    }
}
