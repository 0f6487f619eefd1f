//! A process that a person starts and stops: it stays when the command that started it has ended, and is found again by what
//! that command wrote down.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::cache;

/// Starts a process in a session of its own, so that no terminal's end is its end.
pub(crate) const STARTER: [&str; 1] = ["setsid"];
/// One that was asked to end and has not by then needs somebody who looks.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks whether it has.
const LOOK: Duration = Duration::from_millis(20);

/// One that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// The number of its process.
    pub id: i32,
    /// Where it takes clients.
    pub port: u16,
    /// When it was started, in milliseconds since 1970.
    pub started_ms: u64,
}

/// What a start came to.
#[derive(Clone, Copy, Debug)]
pub enum Started {
    /// It runs now, ready after this time.
    Now(Process, Duration),
    /// It ran already.
    Before(Process),
}

/// The folder of a process that stays.
#[derive(Clone, Debug)]
pub(crate) struct Home {
    folder: PathBuf,
    /// What people call the program.
    name: &'static str,
    /// Whether the process of a number is the one that was started for a folder, and none that has got its number since.
    is_its_own: fn(&Path, i32) -> bool,
}

impl Home {
    /// A folder, which need not be there yet; by default one in the cache, called like this.
    pub(crate) fn of(
        folder: Option<&Path>,
        cached: &str,
        name: &'static str,
        is_its_own: fn(&Path, i32) -> bool,
    ) -> Result<Home> {
        let folder = match folder {
            Some(folder) => std::path::absolute(folder)
                .with_context(|| format!("cannot tell where `{}` is", folder.display()))?,
            None => cache::folder()?.join(cached),
        };
        Ok(Home {
            folder,
            name,
            is_its_own,
        })
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where it is written down which process it is.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder.join("process")
    }

    /// The process that it is, if it runs.
    pub(crate) fn process(&self) -> Result<Option<Process>> {
        let process = Process::remembered(&self.file())?;
        Ok(process.filter(|process| (self.is_its_own)(&self.folder, process.id)))
    }

    /// Ends it in good order and waits for that; says which process it was, or none when it did not run.
    pub(crate) fn stop(&self) -> Result<Option<Process>> {
        if !self.file().is_file() {
            return Ok(None);
        }
        let _lock = cache::lock(&self.folder)?;
        let Some(process) = self.process()? else {
            return Ok(None);
        };
        let is_there = || (self.is_its_own)(&self.folder, process.id);
        process.end(self.name, is_there, &self.file())?;
        Ok(Some(process))
    }
}

impl Process {
    /// For how long it has been running.
    pub fn up(&self) -> Duration {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        now.saturating_sub(Duration::from_millis(self.started_ms))
    }

    /// A child that was started now, written down in a file.
    pub(crate) fn remember(child: &Child, port: u16, file: &Path) -> Result<Process> {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let process = Process {
            id: Pid::from_child(child).as_raw_nonzero().get(),
            port,
            started_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
        };
        fs::write(file, process.text())
            .with_context(|| format!("cannot write {}", file.display()))?;
        Ok(process)
    }

    /// What is written down in a file; none if there is no such file, or no such text in it.
    fn remembered(file: &Path) -> Result<Option<Process>> {
        match fs::read_to_string(file) {
            Ok(text) => Ok(Process::read(&text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
        }
    }

    /// Asks it to end, waits until it is not there any more, and forgets what was written down.
    fn end(&self, name: &str, is_there: impl Fn() -> bool, file: &Path) -> Result<()> {
        let id = Pid::from_raw(self.id).context("no process has this number")?;
        kill_process(id, Signal::TERM)
            .with_context(|| format!("cannot end process {}", self.id))?;
        let start = Instant::now();
        while is_there() {
            if start.elapsed() > PATIENCE {
                let (id, seconds) = (self.id, PATIENCE.as_secs());
                bail!(
                    "{name}, process {id}, has not ended within {seconds} s; `kill -9 {id}` ends it at once"
                );
            }
            thread::sleep(LOOK);
        }
        fs::remove_file(file).with_context(|| format!("cannot remove {}", file.display()))
    }

    /// What is written down of it.
    fn text(&self) -> String {
        let Process {
            id,
            port,
            started_ms,
        } = self;
        format!("id={id}\nport={port}\nstarted_ms={started_ms}\n")
    }

    /// Reads it; none when it is no such text.
    fn read(text: &str) -> Option<Process> {
        let value = |key: &str| {
            let mut lines = text.lines().filter_map(|line| line.split_once('='));
            lines.find(|(name, _)| *name == key).map(|(_, value)| value)
        };
        Some(Process {
            id: value("id")?.parse().ok().filter(|id| *id > 0)?,
            port: value("port")?.parse().ok()?,
            started_ms: value("started_ms")?.parse().ok()?,
        })
    }
}

/// Ends a child that cannot stay, for a reason that is handed on.
pub(crate) fn end_at_once(child: &mut Child, error: anyhow::Error) -> anyhow::Error {
    // Errors when it has ended, which is as well.
    drop(child.kill());
    drop(child.wait());
    error
}

#[cfg(test)]
mod tests {
    use super::Process;

    #[test]
    fn is_a_process_read_as_it_was_written() {
        let process = Process {
            id: 4711,
            port: 9092,
            started_ms: 1_767_225_600_000,
        };
        assert_eq!(Process::read(&process.text()), Some(process));
        let check = |text: &str| assert_eq!(Process::read(text), None, "{text}");
        check("");
        check("id=1\nport=9092\n");
        check("id=-1\nport=9092\nstarted_ms=1\n");
        check("id=1\nport=99092\nstarted_ms=1\n");
    }
}
