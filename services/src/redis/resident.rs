//! A server that a person starts and stops: it stays when the command that started it has ended, with what it holds in a
//! folder, and is found again by what that command wrote there.

use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use super::{NAME, answers, install, server, wait};
use crate::process::{Home, Process, STARTER, Started, end_at_once};
use crate::{cache, ports};

/// Where it takes clients unless told otherwise: where Redis does by itself.
pub const PORT: u16 = 6379;
/// What it writes to its folder when it ends, and at most so many seconds after something has changed.
const SAVE: [&str; 2] = ["--save", "60 1"];

/// The place of a server that stays.
#[derive(Clone, Debug)]
pub struct Resident(Home);

impl Resident {
    /// The server whose data is in a folder, which need not be there yet; by default one in the cache.
    ///
    /// # Errors
    /// When it cannot be told where the folder is.
    pub fn of(folder: Option<&Path>) -> Result<Resident> {
        Home::of(folder, "redis", NAME, is_its_own).map(Resident)
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        self.0.folder()
    }

    /// Starts it, if it does not run, and waits until it answers; where there is none to start, `say` hears that it is
    /// installed first.
    ///
    /// # Errors
    /// When the port is taken, or there is no server, or it does not answer, with what it has said.
    pub fn start(&self, port: u16, say: impl Fn(&str)) -> Result<Started> {
        let _lock = cache::lock(self.folder())?;
        if let Some(process) = self.process()? {
            return Ok(Started::Before(process));
        }
        // Packages of some systems start a server of their own, at the usual port.
        install(say)?;
        if !ports::is_free(port) {
            bail!("port {port} is taken by another program; choose another one with --port");
        }
        let start = Instant::now();
        let mut command = server(&STARTER, port, self.folder())?;
        let mut child = command
            .args(SAVE)
            .spawn()
            .context("cannot start `setsid` (it is part of util-linux) for Redis")?;
        let remembered = Process::remember(&child, port, &self.0.file());
        let ready = remembered.and_then(|process| {
            wait(&mut child, port, self.folder())?;
            Ok(process)
        });
        match ready {
            Ok(process) => Ok(Started::Now(process, start.elapsed())),
            Err(error) => Err(end_at_once(&mut child, error)),
        }
    }

    /// Ends it in good order and waits for that; says which process it was, or none when it did not run.
    ///
    /// # Errors
    /// When it is still there after a minute.
    pub fn stop(&self) -> Result<Option<Process>> {
        self.0.stop()
    }

    /// The process that it is, if it runs.
    ///
    /// # Errors
    /// When what was written down cannot be read.
    pub fn process(&self) -> Result<Option<Process>> {
        self.0.process()
    }

    /// Whether a process of its answers.
    pub fn answers(&self, process: &Process) -> bool {
        answers(process.port)
    }
}

/// Whether the process of this number is the one that was started here, and none that has got its number since: Redis works
/// in its folder, and calls itself what it likes on its command line.
fn is_its_own(folder: &Path, id: i32) -> bool {
    let program = fs::read_to_string(format!("/proc/{id}/comm")).unwrap_or_default();
    // Between its start and that of Redis it has the starter's name.
    let is_redis = [super::PROGRAM, STARTER[0]].contains(&program.trim_end());
    let works_in = fs::read_link(format!("/proc/{id}/cwd")).ok();
    is_redis && works_in.is_some() && works_in == folder.canonicalize().ok()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::fs;

    use super::Resident;

    #[test]
    fn is_a_process_that_only_has_the_number_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let resident = Resident::of(Some(folder.path())).unwrap();
        assert_eq!(resident.process().unwrap(), None);
        // This test runs, but is no Redis; nor does the first of all processes work here.
        for id in [std::process::id(), 1] {
            let text = format!("id={id}\nport=6379\nstarted_ms=1\n");
            fs::write(resident.0.file(), text).unwrap();
            assert_eq!(resident.process().unwrap(), None);
            assert_eq!(resident.stop().unwrap(), None);
        }
    }
}
