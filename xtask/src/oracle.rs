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
/// The folder in which `slackwater features` puts vectors.
const VECTORS: &str = "features";
/// The independent program, and the one that compares; each can also test itself.
const ORACLE: &str = "tests/oracle/oracle.py";
const COMPARE: &str = "tests/oracle/compare.py";
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
    for program in [ORACLE, COMPARE] {
        process::run(process::command(&python).args([program, "--self-test"]))?;
    }
    process::run(process::cargo().args(["build", "--locked", "--package", "slackwater"]))?;
    let folder = process::target().join("oracle");
    tools::remove_folder(&process::root().join(&folder))?;
    make_folder(&folder)?;
    let events = folder.join("events");
    let out = folder.join("out");
    let vectors = folder.join("vectors");
    let expected = folder.join("expected.jsonl");

    let mut generate = slackwater();
    generate.args(["generate", PIPELINE, "--out"]).arg(&events);
    process::run(generate.args(["--events", EVENTS, "--seed", SEED]))?;
    let pipeline = pipeline(&folder, &events, &out)?;
    process::run(slackwater().arg("run").arg(&pipeline).arg("--json"))?;
    let mut features = slackwater();
    features.arg("features").arg(&pipeline).arg("--json");
    process::run(features.arg("--out").arg(&vectors))?;
    let features = folder.join("features.jsonl");
    join_files(&vectors.join(VECTORS), &features)?;

    let mut oracle = process::command(&python);
    oracle.args([ORACLE, "--model", MODEL, "--out"]);
    process::run(oracle.arg(&expected).args(files(&events)?))?;
    let mut compare = process::command(&python);
    compare.arg(COMPARE).arg(&expected).arg(&out);
    process::run(compare.arg("--features").arg(&features))
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

/// The files of a folder, sorted: the order in which the engine numbers them as partitions.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let listed = || format!("cannot list {}", folder.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(process::root().join(folder)).with_context(listed)? {
        files.push(folder.join(entry.with_context(listed)?.file_name()));
    }
    if files.is_empty() {
        bail!("{} is empty", folder.display());
    }
    files.sort();
    Ok(files)
}

/// Writes all files of a folder into one.
fn join_files(folder: &Path, whole: &Path) -> Result<()> {
    let mut text = Vec::new();
    for file in files(folder)? {
        let part = fs::read(process::root().join(&file));
        text.extend(part.with_context(|| format!("cannot read {}", file.display()))?);
    }
    fs::write(process::root().join(whole), text)
        .with_context(|| format!("cannot write {}", whole.display()))
}

/// Writes the pipeline that reads the generated files, and returns its path.
fn pipeline(folder: &Path, events: &Path, out: &Path) -> Result<PathBuf> {
    let text = fs::read_to_string(process::root().join(PIPELINE))
        .with_context(|| format!("cannot read {PIPELINE}"))?;
    let kind = ("kind", "\"file\"".to_owned());
    let path = |path: String| ("path", format!("{path:?}"));
    let source = [kind.clone(), path(format!("{}/*.jsonl", events.display()))];
    let text = with_table(&text, "source", &source, Others::Dropped)?;
    let provenance = ("provenance", "true".to_owned());
    let sink = [kind, path(out.display().to_string()), provenance];
    let text = with_table(&text, "sink", &sink, Others::Kept)?;
    let path = folder.join("user-events.toml");
    fs::write(process::root().join(&path), text)
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

/// What becomes of the keys of a table that are not given anew.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Others {
    /// They stay as they are.
    Kept,
    /// They go: they would be mistakes beside the new ones.
    Dropped,
}

/// The pipeline's text with keys of one `[table]` given anew; everything else stays as it is. Knows
/// only tables that are written as the reference pipeline writes them: one key a line.
fn with_table(text: &str, table: &str, keys: &[(&str, String)], others: Others) -> Result<String> {
    let header = format!("[{table}]");
    let mut result = String::new();
    let mut found = false;
    let mut inside = false;
    for line in text.lines() {
        let start = line.split(['#', '=']).next().map_or("", str::trim);
        let mut keep = true;
        if line.starts_with('[') {
            inside = start == header;
            found |= inside;
        } else if inside {
            keep = others == Others::Kept && keys.iter().all(|(key, _)| *key != start);
        }
        if keep {
            result.push_str(line);
            result.push('\n');
        }
        if inside && start == header {
            for (key, value) in keys {
                result.push_str(&format!("{key} = {value}\n"));
            }
        }
    }
    if !found {
        bail!("{PIPELINE} has no table {header}, which the oracle's run changes");
    }
    Ok(result)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::{Others, with_table};

    #[test]
    fn is_one_table_changed_and_nothing_else() {
        let check = |text: &str, others: Others, expected: &str| {
            let keys = [("path", "\"p\"".to_owned())];
            assert_eq!(with_table(text, "sink", &keys, others).unwrap(), expected);
        };
        let text = "[job]\npath = 1\n[sink] # to\nkind = 2\npath = 3 # old\n[[check]]\npath = 4\n";
        check(
            text,
            Others::Kept,
            "[job]\npath = 1\n[sink] # to\npath = \"p\"\nkind = 2\n[[check]]\npath = 4\n",
        );
        check(
            text,
            Others::Dropped,
            "[job]\npath = 1\n[sink] # to\npath = \"p\"\n[[check]]\npath = 4\n",
        );
        check(
            "[sink]\npaths = 5",
            Others::Kept,
            "[sink]\npath = \"p\"\npaths = 5\n",
        );
    }

    #[test]
    fn is_a_missing_table_an_error() {
        assert!(with_table("[sinks]\n", "sink", &[], Others::Kept).is_err());
    }
}
