//! The gate's last steps: the real binary against `tests/oracle`, plain and slow programs in Python that
//! share no code with the engine. Features, scores and outcomes must agree, event by event: of generated
//! events in the order of arrival, and of real flights in the order of event time.
//!
//! Everything that a step makes lies in a folder below `oracle` in cargo's target folder, made anew by
//! every run and left there, so that a difference can be looked at.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::{flights as input, process, tools};

/// A job, and the program that says what its outcomes must be.
struct Job {
    /// What the comparison calls it; also its folder.
    name: &'static str,
    /// The pipeline file, seen from the root of the repository.
    pipeline: &'static str,
    /// Its model.
    model: &'static str,
    /// The independent program, which can also test itself.
    oracle: &'static str,
}

const USER_EVENTS: Job = Job {
    name: "user-events",
    pipeline: "pipelines/user-events.toml",
    model: "pipelines/models/user-events.onnx",
    oracle: "tests/oracle/oracle.py",
};
const FLIGHTS: Job = Job {
    name: "flights",
    pipeline: "pipelines/flights.toml",
    model: "pipelines/models/flights.onnx",
    oracle: "tests/oracle/flights.py",
};

/// How many generated events are compared: enough for every kind of bad event to come up hundreds of times.
const EVENTS: &str = "20000";
/// Seed of the generated events, so that a difference can be seen again.
const SEED: &str = "7";

/// A bound on the flights' disorder under which a third of them is late. The pipeline's own is as large as
/// the disorder is and leaves 2 late ones, which would show little about lateness.
const TIGHT_BOUND: &str = "2h";
/// The same for the oracle.
const TIGHT_BOUND_MS: &str = "7200000";

/// The folder in which `slackwater features` puts vectors.
const VECTORS: &str = "features";
/// The program that holds the features of all flights against a table of its own.
const FLIGHTS_TABLE: &str = "tests/oracle/flights_pandas.py";
/// What of a flight is known when it has arrived, and the model foretells.
const LABEL: &str = "arr_delay";
/// The program that compares; it can also test itself.
const COMPARE: &str = "tests/oracle/compare.py";
/// The program that holds pipelines, and mistakes in them, against the schema that the binary prints.
const SCHEMA: &str = "tests/oracle/schema.py";
/// The script that trains the flights' model.
pub const FLIGHTS_MODEL_SCRIPT: &str = "pipelines/models/make_flights.py";

/// Makes events, runs the reference job and its oracle on them, compares. Then holds all pipelines against the schema of
/// pipeline files.
///
/// # Errors
/// The first program that failed, with the line that repeats it; the comparison's own output says
/// which events differ.
pub fn user_events() -> Result<()> {
    let python = prepare(&[USER_EVENTS.oracle, COMPARE, SCHEMA])?;
    let folder = anew(&USER_EVENTS)?;
    let events = folder.join("events");
    let mut generate = slackwater();
    generate.args(["generate", USER_EVENTS.pipeline, "--out"]);
    generate.arg(&events);
    process::run(generate.args(["--events", EVENTS, "--seed", SEED]))?;
    compare(&USER_EVENTS, &python, &events, &folder, None)?;
    let mut schema = process::command(&python);
    schema.arg(SCHEMA).arg(slackwater().get_program());
    process::run(schema.args(pipelines()?))
}

/// The pipeline files of the repository.
fn pipelines() -> Result<Vec<PathBuf>> {
    let mut all = files(Path::new("pipelines"))?;
    all.retain(|path| path.extension().is_some_and(|it| it == "toml"));
    Ok(all)
}

/// Makes real flights into events, runs their job and its oracle on some of them, compares; then once more with
/// more of them late. At last it holds the features of all of them against what pandas makes of them, and trains the
/// model anew on them.
///
/// # Errors
/// As [`user_events`]; a model that does not score as the committed one.
pub fn flights() -> Result<()> {
    let python = prepare(&[input::CONVERTER, FLIGHTS.oracle, COMPARE])?;
    let folder = anew(&FLIGHTS)?;
    let events = folder.join("events");
    input::write(input::SOME, &events)?;
    let whole = folder.join("whole");
    make_folder(&whole)?;
    compare(&FLIGHTS, &python, &events, &whole, None)?;
    let tight = folder.join("tight");
    make_folder(&tight)?;
    let bound = Some((TIGHT_BOUND, TIGHT_BOUND_MS));
    compare(&FLIGHTS, &python, &events, &tight, bound)?;

    all_flights(&python, &folder.join("all"))
}

/// The features of all flights: what pandas says, and what the committed model was trained on.
fn all_flights(python: &Path, folder: &Path) -> Result<()> {
    let (events, vectors) = (folder.join("events"), folder.join("vectors"));
    make_folder(folder)?;
    input::write(input::FLIGHTS, &events)?;
    let mut features = slackwater();
    features.args(["features", FLIGHTS.pipeline, "--label", LABEL, "--json"]);
    let path = format!("source.path={}", events.join("*.jsonl").display());
    features.args(["--set", &path, "--out"]);
    process::run(features.arg(&vectors))?;
    let vectors = vectors.join(VECTORS);
    let mut pandas = process::command(python);
    pandas.args([FLIGHTS_TABLE, "--vectors"]).arg(&vectors);
    for airport in ["EWR", "JFK", "LGA"] {
        pandas.arg(events.join(airport).with_extension("jsonl"));
    }
    process::run(&mut pandas)?;
    let mut train = process::command(python);
    train.args([FLIGHTS_MODEL_SCRIPT, "--check", "--vectors"]);
    process::run(train.arg(&vectors))
}

/// Lets the programs test themselves, builds the binary under test, and returns the Python.
fn prepare(programs: &[&str]) -> Result<PathBuf> {
    let python = tools::python(tools::ORACLE)?;
    for program in programs {
        process::run(process::command(&python).args([program, "--self-test"]))?;
    }
    process::run(process::cargo().args(["build", "--locked", "--package", "slackwater"]))?;
    Ok(python)
}

/// The folder of a job, empty.
fn anew(job: &Job) -> Result<PathBuf> {
    let folder = process::target().join("oracle").join(job.name);
    tools::remove_folder(&process::root().join(&folder))?;
    make_folder(&folder)?;
    Ok(folder)
}

/// Runs a job and its oracle on a folder of events, and compares. `bound` is a disorder other than the
/// pipeline's, as the pipeline file writes it and in milliseconds.
fn compare(
    job: &Job,
    python: &Path,
    events: &Path,
    folder: &Path,
    bound: Option<(&str, &str)>,
) -> Result<()> {
    let out = folder.join("out");
    let vectors = folder.join("vectors");
    let expected = folder.join("expected.jsonl");

    let text = fs::read_to_string(process::root().join(job.pipeline))
        .with_context(|| format!("cannot read {}", job.pipeline))?;
    let text = changed(&text, events, &out, bound.map(|(written, _)| written))
        .with_context(|| format!("cannot change {} for the oracle's run", job.pipeline))?;
    let pipeline = folder.join("pipeline.toml");
    fs::write(process::root().join(&pipeline), text)
        .with_context(|| format!("cannot write {}", pipeline.display()))?;
    process::run(slackwater().arg("run").arg(&pipeline).arg("--json"))?;
    let mut features = slackwater();
    features.arg("features").arg(&pipeline).arg("--json");
    process::run(features.arg("--out").arg(&vectors))?;
    let features = folder.join("features.jsonl");
    join_files(&vectors.join(VECTORS), &features)?;

    let mut oracle = process::command(python);
    oracle.args([job.oracle, "--model", job.model, "--out"]);
    oracle.arg(&expected);
    if let Some((_, milliseconds)) = bound {
        oracle.args(["--out-of-orderness-ms", milliseconds]);
    }
    process::run(oracle.args(files(events)?))?;
    let mut compare = process::command(python);
    compare.arg(COMPARE).arg(&expected).arg(&out);
    compare.arg("--features").arg(&features);
    process::run(compare.args(["--job", job.name]))
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

/// The pipeline's text, reading the events from their folder on two workers, and writing to another folder
/// with the place of each event.
fn changed(text: &str, events: &Path, out: &Path, bound: Option<&str>) -> Result<String> {
    let kind = ("kind", "\"file\"".to_owned());
    let path = |path: String| ("path", format!("{path:?}"));
    let source = [kind.clone(), path(format!("{}/*.jsonl", events.display()))];
    let text = with_table(text, "source", &source, Others::Dropped)?;
    let provenance = ("provenance", "true".to_owned());
    let sink = [kind, path(out.display().to_string()), provenance];
    let text = with_table(&text, "sink", &sink, Others::Kept)?;
    let bound = bound.map(|bound| ("max_out_of_orderness", format!("{bound:?}")));
    let text = with_table(&text, "event", bound.as_slice(), Others::Kept)?;
    let workers = [("workers", "2".to_owned())];
    with_table(&text, "job", &workers, Others::Kept)
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
        bail!("there is no table {header}");
    }
    Ok(result)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::path::Path;

    use super::{Others, changed, with_table};

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
    fn what_does_the_oracle_s_run_change() {
        let text = "[job]\norder = 1\n[source]\nkind = 2\n[event]\nmax_out_of_orderness = 3\n\
                    key = 4\n[[event.field]]\nname = 5\n[sink]\nfields = 6\n";
        let check = |bound: Option<&str>, event: &str| {
            let expected = format!(
                "[job]\nworkers = 2\norder = 1\n[source]\nkind = \"file\"\npath = \"in/*.jsonl\"\n\
                 [event]\n{event}[[event.field]]\nname = 5\n\
                 [sink]\nkind = \"file\"\npath = \"out\"\nprovenance = true\nfields = 6\n"
            );
            let found = changed(text, Path::new("in"), Path::new("out"), bound).unwrap();
            assert_eq!(found, expected);
        };
        check(None, "max_out_of_orderness = 3\nkey = 4\n");
        check(Some("2h"), "max_out_of_orderness = \"2h\"\nkey = 4\n");
    }

    #[test]
    fn is_a_missing_table_an_error() {
        assert!(with_table("[sinks]\n", "sink", &[], Others::Kept).is_err());
    }
}
