//! A newest checkpoint that is damaged: the job goes on from an older one where that loses nothing, and a person hears of
//! it.

use std::fs;

use slackwater_dataflow::faults::phases;

use crate::scene::{Scene, conserved, files, generated};
use crate::supervised::Running;

const EVENTS: u64 = 12_000;

#[test]
fn is_it_said_that_a_job_goes_on_from_an_older_checkpoint() {
    let scene = Scene::new();
    let recovery = "form = \"envelope\"\n[checkpoint]\ninterval = \"50ms\"\nmin_pause = \"0s\"\n\
                    [restart]\nstrategy = \"none\"\n";
    let changes = [
        ("events = 1_000_000", "events = 12_000"),
        ("rate = 0 ", "rate = 4_000 "),
        ("provenance = false", "provenance = true"),
        ("form = \"envelope\"\n", recovery),
    ];
    scene.write("job.toml", generated(&changes).as_bytes());
    // A checkpoint of which nothing is published yet, so that an older one fits the outputs as well.
    let crash = [(phases::VARIABLE, "after-manifest:4")];
    let output = Running::with(&scene, &[], &crash).end();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let newest = files(&scene.path("state/user-events/log")).pop().unwrap();
    let mut bytes = fs::read(&newest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&newest, bytes).unwrap();

    let ran = scene.run(&["run", "job.toml", "--json"]).ended(0);
    let first = ran.stderr.lines().next().unwrap();
    let number = newest.file_name().unwrap().to_str().unwrap();
    let said = "WARNING: the newest checkpoint is damaged, and the job goes on from an older one, that of epoch ";
    assert!(first.starts_with(said), "{first}");
    assert!(first.contains(number), "{first}");
    assert_eq!(conserved(&ran.object()), EVENTS);
    assert_eq!(scene.records_by_place().len() as u64, EVENTS);
}
