//! A process that a test owns: it ends with the test, however that ends; can be killed, frozen, and asked to end.

use std::process::{Child, Command};
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

/// The system kills what is started by these words when the thread that started it ends.
pub(crate) const STARTER: [&str; 4] = ["setpriv", "--pdeathsig", "KILL", "--"];
/// What was asked to end and has not by then will not.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks whether it has.
const LOOK: Duration = Duration::from_millis(20);

/// A process, and the thread that has started it and lives as long. Dropped, it is killed.
pub(crate) struct Owned {
    child: Child,
    /// What it is, for messages.
    name: &'static str,
    /// Dropped, it lets the thread end.
    _starter: Sender<()>,
}

impl Owned {
    /// Starts a command, which begins with [`STARTER`], from a thread of its own: tests start services from threads that end
    /// before the test does.
    pub(crate) fn start(mut command: Command, name: &'static str) -> Result<Self> {
        let (starter, end) = mpsc::channel();
        let (tell, told) = mpsc::channel();
        thread::Builder::new()
            .name("service starter".to_owned())
            .spawn(move || {
                if tell.send(command.spawn()).is_ok() {
                    // An error, when the other side is dropped: that is the end.
                    let _ = end.recv();
                }
            })
            .context("cannot start a thread")?;
        let ended = || format!("the thread that starts {name} ended");
        let spawned = told.recv().with_context(ended)?;
        let starting = || format!("cannot start `setpriv` (it is part of util-linux) for {name}");
        Ok(Owned {
            child: spawned.with_context(starting)?,
            name,
            _starter: starter,
        })
    }

    /// The process itself.
    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Its number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(Pid::from_child(&self.child), signal)
            .with_context(|| format!("cannot send {signal:?} to {}", self.name))
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn end(&mut self) -> Result<()> {
        self.signal(Signal::TERM)?;
        // One that is paused would not hear of it.
        self.signal(Signal::CONT)?;
        let (start, name) = (Instant::now(), self.name);
        let looking = || format!("cannot look after {name}");
        while self.child.try_wait().with_context(looking)?.is_none() {
            if start.elapsed() > PATIENCE {
                self.kill()?;
                let seconds = PATIENCE.as_secs();
                bail!("{name} did not end within {seconds} s and was killed");
            }
            thread::sleep(LOOK);
        }
        Ok(())
    }

    pub(crate) fn kill(&mut self) -> Result<()> {
        let name = self.name;
        self.child
            .kill()
            .with_context(|| format!("cannot kill {name}"))?;
        let looking = || format!("cannot look after {name}");
        self.child.wait().with_context(looking)?;
        Ok(())
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // Errors when it has ended, which is as well.
        drop(self.kill());
    }
}
