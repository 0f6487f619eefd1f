//! The two processes of a `run` with checkpoints: a supervisor, which is what was called, and its worker, which is the
//! same program called once more with arguments that nobody else uses. And those who ask the supervisor.

use std::env;
use std::fs;
use std::io;
use std::path::Path;
use std::process::{self, Command};
use std::time::Duration;

use signal_hook::low_level::emulate_default_handler;

use crate::cli::{Failure, say};
use crate::pipeline::Pipeline;
use crate::pipeline::spec::CheckpointSpec;
use crate::stores::room;
use crate::supervisor::attempts::Outcome;
use crate::supervisor::control::ControlError;
use crate::supervisor::protocol::{Answer, Ask};
use crate::supervisor::reporter::{Reporter, live_with};
use crate::supervisor::{Setup, SuperviseError, control, supervise as supervise_workers};

/// What a supervisor tells the worker that it starts.
#[derive(Debug, Default, clap::Args)]
pub(super) struct Worker {
    /// The supervisor's process
    #[arg(long = "worker", value_name = "PID", hide = true, requires = "attempt")]
    supervisor: Option<u32>,
    /// Starts of a worker so far, this one included
    #[arg(long, value_name = "N", hide = true, requires = "supervisor")]
    attempt: Option<u32>,
    /// An earlier worker has begun the job
    #[arg(long, hide = true, requires = "supervisor")]
    goes_on: bool,
}

impl Worker {
    /// Whether this process is one.
    pub(super) fn is_one(&self) -> bool {
        self.supervisor.is_some()
    }

    /// Whether it goes on with what an earlier one has begun.
    pub(super) fn goes_on(&self) -> bool {
        self.goes_on
    }

    /// Workers that have failed before this one.
    pub(super) fn restarts(&self) -> u32 {
        self.attempt.unwrap_or_default().saturating_sub(1)
    }

    /// First of all: a worker whose supervisor has ended must not work beside the next one's.
    pub(super) fn live_with_supervisor(&self) -> Result<(), Failure> {
        match self.supervisor {
            Some(supervisor) if !live_with(supervisor) => Err(Failure::NoSupervisor(
                io::Error::other("it has ended already"),
            )),
            _ => Ok(()),
        }
    }

    /// The way to the supervisor.
    pub(super) fn connect(&self, pipeline: &Pipeline) -> Result<Reporter, Failure> {
        let Some(checkpoint) = &pipeline.checkpoint else {
            let why = "the pipeline file has no [checkpoint] any more";
            return Err(Failure::NoSupervisor(io::Error::other(why)));
        };
        let attempt = self.attempt.unwrap_or_default();
        Reporter::connect(&room::of(&checkpoint.store), attempt).map_err(Failure::NoSupervisor)
    }

    /// Has the supervisor say why a run has failed: it knows what comes next. What is about the file or the machine is
    /// said here as well, as of a job without a supervisor; it is there to be asked for if the job is started again.
    pub(super) fn report(reporter: &Reporter, ran: Result<(), Failure>) -> Result<(), Failure> {
        let cause = match &ran {
            // What another run has taken over, for one, is not to be started again.
            Err(failure) if failure.exit_code() != 1 => {
                drop(reporter.failed(&failure.to_string()));
                return ran;
            }
            Err(Failure::Running(error)) => error.to_string(),
            Err(failure) => failure.to_string(),
            Ok(()) => return ran,
        };
        match reporter.failed(&cause) {
            Ok(()) => Err(Failure::Said { code: 1 }),
            Err(_) => ran,
        }
    }
}

/// Runs a job with checkpoints: starts workers until it has ended. `path` is the pipeline file's; none for the embedded
/// one.
pub(super) fn supervise(
    pipeline: &Pipeline,
    checkpoint: &CheckpointSpec,
    path: Option<&Path>,
) -> Result<(), Failure> {
    path.map_or(Ok(()), can_be_read_again)?;
    let room = room::of(&checkpoint.store);
    room::prepare(&checkpoint.store)
        .map_err(|error| SuperviseError::Control(ControlError::path("make", &room, error)))?;
    let program = env::current_exe().map_err(Failure::NoProgram)?;
    let outcome = supervise_workers(&Setup {
        job: &pipeline.job.name,
        room: &room,
        store: &checkpoint.store.to_string(),
        strategy: pipeline.restart,
        program: &|attempt, goes_on| {
            let mut command = Command::new(&program);
            let (supervisor, attempt) = (process::id().to_string(), attempt.to_string());
            command.args(["run", "--worker", &supervisor, "--attempt", &attempt]);
            if goes_on {
                command.arg("--goes-on");
            }
            // All that was said behind `run`, `--set` too; the environment it has anyway.
            command.args(env::args_os().skip(2));
            command
        },
        say: &say,
    })?;
    match outcome {
        Outcome::Code(0) => Ok(()),
        Outcome::Code(code) => Err(Failure::Said { code }),
        Outcome::Signal(signal) => {
            drop(emulate_default_handler(signal));
            Err(Failure::Said { code: 1 })
        }
    }
}

/// Workers read the pipeline file themselves, so it must be there more than once.
fn can_be_read_again(path: &Path) -> Result<(), Failure> {
    let no_pipeline = |source| Failure::NoPipeline {
        path: path.display().to_string(),
        source,
    };
    if fs::metadata(path).map_err(no_pipeline)?.is_file() {
        return Ok(());
    }
    let why = "it is no file, and a job with [checkpoint] reads it again at each restart: write it to one";
    Err(no_pipeline(io::Error::other(why)))
}

/// Asks the supervisor of a job.
pub(super) fn ask(
    pipeline: &Pipeline,
    what: Ask,
    patience: Option<Duration>,
) -> Result<Answer, Failure> {
    let job = || pipeline.job.name.clone();
    let Some(checkpoint) = &pipeline.checkpoint else {
        return Err(Failure::NotSupervised(job()));
    };
    control::ask(&room::of(&checkpoint.store), what, patience)
        .map_err(|source| Failure::NotAsked { job: job(), source })
}
