//! `slackwater model`: a pipeline's model by itself, without events.

mod bench;
mod score;
mod show;

use clap::Subcommand;

use crate::cli::Failure;

/// Looks at the model of a pipeline.
#[derive(Debug, clap::Args)]
pub struct Model {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say what the model is, and how well it agrees with its golden vector
    Show(show::Show),
    /// Score rows of features: JSON lines in, JSON lines out
    Score(score::Score),
    /// Measure what a row costs on one thread, at several batch sizes
    Bench(bench::Bench),
}

impl Model {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::Show(command) => command.run(),
            Command::Score(command) => command.run(),
            Command::Bench(command) => command.run(),
        }
    }
}
