//! `slackwater version`.

use crate::cli::{Failure, print};

/// Prints the version.
#[derive(Debug, clap::Args)]
pub struct Version {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Version {
    pub(super) fn run(self) -> Result<(), Failure> {
        let version = env!("CARGO_PKG_VERSION");
        print(&if self.json {
            serde_json::json!({ "name": "slackwater", "version": version }).to_string()
        } else {
            format!("slackwater {version}")
        })
    }
}
