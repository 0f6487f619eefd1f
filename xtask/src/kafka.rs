//! `cargo xtask kafka`: a real Kafka broker on this machine, for whoever tries a pipeline that reads or writes topics. All
//! of the work is done by `slackwater_services`; here are the words for it.

mod arguments;

use std::fs::File;
use std::io::{self, Write as _};
use std::ops::ControlFlow;
use std::path::{Display, Path};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result};
use slackwater_services::kafka::resident::{Process, Started};
use slackwater_services::kafka::{Kafka, Reading, Resident, Tools, VERSION, install};

use self::arguments::{Action, Choice, USAGE, parse};

/// Does what the arguments say.
///
/// # Errors
/// A mistyped argument; what is missing on this machine; and what Kafka says.
pub fn run(arguments: &[String]) -> Result<()> {
    let Choice { folder, action } = parse(arguments)?;
    let resident = Resident::of(folder.as_deref())?;
    match action {
        Action::Usage => println!("{USAGE}"),
        Action::Start { port } => start(&resident, port, folder.as_deref())?,
        Action::Stop => match resident.stop()? {
            Some(Process { id, .. }) => println!(
                "Kafka, process {id}, has ended; its data stays in {}",
                at(&resident)
            ),
            None => println!("Kafka does not run in {}", at(&resident)),
        },
        Action::Status => println!("{}", status(&resident)?),
        Action::Topics => {
            for name in tools(&resident)?.topics()? {
                println!("{name}");
            }
        }
        Action::Create {
            name,
            partitions,
            settings,
        } => {
            let settings: Vec<(&str, &str)> = settings
                .iter()
                .map(|(key, value)| (key.as_str(), value.as_str()))
                .collect();
            tools(&resident)?.create_topic(&name, partitions, &settings)?;
        }
        Action::Delete { name } => tools(&resident)?.delete_topic(&name)?,
        Action::Produce {
            topic,
            file,
            key_separator,
        } => {
            let input = match file {
                Some(file) => File::open(&file)
                    .with_context(|| format!("cannot read {}", file.display()))?
                    .into(),
                None => Stdio::inherit(),
            };
            tools(&resident)?.produce_lines(&topic, input, key_separator.as_deref())?;
        }
        Action::Consume(reading) => consume(&tools(&resident)?, &reading)?,
    }
    Ok(())
}

/// Kafka, fetched first if it is not there.
fn kafka() -> Result<Kafka> {
    install(|said| eprintln!("{said} (once)"))
}

/// Java's own tools for a broker that runs.
fn tools(resident: &Resident) -> Result<Tools> {
    let running = resident.running();
    let process = running.context("start one first, with `cargo xtask kafka start`")?;
    Ok(Tools::new(&kafka()?, process.port))
}

fn at(resident: &Resident) -> Display<'_> {
    resident.folder().display()
}

/// Starts the broker, or says that it runs.
fn start(resident: &Resident, port: u16, folder: Option<&Path>) -> Result<()> {
    let folder = folder.map_or_else(String::new, |folder| {
        format!(" --folder {}", folder.display())
    });
    match resident.start(&kafka()?, port)? {
        Started::Now(Process { port, .. }, took) => println!(
            "Kafka {VERSION} is ready at 127.0.0.1:{port} after {:.1} s; stop it with `cargo xtask kafka stop{folder}`",
            took.as_secs_f64()
        ),
        Started::Before(Process { id, port, .. }) => {
            println!(
                "Kafka runs already at 127.0.0.1:{port}, process {id}; its folder is {}",
                at(resident)
            );
        }
    }
    Ok(())
}

/// How the broker is.
fn status(resident: &Resident) -> Result<String> {
    let Some(process) = resident.process()? else {
        return Ok(format!("Kafka does not run in {}", at(resident)));
    };
    let Process { id, port, .. } = process;
    let topics = match resident.topics(&process) {
        Ok(topics) => format!("topics: {}", topics.len()),
        Err(error) => format!("it does not answer: {error:#}"),
    };
    Ok(format!(
        "Kafka runs at 127.0.0.1:{port}, process {id}, for {}; {topics}; its folder is {}",
        duration(process.up()),
        at(resident)
    ))
}

/// A time in two units.
pub(crate) fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

/// Writes the values of a topic's records to the standard output, until nobody reads them any more.
fn consume(tools: &Tools, reading: &Reading) -> Result<()> {
    let mut out = io::stdout().lock();
    let mut failed = Ok(());
    tools.each(reading, |read| {
        let mut line = read.record.value.unwrap_or_default();
        line.push(b'\n');
        match out.write_all(&line).and_then(|()| out.flush()) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failed = Err(error);
                ControlFlow::Break(())
            }
        }
    })?;
    match failed {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write what was read")
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::duration;

    #[test]
    fn how_long_is_a_time() {
        let check = |seconds: u64, expected: &str| {
            assert_eq!(duration(Duration::from_secs(seconds)), expected);
        };
        check(59, "59 s");
        check(61, "1 min 1 s");
        check(7260, "2 h 1 min");
    }
}
