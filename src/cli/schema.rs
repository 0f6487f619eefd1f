//! `slackwater schema`: what editors know of pipeline files.

use crate::cli::{Failure, print};
use crate::pipeline::schema::schema;

/// Prints the JSON schema of pipeline files (draft 7), for editors: `slackwater schema > slackwater.schema.json`, and
/// `#:schema ./slackwater.schema.json` as the first line of a pipeline file.
#[derive(Debug, clap::Args)]
pub struct Schema {}

impl Schema {
    pub(super) fn run(self) -> Result<(), Failure> {
        print(&format!("{:#}", schema()))
    }
}
