//! `slackwater check`: everything that is wrong with a pipeline, before anything runs.

use std::sync::Arc;

use slackwater_dataflow::clock::{Clock, SystemClock};

use crate::cli::{Failure, PipelineArgument, counted, load, print};
use crate::job::workers;
use crate::pipeline::graph::{load_model, open_source};

/// Checks a pipeline file and what it names: its model, its golden vector, its input files.
#[derive(Debug, clap::Args)]
pub struct Check {
    #[command(flatten)]
    pipeline: PipelineArgument,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Check {
    pub(super) fn run(self) -> Result<(), Failure> {
        let pipeline = load(self.pipeline.pipeline.as_deref(), self.json)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
        let model = load_model(&pipeline)?;
        let source = open_source(&pipeline, &clock)?;
        let (partitions, features) = (source.partitions().len(), model.info().features);
        let (job, workers) = (&pipeline.job.name, workers(&pipeline));
        let (name, digest) = (&model.info().name, model.info().digest.as_str());
        print(&if self.json {
            serde_json::json!({
                "mistakes": [],
                "job": job,
                "workers": workers,
                "partitions": partitions,
                "features": features,
                "model": { "name": name, "digest": digest },
            })
            .to_string()
        } else {
            let partitions = counted(partitions as u64, "partition");
            let workers = counted(workers as u64, "worker");
            let features = counted(features as u64, "feature");
            format!(
                "job `{job}` is ready: {partitions} on {workers}, {features}, model `{name}` ({digest})"
            )
        })
    }
}
