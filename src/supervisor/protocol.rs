//! The lines on the control socket: one JSON object each, with a line feed.
//!
//! A worker opens a connection, says who it is, waits for the [`Command::Go`], and from then on says how it is; the
//! supervisor may send it more commands. Whoever else connects sends one [`Request`] and gets one [`Answer`]: that to
//! `stop` when the job has ended.

use serde::{Deserialize, Serialize};
use slackwater_dataflow::lookup::counts::LookupFigures;
use slackwater_dataflow::meters::{self, Totals};
use slackwater_dataflow::sink::OutputStream;

/// Longest line, in bytes: room for the history of failures, each with a long cause; a line that is longer comes
/// from something else.
pub const LINE_BYTES_MAX: u64 = 1 << 20;

/// Longest cause of a failure, in characters: the rest of a message that is longer helps nobody.
pub const CAUSE_CHARS_MAX: usize = 2_000;

/// How a run is, as its worker says it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// What became of the run's checkpoints.
    pub checkpoints: Checkpoints,
    /// What was read and what became of it.
    pub events: Events,
    /// What was asked of the stores of its lookups; nothing without them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lookups: Vec<Lookup>,
    /// What went wrong last that the run survives; none if nothing did.
    pub trouble: Option<Trouble>,
}

/// What was asked of the store of a lookup in this run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lookup {
    /// Its name.
    pub name: String,
    /// Questions that were answered.
    pub answered: u64,
    /// Questions that were not, in time.
    pub timed_out: u64,
    /// Questions that were not, for another reason.
    pub unavailable: u64,
    /// Questions without answer or error yet.
    pub under_way: u64,
    /// Remembered answers that were taken instead of asking.
    pub remembered: u64,
    /// Answers that had expired and were taken where the store gave none.
    pub last_known: u64,
    /// Whether the store is asked at all.
    pub breaker: Breaker,
}

/// What keeps a store that does not answer from being asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Breaker {
    /// Whether it is open: the store is not asked now.
    pub open: bool,
    /// Why, if it is.
    pub reason: Option<String>,
    /// How often it has opened.
    pub openings: u64,
}

impl From<LookupFigures> for Lookup {
    fn from(figures: LookupFigures) -> Self {
        let LookupFigures { name, counts, away } = figures;
        Lookup {
            name,
            answered: counts.answered,
            timed_out: counts.timed_out,
            unavailable: counts.unavailable,
            under_way: counts.under_way,
            remembered: counts.remembered,
            last_known: counts.last_known,
            breaker: Breaker {
                open: away.is_some(),
                reason: away,
                openings: counts.openings,
            },
        }
    }
}

/// What went wrong and a run survives, such as a full disk: why a job waits, if it does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// The last of it, in words.
    pub what: String,
    /// When that was, in milliseconds since 1970.
    pub at_ms: i64,
    /// How often something went wrong in this run.
    pub times: u64,
}

/// What became of a run's checkpoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Checkpoints {
    /// Became durable in this run; one is enough to make it a healthy run.
    pub completed: u64,
    /// Failed in this run.
    pub failed: u64,
    /// The epoch of the last durable one.
    pub last_epoch: Option<u64>,
    /// How long the last durable one took, in milliseconds.
    pub last_ms: Option<f64>,
    /// The epoch of the one that the mirror is at, if there is one and it is at any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirrored_epoch: Option<u64>,
}

impl From<&meters::Checkpoints> for Checkpoints {
    fn from(checkpoints: &meters::Checkpoints) -> Self {
        let last = checkpoints.last;
        Checkpoints {
            completed: checkpoints.completed,
            failed: checkpoints.failed,
            last_epoch: last.map(|(epoch, _)| epoch.0),
            last_ms: last.map(|(_, duration)| duration.as_secs_f64() * 1e3),
            mirrored_epoch: checkpoints.mirrored.map(|epoch| epoch.0),
        }
    }
}

/// What was read and what became of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Events {
    /// Records read.
    pub read: u64,
    /// Scored.
    pub predictions: u64,
    /// Rejected by decode and validate.
    pub validation_errors: u64,
    /// Rejected by later stages.
    pub processing_errors: u64,
    /// Behind the watermark.
    pub late_events: u64,
    /// Read, and without an outcome yet.
    pub in_flight: u64,
}

impl From<&Totals> for Events {
    fn from(totals: &Totals) -> Self {
        Events {
            read: totals.read,
            predictions: totals.settled(OutputStream::Predictions),
            validation_errors: totals.settled(OutputStream::ValidationErrors),
            processing_errors: totals.settled(OutputStream::ProcessingErrors),
            late_events: totals.settled(OutputStream::LateEvents),
            in_flight: totals.in_flight(),
        }
    }
}

/// What a worker says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// That it is there, first of all.
    Attempt(u32),
    /// That the job has begun: whatever was asked of its beginning is done, and not to be done again.
    Begun,
    /// How it is: the heartbeat.
    Status(Status),
    /// Why it ends.
    Failed(String),
}

/// What a supervisor tells its worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// That it was heard, and may begin.
    Go,
    /// To stop with a final checkpoint. Saying it twice changes nothing.
    Stop,
    /// To end at once.
    End,
}

/// What anybody may want.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// How the job is.
    Status,
    /// That it stops, with a final checkpoint.
    Stop,
}

/// The line of whoever asks: `{"ask":"status"}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// What for.
    pub ask: Ask,
}

/// The first line of a connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Greeting {
    /// Somebody asks.
    Asks(Request),
    /// The worker is there.
    Works(Report),
}

/// The line that answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// How the job is.
    Status(Box<JobStatus>),
    /// The job has ended, with this exit code.
    Ended(i32),
    /// The request is none.
    Error(String),
}

/// How a job is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobStatus {
    /// Its name.
    pub job: String,
    /// What it does.
    pub state: JobState,
    /// Starts of a worker so far, this one included.
    pub attempt: u32,
    /// The worker's process; none while there is none.
    pub pid: Option<u32>,
    /// Milliseconds that this state has lasted.
    pub for_ms: u64,
    /// Milliseconds until the next attempt, while it waits for that.
    pub restart_in_ms: Option<u64>,
    /// What the worker said last, of this attempt or an earlier one.
    pub last: Option<Status>,
    /// Milliseconds since it said that.
    pub last_age_ms: Option<u64>,
    /// Failures so far.
    pub failed: u64,
    /// The latest of them, oldest first.
    pub failures: Vec<Failure>,
}

/// What a job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Its worker has not said anything yet.
    Starting,
    /// Its worker is at work.
    Running,
    /// It was asked to stop.
    Stopping,
    /// It has failed, and waits for its next attempt.
    Restarting,
    /// It has ended.
    Ended,
}

/// An attempt that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Which one, from 1.
    pub attempt: u32,
    /// Why.
    pub cause: String,
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
    /// How long it had run, in milliseconds.
    pub ran_ms: u64,
    /// Whether it had a durable checkpoint.
    pub healthy: bool,
}

/// A line with its line feed.
pub fn line(message: &impl Serialize) -> String {
    // Texts and numbers always serialise.
    let mut line = serde_json::to_string(message).unwrap_or_default();
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use crate::supervisor::protocol::{
        Answer, Ask, Command, Greeting, Lookup, Report, Request, Status, line,
    };

    #[test]
    fn is_each_line_what_others_write_and_read() {
        let check = |found: String, expected: &str| assert_eq!(found, format!("{expected}\n"));
        check(line(&Report::Attempt(2)), r#"{"attempt":2}"#);
        check(line(&Report::Begun), r#""begun""#);
        check(line(&Report::Failed("why".into())), r#"{"failed":"why"}"#);
        check(line(&Command::Stop), r#""stop""#);
        check(line(&Request { ask: Ask::Stop }), r#"{"ask":"stop"}"#);
        check(line(&Answer::Ended(0)), r#"{"ended":0}"#);
        check(
            line(&Report::Status(Status::default())),
            r#"{"status":{"checkpoints":{"completed":0,"failed":0,"last_epoch":null,"last_ms":null},"events":{"read":0,"predictions":0,"validation_errors":0,"processing_errors":0,"late_events":0,"in_flight":0},"trouble":null}}"#,
        );
    }

    #[test]
    fn what_is_said_of_lookups() {
        let status = Status {
            lookups: vec![Lookup {
                name: "profile".to_owned(),
                ..Lookup::default()
            }],
            ..Status::default()
        };
        let text = serde_json::to_string(&status).unwrap_or_default();
        let expected = r#""lookups":[{"name":"profile","answered":0,"timed_out":0,"unavailable":0,"under_way":0,"remembered":0,"last_known":0,"breaker":{"open":false,"reason":null,"openings":0}}]"#;
        assert!(text.contains(expected), "{text}");
        assert_eq!(serde_json::from_str::<Status>(&text).ok(), Some(status));
    }

    #[test]
    fn who_speaks_is_told_by_the_first_line() {
        let check = |text: &str, expected: Option<Greeting>| {
            assert_eq!(serde_json::from_str(text).ok(), expected, "{text}");
        };
        let ask = |ask| Some(Greeting::Asks(Request { ask }));
        check(r#"{"ask":"status"}"#, ask(Ask::Status));
        check(r#"{"ask":"stop"}"#, ask(Ask::Stop));
        check(
            r#"{"attempt":1}"#,
            Some(Greeting::Works(Report::Attempt(1))),
        );
        for text in [
            "",
            "{}",
            "stop",
            r#"{"ask":"start"}"#,
            r#"{"ask":"stop","now":true}"#,
        ] {
            check(text, None);
        }
        // What a line says must not depend on which of the two is tried first.
        let both = serde_json::from_str::<Greeting>(r#"{"ask":"stop","attempt":1}"#);
        assert!(both.is_err());
    }
}
