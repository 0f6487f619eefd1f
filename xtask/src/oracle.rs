//! The gate's last step: the real binary on generated events against `tests/oracle`, a plain and
//! slow program in Python that shares no code with the engine. Features, scores and outcomes must
//! agree, event by event.
//!
//! Everything it makes lies in `oracle` under cargo's target folder, made anew by every run and left there, so that a
//! difference can be looked at.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::{process, tools};

/// The job that is checked, seen from the root of the repository.
const PIPELINE: &str = "pipelines/user-events.toml";
/// Its model.
const MODEL: &str = "pipelines/models/user-events.onnx";
/// How many events are compared: enough for every kind of bad event to come up hundreds of times.
const EVENTS: &str = "20000";
/// Seed of the generated events, so that a difference can be seen again.
const SEED: &str = "7";

/// Makes events, runs the job and the oracle on them, compares.
///
/// # Errors
/// The first program that failed, with the line that repeats it; the comparison's own output says
/// which events differ.
pub fn run() -> Result<()> {
    let python = tools::python()?;
    process::run(process::cargo().args(["build", "--locked", "--package", "slackwater"]))?;
    let folder = process::target().join("oracle");
    let folder = folder.as_path();
    let events = folder.join("events");
    let out = folder.join("out");
    let features = folder.join("features.jsonl");
    let expected = folder.join("expected.jsonl");
    tools::remove_folder(&process::root().join(folder))?;
    make_folder(folder)?;

    let mut generate = slackwater();
    generate.args(["generate", PIPELINE, "--out"]).arg(&events);
    generate.args(["--events", EVENTS, "--seed", SEED]);
    process::run(&mut generate)?;
    let parts = parts(&events)?;

    let mut engine = slackwater();
    engine.arg("run").arg(pipeline(folder, &events, &out)?);
    engine.args(["--json", "--overwrite", "--features-dump"]);
    process::run(engine.arg(&features))?;

    let mut oracle = process::command(&python);
    oracle.args(["tests/oracle/oracle.py", "--out"]);
    oracle.arg(&expected).args(["--model", MODEL]).args(&parts);
    process::run(&mut oracle)?;

    let mut compare = process::command(&python);
    compare.arg("tests/oracle/compare.py").arg(&expected);
    compare.arg(&out).arg("--features").arg(&features);
    process::run(&mut compare)
}

/// The binary under test: the one the gate built.
fn slackwater() -> std::process::Command {
    process::command(
        process::root()
            .join(process::target())
            .join("debug/slackwater"),
    )
}

/// Makes a folder named from the root of the repository.
fn make_folder(folder: &Path) -> Result<()> {
    let folder = process::root().join(folder);
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))
}

/// The generated files, in the order in which the engine numbers them as partitions.
fn parts(events: &Path) -> Result<Vec<PathBuf>> {
    let folder = process::root().join(events);
    let listed = || format!("cannot list {}", folder.display());
    let mut parts = Vec::new();
    for entry in fs::read_dir(&folder).with_context(listed)? {
        parts.push(events.join(entry.with_context(listed)?.file_name()));
    }
    if parts.is_empty() {
        bail!("the generator wrote no file into {}", folder.display());
    }
    parts.sort();
    Ok(parts)
}

/// Writes the pipeline that reads the generated files, and returns its path.
fn pipeline(folder: &Path, events: &Path, out: &Path) -> Result<PathBuf> {
    let reference = process::root().join(PIPELINE);
    let text = fs::read_to_string(&reference)
        .with_context(|| format!("cannot read {}", reference.display()))?;
    let source = format!("kind = \"file\"\npath = \"{}/*.jsonl\"\n", events.display());
    let sink = format!(
        "kind = \"file\"\npath = \"{}\"\nprovenance = true\n",
        out.display()
    );
    let text = with_table(&with_table(&text, "source", &source)?, "sink", &sink)?;
    let path = folder.join("user-events.toml");
    fs::write(process::root().join(&path), text)
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

/// The pipeline's text with the body of one `[table]` replaced; the rest stays as it is.
fn with_table(text: &str, table: &str, body: &str) -> Result<String> {
    let header = format!("[{table}]");
    let mut result = String::new();
    let mut found = false;
    let mut inside = false;
    for line in text.lines() {
        if line.starts_with('[') {
            inside = line.split('#').next().map(str::trim) == Some(header.as_str());
            if inside {
                found = true;
                result.push_str(&format!("{header}\n{body}\n"));
            }
        }
        if !inside {
            result.push_str(line);
            result.push('\n');
        }
    }
    if !found {
        bail!("{PIPELINE} has no table {header}, which the oracle's run replaces");
    }
    Ok(result)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::with_table;

    #[test]
    fn is_one_table_replaced_and_nothing_else() {
        let check = |text: &str, expected: &str| {
            assert_eq!(
                with_table(text, "source", "kind = \"file\"\n").unwrap(),
                expected
            );
        };
        check(
            "[job]\nname = \"a\"\n\n[source] # from\nkind = \"generator\"\nseed = 1\n\n[event]\nkey = [\"k\"]\n",
            "[job]\nname = \"a\"\n\n[source]\nkind = \"file\"\n\n[event]\nkey = [\"k\"]\n",
        );
        check("[source]\nseed = 1\n", "[source]\nkind = \"file\"\n\n");
        check(
            "[source]\n[[event.field]]\nname = \"x\"",
            "[source]\nkind = \"file\"\n\n[[event.field]]\nname = \"x\"\n",
        );
    }

    #[test]
    fn is_a_missing_table_an_error() {
        assert!(with_table("[sources]\n", "source", "").is_err());
    }
}
