//! The control socket of a job: in a folder of the job, its room, owned by its supervisor.
//!
//! Threads read what comes and pass it on; whoever reads the [`Event`]s answers. The owner holds a lock on the
//! folder, which the system releases however the process ends: so a socket without a lock is left over, and nobody
//! takes the place of a supervisor that lives.

use std::fs::{self, File, Permissions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread::{self, Builder};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::net::sockopt::socket_peercred;
use slackwater_dataflow::lock::named;

use crate::supervisor::protocol::{
    Answer, Ask, Command, Greeting, LINE_BYTES_MAX, Report, Request, line,
};

/// The socket's name in the room.
pub const SOCKET: &str = "control.sock";

/// Longest path that the address of a socket holds, in bytes; the end takes one more.
const ADDRESS_BYTES_MAX: usize = 107;

/// Connections that have not said yet what they want, and the worker's: more than that are not served.
const CONNECTIONS_MAX: usize = 32;

/// How long a connection may take to say what it wants.
const GREETING_MAX: Duration = Duration::from_secs(5);

/// Longest wait until somebody takes a line: it fits into any socket's buffer at once.
const WRITE_MAX: Duration = Duration::from_secs(1);

/// After the system refused a connection, for instance because there are too many files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The socket cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// The folder or the socket cannot be made.
    #[error("cannot {action} `{}`, where the job is to be controlled: {source}", path.display())]
    Path {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// Another supervisor has it.
    #[error(
        "another `run`{} works with the checkpoint store in `{store}`: `slackwater stop` ends it, or give this job a \
         store of its own",
        named(*pid)
    )]
    InUse {
        /// The store, as a person names it.
        store: String,
        /// The other one's process, unless it is only just beginning.
        pid: Option<i32>,
    },
}

impl ControlError {
    /// Something was tried on a path, and failed.
    pub(crate) fn path(action: &'static str, path: &Path, source: io::Error) -> Self {
        ControlError::Path {
            action,
            path: path.to_owned(),
            source,
        }
    }
}

/// What a supervisor hears.
pub(super) enum Event {
    /// The worker of this attempt is there; commands go to it this way.
    Connected(u32, UnixStream),
    /// It said something.
    Reported(u32, Report),
    /// It has hung up.
    Closed(u32),
    /// Somebody asks, and gets the answer this way.
    Asked(Ask, UnixStream),
    /// The worker of this attempt has ended, and is still to be waited for.
    Exited(u32),
    /// A signal came.
    Signalled(i32),
}

/// The socket, which goes with this.
pub(super) struct Control {
    path: PathBuf,
    /// Holds the lock.
    _folder: File,
}

impl Control {
    /// Makes the socket of a job in its room, which is made if it is not there. `store` is named to who comes second.
    pub(super) fn open(
        room: &Path,
        store: &str,
        events: Sender<Event>,
    ) -> Result<Self, ControlError> {
        let attempt = ControlError::path;
        make_folder(room).map_err(|error| attempt("make", room, error))?;
        let folder = File::open(room).map_err(|error| attempt("open", room, error))?;
        match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let (store, pid) = (store.to_owned(), owner(room));
                return Err(ControlError::InUse { store, pid });
            }
            locked => locked.map_err(|error| attempt("lock", room, error.into()))?,
        }
        let path = room.join(SOCKET);
        let bind = || {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let listener = at_socket(room, |address| UnixListener::bind(address))?;
            // Whoever can stop a job could also end its process.
            fs::set_permissions(&path, Permissions::from_mode(0o600))?;
            Builder::new()
                .name("control".to_owned())
                .spawn(move || accept(&listener, &events))
        };
        bind().map_err(|error| attempt("make", &path, error))?;
        Ok(Control {
            path,
            _folder: folder,
        })
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // One that stays is removed by the next supervisor.
        drop(fs::remove_file(&self.path));
    }
}

/// Makes a folder, and those above it, so that they are there after a crash.
fn make_folder(folder: &Path) -> io::Result<()> {
    let folder = std::path::absolute(folder)?;
    let missing: Vec<&Path> = folder.ancestors().take_while(|it| !it.exists()).collect();
    fs::create_dir_all(&folder)?;
    for above in missing.iter().filter_map(|made| made.parent()) {
        File::open(above)?.sync_all()?;
    }
    Ok(())
}

/// Does something with the address of a room's socket, also where its path is longer than an address can be.
fn at_socket<T>(room: &Path, act: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    let path = room.join(SOCKET);
    if path.as_os_str().len() <= ADDRESS_BYTES_MAX {
        return act(&path);
    }
    let folder = File::open(room)?;
    let short = format!("/proc/self/fd/{}/{SOCKET}", folder.as_raw_fd());
    act(Path::new(&short))
}

/// The process that listens at a room's socket.
fn owner(room: &Path) -> Option<i32> {
    let stream = connect(room).ok()?;
    let credentials = socket_peercred(&stream).ok()?;
    Some(credentials.pid.as_raw_nonzero().get())
}

/// A connection to the socket of a room.
pub(super) fn connect(room: &Path) -> io::Result<UnixStream> {
    let stream = at_socket(room, |address| UnixStream::connect(address))?;
    stream.set_write_timeout(Some(WRITE_MAX))?;
    Ok(stream)
}

fn accept(listener: &UnixListener, events: &Sender<Event>) {
    let open = Arc::new(());
    for stream in listener.incoming() {
        let Ok(stream) = stream else {
            thread::sleep(ACCEPT_PAUSE);
            continue;
        };
        if Arc::strong_count(&open) > CONNECTIONS_MAX {
            continue;
        }
        let (events, counted) = (events.clone(), Arc::clone(&open));
        let serve = move || {
            // A connection that fails is one that has ended.
            drop(serve(stream, &events));
            drop(counted);
        };
        drop(Builder::new().name("connection".to_owned()).spawn(serve));
    }
}

fn serve(stream: UnixStream, events: &Sender<Event>) -> io::Result<()> {
    stream.set_read_timeout(Some(GREETING_MAX))?;
    stream.set_write_timeout(Some(WRITE_MAX))?;
    let mut lines = BufReader::new(stream.try_clone()?);
    let greeting = read_line(&mut lines)?;
    match greeting.and_then(|line| serde_json::from_slice(&line).ok()) {
        Some(Greeting::Asks(Request { ask })) => drop(events.send(Event::Asked(ask, stream))),
        Some(Greeting::Works(Report::Attempt(attempt))) => {
            stream.set_read_timeout(None)?;
            let connected = Event::Connected(attempt, stream.try_clone()?);
            // In this order: of a worker that goes on, the supervisor knows.
            drop(events.send(connected));
            let followed = follow(stream, &mut lines, attempt, events);
            drop(events.send(Event::Closed(attempt)));
            followed?;
        }
        Some(Greeting::Works(_)) | None => {
            let said = r#"expected {"ask":"status"} or {"ask":"stop"}"#.to_owned();
            say(&stream, &Answer::Error(said))?;
        }
    }
    Ok(())
}

/// Passes on what a worker says, until it hangs up.
fn follow(
    stream: UnixStream,
    lines: &mut impl BufRead,
    attempt: u32,
    events: &Sender<Event>,
) -> io::Result<()> {
    say(&stream, &Command::Go)?;
    // The other end hangs up when the supervisor has no more commands either.
    drop(stream);
    while let Some(line) = read_line(lines)? {
        // A line that was torn because nobody read in time says nothing.
        if let Ok(report) = serde_json::from_slice(&line) {
            drop(events.send(Event::Reported(attempt, report)));
        }
    }
    Ok(())
}

/// Sends a line.
pub(super) fn say(mut stream: &UnixStream, message: &impl serde::Serialize) -> io::Result<()> {
    stream.write_all(line(message).as_bytes())
}

/// The next line, or as much of it as is allowed; nothing at the end.
pub(super) fn read_line(lines: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    lines
        .by_ref()
        .take(LINE_BYTES_MAX)
        .read_until(b'\n', &mut line)?;
    Ok((!line.is_empty()).then_some(line))
}

/// A job could not be asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// Nobody supervises it.
    #[error("nobody runs it: nobody listens at `{}`", .0.display())]
    NotRunning(PathBuf),
    /// The supervisor does not answer, or has ended meanwhile.
    #[error("no answer from `{}`: {source}", path.display())]
    NoAnswer {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Asks the supervisor of the job with this room, and waits for the answer; so long at most, or until it is there.
///
/// # Errors
/// There is no supervisor, or it does not answer.
pub fn ask(room: &Path, ask: Ask, patience: Option<Duration>) -> Result<Answer, AskError> {
    let path = || room.join(SOCKET);
    let stream = connect(room).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => AskError::NotRunning(path()),
        _ => AskError::NoAnswer {
            path: path(),
            source,
        },
    })?;
    let answer = || {
        stream.set_read_timeout(patience)?;
        say(&stream, &Request { ask })?;
        let line = read_line(&mut BufReader::new(&stream))?;
        let line = line.ok_or(io::ErrorKind::UnexpectedEof)?;
        serde_json::from_slice(&line).map_err(io::Error::from)
    };
    answer().map_err(|source| AskError::NoAnswer {
        path: path(),
        source,
    })
}
