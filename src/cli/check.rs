//! `slackwater check`: everything that is wrong with a pipeline, before anything runs.

use serde_json::{Value, json};

use crate::cli::{Failure, PipelineArgument, counted, load, print, say};
use crate::job::{Findings, examine, workers};
use crate::pipeline::Pipeline;
use crate::pipeline::preflight::written_secrets;

/// Checks a pipeline file and what it names: its model, its golden vector, its input files, the place of
/// its outputs.
#[derive(Debug, clap::Args)]
pub struct Check {
    #[command(flatten)]
    pipeline: PipelineArgument,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Make the topics of the sink that are missing
    #[arg(long)]
    create_topics: bool,
}

impl Check {
    pub(super) fn run(self) -> Result<(), Failure> {
        let pipeline = load(self.pipeline.pipeline.as_deref(), self.json)?;
        let found = examine(&pipeline, self.create_topics);
        for topic in found.created.iter().filter(|_| !self.json) {
            say(&format!("made topic `{topic}`"));
        }
        // The embedded pipeline replaces its outputs without being told to.
        let is_reference = self.pipeline.pipeline.is_none();
        let note = found.existing.as_ref().filter(|_| !is_reference);
        let note = note.map(|path| {
            let path = path.display();
            format!("`{path}` holds the outputs of an earlier run; `run` needs `--overwrite`")
        });
        let mut notes = written_secrets(&pipeline);
        notes.extend(note);
        if self.json {
            print(&object(&pipeline, &found, &notes).to_string())?;
        } else {
            notes.iter().for_each(|note| say(&format!("note: {note}")));
        }
        if !found.faults.is_empty() {
            return Err(Failure::Faults(found.faults));
        }
        if self.json {
            return Ok(());
        }
        print(&sentence(&pipeline, &found))
    }
}

fn object(pipeline: &Pipeline, found: &Findings, notes: &[String]) -> Value {
    let faults: Vec<_> = found.faults.iter().map(ToString::to_string).collect();
    let model = found.model.as_ref();
    json!({
        "mistakes": [],
        "preflight": faults,
        "notes": notes,
        "job": pipeline.job.name,
        "workers": workers(pipeline),
        "partitions": found.partitions,
        "created_topics": found.created,
        "features": pipeline.model.features.len(),
        "model": model.map(|model| json!({ "name": model.name, "digest": model.digest.as_str() })),
    })
}

fn sentence(pipeline: &Pipeline, found: &Findings) -> String {
    let job = &pipeline.job.name;
    let partitions = counted(found.partitions.unwrap_or_default() as u64, "partition");
    let workers = counted(workers(pipeline) as u64, "worker");
    let features = counted(pipeline.model.features.len() as u64, "feature");
    let model = found.model.as_ref().map_or_else(String::new, |model| {
        format!(", model `{}` ({})", model.name, model.digest.as_str())
    });
    format!("job `{job}` is ready: {partitions} on {workers}, {features}{model}")
}
