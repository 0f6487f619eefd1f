//! `slackwater dlq replay`.

use serde_json::json;
use slackwater_operators::reject::grouped;

use crate::cli::dlq::Selected;
use crate::cli::{Failure, PipelineArgument, counted, print, say};
use crate::letters::again::{Left, Outcome, Wish, replay};
use crate::pipeline::Pipeline;
use crate::pipeline::spec::TimeSpec;

/// Sends the records behind dead letters to the topic and partition that they were read from, each once: the job reads them
/// as new events. What was sent and how far the replay is are in one transaction, so one that was interrupted goes on when it is
/// started again with the same selection.
#[derive(Debug, clap::Args)]
pub struct Replay {
    #[command(flatten)]
    pipeline: PipelineArgument,
    #[command(flatten)]
    selected: Selected,
    /// Leave records alone that were sent again so often
    #[arg(long, value_name = "NUMBER", default_value_t = 3)]
    max_replays: u32,
    /// Begin anew, and send those again, too, that a replay of this selection has sent before. If that is interrupted, go on
    /// without it
    #[arg(long)]
    again: bool,
    /// Only say what would be sent
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What is to be known before records are sent again.
fn warning(pipeline: &Pipeline) -> Option<&'static str> {
    let is_changed = pipeline.event.time == TimeSpec::Record;
    is_changed.then_some(
        "warning: with `[event] time = \"record\"` events that are sent again have a new event time: a record has the time at \
         which it is sent",
    )
}

impl Replay {
    pub(super) fn run(self) -> Result<(), Failure> {
        let pipeline = self.pipeline.load(self.json)?;
        if let Some(warning) = warning(&pipeline) {
            say(warning);
        }
        let wish = Wish {
            selection: self.selected.selection(),
            replays_max: self.max_replays,
            again: self.again,
            dry_run: self.dry_run,
        };
        let outcome = replay(&pipeline, &wish)?;
        let left = |left| outcome.left.get(&left).copied().unwrap_or_default();
        if self.json {
            let object = json!({
                "sent": outcome.sent,
                "late": outcome.late,
                "often_enough": left(Left::OftenEnough),
                "gone": left(Left::Gone),
                "elsewhere": left(Left::Elsewhere),
                "too_large": left(Left::TooLarge),
                "goes_on": outcome.goes_on,
                "dry_run": self.dry_run,
            });
            return print(&object.to_string());
        }
        self.say(&outcome)
    }

    fn say(&self, outcome: &Outcome) -> Result<(), Failure> {
        if outcome.goes_on {
            say(
                "a replay of this selection was here before, and this one goes on behind it; `--again` begins anew",
            );
        }
        for (left, records) in &outcome.left {
            let why = match left {
                Left::OftenEnough => format!(
                    "stay: they were sent again {} before (`--max-replays`; `--again` with a higher one looks at all of them once more)",
                    counted(self.max_replays.into(), "time")
                ),
                Left::Gone => {
                    "cannot be sent: they are not in the topic any more, and the dead letter has not all of them"
                        .to_owned()
                }
                Left::TooLarge => {
                    "cannot be sent: without compression they are larger than what the topic takes"
                        .to_owned()
                }
                Left::Elsewhere => {
                    "cannot be sent: they were read from something that this pipeline does not read"
                        .to_owned()
                }
            };
            say(&format!("{} {why}", grouped(*records)));
        }
        if outcome.late > 0 {
            let late = grouped(outcome.late);
            say(&format!(
                "{late} of them were late, and will be again unless `[event] late` is \"process\""
            ));
        }
        let verb = if self.dry_run {
            "would be sent"
        } else {
            "sent"
        };
        print(&format!("{} {verb}", counted(outcome.sent, "record")))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use crate::cli::dlq::replay::warning;
    use crate::pipeline::Pipeline;
    use crate::pipeline::layers::Layers;

    const ON_KAFKA: &str = include_str!("../../../pipelines/user-events.kafka.toml");

    #[test]
    fn is_a_new_event_time_told() {
        let warned = |arguments: &[String]| {
            let layers = Layers::new([].into_iter(), arguments);
            let pipeline = Pipeline::parse_layered("x.toml", ON_KAFKA.as_bytes(), &layers);
            warning(&pipeline.unwrap())
        };
        assert_eq!(warned(&[]), None);
        let said = warned(&["event.time=record".to_owned()]).unwrap();
        assert!(said.contains("event time"), "{said}");
    }
}
