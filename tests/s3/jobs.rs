//! Whole jobs with their checkpoints in a bucket: is every output there exactly once, whatever happens?

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde_json::Value;
use tempfile::TempDir;

use crate::content::{content, lost_and_doubled};
use crate::job::{Job, Running, Variation};
use crate::proxy::{Act, Proxy};
use crate::server::{BUCKET, SECRET, Server, environment};

/// Longest wait for anything; only a failure takes so long.
const PATIENCE: Duration = Duration::from_secs(100);

/// How often the job is killed.
const KILLS: usize = 10;

/// A job of about this many seconds.
pub fn variation(seconds: u64) -> Variation {
    Variation {
        seed: 7,
        order: "arrival",
        events: 5_000 * seconds,
        rate: 5_000,
        interval_ms: Some(100),
        workers: 2,
    }
}

/// A machine's own folder for sockets.
pub fn machine() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
    folder
}

/// A job with its checkpoints in the bucket, on this machine.
pub fn job(port: u16, machine: &Path, variation: Variation) -> Job {
    let machine = machine.display().to_string();
    let service = environment(port);
    let service = service.iter().map(|(name, value)| (&**name, &**value));
    let variables: Vec<_> = service.chain([("XDG_RUNTIME_DIR", &*machine)]).collect();
    Job::with_store(
        variation,
        &format!("s3://{BUCKET}/jobs/user-events"),
        &variables,
    )
}

/// Waits until something is so, while the job runs.
pub fn wait_until(job: &Job, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(
            started.elapsed() < PATIENCE,
            "not within {PATIENCE:?}\n{}",
            job.said()
        );
        thread::sleep(Duration::from_millis(2));
    }
}

/// Waits for outputs of a later epoch, or for the end of the job, if it is that quick.
pub fn progress(job: &Job, running: &mut Running) {
    let before = job.marked();
    wait_until(job, || {
        let is_later = |(now, before): (&u64, u64)| *now > before;
        job.marked().iter().zip(before).all(is_later) || running.ended().is_some()
    });
}

/// Compares the outputs with those of a run that nothing happened to, and had no checkpoints.
pub fn check_outputs(job: &Job, variation: Variation) {
    let plain = Job::new(Variation {
        interval_ms: None,
        rate: 0,
        ..variation
    });
    assert!(plain.start().wait().success(), "{}", plain.said());
    let (expected, found) = (content(&plain.outputs), content(&job.outputs));
    assert_eq!(
        lost_and_doubled(&expected, &found),
        (0, 0),
        "{}",
        job.said()
    );
    assert!(expected == found, "the order of a key");
    assert!(!job.said().contains(SECRET), "{}", job.said());
}

fn end(job: &Job, running: Running) {
    let status = running.wait();
    assert!(status.success(), "{status}\n{}", job.said());
}

#[test]
fn is_every_output_there_once_however_often_the_job_is_killed() {
    let (server, machine) = (Server::start(), machine());
    let variation = variation(20);
    let job = job(server.port, machine.path(), variation);
    let mut rng = ChaCha8Rng::seed_from_u64(17);
    let mut below = |bound: u64| rng.next_u64() % bound;
    let mut running = job.start();
    let (mut kills, mut of_workers) = (0, 0);
    let mut back_after = Vec::new();
    while running.ended().is_none() && kills < KILLS {
        thread::sleep(Duration::from_millis(below(400)));
        let (before, killed) = (job.marked(), Instant::now());
        if below(2) == 0 {
            of_workers += usize::from(running.kill_worker());
        } else {
            running.kill_all();
            running = job.start();
        }
        kills += 1;
        // Each third time the next kill may meet the recovery.
        while kills % 3 != 0 && job.marked() == before && running.ended().is_none() {
            assert!(
                killed.elapsed() < PATIENCE,
                "it is not back\n{}",
                job.said()
            );
            thread::sleep(Duration::from_millis(2));
        }
        back_after.push(killed.elapsed());
    }
    end(&job, running);
    check_outputs(&job, variation);
    let slowest = back_after.iter().max();
    println!("{kills} kills, {of_workers} of workers alone; back after {slowest:?} at most");
    assert!(kills >= 3, "it was over after {kills} kills");
}

#[test]
fn is_a_service_that_is_away_for_a_while_waited_for() {
    const AWAY: Duration = Duration::from_secs(5);
    let (server, machine) = (Server::start(), machine());
    let is_away = Arc::new(AtomicBool::new(false));
    let away = Arc::clone(&is_away);
    let proxy = Proxy::start(server.port, move |_| match away.load(Ordering::SeqCst) {
        true => Act::HangUp,
        false => Act::Forward,
    });
    let variation = variation(30);
    let job = job(proxy.port, machine.path(), variation);
    let mut running = job.start();
    progress(&job, &mut running);
    is_away.store(true, Ordering::SeqCst);
    thread::sleep(AWAY);
    is_away.store(false, Ordering::SeqCst);
    progress(&job, &mut running);
    // Now it takes requests, and is silent.
    server.stall();
    thread::sleep(AWAY);
    server.go_on();
    progress(&job, &mut running);
    end(&job, running);
    check_outputs(&job, variation);
    assert!(!job.said().contains("attempt 2"), "{}", job.said());
}

#[test]
fn is_a_job_started_again_until_its_store_is_back() {
    let (server, machine) = (Server::start(), machine());
    let is_closed = Arc::new(AtomicBool::new(false));
    let closed = Arc::clone(&is_closed);
    // An answer that is not worth another try: a worker that goes on after another one fails at once.
    let proxy = Proxy::start(server.port, move |_| match closed.load(Ordering::SeqCst) {
        true => Act::Answer(403),
        false => Act::Forward,
    });
    let variation = variation(10);
    let job = job(proxy.port, machine.path(), variation);
    let mut running = job.start();
    progress(&job, &mut running);
    is_closed.store(true, Ordering::SeqCst);
    assert!(running.kill_worker());
    wait_until(&job, || job.said().contains("attempt 4"));
    is_closed.store(false, Ordering::SeqCst);
    end(&job, running);
    check_outputs(&job, variation);
    let said = job.said();
    assert!(
        said.contains("the service answered 403; look at AWS_ACCESS_KEY_ID"),
        "{said}"
    );
}

#[test]
fn does_a_job_go_on_that_hears_no_answer_to_its_manifests() {
    let (server, machine) = (Server::start(), machine());
    let proxy = Proxy::start(server.port, |request| {
        let is_lost = request.is_conditional && request.before % 3 == 2;
        if is_lost {
            Act::LoseAnswer
        } else {
            Act::Forward
        }
    });
    let variation = variation(5);
    let job = job(proxy.port, machine.path(), variation);
    end(&job, job.start());
    check_outputs(&job, variation);
    assert!(!job.said().contains("attempt 2"), "{}", job.said());
    // Each record was created once, whatever was answered.
    let done = proxy.done();
    let puts = done
        .iter()
        .filter(|(it, _)| it.method == "PUT" && it.path.contains("/log/"));
    let mut created: Vec<_> = puts
        .clone()
        .filter(|(_, status)| *status == 200)
        .map(|(it, _)| &it.path)
        .collect();
    let refused = puts.filter(|(_, status)| *status == 412).count();
    let all = created.len();
    created.sort();
    created.dedup();
    assert_eq!(created.len(), all);
    println!("{all} records, {refused} times asked again");
    for method in ["PUT", "GET", "DELETE"] {
        let requests = done.iter().filter(|(it, _)| it.method == method).count();
        println!("{method}: {requests}");
    }
    assert!(refused > 0);
}

#[test]
fn is_a_service_that_ignores_conditions_refused_at_start() {
    let (server, machine) = (Server::start(), machine());
    let proxy = Proxy::start(server.port, |_| Act::WithoutCondition);
    let job = job(proxy.port, machine.path(), variation(1));
    let status = job.start().wait();
    let said = job.said();
    assert_eq!(status.code(), Some(3), "{said}");
    let message = "preflight failed: the checkpoint store ignores conditions: it created `probe/conditions` twice";
    assert!(said.contains(message), "{said}");
}

fn text(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

#[test]
fn do_all_commands_work_with_a_bucket() {
    let (server, machine) = (Server::start(), machine());
    let variation = variation(30);
    let job = job(server.port, machine.path(), variation);
    let run = |arguments: &[&str], code: i32| {
        let (found, stdout, stderr) = text(&job.command(arguments).output().unwrap());
        assert_eq!(found, Some(code), "{arguments:?}: {stdout}{stderr}");
        stdout + &stderr
    };
    assert!(run(&["check"], 0).contains("is ready"));
    let room = machine.path().join("slackwater");
    let socket = room.join(format!("{BUCKET}/jobs/user-events/control.sock"));
    let nobody = run(&["status"], 3);
    assert!(
        nobody.contains(&format!("nobody listens at `{}`", socket.display())),
        "{nobody}"
    );
    assert_eq!(run(&["checkpoints", "list", "--json"], 0), "[]\n");

    let mut running = job.start();
    progress(&job, &mut running);
    let mode = fs::metadata(&room).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    // What has been checkpointed is in the bucket a moment before the worker says so.
    let status = || -> Value { serde_json::from_str(&run(&["status", "--json"], 0)).unwrap() };
    let begun = Instant::now();
    while status()["state"] == "starting" && begun.elapsed() < Duration::from_secs(30) {
        thread::sleep(Duration::from_millis(20));
    }
    let status = status();
    assert_eq!(status["state"], "running", "{status}");
    let second = run(&["run"], 4);
    let message = format!(
        "refused: another `run` (pid {}) works with",
        running.pid().as_raw_nonzero()
    );
    assert!(second.starts_with(&message), "{second}");
    run(&["stop"], 0);
    end(&job, running);

    let listed: Value = serde_json::from_str(&run(&["checkpoints", "list", "--json"], 0)).unwrap();
    assert!(
        (1..=3).contains(&listed.as_array().unwrap().len()),
        "{listed}"
    );
    assert!(run(&["checkpoints", "show"], 0).contains("epoch"));
    assert!(run(&["checkpoints", "verify"], 0).contains("whole, state"));
    assert!(run(&["checkpoints", "export"], 0).lines().count() > 100);
    let mut running = job.start();
    progress(&job, &mut running);
    run(&["stop"], 0);
    end(&job, running);
    assert!(!socket.exists());
}

#[test]
fn is_a_bucket_that_is_not_there_found_by_a_check() {
    let (server, machine) = (Server::start(), machine());
    let mut job = job(server.port, machine.path(), variation(1));
    job.rewrite(|text| text.replace(&format!("s3://{BUCKET}/"), "s3://other/"));
    for (arguments, code) in [
        (&["check"][..], 3),
        (&["run"], 3),
        (&["checkpoints", "list"], 1),
    ] {
        let (found, stdout, stderr) = text(&job.command(arguments).output().unwrap());
        assert_eq!(found, Some(code), "{stderr}");
        assert!(
            stderr.contains("there is no bucket `other`: make it"),
            "{stdout}{stderr}"
        );
    }
}
