//! Do all stores keep the same contract, and do the faults of the one in memory do what they say?

mod contract;

use std::fs;
use std::io::{self, ErrorKind};

use crate::store::local::{LocalStore, OpenStoreError};
use crate::store::memory::{Crash, FaultPlan, MemoryStore};
use crate::store::name::random_digits;
use crate::store::probe::{ConditionsError, check_conditions};
use crate::store::tests::contract::{kind, read, write};
use crate::store::{Put, Store, StoreError, read_all};

#[test]
fn does_each_store_keep_what_every_store_keeps() {
    for (question, check) in contract::CHECKS {
        println!("{question}");
        let folder = tempfile::tempdir().unwrap();
        check(&LocalStore::open(folder.path()).unwrap());
        check(&MemoryStore::default());
    }
}

#[test]
fn is_a_store_that_ignores_conditions_refused() {
    let store = MemoryStore::default();
    store.set_faults(FaultPlan::IgnoredConditions);
    let refused = check_conditions(&store).unwrap_err();
    assert!(matches!(refused, ConditionsError::Ignored { .. }));
    assert!(refused.to_string().contains("ignores conditions"));

    // Not asked is not kept, at whichever step it fails.
    for step in 0..8 {
        let store = MemoryStore::default();
        let steps = step..step + 1;
        let kind = ErrorKind::TimedOut;
        store.set_faults(FaultPlan::Fail { steps, kind });
        let failed = check_conditions(&store);
        assert!(
            matches!(failed, Err(ConditionsError::Store(_))),
            "step {step}"
        );
    }
}

#[test]
fn does_a_store_work_for_one_process_only() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("deep/er/checkpoints");
    let first = LocalStore::open(&folder).unwrap();
    first.put_if_absent("log/1", b"claim").unwrap();

    let second = LocalStore::open(&folder).unwrap_err();
    let own = std::process::id();
    assert!(matches!(second, OpenStoreError::InUse { pid: Some(pid), .. } if pid == own));
    assert!(!second.is_not_found());
    let message = second.to_string();
    assert!(
        message.starts_with(&format!("another process (pid {own}) works on")),
        "{message}"
    );
    fs::write(folder.join("lock"), "no number").unwrap();
    let message = LocalStore::open(&folder).unwrap_err().to_string();
    assert!(message.starts_with("another process works on"), "{message}");

    // Also what is still being written is work on the store.
    let writer = first.create("data/a").unwrap();
    drop(first);
    LocalStore::open(&folder).unwrap_err();
    drop(writer);
    let next = LocalStore::open(&folder).unwrap();
    assert_eq!(read(&next, "log/1"), b"claim");
    let text = fs::read_to_string(folder.join("lock")).unwrap();
    assert_eq!(text, format!("{own}\n"));
}

#[test]
fn does_reading_change_nothing() {
    let parent = tempfile::tempdir().unwrap();
    let missing = parent.path().join("missing");
    for folder in [&missing, parent.path()] {
        let error = LocalStore::open_to_read(folder).unwrap_err();
        assert!(error.is_not_found(), "{error}");
    }
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);

    let writer = LocalStore::open(parent.path()).unwrap();
    writer.put_if_absent("log/1", b"claim").unwrap();
    let reader = LocalStore::open_to_read(parent.path()).unwrap();
    assert_eq!(reader.list("log/").unwrap(), ["log/1"]);
    assert_eq!(read(&reader, "log/1"), b"claim");
    let refused = [
        kind(reader.create("data/a")),
        kind(reader.put_if_absent("log/2", b"")),
        kind(reader.delete("log/1")),
        kind(reader.remove_leftovers()),
    ];
    assert_eq!(refused, [ErrorKind::PermissionDenied; 4]);
    assert_eq!(writer.list("log/").unwrap(), ["log/1"]);
}

#[test]
fn are_only_leftovers_removed() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::open(folder.path()).unwrap();
    store.put_if_absent("log/1", b"claim").unwrap();
    let temporary = folder.path().join("tmp");
    assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0);
    for _ in 0..3 {
        fs::write(temporary.join(random_digits()), b"half a rec").unwrap();
    }
    assert_eq!(store.remove_leftovers().unwrap(), 3);
    assert_eq!(store.remove_leftovers().unwrap(), 0);
    assert_eq!(store.list("log/").unwrap(), ["log/1"]);
}

#[test]
fn is_what_is_no_object_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::open(folder.path()).unwrap();
    store.put_if_absent("log/1", b"claim").unwrap();
    fs::write(folder.path().join("log/.nfs0001"), b"").unwrap();
    fs::write(folder.path().join("log/1~"), b"").unwrap();
    fs::create_dir(folder.path().join("log/old")).unwrap();
    assert_eq!(store.list("log/").unwrap(), ["log/1"]);
}

#[test]
fn does_an_error_say_what_is_wrong_with_the_folder() {
    let parent = tempfile::tempdir().unwrap();
    let file = parent.path().join("file");
    fs::write(&file, b"").unwrap();
    for folder in [&file, &file.join("below")] {
        let error = LocalStore::open(folder).unwrap_err();
        let message = format!("cannot make `{}` for the", folder.display());
        assert!(error.to_string().starts_with(&message), "{error}");
        assert!(matches!(error, OpenStoreError::Path { .. }));
    }

    let folder = parent.path().join("store");
    let store = LocalStore::open(&folder).unwrap();
    fs::remove_dir(folder.join("tmp")).unwrap();
    let error = store.put_if_absent("log/1", b"claim").unwrap_err();
    assert_eq!((error.action, error.name.as_str()), ("put", "log/1"));
    assert_eq!(error.source.raw_os_error(), Some(2));
}

/// What one process does, in order; the names whose creation it was told of.
fn live(store: &MemoryStore) -> (Vec<&'static str>, Result<(), StoreError>) {
    let mut told = Vec::new();
    let mut run = || {
        write(store, "data/a", &[b"abcd", b"efgh"])?;
        told.push("data/a");
        store.put_if_absent("log/1", b"claim")?;
        told.push("log/1");
        write(store, "data/b", &[b"ijkl"])?;
        told.push("data/b");
        store.list("log/")?;
        read_all(store, "log/1", 100)?;
        store.put_if_absent("log/2", b"manifest")?;
        told.push("log/2");
        Ok(())
    };
    let result = run();
    (told, result)
}

#[test]
fn is_what_a_process_was_told_there_after_any_crash() {
    let whole: [(&str, &[u8]); 4] = [
        ("data/a", b"abcdefgh"),
        ("log/1", b"claim"),
        ("data/b", b"ijkl"),
        ("log/2", b"manifest"),
    ];
    let clean = MemoryStore::default();
    live(&clean).1.unwrap();
    assert_eq!(clean.steps(), 5 + 4 + 4 + 1 + 2 + 4);
    for (step, when) in (0..clean.steps())
        .flat_map(|step| [Crash::Before, Crash::Half, Crash::After].map(|when| (step, when)))
    {
        for power in [true, false] {
            let case = format!("crash {when:?} step {step}, power stays: {power}");
            let store = MemoryStore::default();
            store.set_faults(FaultPlan::Crash { step, when });
            let (told, result) = live(&store);
            assert!(result.is_err() && store.is_dead(), "{case}");
            assert_eq!(store.steps(), step + 1, "{case}");
            assert!(store.list("log/").is_err(), "{case}: not dead");
            if !power {
                store.power_loss();
            }
            store.revive();
            for (name, bytes) in whole {
                let there = store.names().iter().any(|it| it == name);
                if told.contains(&name) || there && name.starts_with("log/") {
                    assert_eq!(read(&store, name), bytes, "{case}: {name}");
                }
            }
            // The next process comes to the same end, whatever this one left of its log.
            store.put_if_absent("log/1", b"claim").unwrap();
            store.put_if_absent("log/2", b"manifest").unwrap();
            store.power_loss();
            assert_eq!(store.list("log/").unwrap(), ["log/1", "log/2"], "{case}");
        }
    }
}

#[test]
fn does_a_crash_leave_what_it_says() {
    // Step by step of: create, append, sync, folder; then write, sync, link, folder. What is seen before a
    // loss of power and after it, of `data/a` with four bytes or of `log/1` with six.
    type Left = Option<&'static [u8]>;
    const NONE: Left = None;
    let (empty, half, all): (Left, Left, Left) = (Some(b""), Some(b"ab"), Some(b"abcd"));
    let record: Left = Some(b"record");
    let cases: [(u64, Crash, &str, Left, Left); 17] = [
        (0, Crash::Before, "data/a", NONE, NONE),
        (0, Crash::Half, "data/a", empty, NONE),
        (0, Crash::After, "data/a", empty, NONE),
        (1, Crash::Before, "data/a", empty, NONE),
        (1, Crash::Half, "data/a", half, NONE),
        (1, Crash::After, "data/a", all, NONE),
        (2, Crash::Half, "data/a", all, NONE),
        (2, Crash::After, "data/a", all, NONE),
        (3, Crash::Before, "data/a", all, NONE),
        (3, Crash::Half, "data/a", all, all),
        (4, Crash::After, "log/1", NONE, NONE),
        (5, Crash::After, "log/1", NONE, NONE),
        (6, Crash::Before, "log/1", NONE, NONE),
        (6, Crash::Half, "log/1", record, NONE),
        (6, Crash::After, "log/1", record, NONE),
        (7, Crash::Before, "log/1", record, NONE),
        (7, Crash::After, "log/1", record, record),
    ];
    for (step, when, name, seen, durable) in cases {
        let store = MemoryStore::default();
        store.set_faults(FaultPlan::Crash { step, when });
        let failed = write(&store, "data/a", &[b"abcd"])
            .and_then(|()| store.put_if_absent("log/1", b"record").map(|_| ()));
        assert!(failed.is_err());
        store.revive();
        let left = || {
            let there = store.names().iter().any(|it| it == name);
            there.then(|| read(&store, name))
        };
        assert_eq!(left().as_deref(), seen, "seen: {when:?} {step}");
        store.power_loss();
        assert_eq!(left().as_deref(), durable, "durable: {when:?} {step}");
    }
}

#[test]
fn are_deletions_durable_in_the_log_only() {
    let store = MemoryStore::default();
    for name in ["log/1", "data/a"] {
        store.put_if_absent(name, b"").unwrap();
        store.delete(name).unwrap();
    }
    assert_eq!(store.names(), [""; 0]);
    store.power_loss();
    assert_eq!(store.names(), ["data/a"]);

    store.set_faults(FaultPlan::Crash {
        step: store.steps(),
        when: Crash::Half,
    });
    assert!(store.delete("data/a").is_err());
    store.revive();
    assert_eq!(store.names(), [""; 0]);
}

#[test]
fn does_what_was_not_synced_go_with_the_power() {
    let store = MemoryStore::default();
    let mut open = store.create("data/open").unwrap();
    open.append(b"abcd").unwrap();
    // Another object's end makes the names of its folder durable, but not their bytes.
    write(&store, "data/done", &[b"efgh"]).unwrap();
    store.power_loss();
    assert_eq!(store.names(), ["data/done", "data/open"]);
    assert_eq!(read(&store, "data/open"), b"");
    assert_eq!(read(&store, "data/done"), b"efgh");
    assert!(open.append(b"more").is_err(), "its process is gone");
    assert!(open.finish().is_err());
}

#[test]
fn does_a_full_disk_pass() {
    let store = MemoryStore::default();
    let mut writer = store.create("data/a").unwrap();
    writer.append(b"ab").unwrap();
    store.set_faults(FaultPlan::Fail {
        steps: 2..4,
        kind: ErrorKind::StorageFull,
    });
    assert_eq!(kind(writer.append(b"cd")), ErrorKind::StorageFull);
    assert_eq!(
        kind(store.put_if_absent("log/1", b"")),
        ErrorKind::StorageFull
    );
    assert_eq!(store.put_if_absent("log/1", b"").unwrap(), Put::Created);
    // Without room nothing was added: it goes on when there is some.
    writer.append(b"cd").unwrap();
    writer.finish().unwrap();
    assert_eq!(read(&store, "data/a"), b"abcd");
    assert!(!store.is_dead());
}

#[test]
fn does_what_may_have_a_hole_never_become_an_object() {
    let store = MemoryStore::default();
    let mut writer = store.create("data/a").unwrap();
    store.set_faults(FaultPlan::Fail {
        steps: 1..2,
        kind: ErrorKind::InvalidData,
    });
    assert_eq!(kind(writer.append(b"cd")), ErrorKind::InvalidData);
    assert_eq!(kind(writer.append(b"cd")), ErrorKind::Other);
    assert_eq!(kind(writer.finish()), ErrorKind::Other);
}

#[test]
fn is_a_put_without_an_answer_settled_by_the_next() {
    let store = MemoryStore::default();
    store.put_if_absent("log/1", b"theirs").unwrap();
    store.set_faults(FaultPlan::AmbiguousPut);
    // A put that creates nothing is none that could be lost.
    assert_eq!(store.put_if_absent("log/1", b"ours").unwrap(), Put::Exists);
    let lost = store.put_if_absent("log/2", b"ours");
    assert_eq!(kind(lost), ErrorKind::TimedOut);
    assert_eq!(store.put_if_absent("log/2", b"ours").unwrap(), Put::Exists);
    assert_eq!(store.put_if_absent("log/3", b"ours").unwrap(), Put::Created);
    store.power_loss();
    assert_eq!(read(&store, "log/2"), b"ours");
}

#[test]
fn does_a_put_that_exists_make_it_durable() {
    let store = MemoryStore::default();
    store.set_faults(FaultPlan::Fail {
        steps: 3..4,
        kind: ErrorKind::Other,
    });
    assert!(store.put_if_absent("log/1", b"ours").is_err());
    assert_eq!(read(&store, "log/1"), b"ours", "seen, but not durable");
    assert_eq!(store.put_if_absent("log/1", b"ours").unwrap(), Put::Exists);
    store.power_loss();
    assert_eq!(store.names(), ["log/1"]);
}

#[test]
fn is_damage_done_for_good() {
    let store = MemoryStore::default();
    write(&store, "data/a", &[b"abcd"]).unwrap();
    write(&store, "data/b", &[b"efgh"]).unwrap();
    write(&store, "data/c", &[b"ijkl"]).unwrap();
    assert!(store.damage("data/a", |bytes| bytes.truncate(1)));
    assert!(store.copy("data/a", "data/b"));
    assert!(store.remove("data/c"));
    store.power_loss();
    assert_eq!(store.names(), ["data/a", "data/b"]);
    assert_eq!(read(&store, "data/a"), b"a");
    assert_eq!(read(&store, "data/b"), b"a");
    assert!(store.damage("data/a", |bytes| bytes.extend(b"more")));
    assert_eq!(read(&store, "data/b"), b"a", "a copy of its own");
    let none = [
        store.damage("data/x", Vec::clear),
        store.copy("data/x", "data/a"),
        store.remove("data/x"),
    ];
    assert_eq!(none, [false; 3]);
}

#[test]
fn does_what_happens_to_a_fork_stay_there() {
    let store = MemoryStore::default();
    write(&store, "data/a", &[b"abc"]).unwrap();
    store.put_if_absent("log/1", b"one").unwrap();
    store.delete("data/a").unwrap();
    let fork = store.fork();
    assert_eq!(fork.steps(), store.steps());
    assert!(fork.damage("log/1", |bytes| bytes.push(b'!')));
    store.put_if_absent("log/2", b"two").unwrap();
    // What is not durable is not so there either.
    fork.power_loss();
    assert_eq!(fork.names(), ["data/a", "log/1"]);
    assert_eq!(read(&fork, "log/1"), b"one!");
    assert_eq!(store.names(), ["log/1", "log/2"]);
    assert_eq!(read(&store, "log/1"), b"one");
}

#[test]
fn does_an_error_keep_its_source() {
    let error = StoreError {
        action: "finish",
        name: "data/a".into(),
        source: io::Error::from_raw_os_error(28),
    };
    let source = std::error::Error::source(&error).unwrap();
    let source = source.downcast_ref::<io::Error>().unwrap();
    assert_eq!(source.kind(), ErrorKind::StorageFull);
}
