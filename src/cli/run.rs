//! `slackwater run`: a pipeline from its first event to its last.

use std::io;
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;
use slackwater_connectors::file::Existing;
use slackwater_dataflow::checkpoint::settle::Choice;
use slackwater_dataflow::run::{RunError, Stopper};

use crate::cli::{Failure, PipelineArgument, counted, load, print, say};
use crate::job::{Job, Prepared, Product, Resuming, workers};
use crate::pipeline::Pipeline;
use crate::pipeline::spec::{SinkKind, SourceSpec};
use crate::report::Report;
use crate::status::live::{Live, Manner, Voice, has_another_end};

/// Runs a pipeline.
#[derive(Debug, Default, clap::Args)]
pub struct Run {
    #[command(flatten)]
    pipeline: PipelineArgument,
    /// Replace the outputs of an earlier run
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    resuming: ResumingArguments,
    /// End with one JSON object on stdout instead of a table; on stderr if the records go to stdout
    #[arg(long)]
    json: bool,
}

/// How a job with checkpoints is to begin.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Jobs with checkpoints")]
struct ResumingArguments {
    /// Start over: move the outputs of earlier runs aside and forget their checkpoints
    #[arg(long)]
    fresh: bool,
    /// Where outputs do not fit the checkpoint, publish what it lists, though it may be there already
    #[arg(long, conflicts_with = "skip_outbox")]
    accept_duplicates: bool,
    /// Where outputs do not fit the checkpoint, publish none of what it lists, though it may be missing
    #[arg(long)]
    skip_outbox: bool,
    /// Go on from a checkpoint that was taken with other features or another model
    #[arg(long)]
    allow_new_features: bool,
}

impl ResumingArguments {
    fn resuming(&self) -> Resuming {
        Resuming {
            fresh: self.fresh,
            choice: match (self.accept_duplicates, self.skip_outbox) {
                (true, _) => Some(Choice::AcceptDuplicates),
                (_, true) => Some(Choice::SkipOutbox),
                _ => None,
            },
            allow_new_features: self.allow_new_features,
        }
    }
}

impl Run {
    pub(super) fn run(self) -> Result<(), Failure> {
        let pipeline = load(self.pipeline.pipeline.as_deref(), self.json)?;
        // The embedded pipeline is a demonstration: it starts over each time, and says so.
        let is_reference = self.pipeline.pipeline.is_none();
        let replace = self.overwrite || is_reference;
        let existing = if replace {
            Existing::Replace
        } else {
            Existing::Refuse
        };
        let job = match &pipeline.checkpoint {
            None => Job::prepare(&pipeline, &Product::Predictions, existing)?,
            Some(checkpoint) => {
                match Job::resume(&pipeline, checkpoint, self.resuming.resuming())? {
                    Prepared::Ready(job) => job,
                    Prepared::Complete(report) => {
                        say(
                            "already complete: the input had ended, and all of it is published. `--fresh` starts over",
                        );
                        return show(&report, self.json);
                    }
                }
            }
        };
        announce(&pipeline, &sink(&pipeline, replace));
        let records_to_stdout = pipeline.sink.kind == SinkKind::Stdout;
        let ran = run_live(&pipeline, job, records_to_stdout);
        if records_to_stdout {
            return beside_records(ran, self.json);
        }
        show(&ran?, self.json)
    }
}

/// Runs a job, says how it is meanwhile, and ends it on a signal.
pub(super) fn run_live(
    pipeline: &Pipeline,
    job: Job,
    records_to_stdout: bool,
) -> Result<Report, RunError> {
    // Whoever is at the other end of a pipe may be at this terminal too.
    let is_fed = pipeline.source == SourceSpec::Stdin && has_another_end(io::stdin());
    let is_read = records_to_stdout && has_another_end(io::stdout());
    let live = Live::start(job.watch(), Manner::fit(is_fed || is_read));
    end_on_signal(job.stopper(), live.voice());
    job.run()
}

/// Ends a run whose records went to stdout: the report goes to stderr. A reader of the records that has
/// gone away has seen enough, which is an end like any other.
fn beside_records(ran: Result<Report, RunError>, json: bool) -> Result<(), Failure> {
    match ran {
        Err(RunError::Sink(error)) if error.source.kind() == io::ErrorKind::BrokenPipe => {
            say("the reader of stdout has gone away: the run ended before its input did");
        }
        ran => say(&text(&ran?, json)),
    }
    Ok(())
}

/// Prints a report in the form that was asked for.
pub(super) fn show(report: &Report, json: bool) -> Result<(), Failure> {
    print(&text(report, json))
}

fn text(report: &Report, json: bool) -> String {
    if json {
        report.to_json()
    } else {
        report.to_table()
    }
}

/// Says what is about to run, and where its outputs go.
pub(super) fn announce(pipeline: &Pipeline, to: &str) {
    let from = match &pipeline.source {
        SourceSpec::Generator(generator) => counted(generator.events, "generated event"),
        SourceSpec::File { path, follow: true } => format!("`{path}`, followed until stopped,"),
        SourceSpec::File { path, .. } => format!("`{path}`"),
        SourceSpec::Stdin => "stdin".to_owned(),
    };
    let job = &pipeline.job.name;
    let workers = counted(workers(pipeline) as u64, "worker");
    say(&format!("job `{job}` on {workers}: from {from} to {to}"));
}

fn sink(pipeline: &Pipeline, replace: bool) -> String {
    match &pipeline.sink.kind {
        SinkKind::File { path } => folder(path, replace),
        SinkKind::Stdout => "stdout (at least once)".to_owned(),
        SinkKind::Discard => "nowhere (discard)".to_owned(),
    }
}

/// A folder of outputs, as it is announced.
pub(super) fn folder(path: &str, replace: bool) -> String {
    if replace {
        format!("`{path}`, replacing what an earlier run left")
    } else {
        format!("`{path}`")
    }
}

/// The first Ctrl-C ends the input; what is in flight is still handled and written. A second one ends the
/// process at once, however stuck stderr is.
fn end_on_signal(stopper: Stopper, voice: Voice) {
    let Ok(mut signals) = Signals::new([SIGINT, SIGTERM]) else {
        // Without handlers a signal ends the process at once, which is no harm to anyone.
        return;
    };
    let wait = move || {
        let mut asked = false;
        for signal in signals.forever() {
            if asked {
                voice.stand_aside();
                drop(emulate_default_handler(signal));
            }
            asked = true;
            voice.say("stopping: finishing what is in flight; once more ends at once");
            stopper.stop();
        }
    };
    // The thread lives as long as the process; nobody waits for it.
    drop(
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(wait),
    );
}
