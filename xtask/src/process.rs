//! Starting other programs: with no standard input, from the root of the repository, and with an
//! error that holds the very line to type to see the failure again.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
pub use slackwater_services::cache::root;

/// Cargo's target folder, where the binary under test is.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from)
}

/// A command that starts in the root of the repository and reads no input, so that a question on
/// the terminal is an error at once instead of a gate that waits for ever.
pub fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root()).stdin(Stdio::null());
    command
}

/// A cargo command. The toolchain is the one this program was started with.
pub fn cargo() -> Command {
    command("cargo")
}

/// Runs a command with its output on this terminal.
///
/// # Errors
/// Says what could not be started or how it ended, and the line that repeats it.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("cannot start {}", shell_line(command)))?;
    if !status.success() {
        bail!("{status}; repeat it with\n    {}", shell_line(command));
    }
    Ok(())
}

/// Runs a command and returns what it wrote to standard output; its standard error stays on this
/// terminal.
///
/// # Errors
/// As [`run`].
pub fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start {}", shell_line(command)))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        bail!(
            "{}; repeat it with\n    {}\n{text}",
            output.status,
            shell_line(command)
        );
    }
    Ok(text)
}

/// The command as a line for a POSIX shell in the root of the repository: variables, program,
/// arguments, quoted where they must be.
pub fn shell_line(command: &Command) -> String {
    let mut line = String::new();
    for (name, value) in command.get_envs() {
        let name = name.to_string_lossy();
        match value {
            // Writing to a String cannot fail.
            Some(value) => {
                let _ = write!(line, "{name}={} ", quoted(&value.to_string_lossy()));
            }
            None => {
                let _ = write!(line, "{name}= ");
            }
        }
    }
    line.push_str(&quoted(&command.get_program().to_string_lossy()));
    for argument in command.get_args() {
        line.push(' ');
        line.push_str(&quoted(&argument.to_string_lossy()));
    }
    line
}

/// One word of a shell line.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::{cargo, quoted, shell_line};

    #[test]
    fn can_a_printed_word_be_typed() {
        let check = |word: &str, expected: &str| assert_eq!(quoted(word), expected);
        check("--all", "--all");
        check("out/a-b_c.jsonl", "out/a-b_c.jsonl");
        check("", "''");
        check("two words", "'two words'");
        check("*.jsonl", "'*.jsonl'");
        check("it's", r"'it'\''s'");
    }

    #[test]
    fn does_a_printed_line_hold_all_that_a_repeat_needs() {
        let mut command = cargo();
        command
            .args(["doc", "--no-deps"])
            .env("RUSTDOCFLAGS", "-D warnings");
        assert_eq!(
            shell_line(&command),
            "RUSTDOCFLAGS='-D warnings' cargo doc --no-deps"
        );
    }
}
