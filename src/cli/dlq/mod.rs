//! `slackwater dlq`: what became of events that were not scored, and what to do about it.

mod list;
mod purge;
mod replay;
mod show;

use clap::Subcommand;
use jiff::Timestamp;

use crate::cli::Failure;
use crate::letters::selection::Selection;
use crate::letters::streams::LettersError;

/// Looks at the dead letters of a job, sends their records again, or deletes them.
#[derive(Debug, clap::Args)]
pub struct Dlq {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Count them by stream, stage and code, and show the newest
    List(list::List),
    /// Show one whole
    Show(show::Show),
    /// Send the records behind them to where they were read from, once
    Replay(replay::Replay),
    /// Delete them from a topic
    Purge(purge::Purge),
}

impl Dlq {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::List(command) => command.run(),
            Command::Show(command) => command.run(),
            Command::Replay(command) => command.run(),
            Command::Purge(command) => command.run(),
        }
    }
}

impl From<LettersError> for Failure {
    fn from(error: LettersError) -> Self {
        match error {
            LettersError::Preflight(error) => Failure::Preflight(error),
            error => Failure::Letters(error),
        }
    }
}

/// Which dead letters are meant.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct Selected {
    /// Only those of this stream; may be given more than once
    #[arg(long, value_name = "NAME")]
    stream: Vec<String>,
    /// Only those of this stage: decode, validate, late, feature, infer, encode; may be given more than once
    #[arg(long)]
    stage: Vec<String>,
    /// Only those of this code; may be given more than once
    #[arg(long)]
    code: Vec<String>,
    /// Only those decided at this time or later, as `2026-01-01T00:00:00Z`
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,
    /// Only those decided before this time
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
    /// Only those of this partition of their stream
    #[arg(long, value_name = "NUMBER")]
    partition: Option<u32>,
    /// Only those with these offsets in their stream, the last one left out; either may be missing
    #[arg(long, value_name = "FROM..TO", value_parser = offsets)]
    offsets: Option<Offsets>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Offsets {
    from: Option<u64>,
    to: Option<u64>,
}

fn offsets(text: &str) -> Result<Offsets, String> {
    let wrong = || "expected FROM..TO, as `17..`, `..40` or `17..40`".to_owned();
    let (from, to) = text.split_once("..").ok_or_else(wrong)?;
    let number = |text: &str| match text {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| wrong()),
    };
    Ok(Offsets {
        from: number(from)?,
        to: number(to)?,
    })
}

impl Selected {
    fn selection(&self) -> Selection {
        Selection {
            streams: self.stream.clone(),
            stages: self.stage.clone(),
            codes: self.code.clone(),
            since_ms: self.since.map(Timestamp::as_millisecond),
            until_ms: self.until.map(Timestamp::as_millisecond),
            partition: self.partition,
            from: self.offsets.and_then(|it| it.from),
            to: self.offsets.and_then(|it| it.to),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use crate::cli::dlq::{Offsets, offsets};
    use crate::pipeline::outline::plain;

    #[test]
    fn are_offsets_read_as_they_are_written() {
        let check = |text, from, to| assert_eq!(offsets(text), Ok(Offsets { from, to }));
        check("17..", Some(17), None);
        check("..40", None, Some(40));
        check("17..40", Some(17), Some(40));
        for wrong in ["", "17", "a..", "-1.."] {
            offsets(wrong).unwrap_err();
        }
    }

    #[test]
    fn does_nothing_of_others_act_on_a_terminal() {
        assert_eq!(plain("a\u{1b}[31mé\n"), "a\\u{1b}[31mé\\n");
    }
}
