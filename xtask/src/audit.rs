//! Known weaknesses of the dependencies. Not in the gate: it needs a database from the network,
//! and a weakness that becomes known overnight must not turn yesterday's green change red.

use anyhow::{Result, bail};

use crate::process::{self, shell_line};
use crate::tools;

/// Words of cargo-deny when it could not get its database, whatever the cause.
const NO_DATABASE: [&str; 3] = [
    "failed to fetch advisory database",
    "failed to load advisory database",
    "failed to open advisory database",
];

/// Runs the check; exceptions and their reasons are in `deny.toml`.
///
/// # Errors
/// When an advisory applies, and, in other words, when there was no database to ask.
pub fn run(arguments: &[String]) -> Result<()> {
    if let Some(argument) = arguments.first() {
        bail!("cargo xtask audit takes no arguments, not `{argument}`");
    }
    let mut check = process::command(tools::program(&tools::DENY)?);
    check.args(["--workspace", "--color", "never", "check", "advisories"]);
    let output = check.output()?;
    let report = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    print!("{report}");
    if output.status.success() {
        println!("xtask audit: no advisory applies");
        return Ok(());
    }
    bail!("{}", verdict(&report, &shell_line(&check)));
}

/// What a failed check means. No database is no verdict, neither good nor bad.
fn verdict(report: &str, line: &str) -> String {
    if NO_DATABASE.iter().any(|words| report.contains(words)) {
        "the advisory database could not be fetched, so nothing was checked: run this where the \
         RustSec database can be reached, or name a local copy as `db-path` under [advisories] in \
         deny.toml"
            .to_owned()
    } else {
        format!(
            "an advisory applies (above), or the check could not run; repeat it with\n    {line}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::verdict;

    #[test]
    fn is_a_missing_database_told_from_a_weakness() {
        let check = |report: &str, expected: &str| {
            let said = verdict(report, "LINE");
            assert!(said.contains(expected), "{said}");
        };
        check(
            "[ERROR] failed to fetch advisory database https://example.org",
            "nothing was checked",
        );
        check("error[vulnerability]: something", "LINE");
    }
}
