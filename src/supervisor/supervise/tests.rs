//! Does the supervisor do to real processes, over a real socket, what it decides?
//!
//! The workers are programs that only sleep; the test speaks for them on the socket.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command as Program;
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::supervisor::attempts::Outcome;
use crate::supervisor::control::{AskError, ControlError, SOCKET, ask};
use crate::supervisor::protocol::{Answer, Ask, Checkpoints, Command, JobState, JobStatus, Status};
use crate::supervisor::reporter::Reporter;
use crate::supervisor::restart::RestartStrategy;
use crate::supervisor::{Setup, SuperviseError, supervise};

/// Longest wait for something. Only a failure takes so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// A supervisor on a thread of the test.
struct Supervised {
    _folder: TempDir,
    store: PathBuf,
    said: Receiver<String>,
    running: JoinHandle<Outcome>,
}

impl Supervised {
    /// Supervises this line of a shell; `$ATTEMPT` is there.
    fn start(strategy: RestartStrategy, line: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Longer than the address of a socket may be.
        let store = folder.path().join("s".repeat(150)).join("store");
        let (tell, said) = channel();
        let place = store.clone();
        let run = move || {
            let setup = Setup {
                job: "tides",
                room: &place,
                store: "s3://bucket/tides",
                strategy,
                program: &|attempt, _| {
                    let mut program = Program::new("sh");
                    program
                        .args(["-c", line])
                        .env("ATTEMPT", attempt.to_string());
                    program
                },
                say: &|text| tell.send(text.to_owned()).unwrap(),
            };
            supervise(&setup).unwrap()
        };
        let running = thread::spawn(run);
        Supervised {
            _folder: folder,
            store,
            said,
            running,
        }
    }

    /// Waits until the job is so.
    fn wait(&self, is_so: impl Fn(&JobStatus) -> bool) -> JobStatus {
        wait_for(
            || match ask(&self.store, Ask::Status, Some(PATIENCE)).ok()? {
                Answer::Status(status) => Some(*status).filter(&is_so),
                other => panic!("{other:?}"),
            },
        )
    }

    fn status(&self) -> JobStatus {
        self.wait(|_| true)
    }

    /// Waits for the worker of this attempt.
    fn started(&self, attempt: u32) -> JobStatus {
        self.wait(|status| status.attempt == attempt && status.pid.is_some())
    }

    /// Speaks for the worker of this attempt.
    fn worker(&self, attempt: u32) -> Reporter {
        self.started(attempt);
        Reporter::connect(&self.store, attempt).unwrap()
    }

    fn end_worker(&self) {
        let pid = self.status().pid.unwrap();
        let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        kill_process(pid, Signal::KILL).unwrap();
    }

    /// The end, and all that was said.
    fn end(self) -> (Outcome, Vec<String>) {
        let outcome = self.running.join().unwrap();
        assert!(!self.store.join(SOCKET).exists());
        (outcome, self.said.iter().collect())
    }
}

fn wait_for<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "it never came");
        thread::yield_now();
    }
}

fn at_once(attempts: u32) -> RestartStrategy {
    RestartStrategy::FixedDelay {
        attempts,
        delay: Duration::ZERO,
    }
}

/// A run with so many durable checkpoints that has read so much.
fn run(completed: u64, read: u64) -> Status {
    let mut status = Status {
        checkpoints: Checkpoints {
            completed,
            ..Checkpoints::default()
        },
        ..Status::default()
    };
    status.events.read = read;
    status
}

#[test]
fn is_a_worker_started_again_and_its_end_passed_on() {
    let check = |line, expected: Outcome, failures: u64| {
        let supervised = Supervised::start(at_once(2), line);
        let (outcome, said) = supervised.end();
        assert_eq!(outcome, expected, "{line}: {said:?}");
        assert_eq!(said.len() as u64, failures, "{line}: {said:?}");
    };
    check("exit 0", Outcome::Code(0), 0);
    check("exit 3", Outcome::Code(3), 0);
    check("[ $ATTEMPT = 3 ]", Outcome::Code(0), 2);
    check("exit 1", Outcome::Code(1), 3);
    check("kill -s SEGV $$", Outcome::Code(1), 3);
}

#[test]
fn is_what_a_worker_says_kept_beyond_its_end() {
    let supervised = Supervised::start(at_once(1), "exec sleep 600");
    let worker = supervised.worker(1);
    worker.look(|| Some(run(0, 7)));
    let status =
        supervised.wait(|status| status.last.as_ref().is_some_and(|run| run.events.read == 7));
    assert_eq!(status.state, JobState::Running);
    worker.failed("disk full").unwrap();
    supervised.end_worker();
    drop(worker);
    let status = supervised.wait(|status| status.failed == 1);
    assert_eq!(status.failures[0].cause, "disk full");
    assert!(!status.failures[0].healthy);
    assert_eq!(status.last.as_ref().unwrap().events.read, 7);

    // A durable checkpoint gives the one restart again.
    let worker = supervised.worker(2);
    worker.look(|| Some(run(1, 8)));
    supervised.wait(|status| status.last.as_ref().is_some_and(|run| run.events.read == 8));
    supervised.end_worker();
    drop(worker);
    let status = supervised.started(3);
    assert_eq!(status.failures[1].cause, "its process was ended by SIGKILL");
    assert!(status.failures[1].healthy);
    supervised.end_worker();
    let (outcome, said) = supervised.end();
    assert_eq!(outcome, Outcome::Code(1));
    assert!(said.last().unwrap().starts_with("FAILED"), "{said:?}");
}

#[test]
fn is_a_worker_told_to_stop_and_who_asked_told_when_it_has() {
    let supervised = Supervised::start(at_once(1), "exec sleep 600");
    let worker = supervised.worker(1);
    let (told, commands) = channel();
    worker.obey(move |command| told.send(command).unwrap());
    let store = supervised.store.clone();
    let asking = thread::spawn(move || ask(&store, Ask::Stop, Some(PATIENCE)).unwrap());
    assert_eq!(commands.recv_timeout(PATIENCE), Ok(Command::Stop));
    assert_eq!(supervised.status().state, JobState::Stopping);
    assert!(!asking.is_finished());
    // Its end is no failure any more that another attempt would follow.
    worker.failed("no final checkpoint").unwrap();
    supervised.end_worker();
    drop(worker);
    assert_eq!(asking.join().unwrap(), Answer::Ended(1));
    let (outcome, said) = supervised.end();
    assert_eq!(outcome, Outcome::Code(1));
    let expected = "FAILED: job `tides`, while it was being stopped: no final checkpoint";
    assert_eq!(said, [expected]);
}

#[test]
fn is_a_worker_that_has_not_connected_ended_by_a_signal() {
    let supervised = Supervised::start(at_once(1), "exec sleep 600");
    supervised.started(1);
    let answer = ask(&supervised.store, Ask::Stop, Some(PATIENCE)).unwrap();
    assert_eq!(answer, Answer::Ended(0));
    assert_eq!(supervised.end().0, Outcome::Code(0));
}

/// Sends a line to a socket, and gives the answer.
fn exchange(store: &Path, line: &str) -> String {
    // A socket's path that is too long is named from its folder.
    let folder = fs::File::open(store).unwrap();
    let fd = std::os::fd::AsRawFd::as_raw_fd(&folder);
    let stream = UnixStream::connect(format!("/proc/self/fd/{fd}/{SOCKET}")).unwrap();
    (&stream).write_all(line.as_bytes()).unwrap();
    let mut answer = String::new();
    BufReader::new(&stream).read_line(&mut answer).unwrap();
    answer
}

#[test]
fn is_any_other_program_answered_too() {
    let supervised = Supervised::start(at_once(1), "exec sleep 600");
    supervised.started(1);
    let socket = fs::metadata(supervised.store.join(SOCKET)).unwrap();
    assert_eq!(socket.permissions().mode() & 0o777, 0o600);
    let status = exchange(&supervised.store, "{\"ask\":\"status\"}\n");
    assert!(
        status.starts_with(r#"{"status":{"job":"tides","state":"starting","attempt":1,"pid":"#),
        "{status}"
    );
    let wrong = r#"{"error":"expected {\"ask\":\"status\"} or {\"ask\":\"stop\"}"}"#;
    for line in ["\n", "stop\n", "{\"failed\":\"x\"}\n"] {
        assert_eq!(exchange(&supervised.store, line), format!("{wrong}\n"));
    }
    let stopped = exchange(&supervised.store, "{\"ask\":\"stop\"}\n");
    assert_eq!(stopped, "{\"ended\":0}\n");
    supervised.end();
}

#[test]
fn has_a_job_one_supervisor_at_a_time() {
    let supervised = Supervised::start(at_once(1), "exec sleep 600");
    supervised.started(1);
    let second = || {
        supervise(&Setup {
            job: "tides",
            room: &supervised.store,
            store: "s3://bucket/tides",
            strategy: RestartStrategy::None,
            program: &|_, _| Program::new("true"),
            say: &|_| {},
        })
    };
    let refused = second().unwrap_err();
    assert!(
        matches!(
            refused,
            SuperviseError::Control(ControlError::InUse { pid: Some(pid), .. })
                if pid.unsigned_abs() == std::process::id()
        ),
        "{refused}"
    );
    let message = refused.to_string();
    let expected = format!(
        "another `run` (pid {}) works with the checkpoint store in `s3://bucket/tides`",
        std::process::id()
    );
    assert!(message.starts_with(&expected), "{message}");
    // The first one is still there.
    assert_eq!(supervised.status().attempt, 1);
    ask(&supervised.store, Ask::Stop, Some(PATIENCE)).unwrap();
    supervised.end();
}

#[test]
fn is_a_socket_that_was_left_over_taken() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path();
    let asked = || ask(store, Ask::Status, Some(PATIENCE));
    assert!(matches!(asked(), Err(AskError::NotRunning(_))));
    drop(std::os::unix::net::UnixListener::bind(store.join(SOCKET)).unwrap());
    assert!(matches!(asked(), Err(AskError::NotRunning(_))));
    let outcome = supervise(&Setup {
        job: "tides",
        room: store,
        store: "s3://bucket/tides",
        strategy: RestartStrategy::None,
        program: &|_, _| Program::new("true"),
        say: &|_| {},
    });
    assert_eq!(outcome.unwrap(), Outcome::Code(0));
    assert!(!store.join(SOCKET).exists());
}
