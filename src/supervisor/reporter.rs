//! The worker's end of the control socket: it says how it is, and hears when it is to stop.

use std::io::{self, BufReader};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
use signal_hook::consts::SIGTERM;
use signal_hook::low_level::emulate_default_handler;

use crate::supervisor::control::{connect, read_line, say};
use crate::supervisor::protocol::{Command, Report, Status};

/// Between two heartbeats.
const BETWEEN_BEATS: Duration = Duration::from_secs(1);

/// Between two looks at the run: its first durable checkpoint is said as soon as it is seen, because a run that
/// has one counts as healthy however soon it ends.
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

/// How long the supervisor may take to notice its worker.
const GO_MAX: Duration = Duration::from_secs(10);

/// Looks at a run; gives nothing if it hangs, and then there is no heartbeat.
type Look = Box<dyn FnMut() -> Option<Status> + Send>;

/// Does what the supervisor wants.
type Obey = Box<dyn FnMut(Command) + Send>;

/// Binds this process to its supervisor: it is killed when that one ends. Gives whether that one is still there.
pub fn live_with(supervisor: u32) -> bool {
    if set_parent_process_death_signal(Some(Signal::KILL)).is_err() {
        return false;
    }
    // It may have ended before that.
    getppid().map(Pid::as_raw_nonzero).map(u32_of) == Some(supervisor)
}

fn u32_of(pid: std::num::NonZeroI32) -> u32 {
    pid.get().unsigned_abs()
}

/// Says how a run is. Hangs up when it is dropped.
pub struct Reporter {
    stream: Arc<UnixStream>,
    look: Arc<Mutex<Look>>,
    obey: Arc<Mutex<Option<Obey>>>,
    _beating: Sender<()>,
}

impl Reporter {
    /// Connects the worker of an attempt with the supervisor that has the socket in this room. From now on there
    /// is a heartbeat, and a command ends the process as a signal would, until there is somebody to
    /// [obey](Self::obey).
    ///
    /// # Errors
    /// There is no supervisor, or it does not answer; or the system refuses a thread.
    pub fn connect(room: &Path, attempt: u32) -> io::Result<Self> {
        let stream = connect(room)?;
        say(&stream, &Report::Attempt(attempt))?;
        stream.set_read_timeout(Some(GO_MAX))?;
        let mut lines = BufReader::new(stream.try_clone()?);
        let line = read_line(&mut lines)?.unwrap_or_default();
        if serde_json::from_slice::<Command>(&line)? != Command::Go {
            return Err(io::ErrorKind::InvalidData.into());
        }
        stream.set_read_timeout(None)?;
        let stream = Arc::new(stream);
        let starting: Look = Box::new(|| Some(Status::default()));
        let look = Arc::new(Mutex::new(starting));
        let obey: Arc<Mutex<Option<Obey>>> = Arc::default();
        let (beating, hung_up) = channel();
        let (to, seen) = (Arc::clone(&stream), Arc::clone(&look));
        Builder::new()
            .name("heartbeat".to_owned())
            .spawn(move || beat(&to, &seen, &hung_up))?;
        let obeying = Arc::clone(&obey);
        Builder::new()
            .name("commands".to_owned())
            .spawn(move || follow(&mut lines, &obeying))?;
        Ok(Reporter {
            stream,
            look,
            obey,
            _beating: beating,
        })
    }

    /// Looks at the run this way from now on, several times a second, and says what it sees. Without a status there
    /// is no heartbeat: a run that hangs gives none.
    pub fn look(&self, look: impl FnMut() -> Option<Status> + Send + 'static) {
        *locked(&self.look) = Box::new(look);
    }

    /// Does this from now on when the supervisor wants the run to stop, or the process to end.
    pub fn obey(&self, obey: impl FnMut(Command) + Send + 'static) {
        *locked(&self.obey) = Some(Box::new(obey));
    }

    /// Says that the job has begun: what is done once at its beginning is not to be done again.
    ///
    /// # Errors
    /// Nobody takes it.
    pub fn begun(&self) -> io::Result<()> {
        say(&self.stream, &Report::Begun)
    }

    /// Says how the run is, out of turn.
    ///
    /// # Errors
    /// Nobody takes it.
    pub fn heartbeat(&self, status: &Status) -> io::Result<()> {
        say(&self.stream, &Report::Status(status.clone()))
    }

    /// Says why the run has failed, before the process ends.
    ///
    /// # Errors
    /// Nobody takes it.
    pub fn failed(&self, cause: &str) -> io::Result<()> {
        say(&self.stream, &Report::Failed(cause.to_owned()))
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        // Who has gone already hears nothing.
        drop(self.stream.shutdown(Shutdown::Both));
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn beat(stream: &UnixStream, look: &Mutex<Look>, hung_up: &Receiver<()>) {
    let (mut next, mut was_healthy) = (Instant::now(), false);
    while hung_up.recv_timeout(BETWEEN_LOOKS) == Err(RecvTimeoutError::Timeout) {
        let Some(status) = (locked(look))() else {
            continue;
        };
        let is_healthy = status.checkpoints.completed > 0;
        if Instant::now() < next && is_healthy == was_healthy {
            continue;
        }
        match say(stream, &Report::Status(status)) {
            // The supervisor was stopped, and reads it all when it goes on.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return,
            Ok(()) => was_healthy = is_healthy,
        }
        next = Instant::now() + BETWEEN_BEATS;
    }
}

fn follow(lines: &mut BufReader<UnixStream>, obey: &Mutex<Option<Obey>>) {
    while let Ok(Some(line)) = read_line(lines) {
        let Ok(command) = serde_json::from_slice::<Command>(&line) else {
            continue;
        };
        match locked(obey).as_mut() {
            Some(obey) => obey(command),
            // Nothing has begun that would have to be finished.
            None => drop(emulate_default_handler(SIGTERM)),
        }
    }
}
