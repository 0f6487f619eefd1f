//! `slackwater dlq purge`.

use serde_json::json;
use slackwater_kafka::letters::{Extent, TopicReader};
use slackwater_kafka::topics::Topics;
use slackwater_operators::reject::grouped;

use crate::cli::{Failure, PipelineArgument, print, say};
use crate::letters::selection::Selection;
use crate::letters::streams::{LettersError, check};
use crate::pipeline::spec::SinkKind;
use crate::pipeline::topics::greeted;

/// Deletes dead letters from a topic, the oldest first: all that are there now, or those before an offset.
#[derive(Debug, clap::Args)]
pub struct Purge {
    #[command(flatten)]
    pipeline: PipelineArgument,
    /// Of this stream
    #[arg(long, value_name = "NAME")]
    stream: String,
    /// Only of this partition
    #[arg(long, value_name = "NUMBER")]
    partition: Option<u32>,
    /// Only those before this offset of the partition
    #[arg(long, value_name = "OFFSET", requires = "partition")]
    before: Option<u64>,
    /// Delete them; without it, only say what would be deleted
    #[arg(long)]
    yes: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Purge {
    pub(super) fn run(self) -> Result<(), Failure> {
        let pipeline = self.pipeline.load(self.json)?;
        let selection = Selection {
            streams: vec![self.stream.clone()],
            partition: self.partition,
            to: self.before,
            ..Selection::default()
        };
        check(&pipeline, &selection)?;
        let SinkKind::Kafka(spec) = &pipeline.sink.kind else {
            let why = "the files of a job are its own, and it knows their lengths; `run --fresh` moves all its outputs aside, \
                       or without `[checkpoint]` `run --overwrite` replaces them";
            let what = "purge";
            return Err(LettersError::NotTopics { what, why }.into());
        };
        let cluster = greeted(&pipeline, spec)?;
        let letters = TopicReader::of(&cluster).map_err(LettersError::from)?;
        let extents = letters.extents(&self.stream).map_err(LettersError::from)?;
        let doomed: Vec<Extent> = extents
            .into_iter()
            .filter_map(|whole| selection.part_of(&self.stream, whole))
            .filter(|part| part.from < part.to)
            .collect();
        if self.yes && !doomed.is_empty() {
            let before: Vec<_> = doomed.iter().map(|it| (it.partition, it.to)).collect();
            let topics = Topics::of(&cluster).map_err(LettersError::from)?;
            let deleted = topics.delete_before(&self.stream, &before);
            deleted.map_err(LettersError::from)?;
        }
        self.report(&doomed)
    }

    fn report(&self, doomed: &[Extent]) -> Result<(), Failure> {
        if self.json {
            let parts = doomed
                .iter()
                .map(|it| json!({ "partition": it.partition, "from": it.from, "to": it.to }));
            let parts: Vec<_> = parts.collect();
            let object = json!({ "stream": self.stream, "deleted": self.yes, "parts": parts });
            return print(&object.to_string());
        }
        if doomed.is_empty() {
            return print(&format!("nothing to delete in {}", self.stream));
        }
        let verb = if self.yes { "deleted" } else { "would delete" };
        for Extent {
            partition,
            from,
            to,
        } in doomed
        {
            // What ends a transaction has an offset too.
            let most = grouped(to - from);
            print(&format!(
                "{verb} what is before offset {to} in partition {partition} of {}: {most} offsets, from {from} on",
                self.stream
            ))?;
        }
        if !self.yes {
            say("nothing was deleted; `--yes` does it");
        }
        Ok(())
    }
}
