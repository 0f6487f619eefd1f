//! A node's folder, from nothing to ready: what it is told, its data, its log; and the wait until it serves.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::archives::Kafka;
use super::listeners::{Listener, User, to_make};
use super::properties::{self, Address, PLAIN};
use super::wire::metadata;
use crate::ports::free_ports;
use crate::random;

/// A node that is not ready by then never will be. On a machine that has nothing else to do it takes two seconds.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long until a node, or the end of one, is looked for again.
pub(super) const LOOK: Duration = Duration::from_millis(20);
/// How much of a log tells why a node ended.
const EXCERPT_LINES: usize = 40;
/// No more of a log is read for it.
const EXCERPT_BYTES: u64 = 1 << 20;
/// What a controller's log says when it has its office.
const IN_OFFICE: &str = "Becoming the active controller";
/// And when it gives a broker up.
const GIVEN_UP: &str = "Fencing broker ";
/// Where in the folder it writes what it has decided.
const METADATA_LOG: &str = "data/__cluster_metadata-0/00000000000000000000.log";
/// A controller that has been in office for so long, and has given nobody up, will not: it needs a third of a second.
const OFFICE: Duration = Duration::from_secs(3);

/// What a broker is to be. By default one with nothing in it, at a free port, in a folder that goes with it.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The port for clients without encryption; a free one if none is named.
    pub port: Option<u16>,
    /// Where its data, its properties and its log are; a temporary folder if none is named.
    pub folder: Option<PathBuf>,
    /// Where else it listens.
    pub listeners: Vec<Listener>,
    /// Who is known to it, by proof of a password, from when its folder is made.
    pub users: Vec<User>,
    /// Further properties of the broker, and other values for those that it has anyway.
    pub properties: Vec<(String, String)>,
    /// Further options of Java's; a later one wins over an earlier one.
    pub java: Vec<String>,
}

/// A node with a folder in which it can be started, again and again, at the same ports.
pub(super) struct Node {
    /// What starts it.
    kafka: Kafka,
    /// Its folder.
    folder: PathBuf,
    /// Where it listens; the first is the one without encryption.
    addresses: Vec<Address>,
    /// Where that one listens.
    port: u16,
    /// Further options of Java's.
    java: Vec<String>,
    /// What it is told.
    told: BTreeMap<String, String>,
    /// The name of its cluster, by which it is told from another one that has its port.
    cluster: String,
}

/// Why a node is not ready.
#[derive(Debug)]
pub(super) struct NotReady {
    /// What its log tells of it.
    log: String,
    /// In words.
    why: String,
}

impl fmt::Display for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; its log says\n{}", self.why, self.log)
    }
}

impl std::error::Error for NotReady {}

impl NotReady {
    /// Whether another port may do: somebody was quicker.
    pub fn for_want_of_a_port(&self) -> bool {
        self.log.contains("BindException") || self.log.contains("Address already in use")
    }
}

impl Node {
    /// A node in a folder, which gets its properties and, if it has no data yet, is made ready for it.
    ///
    /// # Errors
    /// When no ports are free, the folder cannot be written, or Kafka refuses the properties.
    pub fn prepare(kafka: &Kafka, folder: &Path, settings: &Settings) -> Result<Node> {
        let folder = std::path::absolute(folder)
            .with_context(|| format!("cannot tell where `{}` is", folder.display()))?;
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        // All at once: two that are drawn one after the other may be the same.
        let mut free = free_ports(2 + settings.listeners.len(), settings.port)?.into_iter();
        let mut next = || free.next().context("no port is left");
        let port = settings.port.map_or_else(&mut next, Ok)?;
        let mut addresses = vec![Address {
            name: PLAIN.to_owned(),
            protocol: PLAIN.to_owned(),
            port,
            advertised: port,
        }];
        for listener in &settings.listeners {
            let own = next()?;
            addresses.push(Address {
                name: listener.name.clone(),
                protocol: listener.protocol.clone(),
                port: own,
                advertised: listener.advertised.unwrap_or(own),
            });
        }
        let data = folder.join("data");
        let mut told = properties::of_node(&addresses, next()?, &data.to_string_lossy());
        told.extend(settings.properties.iter().cloned());
        let file = properties_in(&folder);
        write_properties(&file, &told)?;
        let cluster = match properties::cluster_in(&data)? {
            Some(cluster) => cluster,
            None => format(kafka, &file, &settings.users)?,
        };
        Ok(Node {
            kafka: kafka.clone(),
            folder,
            addresses,
            port,
            java: settings.java.clone(),
            told,
            cluster,
        })
    }

    /// The file that names what it is; nothing else that runs has it among its arguments.
    pub fn properties(&self) -> PathBuf {
        properties_in(&self.folder)
    }

    /// The file of its log.
    pub fn log(&self) -> PathBuf {
        self.folder.join("broker.log")
    }

    /// Where a client without encryption connects.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where it listens under that name, as a client writes it.
    pub fn address(&self, name: &str) -> Option<String> {
        let found = self.addresses.iter().find(|address| address.name == name)?;
        Some(format!("127.0.0.1:{}", found.port))
    }

    /// What starts it, by these words, and where its log ends before that.
    ///
    /// # Errors
    /// When the log cannot be written.
    pub fn command(&self, starter: &[&str]) -> Result<(Command, u64)> {
        self.java(starter, &self.properties())
    }

    /// What starts its controller alone, by these words, and where its log ends before that.
    ///
    /// # Errors
    /// When the log, or the controller's properties, cannot be written.
    pub fn controller(&self, starter: &[&str]) -> Result<(Command, u64)> {
        let file = self.folder.join("controller.properties");
        write_properties(&file, &properties::of_controller(&self.told))?;
        self.java(starter, &file)
    }

    fn java(&self, starter: &[&str], properties: &Path) -> Result<(Command, u64)> {
        let path = self.log();
        let open = || -> std::io::Result<(File, File, u64)> {
            let log = OpenOptions::new().create(true).append(true).open(&path)?;
            let end = log.metadata()?.len();
            Ok((log.try_clone()?, log, end))
        };
        let (out, err, end) = open().with_context(|| format!("cannot write {}", path.display()))?;
        let mut command = self.kafka.java(starter, "info");
        command
            .args(["-Xms256m", "-Xmx512m"])
            .args([
                "-Dorg.slf4j.simpleLogger.showDateTime=true",
                "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd HH:mm:ss.SSS",
                // It repeats some hundred properties at each start.
                "-Dorg.slf4j.simpleLogger.log.org.apache.kafka.common.config.AbstractConfig=warn",
            ])
            .args(&self.java)
            .arg("kafka.Kafka")
            .arg(properties)
            .current_dir(&self.folder)
            .stdout(out)
            .stderr(err);
        Ok((command, end))
    }

    /// Waits until it serves: it has joined its cluster and says so to a client.
    ///
    /// # Errors
    /// When it ends instead, or takes a minute; what its log has since this length.
    pub fn wait(&self, child: &mut Child, log_from: u64) -> Result<(), NotReady> {
        self.wait_until("the broker", child, log_from, || {
            let said = metadata(self.port);
            said.is_ok_and(|said| said.brokers > 0 && said.cluster == self.cluster)
        })
    }

    /// Waits until its controller, which runs alone, has given the broker up, or has nobody to give up.
    ///
    /// # Errors
    /// When it ends instead, or takes a minute; what its log has since this length.
    pub fn wait_for_controller(&self, child: &mut Child, log_from: u64) -> Result<(), NotReady> {
        let mut in_office: Option<Instant> = None;
        let mut written = Vec::new();
        self.wait_until("the controller", child, log_from, || {
            let log = self.log_behind(log_from).unwrap_or_default();
            if log.contains(GIVEN_UP) {
                let length = fs::metadata(self.folder.join(METADATA_LOG)).map(|it| it.len());
                written.extend(length);
                written.dedup();
            } else if log.contains(IN_OFFICE) {
                in_office.get_or_insert_with(Instant::now);
            }
            // It writes in order: what comes second was not decided before it gave the broker up, so that is written.
            let idle = in_office.is_some_and(|since| since.elapsed() > OFFICE);
            written.len() > 2 || (written.is_empty() && idle)
        })
    }

    fn wait_until(
        &self,
        name: &str,
        child: &mut Child,
        log_from: u64,
        mut is_ready: impl FnMut() -> bool,
    ) -> Result<(), NotReady> {
        let start = Instant::now();
        let failed = |why: String| {
            let log = self.told(log_from);
            NotReady { log, why }
        };
        loop {
            match child.try_wait() {
                Ok(None) => {}
                Ok(Some(status)) => return Err(failed(format!("{name} ended with {status}"))),
                Err(error) => return Err(failed(format!("cannot look after {name}: {error}"))),
            }
            if is_ready() {
                return Ok(());
            }
            if start.elapsed() > PATIENCE {
                let seconds = PATIENCE.as_secs();
                return Err(failed(format!("{name} is not ready after {seconds} s")));
            }
            thread::sleep(LOOK);
        }
    }

    /// What its log tells behind this length.
    fn told(&self, from: u64) -> String {
        match self.log_behind(from) {
            Ok(log) => excerpt(&log),
            Err(error) => format!("cannot read {}: {error}", self.log().display()),
        }
    }

    /// The last of its log, as far as it is behind this length.
    fn log_behind(&self, from: u64) -> std::io::Result<String> {
        let mut file = File::open(self.log())?;
        let end = file.metadata()?.len();
        file.seek(SeekFrom::Start(from.max(end.saturating_sub(EXCERPT_BYTES))))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

fn write_properties(file: &Path, told: &BTreeMap<String, String>) -> Result<()> {
    fs::write(file, properties::text(told))
        .with_context(|| format!("cannot write {}", file.display()))
}

/// Makes the folder of a node's data ready for it, for a cluster of its own, whose name is returned, and which knows these
/// users.
fn format(kafka: &Kafka, properties: &Path, users: &[User]) -> Result<String> {
    let cluster = properties::cluster_id(random::bytes()?);
    let mut format = kafka.java(&[], "error");
    format.args(["kafka.tools.StorageTool", "format", "-t", &cluster, "-c"]);
    format.arg(properties);
    for user in users {
        format.args(["--add-scram", &to_make(user)]);
    }
    let answer = format.output();
    let answer = answer.context("cannot start `java`")?;
    if !answer.status.success() {
        bail!(
            "Kafka refuses {} or the folder of its data: {}\n{}{}",
            properties.display(),
            answer.status,
            String::from_utf8_lossy(&answer.stdout),
            String::from_utf8_lossy(&answer.stderr)
        );
    }
    Ok(cluster)
}

/// The file of properties of a node in that folder.
pub(super) fn properties_in(folder: &Path) -> PathBuf {
    folder.join("server.properties")
}

/// The lines of a log that tell why its broker ended: its last errors with their causes, or the last lines where there
/// is none. Java's lists of calls are left out.
fn excerpt(log: &str) -> String {
    let lines: Vec<&str> = log
        .lines()
        .filter(|line| !line.starts_with("\tat "))
        .collect();
    let mut error = false;
    let mut telling = lines.clone();
    telling.retain(|line| {
        // A line without a level belongs to the one before.
        if [" ERROR ", " WARN ", " INFO "]
            .iter()
            .any(|level| line.contains(level))
        {
            error = line.contains(" ERROR ");
        }
        error
    });
    let telling = if telling.is_empty() { lines } else { telling };
    let first = telling.len().saturating_sub(EXCERPT_LINES);
    telling.get(first..).unwrap_or_default().join("\n")
}

#[cfg(test)]
mod tests {
    use super::{EXCERPT_LINES, NotReady, excerpt};

    #[test]
    fn which_lines_tell_why_a_broker_ended() {
        assert_eq!(excerpt(""), "");
        assert_eq!(excerpt("a\nb\n"), "a\nb");
        let many: Vec<String> = (0..100).map(|number| number.to_string()).collect();
        let last = excerpt(&many.join("\n"));
        assert_eq!(last.lines().count(), EXCERPT_LINES);
        assert!(last.ends_with("\n99"), "{last}");
        let failed = "1 [main] INFO a\n2 [main] ERROR b\n\tat c\nCaused by: d\n3 [main] INFO e\nf";
        let long = format!("{}\n{failed}\n{}", many.join("\n"), many.join("\n"));
        assert_eq!(excerpt(failed), "2 [main] ERROR b\nCaused by: d");
        assert_eq!(
            excerpt(&long.replace(" INFO e", " WARN e")),
            excerpt(failed)
        );
    }

    #[test]
    fn is_a_taken_port_told_from_other_failures() {
        let check = |log: &str, port: bool| {
            let failed = NotReady {
                log: log.to_owned(),
                why: "the broker ended".to_owned(),
            };
            assert_eq!(failed.for_want_of_a_port(), port);
            let said = failed.to_string();
            assert!(said.contains(log) && said.contains("ended"), "{said}");
        };
        check(
            "Caused by: java.net.BindException: Address already in use",
            true,
        );
        check("ConfigException: Unknown", false);
    }
}
