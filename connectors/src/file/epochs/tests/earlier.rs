//! Are earlier outputs found and moved as a whole?

use std::os::unix::fs::symlink;

use super::*;

#[test]
fn are_earlier_outputs_found() {
    let check = |make: &dyn Fn(&Path), expected: Option<&str>| {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("out");
        make(&root);
        let found = EpochFiles::existing(&config(&root)).unwrap();
        assert_eq!(found, expected.map(|name| root.join(name)));
    };
    let write = |path: &Path, text: &str| {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    check(&|root| assert!(!root.exists()), None);
    check(&|root| drop(taken(root, 1)), None);
    check(
        &|root| two_epochs()[0].publish(&mut taken(root, 1).0).unwrap(),
        Some(PREDICTIONS),
    );
    let late = "late_events/shard-7.jsonl";
    check(&|root| write(&root.join(late), "late\n"), Some(late));
    check(&|root| write(&root.join("late_events/other"), "1"), None);
    let marker = "committed/shard-7.json";
    check(&|root| write(&root.join(marker), ""), Some(marker));
    check(&|root| write(&root.join("committed/lock"), ""), None);
    let link = |root: &Path| {
        fs::create_dir_all(root.join("late_events")).unwrap();
        symlink("nowhere", root.join(late)).unwrap();
    };
    check(&link, Some(late));
}

#[test]
fn are_earlier_outputs_moved_out_of_the_way() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("out");
    let config = config(&root);
    assert_eq!(EpochFiles::set_aside(&config).unwrap(), None);
    assert!(!root.exists(), "nothing was made");
    drop(taken(&root, 1));
    assert_eq!(EpochFiles::set_aside(&config).unwrap(), None);
    for number in 1..=3 {
        let (mut sink, markers) = taken(&root, 1);
        assert_eq!(markers, [None, None]);
        two_epochs()[0].publish(&mut sink).unwrap();
        let busy = ["writes its outputs there"];
        check_error(EpochFiles::set_aside(&config), &busy);
        drop(sink);
        let mut outputs = tree(&root);
        outputs.retain(|name, _| !name.starts_with("before-"));
        if number == 2 {
            fs::write(root.join("before-2"), "in the way").unwrap();
        }
        let moved = EpochFiles::set_aside(&config).unwrap().unwrap();
        let expected = [1, 3, 4][number - 1];
        assert_eq!(moved, root.join(format!("before-{expected}")));
        assert_eq!(tree(&moved), outputs);
        assert_eq!(EpochFiles::existing(&config).unwrap(), None);
    }
}
