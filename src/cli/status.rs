//! `slackwater status`: how a job is that runs somewhere else on this machine.

use std::time::Duration;

use jiff::Timestamp;
use slackwater_operators::reject::grouped;

use crate::cli::supervised::ask;
use crate::cli::{Failure, PipelineArgument, counted, print};
use crate::report::seldom;
use crate::supervisor::attempts::seconds;
use crate::supervisor::protocol::{
    Answer, Ask, Failure as Failed, JobState, JobStatus, Lookup, Status as Run, Trouble,
};

/// The supervisor answers at once, whatever its worker does.
const PATIENCE: Duration = Duration::from_secs(10);

/// Says how a job with checkpoints is, while `run` runs it.
#[derive(Debug, clap::Args)]
pub struct Status {
    #[command(flatten)]
    pipeline: PipelineArgument,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Status {
    pub(super) fn run(self) -> Result<(), Failure> {
        let pipeline = self.pipeline.load(self.json)?;
        match ask(&pipeline, Ask::Status, Some(PATIENCE))? {
            // Texts and numbers always serialise.
            Answer::Status(status) if self.json => {
                print(&serde_json::to_string(&status).unwrap_or_default())
            }
            Answer::Status(status) => print(&text(&status)),
            other => Err(Failure::Answer(other)),
        }
    }
}

fn text(status: &JobStatus) -> String {
    let mut lines = vec![headline(status)];
    if let Some(last) = &status.last {
        // What a run that has ended has said of its stores is over.
        let goes_on = matches!(status.state, JobState::Running | JobState::Stopping);
        lines.extend(run(last, goes_on));
    }
    lines.extend(status.failures.iter().map(failure));
    lines.join("\n")
}

fn headline(status: &JobStatus) -> String {
    let (job, attempt) = (&status.job, status.attempt);
    let since = seconds(Duration::from_millis(status.for_ms));
    let doing = match status.state {
        JobState::Starting => format!("has been starting for {since}"),
        JobState::Running => format!("has been running for {since}"),
        JobState::Stopping => "is stopping".to_owned(),
        JobState::Restarting => {
            let left = Duration::from_millis(status.restart_in_ms.unwrap_or_default());
            format!("has failed and is started again in {}", seconds(left))
        }
        JobState::Ended => "has ended".to_owned(),
    };
    let pid = status.pid.map(|pid| format!(", pid {pid}"));
    let failures = match status.failed {
        0 => String::new(),
        failed => format!(", {}", counted(failed, "failure")),
    };
    format!(
        "job `{job}` {doing} (attempt {attempt}{}{failures})",
        pid.unwrap_or_default()
    )
}

fn run(run: &Run, goes_on: bool) -> Vec<String> {
    let (events, checkpoints) = (&run.events, &run.checkpoints);
    let counts = [
        ("read", events.read),
        ("predictions", events.predictions),
        ("validation errors", events.validation_errors),
        ("processing errors", events.processing_errors),
        ("late events", events.late_events),
        ("in flight", events.in_flight),
    ];
    let count = |(name, events): (&str, u64)| format!(" {name:<18} {:>14}", grouped(events));
    let mut lines: Vec<String> = counts.into_iter().map(count).collect();
    let (completed, failed) = (grouped(checkpoints.completed), grouped(checkpoints.failed));
    let mut line = format!(" checkpoints        {completed:>14} durable, {failed} failed");
    if let (Some(epoch), Some(ms)) = (checkpoints.last_epoch, checkpoints.last_ms) {
        line.push_str(&format!("; the last, of epoch {epoch}, took {ms:.1} ms"));
    }
    if let Some(epoch) = checkpoints.mirrored_epoch {
        line.push_str(&format!("; the mirror is at epoch {epoch}"));
    }
    lines.push(line);
    lines.extend(run.lookups.iter().map(|it| lookup(it, goes_on)));
    lines.extend(run.trouble.as_ref().map(trouble));
    lines
}

/// What became of the questions of a lookup, and whether its store is away.
fn lookup(lookup: &Lookup, goes_on: bool) -> String {
    let name = format!("lookup {}", lookup.name);
    let (answered, rest) = (grouped(lookup.answered), seldom(lookup));
    let mut lines = format!(" {name:<18} {answered:>14} answered{rest}");
    let breaker = &lookup.breaker;
    if breaker.open && goes_on {
        let reason = breaker.reason.as_deref().unwrap_or("it does not answer");
        lines.push_str(&format!("\n   ITS STORE IS NOT ASKED NOW: {reason}"));
    }
    lines
}

/// What keeps a job waiting, or kept it: whether it still does says the time.
fn trouble(trouble: &Trouble) -> String {
    let Trouble { what, at_ms, times } = trouble;
    format!(
        " last trouble{}, {} so far: {what}",
        at(*at_ms),
        counted(*times, "time")
    )
}

fn at(ms: i64) -> String {
    let time = Timestamp::from_millisecond(ms);
    time.map_or_else(|_| String::new(), |time| format!(" at {time:.0}"))
}

fn failure(failure: &Failed) -> String {
    let Failed { attempt, cause, .. } = failure;
    let ran = seconds(Duration::from_millis(failure.ran_ms));
    let at = at(failure.at_ms);
    format!(" attempt {attempt} failed{at}, after {ran}: {cause}")
}

#[cfg(test)]
mod tests {
    use crate::cli::status::lookup;
    use crate::supervisor::protocol::{Breaker, Lookup};

    #[test]
    fn does_a_person_see_that_a_store_is_away() {
        let mut profile = Lookup {
            name: "profile".to_owned(),
            answered: 1_234,
            ..Lookup::default()
        };
        let expected = " lookup profile              1,234 answered";
        assert_eq!(lookup(&profile, true), expected);
        profile = Lookup {
            timed_out: 5,
            last_known: 70,
            breaker: Breaker {
                open: true,
                reason: Some("it has failed 5 times in a row".to_owned()),
                openings: 2,
            },
            ..profile
        };
        let expected = format!(
            "{expected}, 5 timed out, 70 last known; its store was given up 2 times\n   \
             ITS STORE IS NOT ASKED NOW: it has failed 5 times in a row"
        );
        assert_eq!(lookup(&profile, true), expected);
        assert!(!lookup(&profile, false).contains("NOW"));
    }
}
