//! `slackwater model show`.

use std::fmt::Write as _;

use serde_json::json;
use slackwater_models::spec::GOLDEN_TOLERANCE;
use slackwater_models::{Model, OutputInfo};

use crate::cli::{Failure, PipelineArgument, counted, print};
use crate::pipeline::graph::load_model;
use crate::pipeline::plan::Plans;

/// Loads a pipeline's model, as a run would, and says what it is.
#[derive(Debug, clap::Args)]
pub struct Show {
    #[command(flatten)]
    pipeline: PipelineArgument,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Show {
    pub(super) fn run(self) -> Result<(), Failure> {
        let pipeline = self.pipeline.load(self.json)?;
        let model = load_model(&pipeline)?;
        let features = Plans::new(&pipeline, 1).feature_rows.names;
        print(&if self.json {
            object(&model, &features)
        } else {
            text(&model, &features)
        })
    }
}

fn object(model: &Model, features: &[String]) -> String {
    let info = model.info();
    let golden = model.golden().map(
        |golden| json!({ "rows": golden.rows, "greatest_difference": golden.greatest_difference }),
    );
    let outputs = info.outputs.iter().map(
        |output| json!({ "name": output.name, "tensor": output.tensor, "index": output.index }),
    );
    let object = json!({
        "name": info.name,
        "version": info.version,
        "digest": info.digest.as_str(),
        "input": info.input,
        "outputs": outputs.collect::<Vec<_>>(),
        "batch": info.batch,
        "features": features,
        "golden": golden,
    });
    object.to_string()
}

fn text(model: &Model, features: &[String]) -> String {
    let info = model.info();
    let golden = model.golden().map_or("none".to_owned(), |golden| {
        let rows = counted(golden.rows as u64, "row");
        let difference = golden.greatest_difference;
        format!("{rows}, greatest difference {difference:?} (allowed: {GOLDEN_TOLERANCE:?})")
    });
    let mut text = String::new();
    let outputs = info.outputs.iter().map(|output| {
        let OutputInfo {
            name,
            tensor,
            index,
        } = output;
        (
            "output",
            format!("{name}: {tensor}, value {index} of each row"),
        )
    });
    let rows = [
        ("model", format!("{}, version {}", info.name, info.version)),
        ("digest", info.digest.to_string()),
        ("input", info.input.clone()),
    ];
    let more = [
        ("batch", info.batch.to_string()),
        ("golden", golden),
        (
            "features",
            counted(features.len() as u64, "number") + ", in this order:",
        ),
    ];
    for (name, value) in rows.into_iter().chain(outputs).chain(more) {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name:<9} {}", value.escape_debug());
    }
    let width = features.len().saturating_sub(1).to_string().len();
    for (at, feature) in features.iter().enumerate() {
        let _ = writeln!(text, "  {at:>width$} {}", feature.escape_debug());
    }
    text.truncate(text.trim_end().len());
    text
}
