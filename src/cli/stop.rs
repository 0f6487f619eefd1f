//! `slackwater stop`: a job that runs somewhere else on this machine ends in order.

use serde_json::json;

use crate::cli::supervised::ask;
use crate::cli::{Failure, PipelineArgument, print, say};
use crate::supervisor::protocol::{Answer, Ask};

/// Stops a job with checkpoints that `run` runs: after a final checkpoint, from which it goes on when it is run again.
#[derive(Debug, clap::Args)]
pub struct Stop {
    #[command(flatten)]
    pipeline: PipelineArgument,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Stop {
    pub(super) fn run(self) -> Result<(), Failure> {
        let pipeline = self.pipeline.load(self.json)?;
        let job = &pipeline.job.name;
        say(&format!("stopping job `{job}`, waiting for its end"));
        // As long as it takes: whoever waits no longer can end this, and the job stops all the same.
        match ask(&pipeline, Ask::Stop, None)? {
            Answer::Ended(code) if self.json => {
                print(&json!({ "job": job, "exit_code": code }).to_string())
            }
            Answer::Ended(0) => print(&format!("job `{job}` has stopped")),
            Answer::Ended(code) => print(&format!("job `{job}` has ended with exit code {code}")),
            other => Err(Failure::Answer(other)),
        }
    }
}
