//! Outputs that cannot be written: a folder that is read-only, a disk that is full.
//!
//! Permissions do not stop root, who often runs tests: each disk is a file system of its own, mounted
//! where only the binary under test sees it. That needs `unshare` and the right to mount; without them
//! these tests fail and say so.

use std::process::Command;

use serde_json::Value;

use crate::scene::{Ran, Scene, files, finish, generated};

/// Arguments of `unshare` that give a mount namespace: as root, or else as root of a user namespace.
pub fn namespace() -> &'static [&'static str] {
    let ways: [&[&str]; 2] = [&["--mount"], &["--user", "--map-root-user", "--mount"]];
    let works = |way: &&&[&str]| {
        let tried = Command::new("unshare").args(**way).arg("true").output();
        tried.is_ok_and(|tried| tried.status.success())
    };
    ways.iter().find(works).unwrap_or_else(|| {
        panic!(
            "this test needs `unshare --mount` of util-linux and the right to make mount namespaces"
        )
    })
}

/// Runs `job.toml` after `mount` has been run by a shell in a mount namespace of its own, and then
/// `after`, which may save what only that namespace has.
fn run_mounted(scene: &Scene, mount: &str, after: &str) -> Ran {
    let mut command = Command::new("unshare");
    let script = format!("{mount} && \"$0\" run job.toml --json; code=$?; {after}; exit $code");
    let binary = env!("CARGO_BIN_EXE_slackwater");
    command
        .args(namespace())
        .args(["sh", "-c", &script, binary]);
    scene.place(&mut command);
    finish(&mut command)
}

/// A scene with a generator of more events than a small disk holds.
fn scene() -> Scene {
    let scene = Scene::new();
    let pipeline = generated(&[("events = 1_000_000", "events = 20_000")]);
    scene.write("job.toml", pipeline.as_bytes());
    scene
}

#[test]
fn does_a_full_disk_end_the_run() {
    let scene = scene();
    scene.write("out/keep", b"");
    let mount = "mount -t tmpfs -o size=64k tmpfs out";
    let ran = run_mounted(&scene, mount, "cp -r out saved").ended(1);
    assert_eq!(ran.stdout, "");
    let last = ran.stderr.lines().last().unwrap();
    assert!(last.starts_with("failed: "), "{}", ran.stderr);
    assert!(last.contains("cannot write out/"), "{last}");
    assert!(
        last.ends_with("No space left on device (os error 28)"),
        "{last}"
    );
    // What was written before is whole, but for the last line of the file that the disk had no room
    // for.
    let mut cut = 0;
    let mut whole = 0;
    for folder in files(&scene.path("saved")) {
        for path in files(&folder) {
            let text = std::fs::read_to_string(path).unwrap();
            let (lines, rest) = text.rsplit_once('\n').unwrap_or(("", &text));
            cut += usize::from(!rest.is_empty());
            for line in lines.lines() {
                let record: Value = serde_json::from_str(line).unwrap();
                assert!(record.is_object());
                whole += 1;
            }
        }
    }
    assert!(whole > 100, "{whole}");
    assert!(cut <= 1, "{cut} files end in a part of a line");
}

#[test]
fn is_a_folder_that_is_read_only_found_before_anything_is_read() {
    let scene = scene();
    scene.write("out/ml_predictions/shard-0.jsonl", b"old\n");
    let mount = "mount --bind out out && mount -o remount,bind,ro out";
    let ran = run_mounted(&scene, mount, "true").ended(3);
    assert_eq!(ran.stdout, "");
    // The outputs that are there are the first reason.
    let said = "preflight failed: `out/ml_predictions/shard-0.jsonl` holds the outputs";
    assert!(ran.stderr.starts_with(said), "{}", ran.stderr);

    std::fs::remove_dir_all(scene.path("out")).unwrap();
    std::fs::create_dir(scene.path("out")).unwrap();
    let ran = run_mounted(&scene, mount, "\"$0\" check job.toml 2> said").ended(3);
    assert_eq!(ran.stdout, "");
    let checked = std::fs::read_to_string(scene.path("said")).unwrap();
    let said = "preflight failed: cannot write below out: Read-only file system (os error 30)\n";
    assert_eq!(checked, said);
    let said =
        "preflight failed: cannot create out/ml_predictions: Read-only file system (os error 30)\n";
    assert_eq!(ran.stderr, said);
}
