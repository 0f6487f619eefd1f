//! `cargo xtask redis`: a real Redis server on this machine, for whoever tries a pipeline that looks things up. All of the work
//! is done by `slackwater_services`; here are the words for it.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use slackwater_services::process::{Process, Started};
use slackwater_services::redis::{PORT, Resident};

use crate::kafka::duration;

/// What it takes, one line a command.
const USAGE: &str = "usage: cargo xtask redis COMMAND

  start [--port N]                     starts a server, at port 6379 unless told otherwise, and leaves it running
  stop                                 ends it and keeps what it holds
  status                               says whether it runs

  --folder DIR                         with any of these: the server whose data is there, instead of in the cache";

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Usage,
    Start { port: u16 },
    Stop,
    Status,
}

/// Does what the arguments say.
///
/// # Errors
/// A mistyped argument; what is missing on this machine; and what Redis says.
pub fn run(arguments: &[String]) -> Result<()> {
    let (action, folder) = parse(arguments)?;
    let resident = Resident::of(folder.as_deref())?;
    let at = resident.folder().display();
    let with_folder = folder.map_or_else(String::new, |folder| {
        format!(" --folder {}", folder.display())
    });
    match action {
        Action::Usage => println!("{USAGE}"),
        Action::Start { port } => match resident.start(port, |said| eprintln!("{said}"))? {
            Started::Now(Process { port, .. }, took) => println!(
                "Redis is ready at redis://127.0.0.1:{port}/0 after {:.1} s; stop it with `cargo xtask redis stop{with_folder}`",
                took.as_secs_f64()
            ),
            Started::Before(Process { id, port, .. }) => println!(
                "Redis runs already at redis://127.0.0.1:{port}/0, process {id}; its folder is {at}"
            ),
        },
        Action::Stop => match resident.stop()? {
            Some(Process { id, .. }) => {
                println!("Redis, process {id}, has ended; what it held stays in {at}");
            }
            None => println!("Redis does not run in {at}"),
        },
        Action::Status => println!("{}", status(&resident)?),
    }
    Ok(())
}

/// How the server is.
fn status(resident: &Resident) -> Result<String> {
    let at = resident.folder().display();
    let Some(process) = resident.process()? else {
        return Ok(format!("Redis does not run in {at}"));
    };
    let answers = if resident.answers(&process) {
        ""
    } else {
        "; it does not answer"
    };
    let Process { id, port, .. } = process;
    Ok(format!(
        "Redis runs at redis://127.0.0.1:{port}/0, process {id}, for {}{answers}; its folder is {at}",
        duration(process.up())
    ))
}

/// Reads the arguments of `cargo xtask redis`.
fn parse(arguments: &[String]) -> Result<(Action, Option<PathBuf>)> {
    let (mut words, mut port, mut folder) = (Vec::new(), None, None);
    let mut rest = arguments.iter();
    while let Some(word) = rest.next() {
        let mut value = || {
            rest.next()
                .with_context(|| format!("`{word}` needs a value"))
        };
        match word.as_str() {
            "--folder" => folder = Some(PathBuf::from(value()?)),
            "--port" => {
                let value = value()?;
                let number = value.parse();
                port =
                    Some(number.with_context(|| format!("--port takes a number, not `{value}`"))?);
            }
            word => words.push(word),
        }
    }
    let action = match (&words[..], port) {
        ([] | ["help"], None) => Action::Usage,
        (["start"], port) => Action::Start {
            port: port.unwrap_or(PORT),
        },
        (["stop"], None) => Action::Stop,
        (["status"], None) => Action::Status,
        _ => bail!(
            "cargo xtask redis does not take `{}`\n\n{USAGE}",
            arguments.join(" ")
        ),
    };
    Ok((action, folder))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::{Action, parse};

    fn parsed(arguments: &str) -> Result<(Action, Option<PathBuf>), String> {
        let arguments: Vec<String> = arguments.split_whitespace().map(str::to_owned).collect();
        parse(&arguments).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn what_do_the_arguments_ask_for() {
        let check = |arguments: &str, action, folder: Option<&str>| {
            let expected = Ok((action, folder.map(PathBuf::from)));
            assert_eq!(parsed(arguments), expected, "{arguments}");
        };
        check("", Action::Usage, None);
        check("start", Action::Start { port: 6379 }, None);
        check(
            "start --folder a --port 7000",
            Action::Start { port: 7000 },
            Some("a"),
        );
        check("--folder b stop", Action::Stop, Some("b"));
        check("status", Action::Status, None);
    }

    #[test]
    fn what_is_said_of_mistyped_arguments() {
        let check = |arguments: &str, expected: &str| {
            let said = parsed(arguments).err().unwrap_or_default();
            assert!(said.contains(expected), "{arguments}: {said}");
        };
        check("begin", "does not take `begin`");
        check("stop --port 7000", "does not take `stop --port 7000`");
        check("start --port seven", "--port takes a number, not `seven`");
        check("start --port", "`--port` needs a value");
        check("start --prot 1", "does not take `start --prot 1`");
    }
}
