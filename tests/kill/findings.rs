//! Where what was found is kept for the report of a campaign.

use std::fs::File;
use std::io::Write;

use serde_json::Value;

/// The file to which each test adds a line, if somebody wants a report.
const REPORT: &str = "SLACKWATER_KILL_REPORT";

pub fn store(found: &Value) {
    if let Some(path) = std::env::var_os(REPORT) {
        let file = File::options().create(true).append(true).open(path);
        writeln!(file.unwrap(), "{found}").unwrap();
    }
}
