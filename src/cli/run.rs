//! `slackwater run`: a pipeline from its first event to its last.
//!
//! With checkpoints it is two processes, see `supervised`: one that runs the job, and one above it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;
use slackwater_connectors::file::Existing;
use slackwater_dataflow::checkpoint::settle::Choice;
use slackwater_dataflow::meters::Totals;
use slackwater_dataflow::run::{RunError, Stopper};
use slackwater_dataflow::sink::OutputStream;
use slackwater_operators::reject::grouped;

use crate::cli::supervised::{Worker, supervise};
use crate::cli::{Failure, PipelineArgument, counted, print, say};
use crate::job::{Job, Prepared, Product, Resuming, workers};
use crate::pipeline::Pipeline;
use crate::pipeline::preflight::written_secrets;
use crate::pipeline::spec::{SinkKind, SourceSpec};
use crate::report::Report;
use crate::status::live::{Live, Manner, Voice, has_another_end};
use crate::status::warnings::Warnings;
use crate::supervisor::protocol::Command;
use crate::supervisor::reporter::Reporter;

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
    #[command(flatten)]
    worker: Worker,
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
    /// What they say to a worker; one that goes on after another begins nothing anew, whatever was said to the first.
    fn resuming(&self, goes_on: bool) -> Resuming {
        Resuming {
            fresh: self.fresh && !goes_on,
            choice: match (self.accept_duplicates, self.skip_outbox) {
                _ if goes_on => None,
                (true, _) => Some(Choice::AcceptDuplicates),
                (_, true) => Some(Choice::SkipOutbox),
                _ => None,
            },
            allow_new_features: self.allow_new_features,
            waits: goes_on,
        }
    }
}

impl Run {
    pub(super) fn run(self) -> Result<(), Failure> {
        self.worker.live_with_supervisor()?;
        let path = self.pipeline.pipeline.as_deref();
        let pipeline = self.pipeline.load(self.json)?;
        if self.worker.is_one() {
            let reporter = self.worker.connect(&pipeline)?;
            let ran = self.work(&pipeline, Some(&reporter));
            return Worker::report(&reporter, ran);
        }
        match &pipeline.checkpoint {
            Some(checkpoint) => supervise(&pipeline, checkpoint, path),
            None => self.work(&pipeline, None),
        }
    }

    /// Runs the job in this process.
    fn work(&self, pipeline: &Pipeline, reporter: Option<&Reporter>) -> Result<(), Failure> {
        // The embedded pipeline is a demonstration: it starts over each time, and says so, unless it was given
        // checkpoints to go on from.
        let is_reference = self.pipeline.pipeline.is_none() && pipeline.checkpoint.is_none();
        let replace = self.overwrite || is_reference;
        let existing = if replace {
            Existing::Replace
        } else {
            Existing::Refuse
        };
        for warning in written_secrets(pipeline) {
            say(&format!("WARNING: {warning}"));
        }
        let warnings = Warnings::listen();
        let job = match &pipeline.checkpoint {
            None => Job::prepare(pipeline, &Product::Predictions, existing)?,
            Some(checkpoint) => {
                let resuming = self.resuming.resuming(self.worker.goes_on());
                match Job::resume(pipeline, checkpoint, resuming)? {
                    Prepared::Ready(job) => *job,
                    Prepared::Complete(at, report) => {
                        say(&format!(
                            "already complete at checkpoint {at}: the input had ended, and all of it is published. `--fresh` starts over"
                        ));
                        return show(&report, self.json);
                    }
                }
            }
        };
        job.warnings().iter().for_each(|warning| say(warning));
        announce(pipeline, &sink(pipeline, replace));
        let records_to_stdout = pipeline.sink.kind == SinkKind::Stdout;
        let mut ran = run_live(pipeline, job, &warnings, records_to_stdout, reporter);
        if let Ok(Report {
            epochs: Some(epochs),
            ..
        }) = &mut ran
        {
            epochs.restarts = self.worker.restarts();
        }
        let note = ran
            .as_ref()
            .ok()
            .and_then(|report| mostly_late(pipeline, &report.totals));
        note.iter().for_each(|note| say(&format!("note: {note}")));
        if records_to_stdout {
            return beside_records(ran, self.json);
        }
        show(&ran?, self.json)
    }
}

/// What is said where most events were late and nothing keeps one that is far ahead from making all others so.
fn mostly_late(pipeline: &Pipeline, totals: &Totals) -> Option<String> {
    let late = totals.settled(OutputStream::LateEvents);
    let is_bounded = pipeline.event.max_ahead_ms.is_some();
    (late > totals.read / 2 && !is_bounded).then(|| {
        let (late, read) = (grouped(late), grouped(totals.read));
        format!(
            "{late} of {read} events were late. One event with a time far ahead makes all that follow it in its partition late: \
             `max_ahead` in [event] says how far ahead one may be, and rejects others"
        )
    })
}

/// Runs a job, says how it is meanwhile, and ends it on a signal or when its supervisor wants that.
pub(super) fn run_live(
    pipeline: &Pipeline,
    job: Job,
    warnings: &Warnings,
    records_to_stdout: bool,
    reporter: Option<&Reporter>,
) -> Result<Report, RunError> {
    // Whoever is at the other end of a pipe may be at this terminal too.
    let is_fed = pipeline.source == SourceSpec::Stdin && has_another_end(io::stdin());
    let is_read = records_to_stdout && has_another_end(io::stdout());
    let live = Live::start(job.watch(), Manner::fit(is_fed || is_read));
    warnings.of_run(job.meters(), live.voice());
    let brakes = Brakes {
        stopper: job.stopper(),
        voice: live.voice(),
        was_said: Arc::default(),
    };
    if let Some(reporter) = reporter {
        reporter.look(job.health());
        // A supervisor that does not hear it has ended, and ends this process.
        drop(reporter.begun());
        let brakes = brakes.clone();
        reporter.obey(move |command| match command {
            Command::Go => {}
            Command::Stop => brakes.stop(),
            Command::End => brakes.end(SIGTERM),
        });
    }
    brake_on_signal(brakes);
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
        SourceSpec::Kafka(spec) => {
            let topics = spec.topics.iter().map(|topic| format!("`{topic}`"));
            let topics = topics.collect::<Vec<_>>().join(", ");
            format!("{topics} of Kafka, followed until stopped,")
        }
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
        SinkKind::Kafka(cluster) if pipeline.sink.sends_at_once() => {
            format!("topics at {} (at least once)", cluster.brokers)
        }
        SinkKind::Kafka(cluster) => format!("topics at {}", cluster.brokers),
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

/// The ways in which a person ends a run.
#[derive(Clone)]
struct Brakes {
    stopper: Stopper,
    voice: Voice,
    was_said: Arc<AtomicBool>,
}

impl Brakes {
    /// Ends the input; what is in flight is still handled and written.
    fn stop(&self) {
        // A signal and the supervisor may both say so.
        if !self.was_said.swap(true, Ordering::SeqCst) {
            self.voice
                .say("stopping: finishing what is in flight; once more ends at once");
        }
        self.stopper.stop();
    }

    /// Ends the process at once, as the signal would, however stuck stderr is.
    fn end(&self, signal: i32) {
        self.voice.stand_aside();
        drop(emulate_default_handler(signal));
    }
}

/// The first signal ends the input, the second one the process.
fn brake_on_signal(brakes: Brakes) {
    let Ok(mut signals) = Signals::new([SIGINT, SIGTERM]) else {
        // Without handlers a signal ends the process at once, which is no harm to anyone.
        return;
    };
    let wait = move || {
        let mut asked = false;
        for signal in signals.forever() {
            if asked {
                brakes.end(signal);
            }
            asked = true;
            brakes.stop();
        }
    };
    // The thread lives as long as the process; nobody waits for it.
    drop(
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(wait),
    );
}
