//! A broker that a test owns: it ends with the test, can be killed, frozen and started again in its place.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use rustix::process::Signal;
use tempfile::TempDir;

use super::archives::Kafka;
use super::node::{Node, NotReady, Settings};
use super::tools::Tools;
use crate::owned::{Owned, STARTER};

/// How often other ports are tried when somebody was quicker to take one.
const ATTEMPTS: usize = 5;
/// A broker of this process. Dropping it kills it and removes its folder, if that was a temporary one; it also ends when
/// this process does, however that ends.
pub struct Broker {
    kafka: Kafka,
    node: Node,
    running: Option<Owned>,
    /// Whether its controller was killed with it, and so has not seen it end.
    was_killed: bool,
    folder: PathBuf,
    /// Removes the folder when it is dropped, last of all.
    _temporary: Option<TempDir>,
}

impl Broker {
    /// Starts a broker and waits until it serves.
    ///
    /// # Errors
    /// When its folder or a port cannot be had, or with the end of its log when it ends or is not ready within a minute.
    pub fn start(kafka: &Kafka, settings: &Settings) -> Result<Broker> {
        let (folder, temporary) = match &settings.folder {
            Some(folder) => (folder.clone(), None),
            None => {
                let made = TempDir::with_prefix("kafka-").context("no temporary folder")?;
                (made.path().to_path_buf(), Some(made))
            }
        };
        // A port that somebody has named is the one that is wanted.
        let mut more = if settings.port.is_none() { ATTEMPTS } else { 0 };
        loop {
            let node = Node::prepare(kafka, &folder, settings)?;
            match started(&node)? {
                Ok(running) => {
                    return Ok(Broker {
                        kafka: kafka.clone(),
                        node,
                        running: Some(running),
                        was_killed: false,
                        folder,
                        _temporary: temporary,
                    });
                }
                Err(failed) if failed.for_want_of_a_port() && more > 0 => more -= 1,
                Err(failed) => {
                    let place = format!("cannot start a broker at port {}", node.port());
                    return Err(failed).context(place);
                }
            }
        }
    }

    /// Where clients without encryption connect: `127.0.0.1:PORT`.
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.node.port())
    }

    /// Where it listens under the name of one of its listeners, if it has that one.
    pub fn address(&self, listener: &str) -> Option<String> {
        self.node.address(listener)
    }

    /// Java's own tools for it.
    pub fn tools(&self) -> Tools {
        Tools::new(&self.kafka, self.node.port())
    }

    /// Its folder: `data/`, `server.properties` and `broker.log`.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The number of its process, if it runs: not when it was killed or stopped, but also when it has ended by itself
    /// and nobody has looked.
    pub fn id(&self) -> Option<u32> {
        self.running.as_ref().map(Owned::id)
    }

    /// Kills it. What it has not written to its files is lost as in a crash of its process.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill(&mut self) -> Result<()> {
        let mut running = self.running.take().context(NOT_RUNNING)?;
        self.was_killed = true;
        running.kill()
    }

    /// Asks it to end, and waits until it has done so in good order.
    ///
    /// # Errors
    /// When it does not run, or is still there after a minute; it is killed then.
    pub fn stop(&mut self) -> Result<()> {
        let ended = self.running.take().context(NOT_RUNNING)?.end();
        self.was_killed |= ended.is_err();
        ended
    }

    /// Freezes it: connections stay, and nothing is answered.
    ///
    /// # Errors
    /// When it does not run.
    pub fn pause(&self) -> Result<()> {
        self.running
            .as_ref()
            .context(NOT_RUNNING)?
            .signal(Signal::STOP)
    }

    /// Lets it go on after a pause.
    ///
    /// # Errors
    /// When it does not run.
    pub fn resume(&self) -> Result<()> {
        self.running
            .as_ref()
            .context(NOT_RUNNING)?
            .signal(Signal::CONT)
    }

    /// Starts it again after it was killed or stopped, with the same data, at the same ports, and waits until it serves.
    ///
    /// # Errors
    /// When it still runs; and as [`Broker::start`].
    pub fn restart(&mut self) -> Result<()> {
        if self.running.is_some() {
            bail!("the broker still runs: kill or stop it first");
        }
        if self.was_killed {
            self.give_up().context("cannot start the broker again")?;
            self.was_killed = false;
        }
        let running = started(&self.node)?.context("cannot start the broker again")?;
        self.running = Some(running);
        Ok(())
    }

    /// Lets the controller run alone until it has given up the broker that was killed, as the controllers of a cluster of
    /// several do while one of its brokers is away.
    ///
    /// A broker that is back before that has all its partitions, goes on with transactions that it was about to end, and
    /// is given up a moment later. Partitions without a leader count as deleted then: it notes the transactions as
    /// ended, and what they wrote stays open, so that whoever reads what is committed waits for good.
    fn give_up(&self) -> Result<()> {
        let (command, log_from) = self.node.controller(&STARTER)?;
        let mut controller = Owned::start(command, NAME)?;
        let given_up = self.node.wait_for_controller(controller.child(), log_from);
        let ended = controller.end();
        given_up?;
        ended
    }
}

const NOT_RUNNING: &str = "the broker does not run";
const NAME: &str = "the broker";

/// Starts a node and waits until it serves.
fn started(node: &Node) -> Result<Result<Owned, NotReady>> {
    let (command, log_from) = node.command(&STARTER)?;
    let mut running = Owned::start(command, NAME)?;
    let ready = node.wait(running.child(), log_from);
    Ok(ready.map(|()| running))
}
