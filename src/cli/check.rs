//! `slackwater check`: everything that is wrong with a pipeline, before anything runs.

use serde_json::{Value, json};

use crate::cli::{Failure, PipelineArgument, PipelineText, counted, print, say};
use crate::job::{Findings, examine, workers};
use crate::pipeline::Pipeline;
use crate::pipeline::effective::effective;
use crate::pipeline::layers::Layers;
use crate::pipeline::preflight::written_secrets;

/// Checks a pipeline file and what it names: its model, its golden vector, its input files, the place of
/// its outputs.
#[derive(Debug, clap::Args)]
pub struct Check {
    #[command(flatten)]
    pipeline: PipelineArgument,
    /// Print the pipeline file that says all that the job follows: what is said above it and the defaults as well, and
    /// no secrets. What it names is not looked at then
    #[arg(long, conflicts_with_all = ["json", "create_topics"])]
    show: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Make the topics of the sink that are missing
    #[arg(long)]
    create_topics: bool,
}

impl Check {
    pub(super) fn run(self) -> Result<(), Failure> {
        let pipeline = self.pipeline.load(self.json)?;
        if self.show {
            return self.show(&pipeline);
        }
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

    fn show(&self, pipeline: &Pipeline) -> Result<(), Failure> {
        for note in written_secrets(pipeline) {
            say(&format!("note: {note}"));
        }
        let text = PipelineText::read(self.pipeline.pipeline.as_deref())?;
        let layers = Layers::here(&self.pipeline.above.set);
        let shown = effective(&text.name, &text.bytes, &layers);
        print(shown.map_err(Failure::Mistakes)?.trim_end())
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
        "features": pipeline.outgoing_features().count(),
        "model": model.map(|model| json!({ "name": model.name, "digest": model.digest.as_str() })),
    })
}

fn sentence(pipeline: &Pipeline, found: &Findings) -> String {
    let job = &pipeline.job.name;
    let partitions = counted(found.partitions.unwrap_or_default() as u64, "partition");
    let workers = counted(workers(pipeline) as u64, "worker");
    let features = counted(pipeline.outgoing_features().count() as u64, "feature");
    let model = found.model.as_ref().map_or_else(String::new, |model| {
        format!(", model `{}` ({})", model.name, model.digest.as_str())
    });
    format!("job `{job}` is ready: {partitions} on {workers}, {features}{model}")
}
