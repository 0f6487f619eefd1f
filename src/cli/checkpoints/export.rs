//! `slackwater checkpoints export`.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use serde_json::{Map, Value, json};
use slackwater_dataflow::checkpoint::groups::GroupSet;
use slackwater_dataflow::checkpoint::manifest::ChainObject;
use slackwater_dataflow::checkpoint::state_file::Entry;
use slackwater_dataflow::checkpoint::state_merge::StateChain;
use slackwater_operators::key::{KeyPart, parts};
use slackwater_operators::{history, order, window};

use crate::cli::checkpoints::{Opened, open};
use crate::cli::{Failure, PipelineArgument, output_error, print_some};
use crate::pipeline::Pipeline;
use crate::pipeline::plan::{Plans, stage};
use crate::pipeline::saved::field_value;

/// Writes the state of a checkpoint as JSON lines, one per key and one per event that waits.
#[derive(Debug, clap::Args)]
pub struct Export {
    #[command(flatten)]
    pipeline: PipelineArgument,
    /// The checkpoint's number; the newest if none is given
    #[arg(long)]
    number: Option<u64>,
    /// File to write; stdout if none is given
    #[arg(long)]
    out: Option<PathBuf>,
}

impl Export {
    pub(super) fn run(self) -> Result<(), Failure> {
        let opened = open(&self.pipeline, false)?;
        match &self.out {
            None => each_line(&opened, self.number, &mut |line| print_some(line)),
            Some(path) => {
                let failed = |error| output_error(path, error);
                let mut file = BufWriter::new(File::create(path).map_err(failed)?);
                each_line(&opened, self.number, &mut |line| {
                    writeln!(file, "{line}").map_err(failed)?;
                    Ok(true)
                })?;
                file.flush().map_err(failed)
            }
        }
    }
}

/// Gives each entry of a checkpoint's state, as long as somebody wants more.
fn each_line(
    opened: &Opened,
    number: Option<u64>,
    give: &mut dyn FnMut(&str) -> Result<bool, Failure>,
) -> Result<(), Failure> {
    let manifest = opened.manifest(number)?;
    let groups = GroupSet::all();
    let plans = Plans::new(&opened.pipeline, 1);
    for chain in &manifest.chains {
        let objects = chain.iter().map(ChainObject::object);
        let chain = StateChain::open(opened.store.as_ref(), objects);
        let mut chain = chain.map_err(|error| opened.failure(error))?;
        for stage in chain.stages() {
            let merge = chain.merge(&stage, &groups);
            let mut merge = merge.map_err(|error| opened.failure(error))?;
            while let Some(entry) = merge.next_entry().map_err(|error| opened.failure(error))? {
                let line = line(&opened.pipeline, &plans, &stage, entry).ok_or_else(|| {
                    opened.failure(format!(
                        "stage `{stage}` holds what this pipeline did not write: is it the job's own?"
                    ))
                })?;
                if !give(&line.to_string())? {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

/// An entry of a stage.
fn line(pipeline: &Pipeline, plans: &Plans, stage: &str, entry: Entry<'_>) -> Option<Value> {
    let value = entry.value?;
    let (group, fields) = (entry.group.0, &pipeline.event.fields);
    if stage::is_order(stage) {
        let waiting = order::read_plain(entry.key, value, plans.ingest.shape().fields)?;
        return Some(json!({
            "stage": stage,
            "key_group": group,
            "key": key(pipeline, &pipeline.event.key, waiting.key),
            "order_time": waiting.order_time,
            "partition": waiting.partition,
            "offset": waiting.offset,
            "record": String::from_utf8_lossy(waiting.record),
        }));
    }
    if let Some((names, windows)) = plans.windows_of(stage) {
        let (bytes, times) = window::read_plain(windows, entry.key, value)?;
        let events = times.iter().map(|time| json!({ "time": time }));
        return Some(json!({
            "stage": stage,
            "key_group": group,
            "key": key(pipeline, &names, bytes),
            "events": events.collect::<Vec<_>>(),
        }));
    }
    let kept = &pipeline.history.as_ref()?.fields;
    let entries = history::read_plain(value, kept.len())?;
    let events = entries.into_iter().map(|entry| {
        let mut event = Map::from_iter([("time".to_owned(), json!(entry.time))]);
        for (&field, bytes) in kept.iter().zip(entry.values) {
            if let Some(field) = fields.get(field) {
                event.insert(field.name.clone(), field_value(field.kind, bytes));
            }
        }
        Value::from(event)
    });
    Some(json!({
        "stage": stage,
        "key_group": group,
        "key": key(pipeline, &pipeline.event.key, entry.key),
        "events": events.collect::<Vec<_>>(),
    }))
}

/// The fields of a key by name.
fn key(pipeline: &Pipeline, fields: &[usize], bytes: &[u8]) -> Value {
    let event = &pipeline.event;
    let names = fields.iter().filter_map(|&field| event.fields.get(field));
    let values = parts(bytes).into_iter().map(|part| match part {
        KeyPart::Text(text) => json!(text),
        KeyPart::Int(value) => json!(value),
        KeyPart::Bool(value) => json!(value),
    });
    let pairs = names
        .zip(values)
        .map(|(field, value)| (field.name.clone(), value));
    Value::from(Map::from_iter(pairs))
}
