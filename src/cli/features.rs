//! `slackwater features`: what training reads, computed by the code that serves.

use std::path::PathBuf;

use slackwater_connectors::file::Existing;

use crate::cli::run::{announce, folder, run_live, show};
use crate::cli::{Failure, PipelineArgument};
use crate::job::{FeatureFiles, Job, Product, RowForm};
use crate::status::warnings::Warnings;

/// Writes the feature vector of each event to `<folder>/features/shard-<n>.jsonl`, or `.parquet`, and rejected
/// events beside them.
#[derive(Debug, clap::Args)]
pub struct Features {
    #[command(flatten)]
    pipeline: PipelineArgument,
    /// Folder to write to
    #[arg(long)]
    out: PathBuf,
    /// Pass this value of each record through: a field, or any other name of the JSON object; may be given more than once
    #[arg(long = "label", value_name = "FIELD")]
    labels: Vec<String>,
    /// What to write: lines of JSON, or tables in columns
    #[arg(long, value_enum, default_value_t)]
    format: RowForm,
    /// Replace what an earlier run left there
    #[arg(long)]
    overwrite: bool,
    /// End with one JSON object on stdout instead of a table
    #[arg(long)]
    json: bool,
}

impl Features {
    pub(super) fn run(self) -> Result<(), Failure> {
        let pipeline = self.pipeline.load(self.json)?;
        let existing = if self.overwrite {
            Existing::Replace
        } else {
            Existing::Refuse
        };
        let to = folder(&self.out.display().to_string(), self.overwrite);
        let warnings = Warnings::listen();
        let product = Product::Features(FeatureFiles {
            root: self.out,
            labels: distinct(self.labels),
            form: self.format,
        });
        let job = Job::prepare(&pipeline, &product, existing)?;
        announce(&pipeline, &to);
        show(
            &run_live(&pipeline, job, &warnings, false, None)?,
            self.json,
        )
    }
}

/// Each label once, where it stands first.
fn distinct(labels: Vec<String>) -> Vec<String> {
    let mut distinct: Vec<String> = Vec::new();
    for label in labels {
        if !distinct.contains(&label) {
            distinct.push(label);
        }
    }
    distinct
}
