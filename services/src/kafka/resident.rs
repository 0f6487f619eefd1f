//! A broker that a person starts and stops: it stays when the command that started it has ended, with its data in a folder,
//! and is found again by what that command wrote there.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use super::archives::Kafka;
use super::node::{Node, Settings, properties_in};
use super::wire::metadata;
pub use crate::process::{Process, Started};

use crate::process::{Home, STARTER, end_at_once};
use crate::{cache, ports};

/// Where it takes clients unless told otherwise: where Kafka's own do.
pub const PORT: u16 = 9092;
/// The place of a broker that stays.
#[derive(Clone, Debug)]
pub struct Resident(Home);

impl Resident {
    /// The broker whose data is in a folder, which need not be there yet; by default one in the cache.
    ///
    /// # Errors
    /// When it cannot be told where the folder is.
    pub fn of(folder: Option<&Path>) -> Result<Resident> {
        Home::of(folder, "kafka", "Kafka", is_its_own).map(Resident)
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        self.0.folder()
    }

    /// Starts it, if it does not run, and waits until it serves.
    ///
    /// # Errors
    /// When the port is taken, and as [`Broker::start`](super::Broker::start).
    pub fn start(&self, kafka: &Kafka, port: u16) -> Result<Started> {
        let _lock = cache::lock(self.folder())?;
        if let Some(process) = self.process()? {
            return Ok(Started::Before(process));
        }
        if !ports::is_free(port) {
            bail!("port {port} is taken by another program; choose another one with --port");
        }
        let settings = Settings {
            port: Some(port),
            ..Settings::default()
        };
        let start = Instant::now();
        let node = Node::prepare(kafka, self.folder(), &settings)?;
        let (mut command, log_from) = node.command(&STARTER)?;
        command.stdin(Stdio::null());
        let mut child = command
            .spawn()
            .context("cannot start `setsid` (it is part of util-linux) for the broker")?;
        let process = match Process::remember(&child, port, &self.0.file()) {
            Ok(process) => process,
            Err(error) => return Err(end_at_once(&mut child, error)),
        };
        if let Err(failed) = node.wait(&mut child, log_from) {
            let log = format!(
                "cannot start Kafka at port {port}; its log is {}",
                node.log().display()
            );
            let error = anyhow::Error::new(failed).context(log);
            return Err(end_at_once(&mut child, error));
        }
        Ok(Started::Now(process, start.elapsed()))
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

    /// The names of its topics, asked of a process of its.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn topics(&self, process: &Process) -> Result<Vec<String>> {
        Ok(metadata(process.port)?.topics)
    }

    /// The process that it is, for whoever can do nothing without.
    ///
    /// # Errors
    /// When it does not run; and as [`Resident::process`].
    pub fn running(&self) -> Result<Process> {
        self.process()?
            .with_context(|| format!("Kafka does not run in {}", self.folder().display()))
    }
}

/// Whether the process of this number is the one that was started here, and none that has got its number since.
fn is_its_own(folder: &Path, id: i32) -> bool {
    let line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
    names(&line, &properties_in(folder))
}

/// Whether a command line, as the system keeps it, is a broker's with these properties.
fn names(line: &[u8], properties: &Path) -> bool {
    let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
    let properties = properties.as_os_str().as_encoded_bytes();
    words
        .windows(2)
        .any(|pair| pair == [b"kafka.Kafka".as_slice(), properties])
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::{Resident, names};

    #[test]
    fn which_process_does_a_stop_end() {
        let check = |line: &str, its_own: bool| {
            let found = names(line.as_bytes(), Path::new("/d/server.properties"));
            assert_eq!(found, its_own, "{line:?}");
        };
        check("java\0-Xmx512m\0kafka.Kafka\0/d/server.properties\0", true);
        // Of another folder, of another program, and of one that has ended.
        check("java\0kafka.Kafka\0/d2/d/server.properties\0", false);
        check("java\0kafka.Kafka\0/d/server.properties.old\0", false);
        check("less\0/d/server.properties\0", false);
        check("java\0kafka.Kafka /d/server.properties\0", false);
        check("", false);
    }

    #[test]
    fn is_a_process_that_only_has_the_number_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let resident = Resident::of(Some(folder.path())).unwrap();
        assert_eq!(resident.process().unwrap(), None);
        // This test runs, but is no broker.
        let id = i32::try_from(std::process::id()).unwrap();
        let text = format!("id={id}\nport=9092\nstarted_ms=1\n");
        fs::write(resident.0.file(), text).unwrap();
        assert_eq!(resident.process().unwrap(), None);
        assert_eq!(resident.stop().unwrap(), None);
    }
}
