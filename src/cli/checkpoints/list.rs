//! `slackwater checkpoints list`.

use comfy_table::{Table, presets};
use jiff::Timestamp;
use serde_json::{Value, json};
use slackwater_dataflow::checkpoint::log::Found;
use slackwater_dataflow::checkpoint::manifest::Manifest;
use slackwater_operators::reject::grouped;

use crate::cli::checkpoints::open;
use crate::cli::{Failure, PipelineArgument, print};

/// Lists the checkpoints in a job's store.
#[derive(Debug, clap::Args)]
pub struct List {
    #[command(flatten)]
    pipeline: PipelineArgument,
    /// Print one JSON array
    #[arg(long)]
    json: bool,
}

impl List {
    pub(super) fn run(self) -> Result<(), Failure> {
        let opened = open(&self.pipeline, self.json)?;
        if self.json {
            let all = opened.found.iter().map(object).collect::<Vec<_>>();
            return print(&Value::from(all).to_string());
        }
        let mut table = Table::new();
        table.load_style(presets::UTF8_HORIZONTAL_ONLY);
        table.set_header([
            "number",
            "epoch",
            "id",
            "taken",
            "workers",
            "state",
            "read",
            "to publish",
            "",
        ]);
        for found in &opened.found {
            match &found.manifest {
                Ok(manifest) => table.add_row(row(manifest)),
                Err(error) => table.add_row([found.number.to_string(), error.to_string()]),
            };
        }
        print(&table.to_string())
    }
}

fn state_bytes(manifest: &Manifest) -> u64 {
    manifest.chains.iter().flatten().map(|it| it.length).sum()
}

pub(in crate::cli) fn time(ms: i64) -> String {
    Timestamp::from_millisecond(ms).map_or_else(|_| ms.to_string(), |time| time.to_string())
}

fn row(manifest: &Manifest) -> [String; 9] {
    let read = manifest.totals.get("read").copied().unwrap_or_default();
    [
        manifest.number.to_string(),
        manifest.epoch.to_string(),
        manifest.checkpoint.to_string(),
        time(manifest.created_ms),
        manifest.workers.to_string(),
        format!("{} B", grouped(state_bytes(manifest))),
        grouped(read),
        format!("{} epochs", manifest.unconfirmed.len()),
        if manifest.complete { "complete" } else { "" }.to_owned(),
    ]
}

fn object(found: &Found) -> Value {
    match &found.manifest {
        Ok(manifest) => json!({
            "number": manifest.number,
            "generation": manifest.generation,
            "epoch": manifest.epoch,
            "checkpoint": manifest.checkpoint,
            "created_ms": manifest.created_ms,
            "workers": manifest.workers,
            "state_bytes": state_bytes(manifest),
            "unconfirmed": manifest.unconfirmed.len(),
            "totals": manifest.totals,
            "complete": manifest.complete,
        }),
        Err(error) => json!({ "number": found.number, "error": error.to_string() }),
    }
}
