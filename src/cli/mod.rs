//! The command line: one file a command, and what all commands share.
//!
//! stdout carries only what was asked for (a table, or with `--json` one object; or the records, if that is
//! where they go); everything said on the way goes to stderr. Exit codes are a contract, see [`Failure`].

mod check;
mod checkpoints;
mod dlq;
mod explain;
mod features;
mod generate;
mod model;
mod supervised;
mod run;
mod schema;
mod status;
mod stop;
mod version;

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::job::{JobError, Refusal};
use crate::letters::streams::LettersError;
use crate::pipeline::layers::Layers;
use crate::pipeline::preflight::PreflightError;
use crate::pipeline::{MAX_FILE_BYTES, Mistakes, Pipeline};
use crate::supervisor::SuperviseError;
use crate::supervisor::control::{AskError, ControlError};
use crate::supervisor::protocol::Answer;
use slackwater_dataflow::faults::{self, FaultError, Said};
use slackwater_dataflow::run::RunError;

/// The reference pipeline, embedded: what `run` runs when no file is named.
const REFERENCE: &str = include_str!("../../pipelines/user-events.toml");

/// How the embedded pipeline is called in messages.
const REFERENCE_NAME: &str = "pipelines/user-events.toml (embedded)";

/// Events in, keyed features, an ONNX model, predictions and dead letters out.
#[derive(Debug, Parser)]
#[command(
    name = "slackwater",
    version,
    after_help = "Without a command: `run` of the embedded reference pipeline.\n\nExit codes: 0 done, 1 failed while running, 2 usage or mistakes in the pipeline file, 3 preflight failed (model, source, outputs or store, or nobody runs the job that is asked), 4 refused (another run has the job, or it does not fit its checkpoint)."
)]
pub struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a pipeline to the end of its input
    Run(run::Run),
    /// Say everything that is wrong with a pipeline file, without running it
    Check(check::Check),
    /// Show what a pipeline will run as: its stages and streams as text, DOT or Mermaid
    Explain(explain::Explain),
    /// Write generated events to files, one per partition
    Generate(generate::Generate),
    /// Write the feature vectors of an input, as the model would see them
    Features(features::Features),
    /// Look at a pipeline's model: what it is, what it says of rows, how fast it is
    Model(model::Model),
    /// Look at a job's checkpoints: what there is, whether it is whole, what is known of each key
    Checkpoints(checkpoints::Checkpoints),
    /// Look at dead letters: which there are and why; send their records again, or delete them
    Dlq(dlq::Dlq),
    /// Print the JSON schema of pipeline files, for editors
    Schema(schema::Schema),
    /// Say how a job with checkpoints is that runs
    Status(status::Status),
    /// Stop a job with checkpoints that runs, after a final checkpoint
    Stop(stop::Stop),
    /// Print the version
    Version(version::Version),
}

impl Arguments {
    /// Runs the command.
    pub fn run(self) -> ExitCode {
        let result = match faults::wanted(&Said::here(), faults::ARE_THERE) {
            Ok(_) => self.obey(),
            Err(error) => Err(Failure::Fault(error)),
        };
        match result {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => {
                if !matches!(failure, Failure::Said { .. }) {
                    say(&failure.to_string());
                }
                ExitCode::from(failure.exit_code())
            }
        }
    }

    fn obey(self) -> Result<(), Failure> {
        let command = self
            .command
            .unwrap_or_else(|| Command::Run(run::Run::default()));
        match command {
            Command::Run(command) => command.run(),
            Command::Check(command) => command.run(),
            Command::Explain(command) => command.run(),
            Command::Generate(command) => command.run(),
            Command::Features(command) => command.run(),
            Command::Model(command) => command.run(),
            Command::Checkpoints(command) => command.run(),
            Command::Dlq(command) => command.run(),
            Command::Schema(command) => command.run(),
            Command::Status(command) => command.run(),
            Command::Stop(command) => command.run(),
            Command::Version(command) => command.run(),
        }
    }
}

/// Why a command did not do what it was asked to. Its exit code says who has to act.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Exit code 1: it failed while running.
    #[error("failed: {0}")]
    Running(#[from] RunError),
    /// Exit code 1: an output could not be written.
    #[error("cannot write {what}: {source}")]
    Output {
        /// What was written.
        what: String,
        /// Why not.
        source: io::Error,
    },
    /// Exit code 1: what was to be read could not be read to its end.
    #[error("cannot read {what}: {source}")]
    Input {
        /// What was read.
        what: String,
        /// Why not.
        source: io::Error,
    },
    /// Exit code 1: a worker without its supervisor.
    #[error("this worker has no supervisor: {0}")]
    NoSupervisor(io::Error),
    /// Exit code 1: the program does not find itself.
    #[error("cannot find the program itself, to start a worker: {0}")]
    NoProgram(io::Error),
    /// Exit code 1: a supervisor answered something else.
    #[error("the job's supervisor gave an answer that does not fit: {0:?}")]
    Answer(Answer),
    /// Any exit code: whoever knew why has said so already.
    #[error("")]
    Said {
        /// The exit code.
        code: u8,
    },
    /// Exit code 2: a job that nobody can ask.
    #[error(
        "job `{0}` has no [checkpoint] in its pipeline file: only a job with one can be asked while it runs"
    )]
    NotSupervised(String),
    /// Exit code 3: nobody answers for a job.
    #[error("cannot ask job `{job}`: {source}")]
    NotAsked {
        /// The job's name.
        job: String,
        /// Why not.
        source: AskError,
    },
    /// Exit code 3: the job cannot be supervised.
    #[error("preflight failed: {0}")]
    Supervise(SuperviseError),
    /// Exit code 2: the pipeline file has mistakes.
    #[error("{0}\n{count} in the pipeline file, nothing was started", count = counted(.0.list().len() as u64, "mistake"))]
    Mistakes(Mistakes),
    /// Exit code 2: the environment asks for a fault that this program does not have.
    #[error("refused: {0}")]
    Fault(FaultError),
    /// Exit code 2: there is no such pipeline file.
    #[error("cannot read pipeline file `{path}`: {source}")]
    NoPipeline {
        /// The path as given.
        path: String,
        /// Why not.
        source: io::Error,
    },
    /// Exit code 3: something that the pipeline needs is not as it should be.
    #[error("preflight failed: {0}")]
    Preflight(#[from] PreflightError),
    /// Exit code 4: the job must not go on as it is.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// Exit code 2: there are no checkpoints to look at.
    #[error("job `{0}` has no [checkpoint] in its pipeline file, and so no checkpoints")]
    NoCheckpoints(String),
    /// Exit code 1: dead letters can't be read, sent again or deleted.
    #[error("{0}")]
    Letters(LettersError),
    /// Exit code 1: there is no dead letter at this place.
    #[error("there is no dead letter at {0}: `dlq list` shows which there are")]
    NoLetter(String),
    /// Exit code 1: a checkpoint store can't be read, or is damaged.
    #[error("checkpoint store `{store}`: {reason}")]
    Store {
        /// The store.
        store: String,
        /// What is wrong.
        reason: String,
    },
    /// Exit code 3: so are all of these.
    #[error("{}", lines(.0))]
    Faults(Vec<PreflightError>),
}

/// Each fault as if it were the only one.
fn lines(faults: &[PreflightError]) -> String {
    let lines = faults.iter();
    let lines: Vec<_> = lines.map(|it| format!("preflight failed: {it}")).collect();
    lines.join("\n")
}

/// `1 thing`, `2 things`.
fn counted(count: u64, thing: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {thing}{plural}")
}

impl Failure {
    fn exit_code(&self) -> u8 {
        match self {
            Failure::Said { code } => *code,
            Failure::Refused(_) | Failure::Running(RunError::Fenced { .. }) => 4,
            Failure::Running(_)
            | Failure::Output { .. }
            | Failure::Input { .. }
            | Failure::Store { .. }
            | Failure::Letters(_)
            | Failure::NoLetter(_)
            | Failure::NoSupervisor(_)
            | Failure::NoProgram(_)
            | Failure::Answer(_) => 1,
            Failure::Mistakes(_)
            | Failure::Fault(_)
            | Failure::NoPipeline { .. }
            | Failure::NoCheckpoints(_)
            | Failure::NotSupervised(_) => 2,
            Failure::Preflight(_)
            | Failure::Faults(_)
            | Failure::NotAsked { .. }
            | Failure::Supervise(_) => 3,
        }
    }
}

impl From<SuperviseError> for Failure {
    fn from(error: SuperviseError) -> Self {
        match error {
            // Whether the store or its supervisor says so is nothing to who has started a second one.
            SuperviseError::Control(error @ ControlError::InUse { .. }) => {
                Failure::Refused(Refusal::InUse(error.to_string()))
            }
            error => Failure::Supervise(error),
        }
    }
}

impl From<JobError> for Failure {
    fn from(error: JobError) -> Self {
        match error {
            JobError::Preflight(error) => Failure::Preflight(error),
            JobError::Refused(refusal) => Failure::Refused(refusal),
            JobError::Run(error) => Failure::Running(error),
        }
    }
}

/// Reads and checks a pipeline file, or the embedded one, with what is said above it. With `json`, mistakes also go to
/// stdout as one object.
fn load(path: Option<&Path>, above: &Above, json: bool) -> Result<Pipeline, Failure> {
    let text = PipelineText::read(path)?;
    let layers = Layers::here(&above.set);
    let parsed = Pipeline::parse_layered(&text.name, &text.bytes, &layers);
    parsed.map_err(|mistakes| mistaken(mistakes, json))
}

/// Says the mistakes of a pipeline.
fn mistaken(mistakes: Mistakes, json: bool) -> Failure {
    if json
        && let Ok(object) = serde_json::to_string(&mistakes)
        && let Err(failure) = print(&object)
    {
        return failure;
    }
    Failure::Mistakes(mistakes)
}

/// What a pipeline file says, and how messages call it.
struct PipelineText {
    name: String,
    bytes: Cow<'static, [u8]>,
}

impl PipelineText {
    /// The text of a file, or of the embedded one.
    fn read(path: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = path else {
            return Ok(PipelineText {
                name: REFERENCE_NAME.to_owned(),
                bytes: REFERENCE.as_bytes().into(),
            });
        };
        let name = path.display().to_string();
        match read(path) {
            Ok(bytes) => Ok(PipelineText {
                name,
                bytes: bytes.into(),
            }),
            Err(source) => Err(Failure::NoPipeline { path: name, source }),
        }
    }
}

/// Reads a pipeline file, or as much of it as shows that it is too long to be one.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = File::open(path)?;
    file.take(MAX_FILE_BYTES as u64 + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Says something to the person at the terminal. A closed stderr is no reason to fail.
fn say(text: &str) {
    drop(writeln!(io::stderr().lock(), "{text}"));
}

/// Prints what was asked for. A reader that has gone away has seen enough; anything else that keeps it
/// from being written is a failure, because a program waits for it.
fn print(text: &str) -> Result<(), Failure> {
    print_some(text).map(|_| ())
}

/// [`print`] for one part of many: whether there is a reader for more.
fn print_some(text: &str) -> Result<bool, Failure> {
    let mut stdout = io::stdout().lock();
    let written = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
    match written {
        Ok(()) => Ok(true),
        Err(source) if source.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(source) => Err(Failure::Output {
            what: "to stdout".to_owned(),
            source,
        }),
    }
}

/// Where a pipeline's generated or computed files go.
fn output_error(path: &Path, source: io::Error) -> Failure {
    Failure::Output {
        what: format!("`{}`", path.display()),
        source,
    }
}

/// The pipeline arguments that most commands share.
#[derive(Debug, Default, clap::Args)]
struct PipelineArgument {
    /// Pipeline file (TOML); the embedded reference pipeline if none is named
    pipeline: Option<PathBuf>,
    #[command(flatten)]
    above: Above,
}

impl PipelineArgument {
    /// The pipeline, read and checked.
    fn load(&self, json: bool) -> Result<Pipeline, Failure> {
        load(self.pipeline.as_deref(), &self.above, json)
    }
}

/// What is said above a pipeline file.
#[derive(Debug, Default, clap::Args)]
struct Above {
    /// Set a key above the file and the environment, as in `job.workers=4`; may be repeated. Everybody on this machine
    /// may see it, so no secrets
    #[arg(long, value_name = "TABLE.KEY=VALUE")]
    set: Vec<String>,
}
