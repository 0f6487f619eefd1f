//! Do the programs in `examples/` print what their comments promise?
//!
//! `cargo test` and nextest build them before they run any test, unless told to build some targets only.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::scene::{Scene, finish};

/// A built example: cargo puts it into a folder beside the binary.
fn example(name: &str) -> PathBuf {
    let beside = Path::new(env!("CARGO_BIN_EXE_slackwater"));
    let path = beside.with_file_name("examples").join(name);
    assert!(
        path.exists(),
        "{path:?} is made by `cargo build --examples`"
    );
    path
}

/// What an example prints; it must end well and say nothing else.
fn printed(name: &str) -> String {
    let scene = Scene::new();
    let mut command = Command::new(example(name));
    scene.place(&mut command);
    let ran = finish(&mut command).ended(0);
    assert_eq!(ran.stderr, "", "{name}");
    ran.stdout
}

#[test]
fn are_visits_counted_by_key() {
    let expected = "\
predictions        anna at 10 s: visit 1, counted by worker 0
predictions        anna at 9 s: visit 2, counted by worker 0
predictions        anna at 40 s: visit 3, counted by worker 0
predictions        anna at 131 s: visit 1, counted by worker 0
predictions        ben at 12 s: visit 1, counted by worker 1
predictions        ben at 35 s: visit 2, counted by worker 1
predictions        ben at 130 s: visit 1, counted by worker 1
predictions        carla at 11 s: visit 1, counted by worker 1
predictions        carla at 15 s: visit 2, counted by worker 1
predictions        carla at 140 s: visit 1, counted by worker 1
predictions        dora at 14 s: visit 1, counted by worker 0
predictions        dora at 80 s: visit 1, counted by worker 0
validation_errors  dora
validation_errors  noon ben
late_events        34 ben
15 read = 12 counted + 2 no visit + 1 late + 0 in flight
a graph that forgets the refused does not start: \
rejects of operator `source` are not consumed: every event needs an outcome
";
    // Which worker is first at anything is up to the system.
    for _ in 0..20 {
        assert_eq!(printed("count_by_key"), expected);
    }
}
