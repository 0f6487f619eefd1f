//! Files that grow while they are read: every line counts once it is whole, and nothing is lost in silence.

use std::fs::{self, File};
use std::io::Write;
use std::process::Child;

use crate::scene::{self, Scene, conserved, pipeline};
use crate::waiting::{send, wait_for_records};

/// A good event of a user of its own.
fn event(number: usize) -> String {
    scene::event(&format!("u{number}"), 10 * number as i64)
}

/// A scene with two files, which are followed, and the run.
fn start() -> (Scene, Child) {
    let scene = Scene::new();
    let follow = (
        "path = \"in.jsonl\"",
        "path = \"in/*.jsonl\"\nfollow = true",
    );
    scene.write("job.toml", pipeline(&[follow]).as_bytes());
    scene.write("in/a.jsonl", event(0).as_bytes());
    scene.write("in/b.jsonl", b"");
    let child = scene
        .command(&["run", "job.toml", "--json"])
        .spawn()
        .unwrap();
    (scene, child)
}

fn append(scene: &Scene, name: &str, text: &str) {
    let path = scene.path(name);
    let mut file = File::options().append(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

#[test]
fn is_what_is_appended_handled_until_ctrl_c() {
    let (scene, mut child) = start();
    wait_for_records(&scene, &mut child, 1);
    let (first, rest) = (&event(2)[..30], &event(2)[30..]);
    append(&scene, "in/b.jsonl", &format!("{}{first}", event(1)));
    wait_for_records(&scene, &mut child, 2);
    // A file that comes later is not found.
    scene.write("in/c.jsonl", event(9).as_bytes());
    append(&scene, "in/b.jsonl", &format!("{rest}unfinished"));
    append(&scene, "in/a.jsonl", "no event\n");
    wait_for_records(&scene, &mut child, 4);
    send("INT", &child);
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert!(
        stderr.contains(": from `in/*.jsonl`, followed until stopped, to `out`"),
        "{stderr}"
    );
    let summary = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(conserved(&summary), 4);
    let records = scene.records();
    assert!(
        records
            .iter()
            .all(|record| !record.line.contains("unfinished"))
    );
}

#[test]
fn is_what_waits_for_event_time_handled_after_ctrl_c() {
    let scene = Scene::new();
    let changes = [
        (
            "path = \"in.jsonl\"",
            "path = \"in/*.jsonl\"\nfollow = true",
        ),
        ("order = \"arrival\"", "order = \"event_time\""),
    ];
    scene.write("job.toml", pipeline(&changes).as_bytes());
    let events: String = [0, 1_000, 2_000].map(event).concat();
    scene.write("in/a.jsonl", events.as_bytes());
    scene.write("in/b.jsonl", events.as_bytes());
    let mut child = scene
        .command(&["run", "job.toml", "--json"])
        .spawn()
        .unwrap();
    // The watermark has passed the first ones, so all have been read, and the last ones wait for it.
    wait_for_records(&scene, &mut child, 2);
    send("INT", &child);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let summary = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(conserved(&summary), 6);
}

#[test]
fn is_a_file_that_did_not_only_grow_an_error_that_says_what_to_do() {
    let check = |act: &dyn Fn(&Scene), expected: &str| {
        let (scene, mut child) = start();
        wait_for_records(&scene, &mut child, 1);
        act(&scene);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(output.stdout.is_empty());
        let stderr = String::from_utf8(output.stderr).unwrap();
        let said = format!(
            "failed: cannot read in/a.jsonl: {expected}, after it had been read to byte {}; a file that is \
             followed may only grow: let each new file have a name of its own, and start the job again, which \
             reads everything from the beginning",
            event(0).len()
        );
        assert_eq!(stderr.lines().last(), Some(said.as_str()));
    };
    check(
        // In one step: a look in between must not find it empty.
        &|scene| {
            let file = File::options().write(true).open(scene.path("in/a.jsonl"));
            file.unwrap().set_len(4).unwrap();
        },
        "it was cut at byte 4",
    );
    check(
        &|scene| fs::remove_file(scene.path("in/a.jsonl")).unwrap(),
        "it was deleted or renamed",
    );
}

#[test]
fn is_a_compressed_file_among_them_refused_at_once() {
    let scene = Scene::new();
    let follow = ("path = \"in.jsonl\"", "path = \"in/*\"\nfollow = true");
    scene.write("job.toml", pipeline(&[follow]).as_bytes());
    scene.write("in/a.jsonl.gz", b"");
    let ran = scene.run(&["run", "job.toml"]).ended(3);
    assert!(
        ran.stderr
            .starts_with("preflight failed: cannot follow in/a.jsonl.gz: it is compressed"),
        "{}",
        ran.stderr
    );
}
