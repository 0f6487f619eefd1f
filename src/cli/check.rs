//! `slackwater check`: everything that is wrong with a pipeline, before anything runs.

use serde_json::{Value, json};

use crate::cli::{Failure, PipelineArgument, PipelineText, counted, print, say};
use crate::job::{Findings, examine, workers};
use crate::pipeline::Pipeline;
use crate::pipeline::effective::effective;
use crate::pipeline::layers::Layers;
use crate::pipeline::preflight::written_secrets;
use crate::pipeline::spec::{FeatureSpec, Order, Over, SourceSpec};

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
        if self.show {
            return self.show();
        }
        let pipeline = self.pipeline.load(self.json)?;
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
        notes.extend(in_arrival_order(&pipeline));
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

    fn show(&self) -> Result<(), Failure> {
        let text = PipelineText::read(self.pipeline.pipeline.as_deref())?;
        let layers = Layers::here(&self.pipeline.above.set);
        let shown = effective(&text.name, &text.bytes, &layers).map_err(Failure::Mistakes)?;
        for note in written_secrets(&shown.pipeline) {
            say(&format!("note: {note}"));
        }
        print(shown.text.trim_end())
    }
}

/// What features over windows mean in the order of arrival, and what they cost, that a person may not think of.
fn in_arrival_order(pipeline: &Pipeline) -> Vec<String> {
    if pipeline.job.order != Order::Arrival {
        return Vec::new();
    }
    let of_windows: Vec<_> = pipeline.features_of_windows().collect();
    let mut notes = Vec::new();
    if of_windows
        .iter()
        .any(|feature| feature.window.key.is_some())
    {
        notes.push(
            "features of another key, in order = \"arrival\": between partitions it is chance which event comes first, and so \
             they differ from run to run; order = \"event_time\" makes them the same each time"
                .to_owned(),
        );
    }
    let may_be_silent = match &pipeline.source {
        SourceSpec::Kafka(_) => true,
        SourceSpec::File { follow, .. } => *follow,
        SourceSpec::Generator(_) | SourceSpec::Stdin => false,
    };
    let of_time = |feature: &&FeatureSpec| matches!(feature.window.over, Over::Time(_));
    let keeps = may_be_silent && pipeline.event.idle_timeout_ms.is_none();
    if keeps && of_windows.iter().any(of_time) {
        notes.push(
            "windows of time, in order = \"arrival\" and without `idle_timeout`: while one partition is silent, all events \
             that have come stay in memory, since it might bring older ones"
                .to_owned(),
        );
    }
    notes
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
