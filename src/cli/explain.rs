//! `slackwater explain`: what a pipeline will run as, before it runs.

use clap::ValueEnum;

use crate::cli::{Failure, PipelineArgument, print};
use crate::job::workers;
use crate::pipeline::outline::Outline;

/// Prints the graph of a pipeline: its stages, what each does, where results go. Opens nothing that the
/// pipeline names.
#[derive(Debug, clap::Args)]
pub struct Explain {
    #[command(flatten)]
    pipeline: PipelineArgument,
    /// How to write the graph
    #[arg(long, value_enum, default_value_t = Format::Text, conflicts_with = "json")]
    format: Format,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// A way of writing a graph.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// For reading
    Text,
    /// For Graphviz
    Dot,
    /// For Markdown
    Mermaid,
}

impl Explain {
    pub(super) fn run(self) -> Result<(), Failure> {
        let pipeline = self.pipeline.load(self.json)?;
        let outline = Outline::new(&pipeline, workers(&pipeline));
        let text = match self.format {
            // Texts and numbers always serialise.
            _ if self.json => serde_json::to_string(&outline).unwrap_or_default(),
            Format::Text => outline.to_text(),
            Format::Dot => outline.to_dot(),
            Format::Mermaid => outline.to_mermaid(),
        };
        print(text.trim_end())
    }
}
