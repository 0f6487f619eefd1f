//! A step of the gate: the program as it is shipped has no faults, and refuses to start when it is asked for one; and it
//! refuses what it was built without, with what to do.
//!
//! All other tests run a program with faults. This one is the build that the comparisons with the oracles need anyway.

use std::fs;
use std::path::Path;
use std::process::Output;

use anyhow::{Result, bail, ensure};

use crate::process::{self, shell_line};

/// What each variable asks for, all of which a build for tests has.
const ASKED: [(&str, &str); 5] = [
    ("SLACKWATER_FAULT", "lost-delta"),
    ("SLACKWATER_OUTBOXES", "1"),
    ("SLACKWATER_CHUNKS_APART", "1"),
    ("SLACKWATER_CRASH", "after-manifest:1"),
    ("SLACKWATER_CRASHES", "crashes"),
];

/// How a program ends that refuses what it was asked for.
const USAGE: i32 = 2;

/// Builds the program and asks it.
///
/// # Errors
/// It does not build, does not start, or starts though a fault is asked for.
pub fn run() -> Result<()> {
    process::run(process::cargo().args(["build", "--locked", "--package", "slackwater"]))?;
    let program = process::root()
        .join(process::target())
        .join("debug/slackwater");
    process::run(process::command(&program).arg("version"))?;
    for (variable, value) in ASKED {
        for arguments in [&["version"][..], &["run", "pipelines/user-events.toml"]] {
            let mut command = process::command(&program);
            command.args(arguments).env(variable, value);
            let output = command.output()?;
            if let Err(error) = refused(&output, variable) {
                bail!("{error}; repeat it with\n    {}", shell_line(&command));
            }
        }
    }
    println!("refused {} variables of the environment", ASKED.len());
    without_tls(&program)
}

/// A pipeline whose brokers speak TLS, and what is said of it.
const WITH_TLS: &str = "\n[source]\nproperties = { \"security.protocol\" = \"SASL_SSL\" }\n";
const HOW_TO_GET_TLS: &str = "SASL_SSL needs TLS, and this program was built without: build it with \
                              `cargo build --release --features tls`";

/// Asks the program for TLS, which it was built without.
fn without_tls(program: &Path) -> Result<()> {
    let text = fs::read_to_string(process::root().join("pipelines/user-events.kafka.toml"))?;
    let folder = tempfile::tempdir()?;
    let pipeline = folder.path().join("tls.toml");
    fs::write(&pipeline, text.replace("\n[source]\n", WITH_TLS))?;
    for what in ["check", "run"] {
        let output = process::command(program)
            .arg(what)
            .arg(&pipeline)
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        let code = output.status.code();
        ensure!(
            code == Some(USAGE) && said.contains(HOW_TO_GET_TLS),
            "`{what}` of a pipeline that needs TLS ended with {code:?}: {said}"
        );
    }
    println!("refused a pipeline that needs TLS");
    without_tls_to_redis(program)
}

/// A store that speaks TLS, and what is said of it.
const PLAIN: &str = "redis://127.0.0.1:6379/0";
const ENCRYPTED: &str = "rediss://127.0.0.1:6379/0";
const HOW_TO_GET_IT: &str = "`rediss://` needs TLS, and this program was built without: build it with \
                             `cargo build --release --features tls`";

/// The same for a lookup.
fn without_tls_to_redis(program: &Path) -> Result<()> {
    let text = fs::read_to_string(process::root().join("pipelines/user-events.redis.toml"))?;
    ensure!(text.contains(PLAIN), "the pipeline has no `{PLAIN}`");
    let folder = tempfile::tempdir()?;
    let pipeline = folder.path().join("tls.toml");
    fs::write(&pipeline, text.replace(PLAIN, ENCRYPTED))?;
    let output = process::command(program)
        .arg("check")
        .arg(&pipeline)
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    let code = output.status.code();
    ensure!(
        code == Some(USAGE) && said.contains(HOW_TO_GET_IT),
        "`check` of a lookup that needs TLS ended with {code:?}: {said}"
    );
    println!("refused a lookup that needs TLS");
    Ok(())
}

/// Whether a program has ended as one does that has no faults.
fn refused(output: &Output, variable: &str) -> Result<()> {
    let said = String::from_utf8_lossy(&output.stderr);
    let code = output.status.code();
    ensure!(
        code == Some(USAGE),
        "it ended with {code:?} and not with {USAGE}: {said}"
    );
    let reason = format!("refused: {variable} is set in the environment");
    ensure!(said.starts_with(&reason), "it did not say why: {said}");
    ensure!(output.stdout.is_empty(), "it had begun");
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::{ExitStatus, Output};

    use super::refused;

    #[test]
    fn is_a_program_that_starts_or_says_nothing_found() {
        let ended = |code: i32, stdout: &str, stderr: &str| Output {
            status: ExitStatus::from_raw(code << 8),
            stdout: stdout.into(),
            stderr: stderr.into(),
        };
        let said = "refused: A is set in the environment: it asks for a fault\n";
        assert!(refused(&ended(2, "", said), "A").is_ok());
        assert!(refused(&ended(2, "", said), "B").is_err());
        assert!(refused(&ended(2, "", ""), "A").is_err());
        assert!(refused(&ended(0, "", said), "A").is_err());
        assert!(refused(&ended(2, "0.1.0\n", said), "A").is_err());
    }
}
