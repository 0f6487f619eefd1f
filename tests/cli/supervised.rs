//! The process above a job with checkpoints: what it does when its worker dies, when it dies itself, and when
//! somebody asks.
//!
//! Many of the workers load a model from a pipe that nobody writes to: they are there, and do nothing, until they are
//! ended. The others take so long for their input that there is time to end them.

use std::fs;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Output};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::{Value, json};

use crate::scene::{Scene, TO_STDOUT, conserved, event, generated, number};
use crate::waiting::{send, wait_until};

const MODEL: (&str, &str) = ("path = \"builtin:user-events\"", "path = \"endless.onnx\"");
const FORM: &str = "form = \"envelope\"\n";

/// A scene whose job has checkpoints, restarts at once, and a model that is never there.
fn endless() -> Scene {
    let recovery =
        "[checkpoint]\n[restart]\nstrategy = \"fixed_delay\"\nattempts = 1\ninitial = \"0s\"\n";
    let changes = [MODEL, (FORM, &*format!("{FORM}{recovery}"))];
    let scene = Scene::with(&changes, event("u", 0).as_bytes());
    let pipe = scene.path("endless.onnx");
    mknodat(CWD, pipe, FileType::Fifo, Mode::RWXU, 0).unwrap();
    scene
}

/// How many events a paced job reads.
const EVENTS: u64 = 12_000;

/// A scene whose job has checkpoints, and reads its events in three seconds.
fn paced() -> Scene {
    let scene = Scene::new();
    let recovery = "[checkpoint]\ninterval = \"50ms\"\nmin_pause = \"0s\"\n";
    let changes = [
        ("events = 1_000_000", &*format!("events = {EVENTS}")),
        ("rate = 0 ", "rate = 4_000 "),
        ("provenance = false", "provenance = true"),
        (FORM, &*format!("{FORM}{recovery}")),
    ];
    scene.write("job.toml", generated(&changes).as_bytes());
    scene
}

/// A run, which ends with this, and its worker with it.
pub struct Running<'a> {
    scene: &'a Scene,
    child: Option<Child>,
}

impl<'a> Running<'a> {
    pub fn start(scene: &'a Scene, arguments: &[&str]) -> Self {
        Running::with(scene, arguments, &[])
    }

    /// The same with more in its environment.
    pub fn with(scene: &'a Scene, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut command = scene.command(&[&["run", "job.toml"], arguments].concat());
        command.envs(environment.iter().copied());
        let child = Some(command.spawn().unwrap());
        Running { scene, child }
    }

    fn child(&self) -> &Child {
        self.child.as_ref().unwrap()
    }

    /// The process of the worker of this attempt, once it has said something.
    fn worker(&self, attempt: u64) -> u64 {
        self.worker_that(attempt, |_| true)
    }

    /// The same once it has had a durable checkpoint.
    fn healthy(&self, attempt: u64) -> u64 {
        self.worker_that(attempt, |status| {
            status["last"]["checkpoints"]["completed"].as_u64() > Some(0)
        })
    }

    fn worker_that(&self, attempt: u64, is_so: impl Fn(&Value) -> bool) -> u64 {
        let status = self.status_that(|status| {
            status["attempt"] == attempt && status["state"] == "running" && is_so(status)
        });
        status["pid"].as_u64().unwrap()
    }

    /// What is said of it once that is so.
    pub fn status_that(&self, is_so: impl Fn(&Value) -> bool) -> Value {
        let mut status = Value::Null;
        assert!(
            wait_until(|| {
                let ran = self.scene.run(&["status", "job.toml", "--json"]);
                status = serde_json::from_str(&ran.stdout).unwrap_or_default();
                is_so(&status)
            }),
            "{status}"
        );
        status
    }

    pub fn end(mut self) -> Output {
        self.child.take().unwrap().wait_with_output().unwrap()
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn kill(pid: u64) {
    let sent = Command::new("kill")
        .args(["-s", "KILL", &pid.to_string()])
        .status();
    assert!(sent.unwrap().success());
}

/// Whether a process has ended, also if nobody has waited for it.
fn has_ended(pid: u64) -> bool {
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat.rsplit_once(") ").unwrap().1.starts_with('Z'),
        Err(_) => true,
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

#[test]
fn is_a_killed_worker_started_again_as_often_as_was_asked() {
    let scene = endless();
    let running = Running::start(&scene, &[]);
    kill(running.worker(1));
    let second = running.worker(2);
    let status = scene.run(&["status", "job.toml", "--json"]).ended(0);
    let status = status.object();
    assert_eq!(status["failed"], 1);
    let failure = &status["failures"][0];
    let cause = "its process was ended by SIGKILL";
    assert_eq!(
        (&failure["attempt"], &failure["cause"], &failure["healthy"]),
        (&json!(1), &json!(cause), &json!(false))
    );
    let told = scene.run(&["status", "job.toml"]).ended(0).stdout;
    let headline = told.lines().next().unwrap();
    assert!(
        headline.starts_with("job `user-events` has been running for "),
        "{told}"
    );
    let end = format!("(attempt 2, pid {second}, 1 failure)");
    assert!(headline.ends_with(&end), "{told}");
    let last = told.lines().last().unwrap();
    assert!(last.starts_with(" attempt 1 failed at 20"), "{told}");
    assert!(last.ends_with(&format!(" s: {cause}")), "{told}");

    kill(second);
    let output = running.end();
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    assert_eq!((output.status.code(), stdout.as_str()), (Some(1), ""));
    let lines: Vec<&str> = stderr.lines().collect();
    let again = "attempt 2 starts at once (restart 1 of 1 without a durable checkpoint)";
    assert_eq!(lines[0], format!("job `user-events` failed: {cause}"));
    assert_eq!(lines[1], again);
    assert_eq!(lines[2], "FAILED: job `user-events` is not started again");
    assert!(lines[3].starts_with("  attempt 1, after "), "{stderr}");
    assert!(lines[4].starts_with("  attempt 2, after "), "{stderr}");
    assert_eq!(lines.len(), 5, "{stderr}");
}

#[test]
fn does_a_worker_end_with_its_supervisor_and_make_room_for_the_next() {
    let scene = endless();
    let running = Running::start(&scene, &[]);
    let worker = running.worker(1);
    assert!(!has_ended(worker));
    send("KILL", running.child());
    assert!(wait_until(|| has_ended(worker)));
    assert_eq!(running.end().status.signal(), Some(9));
    // What is left of it is in nobody's way.
    let ran = scene.run(&["status", "job.toml"]).ended(3);
    let said = "cannot ask job `user-events`: nobody runs it: nobody listens at `state/user-events/control.sock`\n";
    assert_eq!((ran.stdout.as_str(), &*ran.stderr), ("", said));
    let running = Running::start(&scene, &[]);
    running.worker(1);
}

#[test]
fn is_a_job_stopped_by_a_signal_or_by_request() {
    for signal in ["TERM", "INT"] {
        let scene = endless();
        let running = Running::start(&scene, &[]);
        let worker = running.worker(1);
        send(signal, running.child());
        let output = running.end();
        // It had read nothing: it ends as a process does that has nothing to finish.
        let number = if signal == "INT" { 2 } else { 15 };
        assert_eq!(output.status.signal(), Some(number), "{output:?}");
        assert_eq!(text(output.stderr), "");
        assert!(has_ended(worker));
    }
    let scene = endless();
    let running = Running::start(&scene, &[]);
    running.worker(1);
    let ran = scene.run(&["stop", "job.toml"]).ended(0);
    assert_eq!(ran.stdout, "job `user-events` has stopped\n");
    assert_eq!(
        ran.stderr,
        "stopping job `user-events`, waiting for its end\n"
    );
    let output = running.end();
    assert_eq!(
        (output.status.code(), text(output.stderr)),
        (Some(0), String::new())
    );
    assert!(!scene.path("state/user-events/control.sock").exists());
}

#[test]
fn is_what_cannot_be_supervised_or_asked_refused() {
    let scene = endless();
    let check = |arguments: &[&str], code: i32, said: &str| {
        let ran = scene.run(arguments).ended(code);
        let last = ran.stderr.lines().last().unwrap_or_default();
        assert_eq!((ran.stdout.as_str(), last), ("", said), "{arguments:?}");
    };
    let nobody = "cannot ask job `user-events`: nobody runs it: nobody listens at `state/user-events/control.sock`";
    check(&["status", "job.toml"], 3, nobody);
    check(&["stop", "job.toml", "--json"], 3, nobody);
    let never = "job `user-events` has no [checkpoint] in its pipeline file: only a job with one can be asked while it runs";
    check(&["status"], 2, never);
    check(&["stop"], 2, never);
    // Nobody but a supervisor starts a worker.
    let orphan = "this worker has no supervisor: it has ended already";
    check(
        &["run", "job.toml", "--worker", "1", "--attempt", "1"],
        1,
        orphan,
    );

    let running = Running::start(&scene, &[]);
    running.worker(1);
    let taken = format!(
        "refused: another `run` (pid {}) works with the checkpoint store in `state/user-events`: `slackwater stop` ends \
         it, or give this job a store of its own",
        running.child().id()
    );
    check(&["run", "job.toml"], 4, &taken);
}

#[test]
fn does_a_job_whose_worker_was_killed_lose_and_double_nothing() {
    let scene = paced();
    let running = Running::start(&scene, &["--json"]);
    kill(running.healthy(1));
    let output = running.end();
    let stderr = text(output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    let again = "attempt 2 starts at once (restart 1 of 3 without a durable checkpoint)";
    assert!(stderr.lines().any(|line| line == again), "{stderr}");
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(conserved(&summary), EVENTS);
    assert_eq!(number(&summary, "restarts"), 1);
    assert_eq!(scene.records_by_place().len() as u64, EVENTS);
}

#[test]
fn is_what_is_said_above_the_file_said_to_each_worker() {
    let scene = paced();
    let shards = [("SLACKWATER_SINK__SHARDS", "1")];
    let set = ["--json", "--set", "sink.path=elsewhere"];
    let running = Running::with(&scene, &set, &shards);
    kill(running.healthy(1));
    let output = running.end();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(conserved(&summary), EVENTS);
    assert_eq!(number(&summary, "restarts"), 1);
    assert_eq!(scene.records_below("elsewhere").len() as u64, EVENTS);
    assert!(!scene.path("out").exists());
    let predictions = scene.path("elsewhere/ml_predictions");
    assert!(predictions.join("shard-0.jsonl").exists());
    assert!(!predictions.join("shard-1.jsonl").exists());
}

#[test]
fn does_the_embedded_pipeline_go_on_where_it_was_with_checkpoints_from_above() {
    let scene = Scene::new();
    let set = [
        "run",
        "--json",
        "--set",
        "checkpoint.interval=50ms",
        "--set",
        "source.events=1000",
    ];
    let ran = scene.run(&set).ended(0);
    assert_eq!(conserved(&ran.object()), 1_000);
    let ran = scene.run(&set).ended(0);
    assert!(
        ran.stderr.starts_with("already complete at checkpoint "),
        "{}",
        ran.stderr
    );
}

#[test]
fn does_a_job_that_was_stopped_go_on_where_it_was() {
    let scene = paced();
    let running = Running::start(&scene, &["--json"]);
    running.healthy(1);
    let ran = scene.run(&["stop", "job.toml", "--json"]).ended(0);
    assert_eq!(
        ran.object(),
        json!({ "job": "user-events", "exit_code": 0 })
    );
    let output = running.end();
    let stderr = text(output.stderr);
    assert!(
        stderr.contains("\nstopping: finishing what is in flight"),
        "{stderr}"
    );
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    let read = number(&summary, "read");
    assert!((1..EVENTS).contains(&read), "{summary}");

    let running = Running::start(&scene, &["--json"]);
    running.healthy(1);
    send("TERM", running.child());
    let output = running.end();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(number(&summary, "read") > read, "{summary}");

    let ran = scene.run(&["run", "job.toml", "--json"]).ended(0);
    assert_eq!(conserved(&ran.object()), EVENTS);
    assert_eq!(scene.records_by_place().len() as u64, EVENTS);
    let ran = scene.run(&["run", "job.toml", "--json"]).ended(0);
    assert!(
        ran.stderr.starts_with("already complete at checkpoint "),
        "{}",
        ran.stderr
    );
}

#[test]
fn does_a_job_that_starts_over_do_so_once() {
    let scene = paced();
    let running = Running::start(&scene, &[]);
    running.healthy(1);
    scene.run(&["stop", "job.toml"]).ended(0);
    drop(running);
    let running = Running::start(&scene, &["--fresh"]);
    kill(running.healthy(1));
    let output = running.end();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(scene.records_by_place().len() as u64, EVENTS);
    let entries = fs::read_dir(scene.path("out")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let aside = names.filter(|name| name.starts_with("before-"));
    assert_eq!(aside.count(), 1);
}

#[test]
fn does_a_second_signal_end_a_job_that_cannot_finish() {
    let recovery = format!("{FORM}[checkpoint]\ninterval = \"50ms\"\n");
    let scene = Scene::new();
    let text = generated(&[TO_STDOUT, (FORM, &recovery)]);
    scene.write("job.toml", text.as_bytes());
    let mut running = Running::start(&scene, &[]);
    // Records come, and nobody reads them: an epoch is more than a pipe holds.
    let mut stdout = running.child.as_mut().unwrap().stdout.take().unwrap();
    stdout.read_exact(&mut [0]).unwrap();
    let worker = running.worker(1);
    send("INT", running.child());
    let is_stopping = || {
        let ran = scene.run(&["status", "job.toml", "--json"]);
        ran.stdout.contains("\"stopping\"")
    };
    assert!(wait_until(is_stopping));
    assert!(!has_ended(worker));
    send("INT", running.child());
    let output = running.end();
    assert_eq!(output.status.signal(), Some(2), "{output:?}");
    assert!(has_ended(worker));
}

#[test]
fn is_a_pipeline_that_can_be_read_only_once_refused() {
    let scene = endless();
    let text = fs::read(scene.path("job.toml")).unwrap();
    let (read, mut write) = std::io::pipe().unwrap();
    std::io::Write::write_all(&mut write, &text).unwrap();
    drop(write);
    let mut command = scene.command(&["run", "/dev/stdin"]);
    let output = command.stdin(read).output().unwrap();
    let said = "cannot read pipeline file `/dev/stdin`: it is no file, and a job with [checkpoint] reads it again at \
                each restart: write it to one\n";
    assert_eq!(
        (output.status.code(), self::text(output.stderr)),
        (Some(2), said.to_owned())
    );
}
