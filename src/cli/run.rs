//! `slackwater run`: a pipeline from its first event to its last.

use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::thread;

use rustix::fs::{FileType, fstat};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;
use slackwater_connectors::file::Existing;
use slackwater_dataflow::run::{RunError, Stopper};

use crate::cli::{Failure, PipelineArgument, counted, load, print, say};
use crate::job::{Job, Product, workers};
use crate::pipeline::Pipeline;
use crate::pipeline::spec::{SinkKind, SourceSpec};
use crate::report::Report;
use crate::status::live::{Live, Manner, Voice};

/// Runs a pipeline.
#[derive(Debug, Default, clap::Args)]
pub struct Run {
    #[command(flatten)]
    pipeline: PipelineArgument,
    /// Replace the outputs of an earlier run
    #[arg(long)]
    overwrite: bool,
    /// End with one JSON object on stdout instead of a table; on stderr if the records go to stdout
    #[arg(long)]
    json: bool,
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
        let job = Job::prepare(&pipeline, &Product::Predictions, existing)?;
        announce(&pipeline, replace);
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
    // Who is at the other end of a pipe may well read from the same terminal, or write to it.
    let is_typed = pipeline.source == SourceSpec::Stdin && !is_apart(io::stdin());
    let is_written_to = records_to_stdout && !is_apart(io::stdout());
    let live = Live::start(job.watch(), Manner::fit(is_typed || is_written_to));
    end_on_signal(job.stopper(), live.voice());
    job.run()
}

/// Whether an input or output has nothing to do with the terminal: a file, or a device like the null device.
fn is_apart(stream: impl AsFd + IsTerminal) -> bool {
    let is_terminal = stream.is_terminal();
    let kind = fstat(stream).map(|stat| FileType::from_raw_mode(stat.st_mode));
    match kind {
        Ok(FileType::RegularFile) => true,
        Ok(FileType::CharacterDevice) => !is_terminal,
        _ => false,
    }
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

fn announce(pipeline: &Pipeline, replace: bool) {
    let from = match &pipeline.source {
        SourceSpec::Generator(generator) => counted(generator.events, "generated event"),
        SourceSpec::File { path, follow: true } => format!("`{path}`, followed until stopped,"),
        SourceSpec::File { path, .. } => format!("`{path}`"),
        SourceSpec::Stdin => "stdin".to_owned(),
    };
    let to = match &pipeline.sink.kind {
        SinkKind::File { path } if replace => {
            format!("`{path}`, replacing what an earlier run left")
        }
        SinkKind::File { path } => format!("`{path}`"),
        SinkKind::Stdout => "stdout (at least once)".to_owned(),
        SinkKind::Discard => "nowhere (discard)".to_owned(),
    };
    let job = &pipeline.job.name;
    let workers = counted(workers(pipeline) as u64, "worker");
    say(&format!("job `{job}` on {workers}: from {from} to {to}"));
}

/// The first Ctrl-C ends the input; what was read is still handled and written. A second one ends the
/// process at once. What is said comes after what is done: stderr may be read by nobody.
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
            stopper.stop();
            let voice = voice.clone();
            let stopping = "stopping: finishing what has been read; once more ends at once";
            drop(thread::Builder::new().spawn(move || voice.say(stopping)));
        }
    };
    // The thread lives as long as the process; nobody waits for it.
    drop(
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(wait),
    );
}
