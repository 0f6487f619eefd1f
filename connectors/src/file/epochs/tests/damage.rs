//! Is what somebody else did to the files found out, and told with what to do?

use std::os::unix::fs::symlink;

use super::*;

/// Publishes the first epoch, does something to the folder, and publishes the second one in the same process, and
/// in another one.
fn check(act: &dyn Fn(&Path), running: &[&str], next: &[&str]) {
    for is_restarted in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let [first, second] = two_epochs();
        let (mut sink, _) = taken(folder.path(), 1);
        first.publish(&mut sink).unwrap();
        act(folder.path());
        let before = tree(folder.path());
        if is_restarted {
            drop(sink);
            let mut sink = EpochFiles::open(&config(folder.path())).unwrap();
            check_error(sink.take_over(Generation(2)), next);
        } else if running.is_empty() {
            second.publish(&mut sink).unwrap();
            continue;
        } else {
            check_error(second.publish(&mut sink), running);
        }
        assert_eq!(tree(folder.path()), before, "nothing was written");
    }
}

#[test]
fn is_a_part_that_is_not_as_it_was_left_named() {
    let shorter = &[
        "predictions/shard-0.jsonl: it has 4 bytes, but 6 belong there",
        "restore it, or start over with `--fresh`",
    ];
    let cut = |root: &Path| fs::write(root.join(PREDICTIONS), "p1\np").unwrap();
    check(&cut, shorter, shorter);
    let deleted = &[
        "predictions/shard-0.jsonl: it was deleted or renamed, with 6 bytes in it",
        "restore it",
    ];
    let delete = |root: &Path| fs::remove_file(root.join(PREDICTIONS)).unwrap();
    check(&delete, deleted, deleted);
    let replace = |root: &Path| {
        fs::write(root.join("new"), "p1\n").unwrap();
        fs::rename(root.join("new"), root.join(PREDICTIONS)).unwrap();
    };
    let replaced = &["predictions/shard-0.jsonl: another file was put in its place"];
    check(&replace, replaced, &["it has 3 bytes, but 6 belong there"]);
    let link = |root: &Path| {
        fs::rename(root.join(PREDICTIONS), root.join("elsewhere")).unwrap();
        symlink(root.join("elsewhere"), root.join(PREDICTIONS)).unwrap();
    };
    check(&link, replaced, &["it is a symbolic link"]);
    let folder = |root: &Path| {
        fs::remove_file(root.join(PREDICTIONS)).unwrap();
        fs::create_dir(root.join(PREDICTIONS)).unwrap();
    };
    check(
        &folder,
        replaced,
        &["predictions/shard-0.jsonl: Is a directory"],
    );
}

#[test]
fn is_a_marker_that_says_something_else_refused() {
    let check = |text: &str, expected: &[&str]| {
        let write = |root: &Path| fs::write(root.join("committed/shard-0.json"), text).unwrap();
        check(&write, &[], expected);
    };
    let no_marker = [
        "committed/shard-0.json: it is not the marker of a shard",
        "--fresh",
    ];
    check("", &no_marker);
    check("{\"job\":\"job\",\"generation\":1,\"epo", &no_marker);
    let marker = |job: &str, generation: u64, more: &str| {
        format!(
            "{{\"job\":\"{job}\",\"generation\":{generation},\"epoch\":1,\
             \"checkpoint\":\"000000000000abc1\",\"chunks\":1,\"lengths\":[6,0,0,5]{more}}}"
        )
    };
    check(&marker("job", 1, ",\"more\":1"), &no_marker);
    check(
        &marker("other", 1, ""),
        &["these are outputs of job `other`, and not of `job`"],
    );
    check(
        &marker("job", 3, ""),
        &["a newer run has taken over: it is generation 3"],
    );
}

#[test]
fn is_an_epoch_that_does_not_fit_refused() {
    let check = |change: &dyn Fn(&mut Outputs), expected: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        let [first, mut second] = two_epochs();
        let (mut sink, _) = taken(folder.path(), 1);
        first.publish(&mut sink).unwrap();
        let marker = tree(folder.path())["committed/shard-0.json"].clone();
        let good = second.clone();
        change(&mut second);
        check_error(second.publish(&mut sink), expected);
        assert_eq!(tree(folder.path())["committed/shard-0.json"], marker);
        assert!(tree(folder.path())[PREDICTIONS].starts_with("p1\np2\n"));
        good.publish(&mut sink).unwrap();
        assert_eq!(tree(folder.path())[PREDICTIONS], "p1\np2\np3\np4\np5\n");
    };
    check(
        &|second| second.after[0] += 1,
        &["predictions/shard-0.jsonl: the epoch's outputs end at byte 15, and not at 16"],
    );
    check(
        &|second| second.after[0] -= 1,
        &["end at byte 15, and not at 14"],
    );
    check(
        &|second| second.before[0] += 1,
        &["it has 6 bytes, but 7 belong there"],
    );
    check(&|second| second.before[0] -= 1, &["does not follow it"]);
    check(&|second| second.epoch = 0, &["does not follow it"]);
    check(
        &|second| second.epoch = 1,
        &["is published with lengths [6, 0, 0, 5]"],
    );
    check(
        &|second| second.after[3] = 0,
        &["epoch 3 would make its outputs shorter"],
    );
    check(&|second| second.shard = 2, &["there is no shard 2"]);
}
