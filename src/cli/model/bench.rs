//! `slackwater model bench`: whether a pipeline's batch is a good one, on the machine that will score.

use std::time::{Duration, Instant};

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;
use slackwater_dataflow::run::RunError;
use slackwater_models::{LoadError, Model, ScoreError};

use crate::cli::{Failure, PipelineArgument, print, say};
use crate::pipeline::Pipeline;
use crate::pipeline::graph::{load_model, scorer};
use crate::pipeline::plan::stage;
use crate::pipeline::preflight::PreflightError;

/// Batches measured beside the pipeline's: from where padding costs most to where a row's cost is flat.
const BATCHES: [usize; 5] = [1, 8, 32, 128, 512];

/// Time for each batch size; with all of them, a person waits for two seconds.
const TIME_EACH: Duration = Duration::from_millis(320);

/// After this long no other batch size is begun: making a large model ready takes time as well.
const TIME_MAX: Duration = Duration::from_secs(2);

/// Least time of one measurement: far above what reading the clock takes.
const SAMPLE_MIN: Duration = Duration::from_millis(2);

/// Measures what a row costs on one thread, at the pipeline's batch and some others.
#[derive(Debug, clap::Args)]
pub struct Bench {
    #[command(flatten)]
    pipeline: PipelineArgument,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What was measured at one batch size.
#[derive(Clone, Debug, Serialize)]
struct Measured {
    batch: usize,
    /// Whether it is the pipeline's.
    of_pipeline: bool,
    /// Rows scored in all.
    rows: u64,
    /// Nanoseconds a row: the median, and the least.
    median_ns: f64,
    least_ns: f64,
}

impl Bench {
    pub(super) fn run(self) -> Result<(), Failure> {
        let mut pipeline = self.pipeline.load(self.json)?;
        let started = Instant::now();
        let model = load_model(&pipeline)?;
        let own = model.info().batch;
        let mut all = vec![measure(&model, true)?];
        for batch in BATCHES.into_iter().filter(|&batch| batch != own) {
            if started.elapsed() > TIME_MAX {
                say(&format!("note: no time left for batches of {batch} rows"));
                continue;
            }
            pipeline.model.iter_mut().for_each(|it| it.batch = batch);
            match other(&pipeline)? {
                Some(model) => all.push(measure(&model, false)?),
                None => {
                    say("note: the model takes no other batch than the pipeline's");
                    break;
                }
            }
        }
        all.sort_by_key(|measured| measured.batch);
        let name = &model.info().name;
        print(&if self.json {
            serde_json::json!({ "model": name, "threads": 1, "batches": all }).to_string()
        } else {
            table(name, &all)
        })
    }
}

/// The model at another batch size; `None` if it was exported for one only.
fn other(pipeline: &Pipeline) -> Result<Option<Model>, PreflightError> {
    match load_model(pipeline) {
        Ok(model) => Ok(Some(model)),
        Err(PreflightError::Model {
            source: LoadError::BatchSize { .. },
            ..
        }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn measure(model: &Model, of_pipeline: bool) -> Result<Measured, RunError> {
    let info = model.info();
    let mut scorer = scorer(model)?;
    let mut scores = Vec::new();
    let number = |at: usize| (at % 97) as f32 / 97.0;
    let mut rows: Vec<f32> = (0..info.batch * info.features).map(number).collect();
    if scorer.score(&rows, &mut scores).is_err() {
        // Not every model can score made-up numbers; zeros are what it was made ready with.
        rows.fill(0.0);
    }
    let mut batches = |count: u64| -> Result<Duration, ScoreError> {
        let started = Instant::now();
        for _ in 0..count {
            scorer.score(&rows, &mut scores)?;
        }
        Ok(started.elapsed())
    };
    let failed = |error: ScoreError| RunError::Stage {
        stage: stage::INFER,
        source: Box::new(error),
    };
    let mut count = 1;
    while batches(count).map_err(failed)? < SAMPLE_MIN {
        count *= 2;
    }
    let per_sample = count * info.batch as u64;
    let started = Instant::now();
    let mut samples = Vec::new();
    while samples.is_empty() || started.elapsed() < TIME_EACH {
        let took = batches(count).map_err(failed)?;
        samples.push(took.as_nanos() as f64 / per_sample as f64);
    }
    samples.sort_by(f64::total_cmp);
    let sample = |at: usize| samples.get(at).copied().unwrap_or_default();
    let tenths = |ns: f64| (ns * 10.0).round() / 10.0;
    Ok(Measured {
        batch: info.batch,
        of_pipeline,
        rows: per_sample * samples.len() as u64,
        median_ns: tenths(sample(samples.len() / 2)),
        least_ns: tenths(sample(0)),
    })
}

fn table(name: &str, all: &[Measured]) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header([name, "median ns/row", "least ns/row", "rows/s", ""]);
    for measured in all {
        let per_second = 1e9 / measured.median_ns.max(f64::EPSILON);
        table.add_row([
            format!("batch {}", measured.batch),
            format!("{:.1}", measured.median_ns),
            format!("{:.1}", measured.least_ns),
            slackwater_operators::reject::grouped(per_second as u64),
            (if measured.of_pipeline {
                "the pipeline's"
            } else {
                ""
            })
            .to_owned(),
        ]);
    }
    for column in 1..=3 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    format!("{table}\none thread")
}
