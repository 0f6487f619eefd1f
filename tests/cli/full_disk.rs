//! A disk that is full for a while, and one that stays full: a job with checkpoints waits, says why, and goes on; or ends
//! failed, and goes on when there is room again. Nothing is lost.
//!
//! Store and outputs are on a small file system of their own, which only the processes of the test see; see `disk`. All
//! that happens there is said by a script, as `status` asks a socket in the store.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::canonical::mask;
use crate::disk::namespace;
use crate::scene::{Ran, Scene, conserved, finish, generated};

/// Events of the job, which it reads in three seconds.
const EVENTS: u64 = 12_000;

/// Longest time for the script; only a failure takes so long. Then it ends what it has started.
const PATIENCE: &str = "120";

/// What all scripts begin with: the disk, ways to ask, and a way to fill the disk and to keep it full whatever the job
/// gives back.
const BEGIN: &str = r#"
mount -t tmpfs -o size=16m tmpfs disk || exit 90
trap 'kill -s KILL $run $filler 2>/dev/null' EXIT
trap 'exit 91' TERM
status() { "$0" status job.toml --json 2>/dev/null; }
until_said() { until status | grep -q "$1"; do kill -s 0 $run || exit 92; sleep 0.02; done; }
fill() { while [ ! -e room ]; do cat /dev/zero >> disk/filling 2>/dev/null; sleep 0.02; done; }
make_room() { touch room; wait $filler; rm disk/filling room; }
"$0" run job.toml --json > ended 2> said & run=$!
until_said '"completed":[1-9]'
fill & filler=$!
"#;

fn recovery(more: &str) -> String {
    let store = "store = \"file:disk/state\"\ninterval = \"50ms\"\nmin_pause = \"0s\"\n";
    format!("form = \"envelope\"\n[checkpoint]\n{store}{more}")
}

fn scene(more: &str) -> Scene {
    let scene = Scene::new();
    let recovery = recovery(more);
    let changes = [
        ("events = 1_000_000", "events = 12_000"),
        ("rate = 0 ", "rate = 4_000 "),
        ("provenance = false", "provenance = true"),
        ("path = \"out\"\n", "path = \"disk/out\"\n"),
        ("form = \"envelope\"\n", recovery.as_str()),
    ];
    scene.write("job.toml", generated(&changes).as_bytes());
    scene.write("disk/keep", b"");
    scene
}

/// Runs a script on the small disk, and keeps the outputs that only it sees.
fn run(scene: &Scene, script: &str) -> Ran {
    let script = format!("{BEGIN}{script}\ncp -r disk/out out && exit $code");
    let mut command = Command::new("timeout");
    command.args([PATIENCE, "unshare"]).args(namespace());
    command.args(["sh", "-c", &script, env!("CARGO_BIN_EXE_slackwater")]);
    scene.place(&mut command);
    finish(&mut command)
}

fn read(scene: &Scene, name: &str) -> String {
    fs::read_to_string(scene.path(name)).unwrap_or_default()
}

/// What the job must have written, by where each event came from.
fn outputs(scene: &Scene) -> BTreeMap<(u64, u64), (&'static str, Value)> {
    let records = scene.records_by_place().into_iter();
    let masked = records.map(|(place, record)| (place, (record.stream, mask(&record.line))));
    masked.collect()
}

/// The same of a run that has room, and no checkpoints.
fn expected() -> BTreeMap<(u64, u64), (&'static str, Value)> {
    let scene = Scene::new();
    let changes = [
        ("events = 1_000_000", "events = 12_000"),
        ("provenance = false", "provenance = true"),
    ];
    scene.write("job.toml", generated(&changes).as_bytes());
    scene.summary();
    outputs(&scene)
}

#[test]
fn does_a_job_wait_for_room_and_say_so() {
    let scene = scene("");
    let script = r#"
until_said '"trouble":{"what"'
sleep 2
status > full.json; "$0" status job.toml > full.txt
sleep 1
status > later.json
make_room
wait $run; code=$?
"#;
    let ran = run(&scene, script);
    let said = read(&scene, "said");
    assert_eq!(ran.code, Some(0), "{ran:?}\n{said}");
    let summary: Value = serde_json::from_str(&read(&scene, "ended")).unwrap();
    assert_eq!(conserved(&summary), EVENTS);
    assert_eq!(
        summary["restarts"], 0,
        "it was to wait, and not to begin anew: {said}"
    );
    assert!(outputs(&scene) == expected());

    let status = |name: &str| serde_json::from_str::<Value>(&read(&scene, name)).unwrap();
    let (full, later) = (status("full.json"), status("later.json"));
    let no_room = "No space left on device";
    let trouble = |status: &Value, name: &str| status["last"]["trouble"][name].clone();
    assert!(
        trouble(&full, "what").as_str().unwrap().contains(no_room),
        "{full}"
    );
    // It waits, and tries again.
    assert!(
        trouble(&later, "times").as_u64() > trouble(&full, "times").as_u64(),
        "{later}"
    );
    assert!(
        trouble(&later, "at_ms").as_u64() > trouble(&full, "at_ms").as_u64(),
        "{later}"
    );
    let completed = |status: &Value| status["last"]["checkpoints"]["completed"].clone();
    assert_eq!(
        completed(&full),
        completed(&later),
        "there was room for a checkpoint"
    );
    let text = read(&scene, "full.txt");
    let line = text
        .lines()
        .find(|line| line.starts_with(" last trouble at 20"));
    assert!(line.is_some_and(|line| line.contains(no_room)), "{text}");
    // Said soon, and not each time that it is tried.
    let warnings = said
        .lines()
        .filter(|line| line.contains(" WARN running, with trouble job="));
    let warnings: Vec<_> = warnings.collect();
    assert!((1..10).contains(&warnings.len()), "{said}");
    assert!(warnings[0].contains(no_room), "{said}");
}

#[test]
fn does_a_job_give_up_when_there_is_never_room_and_go_on_when_there_is() {
    let restart = "[restart]\nstrategy = \"fixed_delay\"\nattempts = 2\ninitial = \"1s\"\n";
    let scene = scene(&format!(
        "timeout = \"1s\"\ntolerable_failures = 1\n{restart}"
    ));
    let script = r#"
until_said '"cause":"[^"]*No space left on device'
status > failed.json
wait $run; failed=$?
make_room
"$0" run job.toml --json > ended 2> said-then & run=$!
wait $run; code=$?
[ $failed = 1 ] || code=93
"#;
    let ran = run(&scene, script);
    let said = read(&scene, "said");
    assert_eq!(ran.code, Some(0), "{ran:?}\n{said}");
    // Checkpoints failed, more than are tolerated; later attempts could not even begin.
    let failures = said
        .lines()
        .skip_while(|line| *line != "FAILED: job `user-events` is not started again");
    let failures: Vec<_> = failures.skip(1).collect();
    // One more if a slow machine failed before the disk was full.
    assert!((3..5).contains(&failures.len()), "{said}");
    assert!(
        failures[0].contains("checkpoints failed in a row"),
        "{said}"
    );
    let no_room = "No space left on device";
    assert!(failures.last().unwrap().contains(no_room), "{said}");
    let status: Value = serde_json::from_str(&read(&scene, "failed.json")).unwrap();
    let causes = status["failures"].as_array().unwrap().iter();
    let mut causes = causes.map(|failure| failure["cause"].as_str().unwrap());
    assert!(causes.any(|cause| cause.contains(no_room)), "{status}");

    let summary: Value = serde_json::from_str(&read(&scene, "ended")).unwrap();
    assert_eq!(conserved(&summary), EVENTS);
    assert!(outputs(&scene) == expected());
}
