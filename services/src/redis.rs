//! A Redis server, as the system's packages have it.
//!
//! - [`certificates`]: for one that speaks TLS;
//! - `resident`: one that a person starts and stops.

pub mod certificates;
mod resident;

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Signal, geteuid};
use tempfile::TempDir;

use crate::owned::{Owned, STARTER};
use crate::ports::free_port;

pub use self::resident::{PORT, Resident};

/// The program.
const PROGRAM: &str = "redis-server";
/// One that does not answer by then never will.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two looks whether it does.
const LOOK: Duration = Duration::from_millis(5);
/// How often other ports are tried when somebody was quicker to take one.
const ATTEMPTS: usize = 5;
const NAME: &str = "Redis";
/// Where it keeps what it appends to, in its folder.
const APPEND_ONLY: &str = "appendonlydir";
const NOT_RUNNING: &str = "Redis does not run";

/// Makes sure that there is a server to start: where the system's packages have one and this user may install it, it is
/// installed.
///
/// # Errors
/// There is none, and what to do.
pub fn install(say: impl Fn(&str)) -> Result<()> {
    let is_there = || {
        let version = Command::new(PROGRAM)
            .arg("--version")
            .stdout(Stdio::null())
            .status();
        version.is_ok_and(|status| status.success())
    };
    if is_there() {
        return Ok(());
    }
    if geteuid().is_root() {
        say("installing redis-server");
        let mut install = Command::new("apt-get");
        install.args([
            "install",
            "--yes",
            "--quiet",
            "--no-install-recommends",
            PROGRAM,
        ]);
        install.env("DEBIAN_FRONTEND", "noninteractive");
        install.stdin(Stdio::null()).stdout(Stdio::null());
        // Without `apt-get` it is not there afterwards either.
        let _ = install.status();
    }
    if !is_there() {
        bail!(
            "there is no `{PROGRAM}`: install it, on Debian and its kin with `apt-get install redis-server`"
        );
    }
    Ok(())
}

/// A server of this process, at a port of its own, with its data in a folder that goes with it. Dropping it kills it.
pub struct Redis {
    port: u16,
    options: Vec<String>,
    running: Option<Owned>,
    folder: TempDir,
}

impl Redis {
    /// Starts a server that writes nothing to a disk, and waits until it answers. Further options are those of its command
    /// line, as in `--requirepass`.
    ///
    /// # Errors
    /// When there is none, or it does not answer, with the end of what it has said.
    pub fn start(options: &[&str]) -> Result<Self> {
        let mut more = ATTEMPTS;
        loop {
            let mut redis = Redis {
                port: free_port()?,
                options: options.iter().map(|it| (*it).to_owned()).collect(),
                running: None,
                folder: TempDir::with_prefix("redis-").context("no temporary folder")?,
            };
            match redis.restart() {
                Ok(()) => return Ok(redis),
                // Somebody else may have taken the port meanwhile.
                Err(_) if more > 0 => more -= 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its database 0, as a URL.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// Starts it again after it was killed or stopped, at the same port.
    ///
    /// # Errors
    /// As [`Redis::start`].
    pub fn restart(&mut self) -> Result<()> {
        if self.running.is_some() {
            bail!("Redis still runs: kill or stop it first");
        }
        let folder = self.folder.path();
        let mut command = server(&STARTER, self.port, folder)?;
        command.args(["--save", ""]).args(&self.options);
        let mut running = Owned::start(command, NAME)?;
        wait(running.child(), self.port, folder)?;
        self.running = Some(running);
        Ok(())
    }

    /// Sends a command, its words separated by blanks, and gives the first line of the answer.
    ///
    /// # Errors
    /// It does not answer.
    pub fn ask(&self, command: &[&[u8]]) -> Result<String> {
        first_line(&mut self.asked(command)?)
    }

    /// What it says of itself in a section of `INFO`: lines of names and values with a colon between them.
    ///
    /// # Errors
    /// It does not answer, or with something else.
    pub fn info(&self, section: &str) -> Result<Vec<(String, String)>> {
        let mut stream = self.asked(&[b"INFO", section.as_bytes()])?;
        let line = first_line(&mut stream)?;
        let length = line.strip_prefix('$').and_then(|it| it.parse::<u64>().ok());
        let length = length.with_context(|| format!("Redis answers to INFO: {line}"))?;
        let mut text = String::new();
        let read = stream.take(length).read_to_string(&mut text);
        read.context("Redis does not answer")?;
        let pairs = text.lines().filter_map(|line| line.split_once(':'));
        let owned = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Ok(owned.collect())
    }

    /// Sends a command, and gives the connection that it is answered on.
    fn asked(&self, command: &[&[u8]]) -> Result<TcpStream> {
        let mut stream =
            TcpStream::connect(("127.0.0.1", self.port)).context("cannot reach Redis")?;
        stream
            .set_read_timeout(Some(PATIENCE))
            .context("no timeout")?;
        let mut bytes = format!("*{}\r\n", command.len()).into_bytes();
        for word in command {
            bytes.extend(format!("${}\r\n", word.len()).bytes());
            bytes.extend_from_slice(word);
            bytes.extend_from_slice(b"\r\n");
        }
        stream.write_all(&bytes).context("cannot ask Redis")?;
        Ok(stream)
    }

    /// What the client that comes with Redis prints for these words.
    ///
    /// # Errors
    /// There is no such client, or it fails.
    pub fn cli(&self, words: &[&str]) -> Result<String> {
        let mut client = Command::new("redis-cli");
        client.args(["-p", &self.port.to_string(), "--raw"]);
        let ran = client
            .args(words)
            .output()
            .context("cannot run redis-cli")?;
        let printed = String::from_utf8_lossy(&ran.stdout).into_owned();
        if !ran.status.success() {
            bail!(
                "redis-cli: {printed}{}",
                String::from_utf8_lossy(&ran.stderr)
            );
        }
        Ok(printed)
    }

    /// What it has written to its append-only files so far.
    ///
    /// # Errors
    /// It keeps none, or they cannot be read.
    pub fn saved(&self) -> Result<Vec<(PathBuf, Vec<u8>)>> {
        let folder = self.folder.path().join(APPEND_ONLY);
        let files = fs::read_dir(&folder);
        let files = files.with_context(|| format!("cannot read {}", folder.display()))?;
        let read = files.map(|file| {
            let path = file.context("cannot read a folder")?.path();
            let bytes = fs::read(&path);
            let bytes = bytes.with_context(|| format!("cannot read {}", path.display()))?;
            Ok((path, bytes))
        });
        read.collect()
    }

    /// Puts them back, as if nothing had been written since.
    ///
    /// # Errors
    /// It runs, or they cannot be written.
    pub fn put_back(&self, saved: &[(PathBuf, Vec<u8>)]) -> Result<()> {
        if self.running.is_some() {
            bail!("Redis still runs: kill or stop it first");
        }
        let folder = self.folder.path().join(APPEND_ONLY);
        fs::remove_dir_all(&folder)
            .and_then(|()| fs::create_dir(&folder))
            .with_context(|| format!("cannot empty {}", folder.display()))?;
        saved.iter().try_for_each(|(path, bytes)| {
            fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
        })
    }

    /// Kills it.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill(&mut self) -> Result<()> {
        self.running.take().context(NOT_RUNNING)?.kill()
    }

    /// Asks it to end, and waits until it has.
    ///
    /// # Errors
    /// When it does not run.
    pub fn stop(&mut self) -> Result<()> {
        self.running.take().context(NOT_RUNNING)?.end()
    }

    /// Freezes it: connections stay, new ones are taken by the system, and nothing is answered.
    ///
    /// # Errors
    /// When it does not run.
    pub fn pause(&self) -> Result<()> {
        let running = self.running.as_ref().context(NOT_RUNNING)?;
        running.signal(Signal::STOP)
    }

    /// Lets it go on after a pause.
    ///
    /// # Errors
    /// When it does not run.
    pub fn resume(&self) -> Result<()> {
        let running = self.running.as_ref().context(NOT_RUNNING)?;
        running.signal(Signal::CONT)
    }
}

/// The program, started by another one, at a port and in a folder where it also writes what it says.
fn server(starter: &[&str], port: u16, folder: &Path) -> Result<Command> {
    let log = log(folder);
    let said = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    let both = said.try_clone().context("cannot write what Redis says")?;
    let (first, before) = starter.split_first().unwrap_or((&PROGRAM, &[]));
    let mut command = Command::new(first);
    command.args(before).arg(PROGRAM);
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1"]);
    command.args(["--appendonly", "no"]).current_dir(folder);
    command.stdin(Stdio::null()).stdout(said).stderr(both);
    Ok(command)
}

fn log(folder: &Path) -> PathBuf {
    folder.join("log")
}

/// Waits until a server that was started there answers.
fn wait(child: &mut Child, port: u16, folder: &Path) -> Result<()> {
    let since = Instant::now();
    loop {
        let is_there = answers(port);
        // Whoever answers may be another one, which has the port.
        let ended = child.try_wait().context("cannot look after Redis")?;
        if ended.is_some() || since.elapsed() > PATIENCE {
            let said = fs::read_to_string(log(folder)).unwrap_or_default();
            bail!("Redis at port {port} does not answer:\n{said}");
        }
        if is_there {
            return Ok(());
        }
        thread::sleep(LOOK);
    }
}

/// Whether one answers at all, if only that it wants a password first.
fn answers(port: u16) -> bool {
    let ask = || {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"PING\r\n")?;
        let mut answer = [0; 4];
        stream.read_exact(&mut answer)?;
        Ok::<_, std::io::Error>(answer)
    };
    ask().is_ok_and(|answer| matches!(&answer, b"+PON" | b"-NOA"))
}

/// The next line that comes, and no byte more.
fn first_line(stream: &mut TcpStream) -> Result<String> {
    let mut line = Vec::new();
    let mut byte = [0];
    while line.last() != Some(&b'\n') {
        stream
            .read_exact(&mut byte)
            .context("Redis does not answer")?;
        line.extend_from_slice(&byte);
    }
    Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
}
