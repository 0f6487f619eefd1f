//! `slackwater checkpoints verify`.

use serde_json::json;
use slackwater_dataflow::checkpoint::fault::FormatError;
use slackwater_dataflow::checkpoint::frame::reading::verify_whole;
use slackwater_dataflow::checkpoint::groups::GroupSet;
use slackwater_dataflow::checkpoint::manifest::{ChainObject, Manifest};
use slackwater_dataflow::checkpoint::state_merge::{StateChain, StateDigest};
use slackwater_dataflow::store::Store;

use crate::cli::checkpoints::open;
use crate::cli::{Failure, PipelineArgument, counted, print_some};

/// Reads every byte of every checkpoint that is kept in a job's store. Fails if one is damaged.
#[derive(Debug, clap::Args)]
pub struct Verify {
    #[command(flatten)]
    pipeline: PipelineArgument,
    /// Print one JSON object per checkpoint
    #[arg(long)]
    json: bool,
}

impl Verify {
    pub(super) fn run(self) -> Result<(), Failure> {
        let opened = open(&self.pipeline, self.json)?;
        let mut damaged = 0;
        for found in opened.kept() {
            let verified = match &found.manifest {
                Ok(manifest) => {
                    verify(opened.store.as_ref(), manifest).map_err(|error| error.to_string())
                }
                Err(error) => Err(error.to_string()),
            };
            damaged += u64::from(verified.is_err());
            let number = found.number;
            let line = match (verified, self.json) {
                (Ok(digest), true) => json!({ "number": number, "state": digest }).to_string(),
                (Err(error), true) => json!({ "number": number, "error": error }).to_string(),
                (Ok(digest), false) => format!("checkpoint {number}: whole, state {digest}"),
                (Err(error), false) => format!("checkpoint {number}: {error}"),
            };
            if !print_some(&line)? {
                break;
            }
        }
        if damaged > 0 {
            let damaged = counted(damaged, "checkpoint");
            return Err(opened.failure(format!("{damaged} cannot be used")));
        }
        Ok(())
    }
}

/// Verifies all objects of a checkpoint and gives the digest of its state.
fn verify(store: &dyn Store, manifest: &Manifest) -> Result<String, FormatError> {
    for object in manifest.objects().into_values() {
        verify_whole(store, &object)?;
    }
    let mut digest = StateDigest::default();
    for chain in &manifest.chains {
        let mut chain = StateChain::open(store, chain.iter().map(ChainObject::object))?;
        digest = digest.and(chain.digest(&GroupSet::all())?);
    }
    Ok(format!("{:032x}", digest.0))
}
