//! `slackwater checkpoints`: what a job's store holds, also while the job runs. Nothing here writes to a store.

mod export;
mod list;
mod show;
mod verify;

pub(super) use self::list::time;

use std::sync::Arc;

use clap::Subcommand;
use slackwater_dataflow::checkpoint::log::{Found, manifests};
use slackwater_dataflow::checkpoint::manifest::Manifest;
use slackwater_dataflow::store::Store;

use crate::cli::{Failure, PipelineArgument};
use crate::pipeline::Pipeline;
use crate::pipeline::spec::StorePlace;
use crate::stores::open_to_read;

/// Looks at the checkpoints of a job.
#[derive(Debug, clap::Args)]
pub struct Checkpoints {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List them, the newest last
    List(list::List),
    /// Say everything that one says
    Show(show::Show),
    /// Read every byte of them, and say what is damaged
    Verify(verify::Verify),
    /// Write the state of one as JSON lines: what is known of each key
    Export(export::Export),
}

impl Checkpoints {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::List(command) => command.run(),
            Command::Show(command) => command.run(),
            Command::Verify(command) => command.run(),
            Command::Export(command) => command.run(),
        }
    }
}

/// The store of a job, to be read.
struct Opened {
    pipeline: Pipeline,
    place: StorePlace,
    store: Arc<dyn Store>,
    found: Vec<Found>,
}

fn open(argument: &PipelineArgument, json: bool) -> Result<Opened, Failure> {
    let pipeline = argument.load(json)?;
    let Some(checkpoint) = &pipeline.checkpoint else {
        return Err(Failure::NoCheckpoints(pipeline.job.name));
    };
    let place = checkpoint.store.clone();
    let unreadable = |error: &dyn std::error::Error| Failure::Store {
        store: place.to_string(),
        reason: error.to_string(),
    };
    let store = open_to_read(&place).map_err(|error| unreadable(&error))?;
    let found = manifests(store.as_ref()).map_err(|error| unreadable(&error))?;
    Ok(Opened {
        pipeline,
        place,
        store,
        found,
    })
}

impl Opened {
    /// The checkpoints that the job keeps. Records of older ones may be there too, of runs that were killed: they stay, so
    /// that no stale process can take their numbers, while what they list is deleted.
    fn kept(&self) -> &[Found] {
        let checkpoint = self.pipeline.checkpoint.as_ref();
        let retain = checkpoint.map_or(1, |it| it.retain as usize).max(1);
        let older = self.found.len().saturating_sub(retain);
        self.found.get(older..).unwrap_or_default()
    }

    /// The checkpoint of this number, or the newest one.
    fn manifest(&self, number: Option<u64>) -> Result<&Manifest, Failure> {
        let wanted = |found: &&Found| number.is_none_or(|number| found.number.0 == number);
        let found = self.found.iter().rev().find(wanted);
        let reason = match found.map(|found| &found.manifest) {
            Some(Ok(manifest)) => return Ok(manifest),
            Some(Err(error)) => error.to_string(),
            None => match number {
                Some(number) => format!("it holds no checkpoint of the number {number}"),
                None => "it holds no checkpoint yet".to_owned(),
            },
        };
        Err(self.failure(reason))
    }

    fn failure(&self, reason: impl ToString) -> Failure {
        Failure::Store {
            store: self.place.to_string(),
            reason: reason.to_string(),
        }
    }
}
