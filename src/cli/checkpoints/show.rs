//! `slackwater checkpoints show`.

use crate::cli::checkpoints::open;
use crate::cli::{Failure, PipelineArgument, print};

/// Prints a checkpoint's manifest as JSON; its fields are described in docs/checkpoint-format.md.
#[derive(Debug, clap::Args)]
pub struct Show {
    #[command(flatten)]
    pipeline: PipelineArgument,
    /// The checkpoint's number; the newest if none is given
    #[arg(long)]
    number: Option<u64>,
}

impl Show {
    pub(super) fn run(self) -> Result<(), Failure> {
        let opened = open(&self.pipeline, true)?;
        let manifest = opened.manifest(self.number)?;
        let text = serde_json::to_string_pretty(manifest);
        print(&text.map_err(|error| opened.failure(error))?)
    }
}
